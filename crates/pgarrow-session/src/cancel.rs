//! Stops an export or a load from another thread.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use pgarrow_protocol::{Canceller, Config, Interrupter, Session};

use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};

/// How long a cancel request may take, and how long the server may take to obey it.
const GRACE: Duration = Duration::from_secs(5);

/// How long sessions that others depend on are left running first: less than a command waits for a cancelled
/// run.
const READERS_FIRST: Duration = Duration::from_secs(2);

/// Stops an export: cancels what its sessions run on the server, and interrupts them if that does not help.
///
/// A cancel request names a server process, not a statement. So it is sent only while a session is
/// [attached](AttachedSession). Detaching waits until a request on its way has arrived, so the request
/// cannot hit what the session does afterwards. If a new process gets the number of an ended one, it has
/// another key, and the server refuses the request.
///
/// Clones stop the same export. The `Cancel` of a source of exports stops all its exports, now and later;
/// each export has its own, which stops no other.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// A cancel of the parent cancels this one, too.
    parent: Option<Cancel>,
    is_requested: AtomicBool,
    /// Who asked for the cancel; set before the flag.
    by: OnceLock<String>,
    next_id: AtomicU64,
    sessions: Mutex<Vec<Attached>>,
}

#[derive(Clone, Debug)]
struct Attached {
    id: u64,
    /// `None` while the session connects: there is nothing to cancel on the server yet.
    canceller: Option<Canceller>,
    interrupter: Interrupter,
    role: Role,
    request: Arc<Request>,
}

/// The cancel request of a session: one thread may send it, and another may wait for it.
#[derive(Debug, Default)]
struct Request {
    state: Mutex<RequestState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum RequestState {
    /// No request yet.
    #[default]
    None,
    /// To be sent when the sessions that go first have ended.
    Waiting,
    /// About to be sent, or sent, but the server has not received it yet.
    Sending,
    /// The server has received it, or cannot be reached.
    Over,
    /// The session is detached.
    Forbidden,
}

impl Request {
    fn state(&self) -> MutexGuard<'_, RequestState> {
        // Each change is complete or was not begun, even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves from one state to the next. Returns false in any other state: another thread sends the request,
    /// or it is forbidden.
    fn go_on(&self, from: RequestState, to: RequestState) -> bool {
        let mut state = self.state();
        let is_so = *state == from;
        if is_so {
            *state = to;
        }
        self.changed.notify_all();
        is_so
    }

    /// Forbids new requests, and waits for one on its way, which has its own deadline.
    fn settle(&self) {
        let mut state = self.state();
        while *state == RequestState::Sending {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *state = RequestState::Forbidden;
    }
}

/// The role of a session in the run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Usual,
    /// Other sessions depend on it, so it is stopped after them.
    Last,
    /// Its commits are invisible to others.
    Aside,
}

impl Cancel {
    /// With no sessions yet: pass it to the code that connects.
    pub fn new() -> Self {
        Self::default()
    }

