//! All of the suite on tiny tables: it passes if every answer is right.

use std::path::PathBuf;

use crate::compare::{Side, measure};
use crate::decode::{self, DecodeFlags};
use crate::export::{self, ExportFlags, Target};
use crate::load::{self, LoadFlags};
use crate::memory::{self, MemoryFlags};
use crate::pages::{self, PagesFlags};
use crate::python::{self, PythonFlags};
use crate::report::{self, ReportFlags};
use crate::rivals::{self, RivalsFlags};
use crate::rounds::RoundFlags;
use crate::server::{Database, ServerFlags};
use crate::{Result, workloads};

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
    export::run(&ExportFlags { rounds: rounds.clone(), n_rounds: 1, target: Target::ALL.to_vec() })?;
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
        let workloads = RoundFlags::smoke(&url).workloads(&["five"])?;
        let workload = workloads.first().ok_or("no workload")?;
        let prepared = workload.prepare(&mut database, 0.002)?;
        let table = prepared.tables.first().ok_or("a workload without tables")?;
        let side = Side { program, flags: &[] };
        for to in ["none", "parquet"] {
            let changes = measure(&mut database, table, to, [side; 2], 2)?;
            // The times of tiny exports say nothing; the check is that they were found and measured.
            if changes.iter().all(|change| change.a_seconds <= 0.0 || change.b_seconds <= 0.0) {
                return Err(format!("nothing was timed: {changes:?}").into());
            }
        }
    }
    let to = records.path().join("report");
    report::run(&ReportFlags { from: Some(records.path().to_owned()), to: Some(to.clone()) })?;
    let text = std::fs::read_to_string(to.join("RESULTS.md"))?;
    for workload in workloads::WORKLOADS {
        if !text.contains(&format!("export: {}, 2 connections", workload.name)) {
            return Err(format!("the report has no {}", workload.name).into());
        }
    }
    if !text.contains("load: five, 1,000 rows") {
        return Err("the report has no loads".into());
    }
    Ok(())
}
