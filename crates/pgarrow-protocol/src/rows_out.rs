//! Rows by SELECT or by cursor: the values of a binary COPY for servers that refuse COPY, as some poolers and
//! forks do.
//!
//! ```text
//!  select_out  P B D E S ──▶ 1 2 T D* C Z
//!  cursor_out  DECLARE, then repeatedly  FETCH ──▶ T D* C Z, then  CLOSE
//! ```
//!
//! As with COPY, the caller reads the DataRow messages in [`RowsOut::buffered`](RowStream::buffered) itself.
//! The body of a DataRow is a tuple of COPY: a count, then the values.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY>;
//! <https://www.postgresql.org/docs/current/sql-declare.html>.

mod machine;

use self::machine::{Machine, Mode, Next, Violation};
use crate::backend::TransactionStatus;
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Header};
use crate::row_stream::{CopyOutStep, RowStream};
use crate::session::Session;

const SELECT: &str = "SELECT";
const CURSOR: &str = "cursor";

/// Only one exists at a time.
const CURSOR_NAME: &str = "pgarrow_rows";

/// A statement whose rows stream, in binary format. Borrows its session until it is done.
///
/// A drop before [`CopyOutStep::Done`] leaves the session unusable, since the rest of the rows is still to
/// come: cancel the statement and close the session.
#[derive(Debug)]
pub struct RowsOut<'a> {
    session: &'a mut Session,
    machine: Machine,
    phase: &'static str,
    fetch: String,
    bytes_before: u64,
    /// Bytes of the message that [`RowStream::receive`] is in.
    left: usize,
}

impl Session {
    /// Runs one statement that returns rows, all of its columns in binary format.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the server refuses; the session can be used afterwards.
    /// [`ErrorKind::Config`] if the statement returns no rows. The server has run it then.
    pub fn select_out(&mut self, sql: &str) -> Result<RowsOut<'_>, Error> {
        self.begin()?;
        self.check_encoding(SELECT)?;
        self.outgoing.parse(sql)?;
        self.outgoing.bind_binary()?;
        self.outgoing.describe_portal()?;
        self.outgoing.execute()?;
        self.outgoing.sync()?;
        RowsOut::start(self, Mode::Select, SELECT, String::new())
    }

    /// Reads the rows of a SELECT through a cursor in the open transaction, `fetch_rows` (at least 1) at a
    /// time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] outside a transaction, where cursors do not exist.
    /// [`ErrorKind::Server`] if the server refuses; the session can be used afterwards, but the transaction
    /// has failed.
    pub fn cursor_out(&mut self, sql: &str, fetch_rows: u32) -> Result<RowsOut<'_>, Error> {
        self.begin()?;
        self.check_encoding(CURSOR)?;
        if self.transaction_status() != TransactionStatus::InTransaction {
            let message = format!("{} ({CURSOR}): a cursor needs an open transaction", self.endpoint);
            return Err(Error::new(ErrorKind::Config, message));
        }
        let fetch_rows = fetch_rows.max(1);
        self.outgoing.query(&format!("DECLARE {CURSOR_NAME} BINARY NO SCROLL CURSOR FOR {sql}"))?;
        let fetch = format!("FETCH FORWARD {fetch_rows} FROM {CURSOR_NAME}");
        RowsOut::start(self, Mode::Cursor { fetch_rows }, CURSOR, fetch)
    }
}

impl<'a> RowsOut<'a> {
    /// Sends the prepared messages and waits for the description of the rows.
    fn start(
        session: &'a mut Session,
        mode: Mode,
        phase: &'static str,
        fetch: String,
    ) -> Result<Self, Error> {
        let machine = Machine::new(mode, session.transaction_status());
        let bytes_before = session.bytes_received();
        session.send(phase)?;
        let mut rows = Self { session, machine, phase, fetch, bytes_before, left: 0 };
        while !rows.machine.is_streaming() {
            if let Err(error) = rows.start_step() {
                rows.machine.fail();
                return Err(error);
            }
        }
        rows.session.wire.start_streaming().map_err(|cause| rows.session.io_error(&cause, phase))?;
        Ok(rows)
    }

    fn start_step(&mut self) -> Result<(), Error> {
        let message = self.session.receive_or_fail(self.phase)?;
        match message.tag {
            b'Z' => {
                self.session.ready(self.phase, &message)?;
                self.on_ready().map(drop)
            }
            b'n' if self.machine.is_describing() && message.body.is_empty() => Err(self.not_rows()),
            tag => self.machine.step(tag, &message.body).map_err(|violation| self.violation(&violation)),
        }
    }

