//! `COPY … FROM STDIN`: rows on their way out.
//!
//! ```text
//!  Q ──▶ G ──▶ write: d d d … ──▶ finish: c ──▶ C "COPY n" ──▶ Z
//!                 │  E from the server at any time: nothing more is sent, drained to Z
//!                 └─ dropped: f ──▶ E ──▶ Z, nothing was loaded
//! ```
//!
//! Before each message the socket is looked at, and while it takes nothing it is read: a server that
//! reports an error, or talks a lot, is heard and cannot block both sides.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY>.

use std::time::Instant;

use crate::backend;
use crate::error::{Error, ErrorKind};
use crate::session::{DRAIN_TIME, Session};

const PHASE: &str = "COPY FROM STDIN";

/// Small writes are gathered up to this size.
const GATHERED_BYTES: usize = 64 * 1024;
/// The largest single message.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// A COPY that takes data. Borrows its session until [`finish`](Self::finish).
///
/// Dropping it without `finish` breaks the COPY off: the server loads nothing.
#[derive(Debug)]
pub struct CopyIn<'a> {
    session: &'a mut Session,
    gathered: Vec<u8>,
    is_over: bool,
}

impl Session {
    /// Starts a `COPY … FROM STDIN`, in whatever format the statement says.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the server refuses; the session can be used afterwards.
    /// [`ErrorKind::Config`] if `sql` is something else than a COPY FROM STDIN.
    pub fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>, Error> {
        self.begin()?;
        self.outgoing.query(sql)?;
        self.send(PHASE)?;
        let message = self.receive_or_fail(PHASE)?;
        let not_a_copy = format!("{} ({PHASE}): the statement is no COPY FROM STDIN", self.endpoint);
        match message.tag {
            b'G' => match backend::copy_response(&message.body) {
                Ok(_) => Ok(CopyIn { session: self, gathered: Vec::new(), is_over: false }),
                Err(cause) => Err(self.malformed(PHASE, b'G', cause)),
            },
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
    /// Sends `bytes`, or keeps them until there are 64 KiB. Where they are cut means nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] as soon as the server has reported an error; nothing is loaded then, and
    /// the session can be used again.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check_open()?;
        if self.gathered.len().saturating_add(bytes.len()) < GATHERED_BYTES {
            self.gathered.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        for chunk in bytes.chunks(MESSAGE_BYTES_MAX) {
            self.send_data(chunk)?;
        }
        Ok(())
    }

    /// Ends the COPY; the number of rows that the server loaded.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the server refuses what it got.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.check_open()?;
        self.flush()?;
        self.is_over = true;
        self.session.outgoing.clear();
        self.session.outgoing.copy_done()?;
        self.session.send(PHASE)?;
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
        Ok(rows)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_over {
            let message = format!("{} ({PHASE}): the COPY has failed before", self.session.endpoint);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        let result = self.send_data(&gathered);
        self.gathered = gathered;
        self.gathered.clear();
        result
    }

    fn send_data(&mut self, payload: &[u8]) -> Result<(), Error> {
        let result = self.send_data_unchecked(payload);
        if result.is_err() {
            self.is_over = true;
        }
        result
    }

    fn send_data_unchecked(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.session.outgoing.clear();
        self.session.outgoing.copy_data(payload)?;
        if self.session.poll_for_error(PHASE)? {
            return Err(match self.session.receive_or_fail(PHASE) {
                Err(error) => error,
                Ok(message) => self.session.unexpected(PHASE, message.tag),
            });
        }
        self.session.send(PHASE)
    }

    /// CopyFail, and what comes of it.
    fn break_off(&mut self) -> Result<(), Error> {
        self.session.outgoing.clear();
        self.session.outgoing.copy_fail("the sender broke the COPY off")?;
        self.session.send(PHASE)?;
        let message = self.session.receive(PHASE)?;
        if message.tag != b'E' {
            return Err(self.session.unexpected(PHASE, message.tag));
        }
        // 57014 is what we asked for; any other report is as good as it.
        let _ = self.session.fail_with_report(PHASE, &message.body);
        Ok(())
    }
}

impl Drop for CopyIn<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let deadline = self.session.deadline.replace(Instant::now() + DRAIN_TIME);
        if self.break_off().is_err() {
            self.session.abandon("a COPY could not be broken off");
        }
        self.session.deadline = deadline;
    }
}
