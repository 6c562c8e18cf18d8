//! What is loaded: Parquet files, Arrow IPC files and streams, as one sequence of batches of one schema.
//!
//! ```text
//!  thread: open all, compare schemas ─▶ file 1, batch by batch ─▶ file 2 … ─▶ queue of two batches ─▶ Input::next
//! ```
//!
//! Reading and decoding go on in a thread of their own while batches are loaded. Files come from outside: what they claim
//! is held against what is there before anything is allocated for it, and values are validated by the readers of arrow-rs.

mod ipc;
mod ipc_file;
mod ipc_stream;
mod parquet;
mod place;
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

pub use place::InputFormat;
use place::Place;

use crate::marks::{Stamp, restart_key};

/// Batches that wait, besides the one that is being read and the one that is being loaded.
const QUEUED: usize = 2;

/// How often it is looked whether the load was cancelled while a batch is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Batches of one schema, from files or stdin.
///
/// Dropping it ends the reading after the batch that is being read.
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

/// What the reading thread says.
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
    /// If the format says it beforehand.
    rows: Option<u64>,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>,
}

impl Input {
    /// Opens all of them and reads their schemas, but no batches yet. `-` is stdin, and a folder stands for the files in it,
    /// in the order of their names. Without a format, the ending of a name says it, otherwise its first bytes.
    ///
    /// Files of several must have the same columns, in names, types and order; where a column is nullable in one of them, it
    /// is in all. Metadata are the first one's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] for what is not there, is damaged, or does not fit to the files before;
    /// [`ErrorKind::Options`] where it is not clear what is meant.
    pub fn open(paths: &[impl AsRef<Path>], format: Option<InputFormat>) -> Result<Self> {
        let places = place::places(paths)?;
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
            // Nobody may be there any more.
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

    /// Waits for no batch any more once the load was cancelled: a pipe may be silent for ever.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// The schema of all batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows there will be, if all files say so; streams do not.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// What it is, for messages: the file's name, `stdin`, or how many files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files, one by one, those of folders among them; stdin is none.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.places.iter().filter_map(|place| match place {
            Place::Path(path) => Some(path.as_path()),
            Place::Stdin => None,
        })
    }

    /// A [restart key](crate::LoadOptions::with_restart_key) of a load of these files into the table of this name: the same
    /// if it is started again, and another once a file was written anew. Whether a file is named from here or from the root
    /// is the same. With it, a load that would add the rows of a file to those which a load from a file of the same name has
    /// left, and has not completed, is refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for stdin and other pipes, which have nothing to tell them from others, and for a name that
    /// cannot be used; [`ErrorKind::Input`] if a file is no longer there.
    pub fn restart_key(&self, table: &str) -> Result<String> {
        let table = RelationName::parse(table)?.quoted();
        let files = self.places.iter().map(|place| match place {
            Place::Path(path) if place.is_file() => stamp(path),
            _ => {
                let text =
                    format!("{}: nothing tells what comes out of a pipe from what came before", place.name());
                Err(Error::new(ErrorKind::Options, text).advice(message![
                    "give it a restart key of its own (",
                    RESTART_KEY,
                    ")"
                ]))
            }
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

fn stamp(path: &Path) -> Result<Stamp> {
    let failed = |error: std::io::Error| input_error(&format!("{path:?}"), error);
    let metadata = path.metadata().map_err(failed)?;
    let name = path.canonicalize().map_err(failed)?;
    let changed = metadata.modified().map_err(failed)?;
    // Before 1970 there is a time, too.
    let changed = match changed.duration_since(UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
        Err(error) => i128::try_from(error.duration().as_nanos()).map_or(i128::MIN, |nanos| -nanos),
    };
    Ok(Stamp { name: name.display().to_string(), changed, bytes: metadata.len() })
}

/// A file whose turn will come. One that cannot be opened again stays open.
struct Waiting {
    place: Place,
    opened: Option<OpenFile>,
}

/// The thread's work.
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
            // An empty one has nothing to load.
            if batch.num_rows() > 0 && sender.send(Event::Batch(batch)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Opens all, the schema that they have in common, and how many rows they have.
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
        // One after the other is open: there may be more than a process may have open.
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

/// Readers of formats are not ours, and panic where a file is damaged in ways that nobody thought of.
fn guarded<T>(name: &str, read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(input_error(name, plain(&error))),
        Err(_) => Err(input_error(name, DAMAGED)),
    }
}

const DAMAGED: &str = "it is damaged, or no such file at all: its reader cannot make sense of it";

/// The first schema with what the second one may be in addition, or what differs: `column "a" is Int32 here, and Utf8`.
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
        // Formats name the elements of lists differently.
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

/// The batch with the schema of all. Names of what is in lists become those of the schema, too: what comes behind takes
/// arrays of one column for arrays of one type.
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

/// What arrow-rs says, without the class in front that says nothing to users.
fn plain(error: &ArrowError) -> String {
    match error {
        ArrowError::IpcError(text)
        | ArrowError::ParseError(text)
        | ArrowError::SchemaError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::ParquetError(text)
        | ArrowError::IoError(text, _) => text.clone(),
        error => error.to_string(),
    }
}

fn input_error(name: &str, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Input, format!("{name}: {what}"))
}
