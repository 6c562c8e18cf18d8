//! Where batches go: [`Sink`], [`Part`], [`Written`], and publishing a file atomically.
//!
//! ```text
//! reader 0 ─▶ Part 0 ── encodes ──┐ short lock
//! reader 1 ─▶ Part 1 ── encodes ──┼────────────▶ Sink ── commit ──▶ Output::publish ──▶ Written
//! reader 2 ─▶ Part 2 ── encodes ──┘                                 flush, sync, rename, sync folder
//! ```
//!
//! A sink has two levels because encoding is the expensive half of an export: every reader encodes its own
//! batches, and only what is encoded crosses a lock. This crate holds the contract and the file handling
//! that all sinks share; the formats are crates of their own (`pgarrow-sink-parquet`, `pgarrow-sink-ipc`).
//!
//! **Invariant:** an output that was not committed is never mistaken for a complete one. A file exists under
//! a hidden temporary name until [`Output::publish`] has made it durable.
#![forbid(unsafe_code)]

mod error;
mod output;
mod sink;
mod tally;
mod target;

#[cfg(feature = "testing")]
pub mod conformance;

pub use error::{SinkError, SinkErrorKind};
pub use output::{Output, Published};
pub use sink::{Part, Sink, SinkTimes, Written, WrittenFile, check_batch};
pub use tally::PartTally;
