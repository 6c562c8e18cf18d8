//! `get_objects`: catalogs, schemas, tables, columns and constraints, as a tree.
//!
//! PostgreSQL's databases are the catalogs. A session sees all their names, and the inside of its own.

mod arrays;
mod read;

use adbc_core::options::ObjectDepth;
use arrow_array::RecordBatch;
use pgarrow_protocol::Session;

use crate::error::Result;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) depth: ObjectDepth,
    /// Patterns as LIKE has them.
    pub(crate) catalog: Option<&'a str>,
    pub(crate) schema: Option<&'a str>,
    pub(crate) table: Option<&'a str>,
    pub(crate) column: Option<&'a str>,
    /// Kinds of tables by their names here.
    pub(crate) types: Option<&'a [&'a str]>,
}

#[derive(Debug)]
struct Catalog {
    name: String,
    /// `None` if it was not asked for; so below.
    schemas: Option<Vec<Schema>>,
}

#[derive(Debug)]
struct Schema {
    name: String,
    tables: Option<Vec<Table>>,
}

#[derive(Debug)]
struct Table {
    name: String,
    kind: &'static str,
    inside: Option<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    columns: Vec<Column>,
    constraints: Vec<Constraint>,
}

#[derive(Debug)]
struct Column {
    name: String,
    number: i32,
    comment: Option<String>,
    type_name: String,
    size: Option<i32>,
    digits: Option<i16>,
    radix: Option<i16>,
    is_nullable: bool,
    default: Option<String>,
    is_autoincrement: bool,
    is_generated: bool,
}

#[derive(Debug)]
struct Constraint {
    name: String,
    kind: &'static str,
    columns: Vec<String>,
    /// For a foreign key: schema, table and column.
    uses: Option<Vec<(String, String, String)>>,
}

/// The objects that are wanted.
///
/// # Errors
///
/// Errors of the server.
pub(crate) fn objects(session: &mut Session, wanted: &Wanted<'_>) -> Result<RecordBatch> {
    let (current, catalogs) = read::catalogs(session, wanted)?;
    Ok(arrays::batch(&current, &catalogs)?)
}
