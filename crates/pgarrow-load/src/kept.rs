//! The session with which a load has looked at its table, until it is opened.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgarrow_catalog::RelationName;
use pgarrow_protocol::{Answer, Config, Session};
use pgarrow_session::{Cancel, IdleSession, Result};

use crate::options::{LoadMode, LoadOptions};
use crate::transaction::{begin_sql, take_back};

/// A place for one session. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    state: Arc<Mutex<Option<State>>>,
    spent: Arc<Mutex<Spent>>,
}

/// What was done for the load before it was opened, maybe in another thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) connect: Duration,
    pub(crate) ask: Duration,
}

#[derive(Debug)]
enum State {
    Idle(IdleSession),
    Begun(Begun),
}

/// A session in the transaction of the load: the table is locked, and all that opening asks is answered.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) session: Session,
    /// What began the transaction.
    pub(crate) begin: String,
    pub(crate) name: RelationName,
    pub(crate) mode: LoadMode,
    pub(crate) answers: Vec<Answer>,
}

impl Begun {
    /// Whether this load would have begun in the same way.
    fn is_of(&self, name: &RelationName, options: &LoadOptions) -> bool {
        let is_same = |begin: String| begin == self.begin;
        !options.has_writers()
            && !options.is_batchwise()
            && (&self.name, self.mode) == (name, options.mode)
            && begin_sql(&self.session, options).is_ok_and(is_same)
    }
}

impl Kept {
    pub(crate) fn keep_idle(&self, mut session: Session) {
        session.forget_answers();
        self.put(State::Idle(IdleSession::new(session)));
    }

    pub(crate) fn keep_begun(&self, begun: Begun) {
        self.put(State::Begun(begun));
    }

    /// The session outside any transaction, or a new one.
    pub(crate) fn take(&self, config: &Config, cancel: &Cancel) -> Result<Session> {
        self.release();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        let idle = match state {
            Some(State::Idle(idle)) => idle.working(cancel),
            Some(State::Begun(_)) | None => None,
        };
        idle.map_or_else(|| cancel.connect_patiently(config), Ok)
    }

    /// The session in the transaction of this load, if it has begun.
    pub(crate) fn take_begun(
        &self,
        name: &RelationName,
        options: &LoadOptions,
    ) -> Option<(Session, Vec<Answer>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.take() {
            Some(State::Begun(begun)) if begun.is_of(name, options) => {
                let Begun { mut session, answers, .. } = begun;
                // The server may have ended it meanwhile, and then nothing has begun.
                session.is_open().then_some((session, answers))
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// Ends the transaction, if there is one: nothing is locked then. Whoever wants the session waits for
    /// that.
    pub(crate) fn release(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match state.take() {
            Some(State::Begun(begun)) => take_back(begun.session).map(IdleSession::new).map(State::Idle),
            other => other,
        };
    }

    /// The session has taken this time so far.
    pub(crate) fn spend(&self, time: Spent) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.connect = spent.connect.saturating_add(time.connect);
        spent.ask = spent.ask.saturating_add(time.ask);
    }

    /// The time so far, which from then on is another load's.
    pub(crate) fn take_spent(&self) -> Spent {
        std::mem::take(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, new: State) {
        let before = self.state.lock().unwrap_or_else(PoisonError::into_inner).replace(new);
        // Outside the lock: closing a session may block.
        drop(before);
    }
}
