//! What a run has committed: one object that is created when all files are complete.
//!
//! ```text
//!  _pgarrow/manifests/00000001.json ◀─ 00000002.json ◀─ 00000003.json      the newest one is the state
//!                                       previous_run_id
//! ```
//!
//! Each run creates the next number, and only if nobody else has: of two runs that began after the same
//! manifest, one commits. Whoever reads files that manifests name sees all of a run, or nothing of it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use pgarrow_export::{ColumnReport, Error, ErrorKind, Message, Result, ServerReport};
use pgarrow_sink::{ColumnRange, SinkError};
use pgarrow_store::Store;
use serde::{Deserialize, Serialize};

use crate::partition::{DatePart, PartitionBy, PartitionKey, PartitionValues};
use crate::web::newest_number;

/// The folder of everything that a store has beside data.
pub(crate) const FOLDER: &str = "_pgarrow";
const MANIFESTS: &str = "_pgarrow/manifests";

/// The version of the manifest's form. Fields may be added within a version.
const VERSION: u32 = 1;

/// What one run has put into a store.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of this form: 1.
    pub manifest_version: u32,
    /// The version of the program.
    pub pgarrow_version: String,
    /// Its number in the chain, from 1.
    pub number: u64,
    /// The run.
    pub run_id: String,
    /// The run before it in this store.
    pub previous_run_id: Option<String>,
    /// When the run began, in UTC.
    pub started: String,
    /// When all files were complete, in UTC.
    pub ended: String,
    /// The server.
    pub server: ManifestServer,
    /// The snapshot under which this run has read, as `pg_current_snapshot()` prints it. Rows of earlier
    /// runs, and of one that was resumed, have those of their tables' increments.
    pub snapshot: String,
    /// The position of the server's write-ahead log just before the snapshot, for people. Not where a replica
    /// can go on: a commit may be written before it, and be visible only after the snapshot. `None` if the
    /// role may not ask.
    pub lsn: Option<String>,
    /// The tables: those that the job names first, then those that match its patterns.
    pub tables: Vec<ManifestTable>,
    /// The tables that failed, if the run was to go on without them. Nothing of them is here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<ManifestFailure>,
}

/// A table that failed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ManifestFailure {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub error: String,
}

/// The server of a manifest.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ManifestServer {
    /// Host and port, or socket.
    pub endpoint: String,
    /// The database.
    pub database: String,
    /// PostgreSQL's version.
    pub version: String,
    /// What tells the cluster from all others; `None` if the role may not ask.
    #[serde(default)]
    pub system_identifier: Option<String>,
    /// Its timeline: another one after each promotion and recovery.
    #[serde(default)]
    pub timeline: Option<String>,
}

/// A table of a manifest.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ManifestTable {
    /// Its schema; `query` for a query of the job.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `pg_class.oid`, which tells it from another table of the name; 0 if it is not known, and for a query.
    #[serde(default)]
    pub oid: u32,
    /// Of a query: the SHA-256 of its text. Its schema is `query`, its name that of the job. The text itself
    /// may have secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_sha256: Option<String>,
    /// Whether it was read without the tables that inherit from it. Not known of manifests of earlier
    /// versions.
    #[serde(default)]
    pub only: bool,
    /// Whether only rows were read for which a condition of the job holds.
    #[serde(default)]
    pub filtered: bool,
    /// Whether the job says which columns are read.
    #[serde(default)]
    pub columns_chosen: bool,
    /// Its rows, in all files together.
    pub rows: u64,
    /// How many slices it was read in.
    pub slices: u64,
    /// The SHA-256 of its columns' names and types: equal if two runs have the same columns.
    pub schema_sha256: String,
    /// Its columns.
    pub columns: Vec<ManifestColumn>,
    /// Its files, in the order in which they were begun.
    pub files: Vec<ManifestFile>,
    /// By what its files are partitioned, the outermost folder first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<ManifestPartition>,
    /// The runs that its rows come from, the oldest first. With more than one, a row may be there in several
    /// forms: the one of the latest increment counts.
    #[serde(default)]
    pub increments: Vec<Increment>,
    /// What the next run must know to read only new rows; `None` if it reads all.
    #[serde(default)]
    pub state: Option<TableState>,
    /// Grows with each new version of the columns, if the job asks for that.
    #[serde(default = "first")]
    pub version: u32,
}

/// Schema and name, not quoted.
impl fmt::Display for ManifestTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl ManifestTable {
    /// Its rows that are in no file, since they had values that Arrow cannot hold.
    pub fn rows_rejected(&self) -> u64 {
        self.increments.iter().map(|increment| increment.rows_rejected).sum()
    }

    pub(crate) fn is(&self, schema: &str, name: &str) -> bool {
        self.schema == schema && self.name == name
    }
}

const fn first() -> u32 {
    1
}

