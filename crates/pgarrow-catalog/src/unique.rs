//! The unique keys of a table.

use pgarrow_protocol::Session;

use crate::error::CatalogError;
use crate::relation::Relation;
use crate::texts::{parsed, text};

/// The first version with `pg_index.indnullsnotdistinct`.
const NULLS_NOT_DISTINCT: u32 = 150_000;

/// A primary key, unique constraint or unique index that `ON CONFLICT` can infer from its columns: it covers
/// only columns and all rows, is valid, and is not an exclusion constraint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UniqueKey {
    /// The name of the index, and of its constraint if it has one.
    pub name: String,
    /// The names of its columns, in their order, without INCLUDE columns.
    pub columns: Vec<String>,
    /// Whether it is the primary key.
    pub is_primary: bool,
    /// Whether two NULLs are equal in it.
    pub nulls_not_distinct: bool,
    /// Whether it may be checked at the end of a transaction: `ON CONFLICT` then refuses it.
    pub is_deferrable: bool,
}

/// The unique keys of a table, the primary key first, then by name.
///
/// Source: `infer_arbiter_indexes` in PostgreSQL's `src/backend/optimizer/util/plancat.c`.
///
/// # Errors
///
/// Errors of the server.
pub fn unique_keys(session: &mut Session, relation: &Relation) -> Result<Vec<UniqueKey>, CatalogError> {
    let nulls_not_distinct = match session.server_version_num() >= NULLS_NOT_DISTINCT {
        true => "i.indnullsnotdistinct",
        false => "false",
    };
    // One row per column of each key. indkey counts from 0.
    let sql = format!(
        "SELECT c.oid::pg_catalog.text, c.relname, a.attname, i.indisprimary, {nulls_not_distinct}, \
           NOT i.indimmediate \
         FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid \
         CROSS JOIN pg_catalog.generate_series(0, i.indnkeyatts::pg_catalog.int4 OPERATOR(pg_catalog.-) 1) AS s(n) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid \
           AND a.attnum OPERATOR(pg_catalog.=) i.indkey[s.n] \
         WHERE i.indrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
           AND i.indisunique AND i.indisvalid AND NOT i.indisexclusion \
           AND i.indpred IS NULL AND i.indexprs IS NULL \
         ORDER BY i.indisprimary DESC, c.relname, c.oid, s.n"
    );
    let mut keys: Vec<UniqueKey> = Vec::new();
    let mut last = None;
    for row in &session.query(&sql, &[Some(&relation.oid.to_string())])? {
        let index: u32 = parsed(row, 0)?;
        let column = text(row, 2)?;
        match keys.last_mut() {
            Some(key) if last == Some(index) => key.columns.push(column),
            _ => {
                let is = |index| row.text(index) == Some("t");
                keys.push(UniqueKey {
                    name: text(row, 1)?,
                    columns: vec![column],
                    is_primary: is(3),
                    nulls_not_distinct: is(4),
                    is_deferrable: is(5),
                });
            }
        }
        last = Some(index);
    }
    Ok(keys)
}
