//! Rows into a table: pgarrow beside `psql \copy` of the same rows from a binary file, beside other programs,
//! and from server to server.
//!
//! ```text
//!  bench_load_* ─▶ rows.bin (COPY), rows.arrow, rows.parquet ─▶ each loader in turn ─▶ empty bench_loaded
//! ```

use std::path::{Path, PathBuf};

use crate::load_table::{EMPTY, Rows};
use crate::loaders::{Programs, Run, loaders};
use crate::rivals::{packages, venv};
use crate::rounds::{Group, Measured};
use crate::server::{Database, ServerFlags};
use crate::stats::{median, range};
use crate::workloads::{WORKLOADS, Workload};
use crate::{Result, folders, record};

/// The numbers of rows of small and large loads and exports.
pub(crate) const SIZES: [u64; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LoadFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', default_values = ["five", "lineitem", "text"])]
    only: Vec<String>,
    /// Rows of the tables
    #[arg(long, value_delimiter = ',', default_values_t = SIZES)]
    rows: Vec<u64>,
    /// Counted rounds, after one in which the tables are compared
    #[arg(long = "rounds", default_value_t = 9)]
    n_rounds: usize,
    /// A Python with the packages of benches/rivals/requirements.txt. Default: one is made under the target
    /// folder
    #[arg(long)]
    python: Option<PathBuf>,
    /// Leave out all but psql and pgarrow
    #[arg(long)]
    no_rivals: bool,
    /// The psql to measure. Default: the one of the private server's installation, else that of the PATH
    #[arg(long)]
    psql: Option<PathBuf>,
    /// Where to write the results, as JSON: a folder such as benches/record
    #[arg(long)]
    record: Option<PathBuf>,
}

impl LoadFlags {
    /// Tiny tables on an existing server.
    pub(crate) fn smoke(url: &str, psql: &Path, record: &Path, python: Option<&Path>) -> Self {
        Self {
            server: ServerFlags { url: Some(url.to_owned()) },
            // All types of the suite.
            only: ["five", "lineitem", "text", "mixed", "arrays_jsonb"].map(str::to_owned).into(),
            rows: vec![1_000],
            n_rounds: 1,
            python: python.map(Path::to_owned),
            no_rivals: python.is_none(),
            psql: Some(psql.to_owned()),
            record: Some(record.to_owned()),
        }
    }
}

pub(crate) fn run(flags: &LoadFlags) -> Result<()> {
    let python = match (&flags.python, flags.no_rivals) {
        (_, true) => None,
        (Some(python), false) => Some(python.clone()),
        (None, false) => Some(venv()?),
    };
    let workloads = flags.only.iter().map(|name| {
        let workload = WORKLOADS.iter().find(|workload| workload.name == name && !workload.is_many());
        workload.ok_or_else(|| format!("there is no workload {name} of one table"))
    });
    let workloads = workloads.collect::<std::result::Result<Vec<_>, _>>()?;
    let mut database = Database::open(&flags.server)?;
    let psql = flags.psql.clone().unwrap_or_else(|| database.psql());
    let program = folders::installed(&std::env::current_exe()?)?;
    let programs = Programs { psql: &psql, python: python.as_deref(), own: &program };
    let mut groups = Vec::new();
    for workload in workloads {
        for rows in &flags.rows {
            groups.push(measure(&mut database, workload, *rows, flags.n_rounds, programs)?);
        }
    }
    let mut versions = record::versions(&mut database)?;
    versions.extend(record::version_of_psql(&psql)?);
    if let Some(python) = &python {
        versions.extend(packages(python)?);
    }
    record::write(flags.record.as_deref(), "load", versions, &groups)
}

