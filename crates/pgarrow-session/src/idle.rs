//! `IdleSession`: a session that is kept for what comes next.

use std::time::{Duration, Instant};

use pgarrow_protocol::Session;

use crate::cancel::Cancel;

/// A session that was idle for less than this is taken as it is, if it looks well.
const FRESH: Duration = Duration::from_secs(1);

/// How long an idle session may take to show that it works.
const CHECK_TIME: Duration = Duration::from_secs(5);

/// A session outside any transaction that nothing is done with for now: its server, a pooler or a firewall may end it.
#[derive(Debug)]
pub struct IdleSession {
    session: Session,
    since: Instant,
}

impl IdleSession {
    /// From now on.
    pub fn new(session: Session) -> Self {
        Self { session, since: Instant::now() }
    }

    /// For how long.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The session, unless it does not work any more: nothing was begun on it, so nothing is lost with it.
    pub fn working(self, cancel: &Cancel) -> Option<Session> {
        match self.look() {
            Looked::Fresh(session) => Some(session),
            Looked::Old(session) => session.working(cancel),
            Looked::Lost => None,
        }
    }

    /// What shows without asking the server.
    pub fn look(mut self) -> Looked {
        match (self.session.is_usable(), self.since.elapsed() < FRESH) {
            (true, true) => Looked::Fresh(self.session),
            (true, false) => Looked::Old(OldSession(self.session)),
            (false, _) => Looked::Lost,
        }
    }
}

/// What became of an idle session.
#[derive(Debug)]
pub enum Looked {
    /// Nothing shows that it does not work.
    Fresh(Session),
    /// The same, but much may have happened.
    Old(OldSession),
    /// Nothing can be done with it any more.
    Lost,
}

/// One that is asked before it is used.
#[derive(Debug)]
pub struct OldSession(Session);

impl OldSession {
    /// Waits for the server's answer.
    pub fn working(self, cancel: &Cancel) -> Option<Session> {
        let Self(mut session) = self;
        let _attached = cancel.attach(&session);
        session.check(CHECK_TIME).is_ok().then_some(session)
    }
}
