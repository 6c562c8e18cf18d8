//! Rows of `COPY … FROM STDIN (FORMAT binary)`.
//!
//! ```text
//!  HEADER ─▶ row: number of columns as i16, then each value with its length ─▶ … ─▶ TRAILER
//! ```
//!
//! Source: "Binary Format" in <https://www.postgresql.org/docs/current/sql-copy.html>; `CopyOneRowTo` and
//! `NextCopyFrom` in PostgreSQL's `src/backend/commands/`.

use arrow_array::{Array, RecordBatch};
use arrow_schema::Field;

use crate::encode_target::TypeTarget;
use crate::encoder::{Bound, Encoder, make_encoder};
use crate::error::{EncodeError, Refusal, RefusalKind, ValueError};

/// Signature, flags, and an empty header extension.
pub const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A row of -1 columns.
pub const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// The most columns of a table, and of a row of COPY: `MaxHeapAttributeNumber` in
/// `src/include/access/htup_details.h`.
const COLUMNS_MAX: usize = 1600;

/// Makes rows from batches of one schema.
#[derive(Debug)]
pub struct RowEncoder {
    columns: Vec<Column>,
    n_columns: [u8; 2],
}

#[derive(Debug)]
struct Column {
    /// The column's index in the batch.
    index: usize,
    encoder: Box<dyn Encoder>,
}

impl RowEncoder {
    /// Rows of these columns, in this order. Each has the index of its column in the batch, and its encoder
    /// from [`make_encoder`].
    ///
    /// # Errors
    ///
    /// More columns than a table can have.
    pub fn new(columns: Vec<(usize, Box<dyn Encoder>)>) -> Result<Self, Refusal> {
        if columns.len() > COLUMNS_MAX {
            return Err(Refusal::new(
                RefusalKind::Mismatch,
                format!("a table has at most {COLUMNS_MAX} columns"),
            ));
        }
        let n_columns = (columns.len() as i16).to_be_bytes();
        let columns = columns.into_iter().map(|(index, encoder)| Column { index, encoder }).collect();
        Ok(Self { columns, n_columns })
    }

    /// An encoder for all fields of a schema, in their order.
    ///
    /// # Errors
    ///
    /// The index of the first field that does not fit its target, and the reason.
    pub fn of_fields<'a>(
        pairs: impl IntoIterator<Item = (&'a Field, TypeTarget<'a>)>,
    ) -> Result<Self, (usize, Refusal)> {
        let mut columns = Vec::new();
        for (index, (field, target)) in pairs.into_iter().enumerate() {
            columns.push((index, make_encoder(field, target).map_err(|refusal| (index, refusal))?));
        }
        let last = columns.len();
        Self::new(columns).map_err(|refusal| (last, refusal))
    }

    /// The number of values in a row.
    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// Prepares the batch's rows for writing.
    ///
    /// # Errors
    ///
    /// A batch of another schema than the encoders were made for.
    pub fn bind<'a>(&'a self, batch: &'a RecordBatch) -> Result<BoundBatch<'a>, EncodeError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (index, column) in self.columns.iter().enumerate() {
            let error = |cause| EncodeError { row: 0, column: index, cause };
            let array = batch.columns().get(column.index).ok_or(error(ValueError::WrongArray))?;
            let array: &dyn Array = array.as_ref();
            columns.push(Bound::new(column.encoder.as_ref(), array).map_err(error)?);
        }
        Ok(BoundBatch { columns, n_columns: self.n_columns, rows: batch.num_rows() })
    }
}

/// The rows of one batch.
#[derive(Debug)]
pub struct BoundBatch<'a> {
    columns: Vec<Bound<'a>>,
    n_columns: [u8; 2],
    rows: usize,
}

impl BoundBatch<'_> {
    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Appends rows from `first` on, until `out` holds `bytes` bytes or the batch ends. Returns the row after
    /// the last one.
    ///
    /// # Errors
    ///
    /// The first value that cannot be encoded; `out` then ends with the row before it.
    pub fn write_rows(&self, first: usize, bytes: usize, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        let mut row = first;
        while row < self.rows && out.len() < bytes {
            self.write_row(row, out)?;
            row += 1;
        }
        Ok(row)
    }

    /// Appends one row.
    ///
    /// # Errors
    ///
    /// As for [`write_rows`](Self::write_rows).
    #[inline]
    pub fn write_row(&self, row: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.extend_from_slice(&self.n_columns);
        for (index, column) in self.columns.iter().enumerate() {
            if let Err(cause) = column.write(row, out) {
                out.truncate(start);
                return Err(EncodeError { row, column: index, cause });
            }
        }
        Ok(())
    }

    /// Appends a single value with its length, as in a parameter of Bind.
    ///
    /// # Errors
    ///
    /// As for [`write_rows`](Self::write_rows).
    pub fn write_value(&self, row: usize, column: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let error = |cause| EncodeError { row, column, cause };
        let bound = self.columns.get(column).ok_or(error(ValueError::WrongArray))?;
        bound.write(row, out).map_err(|cause| {
            out.truncate(start);
            error(cause)
        })
    }
}
