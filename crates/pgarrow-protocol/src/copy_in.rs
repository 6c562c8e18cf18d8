//! `COPY … FROM STDIN`: rows on their way out.
//!
//! ```text
//!  Q ──▶ G ──▶ send: d d d … ──▶ finish: c (· P B D E S) ──▶ C "COPY n" ──▶ Z (… Z)
//!                 │  E from the server at any time: nothing more is sent, drained to Z
//!                 └─ fail, or dropped: f ──▶ E ──▶ Z, nothing was loaded
//! ```
//!
//! The caller writes rows straight into the message that carries them:
//!
//! ```text
//!  buffer   ┌ header, 5 bytes, filled in by send ┬ payload: what the caller appends … ┐
//! ```
//!
//! Before each message the socket is checked, and read while it takes nothing. So an error from the server is
//! seen at once, and a server that sends much cannot block both sides.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>.

use std::time::{Duration, Instant};

use crate::answer::Behind;
use crate::backend::{self, CopyFormats, TransactionStatus};
use crate::error::{Error, ErrorKind};
use crate::frame::{self, HEADER_BYTES};
use crate::pipeline::AskedBehind;
use crate::session::{DRAIN_TIME, Session};

const PHASE: &str = "COPY FROM STDIN";

/// The largest single message. A message that was begun has to be sent to its end, even if the server has
/// refused earlier ones.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// A buffer that a large row made larger is not kept.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// A server accepts CopyFail up to 10,000 bytes: `PQ_SMALL_MESSAGE_LIMIT` in PostgreSQL's
/// `src/include/libpq/libpq.h`.
const REASON_CHARS_MAX: usize = 2000;
/// CopyDone.
const DONE: [u8; HEADER_BYTES] = *b"c\0\0\0\x04";

/// A COPY that takes data. Borrows its session until [`finish`](Self::finish).
///
/// A drop without `finish` ends the COPY: the server loads nothing.
#[derive(Debug)]
pub struct CopyIn<'a> {
    session: &'a mut Session,
    /// Place for the header, and the payload.
    message: Message,
    formats: CopyFormats,
    /// A COPY can neither begin nor end a transaction block.
    began_in: TransactionStatus,
    sent_before: u64,
    waited_before: Duration,
    is_over: bool,
}

/// Without the bytes, which are values of tables.
struct Message(Vec<u8>);

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Session {
    /// Starts a `COPY … FROM STDIN`, in the format that the statement names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the server refuses; the session can be used afterwards.
    /// [`ErrorKind::Config`] if `sql` is anything but a COPY FROM STDIN.
    pub fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>, Error> {
        self.begin()?;
        self.check_encoding(PHASE)?;
        let began_in = self.transaction_status();
        let (sent_before, waited_before) = (self.bytes_sent(), self.waited_to_send());
        self.outgoing.query(sql)?;
        self.send(PHASE)?;
        let message = self.receive_or_fail(PHASE)?;
        let not_a_copy = format!("{} ({PHASE}): the statement is no COPY FROM STDIN", self.endpoint);
        match message.tag {
            b'G' => {
                let formats = backend::copy_response(&message.body)
                    .map_err(|cause| self.malformed(PHASE, b'G', cause))?;
                let message = Message(Vec::new());
                let mut copy = CopyIn {
                    session: self,
                    message,
                    formats,
                    began_in,
                    sent_before,
                    waited_before,
                    is_over: false,
                };
                copy.clear();
                Ok(copy)
            }
            b'C' | b'I' => {
                self.expect_ready(PHASE)?;
                Err(Error::new(ErrorKind::Config, not_a_copy))
            }
            b'T' | b'H' => {
                self.abandon("a statement that is no COPY FROM STDIN was left before its end");
                Err(Error::new(ErrorKind::Config, not_a_copy))
            }
            tag => Err(self.unexpected(PHASE, tag)),
        }
    }
}

