//! One statement many times, with parameters in binary, and no waiting in between.
//!
//! ```text
//!  P   B E   B E   B E  …  S ──▶ 1   2 C   2 C   2 C  …  Z
//!              │ E from the server: it passes over everything up to S, then Z
//! ```
//!
//! The caller writes values straight into the message that carries them. While the server takes nothing, its
//! answers are received, so that they cannot block both sides.
//!
//! Statement and portal are the unnamed ones, which every pooler lets through: a pooler that changes servers
//! between transactions does not change them before S. Outside a transaction block the statement is parsed
//! again after each S.
//!
//! Source: "Pipelining" and "Extended Query" in <https://www.postgresql.org/docs/current/protocol-flow.html>.

mod answers;

use std::time::{Duration, Instant};

use self::answers::Answers;
use crate::backend::TransactionStatus;
use crate::error::{Error, ErrorKind};
use crate::frame::{self, HEADER_BYTES};
use crate::session::{DRAIN_TIME, Session};
use crate::wire::Fill;

const PHASE: &str = "bulk statement";

/// Whole messages are sent when they have this many bytes.
const SENT_FROM_BYTES: usize = 64 * 1024;
/// A buffer that large parameters made larger is not kept.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The end of Bind, no formats of results, and Execute of the unnamed portal without a limit.
const EXECUTE: [u8; 12] = *b"\0\0E\0\0\0\x09\0\0\0\0\0";
const SYNC: [u8; HEADER_BYTES] = *b"S\0\0\0\x04";
/// Describe of a portal that nobody has. The server refuses it, and so undoes what it has executed since the
/// last Sync. Its log shows the name.
const REFUSED: [u8; 30] = *b"D\0\0\0\x1dPbulk statement was left\0";

/// A statement that is run many times. Borrows its session until [`finish`](Self::finish).
///
/// All executions up to [`sync`](Self::sync) or [`finish`](Self::finish) are one transaction, if none is
/// open. If it is dropped before that in an open transaction, the transaction holds what was executed, and
/// the caller rolls it back. Without an open transaction nothing is committed. The session can be used again.
#[derive(Debug)]
pub struct Bulk<'a> {
    session: &'a mut Session,
    outgoing: Messages,
    parse: Vec<u8>,
    n_parameters: u16,
    /// Bind before its values: header, no names, formats, and the number of parameters.
    bind_head: Vec<u8>,
    answers: Answers,
    began_in: TransactionStatus,
    /// Parse is in front of the first Bind in the buffer.
    has_parse: bool,
    /// Nothing was sent since the last Sync.
    is_synced: bool,
    sent_before: u64,
    waited_before: Duration,
    is_over: bool,
}

/// Whole messages, and the beginning of a Bind.
struct Messages {
    bytes: Vec<u8>,
    /// Where this Bind begins.
    bind: usize,
}

/// Without the bytes, which are values of tables.
impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl Session {
    /// Prepares `sql` to run many times, with `$1`, `$2`, … of these types (OIDs; with 0 the server infers
    /// the type). It has to be one statement that returns no rows. This sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for more than 65,535 parameters or a statement with a zero byte.
    pub fn bulk(&mut self, sql: &str, parameter_types: &[u32]) -> Result<Bulk<'_>, Error> {
        self.bulk_as(sql, parameter_types, &[])
    }

    /// The same with parameters of which some are texts, as psql has them in quotes: those that are true in
    /// `are_texts`, which has one for each, or none if there are no texts.
    ///
    /// # Errors
    ///
    /// As for [`bulk`](Self::bulk).
    pub fn bulk_as(
        &mut self,
        sql: &str,
        parameter_types: &[u32],
        are_texts: &[bool],
    ) -> Result<Bulk<'_>, Error> {
        self.begin()?;
        self.check_encoding(PHASE)?;
        let Ok(n_parameters) = u16::try_from(parameter_types.len()) else {
            return Err(Error::new(ErrorKind::Config, "a statement takes at most 65,535 parameters"));
        };
        self.outgoing.parse_typed(sql, parameter_types)?;
        let parse = self.outgoing.bytes().to_vec();
        self.outgoing.clear();
        let mut bulk = Bulk {
            outgoing: Messages { bytes: Vec::with_capacity(SENT_FROM_BYTES + SENT_FROM_BYTES / 8), bind: 0 },
            parse,
            n_parameters,
            bind_head: bind_head(n_parameters, are_texts),
            answers: Answers::default(),
            began_in: self.transaction_status(),
            has_parse: false,
            is_synced: true,
            sent_before: self.bytes_sent(),
            waited_before: self.waited_to_send(),
            is_over: false,
            session: self,
        };
        bulk.begin();
        Ok(bulk)
    }
}

