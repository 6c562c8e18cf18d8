//! The demo's two files: made in a hidden folder, and renamed into place when they are checked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::exit::Failure;
use crate::outputs::is_ours;
use crate::signals::Signals;

pub(crate) const PARQUET: &str = "lineitem.parquet";
pub(crate) const ARROW: &str = "lineitem.arrow";

/// The folder of a demo without `--dir`: its files belong to the demo.
const OWN_FOLDER: &str = "pgarrow-demo";

/// Dropped without [`publish`](Self::publish), it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Files {
    // Dropped first: the folder around it can be removed only when it is empty.
    hidden: TempDir,
    folder: Folder,
    replace: Replace,
}

/// Which existing files the demo replaces.
#[derive(Clone, Copy, Debug)]
enum Replace {
    Any,
    /// Those of an earlier demo, or of any export.
    Ours,
    None,
}

/// The place of the files; removed on drop if it was made here and is empty.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    is_new: bool,
}

impl Files {
    /// Makes the folder if it is missing, and a hidden one in it. `None` means the demo's own folder.
    pub(crate) fn prepare(dir: Option<&Path>, overwrite: bool, signals: &Signals) -> Result<Self, Failure> {
        let path = dir.unwrap_or(Path::new(OWN_FOLDER)).to_owned();
        let failed =
            |error: io::Error| Failure::output(format!("the folder {path:?} cannot be used: {error}"));
        let is_new = match fs::create_dir(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let folder = Folder { path: path.clone(), is_new };
        let replace = match (overwrite, dir) {
            (true, _) => Replace::Any,
            (false, None) => Replace::Ours,
            (false, Some(_)) => Replace::None,
        };
        folder.check(replace)?;
        let hidden = tempfile::Builder::new().prefix(".pgarrow-demo-").tempdir_in(&path).map_err(failed)?;
        signals.remove_at_exit(hidden.path());
        if is_new {
            signals.remove_at_exit(&path);
        }
        Ok(Self { hidden, folder, replace })
    }

    /// Where a file is made.
    pub(crate) fn temporary(&self, name: &str) -> PathBuf {
        self.hidden.path().join(name)
    }

    /// Where a file will be.
    pub(crate) fn published(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    /// Gives the files their names, and returns their folder.
    pub(crate) fn publish(mut self) -> Result<PathBuf, Failure> {
        self.folder.check(self.replace)?;
        for name in [PARQUET, ARROW] {
            fs::rename(self.temporary(name), self.published(name)).map_err(|error| {
                Failure::output(format!("{:?} cannot be put in its place: {error}", self.published(name)))
            })?;
        }
        self.folder.is_new = false;
        Ok(self.folder.path.clone())
    }
}

impl Folder {
    /// Refuses to replace a file that may belong to the user.
    fn check(&self, replace: Replace) -> Result<(), Failure> {
        for name in [PARQUET, ARROW] {
            let path = self.path.join(name);
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if !metadata.is_file() {
                return Err(Failure::output(format!(
                    "{path:?} is not a file; choose another folder (--dir)"
                )));
            }
            match replace {
                Replace::None => {
                    return Err(Failure::output(format!(
                        "{path:?} exists; choose another folder or allow overwriting (--overwrite)"
                    )));
                }
                Replace::Ours if !is_ours(&path) => {
                    return Err(Failure::output(format!(
                        "{path:?} is no file of an earlier demo; choose another folder (--dir)"
                    )));
                }
                Replace::Ours | Replace::Any => {}
            }
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_new {
            // Fails if the folder is not empty, and then it stays.
            let _ = fs::remove_dir(&self.path);
        }
    }
}
