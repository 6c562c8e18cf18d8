//! Stopping an export from another thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgarrow_protocol::{Canceller, Config, Interrupter, Session};

use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::reader::cancelled;

/// How long a cancel request may take, and how long the server may take to obey it.
const GRACE: Duration = Duration::from_secs(5);

/// How long the sessions that others depend on are left alone meanwhile: less than a command waits for a cancelled run.
const READERS_FIRST: Duration = Duration::from_secs(2);

/// Stops an export: cancels what its sessions run on the server, and interrupts them if that does not help.
///
/// Clones stop the same export. That of a [`Source`](crate::Source) stops all its exports, now and later; each
/// export has its own, which stops no other.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Stops this one, too.
    parent: Option<Cancel>,
    is_requested: AtomicBool,
    next_id: AtomicU64,
    sessions: Mutex<Vec<Attached>>,
}

#[derive(Clone, Debug)]
struct Attached {
    id: u64,
    /// None while it is connecting: there is nothing to cancel on the server yet.
    canceller: Option<Canceller>,
    interrupter: Interrupter,
    role: Role,
}

/// What a session is to the run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Usual,
    /// Others depend on it: stopped when they have ended.
    Last,
    /// What it commits is nothing that anybody sees.
    Aside,
}

impl Cancel {
    /// Nothing to stop yet: pass it to [`Source::connect_blocking_with`](crate::Source::connect_blocking_with).
    pub fn new() -> Self {
        Self::default()
    }

