//! Validity of a column's rows: nothing is stored until the first NULL.

use arrow_buffer::{NullBuffer, NullBufferBuilder};

use crate::chunk::CHUNK_ROWS;

/// Which rows of the batch under construction are NULL.
#[derive(Debug)]
pub(crate) struct Nulls {
    bits: NullBufferBuilder,
    /// One byte per row of the current chunk: cheaper to write in a loop than bits.
    valid: [bool; CHUNK_ROWS],
}

impl Nulls {
    pub(crate) fn new() -> Self {
        Self { bits: NullBufferBuilder::new(0), valid: [true; CHUNK_ROWS] }
    }

    /// A chunk without NULLs.
    pub(crate) fn append_valid(&mut self, rows: usize) {
        self.bits.append_n_non_nulls(rows);
    }

    /// Scratch for one chunk, to be filled and then committed.
    pub(crate) fn scratch(&mut self) -> &mut [bool; CHUNK_ROWS] {
        &mut self.valid
    }

    /// Appends a chunk of `rows`: from the scratch if any of them is NULL.
    pub(crate) fn append_chunk(&mut self, rows: usize, any_null: bool) {
        if any_null {
            self.commit(rows);
        } else {
            self.append_valid(rows);
        }
    }

    /// Appends the first `rows` of the scratch.
    pub(crate) fn commit(&mut self, rows: usize) {
        let rows = rows.min(CHUNK_ROWS);
        self.bits.append_slice(self.valid.get(..rows).unwrap_or_default());
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        self.bits.truncate(rows);
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        self.bits.allocated_size() + size_of_val(&self.valid)
    }

    pub(crate) fn finish(&mut self) -> Option<NullBuffer> {
        self.bits.finish()
    }
}
