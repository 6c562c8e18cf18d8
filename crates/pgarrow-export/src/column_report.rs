//! `ColumnReport`: what a column became.

use std::collections::BTreeMap;

use arrow_schema::Schema;
use pgarrow_types::{PgColumn, arrow_type};
use serde::Serialize;

/// A column of a [`Report`](crate::Report) or a [`PlanReport`](crate::PlanReport).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ColumnReport {
    /// The column's name.
    pub name: String,
    /// Its type as `format_type` prints it.
    pub pg_type: String,
    /// Its Arrow type.
    pub arrow_type: String,
    /// Whether it may be NULL. It is not nullable if the catalog proves that and no policy writes NULL.
    pub nullable: bool,
    /// How many of its values a policy changed, or readers should know about: `infinity_nulled`,
    /// `infinity_saturated`, `nan_nulled`, `out_of_range_nulled`, `out_of_range_saturated`, `text_replaced`,
    /// `trimmed`, `lower_bound_dropped`, `end_of_day`, `rounded`. Only counts that are not 0.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub effects: BTreeMap<String, u64>,
}

impl ColumnReport {
    /// The columns as planned.
    pub(crate) fn of(schema: &Schema, columns: &[PgColumn]) -> Vec<Self> {
        let fields = schema.fields().iter().zip(columns);
        let column = fields.map(|(field, column)| Self {
            name: column.name.clone(),
            pg_type: column.type_name.clone(),
            arrow_type: arrow_type(field.data_type()),
            nullable: field.is_nullable(),
            effects: BTreeMap::new(),
        });
        column.collect()
    }
}
