//! Some rows of a heap, and the places of one column's values in its pages.

use crate::chunk::{ABSENT, CHUNK_ROWS};

/// The start of a value that is NULL.
pub const STORED_NULL: u32 = ABSENT;

/// One column's values of some rows, as PostgreSQL stores them in pages: integers little-endian, nothing
/// aligned; of varlena the content behind the header, neither compressed nor out of line.
#[derive(Clone, Copy, Debug)]
pub struct StoredChunk<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) starts: &'a [u32],
    pub(crate) lengths: &'a [u32],
    pub(crate) has_nulls: bool,
}

impl<'a> StoredChunk<'a> {
    /// `starts` has one offset in `bytes` per row, or [`STORED_NULL`], for at most [`CHUNK_ROWS`] rows.
    /// `lengths` has a length in bytes per row, 0 for NULL, or is empty for types of one fixed width. Without
    /// `has_nulls` no start is [`STORED_NULL`]. Offsets and lengths outside of `bytes` are refused when they
    /// are read.
    pub fn new(bytes: &'a [u8], starts: &'a [u32], lengths: &'a [u32], has_nulls: bool) -> Self {
        debug_assert!(starts.len() <= CHUNK_ROWS);
        Self { bytes, starts, lengths, has_nulls }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.starts.len()
    }
}
