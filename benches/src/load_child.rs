//! One load by pgarrow, in a process of its own.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use nix::time::{ClockId, clock_gettime};
use pgarrow::{ExportOptions, Source};
use pgarrow_load::input::{Input, InputFormat};
use pgarrow_load::{Load, LoadMethod, LoadOptions};

use crate::Result;
use crate::child::Clock;
use crate::contender::Outcome;
use crate::load_table::types;

/// The source of the rows, and how they are sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Way {
    /// Record batches that are in memory
    Memory,
    /// An Arrow IPC file
    Ipc,
    /// A Parquet file
    Parquet,
    /// Record batches in memory, by INSERT
    Insert,
    /// Another table, by an export of one reader
    Server,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "batches → pgarrow",
            Self::Ipc => "IPC → pgarrow",
            Self::Parquet => "Parquet → pgarrow",
            Self::Insert => "batches → pgarrow, INSERT",
            Self::Server => "server → pgarrow → server",
        }
    }

    /// Whether it measures a whole run of the command. The other ways begin with rows that a program has.
    pub(crate) fn is_program(self) -> bool {
        matches!(self, Self::Ipc | Self::Parquet | Self::Server)
    }
}

/// The load to make.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadChildFlags {
    way: Way,
    #[arg(long)]
    url: String,
    /// The table that has the rows
    #[arg(long)]
    source: String,
    /// The table to load
    #[arg(long)]
    into: String,
    /// The folder of the files
    #[arg(long)]
    folder: PathBuf,
}

/// Runs the load and prints its outcome as JSON. The time includes connecting and planning, and also names
/// them apart.
pub(crate) fn run(flags: &LoadChildFlags) -> Result<()> {
    let outcome = match flags.way {
        Way::Memory | Way::Insert => memory(flags),
        Way::Ipc => file(flags, "rows.arrow"),
        Way::Parquet => file(flags, "rows.parquet"),
        Way::Server => server(flags),
    }?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn memory(flags: &LoadChildFlags) -> Result<Outcome> {
    let batches = FileReader::try_new_buffered(File::open(flags.folder.join("rows.arrow"))?, None)?
        .collect::<std::result::Result<Vec<RecordBatch>, _>>()?;
    let schema = batches.first().ok_or("no rows")?.schema();
    let clock = Clock::start();
    let mut loading = load(flags)?.open(schema)?;
    let start_seconds = clock.seconds();
    let cpu_before = thread_cpu_seconds()?;
    for batch in &batches {
        loading.write(batch)?;
    }
    // Another thread sends: this one spends its time on encoding, and on handing over.
    let encode_seconds = thread_cpu_seconds()? - cpu_before;
    let report = loading.finish()?;
    let outcome = clock.stop(report.rows, report.wire_bytes);
    Ok(Outcome { start_seconds, encode_seconds: Some(encode_seconds), ..outcome })
}

fn file(flags: &LoadChildFlags, name: &str) -> Result<Outcome> {
    let clock = Clock::start();
    let load = load(flags)?;
    // As the command does it.
    let begun = load.begin_ahead();
    let input = Input::open(&[flags.folder.join(name)], None::<InputFormat>)?;
    begun.columns()?;
    let mut loading = load.open(input.schema().clone())?;
    drop(begun);
    let start_seconds = clock.seconds();
    for batch in input {
        loading.write(&batch?)?;
    }
    let report = loading.finish()?;
    Ok(Outcome { start_seconds, ..clock.stop(report.rows, report.wire_bytes) })
}

fn server(flags: &LoadChildFlags) -> Result<Outcome> {
    let clock = Clock::start();
    let load = load(flags)?;
    // As the command does it: the target is looked at while the source is, and columns of the same type in
    // both tables are not decoded.
    let looking = Arc::new(load.look_ahead());
    let of_target = Arc::clone(&looking);
    let options = ExportOptions::default().with_readers(1).with_types(types());
    let options = options.with_opaque_from(move || of_target.columns());
    let run = Source::connect_blocking(&flags.url)?.table(&flags.source).options(options).open()?;
    let load = load.with_opaque(run.plan().opaque().clone()).fed_by(run.holders());
    let sink = load.open(run.schema().clone())?.into_sink()?;
    drop(looking);
    let start_seconds = clock.seconds();
    let loaded = sink.report();
    run.write_to(Box::new(sink))?;
    let report = loaded.take().ok_or("a load without a report")?;
    Ok(Outcome { start_seconds, ..clock.stop(report.rows, report.wire_bytes) })
}

fn load(flags: &LoadChildFlags) -> Result<Load> {
    let method = if flags.way == Way::Insert { LoadMethod::Insert } else { LoadMethod::Copy };
    // No other contender analyzes the table.
    let options = LoadOptions::default().with_method(method).with_analyze(false);
    Ok(Load::into(&flags.url, &flags.into)?.options(options))
}

/// CPU time of this thread.
fn thread_cpu_seconds() -> Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(std::time::Duration::from(time).as_secs_f64())
}
