//! Finds values in `COPY … (FORMAT binary)` and hands them to columns: bytes in, batches out.
//!
//! ```text
//! stream  = signature flags extension tuple* trailer
//!
//! signature  "PGCOPY\n" FF 0D 0A 00                         11 bytes
//! flags      u32; bits 16 to 31 must be zero or we stop      4 bytes
//! extension  u32 length, then that many bytes to skip        4 + n bytes
//! tuple      i16 number of values, then the values           2 + ... bytes
//! value      i32 length, then that many bytes; -1 is null    4 + n bytes
//! trailer    i16 = -1                                        2 bytes
//! ```
//!
//! The stream arrives cut into `CopyData` messages: tag `d`, u32 length (itself included), payload.
//! PostgreSQL puts one tuple into each, and the header before the first one. That is its habit, not
//! the protocol's promise, so there are two ways to the same rows:
//!
//! - *framed*: as long as every message is exactly one tuple, the messages show where rows are, and columns
//!   read them in place ([`CopyDecoder`]'s fast way);
//! - *stitched*: payloads are joined in a buffer, and rows are found by walking the lengths of their values.
//!   Message boundaries do not matter. Chunks that fail in the framed way are decoded again in this way,
//!   which finds the exact error, if there is one.
//!
//! Rows of a SELECT or a cursor come as DataRow messages, tag `D`, whose bodies are tuples of COPY, without
//! header and trailer. There, a message *is* a row ([`CopyDecoder::for_rows`]).
//!
//! A message too large for the receive buffer need not be in one buffer at all: its values are received into
//! their columns ([`CopyDecoder::decode_large`]).
//!
//! The crate does no IO, spawns nothing and reads no clock. Bytes are read with checked slices only.
//!
//! Source: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format"; `copyto.c` in
//! PostgreSQL's `src/backend/commands/`.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::indexing_slicing
    )
)]

mod batch;
mod conform;
mod decoder;
mod error;
mod frame;
mod large;
mod sift;
mod stitch;

pub use batch::{BatchLimits, ChunkSource};
pub use decoder::{CopyDecoder, Progress, StopReason};
pub use error::{ChunkRefused, DecodeError, FramingError};
pub use large::{LARGE_FRAME_BYTES, LargeError, LargeSource};
pub use pgarrow_column::{BufferReuse, Effect, Effects};
pub use sift::RejectedRow;
