//! What can be written to a relation: its columns as INSERT and COPY FROM see them, and whether these
//! commands work.

use std::collections::HashMap;

use pgarrow_protocol::{Error, Row, Session, TransactionStatus};

use crate::ahead::{inlined, last_answers};
use crate::columns::{ResolvedColumn, table_columns};
use crate::error::CatalogError;
use crate::name::{quote_literal, text_array};
use crate::relation::{Relation, RelationKind};
use crate::texts::{array_of, parsed, text};

/// A column of a table to write to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TargetColumn {
    /// The column. Its `nullable` is about reading; for writing see [`is_not_null`](Self::is_not_null).
    pub column: ResolvedColumn,
    /// The table refuses NULL, by the column's own NOT NULL or by that of its domain. (A CHECK may refuse
    /// it, too.)
    pub is_not_null: bool,
    /// A row without this column gets a value: from the column's default, or from its type's. False for
    /// identity and generated columns.
    pub has_default: bool,
    /// `GENERATED … AS IDENTITY`.
    pub identity: Option<Identity>,
    /// `GENERATED ALWAYS AS (…)`, stored or virtual: values cannot be given.
    pub is_generated: bool,
    /// Whether the current role may write to this column.
    pub may_insert: bool,
}

/// When an identity column generates its values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// Always. INSERT refuses given values without OVERRIDING SYSTEM VALUE; COPY FROM accepts them.
    Always,
    /// If no value is given.
    ByDefault,
}

/// Which commands can write to a relation, regardless of the current role's rights.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WriteAccess {
    /// `COPY … FROM` can, row security aside: it is a table or foreign table, or a view with an INSTEAD OF
    /// INSERT trigger for each row.
    pub copy: bool,
    /// INSERT can.
    pub insert: bool,
    /// Row security policies apply to the current role; then `COPY … FROM` refuses.
    pub row_security: bool,
}

/// The query of [`target_columns`]. A domain inherits its base type's default, but not its NOT NULL. Virtual
/// columns have attgenerated 'v', since PostgreSQL 18.
pub(crate) const TARGET_COLUMNS: &str = "WITH RECURSIVE domain(attnum, basetype, is_not_null) AS ( \
                 SELECT a.attnum, t.typbasetype, t.typnotnull FROM pg_catalog.pg_attribute a \
                 JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid \
                 WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                   AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
                   AND t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\" \
                 UNION ALL \
                 SELECT d.attnum, t.typbasetype, t.typnotnull FROM domain d \
                 JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.basetype \
                 WHERE t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\") \
               SELECT a.attnum::pg_catalog.text, \
                 a.attnotnull OR EXISTS (SELECT FROM domain d \
                   WHERE d.attnum OPERATOR(pg_catalog.=) a.attnum AND d.is_not_null), \
                 a.atthasdef OR t.typdefault IS NOT NULL, a.attidentity, a.attgenerated, \
                 pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT') \
               FROM pg_catalog.pg_attribute a \
               JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid \
               WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                 AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped";

/// The same without domains: only an answer if no type in its last column is one (`typtype` 'd').
pub(crate) const TARGET_COLUMNS_BUT_DOMAINS: &str = "SELECT a.attnum::pg_catalog.text, a.attnotnull, \
                 a.atthasdef OR t.typdefault IS NOT NULL, a.attidentity, a.attgenerated, \
                 pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT'), t.typtype \
               FROM pg_catalog.pg_attribute a \
               JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid \
               WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                 AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped";

