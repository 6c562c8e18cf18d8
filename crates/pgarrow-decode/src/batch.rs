//! The batch under construction: its columns, and when it is full.

use arrow_array::{Array, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use pgarrow_column::{BufferReuse, CHUNK_ROWS, Chunk, Column, RowError, ValueError};

use crate::error::DecodeError;

/// Wire bytes of an exact batch at most, in multiples of its limit of Arrow bytes.
const WIRE_BYTES_FACTOR: usize = 2;

/// When a batch ends. Whichever is reached first; looked at between chunks of at most 256 rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BatchLimits {
    /// Rows at most; at least 1.
    pub rows: usize,
    /// Bytes of Arrow data from which on the batch is full. A row larger than this still forms a
    /// batch. At most 1 GiB: text and bytea columns have 32-bit offsets.
    pub bytes: usize,
    /// Batches end at rows that depend on the rows alone, never on how their bytes arrived: Arrow bytes are looked
    /// at after every 256th row of the batch only, and the batch also ends with the row with which its tuples have
    /// twice as many bytes on the wire as `bytes`.
    pub exact: bool,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { rows: 65_536, bytes: 8 << 20, exact: false }
    }
}

#[derive(Debug)]
pub(crate) struct Batch {
    schema: SchemaRef,
    columns: Vec<Box<dyn Column>>,
    limits: BatchLimits,
    rows: usize,
    bytes: usize,
    /// Bytes of its tuples on the wire: their count of values and what follows. Counted for exact batches only.
    wire_bytes: usize,
    /// Rows of the batches before.
    rows_before: u64,
}

/// A chunk's columns did not all end where its rows end.
#[derive(Debug)]
pub(crate) enum ChunkError {
    Value { column_index: usize, error: RowError },
    RowEnds,
}

impl Batch {
    pub(crate) fn new(schema: SchemaRef, columns: Vec<Box<dyn Column>>, limits: BatchLimits) -> Self {
        let limits = BatchLimits { rows: limits.rows.max(1), ..limits };
        let mut batch = Self { schema, columns, limits, rows: 0, bytes: 0, wire_bytes: 0, rows_before: 0 };
        batch.set_bytes(limits.bytes);
        batch
    }

    /// Changes the limit of Arrow bytes.
    pub(crate) fn set_bytes(&mut self, bytes: usize) {
        self.limits.bytes = bytes.min(1 << 30);
    }

    /// Forgets the rows that were not handed out, and how many there were before.
    pub(crate) fn restart(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(0));
        (self.rows, self.bytes, self.wire_bytes, self.rows_before) = (0, 0, 0, 0);
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn n_columns(&self) -> usize {
        self.columns.len()
    }

    /// Rows decoded, of this batch and all before it.
    pub(crate) fn total_rows(&self) -> u64 {
        self.rows_before + self.rows as u64
    }

    /// Rows that the next chunk may have.
    pub(crate) fn chunk_rows(&self) -> usize {
        let room = self.limits.rows.saturating_sub(self.rows);
        room.min(if self.limits.exact { CHUNK_ROWS - self.rows % CHUNK_ROWS } else { CHUNK_ROWS })
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.limits.exact
    }

    /// The batch ends with the row with which a chunk's tuples have as many bytes.
    pub(crate) fn wire_room(&self) -> usize {
        match self.limits.exact {
            true => self.limits.bytes.saturating_mul(WIRE_BYTES_FACTOR).saturating_sub(self.wire_bytes),
            false => usize::MAX,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        if self.rows == 0 {
            return false;
        }
        let is_looked_at = !self.limits.exact || self.rows.is_multiple_of(CHUNK_ROWS);
        self.rows >= self.limits.rows
            || (is_looked_at && self.bytes >= self.limits.bytes)
            || self.wire_room() == 0
    }

    /// Whether the batch should rather end than take a row of so many bytes.
    pub(crate) fn ends_before(&self, row_bytes: usize) -> bool {
        // Where an exact batch ends must not depend on which rows are received in place.
        !self.limits.exact && self.rows > 0 && self.bytes.saturating_add(row_bytes) > self.limits.bytes
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.allocated_bytes()).sum()
    }

    pub(crate) fn reuse(&self) -> BufferReuse {
        let mut reuse = BufferReuse::default();
        self.columns.iter().for_each(|column| reuse += column.reuse());
        reuse
    }

