//! The contract of a format: what encodes, and what appends and commits.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use pgarrow_types::Message;
use serde::{Deserialize, Serialize};

use crate::chunk::{Chunk, Chunks};
use crate::error::{SinkError, SinkErrorKind};
use crate::output::Published;

/// As many [lanes](Sink::lanes) as there are parts at work, or nearly: for a sink that has a lock, or a
/// queue, of its own.
pub const MANY_LANES: usize = 256;

/// Where the batches of one run or of one table go: one file, a series of files, or another server.
///
/// A sink converts nothing: its [parts](Part) encode, one for each reader, and the sink appends their chunks.
/// [`SinkWriter`](crate::SinkWriter) makes the calls: it keeps order, counts rows, takes times and commits
/// only what is complete. A sink dropped without [`commit`](Self::commit) leaves nothing behind that looks
/// like a complete output.
pub trait Sink: Send + Sync {
    /// Makes the part of one reader, or of one slice of an export that keeps its order.
    ///
    /// # Errors
    ///
    /// What the format needs for a part could not be made.
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError>;

    /// Appends a chunk to a lane. Calls for one lane come one after another, those for several may come at
    /// once. It may wait for the consumer of the bytes; then it checks `stop` several times a second, and
    /// fails if a stop is requested.
    ///
    /// # Errors
    ///
    /// The chunk could not be written. All later appends to that lane must fail, too.
    fn append(&self, lane: usize, chunk: Chunk, stop: &Stop) -> Result<(), SinkError>;

    /// Completes the output, publishes it atomically and returns its totals. Files in an
    /// [`OutputFolder`](crate::OutputFolder) that the sink does not own are only completed, see
    /// [`Outputs`](crate::Outputs).
    ///
    /// # Errors
    ///
    /// The last bytes could not be written and made durable. Nothing is published then.
    fn commit(self: Box<Self>) -> Result<Written, SinkError>;

    /// How many sequences of chunks, such as files, the sink takes at the same time. The part with index `i`
    /// appends to lane `i % lanes`. [`MANY_LANES`] for a sink whose `append` takes several calls at once.
    fn lanes(&self) -> usize {
        1
    }

    /// Whether [`append`](Self::append) spends its time on waiting for a consumer, and not on writing.
    fn is_consumer(&self) -> bool {
        false
    }

    /// Bytes that each part should have to itself to work well with any number of rows, for example the fixed
    /// memory of every column. If the memory does not hold this for all parts, there must be fewer of them.
    fn part_bytes(&self) -> usize {
        0
    }
}

/// One reader's share of an output: batches in, encoded chunks out. It needs no lock, and never waits.
///
/// After an error it is of no further use.
pub trait Part: Send {
    /// Encodes one batch, and pushes the chunks that it completes. All batches have the schema the sink was
    /// made for.
    ///
    /// # Errors
    ///
    /// The batch could not be encoded, or an error of [`push`](Chunks::push).
    fn write(&mut self, batch: &RecordBatch, chunks: &mut Chunks<'_>) -> Result<(), SinkError>;

    /// Ends early what the part gathers, such as a row group, so that it holds as little as possible.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn flush(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let _ = chunks;
        Ok(())
    }

    /// Pushes the last chunks: no batch comes after.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn finish(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        self.flush(chunks)
    }

    /// Says that the next rows are not neighbours of those before: they are from another place of the table.
    /// A row group, or whatever else is described by the range of its values, ends here; other formats ignore
    /// this.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn jump(&mut self, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let _ = chunks;
        Ok(())
    }

    /// Bytes that this part holds in memory. Pushed chunks do not count, as long as the sink does not keep
    /// them beyond [`append`](Sink::append).
    fn held_bytes(&self) -> usize {
        0
    }

    /// Most bytes that [`write`](Self::write) needs while it runs, for a batch of `batch_bytes`: on top of
    /// the batch and of the bytes held before. An estimate for the worst batch of that size, which has a
    /// single value; it includes what the write adds to the held bytes. By default, twice the batch.
    fn working_bytes(&self, batch_bytes: usize) -> usize {
        batch_bytes.saturating_mul(2)
    }

    /// Sets how many bytes the part may hold, before its first batch. The part arranges its buffers
    /// accordingly; the caller [flushes](Self::flush) it in time. A part that never holds much ignores this.
    fn set_share(&mut self, bytes: usize) {
        let _ = bytes;
    }
}

