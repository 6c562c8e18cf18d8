//! A file of a report.

use pgarrow_sink::{ColumnRange, WrittenFile};
use serde::Serialize;

/// A file of a [`Report`](crate::Report).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FileReport {
    /// The file's name as given; `None` for stdout.
    pub path: Option<String>,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Its row groups, if the format has them.
    pub row_groups: Option<usize>,
    /// The SHA-256 of its bytes in hexadecimal digits, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What its columns hold, for formats that know. Not in the JSON.
    #[serde(skip)]
    pub ranges: Vec<ColumnRange>,
}

impl From<WrittenFile> for FileReport {
    fn from(file: WrittenFile) -> Self {
        Self {
            path: file.path.map(|path| path.display().to_string()),
            rows: file.rows,
            bytes: file.bytes,
            row_groups: file.row_groups,
            sha256: file.sha256,
            ranges: file.ranges,
        }
    }
}
