//! Giving a finished folder its name, in place of nothing, of an empty folder, or of an older folder of files.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::error::{SinkError, SinkErrorKind};

/// What is in the way of an output folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Replace {
    /// Nothing, or an empty folder.
    Nothing,
    /// A folder of files, which may be replaced.
    Folder,
}

/// Refuses a place that cannot become an output folder.
pub(crate) fn check_place(given: &Path, place: &Path, overwrite: bool) -> Result<Replace, SinkError> {
    let refuse = |what: &str| {
        let text = format!("output folder {given:?} is {what}; give the name of a new folder");
        Err(SinkError::new(SinkErrorKind::NotAFile, text).with_path(given))
    };
    let kind = match fs::symlink_metadata(place) {
        Ok(metadata) => metadata.file_type(),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Replace::Nothing);
        }
        Err(e) => return Err(SinkError::io("look at", Some(given), e)),
    };
    if kind.is_symlink() {
        return refuse("a symbolic link");
    }
    if !kind.is_dir() {
        return refuse("a file, pipe, device or socket");
    }
    let failed = |e| SinkError::io("read the folder at", Some(given), e);
    let mut is_empty = true;
    for entry in fs::read_dir(place).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !overwrite {
            return Err(exists(given));
        }
        // An export makes files only. Whoever says `-o /home/me --overwrite` means something else.
        if entry.file_type().map_err(failed)?.is_dir() {
            return refuse("a folder with folders inside, which is never replaced");
        }
        is_empty = false;
    }
    Ok(if is_empty { Replace::Nothing } else { Replace::Folder })
}

/// Renames to a place where nothing is, or an empty folder. The system refuses anything else, so that what
/// another program put there in the meantime stays.
pub(crate) fn rename_new(given: &Path, temp: TempDir, place: &Path) -> Result<Option<TempDir>, SinkError> {
    match fs::rename(temp.path(), place) {
        Ok(()) => {
            // It has another name now; the old one must not be removed when this is dropped.
            let _ = temp.keep();
            Ok(None)
        }
        Err(e) => Err(match e.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => exists(given),
            _ => SinkError::io("rename the finished", Some(given), e),
        }),
    }
}

/// Takes the place of an older folder, which is returned under a hidden name.
pub(crate) fn exchange(given: &Path, temp: TempDir, place: &Path) -> Result<Option<TempDir>, SinkError> {
    match exchange_names(temp.path(), place) {
        Ok(()) => return Ok(Some(temp)),
        // Not every file system can exchange, and not every system.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
        Err(e) => return Err(SinkError::io("exchange the finished", Some(given), e)),
    }
    // There is a moment without any folder; if the process dies in it, both are there under hidden names.
    let failed = |e| SinkError::io("rename the finished", Some(given), e);
    let Some(parent) = place.parent() else { return Err(exists(given)) };
    let aside = tempfile::Builder::new().prefix(".replaced.pgarrow-").tempdir_in(parent).map_err(failed)?;
    fs::rename(place, aside.path()).map_err(failed)?;
    if let Err(error) = fs::rename(temp.path(), place) {
        if fs::rename(aside.path(), place).is_err() {
            // Better a hidden folder than none.
            let _ = aside.keep();
        }
        return Err(failed(error));
    }
    let _ = temp.keep();
    Ok(Some(aside))
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn exchange_names(one: &Path, two: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    Ok(renameat2(AT_FDCWD, one, AT_FDCWD, two, RenameFlags::RENAME_EXCHANGE)?)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn exchange_names(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn exists(given: &Path) -> SinkError {
    let text =
        format!("output folder {given:?} exists; choose another name or allow overwriting (--overwrite)");
    SinkError::new(SinkErrorKind::Exists, text).with_path(given)
}
