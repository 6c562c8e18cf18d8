//! What a load reads: paths of this machine, and URLs of object stores and web servers.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgarrow::{Cancel, Error, ErrorKind};
use pgarrow_load::input::{InputFile, PART_BYTES_MAX, RemoteFile, RemotePart};
use pgarrow_sink::{SinkError, SinkErrorKind};
use pgarrow_store::{Store, StoredFile};

use crate::exit::Failure;

const _: () = assert!(PART_BYTES_MAX <= StoredFile::PART_BYTES_MAX);

/// Whether it is a URL of a store, and no path.
///
/// # Errors
///
/// It is a connection, or another URL: what follows may be a secret, and is not repeated.
pub(super) fn is_url(path: &Path) -> Result<bool, Failure> {
    let text = path.to_string_lossy();
    let Some((scheme, _)) = text.split_once("://") else { return Ok(false) };
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match scheme {
        "file" => Err(Failure::options("files of this machine are named by their paths; leave out file://")),
        "postgres" | "postgresql" => Err(not_a_file()),
        _ if !is_scheme => Err(not_a_file()),
        _ => Ok(true),
    }
}

fn not_a_file() -> Failure {
    Failure::options(
        "there is a connection, or another URL, among the files; give a connection as --target CONNECTION, and files by \
         their paths, or by URLs of stores",
    )
}

/// What the paths and URLs stand for. A folder of a store stands for its files, as one of this machine does.
pub(super) fn input_files(files: &[PathBuf], cancel: &Cancel) -> Result<Vec<InputFile>, Failure> {
    let mut found = Vec::with_capacity(files.len());
    for path in files {
        match is_url(path)? {
            false => found.push(InputFile::from(path)),
            true => found.extend(files_at(path, cancel)?.into_iter().map(InputFile::from)),
        }
    }
    Ok(found)
}

/// Opens the store at a URL. Its waits end when the load is cancelled.
pub(super) fn store_at(url: &Path, cancel: &Cancel) -> Result<Store, Error> {
    let Some(url) = url.to_str() else {
        return Err(Error::new(ErrorKind::Options, "there is a URL that is not UTF-8 among the files"));
    };
    let cancel = cancel.clone();
    Ok(Store::open(url).map_err(unreadable)?.stopped_when(move || cancel.is_requested()))
}

/// The file at a URL, or the files of a folder of a store, in the order of their names.
fn files_at(url: &Path, cancel: &Cancel) -> Result<Vec<Arc<dyn RemoteFile>>, Error> {
    let store = store_at(url, cancel)?;
    let location = store.location();
    let is_file = !url.to_string_lossy().ends_with('/') && has_path(&location);
    if let Some(file) = if is_file { stored(&store, "")? } else { None } {
        return Ok(vec![file]);
    }
    if store.is_web() {
        let text = format!("{location:?}: there is no such file; folders of web servers cannot be listed");
        return Err(Error::new(ErrorKind::Input, text));
    }
    let mut files = Vec::new();
    for entry in store.list("").map_err(unreadable)? {
        if holds_no_rows(&entry.path) {
            continue;
        }
        if entry.path.contains('/') {
            let text = format!(
                "{location:?}: it has a folder in it, which is not looked into; name the folders one by one"
            );
            return Err(Error::new(ErrorKind::Input, text));
        }
        files.extend(stored(&store, &entry.path)?);
    }
    match files.is_empty() {
        true => {
            let text = format!("{location:?}: there is no such file, and no folder with files of this name");
            Err(Error::new(ErrorKind::Input, text))
        }
        false => Ok(files),
    }
}

/// Whether a URL names more than a bucket or a host.
fn has_path(location: &str) -> bool {
    location.split_once("://").is_some_and(|(_, rest)| rest.contains('/'))
}

/// By convention, what has a name that begins with a dot or an underscore holds no rows.
pub(super) fn holds_no_rows(path: &str) -> bool {
    path.starts_with(['.', '_'])
}

/// The file at `path` of a store; `None` if there is none.
pub(super) fn stored(store: &Store, path: &str) -> Result<Option<Arc<dyn RemoteFile>>, Error> {
    let file = StoredFile::open(store, path).map_err(unreadable)?;
    Ok(file.map(|file| Arc::new(Stored(file)) as _))
}

/// An error of a store, of what should be loaded.
pub(super) fn unreadable(error: SinkError) -> Error {
    let kind = match error.kind() {
        SinkErrorKind::Unsupported => ErrorKind::Options,
        _ => ErrorKind::Input,
    };
    Error::new(kind, error.to_string())
}

#[derive(Debug)]
struct Stored(StoredFile);

impl RemoteFile for Stored {
    fn name(&self) -> &str {
        self.0.url()
    }

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn version(&self) -> Option<&str> {
        self.0.version()
    }

    fn fetch(&self, range: Range<u64>) -> RemotePart {
        match self.0.fetch(range) {
            Ok(part) => Box::new(|| part.wait()),
            Err(error) => Box::new(|| Err(io::Error::other(error))),
        }
    }
}