    /// NoData: the server runs the statement to its end, without rows.
    fn not_rows(&mut self) -> Error {
        let message = match self.session.receive_or_fail(self.phase) {
            Ok(message) => message,
            Err(error) => return error,
        };
        match message.tag {
            b'C' | b'I' => {
                if let Err(error) = self.session.expect_ready(self.phase) {
                    return error;
                }
            }
            b'G' | b'H' => self.session.abandon("a COPY was started where rows were expected"),
            tag => return self.session.unexpected(self.phase, tag),
        }
        let message = format!("{} ({}): the statement returns no rows", self.session.endpoint, self.phase);
        Error::new(ErrorKind::Config, message)
    }

    fn advance_unchecked(&mut self) -> Result<CopyOutStep, Error> {
        if self.left > 0 {
            return Err(self.session.violation(self.phase, "a row was left before its end"));
        }
        loop {
            let header = match self.session.header(self.phase)? {
                Some(header) if header.frame_bytes() <= self.session.wire.unread().len() => header,
                // A long message that cannot come now is refused before its body is received.
                Some(Header { tag, .. }) if tag == b'd' || (tag == b'D' && !self.machine.is_streaming()) => {
                    return Err(self.session.unexpected(self.phase, tag));
                }
                _ => {
                    self.session.read_more(self.phase)?;
                    continue;
                }
            };
            match header.tag {
                b'D' if self.machine.is_streaming() => {
                    self.session.talk_bytes = 0;
                    return Ok(CopyOutStep::Data);
                }
                b'N' | b'S' | b'A' => {
                    self.session.absorb_head(self.phase)?;
                }
                b'Z' => {
                    let message = self.session.receive(self.phase)?;
                    self.session.ready(self.phase, &message)?;
                    if let Next::Done { rows } = self.on_ready()? {
                        return Ok(CopyOutStep::Done { rows });
                    }
                }
                b'E' => return Err(self.server_error()),
                tag => {
                    let body = self.session.wire.unread().get(frame::HEADER_BYTES..header.frame_bytes());
                    if let Err(violation) = self.machine.step(tag, body.unwrap_or_default()) {
                        return Err(self.violation(&violation));
                    }
                    self.session.wire.consume(header.frame_bytes());
                }
            }
        }
    }

    /// Sends the next message, if there is one; otherwise makes the last check.
    fn on_ready(&mut self) -> Result<Next, Error> {
        let status = self.session.transaction_status();
        let next = self.machine.ready(status).map_err(|violation| self.violation(&violation))?;
        match next {
            Next::Fetch => self.session.outgoing.query(&self.fetch)?,
            Next::Close => self.session.outgoing.query(&format!("CLOSE {CURSOR_NAME}"))?,
            Next::Done { .. } => {
                self.session.check_encoding(self.phase)?;
                return Ok(next);
            }
        }
        self.session.send(self.phase)?;
        Ok(next)
    }

    fn server_error(&mut self) -> Error {
        self.machine.fail();
        match self.session.receive_or_fail(self.phase) {
            Err(error) => error,
            Ok(message) => self.session.unexpected(self.phase, message.tag),
        }
    }

    fn violation(&mut self, violation: &Violation) -> Error {
        self.session.violation(self.phase, &violation.0)
    }

    fn check_going_on(&self) -> Result<(), Error> {
        if self.machine.is_failed() {
            let message =
                format!("{} ({}): the statement has failed before", self.session.endpoint, self.phase);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        Ok(())
    }

    fn after<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            self.machine.fail();
        }
        if self.machine.is_over() {
            // A failure here loses only comfort, and the next read reports it.
            let _ = self.session.wire.stop_streaming();
        }
        result
    }
}

impl RowStream for RowsOut<'_> {
    fn column_count(&self) -> usize {
        self.machine.n_columns()
    }

    fn buffered(&self) -> &[u8] {
        self.session.wire.unread()
    }

    fn consume(&mut self, n_bytes: usize) {
        self.session.wire.consume(n_bytes);
    }

    fn bytes_received(&self) -> u64 {
        self.session.bytes_received().saturating_sub(self.bytes_before)
    }

    fn advance(&mut self) -> Result<CopyOutStep, Error> {
        if let Some(rows) = self.machine.done() {
            return Ok(CopyOutStep::Done { rows });
        }
        self.check_going_on()?;
        let result = self.advance_unchecked();
        self.after(result)
    }

    fn receive(&mut self, target: &mut [u8]) -> Result<(), Error> {
        self.check_going_on()?;
        if !self.machine.is_streaming() {
            return Err(self.session.violation(self.phase, "there are no rows to be received"));
        }
        let result = self.session.receive_data(self.phase, b'D', &mut self.left, target);
        self.after(result)
    }
}

impl Drop for RowsOut<'_> {
    fn drop(&mut self) {
        if !self.machine.is_over() {
            self.session.abandon("rows were left before their end");
        }
    }
}