    /// A child: cancelling the parent cancels the child, but not the reverse.
    pub fn child(&self) -> Self {
        Self(Arc::new(Shared { parent: Some(self.clone()), ..Shared::default() }))
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_requested(&self) -> bool {
        self.0.is_requested.load(Ordering::SeqCst) || self.0.parent.as_ref().is_some_and(Self::is_requested)
    }

    /// Whether a session has sent COMMIT and the server has not answered yet: a program that exits now
    /// cannot know the outcome.
    pub fn is_committing(&self) -> bool {
        let is_seen = |attached: &Attached| attached.role != Role::Aside;
        self.sessions().iter().any(|attached| is_seen(attached) && attached.interrupter.is_committing())
    }

    /// Stops the export. Returns at once. The export ends soon after with
    /// [`ErrorKind::Cancelled`](ErrorKind::Cancelled), at the latest when the server has neither answered
    /// the cancel request nor finished for five seconds.
    ///
    /// The error names the source line of the call; see [`cancel_for`](Self::cancel_for).
    #[track_caller]
    pub fn cancel(&self) {
        self.cancel_for(format!("a call of Cancel::cancel at {}", Location::caller()));
    }

    /// The same, with the reason or person: "SIGINT", "the request's client, who has left". The error says
    /// "cancelled by" and this text. The first one counts.
    pub fn cancel_for(&self, by: impl Into<String>) {
        // Set before the flag, so that a thread that sees the flag finds the reason.
        let _ = self.0.by.set(by.into());
        if self.0.is_requested.swap(true, Ordering::SeqCst) {
            return;
        }
        for attached in self.sessions().iter().cloned() {
            self.stop(attached);
        }
    }

    /// The error for the caller. After a cancel, every error becomes [`ErrorKind::Cancelled`], except an
    /// unknown outcome: the caller must learn that rows may be there.
    pub fn cancelled_or(&self, error: Error) -> Error {
        if self.is_requested() && error.kind() != ErrorKind::OutcomeUnknown { self.error() } else { error }
    }

    /// Who asked for the cancel, if anyone did.
    pub fn by(&self) -> Option<String> {
        match self.0.is_requested.load(Ordering::SeqCst) {
            true => self.0.by.get().cloned(),
            false => self.0.parent.as_ref().and_then(Self::by),
        }
    }

    /// The error of a cancel, with the reason.
    pub fn error(&self) -> Error {
        match self.by() {
            Some(by) => Error::new(ErrorKind::Cancelled, format!("cancelled by {by}")),
            None => Error::new(ErrorKind::Cancelled, "cancelled"),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Attached>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Includes the session in a cancel, until the guard is dropped.
    pub fn attach(&self, session: &Session) -> AttachedSession {
        self.attach_with(Some(&session.canceller()), &session.interrupter(), Role::Usual)
    }

    /// The same for a session whose commits are invisible to others: [`is_committing`](Self::is_committing)
    /// does not count them.
    pub fn attach_aside(&self, session: &Session) -> AttachedSession {
        self.attach_with(Some(&session.canceller()), &session.interrupter(), Role::Aside)
    }

    /// The same for a session that the others depend on: it is stopped after they have ended, or did not end
    /// in time.
    pub fn attach_last(&self, session: &Session) -> AttachedSession {
        self.attach_with(Some(&session.canceller()), &session.interrupter(), Role::Last)
    }

    /// Connects, unless cancelled.
    pub fn connect(&self, config: &Config) -> Result<Session> {
        let interrupter = Interrupter::default();
        let _attached = self.attach_with(None, &interrupter, Role::Usual);
        let session = Session::connect_interruptible(config, &interrupter);
        if self.is_requested() {
            return Err(self.error());
        }
        Ok(session?)
    }

    /// Connects. With a connect timeout, retries until it has passed, as long as the server says that it is
    /// running and will accept connections later.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connection`] if the server cannot be reached, [`ErrorKind::Server`] if it refuses,
    /// [`ErrorKind::Cancelled`] after a cancel.
    pub fn connect_patiently(&self, config: &Config) -> Result<Session> {
        let deadline = config.connect_timeout().and_then(|time| Instant::now().checked_add(time));
        let connect_timeout = config.connect_timeout();
        let mut config = config.clone();
        let mut backoff = Backoff::default();
        loop {
            let error = match self.connect(&config) {
                Ok(mut session) => {
                    // The shortened timeout was for this session only; others made from its config get the
                    // full one.
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
                return Err(self.error());
            }
            config = config.with_connect_timeout(Some(left.saturating_sub(pause)));
        }
    }

    /// Pauses, unless cancelled. Returns false after a cancel.
    pub fn pause(&self, pause: Duration) -> bool {
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
        let (canceller_here, interrupter_here) = (canceller.cloned(), interrupter.clone());
        let request = Arc::<Request>::default();
        let attached = Attached {
            id,
            canceller: canceller_here,
            interrupter: interrupter_here,
            role,
            request: Arc::clone(&request),
        };
        self.sessions().push(attached.clone());
        if self.0.is_requested.load(Ordering::SeqCst) {
            self.stop(attached);
        }
        let of_parent =
            self.0.parent.as_ref().map(|parent| Box::new(parent.attach_with(canceller, interrupter, role)));
        AttachedSession { cancel: self.clone(), id, request, of_parent }
    }

    /// Runs in a separate thread, because both steps wait for the network.
    fn stop(&self, attached: Attached) {
        let cancel = self.clone();
        let interrupter = attached.interrupter;
        let Some(canceller) = attached.canceller else {
            interrupter.interrupt();
            return;
        };
        let (id, role, of_thread) = (attached.id, attached.role, interrupter.clone());
        let request = attached.request;
        // Set before this returns: a session that is detached now still waits for the request.
        let first = if role == Role::Last { RequestState::Waiting } else { RequestState::Sending };
        if !request.go_on(RequestState::None, first) {
            return;
        }
        let of_request = Arc::clone(&request);
        let stopping = std::thread::Builder::new().name("pgarrow-cancel".to_owned()).spawn(move || {
            if role == Role::Last {
                wait_while(READERS_FIRST, || cancel.has_readers() && cancel.is_attached(id));
                if !request.go_on(RequestState::Waiting, RequestState::Sending) {
                    return;
                }
            }
            let is_taken = canceller.cancel(GRACE).is_ok();
            request.go_on(RequestState::Sending, RequestState::Over);
            if is_taken {
                wait_while(GRACE, || cancel.is_attached(id));
            }
            // Only if it is still attached, because this ends the session for good.
            if cancel.is_attached(id) {
                of_thread.interrupt();
            }
        });
        if stopping.is_err() {
            // No thread could be started: at least interrupt the session on this side.
            of_request.go_on(first, RequestState::Over);
            interrupter.interrupt();
        }
    }

    /// Whether sessions are attached that depend on others.
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

/// Keeps a session attached to a [`Cancel`].
///
/// Dropping it waits some seconds at most for a cancel request on its way, because that request must not hit
/// what the session does next.
#[derive(Debug)]
pub struct AttachedSession {
    cancel: Cancel,
    id: u64,
    request: Arc<Request>,
    #[expect(dead_code, reason = "held for its drop")]
    of_parent: Option<Box<AttachedSession>>,
}

impl Drop for AttachedSession {
    fn drop(&mut self) {
        self.cancel.sessions().retain(|attached| attached.id != self.id);
        self.request.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_explains_what_fails_but_not_what_may_have_succeeded() {
        let cancel = Cancel::new();
        let kind_of = |kind| cancel.cancelled_or(Error::new(kind, "why")).kind();
        assert_eq!(kind_of(ErrorKind::Connection), ErrorKind::Connection);
        cancel.cancel();
        assert_eq!(kind_of(ErrorKind::Connection), ErrorKind::Cancelled);
        assert_eq!(kind_of(ErrorKind::OutcomeUnknown), ErrorKind::OutcomeUnknown);
    }

    /// Regression: the error said "The export was cancelled", and nobody knew by whom.
    #[test]
    fn a_cancel_says_who_it_was() {
        let (parent, by) = (Cancel::new(), |cancel: &Cancel| {
            cancel.cancelled_or(Error::new(ErrorKind::Server, "")).to_string()
        });
        let child = parent.child();
        assert_eq!((parent.by(), child.by()), (None, None));
        parent.cancel_for("SIGINT");
        parent.cancel_for("another one");
        assert_eq!(
            (by(&parent), by(&child)),
            ("cancelled by SIGINT".to_owned(), "cancelled by SIGINT".to_owned())
        );
        // The first reason counts.
        child.cancel_for("the failure of a reader");
        assert_eq!(parent.by().as_deref(), Some("SIGINT"));
        let called = Cancel::new();
        called.cancel();
        let says = format!("a call of Cancel::cancel at {}:", file!());
        assert!(called.by().is_some_and(|by| by.starts_with(&says)), "{:?}", called.by());
    }

    /// Regression: a request was sent even after its session was given back, and could stop the session's
    /// next work.
    #[test]
    fn no_request_is_sent_once_a_session_is_given_back() {
        let request = Arc::new(Request::default());
        assert!(request.go_on(RequestState::None, RequestState::Waiting));
        assert!(!request.go_on(RequestState::None, RequestState::Waiting), "one is enough");
        request.settle();
        assert!(!request.go_on(RequestState::Waiting, RequestState::Sending), "nobody is to send it now");

        let request = Arc::new(Request::default());
        assert!(request.go_on(RequestState::None, RequestState::Sending));
        let (sender, over) = std::sync::mpsc::channel();
        let of_thread = Arc::clone(&request);
        let settling = std::thread::spawn(move || {
            of_thread.settle();
            sender.send(()).unwrap();
        });
        assert!(over.recv_timeout(Duration::from_millis(50)).is_err(), "one is on its way");
        assert!(request.go_on(RequestState::Sending, RequestState::Over));
        over.recv_timeout(Duration::from_secs(10)).unwrap();
        settling.join().unwrap();
        assert!(!request.go_on(RequestState::None, RequestState::Sending));
    }
}
