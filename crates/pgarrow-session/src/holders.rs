//! Who holds what an export reads: for whoever wants stronger locks on the same server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sessions that keep what an export reads locked until all of it was read, and the server they are on.
///
/// A session of the same process that waits for one of these locks waits for itself, which no server can see: the export
/// goes on only when that session takes its rows.
#[derive(Clone, Debug)]
pub struct Holders {
    server_start: String,
    backend_pids: Vec<i32>,
    impatient: Impatient,
}

/// Whether the locks that an export needs while it reads may be those of whoever takes its rows: said by its
/// [`Holders`], looked at by the export. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Impatient(Arc<AtomicBool>);

impl Impatient {
    /// They may.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Holders {
    /// Of these sessions, on a server that was started then. `impatient` is the export's.
    pub fn new(server_start: String, backend_pids: Vec<i32>, impatient: Impatient) -> Self {
        Self { server_start, backend_pids, impatient }
    }

    /// When the server was started, in UTC, as this prints it:
    /// `concat(timezone('UTC', pg_postmaster_start_time()), '+00')`. No two servers were started in the same microsecond.
    pub fn server_start(&self) -> &str {
        &self.server_start
    }

    /// `pg_backend_pid()` of the sessions.
    pub fn backend_pids(&self) -> &[i32] {
        &self.backend_pids
    }

    /// Says that whoever takes the rows holds a lock that lets nobody read. What a function of the export's query reads is
    /// not locked before it is run: from now on, the export gives up a lock that it has waited for 10 s for, unless its user
    /// has said how long it may wait. Without effect once it reads.
    pub fn give_up_waiting(&self) {
        self.impatient.0.store(true, Ordering::Release);
    }
}
