//! One connection, end to end: pgarrow beside the plain and the fair drain of the same COPY.
//!
//! Contenders take turns, round by round, so that whatever else the machine does meets all of them. The fair drain
//! is the limit: nothing that reads the COPY can be faster.

use std::path::PathBuf;

use serde::Serialize;

use crate::Result;
use crate::contender::{Contender, Outcome};
use crate::server::{Database, ServerFlags};
use crate::stats::{median, range};
use crate::{record, verify, workloads};

/// How much is measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WireFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// Only these workloads
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Of the tables; 1 is six million lineitems
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Counted rounds, after one that is not
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Where to write the results as JSON
    #[arg(long)]
    record: Option<PathBuf>,
}

impl WireFlags {
    pub(crate) fn smoke() -> Self {
        Self { server: ServerFlags { url: None }, only: Vec::new(), scale: 0.002, rounds: 1, record: None }
    }
}

#[derive(Debug, Serialize)]
struct WorkloadResult {
    workload: &'static str,
    rows: u64,
    contenders: Vec<ContenderResult>,
}

#[derive(Debug, Serialize)]
struct ContenderResult {
    contender: &'static str,
    wall_seconds: Vec<f64>,
    cpu_seconds: Vec<f64>,
    wall_to_fair_drain: f64,
    cpu_to_fair_drain: f64,
    cpu_micros_a_row: f64,
    peak_mib: f64,
}

pub(crate) fn run(flags: &WireFlags) -> Result<()> {
    const CONTENDERS: [Contender; 3] = [Contender::PlainDrain, Contender::FairDrain, Contender::Arrow];
    let mut database = Database::open(&flags.server)?;
    let mut results = Vec::new();
    for workload in workloads::WORKLOADS {
        if !flags.only.is_empty() && !flags.only.iter().any(|name| name == workload.name) {
            continue;
        }
        workload.prepare(&mut database, flags.scale)?;
        let table = workload.table(flags.scale);
        let rows = verify::table(&mut database, &table)?;
        let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); CONTENDERS.len()];
        for round in 0..=flags.rounds {
            for (contender, outcomes) in CONTENDERS.iter().zip(&mut outcomes) {
                let outcome = contender.run(database.url(), &table)?;
                if outcome.rows != rows {
                    return Err(format!("{}: {} rows of {rows}", contender.name(), outcome.rows).into());
                }
                if round > 0 {
                    outcomes.push(outcome);
                }
            }
        }
        let result = WorkloadResult {
            workload: workload.name,
            rows,
            contenders: summarise(&CONTENDERS, &outcomes, rows),
        };
        print(&result);
        results.push(result);
    }
    record::write(flags.record.as_deref(), "wire", &results)
}

fn summarise(contenders: &[Contender], outcomes: &[Vec<Outcome>], rows: u64) -> Vec<ContenderResult> {
    let of =
        |outcomes: &[Outcome], value: fn(&Outcome) -> f64| outcomes.iter().map(value).collect::<Vec<f64>>();
    let fair = contenders.iter().position(|contender| *contender == Contender::FairDrain);
    let fair = fair.and_then(|index| outcomes.get(index)).map(Vec::as_slice).unwrap_or_default();
    let fair_wall = median(&of(fair, |outcome| outcome.wall_seconds));
    let fair_cpu = median(&of(fair, |outcome| outcome.cpu_seconds));
    let results = contenders.iter().zip(outcomes).map(|(contender, outcomes)| {
        let wall_seconds = of(outcomes, |outcome| outcome.wall_seconds);
        let cpu_seconds = of(outcomes, |outcome| outcome.cpu_seconds);
        ContenderResult {
            contender: contender.name(),
            wall_to_fair_drain: median(&wall_seconds) / fair_wall,
            cpu_to_fair_drain: median(&cpu_seconds) / fair_cpu,
            cpu_micros_a_row: median(&cpu_seconds) * 1e6 / rows as f64,
            peak_mib: range(&of(outcomes, |outcome| outcome.peak_bytes as f64)).1 / f64::from(1 << 20),
            wall_seconds,
            cpu_seconds,
        }
    });
    results.collect()
}

fn print(result: &WorkloadResult) {
    println!("\n{}: {} rows, one connection", result.workload, result.rows);
    println!(
        "{:<18} {:>9} {:>15} {:>9} {:>9} {:>9} {:>10} {:>9}",
        "", "wall s", "min … max", "÷ fair", "cpu s", "÷ fair", "cpu µs/row", "peak MiB"
    );
    for contender in &result.contenders {
        let (low, high) = range(&contender.wall_seconds);
        println!(
            "{:<18} {:>9.3} {:>15} {:>9.3} {:>9.3} {:>9.2} {:>10.3} {:>9.1}",
            contender.contender,
            median(&contender.wall_seconds),
            format!("{low:.2} … {high:.2}"),
            contender.wall_to_fair_drain,
            median(&contender.cpu_seconds),
            contender.cpu_to_fair_drain,
            contender.cpu_micros_a_row,
            contender.peak_mib,
        );
    }
}
