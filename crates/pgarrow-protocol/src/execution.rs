//! `Execution`: what one execution of a statement sends.

use crate::backend::ColumnDescription;

/// One execution of a statement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Execution<'a> {
    /// The name with which [`Session::prepare`](crate::Session::prepare) was called; empty for the unnamed
    /// statement.
    pub statement: &'a str,
    /// Text and parameter types, if the statement has to be parsed first.
    pub parse: Option<(&'a str, &'a [u32])>,
    /// The columns that its rows must have; `None` if it returns none.
    pub columns: Option<&'a [ColumnDescription]>,
    /// Nobody will look at its rows, so that any columns will do.
    pub any_columns: bool,
    /// The values of `$1`, `$2`, …
    pub parameters: &'a [Parameter<'a>],
    /// Which columns come as text; the others come in binary. Empty if all come in binary; a single one is
    /// for all.
    pub text_columns: &'a [bool],
    /// Rows of the first part; `None` for all of them. Only in a transaction block: the end of any other
    /// transaction is the end of the portal.
    pub part_rows: Option<u32>,
}

/// A value for a parameter.
#[derive(Clone, Copy, Default)]
pub struct Parameter<'a> {
    /// `None` is null.
    pub value: Option<&'a [u8]>,
    /// The value is in the binary form of the parameter's type, and not text.
    pub is_binary: bool,
}

/// Without the value.
impl std::fmt::Debug for Parameter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parameter").field("is_binary", &self.is_binary).finish_non_exhaustive()
    }
}
