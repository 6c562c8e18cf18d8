//! `pgarrow export`: runs a job.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use pgarrow::{ExportOptions, Report, Run};
use pgarrow_job::{ExportCheck, Format, Origin, ServerVerified};
use pgarrow_load::{Load, LoadProgress, LoadReport};
use serde::Serialize;

use crate::allocator;
use crate::connecting::{say_config_warnings, say_warnings};
use crate::console::Console;
use crate::destination::Destination;
use crate::exit::Failure;
use crate::flags::ExportFlags;
use crate::host::Host;
use crate::into::Takes;
use crate::job::{self, ExportJob};
use crate::outputs::{Opened, Writing, begin_report, write_many, write_one};
use crate::progress::{Watch, Work};
use crate::rejects::Rejects;
use crate::run_report::{Command, RunReport};
use crate::servers::{self, OfJob};
use crate::signals::Signals;
use crate::summary::{self, Peak};
use crate::words;

/// Exports what the flags name, with messages and progress.
pub(crate) fn export(flags: &ExportFlags, console: &Console) -> Result<(), Failure> {
    job::check_reports(flags)?;
    export_by(&Host::process(console)?, flags, Ok).map(drop)
}

/// The same for whoever runs it, who may `change` the job. Returns the report.
pub(crate) fn export_by(
    host: &Host,
    flags: &ExportFlags,
    change: impl FnOnce(ExportJob) -> Result<ExportJob, Failure>,
) -> Result<RunReport, Failure> {
    let report = begin_report(
        Command::Export,
        flags.report.as_deref(),
        flags.overwrite,
        flags.metrics.as_deref(),
        &host.signals,
    )?;
    let done = ExportJob::try_from(flags).and_then(change).and_then(|job| run(job, &report, host));
    let done = done.map_err(|failure| host.signals.explain(failure));
    done.inspect_err(|failure| report.failed(failure, &host.console))?;
    Ok(report)
}

