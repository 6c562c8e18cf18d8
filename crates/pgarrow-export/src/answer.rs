//! Small answers of the server, as text.

use pgarrow_protocol::Row;

/// The values of a row as PostgreSQL prints them; `None` for NULL.
pub(crate) fn texts(row: &Row) -> Vec<Option<String>> {
    (0..row.len()).map(|index| row.text(index).map(str::to_owned)).collect()
}
