//! `pgarrow run`, `init`, `check` and `gc`: jobs of many tables.

mod options;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pgarrow::{Cancel, Error, Plan, Report};
use pgarrow_job::{
    Format, Job, JobFile, JobQuery, JobRun, LOCK, Layout, Manifest, QuerySection, QueryText, RunOptions,
    ServerVerified, numerics_as_text, starter,
};
use pgarrow_sink::{Output, SinkError};
use pgarrow_sink_ipc::IpcFormat;
use pgarrow_store::Store;
use serde::Serialize;

use self::options::{Loaded, load};
use crate::allocator;
use crate::connecting::{config, on_source, say_config_warnings, say_warnings};
use crate::console::Console;
use crate::destination::{ipc_options, parquet_options};
use crate::exit::Failure;
use crate::export::watch_files;
use crate::flags::{CheckFlags, GcFlags, InitFlags, JobOptions, RunFlags};
use crate::help;
use crate::host::Host;
use crate::into::IntoMany;
use crate::job::{Reading, check_apart, options_of_job, real};
use crate::outputs::{begin_report, open_file};
use crate::rejects::Rejects;
use crate::run_report::{Command, RunReport};
use crate::servers::{OfJob, check_copy, copy_tables};
use crate::signals::{GRACE, Signals};
use crate::subject::held_snapshot;
use crate::summary;
use crate::units::{bytes, counted, seconds};
use crate::words;

/// All tables of all schemas.
const EVERYTHING: &str = "*.*";

/// The report of a run: the export's, what it has committed, and what was compared before.
#[derive(Serialize)]
struct WithManifest<'a> {
    #[serde(flatten)]
    report: &'a Report,
    manifest: &'a Manifest,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<&'a ServerVerified>,
}

/// Runs a job. Tables that failed while the others were committed end it with a code of their own.
pub(crate) fn run(flags: &RunFlags, console: &Console) -> Result<(), Failure> {
    let arguments: Vec<OsString> = env::args_os().collect();
    let (_, outcome) = run_by(&Host::process(console)?, flags, &arguments)?;
    outcome
}

/// The same for whoever runs it, with the `arguments` that the flags were made of. Returns the report, also
/// of a run without some of its tables, and how it ended.
pub(crate) fn run_by(
    host: &Host,
    flags: &RunFlags,
    arguments: &[OsString],
) -> Result<(RunReport, Result<(), Failure>), Failure> {
    let loaded =
        load(&flags.job, "run", arguments).and_then(|loaded| Ok((place(&flags.job, &loaded.file)?, loaded)));
    check_reports(flags, loaded.as_ref().map_or("", |(place, _)| place))?;
    // Yesterday's report must not stand for today's run, also if that has no job file that can be read.
    let metrics = flags.metrics.as_deref();
    let report = begin_report(Command::Run, flags.report.as_deref(), true, metrics, &host.signals)?;
    let done = loaded.and_then(|(place, loaded)| match &loaded.file.target {
        None => run_job(flags, &loaded, &place, &report, host),
        Some(target) => run_copy(flags, &loaded, target, &report, host),
    });
    let done = done.map_err(|failure| host.signals.explain(failure));
    // Of a run that is incomplete, the report is there.
    let done = done.inspect_err(|failure| report.failed(failure, &host.console));
    Ok((report, done))
}

/// Runs a job whose destination is a server.
fn run_copy(
    flags: &RunFlags,
    Loaded { file, options, .. }: &Loaded,
    target: &str,
    run_report: &RunReport,
    host: &Host,
) -> Result<(), Failure> {
    let of_files = [
        ("--take-over", flags.take_over),
        ("--resume", flags.resume),
        ("--full", flags.full),
        ("--verify", flags.verify),
        ("--reject", flags.rejects.reject.is_some()),
    ];
    if let Some((name, _)) = of_files.into_iter().find(|(_, is_given)| *is_given) {
        return Err(Failure::options(format!(
            "{name} is for jobs that write files, and this one loads a server"
        )));
    }
    let under = flags.snapshot.as_deref().map(held_snapshot).transpose()?;
    let of_job = OfJob { under, ..of_job(&flags.job, file)? };
    let into = IntoMany::of_job(target, file, options, flags.keep_going)?;
    let reading = Reading::of_job(file, options)?;
    copy_tables(reading, &of_job, into, run_report, host)
}

/// What a job file says of tables and queries that go to a server.
fn of_job(path: &Path, file: &JobFile) -> Result<OfJob, Failure> {
    Ok(OfJob { rules: file.rules.clone(), queries: queries(path, file)?, under: None })
}

