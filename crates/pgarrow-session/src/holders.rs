//! Which sessions hold the locks of an export, for a load that wants stronger locks on the same server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sessions that keep an export's tables locked until all rows are read, and their server.
///
/// If another session of the same process waits for one of these locks, it waits for itself, because the
/// export continues only when that session takes its rows. The server cannot detect this.
#[derive(Clone, Debug)]
pub struct Holders {
    server_start: String,
    backend_pids: Vec<i32>,
    impatient: Impatient,
}

/// Whether the export may have to wait for a lock of the session that takes its rows. Its [`Holders`] set
/// it, and the export reads it. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Impatient(Arc<AtomicBool>);

impl Impatient {
    /// Whether it may.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Holders {
    /// For these sessions, on a server with this start time. `impatient` belongs to the export.
    pub fn new(server_start: String, backend_pids: Vec<i32>, impatient: Impatient) -> Self {
        Self { server_start, backend_pids, impatient }
    }

    /// The start time of the server, in UTC, as `concat(timezone('UTC', pg_postmaster_start_time()), '+00')`
    /// prints it. No two servers are expected to start in the same microsecond.
    pub fn server_start(&self) -> &str {
        &self.server_start
    }

    /// `pg_backend_pid()` of the sessions.
    pub fn backend_pids(&self) -> &[i32] {
        &self.backend_pids
    }

    /// Call this if the session that takes the rows holds a lock that conflicts with reads. Tables that a
    /// function of the export's query reads are not locked before the function runs. From now on, the export
    /// gives up waiting for a lock after 10 s, unless its user has set a lock timeout. No effect once the
    /// export reads.
    pub fn give_up_waiting(&self) {
        self.impatient.0.store(true, Ordering::Release);
    }
}
