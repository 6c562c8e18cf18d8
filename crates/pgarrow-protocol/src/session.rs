//! One connection to one server process.
//!
//! ```text
//!  execute  query  describe  copy_out  copy_in        query.rs describe.rs copy_out.rs copy_in.rs
//!      │      │       │         │         │
//!      ▼      ▼       ▼         ▼         ▼
//!    send ───────────────────────────▶ receive        whole messages; N, S and A are kept aside here
//!      │                                  │
//!      └────────────── Wire ──────────────┘           bytes, TLS, receive buffer (wire.rs)
//! ```
//!
//! A session is used from one thread and blocks it. Every wait ends at least ten times a second to
//! look at the interrupt flag and the deadline. A session that lost its place in the protocol says
//! so to every later call instead of guessing.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html>.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::backend::{self, BackendKey};
use crate::cancel::{Canceller, Interrupter, Target};
use crate::config::Config;
use crate::cursor::BodyError;
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Tag};
use crate::frontend::Outgoing;
use crate::server_error::ServerError;
use crate::text::escape_control;
use crate::wire::{Fill, TICK, Wire, is_nothing};

/// Notices that are kept for [`Session::take_notices`]; older ones are dropped.
const NOTICES_MAX: usize = 64;
/// Distinct parameters that are remembered. PostgreSQL 18 reports 15.
const PARAMETERS_MAX: usize = 256;
/// How long a server may take from its error to being ready again.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(10);

/// How text is sent in both directions.
const UTF8: &str = "UTF8";
/// How text is sent that nobody has checked.
const RAW: &str = "SQL_ASCII";

/// The phase in which nothing was asked.
const IDLE: &str = "idle";

/// A connection to PostgreSQL, logged in.
///
/// Blocks the calling thread; [`interrupter`](Self::interrupter) and [`canceller`](Self::canceller)
/// give handles to stop it from another one. Dropping it closes the socket, [`close`](Self::close)
/// tells the server first.
#[derive(Debug)]
pub struct Session {
    pub(crate) wire: Wire,
    pub(crate) outgoing: Outgoing,
    pub(crate) config: Config,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) endpoint: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) backend_key: Option<BackendKey>,
    pub(crate) interrupted: Arc<AtomicBool>,
    parameters: BTreeMap<String, String>,
    transaction_status: TransactionStatus,
    notices: VecDeque<ServerError>,
    notices_dropped: u64,
    /// What the server said before it closed the connection, if it did.
    last_words: Option<ServerError>,
    unusable: Option<String>,
    is_started: bool,
    /// The `client_encoding` that the server is to have.
    encoding: &'static str,
}

/// Whether the session is in a transaction, as of the last ReadyForQuery.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TransactionStatus {
    /// Not in a transaction block.
    Idle,
    /// In a transaction block.
    InTransaction,
    /// In a transaction block that failed: only ROLLBACK helps.
    Failed,
}

/// A whole message, outside the hot path: its body is a copy.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

impl Session {
    pub(crate) fn new(wire: Wire, config: Config, deadline: Option<Instant>) -> Self {
        Self {
            wire,
            outgoing: Outgoing::new(),
            tls: None,
            endpoint: config.endpoint(),
            warnings: config.warnings(),
            config,
            deadline,
            backend_key: None,
            interrupted: Arc::new(AtomicBool::new(false)),
            parameters: BTreeMap::new(),
            transaction_status: TransactionStatus::Idle,
            notices: VecDeque::new(),
            notices_dropped: 0,
            last_words: None,
            unusable: None,
            is_started: false,
            encoding: UTF8,
        }
    }

    /// What the session was made with, pinned to the address that answered: another session made
    /// with it goes to the same server even if the name stands for several.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// `localhost:5432`, or the path of the socket. For messages.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the server last reported about `name`, such as `TimeZone` or `server_version`.
    ///
    /// Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The server's version as `server_version_num` has it: 150018 for 15.18, 90624 for 9.6.24,
    /// 190000 for 19beta1; 0 if the server reported none.
    pub fn server_version_num(&self) -> u32 {
        self.parameter("server_version").map_or(0, version_num)
    }

    /// The process that serves this session.
    pub fn backend_pid(&self) -> Option<i32> {
        self.backend_key.map(|key| key.pid)
    }

