//! From a [`Config`] to a [`Session`] that is logged in.
//!
//! ```text
//!  address ─▶ TCP or Unix socket ─▶ SSLRequest ─▶ one byte: S ─▶ TLS handshake ─┐
//!                    │                             │                            ├─▶ startup ─▶ auth.rs
//!                    └── disable, Unix socket      └ N (allow, prefer) ─────────┘
//!
//!  allow    plaintext; if the server refuses, all over again with TLS
//!  prefer   TLS; on N go on in plaintext; if the handshake fails, all over again in plaintext
//!  require… TLS or an error
//! ```
//!
//! One deadline covers all of it except the name lookup, which the operating system limits. After
//! the request for TLS exactly one byte is read: whatever a man in the middle appends is fed to the
//! handshake, which fails on it (CVE-2021-23222), and an error in place of the byte is not from
//! somebody we know yet, so its text is not shown (CVE-2024-10977).
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection};

use crate::cancel::Interrupter;
use crate::config::{Config, SslMode};
use crate::error::{Error, ErrorKind};
use crate::session::{Session, is_not_yet};
use crate::socket::Socket;
use crate::tls;
use crate::wire::{TICK, Wire};

const TLS_PHASE: &str = "TLS handshake";
const STARTUP_PHASE: &str = "startup";

