//! Statements whose answer is small: the simple and the extended query protocol.
//!
//! ```text
//!  execute  Q ──▶ ( T D* C │ C │ I )+ ──▶ Z                       rows are thrown away
//!  query    P B D E S ──▶ 1 ──▶ 2 ──▶ ( T │ n ) ──▶ D* ──▶ C │ I ──▶ Z
//!           E at any place ──▶ Z: the statement failed, the session goes on
//! ```
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html>, "Simple Query" and
//! "Extended Query".

use std::str::Utf8Error;
use std::time::{Duration, Instant};

use crate::answer::{ROW_BYTES, Row, VALUE_BYTES};
use crate::backend;
use crate::cursor::BodyError;
use crate::error::{Error, ErrorKind};
use crate::session::{ANSWER_BYTES_MAX, Message, Session};

const PHASE: &str = "query";

/// The `client_encoding` with which the server sends text unchecked.
const RAW: &str = "SQL_ASCII";

impl Session {
    /// Runs one or several statements and throws their rows away.
    ///
    /// Several statements in one call are one transaction, unless they say otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if a statement fails; the session can be used afterwards.
    /// A COPY is refused: use [`copy_out`](Self::copy_out) or [`copy_in`](Self::copy_in).
    pub fn execute(&mut self, sql: &str) -> Result<(), Error> {
        if let Some(answer) = self.take_answer(sql, &[]) {
            return answer.map(drop);
        }
        self.begin()?;
        self.outgoing.query(sql)?;
        self.send(PHASE)?;
        self.receive_executed()
    }

    /// The answer to a simple query, its rows thrown away.
    pub(crate) fn receive_executed(&mut self) -> Result<(), Error> {
        let mut in_rows = false;
        let mut n_complete = 0_usize;
        let mut refused = None;
        loop {
            let message = match self.receive_or_fail(PHASE) {
                Ok(message) => message,
                // The server's error about our CopyFail adds nothing.
                Err(error) => return Err(refused.unwrap_or(error)),
            };
            match message.tag {
                b'T' if !in_rows => in_rows = true,
                b'D' if in_rows => {}
                b'C' => {
                    self.completed(&message)?;
                    in_rows = false;
                    n_complete += 1;
                }
                b'I' if !in_rows => n_complete += 1,
                b'G' if !in_rows => {
                    refused = Some(self.refuse_copy("COPY FROM STDIN", "copy_in"));
                    self.outgoing.copy_fail("COPY FROM STDIN is not expected here")?;
                    self.send(PHASE)?;
                }
                b'H' if !in_rows => {
                    self.abandon("a COPY was started where none was expected");
                    return Err(self.refuse_copy("COPY TO STDOUT", "copy_out"));
                }
                // ReadyForQuery without a CommandComplete is no success: the server may not have run the
                // statement.
                b'Z' if !in_rows && (n_complete > 0 || refused.is_some()) => {
                    self.ready(PHASE, &message)?;
                    return refused.map_or(Ok(()), Err);
                }
                tag => return Err(self.unexpected(PHASE, tag)),
            }
            self.takes_rows = in_rows;
        }
    }

    /// Sends an empty statement, and waits at most `timeout` for the answer. After success the session works.
    ///
    /// # Errors
    ///
    /// The server does not answer in time, or with an error: the session cannot be used.
    pub fn check(&mut self, timeout: Duration) -> Result<(), Error> {
        let deadline = self.deadline;
        self.deadline = Instant::now().checked_add(timeout);
        let answered = self.execute("");
        self.deadline = deadline;
        answered
    }

    /// From now on the server sends text as it is stored, not checked and not converted. For databases of
    /// encoding SQL_ASCII, whose text may be in any encoding, or in several. With any other encoding, the
    /// text would be in that one.
    ///
    /// Holds for the current transaction.
    ///
    /// # Errors
    ///
    /// As for [`execute`](Self::execute).
    pub fn receive_raw_text(&mut self) -> Result<(), Error> {
        if self.encoding != RAW {
            self.execute("SET LOCAL client_encoding = 'SQL_ASCII'")?;
            self.encoding = RAW;
        }
        Ok(())
    }

    /// Runs one statement with parameters and returns all of its rows.
    ///
    /// `parameters` replace `$1`, `$2`, … as text, `None` is null; PostgreSQL infers their types. Meant for
    /// catalogs: an answer above 256 MiB is an error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the statement fails; the session can be used afterwards.
    /// [`ErrorKind::Protocol`] for a value that is not UTF-8.
    pub fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>, Error> {
        if let Some(answer) = self.take_answer(sql, parameters) {
            return answer;
        }
        if let Some(answer) = self.answer_behind(sql, parameters) {
            return answer;
        }
        let n_columns = self.ask(sql, parameters)?;
        let rows = self.receive_rows(n_columns)?;
        self.expect_ready(PHASE)?;
        Ok(rows)
    }

    /// As [`query`](Self::query), with parameters in the binary form of their types, whose OIDs are `types`:
    /// what the server has sent in this form, it prints.
    ///
    /// Bytes of the answer that are not UTF-8 are replaced.
    ///
    /// # Errors
    ///
    /// As for [`query`](Self::query). [`ErrorKind::Config`] for more than 65,535 parameters.
    pub fn query_values(
        &mut self,
        sql: &str,
        types: &[u32],
        values: &[Option<&[u8]>],
    ) -> Result<Vec<Row>, Error> {
        self.begin()?;
        self.outgoing.parse_typed(sql, types)?;
        self.outgoing.bind_values(values)?;
        let n_columns = self.ask_parsed()?;
        let rows =
            self.receive_rows_as(n_columns, |bytes| Ok(String::from_utf8_lossy(bytes).into_owned()))?;
        self.expect_ready(PHASE)?;
        Ok(rows)
    }

