//! Rows that a load or an export left out: an Arrow IPC file that appears when the other rows are committed.
//!
//! ```text
//!  Rejects ──receive──▶ Receiving ──publish──────▶ all is committed
//!                          ├───────publish_until──▶ some of it is: a load in parts has failed
//!                          └───────dropped─────────▶ nothing is, and there is no file
//! ```
//!
//! A load that continues after its mark takes over the rows in the file of its earlier starts. It recognizes
//! the file by the restart key in its metadata.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};
use pgarrow::{Error, ErrorKind, Progress, Report, reject_schema};
use pgarrow_load::Loading;
use pgarrow_load::input::{Input, InputFormat};
use pgarrow_sink::{Output, PartWriter, SinkWriter, Stop};
use pgarrow_sink_ipc::{IpcOptions, IpcSink};

use crate::console::Console;
use crate::exit::Failure;
use crate::outputs::open_file;
use crate::signals::Signals;
use crate::summary;

/// The metadata that names the load of the rows.
const KEY: &str = "pgarrow.restart_key";

/// How many columns follow those of the data: number of the row, SQLSTATE, reason.
const N_REASONS: usize = 3;

/// A file that is begun, and does not have its name yet.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    key: Option<String>,
    output: Output,
    /// Whether the existing file is of earlier starts of this load.
    has_earlier: bool,
}

impl Rejects {
    /// Begins the file. An existing file is replaced with `overwrite`, or if it is of this load.
    pub(crate) fn begin(
        path: &Path,
        key: Option<String>,
        overwrite: bool,
        signals: &Signals,
    ) -> Result<Self, Failure> {
        let has_earlier = key.is_some() && path.is_file() && key_of(path) == key;
        let output = open_file(path, overwrite || has_earlier, signals)?;
        Ok(Self { path: path.to_owned(), key, output, has_earlier })
    }

    /// Has the load hand its rejected rows to the file.
    pub(crate) fn receive(self, loading: &mut Loading, console: &Console) -> Result<Receiving, Failure> {
        let schema = loading.reject_schema().map(|schema| file_schema(schema, self.key));
        let schema = schema.ok_or_else(|| Failure::options("this load rejects no rows"))?;
        let mut writing = Writing::begin(self.output, schema)?;
        writing.warnings.iter().for_each(|warning| console.warn(warning));
        let before = loading.rows_to_skip();
        let earlier = match (before, self.has_earlier) {
            (0, _) => 0,
            (_, true) => writing.take_over(&self.path, before)?,
            (_, false) => {
                let path = &self.path;
                console.warn(format!(
                    "{path:?} will have none of the rows that earlier starts may have rejected"
                ));
                0
            }
        };
        writing.rows = 0;
        let receiving = Receiving::new(self.path, earlier, writing);
        loading.on_reject(receiving.receiver())?;
        Ok(receiving)
    }

    /// Begins to take rows that an export rejects: hand it the [`receiver`](Receiving::receiver).
    pub(crate) fn receive_of_export(self, console: &Console) -> Result<Receiving, Failure> {
        let writing = Writing::begin(self.output, reject_schema())?;
        writing.warnings.iter().for_each(|warning| console.warn(warning));
        Ok(Receiving::new(self.path, 0, writing))
    }
}

/// The restart key of the load that a file's rows are of.
fn key_of(path: &Path) -> Option<String> {
    let input = Input::open([path], Some(InputFormat::IpcFile)).ok()?;
    input.schema().metadata().get(KEY).cloned()
}

/// A file that receives rows.
pub(crate) struct Receiving {
    path: PathBuf,
    /// The number of rows that earlier starts of the load rejected.
    pub(crate) earlier: u64,
    writing: Arc<Mutex<Option<Writing>>>,
}

impl Receiving {
    fn new(path: PathBuf, earlier: u64, writing: Writing) -> Self {
        Self { path, earlier, writing: Arc::new(Mutex::new(Some(writing))) }
    }

