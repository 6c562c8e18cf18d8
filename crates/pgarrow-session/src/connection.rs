//! `Connection`: a session whose transactions the caller begins and ends.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgarrow_protocol::{Config, Row, Session, TransactionStatus};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::must_be_in_transaction;

/// A session of the caller, with a transaction that loads can be part of. All calls block until the server
/// answers.
///
/// Clones share one session. While a load uses it, every other call is refused; the load returns it when it
/// ends or is dropped. Dropping the last clone closes the session, and the server rolls back an open
/// transaction.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    endpoint: String,
    cancel: Cancel,
    state: Mutex<State>,
}

/// Who has the session.
enum State {
    Here(Box<Session>),
    Lent,
    /// The load that had it ended without returning it.
    Lost,
}

impl Connection {
    /// Connects. `conninfo` is a connection string as psql takes it: a URI (`postgres://user@host/db`), or
    /// `key=value` pairs. The `PG*` environment variables and `~/.pgpass` supply what it leaves out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a conninfo that cannot be used; the server cannot be reached, or refuses.
    pub fn connect(conninfo: &str) -> Result<Self> {
        let config = Config::parse(Some(conninfo).filter(|text| !text.trim().is_empty()))?;
        Self::connect_with(&config, Cancel::new())
    }

    /// The same with a parsed configuration. `cancel` stops it from another thread; afterwards it refuses
    /// all calls.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or refuses.
    pub fn connect_with(config: &Config, cancel: Cancel) -> Result<Self> {
        let session = cancel.connect_patiently(config)?;
        let endpoint = session.endpoint().to_owned();
        Ok(Self(Arc::new(Inner { endpoint, cancel, state: Mutex::new(State::Here(Box::new(session))) })))
    }

    /// Begins a transaction with the server's defaults. `execute("BEGIN …")` begins another kind; loads need
    /// READ COMMITTED.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if a transaction is open already; errors of the server.
    pub fn begin(&self) -> Result<()> {
        self.with(|session| {
            if session.transaction_status() != TransactionStatus::Idle {
                let text = "a transaction is open already";
                return Err(Error::new(ErrorKind::Options, text).advice("commit it, or roll it back"));
            }
            session.execute("BEGIN").map_err(Error::without_advice)?;
            must_be_in_transaction(session, "a transaction of several statements")
        })
    }

    /// Runs one statement, or several separated by semicolons, and discards their rows.
    ///
    /// # Errors
    ///
    /// Errors of the server. An open transaction has then failed, and can only be rolled back, as a whole or
    /// to a savepoint. A COPY from or to the client is refused.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.with(|session| session.execute(sql).map_err(Error::without_advice))
    }

    /// Runs one statement and returns its rows: every value as the text that PostgreSQL prints, `None` for
    /// NULL. `parameters` are the values of `$1`, `$2`, … in the same form.
    ///
    /// For small answers; one above 256 MiB is an error.
    ///
    /// # Errors
    ///
    /// As for [`execute`](Self::execute).
    pub fn query_text(&self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Vec<Option<String>>>> {
        let texts = |row: &Row| (0..row.len()).map(|index| row.text(index).map(str::to_owned)).collect();
        self.with(|session| {
            let rows = session.query(sql, parameters).map_err(Error::without_advice)?;
            Ok(rows.iter().map(texts).collect())
        })
    }

    /// Commits the open transaction.
    ///
    /// # Errors
    ///
    /// Errors of the server, such as a deferred constraint: the transaction is then rolled back.
    /// [`ErrorKind::OutcomeUnknown`] if the connection is lost meanwhile.
    pub fn commit(&self) -> Result<()> {
        self.with(|session| session.commit().map_err(Error::without_advice))
    }

    /// Rolls the transaction back. Does nothing if none is open.
    ///
    /// # Errors
    ///
    /// The connection is lost, and the transaction with it.
    pub fn rollback(&self) -> Result<()> {
        self.with(|session| match session.transaction_status() {
            TransactionStatus::Idle => Ok(()),
            TransactionStatus::InTransaction | TransactionStatus::Failed => {
                session.execute("ROLLBACK").map_err(Error::without_advice)
            }
        })
    }

    /// Stops what the session does, loads included, from any thread. Afterwards it refuses all calls; to
    /// stop one load, cancel that load.
    pub fn cancel(&self) -> &Cancel {
        &self.0.cancel
    }

    fn with<T>(&self, run: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let mut state = self.0.state();
        let State::Here(session) = &mut *state else { return Err(state.refusal()) };
        let cancel = &self.0.cancel;
        if cancel.is_requested() {
            return Err(cancel.error());
        }
        let _attached = cancel.attach(session);
        run(session).map_err(|error| cancel.cancelled_or(error))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete or was not begun, even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Why the session is not available.
    fn refusal(&self) -> Error {
        match self {
            Self::Here(_) | Self::Lent => {
                let text = "the connection has a load that has not ended";
                Error::new(ErrorKind::Options, text).advice("finish it, or drop it")
            }
            Self::Lost => {
                let text = "the connection was lost with a load that has ended in disorder";
                Error::new(ErrorKind::Connection, text).advice("connect again")
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.0.endpoint).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Here(session) = std::mem::replace(state, State::Lost) {
            session.close();
        }
    }
}

/// The right to return a session to its connection. If it is dropped unused, the connection has no session
/// any more.
#[derive(Debug)]
pub struct Lent(Option<Connection>);

impl Lent {
    /// Takes the session of a connection.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if another load has it; [`ErrorKind::Cancelled`].
    pub fn of(connection: &Connection) -> Result<(Self, Session)> {
        if connection.0.cancel.is_requested() {
            return Err(connection.0.cancel.error());
        }
        let mut state = connection.0.state();
        match std::mem::replace(&mut *state, State::Lent) {
            State::Here(session) => Ok((Self(Some(connection.clone())), *session)),
            other => {
                let refusal = other.refusal();
                *state = other;
                Err(refusal)
            }
        }
    }

    /// Returns the session, without a read timeout.
    pub fn give_back(mut self, mut session: Session) {
        if let Some(connection) = self.0.take() {
            session.set_read_timeout(None);
            *connection.0.state() = State::Here(Box::new(session));
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            *connection.0.state() = State::Lost;
        }
    }
}