fn run(job: ExportJob, run_report: &RunReport, host: &Host) -> Result<(), Failure> {
    let (console, signals) = (&host.console, &host.signals);
    let ExportJob { reading, destination, overwrite, reject, is_ordered, has_origin, verify, warning } = job;
    warning.iter().for_each(|warning| console.warn(warning));
    let destination = match destination {
        Destination::Tables(into) => {
            return servers::copy_tables(reading, &OfJob::default(), *into, run_report, host);
        }
        other => other,
    };
    run_report.set_source(&reading.connection);
    if let Destination::Table(into) = &destination {
        let (table, config) = into.place();
        run_report.set_target(table, config);
        say_config_warnings(config, console);
    }
    say_config_warnings(&reading.connection, console);
    let partition_by = destination.partitions();
    // An output that cannot be written fails before anything is read.
    let output = match destination {
        Destination::Nowhere => Goal::Nowhere,
        Destination::Table(into) => {
            let (takes, schema) = (into.takes(), into.schema());
            // It can be stopped by itself.
            Goal::Table(Box::new(into.load(host.cancel.child())?), takes, schema)
        }
        // Done above.
        Destination::Tables(_) => Goal::Nowhere,
        Destination::Output(place, format) => {
            Goal::Output(Opened::open(&place, overwrite, run_report.run_id(), signals)?, Box::new(format))
        }
    };

    let begin = |path: PathBuf| Rejects::begin(&path, None, overwrite, signals);
    let rejects = reject.map(begin).transpose()?;

    // The target is looked at while the source is. If the source cannot be reached, that is the error.
    let looking = match &output {
        Goal::Table(load, ..) => Some(Arc::new(load.look_ahead())),
        Goal::Nowhere | Goal::Output(..) => None,
    };
    let source = host.connect(reading.connection)?;
    run_report.set_source(source.config());
    signals.be_orderly();
    allocator::give_back_at_once(reading.options.memory_bytes());
    let options = match looking.clone() {
        // Values that the target takes as the source sends them are not decoded.
        Some(looking) => reading.options.with_opaque_from(move || looking.columns()),
        None => reading.options,
    };
    let format = match &output {
        Goal::Output(_, format) => Some((format.as_ref(), &partition_by)),
        Goal::Nowhere | Goal::Table(..) => None,
    };
    let for_check = verify.map(|what| (what, options.clone()));
    let mut run = reading.subject.open(&source, options, format)?;
    say_warnings(&run, console);
    let check = |(what, options): (_, ExportOptions)| ExportCheck::open(&source, &mut run, what, &options);
    let check = for_check.map(check).transpose()?;
    let origin = has_origin.then(|| Origin::new(&run, run_report.run_id(), &run_report.started()));
    let receiving = match rejects {
        Some(rejects) => {
            let receiving = rejects.receive_of_export(console)?;
            run = run.on_reject(receiving.receiver())?;
            Some(receiving)
        }
        None => None,
    };
    let n_readers = run.readers();
    let progress = Arc::clone(run.progress());
    let asked = reading.asked;
    let loading = Arc::default();
    let watch = watch(&run, &loading, console);
    let (mut load, mut verified) = (None, None);
    let fill = || -> Result<Report, Failure> {
        Ok(match (reading.subject.is_many(), output) {
            (is_many, Goal::Output(output, format)) => {
                let (format, partition_by, origin) = (&*format, &partition_by, origin.as_ref());
                let writing = Writing { format, partition_by, origin, is_ordered, check, console, signals };
                let (report, compared) = match output {
                    Opened::Folder { folder, file_bytes } if is_many => {
                        write_many(run, folder, file_bytes, writing)?
                    }
                    // `Destination` refuses such a job.
                    Opened::File(_) if is_many => {
                        return Err(Failure::options("several tables need a folder, as in -o shop/"));
                    }
                    output => write_one(run, output, writing)?,
                };
                verified = compared;
                report
            }
            (false, Goal::Table(load_into, takes, schema)) => {
                let load_into = defined_by(*load_into, takes, schema.as_deref(), &mut run)?;
                let (report, loaded) = load_one(run, load_into, &loading, console, signals)?;
                load = loaded;
                report
            }
            // `Destination` refuses such a job.
            (true, Goal::Table(..)) => {
                return Err(Failure::options("several tables need a folder, as in -o shop/"));
            }
            (false, Goal::Nowhere) if is_ordered => run.for_each(|_| Ok(()))?,
            (_, Goal::Nowhere) => run.for_each_with_plan(|_, _| Ok(()))?,
        })
    };
    let filled = fill();
    drop(watch);
    let mut report = match (filled, receiving) {
        (Ok(report), None) => report,
        (Ok(report), Some(receiving)) => {
            receiving.publish_of(&report, "the export", console)?;
            report
        }
        (Err(failure), None) => return Err(failure),
        (Err(failure), Some(receiving)) => return Err(receiving.none_left(failure, &progress, console)),
    };
    words::report(&mut report);
    load.iter_mut().for_each(words::load_report);
    // For example about connections that the run did not get.
    report.warnings.iter().for_each(|warning| console.warn(warning));
    // The load's lines below give the peak of the same process.
    let peak = if load.is_some() { Peak::Left } else { Peak::Said };
    summary::lines(&report, n_readers, asked.for_pages(), peak).iter().for_each(|line| console.say(line));
    load.iter().flat_map(summary::load_lines).for_each(|line| console.say(&line));
    verified.iter().for_each(|verified| summary::verified(verified, console));
    let whole = Whole { report: &report, load: load.as_ref(), verified: verified.as_ref() };
    run_report.complete_export(&report, &whole, Ok(()), console)
}

/// Where batches go, begun as far as possible before connecting.
enum Goal {
    Nowhere,
    Output(Opened, Box<Format>),
    /// With what a new table takes over, and the schema that its types are made in.
    Table(Box<Load>, Takes, Option<String>),
}

/// Adds what a new table takes over from the table that is read.
pub(crate) fn defined_by(
    load: Load,
    takes: Takes,
    schema: Option<&str>,
    run: &mut Run,
) -> Result<Load, Failure> {
    if !takes.any() {
        return Ok(load);
    }
    let Some(relation) = run.plan().relation().cloned() else {
        let text = "a query has no types and no key of its own: leave out --create-types, and give --key its columns";
        return Err(Failure::options(text));
    };
    let (types, key) = takes.read(run, &relation, schema)?;
    Ok(load.defined_by(types, key))
}

/// Reads one table, query or slice into a table.
fn load_one(
    run: Run,
    load: Load,
    progress: &Arc<OnceLock<Arc<LoadProgress>>>,
    console: &Console,
    signals: &Signals,
) -> Result<(Report, Option<LoadReport>), Failure> {
    let load = load.with_opaque(run.plan().opaque().clone()).fed_by(run.holders());
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

/// The report of an export, with that of the load into a table, and what came of a comparison.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<&'a LoadReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<&'a ServerVerified>,
}

/// Shows the progress of an export, until it is dropped.
fn watch(run: &Run, loading: &Arc<OnceLock<Arc<LoadProgress>>>, console: &Console) -> Watch {
    Watch::start(console, Work::export(run.progress(), run.plans(), loading))
}

/// The same for rows that go into files.
pub(crate) fn watch_files(run: &Run, console: &Console) -> Watch {
    watch(run, &Arc::default(), console)
}
