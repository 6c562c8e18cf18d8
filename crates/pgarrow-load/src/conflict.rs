//! `ON CONFLICT`: what happens to rows whose key is already in the table.

use pgarrow_catalog::{Identity, TargetColumn, UniqueKey, quote_identifier, unique_keys};
use pgarrow_protocol::{Row, Session};
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::option::KEY;
use pgarrow_types::{Message, message};

use crate::options::{LoadMode, LoadOptions, OnConflict};
use crate::target::TargetTable;

/// The ON CONFLICT clause of an INSERT of these columns; empty if a conflict is an error.
///
/// # Errors
///
/// [`ErrorKind::Options`] for a key that the table does not have, or whose columns the data lacks.
pub(crate) fn clause(
    session: &mut Session,
    table: &TargetTable,
    sent: &[&str],
    options: &LoadOptions,
) -> Result<String> {
    let on_conflict = options.on_conflict()?;
    if on_conflict == OnConflict::Error {
        return Ok(String::new());
    }
    let TargetTable { relation, shown, columns, .. } = table;
    let keys = unique_keys(session, relation)?;
    // Without a named key, a conflict on any key counts. The server cannot do that for deferrable keys.
    let all_keys = options.key.is_empty() && !keys.iter().any(|key| key.is_deferrable);
    if on_conflict == OnConflict::Skip && all_keys {
        return Ok(" ON CONFLICT DO NOTHING".to_owned());
    }
    let key = key(shown, &keys, options)?;
    if let Some(missing) = key.iter().find(|name| !sent.contains(&name.as_str())) {
        let text = format!(
            "{missing:?} is of the key by which rows of {shown} are told apart, and the data has no such column"
        );
        return Err(Error::new(ErrorKind::Options, text));
    }
    let quoted: Vec<String> = key.iter().map(|name| quote_identifier(name)).collect();
    let target = format!(" ON CONFLICT ({})", quoted.join(", "));
    let is_fixed = |name: &str| {
        // The server lets such a column be updated only to its default.
        let always = |column: &TargetColumn| column.identity == Some(Identity::Always);
        key.iter().any(|of_key| of_key == name)
            || columns.iter().any(|column| column.column.column.name == name && always(column))
    };
    let mut changed: Vec<&str> = sent.iter().copied().filter(|name| !is_fixed(name)).collect();
    if on_conflict == OnConflict::Skip {
        changed.clear();
    }
    check_rights(session, table, &key, &changed)?;
    let changes = changed.iter().map(|name| quote_identifier(name));
    let changes: Vec<String> = changes.map(|name| format!("{name} = EXCLUDED.{name}")).collect();
    Ok(match changes.is_empty() {
        false => format!("{target} DO UPDATE SET {}", changes.join(", ")),
        true => format!("{target} DO NOTHING"),
    })
}

/// Checks that the role may do what the clause does. The server checks only after all rows are sent.
///
/// Source: "Parameters", `conflict_target` and `conflict_action`, in
/// <https://www.postgresql.org/docs/current/sql-insert.html>: the role needs SELECT on the key's columns and
/// on those that EXCLUDED reads.
fn check_rights(session: &mut Session, table: &TargetTable, key: &[String], changed: &[&str]) -> Result<()> {
    let sql = "SELECT a.attname, pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT'), \
                 pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'UPDATE') \
               FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                 AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = session.query(sql, &[Some(&table.relation.oid.to_string())]).map_err(Error::without_advice)?;
    let missing = |right: usize, is_needed: &dyn Fn(&str) -> bool| {
        let is_missing = |row: &&Row| row.text(right) != Some("t") && row.text(0).is_some_and(is_needed);
        let names = rows.iter().filter(is_missing).filter_map(|row| row.text(0).map(quote_identifier));
        names.collect::<Vec<_>>()
    };
    let is_changed = |name: &str| changed.contains(&name);
    let grants = [
        ("SELECT", missing(1, &|name| is_changed(name) || key.iter().any(|of_key| of_key == name))),
        ("UPDATE", missing(2, &is_changed)),
    ];
    let grants = grants.iter().filter(|(_, columns)| !columns.is_empty());
    let grants: Vec<String> =
        grants.map(|(right, columns)| format!("{right} ({})", columns.join(", "))).collect();
    if grants.is_empty() {
        return Ok(());
    }
    let (grants, shown) = (grants.join(", "), &table.shown);
    let text =
        format!("rows of {shown} whose key is there need rights that the role does not have: {grants}");
    Err(Error::new(ErrorKind::Options, text)
        .advice(format_args!("GRANT {grants} ON {} TO it", table.relation.quoted())))
}

/// The columns of the key: those that the options name, or those of the primary key.
fn key(shown: &str, keys: &[UniqueKey], options: &LoadOptions) -> Result<Vec<String>> {
    let refuse = |text: Message| Err(Error::new(ErrorKind::Options, text));
    let usable = || keys.iter().filter(|key| !key.is_deferrable);
    if options.key.is_empty() {
        return match usable().find(|key| key.is_primary) {
            Some(primary) => Ok(primary.columns.clone()),
            None => refuse(message![
                format_args!(
                    "{shown} has no primary key to tell its rows apart by; name the columns of a unique key ("
                ),
                KEY,
                ")"
            ]),
        };
    }
    let sorted = |columns: &[String]| {
        let mut columns = columns.to_vec();
        columns.sort();
        columns
    };
    match usable().any(|key| sorted(&key.columns) == sorted(&options.key)) {
        true => Ok(options.key.clone()),
        false => {
            let has: Vec<String> = usable().map(|key| format!("({})", key.columns.join(", "))).collect();
            let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
            let text = format!(
                "{shown} has no unique key of the columns ({}); those that can be used: {has}",
                options.key.join(", ")
            );
            refuse(text.into())
        }
    }
}

impl LoadOptions {
    /// What happens to rows whose key is already there, from mode and option together.
    pub(crate) fn on_conflict(&self) -> Result<OnConflict> {
        let refuse = |text: &str| Err(Error::new(ErrorKind::Options, text));
        let on_conflict = match (self.mode, self.on_conflict) {
            (LoadMode::Upsert, Some(OnConflict::Error)) => {
                return refuse(
                    "an upsert is for rows whose key is there; append them if that is to be an error",
                );
            }
            (LoadMode::Upsert, None) => OnConflict::Update,
            (_, on_conflict) => on_conflict.unwrap_or_default(),
        };
        match on_conflict {
            OnConflict::Error if !self.key.is_empty() => {
                refuse("a key is for rows that are there already: upsert, or say what becomes of a conflict")
            }
            _ => Ok(on_conflict),
        }
    }
}
