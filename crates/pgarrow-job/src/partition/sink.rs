//! [`PartitionSink`]: the files of a table by their partitions. Its parts do the work; it completes their
//! files.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use pgarrow_sink::{
    Chunk, MANY_LANES, Message, Output, OutputFolder, Part, PartWriter, Sink, SinkError, SinkErrorKind,
    SinkWriter, Stop, Written, WrittenFile,
};

use super::PartitionValues;
use super::folder::{Folders, NULL, key_name};
use super::keys::Keys;
use super::part::PartitionPart;

/// What a file takes in memory while it is written to a folder of this machine: its buffer.
const BUFFER_BYTES: usize = 128 << 10;

/// Files that all parts together write at a time, at most. Systems allow a process 1024, or 256.
const OPEN_FILES: usize = 192;

/// Makes the sink of one file; takes what the format has to change.
pub(super) type MakeSink =
    dyn Fn(Output, &mut dyn FnMut(String)) -> Result<Box<dyn Sink>, SinkError> + Send + Sync;

type BeginFile = dyn Fn(&str, usize, &PartitionValues) -> Result<Output, SinkError> + Send + Sync;

/// Where the files of a table's partitions go.
pub struct PartitionFiles {
    pub(crate) begin: Box<BeginFile>,
    /// The bytes at which a file is complete.
    pub(crate) file_bytes: Option<u64>,
    /// What a file takes in memory at most, once something was written to it.
    pub(crate) buffer_bytes: usize,
    /// Whether names of files differ if only their case does.
    pub(crate) tells_case: bool,
    /// How many parts write at a time.
    pub(crate) n_parts: usize,
    /// The folder that the sink publishes.
    pub(crate) owned: Option<OutputFolder>,
}

impl PartitionFiles {
    /// Files in a folder that is published as a whole, below the path `below` in it: by the sink's commit if
    /// it `owns` the folder. `n_parts` is the number of readers.
    pub fn in_folder(
        folder: &OutputFolder,
        below: &str,
        extension: &str,
        file_bytes: Option<u64>,
        n_parts: usize,
        owns: bool,
    ) -> Self {
        let (of_files, below, extension) = (folder.clone(), below.to_owned(), extension.to_owned());
        let begin = move |partition: &str, number: usize, _: &PartitionValues| {
            let below = if below.is_empty() { partition.to_owned() } else { format!("{below}/{partition}") };
            of_files.file_in(&below, &format!("part-{number:05}.{extension}"))
        };
        Self {
            begin: Box::new(begin),
            file_bytes,
            buffer_bytes: BUFFER_BYTES,
            tells_case: false,
            n_parts,
            owned: owns.then(|| folder.clone()),
        }
    }

    /// Files that `begin` begins: by the path of their partition, their number in the table, and the
    /// partition's values. Each takes so many bytes of memory that nothing else counts; 0 stands for a folder
    /// of this machine.
    pub(crate) fn begun_by(
        begin: impl Fn(&str, usize, &PartitionValues) -> Result<Output, SinkError> + Send + Sync + 'static,
        file_bytes: Option<u64>,
        memory_bytes: usize,
        n_parts: usize,
    ) -> Self {
        Self {
            begin: Box::new(begin),
            file_bytes,
            buffer_bytes: memory_bytes.max(BUFFER_BYTES),
            tells_case: memory_bytes > 0,
            n_parts,
            owned: None,
        }
    }
}

impl fmt::Debug for PartitionFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionFiles").field("file_bytes", &self.file_bytes).finish_non_exhaustive()
    }
}

/// Writes a table's files by their partitions.
pub(crate) struct PartitionSink {
    shared: Arc<Shared>,
}

/// What the sink and its parts share.
pub(super) struct Shared {
    make: Box<MakeSink>,
    /// Whether an order of rows is declared, which is checked.
    pub(super) is_sorted: bool,
    pub(super) keys: Keys,
    pub(super) schema: SchemaRef,
    pub(super) folders: Folders,
    pub(super) files: PartitionFiles,
    /// Files that a part may write at a time.
    pub(super) open_max: usize,
    /// The format's part without rows, to ask what it would take.
    probe: Mutex<Box<dyn Part>>,
    part_bytes: usize,
    n_begun: AtomicUsize,
    complete: Mutex<Complete>,
}

#[derive(Default)]
struct Complete {
    files: Vec<WrittenFile>,
    warnings: Vec<Message>,
}

/// A file of a partition that is being written. As a chunk, it is complete but for its end.
pub(super) struct OpenFile {
    sink: SinkWriter<'static>,
    part: PartWriter<'static>,
    written: Arc<AtomicU64>,
    pub(super) rows: u64,
}

