//! `uuid`: sixteen bytes, taken as they are.
//!
//! Source: `uuid_send` in PostgreSQL's `src/backend/utils/adt/uuid.c`.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray};
use arrow_buffer::Buffer;

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;

const WIDTH: usize = 16;

/// To `FixedSizeBinary(16)`.
#[derive(Debug)]
pub(crate) struct UuidColumn {
    values: Vec<u8>,
    nulls: Nulls,
    rows: usize,
}

impl UuidColumn {
    pub(crate) fn new(rows: usize) -> Self {
        Self { values: Vec::new(), nulls: Nulls::new(), rows }
    }
}

impl Column for UuidColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let (bytes, cursors) = chunk.parts();
        self.values.reserve(if self.values.is_empty() { self.rows } else { cursors.len() } * WIDTH);
        let mut any_null = false;
        let valid = self.nulls.scratch();
        for (row, (cursor, valid)) in cursors.iter_mut().zip(valid).enumerate() {
            let value = take_value(bytes, cursor).map_err(|cause| RowError { row, cause })?;
            *valid = value.is_some();
            any_null |= value.is_none();
            let value = match value.map(<&[u8; WIDTH]>::try_from) {
                None => &[0; WIDTH],
                Some(Ok(value)) => value,
                Some(Err(_)) => {
                    let found = value.map_or(0, <[u8]>::len);
                    return Err(RowError { row, cause: ValueError::Width { expected: WIDTH, found } });
                }
            };
            self.values.extend_from_slice(value);
        }
        self.nulls.append_chunk(cursors.len(), any_null);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows * WIDTH);
        self.nulls.truncate(rows);
    }

    fn bytes(&self) -> usize {
        self.values.len()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.rows = self.values.len() / WIDTH;
        let values = Buffer::from_vec(std::mem::take(&mut self.values));
        Ok(Arc::new(FixedSizeBinaryArray::new(16, values, self.nulls.finish())))
    }
}
