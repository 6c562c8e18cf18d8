//! Tables to Arrow, Parquet and IPC, beside the drains of the same COPY, and of the same SELECT.

use crate::contender::{Contender, Ours};
use crate::rounds::{RoundFlags, measure};
use crate::server::Database;
use crate::workloads::WORKLOADS;
use crate::{Result, record};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExportFlags {
    #[command(flatten)]
    pub(crate) rounds: RoundFlags,
    /// Counted rounds, after one in which the answers are checked
    #[arg(long = "rounds", default_value_t = 9)]
    pub(crate) n_rounds: usize,
    /// What to make of the rows
    #[arg(long, value_delimiter = ',', default_values = ["arrow", "parquet", "ipc"])]
    pub(crate) target: Vec<Target>,
    /// Leave SELECT out: its drain, and pgarrow by it
    #[arg(long)]
    pub(crate) no_select: bool,
}

/// What is made of the rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Target {
    /// Record batches, which are dropped
    Arrow,
    /// A Parquet file (zstd 1)
    Parquet,
    /// An Arrow IPC file
    Ipc,
}

impl Target {
    pub(crate) const ALL: [Self; 3] = [Self::Arrow, Self::Parquet, Self::Ipc];

    pub(crate) fn ours(self) -> Ours {
        match self {
            Self::Arrow => Ours::Arrow,
            Self::Parquet => Ours::Parquet,
            Self::Ipc => Ours::Ipc,
        }
    }
}

/// The drains and pgarrow, with these connections.
pub(crate) fn contenders(targets: &[Target], connections: usize) -> Vec<Contender> {
    let targets = targets.iter().map(|target| target.ours());
    let all = [Ours::PlainDrain, Ours::FairDrain].into_iter().chain(targets);
    all.map(|ours| Contender::ours(ours, connections)).collect()
}

/// What the binary protocol of a SELECT costs: its drain beside the others, and pgarrow by it at the end.
fn with_select(mut contenders: Vec<Contender>, connections: usize) -> Vec<Contender> {
    contenders.insert(2, Contender::ours(Ours::SelectDrain, connections));
    contenders.push(Contender::ours(Ours::Select, connections));
    contenders
}

pub(crate) fn run(flags: &ExportFlags) -> Result<()> {
    let ExportFlags { rounds: flags, n_rounds, target, no_select } = flags;
    let workloads = flags.workloads(&WORKLOADS.map(|workload| workload.name))?;
    let mut database = Database::open(&flags.server)?;
    let mut groups = Vec::new();
    for workload in workloads {
        let prepared = workload.prepare(&mut database, flags.scale)?;
        for n in &flags.connections {
            let mut all = contenders(target, *n);
            // Of many small tables, only the way that is the default is of interest.
            if !no_select && !workload.is_many() {
                all = with_select(all, *n);
            }
            groups.push(measure(&mut database, &prepared, flags.scale, *n, all, *n_rounds)?);
        }
    }
    let versions = record::versions(&mut database)?;
    record::write(flags.record.as_deref(), "export", versions, &groups)
}
