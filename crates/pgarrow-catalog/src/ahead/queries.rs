//! Asks everything about a query that will be read: what it reads, and then, in the transaction that locks
//! that, what planning will ask.
//!
//! ```text
//!  look up   BEGIN; SET; traits;           │ EXPLAIN │ what is open │ description
//!  open      BEGIN; SET; LOCK …; snapshot; │ description │ EXPLAIN │ what is open │ locked │ members │ types
//!            a script                      │ statements behind it, as the query is a user's text
//! ```
//!
//! Both are explained: what the first plan reads is locked, and the second plan, made under the locks, shows
//! whether the query still reads that. To explain a query locks its views and partitioned tables as well,
//! which a plan does not name. Under the locks, nobody waits for them: whoever has one of them may want what
//! is locked here, and the server would end that session.

use std::collections::BTreeSet;

use pgarrow_protocol::{
    Answer, ColumnDescription, PIPELINE_BYTES_MAX, Question, Replies, Reply, Row, Session, TransactionStatus,
    UNDO,
};

use super::{inlined, is_of_statement, last_answers};
use crate::columns::{FORMAT_TYPES, format_types_parameters};
use crate::error::CatalogError;
use crate::explain::{OF_PLAN, OPENED, explain_sql, of_plan};
use crate::name::quote_literal;
use crate::opened::{locked_sql, members_sql};
use crate::server::TRAITS;
use crate::texts::array_of;

/// The longest query that is asked about so: it is sent twice, with our own statements, which are shorter.
pub const QUERY_BYTES_MAX: usize = PIPELINE_BYTES_MAX / 4;

/// From here on, whoever would wait for a lock is refused.
const WAIT_FOR_NOTHING: &str = "SELECT pg_catalog.set_config('pgarrow.lock_timeout', \
    pg_catalog.current_setting('lock_timeout'), true), pg_catalog.set_config('lock_timeout', '1ms', true)";
/// The time limit is as before.
const WAIT_AGAIN: &str = "SELECT pg_catalog.set_config('lock_timeout', \
    pg_catalog.current_setting('pgarrow.lock_timeout'), true)";

/// What is executed when a query is opened, and what is asked then.
#[derive(Clone, Copy, Debug)]
pub struct QueryQuestions<'a> {
    /// Ends the transaction that is open, if one is, begins another one and locks.
    pub begin: &'a str,
    /// Asks for the snapshot.
    pub snapshot: &'a str,
    /// The column of its answer with the process that answers.
    pub pid_index: usize,
    /// All that is known is from another transaction, which this session has not seen: asks for the server's
    /// traits again.
    pub and_traits: bool,
    /// The query.
    pub sql: &'a str,
    /// The relations that it was seen to read.
    pub relations: &'a [u32],
    /// The columns that it was seen to have.
    pub columns: &'a [ColumnDescription],
}