fn run_job(
    flags: &RunFlags,
    Loaded { file, options, .. }: &Loaded,
    place: &str,
    run_report: &RunReport,
    host: &Host,
) -> Result<(), Failure> {
    let (console, signals) = (&host.console, &host.signals);
    let mut job = job(&flags.job, file, options)?;
    job.verify |= flags.verify;
    job.options = flags.rejects.applied_to(job.options);
    if flags.rejects.reject.is_some() {
        let why = match (job.verify, flags.resume) {
            (true, _) => Some("finds rows that are not in the files (--verify)"),
            (_, true) => Some("keeps tables whose rejected rows are in no file (--resume)"),
            (false, false) => None,
        };
        if let Some(why) = why {
            return Err(Failure::options(format!("the run {why}; leave that out, or --reject")));
        }
    }
    let store = Store::open(place).map_err(Error::from)?;
    let begin = |path: &PathBuf| Rejects::begin(path, None, true, signals);
    let rejects = flags.rejects.reject.as_ref().map(begin).transpose()?;
    let server = config(file.connection.as_deref(), &options.session.connecting)?;
    run_report.set_source(&server);
    say_config_warnings(&server, console);
    let source = host.connect(server)?;
    signals.be_orderly();
    allocator::give_back_at_once(job.options.memory_bytes());
    let run_options = RunOptions {
        take_over: flags.take_over,
        resume: flags.resume,
        snapshot: flags.snapshot.as_deref().map(held_snapshot).transpose()?,
        allow_mixed_snapshots: flags.allow_mixed_snapshots,
        full: flags.full,
        keep_going: flags.keep_going,
    };
    let run = JobRun::begin(&job, store.clone(), run_report.run_id(), run_options, &source);
    if run.is_ok() && !place.contains("://") {
        // If there is no time to unwind.
        signals.remove_at_exit(Path::new(place).join(LOCK));
    }
    let mut planned = run?.plan(&source)?;
    planned.notes().iter().for_each(|note| console.warn(words::message(note)));
    say_warnings(planned.export(), console);
    let receiving = match rejects {
        Some(rejects) => {
            let receiving = rejects.receive_of_export(console)?;
            planned = planned.on_reject(receiving.receiver())?;
            Some(receiving)
        }
        None => None,
    };
    let progress = Arc::clone(planned.export().progress());
    let watch = watch_files(planned.export(), console);
    let said = Mutex::new(Vec::new());
    let written = planned.write(&|warning| {
        console.warn(words::message(&warning));
        said.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    });
    drop(watch);
    if written.is_ok() {
        signals.be_loaded();
    }
    let (committed, mut report) = match (written, receiving) {
        (Ok(written), None) => written,
        (Ok((committed, report)), Some(receiving)) => {
            receiving.publish_of(&report, "the run", console)?;
            (committed, report)
        }
        (Err(error), None) => return Err(error.into()),
        (Err(error), Some(receiving)) => return Err(receiving.none_left(error.into(), &progress, console)),
    };
    let said = said.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.warnings.extend(said.into_iter().chain(committed.warnings.iter().cloned()));
    words::report(&mut report);
    committed.warnings.iter().for_each(|warning| console.warn(words::message(warning)));
    let manifest = &committed.manifest;
    let read = match report.rows == manifest.rows() {
        true => String::new(),
        false => format!("; {} read now", counted(report.rows, "row")),
    };
    console.say(&format!(
        "pgarrow: {}, {} and {} in {} to {} in {}{read}",
        tables_and_queries(
            manifest.tables.len(),
            manifest.tables.iter().filter(|table| table.query_sha256.is_some()).count()
        ),
        counted(manifest.rows(), "row"),
        bytes(manifest.bytes()),
        counted(manifest.n_files() as u64, "file"),
        store.location(),
        seconds(report.seconds),
    ));
    console.say(&format!("pgarrow: committed as run {}, manifest {}", manifest.run_id, manifest.number));
    let verified = committed.verified.as_ref();
    verified.into_iter().for_each(|verified| summary::verified(verified, console));
    let n_failed = manifest.failed.len();
    manifest.failed.iter().for_each(|failed| console.warn(format!("failed: {}", failed.error)));
    let n_tables = n_failed.saturating_add(manifest.tables.len());
    let outcome = match n_failed {
        0 => Ok(()),
        _ => Err(Failure::Incomplete(format!(
            "{n_failed} of {n_tables} tables failed; the others are committed"
        ))),
    };
    run_report.complete_export(
        &report,
        &WithManifest { report: &report, manifest, verified },
        outcome,
        console,
    )
}

