//! Asks everything about a relation, a query or a slice in one round trip: answers for
//! [`Session::with_answers`](pgarrow_protocol::Session::with_answers) and
//! [`Session::keep_answers`](pgarrow_protocol::Session::keep_answers).
//!
//! ```text
//!  BEGIN; SET …; server; name ▶ OID; columns; leaves; policies; sizes; name ▶ OID; ROLLBACK     one message
//! ```
//!
//! The statements are those of the functions that ask one by one. Where these take an OID as a parameter,
//! the script has the expression that finds it. So the rest of this crate does not depend on this module,
//! and questions that the script does not cover are asked later.

mod queries;
mod tables;

use pgarrow_protocol::{Answer, ColumnDescription, Row, Session, TransactionStatus};
use pgarrow_types::{PgType, ServerTypes, oid};

use crate::columns::{FORMAT_TYPES, columns_sql, format_types_parameters};
use crate::error::CatalogError;
use crate::explain::estimate_sql;
use crate::leaves::{ROW_SECURITY, SIZES, leaves_sql};
use crate::name::{RelationName, quote_literal, text_array};
use crate::opened::{beside_sql, labels_sql, members_sql, of_users, schemas_sql};
use crate::relation::{RELATIONS, RESOLVE};
use crate::server::TRAITS;
use crate::texts::array_of;

pub use queries::{LookUp, QUERY_BYTES_MAX, QueryQuestions, ask_about_plan, ask_about_query_under_locks};
pub use tables::{TableQuestions, ask_about_tables};

/// The least that a server must know to be read by COPY: a COPY of no rows.
const COPY: &str = "COPY (SELECT 1 WHERE false) TO STDOUT";

/// The query that exports the snapshot of a transaction.
pub const EXPORT_SNAPSHOT: &str = "SELECT pg_catalog.pg_export_snapshot()";

/// Answers to later questions.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The answers.
    pub answers: Vec<Answer>,
    /// No other question will follow: the relation exists, and the types of its columns are built in.
    pub is_all: bool,
}

/// Asks what [`server_traits`](crate::server_traits), [`resolve`](crate::resolve),
/// [`table_columns`](crate::table_columns), [`leaves`](crate::leaves),
/// [`row_security_applies`](crate::row_security_applies) and [`relation_sizes`](crate::relation_sizes) will
/// ask about a relation.
///
/// `begin` begins a transaction with its settings; the transaction is over afterwards. `columns`: the
/// columns to check rights on leaves for, in this order; `None` for all. Returns `None` if the server
/// refuses any statement, or if the name meant another relation at the end: then the caller asks each
/// question by itself, which shows what is wrong.
///
/// # Errors
///
/// Errors that end the session.
pub fn ask_about_relation(
    session: &mut Session,
    begin: &str,
    name: &RelationName,
    columns: Option<&[String]>,
    only: bool,
) -> Result<Option<Asked>, CatalogError> {
    let version = session.server_version_num();
    let Some(quoted) = quote_literal(&name.quoted()) else { return Ok(None) };
    let oid = format!("pg_catalog.to_regclass({quoted})::pg_catalog.oid");
    let Some(names) = column_names(columns, &oid) else { return Ok(None) };
    let names_asked = text_array(&[name.quoted()]);
    let Some(resolved) = quote_literal(&names_asked) else { return Ok(None) };
    let resolve = inlined(RESOLVE, &[&resolved]);
    let (columns_sql, leaves_sql) = (columns_sql(version, only), leaves_sql(version));
    let leaves_of_oid = inlined(&leaves_sql, &[&oid, &names]);
    let sized = match only {
        true => format!("ARRAY[{oid}]"),
        false => format!("ARRAY(SELECT l.oid::pg_catalog.oid FROM ({leaves_of_oid}) AS l)"),
    };
    let columns_of_oid = inlined(&columns_sql, &[&format!("ARRAY[{oid}]")]);
    let (policies, sizes) = (inlined(ROW_SECURITY, &[&oid]), inlined(SIZES, &[&sized]));
    let script = [TRAITS, &resolve, &columns_of_oid, &leaves_of_oid, &policies, &sizes, &resolve, "ROLLBACK"];
    let Some(answers) = run(session, Some(begin), script)? else { return Ok(None) };
    let [traits, resolved, column_rows, leaf_rows, policies, sizes, resolved_again, _] = answers;
    let oid_of = |rows: &[Row]| rows.first().and_then(|row| row.text(0)?.parse::<u32>().ok());
    let oid = oid_of(&resolved);
    if oid != oid_of(&resolved_again) {
        return Ok(None);
    }
    let mut answers =
        vec![Answer::new(TRAITS, &[], traits), Answer::new(RESOLVE, &[Some(&names_asked)], resolved)];
    // The caller learns from this answer that the relation does not exist.
    let Some(oid) = oid else { return Ok(Some(Asked { answers, is_all: false })) };
    let is_all =
        column_rows.iter().all(|row| row.text(2).and_then(|oid| oid.parse().ok()).is_some_and(is_plain));
    let columns = match columns {
        Some(columns) => columns.to_vec(),
        None => column_rows.iter().filter_map(|row| row.text(1).map(str::to_owned)).collect(),
    };
    let leaves = leaf_rows.iter().filter_map(|row| row.text(0)?.parse().ok());
    let leaves: Vec<u32> = leaves.filter(|leaf| !only || *leaf == oid).collect();
    let sized = sizes.iter().filter_map(|row| row.text(0)?.parse::<u32>().ok());
    let oid_text = oid.to_string();
    if sized.eq(leaves.iter().copied()) {
        answers.push(Answer::new(SIZES, &[Some(&array_of(&leaves))], sizes));
    }
    answers.extend([
        Answer::new(columns_sql, &[Some(&array_of(&[oid]))], column_rows),
        Answer::new(leaves_sql, &[Some(&oid_text), Some(&text_array(&columns))], leaf_rows),
        Answer::new(ROW_SECURITY, &[Some(&oid_text)], policies),
    ]);
    Ok(Some(Asked { answers, is_all }))
}

