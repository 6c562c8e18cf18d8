//! The batch under construction: its columns, and when it is full.

use arrow_array::{Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, SchemaRef};
use pgarrow_column::{BufferReuse, CHUNK_ROWS, Chunk, Column, Effects, ROOM_MAX, RowError, ValueError};

use crate::conform::conform;
use crate::error::DecodeError;

/// The most wire bytes of an exact batch, in multiples of its limit of Arrow bytes.
const WIRE_BYTES_FACTOR: usize = 2;

/// The most bytes that values much larger in Arrow than on the wire may add to the batch in one chunk of
/// several rows: sixteen times the wire bytes of a usual chunk. Memory that a failed chunk allocates stays
/// allocated.
const EXPANSION_BYTES: usize = 1 << 20;

/// From this number of rows on, the columns get an estimate of all rows of the batch.
const FORESEEN_FROM_ROWS: usize = 1024;
/// After its first whole chunk, a batch gets room for this many rows, or for fewer if its limits allow only
/// fewer. Small batches grow no further, so their values are not copied from buffer to buffer.
const FIRST_FORESEEN_ROWS: usize = 2 * FORESEEN_FROM_ROWS;

/// A tuple's count of values.
pub(crate) const COUNT_BYTES: u32 = 2;

/// When a batch ends: at the first limit that it reaches. Checked between chunks of at most 256 rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BatchLimits {
    /// Rows at most; at least 1.
    pub rows: usize,
    /// The batch is full at this number of bytes of Arrow data. A larger row still forms a batch. At most 1
    /// GiB: text and bytea columns have 32-bit offsets.
    pub bytes: usize,
    /// The end of a batch depends on the rows alone, never on how their bytes arrived. So Arrow bytes are
    /// checked only after every 256th row of the batch. The batch also ends with the row that brings its
    /// tuples to twice `bytes` on the wire, or values of types that may be much larger than on the wire to
    /// `bytes`.
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
    /// Wire bytes of its tuples, with their counts of values. Counted for exact batches only.
    wire_bytes: usize,
    /// Bytes of values that are much larger than on the wire. Counted for exact batches only.
    expanded_bytes: usize,
    /// From how many rows on the columns get an estimate of the batch's rows.
    foresee_from: usize,
    /// Most rows of a chunk, after a chunk with more rows had too many of those bytes.
    chunk_rows_max: usize,
    /// Rows of earlier batches.
    rows_before: u64,
    /// Rows that were left out, of this batch and all before it,
    left_out: u64,
    /// and of this batch by themselves: before which of its rows, and how many.
    gaps: Vec<(usize, u64)>,
}

/// Why a chunk was not decoded.
#[derive(Debug)]
pub(crate) enum ChunkError {
    Value { column_index: usize, error: RowError },
    RowEnds,
}

impl ChunkError {
    /// Whether a legal value has no place in Arrow.
    pub(crate) fn is_of_legal_value(&self) -> bool {
        matches!(self, Self::Value { error, .. } if error.cause.is_of_legal_value())
    }
}

impl Batch {
    pub(crate) fn new(schema: SchemaRef, columns: Vec<Box<dyn Column>>, limits: BatchLimits) -> Self {
        let limits = BatchLimits { rows: limits.rows.max(1), ..limits };
        let mut batch = Self {
            schema,
            columns,
            limits,
            rows: 0,
            bytes: 0,
            wire_bytes: 0,
            expanded_bytes: 0,
            foresee_from: CHUNK_ROWS,
            chunk_rows_max: CHUNK_ROWS,
            rows_before: 0,
            left_out: 0,
            gaps: Vec::new(),
        };
        batch.set_bytes(limits.bytes);
        batch
    }

    /// Changes the limit of Arrow bytes.
    pub(crate) fn set_bytes(&mut self, bytes: usize) {
        self.limits.bytes = bytes.min(1 << 30);
    }

