//! `pgarrow export`: a job, run.

use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pgarrow::{Cancel, Report, Run, Source};
use pgarrow_load::{Load, LoadProgress, LoadReport};
use pgarrow_sink::Output;
use serde::Serialize;

use crate::console::Console;
use crate::destination::{Destination, Format};
use crate::exit::Failure;
use crate::job::Job;
use crate::outputs::{Opened, open_file, write_many, write_one};
use crate::progress::Watch;
use crate::signals::Signals;
use crate::subject::Planned;
use crate::summary::{self, Peak};

/// How long a cancelled export may take to end by itself.
pub(crate) const GRACE: Duration = Duration::from_millis(4500);

/// Runs the job, with all that is said and shown.
pub(crate) fn export(job: Job, console: &Console) -> Result<(), Failure> {
    let cancel = Cancel::new();
    let signals = Signals::install(cancel.clone(), console.clone(), GRACE)?;
    run(job, console, cancel, &signals).map_err(|failure| signals.explain(failure))
}

fn run(job: Job, console: &Console, cancel: Cancel, signals: &Signals) -> Result<(), Failure> {
    let Job { reading, destination, report, overwrite, is_ordered, warning } = job;
    warning.iter().for_each(|warning| console.warn(warning));
    // What cannot be written is found out before anything is read.
    let output = match destination {
        Destination::Nowhere => Goal::Nowhere,
        Destination::Table(into) => Goal::Table(Box::new(into.load(cancel.clone())?)),
        Destination::Output(place, format) => Goal::Output(Opened::open(&place, overwrite, signals)?, format),
    };
    let report_file = report.as_deref().map(|path| open_file(path, overwrite, signals)).transpose()?;

    let source = Source::connect_blocking_with(reading.connection, cancel.clone())?;
    signals.be_orderly();
    let options = match &output {
        // What the target takes as the source sends it need not be decoded.
        Goal::Table(load) => reading.options.with_opaque(load.opaque_columns()?),
        Goal::Nowhere | Goal::Output(..) => reading.options,
    };
    let format = match &output {
        Goal::Output(_, format) => Some(format),
        Goal::Nowhere | Goal::Table(_) => None,
    };
    let planned = reading.subject.open(&source, options, format)?;
    say_warnings(&planned, console);
    let n_readers = planned.readers();
    let asked = reading.asked;
    let loading = Arc::default();
    let watch = watch(&planned, &loading, console);
    let mut load = None;
    let report = match (planned, output) {
        (Planned::One(run), Goal::Output(output, format)) => {
            write_one(*run, &format, output, is_ordered, console)?
        }
        (Planned::One(run), Goal::Table(load_into)) => {
            let (report, loaded) = load_one(*run, *load_into, &loading, console, signals)?;
            load = loaded;
            report
        }
        (Planned::Many(run), Goal::Output(Opened::Folder { folder, file_bytes }, format)) => {
            write_many(*run, &format, &folder, file_bytes, console, signals)?
        }
        // `Destination` lets no such job pass.
        (Planned::Many(_), Goal::Output(..) | Goal::Table(_)) => {
            return Err(Failure::options("several tables need a folder, as in -o shop/"));
        }
        (Planned::One(run), Goal::Nowhere) if is_ordered => run.for_each(|_| Ok(()))?,
        (Planned::One(run), Goal::Nowhere) => run.for_each_concurrently(|_| Ok(()))?,
        (Planned::Many(run), Goal::Nowhere) => run.for_each_concurrently(|_, _| Ok(()))?,
    };
    drop(watch);
    // Such as connections that were not to be had.
    report.warnings.iter().for_each(|warning| console.warn(warning));
    // The load behind says it of the same process.
    let peak = if load.is_some() { Peak::Left } else { Peak::Said };
    summary::lines(&report, n_readers, asked.for_pages(), peak).iter().for_each(|line| console.say(line));
    load.iter().flat_map(summary::load_lines).for_each(|line| console.say(&line));
    let Some(file) = report_file else { return Ok(()) };
    match load {
        Some(load) => write_report(&WithLoad { report: &report, load: &load }, "export", file, console),
        None => write_report(&report, "export", file, console),
    }
}

/// Where batches go, begun as far as it can be before connecting.
enum Goal {
    Nowhere,
    Output(Opened, Format),
    Table(Box<Load>),
}

/// Reads one table, query or slice into a table.
fn load_one(
    run: Run,
    load: Load,
    progress: &Arc<OnceLock<Arc<LoadProgress>>>,
    console: &Console,
    signals: &Signals,
) -> Result<(Report, Option<LoadReport>), Failure> {
    let load = load.with_opaque(run.plan().opaque().clone()).fed_by(&run);
    let loading = load.open(Arc::clone(run.schema()))?;
    loading.warnings().iter().for_each(|warning| console.warn(warning));
    let of_load = Arc::clone(loading.progress());
    let sink = loading.into_sink()?;
    let loaded = sink.report();
    signals.be_loading(&of_load);
    let _ = progress.set(of_load);
    let report =
        run.write_to(Box::new(sink)).map_err(|error| signals.explain(error.into()).nothing_loaded())?;
    signals.be_loaded();
    Ok((report, loaded.take()))
}

/// What an export into a table came to, on both sides.
#[derive(Serialize)]
struct WithLoad<'a> {
    #[serde(flatten)]
    report: &'a Report,
    load: &'a LoadReport,
}

/// What planning found.
pub(crate) fn say_warnings(planned: &Planned, console: &Console) {
    for plan in planned.plans() {
        plan.warnings().iter().for_each(|warning| console.warn(warning));
    }
}

/// Shows how far an export is, until it is dropped.
fn watch(planned: &Planned, loading: &Arc<OnceLock<Arc<LoadProgress>>>, console: &Console) -> Watch {
    Watch::of_load_from(console, Arc::clone(planned.progress()), &planned.plans(), loading)
}

/// The same, of one table.
pub(crate) fn watch_one(run: &Run, console: &Console) -> Watch {
    Watch::of_export(console, Arc::clone(run.progress()), std::slice::from_ref(run.plan()))
}

pub(crate) fn write_report(
    report: &impl Serialize,
    what: &str,
    mut file: Output,
    console: &Console,
) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::output(format!("the {what} is complete, but its report is not: {error}"))
    };
    let mut json = serde_json::to_vec_pretty(report).map_err(|error| failed(&error))?;
    json.push(b'\n');
    file.write_all(&json).map_err(|error| failed(&error))?;
    let published = file.publish().map_err(|error| failed(&error))?;
    published.warnings.iter().for_each(|warning| console.warn(warning));
    Ok(())
}
