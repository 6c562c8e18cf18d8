//! `bool`: one byte, 0 or 1.
//!
//! Source: `boolsend` in PostgreSQL's `src/backend/utils/adt/bool.c`.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, BooleanArray};

use crate::bits::Bits;
use crate::chunk::{CHUNK_ROWS, Chunk, take_value};
use crate::column::Column;
use crate::column::fixed::{Nullable, Wire};
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{BufferReuse, Spare};
use crate::stored::{STORED_NULL, StoredChunk};

/// Arrow keeps booleans as bits; a chunk is decoded to bytes and packed at once.
#[derive(Debug)]
pub(crate) struct BoolColumn {
    bits: Bits,
    nulls: Nulls,
    scratch: [bool; CHUNK_ROWS],
    expect_nulls: bool,
    spare: Spare<u8>,
}

impl BoolColumn {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            bits: Bits::default(),
            nulls: Nulls::new(),
            scratch: [false; CHUNK_ROWS],
            expect_nulls: false,
            spare: Spare::new(rows.div_ceil(8)),
        }
    }

    fn begin_batch(&mut self) {
        if self.bits.capacity_bytes() == 0 {
            self.bits = Bits::in_buffer(self.spare.take());
        }
    }

    /// As `FixedColumn::decode_all_valid`: one loop without an exit; if a value is wrong, everything is
    /// undone.
    fn decode_all_valid(&mut self, bytes: &[u8], cursors: &mut [u32]) -> bool {
        let mut wrong = 0;
        for (cursor, slot) in cursors.iter_mut().zip(&mut self.scratch) {
            let (length, [byte]) = <[u8; 1]>::framed(bytes, *cursor as usize).unwrap_or((0, [0]));
            *cursor = cursor.wrapping_add(5);
            wrong |= (length ^ 1) | u32::from(byte & !1);
            *slot = byte & 1 == 1;
        }
        if wrong != 0 {
            for cursor in cursors {
                *cursor = cursor.wrapping_sub(5);
            }
        }
        wrong == 0
    }

    fn decode_nullable(&mut self, bytes: &[u8], cursors: &mut [u32]) -> Result<bool, RowError> {
        let valid = self.nulls.scratch();
        let mut left = Nullable { bytes, cursors, valid, slots: &mut self.scratch, row: 0, any_null: false };
        while let Some((cursor, row)) =
            left.until_careful([0], |[byte]: [u8; 1]| (byte <= 1).then_some(byte == 1))
        {
            let value = take_value(bytes, cursor)
                .and_then(|value| value.map(decode_bool).transpose())
                .map_err(|cause| RowError { row, cause })?;
            left.put(value);
        }
        Ok(left.any_null)
    }
}

fn decode_bool(value: &[u8]) -> Result<bool, ValueError> {
    match value {
        [0] => Ok(false),
        [1] => Ok(true),
        [_] => Err(ValueError::Malformed("a bool that is neither 0 nor 1")),
        _ => Err(ValueError::Width { expected: 1, found: value.len() }),
    }
}

impl Column for BoolColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let (bytes, cursors) = chunk.parts();
        self.begin_batch();
        if self.expect_nulls || !self.decode_all_valid(bytes, cursors) {
            self.expect_nulls = self.decode_nullable(bytes, cursors)?;
        }
        self.nulls.append_chunk(cursors.len(), self.expect_nulls);
        self.bits.append_slice(self.scratch.get(..cursors.len()).unwrap_or_default());
        Ok(())
    }

    fn decode_stored(&mut self, chunk: &StoredChunk<'_>) -> Result<bool, RowError> {
        self.begin_batch();
        let mut wrong = 0;
        let values = self.scratch.iter_mut().zip(self.nulls.scratch());
        for (start, (slot, valid)) in chunk.starts.iter().zip(values) {
            *valid = *start != STORED_NULL;
            let byte = chunk.bytes.get(*start as usize).copied();
            let byte = if *valid { byte.unwrap_or(u8::MAX) } else { 0 };
            wrong |= byte & !1;
            *slot = byte == 1;
        }
        if wrong != 0 {
            let cause = ValueError::Malformed("a bool that is neither 0 nor 1");
            return Err(RowError { row: 0, cause });
        }
        self.nulls.append_chunk(chunk.rows(), chunk.has_nulls);
        self.bits.append_slice(self.scratch.get(..chunk.rows()).unwrap_or_default());
        Ok(true)
    }

    fn truncate(&mut self, rows: usize) {
        self.bits.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn bytes(&self) -> usize {
        self.bits.len().div_ceil(8)
    }

    fn allocated_bytes(&self) -> usize {
        self.bits.capacity_bytes()
            + self.spare.allocated_bytes()
            + self.nulls.allocated_bytes()
            + size_of_val(&self.scratch)
    }

    fn null_bytes(&self) -> usize {
        1
    }

    fn recycle(&mut self, array: ArrayRef) {
        let buffer = array.as_boolean_opt().map(|array| array.values().inner().clone());
        if let Some(buffer) = buffer {
            drop(array);
            self.spare.give(buffer);
        }
    }

    fn reuse(&self) -> BufferReuse {
        self.spare.reuse()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.spare.learn(self.bits.len().div_ceil(8));
        Ok(Arc::new(BooleanArray::new(self.bits.finish(), self.nulls.finish())))
    }
}
