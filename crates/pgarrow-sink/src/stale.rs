//! Temporary files and folders that a killed process left behind, and the lock that tells them from those in
//! use.
//!
//! ```text
//! owner:  create (O_EXCL) ─▶ lock ─▶ is it still there? ─▶ write … rename, unlock
//!                              └ held by a sweeper, or gone: another name
//! sweeper: a name of our pattern ─▶ open ─▶ lock ─▶ is it still the same? ─▶ remove
//!                                      └ held: its owner lives; it stays
//! ```
//!
//! The lock is the system's (`flock`), so it ends with its owner, whatever ends the owner. On a file system
//! without locks, owners work without one, and sweepers, which get none either, remove nothing. If locks are
//! known to one host only, a sweeper on another host may remove what is in use: then a file's rename fails,
//! and a folder is checked before its rename.

use std::fs::File;
#[cfg(unix)]
use std::fs::{self, TryLockError};
use std::io;
use std::path::Path;

/// Letters and digits at the end of a temporary name.
pub(crate) const RANDOM_CHARS: usize = 6;

/// How many names are tried before an error. A sweeper that came between create and lock takes one away.
pub(crate) const NAMES_TRIED: usize = 16;

/// Locks what was just created at `path`. False if a sweeper was faster: then it is, or will be, removed.
///
/// An error means that there may be locks here, and sweepers that get them.
#[cfg(unix)]
pub(crate) fn claim(file: &File, path: &Path) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(leads_to(path, file)),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(leads_to(path, file)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the error says that no process gets a lock there.
#[cfg(unix)]
fn has_no_locks(error: &io::Error) -> bool {
    use nix::errno::Errno;

    let none = [Errno::EACCES, Errno::ENOTSUP, Errno::EOPNOTSUPP, Errno::ENOSYS, Errno::ENOLCK];
    match error.raw_os_error() {
        Some(code) => none.contains(&Errno::from_raw(code)),
        None => error.kind() == io::ErrorKind::Unsupported,
    }
}

/// Without such locks nothing is ever swept.
#[cfg(not(unix))]
pub(crate) fn claim(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Removes what ended owners left in `folder` under names that begin with `prefix`. What cannot be removed
/// stays.
#[cfg(unix)]
pub(crate) fn sweep(folder: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_str().is_some_and(|name| is_temporary(name, prefix)) {
            remove_if_free(&entry.path());
        }
    }
}

/// Without locks, no process knows whether an owner lives.
#[cfg(not(unix))]
pub(crate) fn sweep(_: &Path, _: &str) {}

#[cfg(unix)]
fn is_temporary(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|end| end.len() == RANDOM_CHARS && end.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(unix)]
fn remove_if_free(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt;

    use nix::fcntl::OFlag;

    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let is_folder = metadata.is_dir();
    if !is_folder && !metadata.is_file() {
        return;
    }
    // Over NFS, locking needs a handle for writing. Another kind of file may have taken the name by now: a
    // link is not followed, and a pipe not waited for.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = File::options().read(true).write(!is_folder).custom_flags(flags.bits()).open(path);
    let Ok(handle) = opened else { return };
    if handle.try_lock().is_err() || !leads_to(path, &handle) {
        return;
    }
    // If it stays, it only takes room on the disk.
    let _ = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// Whether `file` is what `path` names now.
#[cfg(unix)]
fn leads_to(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;

    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(named), Ok(held)) => (named.dev(), named.ino()) == (held.dev(), held.ino()),
        _ => false,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_pattern_are_temporary() {
        let prefix = ".x.parquet.pgarrow-";
        assert!(is_temporary(".x.parquet.pgarrow-aB3xY9", prefix));
        for name in [
            "x.parquet",
            ".x.parquet.pgarrow-",
            ".x.parquet.pgarrow-aB3xY",
            ".x.parquet.pgarrow-aB3xY99",
            ".x.parquet.pgarrow-aB-xY9",
            ".x.parquet.pgarrow-b.pgarrow-aB3xY9",
            ".y.parquet.pgarrow-aB3xY9",
        ] {
            assert!(!is_temporary(name, prefix), "{name}");
        }
    }

    #[test]
    fn what_a_sweeper_has_locked_or_removed_is_not_claimed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".x.pgarrow-aaaaaa");
        let file = File::create_new(&path).unwrap();
        let sweeper = File::open(&path).unwrap();
        sweeper.lock().unwrap();
        assert!(!claim(&file, &path).unwrap());
        fs::remove_file(&path).unwrap();
        drop(sweeper);
        assert!(!claim(&file, &path).unwrap(), "it is gone");
        // The same name again is another file.
        File::create_new(&path).unwrap();
        assert!(!claim(&file, &path).unwrap());
    }

    #[test]
    fn only_where_there_are_no_locks_nobody_needs_one() {
        use nix::errno::Errno;

        let is_none = |errno: Errno| has_no_locks(&io::Error::from(errno));
        for errno in [Errno::EACCES, Errno::EOPNOTSUPP, Errno::ENOTSUP, Errno::ENOSYS, Errno::ENOLCK] {
            assert!(is_none(errno), "{errno}");
        }
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::EIO, Errno::EINTR, Errno::ENOMEM, Errno::EBADF] {
            assert!(!is_none(errno), "{errno}");
        }
    }
}
