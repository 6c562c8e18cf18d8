//! The locks of an export: what LOCK locks, what a second session holds instead, and which processes are in
//! the way.

use pgarrow_catalog::{Relation, RelationKind};
use pgarrow_protocol::Session;
use pgarrow_session::{AttachedSession, Cancel, Error, ErrorKind, Pooled, Result, without_read_timeout};
use pgarrow_types::message;
use pgarrow_types::option::LOCK_TIMEOUT;

use crate::options::ExportOptions;
use crate::settings::begin_statements;

/// The most processes that the error about a lock names.
const BLOCKERS_NAMED: usize = 8;

/// Before a LOCK, and after it.
pub(crate) const LOCKING: &str = "SAVEPOINT pgarrow_lock";
pub(crate) const LOCKED: &str = "RELEASE SAVEPOINT pgarrow_lock";

/// A relation that has to stay as it is until the export is done.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Schema and name, quoted.
    pub(crate) quoted: String,
    /// LOCK TABLE accepts it.
    pub(crate) is_lockable: bool,
    /// The statement that opens it in a transaction without reading it, if LOCK is refused.
    pub(crate) statement: String,
}

impl Held {
    /// A relation from which `select_list` is read.
    pub(crate) fn relation(relation: &Relation, select_list: &str) -> Self {
        let quoted = relation.quoted();
        let statement = format!("SELECT {select_list} FROM {quoted} LIMIT 0");
        Self { statement, is_lockable: is_lockable(relation.kind), quoted }
    }

    /// A relation that a query reads.
    pub(crate) fn of_query(relation: &Relation, query: &str) -> Self {
        let statement = format!("EXPLAIN (COSTS OFF)\n{query}");
        Self { statement, is_lockable: is_lockable(relation.kind), quoted: relation.quoted() }
    }
}

/// LOCK TABLE accepts tables and views, but neither materialized views nor foreign tables.
pub(crate) fn is_lockable(kind: RelationKind) -> bool {
    match kind {
        RelationKind::Table | RelationKind::PartitionedTable | RelationKind::View => true,
        RelationKind::MaterializedView | RelationKind::ForeignTable => false,
    }
}

/// What was locked, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Locked {
    /// Quoted names: readers lock them again.
    pub(crate) names: Vec<String>,
    /// Statements that open the rest.
    pub(crate) statements: Vec<String>,
    /// The server knows no LOCK TABLE at all.
    pub(crate) is_unknown: bool,
}

/// The outcome of a LOCK.
enum Had {
    Yes,
    /// The role may not.
    Refused,
    /// The server does not know the statement.
    Unknown,
}

/// Locks what can be locked, descendants included. Runs in a transaction without a snapshot, which `begin`
/// began.
pub(crate) fn lock(session: &mut Session, begin: &str, held: &[Held]) -> Result<Locked> {
    let (lockable, mut refused): (Vec<&Held>, Vec<&Held>) = held.iter().partition(|held| held.is_lockable);
    let mut locked = Locked::default();
    // All at once; if that is refused, one by one.
    let names: Vec<String> = lockable.iter().map(|held| held.quoted.clone()).collect();
    if !names.is_empty() {
        match try_lock(session, begin, &names.join(", "))? {
            Had::Yes => locked.names = names,
            Had::Unknown => {
                locked.is_unknown = true;
                refused.extend(lockable);
            }
            Had::Refused if lockable.len() == 1 => refused.extend(lockable),
            Had::Refused => {
                for held in lockable {
                    match try_lock(session, begin, &held.quoted)? {
                        Had::Yes => locked.names.push(held.quoted.clone()),
                        Had::Refused | Had::Unknown => refused.push(held),
                    }
                }
            }
        }
    }
    locked.statements = refused.into_iter().map(|held| held.statement.clone()).collect();
    locked.statements.dedup();
    Ok(locked)
}

/// Locks all of these.
pub(crate) fn lock_all(names: &str) -> String {
    format!("LOCK TABLE {names} IN ACCESS SHARE MODE")
}