/// The relation's columns in their order, without dropped ones, as INSERT sees them.
///
/// # Errors
///
/// Errors of the server.
pub fn target_columns(session: &mut Session, relation: &Relation) -> Result<Vec<TargetColumn>, CatalogError> {
    let columns = table_columns(session, relation, true)?;
    let rows = session.query(TARGET_COLUMNS, &[Some(&relation.oid.to_string())])?;
    let by_number = rows.iter().map(|row| Ok((parsed(row, 0)?, row)));
    let by_number = by_number.collect::<Result<HashMap<u16, _>, CatalogError>>()?;
    let target = |column: ResolvedColumn| {
        let row = by_number.get(&column.column.number);
        let row = row.ok_or(CatalogError::Unexpected("columns that change while they are read"))?;
        let is = |index| row.text(index) == Some("t");
        let identity = match row.text(3) {
            Some("a") => Some(Identity::Always),
            Some("d") => Some(Identity::ByDefault),
            _ => None,
        };
        let is_generated = row.text(4).is_some_and(|kind| !kind.is_empty());
        Ok(TargetColumn {
            column,
            is_not_null: is(1),
            has_default: is(2) && identity.is_none() && !is_generated,
            identity,
            is_generated,
            may_insert: is(5),
        })
    };
    columns.into_iter().map(target).collect()
}

/// The query of [`write_access`].
pub(crate) const WRITE_ACCESS: &str = "SELECT (pg_catalog.pg_relation_is_updatable($1::pg_catalog.oid::pg_catalog.regclass, true) \
                   OPERATOR(pg_catalog.&) 8) OPERATOR(pg_catalog.<>) 0, \
                 EXISTS (SELECT FROM pg_catalog.pg_trigger g \
                   WHERE g.tgrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                     AND (g.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 69) OPERATOR(pg_catalog.=) 69), \
                 pg_catalog.row_security_active($1::pg_catalog.oid)";

/// Which commands can write to the relation.
///
/// Source: `CopyFrom` in PostgreSQL's `src/backend/commands/copyfrom.c`, `relation_is_updatable` in
/// `src/backend/rewrite/rewriteHandler.c`. Bit 3 is `CMD_INSERT` of `src/include/nodes/nodes.h`; 69 in
/// `tgtype` means for each row, INSERT and INSTEAD OF, as in `src/include/catalog/pg_trigger.h`.
///
/// # Errors
///
/// Errors of the server.
pub fn write_access(session: &mut Session, relation: &Relation) -> Result<WriteAccess, CatalogError> {
    let rows = session.query(WRITE_ACCESS, &[Some(&relation.oid.to_string())])?;
    let row = rows.first().ok_or(CatalogError::Unexpected("no row where one must be"))?;
    let is = |index| row.text(index) == Some("t");
    let copy = match relation.kind {
        RelationKind::Table | RelationKind::PartitionedTable => true,
        RelationKind::ForeignTable => is(0),
        RelationKind::View => is(1),
        RelationKind::MaterializedView => false,
    };
    Ok(WriteAccess { copy, insert: is(0), row_security: is(2) })
}

