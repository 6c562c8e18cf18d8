//! Some rows whose values lie in one slice, and where in it each row's next value starts.

use crate::error::ValueError;

/// Rows in a chunk at most. Flat from 64 to 512 in measurements, worse from 1,024.
pub const CHUNK_ROWS: usize = 256;

/// The length that stands for NULL.
pub(crate) const NULL: u32 = u32::MAX;

/// A cursor at no value: that of a row whose value is missing because what it would be a part of is NULL, or has no
/// such part. It reads as NULL, and stays where it is. No slice is so long, so quick loops find nothing there and leave
/// it to [`take_value`].
pub(crate) const ABSENT: u32 = u32::MAX;

/// What a chunk may always add, in bytes: far above what values of ordinary size come to. So that the last rows of a
/// batch are not decoded one by one.
pub(crate) const ROOM_MIN: usize = 16 << 10;

/// What values of a chunk may add at most, in bytes, however few they are: as much as the largest batch.
pub const ROOM_MAX: usize = 1 << 30;

/// A NULL of more than this, in bytes of Arrow, is counted against the room of the chunk.
pub(crate) const NULL_BYTES_SMALL: usize = 64;

/// Some rows of a stream, being decoded column by column.
#[derive(Debug)]
pub struct Chunk<'a> {
    bytes: &'a [u8],
    cursors: &'a mut [u32],
    room: usize,
}

impl<'a> Chunk<'a> {
    /// `cursors` has one entry per row, at most [`CHUNK_ROWS`]: the offset in `bytes` of the length
    /// of the row's next value. Offsets outside `bytes` are found and refused when they are read.
    pub fn new(bytes: &'a [u8], cursors: &'a mut [u32]) -> Self {
        debug_assert!(cursors.len() <= CHUNK_ROWS);
        Self { bytes, cursors, room: ROOM_MAX }
    }

    /// Limits what values that are much larger in Arrow than on the wire may add, in bytes. A column whose values
    /// pass it stops the chunk there, with [`ValueError::ChunkFull`]; so it may with the only row of a chunk. Without
    /// a limit it is [`ROOM_MAX`].
    #[must_use]
    pub fn with_room(self, room: usize) -> Self {
        Self { room, ..self }
    }

    /// What is left of [`with_room`](Self::with_room) for the columns that come.
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
/// The careful way, which every fast loop falls back to.
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
    // No overflow: the value lies in `bytes`, whose length fits u32 (checked where chunks are made).
    *cursor += 4 + length;
    Ok(Some(value))
}
