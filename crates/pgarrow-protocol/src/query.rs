//! Statements whose answer is small: the simple and the extended query protocol.
//!
//! ```text
//!  execute  Q ──▶ ( T D* C │ C │ I )* ──▶ Z                       rows are thrown away
//!  query    P B D E S ──▶ 1 ──▶ 2 ──▶ ( T │ n ) ──▶ D* ──▶ C │ I ──▶ Z
//!           E at any place ──▶ Z: the statement failed, the session goes on
//! ```
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html>, "Simple Query" and
//! "Extended Query".

use crate::backend;
use crate::error::{Error, ErrorKind};
use crate::session::Session;

const PHASE: &str = "query";

/// Bytes of one answer of [`Session::query`] at most. Catalogs are small; tables go through COPY.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One row of [`Session::query`]: texts as PostgreSQL prints them, or null.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    values: Vec<Option<String>>,
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

impl Session {
    /// Runs one or several statements and throws their rows away.
    ///
    /// Several statements in one call are one transaction, unless they say otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if a statement fails; the session can be used afterwards. A COPY is
    /// refused: it belongs into [`copy_out`](Self::copy_out) or [`copy_in`](Self::copy_in).
    pub fn execute(&mut self, sql: &str) -> Result<(), Error> {
        self.begin()?;
        self.outgoing.query(sql)?;
        self.send(PHASE)?;
        let mut in_rows = false;
        let mut refused = None;
        loop {
            let message = match self.receive_or_fail(PHASE) {
                Ok(message) => message,
                // What the server says about our CopyFail is not news.
                Err(error) => return Err(refused.unwrap_or(error)),
            };
            match message.tag {
                b'T' if !in_rows => in_rows = true,
                b'D' if in_rows => {}
                b'C' => in_rows = false,
                b'I' if !in_rows => {}
                b'G' if !in_rows => {
                    refused = Some(self.refuse_copy("COPY FROM STDIN", "copy_in"));
                    self.outgoing.copy_fail("COPY FROM STDIN is not expected here")?;
                    self.send(PHASE)?;
                }
                b'H' if !in_rows => {
                    self.abandon("a COPY was started where none was expected");
                    return Err(self.refuse_copy("COPY TO STDOUT", "copy_out"));
                }
                b'Z' if !in_rows => {
                    self.ready(PHASE, &message)?;
                    return refused.map_or(Ok(()), Err);
                }
                tag => return Err(self.unexpected(PHASE, tag)),
            }
        }
    }

    /// Runs one statement with parameters and returns all of its rows.
    ///
    /// Shape: `parameters` replace `$1`, `$2`, … as text, `None` is null; PostgreSQL infers their
    /// types. Meant for catalogs: an answer above 256 MiB is an error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the statement fails; the session can be used afterwards.
    /// [`ErrorKind::Protocol`] for a value that is not UTF-8.
    pub fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>, Error> {
        self.begin()?;
        self.outgoing.parse(sql)?;
        self.outgoing.bind(parameters)?;
        self.outgoing.describe_portal()?;
        self.outgoing.execute()?;
        self.outgoing.sync()?;
        self.send(PHASE)?;
        self.expect(b'1')?;
        self.expect(b'2')?;
        let message = self.receive_or_fail(PHASE)?;
        let n_columns = match message.tag {
            b'T' => match backend::row_description(&message.body) {
                Ok(columns) => Some(columns.len()),
                Err(cause) => return Err(self.malformed(PHASE, b'T', cause)),
            },
            b'n' => None,
            tag => return Err(self.unexpected(PHASE, tag)),
        };
        let rows = self.receive_rows(n_columns)?;
        self.expect_ready(PHASE)?;
        Ok(rows)
    }

    fn receive_rows(&mut self, n_columns: Option<usize>) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        let mut answer_bytes = 0_usize;
        loop {
            let message = self.receive_or_fail(PHASE)?;
            match (message.tag, n_columns) {
                (b'D', Some(n_columns)) => {
                    let values = backend::data_row(&message.body)
                        .map_err(|cause| self.malformed(PHASE, b'D', cause))?;
                    if values.len() != n_columns {
                        let what =
                            format!("a row of {} values where {n_columns} were announced", values.len());
                        return Err(self.violation(PHASE, &what));
                    }
                    answer_bytes = answer_bytes.saturating_add(message.body.len()).saturating_add(64);
                    if answer_bytes > ANSWER_BYTES_MAX {
                        return Err(self.violation(PHASE, "the answer is larger than 256 MiB, use COPY"));
                    }
                    let texts = values.into_iter().map(|value| value.map(utf8).transpose());
                    let Ok(values) = texts.collect::<Result<Vec<_>, _>>() else {
                        return Err(self.violation(PHASE, "a value is not UTF-8"));
                    };
                    rows.push(Row { values });
                }
                (b'C' | b'I', _) => return Ok(rows),
                (b'G', None) => {
                    self.abandon("a COPY was started where none was expected");
                    return Err(self.refuse_copy("COPY FROM STDIN", "copy_in"));
                }
                (b'H', None) => {
                    self.abandon("a COPY was started where none was expected");
                    return Err(self.refuse_copy("COPY TO STDOUT", "copy_out"));
                }
                (tag, _) => return Err(self.unexpected(PHASE, tag)),
            }
        }
    }

    fn expect(&mut self, tag: u8) -> Result<(), Error> {
        let message = self.receive_or_fail(PHASE)?;
        if message.tag == tag { Ok(()) } else { Err(self.unexpected(PHASE, message.tag)) }
    }

    fn refuse_copy(&self, statement: &str, instead: &str) -> Error {
        let message = format!("{} ({PHASE}): {statement} is run with {instead}", self.endpoint);
        Error::new(ErrorKind::Config, message)
    }
}

fn utf8(bytes: &[u8]) -> Result<String, std::str::Utf8Error> {
    std::str::from_utf8(bytes).map(str::to_owned)
}