fn measure(
    database: &mut Database,
    workload: &Workload,
    rows: u64,
    n_rounds: usize,
    programs: Programs<'_>,
) -> Result<Group> {
    let rows = Rows::prepare(database, workload, rows, programs.psql)?;
    let url = database.url().to_owned();
    let run = Run { url: &url, rows: &rows, programs };
    let mut group = Group {
        workload: workload.name.to_owned(),
        scale: rows.count as f64 / workload.rows_at_1(),
        rows: rows.count,
        tables: 1,
        connections: 1,
        copy_bytes: rows.copy_bytes()?,
        contenders: Vec::new(),
        left_out: Vec::new(),
    };
    let mut kept = Vec::new();
    for loader in loaders(programs.python.is_some()) {
        if let Some(max) = loader.rows_max().filter(|max| rows.count > *max) {
            group.left_out.push(format!("{}: more than {max} rows would take it too long", loader.name()));
            continue;
        }
        database.execute(EMPTY)?;
        match run.run(loader).and_then(|_| rows.compare(database)) {
            Ok(()) => {
                group.contenders.push(Measured::named(loader.name(), rows.columns));
                kept.push(loader);
            }
            Err(error) => {
                let text = format!("{} on {}: {error}", loader.name(), workload.name);
                if !loader.is_rival() {
                    return Err(text.into());
                }
                // A rival may lack a type. If its rows are wrong, it is not measured either.
                group.left_out.push(text);
            }
        }
    }
    for _ in 0..n_rounds {
        for (loader, measured) in kept.iter().zip(&mut group.contenders) {
            database.execute(EMPTY)?;
            database.execute("CHECKPOINT")?;
            let before = database.backends_cpu_seconds()?;
            let outcome = run.run(*loader).map_err(|error| format!("{}: {error}", loader.name()))?;
            measured.add(&outcome);
            if let (Some(before), Some(after)) = (before, database.backends_cpu_seconds()?) {
                measured.server_cpu_seconds.push(after - before);
            }
            rows.count_again(database).map_err(|error| format!("{}: {error}", loader.name()))?;
        }
    }
    group.fill_rates();
    print(&group);
    Ok(group)
}

/// The loader that this one is compared with.
pub(crate) fn limit_of<'a>(group: &'a Group, measured: &Measured) -> Option<&'a Measured> {
    let limit = crate::loaders::limit_of(&measured.contender);
    group.contenders.iter().find(|measured| measured.contender == limit)
}

/// The median of the time after starting and connecting.
pub(crate) fn loading_seconds(measured: &Measured) -> f64 {
    let starts = measured.start_seconds.iter().chain(std::iter::repeat(&0.0));
    median(&measured.wall_seconds.iter().zip(starts).map(|(wall, start)| wall - start).collect::<Vec<_>>())
}

/// The server's CPU time of each round; none if its unit, a hundredth of a second, is too coarse.
pub(crate) fn server_cpu_seconds(measured: &Measured) -> &[f64] {
    const LEAST: f64 = 0.1;
    let seconds = measured.server_cpu_seconds.as_slice();
    if median(seconds) < LEAST { &[] } else { seconds }
}

fn print(group: &Group) {
    println!("\nload {}: {} rows", group.workload, group.rows);
    println!(
        "{:<27} {:>9} {:>15} {:>7} {:>9} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "",
        "wall s",
        "min … max",
        "÷ psql",
        "load s",
        "÷ psql",
        "µs/row",
        "encode",
        "server",
        "peak MiB",
        "Mrows/s",
        "MB/s"
    );
    for measured in &group.contenders {
        let (low, high) = range(&measured.wall_seconds);
        let (wall, loading) = (median(&measured.wall_seconds), loading_seconds(measured));
        let per_row = |seconds: &[f64]| match seconds {
            [] => String::new(),
            seconds => format!("{:.3}", median(seconds) * 1e6 / group.rows.max(1) as f64),
        };
        let limit = limit_of(group, measured);
        let ratio = |ours: f64, of: fn(&Measured) -> f64| limit.map_or(f64::NAN, |limit| ours / of(limit));
        println!(
            "{:<27} {:>9.4} {:>15} {:>7.3} {:>9.4} {:>7.3} {:>9} {:>9} {:>9} {:>9.1} {:>9.3} {:>7}",
            measured.contender,
            wall,
            format!("{low:.3} … {high:.3}"),
            ratio(wall, |limit| median(&limit.wall_seconds)),
            loading,
            ratio(loading, loading_seconds),
            per_row(&measured.cpu_seconds),
            per_row(&measured.encode_seconds),
            per_row(server_cpu_seconds(measured)),
            measured.peak_bytes as f64 / f64::from(1 << 20),
            measured.rows_per_second / 1e6,
            measured.megabytes_per_second.map_or_else(String::new, |rate| format!("{rate:.0}")),
        );
    }
    for text in &group.left_out {
        println!("left out: {text}");
    }
}
