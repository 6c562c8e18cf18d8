//! Which fields of the data are loaded: the chosen columns, without the reasons that rejected rows carry.

use arrow_schema::{Field, Schema};

use crate::options::LoadOptions;

/// Metadata key of a field that a load added to rejected rows; the field was not in the original data.
pub(crate) const REJECTED: &str = "pgarrow.rejected";

impl LoadOptions {
    /// Whether this field is loaded at all.
    pub(crate) fn takes(&self, field: &Field) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.contains(field.name()))
    }

    /// The first chosen column that the data does not have.
    pub(crate) fn missing_column(&self, schema: &Schema) -> Option<&str> {
        let is_missing = |name: &&String| schema.fields().iter().all(|field| field.name() != *name);
        self.columns.iter().flatten().find(is_missing).map(String::as_str)
    }
}

/// Whether a load added this field to the rows that it rejected. Such rows can be loaded unchanged into
/// their original table, which has no such column.
pub(crate) fn is_of_rejects(field: &Field) -> bool {
    field.metadata().contains_key(REJECTED)
}