/// Executes and asks what opening this query will: afterwards the transaction is open, with its locks and
/// under its snapshot, and the session keeps the query's description. `None` if the server refuses a
/// statement, if what is known of another transaction is outdated, if the query itself would have to wait for
/// a lock, or if there is too much to ask at once: then no transaction is open.
///
/// Asked are [`query_columns`](crate::query_columns), as far as types are built in,
/// [`explained_relations`](crate::explained_relations), [`locked`](crate::locked) and
/// [`what_belongs`](crate::what_belongs), with views.
///
/// # Errors
///
/// Errors that end the session, and those of a lock that was not granted.
pub fn ask_about_query_under_locks(
    session: &mut Session,
    questions: &QueryQuestions<'_>,
) -> Result<Option<Vec<Answer>>, CatalogError> {
    let QueryQuestions { begin, snapshot, pid_index, and_traits, sql, relations, columns } = *questions;
    let explain = explain_sql(sql);
    let (locked_sql, members_sql) = (locked_sql(), members_sql(true));
    let locked = inlined(&locked_sql, &["NULL"]);
    // As a literal: an array of numbers has no quote in it.
    let roots = format!(
        "ARRAY(SELECT r.oid FROM pg_catalog.unnest('{}'::pg_catalog.oid[]) AS r(oid) \
         UNION SELECT l.oid::pg_catalog.oid FROM ({locked}) AS l)",
        array_of(relations)
    );
    let members = inlined(&members_sql, &[&roots]);
    let types: Vec<(u32, i32)> =
        columns.iter().map(|column| (column.type_oid, column.type_modifier)).collect();
    let parameters = format_types_parameters(&types);
    let literals = parameters.each_ref().map(|parameter| quote_literal(parameter).unwrap_or_default());
    let formats = inlined(FORMAT_TYPES, &literals.each_ref().map(String::as_str));

    let mut script = vec![begin, WAIT_FOR_NOTHING, snapshot];
    script.extend(and_traits.then_some(TRAITS));
    let asked = [
        Question::Description(sql),
        Question::Rows(&explain),
        Question::Rows(OPENED),
        Question::Rows(&locked),
        Question::Rows(&members),
        Question::Rows(&formats),
        Question::Rows(WAIT_AGAIN),
    ];
    let texts = asked.map(|question| match question {
        Question::Rows(sql) | Question::Description(sql) => sql.len(),
    });
    // The query reads very many relations, or has very many columns.
    if texts.iter().sum::<usize>() > PIPELINE_BYTES_MAX {
        if session.transaction_status() != TransactionStatus::Idle {
            session.execute("ROLLBACK")?;
        }
        return Ok(None);
    }
    let Replies { script: rows, replies, refused, .. } =
        match session.query_script_and(&script.join("\n;\n"), &asked, false) {
            Ok(replies) => replies,
            Err(error) if is_of_statement(&error) => {
                session.execute("ROLLBACK")?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
    match refused.map(CatalogError::from) {
        None => {}
        // Each statement is executed by itself, and has its own error.
        Some(error) if error.is_refusal() => {
            session.execute("ROLLBACK")?;
            return Ok(None);
        }
        Some(error) => return Err(error),
    }
    let mut rows = last_answers(rows, 1 + usize::from(and_traits))?;
    let snapshot_rows = rows.next().unwrap_or_default();
    let pid = snapshot_rows.first().and_then(|row| row.text(pid_index)).unwrap_or_default().to_owned();
    let mut answers = vec![Answer::new(snapshot, &[], snapshot_rows)];
    answers.extend(rows.next().map(|traits| Answer::new(TRAITS, &[], traits)));
    let mut replies = replies.into_iter();
    if let Some(Reply::Description(description)) = replies.next() {
        if and_traits && description.columns.as_deref() != Some(columns) {
            session.execute("ROLLBACK")?;
            return Ok(None);
        }
        session.keep_description(sql, description);
    }
    let mut next = || match replies.next() {
        Some(Reply::Rows(rows)) => rows,
        Some(Reply::Description(_)) | None => Vec::new(),
    };
    let (explained, opened) = (next(), next());
    let (locked, members, formatted) = (next(), next(), next());
    answers.extend(answer_of_plan(&explained, &opened));
    answers.push(Answer::new(explain, &[], explained));
    let of_locks: BTreeSet<u32> =
        locked.iter().filter_map(|row| row.text(0)?.parse().ok()).chain(relations.iter().copied()).collect();
    let roots = array_of(&of_locks.into_iter().collect::<Vec<_>>());
    answers.push(Answer::new(locked_sql, &[Some(&format!("{{{pid}}}"))], locked));
    answers.push(Answer::new(members_sql, &[Some(&roots)], members));
    let parameters = parameters.each_ref().map(|parameter| Some(parameter.as_str()));
    answers.push(Answer::new(FORMAT_TYPES, &parameters, formatted));
    Ok(Some(answers))
}

/// What came of [`look_up`].
pub(super) struct LookedUp {
    /// The rows of each statement of the script.
    pub(super) script: Vec<Vec<Row>>,
    /// The answers about the query. An EXPLAIN that was refused has this as its answer.
    pub(super) answers: Vec<Answer>,
}

/// Asks in the open transaction what [`explained_relations`](crate::explained_relations) will ask about a
/// query of at most [`QUERY_BYTES_MAX`]. The session keeps its description.
///
/// An EXPLAIN that is refused has this as its answer, and the transaction stays open. If the server asks
/// nothing so, there are no answers, and the transaction has failed.
///
/// # Errors
///
/// Errors that end the session.
pub fn ask_about_plan(session: &mut Session, sql: &str) -> Result<Vec<Answer>, CatalogError> {
    let asked = look_up(session, "", LookUp::Plan(sql))?;
    Ok(asked.map(|asked| asked.answers).unwrap_or_default())
}

/// A query to be looked up.
#[derive(Clone, Copy, Debug)]
pub enum LookUp<'a> {
    /// Its plan and its description, for [`explained_relations`](crate::explained_relations).
    Plan(&'a str),
    /// Only its description, since it has parameters.
    Description(&'a str),
}

/// Executes a script, which begins a transaction, and asks about a query. The transaction stays open even if
/// the query is refused. `None` if it does not.
pub(super) fn look_up(
    session: &mut Session,
    script: &str,
    query: LookUp<'_>,
) -> Result<Option<LookedUp>, CatalogError> {
    let (sql, explain, asked) = match query {
        LookUp::Plan(sql) => {
            let explain = explain_sql(sql);
            (sql, explain, &[Question::Rows(OPENED), Question::Description(sql)][..])
        }
        LookUp::Description(sql) => (sql, String::new(), &[Question::Description(sql)][..]),
    };
    let explains = (!explain.is_empty()).then_some(Question::Rows(&explain));
    let asked: Vec<Question<'_>> = explains.into_iter().chain(asked.iter().copied()).collect();
    // The server explains a statement once nobody has its tables locked exclusively.
    let Replies { script, replies, refused, is_guarded } = session.query_script_and(script, &asked, true)?;
    let mut answers = Vec::new();
    let is_first = replies.is_empty();
    let mut explained = None;
    for reply in replies {
        match (reply, explained.take()) {
            (Reply::Rows(plan), None) => explained = Some(plan),
            (Reply::Rows(opened), Some(plan)) => {
                answers.extend(answer_of_plan(&plan, &opened));
                answers.push(Answer::new(explain.as_str(), &[], plan));
            }
            (Reply::Description(description), _) => session.keep_description(sql, description),
        }
    }
    if let Some(error) = refused {
        let error = CatalogError::from(error);
        if !is_guarded {
            return Ok(None);
        }
        session.execute(UNDO)?;
        match error {
            CatalogError::Protocol(error) if is_first => {
                let refused = if explain.is_empty() { sql } else { &explain };
                answers.push(Answer::refused(refused, error));
            }
            _ => {}
        }
    }
    Ok(Some(LookedUp { script, answers }))
}

/// The answer to the question which relations are in a plan, if it can be found among those that are open.
fn answer_of_plan(explained: &[Row], opened: &[Row]) -> Option<Answer> {
    let plan = explained.first()?.text(0)?;
    Some(Answer::new(OF_PLAN, &[Some(plan)], of_plan(plan, opened)?))
}
