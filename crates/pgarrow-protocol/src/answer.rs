//! The server's answers to statements whose answer is small.

use crate::backend::ColumnDescription;
use crate::error::Error;

/// Memory of a row and of a value beside their text: a value of 4 bytes on the wire takes 24 here.
pub(crate) const ROW_BYTES: usize = size_of::<Row>() + 16;
pub(crate) const VALUE_BYTES: usize = size_of::<Option<String>>() + 16;

/// One row of [`Session::query`](crate::Session::query): texts as PostgreSQL prints them, or null.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    pub(crate) values: Vec<Option<String>>,
}

impl Row {
    /// The value of column `index`; `None` for null and for a column that is not there.
    pub fn text(&self, index: usize) -> Option<&str> {
        self.values.get(index)?.as_deref()
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// True if there is no column.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Parameters and columns of a statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description {
    /// OIDs of the types of `$1`, `$2`, …
    pub parameters: Vec<u32>,
    /// `None` if the statement returns no rows.
    pub columns: Option<Vec<ColumnDescription>>,
}

/// A statement that was sent, and whose answer has not been received.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<Option<String>>,
    /// A COMMIT was sent with it.
    pub(crate) and_commit: bool,
}

/// A statement of [`Session::query`](crate::Session::query) and the server's answer to it.
#[derive(Clone, Debug)]
pub struct Answer {
    sql: String,
    parameters: Vec<Option<String>>,
    given: Given,
}

/// What the server has said.
#[derive(Clone, Debug)]
enum Given {
    Rows(Vec<Row>),
    Refused(Error),
}

impl Answer {
    /// `rows` is the server's answer to `sql` with these parameters.
    pub fn new(sql: impl Into<String>, parameters: &[Option<&str>], rows: Vec<Row>) -> Self {
        let parameters = parameters.iter().map(|parameter| parameter.map(str::to_owned)).collect();
        Self { sql: sql.into(), parameters, given: Given::Rows(rows) }
    }

    /// The server has refused `sql`, without parameters, with this error. That is also the answer to
    /// [`Session::describe`](crate::Session::describe).
    pub fn refused(sql: impl Into<String>, error: Error) -> Self {
        Self { sql: sql.into(), parameters: Vec::new(), given: Given::Refused(error) }
    }

    /// The server's rows; none if it has refused.
    pub fn rows(&self) -> &[Row] {
        match &self.given {
            Given::Rows(rows) => rows,
            Given::Refused(_) => &[],
        }
    }

    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.given, Given::Refused(_))
    }

    pub(crate) fn into_result(self) -> Result<Vec<Row>, Error> {
        match self.given {
            Given::Rows(rows) => Ok(rows),
            Given::Refused(error) => Err(error),
        }
    }

    /// Whether this is the answer to `sql` with these parameters.
    pub(crate) fn is_of(&self, sql: &str, parameters: &[Option<&str>]) -> bool {
        self.sql == sql && self.parameters.iter().map(Option::as_deref).eq(parameters.iter().copied())
    }
}
