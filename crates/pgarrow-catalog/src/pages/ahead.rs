//! Asks what decides about pages in two round trips: answers for
//! [`Session::with_answers`](pgarrow_protocol::Session::with_answers).
//!
//! ```text
//!  SAVEPOINT; build; alignment; page source ──▶ page of a catalog; base types; heaps; attributes; cache
//! ```
//!
//! The second script follows only if there is a page source, as most servers have none.

use pgarrow_protocol::{Answer, Session};

use super::forms::BASES;
use super::layout::{ATTRIBUTES, HeapGroup, heaps_sql};
use super::{ALIGNMENT, BUILD, FUNCTION, INSPECT, large_heap_sql, may_use, page_of_catalog_sql};
use crate::ahead::{inlined, last_answers, run_unless};
use crate::error::CatalogError;
use crate::texts::array_of;

/// Executes `savepoint`, and asks what [`page_access`](crate::page_access),
/// [`heap_tables_of_many`](crate::heap_tables_of_many) and [`large_heap_pages`](crate::large_heap_pages) will
/// ask. After a refusal, the transaction is back at the savepoint, and what was refused is not among the
/// answers: asked by itself, it shows what is wrong.
///
/// Expects a server that [`page_access`](crate::page_access) would query.
///
/// # Errors
///
/// Errors that end the session or the transaction, and a cancellation.
pub fn ask_about_pages(
    session: &mut Session,
    savepoint: &str,
    groups: &[HeapGroup<'_>],
) -> Result<Vec<Answer>, CatalogError> {
    let back = format!("ROLLBACK TO {savepoint}");
    // Only a guess: `page_access` asks itself, if this was not the one it wants.
    let is_superuser = session.parameter("is_superuser") == Some("on");
    let source_sql = if is_superuser { INSPECT } else { FUNCTION };
    let script = [(BUILD, None), (ALIGNMENT, None), (source_sql, None)];
    let Some(mut answers) = run(session, Some(savepoint), &script, &back)? else { return Ok(Vec::new()) };
    let rows = answers.last().map_or(&[][..], Answer::rows);
    let page_sql = match is_superuser {
        true => match rows.first().and_then(|row| row.text(1)) {
            Some(schema) => Some(page_of_catalog_sql(schema)),
            None => return Ok(answers),
        },
        false if rows.iter().any(may_use) => None,
        false => return Ok(answers),
    };
    let relations: Vec<u32> = groups.iter().flat_map(|group| group.relations.iter().copied()).collect();
    let wanted = groups.iter().filter(|group| !group.relations.is_empty());
    let types: Vec<u32> = wanted.flat_map(|group| group.columns).map(|column| column.type_oid).collect();
    let (relations, types) = (array_of(&relations), array_of(&types));
    let (heaps, large) = (heaps_sql(), large_heap_sql());
    let mut script: Vec<(&str, Option<&str>)> = page_sql.iter().map(|sql| (sql.as_str(), None)).collect();
    script.extend([
        (BASES, Some(types.as_str())),
        (&heaps, Some(&relations)),
        (ATTRIBUTES, Some(&relations)),
    ]);
    script.push((&large, None));
    answers.extend(run(session, None, &script, &back)?.unwrap_or_default());
    Ok(answers)
}

/// The answers to these statements, each with its parameter: an array of numbers, which has no quote in it.
/// `None` if the server refuses one; then `back` was executed.
fn run(
    session: &mut Session,
    first: Option<&str>,
    statements: &[(&str, Option<&str>)],
    back: &str,
) -> Result<Option<Vec<Answer>>, CatalogError> {
    let texts = statements.iter().map(|(sql, parameter)| match parameter {
        Some(parameter) => inlined(sql, &[&format!("'{parameter}'")]),
        None => (*sql).to_owned(),
    });
    let script: Vec<String> = first.map(str::to_owned).into_iter().chain(texts).collect();
    let Some(rows) = run_unless(session, &script, back, CatalogError::is_refusal)? else { return Ok(None) };
    let rows = last_answers(rows, statements.len())?;
    let answers = statements.iter().zip(rows).map(|((sql, parameter), rows)| match parameter {
        Some(parameter) => Answer::new(*sql, &[Some(parameter)], rows),
        None => Answer::new(*sql, &[], rows),
    });
    Ok(Some(answers.collect()))
}
