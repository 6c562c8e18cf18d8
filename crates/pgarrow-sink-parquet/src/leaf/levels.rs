//! Which rows of a page have a value: definition levels of a column that is not nested.

use arrow_buffer::{BooleanBufferBuilder, NullBuffer};

use crate::leaf::runs::{put_bits, put_same_bits};

/// The rows of a page in progress.
pub(crate) struct Levels {
    /// Whether the column may have NULL. If not, there are no levels.
    is_nullable: bool,
    rows: usize,
    nulls: usize,
    /// One bit for each row, from the first NULL on.
    valid: BooleanBufferBuilder,
}

impl Levels {
    pub(crate) fn new(is_nullable: bool) -> Self {
        Self { is_nullable, rows: 0, nulls: 0, valid: BooleanBufferBuilder::new(0) }
    }

    pub(crate) fn append(&mut self, nulls: Option<&NullBuffer>, rows: usize) {
        let n_nulls = nulls.map_or(0, NullBuffer::null_count);
        match nulls {
            Some(nulls) if n_nulls > 0 => {
                self.valid.append_n(self.rows - self.valid.len(), true);
                self.valid.append_buffer(nulls.inner());
            }
            _ if self.nulls > 0 => self.valid.append_n(rows, true),
            _ => {}
        }
        self.rows += rows;
        self.nulls += n_nulls;
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn nulls(&self) -> usize {
        self.nulls
    }

    /// Appends the levels as a page of version 1 has them, and begins anew.
    pub(crate) fn end_page(&mut self, out: &mut Vec<u8>) {
        if self.is_nullable {
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            match self.nulls {
                0 => put_same_bits(true, self.rows, out),
                all if all == self.rows => put_same_bits(false, self.rows, out),
                _ => put_bits(self.valid.as_slice(), self.rows, out),
            }
            let length = (out.len() - start - 4) as u32;
            out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
        self.valid.truncate(0);
        (self.rows, self.nulls) = (0, 0);
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.valid.capacity() / 8
    }
}
