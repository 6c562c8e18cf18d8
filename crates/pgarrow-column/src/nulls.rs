//! Validity of a column's rows: nothing is stored until the first NULL.

use arrow_buffer::NullBuffer;

use crate::bits::Bits;
use crate::chunk::CHUNK_ROWS;

/// Which rows of the batch under construction are NULL.
#[derive(Debug)]
pub(crate) struct Nulls {
    /// Rows before the first chunk with a NULL; all rows while there is no NULL.
    n_valid: usize,
    /// Bits of all rows once there is a NULL; a one for each value.
    bits: Bits,
    /// One byte per row of the current chunk: cheaper to write in a loop than bits.
    valid: [bool; CHUNK_ROWS],
}

impl Nulls {
    pub(crate) fn new() -> Self {
        Self { n_valid: 0, bits: Bits::default(), valid: [true; CHUNK_ROWS] }
    }

    /// Appends a chunk without NULLs.
    pub(crate) fn append_valid(&mut self, rows: usize) {
        match self.bits.len() {
            0 => self.n_valid += rows,
            _ => self.bits.append_ones(rows),
        }
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
        let valid = self.valid.get(..rows.min(CHUNK_ROWS)).unwrap_or_default();
        if self.bits.len() == 0 {
            if !valid.contains(&false) {
                self.n_valid += valid.len();
                return;
            }
            self.bits.append_ones(self.n_valid);
        }
        self.bits.append_slice(valid);
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        self.n_valid = self.n_valid.min(rows);
        self.bits.truncate(rows);
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        self.bits.capacity_bytes() + size_of_val(&self.valid)
    }

    pub(crate) fn finish(&mut self) -> Option<NullBuffer> {
        self.n_valid = 0;
        let nulls = NullBuffer::new(self.bits.finish());
        (nulls.null_count() > 0).then_some(nulls)
    }
}
