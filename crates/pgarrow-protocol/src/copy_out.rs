//! `COPY … TO STDOUT (FORMAT binary)`: the rows of an export on their way in.
//!
//! ```text
//!  advance ─┬─ CopyData at the head, whole ───────▶ Data      the caller reads buffered(), consumes
//!           ├─ CopyDone, CommandComplete, … ──────▶ Machine   decides (machine.rs)
//!           └─ nothing whole ─────────────────────▶ read, and look again
//! ```
//!
//! The caller reads the CopyData messages in [`CopyOut::buffered`] itself: this one buffer lies between the
//! socket and the decoder, and nothing is copied.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>.

mod machine;

use self::machine::{Machine, Step};
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Header};
use crate::pipeline::AskedBehind;
use crate::row_stream::{CopyOutStep, RowStream};
use crate::session::Session;

const PHASE: &str = "COPY TO STDOUT";

/// A COPY that streams. Borrows its session until it is done.
///
/// A drop before [`CopyOutStep::Done`] leaves the session unusable, since the rest of the stream is still to
/// come: cancel the statement and close the session.
#[derive(Debug)]
pub struct CopyOut<'a> {
    session: &'a mut Session,
    machine: Machine,
    n_columns: usize,
    bytes_before: u64,
    /// Bytes of the message that [`RowStream::receive`] is in.
    left: usize,
    /// Behind the rows comes the answer to a question.
    has_question: bool,
}

impl Session {
    /// Starts a `COPY … TO STDOUT` in binary format. `sql` is that one statement.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the server refuses; the session can be used afterwards.
    /// [`ErrorKind::Config`] if `sql` is anything but a binary COPY TO STDOUT.
    pub fn copy_out(&mut self, sql: &str) -> Result<CopyOut<'_>, Error> {
        self.copy_out_and(sql, None)
    }

    /// As [`copy_out`](Self::copy_out). In the same round trip, the server answers a question once the COPY
    /// is over.
    ///
    /// # Errors
    ///
    /// As for [`copy_out`](Self::copy_out).
    pub fn copy_out_and(
        &mut self,
        sql: &str,
        question: Option<AskedBehind<'_>>,
    ) -> Result<CopyOut<'_>, Error> {
        self.begin()?;
        self.check_encoding(PHASE)?;
        let mut machine = Machine::new(self.transaction_status());
        self.outgoing.query(sql)?;
        let has_question = question.is_some();
        self.behind = question.map(|question| self.question_behind(question)).transpose()?;
        let bytes_before = self.bytes_received();
        self.send(PHASE)?;
        let message = self.receive_or_fail(PHASE)?;
        match machine.step(message.tag, &message.body) {
            Ok(Step::Started { n_columns, is_binary: true }) => {
                self.wire.start_streaming().map_err(|cause| self.io_error(&cause, PHASE))?;
                Ok(CopyOut { session: self, machine, n_columns, bytes_before, left: 0, has_question })
            }
            Ok(Step::Started { .. }) => {
                self.abandon("a COPY in text format was left before its end");
                Err(self.not_a_copy("the format is not binary: write WITH (FORMAT binary)"))
            }
            Ok(_) => Err(self.unexpected(PHASE, message.tag)),
            Err(_) if matches!(message.tag, b'C' | b'I') => {
                self.expect_ready(PHASE)?;
                Err(self.not_a_copy("the statement was run, but it is no COPY TO STDOUT"))
            }
            Err(_) if matches!(message.tag, b'T' | b'G') => {
                self.abandon("a statement that is no COPY TO STDOUT was left before its end");
                Err(self.not_a_copy("the statement is no COPY TO STDOUT"))
            }
            Err(violation) => Err(self.violation(PHASE, &violation.to_string())),
        }
    }

    fn not_a_copy(&self, what: &str) -> Error {
        Error::new(ErrorKind::Config, format!("{} ({PHASE}): {what}", self.endpoint))
    }
}

