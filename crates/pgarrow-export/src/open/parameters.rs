//! Values that are bound to a query or a filter: COPY takes none, so they become literals.

use pgarrow_catalog::format_types;
use pgarrow_session::{Result, literal, without_read_timeout};

use super::opening::Opening;
use super::refused;
use crate::statement::Statement;

/// Checks that there is one value for each parameter. `what`: `the query`, `the filter`.
///
/// # Errors
///
/// [`ErrorKind::Options`](crate::ErrorKind::Options) if there are more or fewer.
pub(super) fn check_number(statement: &Statement, values: &[Option<String>], what: &str) -> Result<()> {
    let (n_expected, n_bound) = (statement.n_parameters(), values.len());
    match n_expected == n_bound {
        true => Ok(()),
        false => Err(refused(&format!(
            "{what} takes {n_expected} parameters ($1, $2, …), but {n_bound} were given"
        ))),
    }
}

/// The statement with a literal in place of each parameter, of the type that the server determines. Runs
/// outside of the export's transaction.
///
/// `described` is what the server describes: the statement itself, or a query around a condition.
pub(super) fn bind(
    opening: &mut Opening<'_>,
    statement: &Statement,
    values: &[Option<String>],
    described: &str,
    what: &str,
) -> Result<Statement> {
    if values.is_empty() {
        return Ok(statement.clone());
    }
    let types = without_read_timeout(opening.session()?, |session| session.describe(described));
    let types = types.map_err(|error| opening.not_waited(error.into()))?.parameters;
    if types.len() != values.len() {
        return Err(refused(&format!("{what}'s parameters are not numbered from $1 without a gap")));
    }
    let types = types.into_iter().map(|oid| (oid, -1)).collect::<Vec<_>>();
    let names = format_types(opening.session()?, &types)?;
    let expressions = values.iter().zip(names).map(|(value, pg_type)| {
        let literal = value.as_deref().map_or(Ok("NULL".to_owned()), literal)?;
        Ok(format!("({literal}::{pg_type})"))
    });
    Ok(statement.with_parameters(&expressions.collect::<Result<Vec<_>>>()?))
}
