//! `pgarrow inspect`: what columns become, what could stop an export, and which option decides it.

mod render;

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use pgarrow::{IntervalForm, Message, Note, PgColumn, Plan, Source, arrow_type, notes};
use pgarrow_sink_parquet::{parquet_types, parquet_warnings};
use serde::Serialize;

use crate::connecting::on_source;
use crate::console::Console;
use crate::exit::Failure;
use crate::flags::{InspectFlags, TypeFlags};
use crate::help;
use crate::job::Reading;
use crate::words;

/// The version of the JSON's form. Fields may be added within a version.
const VERSION: u32 = 1;

/// What is printed, and what `--json` writes.
#[derive(Debug, Serialize)]
pub(crate) struct Inspection {
    inspect_version: u32,
    /// Connections that would read.
    connections: usize,
    /// One for each table, or one for the query.
    subjects: Vec<Subject>,
}

#[derive(Debug, Serialize)]
struct Subject {
    /// `public.orders`, or `the query`.
    subject: String,
    columns: Vec<Column>,
    /// Why Parquet cannot hold it, if it cannot.
    parquet_error: Option<String>,
    /// The estimated number of rows, if it is known.
    estimated_rows: Option<u64>,
    /// The estimated bytes on the server's disk; 0 if unknown.
    estimated_bytes: u64,
    /// How many slices the export would read.
    slices: usize,
    /// Why there are this many slices.
    slicing: Message,
    /// Warnings for the user.
    warnings: Vec<Message>,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    /// As `format_type` prints it.
    pg_type: String,
    arrow_type: String,
    /// `null` where Parquet cannot hold it.
    parquet_type: Option<String>,
    /// Whether the output may have NULL there: a policy may write NULL where the catalog proves that the
    /// table has none.
    nullable: bool,
    notes: Vec<Note>,
}

/// Plans, and prints what is planned.
pub(crate) fn inspect(flags: &InspectFlags, console: &Console) -> Result<(), Failure> {
    let reading = Reading::try_from(flags)?;
    let inspection =
        on_source(reading.connection.clone(), console, |source| inspection(reading, &flags.types, source))?;
    if !flags.json {
        return help::print(render::text(&inspection).as_bytes());
    }
    let json = serde_json::to_vec_pretty(&inspection);
    let mut json = json.map_err(|error| Failure::output(format!("what was inspected: {error}")))?;
    json.push(b'\n');
    help::print(&json)
}

/// Plans, and says what is planned.
pub(crate) fn inspection(
    reading: Reading,
    types: &TypeFlags,
    source: &Source,
) -> Result<Inspection, Failure> {
    let run = reading.subject.open(source, reading.options, None)?;
    let subjects = run.plans().iter().map(|plan| Subject::new(plan, types)).collect();
    Ok(Inspection { inspect_version: VERSION, connections: run.readers(), subjects })
}

impl Subject {
    fn new(plan: &Plan, types: &TypeFlags) -> Self {
        let report = words::plan(plan.report(None));
        let fields = plan.schema().fields().iter().zip(plan.columns());
        let columns = fields.map(|(field, column)| Column {
            name: column.name.clone(),
            pg_type: column.type_name.clone(),
            arrow_type: arrow_type(field.data_type()),
            parquet_type: parquet_type(column, types),
            nullable: field.is_nullable(),
            notes: words::notes(notes(column)),
        });
        let in_parquet = plan.columns().iter().map(|column| for_parquet(column, types).field());
        let in_parquet: SchemaRef = Arc::new(Schema::new(in_parquet.collect::<Vec<_>>()));
        let (of_parquet, parquet_error) = match parquet_warnings(&in_parquet) {
            Ok(warnings) => (warnings, None),
            Err(error) => (Vec::new(), Some(words::message(error.message()))),
        };
        Self {
            subject: report.subject,
            columns: columns.collect(),
            parquet_error,
            estimated_rows: report.estimated_rows,
            estimated_bytes: report.slices.iter().map(|slice| slice.estimated_bytes).sum(),
            slices: report.slices.len(),
            slicing: report.slicing,
            warnings: report.warnings.into_iter().chain(of_parquet.into_iter().map(Message::from)).collect(),
        }
    }
}

/// The column as an export to Parquet has it: unless the user chose a form of intervals, Parquet has its own.
fn for_parquet(column: &PgColumn, types: &TypeFlags) -> PgColumn {
    let mut column = column.clone();
    if !types.say_interval(&column.name) {
        column.options.interval = IntervalForm::Struct;
    }
    column
}

fn parquet_type(column: &PgColumn, types: &TypeFlags) -> Option<String> {
    let field = for_parquet(column, types).field();
    parquet_types(&Arc::new(Schema::new(vec![field]))).ok()?.pop()
}
