//! What exports and loads share: sessions of a server, what ends them, and what is said of it.
//!
//! ```text
//!  idle        a session that is kept for what comes next
//!  pool        sessions that runs leave to the next ones
//!  pooler      a pooler between us and the server
//!  background  blocking work for async callers
//!  cancel      stops sessions, from another thread
//!  settings    the statements that begin a transaction and set it
//!  holders     who holds locks that a load on the same server would wait for
//!  backoff     pauses between attempts
//!  usage       CPU time and memory of the process
//!  error       the only error that callers see
//! ```
#![forbid(unsafe_code)]

pub mod background;
mod backoff;
mod cancel;
mod error;
mod holders;
mod idle;
mod pool;
mod pooler;
mod settings;
mod usage;

pub use backoff::Backoff;
pub use cancel::{AttachedSession, Cancel};
pub use error::{Error, ErrorKind, Place, Result, is_of_text, permission_advice};
pub use holders::{Holders, Impatient};
pub use idle::{IdleSession, Looked, OldSession};
pub use pool::{Pool, PoolOptions};
pub use pooler::Pooled;
pub use settings::{
    TransactionSettings, begin_anew, literal, must_be_in_transaction, server_timeout, without_read_timeout,
};
pub use usage::{ProcessUsage, per_second};
