//! Programs that tests start, which are not of the server.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

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

/// The Python of an environment with the wheel.
///
/// # Errors
///
/// No variable names one, or the wheel cannot be imported there.
pub fn wheel_python() -> Result<PathBuf, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(look_for_wheel).clone()
}

fn look_for_wheel() -> Result<PathBuf, String> {
    let named = env::var_os("PGARROW_TEST_WHEEL").filter(|named| !named.is_empty());
    let Some(python) = named.map(PathBuf::from) else {
        return Err("PGARROW_TEST_WHEEL names no Python with it; `just test-wheel` makes one".to_owned());
    };
    // -I: what is imported is what was installed.
    let output = Command::new(&python).args(["-I", "-c", "import pgarrow_engine"]).output();
    match output.map_err(|cause| format!("{} cannot be run: {cause}", python.display()))? {
        output if output.status.success() => Ok(python),
        output => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
