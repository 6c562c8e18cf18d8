//! Where an export's CPU time goes: a flame graph of one contender, sampled by perf.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::export::Target;
use crate::rounds::RoundFlags;
use crate::server::{Database, ServerFlags};
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
    /// How many connections read
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Samples a second
    #[arg(long, default_value_t = 997)]
    frequency: u32,
    /// Where to write the graph. Default: target/bench/profile-WORKLOAD-TARGET.svg
    #[arg(long)]
    output: Option<PathBuf>,
}

pub(crate) fn run(flags: &ProfileFlags) -> Result<()> {
    if Command::new("perf").arg("--version").output().is_err() {
        return Err("perf is not installed (Debian: apt-get install linux-perf); it takes the samples".into());
    }
    let (collapse, flamegraph) = (tool("inferno-collapse-perf")?, tool("inferno-flamegraph")?);
    let target = clap::ValueEnum::to_possible_value(&flags.target).ok_or("a target without a name")?;
    let target = target.get_name();
    let mut rounds = RoundFlags::smoke("");
    rounds.only.push(flags.workload.clone());
    let workloads = rounds.workloads(&[])?;
    let workload = workloads.first().ok_or("no workload")?;
    let mut database = Database::open(&flags.server)?;
    let prepared = workload.prepare(&mut database, flags.scale)?;

    let folder = tempfile::tempdir()?;
    let samples = folder.path().join("perf.data");
    let mut perf = Command::new("perf");
    // A clock of the kernel, not a counter of the processor: virtual machines have none.
    perf.args(["record", "--quiet", "-e", "cpu-clock", "-g", "-F", &flags.frequency.to_string(), "-o"]);
    perf.arg(&samples).arg("--").arg(std::env::current_exe()?);
    perf.args(["child", target, "--url", database.url(), "--table", &prepared.tables.join(",")]);
    perf.args(["--connections", &flags.connections.to_string()]);
    folders::succeed(perf.stdout(Stdio::null()))?;

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
        None => folders::work()?.join(format!("profile-{}-{target}.svg", flags.workload)),
    };
    let title = format!("{}, pgarrow to {target}, {} connections", flags.workload, flags.connections);
    let mut graph = Command::new(flamegraph);
    graph.args(["--title", &title]).arg(&stacks).stdout(File::create(&output)?);
    folders::succeed(&mut graph)?;
    println!("written to {}", output.display());
    Ok(())
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
