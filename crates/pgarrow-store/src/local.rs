//! A folder of this machine.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use pgarrow_sink::{Output, SinkError, SinkErrorKind};

use crate::Entry;

#[derive(Clone)]
pub(crate) struct Local {
    root: PathBuf,
}

impl Local {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn create(&self, path: &str) -> Result<Output, SinkError> {
        self.output(path, false)
    }

    pub(crate) fn create_new(&self, path: &str, bytes: &[u8]) -> Result<bool, SinkError> {
        match self.output(path, false).and_then(|output| store(output, bytes)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == SinkErrorKind::Exists => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), SinkError> {
        store(self.output(path, true)?, bytes)
    }

    fn output(&self, path: &str, overwrite: bool) -> Result<Output, SinkError> {
        let path = self.root.join(path);
        if let Some(folder) = path.parent() {
            create_folders(folder).map_err(|error| SinkError::io("create", Some(folder), error))?;
        }
        Output::file(path, overwrite)
    }

    pub(crate) fn reader(&self, path: &str) -> Result<Option<Box<dyn Read + Send>>, SinkError> {
        let path = self.root.join(path);
        let is_file = found(fs::metadata(&path), &path)?.map(|metadata| metadata.is_file());
        match is_file {
            None => Ok(None),
            // A FIFO would be waited for.
            Some(false) => {
                let text = format!("{path:?} is no regular file");
                Err(SinkError::new(SinkErrorKind::NotAFile, text).with_path(&path))
            }
            Some(true) => {
                Ok(found(File::open(&path), &path)?.map(|file| Box::new(file) as Box<dyn Read + Send>))
            }
        }
    }

    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Entry>, SinkError> {
        let mut entries = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let place = self.root.join(&folder);
            let Some(files) = found(fs::read_dir(&place), &place)? else { continue };
            for file in files {
                let file = file.map_err(|error| SinkError::io("list", Some(&place), error))?;
                let name = file.file_name().to_string_lossy().into_owned();
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                // Not through links. A file may vanish meanwhile.
                let Some(metadata) = found(fs::symlink_metadata(file.path()), &file.path())? else {
                    continue;
                };
                if metadata.is_dir() {
                    folders.push(path);
                } else if metadata.is_file() {
                    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
                    entries.push(Entry { path, bytes: metadata.len(), modified });
                }
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    pub(crate) fn remove(&self, path: &str) -> Result<bool, SinkError> {
        let path = self.root.join(path);
        Ok(found(fs::remove_file(&path), &path)?.is_some())
    }
}

/// Makes a folder and those that it stands in. Their names are durable, as far as the file system can do
/// that.
fn create_folders(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    for parent in missing.iter().filter_map(|folder| folder.parent()) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        // Some file systems refuse it; publishing a file there warns.
        let _ = File::open(parent).and_then(|parent| parent.sync_all());
    }
    Ok(())
}

fn store(mut output: Output, bytes: &[u8]) -> Result<(), SinkError> {
    output.write_all(bytes).map_err(|error| SinkError::io("write", output.path(), error))?;
    output.publish().map(drop)
}

/// `None` for what is not there.
fn found<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, SinkError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SinkError::io("read", Some(path), error)),
    }
}

#[cfg(test)]
mod tests {
    use crate::Store;

    #[test]
    fn files_appear_once_and_stay_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("new/lake").to_str().unwrap()).unwrap();
        assert!(store.list("").unwrap().is_empty() && store.read("a/b").unwrap().is_none());
        assert!(store.create_new("a/b", b"one").unwrap());
        assert!(!store.create_new("a/b", b"two").unwrap());
        assert_eq!(store.read("a/b").unwrap().unwrap(), b"one");
        store.replace("a/b", b"three").unwrap();
        drop(store.create("c").unwrap());
        let found: Vec<_> =
            store.list("").unwrap().into_iter().map(|entry| (entry.path, entry.bytes)).collect();
        assert_eq!(found, [("a/b".to_owned(), 5)]);
        assert!(store.remove("a/b").unwrap() && !store.remove("a/b").unwrap());
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a\\b", "."] {
            assert!(store.create(path).is_err() && store.read(path).is_err(), "{path}");
        }
        // A directory where a file should be.
        assert!(store.read("a").is_err());
        let error = Store::open("s3://key:canary@bucket/x").unwrap_err().to_string();
        assert!(error.contains("s3://…") && !error.contains("canary"), "{error}");
    }
}
