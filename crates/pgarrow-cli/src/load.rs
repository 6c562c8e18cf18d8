//! `pgarrow load`: files into a table, or a folder of tables (`folder` finds them) into those of a schema
//! (`tables`).

mod folder;
mod folder_files;
mod places;
mod rows;
mod tables;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use pgarrow::{Error, ErrorKind, escape_control};
use pgarrow_load::input::{Input, InputFormat};
use pgarrow_load::{Load, LoadReport, Loading, LookAhead};

use self::places::{input_files, is_url};
pub(crate) use self::rows::Rows;
use self::tables::load_tables;
use crate::connecting::say_config_warnings;
use crate::console::Console;
use crate::destination::check_url;
use crate::exit::Failure;
use crate::flags::{InputFormatName, LoadFlags};
use crate::help;
use crate::host::Host;
use crate::into::Into;
use crate::job::real;
use crate::outputs::begin_report;
use crate::progress::{Total, Watch, Work};
use crate::rejects::{Receiving, Rejects};
use crate::run_report::{Command, RunReport};
use crate::signals::Signals;
use crate::summary;
use crate::table::{Lists, cell, table};
use crate::units;
use crate::words;

/// Loads what the flags name, with messages and progress.
pub(crate) fn load(flags: &LoadFlags, console: &Console) -> Result<(), Failure> {
    check(flags)?;
    load_by(&Host::process(console)?, flags, None).map(drop)
}

/// Refuses options that contradict each other.
pub(crate) fn check(flags: &LoadFlags) -> Result<(), Failure> {
    if flags.create_types {
        let text = "--create-types is for exports from server to server: files have the names of types, and not what they \
                    consist of; make the types first";
        return Err(Failure::options(text));
    }
    // The parser asks for nothing that --into would be in conflict with.
    if flags.keep_going && flags.into_schema.is_none() {
        return Err(Failure::options("--keep-going is for --into-schema, and one table is loaded"));
    }
    check_files(flags)?;
    check_outputs(flags)
}

/// The same for whoever runs it, who may bring `batches` in place of the flags' files. Returns the report.
pub(crate) fn load_by(host: &Host, flags: &LoadFlags, batches: Option<Rows>) -> Result<RunReport, Failure> {
    let Host { console, cancel, signals, .. } = host;
    // Files that cannot be read or written are the error, whatever else fails.
    let report = begin_report(Command::Load, flags.report.as_deref(), flags.overwrite, None, signals)?;
    let done = match &flags.into_schema {
        None => Into::try_from(flags).and_then(|into| run(flags, into, batches, &report, host)),
        Some(schema) => load_tables(flags, schema, &report, console, cancel, signals),
    };
    // A load that is stopped before its first row says so, too.
    done.map_err(|failure| signals.explain(failure).nothing_loaded())
        .inspect_err(|failure| report.failed(failure, console))?;
    Ok(report)
}

/// Refuses a connection among the files, which an error would repeat with its password, and outputs that are
/// the same file as an input or as each other.
fn check_files(flags: &LoadFlags) -> Result<(), Failure> {
    let absolute = |path: &PathBuf| path::absolute(path).unwrap_or_default();
    let (report, reject) = (flags.report.as_ref().map(absolute), flags.parts.reject.as_ref().map(absolute));
    for (option, output) in [("--report", &report), ("--reject", &reject)] {
        if output.is_some() && flags.files.iter().any(|file| Some(absolute(file)) == *output) {
            return Err(Failure::options(format!("{option} names a file that is loaded")));
        }
    }
    if report.is_some() && report == reject {
        return Err(Failure::options("--report and --reject are the same file"));
    }
    for (option, output) in [("--report", &flags.report), ("--reject", &flags.parts.reject)] {
        output.iter().try_for_each(|path| check_url(option, path))?;
    }
    flags.files.iter().try_for_each(|path| is_url(path).map(drop))
}

/// The same for input files that have other paths, or are in a folder.
fn check_outputs(flags: &LoadFlags) -> Result<(), Failure> {
    let place = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    for (option, output) in [("--report", &flags.report), ("--reject", &flags.parts.reject)] {
        let output = output.as_deref().and_then(place);
        if output.is_some() && flags.files.iter().flat_map(files_of).any(|file| place(&file) == output) {
            return Err(Failure::options(format!("{option} names a file that is loaded")));
        }
    }
    let is_in = |folder: &PathBuf, file: &Path| {
        folder.canonicalize().is_ok_and(|folder| real(file).starts_with(folder))
    };
    if let (Some(_), Some(report)) = (&flags.into_schema, &flags.report)
        && flags.files.iter().any(|folder| is_in(folder, report))
    {
        return Err(Failure::options("--report would be in the folder that is loaded; put it beside"));
    }
    let folder = flags.parts.reject.as_deref().and_then(Path::parent);
    // A file's own name has an empty parent.
    let folder = folder.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let folder = folder.and_then(place);
    if folder.is_some() && flags.files.iter().any(|file| file.is_dir() && place(file) == folder) {
        return Err(Failure::options(
            "--reject would be in a folder that is loaded, and loaded itself by the next start",
        ));
    }
    Ok(())
}

