//! `pgarrow export`: a job, run.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use pgarrow::{Cancel, Report, Run, Source};
use pgarrow_sink::Output;

use crate::console::Console;
use crate::destination::Destination;
use crate::exit::Failure;
use crate::job::Job;
use crate::outputs::{Opened, open_file, write_many, write_one};
use crate::progress::Watch;
use crate::signals::Signals;
use crate::subject::Planned;
use crate::summary;

/// How long a cancelled export may take to end by itself.
pub(crate) const GRACE: Duration = Duration::from_millis(4500);

/// Runs the job, with all that is said and shown.
pub(crate) fn export(job: Job, console: &Console) -> Result<(), Failure> {
    let cancel = Cancel::new();
    let signals = Signals::install(cancel.clone(), console.clone(), GRACE)?;
    // A signal is the reason for whatever fails after it.
    run(job, console, cancel, &signals).map_err(|failure| signals.check().err().unwrap_or(failure))
}

fn run(job: Job, console: &Console, cancel: Cancel, signals: &Signals) -> Result<(), Failure> {
    let Job { reading, destination, report, overwrite, is_ordered } = job;
    // What cannot be written is found out before anything is read.
    let output = match destination {
        Destination::Nowhere => None,
        Destination::Output(place, format) => Some((Opened::open(&place, overwrite, signals)?, format)),
    };
    let report_file = report.as_deref().map(|path| open_file(path, overwrite, signals)).transpose()?;

    let source = Source::connect_blocking_with(reading.connection, cancel)?;
    signals.be_orderly();
    let planned = reading.subject.open(&source, reading.options)?;
    say_warnings(&planned, console);
    let n_readers = planned.readers();
    let asked = reading.asked;
    asked.fewer_readers(n_readers).iter().for_each(|warning| console.warn(warning));
    let watch = watch(&planned, console);
    let report = match (planned, output) {
        (Planned::One(run), Some((output, format))) => write_one(*run, &format, output, is_ordered, console)?,
        (Planned::Many(run), Some((Opened::Folder { folder, file_bytes }, format))) => {
            write_many(*run, &format, &folder, file_bytes, console, signals)?
        }
        // `Destination` lets no such job pass.
        (Planned::Many(_), Some(_)) => {
            return Err(Failure::options("several tables need a folder, as in -o shop/"));
        }
        (Planned::One(run), None) if is_ordered => run.for_each(|_| Ok(()))?,
        (Planned::One(run), None) => run.for_each_concurrently(|_| Ok(()))?,
        (Planned::Many(run), None) => run.for_each_concurrently(|_, _| Ok(()))?,
    };
    drop(watch);
    // Such as connections that were not to be had.
    report.warnings.iter().for_each(|warning| console.warn(warning));
    summary::lines(&report, n_readers, asked.for_pages()).iter().for_each(|line| console.say(line));
    report_file.map_or(Ok(()), |file| write_report(&report, file))
}

/// What planning found.
pub(crate) fn say_warnings(planned: &Planned, console: &Console) {
    for plan in planned.plans() {
        plan.warnings().iter().for_each(|warning| console.warn(warning));
    }
}

/// Shows how far an export is, until it is dropped.
fn watch(planned: &Planned, console: &Console) -> Watch {
    Watch::start(console, Arc::clone(planned.progress()), &planned.plans())
}

/// The same, of one table.
pub(crate) fn watch_one(run: &Run, console: &Console) -> Watch {
    Watch::start(console, Arc::clone(run.progress()), std::slice::from_ref(run.plan()))
}

fn write_report(report: &Report, mut file: Output) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::output(format!("the export is complete, but its report is not: {error}"))
    };
    let mut json = serde_json::to_vec_pretty(report).map_err(|error| failed(&error))?;
    json.push(b'\n');
    file.write_all(&json).map_err(|error| failed(&error))?;
    file.publish().map_err(|error| failed(&error))?;
    Ok(())
}
