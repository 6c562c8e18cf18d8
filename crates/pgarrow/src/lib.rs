//! PostgreSQL into Arrow, and back: the interface for embedding programs.
//!
//! ```text
//!  Source ──table(), query()──▶ Extract ──open()──▶ Run ──write_to(sink)──▶ Report
//!                                  │                 └──for_each(batch)───▶ Report
//!                                  ├──stream()──▶ BatchStream   (async, any runtime)
//!                                  ├──reader()──▶ BatchReader   (blocking)
//!                                  └──copy_table(extract, load)──▶ Copied   (into another PostgreSQL)
//! ```
//!
//! An export runs in one read-only transaction with one snapshot, and it has succeeded only when the server
//! has confirmed the number of rows that were decoded. No value changes silently: what Arrow cannot hold
//! stops the export with an error that names table, column and row.
//!
//! | feature | what it adds |
//! |---|---|
//! | `parquet` | [`parquet`]: Parquet files and folders as the output of an export |
//! | `ipc` | [`ipc`]: Arrow IPC files, streams and folders as the output of an export |
//! | `load` | [`load`]: batches, files and exports into a table |
//!
//! All three are on by default. With `default-features = false`, an export gives batches only.
//!
//! A table as a stream of batches (`examples/stream_table.rs`; `examples/read_table.rs` does without async):
//!
#![doc = "```no_run"]
#![doc = include_str!("../examples/stream_table.rs")]
#![doc = "```"]
#![forbid(unsafe_code)]

#[cfg(feature = "load")]
mod copy;

pub use pgarrow_export::*;

/// The Arrow crates that pgarrow is built with: batches of another version have other types.
pub mod arrow {
    pub use arrow_array as array;
    pub use arrow_schema as schema;
}

/// Where batches go: the contract of an output, and files and folders that appear when they are complete.
pub use pgarrow_sink as sink;

#[cfg(feature = "ipc")]
pub use pgarrow_sink_ipc as ipc;
#[cfg(feature = "parquet")]
pub use pgarrow_sink_parquet as parquet;

#[cfg(feature = "load")]
pub use copy::{Copied, copy_table};
#[cfg(feature = "load")]
pub use pgarrow_load as load;
