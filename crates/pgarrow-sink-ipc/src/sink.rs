//! [`IpcSink`]: one Arrow IPC file or stream, written by any number of parts.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, DataType, SchemaRef};
use pgarrow_sink::{
    Output, Part, PartTally, Sink, SinkError, SinkErrorKind, Written, WrittenFile, check_batch,
};

use crate::options::{IpcFormat, IpcOptions};

/// Writes one Arrow IPC file or stream.
///
/// The schema is written at once, with its metadata, so that an empty result has it too. Batches without
/// columns keep their number of rows.
pub struct IpcSink {
    shared: Arc<Shared>,
}

struct Shared {
    schema: SchemaRef,
    path: Option<PathBuf>,
    tally: PartTally,
    /// Taken out by the commit, and by the first failure: what the writer has put out is unknown then.
    state: Mutex<Option<State>>,
}

struct State {
    writer: Writer,
    rows: u64,
}

enum Writer {
    File(Box<FileWriter<Output>>),
    Stream(Box<StreamWriter<Output>>),
}

impl IpcSink {
    /// Starts a file or stream for batches of `schema`.
    ///
    /// # Errors
    ///
    /// [`SinkErrorKind::Unsupported`] for a compression that is not available, or what the output says when
    /// the schema is written to it.
    pub fn create(output: Output, schema: SchemaRef, options: IpcOptions) -> Result<Self, SinkError> {
        let path = output.path().map(ToOwned::to_owned);
        let write_options = options.write_options()?;
        let writer = match options.format {
            IpcFormat::File => FileWriter::try_new_with_options(output, &schema, write_options)
                .map(|writer| Writer::File(Box::new(writer))),
            IpcFormat::Stream => StreamWriter::try_new_with_options(output, &schema, write_options)
                .map(|writer| Writer::Stream(Box::new(writer))),
        };
        let writer = writer.map_err(|e| SinkError::encode("write the schema to", path.as_deref(), e))?;
        let state = Mutex::new(Some(State { writer, rows: 0 }));
        Ok(Self { shared: Arc::new(Shared { schema, path, tally: PartTally::default(), state }) })
    }
}

impl Sink for IpcSink {
    fn open_part(&self, _index: usize) -> Result<Box<dyn Part>, SinkError> {
        self.shared.tally.opened();
        Ok(Box::new(IpcPart { shared: Arc::clone(&self.shared), rows: 0 }))
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        let shared = &self.shared;
        let State { writer, rows } =
            shared.state.lock().map_err(|_| shared.broken())?.take().ok_or_else(|| shared.broken())?;
        shared.tally.check(rows)?;
        let output = match writer {
            Writer::File(writer) => writer.into_inner(),
            Writer::Stream(writer) => writer.into_inner(),
        };
        let output = output.map_err(|e| SinkError::encode("write the end of", shared.path.as_deref(), e))?;
        let published = output.publish()?;
        Ok(WrittenFile { path: published.path, rows, bytes: published.bytes, row_groups: None }.into())
    }
}

impl Shared {
    fn write(&self, batch: &RecordBatch) -> Result<(), SinkError> {
        let mut state = self.state.lock().map_err(|_| self.broken())?;
        let Some(mut open) = state.take() else { return Err(self.broken()) };
        let written = match &mut open.writer {
            Writer::File(writer) => writer.write(batch),
            Writer::Stream(writer) => writer.write(batch),
        };
        written.map_err(|e| self.failed(batch, e))?;
        open.rows += batch.num_rows() as u64;
        *state = Some(open);
        Ok(())
    }

    fn failed(&self, batch: &RecordBatch, error: ArrowError) -> SinkError {
        // The writer has no variant of its own for this. A file has one dictionary per column, written before
        // the first batch; an enum that grew after that has another one.
        if matches!(&error, ArrowError::InvalidArgumentError(text) if text.contains("Dictionary replacement"))
        {
            let enums: Vec<_> = batch
                .schema_ref()
                .fields()
                .iter()
                .filter(|field| has_dictionary(field.data_type()))
                .map(|field| format!("{:?}", field.name()))
                .collect();
            let text = format!(
                "a label was added to the enum of a column ({}) while the export ran, and an arrow ipc file \
                 cannot take it; use the stream format or Parquet, or run the export again",
                enums.join(", ")
            );
            return self.with_path(SinkError::new(SinkErrorKind::Encode, text));
        }
        SinkError::encode("write a batch to", self.path.as_deref(), error)
    }

    /// A write failed before, another part panicked in the middle of one, or the sink was committed already.
    fn broken(&self) -> SinkError {
        let text = "the arrow ipc output was given up after an earlier failure, or is closed";
        self.with_path(SinkError::new(SinkErrorKind::Incomplete, text))
    }

    fn with_path(&self, error: SinkError) -> SinkError {
        match &self.path {
            Some(path) => error.with_path(path),
            None => error,
        }
    }
}

/// An enum, or an array, composite or range with one inside.
fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_dictionary(field.data_type()),
        _ => false,
    }
}

struct IpcPart {
    shared: Arc<Shared>,
    rows: u64,
}

impl Part for IpcPart {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        check_batch(&self.shared.schema, batch)?;
        // Nothing to say, and readers of a stream would have to skip it.
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.shared.write(batch)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        0
    }

    fn finish(self: Box<Self>) -> Result<u64, SinkError> {
        self.shared.tally.finished(self.rows);
        Ok(self.rows)
    }
}

impl fmt::Debug for IpcSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpcSink")
            .field("path", &self.shared.path)
            .field("schema", &self.shared.schema)
            .finish_non_exhaustive()
    }
}