    /// What takes rows.
    pub(crate) fn receiver(&self) -> impl FnMut(&RecordBatch) -> Result<(), Error> + Send + 'static {
        let receiver = Arc::clone(&self.writing);
        move |rows| {
            let mut writing = receiver.lock().unwrap_or_else(PoisonError::into_inner);
            match writing.as_mut() {
                Some(writing) => writing.write(rows),
                None => Err(Error::new(ErrorKind::Sink, "the file of rejected rows is closed")),
            }
        }
    }

    /// The number of rows rejected so far, without those of earlier starts.
    pub(crate) fn rows(&self) -> u64 {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |writing| writing.rows)
    }

    /// The file's name in messages.
    pub(crate) fn name(&self) -> String {
        format!("{:?}", self.path)
    }

    /// Publishes the rejected rows of an export whose output is there: `what` is complete.
    pub(crate) fn publish_of(self, report: &Report, what: &str, console: &Console) -> Result<(), Failure> {
        let (name, rejected) = (self.name(), report.rows_rejected);
        self.publish(console).map_err(|failure| {
            Failure::output(format!(
                "{what} is complete, but the file of its {rejected} rejected rows is not: {failure}"
            ))
        })?;
        summary::not_exported(report, &name).iter().for_each(|warning| console.warn(warning));
        Ok(())
    }

    /// Publishes the rejected rows of an export that failed because no row was left. Otherwise, there is no
    /// file.
    pub(crate) fn none_left(self, failure: Failure, progress: &Progress, console: &Console) -> Failure {
        let is_of_values = matches!(&failure, Failure::Export(error) if error.kind() == ErrorKind::Value);
        let rows = self.rows();
        if !is_of_values || rows == 0 || rows != progress.rows_rejected() || progress.rows() > 0 {
            return failure;
        }
        let name = self.name();
        match self.publish(console) {
            Ok(()) => failure.advice(&format!("{name} has them, with the reasons")),
            Err(other) => failure.advice(&format!("and they could not be written: {other}")),
        }
    }

    /// Publishes all rejected rows.
    pub(crate) fn publish(self, console: &Console) -> Result<(), Failure> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        writing.map_or(Ok(()), |writing| writing.publish(console))
    }

    /// Publishes the rejected ones among the first `rows` rows of the data, and returns their number.
    pub(crate) fn publish_until(self, rows: u64, console: &Console) -> Result<u64, Failure> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writing) = writing else { return Ok(0) };
        let (schema, all) = (Arc::clone(&writing.schema), self.earlier + writing.rows);
        let is_final = writing.last_row <= rows;
        writing.publish(console)?;
        if is_final {
            return Ok(all);
        }
        let output = Output::file(&self.path, true).map_err(Error::from)?;
        let mut writing = Writing::begin(output, schema)?;
        let n_rows = writing.take_over(&self.path, rows)?;
        writing.publish(console)?;
        Ok(n_rows)
    }
}

/// The file's sink.
struct Writing {
    schema: SchemaRef,
    sink: SinkWriter<'static>,
    part: PartWriter<'static>,
    /// Warnings about its schema.
    warnings: Vec<String>,
    rows: u64,
    /// The number in the data of the last row.
    last_row: u64,
}

impl Writing {
    fn begin(output: Output, schema: SchemaRef) -> Result<Self, Failure> {
        let sink =
            IpcSink::create(output, Arc::clone(&schema), IpcOptions::default()).map_err(Error::from)?;
        let warnings = sink.warnings();
        let sink = SinkWriter::new(Box::new(sink), Stop::default());
        let part = sink.open_part(0).map_err(Error::from)?;
        Ok(Self { schema, sink, part, warnings, rows: 0, last_row: 0 })
    }

    fn write(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let rows = with_schema(rows, &self.schema).map_err(|error| {
            Error::new(ErrorKind::Sink, format!("rejected rows cannot be written: {error}"))
        })?;
        self.part.write(&rows)?;
        self.rows += rows.num_rows() as u64;
        self.last_row = numbers(&rows).last().copied().unwrap_or(self.last_row);
        Ok(())
    }

    /// Copies a file's rows that are among the first `until` rows of the data, and returns their number.
    fn take_over(&mut self, path: &Path, until: u64) -> Result<u64, Failure> {
        let mut n_rows = 0;
        for rows in Input::open([path], Some(InputFormat::IpcFile))? {
            let rows = rows?;
            if rows.schema_ref().fields() != self.schema.fields() {
                let text = format!("{path:?} has rejected rows of other columns; give --reject another file");
                return Err(Failure::output(text));
            }
            let n_taken = numbers(&rows).iter().take_while(|row| **row <= until).count();
            if n_taken > 0 {
                self.write(&rows.slice(0, n_taken))?;
                n_rows += n_taken as u64;
            }
        }
        Ok(n_rows)
    }

    fn publish(self, console: &Console) -> Result<(), Failure> {
        self.part.finish().map_err(Error::from)?;
        let written = self.sink.commit().map_err(Error::from)?;
        written.warnings.iter().for_each(|warning| console.warn(warning));
        Ok(())
    }
}

/// The numbers of the rows in the data, in order.
fn numbers(rows: &RecordBatch) -> &[u64] {
    let index = rows.num_columns().checked_sub(N_REASONS);
    let column = index.and_then(|index| rows.columns().get(index));
    column.and_then(|column| column.as_primitive_opt::<UInt64Type>()).map_or(&[], |numbers| numbers.values())
}

/// The schema of the file, without dictionaries: batches have dictionaries of their own, and a file has one
/// for each column.
fn file_schema(schema: &Schema, key: Option<String>) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(without_dictionaries).collect();
    let mut metadata = schema.metadata().clone();
    metadata.remove(KEY);
    metadata.extend(key.map(|key| (KEY.to_owned(), key)));
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn without_dictionaries(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::List(item) => DataType::List(without_dictionaries(item)),
        DataType::LargeList(item) => DataType::LargeList(without_dictionaries(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(without_dictionaries(item), *length),
        DataType::Map(entries, is_sorted) => DataType::Map(without_dictionaries(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(without_dictionaries).collect()),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

fn with_schema(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}
