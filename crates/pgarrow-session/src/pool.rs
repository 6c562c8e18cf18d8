//! `Pool`: sessions that the runs of one source leave for the next ones.
//!
//! ```text
//!  take: an idle session that works, or a new one ──▶ run ──▶ put: outside any transaction, for the next run
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgarrow_protocol::{Config, Session, TransactionStatus};

use crate::background;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::facts::{FactsByRole, ServerFacts};
use crate::idle::{IdleSession, Looked};
use crate::known_tables::{KnownTables, NamesInUse, TablesByNames};

/// How many idle sessions a source keeps, and how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PoolOptions {
    /// The most idle sessions; 0 keeps no session that a run has used. Default: 0.
    pub idle_max: usize,
    /// A session idle for longer is closed when the next run begins or ends. Default: five minutes.
    pub idle_time: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self { idle_max: 0, idle_time: Duration::from_secs(300) }
    }
}

impl PoolOptions {
    /// Keeps up to this many idle sessions.
    #[must_use]
    pub fn with_idle_max(self, idle_max: usize) -> Self {
        Self { idle_max, ..self }
    }

    /// Keeps them for this long.
    #[must_use]
    pub fn with_idle_time(self, idle_time: Duration) -> Self {
        Self { idle_time, ..self }
    }
}

/// A session for a short task.
#[derive(Debug)]
pub struct Borrowed {
    /// The session.
    pub session: Session,
    /// Whether it came from the pool.
    pub was_idle: bool,
}

/// Idle sessions of one server. Clones share them.
///
/// All settings of a run hold only for its transaction (SET LOCAL), so a returned session is like a new one.
/// A session that was idle for a second or more must answer before it is used.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    options: PoolOptions,
    idle: Mutex<Vec<IdleSession>>,
    facts: Mutex<FactsByRole>,
    tables: Mutex<TablesByNames>,
}

impl Pool {
    /// With the session that tested whether the server can be reached: the pool keeps it in any case.
    pub fn new(first: Session, options: PoolOptions) -> Self {
        let config = first.config().clone();
        let idle = Mutex::new(vec![IdleSession::new(first)]);
        let (facts, tables) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { config, options, idle, facts, tables }))
    }

    /// The same pool with other options; it takes over the idle sessions and the known facts.
    #[must_use]
    pub fn with_options(self, options: PoolOptions) -> Self {
        let idle = Mutex::new(std::mem::take(&mut *self.idle()));
        let facts = Mutex::new(std::mem::take(&mut *self.known()));
        let tables = Mutex::new(std::mem::take(&mut *self.tables()));
        Self(Arc::new(Inner { config: self.0.config.clone(), options, idle, facts, tables }))
    }

    /// The configuration of its sessions, pinned to the address that answered first.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// An idle session that works, or a new one.
    ///
    /// # Errors
    ///
    /// The server cannot be reached or refuses.
    pub fn take(&self, cancel: &Cancel) -> Result<Session> {
        match self.take_idle(cancel) {
            Some(session) => Ok(session),
            None => cancel.connect_patiently(&self.0.config),
        }
    }

    /// The same, from async code.
    ///
    /// # Errors
    ///
    /// As for [`take`](Self::take).
    pub async fn take_in_background(&self, cancel: &Cancel) -> Result<Session> {
        let old = match self.look() {
            Looked::Fresh(session) => return Ok(session),
            Looked::Old(session) => Some(session),
            Looked::Lost => None,
        };
        let (pool, cancel) = (self.clone(), cancel.child());
        background::run(&cancel.clone(), move || match old.and_then(|old| old.working(&cancel)) {
            Some(session) => Ok(session),
            None => pool.take(&cancel),
        })
        .await
    }

    /// An idle session that works.
    pub fn take_idle(&self, cancel: &Cancel) -> Option<Session> {
        loop {
            match self.look() {
                Looked::Fresh(session) => return Some(session),
                Looked::Old(session) => {
                    if let Some(session) = session.working(cancel) {
                        return Some(session);
                    }
                }
                Looked::Lost => return None,
            }
        }
    }

    /// As [`take`](Self::take), for a short task that leaves the session unchanged: [give it
    /// back](Self::give_back) afterwards.
    ///
    /// # Errors
    ///
    /// As for [`take`](Self::take).
    pub fn borrow(&self, cancel: &Cancel) -> Result<Borrowed> {
        match self.take_idle(cancel) {
            Some(session) => Ok(Borrowed { session, was_idle: true }),
            None => Ok(Borrowed { session: cancel.connect_patiently(&self.0.config)?, was_idle: false }),
        }
    }

    /// Keeps a session that was idle before it was [borrowed](Self::borrow), even if the options keep none;
    /// other sessions are treated as in [`put`](Self::put).
    pub fn give_back(&self, session: Session, was_idle: bool) {
        self.keep(session, self.0.options.idle_max.max(usize::from(was_idle)));
    }

    /// Keeps a session for the next run. Closes it instead if it is in a transaction, or if there are enough
    /// idle sessions.
    pub fn put(&self, session: Session) {
        self.keep(session, self.0.options.idle_max);
    }

    fn keep(&self, mut session: Session, idle_max: usize) {
        let is_clean = session.is_usable() && session.transaction_status() == TransactionStatus::Idle;
        let mut idle = self.idle();
        let too_old = self.drain_old(&mut idle);
        if is_clean && idle.len() < idle_max {
            session.set_read_timeout(None);
            session.forget_answers();
            idle.push(IdleSession::new(session));
        } else {
            drop(idle);
            session.close();
        }
        // Outside the lock: closing sessions may block.
        drop(too_old);
    }

    /// Known facts about the server of `session`, for sessions that act as `role`. Not for use behind a
    /// pooler.
    pub fn facts(&self, session: &Session, role: Option<&str>) -> ServerFacts {
        self.known().get(session, role)
    }

    /// Records facts about the server.
    pub fn keep_facts(&self, session: &Session, role: Option<&str>, facts: ServerFacts) {
        self.known().set(session, role, facts);
    }

    /// Forgets all facts, because something was refused: the server may have changed.
    pub fn forget_facts(&self) {
        *self.known() = FactsByRole::default();
    }

    /// What these names meant to an earlier export: they may mean something else by now.
    pub fn known_tables(&self, names: &NamesInUse) -> Option<KnownTables> {
        self.tables().get(names)
    }

    /// Records what names mean; `None`: that they may mean something else.
    pub fn keep_tables(&self, names: NamesInUse, tables: Option<KnownTables>) {
        self.tables().set(names, tables);
    }

    fn tables(&self) -> MutexGuard<'_, TablesByNames> {
        // Each change is complete or was not begun, even after a panic.
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, FactsByRole> {
        // Each change is complete or was not begun, even after a panic.
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most recent idle session that looks usable, without asking the server.
    fn look(&self) -> Looked {
        let mut idle = self.idle();
        let too_old = self.drain_old(&mut idle);
        let mut found = Looked::Lost;
        while let Some(session) = idle.pop() {
            found = session.look();
            if !matches!(found, Looked::Lost) {
                break;
            }
        }
        drop(idle);
        drop(too_old);
        found
    }

    fn drain_old(&self, idle: &mut Vec<IdleSession>) -> Vec<IdleSession> {
        let idle_time = self.0.options.idle_time;
        let (too_old, kept) = std::mem::take(idle).into_iter().partition(|session| session.age() > idle_time);
        *idle = kept;
        too_old
    }

    fn idle(&self) -> MutexGuard<'_, Vec<IdleSession>> {
        // Each change is complete or was not begun, even after a panic.
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
