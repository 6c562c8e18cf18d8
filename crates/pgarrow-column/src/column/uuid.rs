//! `uuid`: sixteen bytes, copied unchanged.
//!
//! Source: `uuid_send` in PostgreSQL's `src/backend/utils/adt/uuid.c`.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, FixedSizeBinaryArray};
use arrow_buffer::Buffer;

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::column::fixed::{Nullable, Wire};
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{BufferReuse, Spare, capacity_bytes, make_room};
use crate::stored::{STORED_NULL, StoredChunk};

const WIDTH: usize = 16;
/// The length in front of a value.
const LENGTH: u32 = 16;

/// To `FixedSizeBinary(16)`.
#[derive(Debug)]
pub(crate) struct UuidColumn {
    values: Vec<u8>,
    nulls: Nulls,
    spare: Spare<u8>,
}

impl UuidColumn {
    pub(crate) fn new(rows: usize) -> Self {
        Self { values: Vec::new(), nulls: Nulls::new(), spare: Spare::new(rows * WIDTH) }
    }

    fn make_room(&mut self, rows: usize) {
        if self.values.capacity() == 0 {
            self.values = self.spare.take();
            self.values.clear();
        }
        make_room(&mut self.values, rows * WIDTH);
    }
}

impl Column for UuidColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let (bytes, cursors) = chunk.parts();
        self.make_room(cursors.len());
        let before = self.values.len();
        self.values.resize(before + cursors.len() * WIDTH, 0);
        let (slots, _) = self.values.get_mut(before..).unwrap_or_default().as_chunks_mut();
        let n_rows = cursors.len();
        let valid = self.nulls.scratch();
        // Until the first NULL, a branch for each value costs less than none.
        let mut n_plain = 0;
        for ((cursor, valid), slot) in cursors.iter_mut().zip(&mut *valid).zip(&mut *slots) {
            let Some((LENGTH, value)) = <[u8; WIDTH]>::framed(bytes, *cursor as usize) else { break };
            (*slot, *valid) = (value, true);
            *cursor += 4 + LENGTH;
            n_plain += 1;
        }
        let mut left = Nullable { bytes, cursors, valid, slots, row: n_plain, any_null: false };
        while let Some((cursor, row)) = left.until_careful([0; WIDTH], Some) {
            let value = take_value(bytes, cursor).map_err(|cause| RowError { row, cause })?;
            let value = value.map(|value| {
                let found = value.len();
                let cause = ValueError::Width { expected: WIDTH, found };
                <[u8; WIDTH]>::try_from(value).map_err(|_| RowError { row, cause })
            });
            left.put(value.transpose()?);
        }
        let any_null = left.any_null;
        self.nulls.append_chunk(n_rows, any_null);
        Ok(())
    }

    fn decode_stored(&mut self, chunk: &StoredChunk<'_>) -> Result<bool, RowError> {
        self.make_room(chunk.rows());
        for (row, (start, valid)) in chunk.starts.iter().zip(self.nulls.scratch()).enumerate() {
            *valid = *start != STORED_NULL;
            let value = match *valid {
                true => <[u8; WIDTH]>::stored(chunk.bytes, *start as usize),
                false => Some([0; WIDTH]),
            };
            let value = value.ok_or(RowError { row, cause: ValueError::Length })?;
            self.values.extend_from_slice(&value);
        }
        self.nulls.append_chunk(chunk.rows(), chunk.has_nulls);
        Ok(true)
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows * WIDTH);
        self.nulls.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        self.spare.foresee(&mut self.values, rows * WIDTH);
    }

    fn bytes(&self) -> usize {
        self.values.len()
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.values) + self.nulls.allocated_bytes() + self.spare.allocated_bytes()
    }

    fn null_bytes(&self) -> usize {
        WIDTH
    }

    fn recycle(&mut self, array: ArrayRef) {
        let buffer = array.as_fixed_size_binary_opt().map(|array| array.values().clone());
        if let Some(buffer) = buffer {
            drop(array);
            self.spare.give(buffer);
        }
    }

    fn reuse(&self) -> BufferReuse {
        self.spare.reuse()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.spare.learn(self.values.len());
        let values = Buffer::from_vec(std::mem::take(&mut self.values));
        Ok(Arc::new(FixedSizeBinaryArray::new(16, values, self.nulls.finish())))
    }
}
