//! What a page is made of: the JSON report of an export or a job, or the newest manifest of a job's folder.
//!
//! Fields may be added to both, and older ones lack some, so all are optional here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pgarrow::{Error, ErrorKind};
use pgarrow_job::Manifest;
use pgarrow_store::Store;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::exit::Failure;

/// A run, as far as it is known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) status: Option<String>,
    pub(super) exit_code: u8,
    pub(super) run_id: Option<String>,
    pub(super) started: Option<String>,
    pub(super) ended: Option<String>,
    pub(super) pgarrow_version: Option<String>,
    pub(super) error: Option<Trouble>,
    pub(super) subject: Option<String>,
    pub(super) server: Server,
    pub(super) snapshot: Option<String>,
    pub(super) rows: u64,
    pub(super) wire_bytes: u64,
    pub(super) seconds: Option<f64>,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) read_mode: Option<String>,
    pub(super) page_notes: Vec<String>,
    pub(super) slices: Option<u64>,
    pub(super) slices_redone: u64,
    pub(super) slicing: Option<String>,
    pub(super) phases: Option<BTreeMap<String, f64>>,
    pub(super) limit: Option<String>,
    pub(super) readers: Vec<Reader>,
    pub(super) memory: Option<Memory>,
    pub(super) samples: Vec<Sample>,
    pub(super) files: Vec<FileOf>,
    pub(super) columns: Vec<Column>,
    pub(super) tables: Vec<TableOf>,
    pub(super) warnings: Vec<String>,
    pub(super) load: Option<Load>,
    pub(super) loads: Vec<Load>,
    pub(super) failed: Vec<FailedTable>,
    pub(super) manifest: Option<Manifest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Trouble {
    pub(super) kind: String,
    pub(super) sqlstate: Option<String>,
    pub(super) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Server {
    pub(super) endpoint: String,
    pub(super) database: String,
    pub(super) version: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reader {
    pub(super) slices: u64,
    pub(super) rows: u64,
    pub(super) wire_bytes: u64,
    pub(super) phases: BTreeMap<String, f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    pub(super) limit_bytes: u64,
    pub(super) peak_bytes: u64,
    pub(super) waits: u64,
    pub(super) row_groups_ended_early: u64,
    pub(super) buffers_allocated: u64,
    pub(super) buffers_reused: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    pub(super) rows: u64,
    pub(super) wire_bytes: u64,
    pub(super) memory_bytes: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileOf {
    pub(super) path: Option<String>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) row_groups: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) pg_type: String,
    pub(super) arrow_type: String,
    pub(super) nullable: bool,
    pub(super) effects: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TableOf {
    pub(super) table: String,
    pub(super) rows: u64,
    pub(super) wire_bytes: u64,
    pub(super) slices: u64,
    pub(super) seconds: Option<f64>,
    pub(super) files: u64,
    pub(super) file_bytes: u64,
    pub(super) columns: Vec<Column>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Load {
    pub(super) target: String,
    pub(super) server: Server,
    pub(super) rows: Option<u64>,
    pub(super) mode: String,
    pub(super) wire_bytes: u64,
    pub(super) seconds: f64,
    pub(super) warnings: Vec<String>,
}

/// A table that the run went on without.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FailedTable {
    pub(super) table: String,
    pub(super) error: String,
}

/// What tells the files apart.
#[derive(Deserialize)]
struct Kind {
    manifest_version: Option<u32>,
    report_version: Option<u32>,
    status: Option<String>,
    /// Only a load has one.
    method: Option<String>,
    /// Of many loads.
    loads: Option<IgnoredAny>,
    /// Of all but many loads from files.
    server: Option<IgnoredAny>,
}

impl Record {
    /// Reads a report, a manifest, or the newest manifest of a folder or bucket.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is something else. The text has nothing of what the file says.
    pub(super) fn read(place: &str) -> Result<Self, Failure> {
        if place.contains("://") || Path::new(place).is_dir() {
            let store = Store::open(place).map_err(Error::from)?;
            return match Manifest::newest(&store)? {
                Some(manifest) => Ok(manifest.into()),
                None => Err(input(format!(
                    "{place}: no run has committed anything there; give the report of an export or a run, or the \
                     folder of a job"
                ))),
            };
        }
        let json = fs::read(place).map_err(|error| input(format!("{place:?} cannot be read: {error}")))?;
        let kind: Kind = parse(place, &json)?;
        match kind {
            Kind { manifest_version: Some(_), .. } => Ok(parse::<Manifest>(place, &json)?.into()),
            Kind { method: Some(_), .. } | Kind { loads: Some(_), server: None, .. } => {
                Err(input(format!("{place:?} is the report of a load; pages are made of exports and runs")))
            }
            // A report of a failure has no version.
            Kind { report_version: None, status: None, .. } => Err(input(format!(
                "{place:?} is no report: `pgarrow export` and `pgarrow run` write one with --report"
            ))),
            _ => parse(place, &json).map(Self::with_failures),
        }
    }
}

impl Record {
    /// A job's tables that failed stand in its manifest, those that could not be planned among them.
    fn with_failures(mut self) -> Self {
        if let Some(manifest) = &self.manifest {
            self.failed = failures(manifest);
        }
        self
    }
}

fn failures(manifest: &Manifest) -> Vec<FailedTable> {
    let failed = |failed: &pgarrow_job::ManifestFailure| FailedTable {
        table: format!("{}.{}", failed.schema, failed.name),
        error: failed.error.clone(),
    };
    manifest.failed.iter().map(failed).collect()
}

fn parse<T: DeserializeOwned>(place: &str, json: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(json).map_err(|error| {
        input(format!("{place:?} is no report of an export or a run, from line {} on", error.line()))
    })
}

fn input(text: String) -> Failure {
    Error::new(ErrorKind::Input, text).into()
}

impl From<Manifest> for Record {
    fn from(manifest: Manifest) -> Self {
        let column = |column: &pgarrow_job::ManifestColumn| Column {
            name: column.name.clone(),
            pg_type: column.pg_type.clone(),
            arrow_type: column.arrow_type.clone(),
            nullable: column.nullable,
            effects: BTreeMap::new(),
        };
        let table = |table: &pgarrow_job::ManifestTable| TableOf {
            table: format!("{}.{}", table.schema, table.name),
            rows: table.rows,
            slices: table.slices,
            files: table.files.len() as u64,
            file_bytes: table.files.iter().map(|file| file.bytes).sum(),
            columns: table.columns.iter().map(column).collect(),
            ..TableOf::default()
        };
        let file = |file: &pgarrow_job::ManifestFile| FileOf {
            path: Some(file.path.clone()),
            rows: file.rows,
            bytes: file.bytes,
            row_groups: file.row_groups.map(|n_groups| n_groups as u64),
        };
        Self {
            status: Some("committed".to_owned()),
            run_id: Some(manifest.run_id.clone()),
            started: Some(manifest.started.clone()),
            ended: Some(manifest.ended.clone()),
            pgarrow_version: Some(manifest.pgarrow_version.clone()),
            subject: Some(crate::units::counted(manifest.tables.len() as u64, "table")),
            server: Server {
                endpoint: manifest.server.endpoint.clone(),
                database: manifest.server.database.clone(),
                version: Some(manifest.server.version.clone()),
            },
            snapshot: Some(manifest.snapshot.clone()),
            rows: manifest.rows(),
            tables: manifest.tables.iter().map(table).collect(),
            files: manifest.tables.iter().flat_map(|table| &table.files).map(file).collect(),
            failed: failures(&manifest),
            manifest: Some(manifest),
            ..Self::default()
        }
    }
}
