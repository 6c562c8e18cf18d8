//! Programs that tests start, which are not of the server.

use std::env;
use std::path::PathBuf;

/// A program: what the variable names, or one on the PATH.
pub(crate) fn find(variable: &str, name: &str) -> Result<PathBuf, String> {
    if let Some(named) = env::var_os(variable).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return match named.is_file() {
            true => Ok(named),
            false => Err(format!("{variable} names {}, which is not there", named.display())),
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
    found.ok_or_else(|| format!("{name} is not on the PATH, and {variable} does not name it"))
}

/// moto: an S3.
pub(crate) fn moto() -> Result<PathBuf, String> {
    find("PGARROW_TEST_MOTO", "moto_server")
}

/// rclone, which can serve an S3 of its own.
pub(crate) fn rclone() -> Result<PathBuf, String> {
    find("PGARROW_TEST_RCLONE", "rclone")
}

/// Azurite: Azure's blobs.
pub(crate) fn azurite() -> Result<PathBuf, String> {
    find("PGARROW_TEST_AZURITE", "azurite-blob")
}
