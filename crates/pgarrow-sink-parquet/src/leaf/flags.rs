//! [`Flags`]: booleans, one bit each.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_buffer::BooleanBufferBuilder;
use parquet::basic::Encoding;
use parquet::errors::ParquetError;

use crate::leaf::bound::Bound;
use crate::leaf::values::{PageEnd, Piece, Values, Wanted};

pub(crate) struct Flags {
    flags: BooleanBufferBuilder,
    /// How many of them are true.
    n_true: usize,
    wants_bounds: bool,
    page_bytes: usize,
}

impl Flags {
    pub(crate) fn new(wanted: &Wanted) -> Self {
        let flags = BooleanBufferBuilder::new(0);
        Self { flags, n_true: 0, wants_bounds: wanted.bounds, page_bytes: wanted.page_bytes }
    }

    fn room(&self) -> usize {
        self.page_bytes.saturating_mul(8).max(1).saturating_sub(self.flags.len())
    }
}

impl Values for Flags {
    fn fit(&self, _: &dyn Array, _: usize, rows: usize) -> Result<usize, ParquetError> {
        Ok(rows.min(self.room()))
    }

    fn append(&mut self, piece: &Piece<'_>) -> Result<usize, ParquetError> {
        let array = piece.array.as_boolean_opt();
        let array = array.ok_or_else(|| ParquetError::General("an array has no booleans".to_owned()))?;
        for run in piece.runs() {
            let flags = array.values().slice(run.start, run.len());
            self.n_true += flags.count_set_bits();
            self.flags.append_buffer(&flags);
        }
        Ok(piece.rows)
    }

    fn is_page_full(&self) -> bool {
        self.room() == 0
    }

    fn end_page(&mut self, out: &mut Vec<u8>) -> PageEnd {
        let n = self.flags.len();
        out.extend_from_slice(&self.flags.as_slice()[..n.div_ceil(8)]);
        let bounds = (Bound::Flag(self.n_true == n), Bound::Flag(self.n_true > 0));
        let bounds = (self.wants_bounds && n > 0).then_some(bounds);
        self.flags.truncate(0);
        self.n_true = 0;
        PageEnd { encoding: Encoding::PLAIN, bounds, text_bytes: None, start: 0 }
    }

    fn pending_bytes(&self) -> usize {
        self.flags.len() / 8
    }

    fn held_bytes(&self) -> usize {
        size_of_val(self) + self.flags.capacity() / 8
    }
}