    pub(crate) fn recycle(&mut self, batch: RecordBatch) {
        let (_, arrays, _) = batch.into_parts();
        for (column, array) in self.columns.iter_mut().zip(arrays) {
            column.recycle(array);
        }
    }

    /// Decodes rows whose first values are at `cursors` and which end at `ends`; their tuples have `wire_bytes`.
    ///
    /// All or nothing: after an error the batch is as it was before.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        cursors: &mut [u32],
        ends: &[u32],
        wire_bytes: usize,
    ) -> Result<(), ChunkError> {
        let decoded = self
            .decode_columns(bytes, cursors)
            .and_then(|()| if cursors == ends { Ok(()) } else { Err(ChunkError::RowEnds) });
        match decoded {
            Ok(()) => {
                self.rows += ends.len();
                self.wire_bytes += wire_bytes;
                self.bytes = self.columns.iter().map(|column| column.bytes()).sum();
            }
            Err(_) => self.take_back(),
        }
        decoded
    }

    fn decode_columns(&mut self, bytes: &[u8], cursors: &mut [u32]) -> Result<(), ChunkError> {
        for (column_index, column) in self.columns.iter_mut().enumerate() {
            let mut chunk = Chunk::new(bytes, cursors);
            column.decode(&mut chunk).map_err(|error| ChunkError::Value { column_index, error })?;
        }
        Ok(())
    }

    /// Decodes the value of one column of the next row: its length and its bytes.
    pub(crate) fn decode_value(&mut self, column_index: usize, framed: &[u8]) -> Result<(), ValueError> {
        let column = self.column_mut(column_index)?;
        let mut cursors = [0];
        column.decode(&mut Chunk::new(framed, &mut cursors)).map_err(|error| error.cause)?;
        let [cursor] = cursors;
        if cursor as usize == framed.len() { Ok(()) } else { Err(ValueError::Length) }
    }

    pub(crate) fn column_mut(&mut self, column_index: usize) -> Result<&mut Box<dyn Column>, ValueError> {
        self.columns.get_mut(column_index).ok_or(ValueError::Length)
    }

    /// Every column has its value of the next row, whose tuple has `wire_bytes`.
    pub(crate) fn end_row(&mut self, wire_bytes: usize) {
        self.rows += 1;
        self.wire_bytes += wire_bytes;
        self.bytes = self.columns.iter().map(|column| column.bytes()).sum();
    }

    /// Forgets what columns already have behind the rows of the batch.
    pub(crate) fn take_back(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(self.rows));
    }

    /// Hands out the batch; `None` if it has no rows.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        if self.rows == 0 {
            return Ok(None);
        }
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column_index in 0..self.columns.len() {
            let Some(column) = self.columns.get_mut(column_index) else { break };
            let array = column.finish().map_err(|error| self.value_error(column_index, error))?;
            if let Some(row) = self.forbidden_null(column_index, &array) {
                let column = self.column_name(column_index);
                return Err(DecodeError::UnexpectedNull { column_index, column, row: self.row_number(row) });
            }
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| DecodeError::Arrow(error.to_string()))?;
        self.rows_before += self.rows as u64;
        (self.rows, self.bytes, self.wire_bytes) = (0, 0, 0);
        Ok(Some(batch))
    }

    /// The first NULL of a column whose field allows none.
    fn forbidden_null(&self, column_index: usize, array: &dyn Array) -> Option<usize> {
        let field = self.schema.fields().get(column_index)?;
        if field.is_nullable() || array.null_count() == 0 {
            return None;
        }
        (0..array.len()).find(|row| array.is_null(*row))
    }

    /// `error.row` counts in the batch.
    pub(crate) fn value_error(&self, column_index: usize, error: RowError) -> DecodeError {
        DecodeError::Value {
            column_index,
            column: self.column_name(column_index),
            row: self.row_number(error.row),
            cause: error.cause,
        }
    }

    /// A row of the batch as a row of the stream, counted from 1.
    fn row_number(&self, row: usize) -> u64 {
        self.rows_before + row as u64 + 1
    }

    /// Rows of the batch so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    fn column_name(&self, column_index: usize) -> String {
        self.schema.fields().get(column_index).map(|field| field.name().clone()).unwrap_or_default()
    }
}
