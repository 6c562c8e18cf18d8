//! Record batches to an Arrow IPC file or stream.
//!
//! ```text
//! stream = schema batch* end                        read front to back, fit for a pipe
//! file   = "ARROW1" stream footer "ARROW1"          the footer has the place of each batch
//! ```
//!
//! Parts encode their batches by themselves, and hold them only while they wait for their turn: only
//! appending needs the lock. Batches of several parts are in the file in the order in which they arrive.
//!
//! A stream that was cut between two batches looks complete to many readers. A file cannot be cut like this,
//! since it has no name until it is complete; behind a pipe only the exit code tells.
#![forbid(unsafe_code)]

mod encode;
mod file;
mod format;
mod options;
mod ours;
mod sink;

pub use options::{IpcCompression, IpcFormat, IpcOptions};
pub use ours::is_ours;
pub use sink::IpcSink;
