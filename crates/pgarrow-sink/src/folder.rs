//! A folder of files that appears all at once.
//!
//! ```text
//! NewFolder::create ─▶ file, file, … ─▶ publish: manifest ─▶ sync files ─▶ rename folder ─▶ sync parent
//!       └ `.<name>.pgarrow-…` beside the target, removed when the last handle is dropped
//! ```

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{self, Path};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::error::{SinkError, SinkErrorKind};
use crate::hidden_folder::{Entry, HiddenFolder, State};
use crate::manifest::{MANIFEST, Manifest, new_run_id};
use crate::output::Output;
use crate::replace::{self, IsOurs, Replace};
use crate::{hidden_file, stale};

/// Most files that are synced one by one. With more of them one `syncfs` is cheaper: it also waits for other
/// programs' writes to the file system, but an fsync of each of a thousand small files is a thousand journal
/// commits.
const FILES_SYNCED_SINGLY_MAX: usize = 32;

/// How an [`OutputFolder`] is begun. By default nothing is replaced.
#[derive(Clone)]
pub struct NewFolder {
    overwrite: bool,
    is_ours: Arc<IsOurs>,
    run_id: Option<String>,
}

impl Default for NewFolder {
    fn default() -> Self {
        Self { overwrite: false, is_ours: Arc::new(|_: &Path| false), run_id: None }
    }
}

impl NewFolder {
    /// Whether to replace a folder of files of exports. A folder counts as one if its manifest has all its
    /// files, with their sizes, except files that begin with a dot or an underscore.
    #[must_use]
    pub fn with_overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Recognizes files of exports that no manifest has, by what the files say themselves. The sinks' crates
    /// have functions for it: `pgarrow_sink_parquet::is_ours`, `pgarrow_sink_ipc::is_ours`. By default such a
    /// file does not count as an export's.
    #[must_use]
    pub fn with_is_ours(mut self, is_ours: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        self.is_ours = Arc::new(is_ours);
        self
    }

    /// The run's id in the manifest. By default a random one, see [`new_run_id`].
    #[must_use]
    pub fn with_run_id(mut self, run_id: impl Into<String>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }

    /// Starts a folder that will appear at `path` when it is published.
    ///
    /// There must be nothing at `path`, or an empty folder; or, with
    /// [`with_overwrite`](Self::with_overwrite), a folder of files of exports. Publishing replaces that
    /// folder, in one step if the system can (Linux). A folder with anything else inside is never replaced,
    /// and neither is the current folder. The folder's mode is 0777 less the umask, its files' mode 0666 less
    /// the umask.
    ///
    /// Temporary folders that killed processes left for the same name are removed; those of living processes
    /// are locked.
    ///
    /// # Errors
    ///
    /// [`Exists`](SinkErrorKind::Exists), [`NotAFile`](SinkErrorKind::NotAFile) for something that is not a
    /// folder, a link to a folder, or a folder that is never replaced, and the system's error if it cannot
    /// make a folder there.
    pub fn create(self, path: impl AsRef<Path>) -> Result<OutputFolder, SinkError> {
        OutputFolder::begin(path.as_ref(), self)
    }
}

impl fmt::Debug for NewFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFolder")
            .field("overwrite", &self.overwrite)
            .field("run_id", &self.run_id)
            .finish_non_exhaustive()
    }
}

/// A folder of files that will appear, with all of them, when it is published.
///
/// Beside them it has `_pgarrow_manifest.json`, with the run's id and the files' names and sizes.
///
/// A handle: clones stand for the same folder. Files are made by several sinks, and the owner publishes once.
/// The folder is removed when the last handle and the last file are dropped before that.
#[derive(Clone)]
pub struct OutputFolder {
    shared: Arc<HiddenFolder>,
}

impl OutputFolder {
    /// Starts a folder that will appear at `path` when it is published, see [`NewFolder::create`].
    ///
    /// # Errors
    ///
    /// As for [`NewFolder::create`].
    pub fn create(path: impl AsRef<Path>, overwrite: bool) -> Result<Self, SinkError> {
        NewFolder::default().with_overwrite(overwrite).create(path)
    }

    fn begin(given: &Path, new: NewFolder) -> Result<Self, SinkError> {
        let overwrite = new.overwrite.then_some(new.is_ours);
        let unnamed = || {
            let text =
                format!("output folder {given:?} has no name of its own; give the name of a new folder");
            SinkError::new(SinkErrorKind::NotAFile, text).with_path(given)
        };
        if given.as_os_str().is_empty() {
            return Err(unnamed());
        }
        let absolute = path::absolute(given).map_err(|e| SinkError::io("find", Some(given), e))?;
        let (Some(name), Some(parent)) = (absolute.file_name(), absolute.parent()) else {
            return Err(unnamed());
        };
        let place = parent.join(name);
        replace::check_place(given, &place, overwrite.as_deref())?;

        let prefix = hidden_file::temp_prefix(&name.to_string_lossy());
        stale::sweep(parent, &prefix);
        if place.exists() {
            // A run that was killed while it replaced the folder left the older folder, perhaps as the only
            // one.
            stale::sweep(parent, &replace::aside_prefix(&name.to_string_lossy()));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).rand_bytes(stale::RANDOM_CHARS);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let (temp, claim) =
            claimed(&builder, parent).map_err(|e| hidden_file::cannot_create(given, parent, e))?;
        let temporary = temp.path().to_owned();
        let (given, parent) = (given.to_owned(), parent.to_owned());
        let state = State { claim, temp: Some(temp), names: HashSet::new(), complete: Vec::new(), n_open: 0 };
        let state = Mutex::new(state);
        let run_id = new.run_id.unwrap_or_else(new_run_id);
        Ok(Self {
            shared: Arc::new(HiddenFolder { given, place, parent, overwrite, run_id, temporary, state }),
        })
    }

