//! Two revisions of the command, in turn, on the same tables and files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::command::Prepared;
use crate::compare_instructions as counted;
use crate::load_table::{EMPTY, LOADED, Rows};
use crate::revision::Revision;
use crate::rounds::RoundFlags;
use crate::server::{Database, ServerFlags};
use crate::verdict::{Change, TOTAL, Times, Verdict, WHOLE, changes, times};
use crate::workloads::Workload;
use crate::{Result, instructions};

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// The revision to compare with, as git names it; or a program, if it has a slash: ./pgarrow
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
    /// What to load, the same file for both: parquet, ipc
    #[arg(long, value_delimiter = ',', default_values = ["parquet", "ipc"])]
    load: Vec<LoadFrom>,
    /// Leave exports out
    #[arg(long)]
    no_exports: bool,
    /// Leave loads out
    #[arg(long)]
    no_loads: bool,
    /// Counted rounds, after one that is not; 0 with --instructions if time is not to be measured
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Count instructions, too, of exports by COPY, by pages and by SELECT, and of loads: a machine may be
    /// noisy, these are not. By the processor (perf), or by valgrind, which takes some minutes
    #[arg(long)]
    instructions: bool,
    /// Flags for `pgarrow export` of both, behind --
    #[arg(last = true)]
    flags: Vec<String>,
}

/// The file that is loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum LoadFrom {
    Parquet,
    Ipc,
}

impl LoadFrom {
    pub(crate) const ALL: [Self; 2] = [Self::Parquet, Self::Ipc];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Ipc => "IPC",
        }
    }

    pub(crate) fn file(self, rows: &Rows) -> PathBuf {
        rows.folder.path().join(if self == Self::Parquet { "rows.parquet" } else { "rows.arrow" })
    }
}

/// A program that is measured, with its flags for exports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    pub(crate) program: &'a Path,
    pub(crate) flags: &'a [String],
}

/// What both do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work<'a> {
    /// An export of a table; a name of `--to`, and flags beside those of the sides.
    Export(&'a str, &'a str, &'a [&'a str]),
    /// A load of a file into the table of loads, which is emptied before.
    Load(&'a Path),
}

impl Work<'_> {
    /// Whether both sides must read pages, so that they do the same.
    pub(crate) fn reads_pages(&self) -> bool {
        matches!(self, Self::Export(_, _, flags) if flags.contains(&"--read-mode=pages"))
    }

    /// The command of one side, with the table ready for it.
    pub(crate) fn prepare(&self, database: &mut Database, side: Side<'_>) -> Result<Prepared> {
        let url = database.url().to_owned();
        match self {
            Self::Export(table, to, flags) => {
                let flags = side.flags.iter().map(String::as_str).chain(flags.iter().copied());
                Prepared::export(side.program, &url, table, to, &flags.collect::<Vec<_>>())
            }
            Self::Load(file) => {
                database.execute(EMPTY)?;
                database.execute("CHECKPOINT")?;
                Prepared::load(side.program, &url, file, LOADED)
            }
        }
    }
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
    let counter = flags.instructions.then(instructions::Counter::find).transpose()?;
    let mut database = Database::open(&flags.server)?;
    let scale = flags.rows as f64 / 6_001_215.0;
    let mut worse = 0;
    for workload in workloads {
        if flags.rounds > 0 {
            worse += timed(flags, &mut database, workload, scale, sides)?;
        }
        if let Some(counter) = counter {
            let exports = if flags.no_exports { &[][..] } else { &counted::EXPORTS };
            let loads = if flags.no_loads { &[][..] } else { &LoadFrom::ALL };
            let all = counted::measure(&mut database, counter, workload, sides, exports, loads)?;
            counted::print(workload.name, &all);
            worse += all.iter().filter(|counted| counted.verdict() == Verdict::Worse).count();
        }
    }
    match counter {
        Some(counter) => println!("\n{}", counter.remark()),
        None => println!("\nInstructions were not counted: --instructions counts them."),
    }
    println!(
        "{}",
        if worse == 0 { "B is not worse than A".to_owned() } else { format!("B is worse: {worse}") }
    );
    Ok(worse == 0)
}

/// Compares times of exports and loads of one workload. Returns how many are worse.
fn timed(
    flags: &CompareFlags,
    database: &mut Database,
    workload: &Workload,
    scale: f64,
    sides: [Side<'_>; 2],
) -> Result<usize> {
    let mut all = Vec::new();
    if !flags.no_exports {
        let prepared = workload.prepare(database, scale)?;
        let table = prepared.table()?;
        let rows =
            database.value(&format!("SELECT count(*)::text FROM {table}"))?.ok_or("no count")?.parse()?;
        for to in &flags.to {
            let changes = measure(database, Work::Export(table, to, &[]), rows, sides, flags.rounds)?;
            print(&format!("{} → {to}", workload.name), &changes);
            all.extend(changes);
        }
    }
    if !flags.no_loads {
        let psql = database.psql();
        let count = (workload.rows_at_1() * scale).floor().max(1.0) as u64;
        let rows = Rows::prepare(database, workload, count, &psql)?;
        for from in &flags.load {
            let file = from.file(&rows);
            let changes = measure(database, Work::Load(&file), rows.count, sides, flags.rounds)?;
            rows.count_again(database)?;
            print(&format!("{} → {}", from.name(), workload.name), &changes);
            all.extend(changes);
        }
    }
    Ok(all.iter().filter(|change| change.verdict == Verdict::Worse).count())
}

/// The changes of one export or load. Rounds are interleaved, and every other round begins with B.
pub(crate) fn measure(
    database: &mut Database,
    work: Work<'_>,
    rows: u64,
    [a, b]: [Side<'_>; 2],
    rounds: usize,
) -> Result<Vec<Change>> {
    let (mut a_times, mut b_times) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (first, second) = if round % 2 == 0 { (a, b) } else { (b, a) };
        let first = one(database, work, rows, first)?;
        let second = one(database, work, rows, second)?;
        let (from_a, from_b) = if round % 2 == 0 { (first, second) } else { (second, first) };
        // The first round warms up.
        if round > 0 {
            a_times.push(from_a);
            b_times.push(from_b);
        }
    }
    Ok(changes(&a_times, &b_times))
}

/// One run of the command; its times are from its report, and that of the whole is ours.
fn one(database: &mut Database, work: Work<'_>, rows: u64, side: Side<'_>) -> Result<Times> {
    let prepared = work.prepare(database, side)?;
    let started = Instant::now();
    let report = prepared.run(rows)?;
    let whole = started.elapsed().as_secs_f64();
    let mut times = times(&report).ok_or("a report without seconds")?;
    times.insert(WHOLE.to_owned(), whole);
    Ok(times)
}

fn print(title: &str, changes: &[Change]) {
    println!("\n{title}\n{:<24} {:>10} {:>10} {:>9} {:>9}", "", "A, s", "B, s", "change", "noise");
    for change in changes {
        let is_phase = ![TOTAL, WHOLE].contains(&change.name.as_str());
        let name = if is_phase { format!("  {}", change.name) } else { change.name.clone() };
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
