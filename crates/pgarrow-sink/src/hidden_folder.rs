//! The hidden folder of an [`OutputFolder`](crate::OutputFolder) that is not published, and its files that
//! are not complete.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::replace::IsOurs;

/// What handles and files of an [`OutputFolder`](crate::OutputFolder) share.
pub(crate) struct HiddenFolder {
    /// As the caller gave it: for messages and the report.
    pub(crate) given: PathBuf,
    /// Absolute, and without a separator at its end, which would follow a symbolic link.
    pub(crate) place: PathBuf,
    pub(crate) parent: PathBuf,
    /// None: nothing is replaced.
    pub(crate) overwrite: Option<Arc<IsOurs>>,
    pub(crate) run_id: String,
    pub(crate) temporary: PathBuf,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    /// Holds the lock that says that the temporary folder has an owner.
    pub(crate) claim: Option<File>,
    /// Taken out by publishing.
    pub(crate) temp: Option<TempDir>,
    /// In lower case: some file systems do not tell `A` from `a`.
    pub(crate) names: HashSet<String>,
    /// Names and sizes of the complete files.
    pub(crate) complete: Vec<(String, u64)>,
    /// Files that are neither complete nor dropped.
    pub(crate) n_open: usize,
}

impl HiddenFolder {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is complete or was not begun, even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HiddenFolder {
    fn drop(&mut self) {
        if let Some(temp) = &self.state().temp {
            // Incomplete files are removed already. This call needs no file descriptor; a search for more
            // files would, and there may be none left. If there are complete files, this fails, and dropping
            // `temp` removes them.
            let _ = fs::remove_dir(temp.path());
        }
    }
}

/// A file in an [`OutputFolder`](crate::OutputFolder), until it is complete.
pub(crate) struct Entry {
    folder: Arc<HiddenFolder>,
    name: String,
    given: PathBuf,
    temporary: PathBuf,
    complete: bool,
}

impl Entry {
    /// For a file that was made as `temporary` and counted as open.
    pub(crate) fn new(folder: Arc<HiddenFolder>, name: &str, given: PathBuf, temporary: PathBuf) -> Self {
        Self { folder, name: name.to_owned(), given, temporary, complete: false }
    }

    /// The name the file will have.
    pub(crate) fn given(&self) -> &Path {
        &self.given
    }

    /// Notes that the file is complete, and its size.
    pub(crate) fn complete(mut self, bytes: u64) -> PathBuf {
        self.complete = true;
        self.folder.state().complete.push((self.name.clone(), bytes));
        self.given.clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.folder.state();
        state.n_open -= 1;
        if !self.complete {
            // A file that cannot be removed blocks its name, so that nothing incomplete is published as
            // another file.
            if fs::remove_file(&self.temporary).is_ok() {
                state.names.remove(&self.name.to_lowercase());
            }
        }
    }
}