/// What the folders of one level stand for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ManifestPartition {
    /// The name in paths, before it is encoded.
    pub name: String,
    /// The column.
    pub column: String,
    /// The part of its dates; `None`: the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<DatePart>,
    /// Whether the column is in the files, too. Otherwise its values are those of the files' partitions.
    pub in_files: bool,
}

/// How a run got the rows of a table.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Increment {
    /// The run.
    pub run_id: String,
    /// The snapshot under which it read the table, as `pg_current_snapshot()` prints it.
    pub snapshot: String,
    /// When that run began, in UTC.
    pub started: String,
    /// `full`: all rows. `xmin`, `column`: rows that are new since the increment before, and some of its own.
    pub mode: String,
    /// Its rows.
    pub rows: u64,
    /// Rows that were left out, since they had values that Arrow cannot hold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_rejected: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_zero(rows: &u64) -> bool {
    *rows == 0
}

/// What the next run must know of a table.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TableState {
    /// Its `pg_class.oid`.
    pub relation_oid: u32,
    /// The tables that it consisted of.
    pub parts: Vec<u32>,
    /// The SHA-256 of the condition that the job has for its rows.
    pub filter_sha256: Option<String>,
    /// Columns of the table are in no file, since its rule left them out.
    #[serde(default)]
    pub left_out_columns: bool,
    /// The column that grows.
    pub column: Option<String>,
    /// The largest value of that column before the snapshot was taken.
    pub largest: Option<String>,
}

/// A column of a manifest. Columns are equal if they are declared so, whatever became of their values.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ManifestColumn {
    /// Its name.
    pub name: String,
    /// Its type in PostgreSQL.
    pub pg_type: String,
    /// Its type in Arrow.
    pub arrow_type: String,
    /// Whether it may have NULLs.
    pub nullable: bool,
    /// `pg_attribute.attnum`, which no other column of the table ever has; 0 if it is not known.
    #[serde(default)]
    pub attnum: u16,
    /// How many of its values a choice about types changed, as in a report. Only counts that are not 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub effects: BTreeMap<String, u64>,
}

/// A file of a manifest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ManifestFile {
    /// Its path in the store.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// Its row groups, if the format has them.
    pub row_groups: Option<usize>,
    /// The index of its increment in the table's.
    #[serde(default)]
    pub increment: usize,
    /// The values of its partition, as texts; empty without partitions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partition: PartitionValues,
    /// NULLs, smallest and largest values of its columns that are not nested; empty for formats that have
    /// none.
    #[serde(default)]
    pub columns: Vec<ColumnRange>,
}

impl Manifest {
    pub(crate) const fn version() -> u32 {
        VERSION
    }

    /// The newest manifest of a store; `None` if no run has committed there. On a web server, which lists no
    /// files, it is looked for by its number; there must not be more than 1000 runs that `gc` has removed.
    ///
    /// # Errors
    ///
    /// It cannot be read, or a newer version has written it.
    pub fn newest(store: &Store) -> Result<Option<Self>> {
        let newest = match store.is_web() {
            true => newest_number(|number| Ok(store.reader(&path(number))?.is_some()))?,
            false => numbers(store)?.into_iter().max(),
        };
        newest.map(|number| Self::read(store, number)).transpose()
    }

    /// All manifests of a store, the oldest first.
    ///
    /// # Errors
    ///
    /// As for [`newest`](Self::newest).
    pub fn all(store: &Store) -> Result<Vec<Self>> {
        let mut numbers = numbers(store)?;
        numbers.sort_unstable();
        numbers.into_iter().map(|number| Self::read(store, number)).collect()
    }

    fn read(store: &Store, number: u64) -> Result<Self> {
        let path = path(number);
        let unreadable = |why: String| {
            let text = format!("the manifest {path} of {} cannot be read: {why}", store.location());
            Err(Error::new(ErrorKind::Input, text))
        };
        let Some(json) = store.read(&path)? else { return unreadable("it is gone".to_owned()) };
        match serde_json::from_slice::<Self>(&json) {
            Ok(manifest) if manifest.manifest_version > VERSION => unreadable(format!(
                "it has version {}, and this pgarrow knows {VERSION}; use a newer pgarrow",
                manifest.manifest_version
            )),
            Ok(manifest) => Ok(manifest),
            // Its text may quote the manifest, which has names of tables.
            Err(error) => unreadable(format!("it is no manifest, from line {} on", error.line())),
        }
    }

