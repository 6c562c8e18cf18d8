//! What will be read: columns resolved, schema known, nothing run yet.

use std::collections::HashMap;

use arrow_schema::{Schema, SchemaRef};
use pgarrow_catalog::{Relation, quote_identifier};
use pgarrow_types::{PgColumn, TypeOptions, schema};

/// A planned export: what is read, as what, and the statement that reads it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) subject: String,
    pub(crate) relation: Option<Relation>,
    pub(crate) columns: Vec<PgColumn>,
    pub(crate) schema: SchemaRef,
    pub(crate) copy_statement: String,
    pub(crate) estimated_rows: Option<u64>,
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    /// What is read, in words: `public.orders`, or `the query`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The table, if one is read.
    pub fn relation(&self) -> Option<&Relation> {
        self.relation.as_ref()
    }

    /// The columns in their order.
    pub fn columns(&self) -> &[PgColumn] {
        &self.columns
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The statement that is sent. May hold values that were bound to a query.
    pub fn copy_statement(&self) -> &str {
        &self.copy_statement
    }

    /// How many rows there will be, for a whole table that was analysed.
    pub fn estimated_rows(&self) -> Option<u64> {
        self.estimated_rows
    }

    /// What the user should know: columns that are read as text, weak connections.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// The Arrow schema, with the metadata that is the same for every run of the export.
pub(crate) fn arrow_schema(
    columns: &[PgColumn],
    types: &TypeOptions,
    relation: Option<&Relation>,
    server_version: &str,
) -> Schema {
    let mut metadata = HashMap::from([("pg.server_version".to_owned(), server_version.to_owned())]);
    if let Some(relation) = relation {
        metadata.insert("pg.table".to_owned(), relation.to_string());
    }
    schema(columns, types, metadata)
}

/// The SELECT list for columns of a table.
pub(crate) fn select_list(columns: &[PgColumn]) -> String {
    let items = columns.iter().map(|column| select_item(&quote_identifier(&column.name), column));
    items.collect::<Vec<_>>().join(", ")
}

/// One column: as it is, or as the text that stands for it.
fn select_item(expression: &str, column: &PgColumn) -> String {
    let cast = if column.pg_type.is_cast_to_text() { "::pg_catalog.text" } else { "" };
    format!("{expression}{cast}")
}

/// The statement that reads a table. The filter stands on lines of its own, since it may end in a comment.
pub(crate) fn copy_of_table(relation: &Relation, columns: &[PgColumn], filter: Option<&str>) -> String {
    let (list, relation) = (select_list(columns), relation.quoted());
    let filter = filter.map(|filter| format!(" WHERE (\n{filter}\n)")).unwrap_or_default();
    copy_statement(&format!("SELECT {list} FROM {relation}{filter}"))
}

/// The statement that reads a query: as it is, or inside another that casts some of its columns.
pub(crate) fn copy_of_query(query: &str, columns: &[PgColumn]) -> String {
    if !columns.iter().any(|column| column.pg_type.is_cast_to_text()) {
        return copy_statement(&format!("\n{query}\n"));
    }
    // The columns get names of ours: theirs may be equal, or none.
    let names: Vec<String> = (1..=columns.len()).map(|number| format!("c{number}")).collect();
    let items: Vec<String> =
        names.iter().zip(columns).map(|(name, column)| select_item(name, column)).collect();
    copy_statement(&format!("SELECT {} FROM (\n{query}\n) AS q ({})", items.join(", "), names.join(", ")))
}

fn copy_statement(query: &str) -> String {
    format!("COPY ({query}) TO STDOUT (FORMAT binary)")
}

/// One warning for every column that is read as text because nothing better is known.
pub(crate) fn type_warnings(columns: &[PgColumn]) -> Vec<String> {
    use pgarrow_types::PgType;
    let unknown = columns.iter().filter(|column| column.pg_type == PgType::ServerText { warn: true });
    unknown.map(|column| format!("column {:?} ({}) is read as text", column.name, column.type_name)).collect()
}
