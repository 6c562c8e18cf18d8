//! Exports of few rows and many, as whole commands from their start to their end: pgarrow beside `psql \copy`
//! of the same table, followed by `sync` of the file, since pgarrow's files are on the disk when it ends.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use arrow_ipc::reader::FileReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::child::ChildrenClock;
use crate::contender::{Outcome, outcome};
use crate::load::SIZES;
use crate::load_table::Rows;
use crate::rounds::{Group, Measured};
use crate::server::{Database, ServerFlags};
use crate::stats::{median, range};
use crate::workloads::{WORKLOADS, Workload};
use crate::{Result, folders, record};

/// The kind of these records.
pub(crate) const KIND: &str = "sizes";
/// The limit.
pub(crate) const PSQL: &str = "psql \\copy, binary, sync";

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SizesFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// The command
    #[arg(long, default_value = "target/release/pgarrow")]
    program: PathBuf,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', default_values = ["five", "lineitem", "text"])]
    only: Vec<String>,
    /// Rows of the tables
    #[arg(long, value_delimiter = ',', default_values_t = SIZES)]
    rows: Vec<u64>,
    /// Counted rounds, after one that is not
    #[arg(long = "rounds", default_value_t = 9)]
    n_rounds: usize,
    /// The psql to measure. Default: the one of the private server's installation, else that of the PATH
    #[arg(long)]
    psql: Option<PathBuf>,
    /// Where to write the results, as JSON: a folder such as benches/record
    #[arg(long)]
    record: Option<PathBuf>,
}

impl SizesFlags {
    /// Tiny tables on an existing server.
    pub(crate) fn smoke(url: &str, program: &Path, record: &Path) -> Self {
        Self {
            server: ServerFlags { url: Some(url.to_owned()) },
            program: program.to_owned(),
            only: vec!["five".to_owned()],
            rows: vec![100, 1_000],
            n_rounds: 1,
            psql: None,
            record: Some(record.to_owned()),
        }
    }
}

/// The commands to run, and to measure together.
#[derive(Debug, clap::Args)]
pub(crate) struct CommandsFlags {
    /// Programs with their arguments, as JSON: a list of lists
    commands: String,
}

/// Runs the commands one after the other and prints their outcome as JSON. It has no rows.
pub(crate) fn run_commands(flags: &CommandsFlags) -> Result<()> {
    let commands: Vec<Vec<String>> = serde_json::from_str(&flags.commands)?;
    let clock = ChildrenClock::start()?;
    for command in &commands {
        let (program, arguments) = command.split_first().ok_or("a command without a program")?;
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{program} failed with {}: {}", output.status, stderr.trim()).into());
        }
    }
    println!("{}", serde_json::to_string(&clock.stop()?)?);
    Ok(())
}

/// A way to a file.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    /// The file's ending: it decides about pgarrow's format.
    ending: &'static str,
    /// `--read-mode`; none: psql.
    read_mode: Option<&'static str>,
}

const WAYS: [Way; 5] = [
    Way { name: PSQL, ending: "bin", read_mode: None },
    Way { name: "psql \\copy, csv, sync", ending: "csv", read_mode: None },
    Way { name: "pgarrow → Parquet", ending: "parquet", read_mode: Some("copy") },
    Way { name: "pgarrow → IPC", ending: "arrow", read_mode: Some("copy") },
    Way { name: "auto → IPC", ending: "arrow", read_mode: Some("auto") },
];

impl Way {
    /// The commands that write the table into the file.
    fn commands(
        self,
        flags: &SizesFlags,
        psql: &Path,
        url: &str,
        table: &str,
        file: &str,
    ) -> Vec<Vec<String>> {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        match self.read_mode {
            Some(read_mode) => {
                let program = flags.program.to_string_lossy();
                let flags = ["export", url, "--quiet", "--table", table, "--read-mode", read_mode];
                vec![[texts(&[&program]), texts(&flags), texts(&["--output", file])].concat()]
            }
            None => {
                let format = if self.ending == "csv" { "csv" } else { "binary" };
                let copy = format!("\\copy {table} to '{file}' (format {format})");
                let psql = psql.to_string_lossy();
                vec![texts(&[&psql, "-X", "-q", "-c", &copy, url]), texts(&["sync", file])]
            }
        }
    }

    /// How many rows the file has.
    fn rows(self, file: &Path, rows: &Rows) -> Result<u64> {
        match self.ending {
            "parquet" => {
                let file = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
                Ok(u64::try_from(file.metadata().file_metadata().num_rows())?)
            }
            "arrow" => {
                let mut count = 0;
                for batch in FileReader::try_new_buffered(File::open(file)?, None)? {
                    count += batch?.num_rows() as u64;
                }
                Ok(count)
            }
            // The same bytes as before are the same rows.
            "bin" => Ok(if std::fs::metadata(file)?.len() == rows.copy_bytes()? { rows.count } else { 0 }),
            _ => Ok(std::fs::read(file)?.iter().filter(|byte| **byte == b'\n').count() as u64),
        }
    }