/// A file, or the files of a folder.
fn files_of(path: &PathBuf) -> Vec<PathBuf> {
    match fs::read_dir(path) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(_) => vec![path.clone()],
    }
}

fn run(
    flags: &LoadFlags,
    into: Into,
    batches: Option<Rows>,
    run_report: &RunReport,
    host: &Host,
) -> Result<(), Failure> {
    let Host { console, cancel, signals, .. } = host;
    let (table, config) = into.place();
    run_report.set_target(table, config);
    say_config_warnings(config, console);
    // To open a file and to connect take about as long as each other. If both fail, the file is the error.
    let early = may_begin_early(flags, batches.as_ref()).then(|| host.load(into.clone()));
    // What is wrong with it is said behind what is wrong with the files.
    let early = early.and_then(Result::ok);
    let begun = early.as_ref().map(Load::begin_ahead);
    let input = match batches {
        Some(batches) => batches,
        None => {
            let files = input_files(&flags.files, cancel)?;
            Rows::Files(Box::new(Input::open(files, format(flags))?.with_cancel(cancel.clone())))
        }
    };
    let (into, key) = match &input {
        Rows::Files(input) => into.with_key_of(input, &flags.parts)?,
        Rows::Batches(_) => into.with_given_key(&flags.parts)?,
    };
    if flags.dry_run {
        signals.be_orderly();
        let loading = open(host.load(into.plan_only())?, &input, console)?;
        let text = planned(&loading, input.name(), input.rows());
        loading.rehearse()?;
        return help::print(text.as_bytes());
    }
    let rejects = flags.parts.reject.as_deref();
    let rejects = rejects.map(|path| Rejects::begin(path, key, flags.overwrite, signals)).transpose()?;
    signals.be_orderly();
    begun.as_ref().map(LookAhead::columns).transpose()?;
    let load = early.map_or_else(|| host.load(into), Ok)?;
    let mut loading = open(load, &input, console)?;
    drop(begun);
    if loading.is_complete() {
        let mut report = loading.finish()?;
        words::load_report(&mut report);
        signals.be_loaded();
        console.say(&summary::nothing_to_do(&report));
        return run_report.complete(&report, Ok(()), console);
    }
    signals.be_loading(loading.progress());
    let receiving = rejects.map(|rejects| rejects.receive(&mut loading, console)).transpose()?;
    let again = match flags.report.is_some() && !flags.overwrite {
        true => "the same command with --overwrite, for its report,",
        false => "the same command",
    };
    let mut report = fill(loading, input, receiving, again, console, signals)?;
    words::load_report(&mut report);
    report.warnings.iter().for_each(|warning| console.warn(warning));
    summary::load_lines(&report).iter().for_each(|line| console.say(line));
    run_report.complete(&report, Ok(()), console)
}

/// Whether the load is known before its files are open: their key does not matter, and they do not keep the
/// server waiting, as a pipe may.
fn may_begin_early(flags: &LoadFlags, batches: Option<&Rows>) -> bool {
    let is_path = |path: &Path| path.as_os_str() != "-" && is_url(path).is_ok_and(|is_url| !is_url);
    let is_regular = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.is_file());
    let is_file = |path: &PathBuf| is_path(path) && is_regular(path);
    batches.is_none() && !flags.dry_run && flags.parts.any().is_none() && flags.files.iter().all(is_file)
}

/// The format of the files, if it is given.
fn format(flags: &LoadFlags) -> Option<InputFormat> {
    flags.format.map(|format| match format {
        InputFormatName::Parquet => InputFormat::Parquet,
        InputFormatName::Ipc => InputFormat::IpcFile,
        InputFormatName::IpcStream => InputFormat::IpcStream,
    })
}

fn open(load: Load, input: &Rows, console: &Console) -> Result<Loading, Failure> {
    let loading = load.open(input.schema())?;
    loading.warnings().iter().for_each(|warning| console.warn(warning));
    Ok(loading)
}

/// Loads all batches and commits. Rejected rows are published with the committed ones. `again` is the command
/// that continues.
fn fill(
    mut loading: Loading,
    input: Rows,
    receiving: Option<Receiving>,
    again: &str,
    console: &Console,
    signals: &Signals,
) -> Result<LoadReport, Failure> {
    let total = input.rows().map_or(Total::Unknown, Total::Exact);
    let work = Work::Load { progress: Arc::clone(loading.progress()), total };
    let watch = Watch::start(console, work);
    let before = loading.rows_to_skip();
    let written = write_all(&mut loading, input);
    let (given, committed) = (loading.rows(), loading.rows_committed());
    let progress = Arc::clone(loading.progress());
    let (loaded, left) = match written {
        Ok(()) => (loading.finish().map_err(Failure::from), None),
        Err(failure) => (Err(failure), loading.abandon().err()),
    };
    drop(watch);
    match loaded {
        Ok(report) => {
            signals.be_loaded();
            complete(report, receiving, console)
        }
        Err(failure) => {
            let failure = failed(signals.explain(failure), committed, again);
            let failure = match left {
                Some(left) => failure.advice(&words::error(&left)),
                None => failure,
            };
            Err(match receiving {
                Some(receiving) => {
                    let has_given_up = progress.has_given_up();
                    set_aside(failure, receiving, (before, committed, given), has_given_up, console)
                }
                None => failure,
            })
        }
    }
}

