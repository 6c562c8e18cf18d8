//! What exports and loads share: sessions of a server, how they are stopped, and reports about them.
//!
//! ```text
//!  idle        a session that is kept for later work
//!  pool        sessions that one run leaves for the next
//!  connection  a session whose transactions the caller begins and ends
//!  savepoint   a part of the caller's transaction, with its own settings
//!  facts       what sessions have learned about their server
//!  known_tables  what names meant to an earlier export
//!  pooler      a pooler between us and the server
//!  background  blocking work for async callers
//!  cancel      stops sessions, from another thread
//!  memory      bytes that several runs share
//!  settings    the statements that begin a transaction and set it
//!  holders     the sessions that hold locks a load on the same server would wait for
//!  backoff     pauses between attempts
//!  limit       the bottleneck of an export or a load
//!  server_report  what reports say about the server
//!  usage       CPU time and memory of the process
//!  error       the only error type that callers see
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
mod known_tables;
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
pub use known_tables::{KnownTables, NamesInUse};
pub use limit::Limit;
pub use memory::{Memory, Reservation};
pub use pool::{Borrowed, Pool, PoolOptions};
pub use pooler::Pooled;
pub use savepoint::Savepoint;
pub use server_report::ServerReport;
pub use settings::{
    TransactionSettings, begin_anew, literal, must_be_in_transaction, not_begun, server_timeout,
    without_read_timeout,
};
pub use usage::{ProcessUsage, per_second};