    /// Whether the session is in a transaction.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.transaction_status
    }

    /// The notices since the last call, the last 64 of them.
    pub fn take_notices(&mut self) -> Vec<ServerError> {
        self.notices_dropped = 0;
        self.notices.drain(..).collect()
    }

    /// How many notices were dropped since the last [`take_notices`](Self::take_notices), because
    /// there were more than 64.
    pub fn notices_dropped(&self) -> u64 {
        self.notices_dropped
    }

    /// A handle that asks the server to stop what it is doing for this session.
    pub fn canceller(&self) -> Canceller {
        Canceller::new(Target {
            config: self.config.clone(),
            endpoint: self.endpoint.clone(),
            tls: self.tls.clone().filter(|_| self.wire.is_encrypted()),
            backend_key: self.backend_key,
        })
    }

    /// A handle that makes a call that waits for the server return with
    /// [`ErrorKind::Interrupted`].
    pub fn interrupter(&self) -> Interrupter {
        Interrupter::new(Arc::clone(&self.interrupted))
    }

    /// Bytes received so far, after decryption.
    pub fn bytes_received(&self) -> u64 {
        self.wire.bytes_received()
    }

    /// True if the connection uses TLS.
    pub fn is_encrypted(&self) -> bool {
        self.wire.is_encrypted()
    }

    /// What is weak about this connection, one sentence each, for a person to read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// From now on the server sends text as it has it, not checked and not converted. For databases of encoding
    /// SQL_ASCII, whose text may be in any encoding, or in several; of any other it would be in that one.
    ///
    /// In a transaction, for that transaction.
    ///
    /// # Errors
    ///
    /// As for [`execute`](Self::execute).
    pub fn receive_raw_text(&mut self) -> Result<(), Error> {
        if self.encoding != RAW {
            self.execute("SET client_encoding = 'SQL_ASCII'")?;
            self.encoding = RAW;
        }
        Ok(())
    }

    /// The encoding that the server is to have for us; a server that reports none at all is believed.
    pub(crate) fn check_encoding(&mut self, phase: &'static str) -> Result<(), Error> {
        match self.parameter("client_encoding") {
            None => Ok(()),
            Some(encoding) if encoding == self.encoding => Ok(()),
            Some(other) => {
                let other = escape_control(other);
                let what = format!("client_encoding is {other} and no longer {}", self.encoding);
                Err(self.fail(ErrorKind::Protocol, phase, &what))
            }
        }
    }

    /// Tells the server that the session is over and closes the connection.
    pub fn close(mut self) {
        self.outgoing.clear();
        if self.unusable.is_none() && self.outgoing.terminate().is_ok() {
            // One attempt: a server that does not read notices the closed socket instead.
            let _ = self.wire.write_now(self.outgoing.bytes());
        }
        self.wire.close();
    }
}

/// What the modules beside this one build on.
impl Session {
    /// Checks that a new statement may be sent.
    ///
    /// A message that came while nobody asked is looked at here: the server announces its shutdown
    /// that way.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        self.outgoing.clear();
        if let Some(reason) = &self.unusable {
            let message = format!("session to {} cannot be used any more: {reason}", self.endpoint);
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        if let Some(message) = self.take_message(IDLE)? {
            return Err(match message.tag {
                b'E' => self.fail_with_report(IDLE, &message.body),
                tag => self.unexpected(IDLE, tag),
            });
        }
        Ok(())
    }

    /// Sends what is in `outgoing`.
    ///
    /// Never waits with its eyes closed: what the server says meanwhile is received, so that two
    /// full sockets cannot block each other. A message that was begun is sent to its end even if the
    /// server has reported an error by then, for it waits for that end.
    pub(crate) fn send(&mut self, phase: &'static str) -> Result<(), Error> {
        let outgoing = std::mem::take(&mut self.outgoing);
        let result = self.send_bytes(outgoing.bytes(), phase);
        self.outgoing = outgoing;
        self.outgoing.clear();
        result
    }

    fn send_bytes(&mut self, mut rest: &[u8], phase: &'static str) -> Result<(), Error> {
        loop {
            match self.wire.write_now(rest) {
                Ok(n_bytes) => rest = rest.get(n_bytes..).unwrap_or_default(),
                Err(cause) => return Err(self.sending_failed(&cause, phase)),
            }
            if rest.is_empty() && self.wire.is_flushed() {
                return Ok(());
            }
            self.check_time(phase)?;
            let ready = self.wire.wait(true, TICK).map_err(|cause| self.io_error(&cause, phase))?;
            if ready.readable && !ready.writable {
                self.error_is_waiting(phase)?;
            }
        }
    }

    /// True if the server has sent an error that is not received yet. Looks without waiting.
    pub(crate) fn poll_for_error(&mut self, phase: &'static str) -> Result<bool, Error> {
        let ready = self.wire.wait(false, Duration::ZERO).map_err(|cause| self.io_error(&cause, phase))?;
        if ready.readable || !self.wire.unread().is_empty() {
            self.error_is_waiting(phase)
        } else {
            Ok(false)
        }
    }