    /// Forgets the rows that were not handed out, and the count of earlier rows.
    pub(crate) fn restart(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(0));
        self.begin();
        (self.rows_before, self.left_out) = (0, 0);
    }

    fn begin(&mut self) {
        (self.rows, self.bytes, self.wire_bytes, self.expanded_bytes) = (0, 0, 0, 0);
        self.foresee_from = CHUNK_ROWS;
        self.gaps.clear();
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

    /// Rows that were left out, of this batch and all before it.
    pub(crate) fn rows_left_out(&self) -> u64 {
        self.left_out
    }

    /// Leaves out the next row. Returns its number in the stream.
    pub(crate) fn leave_out_row(&mut self) -> u64 {
        let number = self.next_row_number();
        self.left_out += 1;
        match self.gaps.last_mut() {
            Some((before, n_rows)) if *before == self.rows => *n_rows += 1,
            _ => self.gaps.push((self.rows, 1)),
        }
        number
    }

    /// Rows that the next chunk may have.
    pub(crate) fn chunk_rows(&self) -> usize {
        let room = self.limits.rows.saturating_sub(self.rows);
        room.min(self.chunk_rows_max).min(if self.limits.exact {
            CHUNK_ROWS - self.rows % CHUNK_ROWS
        } else {
            CHUNK_ROWS
        })
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.limits.exact
    }

    /// The wire bytes left in an exact batch: it ends with the row that uses them up.
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
            || self.expanded_bytes >= self.limits.bytes.max(1)
    }

    /// Whether the batch should end before a row of this size.
    pub(crate) fn ends_before(&self, row_bytes: usize) -> bool {
        // The end of an exact batch must not depend on which rows are received in place.
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

    /// What policies did to values of each column, in batches that were handed out since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effects> {
        let of_column = |column: &mut Box<dyn Column>| {
            let mut effects = Effects::default();
            column.take_effects(&mut effects);
            effects
        };
        self.columns.iter_mut().map(of_column).collect()
    }

    pub(crate) fn recycle(&mut self, batch: RecordBatch) {
        let (_, arrays, _) = batch.into_parts();
        for (column, array) in self.columns.iter_mut().zip(arrays) {
            column.recycle(array);
        }
    }

    /// Decodes the first `n_rows` rows of a chunk. Returns the number of decoded rows: fewer than `n_rows` if
    /// more would be much larger in Arrow than on the wire, or would not belong to an exact batch.
    ///
    /// After an error the batch is unchanged.
    pub(crate) fn decode(
        &mut self,
        n_rows: usize,
        source: &mut impl ChunkSource,
    ) -> Result<usize, ChunkError> {
        let (mut n_rows, mut is_cut) = (n_rows, false);
        loop {
            let decoded = self
                .decode_columns(n_rows, source)
                .and_then(|()| if source.is_at_end() { Ok(()) } else { Err(ChunkError::RowEnds) });
            match decoded {
                Ok(()) => {
                    if !is_cut && n_rows == self.chunk_rows_max {
                        self.chunk_rows_max = (2 * n_rows).min(CHUNK_ROWS);
                    }
                    return Ok(self.take(n_rows, source));
                }
                Err(ChunkError::Value {
                    column_index,
                    error: RowError { row, cause: ValueError::ChunkFull },
                }) if n_rows == 1 => {
                    self.take_back();
                    return Err(ChunkError::Value {
                        column_index,
                        error: RowError { row, cause: ValueError::BatchTooLarge },
                    });
                }
                Err(ChunkError::Value { error: RowError { row, cause: ValueError::ChunkFull }, .. }) => {
                    self.take_back();
                    n_rows = (row + 1).min(n_rows - 1);
                    (self.chunk_rows_max, is_cut) = (n_rows, true);
                }
                Err(error) => {
                    self.take_back();
                    return Err(error);
                }
            }
        }
    }

    fn decode_columns(&mut self, n_rows: usize, source: &mut impl ChunkSource) -> Result<(), ChunkError> {
        let mut room = match n_rows {
            // A single row is decoded whole, whatever its size.
            1 => ROOM_MAX,
            _ => self.limits.bytes.saturating_sub(self.bytes).min(EXPANSION_BYTES),
        };
        source.begin(n_rows);
        for (column_index, column) in self.columns.iter_mut().enumerate() {
            room = source
                .decode(column_index, column.as_mut(), room)
                .map_err(|error| ChunkError::Value { column_index, error })?;
        }
        Ok(())
    }

    /// Accepts the rows that every column has decoded, or those of them that belong to an exact batch.
    /// Returns their number.
    fn take(&mut self, n_decoded: usize, source: &impl ChunkSource) -> usize {
        let mut n_rows = n_decoded;
        if self.limits.exact {
            let wire_room = self.wire_room();
            if source.wire_bytes(n_rows) > wire_room {
                n_rows = (1..n_rows).find(|n| source.wire_bytes(*n) >= wire_room).unwrap_or(n_rows);
            }
            self.expanded_bytes = self.expanded_bytes_of(n_rows);
            if self.expanded_bytes >= self.limits.bytes.max(1) {
                // The row that brings the values to the limit is the last one.
                let is_below = |n: usize| self.expanded_bytes_of(n) < self.limits.bytes.max(1);
                n_rows = (1..n_rows).find(|n| !is_below(*n)).unwrap_or(n_rows);
                self.expanded_bytes = self.expanded_bytes_of(n_rows);
            }
            self.wire_bytes += source.wire_bytes(n_rows);
        }
        self.rows += n_rows;
        if n_rows < n_decoded {
            self.take_back();
        }
        self.bytes = self.columns.iter().map(|column| column.bytes()).sum();
        if self.rows >= self.foresee_from {
            self.foresee();
        }
        n_rows
    }

    /// Gives the columns an estimate of the batch's rows, by its rows so far.
    fn foresee(&mut self) {
        let rows_of_bytes = self.limits.bytes as u64 * self.rows as u64 / self.bytes.max(1) as u64;
        let rows = usize::try_from(rows_of_bytes).unwrap_or(usize::MAX);
        let rows = match self.rows < FORESEEN_FROM_ROWS {
            true => {
                self.foresee_from = FORESEEN_FROM_ROWS;
                rows.min(FIRST_FORESEEN_ROWS)
            }
            false => {
                self.foresee_from = usize::MAX;
                rows.saturating_add(CHUNK_ROWS)
            }
        };
        let rows = rows.min(self.limits.rows);
        if rows > self.rows {
            self.columns.iter_mut().for_each(|column| column.expect_rows(rows));
        }
    }

    /// Bytes of the batch and the next `n_rows` rows.
    fn expanded_bytes_of(&self, n_rows: usize) -> usize {
        self.columns.iter().map(|column| column.expanded_bytes(self.rows + n_rows)).sum()
    }

    /// Decodes the value of one column of the next row: its length and its bytes.
    pub(crate) fn decode_value(&mut self, column_index: usize, framed: &[u8]) -> Result<(), ValueError> {
        let column = self.column_mut(column_index)?;
        let mut cursors = [0];
        let mut chunk = Chunk::new(framed, &mut cursors);
        column.decode(&mut chunk).map_err(|error| match error.cause {
            ValueError::ChunkFull => ValueError::BatchTooLarge,
            cause => cause,
        })?;
        let [cursor] = cursors;
        if cursor as usize == framed.len() { Ok(()) } else { Err(ValueError::Length) }
    }

    pub(crate) fn column_mut(&mut self, column_index: usize) -> Result<&mut Box<dyn Column>, ValueError> {
        self.columns.get_mut(column_index).ok_or(ValueError::Length)
    }

    /// Every column has its value of the next row. The row's tuple has `wire_bytes`.
    pub(crate) fn end_row(&mut self, wire_bytes: usize) {
        self.rows += 1;
        self.wire_bytes += wire_bytes;
        if self.limits.exact {
            self.expanded_bytes = self.expanded_bytes_of(0);
        }
        self.bytes = self.columns.iter().map(|column| column.bytes()).sum();
    }

    /// Drops values that columns have behind the rows of the batch.
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
            let array = match self.schema.fields().get(column_index) {
                Some(field) => conform(array, field.data_type()).map_err(of_arrow)?,
                None => array,
            };
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch =
            RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(of_arrow)?;
        self.rows_before += self.rows as u64;
        self.begin();
        Ok(Some(batch))
    }

    /// The first NULL of a column whose field does not allow it.
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

    /// The error for a chunk that begins behind the rows of the batch.
    pub(crate) fn chunk_error(&self, error: ChunkError) -> DecodeError {
        match error {
            ChunkError::Value { column_index, error } => {
                let row = self.rows + error.row;
                self.value_error(column_index, RowError { row, ..error })
            }
            // The values were walked, so a column that ends elsewhere is a bug of ours.
            ChunkError::RowEnds => DecodeError::Arrow("a column ended inside a value".to_owned()),
        }
    }

    /// The number in the stream of the row that comes next, from 1.
    pub(crate) fn next_row_number(&self) -> u64 {
        self.row_number(self.rows)
    }

    /// A row of the batch as a row of the stream, counted from 1.
    fn row_number(&self, row: usize) -> u64 {
        let is_behind = |gap: &&(usize, u64)| gap.0 > row;
        let left_out_behind: u64 = self.gaps.iter().filter(is_behind).map(|(_, n_rows)| n_rows).sum();
        self.rows_before + row as u64 + 1 + self.left_out - left_out_behind
    }

    /// Rows of the batch so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    fn column_name(&self, column_index: usize) -> String {
        self.schema.fields().get(column_index).map(|field| field.name().clone()).unwrap_or_default()
    }
}