/// Asks what [`server_traits`](crate::server_traits), [`query_columns`](crate::query_columns) and
/// [`estimate`](crate::estimate) will ask about a query whose columns these are.
///
/// Expects an open transaction, which is over afterwards. `None` as for [`ask_about_relation`].
///
/// # Errors
///
/// Errors that end the session.
pub fn ask_about_query(
    session: &mut Session,
    sql: &str,
    columns: &[ColumnDescription],
) -> Result<Option<Asked>, CatalogError> {
    let types: Vec<(u32, i32)> =
        columns.iter().map(|column| (column.type_oid, column.type_modifier)).collect();
    let parameters = format_types_parameters(&types);
    let literals = parameters.each_ref().map(|parameter| quote_literal(parameter).unwrap_or_default());
    let explain = estimate_sql(sql);
    let formats = inlined(FORMAT_TYPES, &literals.each_ref().map(String::as_str));
    let Some(answers) = run(session, None, [TRAITS, &explain, &formats, "ROLLBACK"])? else {
        return Ok(None);
    };
    let [traits, explained, formatted, _] = answers;
    let parameters = parameters.each_ref().map(|parameter| Some(parameter.as_str()));
    let answers = vec![
        Answer::new(TRAITS, &[], traits),
        Answer::new(explain, &[], explained),
        Answer::new(FORMAT_TYPES, &parameters, formatted),
    ];
    Ok(Some(Asked { answers, is_all: columns.iter().all(|column| is_plain(column.type_oid)) }))
}

/// What a transaction to look things up in begins with.
#[derive(Clone, Copy, Debug)]
pub struct FirstQuestions<'a> {
    /// BEGIN and the settings.
    pub begin: &'a str,
    /// The names that [`resolve_many`](crate::resolve_many) will ask about, if any.
    pub names: &'a [RelationName],
    /// The query that [`explained_relations`](crate::explained_relations) will ask about, if any. The
    /// session keeps its description. At most [`QUERY_BYTES_MAX`] long.
    pub query: Option<LookUp<'a>>,
    /// Whether to try out COPY: the server is known to have it afterwards.
    pub tries_copy: bool,
    /// Whether to export a snapshot, which is gone with the transaction: the server is known to do that
    /// afterwards.
    pub tries_snapshot: bool,
}

