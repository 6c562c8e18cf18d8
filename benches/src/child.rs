//! One run of one contender.

use std::time::Instant;

use pgarrow::{ExportOptions, IntervalForm, ProcessUsage, Source};
use pgarrow_protocol::Config;
use pgarrow_sink::Output;
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};

use crate::Result;
use crate::contender::{Contender, Outcome};
use crate::drain::Drain;

/// Which run.
#[derive(Debug, clap::Args)]
pub(crate) struct ChildFlags {
    contender: Contender,
    #[arg(long)]
    url: String,
    #[arg(long)]
    table: String,
}

/// Runs it and prints its outcome as JSON.
pub(crate) fn run(flags: &ChildFlags) -> Result<()> {
    let outcome = match flags.contender {
        Contender::PlainDrain => drain(flags, false),
        Contender::FairDrain => drain(flags, true),
        Contender::Arrow => arrow(flags),
        Contender::Parquet => parquet(flags),
        Contender::Ipc => ipc(flags),
    }?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn drain(flags: &ChildFlags, is_fair: bool) -> Result<Outcome> {
    let mut drain = Drain::connect(&Config::parse(Some(&flags.url))?)?;
    // The statement that pgarrow sends for the table names its columns; the same bytes come.
    let sql = format!("COPY (SELECT * FROM {}) TO STDOUT (FORMAT binary)", flags.table);
    let clock = Clock::start();
    let drained = drain.copy(&sql, is_fair)?;
    Ok(clock.stop(drained.rows, drained.bytes))
}

fn arrow(flags: &ChildFlags) -> Result<Outcome> {
    let source = Source::connect_blocking(&flags.url)?;
    let run = source.table(&flags.table).open()?;
    let clock = Clock::start();
    let mut rows = 0;
    let report = run.for_each(|batch| {
        rows += batch.num_rows() as u64;
        Ok(())
    })?;
    if rows != report.rows {
        return Err("the batches do not have the rows of the report".into());
    }
    Ok(clock.stop(report.rows, report.wire_bytes))
}

fn parquet(flags: &ChildFlags) -> Result<Outcome> {
    let source = Source::connect_blocking(&flags.url)?;
    let options = ExportOptions::default().with_interval(IntervalForm::Struct);
    let run = source.table(&flags.table).options(options).open()?;
    let folder = tempfile::tempdir()?;
    let output = Output::file(folder.path().join("out.parquet"), false)?;
    let sink = ParquetSink::create(output, run.schema().clone(), ParquetOptions::default())?;
    let clock = Clock::start();
    let report = run.write_to(Box::new(sink))?;
    Ok(clock.stop(report.rows, report.files.iter().map(|file| file.bytes).sum()))
}

fn ipc(flags: &ChildFlags) -> Result<Outcome> {
    let source = Source::connect_blocking(&flags.url)?;
    let run = source.table(&flags.table).open()?;
    let folder = tempfile::tempdir()?;
    let output = Output::file(folder.path().join("out.arrow"), false)?;
    let sink = IpcSink::create(output, run.schema().clone(), IpcOptions::default())?;
    let clock = Clock::start();
    let report = run.write_to(Box::new(sink))?;
    Ok(clock.stop(report.rows, report.files.iter().map(|file| file.bytes).sum()))
}

/// Wall and CPU time since a moment: after the connection is made and the export planned.
struct Clock {
    started: Instant,
    cpu_seconds: f64,
}

impl Clock {
    fn start() -> Self {
        Self { started: Instant::now(), cpu_seconds: ProcessUsage::now().cpu_seconds }
    }

    fn stop(self, rows: u64, bytes: u64) -> Outcome {
        let wall_seconds = self.started.elapsed().as_secs_f64();
        let ProcessUsage { cpu_seconds, peak_memory_bytes } = ProcessUsage::now();
        Outcome {
            rows,
            wall_seconds,
            cpu_seconds: cpu_seconds - self.cpu_seconds,
            peak_bytes: peak_memory_bytes,
            bytes,
        }
    }
}
