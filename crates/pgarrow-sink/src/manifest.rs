//! `_pgarrow_manifest.json`: the files that an export put into a folder.
//!
//! ```json
//! {"manifest_version": 1, "pgarrow_version": "0.1.0", "run_id": "…",
//!  "files": [{"name": "part-00000.parquet", "bytes": 1234}]}
//! ```
//!
//! Fields may be added within a version. The name begins with an underscore, so that readers of whole folders
//! skip it.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{SinkError, SinkErrorKind};

/// The manifest's name in its folder.
pub const MANIFEST: &str = "_pgarrow_manifest.json";

/// The version of the manifest's form.
const VERSION: u32 = 1;

/// A larger file is not a manifest: the names of ten million files take less.
const BYTES_MAX: u64 = 1 << 30;

/// The files that an export put into a folder.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Manifest {
    manifest_version: u32,
    pgarrow_version: String,
    run_id: String,
    files: Vec<Entry>,
}

#[derive(Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Entry {
    name: String,
    bytes: u64,
}

impl Manifest {
    /// The manifest of complete files: their names and sizes.
    pub(crate) fn new(run_id: &str, files: &[(String, u64)]) -> Self {
        let mut files: Vec<_> =
            files.iter().map(|(name, bytes)| Entry { name: name.clone(), bytes: *bytes }).collect();
        files.sort_unstable();
        Self {
            manifest_version: VERSION,
            pgarrow_version: env!("CARGO_PKG_VERSION").to_owned(),
            run_id: run_id.to_owned(),
            files,
        }
    }

    /// The manifest of a folder; none if there is none that can be read. A later version has all fields of
    /// this one.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(MANIFEST);
        let metadata = fs::symlink_metadata(&path).ok()?;
        if !metadata.is_file() || metadata.len() > BYTES_MAX {
            return None;
        }
        let mut json = Vec::new();
        File::open(path).ok()?.take(BYTES_MAX).read_to_end(&mut json).ok()?;
        Self::parse(&json)
    }

    fn parse(json: &[u8]) -> Option<Self> {
        let mut manifest: Self = serde_json::from_slice(json).ok()?;
        manifest.files.sort_unstable();
        Some(manifest)
    }

    /// The names and sizes of its files. `place` is where it is, for messages.
    fn into_files(read: Option<Self>, place: &Path) -> Result<Vec<(String, u64)>, SinkError> {
        let why = match read {
            None => "cannot be read, or is none of an export".to_owned(),
            Some(manifest) if manifest.manifest_version > VERSION => format!(
                "has version {}, and this pgarrow knows {VERSION}; use a newer pgarrow",
                manifest.manifest_version
            ),
            Some(manifest) => {
                return Ok(manifest.files.into_iter().map(|file| (file.name, file.bytes)).collect());
            }
        };
        let error = SinkError::new(SinkErrorKind::Unsupported, format!("the manifest {place:?} {why}"));
        Err(error.with_path(place))
    }

    /// Whether the export has made a file of this name and size.
    pub(crate) fn has(&self, name: &str, bytes: u64) -> bool {
        let found = self.files.binary_search_by(|file| file.name.as_str().cmp(name));
        found.is_ok_and(|index| self.files.get(index).is_some_and(|file| file.bytes == bytes))
    }

    /// Whether the export has made a folder of this name: whether any of its files is in there.
    pub(crate) fn has_folder(&self, name: &str) -> bool {
        let prefix = format!("{name}/");
        let first = self.files.partition_point(|file| file.name < prefix);
        self.files.get(first).is_some_and(|file| file.name.starts_with(&prefix))
    }

    /// The manifest as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }
}

/// The names and sizes of the files that an export has put into a folder, as the folder's manifest has them.
/// Names of files in folders below have `/` in them. They are untrusted text. `None` if there is no manifest.
///
/// # Errors
///
/// The manifest cannot be read, or a newer version has written it.
pub fn manifest_files(folder: &Path) -> Result<Option<Vec<(String, u64)>>, SinkError> {
    let path = folder.join(MANIFEST);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SinkError::io("read", Some(&path), error)),
        Ok(_) => {}
    }
    Manifest::into_files(Manifest::read(folder), &path).map(Some)
}

/// The same of the bytes of a manifest that is elsewhere: `place` is its name for messages.
///
/// # Errors
///
/// It is no manifest, or a newer version has written it.
pub fn files_of_manifest(json: &[u8], place: &str) -> Result<Vec<(String, u64)>, SinkError> {
    Manifest::into_files(Manifest::parse(json), Path::new(place))
}

/// A random name for one run, which no other run has: 32 hexadecimal digits.
pub fn new_run_id() -> String {
    // Every `RandomState` has other keys: randomness without a dependency.
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_knows_names_with_their_sizes() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Manifest::read(folder.path()).is_none());
        let files = [("b".to_owned(), 2), ("a".to_owned(), 1)];
        let json = Manifest::new("run", &files).to_json().unwrap();
        fs::write(folder.path().join(MANIFEST), &json).unwrap();
        let manifest = Manifest::read(folder.path()).unwrap();
        assert!(manifest.has("a", 1) && manifest.has("b", 2));
        assert!(!manifest.has("a", 2) && !manifest.has("c", 1));
        // Fields that a later version adds are ignored; other files are not manifests.
        let json = String::from_utf8(json).unwrap();
        for (json, is_one) in [
            (json.replace("\"run_id\"", "\"slices\": [1], \"run_id\""), true),
            (json.replace("\"run_id\"", "\"id\""), false),
            (json.get(..40).unwrap().to_owned(), false),
            (String::new(), false),
        ] {
            fs::write(folder.path().join(MANIFEST), &json).unwrap();
            assert_eq!(Manifest::read(folder.path()).is_some(), is_one, "{json}");
        }
    }

    #[test]
    fn files_of_a_manifest_or_why_it_has_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(manifest_files(folder.path()).unwrap(), None);
        let files = vec![("a".to_owned(), 1), ("b/c".to_owned(), 2)];
        let json = String::from_utf8(Manifest::new("run", &files).to_json().unwrap()).unwrap();
        let path = folder.path().join(MANIFEST);
        fs::write(&path, &json).unwrap();
        assert_eq!(manifest_files(folder.path()).unwrap(), Some(files));
        for (json, why) in [
            (json.replace("\"manifest_version\": 1", "\"manifest_version\": 2"), "has version 2"),
            ("{}".to_owned(), "is none of an export"),
        ] {
            fs::write(&path, json).unwrap();
            let error = manifest_files(folder.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(manifest_files(folder.path()).is_err());
    }

    #[test]
    fn runs_have_names_of_their_own() {
        let (one, two) = (new_run_id(), new_run_id());
        assert_ne!(one, two);
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    }
}
