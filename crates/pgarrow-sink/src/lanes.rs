//! What sinks of files share: which part appends to which file, when a file ends, and the commit.
//!
//! ```text
//! part 0 ─┬─▶ lane 0 ─▶ part-00000 │ part-00002 │ …      a file ends when it has reached `file_bytes`
//! part 2 ─┘
//! part 1 ───▶ lane 1 ─▶ part-00001 │ …
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pgarrow_types::Message;

use crate::error::{SinkError, SinkErrorKind};
use crate::output::Output;
use crate::outputs::{Kind, Outputs, Series};
use crate::sink::{ColumnRange, Written, WrittenFile};

/// A format: how its files begin.
pub trait FileFormat: Send + Sync {
    /// A file that was begun.
    type Writer: FileWriter;

    /// The end of the files' names, without a dot.
    fn extension(&self) -> &str;

    /// Begins a file: writes what comes before its first row.
    ///
    /// # Errors
    ///
    /// It could not be written.
    fn begin(&self, output: Output) -> Result<Self::Writer, SinkError>;
}

/// A file of some format, in progress.
pub trait FileWriter: Send {
    /// Rows appended.
    fn rows(&self) -> u64;

    /// Bytes written.
    fn bytes(&self) -> u64;

    /// Ends the file: writes what comes after its last row.
    ///
    /// # Errors
    ///
    /// It could not be written.
    fn end(self) -> Result<FileEnd, SinkError>;
}

/// A file whose bytes are all written.
#[derive(Debug)]
pub struct FileEnd {
    /// The output, to be published.
    pub output: Output,
    /// Rows in the file.
    pub rows: u64,
    /// Row groups, for formats that have them.
    pub row_groups: Option<usize>,
    /// What its columns hold, for formats that know.
    pub ranges: Vec<ColumnRange>,
}

/// The files of one sink. Shared by the sink and its parts.
pub struct Lanes<F: FileFormat> {
    format: F,
    /// The one output's name; none for a series, for stdout and for an embedder's writer.
    path: Option<PathBuf>,
    /// None: there is one output, and its file is begun already.
    series: Option<Series>,
    lanes: Vec<Mutex<Lane<F::Writer>>>,
    files: Mutex<Files>,
}

enum Lane<W> {
    /// The next append begins a file.
    Idle,
    Open(Numbered<W>),
    /// An append failed and the file's state is unknown, or the sink was committed.
    Closed,
}

/// A file in progress and its number in the series.
struct Numbered<W> {
    number: usize,
    writer: W,
}

/// The files so far.
#[derive(Default)]
struct Files {
    n_begun: usize,
    /// Rows of all chunks.
    rows: u64,
    /// Complete ones, with their numbers.
    complete: Vec<(usize, WrittenFile)>,
    /// Warnings from publishing them.
    warnings: Vec<String>,
}

impl<F: FileFormat> Lanes<F> {
    /// A single output is begun at once, the files of a series when there is something to append.
    ///
    /// # Errors
    ///
    /// As for [`FileFormat::begin`].
    pub fn new(outputs: Outputs, format: F) -> Result<Self, SinkError> {
        let mut files = Files::default();
        let (path, series, lanes) = match outputs.kind {
            Kind::Single(output) => {
                let path = output.path().map(ToOwned::to_owned);
                files.n_begun = 1;
                let writer = format.begin(output)?;
                (path, None, vec![Mutex::new(Lane::Open(Numbered { number: 0, writer }))])
            }
            Kind::Series(series) => {
                let n_lanes = series.options.lanes.max(1);
                (None, Some(series), (0..n_lanes).map(|_| Mutex::new(Lane::Idle)).collect())
            }
        };
        Ok(Self { format, path, series, lanes, files: Mutex::new(files) })
    }

    /// The format the files were made with.
    pub fn format(&self) -> &F {
        &self.format
    }

    /// The output these files are: one file, or a folder; none for stdout and for an embedder's writer.
    pub fn path(&self) -> Option<&Path> {
        let folder = || Some(self.series.as_ref()?.folder()?.path());
        self.path.as_deref().or_else(folder)
    }

