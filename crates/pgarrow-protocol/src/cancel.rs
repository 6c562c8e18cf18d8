//! Stopping a session from outside: on the server, or only here.
//!
//! ```text
//!  Canceller    a second connection: [SSLRequest, TLS], CancelRequest(pid, secret), wait for its end
//!  Interrupter  a flag that a waiting read looks at ten times a second
//! ```
//!
//! The second connection goes to the address that answered the first one, with the same TLS
//! settings: the secret in clear would let anyone on the way cancel later statements too.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::backend::BackendKey;
use crate::config::Config;
use crate::dial::{Patience, check_peer, dial};
use crate::encrypt::encrypt;
use crate::error::{Error, ErrorKind};
use crate::session::Session;
use crate::tls::TlsClient;

const PHASE: &str = "cancel request";

/// Asks the server to stop what it is doing for a session. From any thread, at any time.
///
/// A request that comes too late cancels nothing, or the next statement; the server does not say.
#[derive(Clone)]
pub struct Canceller {
    target: Arc<Target>,
}

pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) endpoint: String,
    /// Set if the session is encrypted.
    pub(crate) tls: Option<Arc<TlsClient>>,
    pub(crate) backend_key: Option<BackendKey>,
}

impl Canceller {
    /// A good deadline for [`cancel`](Self::cancel) where nothing speaks for another one.
    pub const DEADLINE: Duration = Duration::from_secs(5);

    pub(crate) fn new(target: Target) -> Self {
        Self { target: Arc::new(target) }
    }

    /// Sends the request and waits for the server to take it, `deadline` in all.
    ///
    /// # Errors
    ///
    /// If the session was given no key to cancel with ([`ErrorKind::Protocol`]), if no second
    /// connection can be made, if TLS is refused there, or if the deadline passes. The statement
    /// may then still be running.
    pub fn cancel(&self, deadline: Duration) -> Result<(), Error> {
        let target = &*self.target;
        let Some(backend_key) = &target.backend_key else {
            let message =
                format!("{}: cancel is not available, the server gave no key for it", target.endpoint);
            return Err(Error::new(ErrorKind::Protocol, message));
        };
        let patience = Patience::new(Some(deadline), &Interrupter::default());
        // The session's own address: the name may stand for another server by now.
        let wire = dial(&target.config, target.config.pinned(), &patience)?;
        check_peer(&wire, &target.config)?;
        let mut session = Session::new(wire, target.config.clone(), patience.deadline);
        if let Some(tls) = &target.tls {
            encrypt(&mut session, tls, true)?;
        }
        session.outgoing.cancel_request(backend_key)?;
        session.send(PHASE)?;
        // The server answers by closing, in whatever way.
        loop {
            match session.read_more(PHASE) {
                Ok(()) => session.wire.consume(usize::MAX),
                Err(error) if error.kind() == ErrorKind::Timeout => return Err(error),
                Err(_) => return Ok(()),
            }
        }
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("endpoint", &self.target.endpoint).finish_non_exhaustive()
    }
}

/// Makes a call that waits for the server return, within about 100 ms, with
/// [`ErrorKind::Interrupted`]. For good: the session cannot be used afterwards.
///
/// The server is not told; see [`Canceller`].
///
/// A session's own, or made first and given to [`Session::connect_interruptible`].
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

    /// True from the moment [`Session::commit`] begins to send COMMIT until the server has said what became of it; for good
    /// if it never does. A process that ends meanwhile leaves it open whether the transaction is committed.
    pub fn is_committing(&self) -> bool {
        self.committing.load(Ordering::SeqCst)
    }
}
