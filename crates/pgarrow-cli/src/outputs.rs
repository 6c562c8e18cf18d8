//! Outputs and sinks: opened before anything is read, and filled by a planned export.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pgarrow::{Error, Message, Plan, Report, Run};
use pgarrow_job::{
    ExportCheck, Format, Origin, PartitionBy, PartitionFiles, ServerVerified, numerics_as_text, schema_with,
};
use pgarrow_sink::{
    FolderOptions, NewFolder, Output, OutputFolder, Outputs, Withheld, file_name_for, file_names_for,
};

use crate::console::Console;
use crate::destination::{Folder, Place};
use crate::exit::Failure;
use crate::metrics::Metrics;
use crate::run_report::{Command, RunReport};
use crate::signals::Signals;
use crate::words;

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
            Place::Folder(Folder { path, file_bytes, .. }) => {
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

/// Begins the report of a run, which `signals` may write, too, and its metrics. A file that may not be
/// replaced is refused before anything else.
pub(crate) fn begin_report(
    command: Command,
    path: Option<&Path>,
    overwrite: bool,
    metrics: Option<&Path>,
    signals: &Signals,
) -> Result<RunReport, Failure> {
    // Metrics are always those of the last run.
    let begin = |path| Metrics::begin(path, |path| open_file(path, true, signals));
    let metrics = metrics.map(begin).transpose()?;
    let output = path.map(|path| open_file(path, overwrite, signals)).transpose()?;
    let report = RunReport::begin(command, output, metrics);
    signals.report_at_exit(report.clone());
    Ok(report)
}

/// How rows become files.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    pub(crate) format: &'a Format,
    pub(crate) partition_by: &'a PartitionBy,
    /// What files say of where their rows come from.
    pub(crate) origin: Option<&'a Origin>,
    /// Whether a folder of one table is one sequence of files. Otherwise each reader has files of its own.
    pub(crate) is_ordered: bool,
    /// What they are compared with before they are published.
    pub(crate) check: Option<ExportCheck>,
    pub(crate) console: &'a Console,
    pub(crate) signals: &'a Signals,
}

/// What was written, and what came of the comparison.
pub(crate) type Written = (Report, Option<ServerVerified>);

/// Reads one table, query or slice into an output.
pub(crate) fn write_one(run: Run, output: Opened, writing: Writing<'_>) -> Result<Written, Failure> {
    let Writing { format, partition_by, origin, is_ordered, check, console, signals } = writing;
    let notices = Notices::new(console);
    say_numerics(run.plan(), |warning| notices.add(warning));
    let (plan, schema, readers) = (run.plan(), schema_with(origin, run.plan()), run.readers());
    let notice = |warning| notices.add(warning);
    let mut withheld = None;
    let sink = match output {
        Opened::File(output) if check.is_some() => {
            let temporary = output.temporary_path().map(Path::to_owned).unwrap_or_default();
            let (output, file) = output.withheld();
            withheld = Some(Unpublished::File(temporary, file));
            format.sink(Outputs::single(output), schema, notice)
        }
        Opened::File(output) => format.sink(Outputs::single(output), schema, notice),
        Opened::Folder { folder, file_bytes } if partition_by.is_some() => {
            let extension = format.extension();
            let files = PartitionFiles::in_folder(&folder, "", extension, file_bytes, readers, true);
            format.sink_of_partitions(partition_by, plan.subject(), schema, files, notice)
        }
        Opened::Folder { folder, file_bytes } => {
            let options = FolderOptions { file_bytes, lanes: if is_ordered { 1 } else { readers } };
            let outputs = match check {
                Some(_) => {
                    withheld = Some(Unpublished::Folder(folder.clone()));
                    Outputs::withheld_folder(folder, options)
                }
                None => Outputs::folder(folder, options),
            };
            format.sink(outputs, schema, notice)
        }
    };
    let sink = sink.map_err(Error::from)?;
    let plans = run.plans().to_vec();
    let mut report = run.write_to(sink)?;
    let mut verified = None;
    // Folders by values are not withheld: `ExportJob` refuses to compare them.
    if let (Some(check), Some(files)) = (check, withheld) {
        verified = Some(check.compare(&plans, &report, |path| files.place(path))?);
        signals.check()?;
        report.warnings.extend(files.publish()?.into_iter().map(Message::from));
    }
    report.warnings.extend(notices.take().into_iter().map(Message::from));
    Ok((report, verified))
}

