//! Giving a finished folder its name, in place of nothing, of an empty folder, or of an older folder of files.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::{stale, target};

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
    put_aside(given, temp, place).map(Some)
}

/// What the hidden name of a folder begins with that makes room for another one.
///
/// `.<name>.pgarrow-replaced-`: a temporary name ends with `.pgarrow-` and letters and digits, so that it is none of
/// any output.
pub(crate) fn aside_prefix(name: &str) -> String {
    format!("{}replaced-", target::temp_prefix(name))
}

/// Renames the older folder to a hidden name, which is returned, and the new one to the place.
///
/// There is a moment without any folder; if the process dies in it, both are there under hidden names.
fn put_aside(given: &Path, temp: TempDir, place: &Path) -> Result<TempDir, SinkError> {
    let failed = |e| SinkError::io("rename the finished", Some(given), e);
    let (Some(name), Some(parent)) = (place.file_name(), place.parent()) else { return Err(exists(given)) };
    let mut builder = tempfile::Builder::new();
    let prefix = aside_prefix(&name.to_string_lossy());
    builder.prefix(&prefix).rand_bytes(stale::RANDOM_CHARS);
    let aside = builder.tempdir_in(parent).map_err(failed)?;
    // Locked before it has that name, and until it is removed or has its own name again. Nobody else has it locked, and
    // where it cannot be locked no sweeper can lock it.
    let claim = target::open_folder(place).map_err(failed)?;
    if let Some(claim) = &claim {
        stale::claim(claim, place).map_err(failed)?;
    }
    fs::rename(place, aside.path()).map_err(failed)?;
    if let Err(error) = fs::rename(temp.path(), place) {
        if fs::rename(aside.path(), place).is_err() {
            // Better a hidden folder than none.
            let _ = aside.keep();
        }
        return Err(failed(error));
    }
    let _ = temp.keep();
    // Whoever finds it now may remove it: the new folder is in place.
    drop(claim);
    Ok(aside)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_folder_makes_room_under_a_name_of_its_own() {
        let parent = tempfile::tempdir().unwrap();
        let (place, temp) = (parent.path().join("d"), tempfile::tempdir_in(parent.path()).unwrap());
        fs::create_dir(&place).unwrap();
        fs::write(place.join("old"), "").unwrap();
        fs::write(temp.path().join("new"), "").unwrap();
        let aside = put_aside(Path::new("d"), temp, &place).unwrap();
        assert!(place.join("new").exists() && !place.join("old").exists());
        assert!(aside.path().join("old").exists());
        let name = aside.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(".d.pgarrow-replaced-"), "{name}");
        // Neither an output of the same name nor one named by the mark takes it for its own.
        for output in ["d", "replaced", "d.pgarrow-replaced", "d.pgarrow-replaced-"] {
            stale::sweep(parent.path(), &target::temp_prefix(output));
            assert!(aside.path().exists(), "{output}");
        }
        // As after the death of its run.
        #[cfg(unix)]
        {
            let lock = fs::File::open(aside.path()).unwrap();
            lock.lock().unwrap();
            stale::sweep(parent.path(), &aside_prefix("d"));
            assert!(aside.path().exists(), "its owner lives");
            drop(lock);
            stale::sweep(parent.path(), &aside_prefix("d"));
            assert!(!aside.path().exists());
        }
    }

    #[test]
    fn a_new_folder_that_cannot_be_renamed_leaves_the_older_one() {
        let parent = tempfile::tempdir().unwrap();
        let (place, temp) = (parent.path().join("d"), tempfile::tempdir_in(parent.path()).unwrap());
        fs::create_dir(&place).unwrap();
        fs::write(place.join("old"), "").unwrap();
        fs::remove_dir(temp.path()).unwrap();
        put_aside(Path::new("d"), temp, &place).unwrap_err();
        assert!(place.join("old").exists());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
