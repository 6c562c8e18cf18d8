//! A folder of tables, on this machine or in a store, and the files in it.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgarrow::{Cancel, Error, ErrorKind};
use pgarrow_job::LOCK;
use pgarrow_load::input::{InputFile, RemoteFile};
use pgarrow_sink::{MANIFEST, files_of_manifest, manifest_files};
use pgarrow_store::Store;

use super::places::{holds_no_rows, is_url, store_at, stored, unreadable};
use crate::exit::Failure;

/// A folder of tables.
#[derive(Debug)]
pub(super) struct Folder {
    store: Store,
    /// Where it is on this machine.
    local: Option<PathBuf>,
    /// All paths below it, if it is in a store.
    listed: OnceCell<Vec<String>>,
}

/// What is in a folder.
#[derive(Debug)]
pub(super) struct Entry {
    /// `None` if it is not UTF-8.
    pub(super) name: Option<String>,
    pub(super) is_folder: bool,
    /// Its place for messages, with its quotes.
    pub(super) shown: String,
}

/// A file of a table.
#[derive(Debug)]
pub(super) struct TableFile {
    at: At,
    /// Its size, if a manifest has it.
    bytes: Option<u64>,
}

#[derive(Debug)]
enum At {
    Local(PathBuf),
    Stored { store: Store, path: String, opened: OnceCell<Arc<dyn RemoteFile>> },
}

impl Folder {
    pub(super) fn open(place: &Path, cancel: &Cancel) -> Result<Self, Failure> {
        if is_url(place)? {
            return Ok(Self { store: store_at(place, cancel)?, local: None, listed: OnceCell::new() });
        }
        if !place.is_dir() {
            return Err(Failure::options(format!(
                "--into-schema loads a folder of tables, and {place:?} is none"
            )));
        }
        let Some(name) = place.to_str() else {
            return Err(Failure::options(format!("{place:?} is not named in UTF-8; use a path that is")));
        };
        let store = Store::open(name).map_err(Error::from)?;
        Ok(Self { store, local: Some(place.to_owned()), listed: OnceCell::new() })
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// A place in it for messages, with its quotes; `""` is the folder.
    pub(super) fn shown(&self, path: &str) -> String {
        match &self.local {
            Some(folder) if path.is_empty() => format!("{folder:?}"),
            Some(folder) => format!("{:?}", folder.join(path)),
            None if path.is_empty() => format!("{:?}", self.store.location()),
            None => format!("{:?}", format!("{}/{path}", self.store.location())),
        }
    }

    /// Whether a job has begun runs here.
    pub(super) fn has_runs(&self) -> Result<bool, Error> {
        let Some(name) = LOCK.split('/').next() else { return Ok(false) };
        match &self.local {
            Some(folder) => Ok(folder.join(name).exists()),
            // Only a manifest could be there that nobody listed.
            None if self.store.is_web() => Ok(false),
            None => Ok(self.listed()?.iter().any(|path| path.split('/').next() == Some(name))),
        }
    }

    /// The files that the manifest of an export has, in the folder at `path`, or here; `None` if there is no
    /// manifest.
    pub(super) fn manifest_files(&self, path: &str) -> Result<Option<Vec<(String, u64)>>, Error> {
        let of = |error| Error::new(ErrorKind::Input, format!("{error}"));
        if let Some(folder) = &self.local {
            let folder = if path.is_empty() { folder.clone() } else { folder.join(path) };
            return manifest_files(&folder).map_err(of);
        }
        let path = if path.is_empty() { MANIFEST.to_owned() } else { format!("{path}/{MANIFEST}") };
        let Some(json) = self.store.read(&path).map_err(unreadable)? else { return Ok(None) };
        let place = format!("{}/{path}", self.store.location());
        files_of_manifest(&json, &place).map(Some).map_err(of)
    }

    /// A file that a manifest names: it cannot be outside of the folder.
    pub(super) fn named(&self, path: &str, bytes: u64) -> Result<TableFile, Error> {
        let at = match self.store.local_path(path) {
            Ok(Some(path)) => At::Local(path),
            Ok(None) => self.stored(path),
            Err(error) => {
                let text = format!("the manifest of {} is damaged: {error}", self.store.location());
                return Err(Error::new(ErrorKind::Input, text));
            }
        };
        Ok(TableFile { at, bytes: Some(bytes) })
    }

    /// A file that is an entry.
    pub(super) fn found(&self, path: &str) -> TableFile {
        let at = match &self.local {
            Some(folder) => At::Local(folder.join(path)),
            None => self.stored(path),
        };
        TableFile { at, bytes: None }
    }

    fn stored(&self, path: &str) -> At {
        At::Stored { store: self.store.clone(), path: path.to_owned(), opened: OnceCell::new() }
    }

    /// What is in the folder at `path`, or here, in the order of names, but for what holds no rows.
    pub(super) fn entries(&self, path: &str) -> Result<Vec<Entry>, Error> {
        let mut entries = match &self.local {
            Some(folder) if path.is_empty() => entries_of(folder)?,
            Some(folder) => entries_of(&folder.join(path))?,
            None => self.listed_entries(path)?,
        };
        entries.retain(|entry| !entry.name.as_deref().is_some_and(holds_no_rows));
        entries.sort_unstable_by(|a, b| (&a.name, &a.shown).cmp(&(&b.name, &b.shown)));
        Ok(entries)
    }

    fn listed_entries(&self, path: &str) -> Result<Vec<Entry>, Error> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut names: BTreeMap<&str, bool> = BTreeMap::new();
        for below in self.listed()?.iter().filter_map(|path| path.strip_prefix(&prefix)) {
            match below.split_once('/') {
                Some((folder, _)) => names.insert(folder, true),
                None => names.insert(below, false),
            };
        }
        let entry = |(name, is_folder): (&str, bool)| Entry {
            name: Some(name.to_owned()),
            is_folder,
            shown: self.shown(&format!("{prefix}{name}")),
        };
        Ok(names.into_iter().map(entry).collect())
    }

