//! Stopping an export from another thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgarrow_protocol::{Canceller, Config, Interrupter, Session};

use crate::error::{Error, Result};
use crate::reader::cancelled;

/// How long a cancel request may take, and how long the server may take to obey it.
const GRACE: Duration = Duration::from_secs(5);

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

    /// What the caller is told: after a cancel, everything that goes wrong goes wrong because of it.
    pub(crate) fn told(&self, error: Error) -> Error {
        if self.is_requested() { cancelled() } else { error }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Vec<Attached>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the session one that is stopped, until the guard is dropped.
    pub(crate) fn attach(&self, session: &Session) -> AttachedSession {
        self.attach_with(Some(&session.canceller()), &session.interrupter())
    }

    /// Connects, unless it is stopped.
    pub(crate) fn connect(&self, config: &Config) -> Result<Session> {
        let interrupter = Interrupter::default();
        let _attached = self.attach_with(None, &interrupter);
        let session = Session::connect_interruptible(config, &interrupter);
        if self.is_requested() {
            return Err(cancelled());
        }
        Ok(session?)
    }

    fn attach_with(&self, canceller: Option<&Canceller>, interrupter: &Interrupter) -> AttachedSession {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let attached = Attached { id, canceller: canceller.cloned(), interrupter: interrupter.clone() };
        self.sessions().push(attached.clone());
        if self.0.is_requested.load(Ordering::SeqCst) {
            self.stop(attached);
        }
        let of_parent =
            self.0.parent.as_ref().map(|parent| Box::new(parent.attach_with(canceller, interrupter)));
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
        let (id, of_thread) = (attached.id, interrupter.clone());
        let stopping = std::thread::Builder::new().name("pgarrow-cancel".to_owned()).spawn(move || {
            if canceller.cancel(GRACE).is_ok() {
                let deadline = std::time::Instant::now() + GRACE;
                while cancel.is_attached(id) && std::time::Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            of_thread.interrupt();
        });
        if stopping.is_err() {
            // No thread to be had: the session is at least interrupted on this side.
            interrupter.interrupt();
        }
    }

    fn is_attached(&self, id: u64) -> bool {
        self.sessions().iter().any(|attached| attached.id == id)
    }
}

/// Keeps a session among those that a [`Cancel`] stops.
#[derive(Debug)]
pub(crate) struct AttachedSession {
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