impl PartitionSink {
    /// Begins no file yet. `make` makes the sink of one file, `schema` is that of the batches; `notice` takes
    /// what the format has to change.
    ///
    /// # Errors
    ///
    /// What the format refuses.
    pub(crate) fn create(
        make: Box<MakeSink>,
        is_sorted: bool,
        keys: Keys,
        schema: SchemaRef,
        files: PartitionFiles,
        notice: &mut dyn FnMut(String),
    ) -> Result<Self, SinkError> {
        let sink = make(Output::writer(io::sink()), notice)?;
        let shared = Shared {
            make,
            is_sorted,
            keys,
            schema,
            folders: Folders::new(files.tells_case),
            open_max: (OPEN_FILES / files.n_parts.max(1)).max(2),
            files,
            probe: Mutex::new(sink.open_part()?),
            part_bytes: sink.part_bytes(),
            n_begun: AtomicUsize::new(0),
            complete: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    /// What the format's part takes to write a batch of this size, before its first row.
    pub(super) fn working_bytes(&self, batch_bytes: usize) -> usize {
        let probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        probe.working_bytes(batch_bytes)
    }

    fn complete(&self) -> MutexGuard<'_, Complete> {
        // Each change is complete or was not begun, even after a panic.
        self.complete.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a file.
    pub(super) fn begin(
        &self,
        folder: &str,
        values: &[Option<String>],
        share: usize,
    ) -> Result<OpenFile, SinkError> {
        let (sink, written) = self.begin_sink(folder, values)?;
        let sink = SinkWriter::new(sink, Stop::default());
        let mut part = sink.open_part(0)?;
        part.set_share(share);
        Ok(OpenFile { sink, part, written, rows: 0 })
    }

    fn begin_sink(
        &self,
        folder: &str,
        values: &[Option<String>],
    ) -> Result<(Box<dyn Sink>, Arc<AtomicU64>), SinkError> {
        let number = self.n_begun.fetch_add(1, Ordering::Relaxed);
        let values = self.keys.names().zip(values.iter().cloned()).collect();
        let output = (self.files.begin)(folder, number, &values)?;
        let sink = (self.make)(output, &mut drop)?;
        let written = Arc::default();
        Ok((Box::new(Counted { sink, written: Arc::clone(&written) }), written))
    }

    fn add(&self, written: Written) {
        let mut complete = self.complete();
        complete.files.extend(written.files);
        for warning in written.warnings {
            // Most are about the folder.
            if !complete.warnings.contains(&warning) {
                complete.warnings.push(warning);
            }
        }
    }
}

impl OpenFile {
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        self.rows = self.rows.saturating_add(batch.num_rows() as u64);
        self.part.write(batch)
    }

    pub(super) fn flush(&mut self) -> Result<(), SinkError> {
        self.part.flush()
    }

    pub(super) fn jump(&mut self) -> Result<(), SinkError> {
        self.part.jump()
    }

    /// Bytes in memory that are not written yet.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.part.held_bytes()
    }

    /// Bytes written, about.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

impl Sink for PartitionSink {
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
        Ok(Box::new(PartitionPart::open(Arc::clone(&self.shared))))
    }

    fn append(&self, _lane: usize, chunk: Chunk, _stop: &Stop) -> Result<(), SinkError> {
        let OpenFile { sink, part, .. } = chunk.into_encoded()?;
        part.finish()?;
        self.shared.add(sink.commit()?);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        let shared = &self.shared;
        if shared.complete().files.is_empty() {
            // A result without rows still has a schema. Beside folders of partitions, readers would stumble
            // over it.
            let folder: Vec<String> =
                shared.keys.names().map(|name| format!("{}={NULL}", key_name(&name))).collect();
            let (sink, _) = shared.begin_sink(&folder.join("/"), &shared.keys.of_nulls())?;
            shared.add(SinkWriter::new(sink, Stop::default()).commit()?);
        }
        let Complete { mut files, mut warnings } = std::mem::take(&mut *shared.complete());
        if let Some(folder) = &shared.files.owned {
            warnings.extend(folder.publish()?.into_iter().map(Message::from));
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let (rows, bytes) =
            files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
        Ok(Written { rows, bytes, files, warnings })
    }

    fn lanes(&self) -> usize {
        MANY_LANES
    }

    /// Twice what a part of one file has: with less, most of it would be the fixed memory of the columns of
    /// two files.
    fn part_bytes(&self) -> usize {
        self.shared.part_bytes.saturating_mul(2)
    }
}

impl fmt::Debug for PartitionSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionSink").field("files", &self.shared.files).finish_non_exhaustive()
    }
}

/// The sink of a format that counts what is appended.
struct Counted {
    sink: Box<dyn Sink>,
    written: Arc<AtomicU64>,
}

impl Sink for Counted {
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
        self.sink.open_part()
    }

    fn append(&self, lane: usize, chunk: Chunk, stop: &Stop) -> Result<(), SinkError> {
        self.written.fetch_add(chunk.bytes() as u64, Ordering::Relaxed);
        self.sink.append(lane, chunk, stop)
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        self.sink.commit()
    }
}

/// A chunk is a complete file: nothing may be kept of a part that has failed.
pub(super) fn chunk_of(file: OpenFile) -> Chunk {
    Chunk::new(file.rows, file.unwritten_bytes(), file)
}

/// An error that nobody should see.
pub(super) fn broken(why: &str) -> SinkError {
    SinkError::new(SinkErrorKind::Incomplete, format!("{why}; please report it"))
}
