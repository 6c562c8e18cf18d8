//! Locks of the export whose rows are loaded. The export holds them until its rows are taken, so a load that
//! waits for them waits for itself. The server cannot detect this deadlock: for it, the two sessions are
//! unrelated.

use pgarrow_catalog::{OfTarget, Relation, relation as relation_of};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Holders, Result};
use pgarrow_types::option::MODE;
use pgarrow_types::{Hint, message};

use crate::options::LoadOptions;

/// How long to wait for a lock behind other sessions that wait for the export.
const LOCK_TIMEOUT: &str = "10s";

/// The query of [`held`].
const HELD: &str = "WITH RECURSIVE tree(oid) AS ( \
                 SELECT $1::pg_catalog.oid \
                 UNION \
                 SELECT i.inhrelid FROM tree t \
                 JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid) \
               SELECT l.relation::pg_catalog.text FROM pg_catalog.pg_locks l \
               JOIN tree t ON t.oid OPERATOR(pg_catalog.=) l.relation \
               WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.granted \
                 AND l.pid OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.int4[]) \
                 AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d \
                   WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
                 AND pg_catalog.concat(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()), '+00') \
                   OPERATOR(pg_catalog.=) $3 \
               ORDER BY l.relation OPERATOR(pg_catalog.<>) $1::pg_catalog.oid, 1 LIMIT 1";

/// The question of [`held`], asked ahead.
pub(crate) fn question(holders: &Holders) -> OfTarget {
    let others = vec![pids(holders), holders.server_start().to_owned()];
    OfTarget { others, n_asked: 2, ..OfTarget::new(HELD) }
}

/// Which of the relation and its descendants the export has locked.
///
/// Another server may use the same process ID, so the start time of the server is compared, too.
fn held(session: &mut Session, relation: &Relation, options: &LoadOptions) -> Result<Option<Relation>> {
    let Some(holders) = &options.holders else { return Ok(None) };
    let parameters =
        [Some(relation.oid.to_string()), Some(pids(holders)), Some(holders.server_start().to_owned())];
    let parameters = parameters.each_ref().map(Option::as_deref);
    let rows = session.query(HELD, &parameters).map_err(Error::without_advice)?;
    match rows.first().and_then(|row| row.text(0)?.parse().ok()) {
        Some(oid) => Ok(relation_of(session, oid)?),
        None => Ok(None),
    }
}

/// Whether the export reads from this database.
pub(crate) fn is_of_here(session: &mut Session, holders: &Holders) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a \
                 WHERE a.pid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int4[]) \
                   AND a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() \
                   AND pg_catalog.concat(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()), '+00') \
                     OPERATOR(pg_catalog.=) $2)";
    let parameters = [pids(holders), holders.server_start().to_owned()];
    let parameters = parameters.each_ref().map(|parameter| Some(parameter.as_str()));
    let rows = session.query(sql, &parameters).map_err(Error::without_advice)?;
    Ok(rows.first().is_some_and(|row| row.text(0) == Some("t")))
}

/// The process IDs of the holders, as an array.
fn pids(holders: &Holders) -> String {
    let pids: Vec<String> = holders.backend_pids().iter().map(i32::to_string).collect();
    format!("{{{}}}", pids.join(","))
}

/// Refuses operations that need an exclusive lock, such as TRUNCATE, if the export reads the table. Which
/// tables the functions of its query read is not known: if one reads this table, the export soon gives up
/// waiting for it.
pub(crate) fn refuse_exclusive(
    session: &mut Session,
    relation: &Relation,
    options: &LoadOptions,
    what: Hint,
) -> Result<()> {
    let Some(held) = held(session, relation, options)? else {
        if let Some(holders) = &options.holders
            && is_of_here(session, holders)?
        {
            holders.give_up_waiting();
        }
        return Ok(());
    };
    let of_it = if held.oid == relation.oid { String::new() } else { format!(" (of it, {held})") };
    let text = message![
        format_args!("{relation} is read by this very export{of_it}, until all of its rows are loaded: "),
        what,
        " would wait for that for ever"
    ];
    Err(Error::new(ErrorKind::Options, text).advice(message![
        MODE.to("replace"),
        " makes the table anew and takes its place when all was read; ",
        MODE.to("append|upsert"),
        " goes beside what is read; or export to a file, and load that"
    ]))
}

/// Refuses to replace a table that the export reads, if others are read afterwards: the new table takes its
/// place while the export goes on, and would wait for its end.
pub(crate) fn refuse_to_replace(
    session: &mut Session,
    relation: &Relation,
    options: &LoadOptions,
) -> Result<()> {
    if !options.is_of_set {
        return Ok(());
    }
    let Some(held) = held(session, relation, options)? else { return Ok(()) };
    let of_it = if held.oid == relation.oid { String::new() } else { format!(" (of it, {held})") };
    let text = format!(
        "{relation} is read by this very export{of_it}, until the rows of all tables are loaded: it cannot be replaced \
         before"
    );
    Err(Error::new(ErrorKind::Options, text)
        .advice("replace it by an export of this table alone, or load into another schema"))
}

/// For a load in a transaction of the caller, which may already hold locks. The export has locked the tables
/// it planned to read. But a function of its query may read a table that this transaction has locked
/// exclusively: the export then soon gives up waiting for it.
pub(crate) fn tell_of_earlier_locks(session: &mut Session, options: &LoadOptions) -> Result<()> {
    let Some(holders) = &options.holders else { return Ok(()) };
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l \
                 WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' \
                   AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
                   AND l.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock')";
    let rows = session.query(sql, &[]).map_err(Error::without_advice)?;
    if rows.first().is_some_and(|row| row.text(0) == Some("t")) && is_of_here(session, holders)? {
        holders.give_up_waiting();
    }
    Ok(())
}

/// Runs an operation whose lock is compatible with the export's. Other sessions that wait for the export may
/// be ahead of it, so the wait is limited.
pub(crate) fn within_bounds<T>(
    session: &mut Session,
    relation: &Relation,
    options: &LoadOptions,
    lock: impl FnOnce(&mut Session) -> Result<T>,
) -> Result<T> {
    let is_users = |name: &str| name.trim().eq_ignore_ascii_case("lock_timeout");
    let is_bounded =
        options.lock_timeout.is_some() || options.settings.iter().any(|(name, _)| is_users(name));
    if options.is_locked || is_bounded || held(session, relation, options)?.is_none() {
        return lock(session);
    }
    let set = |session: &mut Session, time: &str| {
        session.execute(&format!("SET LOCAL lock_timeout = '{time}'")).map_err(Error::without_advice)
    };
    set(session, LOCK_TIMEOUT)?;
    let locked = lock(session).map_err(|error| match error.sqlstate() {
        Some("55P03") => error.advice(
            "the export reads this very table, and another session waits for the export's end before this load; load it later",
        ),
        _ => error,
    })?;
    set(session, "0")?;
    Ok(locked)
}
