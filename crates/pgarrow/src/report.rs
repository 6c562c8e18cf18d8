//! `Report`: what an export came to, for people and as JSON.

use std::time::Duration;

use pgarrow_sink::Written;
use serde::Serialize;

use crate::keeper::Facts;
use crate::plan::Plan;
use crate::reader::Progress;
use crate::usage::ProcessUsage;

/// What an export came to. Serialises to the JSON that `pgarrow export --report` writes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Of this report's form. Fields may be added within a version.
    pub report_version: u32,
    /// The version of pgarrow.
    pub pgarrow_version: &'static str,
    /// What was read: `public.orders`, or `the query`.
    pub subject: String,
    /// Where from.
    pub server: ServerReport,
    /// `pg_current_snapshot()`: the moment that was read.
    pub snapshot: String,
    /// Rows, as decoded, as the server counted them, and as written.
    pub rows: u64,
    /// Bytes of the COPY stream, message headers included.
    pub wire_bytes: u64,
    /// Record batches.
    pub batches: u64,
    /// From the start of the COPY to the end of the output, in seconds.
    pub seconds: f64,
    /// CPU time of this process since it started, in seconds.
    pub cpu_seconds: f64,
    /// The most memory this process has had, in bytes.
    pub peak_memory_bytes: u64,
    /// What was written.
    pub files: Vec<FileReport>,
    /// What was read as what.
    pub columns: Vec<ColumnReport>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The server of a [`Report`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServerReport {
    /// `host:port`, or the socket's path.
    pub endpoint: String,
    /// The database's name.
    pub database: String,
    /// `server_version`.
    pub version: String,
    /// `pg_postmaster_start_time()`.
    pub started: String,
}

/// A file of a [`Report`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FileReport {
    /// The file's name as it was given; none for stdout.
    pub path: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its row groups, if the format has them.
    pub row_groups: Option<usize>,
}

/// A column of a [`Report`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ColumnReport {
    /// The column's name.
    pub name: String,
    /// Its type as `format_type` prints it.
    pub pg_type: String,
    /// Its Arrow type.
    pub arrow_type: String,
    /// Whether it may be NULL, as far as the catalog proves it.
    pub nullable: bool,
}

impl Report {
    pub(crate) fn new(
        facts: &Facts,
        plan: &Plan,
        progress: &Progress,
        elapsed: Duration,
        rows: u64,
        written: Written,
    ) -> Self {
        let ProcessUsage { cpu_seconds, peak_memory_bytes } = ProcessUsage::now();
        let fields = plan.schema().fields().iter().zip(plan.columns());
        let columns = fields.map(|(field, column)| ColumnReport {
            name: column.name.clone(),
            pg_type: column.type_name.clone(),
            arrow_type: field.data_type().to_string(),
            nullable: column.nullable,
        });
        let files = written.files.into_iter().map(|file| FileReport {
            path: file.path.map(|path| path.display().to_string()),
            rows: file.rows,
            bytes: file.bytes,
            row_groups: file.row_groups,
        });
        Self {
            report_version: 1,
            pgarrow_version: env!("CARGO_PKG_VERSION"),
            subject: plan.subject().to_owned(),
            server: ServerReport {
                endpoint: facts.endpoint.clone(),
                database: facts.database.clone(),
                version: facts.server_version.clone(),
                started: facts.server_start.clone(),
            },
            snapshot: facts.snapshot.clone(),
            rows,
            wire_bytes: progress.wire_bytes(),
            batches: progress.batches(),
            seconds: elapsed.as_secs_f64(),
            cpu_seconds,
            peak_memory_bytes,
            files: files.collect(),
            columns: columns.collect(),
            warnings: plan.warnings().to_vec(),
        }
    }
}