impl Bulk<'_> {
    /// Where the caller appends the parameters of the next execution: the length of each as `i32` and its
    /// bytes, or a length of -1 for null.
    ///
    /// The caller must not change what is in it already; it may remove what it appended.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing.bytes
    }

    /// Runs the statement with the parameters in [`buffer`](Self::buffer), which then holds none. Does not
    /// wait for the outcome.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] as soon as the server has refused this or an earlier execution;
    /// [`Error::failed_execution`] says which. Then everything since the last [`sync`](Self::sync) is undone,
    /// or the open transaction has failed. The session can be used again. [`ErrorKind::Config`] if the buffer
    /// does not hold as many values as there are parameters, or more than a gigabyte of them; they are
    /// removed from the buffer.
    pub fn execute(&mut self) -> Result<(), Error> {
        self.check_open()?;
        self.end_bind()?;
        self.answers.expect_execution(std::mem::take(&mut self.has_parse));
        if self.outgoing.bytes.len() >= SENT_FROM_BYTES {
            self.send(false)?;
        }
        self.begin_bind();
        Ok(())
    }

    /// Sends what is left and waits until the server has executed all of it. Returns how many rows the
    /// statements have counted since the last call.
    ///
    /// # Errors
    ///
    /// As for [`execute`](Self::execute). [`ErrorKind::Config`] if there are parameters that were not
    /// executed.
    pub fn sync(&mut self) -> Result<u64, Error> {
        self.check_open()?;
        if self.outgoing.bytes.len() != self.outgoing.bind + self.bind_head.len() {
            return Err(self.misuse("there are parameters in the buffer that were not executed"));
        }
        if self.answers.are_synced() {
            return Ok(0);
        }
        let result = self.sync_unchecked();
        self.is_over |= result.is_err();
        result
    }

    /// As [`sync`](Self::sync), and gives the session back. Returns how many rows the statements have counted
    /// in all.
    ///
    /// # Errors
    ///
    /// As for [`sync`](Self::sync).
    pub fn finish(mut self) -> Result<u64, Error> {
        self.sync()?;
        self.is_over = true;
        Ok(self.answers.rows())
    }

    /// Bytes sent since the beginning.
    pub fn bytes_sent(&self) -> u64 {
        self.session.bytes_sent().saturating_sub(self.sent_before)
    }

    /// How long sending has waited so far for the server to take bytes.
    pub fn waited(&self) -> Duration {
        self.session.waited_to_send().saturating_sub(self.waited_before)
    }

    fn sync_unchecked(&mut self) -> Result<u64, Error> {
        self.outgoing.bytes.truncate(self.outgoing.bind);
        self.outgoing.bytes.extend_from_slice(&SYNC);
        self.send(true)?;
        loop {
            let message = self.session.receive(PHASE)?;
            match message.tag {
                b'E' => return Err(self.refused(&message.body)),
                b'Z' if self.answers.is_complete() => {
                    self.session.ready(PHASE, &message)?;
                    break;
                }
                tag => {
                    let step = self.answers.step(tag, &message.body);
                    step.map_err(|what| self.session.violation(PHASE, &what))?;
                }
            }
        }
        if self.session.transaction_status() != self.began_in {
            return Err(self.session.violation(PHASE, "the transaction is in another state than before"));
        }
        self.begin();
        Ok(self.answers.synced())
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.is_over { Err(self.misuse("an execution has failed before")) } else { Ok(()) }
    }

    fn misuse(&self, what: &str) -> Error {
        Error::new(ErrorKind::Config, format!("{} ({PHASE}): {what}", self.session.endpoint))
    }

    /// At the beginning, and after a Sync.
    fn begin(&mut self) {
        let is_kept = self.answers.was_parsed() && self.began_in == TransactionStatus::InTransaction;
        if !is_kept {
            self.outgoing.bytes.extend_from_slice(&self.parse);
            self.has_parse = true;
        }
        self.begin_bind();
    }

    fn begin_bind(&mut self) {
        self.outgoing.bind = self.outgoing.bytes.len();
        self.outgoing.bytes.extend_from_slice(&self.bind_head);
    }

    fn end_bind(&mut self) -> Result<(), Error> {
        let Messages { bytes, bind } = &mut self.outgoing;
        let head_bytes = self.bind_head.len();
        let values_start = *bind + head_bytes;
        let values = bytes.get(values_start..).unwrap_or_default();
        let problem = if holds_values(values, self.n_parameters) {
            // Execute, which follows, is no part of Bind's length.
            match frame::sent_header(b'B', head_bytes - HEADER_BYTES + values.len() + 2) {
                Some(header) => {
                    if let Some(place) = bytes.get_mut(*bind..).and_then(|bind| bind.first_chunk_mut()) {
                        *place = header;
                    }
                    bytes.extend_from_slice(&EXECUTE);
                    return Ok(());
                }
                None => {
                    "the parameters of one execution take more than 1 GiB: have fewer rows in one statement"
                }
            }
        } else {
            "the buffer does not hold one value for each parameter"
        };
        bytes.truncate(values_start);
        Err(self.misuse(problem))
    }

    /// Sends all whole messages, the last one a Sync or not, and takes the answers that have come.
    fn send(&mut self, with_sync: bool) -> Result<(), Error> {
        let result = self.send_unchecked(with_sync);
        let bytes = &mut self.outgoing.bytes;
        bytes.clear();
        if bytes.capacity() > KEPT_BYTES_MAX {
            *bytes = Vec::with_capacity(SENT_FROM_BYTES + SENT_FROM_BYTES / 8);
        }
        self.is_over |= result.is_err();
        result
    }

    fn send_unchecked(&mut self, with_sync: bool) -> Result<(), Error> {
        self.session.check_time(PHASE)?;
        if self.session.poll_for_answer(PHASE)? {
            self.answers.take(self.session, PHASE)?;
        }
        if !self.answers.are_refused() {
            self.is_synced = false;
            let answers = &mut self.answers;
            self.session.send_hearing(&self.outgoing.bytes, PHASE, &mut |session| {
                let filled = session.hear(PHASE)?;
                answers.take(session, PHASE)?;
                // Taking answers made room.
                Ok(if filled == Fill::Full && !answers.are_refused() { Fill::Bytes } else { filled })
            })?;
            self.is_synced = with_sync;
        }
        if self.answers.are_refused() {
            let message = self.session.receive(PHASE)?;
            return Err(self.refused(&message.body));
        }
        Ok(())
    }

    /// The server has refused an execution: sends Sync, unless it was sent, and returns the error.
    fn refused(&mut self, report: &[u8]) -> Error {
        self.is_over = true;
        if !self.is_synced {
            // The server's report says more than an error of this sending would.
            self.session.outgoing.clear();
            let _ = self.session.outgoing.sync().and_then(|()| self.session.send(PHASE));
        }
        self.session.fail_with_report(PHASE, report).with_execution(self.answers.failed_execution())
    }
}

