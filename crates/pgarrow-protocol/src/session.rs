//! One connection to one server process.
//!
//! ```text
//!  execute  query  describe  copy_out  copy_in  bulk      one file each
//!      │      │       │         │         │
//!      ▼      ▼       ▼         ▼         ▼
//!    send ───────────────────────────▶ receive        whole messages; N, S and A are kept aside here
//!      │ sending.rs                       │ receiving.rs
//!      └────────────── Wire ──────────────┘           bytes, TLS (encrypt.rs), receive buffer (wire.rs)
//!
//!  canceller ──▶ Canceller      a second connection, which asks the server to stop (cancel.rs)
//! ```
//!
//! One thread uses a session, and the session blocks it. Every wait checks the interrupt flag and the
//! deadline at least ten times a second. A session that lost its place in the protocol returns this as an
//! error from every later call.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html>.

mod cancel;
pub(crate) mod encrypt;
mod receiving;
mod sending;
mod version;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::cancel::CancelTarget;
pub use self::cancel::Canceller;
use self::version::version_num;
use crate::answer::{Answer, Behind, Description};
use crate::backend::{BackendKey, TransactionStatus};
use crate::config::{Config, ProtocolVersion};
use crate::cursor::BodyError;
use crate::error::{Error, ErrorKind};
use crate::frame::Tag;
use crate::frontend::Outgoing;
use crate::interrupt::Interrupter;
use crate::server_error::ServerError;
use crate::text::escape_control;
use crate::tls::{self, CertificateUse, TlsClient};
use crate::wire::{TICK, Wire, is_nothing};

/// Notices that are kept for [`Session::take_notices`]; older ones are dropped.
const NOTICES_MAX: usize = 64;
/// Most parameters that are remembered, by distinct name. PostgreSQL 18 reports 15.
const PARAMETERS_MAX: usize = 256;
/// Most bytes of notices, parameters and notifications between two other messages. None of it is kept for
/// long, but a server that sends nothing else never finishes, and is not silent either.
const TALK_BYTES_MAX: u64 = 1 << 30;
/// Bytes of one answer of [`Session::query`] at most, and of all answers of a round trip. Catalogs are small;
/// tables go through COPY.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a server may take from its error to ReadyForQuery.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(10);

/// The encoding of text in both directions.
const UTF8: &str = "UTF8";

/// The phase in which no statement runs.
const IDLE: &str = "idle";

/// A connection to PostgreSQL, logged in.
///
/// Blocks the calling thread; [`interrupter`](Self::interrupter) and [`canceller`](Self::canceller) give
/// handles that stop it from another thread. A drop closes the socket; [`close`](Self::close) sends Terminate
/// first.
#[derive(Debug)]
pub struct Session {
    pub(crate) wire: Wire,
    pub(crate) outgoing: Outgoing,
    pub(crate) config: Config,
    pub(crate) tls: Option<Arc<TlsClient>>,
    /// Whether the client certificate was asked for and sent, once there is TLS.
    pub(crate) certificate_use: Option<Arc<CertificateUse>>,
    /// The protocol version: the requested one until the server has answered.
    pub(crate) protocol: ProtocolVersion,
    pub(crate) endpoint: String,
    pub(crate) warnings: Vec<String>,
    pub(crate) deadline: Option<Instant>,
    /// How long the server may stay silent during a wait.
    read_timeout: Option<Duration>,
    waited_to_send: Duration,
    /// When the login or the current statement began, until the first bytes after that.
    asked_at: Option<Instant>,
    shortest_trip: Option<Duration>,
    pub(crate) backend_key: Option<BackendKey>,
    pub(crate) interrupted: Arc<AtomicBool>,
    /// COMMIT is on its way, or its outcome is not known.
    pub(crate) committing: Arc<AtomicBool>,
    parameters: BTreeMap<String, String>,
    transaction_status: TransactionStatus,
    notices: VecDeque<ServerError>,
    notices_dropped: u64,
    /// The server's last report before it closed the connection, if there was one.
    last_words: Option<ServerError>,
    unusable: Option<String>,
    is_started: bool,
    /// The server has let the user in.
    pub(crate) is_authenticated: bool,
    /// A statement's rows may come now.
    pub(crate) takes_rows: bool,
    /// Bytes of the answers since the last messages were sent.
    pub(crate) answer_bytes: usize,
    /// Bytes of notices, parameters and notifications since the last other message.
    pub(crate) talk_bytes: u64,
    /// The `client_encoding` that the server should have.
    pub(crate) encoding: &'static str,
    /// Answers that are already there: see [`Session::with_answers`].
    pub(crate) answers: Vec<Answer>,
    /// A description that is already there, with its statement.
    pub(crate) description: Option<(String, Description)>,
    /// A question that was sent behind a COPY: its answer is not received yet.
    pub(crate) behind: Option<Behind>,
}

