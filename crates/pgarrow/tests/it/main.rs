//! The library with real PostgreSQL servers, and with servers that break.
//!
//! ```text
//! support       a Source in a database of its own, exports collected, polling with a deadline
//! render        Arrow values back into PostgreSQL's text, written independently of the decoders
//! liar          a relay in front of a real server that changes its messages
//! golden        recorded streams of every type: see testdata/README.md
//! differential  values of every type that the server has, in every nesting
//! every_type    a database with every type to files, read back by other programs
//! type_table    the book's table of types
//! ```
//!
//! The reference for every value is the text that the server itself prints for it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which fail by panicking"
)]

mod advice;
mod choices;
mod complete;
mod copy;
mod counts;
mod describing;
mod differential;
mod edges;
mod embedded_faults;
mod embedding;
mod encodings;
mod every_type;
mod example;
mod faults;
mod golden;
mod hostile;
mod in_turn;
mod liar;
mod loads;
mod memory;
mod moments;
mod names;
mod pages_concurrency;
mod pages_equality;
mod pages_faults;
mod pages_history;
mod pages_planning;
mod pages_security;
mod pages_unmarked;
mod params;
mod planning;
mod pooler;
mod progress;
mod queries;
mod readers;
mod refused;
mod rejected;
mod relations;
mod relatives;
mod render;
mod resolving;
mod retries;
mod round_trips;
mod schema;
mod sinks;
mod snapshot;
mod soak;
mod standby;
mod stream;
mod support;
mod timeouts;
mod type_table;
mod types;
mod values;