/// Bind before its values, its length not known yet. One format, binary, holds for all parameters.
fn bind_head(n_parameters: u16, are_texts: &[bool]) -> Vec<u8> {
    let mut head = vec![b'B', 0, 0, 0, 0, 0, 0];
    match are_texts.contains(&true) {
        false => head.extend_from_slice(&[0, 1, 0, 1]),
        true => {
            head.extend_from_slice(&n_parameters.to_be_bytes());
            let format = |index| u8::from(are_texts.get(index) != Some(&true));
            (0..usize::from(n_parameters)).for_each(|index| head.extend_from_slice(&[0, format(index)]));
        }
    }
    head.extend_from_slice(&n_parameters.to_be_bytes());
    head
}

/// Whether `bytes` are exactly this number of values with their lengths.
fn holds_values(mut bytes: &[u8], n_values: u16) -> bool {
    for _ in 0..n_values {
        let Some((length, rest)) = bytes.split_first_chunk() else { return false };
        let n_bytes = match i32::from_be_bytes(*length) {
            -1 => 0,
            length => match usize::try_from(length) {
                Ok(n_bytes) => n_bytes,
                Err(_) => return false,
            },
        };
        let Some(rest) = rest.get(n_bytes..) else { return false };
        bytes = rest;
    }
    bytes.is_empty()
}

impl Drop for Bulk<'_> {
    fn drop(&mut self) {
        if self.is_over || self.is_synced {
            return;
        }
        let deadline = self.session.deadline.replace(Instant::now() + DRAIN_TIME);
        let is_alone = self.began_in == TransactionStatus::Idle;
        if is_alone {
            // Sync would commit what was executed.
            self.outgoing.bytes.clear();
            self.outgoing.bytes.extend_from_slice(&REFUSED);
            self.outgoing.bind = REFUSED.len();
        }
        // The caller sees a refusal at ROLLBACK. After any other error the session reports it itself.
        let ended = self.sync_unchecked();
        self.session.deadline = deadline;
        if is_alone && ended.is_ok() {
            self.session.abandon("the server did not refuse what had to undo a bulk statement");
        }
    }
}
