//! Where the files of a job go, and where they are read again.
//!
//! ```text
//!  Store::open("lake/")      ─▶ create ─▶ Output ─▶ publish      a file that appears when it is complete
//!  Store::open("s3://lake")     create_new                       a small object that must not be there yet
//!                               read, reader, list, remove
//!                               StoredFile                       parts of a file, in any order
//! ```
//!
//! Paths in a store are relative, and their parts are separated by `/` everywhere.
#![forbid(unsafe_code)]

mod address;
mod background;
mod bucket;
mod connect;
mod download;
mod local;
mod patience;
mod remote;
mod stored_file;
mod trouble;
mod upload;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use pgarrow_sink::{Output, SinkError, SinkErrorKind};

use crate::local::Local;
use crate::remote::Remote;
pub use crate::stored_file::{StoredFile, StoredPart};
pub use crate::upload::UPLOAD_MEMORY_BYTES;

/// A place for files. Clones are the same place.
#[derive(Clone)]
pub struct Store {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Local(Local),
    Remote(Remote),
}

/// What a store has under a path.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Its path in the store.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written, by the store's clock.
    pub modified: SystemTime,
}

impl Store {
    /// Opens a folder of this machine, which is made when the first file is, or an object store:
    /// `s3://bucket`, `gs://bucket`, `az://container` and `abfss://container@account.dfs.core.windows.net`,
    /// each with or without a folder. `http://` and `https://` are only read.
    ///
    /// Object stores take credentials and addresses from the environment, by their own names:
    /// `AWS_ACCESS_KEY_ID` and `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`,
    /// `AZURE_STORAGE_ACCOUNT_NAME` and so on. Files of other programs, as those in `~/.aws`, are not read.
    /// Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The name is empty, no such place exists, a URL holds what may be a secret, or settings are not
    /// complete.
    pub fn open(location: &str) -> Result<Self, SinkError> {
        Self::open_with(location, &[])
    }

    /// As [`open`](Self::open), with options that go before the environment. Their names are those of the
    /// variables in small letters, such as `aws_endpoint_url`, and:
    ///
    /// | option | default | meaning |
    /// |---|---|---|
    /// | `timeout` | `30s` | for each request, and for each 8 MiB of larger ones |
    /// | `max_retries` | `10` | how often a request is tried again |
    /// | `retry_timeout` | `3m` | how long after the first try the last may begin |
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); an option that there is not.
    pub fn open_with(location: &str, options: &[(String, String)]) -> Result<Self, SinkError> {
        let refuse = |text: String| Err(SinkError::new(SinkErrorKind::Unsupported, text));
        if location.is_empty() {
            return refuse("the name of the folder is empty".to_owned());
        }
        match location.split_once("://") {
            Some((scheme, rest)) => {
                Remote::open(scheme, rest, options).map(|remote| Self { place: Place::Remote(remote) })
            }
            None if !options.is_empty() => refuse("a folder of this machine has no options".to_owned()),
            None => Ok(Self { place: Place::Local(Local::new(location.into())) }),
        }
    }

    /// The same place, whose requests are waited for no longer once `is_stopped` says so: what waits then
    /// ends with an error soon after. A folder of this machine is not waited for.
    #[must_use]
    pub fn stopped_when(&self, is_stopped: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let place = match &self.place {
            Place::Local(local) => Place::Local(local.clone()),
            Place::Remote(remote) => Place::Remote(remote.stopped_when(Arc::new(is_stopped))),
        };
        Self { place }
    }

    /// The place as people know it, without secrets.
    pub fn location(&self) -> String {
        match &self.place {
            Place::Local(local) => local.root().display().to_string(),
            Place::Remote(remote) => remote.location(),
        }
    }

    /// Bytes that each file takes up in memory while it is written, and that nothing else counts: those that
    /// are on their way. More for files of more than 6 GB.
    pub fn file_memory_bytes(&self) -> usize {
        match &self.place {
            Place::Local(_) => 0,
            Place::Remote(_) => UPLOAD_MEMORY_BYTES,
        }
    }

    /// Begins a file that appears at `path` when it is published. There must be none.
    ///
    /// # Errors
    ///
    /// [`Exists`](SinkErrorKind::Exists), a path that leaves the store, or what keeps a file from being made.
    pub fn create(&self, path: &str) -> Result<Output, SinkError> {
        check_path(path)?;
        match &self.place {
            Place::Local(local) => local.create(path),
            Place::Remote(remote) => remote.create(path),
        }
    }

    /// Stores bytes, if there is nothing at `path` yet: of several that try it, one succeeds. Returns whether
    /// it was this one.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create), but for what exists.
    pub fn create_new(&self, path: &str, bytes: &[u8]) -> Result<bool, SinkError> {
        check_path(path)?;
        match &self.place {
            Place::Local(local) => local.create_new(path, bytes),
            Place::Remote(remote) => remote.create_new(path, bytes),
        }
    }

    /// Stores bytes in the place of what may be at `path`.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create), but for what exists.
    pub fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), SinkError> {
        check_path(path)?;
        match &self.place {
            Place::Local(local) => local.replace(path, bytes),
            Place::Remote(remote) => remote.replace(path, bytes),
        }
    }

    /// The bytes at `path`; `None` if there is nothing. For small objects.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let Some(mut reader) = self.reader(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| SinkError::io("read", Some(Path::new(path)), error))?;
        Ok(Some(bytes))
    }

    /// Reads what is at `path` as a stream; `None` if there is nothing.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn reader(&self, path: &str) -> Result<Option<Box<dyn Read + Send>>, SinkError> {
        check_path(path)?;
        match &self.place {
            Place::Local(local) => local.reader(path),
            Place::Remote(remote) => remote.reader(path),
        }
    }

    /// Whether it is a web server: its files can be read, and neither written nor listed.
    pub fn is_web(&self) -> bool {
        match &self.place {
            Place::Local(_) => false,
            Place::Remote(remote) => remote.is_web(),
        }
    }

    /// Where the file at `path` is on this machine, whether or not there is one; `None` for a store
    /// elsewhere.
    ///
    /// # Errors
    ///
    /// A path that leaves the store.
    pub fn local_path(&self, path: &str) -> Result<Option<PathBuf>, SinkError> {
        check_path(path)?;
        match &self.place {
            Place::Local(local) => Ok(Some(local.root().join(path))),
            Place::Remote(_) => Ok(None),
        }
    }

    /// All files below `folder`, hidden ones too, by their paths; `""` is the whole store.
    ///
    /// # Errors
    ///
    /// They cannot be listed.
    pub fn list(&self, folder: &str) -> Result<Vec<Entry>, SinkError> {
        if !folder.is_empty() {
            check_path(folder)?;
        }
        match &self.place {
            Place::Local(local) => local.list(folder),
            Place::Remote(remote) => remote.list(folder),
        }
    }

    /// Removes what is at `path`. Returns whether something was there.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    pub fn remove(&self, path: &str) -> Result<bool, SinkError> {
        check_path(path)?;
        match &self.place {
            Place::Local(local) => local.remove(path),
            Place::Remote(remote) => remote.remove(path),
        }
    }
}

/// Refuses a path that is not relative, or leaves the store.
fn check_path(path: &str) -> Result<(), SinkError> {
    let is_plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    match path.split('/').all(is_plain) {
        true => Ok(()),
        false => Err(SinkError::new(SinkErrorKind::Unsupported, format!("{path:?} is no path in a store"))),
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.location()).finish()
    }
}
