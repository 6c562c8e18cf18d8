//! The contract between the run loop and a format.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use pgarrow_types::Message;

use crate::error::{SinkError, SinkErrorKind};

/// Where the batches of one run or of one table go: one file, or a series of files.
///
/// A sink dropped without [`commit`](Self::commit) leaves nothing behind that could be mistaken for a
/// complete output.
pub trait Sink: Send + Sync {
    /// Opens the part of one reader, or of one slice of an export that keeps its order. `index` counts from 0; it
    /// decides which lane of files the part appends to, see
    /// [`FolderOptions::lanes`](crate::FolderOptions::lanes).
    ///
    /// Every part that was opened has to be finished before the commit; a part that was dropped instead
    /// makes the commit fail, because nobody can know which of its rows are missing.
    ///
    /// # Errors
    ///
    /// What the format needs for a part could not be made.
    fn open_part(&self, index: usize) -> Result<Box<dyn Part>, SinkError>;

    /// Bytes that each part should have to itself, so that it can do its work well however many rows there are: such as
    /// what every column takes. Where that does not fit the memory for all parts, there have to be fewer of them.
    fn part_bytes(&self) -> usize {
        0
    }

    /// Completes the output, publishes it atomically and says what it came to. Files in an
    /// [`OutputFolder`](crate::OutputFolder) of somebody else are completed only, see
    /// [`Outputs`](crate::Outputs).
    ///
    /// Call it after every part is finished and after the rows were compared with the server's count.
    ///
    /// # Errors
    ///
    /// [`SinkErrorKind::Incomplete`](crate::SinkErrorKind::Incomplete) if a part was not finished or rows do
    /// not add up; otherwise whatever stopped the last bytes from being written and made durable. Nothing is
    /// published then.
    fn commit(self: Box<Self>) -> Result<Written, SinkError>;
}

/// One reader's share of an output.
///
/// A part encodes by itself and takes the sink's lock only to append what is encoded. After an error it is
/// of no further use: drop it, and drop the sink.
pub trait Part: Send {
    /// Writes one batch. All batches have the schema the sink was made for.
    ///
    /// # Errors
    ///
    /// The batch could not be encoded, or what is encoded could not be written.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError>;

    /// Bytes held in memory by this part: buffered, or encoded and not yet appended to the output. What waits
    /// for its turn is part of it.
    fn held_bytes(&self) -> usize;

    /// Bytes that [`write`](Self::write) needs at most for as long as it runs, for a batch of `batch_bytes`: on
    /// top of the batch and of what is held before. An estimate for the worst batch of that size, which is one
    /// with a single value; what it adds to the held bytes is part of it.
    fn working_bytes(&self, batch_bytes: usize) -> usize;

    /// Tells the part how many bytes it may hold, before it is given any batch. It arranges its buffers accordingly; that
    /// it is [flushed](Self::flush) in time is up to the caller. A part that never holds much need not know.
    fn set_share(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Ends early what is being gathered, such as a row group, so that as little as possible is held.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Says that the rows which come next are not neighbours of those before: they are from another place of the
    /// table. What is described by the range of its values, such as a row group, ends here; a format without such things
    /// need not know.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn jump(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Whether it is this part's turn to append to the output. From the start it is.
    ///
    /// An export that keeps its order has one part for each slice, several of them at work at once; those whose
    /// turn has not come encode, and hold what is encoded. Getting the turn appends it.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn set_turn(&mut self, is_turn: bool) -> Result<(), SinkError>;

    /// Tells the part how it can see that the run was stopped, before anything else is done with it. A part that waits
    /// for others, such as a server that takes no more, looks at it several times a second and fails if it was; a part
    /// that never waits so need not know.
    fn watch(&mut self, stop: Stop) {
        let _ = stop;
    }

    /// What this part has spent its time on so far. Call [`flush`](Self::flush) before, to have the time in it
    /// that [`finish`](Self::finish) would need.
    fn times(&self) -> SinkTimes;

    /// Appends what is still held and returns the number of rows this part has written.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write), and [`SinkErrorKind::Incomplete`] while it is not this part's turn.
    fn finish(self: Box<Self>) -> Result<u64, SinkError>;
}

/// Whether a run was stopped: it has failed elsewhere, or somebody has cancelled it. The default never is.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<IsStopped>>);

type IsStopped = dyn Fn() -> bool + Send + Sync;

impl Stop {
    /// Stopped when `is_stopped` says so, which has to be cheap.
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

/// What a part has spent its time on. What is left of a [`Part::write`] is its own overhead.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SinkTimes {
    /// Encoding and compressing.
    pub encode: Duration,
    /// Waiting for another part to finish appending.
    pub wait: Duration,
    /// Appending: handing bytes to the system.
    pub write: Duration,
}

/// What a committed output came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Written {
    /// Rows in all files together.
    pub rows: u64,
    /// Bytes of all files together, as they are on disk or went to stdout.
    pub bytes: u64,
    /// The files, in the order of their names.
    pub files: Vec<WrittenFile>,
    /// What should be known although the output is complete, such as a folder that cannot be synced.
    pub warnings: Vec<Message>,
}

/// One file of a committed output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrittenFile {
    /// The file's name as it was given; none for stdout and for an embedder's writer.
    pub path: Option<PathBuf>,
    /// Rows in this file.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Row groups, for formats that have them.
    pub row_groups: Option<usize>,
}

impl From<WrittenFile> for Written {
    fn from(file: WrittenFile) -> Self {
        Self { rows: file.rows, bytes: file.bytes, files: vec![file], warnings: Vec::new() }
    }
}

/// Checks that a batch has the columns a sink was made for: number, types and nullability. Names and metadata
/// are the sink's business, since a format may have had to change them.
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