/// The type that a name means on the session's search path, and how `format_type` prints it with this
/// modifier. `None` if it does not exist or the name is invalid: names come from untrusted files.
///
/// Inside a transaction, this sets a savepoint: the server raises an error for some invalid names, and the
/// transaction must continue.
///
/// # Errors
///
/// Errors of the server that are not about the name.
pub fn type_by_name(
    session: &mut Session,
    name: &str,
    type_modifier: i32,
) -> Result<Option<(u32, String)>, CatalogError> {
    if name.contains('\0') {
        return Ok(None);
    }
    let in_transaction = session.transaction_status() == TransactionStatus::InTransaction;
    if in_transaction {
        session.execute("SAVEPOINT pgarrow_type_by_name")?;
    }
    // Since PostgreSQL 16, most invalid names no longer raise errors.
    let sql = "SELECT t.oid::pg_catalog.text, pg_catalog.format_type(t.oid, $2::pg_catalog.int4) \
               FROM pg_catalog.pg_type t \
               WHERE t.oid OPERATOR(pg_catalog.=) pg_catalog.to_regtype($1::pg_catalog.text)::pg_catalog.oid";
    let answer = session.query(sql, &[Some(name), Some(&type_modifier.to_string())]);
    if in_transaction && (answer.is_ok() || session.transaction_status() == TransactionStatus::Failed) {
        session
            .execute("ROLLBACK TO SAVEPOINT pgarrow_type_by_name; RELEASE SAVEPOINT pgarrow_type_by_name")?;
    }
    match answer {
        Ok(rows) => rows.first().map(|row| Ok((parsed(row, 0)?, text(row, 1)?))).transpose(),
        Err(error) if is_about_the_name(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A type of the server: its OID, and how `format_type` prints it.
pub type NamedType = (u32, String);

/// The types of several names and modifiers, in their order.
const TYPES_BY_NAMES: &str = "SELECT t.oid::pg_catalog.text, \
       pg_catalog.format_type(t.oid, ($2::pg_catalog.int4[])[i]) \
     FROM pg_catalog.generate_series(1, $3::pg_catalog.int4) AS s(i) \
     LEFT JOIN pg_catalog.pg_type t \
       ON t.oid OPERATOR(pg_catalog.=) pg_catalog.to_regtype(($1::pg_catalog.text[])[i])::pg_catalog.oid \
     ORDER BY i";

/// As [`type_by_name`], for each of these names and modifiers, in one round trip. If the server raises an
/// error for one of the names, each is asked about by itself.
///
/// # Errors
///
/// As for [`type_by_name`].
pub fn types_by_names(
    session: &mut Session,
    names: &[(String, i32)],
) -> Result<Vec<Option<NamedType>>, CatalogError> {
    if names.len() > 1
        && let Some(rows) = types_at_once(session, names)?
    {
        let of_row = |row: &Row| match row.text(0) {
            Some(_) => Ok(Some((parsed(row, 0)?, text(row, 1)?))),
            None => Ok(None),
        };
        return match rows.len() == names.len() {
            true => rows.iter().map(of_row).collect(),
            false => Err(CatalogError::Unexpected("another number of types than was asked about")),
        };
    }
    names.iter().map(|(name, type_modifier)| type_by_name(session, name, *type_modifier)).collect()
}

/// `None` if a name cannot be asked about in this way. A transaction goes on as it was.
fn types_at_once(session: &mut Session, names: &[(String, i32)]) -> Result<Option<Vec<Row>>, CatalogError> {
    let (names, type_modifiers): (Vec<&str>, Vec<i32>) =
        names.iter().map(|(name, type_modifier)| (name.as_str(), *type_modifier)).unzip();
    let Some(names) = quote_literal(&text_array(&names)) else { return Ok(None) };
    let n = type_modifiers.len().to_string();
    let sql = inlined(TYPES_BY_NAMES, &[&names, &format!("'{}'", array_of(&type_modifiers)), &n]);
    let in_transaction = session.transaction_status() == TransactionStatus::InTransaction;
    let script = match in_transaction {
        true => format!("SAVEPOINT pgarrow_types; {sql}; RELEASE SAVEPOINT pgarrow_types"),
        false => sql,
    };
    match session.query_script(&script) {
        Ok(answers) => {
            // SELECT stands between the two of the savepoint.
            let mut rows = last_answers(answers, 1 + usize::from(in_transaction))?;
            Ok(Some(rows.next().unwrap_or_default()))
        }
        Err(error) if is_about_the_name(&error) => {
            if in_transaction {
                session.execute("ROLLBACK TO SAVEPOINT pgarrow_types; RELEASE SAVEPOINT pgarrow_types")?;
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>; `parseTypeString` and the
/// functions that parse type modifiers, which raise various errors. Functions that print modifiers raise
/// `XX000`.
fn is_about_the_name(error: &Error) -> bool {
    let is_of = |sqlstate: &str| {
        ["22", "42", "0A", "54"].iter().any(|class| sqlstate.starts_with(class)) || sqlstate == "XX000"
    };
    error.server_error().is_some_and(|error| error.severity == "ERROR" && is_of(&error.sqlstate))
}
