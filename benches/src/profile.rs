//! Where the CPU time of an export or a load goes: a flame graph of one contender, sampled by perf.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::export::Target;
use crate::load_child::Way;
use crate::load_table::{LOADED, Rows};
use crate::rounds::RoundFlags;
use crate::server::{Database, ServerFlags};
use crate::workloads::Workload;
use crate::{Result, folders};

/// The tools that turn samples into a graph, installed under the target folder if they are missing.
const INFERNO: &str = "inferno@0.12.8";

/// What to profile.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ProfileFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// Which workload
    #[arg(default_value = "lineitem")]
    workload: String,
    /// The scale of the tables; 1 is six million lineitems
    #[arg(long, default_value_t = 0.5)]
    scale: f64,
    /// What to make of the rows
    #[arg(long, default_value = "arrow")]
    target: Target,
    /// Profile a load of the rows, in this way, instead of an export
    #[arg(long, value_name = "WAY", conflicts_with_all = ["target", "connections"])]
    load: Option<Way>,
    /// How many connections read
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Samples a second
    #[arg(long, default_value_t = 997)]
    frequency: u32,
    /// Where to write the graph. Default: target/bench/profile-WORKLOAD-TARGET.svg, or -load-WAY.svg
    #[arg(long)]
    output: Option<PathBuf>,
}

pub(crate) fn run(flags: &ProfileFlags) -> Result<()> {
    if Command::new("perf").arg("--version").output().is_err() {
        return Err("perf is not installed (Debian: apt-get install linux-perf); it takes the samples".into());
    }
    let (collapse, flamegraph) = (tool("inferno-collapse-perf")?, tool("inferno-flamegraph")?);
    let mut rounds = RoundFlags::smoke("");
    rounds.only.push(flags.workload.clone());
    let workloads = rounds.workloads(&[])?;
    let workload = workloads.first().ok_or("no workload")?;
    let mut database = Database::open(&flags.server)?;
    let folder = tempfile::tempdir()?;
    let Profiled { child, name, title, rows: _rows } = match flags.load {
        Some(way) => load(&mut database, workload, flags.scale, way)?,
        None => export(&mut database, workload, flags)?,
    };

    let samples = folder.path().join("perf.data");
    let mut perf = Command::new("perf");
    // A clock of the kernel, not a counter of the processor: virtual machines have none.
    perf.args(["record", "--quiet", "-e", "cpu-clock", "-g", "-F", &flags.frequency.to_string(), "-o"]);
    perf.arg(&samples).arg("--").arg(std::env::current_exe()?);
    folders::succeed(perf.args(child).stdout(Stdio::null()))?;

    let text = folder.path().join("perf.txt");
    let mut script = Command::new("perf");
    script.args(["script", "-i"]).arg(&samples).stdout(File::create(&text)?).stderr(Stdio::null());
    folders::succeed(&mut script)?;
    let stacks = folder.path().join("stacks.txt");
    folders::succeed(Command::new(collapse).arg(&text).stdout(File::create(&stacks)?))?;
    if std::fs::metadata(&stacks)?.len() == 0 {
        return Err("perf took no samples; a larger --scale may help, or kernel.perf_event_paranoid".into());
    }
    let output = match &flags.output {
        Some(output) => output.clone(),
        None => folders::work()?.join(format!("profile-{}-{name}.svg", flags.workload)),
    };
    let mut graph = Command::new(flamegraph);
    graph.args(["--title", &title]).arg(&stacks).stdout(File::create(&output)?);
    folders::succeed(&mut graph)?;
    println!("written to {}", output.display());
    Ok(())
}

/// What is profiled.
struct Profiled {
    /// Arguments of this program.
    child: Vec<OsString>,
    /// For the graph's file.
    name: String,
    title: String,
    /// Keeps the files that are loaded.
    rows: Option<Rows>,
}

fn export(database: &mut Database, workload: &Workload, flags: &ProfileFlags) -> Result<Profiled> {
    let prepared = workload.prepare(database, flags.scale)?;
    let target = clap::ValueEnum::to_possible_value(&flags.target).ok_or("a target without a name")?;
    let target = target.get_name();
    let connections = flags.connections.to_string();
    let tables = prepared.tables.join(",");
    let child = ["child", target, "--url", database.url(), "--table", &tables, "--connections", &connections];
    let title = format!("{}, pgarrow to {target}, {connections} connections", workload.name);
    Ok(Profiled { child: child.map(OsString::from).into(), name: target.to_owned(), title, rows: None })
}

fn load(database: &mut Database, workload: &Workload, scale: f64, way: Way) -> Result<Profiled> {
    let psql = database.psql();
    let count = (workload.rows_at_1() * scale).floor().max(1.0) as u64;
    let rows = Rows::prepare(database, workload, count, &psql)?;
    let value = clap::ValueEnum::to_possible_value(&way).ok_or("a way without a name")?;
    let way_name = value.get_name();
    let mut child: Vec<OsString> = [
        "load-child",
        way_name,
        "--url",
        database.url(),
        "--source",
        &rows.table,
        "--into",
        LOADED,
        "--folder",
    ]
    .map(OsString::from)
    .into();
    child.push(rows.folder.path().into());
    let title = format!("{}, {}", workload.name, way.name());
    Ok(Profiled { child, name: format!("load-{way_name}"), title, rows: Some(rows) })
}

/// One of inferno's programs: from the PATH, or installed under the target folder.
fn tool(name: &str) -> Result<PathBuf> {
    if Command::new(name).arg("--help").output().is_ok_and(|output| output.status.success()) {
        return Ok(Path::new(name).to_owned());
    }
    let root = folders::work()?.join("tools");
    let program = root.join("bin").join(name);
    if !program.exists() {
        println!("installing {INFERNO} in {} …", root.display());
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--quiet", "--locked", INFERNO, "--root"]).arg(&root);
        folders::succeed(cargo.arg("--target-dir").arg(root.join("build")))?;
    }
    Ok(program)
}
