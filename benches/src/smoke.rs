//! All of the suite on tiny tables: it passes if every answer is right.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compare::{LoadFrom, Side, Work, measure};
use crate::compare_instructions::{Counted, EXPORTS, measure_rows};
use crate::decode::{self, DecodeFlags};
use crate::export::{self, ExportFlags, Target};
use crate::instructions::Counter;
use crate::load::{self, LoadFlags};
use crate::load_table::Rows;
use crate::memory::{self, MemoryFlags};
use crate::pages::{self, PagesFlags};
use crate::python::{self, PythonFlags};
use crate::report::{self, ReportFlags};
use crate::rivals::{self, RivalsFlags};
use crate::rounds::RoundFlags;
use crate::server::{Database, ServerFlags};
use crate::sizes::{self, SizesFlags};
use crate::workloads::Workload;
use crate::{Result, folders, workloads};

/// What to try.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SmokeFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// A Python with the rivals' packages; without it they are not tried
    #[arg(long)]
    python: Option<PathBuf>,
    /// A Python with the wheel; without it, tables in Python are not tried
    #[arg(long, env = "PGARROW_TEST_WHEEL")]
    wheel: Option<PathBuf>,
    /// A pgarrow command to compare with itself, and the wheel with; without it nothing is compared
    #[arg(long)]
    program: Option<PathBuf>,
}

pub(crate) fn run(flags: &SmokeFlags) -> Result<()> {
    // One server for all, with tables that later steps find.
    let mut database = Database::open(&flags.server)?;
    let url = database.url().to_owned();
    let records = tempfile::tempdir()?;
    let mut rounds = RoundFlags::smoke(&url);
    rounds.record = Some(records.path().to_owned());

    decode::run(&DecodeFlags::smoke(&url))?;
    export::run(&ExportFlags {
        rounds: rounds.clone(),
        n_rounds: 1,
        target: Target::ALL.to_vec(),
        no_select: false,
    })?;
    let only = PagesFlags::smoke(rounds.clone(), flags.python.as_deref());
    pages::run(&only)?;
    load::run(&LoadFlags::smoke(&url, &database.psql(), records.path(), flags.python.as_deref()))?;
    if let Some(python) = &flags.python {
        let all = workloads::WORKLOADS.iter().filter(|workload| !workload.is_many());
        let rounds =
            RoundFlags { only: all.map(|workload| workload.name.to_owned()).collect(), ..rounds.clone() };
        rivals::run(&RivalsFlags { rounds, n_rounds: 1, python: Some(python.clone()) })?;
    }
    // As in all tests, an empty name is none.
    let wheel = flags.wheel.as_ref().filter(|python| !python.as_os_str().is_empty());
    match (wheel, &flags.program) {
        (Some(python), Some(program)) => python::run(&PythonFlags::smoke(rounds, python, program))?,
        _ => println!(
            "without a Python with the wheel (PGARROW_TEST_WHEEL) and --program, bench-python is left out"
        ),
    }
    if let Some(program) = &flags.program {
        if !memory::run(&MemoryFlags::smoke(&url, program))? {
            return Err("an export took more memory than it was allowed".into());
        }
        sizes::run(&SizesFlags::smoke(&url, program, records.path()))?;
        network(program, records.path())?;
        let workloads = RoundFlags::smoke(&url).workloads(&["five"])?;
        let workload = workloads.first().ok_or("no workload")?;
        let prepared = workload.prepare(&mut database, 0.002)?;
        let table = prepared.tables.first().ok_or("a workload without tables")?;
        let side = Side { program, flags: &[] };
        let rows = prepared_rows(&mut database, table)?;
        let psql = database.psql();
        let file = Rows::prepare(&mut database, workload, 1_000, &psql)?;
        let loaded = LoadFrom::Ipc.file(&file);
        let works = [
            (Work::Export(table, "none", &[]), rows),
            (Work::Export(table, "parquet", &[]), rows),
            (Work::Load(&loaded), file.count),
        ];
        for (work, rows) in works {
            let changes = measure(&mut database, work, rows, [side; 2], 2)?;
            // The times of tiny exports say nothing; the check is that they were found and measured.
            if changes.iter().all(|change| change.a_seconds <= 0.0 || change.b_seconds <= 0.0) {
                return Err(format!("nothing was timed: {changes:?}").into());
            }
        }
        drop(file);
        instructions(&mut database, workload, side)?;
    }
    let to = records.path().join("report");
    report::run(&ReportFlags { from: Some(records.path().to_owned()), to: Some(to.clone()) })?;
    let text = std::fs::read_to_string(to.join("RESULTS.md"))?;
    for workload in workloads::WORKLOADS {
        if !text.contains(&format!("export: {}, 2 connections", workload.name)) {
            return Err(format!("the report has no {}", workload.name).into());
        }
    }
    let mut parts = vec!["load: five, 1,000 rows"];
    if flags.program.is_some() {
        parts.extend([
            "sizes: five, 100 rows",
            "network: five, plain",
            "network: five, TLS",
            "network: five, 20 ms",
        ]);
    }
    if let Some(missing) = parts.iter().find(|part| !text.contains(**part)) {
        return Err(format!("the report has no {missing}").into());
    }
    Ok(())
}

fn prepared_rows(database: &mut Database, table: &str) -> Result<u64> {
    let count = database.value(&format!("SELECT count(*)::text FROM {table}"))?;
    Ok(count.ok_or("no count")?.parse()?)
}

/// All links for a tiny table; in a process of its own, which may give itself a network of its own.
fn network(program: &Path, record: &Path) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["network", "--only=five", "--scale=0.002", "--rounds=1", "--readers=1,2"]);
    folders::succeed(command.arg("--program").arg(program).arg("--record").arg(record))
}

/// Counts instructions, if that is possible here: of the same program twice they are about the same, and the
/// larger run has more.
fn instructions(database: &mut Database, workload: &Workload, side: Side<'_>) -> Result<()> {
    let counter = match Counter::find() {
        Ok(counter) => counter,
        Err(error) => {
            println!("{error}: left out");
            return Ok(());
        }
    };
    let (exports, loads) = (EXPORTS.get(..1).unwrap_or_default(), [LoadFrom::Ipc]);
    let all = measure_rows(database, counter, workload, [side; 2], exports, &loads, [200, 1_000])?;
    let is_plausible = |counted: &Counted| counted.a > 0.0 && (counted.b / counted.a - 1.0).abs() < 0.5;
    match all.iter().find(|counted| !is_plausible(counted)) {
        Some(counted) => Err(format!("instructions of the same program: {counted:?}").into()),
        None => Ok(()),
    }
}
