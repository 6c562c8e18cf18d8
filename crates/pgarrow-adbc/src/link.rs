//! `Link`: the session of a connection, shared with its statements and their results.
//!
//! One of them has the session at a time. A result has it until its last row is received, or it is dropped;
//! meanwhile every other use is an error that says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use adbc_core::error::Error;
use pgarrow_catalog::KnownTypes;
use pgarrow_protocol::{Config, Session, TransactionStatus};
use pgarrow_session::{Cancel, Connection, ErrorKind, Lent};

use crate::error::{Result, invalid_state, of_engine, of_wire};
use crate::operation::Operation;

/// A result that may have the session.
pub(crate) trait Held: Send + Sync {
    /// Whether it has the session.
    fn is_open(&self) -> bool;
    /// Ends it, and returns the session.
    fn end(&self, why: &str);
}

#[derive(Debug)]
pub(crate) struct Link {
    connection: Connection,
    config: Config,
    types: Mutex<KnownTypes>,
    state: Mutex<State>,
    operation: Operation,
}

struct State {
    autocommit: bool,
    /// Named statements that nobody uses any more.
    closed: Vec<String>,
    next_name: u64,
    /// Changes when a statement may have changed what others mean.
    epoch: u64,
    open: Option<Weak<dyn Held>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("autocommit", &self.autocommit).finish_non_exhaustive()
    }
}

/// Commands that leave types and tables as they are, by the server's words or a statement's first one.
const HARMLESS: [&str; 17] = [
    "WITH",
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "BEGIN",
    "START TRANSACTION",
    "COMMIT",
    "SHOW",
    "EXPLAIN",
    "FETCH",
    "MOVE",
    "SAVEPOINT",
    "RELEASE",
    "DECLARE CURSOR",
    "CLOSE CURSOR",
];

impl Link {
    pub(crate) fn connect(config: &Config) -> Result<Self> {
        let connection = Connection::connect_with(config, Cancel::new()).map_err(of_engine)?;
        let state = State { autocommit: true, closed: Vec::new(), next_name: 0, epoch: 0, open: None };
        Ok(Self {
            connection,
            config: config.clone(),
            types: Mutex::default(),
            state: Mutex::new(state),
            operation: Operation::default(),
        })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn operation(&self) -> &Operation {
        &self.operation
    }

    /// What is known of types.
    pub(crate) fn types(&self) -> MutexGuard<'_, KnownTypes> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete or was not begun, even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn autocommit(&self) -> bool {
        self.state().autocommit
    }

    pub(crate) fn set_autocommit(&self, autocommit: bool) {
        self.state().autocommit = autocommit;
    }

    /// A name for a prepared statement.
    pub(crate) fn new_name(&self) -> String {
        let mut state = self.state();
        state.next_name += 1;
        format!("pgarrow_{}", state.next_name)
    }

    /// The server may forget this statement when it is next talked to.
    pub(crate) fn close_later(&self, name: String) {
        self.state().closed.push(name);
    }

    /// The names of statements to be closed now.
    pub(crate) fn take_closed(&self) -> Vec<String> {
        std::mem::take(&mut self.state().closed)
    }

    /// A number that changes when statements may mean something else than before.
    pub(crate) fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// A statement with this command was run.
    pub(crate) fn has_run(&self, command: Option<&str>) {
        if command.is_some_and(|command| HARMLESS.contains(&command)) {
            return;
        }
        self.forget();
    }

    /// What is known of types may be wrong by now.
    pub(crate) fn forget(&self) {
        self.types().forget_changeable();
        self.state().epoch += 1;
    }

    /// The result that has the session from now on.
    pub(crate) fn is_held_by(&self, result: &Arc<impl Held + 'static>) {
        let result: Weak<dyn Held> = Arc::downgrade(result) as _;
        self.state().open = Some(result);
    }

    /// Ends the result that has the session, if one has.
    pub(crate) fn end_result(&self, why: &str) {
        let open = self.state().open.take().and_then(|open| open.upgrade());
        if let Some(open) = open {
            open.end(why);
        }
    }

    /// Takes the session.
    ///
    /// # Errors
    ///
    /// A result has it, or another call; the connection is lost.
    pub(crate) fn take(&self) -> Result<(Lent, Session)> {
        let open = self.state().open.as_ref().and_then(Weak::upgrade);
        if open.is_some_and(|open| open.is_open()) {
            return Err(busy());
        }
        Lent::of(&self.connection).map_err(|error| match error.kind() {
            ErrorKind::Options => in_use(),
            _ => of_engine(error),
        })
    }

    /// Does something with the session, which is stopped by a cancel of the connection.
    pub(crate) fn with<T>(&self, run: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let (lent, mut session) = self.take()?;
        let cancel = self.cancel();
        let running = self.operation.begins(&cancel);
        let attached = cancel.attach(&session);
        let result = run(&mut session);
        drop(attached);
        drop(running);
        lent.give_back(session);
        result.map_err(|error| cancelled_or(&cancel, error))
    }

    /// A cancel for one operation.
    pub(crate) fn cancel(&self) -> Cancel {
        self.connection.cancel().child()
    }

    /// Begins a transaction, unless one is open or statements commit themselves.
    pub(crate) fn begin_if_needed(&self, session: &mut Session) -> Result<()> {
        if self.autocommit() || session.transaction_status() != TransactionStatus::Idle {
            return Ok(());
        }
        session.execute("BEGIN").map_err(of_wire)
    }
}

/// After a cancel, every error is that of the cancel.
pub(crate) fn cancelled_or(cancel: &Cancel, error: Error) -> Error {
    if cancel.is_requested() { of_engine(cancel.error()) } else { error }
}

fn in_use() -> Error {
    invalid_state(
        "the connection is in use: another thread has called it, or what is being ingested reads from it; wait, or use \
         another connection",
    )
}

fn busy() -> Error {
    invalid_state(
        "the connection has a result that is not read to its end; read the rest, or close the result (its reader, or \
         its cursor), or use another connection",
    )
}
