//! Files held against their manifest: sizes and checksums.

use std::io::Read;
use std::path::Path;

use pgarrow_export::{Cancel, Error, ErrorKind, Result};
use pgarrow_sink::{SinkError, hexadecimal};
use pgarrow_store::Store;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::manifest::{Manifest, ManifestFile};

/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A file that is not what its manifest says.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The table.
    pub table: String,
    /// The file's path in the store.
    pub path: String,
    /// What is different.
    pub what: String,
}

/// What was compared.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Verified {
    /// The run whose manifest it was.
    pub run_id: String,
    /// Files that were read.
    pub files: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// Rows of the tables, as the manifest has them.
    pub rows: u64,
    /// All that is different.
    pub differences: Vec<Difference>,
}

/// Reads all files that the newest manifest of a store names, and compares sizes and checksums.
///
/// # Errors
///
/// [`ErrorKind::Input`] if there is no manifest; [`ErrorKind::Sink`] if the store cannot be read. What differs is no
/// error, but in the result.
pub fn verify(store: &Store, cancel: &Cancel) -> Result<Verified> {
    let Some(manifest) = Manifest::newest(store)? else {
        let text = format!("there is no manifest in {}; no run has committed there", store.location());
        return Err(Error::new(ErrorKind::Input, text));
    };
    let mut verified = Verified {
        run_id: manifest.run_id.clone(),
        files: 0,
        bytes: 0,
        rows: manifest.rows(),
        differences: Vec::new(),
    };
    for table in &manifest.tables {
        let name = format!("{}.{}", table.schema, table.name);
        let in_files: u64 = table.files.iter().map(|file| file.rows).sum();
        let mut differs = |path: &str, what: String| {
            let (table, path) = (name.clone(), path.to_owned());
            verified.differences.push(Difference { table, path, what });
        };
        if in_files != table.rows {
            differs(
                "",
                format!("the manifest has {} rows of the table, and {in_files} in its files", table.rows),
            );
        }
        for file in &table.files {
            let Some(found) = read(store, file, cancel)? else {
                differs(&file.path, "it is not there".to_owned());
                continue;
            };
            verified.files = verified.files.saturating_add(1);
            verified.bytes = verified.bytes.saturating_add(found.bytes);
            if found.bytes != file.bytes {
                differs(&file.path, format!("it has {} bytes, and had {}", found.bytes, file.bytes));
            } else if found.sha256 != file.sha256 {
                differs(&file.path, "its bytes are not those that were written: another SHA-256".to_owned());
            }
        }
    }
    Ok(verified)
}

/// Whether a file is what its manifest says.
pub(crate) fn is_whole(store: &Store, file: &ManifestFile, cancel: &Cancel) -> Result<bool> {
    let found = read(store, file, cancel)?;
    Ok(found.is_some_and(|found| found.bytes == file.bytes && found.sha256 == file.sha256))
}

struct Found {
    bytes: u64,
    sha256: String,
}

fn read(store: &Store, file: &ManifestFile, cancel: &Cancel) -> Result<Option<Found>> {
    let Some(mut reader) = store.reader(&file.path)? else { return Ok(None) };
    let mut digest = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0_u64;
    loop {
        if cancel.is_requested() {
            return Err(cancel.error());
        }
        let failed = |error| SinkError::io("read", Some(Path::new(&file.path)), error);
        let n = reader.read(&mut buffer).map_err(failed)?;
        let Some(read @ [_, ..]) = buffer.get(..n) else { break };
        digest.update(read);
        bytes = bytes.saturating_add(n as u64);
    }
    Ok(Some(Found { bytes, sha256: hexadecimal(&digest.finalize()) }))
}
