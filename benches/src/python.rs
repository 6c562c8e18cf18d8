//! Tables as Python gets them, by the wheel and by what else there is; and small queries through ADBC.
//!
//! ```text
//!  lineitem, five            export --to none, then each way into a pyarrow, polars and pandas table
//!  lineitem_part, five_part  the first ways into a pandas table again, and those that are too slow for more
//!  queries_1, queries_1000   a table by queries of 1 and of 1,000 rows, through both ADBC drivers
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::contender::{Contender, Script};
use crate::rivals::{PIP_INSTALL, packages, venv};
use crate::rounds::{Group, RoundFlags, measure};
use crate::server::Database;
use crate::workloads::{Prepared, WORKLOADS, Workload, make_visible};
use crate::{Result, folders, python_report, record};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PythonFlags {
    #[command(flatten)]
    pub(crate) rounds: RoundFlags,
    /// Counted rounds, after one in which the answers are checked
    #[arg(long = "rounds", default_value_t = 5)]
    n_rounds: usize,
    /// What becomes of the rows
    #[arg(long, value_delimiter = ',', default_values = ["pyarrow", "polars", "pandas"])]
    into: Vec<Into>,
    /// The wheel to measure. Default: one is built
    #[arg(long, conflicts_with = "python")]
    wheel: Option<PathBuf>,
    /// A Python with the wheel and the packages of benches/rivals/requirements.txt. Default: one is made
    /// under the target folder
    #[arg(long)]
    python: Option<PathBuf>,
    /// The command that the wheel is compared with
    #[arg(long, default_value = "target/release/pgarrow")]
    program: PathBuf,
    /// The most rows for ways that make an object of each value
    #[arg(long, default_value_t = 100_000)]
    part_rows: u64,
    /// How many small queries
    #[arg(long, default_value_t = 10_000)]
    queries: u64,
}

impl PythonFlags {
    /// Tiny tables on an existing server.
    pub(crate) fn smoke(rounds: RoundFlags, python: &Path, program: &Path) -> Self {
        Self {
            rounds: RoundFlags { only: ["lineitem", "five"].map(str::to_owned).into(), ..rounds },
            n_rounds: 1,
            into: Into::ALL.into(),
            wheel: None,
            python: Some(python.to_owned()),
            program: program.to_owned(),
            part_rows: 1_000,
            queries: 100,
        }
    }
}

/// What a table becomes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Into {
    /// pyarrow.Table
    Pyarrow,
    /// polars.DataFrame
    Polars,
    /// pandas.DataFrame
    Pandas,
}

impl Into {
    const ALL: [Self; 3] = [Self::Pyarrow, Self::Polars, Self::Pandas];

    fn name(self) -> &'static str {
        match self {
            Self::Pyarrow => "pyarrow",
            Self::Polars => "polars",
            Self::Pandas => "pandas",
        }
    }
}

/// A way to read a table.
#[derive(Debug)]
struct Way {
    name: &'static str,
    /// What `rivals/table.py` calls it.
    argument: &'static str,
    is_ours: bool,
    /// Whether it reads with several connections.
    is_parallel: bool,
    /// Whether it makes an object of each value, for which large tables are too large.
    is_slow: bool,
    into: &'static [Into],
}

const WAYS: [Way; 8] = [
    Way { name: "pgarrow COPY", argument: "copy", is_ours: true, ..Way::PARALLEL },
    Way { name: "pgarrow pages", argument: "pages", is_ours: true, ..Way::PARALLEL },
    Way {
        name: "pgarrow ADBC",
        argument: "pgarrow-adbc",
        is_ours: true,
        is_parallel: false,
        into: &[Into::Pyarrow],
        ..Way::PARALLEL
    },
    Way { name: "DuckDB", argument: "duckdb", ..Way::PARALLEL },
    Way { name: "ConnectorX", argument: "connectorx", ..Way::PARALLEL },
    Way { name: "ADBC", argument: "adbc", is_parallel: false, ..Way::PARALLEL },
    Way {
        name: "pgarrow, objects",
        argument: "objects",
        is_ours: true,
        is_slow: true,
        into: &[Into::Pandas],
        ..Way::PARALLEL
    },
    Way {
        name: "pd.read_sql",
        argument: "read-sql",
        is_slow: true,
        is_parallel: false,
        into: &[Into::Pandas],
        ..Way::PARALLEL
    },
];

impl Way {
    const PARALLEL: Self =
        Self { name: "", argument: "", is_ours: false, is_parallel: true, is_slow: false, into: &Into::ALL };

    fn contender(&self, into: Into, python: &Path, connections: usize) -> Contender {
        let script = Script {
            python: python.to_owned(),
            name: "table",
            arguments: vec![self.argument.to_owned(), into.name().to_owned()],
            is_ours: self.is_ours,
        };
        let connections = if self.is_parallel { connections } else { 1 };
        Contender::script(format!("{} → {}", self.name, into.name()), connections, script)
    }
}

/// The base of the ratios: the command reads, decodes and drops the same rows.
pub(crate) const EXPORT: &str = "export --to none";
/// The same by pages.
pub(crate) const EXPORT_PAGES: &str = "export --to none, pages";
/// The base of small queries, and what comes after it when the number is bound.
pub(crate) const ADBC: &str = "ADBC";
pub(crate) const BOUND: &str = ", bound";

