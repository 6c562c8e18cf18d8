//! Values inside values: elements of arrays, keys of maps.

use arrow_array::ArrayRef;

use crate::chunk::{ABSENT, CHUNK_ROWS, Chunk, NULL};
use crate::column::Column;
use crate::effect::Effects;
use crate::error::{RowError, ValueError};
use crate::spare::{BufferReuse, extrapolate};

/// The column of the inner values, and the values that wait until they are a chunk.
///
/// Errors name the element by its number in the batch.
#[derive(Debug)]
pub(crate) struct Elements {
    column: Box<dyn Column>,
    waiting: [u32; CHUNK_ROWS],
    n_waiting: usize,
    n_decoded: usize,
}

impl Elements {
    pub(crate) fn new(column: Box<dyn Column>) -> Self {
        Self { column, waiting: [ABSENT; CHUNK_ROWS], n_waiting: 0, n_decoded: 0 }
    }

    /// The number of pushed elements.
    pub(crate) fn len(&self) -> usize {
        self.n_decoded + self.n_waiting
    }

    /// Takes the element whose length is at `cursor`.
    #[inline]
    pub(crate) fn push(&mut self, chunk: &mut Inside<'_>, cursor: u32) -> Result<(), RowError> {
        if self.n_waiting == CHUNK_ROWS {
            self.flush(chunk)?;
        }
        if let Some(slot) = self.waiting.get_mut(self.n_waiting) {
            *slot = cursor;
            self.n_waiting += 1;
        }
        Ok(())
    }

    /// Takes `n` elements that follow each other from `at` on and must not go past `end`. Returns where they
    /// end, and whether one of them is NULL.
    #[inline]
    pub(crate) fn push_all(
        &mut self,
        chunk: &mut Inside<'_>,
        mut at: usize,
        end: usize,
        n: usize,
    ) -> Result<(usize, bool), RowError> {
        let bytes = chunk.bytes.get(..end).unwrap_or_default();
        let mut any_null = false;
        let mut n_left = n;
        while n_left > 0 {
            if self.n_waiting == CHUNK_ROWS {
                self.flush(chunk)?;
            }
            let slots = self.waiting.get_mut(self.n_waiting..).unwrap_or_default();
            let n_now = n_left.min(slots.len());
            for slot in slots.iter_mut().take(n_now) {
                let Some(length) = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>) else {
                    return Err(RowError { row: self.len(), cause: ValueError::Length });
                };
                // The place is in the chunk, which is shorter than 4 GiB.
                #[expect(clippy::cast_possible_truncation, reason = "an offset in a chunk")]
                let cursor = at as u32;
                *slot = cursor;
                at += 4;
                match u32::from_be_bytes(*length) {
                    NULL => any_null = true,
                    length => at += length as usize,
                }
            }
            if at > end {
                return Err(RowError { row: self.len(), cause: ValueError::Length });
            }
            self.n_waiting += n_now;
            n_left -= n_now;
        }
        Ok((at, any_null))
    }

    /// Decodes the waiting elements.
    pub(crate) fn flush(&mut self, chunk: &mut Inside<'_>) -> Result<(), RowError> {
        let cursors = self.waiting.get_mut(..self.n_waiting).unwrap_or_default();
        if cursors.is_empty() {
            return Ok(());
        }
        let n_decoded = self.n_decoded;
        let at_element = |error: RowError| RowError { row: n_decoded + error.row, ..error };
        let mut elements = Chunk::new(chunk.bytes, cursors).with_room(chunk.room);
        self.column.decode(&mut elements).map_err(at_element)?;
        chunk.room = elements.room();
        self.n_decoded += self.n_waiting;
        self.n_waiting = 0;
        Ok(())
    }

    pub(crate) fn truncate(&mut self, n_elements: usize) {
        self.column.truncate(n_elements);
        self.n_decoded = n_elements;
        self.n_waiting = 0;
    }

    /// Makes room for the elements of `rows` rows, judging by the `n_rows` present rows.
    pub(crate) fn expect(&mut self, n_rows: usize, rows: usize) {
        self.column.expect_rows(extrapolate(self.n_decoded, n_rows, rows));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.column.bytes()
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        self.column.allocated_bytes() + size_of_val(&self.waiting)
    }

    pub(crate) fn expanded_bytes(&self, n_elements: usize) -> usize {
        self.column.expanded_bytes(n_elements)
    }

    pub(crate) fn take_effects(&mut self, effects: &mut Effects) {
        self.column.take_effects(effects);
    }

    pub(crate) fn recycle(&mut self, array: ArrayRef) {
        self.column.recycle(array);
    }

    pub(crate) fn reuse(&self) -> BufferReuse {
        self.column.reuse()
    }

    pub(crate) fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.n_decoded = 0;
        self.column.finish()
    }
}

/// The bytes of a chunk, and the room that its values still have.
#[derive(Debug)]
pub(crate) struct Inside<'b> {
    pub(crate) bytes: &'b [u8],
    pub(crate) room: usize,
}

/// The value whose length is at `cursor`, which must end at `end` or before. Returns its place, or `None` for
/// NULL, and where the next value begins.
#[inline]
pub(crate) fn value_within(
    bytes: &[u8],
    cursor: usize,
    end: usize,
) -> Result<(Option<std::ops::Range<usize>>, usize), ValueError> {
    let length = bytes.get(cursor..end).and_then(<[u8]>::first_chunk::<4>).ok_or(ValueError::Length)?;
    let length = u32::from_be_bytes(*length);
    let start = cursor + 4;
    if length == NULL {
        return Ok((None, start));
    }
    let next = start + length as usize;
    if next > end {
        return Err(ValueError::Length);
    }
    Ok((Some(start..next), next))
}

/// The row with this element. `offsets` has the end of each row's elements, and one more entry than rows.
/// Elements of the row under construction come last.
pub(crate) fn row_of(offsets: &[i32], element: usize) -> usize {
    let is_before = |end: &i32| usize::try_from(*end).is_ok_and(|end| end <= element);
    offsets.partition_point(is_before).saturating_sub(1)
}

/// A place in a chunk as a cursor: chunks are shorter than 4 GiB.
#[inline]
pub(crate) fn cursor_at(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(ABSENT)
}
