//! The data to load: Parquet files, Arrow IPC files and streams, as one sequence of batches with one schema.
//!
//! ```text
//!  thread: open all, compare schemas ─▶ file 1, by batches ─▶ file 2 … ─▶ queue of two ─▶ Input::next
//! ```
//!
//! A separate thread reads and decodes while batches are loaded. Files are untrusted: claimed sizes are
//! checked against the actual bytes before anything is allocated, and the readers of arrow-rs validate
//! values.

mod ipc;
mod ipc_file;
mod ipc_stream;
mod parquet;
mod place;
mod remote;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use pgarrow_catalog::RelationName;
use pgarrow_session::{Cancel, Error, ErrorKind, Result};
use pgarrow_types::message;
use pgarrow_types::option::RESTART_KEY;

use place::Place;
pub use place::{InputFile, InputFormat};
pub use remote::{PART_BYTES_MAX, RemoteFile, RemotePart};

use crate::marks::{Stamp, restart_key};

/// Batches in the queue, besides the one being read and the one being loaded.
const QUEUED: usize = 2;

/// How often a wait for a batch checks for a cancel.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Batches of one schema, from files or stdin.
///
/// Dropping it stops the reading after the current batch.
#[derive(Debug)]
pub struct Input {
    schema: SchemaRef,
    rows: Option<u64>,
    name: String,
    places: Vec<Place>,
    events: Receiver<Event>,
    is_ended: bool,
    cancel: Option<Cancel>,
}

/// Messages of the reading thread.
#[derive(Debug)]
enum Event {
    Opened { schema: SchemaRef, rows: Option<u64> },
    Batch(RecordBatch),
    Failed(Error),
    End,
}

/// A file or stream whose schema is known.
struct OpenFile {
    schema: SchemaRef,
    /// If the format states it in advance.
    rows: Option<u64>,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>,
}

impl Input {
    /// Opens all files and reads their schemas, but no batches yet. `-` is stdin. A folder stands for its
    /// files in the order of their names. Files that are elsewhere ([`RemoteFile`]) are read ahead, in up to
    /// 64 MiB of memory; the rows of their IPC files are not counted beforehand. Without a format, the ending
    /// of a name decides, otherwise the first bytes.
    ///
    /// Several files must have the same columns: names, types and order. A column that is nullable in one
    /// file is nullable in the common schema. The metadata are those of the first file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] for a path that does not exist, is damaged, or does not match the earlier files;
    /// [`ErrorKind::Options`] if the paths or the format are ambiguous.
    pub fn open(
        files: impl IntoIterator<Item = impl Into<InputFile>>,
        format: Option<InputFormat>,
    ) -> Result<Self> {
        let places = place::places(files)?;
        let name = match places.as_slice() {
            [place] => place.name(),
            places => format!("{} files", places.len()),
        };
        let (sender, events) = mpsc::sync_channel(QUEUED);
        let of_thread = places.clone();
        let reading = move || {
            let event = match read(of_thread, format, &sender) {
                Ok(()) => Event::End,
                Err(error) => Event::Failed(error),
            };
            // The receiver may be gone.
            let _ = sender.send(event);
        };
        let started = thread::Builder::new().name("pgarrow-input".to_owned()).spawn(reading);
        started.map_err(|error| input_error(&name, format!("no thread could be started: {error}")))?;
        match events.recv() {
            Ok(Event::Opened { schema, rows }) => {
                Ok(Self { schema, rows, name, places, events, is_ended: false, cancel: None })
            }
            Ok(Event::Failed(error)) => Err(error),
            Ok(Event::Batch(_) | Event::End) | Err(_) => {
                Err(input_error(&name, "reading it has ended early"))
            }
        }
    }