/// Begins a transaction and asks what [`server_traits`](crate::server_traits),
/// [`resolve_many`](crate::resolve_many) and [`explained_relations`](crate::explained_relations) will ask.
///
/// Unlike the others, the transaction stays open. `None` if the server refuses a statement other than the
/// query: then no transaction is open.
///
/// # Errors
///
/// Errors that end the session.
pub fn ask_first(
    session: &mut Session,
    questions: &FirstQuestions<'_>,
) -> Result<Option<Vec<Answer>>, CatalogError> {
    let FirstQuestions { begin, names, query, tries_copy, tries_snapshot } = *questions;
    let names_asked = text_array(&names.iter().map(RelationName::quoted).collect::<Vec<_>>());
    let resolve = match quote_literal(&names_asked) {
        Some(literal) if !names.is_empty() => Some(inlined(RESOLVE, &[&literal])),
        _ => None,
    };
    let mut script = vec![begin, TRAITS];
    script.extend(resolve.as_deref());
    let n_tried = usize::from(tries_copy) + usize::from(tries_snapshot);
    script.extend(tries_copy.then_some(COPY));
    script.extend(tries_snapshot.then_some(EXPORT_SNAPSHOT));
    // Nothing is locked yet, so each statement may be tried by itself, whatever the error is: a server that
    // cannot write the file of a snapshot can still be read by one connection.
    let (mut rows, of_query) = match query {
        Some(query) => match queries::look_up(session, &script.join("\n;\n"), query) {
            Ok(Some(asked)) => (asked.script, asked.answers),
            Err(error) if !error.is_refusal() => return Err(error),
            Ok(None) | Err(_) => {
                session.execute("ROLLBACK")?;
                return Ok(None);
            }
        },
        None => match run_unless(session, &script, "ROLLBACK", CatalogError::is_refusal)? {
            Some(rows) => (rows, Vec::new()),
            None => return Ok(None),
        },
    };
    let n_asked = n_tried + usize::from(resolve.is_some()) + 1;
    let mut rows = match rows.len().checked_sub(n_asked) {
        Some(n_before) => rows.split_off(n_before).into_iter(),
        // BEGIN has begun nothing: the caller tries it by itself, and says so.
        None if session.transaction_status() == TransactionStatus::Idle => return Ok(None),
        None => return Err(FEWER),
    };
    let mut answers = vec![Answer::new(TRAITS, &[], rows.next().unwrap_or_default())];
    if resolve.is_some() {
        answers.push(Answer::new(RESOLVE, &[Some(&names_asked)], rows.next().unwrap_or_default()));
    }
    answers.extend(of_query);
    Ok(Some(answers))
}

/// Executes `begin`, which may be several statements, and these, which have no parameters. `None` if the
/// server refuses one: then no transaction is open.
///
/// # Errors
///
/// Errors that end the session, and those of a lock that was not granted.
pub fn begin_and_ask(
    session: &mut Session,
    begin: &str,
    statements: &[&str],
) -> Result<Option<Vec<Answer>>, CatalogError> {
    let script: Vec<&str> = [begin].into_iter().chain(statements.iter().copied()).collect();
    let Some(rows) = run_all(session, &script)? else { return Ok(None) };
    let rows = last_answers(rows, statements.len())?;
    Ok(Some(statements.iter().zip(rows).map(|(sql, rows)| Answer::new(*sql, &[], rows)).collect()))
}

/// What is asked at the end of what a session reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndQuestions<'a> {
    /// For [`opened_beside`](crate::opened_beside).
    pub planned: &'a [u32],
    /// Asks what [`renamed_schemas`](crate::renamed_schemas) will ask about the same.
    pub and_schemas: bool,
    /// For [`renamed_labels`](crate::renamed_labels), which may ask once more about types of users.
    pub types: &'a [u32],
    /// For the same, which may also ask once more about these.
    pub relations: &'a [u32],
    /// Ends the transaction, unless more may be asked in it: then that is left to the caller.
    pub and_commit: bool,
}

