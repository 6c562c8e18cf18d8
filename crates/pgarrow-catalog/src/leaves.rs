//! The physical relations behind a relation, and their sizes.

use pgarrow_protocol::{Row, Session};

use crate::error::CatalogError;
use crate::name::text_array;
use crate::relation::{Relation, relation_of};
use crate::texts::{array_of, parsed};

/// `pg_inherits.inhdetachpending`: a partition that is being detached. Since PostgreSQL 14.
const DETACH_PENDING: u32 = 140_000;

/// A relation with its own rows, which a SELECT from its parent also reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// The relation. Only its own rows, without those of its children: `ONLY`.
    pub relation: Relation,
    /// Whether the current role may name it and read the requested columns.
    pub is_readable: bool,
    /// Whether the current role may name it and read all of it, including system columns: `ctid` needs the
    /// privilege on the table, not on columns.
    pub is_wholly_readable: bool,
    /// Whether row security policies apply to the current role when it names the relation, regardless of the
    /// parameter `row_security`.
    pub row_security: bool,
    /// Whether its rows are in a heap of this server, so that `ctid` contains the page number.
    pub is_heap: bool,
}

/// What is said of a leaf `l`. 2 is `HEAP_TABLE_AM_OID` of `src/include/catalog/pg_am.dat`, which is fixed.
const LEAF: &str = "l.oid::pg_catalog.text, l.nspname, l.relname, l.relkind, \
           l.is_named AND (l.is_whole OR (pg_catalog.has_any_column_privilege(l.oid, 'SELECT') \
           AND NOT EXISTS (SELECT FROM pg_catalog.unnest($2::pg_catalog.text[]) AS k(name) \
           WHERE NOT pg_catalog.has_column_privilege(l.oid, k.name, 'SELECT')))), \
           l.is_named AND l.is_whole, \
           pg_catalog.row_security_active(l.oid), \
           l.relkind OPERATOR(pg_catalog.=) ANY ('{r,m}'::pg_catalog.\"char\"[]) \
           AND l.relam OPERATOR(pg_catalog.=) 2::pg_catalog.oid";

/// The query of [`leaves`].
pub(crate) fn leaves_sql(server_version_num: u32) -> String {
    let sees_detached = server_version_num >= DETACH_PENDING;
    let not_detached = if sees_detached { "AND NOT i.inhdetachpending" } else { "" };
    format!(
        "WITH RECURSIVE tree(oid) AS ( \
           SELECT $1::pg_catalog.oid \
           UNION \
           SELECT i.inhrelid FROM tree t \
           JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid {not_detached}), \
         leaf AS ( \
           SELECT c.*, n.nspname, \
             pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS is_named, \
             pg_catalog.has_table_privilege(c.oid, 'SELECT') AS is_whole \
           FROM tree t \
           JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid \
           JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
           WHERE c.relkind OPERATOR(pg_catalog.<>) 'p' AND (c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
             OR c.relpersistence OPERATOR(pg_catalog.<>) 't' \
             OR c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())) \
         SELECT {LEAF} \
         FROM leaf l \
         ORDER BY l.oid OPERATOR(pg_catalog.<>) $1::pg_catalog.oid, l.oid"
    )
}

/// The answer to the query of [`leaves`] for a table without children; otherwise no rows.
pub(crate) fn own_leaf_sql() -> String {
    format!(
        "SELECT {LEAF} FROM (SELECT c.*, n.nspname, \
             pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS is_named, \
             pg_catalog.has_table_privilege(c.oid, 'SELECT') AS is_whole \
           FROM pg_catalog.pg_class c \
           JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
           WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
             AND c.relkind OPERATOR(pg_catalog.=) 'r' AND NOT c.relhassubclass) AS l"
    )
}

/// What `SELECT … FROM relation` reads: the relation itself if it has rows of its own, then every table below
/// it in its tree, by OID. A view has one leaf, itself. A partitioned table without partitions has none.
///
/// As in the server, partitions that are being detached and temporary tables of other sessions are left out.
/// Needs one query, regardless of the number of leaves.
///
/// Source: `find_all_inheritors` in PostgreSQL's `src/backend/catalog/pg_inherits.c`,
/// `expand_inherited_rtentry` in `src/backend/optimizer/util/inherit.c`.
///
/// # Errors
///
/// Errors of the server.
pub fn leaves(
    session: &mut Session,
    relation: &Relation,
    columns: &[String],
) -> Result<Vec<Leaf>, CatalogError> {
    let sql = leaves_sql(session.server_version_num());
    let rows = session.query(&sql, &[Some(&relation.oid.to_string()), Some(&text_array(columns))])?;
    rows.iter()
        .map(|row| {
            let is = |index| row.text(index) == Some("t");
            Ok(Leaf {
                relation: relation_of(row)?,
                is_readable: is(4),
                is_wholly_readable: is(5),
                row_security: is(6),
                is_heap: is(7),
            })
        })
        .collect()
}