/// Whether a run was stopped: it failed elsewhere, or was cancelled. The default never is.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<IsStopped>>);

type IsStopped = dyn Fn() -> bool + Send + Sync;

impl Stop {
    /// Stopped when `is_stopped` says so. The call must be cheap.
    pub fn new(is_stopped: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_stopped)))
    }

    /// Whether it is time to give up.
    pub fn is_requested(&self) -> bool {
        self.0.as_ref().is_some_and(|is_stopped| is_stopped())
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.is_requested()).finish()
    }
}

/// How a part spent its time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SinkTimes {
    /// Encoding and compressing.
    pub encode: Duration,
    /// Waiting for another part to finish appending, or for a consumer.
    pub wait: Duration,
    /// Appending: handing bytes to the system.
    pub write: Duration,
}

/// The totals of a committed output.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Rows in all files together.
    pub rows: u64,
    /// Bytes of all files together, as they are on disk or went to stdout.
    pub bytes: u64,
    /// The files, in the order of their names.
    pub files: Vec<WrittenFile>,
    /// Warnings about the complete output, for example that a folder cannot be synced.
    pub warnings: Vec<Message>,
}

/// One file of a committed output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrittenFile {
    /// The file's name as the caller gave it; none for stdout and for an embedder's writer.
    pub path: Option<PathBuf>,
    /// Rows in this file.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Row groups, for formats that have them.
    pub row_groups: Option<usize>,
    /// The SHA-256 of its bytes in hexadecimal digits, if its output was to compute it.
    pub sha256: Option<String>,
    /// What its columns hold, for formats that know.
    pub ranges: Vec<ColumnRange>,
}

/// What a column of a file holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ColumnRange {
    /// Its name in the file.
    pub name: String,
    /// How many NULLs, if that is known.
    pub nulls: Option<u64>,
    /// The smallest value as Arrow prints it. `None` if there is none, or if it is not known exactly. NaN
    /// does not count.
    pub min: Option<String>,
    /// The largest value, likewise.
    pub max: Option<String>,
}

impl WrittenFile {
    /// A published output with this many rows.
    pub fn of(published: Published, rows: u64) -> Self {
        let Published { path, bytes, sha256, .. } = published;
        Self { path, rows, bytes, row_groups: None, sha256, ranges: Vec::new() }
    }
}

impl From<WrittenFile> for Written {
    fn from(file: WrittenFile) -> Self {
        Self { rows: file.rows, bytes: file.bytes, files: vec![file], warnings: Vec::new() }
    }
}

/// Checks that a batch has the columns a sink was made for: number, types and nullability. Names and metadata
/// may differ, since a format may have had to change them.
///
/// Writers of formats trust a field that says "never null"; a batch that does not promise it would be
/// written wrongly and without an error.
///
/// # Errors
///
/// [`SinkErrorKind::Encode`], with the first column that differs.
pub fn check_batch(schema: &Schema, batch: &RecordBatch) -> Result<(), SinkError> {
    let found = batch.schema_ref();
    let refuse = |text: String| Err(SinkError::new(SinkErrorKind::Encode, text));
    if std::ptr::eq(schema, found.as_ref()) {
        return Ok(());
    }
    if schema.fields().len() != found.fields().len() {
        let (expected, found) = (schema.fields().len(), found.fields().len());
        return refuse(format!("a batch has {found} columns, the output {expected}"));
    }
    for (expected, found) in schema.fields().iter().zip(found.fields()) {
        let name = expected.name();
        if !expected.data_type().equals_datatype(found.data_type()) {
            let (expected, found) = (expected.data_type(), found.data_type());
            return refuse(format!("column {name:?} of a batch is {found}, in the output it is {expected}"));
        }
        if found.is_nullable() && !expected.is_nullable() {
            return refuse(format!("column {name:?} of a batch may be null, in the output it may not"));
        }
    }
    Ok(())
}