    /// Runs one statement with parameters, as [`query`](Self::query) does. Returns how many rows the server
    /// says were inserted, updated, deleted, merged or copied: 0 for a statement that counts nothing, such as
    /// CREATE TABLE. Rows that the statement returns are counted and thrown away.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the statement fails; the session can be used afterwards.
    pub fn execute_counted(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<u64, Error> {
        self.takes_rows = self.ask(sql, parameters)?.is_some();
        let rows = loop {
            let message = self.receive_or_fail(PHASE)?;
            match message.tag {
                b'D' if self.takes_rows => {}
                b'C' => {
                    let tag = self.completed(&message)?;
                    match backend::counted_rows(tag) {
                        Some(rows) => break rows,
                        None => {
                            return Err(
                                self.violation(PHASE, "a statement that counts rows does not say how many")
                            );
                        }
                    }
                }
                b'I' if !self.takes_rows => break 0,
                tag => return Err(self.not_an_end(tag)),
            }
        };
        self.expect_ready(PHASE)?;
        Ok(rows)
    }

    /// Sends a statement and receives the number of columns of its rows; `None` if it returns no rows.
    fn ask(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Option<usize>, Error> {
        self.begin()?;
        self.outgoing.parse(sql)?;
        self.outgoing.bind(parameters)?;
        self.ask_parsed()
    }

    /// The same for a statement and parameters that are on their way out.
    fn ask_parsed(&mut self) -> Result<Option<usize>, Error> {
        self.outgoing.describe_portal()?;
        self.outgoing.execute()?;
        self.outgoing.sync()?;
        self.send(PHASE)?;
        self.receive_n_columns()
    }

    /// What comes before the rows of a statement that was parsed, bound and described.
    pub(crate) fn receive_n_columns(&mut self) -> Result<Option<usize>, Error> {
        self.expect_empty(PHASE, b'1')?;
        self.expect_empty(PHASE, b'2')?;
        let message = self.receive_or_fail(PHASE)?;
        match message.tag {
            b'T' => match backend::row_description(&message.body) {
                Ok(columns) => Ok(Some(columns.len())),
                Err(cause) => Err(self.malformed(PHASE, b'T', cause)),
            },
            b'n' if message.body.is_empty() => Ok(None),
            tag => Err(self.unexpected(PHASE, tag)),
        }
    }

    pub(crate) fn receive_rows(&mut self, n_columns: Option<usize>) -> Result<Vec<Row>, Error> {
        self.receive_rows_as(n_columns, utf8)
    }

    /// `text` makes a text of a value.
    fn receive_rows_as(
        &mut self,
        n_columns: Option<usize>,
        text: fn(&[u8]) -> Result<String, Utf8Error>,
    ) -> Result<Vec<Row>, Error> {
        self.takes_rows = n_columns.is_some();
        let mut rows = Vec::new();
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
                    let kept_bytes = message.body.len() + ROW_BYTES + VALUE_BYTES * values.len();
                    self.answer_bytes = self.answer_bytes.saturating_add(kept_bytes);
                    if self.answer_bytes > ANSWER_BYTES_MAX {
                        return Err(self.violation(PHASE, "the answer is larger than 256 MiB, use COPY"));
                    }
                    let texts = values.into_iter().map(|value| value.map(text).transpose());
                    let Ok(values) = texts.collect::<Result<Vec<_>, _>>() else {
                        return Err(self.violation(PHASE, "a value is not UTF-8"));
                    };
                    rows.push(Row { values });
                }
                (b'C', _) => {
                    let tag = self.completed(&message)?;
                    if backend::tagged_rows(tag, b"SELECT ").is_some_and(|n_rows| n_rows != rows.len() as u64)
                    {
                        return Err(
                            self.violation(PHASE, "the answer has another number of rows than its tag")
                        );
                    }
                    return Ok(rows);
                }
                (b'I', None) => return Ok(rows),
                (tag, None) => return Err(self.not_an_end(tag)),
                (tag, Some(_)) => return Err(self.unexpected(PHASE, tag)),
            }
        }
    }

    /// The error for a message in place of a CommandComplete, where there are no rows. Only a COPY can come
    /// there.
    pub(crate) fn not_an_end(&mut self, tag: u8) -> Error {
        let (statement, instead) = match tag {
            b'G' if !self.takes_rows => ("COPY FROM STDIN", "copy_in"),
            b'H' if !self.takes_rows => ("COPY TO STDOUT", "copy_out"),
            _ => return self.unexpected(PHASE, tag),
        };
        self.abandon("a COPY was started where none was expected");
        self.refuse_copy(statement, instead)
    }

    /// Receives a message, which must have this tag and no body.
    pub(crate) fn expect_empty(&mut self, phase: &'static str, tag: u8) -> Result<(), Error> {
        let message = self.receive_or_fail(phase)?;
        if message.tag != tag {
            return Err(self.unexpected(phase, message.tag));
        }
        match message.body.len() {
            0 => Ok(()),
            n_bytes => Err(self.malformed(phase, tag, BodyError::Trailing(n_bytes))),
        }
    }

    /// The tag of a CommandComplete.
    pub(crate) fn completed<'m>(&mut self, message: &'m Message) -> Result<&'m [u8], Error> {
        backend::command_complete(&message.body).map_err(|cause| self.malformed(PHASE, b'C', cause))
    }

    fn refuse_copy(&self, statement: &str, instead: &str) -> Error {
        let message = format!("{} ({PHASE}): {statement} is run with {instead}", self.endpoint);
        Error::new(ErrorKind::Config, message)
    }
}

fn utf8(bytes: &[u8]) -> Result<String, Utf8Error> {
    std::str::from_utf8(bytes).map(str::to_owned)
}
