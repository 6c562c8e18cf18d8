//! [`ParquetPart`]: encodes whole row groups, and appends them when it is its turn.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::RecordBatch;
use pgarrow_sink::{Lanes, Part, SinkError, SinkErrorKind, SinkTimes, check_batch};

use crate::cost::{COLUMN_BYTES, Limits};
use crate::file::Format;
use crate::row_group::{Encoded, RowGroup};
use crate::size;

pub(crate) struct ParquetPart {
    lanes: Arc<Lanes<Format>>,
    index: usize,
    group: Option<RowGroup>,
    /// Bytes that this part may hold.
    share: usize,
    is_turn: bool,
    /// Row groups that are encoded and wait for this part's turn.
    waiting: Vec<Encoded>,
    rows: u64,
    times: SinkTimes,
}

impl ParquetPart {
    pub(crate) fn open(lanes: Arc<Lanes<Format>>, index: usize) -> Self {
        lanes.opened_part();
        Self {
            lanes,
            index,
            group: None,
            share: usize::MAX,
            is_turn: true,
            waiting: Vec::new(),
            rows: 0,
            times: SinkTimes::default(),
        }
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        let lanes = Arc::clone(&self.lanes);
        let format = lanes.format();
        let failed = |e| SinkError::encode("encode a batch for", lanes.path(), e);
        let limits = self.limits();
        let step_rows = step_rows(batch, format.row_group_bytes.min(self.share));
        if self.group.as_ref().is_some_and(|group| !group.suits(batch)) {
            self.flush()?;
        }
        let mut start = 0;
        while start < batch.num_rows() {
            let begun = Instant::now();
            let rest = batch.num_rows() - start;
            let group = match &mut self.group {
                Some(group) => group,
                none => {
                    let first = batch.slice(start, rest);
                    none.insert(RowGroup::begin(&format.layout, &first, &limits).map_err(failed)?)
                }
            };
            let rows = rest.min(step_rows).min(format.row_group_rows - group.rows());
            group.write(&format.layout, &batch.slice(start, rows)).map_err(failed)?;
            start += rows;
            self.rows += rows as u64;
            let is_full =
                group.rows() >= format.row_group_rows || group.estimated_bytes() >= format.row_group_bytes;
            self.times.encode += begun.elapsed();
            if is_full {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn n_columns(&self) -> usize {
        self.lanes.format().layout.parquet.num_columns()
    }

    fn limits(&self) -> Limits {
        let format = self.lanes.format();
        Limits::new(format.row_group_bytes.min(self.share), self.n_columns(), format.data_page_bytes)
    }

    fn append(&mut self, group: Encoded) -> Result<(), SinkError> {
        self.lanes.append(self.index, &mut self.times, |file| file.append(group))
    }
}

impl Part for ParquetPart {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        check_batch(&self.lanes.format().layout.arrow, batch)?;
        self.encode(batch)
    }

    fn held_bytes(&self) -> usize {
        self.group.as_ref().map_or(0, RowGroup::held_bytes)
            + self.waiting.iter().map(|group| group.bytes).sum::<usize>()
    }

    /// The batch once more as encoded values, and once more compressed: that of a large value. (Of small ones, it is a page
    /// of one column at a time.) The writers of a row group that is not begun come on top.
    fn working_bytes(&self, batch_bytes: usize) -> usize {
        let writers = if self.group.is_none() { self.n_columns().saturating_mul(COLUMN_BYTES) } else { 0 };
        batch_bytes.saturating_mul(2).saturating_add(batch_bytes / 8).saturating_add(writers)
    }

    fn set_share(&mut self, bytes: usize) {
        self.share = bytes;
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let begun = Instant::now();
        let encoded = group.close();
        self.times.encode += begun.elapsed();
        let encoded =
            encoded.map_err(|e| SinkError::encode("encode a row group for", self.lanes.path(), e))?;
        if !self.is_turn {
            self.waiting.push(encoded);
            return Ok(());
        }
        self.append(encoded)
    }

    /// Rows of a row group are neighbours, so that its statistics say something.
    fn jump(&mut self) -> Result<(), SinkError> {
        self.flush()
    }

    fn set_turn(&mut self, is_turn: bool) -> Result<(), SinkError> {
        self.is_turn = is_turn;
        if is_turn {
            for group in mem::take(&mut self.waiting) {
                self.append(group)?;
            }
        }
        Ok(())
    }

    fn times(&self) -> SinkTimes {
        self.times
    }

    fn finish(mut self: Box<Self>) -> Result<u64, SinkError> {
        if !self.is_turn {
            let text = "a part of the output was finished before its turn";
            return Err(SinkError::new(SinkErrorKind::Incomplete, text));
        }
        self.flush()?;
        self.lanes.finished_part(self.rows);
        Ok(self.rows)
    }
}

/// How many rows of a batch to encode before looking at the size of the row group again.
///
/// So many that a quarter of `row_group_bytes` is not passed at one go, however wide the rows are.
fn step_rows(batch: &RecordBatch, row_group_bytes: usize) -> usize {
    const STEP_ROWS_MAX: usize = 64 * 1024;
    let bytes = size::batch_bytes(batch);
    let row_bytes = (bytes / batch.num_rows().max(1)).max(1);
    (row_group_bytes / 4 / row_bytes).clamp(1, STEP_ROWS_MAX)
}