    /// Commits: creates the manifest if nobody else has created this number. Returns a warning if it is
    /// there, and something beside it failed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OutcomeUnknown`] if it is not known whether the manifest is there: then its files must
    /// stay. With any other error it is not.
    pub(crate) fn create(&self, store: &Store) -> Result<Option<Message>> {
        let failed = |error: serde_json::Error| {
            Error::new(ErrorKind::Sink, "the manifest has no form").caused_by(error)
        };
        let mut json = serde_json::to_vec_pretty(self).map_err(failed)?;
        json.push(b'\n');
        let path = self.path();
        let created = store.create_new(&path, &json);
        if matches!(created, Ok(true)) {
            return Ok(None);
        }
        // An answer may have been lost and the request sent again; or the name is there, and its folder
        // cannot be made durable.
        match (store.read(&path), created) {
            (Ok(Some(there)), created) if there == json => Ok(created.err().map(|error| {
                format!("the run is committed, but its manifest may not survive a power failure: {error}")
                    .into()
            })),
            (Ok(Some(_)), Ok(_)) => {
                let text = format!(
                    "another run has committed in {} since this one began; nothing of this one was committed; start it \
                     again",
                    store.location()
                );
                Err(Error::new(ErrorKind::Sink, text))
            }
            (Ok(None), Err(error)) => Err(error.into()),
            (Ok(_), created) => Err(self.unknown(store, created.err())),
            (Err(error), created) => Err(self.unknown(store, Some(created.err().unwrap_or(error)))),
        }
    }

    fn unknown(&self, store: &Store, cause: Option<SinkError>) -> Error {
        let text = format!(
            "it is not known whether the manifest {} of {} was created; its files were left where they are; look for it, \
             and start the run again if it is not there",
            self.path(),
            store.location()
        );
        let error = Error::new(ErrorKind::OutcomeUnknown, text);
        match cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }

    /// The manifests before the newest one that have tables which have failed since, the newest first.
    pub(crate) fn before_failures(store: &Store, newest: &Self) -> Result<Vec<Self>> {
        let mut left: HashSet<(String, String)> =
            newest.failed.iter().map(|failed| (failed.schema.clone(), failed.name.clone())).collect();
        let mut earlier = Vec::new();
        let mut numbers = if left.is_empty() { Vec::new() } else { numbers(store)? };
        numbers.retain(|number| *number < newest.number);
        numbers.sort_unstable();
        while let (Some(number), false) = (numbers.pop(), left.is_empty()) {
            let manifest = Self::read(store, number)?;
            left.retain(|(schema, name)| manifest.has_failed(schema, name));
            earlier.push(manifest);
        }
        Ok(earlier)
    }

    pub(crate) fn has_failed(&self, schema: &str, name: &str) -> bool {
        self.failed.iter().any(|failed| failed.schema == schema && failed.name == name)
    }

    /// Its path in the store.
    pub(crate) fn path(&self) -> String {
        path(self.number)
    }

    /// The paths of all files.
    pub(crate) fn paths(&self) -> HashSet<&str> {
        self.tables.iter().flat_map(|table| &table.files).map(|file| file.path.as_str()).collect()
    }

    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().flat_map(|table| &table.files).map(|file| file.bytes).sum()
    }

    /// How many files there are.
    pub fn n_files(&self) -> usize {
        self.tables.iter().map(|table| table.files.len()).sum()
    }
}

impl ManifestPartition {
    /// What a table is partitioned by, as its manifest has it.
    pub(crate) fn all_of(by: &PartitionBy) -> Vec<Self> {
        let of_key = |key: &PartitionKey| Self {
            name: key.name(),
            column: key.column.clone(),
            part: key.part,
            in_files: by.keep_columns || key.part.is_some(),
        };
        let mut all: Vec<Self> = by.keys.iter().map(of_key).collect();
        // A column is left out for all keys that have it.
        let left_out: HashSet<String> =
            all.iter().filter(|one| !one.in_files).map(|one| one.column.clone()).collect();
        all.iter_mut().for_each(|one| one.in_files &= !left_out.contains(&one.column));
        all
    }
}

impl From<&ServerReport> for ManifestServer {
    fn from(server: &ServerReport) -> Self {
        let ServerReport { endpoint, database, version, .. } = server.clone();
        Self { endpoint, database, version, system_identifier: None, timeline: None }
    }
}

impl PartialEq for ManifestColumn {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, pg_type, arrow_type, nullable, attnum, effects: _ } = self;
        (name, pg_type, arrow_type, nullable, attnum)
            == (&other.name, &other.pg_type, &other.arrow_type, &other.nullable, &other.attnum)
    }
}

impl From<&ColumnReport> for ManifestColumn {
    fn from(column: &ColumnReport) -> Self {
        let ColumnReport { name, pg_type, arrow_type, nullable, effects, .. } = column.clone();
        Self { name, pg_type, arrow_type, nullable, attnum: 0, effects }
    }
}

fn numbers(store: &Store) -> Result<Vec<u64>> {
    let number =
        |path: &str| path.strip_prefix(MANIFESTS)?.strip_prefix('/')?.strip_suffix(".json")?.parse().ok();
    Ok(store.list(MANIFESTS)?.iter().filter_map(|entry| number(&entry.path)).collect())
}

fn path(number: u64) -> String {
    format!("{MANIFESTS}/{number:08}.json")
}
