//! Where batches go: [`Sink`], [`Part`], [`Written`], and publishing a file atomically.
//!
//! ```text
//! reader 0 ─▶ Part 0 ── encodes ──┐ chunks, in their turn
//! reader 1 ─▶ Part 1 ── encodes ──┼──────────────────────▶ Sink ── commit ──▶ Output::publish ──▶ Written
//! reader 2 ─▶ Part 2 ── encodes ──┘                                       flush, sync, rename, sync folder
//! ```
//!
//! A sink has two levels because encoding is the expensive half of an export: every reader encodes its own
//! batches, and only encoded chunks cross a lock. A format defines how to encode a batch and how to append a
//! chunk; [`SinkWriter`] keeps order, turns, counts of rows and times, once for all formats. This crate holds
//! the contract and the file handling that all sinks share; the formats are crates of their own
//! (`pgarrow-sink-parquet`, `pgarrow-sink-ipc`).
//!
//! A sink writes to [`Outputs`]: one [`Output`], or a series of files in an [`OutputFolder`]. [`Lanes`] is
//! the part of that which sinks share: which lane appends to which file, and when a file ends.
//!
//! **Invariant:** an output that was not committed is never mistaken for a complete one. A file exists under
//! a hidden temporary name, or in a hidden folder, until [`Output::publish`] or [`OutputFolder::publish`] has
//! made it durable.
#![forbid(unsafe_code)]

mod chunk;
mod error;
mod file_name;
mod folder;
mod hidden_file;
mod hidden_folder;
mod lanes;
mod manifest;
mod output;
mod outputs;
mod replace;
mod sink;
mod stale;
mod writer;

#[cfg(feature = "testing")]
pub mod conformance;

pub use chunk::{Chunk, Chunks};
pub use error::{SinkError, SinkErrorKind};
pub use file_name::{file_name_for, file_names_for, path_part_for};
pub use folder::{NewFolder, OutputFolder};
pub use lanes::{FileEnd, FileFormat, FileWriter, Lanes};
pub use manifest::{MANIFEST, files_of_manifest, manifest_files, new_run_id};
pub use output::{Output, Published, Upload, Withheld, hexadecimal};
pub use outputs::{FolderOptions, Outputs};
/// The parts of texts for people.
pub use pgarrow_types::{Hint, Message, message, option};
pub use sink::{ColumnRange, MANY_LANES, Part, Sink, SinkTimes, Stop, Written, WrittenFile, check_batch};
pub use writer::{PartTotals, PartWriter, SinkWriter};
