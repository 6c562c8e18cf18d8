//! `IdleSession`: a session that is kept for later work.

use std::time::{Duration, Instant};

use pgarrow_protocol::Session;

use crate::cancel::Cancel;

/// A session idle for less than this is used without asking the server, if it looks usable.
const FRESH: Duration = Duration::from_secs(1);

/// How long an idle session may take to prove that it works.
const CHECK_TIME: Duration = Duration::from_secs(5);

/// A session outside any transaction, currently unused: its server, a pooler or a firewall may end it.
#[derive(Debug)]
pub struct IdleSession {
    session: Session,
    since: Instant,
}

impl IdleSession {
    /// Idle from now on.
    pub fn new(session: Session) -> Self {
        Self { session, since: Instant::now() }
    }

    /// How long it has been idle.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The session, or `None` if it no longer works. Nothing is lost then, because no transaction was open
    /// on it.
    pub fn working(self, cancel: &Cancel) -> Option<Session> {
        match self.look() {
            Looked::Fresh(session) => Some(session),
            Looked::Old(session) => session.working(cancel),
            Looked::Lost => None,
        }
    }

    /// What its state shows without asking the server.
    pub fn look(mut self) -> Looked {
        match (self.session.is_usable(), self.since.elapsed() < FRESH) {
            (true, true) => Looked::Fresh(self.session),
            (true, false) => Looked::Old(OldSession(self.session)),
            (false, _) => Looked::Lost,
        }
    }
}

/// The state of an idle session.
#[derive(Debug)]
pub enum Looked {
    /// Nothing suggests that it is broken.
    Fresh(Session),
    /// Nothing suggests that it is broken, but it was idle for longer.
    Old(OldSession),
    /// It cannot be used any more.
    Lost,
}

/// A session that must be checked before use.
#[derive(Debug)]
pub struct OldSession(Session);

impl OldSession {
    /// Waits for the server's answer. `None` if it does not work.
    pub fn working(self, cancel: &Cancel) -> Option<Session> {
        let Self(mut session) = self;
        let _attached = cancel.attach(&session);
        session.check(CHECK_TIME).is_ok().then_some(session)
    }
}
