//! Which relation a name means, and its kind.

use std::fmt;

use pgarrow_protocol::{Row, Session};

use crate::error::CatalogError;
use crate::name::{RelationName, quote_identifier, text_array};
use crate::texts::{array_of, parsed, text};

/// A relation that can be read with a SELECT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
}

/// The `pg_class.relkind` values that can be read.
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

    /// Whether it is a temporary table, of this session or another.
    pub fn is_temporary(&self) -> bool {
        // As get_namespace_name_or_temp of PostgreSQL's src/backend/utils/cache/lsyscache.c: a number
        // follows.
        self.schema.starts_with("pg_temp_")
    }
}

impl fmt::Display for Relation {
    /// Schema and name as a user would type them: quoted only if needed.
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
    /// The kind, in words.
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
/// [`CatalogError::UnknownRelation`], [`CatalogError::NotReadable`], or errors of the server.
pub fn resolve(session: &mut Session, name: &RelationName) -> Result<Relation, CatalogError> {
    let unknown = || CatalogError::UnknownRelation { name: name.quoted(), hint: None };
    resolve_many(session, std::slice::from_ref(name))?.pop().ok_or_else(unknown)
}

/// The query of [`resolve_many`]. `to_regclass` follows the search path as FROM would.
pub(crate) const RESOLVE: &str = "SELECT c.oid::pg_catalog.text, s.nspname, c.relname, c.relkind \
               FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS r(name, n) \
               LEFT JOIN pg_catalog.pg_class c \
                 ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(r.name)::pg_catalog.oid \
               LEFT JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) c.relnamespace \
               ORDER BY r.n";

/// Finds the relations that these names mean on the session's search path, in the same order, with one
/// query.
///
/// # Errors
///
/// As for [`resolve`], for the first name that cannot be read.
pub fn resolve_many(session: &mut Session, names: &[RelationName]) -> Result<Vec<Relation>, CatalogError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let quoted: Vec<String> = names.iter().map(RelationName::quoted).collect();
    let rows = session
        .query(RESOLVE, &[Some(&text_array(&quoted))])
        .map_err(|error| schema_refused(error, names))?;
    if rows.len() != names.len() {
        return Err(CatalogError::Unexpected("another number of relations than was asked about"));
    }
    let relation = |(row, name): (&Row, String)| match row.text(0) {
        Some(_) => relation_of(row),
        None => Err(CatalogError::UnknownRelation { name, hint: None }),
    };
    rows.iter().zip(quoted).map(relation).collect()
}

/// The relations among these that the role may not read completely, or whose schema it may not use: their
/// OIDs, each with whether the schema is the reason.
///
/// # Errors
///
/// Errors of the server.
pub fn not_readable(session: &mut Session, oids: &[u32]) -> Result<Vec<(u32, bool)>, CatalogError> {
    let sql = "SELECT c.oid::pg_catalog.text, u.may \
               FROM pg_catalog.pg_class c \
               CROSS JOIN LATERAL (SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AS may) AS u \
               WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) \
                 AND NOT (u.may AND (pg_catalog.has_table_privilege(c.oid, 'SELECT') \
                   OR NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a \
                     WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
                       AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
                       AND NOT pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'))))";
    let rows = session.query(sql, &[Some(&array_of(oids))])?;
    let refused = |row: &Row| {
        let oid = row.text(0).and_then(|oid| oid.parse().ok());
        let oid = oid.ok_or(CatalogError::Unexpected("an OID that is no number"))?;
        Ok((oid, row.text(1) != Some("t")))
    };
    rows.iter().map(refused).collect()
}

/// Looking up a name in a schema needs USAGE on it, and no other right replaces that. The error names the
/// schema, if only one is possible.
fn schema_refused(error: pgarrow_protocol::Error, names: &[RelationName]) -> CatalogError {
    let mut schemas: Vec<&String> = names.iter().filter_map(|name| name.schema.as_ref()).collect();
    schemas.dedup();
    match schemas[..] {
        [schema] if error.sqlstate() == Some("42501") => {
            CatalogError::SchemaRefused { schema: schema.clone(), error }
        }
        _ => error.into(),
    }
}

/// The relation with this OID, as it is in the current snapshot; `None` if it is gone.
///
/// # Errors
///
/// [`CatalogError::NotReadable`] for indexes, sequences and the like, or errors of the server.
pub fn relation(session: &mut Session, oid: u32) -> Result<Option<Relation>, CatalogError> {
    Ok(relations(session, &[oid])?.pop())
}

/// The relations with these OIDs in the current snapshot, by OID; missing ones are left out.
///
/// # Errors
///
/// As for [`relation`].
pub fn relations(session: &mut Session, oids: &[u32]) -> Result<Vec<Relation>, CatalogError> {
    let rows = session.query(RELATIONS, &[Some(&array_of(oids))])?;
    rows.iter().map(relation_of).collect()
}

/// The query of [`relations`].
pub(crate) const RELATIONS: &str = "SELECT c.oid::pg_catalog.text, n.nspname, c.relname, c.relkind \
                                    FROM pg_catalog.pg_class c \
                                    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
                                    WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) \
                                    ORDER BY c.oid";

/// The relations of a schema that hold their own rows, by name: tables, partitioned tables, materialized
/// views.
///
/// Partitions are left out, because their parent reads them. Children of an inheritance tree are tables and
/// are included: to read every row once, read each with `ONLY`. Views and foreign tables hold no rows here,
/// and temporary tables belong to their session.
///
/// # Errors
///
/// Errors of the server.
pub fn relations_of_schema(session: &mut Session, schema: &str) -> Result<Vec<Relation>, CatalogError> {
    let sql = "SELECT c.oid::pg_catalog.text, n.nspname, c.relname, c.relkind \
               FROM pg_catalog.pg_namespace n \
               JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid \
               WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name \
                 AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,m}'::pg_catalog.\"char\"[]) \
                 AND NOT c.relispartition AND c.relpersistence OPERATOR(pg_catalog.<>) 't' \
               ORDER BY c.relname";
    let rows = session.query(sql, &[Some(schema)])?;
    rows.iter().map(relation_of).collect()
}

/// A row's relation: OID, schema, name and `relkind` are its first values.
pub(crate) fn relation_of(row: &Row) -> Result<Relation, CatalogError> {
    let (oid, schema, name) = (parsed(row, 0)?, text(row, 1)?, text(row, 2)?);
    let not_readable = |what| {
        let name = format!("{}.{}", quote_identifier(&schema), quote_identifier(&name));
        CatalogError::NotReadable { name, what }
    };
    let kind = match row.text(3) {
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
    Ok(Relation { oid, schema, name, kind })
}

/// The estimated number of rows, including partitions and children: the current size times the density that
/// ANALYZE found. `None` if any of them was never analysed, or has no storage.
///
/// # Errors
///
/// Errors of the server.
pub fn estimated_rows(session: &mut Session, oid: u32) -> Result<Option<u64>, CatalogError> {
    // As the planner does it: `estimate_rel_size` in src/backend/optimizer/util/plancat.c.
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
