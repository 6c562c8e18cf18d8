//! From a [`Config`] to a [`Session`] that is logged in.
//!
//! ```text
//!  hosts ─▶ addresses ─▶ TCP or Unix socket ─▶ TLS (encrypt.rs) ─▶ startup ─▶ auth.rs ─▶ the wanted session
//!    ▲          ▲                 │                   │               │                          │
//!    │          └─ refused, timed out ┘               │               │                          │
//!    └───────────── no address left, 57P03, not what target_session_attrs asks for ──────────────┘
//!
//!  allow    plaintext; if the server refuses, begins again with TLS
//!  prefer   TLS; on N goes on in plaintext; if the handshake fails or the server refuses, begins again in
//!           plaintext
//!  require… TLS or an error
//! ```
//!
//! `connect_timeout` covers everything from the lookup of the name to the login, and begins anew for each
//! address, as in libpq. The next host is tried where libpq tries it: not after a wrong password, and not
//! after TLS failed.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS>; `PQconnectPoll`
//! in PostgreSQL's `src/interfaces/libpq/fe-connect.c`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use crate::dial::{Patience, addresses, check_peer, dial};
use crate::error::{Error, ErrorKind};
use crate::interrupt::Interrupter;
use crate::session::Session;
use crate::session::encrypt::encrypt;
use crate::tls::TlsClient;

const STARTUP_PHASE: &str = "startup";

impl Session {
    /// Connects and logs in.
    ///
    /// Tries all hosts, and all addresses of each, in turn, or in random order if `load_balance_hosts` says
    /// so, until one accepts the connection and is what `target_session_attrs` asks for. The session's
    /// [`config`](Self::config) has only that one.
    ///
    /// # Errors
    ///
    /// Any [`ErrorKind`] of a connection, but not `Interrupted`; `Server` if the server refused the login.
    pub fn connect(config: &Config) -> Result<Session, Error> {
        Self::connect_interruptible(config, &Interrupter::default())
    }

    /// Sets the `connect_timeout` of later connections with [`config`](Self::config). If this session got
    /// less time because other attempts came before it, the caller restores the full time here.
    pub fn set_connect_timeout(&mut self, connect_timeout: Option<Duration>) {
        self.config = self.config.clone().with_connect_timeout(connect_timeout);
    }

    /// As [`connect`](Self::connect). `interrupter` stops it within about 100 ms, and is then the session's
    /// own.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect), and [`ErrorKind::Interrupted`].
    pub fn connect_interruptible(config: &Config, interrupter: &Interrupter) -> Result<Session, Error> {
        config.check()?;
        let mut hosts = config.each_host();
        let is_random = config.load_balance_hosts() == LoadBalanceHosts::Random;
        if is_random {
            shuffle(&mut hosts);
        }
        let passes = match config.target_session_attrs() {
            TargetSessionAttrs::PreferStandby => vec![TargetSessionAttrs::Standby, TargetSessionAttrs::Any],
            wanted => vec![wanted],
        };
        let mut failures = Vec::new();
        for wanted in passes {
            for host in &hosts {
                match connect_host(host, wanted, is_random, interrupter) {
                    Ok(session) => return Ok(session),
                    Err(error) if is_about_this_host(&error) => failures.push(error),
                    Err(error) => return Err(error),
                }
            }
        }
        Err(all_of(failures))
    }
}

/// The check of `target_session_attrs` failed: another host may succeed, as in libpq.
fn about_this_host(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Interrupted | ErrorKind::Connect | ErrorKind::Timeout => error,
        _ => Error::new(ErrorKind::Connect, format!("{error}, when asked for target_session_attrs")),
    }
}

/// Whether another host may succeed.
fn is_about_this_host(error: &Error) -> bool {
    // 57P03, cannot_connect_now: the server starts up, shuts down or recovers.
    matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout) || error.sqlstate() == Some("57P03")
}

/// One error that reports all failures.
fn all_of(mut failures: Vec<Error>) -> Error {
    let Some(last) = failures.pop() else {
        return Error::new(ErrorKind::Connect, "there is no host to connect to");
    };
    if failures.is_empty() {
        return last;
    }
    let mut texts: Vec<String> = failures.iter().chain([&last]).map(ToString::to_string).collect();
    texts.dedup();
    let error = Error::new(last.kind(), texts.join("; "));
    match last.server_error() {
        Some(report) => error.with_server(report.clone()),
        None => error,
    }
}

/// `config` has one host.
fn connect_host(
    config: &Config,
    wanted: TargetSessionAttrs,
    is_random: bool,
    interrupter: &Interrupter,
) -> Result<Session, Error> {
    let patience = Patience::new(config.connect_timeout(), interrupter);
    let mut addresses: Vec<Option<SocketAddr>> =
        addresses(config, &patience)?.into_iter().map(Some).collect();
    if is_random {
        shuffle(&mut addresses);
    }
    if addresses.is_empty() {
        addresses.push(None);
    }
    let mut failures = Vec::new();
    for (index, address) in addresses.into_iter().enumerate() {
        let patience = match index {
            0 => patience.clone(),
            _ => Patience::new(config.connect_timeout(), interrupter),
        };
        match connect_address(config, address, &patience) {
            Ok(mut session) => {
                check_attributes(&mut session, wanted).map_err(about_this_host)?;
                session.deadline = None;
                return Ok(session);
            }
            Err(error) if matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout) => {
                failures.push(error)
            }
            Err(error) => return Err(error),
        }
    }
    Err(all_of(failures))
}