/// A whole message with its own copy of the body: not for the hot path.
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
            certificate_use: None,
            protocol: config.auth().max_protocol,
            endpoint: config.endpoint(),
            warnings: config.warnings(),
            config,
            deadline,
            read_timeout: None,
            waited_to_send: Duration::ZERO,
            asked_at: None,
            shortest_trip: None,
            backend_key: None,
            interrupted: Arc::new(AtomicBool::new(false)),
            committing: Arc::new(AtomicBool::new(false)),
            parameters: BTreeMap::new(),
            transaction_status: TransactionStatus::Idle,
            notices: VecDeque::new(),
            notices_dropped: 0,
            last_words: None,
            unusable: None,
            is_started: false,
            is_authenticated: false,
            takes_rows: false,
            answer_bytes: 0,
            talk_bytes: 0,
            encoding: UTF8,
            answers: Vec::new(),
            description: None,
            behind: None,
        }
    }

    /// The config of this session, pinned to the address that answered: another session made with it goes to
    /// the same server even if the name has several addresses.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// `localhost:5432`, or the path of the socket. For messages.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The server's last report of parameter `name`, such as `TimeZone` or `server_version`.
    ///
    /// Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC>.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The server's version in the form of `server_version_num`: 150018 for 15.18, 90624 for 9.6.24, 190000
    /// for 19beta1; 0 if the server reported none.
    pub fn server_version_num(&self) -> u32 {
        self.parameter("server_version").map_or(0, version_num)
    }

    /// The process that serves this session.
    pub fn backend_pid(&self) -> Option<i32> {
        self.backend_key.as_ref().map(|key| key.pid)
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

    /// A handle that asks the server to cancel this session's statement.
    pub fn canceller(&self) -> Canceller {
        Canceller::new(CancelTarget {
            config: self.config.clone(),
            endpoint: self.endpoint.clone(),
            tls: self.tls.clone().filter(|_| self.wire.is_encrypted()),
            backend_key: self.backend_key.clone(),
        })
    }

    /// A handle that makes a call that waits for the server return with
    /// [`ErrorKind::Interrupted`].
    pub fn interrupter(&self) -> Interrupter {
        Interrupter::new(Arc::clone(&self.interrupted), Arc::clone(&self.committing))
    }

    /// How long a wait may last in which no byte moves: none comes, or the server takes none. Default: no
    /// limit.
    ///
    /// After that time the server is asked to cancel the statement, and the call fails with
    /// [`ErrorKind::Timeout`]. The session cannot be used any more. Time between statements does not count.
    pub fn set_read_timeout(&mut self, read_timeout: Option<Duration>) {
        self.read_timeout = read_timeout;
    }

    /// The last value of [`set_read_timeout`](Self::set_read_timeout).
    pub fn read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    /// Whether the session can be used for a new statement, without asking the server. A server that shuts
    /// down reports it and closes the connection.
    pub fn is_usable(&mut self) -> bool {
        self.transaction_status == TransactionStatus::Idle && self.is_open()
    }

    /// The same within a transaction: whether the server has not ended the session, as far as it has said so.
    pub fn is_open(&mut self) -> bool {
        if self.unusable.is_some() {
            return false;
        }
        // Notices and parameters are kept; an error is the server's last message.
        matches!(self.poll_for_answer(IDLE), Ok(false)) && matches!(self.header(IDLE), Ok(None))
    }

    /// Bytes received so far, after decryption.
    pub fn bytes_received(&self) -> u64 {
        self.wire.bytes_received()
    }

    /// The shortest time from a statement, or the login, to the first bytes of its answer: the line's round
    /// trip, and what the server did meanwhile. `None` before the first answer.
    pub fn shortest_trip(&self) -> Option<Duration> {
        self.shortest_trip
    }

    /// True if the connection uses TLS.
    pub fn is_encrypted(&self) -> bool {
        self.wire.is_encrypted()
    }

    /// Weaknesses of this connection, one sentence each, for people to read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Checks that the server has our encoding. A server that reports none is trusted.
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
        self.say_goodbye();
    }
}

/// What the sibling modules build on.
impl Session {
    /// As [`close`](Self::close), for a session that is still borrowed.
    pub(crate) fn say_goodbye(&mut self) {
        self.outgoing.clear();
        if self.unusable.is_none() && self.outgoing.terminate().is_ok() {
            // One attempt: if the server does not read it, it notices the closed socket.
            let _ = self.wire.write_now(self.outgoing.bytes());
        }
        self.wire.close();
    }

    /// Checks that a new statement may be sent.
    ///
    /// Also checks a message that came between statements: the server announces its shutdown that way.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        self.outgoing.clear();
        self.skip_answer_behind()?;
        self.takes_rows = false;
        self.answer_bytes = 0;
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
        self.asks();
        Ok(())
    }

    /// Something is asked now that the server answers at once.
    pub(crate) fn asks(&mut self) {
        self.asked_at = Some(Instant::now());
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

    /// Whether no statement can be sent any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.unusable.is_some()
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
            _ => match tls::refused_certificate(cause) {
                Some(what) => self.fail(ErrorKind::Auth, phase, &what),
                None => self.fail(ErrorKind::Io, phase, &cause.to_string()),
            },
        }
    }
}

/// True for errors of the operating system that only mean "try later".
pub(crate) fn is_not_yet(cause: &io::Error) -> bool {
    is_nothing(cause)
}
