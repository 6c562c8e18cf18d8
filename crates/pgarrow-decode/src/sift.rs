//! Rows with a value that has no place in Arrow: left out, and kept as they came.
//!
//! Only the stitched way leaves rows out, because there the ends of rows are certain. A chunk with such a row
//! is decoded again, row by row, so that a row is there with all its values or not at all.

use pgarrow_column::ValueError;

use crate::batch::{Batch, COUNT_BYTES, ChunkError, WireRows};
use crate::error::DecodeError;

/// A row that was left out, since Arrow cannot hold one of its values.
#[derive(Clone, Eq, PartialEq)]
pub struct RejectedRow {
    /// The row in the stream; counts from 1, and rows that were left out count.
    pub row: u64,
    /// The position in the schema of the first column whose value was refused.
    pub column_index: usize,
    /// What is wrong with the value.
    pub cause: ValueError,
    /// The values as in COPY: each with its length before it.
    values: Vec<u8>,
}

/// Prints no values, because they are table data.
impl std::fmt::Debug for RejectedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { row, column_index, cause, values } = self;
        write!(f, "row {row}, column {column_index}: {cause}; {} bytes", values.len())
    }
}

impl RejectedRow {
    /// The values in the binary form of their types, `None` for NULL, one for each column.
    pub fn values(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = self.values.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            // The decoder has walked these values. A length below zero is that of NULL.
            let Ok(n_bytes) = usize::try_from(i32::from_be_bytes(*length)) else {
                rest = after;
                return Some(None);
            };
            let (value, after) = after.split_at_checked(n_bytes)?;
            rest = after;
            Some(Some(value))
        })
    }

    /// Bytes of memory that the row takes.
    pub fn allocated_bytes(&self) -> usize {
        size_of::<Self>() + self.values.capacity()
    }
}

/// The rows that were left out and not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Sift {
    rows: Vec<RejectedRow>,
    bytes: usize,
}

impl Sift {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn take(&mut self) -> Vec<RejectedRow> {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }

    fn reject(&mut self, row: RejectedRow) {
        self.bytes += row.allocated_bytes();
        self.rows.push(row);
    }
}

/// Decodes rows that end at `ends`, until the batch is full, and leaves out those with a refused value.
/// Returns how many rows it dealt with.
pub(crate) fn decode_one_by_one(
    batch: &mut Batch,
    bytes: &[u8],
    ends: &[u32],
    sift: &mut Sift,
) -> Result<usize, DecodeError> {
    let mut start = 0;
    for (end, n_rows) in ends.iter().zip(1..) {
        let row = bytes.get(start as usize..*end as usize).unwrap_or_default();
        let (mut cursors, row_end) = ([COUNT_BYTES], [end - start]);
        match batch.decode(1, &mut WireRows::new(row, &mut cursors, &row_end, 0)) {
            Ok(_) if batch.is_full() => return Ok(n_rows),
            Ok(_) => {}
            Err(ChunkError::Value { column_index, error }) if error.cause.is_of_legal_value() => {
                let values = row.get(COUNT_BYTES as usize..).unwrap_or_default().to_vec();
                let row = batch.leave_out_row();
                sift.reject(RejectedRow { row, column_index, cause: error.cause, values });
            }
            Err(error) => return Err(batch.chunk_error(error)),
        }
        start = *end;
    }
    Ok(ends.len())
}
