//! Interrupting a session from this side: a flag that every wait checks ten times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes a call that waits for the server return, within about 100 ms, with
/// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted). The session cannot be used afterwards.
///
/// The server does not learn of it; see [`Canceller`](crate::Canceller).
///
/// It belongs to a session, or is made first and given to
/// [`Session::connect_interruptible`](crate::Session::connect_interruptible).
#[derive(Clone, Debug, Default)]
pub struct Interrupter {
    interrupted: Arc<AtomicBool>,
    committing: Arc<AtomicBool>,
}

impl Interrupter {
    pub(crate) fn new(interrupted: Arc<AtomicBool>, committing: Arc<AtomicBool>) -> Self {
        Self { interrupted, committing }
    }

    pub(crate) fn committing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.committing)
    }

    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupted)
    }

    /// Sets the flag.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// True once [`interrupt`](Self::interrupt) was called on this handle or a clone of it.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// True from the moment [`Session::commit`](crate::Session::commit) begins to send COMMIT until the
    /// server has reported its outcome; for ever if it never does. If the process ends meanwhile, it is
    /// unknown whether the transaction is committed.
    pub fn is_committing(&self) -> bool {
        self.committing.load(Ordering::SeqCst)
    }
}
