//! What exports and loads share: sessions of a server, what ends them, and what is said of it.
//!
//! ```text
//!  idle        a session that is kept for what comes next
//!  pool        sessions that runs leave to the next ones
//!  connection  a session of the caller, who begins and ends its transactions
//!  savepoint   a part of a transaction of the caller, with settings of its own
//!  facts       what sessions have shown of their server
//!  pooler      a pooler between us and the server
//!  background  blocking work for async callers
//!  cancel      stops sessions, from another thread
//!  memory      bytes that several runs share
//!  settings    the statements that begin a transaction and set it
//!  holders     who holds locks that a load on the same server would wait for
//!  backoff     pauses between attempts
//!  limit       what held an export or a load back
//!  server_report  what reports say of the server
//!  usage       CPU time and memory of the process
//!  error       the only error that callers see
//! ```
#![forbid(unsafe_code)]

pub mod background;
mod backoff;
mod cancel;
mod connection;
mod error;
mod facts;
mod holders;
mod idle;
mod limit;
mod memory;
mod pool;
mod pooler;
mod savepoint;
mod server_report;
mod settings;
mod usage;

pub use backoff::Backoff;
pub use cancel::{AttachedSession, Cancel};
pub use connection::{Connection, Lent};
pub use error::{Error, ErrorKind, Place, Result, is_of_text, permission_advice};
pub use facts::ServerFacts;
pub use holders::{Holders, Impatient};
pub use idle::{IdleSession, Looked, OldSession};
pub use limit::Limit;
pub use memory::{Memory, Reservation};
pub use pool::{Borrowed, Pool, PoolOptions};
pub use pooler::Pooled;
pub use savepoint::Savepoint;
pub use server_report::ServerReport;
pub use settings::{
    TransactionSettings, begin_anew, literal, must_be_in_transaction, server_timeout, without_read_timeout,
};
pub use usage::{ProcessUsage, per_second};
