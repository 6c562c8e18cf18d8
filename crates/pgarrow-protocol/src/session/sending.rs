//! Outgoing messages. While sending waits, it receives what the server sends, so that two full sockets cannot
//! block each other.
//!
//! ```text
//!  write what there is room for ──▶ all of it is on its way: done
//!        ▲            │ no room
//!        │            ▼
//!        └── wait until there is room, or something to read ──▶ hear it
//! ```

use std::io;
use std::time::{Duration, Instant};

use super::cancel::Canceller;
use super::{Session, TICK};
use crate::error::{Error, ErrorKind};
use crate::wire::Fill;

impl Session {
    /// Bytes sent so far, before encryption: handed to the operating system, or to TLS.
    pub fn bytes_sent(&self) -> u64 {
        self.wire.bytes_sent()
    }

    /// How long sending has waited so far for the server to take bytes.
    pub fn waited_to_send(&self) -> Duration {
        self.waited_to_send
    }

    /// Sends what is in `outgoing`.
    pub(crate) fn send(&mut self, phase: &'static str) -> Result<(), Error> {
        let outgoing = std::mem::take(&mut self.outgoing);
        let result = self.send_bytes(outgoing.bytes(), phase);
        self.outgoing = outgoing;
        self.outgoing.clear();
        result
    }

    /// Sends whole messages. A message that was begun is sent to its end even if the server has already
    /// reported an error: the server waits for the end.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8], phase: &'static str) -> Result<(), Error> {
        self.send_hearing(bytes, phase, &mut |session| session.hear(phase))
    }

    /// As [`send_bytes`](Self::send_bytes); `hear` handles what the server sends while it takes nothing.
    pub(crate) fn send_hearing(
        &mut self,
        mut rest: &[u8],
        phase: &'static str,
        hear: &mut dyn FnMut(&mut Self) -> Result<Fill, Error>,
    ) -> Result<(), Error> {
        let mut silence = None;
        let mut has_more_to_say = true;
        loop {
            let written_before = self.wire.bytes_written();
            let n_bytes = match self.wire.write_now(rest) {
                Ok(n_bytes) => n_bytes,
                Err(cause) => return Err(self.sending_failed(&cause, phase)),
            };
            rest = rest.get(n_bytes..).unwrap_or_default();
            if rest.is_empty() && self.wire.is_flushed() {
                return Ok(());
            }
            if self.wire.bytes_written() > written_before {
                silence = None;
            } else if self.is_silent(&mut silence) {
                return Err(self.give_up_silence("was taken", phase));
            }
            self.check_time(phase)?;
            let began = Instant::now();
            let ready = self.wire.wait_for_room(has_more_to_say, TICK);
            self.waited_to_send = self.waited_to_send.saturating_add(began.elapsed());
            let ready = ready.map_err(|cause| self.io_error(&cause, phase))?;
            if ready.readable && !ready.writable {
                match hear(self)? {
                    Fill::Bytes => silence = None,
                    Fill::Nothing => {}
                    // The buffer takes nothing more. Without this the loop would only check the socket again
                    // and again.
                    Fill::Full => has_more_to_say = false,
                    Fill::Eof => return Err(self.sending_failed(&io::ErrorKind::UnexpectedEof.into(), phase)),
                }
            }
        }
    }

    /// True if the server has sent a message that is not received yet and is no notice, parameter or
    /// notification. Does not wait.
    pub(crate) fn poll_for_answer(&mut self, phase: &'static str) -> Result<bool, Error> {
        let ready = self.wire.wait(false, Duration::ZERO).map_err(|cause| self.io_error(&cause, phase))?;
        if ready.readable || !self.wire.unread().is_empty() {
            self.hear(phase)?;
        }
        Ok(!self.wire.unread().is_empty() && self.header(phase)?.is_some_and(|header| !header.is_talk()))
    }

    /// Receives what is there, without waiting, and takes the notices, parameters and notifications at the
    /// start of the buffer.
    pub(crate) fn hear(&mut self, phase: &'static str) -> Result<Fill, Error> {
        let filled = self.wire.fill_now();
        let has_answer = loop {
            match self.header(phase)? {
                Some(header) if header.is_talk() => {
                    if !self.absorb_head(phase)? {
                        break false;
                    }
                }
                Some(_) => break true,
                None => break false,
            }
        };
        match filled {
            // The server's report before it closed says more than the closing.
            Ok(Fill::Eof) if !has_answer => Err(self.closed(phase)),
            Ok(filled) => Ok(filled),
            Err(_) if has_answer => Ok(Fill::Eof),
            Err(cause) => Err(self.io_error(&cause, phase)),
        }
    }

    /// Nothing moved in the last tick: whether the silence has lasted longer than allowed. `silence` is when
    /// it began, without its first tick.
    pub(super) fn is_silent(&self, silence: &mut Option<Instant>) -> bool {
        self.read_timeout
            .is_some_and(|read_timeout| silence.get_or_insert_with(Instant::now).elapsed() >= read_timeout)
    }

    /// `moved`: the verb for the byte that did not move.
    pub(super) fn give_up_silence(&mut self, moved: &str, phase: &'static str) -> Error {
        let read_timeout = self.read_timeout.unwrap_or_default();
        // Otherwise a healthy server would go on to work in vain. One attempt: the server may be gone.
        let _ = self.canceller().cancel(Canceller::DEADLINE);
        let what = format!("not one byte {moved} for {read_timeout:?} (read timeout)");
        self.fail(ErrorKind::Timeout, phase, &what)
    }

    /// A server that closes a connection first reports why; a failed write hides the report.
    fn sending_failed(&mut self, cause: &io::Error, phase: &'static str) -> Error {
        let deadline = self.deadline;
        self.deadline = Some(Instant::now() + TICK);
        let reason = loop {
            match self.receive(phase) {
                Ok(message) if message.tag == b'E' => break self.fail_with_report(phase, &message.body),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Closed => break error,
                Err(_) => break self.io_error(cause, phase),
            }
        };
        self.deadline = deadline;
        self.abandon("the connection broke while sending");
        reason
    }
}
