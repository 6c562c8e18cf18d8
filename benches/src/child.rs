//! One run of one of our contenders, in a process of its own. All calls of the library are here.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use pgarrow::{ExportOptions, IntervalForm, Plan, ProcessUsage, ReadMode, Report, Run, Source};
use pgarrow_protocol::Config;
use pgarrow_sink::{Output, Sink, SinkError};
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};

use crate::Result;
use crate::answer::{ColumnSum, Sums};
use crate::contender::{Ours, Outcome};
use crate::drain::DrainWay;
use crate::drains::Drains;

/// The run to make.
#[derive(Debug, clap::Args)]
pub(crate) struct ChildFlags {
    contender: Ours,
    #[arg(long)]
    url: String,
    /// What to read; several in one run
    #[arg(long, value_delimiter = ',')]
    table: Vec<String>,
    /// The columns that a drain reads
    #[arg(long, default_value = "*")]
    select: String,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Add up every column, which takes longer than the export
    #[arg(long)]
    check: bool,
}

/// Runs the contender and prints its outcome as JSON.
pub(crate) fn run(flags: &ChildFlags) -> Result<()> {
    let outcome = match flags.contender {
        Ours::PlainDrain => drain(flags, DrainWay::PlainCopy),
        Ours::FairDrain => drain(flags, DrainWay::FairCopy),
        Ours::SelectDrain => drain(flags, DrainWay::Select),
        _ => export(flags),
    }?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn drain(flags: &ChildFlags, way: DrainWay) -> Result<Outcome> {
    let config = Config::parse(Some(&flags.url))?;
    let mut drains = Drains::connect(&config, &flags.table, &flags.select, flags.connections, way)?;
    let clock = Clock::start();
    let drained = drains.run()?;
    Ok(clock.stop(drained.rows, drained.bytes))
}

fn export(flags: &ChildFlags) -> Result<Outcome> {
    let source = Source::connect_blocking(&flags.url)?;
    let folder = tempfile::tempdir()?;
    let exporting = Exporting { contender: flags.contender, folder: folder.path(), sums: Mutex::new(None) };
    let (clock, report) = match flags.table.as_slice() {
        [table] => {
            // Planned before the clock starts, as the drains are; with many tables, planning is what is
            // measured.
            let run = source.table(table).options(exporting.options(flags.connections)).open()?;
            exporting.begin(flags, run.schema());
            (Clock::start(), exporting.one(run)?)
        }
        tables => {
            let clock = Clock::start();
            let run = source.tables(tables).options(exporting.options(flags.connections)).open()?;
            exporting.begin(flags, run.plans().first().ok_or("no table")?.schema());
            (clock, exporting.many(run)?)
        }
    };
    if flags.contender.read_mode() == ReadMode::Pages {
        check_pages(&report)?;
    }
    let bytes = match flags.contender.is_arrow() {
        false => report.files.iter().map(|file| file.bytes).sum(),
        true => report.wire_bytes,
    };
    let mut outcome = clock.stop(report.rows, bytes);
    if flags.check {
        outcome.sums = Some(exporting.read_back()?);
    }
    Ok(outcome)
}

/// A run by pages must read pages: tables are all-visible, and at most some pages have values out of line.
fn check_pages(report: &Report) -> Result<()> {
    match &report.pages {
        Some(pages) if pages.read >= 9 * pages.copied => Ok(()),
        pages => Err(format!("the table was not read by pages: {pages:?}").into()),
    }
}

/// What happens to the batches.
struct Exporting<'a> {
    contender: Ours,
    folder: &'a Path,
    /// Added up only if the answer is checked.
    sums: Mutex<Option<Sums>>,
}

