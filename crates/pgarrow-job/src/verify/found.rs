//! What came of a comparison with a server.

use serde::Serialize;

/// A difference between the files and the server.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerDifference {
    /// The table.
    pub table: String,
    /// The column, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is different.
    pub what: String,
    /// Rows that are only in the files: the first ones, by path and number from 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub file_rows: Vec<FileRow>,
    /// Rows that are only on the server: the first ones, by table and `ctid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_rows: Vec<String>,
}

impl ServerDifference {
    pub(super) fn new(table: &str, column: Option<&str>, what: String) -> Self {
        Self {
            table: table.to_owned(),
            column: column.map(str::to_owned),
            what,
            file_rows: Vec::new(),
            server_rows: Vec::new(),
        }
    }
}

/// A row of a file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FileRow {
    /// The file's path in the store.
    pub path: String,
    /// The row's number, from 1.
    pub row: u64,
}

/// What was not compared.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NotCompared {
    /// The table.
    pub table: String,
    /// The column, whose NULLs were counted nevertheless; `None`: the whole table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Why not.
    pub why: String,
}

/// What came of the comparison with a server.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct ServerVerified {
    /// Tables that were compared.
    pub tables: usize,
    /// Rows of these tables, in the files.
    pub rows: u64,
    /// Whether each row was looked for.
    pub full: bool,
    /// All that is different.
    pub differences: Vec<ServerDifference>,
    /// What was not compared.
    pub not_compared: Vec<NotCompared>,
}