    fn run(self, flags: &SizesFlags, psql: &Path, url: &str, rows: &Rows) -> Result<Outcome> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join(format!("out.{}", self.ending));
        let path = file.to_str().ok_or("a folder whose name is not text")?;
        let commands = self.commands(flags, psql, url, &rows.table, path);
        let mut child = Command::new(std::env::current_exe()?);
        child.arg("commands").arg(OsString::from(serde_json::to_string(&commands)?));
        let outcome = outcome(&mut child)?;
        let found = self.rows(&file, rows)?;
        if found != rows.count {
            return Err(format!("{} has {found} rows of {}", self.name, rows.count).into());
        }
        Ok(Outcome { rows: found, bytes: std::fs::metadata(&file)?.len(), ..outcome })
    }
}

pub(crate) fn run(flags: &SizesFlags) -> Result<()> {
    let flags = &SizesFlags { program: folders::installed(&flags.program)?, ..flags.clone() };
    let workloads = flags.only.iter().map(|name| {
        let workload = WORKLOADS.iter().find(|workload| workload.name == name && !workload.is_many());
        workload.ok_or_else(|| format!("there is no workload {name} of one table"))
    });
    let workloads = workloads.collect::<std::result::Result<Vec<_>, _>>()?;
    let mut database = Database::open(&flags.server)?;
    // Without it, the way that the command chooses is COPY.
    database.execute("CREATE EXTENSION IF NOT EXISTS pageinspect")?;
    let psql = flags.psql.clone().unwrap_or_else(|| database.psql());
    let mut groups = Vec::new();
    for workload in workloads {
        for rows in &flags.rows {
            groups.push(measure(&mut database, workload, *rows, flags, &psql)?);
        }
    }
    let mut versions = record::versions(&mut database)?;
    versions.extend(record::version_of_psql(&psql)?);
    record::write(flags.record.as_deref(), KIND, versions, &groups)
}

fn measure(
    database: &mut Database,
    workload: &Workload,
    rows: u64,
    flags: &SizesFlags,
    psql: &Path,
) -> Result<Group> {
    let rows = Rows::prepare(database, workload, rows, psql)?;
    let url = database.url().to_owned();
    let mut contenders = WAYS.map(|way| Measured::named(way.name, 0));
    for round in 0..=flags.n_rounds {
        for (way, measured) in WAYS.iter().zip(&mut contenders) {
            let before = database.backends_cpu_seconds()?;
            let outcome =
                way.run(flags, psql, &url, &rows).map_err(|error| format!("{}: {error}", way.name))?;
            // The first round warms up.
            if round > 0 {
                measured.add(&outcome);
                if let (Some(before), Some(after)) = (before, database.backends_cpu_seconds()?) {
                    measured.server_cpu_seconds.push(after - before);
                }
            }
        }
    }
    let mut group = Group {
        workload: workload.name.to_owned(),
        scale: rows.count as f64 / workload.rows_at_1(),
        rows: rows.count,
        tables: 1,
        connections: 1,
        copy_bytes: rows.copy_bytes()?,
        contenders: contenders.into(),
        left_out: Vec::new(),
    };
    group.fill_rates();
    print(&group);
    Ok(group)
}

/// The time of the limit.
pub(crate) fn limit_seconds(group: &Group) -> Option<f64> {
    let limit = group.contenders.iter().find(|measured| measured.contender == PSQL)?;
    Some(median(&limit.wall_seconds))
}

fn print(group: &Group) {
    let limit = limit_seconds(group).unwrap_or(f64::NAN);
    println!("\nexport {}: {} rows, whole commands", group.workload, group.rows);
    println!(
        "{:<26} {:>9} {:>15} {:>7} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "", "wall s", "min … max", "÷ psql", "cpu s", "peak MiB", "MB", "Mrows/s", "MB/s"
    );
    for measured in &group.contenders {
        let (low, high) = range(&measured.wall_seconds);
        let wall = median(&measured.wall_seconds);
        println!(
            "{:<26} {:>9.4} {:>15} {:>7.3} {:>9.4} {:>9.1} {:>9.2} {:>9.3} {:>7}",
            measured.contender,
            wall,
            format!("{low:.3} … {high:.3}"),
            wall / limit,
            median(&measured.cpu_seconds),
            measured.peak_bytes as f64 / f64::from(1 << 20),
            measured.bytes as f64 / 1e6,
            measured.rows_per_second / 1e6,
            measured.megabytes_per_second.map_or_else(String::new, |rate| format!("{rate:.0}")),
        );
    }
}
