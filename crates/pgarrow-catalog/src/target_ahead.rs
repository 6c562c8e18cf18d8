//! Asks everything about a table to load in one round trip, as `ahead` does for exports.
//!
//! ```text
//!  BEGIN; SET …; LOCK; name ▶ OID; columns; what INSERT sees of them; who can write; …     one message
//! ```

use pgarrow_protocol::{Answer, Session};

use crate::ahead::{inlined, last_answers, run_unless};
use crate::columns::{columns_sql, own_columns_sql};
use crate::error::CatalogError;
use crate::name::{RelationName, quote_literal, text_array};
use crate::relation::{RESOLVE, Relation, relation_of};
use crate::target::{TARGET_COLUMNS, TARGET_COLUMNS_BUT_DOMAINS, WRITE_ACCESS};
use crate::texts::array_of;

/// What opening a load executes, and what it asks then.
#[derive(Clone, Copy, Debug)]
pub struct TargetQuestions<'a> {
    /// Begins the transaction, with its settings.
    pub begin: &'a str,
    /// The table.
    pub name: &'a RelationName,
    /// Locks the table, or empties it.
    pub lock: Option<&'a str>,
    /// Further questions about the table.
    pub others: &'a [OfTarget],
    /// How often the name will be looked up.
    pub n_resolved: usize,
}

/// A question about a table, whose OID is its first parameter.
#[derive(Clone, Debug)]
pub struct OfTarget {
    /// The query.
    pub sql: String,
    /// The OID comes in an array.
    pub in_array: bool,
    /// Its other parameters.
    pub others: Vec<String>,
    /// How often it will be asked.
    pub n_asked: usize,
}

impl OfTarget {
    /// A question that is asked once, with the OID alone.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), in_array: false, others: Vec::new(), n_asked: 1 }
    }
}

/// Executes and asks what opening a load will. Afterwards the transaction is open. `None` if the server
/// refuses a statement, or if there is no such table: then no transaction is open, and the caller does
/// each by itself, which shows what is wrong.
///
/// The answer to `lock` is up to the caller, who executes it under the name that was found.
///
/// # Errors
///
/// Errors that end the session.
pub fn ask_about_target(
    session: &mut Session,
    questions: &TargetQuestions<'_>,
) -> Result<Option<(Relation, Vec<Answer>)>, CatalogError> {
    let TargetQuestions { begin, name, lock, others, n_resolved } = *questions;
    let named = text_array(&[name.quoted()]);
    let (Some(quoted), Some(resolved)) = (quote_literal(&name.quoted()), quote_literal(&named)) else {
        return Ok(None);
    };
    let oid = format!("pg_catalog.to_regclass({quoted})::pg_catalog.oid");
    let in_array = format!("ARRAY[{oid}]");
    let version = session.server_version_num();
    let columns = columns_sql(version, true);
    let mut asked = vec![
        inlined(RESOLVE, &[&resolved]),
        inlined(&own_columns_sql(version, true), &[&oid]),
        inlined(TARGET_COLUMNS_BUT_DOMAINS, &[&oid]),
        inlined(WRITE_ACCESS, &[&oid]),
    ];
    for other in others {
        let more: Option<Vec<String>> = other.others.iter().map(|text| quote_literal(text)).collect();
        let Some(more) = more else { return Ok(None) };
        let first = if other.in_array { &in_array } else { &oid };
        let expressions: Vec<&str> = std::iter::once(first).chain(&more).map(String::as_str).collect();
        asked.push(inlined(&other.sql, &expressions));
    }
    let n_asked = asked.len();
    let script: Vec<&str> = [begin].into_iter().chain(lock).chain(asked.iter().map(String::as_str)).collect();
    let Some(rows) = run_unless(session, &script, "ROLLBACK", CatalogError::is_refusal)? else {
        return Ok(None);
    };
    let mut rows = last_answers(rows, n_asked)?;
    let mut next = || rows.next().unwrap_or_default();
    let found = next();
    let relation = found.first().filter(|row| row.text(0).is_some()).map(relation_of);
    let Some(Ok(relation)) = relation else {
        session.execute("ROLLBACK")?;
        return Ok(None);
    };
    let (of_one, of_array) = (relation.oid.to_string(), array_of(&[relation.oid]));
    let mut answers = vec![Answer::new(begin, &[], Vec::new())];
    answers.extend((0..n_resolved).map(|_| Answer::new(RESOLVE, &[Some(&named)], found.clone())));
    // What partitions say of columns, and what domains are made of, is asked later, where there are any.
    let (column_rows, target_rows) = (next(), next());
    if !column_rows.is_empty() {
        answers.push(Answer::new(columns, &[Some(&of_array)], column_rows));
    }
    if target_rows.iter().all(|row| row.text(6).is_some_and(|kind| kind != "d")) {
        answers.push(Answer::new(TARGET_COLUMNS, &[Some(&of_one)], target_rows));
    }
    answers.push(Answer::new(WRITE_ACCESS, &[Some(&of_one)], next()));
    for other in others {
        let first = if other.in_array { &of_array } else { &of_one };
        let parameters: Vec<Option<&str>> =
            std::iter::once(first).chain(&other.others).map(|text| Some(text.as_str())).collect();
        let rows = next();
        answers.extend((0..other.n_asked).map(|_| Answer::new(&*other.sql, &parameters, rows.clone())));
    }
    Ok(Some((relation, answers)))
}