/// Holds a job against its server.
pub(crate) fn check(flags: &CheckFlags, console: &Console) -> Result<(), Failure> {
    let Loaded { file, options, effective } = load(&flags.job, "check", &env::args_os().collect::<Vec<_>>())?;
    let show_effective = || {
        let lines: String = effective.iter().map(|line| format!("{line}\n")).collect();
        help::print(lines.as_bytes())
    };
    if let Some(target) = &file.target {
        let (of_job, reading) = (of_job(&flags.job, &file)?, Reading::of_job(&file, &options)?);
        let into = IntoMany::of_job(target, &file, &options, true)?;
        if flags.effective {
            return show_effective();
        }
        say_config_warnings(&into.connection, console);
        let server = reading.connection.clone();
        let lines = on_source(server, console, |source| {
            check_copy(&reading, &of_job, into, source, console, source.cancel().clone())
        })?;
        let (n_all, n_queries) = (lines.lines().count(), file.queries.len());
        let text = format!("{lines}{} can be read and loaded\n", tables_and_queries(n_all, n_queries));
        return help::print(text.as_bytes());
    }
    let job = job(&flags.job, &file, &options)?;
    if flags.effective {
        return show_effective();
    }
    // A place that files cannot go to is refused here, too.
    let store = Store::open(&place(&flags.job, &file)?).map_err(Error::from)?;
    let server = config(file.connection.as_deref(), &options.session.connecting)?;
    let plans = on_source(server, console, |source| Ok(job.check(source, &store)?))?;
    let mut text = String::new();
    for plan in &plans {
        let rows = summary::estimated_rows(plan);
        let columns = counted(plan.columns().len() as u64, "column");
        text.push_str(&format!("{}: {columns}, {rows}\n", plan.subject()));
        for warning in plan.warnings().iter().chain(&numerics_as_text(plan)) {
            text.push_str(&format!("  {}\n", words::message(warning)));
        }
    }
    let n_queries = plans.iter().filter(|plan| plan.query_name().is_some()).count();
    text.push_str(&format!("{} can be read\n", tables_and_queries(plans.len(), n_queries)));
    help::print(text.as_bytes())
}

/// How many of each there are.
fn tables_and_queries(n_all: usize, n_queries: usize) -> String {
    let n_tables = n_all.saturating_sub(n_queries);
    let queries = if n_queries == 1 { "1 query".to_owned() } else { format!("{n_queries} queries") };
    match (n_tables, n_queries) {
        (_, 0) => counted(n_tables as u64, "table"),
        (0, _) => queries,
        _ => format!("{}, {queries}", counted(n_tables as u64, "table")),
    }
}

/// Writes a first job file.
pub(crate) fn init(flags: &InitFlags, console: &Console) -> Result<(), Failure> {
    let server = config(flags.connection.as_deref(), &flags.connecting)?;
    let tables = if flags.tables.is_empty() { vec![EVERYTHING.to_owned()] } else { flags.tables.clone() };
    let text = on_source(server, console, |source| {
        let none: [&str; 0] = [];
        let named = tables.iter().fold(source.tables(none), |named, pattern| named.pattern(pattern));
        let named = flags.exclude_tables.iter().fold(named, |named, pattern| named.exclude(pattern));
        let run = named.open()?;
        Ok(starter(source, run.plans().iter().map(AsRef::<Plan>::as_ref), &flags.path))
    })?;
    let Some(path) = &flags.output else { return help::print(text.as_bytes()) };
    let cancel = Cancel::new();
    let signals = Signals::install(cancel, console.clone(), GRACE)?;
    let mut output = open_file(path, flags.overwrite, &signals)?;
    write(&mut output, text.as_bytes(), path)?;
    output.publish().map_err(Error::from)?;
    console.say(&format!("pgarrow: wrote {}; next: pgarrow check {0}", path.display()));
    Ok(())
}

/// Lists or removes what runs left behind.
pub(crate) fn gc(flags: &GcFlags, console: &Console) -> Result<(), Failure> {
    let store = Store::open(&flags.place).map_err(Error::from)?;
    let garbage = pgarrow_job::garbage(&store, flags.older_than, flags.keep)?;
    let mut n_bytes = 0_u64;
    for entry in &garbage {
        n_bytes = n_bytes.saturating_add(entry.bytes);
        if flags.delete {
            store.remove(&entry.path).map_err(Error::from)?;
        }
    }
    help::print(garbage.iter().map(|entry| format!("{}\n", entry.path)).collect::<String>().as_bytes())?;
    let (files, size) = (counted(garbage.len() as u64, "file"), bytes(n_bytes));
    console.say(&match (garbage.is_empty(), flags.delete) {
        (true, _) => "pgarrow: nothing was left behind".to_owned(),
        (false, true) => format!("pgarrow: removed {files}, {size}"),
        (false, false) => format!("pgarrow: {files}, {size}; --delete removes them"),
    });
    Ok(())
}