    fn error_is_waiting(&mut self, phase: &'static str) -> Result<bool, Error> {
        let filled = self.wire.fill_now();
        let is_error = loop {
            match self.header(phase)? {
                Some(header) if matches!(header.tag, b'N' | b'S' | b'A') => {
                    if !self.absorb_head(phase)? {
                        break false;
                    }
                }
                Some(header) => break header.tag == b'E',
                None => break false,
            }
        };
        match filled {
            // What the server said before it closed says more than that it closed.
            _ if is_error => Ok(true),
            // A full buffer stays full until the message at its head is received.
            Ok(Fill::Bytes | Fill::Nothing | Fill::Full) => Ok(false),
            Ok(Fill::Eof) => Err(self.closed(phase)),
            Err(cause) => Err(self.io_error(&cause, phase)),
        }
    }

    /// The next message that is not a notice, a parameter or a notification.
    pub(crate) fn receive(&mut self, phase: &'static str) -> Result<Message, Error> {
        loop {
            if let Some(message) = self.take_message(phase)? {
                return Ok(message);
            }
            self.read_more(phase)?;
        }
    }

    /// As [`receive`](Self::receive), with an ErrorResponse turned into an error: the rest of the
    /// answer is waited for, so that the session can be used again.
    pub(crate) fn receive_or_fail(&mut self, phase: &'static str) -> Result<Message, Error> {
        let message = self.receive(phase)?;
        if message.tag == b'E' { Err(self.fail_with_report(phase, &message.body)) } else { Ok(message) }
    }

    /// The next whole message in the buffer, without reading.
    fn take_message(&mut self, phase: &'static str) -> Result<Option<Message>, Error> {
        loop {
            let Some(header) = self.header(phase)? else { return Ok(None) };
            if matches!(header.tag, b'N' | b'S' | b'A') {
                if self.absorb_head(phase)? {
                    continue;
                }
                return Ok(None);
            }
            let Some(body) = self.wire.unread().get(frame::HEADER_BYTES..header.frame_bytes()) else {
                return Ok(None);
            };
            let message = Message { tag: header.tag, body: body.to_vec() };
            self.wire.consume(header.frame_bytes());
            return Ok(Some(message));
        }
    }

    /// The header at the head of the buffer, if five bytes are there.
    pub(crate) fn header(&mut self, phase: &'static str) -> Result<Option<frame::Header>, Error> {
        match frame::header(self.wire.unread()) {
            Ok(header) => Ok(header),
            Err(cause) => Err(self.violation(phase, &cause.to_string())),
        }
    }

    /// Takes the notice, parameter or notification at the head of the buffer, if all of it is there.
    pub(crate) fn absorb_head(&mut self, phase: &'static str) -> Result<bool, Error> {
        let Some(header) = self.header(phase)? else { return Ok(false) };
        let Some(body) = self.wire.unread().get(frame::HEADER_BYTES..header.frame_bytes()) else {
            return Ok(false);
        };
        match header.tag {
            b'N' => {
                let notice = ServerError::decode(body);
                if notice.is_crash_warning() {
                    self.last_words = Some(notice.clone());
                }
                if self.notices.len() == NOTICES_MAX {
                    self.notices.pop_front();
                    self.notices_dropped += 1;
                }
                self.notices.push_back(notice);
            }
            b'S' => match backend::parameter_status(body) {
                Ok((name, value)) => {
                    if self.parameters.len() < PARAMETERS_MAX || self.parameters.contains_key(&name) {
                        self.parameters.insert(name, value);
                    }
                }
                Err(cause) => return Err(self.malformed(phase, b'S', cause)),
            },
            _ => {} // a notification: nothing here listens
        }
        self.wire.consume(header.frame_bytes());
        Ok(true)
    }

    /// Waits until more bytes are there.
    pub(crate) fn read_more(&mut self, phase: &'static str) -> Result<(), Error> {
        loop {
            self.check_time(phase)?;
            match self.wire.fill() {
                Ok(Fill::Bytes) => return Ok(()),
                Ok(Fill::Nothing) => {}
                Ok(Fill::Eof) => return Err(self.closed(phase)),
                Ok(Fill::Full) => {
                    return Err(self.fail(
                        ErrorKind::Io,
                        phase,
                        "no memory for a message of the size the server announced",
                    ));
                }
                Err(cause) => return Err(self.io_error(&cause, phase)),
            }
        }
    }

    /// As [`read_more`](Self::read_more), but straight into `target`, when nothing is buffered. Bytes read.
    pub(crate) fn read_into(&mut self, target: &mut [u8], phase: &'static str) -> Result<usize, Error> {
        loop {
            self.check_time(phase)?;
            match self.wire.read_into(target) {
                Ok(Some(0)) => return Err(self.closed(phase)),
                Ok(Some(n_bytes)) => return Ok(n_bytes),
                Ok(None) => {}
                Err(cause) => return Err(self.io_error(&cause, phase)),
            }
        }
    }

