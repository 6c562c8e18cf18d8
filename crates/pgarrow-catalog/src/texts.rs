//! Texts of query parameters and of result values.

use std::fmt;

use pgarrow_protocol::Row;

use crate::error::CatalogError;

/// A PostgreSQL array in text form.
pub(crate) fn array_of<T: fmt::Display>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    format!("{{{}}}", values.join(","))
}

/// A value that cannot be NULL.
pub(crate) fn text(row: &Row, index: usize) -> Result<String, CatalogError> {
    row.text(index).map(str::to_owned).ok_or(CatalogError::Unexpected("a NULL where none can be"))
}

/// A value that is a number.
pub(crate) fn parsed<T: std::str::FromStr>(row: &Row, index: usize) -> Result<T, CatalogError> {
    let number = row.text(index).and_then(|text| text.parse().ok());
    number.ok_or(CatalogError::Unexpected("something else than a number"))
}
