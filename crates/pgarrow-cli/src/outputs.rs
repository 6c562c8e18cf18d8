//! Outputs and sinks: opened before anything is read, and filled by a planned export.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SchemaRef;
use pgarrow::{Error, ErrorKind, Message, Plan, Report, Run};
use pgarrow_sink::{
    FolderOptions, NewFolder, Output, OutputFolder, Outputs, Sink, SinkError, file_name_for, file_names_for,
};
use pgarrow_sink_ipc::IpcSink;
use pgarrow_sink_parquet::ParquetSink;

use crate::console::Console;
use crate::destination::{Folder, Format, Place};
use crate::exit::Failure;
use crate::run_report::{Command, RunReport};
use crate::signals::Signals;

/// Where files go, or stdout: begun, and without its name yet.
#[derive(Debug)]
pub(crate) enum Opened {
    File(Output),
    Folder { folder: OutputFolder, file_bytes: Option<u64> },
}

impl Opened {
    /// Begins an output of the run with this id. `signals` removes its hidden files if the process has to
    /// exit.
    pub(crate) fn open(
        place: &Place,
        overwrite: bool,
        run_id: &str,
        signals: &Signals,
    ) -> Result<Self, Failure> {
        Ok(match place {
            Place::Stdout => Self::File(Output::stdout().map_err(Error::from)?),
            Place::File(path) => Self::File(open_file(path, overwrite, signals)?),
            Place::Folder(Folder { path, file_bytes }) => {
                let folder = NewFolder::default().with_overwrite(overwrite).with_is_ours(is_ours);
                let folder = folder.with_run_id(run_id).create(path).map_err(Error::from)?;
                signals.remove_at_exit(folder.temporary_path());
                Self::Folder { folder, file_bytes: *file_bytes }
            }
        })
    }
}

/// Whether an export wrote a file, in any format and under any name: the file says so itself.
pub(crate) fn is_ours(file: &Path) -> bool {
    pgarrow_sink_parquet::is_ours(file) || pgarrow_sink_ipc::is_ours(file)
}

/// Begins a file.
pub(crate) fn open_file(path: &Path, overwrite: bool, signals: &Signals) -> Result<Output, Failure> {
    let output = Output::file(path, overwrite).map_err(Error::from)?;
    if let Some(temporary) = output.temporary_path() {
        signals.remove_at_exit(temporary);
    }
    Ok(output)
}

/// Begins the report of a run, which `signals` may write, too. A file that may not be replaced is refused
/// before anything else.
pub(crate) fn begin_report(
    command: Command,
    path: Option<&Path>,
    overwrite: bool,
    signals: &Signals,
) -> Result<RunReport, Failure> {
    let output = path.map(|path| open_file(path, overwrite, signals)).transpose()?;
    let report = RunReport::begin(command, output);
    signals.report_at_exit(report.clone());
    Ok(report)
}

/// Reads one table, query or slice into an output. With `--ordered`, a folder is one sequence of files;
/// otherwise each reader has files of its own.
pub(crate) fn write_one(
    run: Run,
    format: &Format,
    output: Opened,
    is_ordered: bool,
    console: &Console,
) -> Result<Report, Failure> {
    let outputs = match output {
        Opened::File(output) => Outputs::single(output),
        Opened::Folder { folder, file_bytes } => {
            let lanes = if is_ordered { 1 } else { run.readers() };
            Outputs::folder(folder, FolderOptions { file_bytes, lanes })
        }
    };
    let notices = Notices::new(console);
    numerics_as_text(run.plan()).into_iter().for_each(|warning| notices.add(warning));
    let sink = sink(format, outputs, Arc::clone(run.schema()), |warning| notices.add(warning));
    let sink = sink.map_err(Error::from)?;
    let mut report = run.write_to(sink)?;
    report.warnings.extend(notices.take().into_iter().map(Message::from));
    Ok(report)
}

