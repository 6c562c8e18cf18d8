//! Which fields of the data are loaded: those that are named, and of rejected rows not what says why they were.

use arrow_schema::{Field, Schema};

use crate::options::LoadOptions;

/// In the metadata of a field: it says why rows were rejected, and was none of the data's.
pub(crate) const REJECTED: &str = "pgarrow.rejected";

impl LoadOptions {
    /// Whether this field is loaded at all.
    pub(crate) fn takes(&self, field: &Field) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.contains(field.name()))
    }

    /// The first name of a column that the data does not have.
    pub(crate) fn missing_column(&self, schema: &Schema) -> Option<&str> {
        let is_missing = |name: &&String| schema.fields().iter().all(|field| field.name() != *name);
        self.columns.iter().flatten().find(is_missing).map(String::as_str)
    }
}

/// Whether a load has made this field for the rows that it has rejected. Such rows can be loaded as they are into the table
/// that they were meant for, which has no such column.
pub(crate) fn is_of_rejects(field: &Field) -> bool {
    field.metadata().contains_key(REJECTED)
}
