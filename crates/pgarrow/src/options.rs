//! How an export is made: batches, types, and the session it runs in.

use pgarrow_decode::BatchLimits;
use pgarrow_types::{IntervalForm, TypeOptions};
use serde::{Deserialize, Serialize};

/// How rows are asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ReadMode {
    /// COPY, or SELECT where the server refuses COPY.
    #[default]
    Auto,
    /// `COPY … TO STDOUT (FORMAT binary)`.
    Copy,
    /// One SELECT, its rows in binary.
    Select,
    /// A cursor: some thousand rows at a time, so that the server never runs far ahead.
    Cursor,
}

/// How an export is cut into batches, how types are mapped, and what its session is set to.
///
/// Every option has a default that suits an export of a table into Arrow in memory.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ExportOptions {
    pub(crate) limits: BatchLimits,
    pub(crate) types: TypeOptions,
    pub(crate) role: Option<String>,
    pub(crate) settings: Vec<(String, String)>,
}

impl ExportOptions {
    /// Rows per batch at most. Default: 65,536.
    ///
    /// [`with_batch_bytes`](Self::with_batch_bytes) may end a batch sooner. At least 1.
    pub fn with_batch_rows(mut self, batch_rows: usize) -> Self {
        self.limits.rows = batch_rows.max(1);
        self
    }

    /// Bytes of Arrow data from which on a batch is full. Default: 8 MiB; at most 1 GiB.
    ///
    /// Looked at every 256 rows. A single row larger than this still forms a batch.
    pub fn with_batch_bytes(mut self, batch_bytes: usize) -> Self {
        self.limits.bytes = batch_bytes;
        self
    }

    /// What an interval becomes. Default: [`IntervalForm::MonthDayNano`]; a Parquet file needs
    /// [`IntervalForm::Struct`].
    pub fn with_interval(mut self, interval: IntervalForm) -> Self {
        self.types.interval = interval;
        self
    }

    /// Runs as this role (`SET ROLE`), which the connection's user must be a member of. The exact name.
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Sets a parameter of the server's session, such as `work_mem` or `search_path`.
    ///
    /// What would change values (`client_encoding`, `DateStyle`, `IntervalStyle`, `extra_float_digits`,
    /// `bytea_output`, `standard_conforming_strings`) is refused when the export is planned.
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
