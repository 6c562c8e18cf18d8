//! The server's answers to statements whose answer is small.

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

/// A statement of [`Session::query`](crate::Session::query) and the server's answer to it.
#[derive(Clone, Debug)]
pub struct Answer {
    sql: String,
    parameters: Vec<Option<String>>,
    pub(crate) rows: Vec<Row>,
}

impl Answer {
    /// `rows` is the server's answer to `sql` with these parameters.
    pub fn new(sql: impl Into<String>, parameters: &[Option<&str>], rows: Vec<Row>) -> Self {
        let parameters = parameters.iter().map(|parameter| parameter.map(str::to_owned)).collect();
        Self { sql: sql.into(), parameters, rows }
    }

    /// The server's rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether this is the answer to `sql` with these parameters.
    pub(crate) fn is_of(&self, sql: &str, parameters: &[Option<&str>]) -> bool {
        self.sql == sql && self.parameters.iter().map(Option::as_deref).eq(parameters.iter().copied())
    }
}
