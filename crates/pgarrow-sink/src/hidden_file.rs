//! The file an output will become: which names are refused, the temporary file, and the rename.

use std::fs::{self, File};
use std::io;
use std::path::{self, Path, PathBuf};

use pgarrow_types::call::STDOUT;
use pgarrow_types::message;
use pgarrow_types::option::OVERWRITE;
use tempfile::{NamedTempFile, TempPath};

use crate::error::{SinkError, SinkErrorKind};
use crate::stale;

/// A file under a hidden temporary name beside the place it will be published at.
///
/// Dropping it removes the temporary file.
#[derive(Debug)]
pub(crate) struct HiddenFile {
    /// As the caller gave it: for messages and the report.
    given: PathBuf,
    /// Absolute, so that a change of the working folder during the run changes nothing.
    place: PathBuf,
    folder: PathBuf,
    overwrite: bool,
    temp: TempPath,
}

impl HiddenFile {
    /// Checks the name, removes temporary files of killed processes, and makes the temporary file: new
    /// (`O_EXCL`), locked, and with the mode that the umask allows.
    pub(crate) fn create(given: &Path, overwrite: bool) -> Result<(Self, File), SinkError> {
        let refuse = |why: &str| {
            let text = format!("output {given:?} {why}; give the name of a file, or write to stdout (");
            let text = message![text, STDOUT, ")"];
            Err(SinkError::new(SinkErrorKind::NotAFile, text).with_path(given))
        };
        if given.as_os_str().is_empty() {
            return refuse("has no name");
        }
        if given.as_os_str().to_string_lossy().ends_with(path::is_separator) {
            return refuse("names a folder");
        }
        let place = path::absolute(given).map_err(|e| SinkError::io("find", Some(given), e))?;
        let (Some(name), Some(folder)) = (place.file_name(), place.parent()) else {
            return refuse("names a folder");
        };
        check_place(given, &place, overwrite)?;

        let prefix = temp_prefix(&name.to_string_lossy());
        stale::sweep(folder, &prefix);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).rand_bytes(stale::RANDOM_CHARS);
        // The default is 0600, which suits a secret. An export is published under this very inode, so it
        // gets what any other program would give it: 0666 less the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temp = claimed(&builder, folder).map_err(|e| cannot_create(given, folder, e))?;
        let (file, temp) = NamedTempFile::into_parts(temp);
        let folder = folder.to_owned();
        Ok((Self { given: given.to_owned(), place, folder, overwrite, temp }, file))
    }

    pub(crate) fn given(&self) -> &Path {
        &self.given
    }

    pub(crate) fn temporary(&self) -> &Path {
        &self.temp
    }

    /// Makes `file` durable and gives it its name. All bytes were written and flushed before.
    ///
    /// The order is that of PostgreSQL's `durable_rename` (`src/common/file_utils.c`). Each sync is tried
    /// once: after a failed fsync the kernel may have dropped the pages and a second one would succeed
    /// without them.
    ///
    /// Returns the name, and a warning if the folder cannot be synced.
    pub(crate) fn publish(self, file: &File) -> Result<(PathBuf, Option<String>), SinkError> {
        let Self { given, place, folder, overwrite, temp } = self;
        file.sync_all().map_err(|e| SinkError::io("sync", Some(&given), e))?;
        // Opened before the rename, so that a failure to open still leaves nothing behind.
        let folder =
            open_folder(&folder).map_err(|e| SinkError::io("open the folder of", Some(&given), e))?;
        check_place(&given, &place, overwrite)?;
        let renamed = if overwrite { temp.persist(&place) } else { temp.persist_noclobber(&place) };
        renamed.map_err(|refused| match refused.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&given),
            _ => SinkError::io("rename the finished", Some(&given), refused.error),
        })?;
        let unsynced =
            sync_folder(folder.as_ref()).map_err(|e| SinkError::io("sync the folder of", Some(&given), e))?;
        Ok((given, unsynced.map(|why| unsynced_warning(&why))))
    }
}

