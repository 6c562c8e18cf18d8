//! The expected answers to a pipeline, without the socket.

use crate::backend;
use crate::error::Error;
use crate::frame::Tag;
use crate::session::Session;

/// The answers to one statement that is executed many times, as seen by the client.
///
/// ```text
///  Parse ──1──▶ Bind ──2──▶ Execute ──C, I──▶ Bind, until as many are done as were sent
///
///  ErrorResponse at any place: refused
/// ```
///
/// `NoticeResponse`, `ParameterStatus` and `NotificationResponse` may come at any time and change nothing;
/// the session handles them. Any other message is a violation, described in words.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// ParseComplete is to come.
    is_parsing: bool,
    was_parsed: bool,
    /// BindComplete has come, and the outcome of the execution has not.
    is_bound: bool,
    n_sent: u64,
    n_done: u64,
    /// Counted by the executions.
    rows: u64,
    n_synced: u64,
    rows_synced: u64,
    is_refused: bool,
}

impl Answers {
    /// `with_parse`: the server parses the statement first.
    pub(super) fn expect_execution(&mut self, with_parse: bool) {
        self.is_parsing |= with_parse;
        self.n_sent += 1;
    }

    /// All executions were answered.
    pub(super) fn is_complete(&self) -> bool {
        self.n_done == self.n_sent && !self.is_bound
    }

    /// There was no execution since [`synced`](Self::synced).
    pub(super) fn are_synced(&self) -> bool {
        self.n_sent == self.n_synced
    }

    pub(super) fn was_parsed(&self) -> bool {
        self.was_parsed
    }

    /// An ErrorResponse is at the start of the session's buffer.
    pub(super) fn are_refused(&self) -> bool {
        self.is_refused
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Everything was executed and, without a transaction, committed. Returns the rows since the last call.
    pub(super) fn synced(&mut self) -> u64 {
        let rows = self.rows.saturating_sub(self.rows_synced);
        self.rows_synced = self.rows;
        self.n_synced = self.n_done;
        rows
    }

    /// Which execution an error is about, from 0; `None` if it is about the statement, or about all of them.
    pub(super) fn failed_execution(&self) -> Option<u64> {
        (!self.is_parsing && self.n_done < self.n_sent).then_some(self.n_done)
    }

    /// Takes the answers in the session's buffer, up to an ErrorResponse, which stays there.
    pub(super) fn take(&mut self, session: &mut Session, phase: &'static str) -> Result<(), Error> {
        while let Some(header) = session.header(phase)? {
            if header.tag == b'E' {
                self.is_refused = true;
                break;
            }
            let Some(message) = session.take_message(phase)? else { break };
            self.step(message.tag, &message.body).map_err(|what| session.violation(phase, &what))?;
        }
        Ok(())
    }

    pub(super) fn step(&mut self, tag: u8, body: &[u8]) -> Result<(), String> {
        let malformed = || format!("message {} is malformed", Tag(tag));
        match tag {
            b'1' if self.is_parsing => {
                self.is_parsing = false;
                self.was_parsed = true;
            }
            b'2' if !self.is_parsing && !self.is_bound && self.n_done < self.n_sent => self.is_bound = true,
            b'C' if self.is_bound => {
                let tag = backend::command_complete(body).map_err(|_| malformed())?;
                let rows =
                    backend::counted_rows(tag).ok_or("a statement that counts rows does not say how many")?;
                self.rows = self.rows.saturating_add(rows);
                self.executed();
            }
            b'I' if self.is_bound => self.executed(),
            _ => return Err(format!("unexpected message {}", Tag(tag))),
        }
        if tag == b'C' || body.is_empty() { Ok(()) } else { Err(malformed()) }
    }

    fn executed(&mut self) {
        self.is_bound = false;
        self.n_done += 1;
    }
}
