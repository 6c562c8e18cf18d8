//! Stopping a session's statement from outside, on the server.
//!
//! ```text
//!  Canceller    a second connection: [SSLRequest, TLS], CancelRequest(pid, secret), wait for its end
//! ```
//!
//! The second connection goes to the address that answered the first one, with the same TLS settings. In
//! clear text, the secret would let anyone on the way cancel later statements too.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Session;
use super::encrypt::encrypt;
use crate::backend::BackendKey;
use crate::config::Config;
use crate::dial::{Patience, check_peer, dial};
use crate::error::{Error, ErrorKind};
use crate::interrupt::Interrupter;
use crate::tls::TlsClient;

const PHASE: &str = "cancel request";

/// Asks the server to cancel what it does for a session. From any thread, at any time.
///
/// A request that comes too late cancels nothing, or the next statement; the server does not report which.
#[derive(Clone)]
pub struct Canceller {
    target: Arc<CancelTarget>,
}

pub(super) struct CancelTarget {
    pub(super) config: Config,
    pub(super) endpoint: String,
    /// Set if the session is encrypted.
    pub(super) tls: Option<Arc<TlsClient>>,
    pub(super) backend_key: Option<BackendKey>,
}

impl Canceller {
    /// A good deadline for [`cancel`](Self::cancel) unless there is a reason for another one.
    pub const DEADLINE: Duration = Duration::from_secs(5);

    pub(super) fn new(target: CancelTarget) -> Self {
        Self { target: Arc::new(target) }
    }

    /// Sends the request and waits until the server has taken it, `deadline` in all.
    ///
    /// # Errors
    ///
    /// If the session was given no key to cancel with ([`ErrorKind::Protocol`]), if no second connection can
    /// be made, if TLS is refused there, or if the deadline passes. The statement may still be running then.
    pub fn cancel(&self, deadline: Duration) -> Result<(), Error> {
        let target = &*self.target;
        let Some(backend_key) = &target.backend_key else {
            let message =
                format!("{}: cancel is not available, the server gave no key for it", target.endpoint);
            return Err(Error::new(ErrorKind::Protocol, message));
        };
        let patience = Patience::new(Some(deadline), &Interrupter::default());
        // The session's own address: the name may point to another server by now.
        let wire = dial(&target.config, target.config.pinned(), &patience)?;
        check_peer(&wire, &target.config)?;
        let mut session = Session::new(wire, target.config.clone(), patience.deadline);
        if let Some(tls) = &target.tls {
            encrypt(&mut session, tls, true)?;
        }
        session.outgoing.cancel_request(backend_key)?;
        session.send(PHASE)?;
        // The server's answer is to close the connection, in any way.
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
