//! [`ParquetSink`]: one Parquet file, written by any number of parts.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_writer::ArrowColumnChunk;
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use pgarrow_sink::{
    Output, Part, PartTally, Sink, SinkError, SinkErrorKind, Written, WrittenFile, check_batch,
};

use crate::options::ParquetOptions;
use crate::row_group::{Layout, RowGroup};
use crate::schema::{self, Adapted};

/// Writes one Parquet file.
///
/// Repeated column names get a suffix, see [`warnings`](Self::warnings). The Arrow schema is embedded, so
/// that types without a counterpart in Parquet come back; the schema's metadata becomes the file's.
pub struct ParquetSink {
    shared: Arc<Shared>,
    warnings: Vec<String>,
}

struct Shared {
    layout: Layout,
    row_group_rows: usize,
    row_group_bytes: usize,
    path: Option<PathBuf>,
    tally: PartTally,
    /// Taken out by the commit.
    file: Mutex<Option<SerializedFileWriter<Output>>>,
}

impl ParquetSink {
    /// Starts a file for batches of `schema`.
    ///
    /// # Errors
    ///
    /// [`SinkErrorKind::Unsupported`]: a schema without columns, an interval, another type that Parquet does
    /// not have, or a compression level that does not exist.
    pub fn create(output: Output, schema: SchemaRef, options: ParquetOptions) -> Result<Self, SinkError> {
        let Adapted { schema, warnings } = schema::adapt(&schema)?;
        let layout = Layout::new(schema, &options)?;
        let path = output.path().map(ToOwned::to_owned);
        let (root, properties) = (layout.parquet.root_schema_ptr(), Arc::clone(&layout.properties));
        let file = SerializedFileWriter::new(output, root, properties)
            .map_err(|e| SinkError::encode("begin the parquet file", path.as_deref(), e))?;
        let shared = Shared {
            layout,
            row_group_rows: options.row_group_rows.max(1),
            row_group_bytes: options.row_group_bytes.max(1),
            path,
            tally: PartTally::default(),
            file: Mutex::new(Some(file)),
        };
        Ok(Self { shared: Arc::new(shared), warnings })
    }

    /// What people should know about the file: columns that had to be renamed. One sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

impl Sink for ParquetSink {
    fn open_part(&self, _index: usize) -> Result<Box<dyn Part>, SinkError> {
        self.shared.tally.opened();
        Ok(Box::new(ParquetPart { shared: Arc::clone(&self.shared), group: None, rows: 0 }))
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        let shared = &self.shared;
        let file = shared.file.lock().map_err(|_| shared.broken())?.take().ok_or_else(|| shared.broken())?;
        let groups = file.flushed_row_groups();
        let row_groups = groups.len();
        let rows = groups.iter().map(|group| u64::try_from(group.num_rows()).unwrap_or_default()).sum();
        shared.tally.check(rows)?;
        let output = file.into_inner().map_err(|e| shared.failed("write the footer of", e))?;
        let published = output.publish()?;
        let file =
            WrittenFile { path: published.path, rows, bytes: published.bytes, row_groups: Some(row_groups) };
        Ok(file.into())
    }
}

impl Shared {
    /// Appends an encoded row group. The only thing that is done behind the lock.
    fn append(&self, chunks: Vec<ArrowColumnChunk>) -> Result<(), SinkError> {
        let mut file = self.file.lock().map_err(|_| self.broken())?;
        let file = file.as_mut().ok_or_else(|| self.broken())?;
        let append = || {
            let mut group = file.next_row_group()?;
            for chunk in chunks {
                chunk.append_to_row_group(&mut group)?;
            }
            group.close()
        };
        append().map(drop).map_err(|e| self.failed("write", e))
    }

    fn failed(&self, doing: &str, error: ParquetError) -> SinkError {
        SinkError::encode(doing, self.path.as_deref(), error)
    }

    /// Another part panicked while it appended, or the sink was committed already.
    fn broken(&self) -> SinkError {
        let error = SinkError::new(
            SinkErrorKind::Incomplete,
            "the parquet file was given up by another part or closed",
        );
        match &self.path {
            Some(path) => error.with_path(path),
            None => error,
        }
    }
}

struct ParquetPart {
    shared: Arc<Shared>,
    group: Option<RowGroup>,
    rows: u64,
}

impl Part for ParquetPart {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        let shared = Arc::clone(&self.shared);
        check_batch(&shared.layout.arrow, batch)?;
        let step_rows = step_rows(batch, shared.row_group_bytes);
        let mut start = 0;
        while start < batch.num_rows() {
            let rest = batch.num_rows() - start;
            let failed = |e| shared.failed("encode a batch for", e);
            let group = match &mut self.group {
                Some(group) => group,
                none => {
                    none.insert(RowGroup::begin(&shared.layout, &batch.slice(start, rest)).map_err(failed)?)
                }
            };
            let rows = rest.min(step_rows).min(shared.row_group_rows - group.rows());
            group.write(&shared.layout, &batch.slice(start, rows)).map_err(failed)?;
            start += rows;
            self.rows += rows as u64;
            if group.rows() >= shared.row_group_rows || group.held_bytes() >= shared.row_group_bytes {
                self.end_group()?;
            }
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        self.group.as_ref().map_or(0, RowGroup::held_bytes)
    }

    fn finish(mut self: Box<Self>) -> Result<u64, SinkError> {
        self.end_group()?;
        self.shared.tally.finished(self.rows);
        Ok(self.rows)
    }
}

impl ParquetPart {
    fn end_group(&mut self) -> Result<(), SinkError> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let chunks = group.close().map_err(|e| self.shared.failed("encode a row group for", e))?;
        self.shared.append(chunks)
    }
}

/// How many rows of a batch to encode before looking at the size of the row group again.
///
/// So many that a quarter of `row_group_bytes` is not passed at one go, however wide the rows are.
fn step_rows(batch: &RecordBatch, row_group_bytes: usize) -> usize {
    const STEP_ROWS_MAX: usize = 64 * 1024;
    let bytes: usize = batch
        .columns()
        .iter()
        .map(|column| {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum();
    let row_bytes = (bytes / batch.num_rows().max(1)).max(1);
    (row_group_bytes / 4 / row_bytes).clamp(1, STEP_ROWS_MAX)
}

impl fmt::Debug for ParquetSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetSink")
            .field("path", &self.shared.path)
            .field("schema", &self.shared.layout.arrow)
            .finish_non_exhaustive()
    }
}
