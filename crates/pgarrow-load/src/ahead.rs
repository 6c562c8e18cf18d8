//! Asks ahead: everything that opening a load of a table asks the server, in one round trip.
//!
//! Over a network, and for few rows, the time of a load is that of its round trips. The code that wants the
//! answers asks as usual. Where the server refuses a statement, nothing has happened: the load opens step by
//! step, which shows what is wrong.

use std::time::Duration;

use pgarrow_catalog::{OfTarget, RelationName, TargetQuestions, ask_about_target};
use pgarrow_protocol::{Answer, Session};
use pgarrow_session::{Result, TransactionSettings, server_timeout};

use crate::fresh::OWN_ROW_TRAITS;
use crate::names::named_sql;
use crate::options::{LoadMode, LoadOptions};
use crate::own_locks;
use crate::target::{MAY_LOCK, lock_sql, truncate_sql};
use crate::transaction::begin_sql;
use crate::upkeep;

/// How long the lock is waited for here. Step by step, it is waited for as long as the options say.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// How long it is waited for while a source is opened, which may have the same table open: not at all.
const AT_ONCE: Duration = Duration::from_millis(1);

/// With these, the server may end a transaction that waits for its source. The user's are left as they are.
const ENDERS: [&str; 2] = ["idle_in_transaction_session_timeout", "transaction_timeout"];

/// Begins a transaction with the table locked, or emptied, and answers for
/// [`Session::with_answers`]. None if the load has to be opened step by step.
///
/// # Errors
///
/// Errors that end the session; options that cannot be set.
pub(crate) fn ask(session: &mut Session, name: &RelationName, options: &LoadOptions) -> Result<Vec<Answer>> {
    ask_within(session, name, options, false)
}

/// The same if nothing has to be waited for, and nothing is lost if the load is not opened.
///
/// # Errors
///
/// As for [`ask`].
pub(crate) fn ask_at_once(
    session: &mut Session,
    name: &RelationName,
    options: &LoadOptions,
) -> Result<Vec<Answer>> {
    match options.mode {
        LoadMode::Append | LoadMode::Upsert => ask_within(session, name, options, true),
        LoadMode::Truncate | LoadMode::Create | LoadMode::Replace => Ok(Vec::new()),
    }
}

fn ask_within(
    session: &mut Session,
    name: &RelationName,
    options: &LoadOptions,
    is_early: bool,
) -> Result<Vec<Answer>> {
    let named = name.quoted();
    let (locked, lock): (fn(&str) -> String, _) = match options.mode {
        LoadMode::Append | LoadMode::Upsert => (lock_sql, lock_sql(&named)),
        LoadMode::Truncate => (truncate_sql, truncate_sql(&named)),
        LoadMode::Create | LoadMode::Replace => return Ok(Vec::new()),
    };
    let (role, parameters) = (options.role.as_deref(), options.settings.as_slice());
    let settings = TransactionSettings { role, parameters, lock_timeout: options.lock_timeout };
    // A trigger may take its time to allow that a table is emptied.
    let is_slow = options.mode == LoadMode::Truncate && options.read_timeout.is_some();
    let may_end = is_early && ENDERS.iter().any(|name| settings.sets(name));
    if settings.sets("lock_timeout") || is_slow || may_end {
        return Ok(Vec::new());
    }
    // While it waits for the lock, the server is silent.
    let lock_timeout = if is_early { AT_ONCE } else { LOCK_TIMEOUT };
    let patience = options.read_timeout.map_or(lock_timeout, |time| (time / 2).min(lock_timeout));
    let (patience, timeout) = (server_timeout(Some(patience)), server_timeout(options.lock_timeout));
    let lock = format!("SET LOCAL lock_timeout = '{patience}'; {lock}; SET LOCAL lock_timeout = '{timeout}'");
    let begin = begin_sql(session, options)?;
    let mut others = vec![
        OfTarget::new(MAY_LOCK),
        OfTarget { in_array: true, ..OfTarget::new(named_sql()) },
        OfTarget::new(OWN_ROW_TRAITS),
    ];
    others.extend(options.holders.as_ref().map(own_locks::question));
    if is_early && !options.no_analyze {
        // Nobody waits for the answer yet.
        others.push(upkeep::threshold_within(session));
    }
    let questions =
        TargetQuestions { begin: &begin, name, lock: Some(&lock), others: &others, n_resolved: 2 };
    let asked = ask_about_target(session, &questions)?;
    Ok(asked.map_or_else(Vec::new, |(relation, mut answers)| {
        answers.push(Answer::new(locked(&relation.quoted()), &[], Vec::new()));
        answers
    }))
}

/// The same for [`column_types`](crate::target::column_types), without a lock.
///
/// # Errors
///
/// As for [`ask`].
pub(crate) fn ask_about_columns(
    session: &mut Session,
    name: &RelationName,
    options: &LoadOptions,
) -> Result<Vec<Answer>> {
    let begin = begin_sql(session, options)?;
    let questions = TargetQuestions { begin: &begin, name, lock: None, others: &[], n_resolved: 2 };
    let asked = ask_about_target(session, &questions)?;
    Ok(asked.map(|(_, answers)| answers).unwrap_or_default())
}
