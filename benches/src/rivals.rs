//! Tables to Arrow and Parquet, beside the rivals that are installed.
//!
//! A rival is a Python script in `benches/rivals/` whose pinned packages are installed in the interpreter
//! that `--python` names. It reads the same table, prints the same outcome and, in the first round, the sums
//! of its columns.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::contender::{Contender, Script};
use crate::export::{Target, contenders};
use crate::rounds::{RoundFlags, measure};
use crate::server::Database;
use crate::{Result, folders, record};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RivalsFlags {
    #[command(flatten)]
    pub(crate) rounds: RoundFlags,
    /// Counted rounds, after one in which the answers are checked
    #[arg(long = "rounds", default_value_t = 5)]
    pub(crate) n_rounds: usize,
    /// A Python with the packages of benches/rivals/requirements.txt. Default: one is made under the target
    /// folder
    #[arg(long)]
    pub(crate) python: Option<PathBuf>,
}

/// A script, and its abilities.
#[derive(Debug)]
struct Rival {
    name: &'static str,
    script: &'static str,
    /// Whether it reads with several connections.
    is_parallel: bool,
    /// A program that it runs, if it is not a Python package.
    program: Option<&'static str>,
}

const RIVALS: [Rival; 7] = [
    Rival { name: "DuckDB → Arrow", script: "duckdb_arrow", is_parallel: true, program: None },
    Rival { name: "DuckDB → Parquet", script: "duckdb_parquet", is_parallel: true, program: None },
    Rival { name: "ADBC → Arrow", script: "adbc_arrow", is_parallel: false, program: None },
    Rival { name: "ADBC → Parquet", script: "adbc_parquet", is_parallel: false, program: None },
    Rival { name: "ConnectorX → Arrow", script: "connectorx_arrow", is_parallel: true, program: None },
    Rival { name: "psycopg, undecoded", script: "psycopg_copy", is_parallel: true, program: None },
    Rival { name: "pg2parquet", script: "pg2parquet", is_parallel: false, program: Some("pg2parquet") },
];

pub(crate) fn run(flags: &RivalsFlags) -> Result<()> {
    let RivalsFlags { rounds: flags, n_rounds, python } = flags;
    let workloads = flags.workloads(&["lineitem", "five"])?;
    if let Some(many) = workloads.iter().find(|workload| workload.is_many()) {
        return Err(format!("{}: the rivals read one table in a run", many.name).into());
    }
    let python = match python {
        Some(python) => python.clone(),
        None => venv()?,
    };
    let mut database = Database::open(&flags.server)?;
    let mut groups = Vec::new();
    for workload in workloads {
        let prepared = workload.prepare(&mut database, flags.scale)?;
        for n in &flags.connections {
            let mut all = contenders(&Target::ALL, *n);
            all.extend(rivals(&python, *n));
            groups.push(measure(&mut database, &prepared, flags.scale, *n, all, *n_rounds)?);
        }
    }
    let mut versions = record::versions(&mut database)?;
    for (name, version) in packages(&python)? {
        versions.insert(name, version);
    }
    record::write(flags.record.as_deref(), "rivals", versions, &groups)
}

/// DuckDB alone, to Arrow and to Parquet.
pub(crate) fn duckdb(python: &Path, connections: usize) -> Vec<Contender> {
    let mut all = rivals(python, connections);
    all.retain(|rival| rival.name.starts_with("DuckDB"));
    all
}

/// The rivals that are installed.
fn rivals(python: &Path, connections: usize) -> Vec<Contender> {
    let is_there = |rival: &&Rival| {
        rival.program.is_none_or(|program| {
            let is_there = Command::new(program).arg("--version").output().is_ok();
            if !is_there {
                println!("{program} is not in the PATH and is left out");
            }
            is_there
        })
    };
    let rivals = RIVALS.iter().filter(is_there).map(|rival| {
        let connections = if rival.is_parallel { connections } else { 1 };
        let python = python.to_owned();
        let script = Script { python, name: rival.script, arguments: Vec::new(), is_ours: false };
        Contender::script(rival.name.to_owned(), connections, script)
    });
    rivals.collect()
}

/// Python's arguments that install packages.
pub(crate) const PIP_INSTALL: [&str; 6] =
    ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];

/// The interpreter of a virtual environment with the pinned packages, made again when they change.
pub(crate) fn venv() -> Result<PathBuf> {
    let requirements = folders::source().join("rivals/requirements.txt");
    let venv = folders::work()?.join("rivals-venv");
    let python = venv.join("bin/python");
    let installed = venv.join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements)?;
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("installing the rivals' packages in {} …", venv.display());
    folders::succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(&python);
    pip.args(PIP_INSTALL).arg("--requirement");
    folders::succeed(pip.arg(&requirements))?;
    std::fs::write(installed, wanted)?;
    Ok(python)
}

/// Names and versions of the pinned packages that are installed.
pub(crate) fn packages(python: &Path) -> Result<Vec<(String, String)>> {
    const SCRIPT: &str = "import importlib.metadata as m, platform, re, sys\n\
        print('python', platform.python_version())\n\
        for line in open(sys.argv[1]):\n    \
            name = re.match(r'[A-Za-z][\\w.-]*', line)\n    \
            try:\n        \
                if name: print(name[0], m.version(name[0]))\n    \
            except m.PackageNotFoundError: pass\n";
    let requirements = folders::source().join("rivals/requirements.txt");
    let output = Command::new(python).args(["-c", SCRIPT]).arg(requirements).output()?;
    if !output.status.success() {
        return Err(format!("no versions: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect())
}