    /// The schema that the batches of these paths will have, and how many rows there will be, if all files
    /// state it. Reads no batches, and fails where [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn look(
        files: impl IntoIterator<Item = impl Into<InputFile>>,
        format: Option<InputFormat>,
    ) -> Result<(SchemaRef, Option<u64>)> {
        open_all(place::places(files)?, format).map(|(_, schema, rows)| (schema, rows))
    }

    /// Stops waiting for a batch once the load is cancelled: a pipe may stay silent for ever.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// The schema of all batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows there will be, if all files state it; streams do not.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// A name for messages: the file's name, `stdin`, or the number of files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All files of this machine, including those in folders; stdin is not among them.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().filter_map(|place| match place {
            Place::Path(path) => Some(path.as_path()),
            Place::Stdin | Place::Remote(_) => None,
        })
    }

    /// A [restart key](crate::LoadOptions::with_restart_key) for a load of these files into the table of this
    /// name. A second start gets the same key, and a file that was written again gets another. Relative and
    /// absolute paths give the same key. Files that are elsewhere are known by their names and versions. With
    /// the key, a load fails if it would append the rows of a file after an incomplete load from a file of
    /// the same name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for stdin and other pipes, which have no identity to make a key from, for files
    /// whose server does not say their version, and for a table name that cannot be used;
    /// [`ErrorKind::Input`] if a file no longer exists.
    pub fn restart_key(&self, table: &str) -> Result<String> {
        let table = RelationName::parse(table)?.quoted();
        let files = self.places.iter().map(|place| match place {
            Place::Path(path) if place.is_file() => stamp(path),
            Place::Remote(file) => match file.version() {
                Some(version) => {
                    let (name, changed) = (file.name().to_owned(), version.to_owned());
                    Ok(Stamp { name, changed, bytes: file.bytes() })
                }
                None => Err(without_identity(format!(
                    "{}: its server does not say which version it is",
                    place.name()
                ))),
            },
            _ => Err(without_identity(format!(
                "{}: nothing tells what comes out of a pipe from what came before",
                place.name()
            ))),
        });
        Ok(restart_key(&table, &files.collect::<Result<Vec<_>>>()?, &self.schema))
    }

    fn wait(&self) -> Event {
        let ended = || Event::Failed(input_error(&self.name, "reading it has ended early"));
        let Some(cancel) = &self.cancel else { return self.events.recv().unwrap_or_else(|_| ended()) };
        loop {
            if cancel.is_requested() {
                let error = Error::new(ErrorKind::Cancelled, "the load was stopped");
                return Event::Failed(cancel.cancelled_or(error));
            }
            match self.events.recv_timeout(LOOK_INTERVAL) {
                Ok(event) => return event,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return ended(),
            }
        }
    }
}

impl Iterator for Input {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        if self.is_ended {
            return None;
        }
        let next = match self.wait() {
            Event::Batch(batch) => return Some(Ok(batch)),
            Event::Failed(error) => Some(Err(error)),
            Event::End | Event::Opened { .. } => None,
        };
        self.is_ended = true;
        next
    }
}

fn without_identity(text: String) -> Error {
    let advice = message!["give it a restart key of its own (", RESTART_KEY, ")"];
    Error::new(ErrorKind::Options, text).advice(advice)
}

fn stamp(path: &Path) -> Result<Stamp> {
    let failed = |error: std::io::Error| input_error(&format!("{path:?}"), error);
    let metadata = path.metadata().map_err(failed)?;
    let name = path.canonicalize().map_err(failed)?;
    let changed = metadata.modified().map_err(failed)?;
    // Times before 1970 are negative.
    let changed = match changed.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos().to_string(),
        Err(error) => format!("-{}", error.duration().as_nanos()),
    };
    Ok(Stamp { name: name.display().to_string(), changed, bytes: metadata.len() })
}

/// A file to read later. A pipe stays open, because it cannot be opened again.
struct Waiting {
    place: Place,
    opened: Option<OpenFile>,
}

