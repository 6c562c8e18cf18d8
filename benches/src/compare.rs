//! Two revisions of the command, in turn, on the same tables.

use std::path::Path;

use crate::revision::Revision;
use crate::rounds::RoundFlags;
use crate::server::{Database, ServerFlags};
use crate::verdict::{Change, TOTAL, Times, Verdict, changes, times};
use crate::{Result, command};

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// The revision to compare with, as git names it
    ref_a: String,
    /// The revision that may be worse
    ref_b: String,
    /// Rows of lineitem; other tables have as many in proportion
    #[arg(default_value_t = 1_500_000)]
    rows: u64,
    /// Only these workloads
    #[arg(long, value_delimiter = ',', default_values = ["lineitem", "five", "text"])]
    only: Vec<String>,
    /// What to make of the rows: names of the command's --to
    #[arg(long, value_delimiter = ',', default_values = ["none", "parquet", "ipc"])]
    to: Vec<String>,
    /// Counted rounds, after one that is not
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Flags for `pgarrow export` of both, behind --
    #[arg(last = true)]
    flags: Vec<String>,
}

/// A program whose exports are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    pub(crate) program: &'a Path,
    pub(crate) flags: &'a [String],
}

/// Compares the revisions. Returns whether B is not worse than A.
pub(crate) fn run(flags: &CompareFlags) -> Result<bool> {
    let mut rounds = RoundFlags::smoke("");
    rounds.only.clone_from(&flags.only);
    let workloads = rounds.workloads(&[])?;
    if let Some(many) = workloads.iter().find(|workload| workload.is_many()) {
        return Err(format!("{}: one table in a run is compared", many.name).into());
    }
    let (a, b) = (Revision::build(&flags.ref_a)?, Revision::build(&flags.ref_b)?);
    println!("A is {} ({}), B is {} ({})", a.name, a.hash, b.name, b.hash);
    let sides = [&a, &b].map(|revision| Side { program: &revision.program, flags: &flags.flags });
    let mut database = Database::open(&flags.server)?;
    let scale = flags.rows as f64 / 6_001_215.0;
    let mut all = Vec::new();
    for workload in workloads {
        let prepared = workload.prepare(&mut database, scale)?;
        let table = prepared.tables.first().ok_or("a workload without tables")?;
        for to in &flags.to {
            let title = format!("{} → {to}", workload.name);
            let changes = measure(&mut database, table, to, sides, flags.rounds)?;
            print(&title, &changes);
            all.extend(changes);
        }
    }
    let worse = all.iter().filter(|change| change.verdict == Verdict::Worse).count();
    println!(
        "\n{}",
        if worse == 0 { "B is not worse than A".to_owned() } else { format!("B is worse: {worse}") }
    );
    Ok(worse == 0)
}

/// The changes of one export. Rounds are interleaved, and every other round begins with B.
pub(crate) fn measure(
    database: &mut Database,
    table: &str,
    to: &str,
    [a, b]: [Side<'_>; 2],
    rounds: usize,
) -> Result<Vec<Change>> {
    let rows = database.value(&format!("SELECT count(*)::text FROM {table}"))?.ok_or("no count")?.parse()?;
    let url = database.url().to_owned();
    let (mut a_times, mut b_times) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (first, second) = if round % 2 == 0 { (a, b) } else { (b, a) };
        let (first, second) = (export(first, &url, table, to, rows)?, export(second, &url, table, to, rows)?);
        let (from_a, from_b) = if round % 2 == 0 { (first, second) } else { (second, first) };
        // The first round warms up.
        if round > 0 {
            a_times.push(from_a);
            b_times.push(from_b);
        }
    }
    Ok(changes(&a_times, &b_times))
}

/// One run of the command; the times are from its report.
fn export(side: Side<'_>, url: &str, table: &str, to: &str, rows: u64) -> Result<Times> {
    times(&command::export(side.program, url, table, to, side.flags, rows)?)
        .ok_or_else(|| "a report without seconds".into())
}

fn print(title: &str, changes: &[Change]) {
    println!("\n{title}\n{:<24} {:>10} {:>10} {:>9} {:>9}", "", "A, s", "B, s", "change", "noise");
    for change in changes {
        let name = if change.name == TOTAL { TOTAL.to_owned() } else { format!("  {}", change.name) };
        let (ratio, noise) = (change.ratio() * 100.0, change.noise_seconds / change.a_seconds * 100.0);
        let (ratio, noise, remark) = match change.verdict {
            Verdict::Same => (format!("{ratio:+.1} %"), format!("{noise:.1} %"), ""),
            Verdict::Better => (format!("{ratio:+.1} %"), format!("{noise:.1} %"), "better"),
            Verdict::Worse => (format!("{ratio:+.1} %"), format!("{noise:.1} %"), "WORSE"),
            Verdict::Unknown => (String::new(), String::new(), "in one of them only"),
        };
        println!(
            "{name:<24} {:>10.4} {:>10.4} {ratio:>9} {noise:>9}  {remark}",
            change.a_seconds, change.b_seconds
        );
    }
}
