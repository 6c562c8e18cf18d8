//! Small answers of the server, as text.

use pgarrow_protocol::{Row, Session};
use pgarrow_session::Result;

/// Rows as text: every value as PostgreSQL prints it, `None` for NULL.
pub type TextRows = Vec<Vec<Option<String>>>;

/// Runs a statement and returns its rows: values as PostgreSQL prints them, `None` for NULL.
pub(crate) fn texts(session: &mut Session, sql: &str) -> Result<TextRows> {
    let rows = session.query(sql, &[])?;
    let texts = |row: &Row| (0..row.len()).map(|index| row.text(index).map(str::to_owned)).collect();
    Ok(rows.iter().map(texts).collect())
}