    /// The name that the folder will have, as the caller gave it.
    pub fn path(&self) -> &Path {
        &self.shared.given
    }

    /// The hidden folder that holds the files until they are published.
    ///
    /// For programs that may have to end without dropping the handles, as at a second Ctrl-C: they remove the
    /// folder.
    pub fn temporary_path(&self) -> &Path {
        &self.shared.temporary
    }

    /// Starts a file in the folder. Publishing it closes it, without a sync of its own; dropping it removes
    /// it.
    ///
    /// # Errors
    ///
    /// [`Exists`](SinkErrorKind::Exists) for a name that the folder has already, in upper or lower case;
    /// [`Unsupported`](SinkErrorKind::Unsupported) for a name that is not a plain file name;
    /// [`Incomplete`](SinkErrorKind::Incomplete) if the folder was published; or the system's error.
    pub fn file(&self, name: &str) -> Result<Output, SinkError> {
        self.file_in("", name)
    }

    /// Starts a file in a folder inside of this one, as [`file`](Self::file) does: `below` has its path, with
    /// `/` between the names. The folder is made if it is not there; an empty path is this folder itself.
    ///
    /// # Errors
    ///
    /// As for [`file`](Self::file), also for the names of folders.
    pub fn file_in(&self, below: &str, name: &str) -> Result<Output, SinkError> {
        let shared = &self.shared;
        let is_plain =
            |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        let is_below = !below.is_empty();
        let file = if is_below { format!("{below}/{name}") } else { name.to_owned() };
        let has_plain_folders = !is_below || below.split('/').all(is_plain);
        let is_plain = is_plain(name) && has_plain_folders;
        let name = file.as_str();
        let path = shared.given.join(name);
        let error = |kind, text: &str| {
            let text = format!("output folder {:?}: a file named {name:?} {text}", shared.given);
            Err(SinkError::new(kind, text).with_path(&path))
        };
        if !is_plain {
            return error(SinkErrorKind::Unsupported, "cannot be made; choose a name without separators");
        }
        if name.eq_ignore_ascii_case(MANIFEST) {
            return error(SinkErrorKind::Unsupported, "would be taken for the folder's manifest");
        }
        let mut state = shared.state();
        if state.temp.is_none() {
            return error(SinkErrorKind::Incomplete, "came after the folder was published");
        }
        if !state.names.insert(name.to_lowercase()) {
            let text = "is in it already (upper and lower case count as the same)";
            return error(SinkErrorKind::Exists, text);
        }
        let temporary = shared.temporary.join(name);
        let made = match temporary.parent() {
            Some(folder) if is_below => fs::create_dir_all(folder),
            _ => Ok(()),
        };
        let file = made.and_then(|()| OpenOptions::new().write(true).create_new(true).open(&temporary));
        let file = file.map_err(|e| {
            state.names.remove(&name.to_lowercase());
            SinkError::io("create", Some(&path), e)
        })?;
        state.n_open += 1;
        drop(state);
        let entry = Entry::new(Arc::clone(shared), name, path, temporary);
        Ok(Output::in_folder(file, entry))
    }

