//! Types whose values are split into several buffers: structs and lists of primitives.

use std::fmt;

use arrow_array::ArrayRef;
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::chunk::{Chunk, NULL_BYTES_SMALL, ROOM_MIN, take_value};
use crate::column::Column;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{capacity_bytes, extrapolate, make_room, make_room_in_all};

/// The buffers of a type, and how a value is split into them.
pub(crate) trait Parts: fmt::Debug + Send + 'static {
    /// Appends a row. A NULL gets placeholder values, which the parent's validity hides. After an error the
    /// buffers may hold part of the row, until they are truncated.
    fn append(&mut self, value: Option<&[u8]>) -> Result<(), ValueError>;

    /// Forgets all rows behind the first `rows`.
    fn truncate(&mut self, rows: usize);

    /// Makes room for this number of rows in all, judging by the present ones.
    fn expect_rows(&mut self, rows: usize);

    /// Bytes of Arrow data.
    fn bytes(&self) -> usize;

    /// Bytes allocated.
    fn allocated_bytes(&self) -> usize;

    /// Bytes of Arrow data of a NULL.
    fn null_bytes(&self) -> usize;

    /// Hands out the rows and starts anew.
    fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef;
}

/// A column of values that are split into parts.
#[derive(Debug)]
pub(crate) struct PartsColumn<P: Parts> {
    parts: P,
    nulls: Nulls,
}

impl<P: Parts> PartsColumn<P> {
    pub(crate) fn new(parts: P) -> Self {
        Self { parts, nulls: Nulls::new() }
    }

    /// Bytes of a NULL if they are much more than its bytes on the wire, otherwise 0.
    fn expanded_null_bytes(&self) -> usize {
        Some(self.parts.null_bytes()).filter(|n_bytes| *n_bytes > NULL_BYTES_SMALL).unwrap_or(0)
    }
}

impl<P: Parts> Column for PartsColumn<P> {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let room = chunk.room().max(ROOM_MIN);
        let (bytes, cursors) = chunk.parts();
        let n_rows = cursors.len();
        let null_bytes = self.expanded_null_bytes();
        let mut nulls_bytes = 0;
        let valid = self.nulls.scratch();
        for (row, (cursor, valid)) in cursors.iter_mut().zip(valid).enumerate() {
            let at_row = |cause| RowError { row, cause };
            let value = take_value(bytes, cursor).map_err(at_row)?;
            *valid = value.is_some();
            self.parts.append(value).map_err(at_row)?;
            if value.is_none() {
                nulls_bytes += null_bytes;
                if nulls_bytes > room {
                    return Err(at_row(ValueError::ChunkFull));
                }
            }
        }
        self.nulls.commit(n_rows);
        chunk.use_room(nulls_bytes);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.parts.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        self.parts.expect_rows(rows);
    }

    fn bytes(&self) -> usize {
        self.parts.bytes()
    }

    fn allocated_bytes(&self) -> usize {
        self.parts.allocated_bytes() + self.nulls.allocated_bytes()
    }

    fn expanded_bytes(&self, rows: usize) -> usize {
        rows * self.expanded_null_bytes()
    }

    fn null_bytes(&self) -> usize {
        self.parts.null_bytes()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        Ok(self.parts.finish(self.nulls.finish()))
    }
}

/// Where the list of each row ends.
#[derive(Debug)]
pub(crate) struct Offsets(Vec<i32>);

impl Offsets {
    pub(crate) fn new() -> Self {
        Self(vec![0])
    }

    /// The next row's list ends at item `end`.
    pub(crate) fn push(&mut self, end: usize) -> Result<(), ValueError> {
        let end = i32::try_from(end).map_err(|_| ValueError::BatchTooLarge)?;
        make_room(&mut self.0, 1);
        self.0.push(end);
        Ok(())
    }

    /// Forgets the lists behind the first `rows`. Returns where the items of the others end.
    pub(crate) fn truncate(&mut self, rows: usize) -> usize {
        self.0.truncate(rows + 1);
        self.0.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0)
    }

    /// Makes room for the lists of `rows` rows. Returns how many items they probably have, judging by the
    /// present `n_items`.
    pub(crate) fn expect_rows(&mut self, n_items: usize, rows: usize) -> usize {
        make_room_in_all(&mut self.0, rows + 1);
        extrapolate(n_items, self.0.len() - 1, rows)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.0)
    }

    pub(crate) fn finish(&mut self) -> OffsetBuffer<i32> {
        // The offsets start at 0 and never decrease, since items are only appended.
        OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut self.0, vec![0])))
    }
}
