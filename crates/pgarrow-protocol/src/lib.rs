//! The part of PostgreSQL's wire protocol that COPY needs.
//!
//! ```text
//!  Config ──connect──▶ Session ─┬─ execute, query, describe     small answers, whole
//!                               ├─ copy_out ──▶ CopyOut         rows as bytes, in place: a RowStream
//!                               ├─ select_out, cursor_out ──▶ RowsOut     the same where COPY is refused
//!                               ├─ copy_in  ──▶ CopyIn          rows as bytes, on their way out
//!                               ├─ bulk     ──▶ Bulk            one statement many times, binary parameters
//!                               ├─ prepare, run ──▶ Portal      a caller's statement, its rows a part at a time
//!                               ├─ commit                       the outcome is known, or reported as unknown
//!                               └─ canceller, interrupter       handles for other threads
//! ```
//!
//! Supported: protocols 3.0 and 3.2 over TCP, Unix sockets and TLS (rustls); trust, password, md5,
//! SCRAM-SHA-256 and -PLUS, client certificates; the simple and the extended query protocol; COPY in both
//! directions. Not supported: GSSAPI, SSPI, OAuth, replication.
//!
//! The crate blocks: one [`Session`] belongs to one thread. It knows nothing of Arrow.
//!
//! No message from a server can make it panic, or allocate more than the server really sent. This crate's own
//! code finds the ends of messages and reads them through a cursor that cannot overrun. `pgwire` only encodes
//! what is sent.
//!
//! Start reading at `session.rs`, then `copy_out.rs`.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol.html>.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

mod ahead;
mod answer;
mod auth;
mod backend;
mod bulk;
mod commit;
mod config;
mod connect;
mod copy_in;
mod copy_out;
mod cursor;
mod describe;
mod dial;
mod error;
mod execution;
mod file;
mod frame;
mod frontend;
mod interrupt;
mod pipeline;
mod portal;
mod query;
mod receive;
mod row_stream;
mod rows_out;
mod scram;
mod server_error;
mod session;
mod socket;
mod sys;
mod text;
mod tls;
mod wire;

pub use answer::{Answer, Description, Row};
pub use backend::{ColumnDescription, TransactionStatus};
pub use bulk::Bulk;
pub use config::{Config, SslMode};
pub use copy_in::CopyIn;
pub use copy_out::CopyOut;
pub use error::{Error, ErrorKind};
pub use execution::{Execution, Parameter};
pub use interrupt::Interrupter;
pub use pipeline::{AskedBehind, PIPELINE_BYTES_MAX, Question, Replies, Reply, UNDO};
pub use portal::{Portal, PortalRows};
pub use row_stream::{CopyOutStep, RowStream};
pub use rows_out::RowsOut;
pub use server_error::ServerError;
pub use session::{Canceller, Session};
pub use text::escape_control;
