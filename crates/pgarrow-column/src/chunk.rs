//! Some rows with their values in one slice, and the start of each row's next value.

use crate::error::ValueError;

/// The most rows of a chunk. Measured: no difference from 64 to 512, worse from 1,024.
pub const CHUNK_ROWS: usize = 256;

/// The length that stands for NULL.
pub(crate) const NULL: u32 = u32::MAX;

/// The cursor of a row without a value, since the containing value is NULL or has no such part. It reads as
/// NULL and does not move. No slice is this long, so quick loops find nothing there and leave it to
/// [`take_value`].
pub(crate) const ABSENT: u32 = u32::MAX;

/// Bytes that a chunk may always add: far more than values of ordinary size need. So the last rows of a batch
/// are not decoded one by one.
pub(crate) const ROOM_MIN: usize = 16 << 10;

/// The most bytes that values of a chunk may add, however few they are: the size of the largest batch.
pub const ROOM_MAX: usize = 1 << 30;

/// A NULL with more bytes of Arrow than this counts against the room of the chunk.
pub(crate) const NULL_BYTES_SMALL: usize = 64;

/// Some rows of a stream, decoded column by column.
#[derive(Debug)]
pub struct Chunk<'a> {
    bytes: &'a [u8],
    cursors: &'a mut [u32],
    room: usize,
}

impl<'a> Chunk<'a> {
    /// `cursors` has one entry per row, at most [`CHUNK_ROWS`]: the offset in `bytes` of the length of the
    /// row's next value. Offsets outside `bytes` are refused when they are read.
    pub fn new(bytes: &'a [u8], cursors: &'a mut [u32]) -> Self {
        debug_assert!(cursors.len() <= CHUNK_ROWS);
        Self { bytes, cursors, room: ROOM_MAX }
    }

    /// Limits the bytes that values much larger in Arrow than on the wire may add. A column whose values
    /// exceed the limit stops the chunk there with [`ValueError::ChunkFull`], even if the chunk has only one
    /// row. The default is [`ROOM_MAX`].
    #[must_use]
    pub fn with_room(self, room: usize) -> Self {
        Self { room, ..self }
    }

    /// The rest of [`with_room`](Self::with_room) for later columns.
    pub fn room(&self) -> usize {
        self.room
    }

    pub(crate) fn use_room(&mut self, n_bytes: usize) {
        self.room = self.room.saturating_sub(n_bytes);
    }

    /// Rows in the chunk.
    pub fn rows(&self) -> usize {
        self.cursors.len()
    }

    pub(crate) fn set_room(&mut self, n_bytes: usize) {
        self.room = n_bytes;
    }

    pub(crate) fn parts(&mut self) -> (&'a [u8], &mut [u32]) {
        (self.bytes, self.cursors)
    }
}

/// The value at `cursor`: `None` if it is NULL. Moves the cursor behind it.
///
/// The careful way. Every fast loop falls back to it.
#[inline]
pub(crate) fn take_value<'b>(bytes: &'b [u8], cursor: &mut u32) -> Result<Option<&'b [u8]>, ValueError> {
    if *cursor == ABSENT {
        return Ok(None);
    }
    let at = *cursor as usize;
    let (length, rest) =
        bytes.get(at..).and_then(<[u8]>::split_first_chunk::<4>).ok_or(ValueError::Length)?;
    let length = u32::from_be_bytes(*length);
    if length == NULL {
        *cursor += 4;
        return Ok(None);
    }
    let value = rest.get(..length as usize).ok_or(ValueError::Length)?;
    // No overflow: the value is in `bytes`, whose length fits u32 (checked where chunks are made).
    *cursor += 4 + length;
    Ok(Some(value))
}
