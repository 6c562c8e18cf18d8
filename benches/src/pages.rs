//! Heap pages beside COPY, the drains and DuckDB, by 2 connections, with their gain as ratios of medians.

use std::path::{Path, PathBuf};

use crate::contender::{COPY, Contender, FAIR_DRAIN, Ours, PAGES, PAGES_PARQUET, PLAIN_DRAIN};
use crate::rivals::{duckdb, packages, venv};
use crate::rounds::{Group, RoundFlags, measure};
use crate::server::Database;
use crate::stats::median;
use crate::workloads::{Prepared, make_visible};
use crate::{Result, record};

/// The workloads without `--only`; `bare` is made of `five`.
const WORKLOADS: [&str; 4] = ["lineitem", "five", "text", "mixed"];

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PagesFlags {
    #[command(flatten)]
    pub(crate) rounds: RoundFlags,
    /// Counted rounds, after one in which the answers are checked
    #[arg(long = "rounds", default_value_t = 5)]
    pub(crate) n_rounds: usize,
    /// A Python with the packages of benches/rivals/requirements.txt. Default: one is made under the target
    /// folder
    #[arg(long)]
    pub(crate) python: Option<PathBuf>,
    /// Leave DuckDB out
    #[arg(long)]
    pub(crate) no_rivals: bool,
    /// Leave out the copy of `five` without all-visible pages
    #[arg(long)]
    pub(crate) no_bare: bool,
}

impl PagesFlags {
    pub(crate) fn smoke(mut rounds: RoundFlags, python: Option<&Path>) -> Self {
        rounds.only = vec!["lineitem".to_owned(), "five".to_owned()];
        let python = python.map(Path::to_owned);
        Self { rounds, n_rounds: 1, no_rivals: python.is_none(), python, no_bare: false }
    }
}

pub(crate) fn run(flags: &PagesFlags) -> Result<()> {
    let PagesFlags { rounds, n_rounds, python, no_rivals, no_bare } = flags;
    let workloads = rounds.workloads(&WORKLOADS)?;
    if let Some(many) = workloads.iter().find(|workload| workload.is_many()) {
        return Err(format!("{}: tables this small are read by COPY", many.name).into());
    }
    let python = match (no_rivals, python) {
        (true, _) => None,
        (false, Some(python)) => Some(python.clone()),
        (false, None) => Some(venv()?),
    };
    let mut database = Database::open(&rounds.server)?;
    database.execute("CREATE EXTENSION IF NOT EXISTS pageinspect")?;
    let mut groups = Vec::new();
    for workload in workloads {
        let prepared = workload.prepare(&mut database, rounds.scale)?;
        make_visible(&mut database, &prepared.tables)?;
        for n in &rounds.connections {
            let mut all = [Ours::PlainDrain, Ours::FairDrain, Ours::Arrow, Ours::Pages].to_vec();
            if database.socket_url().is_some() {
                all.push(Ours::PagesSocket);
            }
            all.extend([Ours::Parquet, Ours::PagesParquet]);
            let mut all: Vec<Contender> = all.into_iter().map(|ours| Contender::ours(ours, *n)).collect();
            all.extend(python.iter().flat_map(|python| duckdb(python, *n)));
            groups.push(measure(&mut database, &prepared, rounds.scale, *n, all, *n_rounds)?);
            groups.iter().next_back().into_iter().for_each(print_ratios);
            if workload.name == "five" && !no_bare {
                let bare = bare(&mut database, &prepared)?;
                let all = [Ours::FairDrain, Ours::Arrow, Ours::Auto];
                let all = all.map(|ours| Contender::ours(ours, *n)).into();
                groups.push(measure(&mut database, &bare, rounds.scale, *n, all, *n_rounds)?);
                groups.iter().next_back().into_iter().for_each(print_ratios);
            }
        }
    }
    let mut versions = record::versions(&mut database)?;
    if let Some(python) = &python {
        versions.extend(packages(python)?);
    }
    record::write(rounds.record.as_deref(), "pages", versions, &groups)
}

/// A copy of a table that was never vacuumed, so none of its pages is all-visible.
fn bare(database: &mut Database, prepared: &Prepared) -> Result<Prepared> {
    let of = prepared.tables.first().ok_or("a workload without tables")?;
    let table = format!("{of}_bare");
    if database.value(&format!("SELECT to_regclass('{table}')::text"))?.is_none() {
        database.execute(&format!(
            "CREATE TABLE {table} WITH (autovacuum_enabled = off) AS SELECT * FROM {of}; ANALYZE {table}"
        ))?;
    }
    // The first reader of a row notes that its transaction has ended.
    database.execute(&format!("SELECT count(*) FROM {table}"))?;
    let visible = format!("SELECT relallvisible::text FROM pg_class WHERE oid = '{table}'::regclass");
    match database.value(&visible)?.as_deref() {
        Some("0") => Ok(Prepared { workload: "bare".to_owned(), tables: vec![table] }),
        found => Err(format!("{table} has {found:?} all-visible pages").into()),
    }
}

/// Prints ratios of medians: wall time of others ÷ ours, and the server's CPU.
fn print_ratios(group: &Group) {
    let wall = |name: &str| {
        let measured = group.contenders.iter().find(|measured| measured.contender == name)?;
        Some(median(&measured.wall_seconds))
    };
    let server_cpu = |name: &str| {
        let measured = group.contenders.iter().find(|measured| measured.contender == name)?;
        (!measured.server_cpu_seconds.is_empty()).then(|| median(&measured.server_cpu_seconds))
    };
    for measured in &group.contenders {
        let name = measured.contender.as_str();
        if name.starts_with("pages") || name.starts_with("auto") {
            let ours = median(&measured.wall_seconds);
            let rival = if name == PAGES_PARQUET { "DuckDB → Parquet" } else { "DuckDB → Arrow" };
            let speeds = [PLAIN_DRAIN, FAIR_DRAIN, COPY, rival]
                .map(|other| wall(other).map(|wall| format!("{:.2} × the speed of {other}", wall / ours)));
            println!("{name}: {}", speeds.into_iter().flatten().collect::<Vec<_>>().join(", "));
        }
    }
    for name in [PAGES, "auto → Arrow"] {
        if let (Some(pages), Some(copy)) = (server_cpu(name), server_cpu(COPY)) {
            let per_row = 1e6 / group.rows.max(1) as f64;
            println!(
                "{name}: server CPU {:.3} µs a row, COPY {:.3}: {:.2} ×",
                pages * per_row,
                copy * per_row,
                pages / copy
            );
        }
    }
}
