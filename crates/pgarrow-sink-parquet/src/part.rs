//! [`ParquetPart`]: encodes whole row groups.

use std::sync::Arc;

use arrow_array::RecordBatch;
use pgarrow_sink::{Chunk, Chunks, Lanes, Part, SinkError, check_batch};

use crate::cost::{COLUMN_BYTES, Limits};
use crate::file::Format;
use crate::row_group::RowGroup;
use crate::size;

pub(crate) struct ParquetPart {
    lanes: Arc<Lanes<Format>>,
    group: Option<RowGroup>,
    /// Bytes that this part may hold.
    share: usize,
    /// Rows that it was given, of all row groups.
    rows: u64,
}

impl ParquetPart {
    pub(crate) fn open(lanes: Arc<Lanes<Format>>) -> Self {
        Self { lanes, group: None, share: usize::MAX, rows: 0 }
    }

    fn encode(&mut self, batch: &RecordBatch, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let lanes = Arc::clone(&self.lanes);
        let format = lanes.format();
        let failed = |e| SinkError::encode("encode a batch for", lanes.path(), e);
        let limits = self.limits();
        let step_rows = step_rows(batch, format.row_group_bytes.min(self.share));
        if self.group.as_ref().is_some_and(|group| !group.suits(batch)) {
            self.flush(chunks)?;
        }
        let mut start = 0;
        while start < batch.num_rows() {
            let rest = batch.num_rows() - start;
            let group = match &mut self.group {
                Some(group) => group,
                none => {
                    let first = batch.slice(start, rest);
                    none.insert(RowGroup::begin(&format.layout, &first, &limits).map_err(failed)?)
                }
            };
            let rows = rest.min(step_rows).min(format.row_group_rows - group.rows());
            let next = batch.slice(start, rows);
            let rows_before = self.rows;
            group
                .check_order(&format.layout, &next)
                .map_err(|disorder| format.layout.order.error(disorder, lanes.path(), rows_before))?;
            group.write(&format.layout, &next).map_err(failed)?;
            start += rows;
            self.rows += rows as u64;
            if group.rows() >= format.row_group_rows || group.estimated_bytes() >= format.row_group_bytes {
                self.flush(chunks)?;
            }
        }
        Ok(())
    }

    fn n_columns(&self) -> usize {
        self.lanes.format().layout.parquet.num_columns()
    }

    fn limits(&self) -> Limits {
        let format = self.lanes.format();
        // What bloom filters take of a part's share is not there for values.
        let share = self.share.saturating_sub(format.layout.filter_bytes());
        Limits::new(format.row_group_bytes.min(share), self.n_columns(), format.data_page_bytes)
    }
}

impl Part for ParquetPart {
    fn write(&mut self, batch: &RecordBatch, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        check_batch(&self.lanes.format().layout.arrow, batch)?;
        self.encode(batch, chunks)
    }

    fn flush(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let rows = group.rows() as u64;
        let encoded =
            group.close().map_err(|e| SinkError::encode("encode a row group for", self.lanes.path(), e))?;
        chunks.push(Chunk::new(rows, encoded.bytes, encoded))
    }

    /// Ends the row group: its rows must be neighbours, so that its statistics are useful.
    fn jump(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        self.flush(chunks)
    }

    fn held_bytes(&self) -> usize {
        self.group.as_ref().map_or(0, RowGroup::held_bytes)
    }

    /// The batch once as encoded values and once compressed, if its values are large. (Of small values, it is
    /// one page of a column at a time.) The writers of a row group that is not begun, and their bloom
    /// filters, come on top.
    fn working_bytes(&self, batch_bytes: usize) -> usize {
        let writers = match self.group {
            Some(_) => 0,
            None => {
                let filters = self.lanes.format().layout.filter_bytes();
                self.n_columns().saturating_mul(COLUMN_BYTES).saturating_add(filters)
            }
        };
        // In pages of version 1, values are joined with their levels before they are compressed.
        let copies = if self.lanes.format().layout.compat { 3 } else { 2 };
        batch_bytes.saturating_mul(copies).saturating_add(batch_bytes / 8).saturating_add(writers)
    }

    fn set_share(&mut self, bytes: usize) {
        self.share = bytes;
    }
}

/// How many rows of a batch to encode before the next look at the size of the row group.
///
/// They take at most about a quarter of `row_group_bytes`, or one row if that takes more.
fn step_rows(batch: &RecordBatch, row_group_bytes: usize) -> usize {
    const STEP_ROWS_MAX: usize = 64 * 1024;
    let bytes = size::batch_bytes(batch);
    let row_bytes = (bytes / batch.num_rows().max(1)).max(1);
    (row_group_bytes / 4 / row_bytes).clamp(1, STEP_ROWS_MAX)
}