fn try_lock(session: &mut Session, begin: &str, names: &str) -> Result<Had> {
    // A savepoint takes no snapshot, and outlives the refusal.
    match session.execute(LOCKING) {
        Ok(()) => {}
        Err(error) if is_unknown(&error) => {
            session.execute(&format!("ROLLBACK; {begin}"))?;
            return Ok(Had::Unknown);
        }
        Err(error) => return Err(error.into()),
    }
    let locked = without_read_timeout(session, |session| session.execute(&lock_all(names)));
    let had = match locked {
        Ok(()) => {
            session.execute(LOCKED)?;
            return Ok(Had::Yes);
        }
        Err(error) if error.sqlstate() == Some("42501") => Had::Refused,
        Err(error) if is_unknown(&error) => Had::Unknown,
        Err(error) if error.sqlstate() == Some("55P03") => {
            let is_well = session.execute("ROLLBACK TO SAVEPOINT pgarrow_lock").is_ok();
            return Err(in_the_way(is_well.then_some(session), error));
        }
        Err(error) => return Err(error.into()),
    };
    session.execute("ROLLBACK TO SAVEPOINT pgarrow_lock; RELEASE SAVEPOINT pgarrow_lock")?;
    Ok(had)
}

/// Not supported, or not understood.
fn is_unknown(error: &pgarrow_protocol::Error) -> bool {
    matches!(error.sqlstate(), Some("0A000" | "42601"))
}

/// The error about a lock that was not granted in time, with the processes that have it or wait for it.
/// `session`: one that can run queries again, if there is one.
pub(crate) fn in_the_way(session: Option<&mut Session>, error: pgarrow_protocol::Error) -> Error {
    // Only ACCESS EXCLUSIVE conflicts with ACCESS SHARE. The own request is withdrawn by now, so no process
    // blocks it: list holders and waiters.
    let sql = format!(
        "SELECT DISTINCT pid::pg_catalog.text, granted::pg_catalog.text, relation::pg_catalog.regclass::pg_catalog.text \
         FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'relation' \
         AND mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock' AND pid IS NOT NULL \
         AND database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d \
             WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
         ORDER BY 2 DESC, 1, 3 LIMIT {BLOCKERS_NAMED}"
    );
    // If the query fails, the error names no process.
    let rows = session.and_then(|session| session.query(&sql, &[]).ok()).unwrap_or_default();
    let blockers = rows.iter().filter_map(|row| {
        let verb = if row.text(1)?.starts_with('t') { "has locked" } else { "waits to lock" };
        Some(format!("process {} {verb} {} exclusively", row.text(0)?, row.text(2)?))
    });
    let blockers = blockers.collect::<Vec<_>>().join(", ");
    let error = Error::from(error).context("the tables could not be locked in time");
    let error = if blockers.is_empty() { error } else { error.advice(blockers) };
    error.advice(message![
        "wait for it to end, end it (pg_terminate_backend), or allow more time (",
        LOCK_TIMEOUT,
        ")"
    ])
}

/// The session that holds what LOCK refuses, in its open transaction.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) session: Session,
    /// Its process.
    pub(crate) pid: Option<i32>,
    /// Lets a cancel reach the session.
    _attached: AttachedSession,
}

/// Opens a second session whose transaction opens these relations and stays open.
pub(crate) fn hold(
    keeper: &Session,
    statements: &[String],
    options: &ExportOptions,
    pooled: Pooled,
    cancel: &Cancel,
) -> Result<Holder> {
    let context = "a second connection, which holds what cannot be locked";
    let explain = |error: Error| match error.kind() {
        ErrorKind::Cancelled => error,
        _ => error.context(context),
    };
    let mut session = cancel.connect(&pooled.impatient(keeper.config())).map_err(explain)?;
    let attached = cancel.attach_last(&session);
    session.set_read_timeout(pooled.first_answer(options.read_timeout));
    let begin = begin_statements(&session, options, false)?;
    session.execute(&begin).map_err(|error| explain(pooled.explain(error.into())))?;
    let rows = session.query("SELECT pg_catalog.pg_backend_pid()", &[])?;
    let pid = rows.first().and_then(|row| row.text(0)?.parse().ok());
    session.set_read_timeout(None);
    for statement in statements {
        session.execute(statement).map_err(|error| match error.sqlstate() {
            Some("55P03") => {
                Error::from(error).context("what is read could not be held in time").advice(message![
                    "wait until the session that has locked it ends, or allow more time (",
                    LOCK_TIMEOUT,
                    ")"
                ])
            }
            _ => error.into(),
        })?;
    }
    session.set_read_timeout(options.read_timeout);
    Ok(Holder { session, pid, _attached: attached })
}