    /// How many files are written at a time.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Appends a chunk of `rows` rows to the file of a lane.
    ///
    /// # Errors
    ///
    /// The error of `append`; [`Incomplete`](SinkErrorKind::Incomplete) if an append to this lane has failed
    /// before; or an error from beginning or ending a file.
    pub fn append(
        &self,
        lane: usize,
        rows: u64,
        append: impl FnOnce(&mut F::Writer) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let lane = self.lanes.get(lane).ok_or_else(|| self.given_up())?;
        let mut lane = lane.lock().map_err(|_| self.given_up())?;
        // Any failure leaves the lane closed.
        let mut file = match std::mem::replace(&mut *lane, Lane::Closed) {
            Lane::Open(file) => file,
            Lane::Idle => self.begin()?,
            Lane::Closed => return Err(self.given_up()),
        };
        append(&mut file.writer)?;
        self.files().rows += rows;
        let file_bytes = self.series.as_ref().and_then(|series| series.options.file_bytes);
        *lane = if file_bytes.is_some_and(|file_bytes| file.writer.bytes() >= file_bytes) {
            self.end(file)?;
            Lane::Idle
        } else {
            Lane::Open(file)
        };
        Ok(())
    }

    /// Completes all files, and publishes a single output, or the folder if this sink owns it.
    ///
    /// # Errors
    ///
    /// As for [`Sink::commit`](crate::Sink::commit).
    pub fn commit(&self) -> Result<Written, SinkError> {
        let mut open = Vec::new();
        for lane in &self.lanes {
            let mut lane = lane.lock().map_err(|_| self.given_up())?;
            match std::mem::replace(&mut *lane, Lane::Closed) {
                Lane::Open(file) => open.push(file),
                Lane::Idle => {}
                Lane::Closed => return Err(self.given_up()),
            }
        }
        let complete: u64 = self.files().complete.iter().map(|(_, file)| file.rows).sum();
        let in_files = complete + open.iter().map(|file| file.writer.rows()).sum::<u64>();
        let appended = self.files().rows;
        if appended != in_files {
            let text =
                format!("{appended} rows were appended, the output has {in_files}; nothing was published");
            return Err(SinkError::new(SinkErrorKind::Incomplete, text));
        }
        for file in open {
            self.end(file)?;
        }
        // A result without rows still has a schema.
        if self.files().n_begun == 0 {
            self.end(self.begin()?)?;
        }
        let mut warnings = std::mem::take(&mut self.files().warnings);
        let owned = self.series.as_ref().filter(|series| series.is_owned);
        if let Some(folder) = owned.and_then(Series::folder) {
            warnings.extend(folder.publish()?);
        }
        let mut files = std::mem::take(&mut self.files().complete);
        files.sort_by_key(|(number, _)| *number);
        let files: Vec<_> = files.into_iter().map(|(_, file)| file).collect();
        let (rows, bytes) =
            files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
        let warnings = warnings.into_iter().map(Message::from).collect();
        Ok(Written { rows, bytes, files, warnings })
    }

    fn begin(&self) -> Result<Numbered<F::Writer>, SinkError> {
        let series = self.series.as_ref().ok_or_else(|| self.given_up())?;
        let number = {
            let mut files = self.files();
            files.n_begun += 1;
            files.n_begun - 1
        };
        let output = series.file(number, self.format.extension())?;
        Ok(Numbered { number, writer: self.format.begin(output)? })
    }

    fn end(&self, file: Numbered<F::Writer>) -> Result<(), SinkError> {
        let FileEnd { output, rows, row_groups, ranges } = file.writer.end()?;
        let mut published = output.publish()?;
        let warnings = std::mem::take(&mut published.warnings);
        let mut files = self.files();
        files
            .complete
            .push((file.number, WrittenFile { row_groups, ranges, ..WrittenFile::of(published, rows) }));
        files.warnings.extend(warnings);
        Ok(())
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // Each change under the lock is complete or was not begun, even after a panic.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An append failed before, another part panicked in the middle of one, or the sink was committed
    /// already.
    fn given_up(&self) -> SinkError {
        let text = "the output was given up after an earlier failure, or is closed";
        let error = SinkError::new(SinkErrorKind::Incomplete, text);
        match self.path() {
            Some(path) => error.with_path(path),
            None => error,
        }
    }
}

impl<F: FileFormat> fmt::Debug for Lanes<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("path", &self.path())
            .field("lanes", &self.lanes.len())
            .finish_non_exhaustive()
    }
}