impl Exporting<'_> {
    fn options(&self, connections: usize) -> ExportOptions {
        let mode = self.contender.read_mode();
        let options = ExportOptions::default().with_readers(connections).with_read_mode(mode);
        if self.is_parquet() { options.with_interval(IntervalForm::Struct) } else { options }
    }

    fn is_parquet(&self) -> bool {
        matches!(self.contender, Ours::Parquet | Ours::PagesParquet)
    }

    fn begin(&self, flags: &ChildFlags, schema: &Schema) {
        if let (true, Ok(mut sums)) = (flags.check, self.sums.lock()) {
            *sums = Some(Sums::new(schema));
        }
    }

    fn one(&self, run: Run) -> Result<Report> {
        if self.contender.is_arrow() {
            return Ok(run.for_each_concurrently(|batch| self.consume(&batch))?);
        }
        let sink = self.sink(run.plan())?;
        Ok(run.write_to(sink)?)
    }

    fn many(&self, run: Run) -> Result<Report> {
        if self.contender.is_arrow() {
            return Ok(run.for_each_with_plan(|_, batch| self.consume(&batch))?);
        }
        Ok(run.write_each(|plan| self.sink(plan))?)
    }

    fn consume(&self, batch: &RecordBatch) -> pgarrow::Result<()> {
        self.add(batch);
        Ok(())
    }

    fn sink(&self, plan: &Plan) -> std::result::Result<Box<dyn Sink>, SinkError> {
        let output = Output::file(self.folder.join(plan.subject()), false)?;
        let schema = plan.schema().clone();
        Ok(match self.contender {
            Ours::Ipc => Box::new(IpcSink::create(output, schema, IpcOptions::default())?),
            _ => Box::new(ParquetSink::create(output, schema, ParquetOptions::default())?),
        })
    }

    fn add(&self, batch: &RecordBatch) {
        if let Ok(mut sums) = self.sums.lock()
            && let Some(sums) = sums.as_mut()
        {
            sums.add(batch);
        }
    }

    /// The sums of the batches; for files, the files are read back.
    fn read_back(self) -> Result<Vec<ColumnSum>> {
        use arrow_ipc::reader::FileReader;
        use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

        for entry in std::fs::read_dir(self.folder)? {
            let entry = entry?;
            // The manifest of a folder of files.
            if entry.file_name().as_encoded_bytes().starts_with(b"_") {
                continue;
            }
            let file = File::open(entry.path())?;
            match self.contender {
                Ours::Ipc => {
                    for batch in FileReader::try_new_buffered(file, None)? {
                        self.add(&batch?);
                    }
                }
                _ => {
                    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
                        self.add(&batch?);
                    }
                }
            }
        }
        let sums = self.sums.into_inner().map_err(|_| "a reader's thread panicked")?;
        Ok(sums.ok_or("nothing was added up")?.finish())
    }
}

/// Wall and CPU time since a moment: for exports, since the connection is made and the export planned.
pub(crate) struct Clock {
    started: Instant,
    cpu_seconds: f64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), cpu_seconds: ProcessUsage::now().cpu_seconds }
    }

    /// Wall time so far.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub(crate) fn stop(self, rows: u64, bytes: u64) -> Outcome {
        let wall_seconds = self.started.elapsed().as_secs_f64();
        let ProcessUsage { cpu_seconds, peak_memory_bytes } = ProcessUsage::now();
        Outcome {
            rows,
            wall_seconds,
            cpu_seconds: cpu_seconds - self.cpu_seconds,
            peak_bytes: peak_memory_bytes,
            bytes,
            start_seconds: 0.0,
            encode_seconds: None,
            beyond_bytes: None,
            sums: None,
        }
    }
}

/// Wall time since a moment, with CPU time and peak memory of the children that were waited for.
pub(crate) struct ChildrenClock {
    started: Instant,
    cpu_seconds: f64,
}

impl ChildrenClock {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { cpu_seconds: Self::usage()?.0, started: Instant::now() })
    }

    pub(crate) fn stop(self) -> Result<Outcome> {
        let wall_seconds = self.started.elapsed().as_secs_f64();
        let (cpu_seconds, peak_bytes) = Self::usage()?;
        Ok(Outcome {
            rows: 0,
            wall_seconds,
            cpu_seconds: cpu_seconds - self.cpu_seconds,
            peak_bytes,
            bytes: 0,
            start_seconds: 0.0,
            encode_seconds: None,
            beyond_bytes: None,
            sums: None,
        })
    }

    /// CPU time of all children, and the peak memory of the largest, in bytes.
    fn usage() -> Result<(f64, u64)> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
        let cpu_seconds = seconds(usage.user_time()) + seconds(usage.system_time());
        // In KiB: getrusage(2).
        Ok((cpu_seconds, u64::try_from(usage.max_rss())? * 1024))
    }
}