fn connect_address(
    config: &Config,
    address: Option<SocketAddr>,
    patience: &Patience,
) -> Result<Session, Error> {
    let sslmode = config.effective_sslmode();
    let in_plaintext = || attempt(config, address, None, patience);
    if config.is_unix_socket() || sslmode == SslMode::Disable {
        return in_plaintext().map_err(|failed| failed.error);
    }
    let with_tls = |is_required| {
        let client = TlsClient::new(config, sslmode)?;
        attempt(config, address, Some((&client, is_required)), patience)
    };
    match sslmode {
        SslMode::Allow => match in_plaintext() {
            Err(failed) if failed.is_refusal => with_tls(true).map_err(|second| first_of(failed, second)),
            result => result,
        },
        SslMode::Prefer => match with_tls(false) {
            Err(failed) if failed.error.kind() == ErrorKind::Tls => in_plaintext(),
            Err(failed) if failed.is_refusal => in_plaintext().map_err(|second| first_of(failed, second)),
            result => result,
        },
        _ => with_tls(true),
    }
    .map_err(|failed| failed.error)
}

/// Why an attempt did not lead to a session.
struct Failed {
    error: Error,
    /// The server refuses this user without TLS, and may accept it with TLS, or the other way round.
    is_refusal: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, is_refusal: false }
    }
}

/// The error to report: the second, if only that one helps the user. A TLS failure does not help, nor does a
/// refusal other than 28P01, invalid_password.
fn first_of(first: Failed, second: Failed) -> Failed {
    let says_nothing = |Failed { error, is_refusal }: &Failed| {
        error.kind() == ErrorKind::Tls || (*is_refusal && error.sqlstate() != Some("28P01"))
    };
    if says_nothing(&first) && !says_nothing(&second) { second } else { first }
}

fn attempt(
    config: &Config,
    address: Option<SocketAddr>,
    tls: Option<(&Arc<TlsClient>, bool)>,
    patience: &Patience,
) -> Result<Session, Failed> {
    let wire = dial(config, address, patience)?;
    check_peer(&wire, config)?;
    let mut session = Session::new(wire, config.clone().with_pinned(address), patience.deadline);
    session.interrupted = patience.interrupter.flag();
    session.committing = patience.interrupter.committing();
    if let Some((tls, is_required)) = tls {
        encrypt(&mut session, tls, is_required)?;
    }
    session.outgoing.startup(&session.config)?;
    session.asks();
    session.send(STARTUP_PHASE)?;
    match session.authenticate() {
        Ok(()) => Ok(session),
        Err(error) => {
            // As in libpq: any error from a server or pooler before the login, except "not ready yet".
            let is_refusal = error.kind() == ErrorKind::Server
                && !session.is_authenticated
                && error.sqlstate() != Some("57P03");
            Err(Failed { error, is_refusal })
        }
    }
}

/// Whether the session is what `target_session_attrs` asks for.
///
/// Since PostgreSQL 14 the server reports it at login. An older server is asked, as libpq does.
fn check_attributes(session: &mut Session, wanted: TargetSessionAttrs) -> Result<(), Error> {
    let (is_wanted, what) = match wanted {
        TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => return Ok(()),
        TargetSessionAttrs::ReadWrite => (!is_read_only(session)?, "its sessions are read-only"),
        TargetSessionAttrs::ReadOnly => (is_read_only(session)?, "its sessions are not read-only"),
        TargetSessionAttrs::Primary => (!is_standby(session)?, "the server is a standby"),
        TargetSessionAttrs::Standby => (is_standby(session)?, "the server is no standby"),
    };
    if is_wanted {
        return Ok(());
    }
    let message = format!("{}: {what}, and target_session_attrs is {wanted}", session.endpoint());
    // Terminate before the drop keeps the server's log clean.
    session.say_goodbye();
    Err(Error::new(ErrorKind::Connect, message))
}

fn is_standby(session: &mut Session) -> Result<bool, Error> {
    match session.parameter("in_hot_standby") {
        Some(value) => Ok(value == "on"),
        None => answer(session, "SELECT pg_catalog.pg_is_in_recovery()", "t"),
    }
}

fn is_read_only(session: &mut Session) -> Result<bool, Error> {
    match (session.parameter("default_transaction_read_only"), session.parameter("in_hot_standby")) {
        (Some(read_only), Some(standby)) => Ok(read_only == "on" || standby == "on"),
        _ => answer(session, "SHOW transaction_read_only", "on"),
    }
}

fn answer(session: &mut Session, sql: &str, yes: &str) -> Result<bool, Error> {
    let rows = session.query(sql, &[])?;
    Ok(rows.first().and_then(|row| row.text(0)) == Some(yes))
}

/// Fisher and Yates' shuffle. The randomness spreads load and protects no secret: the hasher's keys are
/// random enough.
fn shuffle<T>(items: &mut [T]) {
    use std::hash::{BuildHasher as _, RandomState};
    for last in (1..items.len()).rev() {
        let chance = RandomState::new().hash_one(last);
        let other = usize::try_from(chance % (last as u64 + 1)).unwrap_or(0);
        items.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_comes_first_sometimes() {
        let mut firsts = [0; 3];
        for _ in 0..300 {
            let mut items = [0, 1, 2];
            shuffle(&mut items);
            firsts[items[0]] += 1;
        }
        assert!(firsts.iter().all(|&count| count > 30), "{firsts:?}");
    }

    #[test]
    fn the_error_that_helps_is_told() {
        let tls = || Failed::from(Error::new(ErrorKind::Tls, "tls"));
        let closed = || Failed::from(Error::new(ErrorKind::Closed, "closed"));
        assert_eq!(first_of(tls(), closed()).error.kind(), ErrorKind::Closed);
        assert_eq!(first_of(closed(), tls()).error.kind(), ErrorKind::Closed);
    }
}
