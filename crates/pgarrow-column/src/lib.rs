//! Values on the wire → Arrow columns: one file per conversion.
//!
//! ```text
//!            row 0            row 1            row 2
//!  bytes   …│len│value│len│v…│len│value│len│v…│len│value│len│v…
//!           ▲                ▲                ▲
//!  cursors  └ 0              └ 1              └ 2      one per row, each at its next value's length
//!
//!  column 0 decodes its value in every row and moves every cursor behind it; then column 1; …
//! ```
//!
//! A *chunk* is a few hundred rows whose values lie in one slice of bytes. The decode crate finds the rows
//! and sets the cursors; each [`Column`] then runs one loop over the chunk. No value of a row depends on the
//! one before it, so the processor overlaps them.
//!
//! A value is a length (i32, big-endian; -1 is NULL) and that many bytes. COPY tuples, DataRows,
//! array elements, composite fields and range bounds all have this form.
//!
//! The crate does no IO, spawns nothing and reads no clock. All bytes are read with checked slices.
//! Start at [`Column`], then [`make_column`], then any file in `column/`.

#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::indexing_slicing
    )
)]

mod bits;
mod chunk;
mod column;
mod effect;
mod error;
mod nulls;
mod raw;
mod spare;
mod stored;
mod strings;

pub use chunk::{CHUNK_ROWS, Chunk, ROOM_MAX};
pub use column::{Column, make_column};
pub use effect::{Effect, Effects};
pub use error::{RowError, ValueError};
pub use spare::BufferReuse;
pub use stored::{STORED_NULL, StoredChunk};
