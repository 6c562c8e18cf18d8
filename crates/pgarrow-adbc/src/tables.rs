//! The kinds of tables, and the Arrow schema of one.

use std::sync::Arc;

use adbc_core::schemas::GET_TABLE_TYPES_SCHEMA;
use arrow_array::{RecordBatch, StringArray};
use arrow_schema::Schema;
use pgarrow_catalog::RelationName;
use pgarrow_export::driver::relation_schema;
use pgarrow_protocol::Session;

use crate::error::{Result, of_engine};
use crate::settings::Settings;

/// `pg_class.relkind`, and its name here.
pub(crate) const KINDS: [(char, &str); 5] = [
    ('r', "table"),
    ('p', "partitioned_table"),
    ('v', "view"),
    ('m', "materialized_view"),
    ('f', "foreign_table"),
];

pub(crate) fn table_types() -> Result<RecordBatch> {
    let names = StringArray::from_iter_values(KINDS.iter().map(|(_, name)| *name));
    Ok(RecordBatch::try_new(GET_TABLE_TYPES_SCHEMA.clone(), vec![Arc::new(names)])?)
}

/// The schema that an export of the table has.
pub(crate) fn schema(
    session: &mut Session,
    schema: Option<&str>,
    table: &str,
    settings: &Settings,
) -> Result<Schema> {
    let name = RelationName { schema: schema.map(str::to_owned), name: table.to_owned() };
    // A choice for a column that the table does not have changes nothing.
    let options = settings.options(|_| true)?;
    relation_schema(session, &name, &options).map_err(of_engine)
}
