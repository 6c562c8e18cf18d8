//! Rows with values that Arrow cannot hold, set aside: their counts and limit, and the form in which a
//! receiver gets them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pgarrow_column::ValueError;
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::message;
use pgarrow_types::option::REJECT_LIMIT;

use crate::plan::Plan;

/// A run without a limit gives up if each of a table's first rows, this many, is refused.
const FIRST_ROWS: u64 = 1000;

/// The most rows of one batch for the receiver,
const BATCH_ROWS: usize = 1024;
/// and the bytes of text at which it ends.
const BATCH_BYTES: usize = 1 << 20;

/// Who receives rejected rows.
pub(crate) type Receiver = Box<dyn FnMut(&RecordBatch) -> Result<()> + Send>;

/// What a run does with rows that are refused.
pub(crate) struct Rejects {
    limit: Option<u64>,
    receiver: Mutex<Option<Receiver>>,
}

impl fmt::Debug for Rejects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejects").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// How many rows were rejected, and kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Rows rejected, of all tables,
    pub(crate) rejected: u64,
    /// and of this one.
    pub(crate) rejected_of_table: u64,
    /// Rows of this table that were kept before.
    pub(crate) kept_of_table: u64,
}

/// A rejected row.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its number and its part, in words.
    pub(crate) place: String,
    /// Where the server has it, if that is known.
    pub(crate) found: Option<Found>,
    pub(crate) column_index: usize,
    pub(crate) cause: ValueError,
    /// The values as the server prints them; `None` if it could not.
    pub(crate) texts: Option<Vec<Option<String>>>,
}

/// The place of a row on the server.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The table that has the row, if it is not the one that was named.
    pub(crate) partition: Option<String>,
    pub(crate) ctid: String,
}

impl Line {
    /// Bytes of memory that it takes.
    pub(crate) fn allocated_bytes(&self) -> usize {
        let texts = self.texts.iter().flatten();
        let of_texts: usize =
            texts.map(|text| size_of::<Option<String>>() + text.as_ref().map_or(0, String::len)).sum();
        size_of::<Self>() + self.place.len() + of_texts
    }
}

impl Rejects {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit, receiver: Mutex::default() }
    }

    pub(crate) fn set_receiver(&self, receiver: Receiver) {
        *self.receiver.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
    }

    /// Whether the run ends with this rejected row, and why. `error`: what is wrong with it.
    pub(crate) fn check(&self, subject: &str, counts: Counts, error: impl FnOnce() -> Error) -> Result<()> {
        match self.limit {
            Some(limit) if counts.rejected > limit => {
                let text = match limit {
                    0 => "no row may be rejected".to_owned(),
                    1 => "more than 1 row is bad; the next".to_owned(),
                    _ => format!("more than {limit} rows are bad; the next"),
                };
                Err(error().context(text))
            }
            None if counts.rejected_of_table == FIRST_ROWS && counts.kept_of_table == 0 => {
                let text = format!("{subject}: each of the first {FIRST_ROWS} rows is bad; the last of them");
                Err(error().context(text).advice(message![
                    "with ",
                    REJECT_LIMIT.to("ROWS"),
                    ", an export goes on until so many are bad"
                ]))
            }
            _ => Ok(()),
        }
    }

    /// Gives rows of one table to the receiver, in their order.
    pub(crate) fn hand_out(&self, plan: &Plan, lines: &[Line]) -> Result<()> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(receiver) = receiver.as_mut() else { return Ok(()) };
        let mut batches = groups(lines, Line::allocated_bytes, BATCH_ROWS, BATCH_BYTES);
        batches.try_for_each(|lines| receiver(&batch(plan, lines)?))
    }
}

/// Cuts rows into runs of at most `n_rows`, which end at `n_bytes`.
pub(crate) fn groups<T>(
    rows: &[T],
    bytes_of: impl Fn(&T) -> usize,
    n_rows: usize,
    n_bytes: usize,
) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |row: &&T| {
            bytes += bytes_of(row);
            bytes <= n_bytes
        };
        let n_taken = rest.iter().take(n_rows).take_while(fits).count().max(1);
        let (now, later) = rest.split_at_checked(n_taken)?;
        rest = later;
        Some(now)
    })
}

/// The columns of rejected rows.
///
/// | column | what it has |
/// |---|---|
/// | `schema`, `table` | the table, as it was named; of a query, its name, if it has one |
/// | `partition` | the table that has the row, if that is another one |
/// | `ctid` | the row's place in it; NULL if it is not known, as for queries, views and ranges of a key |
/// | `place` | the row's number, and in what |
/// | `column` | the first column whose value was refused |
/// | `reason` | why |
/// | `row` | all exported columns, as the server prints their values; NULL if it could not |
pub fn reject_schema() -> SchemaRef {
    let names = map_names();
    let entries =
        vec![Field::new(names.key, DataType::Utf8, false), Field::new(names.value, DataType::Utf8, true)];
    let entries = Field::new_struct(names.entry, entries, false);
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let fields = vec![
        text("schema", true),
        text("table", true),
        text("partition", true),
        text("ctid", true),
        text("place", false),
        text("column", false),
        text("reason", false),
        Field::new("row", DataType::Map(Arc::new(entries), false), true),
    ];
    Arc::new(Schema::new_with_metadata(fields, HashMap::new()))
}

fn map_names() -> MapFieldNames {
    MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() }
}

fn batch(plan: &Plan, lines: &[Line]) -> Result<RecordBatch> {
    let (schema, table) = match (&plan.relation, &plan.query_name) {
        (Some(relation), _) => (Some(relation.schema.as_str()), Some(relation.name.as_str())),
        (None, name) => (None, name.as_deref()),
    };
    let name_of = |index: usize| plan.columns.get(index).map_or("", |column| column.name.as_str());
    let found = || lines.iter().map(|line| line.found.as_ref());
    let mut rows = MapBuilder::new(Some(map_names()), StringBuilder::new(), StringBuilder::new());
    for line in lines {
        for (index, text) in line.texts.iter().flatten().enumerate() {
            rows.keys().append_value(name_of(index));
            rows.values().append_option(text.as_deref());
        }
        rows.append(line.texts.is_some()).map_err(of_arrow)?;
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(lines.iter().map(|_| schema).collect::<StringArray>()),
        Arc::new(lines.iter().map(|_| table).collect::<StringArray>()),
        Arc::new(found().map(|found| found?.partition.as_deref()).collect::<StringArray>()),
        Arc::new(found().map(|found| Some(found?.ctid.as_str())).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(lines.iter().map(|line| &line.place))),
        Arc::new(StringArray::from_iter_values(lines.iter().map(|line| name_of(line.column_index)))),
        Arc::new(StringArray::from_iter_values(lines.iter().map(|line| line.cause.to_string()))),
        Arc::new(rows.finish()),
    ];
    RecordBatch::try_new(reject_schema(), columns).map_err(of_arrow)
}

fn of_arrow(error: arrow_schema::ArrowError) -> Error {
    Error::new(ErrorKind::Value, format!("rejected rows cannot be gathered: {error}"))
}
