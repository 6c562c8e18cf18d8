//! An ADBC driver for PostgreSQL, version 1.1 of the interface.
//!
//! ```text
//!  Driver ─▶ Database ─▶ Connection ─▶ Statement ──execute──▶ a reader of batches
//!             options     a session      SQL, bound values       └─ has the session until its end
//!                │           ├─ get_objects, get_statistics, …      by catalog queries
//!                │           └─ ingest: a load in the connection's own transaction
//!                └─ partitions: slices of an export, which any connection reads
//! ```
//!
//! Every statement runs in the connection's own session, in its transaction and with its settings, as in
//! psql: nothing is made read-only, and no second session is opened unless partitions or several readers are
//! asked for. Types become what they become in an export.
//!
//! Programs load the library (`libpgarrow_adbc.so`) with a driver manager; its entry point is
//! `PgarrowDriverInit`. In Rust, [`PgarrowDriver`] is an `adbc_core::Driver`.
//!
//! Source: <https://arrow.apache.org/adbc/current/format/specification.html>, and `adbc.h`.

#![forbid(unsafe_code)]

mod binding;
mod connection;
mod current;
mod database;
mod driver;
mod entry;
mod error;
mod info;
mod ingest;
mod link;
mod nest;
mod objects;
mod operation;
mod partitions;
mod prepared;
mod results;
mod settings;
mod statement;
mod statistics;
mod tables;
mod value;

pub use connection::PgarrowConnection;
pub use database::PgarrowDatabase;
pub use driver::PgarrowDriver;
pub use statement::PgarrowStatement;