    /// One that this stops, and that does not stop this.
    pub(crate) fn child(&self) -> Self {
        Self(Arc::new(Shared { parent: Some(self.clone()), ..Shared::default() }))
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_requested(&self) -> bool {
        self.0.is_requested.load(Ordering::SeqCst) || self.0.parent.as_ref().is_some_and(Self::is_requested)
    }

    /// Whether one of the sessions has sent COMMIT and the server has not said yet what became of it: nobody who leaves now
    /// can know.
    pub fn is_committing(&self) -> bool {
        let is_seen = |attached: &Attached| attached.role != Role::Aside;
        self.sessions().iter().any(|attached| is_seen(attached) && attached.interrupter.is_committing())
    }

    /// Stops the export. Returns at once; the export ends with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) soon after, at the latest when the server has
    /// neither answered the cancel request nor finished for five seconds.
    pub fn cancel(&self) {
        if self.0.is_requested.swap(true, Ordering::SeqCst) {
            return;
        }
        for attached in self.sessions().iter().cloned() {
            self.stop(attached);
        }
    }

    /// What the caller is told: after a cancel, everything that goes wrong goes wrong because of it. But that rows may be
    /// there is told in any case.
    pub fn told(&self, error: Error) -> Error {
        if self.is_requested() && error.kind() != ErrorKind::OutcomeUnknown { cancelled() } else { error }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Vec<Attached>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the session one that is stopped, until the guard is dropped.
    pub fn attach(&self, session: &Session) -> AttachedSession {
        self.attach_with(Some(&session.canceller()), &session.interrupter(), Role::Usual)
    }

    /// The same for a session whose commits show nothing to anybody else: [`is_committing`](Self::is_committing) does not
    /// count them.
    pub fn attach_aside(&self, session: &Session) -> AttachedSession {
        self.attach_with(Some(&session.canceller()), &session.interrupter(), Role::Aside)
    }

    /// The same for a session that the others depend on: it is stopped once they have ended, or did not end in time.
    pub(crate) fn attach_last(&self, session: &Session) -> AttachedSession {
        self.attach_with(Some(&session.canceller()), &session.interrupter(), Role::Last)
    }

    /// Connects, unless it is stopped.
    pub(crate) fn connect(&self, config: &Config) -> Result<Session> {
        let interrupter = Interrupter::default();
        let _attached = self.attach_with(None, &interrupter, Role::Usual);
        let session = Session::connect_interruptible(config, &interrupter);
        if self.is_requested() {
            return Err(cancelled());
        }
        Ok(session?)
    }

    /// Connects; if there is a connect timeout, again and again until it has passed, as long as the server says that it
    /// is there and will have a connection later.
    ///
    /// # Errors
    ///
    /// As for [`Source::connect`](crate::Source::connect).
    pub fn connect_patiently(&self, config: &Config) -> Result<Session> {
        let deadline = config.connect_timeout().and_then(|time| Instant::now().checked_add(time));
        let connect_timeout = config.connect_timeout();
        let mut config = config.clone();
        let mut backoff = Backoff::default();
        loop {
            let error = match self.connect(&config) {
                Ok(mut session) => {
                    // What was left of it was for this session; others that are made with its config have their own.
                    session.set_connect_timeout(connect_timeout);
                    return Ok(session);
                }
                Err(error) => error,
            };
            let Some(deadline) = deadline.filter(|_| matches!(error.sqlstate(), Some("57P03" | "53300")))
            else {
                return Err(error);
            };
            let pause = backoff.next();
            let left = deadline.saturating_duration_since(Instant::now());
            if pause >= left {
                return Err(error.context("the connect timeout has passed"));
            }
            tracing::info!(target: "pgarrow", "the server has no connection yet, and is asked again: {error}");
            if !self.pause(pause) {
                return Err(cancelled());
            }
            config = config.with_connect_timeout(Some(left.saturating_sub(pause)));
        }
    }

    /// Waits, unless it is stopped. Whether it was not.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        wait_while(pause, || !self.is_requested());
        !self.is_requested()
    }

    fn attach_with(
        &self,
        canceller: Option<&Canceller>,
        interrupter: &Interrupter,
        role: Role,
    ) -> AttachedSession {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let attached = Attached { id, canceller: canceller.cloned(), interrupter: interrupter.clone(), role };
        self.sessions().push(attached.clone());
        if self.0.is_requested.load(Ordering::SeqCst) {
            self.stop(attached);
        }
        let of_parent =
            self.0.parent.as_ref().map(|parent| Box::new(parent.attach_with(canceller, interrupter, role)));
        AttachedSession { cancel: self.clone(), id, of_parent }
    }

    /// In a thread of its own, since both steps wait for the network.
    fn stop(&self, attached: Attached) {
        let cancel = self.clone();
        let interrupter = attached.interrupter;
        let Some(canceller) = attached.canceller else {
            interrupter.interrupt();
            return;
        };
        let (id, role, of_thread) = (attached.id, attached.role, interrupter.clone());
        let stopping = std::thread::Builder::new().name("pgarrow-cancel".to_owned()).spawn(move || {
            if role == Role::Last {
                wait_while(READERS_FIRST, || cancel.has_readers());
            }
            if canceller.cancel(GRACE).is_ok() {
                wait_while(GRACE, || cancel.is_attached(id));
            }
            of_thread.interrupt();
        });
        if stopping.is_err() {
            // No thread to be had: the session is at least interrupted on this side.
            interrupter.interrupt();
        }
    }

    /// Whether sessions are there that depend on others.
    fn has_readers(&self) -> bool {
        self.sessions().iter().any(|attached| attached.role != Role::Last)
    }

    fn is_attached(&self, id: u64) -> bool {
        self.sessions().iter().any(|attached| attached.id == id)
    }
}

fn wait_while(at_most: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + at_most;
    while is_so() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Keeps a session among those that a [`Cancel`] stops.
#[derive(Debug)]
pub struct AttachedSession {
    cancel: Cancel,
    id: u64,
    #[expect(dead_code, reason = "held for its drop")]
    of_parent: Option<Box<AttachedSession>>,
}

impl Drop for AttachedSession {
    fn drop(&mut self) {
        self.cancel.sessions().retain(|attached| attached.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_explains_what_fails_but_not_what_may_have_succeeded() {
        let cancel = Cancel::new();
        let told = |kind| cancel.told(Error::new(kind, "why")).kind();
        assert_eq!(told(ErrorKind::Connection), ErrorKind::Connection);
        cancel.cancel();
        assert_eq!(told(ErrorKind::Connection), ErrorKind::Cancelled);
        assert_eq!(told(ErrorKind::OutcomeUnknown), ErrorKind::OutcomeUnknown);
    }
}