pub(crate) fn run(flags: &PythonFlags) -> Result<()> {
    let rounds = &flags.rounds;
    let workloads = rounds.workloads(&["lineitem", "five"])?;
    if let Some(many) = workloads.iter().find(|workload| workload.is_many()) {
        return Err(format!("{}: a table in Python is one table", many.name).into());
    }
    let python = match &flags.python {
        Some(python) => python.clone(),
        None => with_wheel(flags.wheel.as_deref())?,
    };
    let mut database = Database::open(&rounds.server)?;
    database.execute("CREATE EXTENSION IF NOT EXISTS pageinspect")?;
    let mut groups = Vec::new();
    for workload in &workloads {
        let prepared = workload.prepare(&mut database, rounds.scale)?;
        make_visible(&mut database, &prepared.tables)?;
        for n in &rounds.connections {
            let mut all = exports(flags, *n);
            for into in &flags.into {
                let ways = WAYS.iter().filter(|way| !way.is_slow && way.into.contains(into));
                all.extend(ways.map(|way| way.contender(*into, &python, *n)));
            }
            groups.push(measure(&mut database, &prepared, rounds.scale, *n, all, flags.n_rounds)?);
        }
    }
    if flags.into.contains(&Into::Pandas) {
        for workload in &workloads {
            groups.push(part(flags, &mut database, workload, &python)?);
        }
    }
    for rows in [1, 1_000] {
        groups.push(queries(flags, &mut database, rows, &python)?);
    }
    println!();
    for goal in groups.iter().flat_map(python_report::goals) {
        println!("{goal}");
    }
    let mut versions = record::versions(&mut database)?;
    versions.extend(packages(&python)?);
    record::write(rounds.record.as_deref(), "python", versions, &groups)
}

fn exports(flags: &PythonFlags, connections: usize) -> Vec<Contender> {
    [(EXPORT, "copy"), (EXPORT_PAGES, "pages")]
        .map(|(name, mode)| Contender::command(name, connections, flags.program.clone(), mode))
        .into()
}

/// All ways into pandas, on as few rows as the slow ones can read.
fn part(flags: &PythonFlags, database: &mut Database, workload: &Workload, python: &Path) -> Result<Group> {
    let scale = flags.rounds.scale.min(flags.part_rows as f64 / workload.rows_at_1());
    let mut prepared = workload.prepare(database, scale)?;
    make_visible(database, &prepared.tables)?;
    prepared.workload += "_part";
    let connections = flags.rounds.connections.iter().copied().max().unwrap_or(1);
    let mut all = exports(flags, connections);
    let ways = WAYS.iter().filter(|way| way.into.contains(&Into::Pandas));
    all.extend(ways.map(|way| way.contender(Into::Pandas, python, connections)));
    measure(database, &prepared, scale, connections, all, flags.n_rounds)
}

/// A table by many small queries, which together return all of it. There are fewer of those with more rows.
fn queries(flags: &PythonFlags, database: &mut Database, rows: u64, python: &Path) -> Result<Group> {
    let five =
        WORKLOADS.iter().find(|workload| workload.name == "five").ok_or("there is no workload five")?;
    let count = if rows == 1 { flags.queries } else { (flags.queries / 100).max(1) * rows };
    let scale = count as f64 / five.rows_at_1();
    let Prepared { tables, .. } = five.prepare(database, scale)?;
    let prepared = Prepared { workload: format!("queries_{rows}"), tables };
    let table = prepared.table()?;
    database.execute(&format!("CREATE UNIQUE INDEX IF NOT EXISTS {table}_id ON {table} (id)"))?;
    let mut all = Vec::new();
    for (how, after) in [("written", ""), ("bound", BOUND)] {
        for (name, driver) in [(ADBC, "postgresql"), ("pgarrow ADBC", "pgarrow")] {
            let script = Script {
                python: python.to_owned(),
                name: "queries",
                arguments: vec![driver.to_owned(), rows.to_string(), how.to_owned()],
                is_ours: driver == "pgarrow",
            };
            all.push(Contender::script(format!("{name}{after}"), 1, script));
        }
    }
    measure(database, &prepared, scale, 1, all, flags.n_rounds)
}

/// The interpreter of the rivals' environment, with this wheel or one that is built now.
fn with_wheel(wheel: Option<&Path>) -> Result<PathBuf> {
    let python = venv()?;
    let folder = folders::work()?.join("wheels");
    let wheel = match wheel {
        Some(wheel) => wheel.to_owned(),
        None => {
            println!("building the wheel …");
            if folder.exists() {
                std::fs::remove_dir_all(&folder)?;
            }
            let script = folders::source().join("../.ci/wheel");
            folders::succeed(Command::new(script).arg(&folder).arg("--release"))?;
            let entry = std::fs::read_dir(&folder)?.next().ok_or("no wheel was built")??;
            entry.path()
        }
    };
    let mut pip = Command::new(&python);
    folders::succeed(pip.args(PIP_INSTALL).args(["--no-deps", "--force-reinstall"]).arg(wheel))?;
    Ok(python)
}
