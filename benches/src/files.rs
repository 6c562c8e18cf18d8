//! One connection into files, beside the rivals that are installed.
//!
//! A rival is a Python script in `benches/rivals/` whose pinned packages are installed in the interpreter that
//! `--python` names. It reads the same table into the same kind of file and prints the same outcome.

use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use crate::Result;
use crate::contender::{Contender, Outcome, outcome};
use crate::server::{Database, ServerFlags};
use crate::stats::{median, range};
use crate::{record, verify, workloads};

/// How much is measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FilesFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', default_value = "lineitem")]
    only: Vec<String>,
    /// Of the tables; 1 is six million lineitems
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Counted rounds, after one that is not
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A Python with the packages of benches/rivals/requirements.txt; without it no rivals run
    #[arg(long)]
    python: Option<PathBuf>,
    /// Where to write the results as JSON
    #[arg(long)]
    record: Option<PathBuf>,
}

impl FilesFlags {
    pub(crate) fn smoke() -> Self {
        let only = workloads::WORKLOADS.iter().map(|workload| workload.name.to_owned()).collect();
        let server = ServerFlags { url: None };
        Self { server, only, scale: 0.002, rounds: 1, python: None, record: None }
    }
}

/// Ours, and the rivals' scripts.
const RIVALS: [(&str, &str); 4] = [
    ("DuckDB → Arrow", "duckdb_arrow"),
    ("DuckDB → Parquet", "duckdb_parquet"),
    ("ADBC → Arrow", "adbc_arrow"),
    ("ConnectorX → Arrow", "connectorx_arrow"),
];

#[derive(Debug, Serialize)]
struct FilesResult {
    workload: &'static str,
    contender: String,
    wall_seconds: Vec<f64>,
    cpu_seconds: Vec<f64>,
    wall_to_fair_drain: f64,
    peak_mib: f64,
    bytes: u64,
}

pub(crate) fn run(flags: &FilesFlags) -> Result<()> {
    let ours = [Contender::FairDrain, Contender::Arrow, Contender::Parquet, Contender::Ipc];
    let mut database = Database::open(&flags.server)?;
    let mut results = Vec::new();
    for workload in workloads::WORKLOADS {
        if !flags.only.iter().any(|name| name == workload.name) {
            continue;
        }
        workload.prepare(&mut database, flags.scale)?;
        let table = workload.table(flags.scale);
        let rows = verify::table(&mut database, &table)?;
        let mut names: Vec<String> = ours.iter().map(|contender| contender.name().to_owned()).collect();
        if flags.python.is_some() {
            names.extend(RIVALS.iter().map(|(name, _)| (*name).to_owned()));
        }
        let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); names.len()];
        for round in 0..=flags.rounds {
            for (index, (name, outcomes)) in names.iter().zip(&mut outcomes).enumerate() {
                let outcome =
                    match (ours.get(index), &flags.python, RIVALS.get(index.saturating_sub(ours.len()))) {
                        (Some(contender), _, _) => contender.run(database.url(), &table)?,
                        (None, Some(python), Some((_, script))) => {
                            let script = format!("{}/rivals/{script}.py", env!("CARGO_MANIFEST_DIR"));
                            outcome(Command::new(python).args([&script, database.url(), &table]))?
                        }
                        _ => continue,
                    };
                if outcome.rows != rows {
                    return Err(format!("{name}: {} rows of {rows}", outcome.rows).into());
                }
                if round > 0 {
                    outcomes.push(outcome);
                }
            }
        }
        let fair = median(&seconds(outcomes.first().map(Vec::as_slice).unwrap_or_default()));
        println!("\n{}: {rows} rows, one connection", workload.name);
        println!(
            "{:<20} {:>9} {:>15} {:>9} {:>9} {:>9} {:>9}",
            "", "wall s", "min … max", "÷ fair", "cpu s", "peak MiB", "MB"
        );
        for (contender, outcomes) in names.into_iter().zip(outcomes) {
            let wall_seconds = seconds(&outcomes);
            let cpu_seconds: Vec<f64> = outcomes.iter().map(|outcome| outcome.cpu_seconds).collect();
            let peak = outcomes.iter().map(|outcome| outcome.peak_bytes).max().unwrap_or(0);
            let result = FilesResult {
                workload: workload.name,
                contender,
                wall_to_fair_drain: median(&wall_seconds) / fair,
                peak_mib: peak as f64 / f64::from(1 << 20),
                bytes: outcomes.first().map_or(0, |outcome| outcome.bytes),
                wall_seconds,
                cpu_seconds,
            };
            let (low, high) = range(&result.wall_seconds);
            println!(
                "{:<20} {:>9.3} {:>15} {:>9.3} {:>9.3} {:>9.1} {:>9.1}",
                result.contender,
                median(&result.wall_seconds),
                format!("{low:.2} … {high:.2}"),
                result.wall_to_fair_drain,
                median(&result.cpu_seconds),
                result.peak_mib,
                result.bytes as f64 / 1e6,
            );
            results.push(result);
        }
    }
    record::write(flags.record.as_deref(), "files", &results)
}

fn seconds(outcomes: &[Outcome]) -> Vec<f64> {
    outcomes.iter().map(|outcome| outcome.wall_seconds).collect()
}
