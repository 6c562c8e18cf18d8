//! The loaders: each runs in a process of its own and loads the same rows into the same table.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::contender::{Outcome, outcome};
use crate::load_child::Way;
use crate::load_table::{LOADED, Rows};
use crate::{Result, folders};

/// The limit: the server's own program sends a prepared file and does not look into it.
const PSQL: &str = "psql \\copy, binary";
/// The limit from server to server.
const PSQL_PIPE: &str = "psql COPY | psql COPY";

/// A loader.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loader {
    Ours(Way),
    Psql,
    PsqlPipe,
    /// A script of `benches/rivals/`, which loads `rows.arrow`, with the most rows to try.
    Script(&'static str, &'static str, Option<u64>),
}

/// The most rows for loaders that send each row in a message of its own: a million takes minutes.
const INSERTED_MAX: u64 = 100_000;

const OURS: [Way; 4] = [Way::Memory, Way::Ipc, Way::Parquet, Way::Insert];

const RIVALS: [Loader; 4] = [
    Loader::Script("ADBC ingest", "load_adbc", None),
    Loader::Script("DuckDB INSERT", "load_duckdb", None),
    Loader::Script("pgpq + psycopg COPY", "load_pgpq", None),
    Loader::Script("psycopg, multi-row INSERT", "load_insert", Some(INSERTED_MAX)),
];

/// All loaders, each limit before the loaders that are compared with it.
pub(crate) fn loaders(with_rivals: bool) -> Vec<Loader> {
    let mut all = vec![Loader::Psql];
    all.extend(OURS.map(Loader::Ours));
    if with_rivals {
        all.extend(RIVALS);
    }
    all.extend([Loader::PsqlPipe, Loader::Ours(Way::Server)]);
    all
}

/// The name of the loader that this one is compared with.
pub(crate) fn limit_of(name: &str) -> &'static str {
    if name == PSQL_PIPE || name == Way::Server.name() { PSQL_PIPE } else { PSQL }
}

impl Loader {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours(way) => way.name(),
            Self::Psql => PSQL,
            Self::PsqlPipe => PSQL_PIPE,
            Self::Script(name, ..) => name,
        }
    }

    /// Whether it may fail without failing the suite.
    pub(crate) fn is_rival(self) -> bool {
        matches!(self, Self::Script(..))
    }

    /// The most rows to try.
    pub(crate) fn rows_max(self) -> Option<u64> {
        match self {
            Self::Script(_, _, max) => max,
            Self::Ours(Way::Insert) => Some(INSERTED_MAX),
            _ => None,
        }
    }
}

/// The inputs of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) url: &'a str,
    pub(crate) rows: &'a Rows,
    pub(crate) programs: Programs<'a>,
}

/// What runs the loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Programs<'a> {
    pub(crate) psql: &'a Path,
    /// Of the rivals.
    pub(crate) python: Option<&'a Path>,
    /// This program, installed.
    pub(crate) own: &'a Path,
}

impl Run<'_> {
    /// Loads the rows into the empty table.
    pub(crate) fn run(&self, loader: Loader) -> Result<Outcome> {
        match loader {
            Loader::Ours(way) => self.ours(way),
            Loader::Psql | Loader::PsqlPipe => {
                let mut command = self.script("load_psql", Path::new("python3"));
                command.arg(self.programs.psql);
                command.arg(if matches!(loader, Loader::Psql) { "copy" } else { "pipe" });
                outcome(command.arg(&self.rows.table))
            }
            Loader::Script(_, script, _) => {
                outcome(&mut self.script(script, self.programs.python.ok_or("a rival without a Python")?))
            }
        }
    }

    fn ours(&self, way: Way) -> Result<Outcome> {
        let value = clap::ValueEnum::to_possible_value(&way).ok_or("a way without a name")?;
        let mut command = Command::new(self.programs.own);
        command.args(["load-child", value.get_name(), "--url", self.url, "--source", &self.rows.table]);
        command.args(["--into", LOADED]).arg("--folder").arg(self.rows.folder.path());
        let started = Instant::now();
        let mut outcome = outcome(&mut command)?;
        if way.is_program() {
            // The time includes starting and ending the process, as psql's does.
            let around = started.elapsed().as_secs_f64() - outcome.wall_seconds;
            outcome.wall_seconds += around;
            outcome.start_seconds += around;
        }
        if outcome.rows != self.rows.count {
            return Err(format!("{} rows of {}", outcome.rows, self.rows.count).into());
        }
        Ok(outcome)
    }

    fn script(&self, script: &str, python: &Path) -> Command {
        let mut command = Command::new(python);
        command.arg(folders::source().join(format!("rivals/{script}.py")));
        command.args([self.url, LOADED]).arg(self.rows.folder.path());
        command
    }
}