/// Reads tables into a folder: a file for each, or a sequence of files. They appear together.
pub(crate) fn write_many(
    run: Run,
    format: &Format,
    folder: &OutputFolder,
    file_bytes: Option<u64>,
    console: &Console,
    signals: &Signals,
) -> Result<Report, Failure> {
    let notices = Notices::new(console);
    let options = FolderOptions { file_bytes, lanes: 1 };
    let plans = run.plans();
    let tables: Vec<_> = plans.iter().map(|plan| schema_and_table(plan)).collect();
    let names = file_names_for(&tables, format.extension());
    let names: HashMap<(String, String), String> =
        tables.iter().map(|(schema, table)| ((*schema).to_owned(), (*table).to_owned())).zip(names).collect();
    let make = |plan: &Plan| {
        let (schema, table) = schema_and_table(plan);
        let known = names.get(&(schema.to_owned(), table.to_owned())).cloned();
        let name = known.unwrap_or_else(|| file_name_for(schema, table, format.extension()));
        let outputs = Outputs::in_folder(folder, &name, options)?;
        let notice = |warning: String| notices.add(format!("{}: {warning}", plan.subject()));
        numerics_as_text(plan).into_iter().for_each(notice);
        sink(format, outputs, Arc::clone(plan.schema()), notice)
    };
    let mut report = run.write_each(make)?;
    signals.check()?;
    let warnings = folder.publish().map_err(Error::from)?;
    report.warnings.extend(notices.take().into_iter().chain(warnings).map(Message::from));
    Ok(report)
}

/// What the tables have that the format cannot take, found before any table is read.
pub(crate) fn problems(format: &Format, plans: &[Plan]) -> Vec<Error> {
    let mut problems = Vec::new();
    for plan in plans {
        let subject = plan.subject();
        if matches!(format, Format::Parquet(_)) && plan.schema().fields().is_empty() {
            problems.push(Error::new(
                ErrorKind::Options,
                format!(
                    "{subject} has no columns, and Parquet no rows without columns; name the --table to export each, or \
                     write --to ipc"
                ),
            ));
            continue;
        }
        // This output discards its bytes.
        let outputs = Outputs::single(Output::writer(io::sink()));
        if let Err(error) = sink(format, outputs, Arc::clone(plan.schema()), drop) {
            problems.push(Error::from(error).context(subject));
        }
    }
    problems
}

/// The schema and table that a table's file is named after.
fn schema_and_table(plan: &Plan) -> (&str, &str) {
    match plan.relation() {
        Some(relation) => (&relation.schema, &relation.name),
        None => ("", plan.subject()),
    }
}

/// A warning, in one line, that numerics become text: readers of the file expect numbers. Not for rows that
/// go to a server, whose columns are numerics again.
fn numerics_as_text(plan: &Plan) -> Option<String> {
    const NAMES_MAX: usize = 5;
    let names: Vec<String> = plan.numerics_as_text().map(|column| format!("{:?}", column.name)).collect();
    let shown = names.get(..NAMES_MAX).unwrap_or(&names).join(", ");
    let columns = match names.len() {
        0 => return None,
        1 => format!("column {shown} becomes"),
        2..=NAMES_MAX => format!("columns {shown} become"),
        n => format!("columns {shown} and {} more become", n.saturating_sub(NAMES_MAX)),
    };
    Some(format!(
        "{columns} text: numeric without a precision that a decimal has; choose --numeric scan or decimal(P,S), or \
         --column NAME:decimal(P,S), for numbers, or --numeric text"
    ))
}

/// Creates the sink. `notice` takes what the format had to change.
fn sink(
    format: &Format,
    outputs: Outputs,
    schema: SchemaRef,
    notice: impl FnMut(String),
) -> Result<Box<dyn Sink>, SinkError> {
    Ok(match format {
        Format::Parquet(options) => {
            let sink = ParquetSink::create(outputs, schema, options.clone())?;
            sink.warnings().into_iter().for_each(notice);
            Box::new(sink)
        }
        Format::IpcFile(options) | Format::IpcStream(options) => {
            let sink = IpcSink::create(outputs, schema, *options)?;
            sink.warnings().into_iter().for_each(notice);
            Box::new(sink)
        }
    })
}

/// Warnings of sinks: printed at once, and kept for the report.
struct Notices<'a> {
    console: &'a Console,
    said: Mutex<Vec<String>>,
}

impl<'a> Notices<'a> {
    fn new(console: &'a Console) -> Self {
        Self { console, said: Mutex::default() }
    }

    fn add(&self, warning: String) {
        self.console.warn(&warning);
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    fn take(self) -> Vec<String> {
        self.said.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