    /// Makes the files durable and gives the folder its name. The owner calls it once, when all files are
    /// complete.
    ///
    /// Returns a warning if the parent's file system cannot make names durable.
    ///
    /// # Errors
    ///
    /// [`Incomplete`](SinkErrorKind::Incomplete) while a file is being written, for a second call, or if
    /// another program changed or removed a complete file; or the system's error. The folder is then not
    /// published but removed, with two exceptions, which the text names: the new folder is in place, but the
    /// replaced one could not be removed; and a failed sync of the parent folder, after which a power failure
    /// may undo the rename.
    pub fn publish(&self) -> Result<Vec<String>, SinkError> {
        let shared = &self.shared;
        let given = &shared.given;
        let incomplete = |what: &str| {
            let text = format!("output folder {given:?} {what}; nothing was published");
            Err(SinkError::new(SinkErrorKind::Incomplete, text).with_path(given))
        };
        let mut state = shared.state();
        let n_open = state.n_open;
        if n_open > 0 {
            return incomplete(&format!("has {n_open} unfinished files"));
        }
        let Some(temp) = state.temp.take() else { return incomplete("was published or given up before") };
        let described = write_manifest(temp.path(), &shared.run_id, &state.complete);
        let synced = sync_files(temp.path());
        // If locks are known to one host only, a sweeper on another host may have removed files.
        if let Some(name) = find_changed(temp.path(), &state.complete)
            .map_err(|e| SinkError::io("look at the files of", Some(given), e))?
        {
            return incomplete(&format!("lost its file {name:?}, or that has another size now: {CHANGED}"));
        }
        described.map_err(|e| SinkError::io("write the manifest of", Some(given), e))?;
        synced.map_err(|e| SinkError::io("sync", Some(given), e))?;
        // Opened before the rename, so that a failure to open still leaves nothing behind.
        let parent = hidden_file::open_folder(&shared.parent)
            .map_err(|e| SinkError::io("open the folder of", Some(given), e))?;
        let overwrite = shared.overwrite.as_deref();
        let replaced = match (replace::check_place(given, &shared.place, overwrite)?, overwrite) {
            (Replace::Folder, Some(is_ours)) => replace::exchange(given, temp, &shared.place, is_ours)?,
            _ => replace::rename_new(given, temp, &shared.place)?,
        };
        let unsynced = hidden_file::sync_folder(parent.as_ref())
            .map_err(|e| SinkError::io("sync the folder of", Some(given), e))?;
        if let Some(replaced) = replaced {
            let folder = replaced.path().to_owned();
            match replaced.close() {
                // Another export to the same name removed it: it had no owner.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    let doing = format!("remove {folder:?}, which was replaced by the complete");
                    return Err(SinkError::io(&doing, Some(given), e));
                }
                Ok(()) => {}
            }
        }
        state.claim = None;
        Ok(unsynced.map(|why| hidden_file::unsynced_warning(&why)).into_iter().collect())
    }
}

/// The likely cause, and what to do.
const CHANGED: &str =
    "another program changed the hidden folder; let only one export at a time write to a name";

/// The first complete file that is missing or has another size.
fn find_changed<'a>(folder: &Path, complete: &'a [(String, u64)]) -> io::Result<Option<&'a str>> {
    for (name, bytes) in complete {
        match fs::symlink_metadata(folder.join(name)) {
            Ok(metadata) if metadata.is_file() && metadata.len() == *bytes => {}
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => return Ok(Some(name)),
        }
    }
    Ok(None)
}

/// Writes the manifest into the folder.
fn write_manifest(folder: &Path, run_id: &str, complete: &[(String, u64)]) -> io::Result<()> {
    let json = Manifest::new(run_id, complete).to_json()?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(folder.join(MANIFEST))?;
    file.write_all(&json)
}

/// Makes a temporary folder and locks it, if folders can be opened and locked.
fn claimed(builder: &tempfile::Builder<'_, '_>, parent: &Path) -> io::Result<(TempDir, Option<File>)> {
    for _ in 0..stale::NAMES_TRIED {
        let temp = builder.tempdir_in(parent)?;
        let claimed = File::open(temp.path())
            .and_then(|file| stale::claim(&file, temp.path()).map(|is_ours| is_ours.then_some(file)));
        match claimed {
            Ok(Some(file)) => return Ok((temp, Some(file))),
            // A sweeper has it; dropping it changes nothing.
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            // A sweeper cannot open it either: a umask may forbid it, and Windows opens no folder.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok((temp, None)),
            Err(e) => {
                // Dropping `temp` needs a file descriptor, and there may be none left.
                let _ = fs::remove_dir(temp.path());
                return Err(e);
            }
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

/// Makes the files of a folder durable, and their names.
///
/// Each sync is tried once: after a failed one the kernel may have dropped the pages. The first sync after an
/// error of writing back reports it, through any handle (Linux 4.13; for `syncfs` 5.8).
fn sync_files(folder: &Path) -> io::Result<()> {
    let handle = hidden_file::open_folder(folder)?;
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    let mut n_listed = 0;
    while let Some(listed) = folders.get(n_listed) {
        n_listed += 1;
        for entry in fs::read_dir(listed)? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut folders } else { &mut files };
            list.push(entry.path());
        }
    }
    #[cfg(target_os = "linux")]
    if let (Some(handle), true) = (&handle, files.len() + folders.len() > FILES_SYNCED_SINGLY_MAX) {
        return Ok(nix::unistd::syncfs(handle)?);
    }
    for file in files {
        // Windows flushes only files that are open for writing.
        File::options().write(true).open(file)?.sync_all()?;
    }
    // If the file system cannot do this, the parent's sync gives the warning: the parent is on the same file
    // system.
    for folder in folders {
        hidden_file::sync_folder(hidden_file::open_folder(&folder)?.as_ref())?;
    }
    Ok(())
}

impl fmt::Debug for OutputFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputFolder")
            .field("path", &self.shared.given)
            .field("temporary_path", &self.shared.temporary)
            .finish_non_exhaustive()
    }
}