fn write_all(loading: &mut Loading, input: Rows) -> Result<(), Failure> {
    for batch in input {
        loading.write(&batch?)?;
    }
    Ok(())
}

/// Publishes the rejected rows of a committed load. If all rows were rejected, that is an error.
fn complete(
    report: LoadReport,
    receiving: Option<Receiving>,
    console: &Console,
) -> Result<LoadReport, Failure> {
    let Some(receiving) = receiving else { return Ok(report) };
    let (name, earlier, rejected) = (receiving.name(), receiving.earlier, report.rows_rejected);
    receiving.publish(console).map_err(|failure| {
        Failure::output(format!(
            "the load is complete, but the file of its {rejected} rejected rows is not: {failure}"
        ))
    })?;
    let given = report.rows_sent + report.rows_rejected;
    if let Some(warning) = summary::rejected(rejected, given, earlier, &name) {
        console.warn(&warning);
    }
    // Of rows before, this is known only if all of them are in the file.
    if rejected > 0 && report.rows_sent == 0 && earlier == report.rows_before {
        let text = format!("{}: none of the {} rows could be loaded", report.target, rejected + earlier);
        return Err(Error::new(ErrorKind::Server, text)
            .advice(format_args!("{name} has them, with the reasons"))
            .into());
    }
    Ok(report)
}

/// Adds what is in the table now, and what to do: for damaged files, and for loads that stopped.
fn failed(failure: Failure, committed: u64, again: &str) -> Failure {
    let is_input = matches!(&failure, Failure::Export(error) if error.kind() == ErrorKind::Input);
    match (committed, &failure) {
        (_, Failure::Export(error)) if error.kind() == ErrorKind::OutcomeUnknown => failure,
        (0, _) if is_input => failure.advice("nothing was loaded"),
        (0, Failure::Signal(..)) => failure.nothing_loaded(),
        (0, _) => failure,
        // The library's text has the number of rows already.
        (_, Failure::Export(error)) if error.to_string().contains("of the data are loaded") => {
            failure.advice(&format!("{again} goes on from there"))
        }
        _ => failure.advice(&format!(
            "the first {committed} rows of the data are loaded, and {again} goes on behind them"
        )),
    }
}

/// Publishes rejected rows whose outcome is final: those of committed parts, and all if every row was
/// rejected or the load gave up. If the commit's outcome is unknown, it publishes all of them.
fn set_aside(
    failure: Failure,
    receiving: Receiving,
    (before, committed, given): (u64, u64, u64),
    has_given_up: bool,
    console: &Console,
) -> Failure {
    let kind = match &failure {
        Failure::Export(error) => Some(error.kind()),
        _ => None,
    };
    let name = receiving.name();
    let rows = receiving.rows() + receiving.earlier;
    let has_all = given > 0 && rows == given;
    let is_none_loaded = kind == Some(ErrorKind::Server) && committed == 0 && (has_all || has_given_up);
    let published = if kind == Some(ErrorKind::OutcomeUnknown) || is_none_loaded {
        receiving.publish(console).map(|()| rows)
    } else if committed > before {
        receiving.publish_until(committed, console)
    } else {
        return failure;
    };
    match published {
        Ok(0) => failure,
        Ok(_) if is_none_loaded => failure.advice(&format!("{name} has them, with the reasons")),
        Ok(rows) => failure
            .advice(&format!("{name} has the {} that were rejected so far", units::counted(rows, "row"))),
        Err(other) => {
            failure.advice(&format!("and the rows that were rejected so far could not be written: {other}"))
        }
    }
}

/// Which field would become which column. `rows` is the number of the input's rows, if it is known
/// beforehand.
pub(crate) fn planned(loading: &Loading, input: &str, rows: Option<u64>) -> String {
    let rows = match rows {
        Some(rows) => units::counted(rows, "row"),
        None => "rows that are not counted beforehand".to_owned(),
    };
    let (target, name) = (escape_control(loading.target()), escape_control(input));
    let mut text = format!("{target}, from {name}: {rows}\n\ncolumns\n");
    let columns = loading.columns().iter().map(|column| {
        let from = column.arrow_type.as_deref().unwrap_or_default();
        [&column.name, &column.pg_type, from, column.how].map(cell)
    });
    text.push_str(&table(columns.collect(), [false; 4], Lists::Whole));
    text
}
