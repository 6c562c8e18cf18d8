//! Gives a finished folder its name: where nothing is, or in place of an empty folder or of an older folder
//! of an export's files.
//!
//! Replacing a folder removes it. So its whole contents are checked: before anything is read, before the
//! folder is moved, and again after it was moved to a place where no other program finds it.

use std::fs;
use std::io;
use std::path::Path;

use pgarrow_types::message;
use pgarrow_types::option::OVERWRITE;
use tempfile::TempDir;

use crate::error::{SinkError, SinkErrorKind};
use crate::manifest::Manifest;
use crate::{hidden_file, stale};

/// Whether an export made a file, by what the file says itself.
pub(crate) type IsOurs = dyn Fn(&Path) -> bool + Send + Sync;

/// What an output folder replaces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Replace {
    /// Nothing, or an empty folder.
    Nothing,
    /// A folder of files of exports, which may be replaced.
    Folder,
}

/// Refuses a place that cannot become an output folder. Without `overwrite`, nothing may be in it.
pub(crate) fn check_place(
    given: &Path,
    place: &Path,
    overwrite: Option<&IsOurs>,
) -> Result<Replace, SinkError> {
    let kind = match fs::symlink_metadata(place) {
        Ok(metadata) => metadata.file_type(),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Replace::Nothing);
        }
        Err(e) => return Err(SinkError::io("look at", Some(given), e)),
    };
    if kind.is_symlink() {
        return Err(refused(given, "is a symbolic link"));
    }
    if !kind.is_dir() {
        return Err(refused(given, "is a file, pipe, device or socket"));
    }
    if is_working_folder(place) {
        // The user's shell would be in a folder that no longer exists.
        return Err(refused(given, "is the current folder, which is never replaced"));
    }
    if fs::read_dir(place).map_err(|e| cannot_read(given, e))?.next().is_none() {
        return Ok(Replace::Nothing);
    }
    check_contents(given, place, overwrite.ok_or_else(|| exists(given))?)?;
    Ok(Replace::Folder)
}

#[cfg(unix)]
fn is_working_folder(place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let identity = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((identity(place), identity(Path::new("."))), (Ok(place), Ok(working)) if place == working)
}

#[cfg(not(unix))]
fn is_working_folder(place: &Path) -> bool {
    let working = std::env::current_dir().and_then(fs::canonicalize);
    matches!((fs::canonicalize(place), working), (Ok(place), Ok(working)) if place == working)
}

/// Refuses a folder with anything in it that no export made, and names that.
///
/// A visible file must be in the folder's manifest with its size, or say itself that it is an export's. Names
/// that begin with a dot or an underscore hide from readers of whole folders, and belong to the folder's
/// users (`_SUCCESS`, `.gitkeep`): they go with it. But in a folder with nothing else, only empty ones do.
///
/// A folder inside is replaced only if the manifest has files in it: those of partitions.
fn check_contents(given: &Path, folder: &Path, is_ours: &IsOurs) -> Result<(), SinkError> {
    let manifest = Manifest::read(folder);
    let mut entries = entries_of(folder, "").map_err(|e| cannot_read(given, e))?;
    let mut is_export = manifest.is_some();
    let mut hidden = None;
    while let Some((path, entry)) = entries.pop() {
        let name = entry.file_name();
        let other = |what: &str| refused(given, &format!("has {what}, {path:?}, and is never replaced"));
        let metadata = entry.metadata().map_err(|e| cannot_read(given, e))?;
        if metadata.is_dir() {
            if !manifest.as_ref().is_some_and(|manifest| manifest.has_folder(&path)) {
                // A user of `-o /home/me/ --overwrite` means something else.
                return Err(other("a folder in it"));
            }
            entries
                .extend(entries_of(&entry.path(), &format!("{path}/")).map_err(|e| cannot_read(given, e))?);
            continue;
        }
        if !metadata.is_file() {
            return Err(other("a link, pipe, device or socket in it"));
        }
        if matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_')) {
            if metadata.len() > 0 {
                hidden.get_or_insert(name);
            }
            continue;
        }
        let is_listed = |manifest: &Manifest| manifest.has(&path, metadata.len());
        if !manifest.as_ref().is_some_and(is_listed) && !is_ours(&entry.path()) {
            return Err(other("a file in it that no export has made"));
        }
        is_export = true;
    }
    match hidden {
        Some(name) if !is_export => {
            let what = format!("has no file of an export in it, but {name:?}, and is never replaced");
            Err(refused(given, &what))
        }
        _ => Ok(()),
    }
}

/// What is in a folder, with its path: the names behind `prefix`. The first name is at the end, so that an
/// error names the same file each time.
fn entries_of(folder: &Path, prefix: &str) -> io::Result<Vec<(String, fs::DirEntry)>> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.file_name()));
    let path = |entry: &fs::DirEntry| format!("{prefix}{}", entry.file_name().to_string_lossy());
    Ok(entries.into_iter().map(|entry| (path(&entry), entry)).collect())
}

fn refused(given: &Path, what: &str) -> SinkError {
    let text = format!("output folder {given:?} {what}; give the name of a new folder");
    SinkError::new(SinkErrorKind::NotAFile, text).with_path(given)
}

fn cannot_read(given: &Path, error: io::Error) -> SinkError {
    SinkError::io("read the folder at", Some(given), error)
}