/// The job of the file at `path`, with these options.
fn job(path: &Path, file: &JobFile, options: &JobOptions) -> Result<Job, Failure> {
    if let Some(name) = options.of_server() {
        let text = format!("{}: the option {name} is for a destination with a connection", file.name);
        return Err(Failure::options(text));
    }
    let files = &options.files;
    let format = match file.format.as_deref() {
        None | Some("parquet") => Format::Parquet(parquet_options(files, &options.reading)?),
        Some("ipc") => Format::IpcFile(ipc_options(files, IpcFormat::File)?),
        Some("ipc-stream") => Format::IpcStream(ipc_options(files, IpcFormat::Stream)?),
        Some(other) => {
            let text = format!("{}: the format {other:?} is not parquet, ipc or ipc-stream", file.name);
            return Err(Failure::options(text));
        }
    };
    if let (false, Some(name)) = (matches!(format, Format::Parquet(_)), files.of_parquet()) {
        let name = name.replace('-', "_");
        return Err(Failure::options(format!("the option {name} is for the format parquet")));
    }
    let layout = match &file.file_name {
        Some(template) => Layout::parse(template)?,
        None => Layout::default(),
    };
    Ok(Job {
        tables: file.tables.clone(),
        exclude_tables: file.exclude_tables.clone(),
        rules: file.rules.clone(),
        queries: queries(path, file)?,
        only: file.only,
        options: options_of_job(options, format.types())?,
        format,
        layout,
        partition_by: files.partitions(),
        file_bytes: files.file_size,
        success_file: file.success_file,
        verify: file.verify,
        origin: files.origin,
    })
}

fn queries(path: &Path, file: &JobFile) -> Result<Vec<JobQuery>, Failure> {
    file.queries.iter().map(|query| query_of(path, file, query)).collect()
}

/// A query with its text, which may be in a file beside the job file.
fn query_of(job: &Path, file: &JobFile, query: &QuerySection) -> Result<JobQuery, Failure> {
    let QuerySection { name, text, split_on, line, .. } = query.clone();
    let sql = match text {
        QueryText::Sql(sql) => sql,
        QueryText::File(path) => fs::read_to_string(beside(job, &path)).map_err(|error| {
            Failure::options(format!("{}, line {line}: the file {path:?} cannot be read: {error}", file.name))
        })?,
    };
    Ok(JobQuery { name, sql, split_on })
}

/// A path of a job file: a relative one begins at its folder, wherever the job was started.
fn beside(job: &Path, path: &str) -> PathBuf {
    job.parent().map_or_else(PathBuf::new, Path::to_owned).join(path)
}

/// Where the files go; empty if there are none.
fn place(job: &Path, file: &JobFile) -> Result<String, Failure> {
    if file.path.contains("://") || file.path.is_empty() {
        return Ok(file.path.clone());
    }
    let path = beside(job, &file.path).into_os_string().into_string();
    path.map_err(|path| {
        Failure::options(format!("the folder {path:?} is not named in UTF-8; use a path that is"))
    })
}

/// Refuses a report, metrics or rejected rows in the place of the job file, or among the files of the job.
/// `place` is empty if it is not known.
fn check_reports(flags: &RunFlags, place: &str) -> Result<(), Failure> {
    let outputs =
        [("--report", &flags.report), ("--metrics", &flags.metrics), ("--reject", &flags.rejects.reject)];
    check_apart(outputs)?;
    for (option, path) in outputs {
        let Some(path) = path else { continue };
        let path = real(path);
        if path == real(&flags.job) {
            return Err(Failure::options(format!("{option} and the job file are the same file")));
        }
        if !place.is_empty() && !place.contains("://") && path.starts_with(real(Path::new(place))) {
            return Err(Failure::options(format!(
                "{option} would be in the folder of the job; put it beside"
            )));
        }
    }
    Ok(())
}

fn write(output: &mut Output, text: &[u8], path: &Path) -> Result<(), Failure> {
    use std::io::Write;
    output.write_all(text).map_err(|error| Error::from(SinkError::io("write", Some(path), error)).into())
}