/// Makes a temporary file and locks it, if files can be locked.
fn claimed(builder: &tempfile::Builder<'_, '_>, folder: &Path) -> io::Result<NamedTempFile> {
    for _ in 0..stale::NAMES_TRIED {
        let temp = builder.tempfile_in(folder)?;
        if stale::claim(temp.as_file(), temp.path())? {
            return Ok(temp);
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Refuses a place that cannot become the output.
///
/// With `overwrite`, a symbolic link is not followed: the rename replaces the link itself, and its target
/// stays as it is. A link to something that is not a file, such as `/dev/stdout`, is refused all the same: a
/// user who names it means its target.
fn check_place(given: &Path, place: &Path, overwrite: bool) -> Result<(), SinkError> {
    let kind = match fs::symlink_metadata(place) {
        Ok(metadata) => metadata.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Part of the path is not a folder: creating the temporary file gives a better error.
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(()),
        Err(e) => return Err(SinkError::io("look at", Some(given), e)),
    };
    let behind = if kind.is_symlink() {
        if points_into_the_system(place) {
            return Err(not_a_file(given, "a link to an open file or a device"));
        }
        // A dangling link has no target.
        fs::metadata(place).ok().map(|metadata| metadata.file_type())
    } else {
        Some(kind)
    };
    match behind {
        Some(behind) if behind.is_dir() => Err(not_a_file(given, "a folder")),
        Some(behind) if !behind.is_file() => Err(not_a_file(given, "a pipe, device or socket")),
        _ if overwrite => Ok(()),
        _ => Err(exists(given)),
    }
}

/// `/dev/stdout` is a link into `/proc`, and leads to a plain file if stdout is redirected; replacing the
/// link would take it away from every other program.
fn points_into_the_system(link: &Path) -> bool {
    fs::read_link(link).is_ok_and(|to| to.starts_with("/proc") || to.starts_with("/dev"))
}

fn exists(given: &Path) -> SinkError {
    let text = format!("output {given:?} exists; choose another name or allow overwriting (");
    let text = message![text, OVERWRITE, ")"];
    SinkError::new(SinkErrorKind::Exists, text).with_path(given)
}

fn not_a_file(given: &Path, what: &str) -> SinkError {
    let text =
        format!("output {given:?} is {what}, not a file; give the name of a file, or write to stdout (");
    let text = message![text, STDOUT, ")"];
    SinkError::new(SinkErrorKind::NotAFile, text).with_path(given)
}

/// The temporary file or folder for `given` could not be made in `folder`.
pub(crate) fn cannot_create(given: &Path, folder: &Path, error: io::Error) -> SinkError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            let text =
                format!("output {given:?} is in folder {folder:?}, which does not exist; create it first");
            SinkError::new(SinkErrorKind::Io, text).with_path(given)
        }
        _ => SinkError::io("create", Some(given), error),
    }
}

/// `.<name>.pgarrow-`: hidden, and a user who finds one after a crash knows what made it.
pub(crate) fn temp_prefix(name: &str) -> String {
    // File systems allow 255 bytes; the dot, our mark and the random end take 16.
    let mut end = name.len().min(200);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!(".{}.pgarrow-", &name[..end])
}

/// Opens a folder to sync it; none if the system does not allow that.
pub(crate) fn open_folder(folder: &Path) -> io::Result<Option<File>> {
    match File::open(folder) {
        Ok(folder) => Ok(Some(folder)),
        // A folder may be writable without being readable, and Windows opens none at all.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(e) => Err(e),
    }
}

/// Makes the names in a folder durable. Returns why not, if its system cannot do so.
pub(crate) fn sync_folder(folder: Option<&File>) -> io::Result<Option<String>> {
    let Some(folder) = folder else { return Ok(Some("it may not be opened".to_owned())) };
    match folder.sync_all() {
        Ok(()) => Ok(None),
        // Some file systems cannot sync a folder (EINVAL, ENOTSUP); there is nothing more to do there.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(Some(e.to_string()))
        }
        Err(e) => Err(e),
    }
}

/// The warning for an output that is complete and in place, in a folder that was not synced.
pub(crate) fn unsynced_warning(why: &str) -> String {
    format!(
        "the folder of the output cannot be synced ({why}): a power failure soon may take the output's name away"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temp_prefix_of_long_names() {
        assert_eq!(temp_prefix("a.parquet"), ".a.parquet.pgarrow-");
        let long = "ü".repeat(120);
        let prefix = temp_prefix(&long);
        assert!(prefix.len() <= 220 && prefix.starts_with(".ü"), "{prefix}");
    }
}
