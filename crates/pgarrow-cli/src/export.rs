//! `pgarrow export`: a job, run.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pgarrow::{Cancel, Error, Report, Run, Source};
use pgarrow_sink::{Output, Sink};
use pgarrow_sink_ipc::IpcSink;
use pgarrow_sink_parquet::ParquetSink;

use crate::console::Console;
use crate::exit::Failure;
use crate::job::{Destination, Format, Job, Place};
use crate::progress::Watch;
use crate::signals::Signals;
use crate::summary;

/// How long a cancelled export may take to end by itself.
const GRACE: Duration = Duration::from_millis(4500);

/// Runs the job, with all that is said and shown.
pub(crate) fn export(job: Job, console: &Console) -> Result<(), Failure> {
    let cancel = Cancel::new();
    let signals = Signals::install(cancel.clone(), console.clone(), GRACE)?;
    // A signal is the reason for whatever fails after it.
    run(job, console, cancel, &signals).map_err(|failure| signals.check().err().unwrap_or(failure))
}

fn run(job: Job, console: &Console, cancel: Cancel, signals: &Signals) -> Result<(), Failure> {
    // What cannot be written is found out before anything is read.
    let output = match &job.destination {
        Destination::Nowhere => None,
        Destination::Output(Place::Stdout, _) => Some(Output::stdout().map_err(Error::from)?),
        Destination::Output(Place::File(path), _) => Some(open_file(path, job.overwrite, signals)?),
    };
    let report_file =
        job.report.as_deref().map(|path| open_file(path, job.overwrite, signals)).transpose()?;

    let source = Source::connect_blocking_with(job.connection.clone(), cancel)?;
    signals.be_orderly();
    let run = job.extract(&source).open()?;
    for warning in run.plan().warnings() {
        console.warn(warning);
    }
    let report = match (job.destination, output) {
        (Destination::Output(_, format), Some(output)) => write(run, format, output, console)?,
        _ => {
            let _watch = watch(&run, console);
            run.for_each(|_| Ok(()))?
        }
    };
    if let Some(file) = report_file {
        write_report(&report, file)?;
    }
    summary::lines(&report).iter().for_each(|line| console.say(line));
    Ok(())
}

fn open_file(path: &Path, overwrite: bool, signals: &Signals) -> Result<Output, Failure> {
    let output = Output::file(path, overwrite).map_err(Error::from)?;
    if let Some(temporary) = output.temporary_path() {
        signals.remove_at_exit(temporary);
    }
    Ok(output)
}

/// Runs a planned export into an output of a format. Says what the format had to change.
pub(crate) fn write(run: Run, format: Format, output: Output, console: &Console) -> Result<Report, Failure> {
    let schema = Arc::clone(run.schema());
    let (sink, warnings): (Box<dyn Sink>, Vec<String>) = match format {
        Format::Parquet(options) => {
            let sink = ParquetSink::create(output, schema, options).map_err(Error::from)?;
            let warnings = sink.warnings();
            (Box::new(sink), warnings)
        }
        Format::Ipc(options) => {
            (Box::new(IpcSink::create(output, schema, options).map_err(Error::from)?), Vec::new())
        }
    };
    warnings.iter().for_each(|warning| console.warn(warning));
    let watch = watch(&run, console);
    let mut report = run.write_to(sink)?;
    drop(watch);
    report.warnings.extend(warnings);
    Ok(report)
}

fn watch(run: &Run, console: &Console) -> Watch {
    Watch::start(console, Arc::clone(run.progress()), run.plan().estimated_rows())
}

fn write_report(report: &Report, mut file: Output) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::output(format!("the report: {error}"));
    let mut json = serde_json::to_vec_pretty(report).map_err(|error| failed(&error))?;
    json.push(b'\n');
    file.write_all(&json).map_err(|error| failed(&error))?;
    file.publish().map_err(|error| failed(&error))?;
    Ok(())
}