/// Asks all that in one round trip. The answers include that of COMMIT, if it was executed.
///
/// # Errors
///
/// Errors of the server. Unlike the others, this is not tried again: behind a ROLLBACK, the locks that the
/// question is about are gone, and it would find nothing wrong.
pub fn ask_at_end(session: &mut Session, questions: &EndQuestions<'_>) -> Result<Vec<Answer>, CatalogError> {
    let EndQuestions { planned, and_schemas, types, relations, and_commit } = *questions;
    let version = session.server_version_num();
    let literal = |array: &str| format!("'{array}'");
    let (planned, types) = (array_of(planned), of_users(types));
    let asks_labels = !types.is_empty() || !relations.is_empty();
    let (types, relations) = (array_of(&types), array_of(relations));
    let beside = [None, Some(planned.as_str())];
    let schemas = [Some(planned.as_str())];
    let labels = [Some(types.as_str()), Some(relations.as_str())];
    let mut asked: Vec<(String, &[Option<&str>])> = vec![(beside_sql(), &beside)];
    asked.extend(and_schemas.then(|| (schemas_sql(version), &schemas[..])));
    asked.extend(asks_labels.then(|| (labels_sql(version), &labels[..])));
    asked.extend((and_commit && !asks_labels).then(|| ("COMMIT".to_owned(), &[][..])));
    let script = asked.iter().map(|(sql, parameters)| {
        let literals: Vec<String> =
            parameters.iter().map(|parameter| parameter.map_or("NULL".to_owned(), literal)).collect();
        inlined(sql, &literals.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let rows = session.query_script(&script.collect::<Vec<_>>().join("\n;\n"))?;
    if rows.len() != asked.len() {
        return Err(FEWER);
    }
    Ok(asked.iter().zip(rows).map(|((sql, parameters), rows)| Answer::new(sql, parameters, rows)).collect())
}

/// What opening a slice executes, and what it asks then.
#[derive(Clone, Copy, Debug)]
pub struct SliceQuestions<'a> {
    /// Ends the transaction that is open and begins the slice's.
    pub begin: &'a str,
    /// Asks for the snapshot.
    pub snapshot: &'a str,
    /// Locks what is read.
    pub lock: Option<&'a str>,
    /// The relations to look at one by one, by [`relation`](crate::relation). The columns of the first are
    /// read.
    pub relations: &'a [u32],
    /// For [`what_belongs`](crate::what_belongs).
    pub roots: &'a [u32],
    /// For [`what_belongs`](crate::what_belongs).
    pub and_of_views: bool,
}

/// Executes and asks what opening a slice will: afterwards its transaction is open, under its snapshot and
/// with its locks. `None` if the server refuses a statement: then no transaction is open.
///
/// # Errors
///
/// Errors that end the session.
pub fn ask_about_slice(
    session: &mut Session,
    questions: &SliceQuestions<'_>,
) -> Result<Option<Vec<Answer>>, CatalogError> {
    let SliceQuestions { begin, snapshot, lock, relations, roots, and_of_views } = *questions;
    let (members_sql, beside_sql) = (members_sql(and_of_views), beside_sql());
    let columns_sql = columns_sql(session.server_version_num(), false);
    // As literals: an array of numbers has no quote in it.
    let literal = |oids: &[u32]| format!("'{}'", array_of(oids));
    let members = inlined(&members_sql, &[&literal(roots)]);
    let planned = format!("ARRAY(SELECT m.oid::pg_catalog.oid FROM ({members}) AS m)");
    let beside = inlined(&beside_sql, &["NULL", &planned]);
    // `begin` and `lock` may be several statements, which `execute` sends as one.
    let mut script = vec![snapshot.to_owned()];
    script.extend(relations.iter().map(|oid| inlined(RELATIONS, &[&literal(&[*oid])])));
    script.extend([members, beside]);
    script.extend(relations.first().map(|oid| inlined(&columns_sql, &[&literal(&[*oid])])));
    let n_asked = script.len();
    let locked = lock.map(str::to_owned).into_iter();
    let first = [begin.to_owned(), script.remove(0)].into_iter().chain(locked);
    let script: Vec<String> = first.chain(script).collect();
    let Some(rows) = run_all(session, &script)? else { return Ok(None) };
    // The lock's answer stands behind that of the snapshot.
    let mut rows = last_answers(rows, n_asked + usize::from(lock.is_some()))?;
    let mut next = || rows.next().unwrap_or_default();
    let mut answers = vec![Answer::new(begin, &[], Vec::new()), Answer::new(snapshot, &[], next())];
    if let Some(lock) = lock {
        answers.push(Answer::new(lock, &[], next()));
    }
    for oid in relations {
        answers.push(Answer::new(RELATIONS, &[Some(&array_of(&[*oid]))], next()));
    }
    let members = next();
    let planned: Vec<u32> = members.iter().filter_map(|row| row.text(0)?.parse().ok()).collect();
    answers.push(Answer::new(members_sql, &[Some(&array_of(roots))], members));
    answers.push(Answer::new(beside_sql, &[None, Some(&array_of(&planned))], next()));
    if let Some(oid) = relations.first() {
        answers.push(Answer::new(columns_sql, &[Some(&array_of(&[*oid]))], next()));
    }
    Ok(Some(answers))
}

/// These names of columns as an expression; without them, those of all columns of the relation with this
/// OID. `None` if one cannot be a literal.
fn column_names(columns: Option<&[String]>, oid: &str) -> Option<String> {
    match columns {
        Some(columns) => quote_literal(&text_array(columns)),
        None => Some(format!(
            "ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a \
             WHERE a.attrelid OPERATOR(pg_catalog.=) {oid} \
             AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped)"
        )),
    }
}

/// Whether no question follows about this type. Money needs one: the server decides how many digits it has.
fn is_plain(type_oid: u32) -> bool {
    type_oid != oid::MONEY && PgType::from_builtin_oid(type_oid, -1, ServerTypes::default()).is_some()
}

/// The rows of each of the `N` statements after `begin`. `None` if one was refused: then no transaction is
/// open.
fn run<const N: usize>(
    session: &mut Session,
    begin: Option<&str>,
    statements: [&str; N],
) -> Result<Option<[Vec<Row>; N]>, CatalogError> {
    let script: Vec<&str> = begin.into_iter().chain(statements).collect();
    let Some(answers) = run_all(session, &script)? else { return Ok(None) };
    last_answers(answers, N)?.collect::<Vec<_>>().try_into().map(Some).map_err(|_| FEWER)
}

const FEWER: CatalogError = CatalogError::Unexpected("fewer answers than statements");

/// The answers of the last `n` statements: those before them may have been several in one.
pub(crate) fn last_answers(
    mut rows: Vec<Vec<Row>>,
    n: usize,
) -> Result<std::vec::IntoIter<Vec<Row>>, CatalogError> {
    let n_before = rows.len().checked_sub(n).ok_or(FEWER)?;
    Ok(rows.split_off(n_before).into_iter())
}

/// The rows of all statements; an element of `script` may be several. `None` as for [`run`].
fn run_all<S: AsRef<str>>(
    session: &mut Session,
    script: &[S],
) -> Result<Option<Vec<Vec<Row>>>, CatalogError> {
    run_unless(
        session,
        script,
        "ROLLBACK",
        |error| matches!(error, CatalogError::Protocol(error) if is_of_statement(error)),
    )
}

/// As [`run_all`]; `is_refused` says of an error whether it is a refusal, and `back` is executed after one.
pub(crate) fn run_unless<S: AsRef<str>>(
    session: &mut Session,
    script: &[S],
    back: &str,
    is_refused: impl Fn(&CatalogError) -> bool,
) -> Result<Option<Vec<Vec<Row>>>, CatalogError> {
    let script: Vec<&str> = script.iter().map(AsRef::as_ref).collect();
    // A statement may end with a comment.
    match session.query_script(&script.join("\n;\n")).map_err(CatalogError::from) {
        Ok(answers) => Ok(Some(answers)),
        Err(error) if is_refused(&error) => {
            session.execute(back)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the server refused or did not understand a statement, and may accept another one: class 42,
/// syntax error or access rule violation; feature_not_supported; an invalid value; a schema that is gone. A
/// lock timeout is not among these.
fn is_of_statement(error: &pgarrow_protocol::Error) -> bool {
    error.server_error().is_some_and(|report| !report.is_fatal())
        && error
            .sqlstate()
            .is_some_and(|state| ["42", "0A", "22", "3F"].contains(&state.get(..2).unwrap_or("")))
}

/// One of our own statements with expressions instead of its parameters.
pub(crate) fn inlined(sql: &str, expressions: &[&str]) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, behind)) = rest.split_once('$') {
        text.push_str(before);
        let number = behind.chars().next().and_then(|digit| digit.to_digit(10));
        let expression = number.and_then(|number| expressions.get((number as usize).checked_sub(1)?));
        match expression {
            Some(expression) => text.extend(["(", expression, ")"]),
            None => text.push('$'),
        }
        rest = if expression.is_some() { behind.get(1..).unwrap_or_default() } else { behind };
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_in_the_place_of_parameters() {
        let sql = "SELECT $1::text[], $2 FROM 'lax $.**' WHERE $1";
        assert_eq!(
            inlined(sql, &["a($2)", "b"]),
            "SELECT (a($2))::text[], (b) FROM 'lax $.**' WHERE (a($2))"
        );
        assert_eq!(inlined("$3 $", &["a"]), "$3 $");
    }
}