fn of_arrow(error: ArrowError) -> DecodeError {
    DecodeError::Arrow(error.to_string())
}

/// Rows whose columns a batch decodes one after the other, wherever their values are.
pub trait ChunkSource {
    /// Starts at the first column of the first `n_rows` rows, for the first time or again.
    fn begin(&mut self, n_rows: usize);

    /// Decodes the column's values of these rows. The columns come in their order.
    ///
    /// `room`: see [`Chunk::with_room`]. Returns the rest of it.
    ///
    /// # Errors
    ///
    /// As for [`Column::decode`].
    fn decode(
        &mut self,
        column_index: usize,
        column: &mut dyn Column,
        room: usize,
    ) -> Result<usize, RowError>;

    /// Whether the last column ended at the end of the rows.
    fn is_at_end(&self) -> bool;

    /// Bytes of the first `n_rows` rows as tuples of COPY, with their counts of values. Called for decoded
    /// rows of exact batches.
    fn wire_bytes(&self, n_rows: usize) -> usize;
}

/// Rows of a COPY stream, one behind the other.
#[derive(Debug)]
pub(crate) struct WireRows<'a> {
    bytes: &'a [u8],
    cursors: &'a mut [u32],
    /// Where each row ends.
    ends: &'a [u32],
    /// Bytes before each row's tuple.
    header_bytes: usize,
    n_rows: usize,
    has_begun: bool,
}

