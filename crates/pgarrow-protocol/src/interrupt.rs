//! Stopping a session here: a flag that every wait looks at, ten times a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Makes a call that waits for the server return, within about 100 ms, with
/// [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted). For good: the session cannot be used afterwards.
///
/// The server is not told; see [`Canceller`](crate::Canceller).
///
/// A session's own, or made first and given to [`Session::connect_interruptible`](crate::Session::connect_interruptible).
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

    /// True from the moment [`Session::commit`](crate::Session::commit) begins to send COMMIT until the server has said what became of it; for good
    /// if it never does. A process that ends meanwhile leaves it open whether the transaction is committed.
    pub fn is_committing(&self) -> bool {
        self.committing.load(Ordering::SeqCst)
    }
}