impl CopyIn<'_> {
    /// The intended size of a message, in bytes: the caller fills [`buffer`](Self::buffer) up to it.
    ///
    /// A system call for 64 KiB costs little beside the encoding of the rows, and the rows are still in the
    /// cache when they are sent.
    pub const MESSAGE_BYTES: usize = 64 * 1024;

    /// The bytes that [`send_rows`](Self::send_rows) needs in front of rows.
    pub const PLACE_BYTES: usize = HEADER_BYTES;

    /// How many columns the server expects.
    pub fn columns(&self) -> usize {
        self.formats.n_columns
    }

    /// Whether the server expects the binary format.
    pub fn is_binary(&self) -> bool {
        self.formats.is_binary
    }

    /// Bytes sent since the statement, including it.
    pub fn bytes_sent(&self) -> u64 {
        self.session.bytes_sent().saturating_sub(self.sent_before)
    }

    /// How long sending has waited so far for the server to take bytes.
    pub fn waited(&self) -> Duration {
        self.session.waited_to_send().saturating_sub(self.waited_before)
    }

    /// Where the caller appends rows, of any size. [`send`](Self::send) cuts them into messages and sends
    /// them.
    ///
    /// The caller must not change what is in it already, such as the place of a header; it may remove what it
    /// appended. The buffer has the size of a message when its length is
    /// [`MESSAGE_BYTES`](Self::MESSAGE_BYTES).
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.message.0
    }

    /// Whether [`buffer`](Self::buffer) holds enough to be sent.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.message.0.len() >= Self::MESSAGE_BYTES
    }

    /// Sends what is in [`buffer`](Self::buffer), which is empty then. A row may span messages.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] as soon as the server has reported an error. It then loads nothing, and the
    /// session can be used again.
    pub fn send(&mut self) -> Result<(), Error> {
        self.check_open()?;
        let result = send_messages(self.session, &mut self.message.0);
        self.is_over = result.is_err();
        self.clear();
        result
    }

    /// Sends rows from another buffer, after what is in [`buffer`](Self::buffer), without copying them. The
    /// first [`PLACE_BYTES`](Self::PLACE_BYTES) of `rows` are no rows, but the place of a header. Afterwards
    /// `rows` holds only this place.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn send_rows(&mut self, rows: &mut Vec<u8>) -> Result<(), Error> {
        self.send()?;
        let result = send_messages(self.session, rows);
        rows.truncate(HEADER_BYTES);
        self.is_over = result.is_err();
        result
    }

    /// Appends `bytes` to the buffer, and sends it whenever it is full.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.check_open()?;
        while !bytes.is_empty() {
            let n_room = Self::MESSAGE_BYTES.saturating_sub(self.message.0.len()).max(1);
            let (fitting, rest) = bytes.split_at(n_room.min(bytes.len()));
            self.message.0.extend_from_slice(fitting);
            bytes = rest;
            if self.is_full() {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Sends what is left and ends the COPY. Returns the number of rows that the server loaded; the caller
    /// compares it with the rows that it sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the server refuses what it got.
    pub fn finish(self) -> Result<u64, Error> {
        self.finish_and(None)
    }

    /// As [`finish`](Self::finish). In the same round trip, the server answers a question once the COPY is
    /// over.
    ///
    /// # Errors
    ///
    /// As for [`finish`](Self::finish). [`ErrorKind::Config`] for a question that cannot be sent: then
    /// nothing is loaded.
    pub fn finish_and(mut self, question: Option<AskedBehind<'_>>) -> Result<u64, Error> {
        self.check_open()?;
        // Whatever is wrong with it is found while the COPY can be broken off.
        self.session.outgoing.clear();
        let behind = question.map(|question| self.session.question_behind(question)).transpose()?;
        let result = self.finish_unchecked(behind);
        self.is_over = true;
        result
    }

    /// Ends the COPY without loading: the server loads nothing, and the session can be used again. `reason`
    /// goes into the server's log, so it must hold no data of the table.
    ///
    /// # Errors
    ///
    /// The server does not confirm the end within ten seconds, or sends something else. The session cannot be
    /// used any more then, and the server loads nothing once the session is closed.
    pub fn fail(mut self, reason: &str) -> Result<(), Error> {
        self.check_open()?;
        self.is_over = true;
        self.break_off(reason)
    }

    /// With the question in the outgoing messages, if there is one.
    fn finish_unchecked(&mut self, behind: Option<Behind>) -> Result<u64, Error> {
        send_messages(self.session, &mut self.message.0)?;
        look(self.session)?;
        let end = [&DONE, self.session.outgoing.bytes()].concat();
        self.session.behind = behind;
        self.session.send_bytes(&end, PHASE)?;
        let message = self.session.receive_or_fail(PHASE)?;
        if message.tag != b'C' {
            return Err(self.session.unexpected(PHASE, message.tag));
        }
        let rows = match backend::command_complete(&message.body) {
            Ok(tag) => backend::copy_rows(tag),
            Err(cause) => return Err(self.session.malformed(PHASE, b'C', cause)),
        };
        let Some(rows) = rows else {
            return Err(self.session.violation(PHASE, "the COPY was completed without a number of rows"));
        };
        self.session.expect_ready(PHASE)?;
        if self.session.transaction_status() != self.began_in {
            return Err(self
                .session
                .violation(PHASE, "the transaction is in another state than before the COPY"));
        }
        Ok(rows)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_over {
            let message = format!("{} ({PHASE}): the COPY has failed before", self.session.endpoint);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        Ok(())
    }

    /// An empty message of the usual size.
    fn clear(&mut self) {
        let message = &mut self.message.0;
        message.clear();
        if message.capacity() > KEPT_BYTES_MAX {
            *message = Vec::new();
        }
        if message.capacity() < Self::MESSAGE_BYTES {
            // The row that fills the message goes beyond its size.
            message.reserve_exact(Self::MESSAGE_BYTES + Self::MESSAGE_BYTES / 8);
        }
        message.extend_from_slice(&[0; HEADER_BYTES]);
    }

    /// Sends CopyFail and receives the answer.
    fn break_off(&mut self, reason: &str) -> Result<(), Error> {
        let deadline = self.session.deadline.replace(Instant::now() + DRAIN_TIME);
        let result = self.break_off_unchecked(reason);
        if result.is_err() {
            self.session.abandon("a COPY could not be broken off");
        }
        self.session.deadline = deadline;
        result
    }

    fn break_off_unchecked(&mut self, reason: &str) -> Result<(), Error> {
        self.session.outgoing.clear();
        let reason: String = reason.chars().filter(|char| *char != '\0').take(REASON_CHARS_MAX).collect();
        self.session.outgoing.copy_fail(&reason)?;
        self.session.send(PHASE)?;
        let message = self.session.receive(PHASE)?;
        if message.tag != b'E' {
            return Err(self.session.unexpected(PHASE, message.tag));
        }
        // 57014 is what we asked for; any other report has the same effect.
        let error = self.session.fail_with_report(PHASE, &message.body);
        if self.session.is_broken() { Err(error) } else { Ok(()) }
    }
}

/// Sends what follows the place of the header, in one message or, if it is too large, in several. The header
/// of the next message overwrites bytes that are already sent.
fn send_messages(session: &mut Session, mut rest: &mut [u8]) -> Result<(), Error> {
    if rest.len() < HEADER_BYTES {
        let message =
            format!("{} ({PHASE}): there is no place for a header in front of the rows", session.endpoint);
        return Err(Error::new(ErrorKind::Config, message));
    }
    while rest.len() > HEADER_BYTES {
        let end_bytes = rest.len().min(HEADER_BYTES + MESSAGE_BYTES_MAX);
        if let (Some(place), Some(header)) =
            (rest.first_chunk_mut(), frame::sent_header(b'd', end_bytes - HEADER_BYTES))
        {
            *place = header;
        }
        look(session)?;
        session.send_bytes(rest.get(..end_bytes).unwrap_or_default(), PHASE)?;
        // Data was sent, so notices beside it do not count as an endless flood.
        session.talk_bytes = 0;
        rest = rest.get_mut(end_bytes - HEADER_BYTES..).unwrap_or_default();
    }
    Ok(())
}

/// An error or any other message from the server during a COPY ends it, and so do the deadline and an
/// interrupter. Notices, parameters and notifications do not.
fn look(session: &mut Session) -> Result<(), Error> {
    session.check_time(PHASE)?;
    if session.poll_for_answer(PHASE)? {
        let message = session.receive_or_fail(PHASE)?;
        return Err(session.unexpected(PHASE, message.tag));
    }
    Ok(())
}

impl Drop for CopyIn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            // Nothing is loaded, whatever the result. A session in doubt reports it itself.
            let _ = self.break_off("the sender broke the COPY off");
        }
    }
}