/// The thread's main function.
fn read(places: Vec<Place>, format: Option<InputFormat>, sender: &SyncSender<Event>) -> Result<()> {
    let (files, schema, rows) = open_all(places, format)?;
    if sender.send(Event::Opened { schema: Arc::clone(&schema), rows }).is_err() {
        return Ok(());
    }
    for Waiting { place, opened } in files {
        let name = place.name();
        let opened = match opened {
            Some(opened) => opened,
            None => open(&place, format)?,
        };
        if widened(&schema, &opened.schema).as_ref() != Ok(schema.as_ref()) {
            return Err(input_error(&name, "it was changed since the load began"));
        }
        let mut batches = opened.batches;
        while let Some(batch) = guarded(&name, || batches.next().transpose())? {
            let batch = guarded(&name, || conform(batch, &schema))?;
            // Empty batches are dropped.
            if batch.num_rows() > 0 && sender.send(Event::Batch(batch)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Opens all places. Returns them with the common schema and the number of rows.
fn open_all(
    places: Vec<Place>,
    format: Option<InputFormat>,
) -> Result<(Vec<Waiting>, SchemaRef, Option<u64>)> {
    let mut files = Vec::with_capacity(places.len());
    let mut common: Option<(Schema, String)> = None;
    let mut rows = Some(0_u64);
    for place in places {
        let opened = open(&place, format)?;
        rows = rows.and_then(|rows| rows.checked_add(opened.rows?));
        common = Some(match common {
            None => (opened.schema.as_ref().clone(), place.name()),
            Some((schema, first)) => match widened(&schema, &opened.schema) {
                Ok(schema) => (schema, first),
                Err(difference) => {
                    let text = format!("{difference} in {first}; files of one load have the same columns");
                    return Err(input_error(&place.name(), text));
                }
            },
        });
        // Only one file is open at a time, because the number of open files per process is limited.
        let opened = (files.is_empty() || !place.is_file()).then_some(opened);
        files.push(Waiting { place, opened });
    }
    match common {
        Some((schema, _)) => Ok((files, Arc::new(schema), rows)),
        None => Err(Error::new(ErrorKind::Options, "nothing to load; name a file, a folder, or - for stdin")),
    }
}

fn open(place: &Place, format: Option<InputFormat>) -> Result<OpenFile> {
    match catch_unwind(AssertUnwindSafe(|| place.open(format))) {
        Ok(opened) => opened,
        Err(_) => Err(input_error(&place.name(), DAMAGED)),
    }
}

/// The readers are third-party code, and may panic on damaged files.
fn guarded<T>(name: &str, read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(input_error(name, plain(&error))),
        Err(_) => Err(input_error(name, DAMAGED)),
    }
}

const DAMAGED: &str = "it is damaged, or no such file at all: its reader cannot make sense of it";

/// The first schema, with nullability widened by the second, or the difference:
/// `column "a" is Int32 here, and Utf8`.
fn widened(schema: &Schema, other: &Schema) -> std::result::Result<Schema, String> {
    let (fields, others) = (schema.fields(), other.fields());
    let missing = fields.iter().find(|field| other.field_with_name(field.name()).is_err());
    if let Some(field) = missing {
        return Err(format!("column {:?} is missing here, and there", field.name()));
    }
    let extra = others.iter().find(|field| schema.field_with_name(field.name()).is_err());
    if let Some(field) = extra {
        return Err(format!("column {:?} is here, and not", field.name()));
    }
    if fields.len() != others.len() {
        return Err(format!("there are {} columns here, and {}", others.len(), fields.len()));
    }
    let widened = fields.iter().zip(others).map(|(field, other)| {
        if field.name() != other.name() {
            return Err(format!("column {:?} stands where {:?} does", other.name(), field.name()));
        }
        // File formats name the elements of lists differently.
        if !field.data_type().equals_datatype(other.data_type()) {
            let (here, there) = (other.data_type(), field.data_type());
            return Err(format!("column {:?} is {here} here, and {there}", field.name()));
        }
        let is_nullable = field.is_nullable() || other.is_nullable();
        Ok(Arc::new(Field::clone(field).with_nullable(is_nullable)))
    });
    let widened = widened.collect::<std::result::Result<Vec<_>, String>>()?;
    Ok(Schema::new_with_metadata(widened, schema.metadata().clone()))
}

/// The batch with the common schema. Element names of lists become those of the schema, too: later code
/// expects all arrays of a column to have one type.
fn conform(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if Arc::ptr_eq(batch.schema_ref(), schema) {
        return Ok(batch);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// The message of arrow-rs without its class prefix, which tells users nothing.
fn plain(error: &ArrowError) -> String {
    match error {
        ArrowError::IpcError(text)
        | ArrowError::ParseError(text)
        | ArrowError::SchemaError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::ParquetError(text)
        | ArrowError::IoError(text, _) => text.strip_prefix("Parquet error: ").unwrap_or(text).to_owned(),
        error => error.to_string(),
    }
}

fn input_error(name: &str, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Input, format!("{name}: {what}"))
}