impl Session {
    /// Connects and logs in.
    ///
    /// All addresses of the host are tried in turn; the first one that accepts a connection is the
    /// one that counts.
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`] but `Interrupted`; `Server` if the server refused the login.
    pub fn connect(config: &Config) -> Result<Session, Error> {
        Self::connect_interruptible(config, &Interrupter::default())
    }

    /// As [`connect`](Self::connect), and `interrupter`, which is then the session's own, stops it: as soon as
    /// the operating system has looked up the name and opened the connection.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect), and [`ErrorKind::Interrupted`].
    pub fn connect_interruptible(config: &Config, interrupter: &Interrupter) -> Result<Session, Error> {
        config.check()?;
        let deadline = config.connect_timeout().and_then(|time| Instant::now().checked_add(time));
        let config = &config.clone().with_pinned(config.pinned(), config.resolved_password());
        let sslmode = config.effective_sslmode();
        if config.is_unix_socket() || sslmode == SslMode::Disable {
            return attempt(config, None, deadline, interrupter);
        }
        let tls = tls::client_config(config, sslmode)?;
        let with_tls = |is_required| attempt(config, Some((&tls, is_required)), deadline, interrupter);
        match sslmode {
            SslMode::Allow => match attempt(config, None, deadline, interrupter) {
                Err(error) if error.kind() == ErrorKind::Server => with_tls(true),
                result => result,
            },
            SslMode::Prefer => match with_tls(false) {
                Err(error) if error.kind() == ErrorKind::Tls => attempt(config, None, deadline, interrupter),
                result => result,
            },
            _ => with_tls(true),
        }
    }
}

fn attempt(
    config: &Config,
    tls: Option<(&Arc<ClientConfig>, bool)>,
    deadline: Option<Instant>,
    interrupter: &Interrupter,
) -> Result<Session, Error> {
    let (wire, pinned) = open(config, deadline)?;
    let password = config.resolved_password();
    let mut session = Session::new(wire, config.clone().with_pinned(pinned, password), deadline);
    session.interrupted = interrupter.flag();
    if let Some((tls, is_required)) = tls {
        encrypt(&mut session, tls, is_required)?;
    }
    session.outgoing.startup(&session.config)?;
    session.send(STARTUP_PHASE)?;
    session.authenticate()?;
    session.deadline = None;
    Ok(session)
}

/// Opens the connection; and the address that answered, if it is one of several possible ones.
pub(crate) fn open(config: &Config, deadline: Option<Instant>) -> Result<(Wire, Option<SocketAddr>), Error> {
    let endpoint = config.endpoint();
    let refused =
        |cause: &io::Error| Error::new(ErrorKind::Connect, format!("cannot connect to {endpoint}: {cause}"));
    if config.is_unix_socket() {
        let stream = UnixStream::connect(config.socket_path()).map_err(|cause| refused(&cause))?;
        return Ok((Wire::new(Socket::Unix(stream)).map_err(|cause| refused(&cause))?, None));
    }
    let addresses: Vec<SocketAddr> = match config.pinned() {
        Some(address) => vec![address],
        None => match (config.host(), config.port()).to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(cause) => return Err(refused(&cause)),
        },
    };
    let mut causes = Vec::new();
    for address in &addresses {
        let opened = match time_left(deadline) {
            Some(Duration::ZERO) => {
                let message = format!("cannot connect to {endpoint}: timed out");
                return Err(Error::new(ErrorKind::Timeout, message));
            }
            Some(left) => TcpStream::connect_timeout(address, left),
            None => TcpStream::connect(address),
        };
        match opened.and_then(|stream| prepare(stream, config.keepalives())) {
            Ok(wire) => return Ok((wire, Some(*address))),
            Err(cause) if addresses.len() == 1 => {
                if cause.kind() == io::ErrorKind::TimedOut && time_left(deadline) == Some(Duration::ZERO) {
                    let message = format!("cannot connect to {endpoint}: timed out");
                    return Err(Error::new(ErrorKind::Timeout, message));
                }
                return Err(refused(&cause));
            }
            Err(cause) => causes.push(format!("{address}: {cause}")),
        }
    }
    if causes.is_empty() {
        causes.push("the name has no address".to_owned());
    }
    Err(Error::new(ErrorKind::Connect, format!("cannot connect to {endpoint}: {}", causes.join("; "))))
}

fn prepare(stream: TcpStream, keepalives: bool) -> io::Result<Wire> {
    stream.set_nodelay(true)?;
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::KeepAlive, &keepalives)?;
    Wire::new(Socket::Tcp(stream))
}

fn time_left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// Asks for TLS and sets it up. Without `is_required`, a server that has none is taken as it is.
///
/// [`ErrorKind::Tls`] always means that TLS itself did not come about.
pub(crate) fn encrypt(
    session: &mut Session,
    tls: &Arc<ClientConfig>,
    is_required: bool,
) -> Result<(), Error> {
    session.outgoing.ssl_request()?;
    session.send(TLS_PHASE)?;
    match read_answer(session)? {
        b'S' => {}
        b'N' if is_required => {
            let what = format!(
                "the server does not offer TLS, and sslmode={} does not go on without",
                session.config.sslmode()
            );
            return Err(session.fail(ErrorKind::Tls, TLS_PHASE, &what));
        }
        b'N' => return Ok(()),
        b'E' => {
            let what = "the server answered the request for TLS with an error; its text cannot be trusted and was \
                        not read";
            return Err(session.violation(TLS_PHASE, what));
        }
        _ => return Err(session.violation(TLS_PHASE, "the answer to the request for TLS is neither S nor N")),
    }
    let name = tls::server_name(&session.config)?;
    match ClientConnection::new(Arc::clone(tls), name) {
        Ok(connection) => session.wire.start_tls(connection),
        Err(cause) => return Err(session.fail(ErrorKind::Tls, TLS_PHASE, &cause.to_string())),
    }
    session.tls = Some(Arc::clone(tls));
    loop {
        session.check_time(TLS_PHASE)?;
        match session.wire.handshake_step() {
            Ok(true) => return Ok(()),
            Ok(false) if session.wire.is_flushed() => {}
            Ok(false) => {
                session.wire.wait(true, TICK).map_err(|cause| session.io_error(&cause, TLS_PHASE))?;
            }
            Err(cause) => return Err(session.fail(ErrorKind::Tls, TLS_PHASE, &tls::explain(&cause))),
        }
    }
}

fn read_answer(session: &mut Session) -> Result<u8, Error> {
    loop {
        session.check_time(TLS_PHASE)?;
        match session.wire.read_single_byte() {
            Ok(Some(byte)) => return Ok(byte),
            Ok(None) => {
                let what = "the server closed the connection";
                return Err(session.fail(ErrorKind::Closed, TLS_PHASE, what));
            }
            Err(cause) if is_not_yet(&cause) => {}
            Err(cause) => return Err(session.io_error(&cause, TLS_PHASE)),
        }
    }
}