impl<'a> WireRows<'a> {
    /// Rows that end at `ends`, and a cursor at the first value of each.
    pub(crate) fn new(bytes: &'a [u8], cursors: &'a mut [u32], ends: &'a [u32], header_bytes: usize) -> Self {
        Self { bytes, cursors, ends, header_bytes, n_rows: 0, has_begun: false }
    }
}

impl ChunkSource for WireRows<'_> {
    fn begin(&mut self, n_rows: usize) {
        self.n_rows = n_rows;
        if !std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let to_first_value = u32::try_from(self.header_bytes).unwrap_or(0) + COUNT_BYTES;
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        for (cursor, start) in self.cursors.iter_mut().zip(starts).take(n_rows) {
            *cursor = start + to_first_value;
        }
    }

    fn decode(&mut self, _: usize, column: &mut dyn Column, room: usize) -> Result<usize, RowError> {
        let cursors = self.cursors.get_mut(..self.n_rows).unwrap_or_default();
        let mut chunk = Chunk::new(self.bytes, cursors).with_room(room);
        column.decode(&mut chunk)?;
        Ok(chunk.room())
    }

    fn is_at_end(&self) -> bool {
        self.cursors.get(..self.n_rows) == self.ends.get(..self.n_rows)
    }

    fn wire_bytes(&self, n_rows: usize) -> usize {
        let end = n_rows.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        (end as usize).saturating_sub(n_rows * self.header_bytes)
    }
}
