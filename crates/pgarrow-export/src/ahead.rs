//! `Ahead`: what opening tables will execute and ask, in one round trip. The functions that plan find the
//! answers there, and do not know of it.

use pgarrow_catalog::{
    CatalogError, QueryQuestions, Relation, RelationName, TableQuestions, ask_about_query_under_locks,
    ask_about_tables, begin_and_ask,
};
use pgarrow_protocol::{Answer, ColumnDescription, Session, TransactionStatus};
use pgarrow_session::{Error, Result, not_begun};

use crate::locks::{Held, LOCKED, LOCKING, lock_all};
use crate::settings::{PID_INDEX, snapshot_query};

/// What was found, and how it will be planned.
#[derive(Clone, Debug)]
pub(crate) enum Ahead {
    Tables(TablesAhead),
    Query(QueryAhead),
}

/// A query that was explained and described.
#[derive(Clone, Debug)]
pub(crate) struct QueryAhead {
    pub(crate) sql: String,
    /// What it reads.
    pub(crate) relations: Vec<Relation>,
    pub(crate) columns: Vec<ColumnDescription>,
    /// What is known of the server and of the query is from another transaction, and is asked again.
    pub(crate) is_known: bool,
    /// The query reads these for the next export, too, unless something changes.
    pub(crate) may_be_known: bool,
}

/// Tables that were found.
#[derive(Clone, Debug)]
pub(crate) struct TablesAhead {
    /// The names that will be looked up again.
    pub(crate) names: Vec<RelationName>,
    pub(crate) relations: Vec<Relation>,
    pub(crate) are_many: bool,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) only: bool,
    /// Planning opens nothing else: neither by a filter, nor to find bounds or digits in a view.
    pub(crate) opens_no_more: bool,
    /// What is known of the server and of these tables is from another transaction, and is asked again.
    pub(crate) is_known: bool,
    /// The names mean these tables for the next export, too, unless something changes.
    pub(crate) may_be_known: bool,
}

impl Ahead {
    /// Begins the transaction, locks, takes the snapshot and asks. Returns whether the server has accepted
    /// all of it. If not, nothing has happened: each statement is executed by itself then, which shows what
    /// is wrong.
    ///
    /// # Errors
    ///
    /// Errors that end the session.
    pub(crate) fn ask(&self, session: &mut Session, begin: &str, held: &[Held]) -> Result<bool> {
        at_once(session, begin, held, |session, begin, snapshot| match self {
            Self::Tables(tables) => {
                let questions = TableQuestions {
                    begin,
                    snapshot,
                    pid_index: PID_INDEX,
                    and_traits: tables.is_known,
                    names: &tables.names,
                    relations: &tables.relations,
                    are_many: tables.are_many,
                    columns: tables.columns.as_deref(),
                    only: tables.only,
                    and_open: tables.opens_no_more,
                };
                ask_about_tables(session, &questions)
            }
            Self::Query(query) => {
                let oids: Vec<u32> = query.relations.iter().map(|relation| relation.oid).collect();
                let questions = QueryQuestions {
                    begin,
                    snapshot,
                    pid_index: PID_INDEX,
                    and_traits: query.is_known,
                    sql: &query.sql,
                    relations: &oids,
                    columns: &query.columns,
                };
                ask_about_query_under_locks(session, &questions)
            }
        })
    }
}

/// Begins the transaction, locks and takes the snapshot. As [`Ahead::ask`], without questions.
///
/// # Errors
///
/// As for [`Ahead::ask`].
pub(crate) fn lock_at_once(session: &mut Session, begin: &str, held: &[Held]) -> Result<bool> {
    at_once(session, begin, held, |session, begin, snapshot| begin_and_ask(session, begin, &[snapshot]))
}

/// `ask` gets the statements that begin and lock, and the query for the snapshot.
fn at_once(
    session: &mut Session,
    begin: &str,
    held: &[Held],
    ask: impl FnOnce(&mut Session, &str, &str) -> Result<Option<Vec<Answer>>, CatalogError>,
) -> Result<bool> {
    let names: Vec<&str> = held.iter().map(|held| held.quoted.as_str()).collect();
    let lock = (!names.is_empty()).then(|| lock_all(&names.join(", ")));
    let anew = format!("ROLLBACK; {begin}");
    let begin = if session.transaction_status() == TransactionStatus::Idle { begin } else { &anew };
    // What would have to wait is not asked at once: a lock may take as long as its timeout says, and all
    // other answers have to come within the read timeout. Without NOWAIT, a link that froze here was never
    // noticed.
    let now = lock.as_ref().map(|lock| format!("; {lock} NOWAIT")).unwrap_or_default();
    let (first, snapshot) = (format!("{begin}{now}"), snapshot_query(session));
    let answers = match ask(session, &first, &snapshot) {
        Ok(Some(answers)) => answers,
        Ok(None) => return Ok(false),
        // Somebody has a lock, or the snapshot cannot be taken over: the statement by itself waits, or says
        // what it means.
        Err(CatalogError::Protocol(error))
            if error.sqlstate().is_some_and(|state| state == "55P03" || state == "55000") =>
        {
            session.execute("ROLLBACK")?;
            return Ok(false);
        }
        Err(error) => return Err(not_begun(error.into())),
    };
    let locked = lock.iter().flat_map(|lock| [LOCKING, lock.as_str(), LOCKED]);
    let executed = [anew.as_str()].into_iter().chain(locked).map(|sql| Answer::new(sql, &[], Vec::new()));
    session.keep_answers(executed.chain(answers).collect());
    Ok(true)
}

/// Begins the transaction of a reader, which locks `lock`, in one round trip. As [`Ahead::ask`].
///
/// # Errors
///
/// Errors that end the session.
pub(crate) fn begin_reader(session: &mut Session, begin: &str, lock: Option<&str>) -> Result<()> {
    if session.transaction_status() != TransactionStatus::Idle {
        return Ok(());
    }
    let snapshot = snapshot_query(session);
    let statements: Vec<&str> = [snapshot.as_str()].into_iter().chain(lock).collect();
    match begin_and_ask(session, begin, &statements) {
        Ok(Some(mut answers)) => {
            answers.push(Answer::new(format!("ROLLBACK; {begin}"), &[], Vec::new()));
            session.keep_answers(answers);
            Ok(())
        }
        Ok(None) => Ok(()),
        // Of a lock, or of the snapshot: the statement by itself says what it means.
        Err(CatalogError::Protocol(error))
            if error.sqlstate().is_some_and(|state| state.starts_with("55")) =>
        {
            Ok(session.execute("ROLLBACK")?)
        }
        Err(error) => Err(Error::from(error)),
    }
}
