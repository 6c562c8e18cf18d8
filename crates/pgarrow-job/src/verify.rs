//! Files held against their manifest, by sizes and checksums, and against the server, by their values.

mod constant;
mod digest;
mod export;
mod files;
mod form;
mod found;
mod full;
mod numbers;
mod run;
mod server;
mod sql;
mod tally;

use pgarrow_export::{Cancel, Error, ErrorKind, ExportOptions, Result, Source};
use pgarrow_store::Store;
use serde::Serialize;

pub use self::export::{Compared, ExportCheck};
use self::files::CheckedFile;
pub use self::found::{FileRow, NotCompared, ServerDifference, ServerVerified};
pub(crate) use self::run::compare_run;
pub(crate) use self::server::Opened;
use crate::manifest::{Manifest, ManifestFile};

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
    /// When that run began, in UTC.
    pub started: String,
    /// Files that were read.
    pub files: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// Rows of the tables, as the manifest has them.
    pub rows: u64,
    /// All that is different.
    pub differences: Vec<Difference>,
    /// What came of the comparison with the server, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerVerified>,
}

/// Whether a file is what its manifest says.
pub(crate) fn is_whole(store: &Store, file: &ManifestFile, cancel: &Cancel) -> Result<bool> {
    let read = CheckedFile::read(&stopped_by(store, cancel), file, false, cancel);
    let read = read.map_err(|error| cancel.cancelled_or(error))?;
    Ok(read.is_some_and(|file| file.difference().is_none()))
}

/// How files are compared with a server.
#[derive(Clone, Debug)]
pub struct AgainstServer<'a> {
    /// The server.
    pub source: &'a Source,
    /// How its rows are read: memory, role, timeouts, settings.
    pub options: ExportOptions,
    /// Whether every row is looked for on the other side, and named if it is not there.
    pub full: bool,
}

/// Reads all files that the newest manifest of a store names, and compares sizes and checksums. With a
/// server, it compares the files' rows with those of the tables, too, under one snapshot: how many there are,
/// NULLs, sums of numbers, and sums of hashes for each column and for whole rows, which the server computes
/// of its own values.
///
/// # Errors
///
/// [`ErrorKind::Input`] if there is no manifest; [`ErrorKind::Sink`] if the store cannot be read; what the
/// server refuses. What differs is no error, but in the result.
pub fn verify(store: &Store, server: Option<&AgainstServer<'_>>, cancel: &Cancel) -> Result<Verified> {
    let result = verify_newest(&stopped_by(store, cancel), server, cancel);
    result.map_err(|error| cancel.cancelled_or(error))
}

/// The store, for which nothing waits any more after a cancel.
fn stopped_by(store: &Store, cancel: &Cancel) -> Store {
    let cancel = cancel.clone();
    store.stopped_when(move || cancel.is_requested())
}

fn verify_newest(store: &Store, server: Option<&AgainstServer<'_>>, cancel: &Cancel) -> Result<Verified> {
    let Some(manifest) = Manifest::newest(store)? else {
        let text = format!("there is no manifest in {}; no run has committed there", store.location());
        return Err(Error::new(ErrorKind::Input, text));
    };
    let mut verified = Verified {
        run_id: manifest.run_id.clone(),
        started: manifest.started.clone(),
        files: 0,
        bytes: 0,
        rows: manifest.rows(),
        differences: Vec::new(),
        server: None,
    };
    let opened =
        server.map(|AgainstServer { source, options, full }| Opened::new(source, &manifest, options, *full));
    let mut opened = opened.transpose()?;
    for table in &manifest.tables {
        let name = table.to_string();
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
        let mut checked = Vec::new();
        for file in &table.files {
            let Some(mut file) = CheckedFile::read(store, file, opened.is_some(), cancel)? else {
                differs(&file.path, "it is not there".to_owned());
                continue;
            };
            verified.files = verified.files.saturating_add(1);
            verified.bytes = verified.bytes.saturating_add(file.bytes);
            if let Some(what) = file.difference() {
                differs(&file.known.path, what);
            }
            if opened.is_some() {
                match file.put_back(table) {
                    Ok(()) => checked.push(file),
                    Err(what) => differs(&file.known.path, what),
                }
            }
        }
        if let Some(opened) = &mut opened {
            for (path, what) in opened.compare(table, &checked, None)? {
                differs(&path, what);
            }
        }
    }
    verified.server = opened.map(Opened::end).transpose()?;
    Ok(verified)
}