impl CopyOut<'_> {
    /// How many columns the server announced.
    pub fn column_count(&self) -> usize {
        self.n_columns
    }

    /// For who knows what is to come: over TCP, [`advance`](Self::advance) waits for `n_bytes` more at once,
    /// or for a moment if fewer come. Holds until the next call.
    pub fn want_at_once(&mut self, n_bytes: usize) {
        self.session.wire.want_at_once(n_bytes);
    }

    /// Bytes that are received and not consumed. They start at a message boundary: tag, `u32` length, body.
    ///
    /// The caller decodes the whole CopyData messages (`d`) at the start of the buffer and
    /// [`consume`](Self::consume)s them. At any other tag, and at an incomplete message, it calls
    /// [`advance`](Self::advance). Lengths are not checked yet.
    pub fn buffered(&self) -> &[u8] {
        self.session.wire.unread()
    }

    /// Marks the first `n_bytes` of [`buffered`](Self::buffered) as read: whole CopyData messages, with their
    /// headers.
    pub fn consume(&mut self, n_bytes: usize) {
        self.session.wire.consume(n_bytes);
    }

    /// Bytes received since the statement was sent. If a question was sent behind it, those that were also
    /// consumed: what else is in the buffer may belong to the answer.
    pub fn bytes_received(&self) -> u64 {
        let unread = if self.has_question { self.session.wire.unread().len() as u64 } else { 0 };
        self.session.bytes_received().saturating_sub(unread).saturating_sub(self.bytes_before)
    }

    /// Continues: handles messages other than CopyData, and reads until a whole CopyData is there or the COPY
    /// is over.
    ///
    /// The caller consumes a whole CopyData at the start of the buffer. While one is there, this returns
    /// [`CopyOutStep::Data`] at once and does nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the server ends the COPY with an error; the session can be used afterwards
    /// unless the error is fatal. The only success is `CopyDone`, `COPY <rows>` and ReadyForQuery in the
    /// transaction state the COPY began in, with `client_encoding` still UTF8. Anything else is an error.
    /// After an error, and after `Done`, the COPY stays as it is.
    pub fn advance(&mut self) -> Result<CopyOutStep, Error> {
        if let Some(rows) = self.machine.done() {
            return Ok(CopyOutStep::Done { rows });
        }
        self.check_going_on()?;
        let result = self.advance_unchecked();
        self.after(result)
    }

    fn check_going_on(&self) -> Result<(), Error> {
        if self.machine.is_failed() {
            let message = format!("{} ({PHASE}): the COPY has failed before", self.session.endpoint);
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

    fn advance_unchecked(&mut self) -> Result<CopyOutStep, Error> {
        if self.left > 0 {
            return Err(self.session.violation(PHASE, "a message was left before its end"));
        }
        loop {
            let header = match self.session.header(PHASE)? {
                Some(header) if header.frame_bytes() <= self.session.wire.unread().len() => header,
                // A long message that cannot come now is refused before its body is received.
                Some(Header { tag, .. }) if matches!(tag, b'd' | b'D' | b'T') && !self.may_come(tag) => {
                    return Err(self.session.unexpected(PHASE, tag));
                }
                _ => {
                    self.session.read_more(PHASE)?;
                    continue;
                }
            };
            match header.tag {
                b'd' if self.machine.is_streaming() => {
                    self.session.talk_bytes = 0;
                    return Ok(CopyOutStep::Data);
                }
                b'N' | b'S' | b'A' => {
                    self.session.absorb_head(PHASE)?;
                }
                b'Z' => return self.finish(),
                b'E' => return Err(self.server_error()),
                tag => {
                    let body = self.session.wire.unread().get(frame::HEADER_BYTES..header.frame_bytes());
                    let step = self.machine.step(tag, body.unwrap_or_default());
                    if let Err(violation) = step {
                        return Err(self.session.violation(PHASE, &violation.to_string()));
                    }
                    self.session.wire.consume(header.frame_bytes());
                }
            }
        }
    }

    fn may_come(&self, tag: u8) -> bool {
        tag == b'd' && self.machine.is_streaming()
    }

    fn server_error(&mut self) -> Error {
        self.machine.fail();
        match self.session.receive_or_fail(PHASE) {
            Err(error) => error,
            Ok(message) => self.session.unexpected(PHASE, message.tag),
        }
    }

    /// ReadyForQuery: the last check.
    fn finish(&mut self) -> Result<CopyOutStep, Error> {
        let message = self.session.receive(PHASE)?;
        self.session.ready(PHASE, &message)?;
        match self.machine.ready(self.session.transaction_status()) {
            Ok(rows) => {
                self.session.check_encoding(PHASE)?;
                Ok(CopyOutStep::Done { rows })
            }
            Err(violation) => Err(self.session.violation(PHASE, &violation.to_string())),
        }
    }
}

impl RowStream for CopyOut<'_> {
    fn column_count(&self) -> usize {
        self.column_count()
    }

    fn buffered(&self) -> &[u8] {
        self.buffered()
    }

    fn consume(&mut self, n_bytes: usize) {
        self.consume(n_bytes);
    }

    fn bytes_received(&self) -> u64 {
        self.bytes_received()
    }

    fn advance(&mut self) -> Result<CopyOutStep, Error> {
        self.advance()
    }

    fn receive(&mut self, target: &mut [u8]) -> Result<(), Error> {
        self.check_going_on()?;
        if !self.machine.is_streaming() {
            return Err(self.session.violation(PHASE, "there are no rows to be received"));
        }
        let result = self.session.receive_data(PHASE, b'd', &mut self.left, target);
        self.after(result)
    }
}

impl Drop for CopyOut<'_> {
    fn drop(&mut self) {
        if !self.machine.is_over() {
            self.session.abandon("a COPY was left before its end");
        }
    }
}