/// The query of [`row_security_applies`].
pub(crate) const ROW_SECURITY: &str = "SELECT pg_catalog.row_security_active($1::pg_catalog.oid)";

/// Whether row security policies apply to the current role when it reads the relation, regardless of the
/// parameter `row_security`.
///
/// # Errors
///
/// Errors of the server.
pub fn row_security_applies(session: &mut Session, relation: &Relation) -> Result<bool, CatalogError> {
    let rows = session.query(ROW_SECURITY, &[Some(&relation.oid.to_string())])?;
    Ok(rows.first().is_some_and(|row| row.text(0) == Some("t")))
}

/// The size of a relation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RelationSize {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Current pages of its main fork.
    pub pages: u64,
    /// Current bytes of heap and TOAST.
    pub bytes: u64,
    /// Estimated rows: the current pages times the density that ANALYZE found; `None` if it was never
    /// analysed.
    pub estimated_rows: Option<u64>,
    /// It has, or once had, children or partitions. Their rows are not counted here.
    pub has_children: bool,
}

/// The query of [`relation_sizes`].
pub(crate) const SIZES: &str = "SELECT r.oid::pg_catalog.text, COALESCE(pg_catalog.pg_relation_size(c.oid), 0)::pg_catalog.text, \
                 CASE WHEN c.reltoastrelid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
                   THEN COALESCE(pg_catalog.pg_relation_size(c.reltoastrelid), 0) ELSE 0 END::pg_catalog.text, \
                 c.reltuples::pg_catalog.text, c.relpages::pg_catalog.text, \
                 pg_catalog.current_setting('block_size'), c.relkind, c.relhassubclass \
               FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS r(oid, n) \
               LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.oid \
               ORDER BY r.n";

/// The current sizes of these relations, in the same order. A relation without storage, or that is gone, has
/// size 0.
///
/// A page counts as soon as the file has it. So if this is called after a snapshot was taken, all rows of
/// the snapshot are on counted pages.
///
/// # Errors
///
/// Errors of the server.
pub fn relation_sizes(session: &mut Session, oids: &[u32]) -> Result<Vec<RelationSize>, CatalogError> {
    if oids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.query(SIZES, &[Some(&array_of(oids))])?;
    if rows.len() != oids.len() {
        return Err(CatalogError::Unexpected("another number of relations than was asked about"));
    }
    rows.iter().map(size).collect()
}

fn size(row: &Row) -> Result<RelationSize, CatalogError> {
    let (heap_bytes, toast_bytes): (u64, u64) = (parsed(row, 1)?, parsed(row, 2)?);
    let block_bytes: u64 = parsed(row, 5)?;
    let pages = heap_bytes.checked_div(block_bytes).ok_or(CatalogError::Unexpected("pages of no bytes"))?;
    let has_storage = matches!(row.text(6), Some("r" | "m"));
    let number = |index| row.text(index).and_then(|text| text.parse::<f64>().ok());
    let estimated_rows = match (number(3), number(4)) {
        (Some(tuples), _) if row.text(6) == Some("f") && tuples >= 0.0 => Some(tuples),
        _ if has_storage && pages == 0 => Some(0.0),
        // -1: never vacuumed or analysed (0 before PostgreSQL 14).
        (Some(tuples), Some(pages_then)) if has_storage && tuples >= 0.0 && pages_then > 0.0 => {
            Some(tuples / pages_then * pages as f64)
        }
        _ => None,
    };
    Ok(RelationSize {
        oid: parsed(row, 0)?,
        pages,
        bytes: heap_bytes.saturating_add(toast_bytes),
        // Estimates are positive and far below 2^53.
        estimated_rows: estimated_rows.map(|rows| rows.round() as u64),
        has_children: row.text(7) == Some("t"),
    })
}
