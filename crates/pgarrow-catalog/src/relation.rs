//! Which relation a name means, and what it is.

use std::fmt;

use pgarrow_protocol::{Row, Session};

use crate::error::CatalogError;
use crate::name::{RelationName, quote_identifier};

/// A relation that can be read with a SELECT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
}

/// `pg_class.relkind` of what can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RelationKind {
    /// An ordinary table; may be the parent of an inheritance tree.
    Table,
    /// A partitioned table: all its rows are in its partitions.
    PartitionedTable,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table.
    ForeignTable,
}

impl Relation {
    /// Schema and name in SQL, quoted.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.name))
    }
}

impl fmt::Display for Relation {
    /// Schema and name as one would type them: quoted only where that is needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = |name: &str| {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let needs_quotes = name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_plain);
            if needs_quotes { quote_identifier(name) } else { name.to_owned() }
        };
        write!(f, "{}.{}", typed(&self.schema), typed(&self.name))
    }
}

impl RelationKind {
    /// What it is, in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::PartitionedTable => "partitioned table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::ForeignTable => "foreign table",
        }
    }
}

/// Finds the relation that a name means on the session's search path.
///
/// # Errors
///
/// [`CatalogError::UnknownRelation`], [`CatalogError::NotReadable`], or the server's.
pub fn resolve(session: &mut Session, name: &RelationName) -> Result<Relation, CatalogError> {
    let quoted = name.quoted();
    // to_regclass follows the search path as FROM would.
    let sql = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid::pg_catalog.text";
    let rows = session.query(sql, &[Some(&quoted)])?;
    let oid = rows.first().and_then(|row| row.text(0)).and_then(|oid| oid.parse().ok());
    match oid {
        Some(oid) => relation(session, oid)?.ok_or(CatalogError::UnknownRelation { name: quoted }),
        None => Err(CatalogError::UnknownRelation { name: quoted }),
    }
}

/// The relation with this OID, as it is in the current snapshot; `None` if it is gone.
///
/// # Errors
///
/// [`CatalogError::NotReadable`] for indexes, sequences and the like, or the server's.
pub fn relation(session: &mut Session, oid: u32) -> Result<Option<Relation>, CatalogError> {
    let sql = "SELECT n.nspname, c.relname, c.relkind \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";
    let rows = session.query(sql, &[Some(&oid.to_string())])?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let (schema, name) = (text(row, 0)?, text(row, 1)?);
    let not_readable = |what| {
        let name = format!("{}.{}", quote_identifier(&schema), quote_identifier(&name));
        CatalogError::NotReadable { name, what }
    };
    let kind = match row.text(2) {
        Some("r") => RelationKind::Table,
        Some("p") => RelationKind::PartitionedTable,
        Some("v") => RelationKind::View,
        Some("m") => RelationKind::MaterializedView,
        Some("f") => RelationKind::ForeignTable,
        Some("i" | "I") => return Err(not_readable("an index")),
        Some("S") => return Err(not_readable("a sequence")),
        Some("c") => return Err(not_readable("a composite type")),
        _ => return Err(not_readable("a relation of a kind we do not know")),
    };
    Ok(Some(Relation { oid, schema, name, kind }))
}

/// How many rows the relation has, from its size now and the density that ANALYZE saw, its partitions and
/// children included. `None` if any of them was never analysed, or it has no storage.
///
/// # Errors
///
/// The server's.
pub fn estimated_rows(session: &mut Session, oid: u32) -> Result<Option<u64>, CatalogError> {
    // As the planner does it: `estimate_rel_size` in src/backend/access/heap/heapam_handler.c.
    let sql = "WITH RECURSIVE tree(oid) AS ( \
                 SELECT $1::pg_catalog.oid \
                 UNION \
                 SELECT i.inhrelid FROM tree t \
                 JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid) \
               SELECT c.reltuples::pg_catalog.text, c.relpages::pg_catalog.text, \
                 pg_catalog.pg_relation_size(c.oid)::pg_catalog.text, \
                 pg_catalog.current_setting('block_size') \
               FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid \
               WHERE c.relkind OPERATOR(pg_catalog.<>) 'p'";
    let rows = session.query(sql, &[Some(&oid.to_string())])?;
    let number = |row: &Row, index| row.text(index).and_then(|text| text.parse::<f64>().ok());
    let leaf_rows = |row: &Row| {
        let (tuples, pages) = (number(row, 0)?, number(row, 1)?);
        let pages_now = number(row, 2)? / number(row, 3)?;
        match (tuples, pages) {
            _ if pages_now == 0.0 => Some(0.0),
            // -1: never vacuumed or analysed (0 before PostgreSQL 14).
            (tuples, pages) if tuples < 0.0 || pages <= 0.0 => None,
            (tuples, pages) => Some(tuples / pages * pages_now),
        }
    };
    let total = rows.iter().map(leaf_rows).sum::<Option<f64>>();
    // Estimates are positive and far below 2^53.
    Ok(total.filter(|_| !rows.is_empty()).map(|rows| rows.round() as u64))
}

pub(crate) fn text(row: &Row, index: usize) -> Result<String, CatalogError> {
    row.text(index).map(str::to_owned).ok_or(CatalogError::Unexpected("a NULL where none can be"))
}

pub(crate) fn parsed<T: std::str::FromStr>(row: &Row, index: usize) -> Result<T, CatalogError> {
    let number = row.text(index).and_then(|text| text.parse().ok());
    number.ok_or(CatalogError::Unexpected("something else than a number"))
}