/// Renames to a place where nothing is, or an empty folder. The system refuses anything else, so files that
/// another program put there in the meantime stay.
pub(crate) fn rename_new(given: &Path, temp: TempDir, place: &Path) -> Result<Option<TempDir>, SinkError> {
    match fs::rename(temp.path(), place) {
        Ok(()) => {
            // It has another name now; dropping `temp` must not remove the old one.
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
///
/// If the older folder has something in it that no export made, it keeps its place: another program put it
/// there a moment ago.
pub(crate) fn exchange(
    given: &Path,
    temp: TempDir,
    place: &Path,
    is_ours: &IsOurs,
) -> Result<Option<TempDir>, SinkError> {
    match exchange_names(temp.path(), place) {
        Ok(()) => {
            let Err(error) = check_contents(given, temp.path(), is_ours) else { return Ok(Some(temp)) };
            if exchange_names(temp.path(), place).is_ok() {
                return Err(error);
            }
            let older = temp.keep();
            let text = format!("{error}; it is {older:?} now, and what was exported has taken its place");
            return Err(SinkError::new(error.kind(), text).with_path(given));
        }
        // Not every file system can exchange, and not every system.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
        Err(e) => return Err(SinkError::io("exchange the finished", Some(given), e)),
    }
    put_aside(given, temp, place, is_ours).map(Some)
}

/// The prefix of a folder's hidden name while another folder takes its place.
///
/// `.<name>.pgarrow-replaced-`: an output's temporary name ends with `.pgarrow-` and letters and digits, so
/// this is the name of no output.
pub(crate) fn aside_prefix(name: &str) -> String {
    format!("{}replaced-", hidden_file::temp_prefix(name))
}

/// Renames the older folder to a hidden name, which is returned, and the new one to the place.
///
/// For a moment there is no folder at the place; if the process is killed then, both folders are there under
/// hidden names.
fn put_aside(given: &Path, temp: TempDir, place: &Path, is_ours: &IsOurs) -> Result<TempDir, SinkError> {
    let failed = |e| SinkError::io("rename the finished", Some(given), e);
    let (Some(name), Some(parent)) = (place.file_name(), place.parent()) else { return Err(exists(given)) };
    let mut builder = tempfile::Builder::new();
    let prefix = aside_prefix(&name.to_string_lossy());
    builder.prefix(&prefix).rand_bytes(stale::RANDOM_CHARS);
    let aside = builder.tempdir_in(parent).map_err(failed)?;
    // Locked before it has that name, and until it is removed or has its own name again. No other process has
    // it locked, and if it cannot be locked, no sweeper can lock it either.
    let claim = hidden_file::open_folder(place).map_err(failed)?;
    if let Some(claim) = &claim {
        stale::claim(claim, place).map_err(failed)?;
    }
    fs::rename(place, aside.path()).map_err(failed)?;
    let renamed = check_contents(given, aside.path(), is_ours)
        .and_then(|()| fs::rename(temp.path(), place).map_err(failed));
    if let Err(error) = renamed {
        if fs::rename(aside.path(), place).is_ok() {
            return Err(error);
        }
        // Better a hidden folder than none.
        let older = aside.keep();
        let text = format!("{error}; the folder that was there is {older:?} now");
        return Err(SinkError::new(error.kind(), text).with_path(given));
    }
    let _ = temp.keep();
    // A sweeper may remove it now: the new folder is in place.
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
    let text = format!("output folder {given:?} exists; choose another name or allow overwriting (");
    let text = message![text, OVERWRITE, ")"];
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
        let aside = put_aside(Path::new("d"), temp, &place, &|_| true).unwrap();
        assert!(place.join("new").exists() && !place.join("old").exists());
        assert!(aside.path().join("old").exists());
        let name = aside.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(".d.pgarrow-replaced-"), "{name}");
        // Neither an output of the same name nor one named by the mark takes it for its own.
        for output in ["d", "replaced", "d.pgarrow-replaced", "d.pgarrow-replaced-"] {
            stale::sweep(parent.path(), &hidden_file::temp_prefix(output));
            assert!(aside.path().exists(), "{output}");
        }
        // As after its run was killed.
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
        put_aside(Path::new("d"), temp, &place, &|_| true).unwrap_err();
        assert!(place.join("old").exists());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    /// Before, files that came between the check of the folder and its removal were removed with it.
    #[test]
    fn what_came_at_the_last_moment_keeps_its_place() {
        type Publish = fn(TempDir, &Path) -> Result<(), SinkError>;
        let ways: [Publish; 2] = [
            |temp, place| exchange(Path::new("d"), temp, place, &is_old).map(drop),
            |temp, place| put_aside(Path::new("d"), temp, place, &is_old).map(drop),
        ];
        for publish in ways {
            let parent = tempfile::tempdir().unwrap();
            let (place, temp) = (parent.path().join("d"), tempfile::tempdir_in(parent.path()).unwrap());
            fs::create_dir(&place).unwrap();
            fs::write(place.join("old"), "").unwrap();
            fs::write(temp.path().join("new"), "").unwrap();
            assert_eq!(check_place(Path::new("d"), &place, Some(&is_old)).unwrap(), Replace::Folder);
            fs::write(place.join("theirs"), "").unwrap();
            let error = publish(temp, &place).unwrap_err();
            assert!(error.to_string().contains("\"theirs\""), "{error}");
            assert!(
                place.join("theirs").exists() && place.join("old").exists() && !place.join("new").exists()
            );
            assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
        }
    }

    fn is_old(path: &Path) -> bool {
        path.ends_with("old")
    }
}
