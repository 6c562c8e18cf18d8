//! The one temporary folder that holds all files of a server.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

use crate::account::{Account, is_open_to_all, own_uid};
use crate::error::{Doing, ServerError};

/// A folder that is removed when it is dropped, unless it was handed on.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates a folder that only the server's user can enter, and returns that user.
    pub(crate) fn create() -> Result<(Self, Account), ServerError> {
        let own_temp = env::temp_dir();
        let (folder, account) = Self::create_in(&own_temp)?;
        if account == Account::Own || is_usable_by_all(&own_temp) {
            return Ok((folder, account));
        }
        // We are root, and the server's user cannot enter our temporary folder.
        drop(folder);
        Self::create_in(Path::new("/tmp"))
    }

    fn create_in(temp: &Path) -> Result<(Self, Account), ServerError> {
        // The path of a Unix socket ends at 104 bytes on some systems, and its file name takes 20 of them.
        let temp = if temp.as_os_str().len() > 60 { Path::new("/tmp") } else { temp };
        let path = temp.join(unique_name("pgarrow"));
        fs::DirBuilder::new().mode(0o700).create(&path).doing(|| format!("create {}", path.display()))?;
        let folder = Self { path };
        let account = Account::choose(own_uid(&folder.path)?)?;
        account.own(&folder.path)?;
        Ok((folder, account))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes a folder, repeatedly while a dying backend still writes into it.
fn remove(path: &Path) {
    for _ in 0..100 {
        match fs::remove_dir_all(path) {
            Err(cause) if cause.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => return,
        }
    }
}

fn is_usable_by_all(temp: &Path) -> bool {
    is_open_to_all(temp)
        && fs::metadata(temp).is_ok_and(|metadata| metadata.permissions().mode() & 0o002 != 0)
}

/// A short name that no other process and no other call uses.
pub(crate) fn unique_name(prefix: &str) -> String {
    // Every `RandomState` has other keys: randomness without a dependency.
    let random = RandomState::new().build_hasher().finish();
    format!("{prefix}-{}-{:08x}", process::id(), random & 0xffff_ffff)
}