    pub(crate) fn check_time(&mut self, phase: &'static str) -> Result<(), Error> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(self.fail(ErrorKind::Interrupted, phase, "interrupted"));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(self.fail(ErrorKind::Timeout, phase, "timed out"));
        }
        Ok(())
    }

    /// ReadyForQuery, and nothing else, must come now.
    pub(crate) fn expect_ready(&mut self, phase: &'static str) -> Result<(), Error> {
        let message = self.receive_or_fail(phase)?;
        self.ready(phase, &message)
    }

    /// Takes `message` as ReadyForQuery.
    pub(crate) fn ready(&mut self, phase: &'static str, message: &Message) -> Result<(), Error> {
        if message.tag != b'Z' {
            return Err(self.unexpected(phase, message.tag));
        }
        match backend::ready_for_query(&message.body) {
            Ok(status) => {
                self.transaction_status = status;
                self.is_started = true;
                Ok(())
            }
            Err(cause) => Err(self.malformed(phase, b'Z', cause)),
        }
    }

    /// Makes an error of an ErrorResponse and waits, within limits, for the session to be ready again.
    pub(crate) fn fail_with_report(&mut self, phase: &'static str, body: &[u8]) -> Error {
        let report = ServerError::decode(body);
        let error = Error::server(&format!("{} ({phase})", self.endpoint), report.clone());
        if report.is_fatal() || !self.is_started || phase == IDLE {
            self.unusable = Some("the server ended it".to_owned());
            self.last_words = Some(report);
            return error;
        }
        let deadline = self.deadline;
        self.deadline = Some(deadline.unwrap_or_else(|| Instant::now() + DRAIN_TIME));
        // A second error, or anything but ReadyForQuery, makes the session unusable by itself.
        if let Ok(message) = self.receive(phase) {
            let _ = self.ready(phase, &message);
        }
        self.deadline = deadline;
        error
    }

    pub(crate) fn unexpected(&mut self, phase: &'static str, tag: u8) -> Error {
        self.violation(phase, &format!("unexpected message {}", Tag(tag)))
    }

    pub(crate) fn malformed(&mut self, phase: &'static str, tag: u8, cause: BodyError) -> Error {
        self.violation(phase, &format!("message {} is malformed: {cause}", Tag(tag)))
    }

    /// The server broke the protocol.
    pub(crate) fn violation(&mut self, phase: &'static str, what: &str) -> Error {
        self.fail(ErrorKind::Protocol, phase, what)
    }

    /// An error after which the session cannot be used any more.
    pub(crate) fn fail(&mut self, kind: ErrorKind, phase: &'static str, what: &str) -> Error {
        self.unusable.get_or_insert_with(|| format!("{what} ({phase})"));
        Error::new(kind, format!("{} ({phase}): {what}", self.endpoint))
    }

    /// Remembers why later calls cannot work.
    pub(crate) fn abandon(&mut self, reason: &str) {
        self.unusable.get_or_insert_with(|| reason.to_owned());
    }

    fn closed(&mut self, phase: &'static str) -> Error {
        match self.last_words.take() {
            Some(report) if report.is_crash_warning() => {
                let what = "the server closed all connections because one of its processes crashed";
                self.fail(ErrorKind::Closed, phase, what).with_server(report)
            }
            _ => self.fail(ErrorKind::Closed, phase, "the server closed the connection"),
        }
    }

    pub(crate) fn io_error(&mut self, cause: &io::Error, phase: &'static str) -> Error {
        match cause.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                self.closed(phase)
            }
            _ => self.fail(ErrorKind::Io, phase, &cause.to_string()),
        }
    }

    /// A server that closes a connection says why first; a broken write hides that.
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

/// `15.18 (Debian 15.18-0+deb12u1)` → 150018.
fn version_num(text: &str) -> u32 {
    let digits = text.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    let mut parts = digits.split('.').map(|part| part.parse::<u32>().unwrap_or(0).min(9_999));
    let (major, minor, patch) =
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if major == 0 {
        return 0;
    }
    if major >= 10 { major * 10_000 + minor } else { major * 10_000 + minor.min(99) * 100 + patch.min(99) }
}

/// True for errors of the operating system that only mean "not yet".
pub(crate) fn is_not_yet(cause: &io::Error) -> bool {
    is_nothing(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018),
            ("18.1", 180_001),
            ("19beta1", 190_000),
            ("19devel", 190_000),
            ("9.6.24", 90_624),
            ("10", 100_000),
            ("", 0),
            ("PostgreSQL", 0),
            ("99999999999.1", 0),
        ] {
            assert_eq!(version_num(text), number, "{text}");
        }
    }
}