/// Complete files that have not got their names yet.
enum Unpublished {
    /// Where it is, and how it gets its name.
    File(PathBuf, Withheld),
    Folder(OutputFolder),
}

impl Unpublished {
    /// Where the file with this name is now.
    fn place(&self, path: &Path) -> PathBuf {
        match self {
            Self::File(temporary, _) => temporary.clone(),
            Self::Folder(folder) => {
                // As the report has it.
                let shown = folder.path().display().to_string();
                folder.temporary_path().join(path.strip_prefix(shown).unwrap_or(path))
            }
        }
    }

    /// Returns warnings.
    fn publish(self) -> Result<Vec<String>, Failure> {
        let warnings = match self {
            Self::File(_, file) => file.publish().map(|warning| warning.into_iter().collect()),
            Self::Folder(folder) => folder.publish(),
        };
        Ok(warnings.map_err(Error::from)?)
    }
}

/// Reads tables into a folder: a file for each, a sequence of files of at least `file_bytes`, or a folder of
/// partitions. They appear together.
pub(crate) fn write_many(
    run: Run,
    folder: OutputFolder,
    file_bytes: Option<u64>,
    writing: Writing<'_>,
) -> Result<Written, Failure> {
    let Writing { format, partition_by, origin, check, console, signals, .. } = writing;
    let notices = Notices::new(console);
    let options = FolderOptions { file_bytes, lanes: 1 };
    let (plans, readers) = (run.plans().to_vec(), run.readers());
    let tables: Vec<_> = plans.iter().map(|plan| schema_and_table(plan)).collect();
    let names = file_names_for(&tables, format.extension());
    let names: HashMap<(String, String), String> =
        tables.iter().map(|(schema, table)| ((*schema).to_owned(), (*table).to_owned())).zip(names).collect();
    let make = |plan: &Plan| {
        let (schema, table) = schema_and_table(plan);
        let known = names.get(&(schema.to_owned(), table.to_owned())).cloned();
        let name = known.unwrap_or_else(|| file_name_for(schema, table, format.extension()));
        let notice = |warning: String| notices.add(format!("{}: {warning}", plan.subject()));
        say_numerics(plan, notice);
        if partition_by.is_some() {
            let extension = format.extension();
            let place = name.strip_suffix(&format!(".{extension}")).unwrap_or(&name);
            let files = PartitionFiles::in_folder(&folder, place, extension, file_bytes, readers, false);
            let (subject, schema) = (plan.subject(), schema_with(origin, plan));
            return format.sink_of_partitions(partition_by, subject, schema, files, notice);
        }
        let outputs = Outputs::in_folder(&folder, &name, options)?;
        format.sink(outputs, schema_with(origin, plan), notice)
    };
    let mut report = run.write_each(make)?;
    let files = Unpublished::Folder(folder.clone());
    let compare = |check: ExportCheck| check.compare(&plans, &report, |path| files.place(path));
    let verified = check.map(compare).transpose()?;
    signals.check()?;
    let warnings = files.publish()?;
    report.warnings.extend(notices.take().into_iter().chain(warnings).map(Message::from));
    Ok((report, verified))
}

/// The schema and table that a table's file is named after.
fn schema_and_table(plan: &Plan) -> (&str, &str) {
    match plan.relation() {
        Some(relation) => (&relation.schema, &relation.name),
        None => ("", plan.subject()),
    }
}

/// Warns, in the command's words, that numerics become text.
fn say_numerics(plan: &Plan, mut notice: impl FnMut(String)) {
    if let Some(warning) = numerics_as_text(plan) {
        notice(words::message(&warning));
    }
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