    fn listed(&self) -> Result<&Vec<String>, Error> {
        if let Some(listed) = self.listed.get() {
            return Ok(listed);
        }
        if self.store.is_web() {
            let text =
                format!("{} has no manifest, and folders of web servers cannot be listed", self.shown(""));
            return Err(Error::new(ErrorKind::Input, text));
        }
        let entries = self.store.list("").map_err(unreadable)?;
        Ok(self.listed.get_or_init(|| entries.into_iter().map(|entry| entry.path).collect()))
    }
}

fn entries_of(folder: &Path) -> Result<Vec<Entry>, Error> {
    let failed = |error: io::Error| cannot_be_read(folder, &error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if holds_no_rows(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        let name = entry.file_name().into_string().ok();
        entries.push(Entry { name, is_folder: path.is_dir(), shown: format!("{path:?}") });
    }
    Ok(entries)
}

impl TableFile {
    /// What is different about it.
    pub(super) fn problem(&self) -> Option<Error> {
        match &self.at {
            At::Local(path) => self.problem_of(path),
            At::Stored { .. } => self.input().err(),
        }
    }

    fn problem_of(&self, path: &Path) -> Option<Error> {
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.bytes.is_some() => {
                return Some(self.missing());
            }
            Err(error) => return Some(cannot_be_read(path, &error)),
        };
        match metadata.is_file() {
            true => self.other_size(metadata.len()),
            false => Some(Error::new(ErrorKind::Input, format!("{path:?} is no file"))),
        }
    }

    /// It, to be read. The version of a file in a store stays the one that was seen first.
    pub(super) fn input(&self) -> Result<InputFile, Error> {
        let (store, path, opened) = match &self.at {
            At::Local(path) => return Ok(InputFile::from(path)),
            At::Stored { store, path, opened } => (store, path, opened),
        };
        if let Some(file) = opened.get() {
            return Ok(InputFile::from(Arc::clone(file)));
        }
        let file = stored(store, path)?.ok_or_else(|| self.missing())?;
        self.other_size(file.bytes()).map_or(Ok(()), Err)?;
        Ok(InputFile::from(Arc::clone(opened.get_or_init(|| file))))
    }

    fn missing(&self) -> Error {
        let why = if self.bytes.is_some() { "is in the manifest, and is not there" } else { "is not there" };
        Error::new(ErrorKind::Input, format!("{} {why}", self.shown()))
    }

    fn other_size(&self, found: u64) -> Option<Error> {
        let bytes = self.bytes.filter(|bytes| *bytes != found)?;
        Some(Error::new(ErrorKind::Input, format!("{} has {found} bytes, and had {bytes}", self.shown())))
    }

    /// Its place for messages, with its quotes.
    pub(super) fn shown(&self) -> String {
        match &self.at {
            At::Local(path) => format!("{path:?}"),
            At::Stored { store, path, .. } => format!("{:?}", format!("{}/{path}", store.location())),
        }
    }
}

fn cannot_be_read(path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Input, format!("{path:?} cannot be read: {error}"))
}
