//! The contenders: each runs in a process of its own, so that CPU time and memory are its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use pgarrow::ReadMode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::{Answer, ColumnSum};
use crate::workloads::Prepared;
use crate::{Result, command, folders};

/// The outcome of one run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) rows: u64,
    pub(crate) wall_seconds: f64,
    /// User and system time of the client and its children, from the start of the read to its end.
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    /// Bytes on the wire, or of the files that were written.
    pub(crate) bytes: u64,
    /// The part of the wall time before rows could move, if it includes starting or connecting.
    #[serde(default)]
    pub(crate) start_seconds: f64,
    /// CPU time of encoding alone, if a thread does nothing else.
    #[serde(default)]
    pub(crate) encode_seconds: Option<f64>,
    /// Of the peak memory, what is neither the interpreter's nor the table's, where both are known.
    #[serde(default)]
    pub(crate) beyond_bytes: Option<u64>,
    /// The sums of all columns, if asked for.
    #[serde(default)]
    pub(crate) sums: Option<Vec<ColumnSum>>,
}

/// A contender of this suite.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Ours {
    /// The COPY, read and thrown away
    PlainDrain,
    /// The same with SO_RCVLOWAT
    FairDrain,
    /// A SELECT of the same rows in binary, with SO_RCVLOWAT
    SelectDrain,
    /// pgarrow by COPY to record batches, which are dropped
    Arrow,
    /// pgarrow by SELECT to record batches
    Select,
    /// pgarrow by COPY to a Parquet file (zstd 1)
    Parquet,
    /// pgarrow by COPY to an Arrow IPC file
    Ipc,
    /// pgarrow to record batches, in the way that it chooses
    Auto,
    /// pgarrow by heap pages to record batches
    Pages,
    /// The same over the server's Unix socket
    PagesSocket,
    /// pgarrow by heap pages to a Parquet file
    PagesParquet,
}

/// The name of the limit in results.
pub(crate) const FAIR_DRAIN: &str = "fair drain";
pub(crate) const PLAIN_DRAIN: &str = "plain drain";
/// The limit that pages are compared with, and the names of their contenders.
pub(crate) const COPY: &str = "pgarrow → Arrow";
pub(crate) const PAGES: &str = "pages → Arrow";
pub(crate) const COPY_PARQUET: &str = "pgarrow → Parquet";
pub(crate) const PAGES_PARQUET: &str = "pages → Parquet";
/// The contenders that only read.
pub(crate) const DRAINS: [&str; 2] = [PLAIN_DRAIN, FAIR_DRAIN];

impl Ours {
    fn name(self) -> &'static str {
        match self {
            Self::PlainDrain => PLAIN_DRAIN,
            Self::FairDrain => FAIR_DRAIN,
            Self::SelectDrain => "SELECT drain",
            Self::Arrow => COPY,
            Self::Select => "SELECT → Arrow",
            Self::Parquet => COPY_PARQUET,
            Self::Ipc => "pgarrow → IPC",
            Self::Auto => "auto → Arrow",
            Self::Pages => PAGES,
            Self::PagesSocket => "pages → Arrow, socket",
            Self::PagesParquet => PAGES_PARQUET,
        }
    }

    /// Whether the output is batches that are dropped.
    pub(crate) fn is_arrow(self) -> bool {
        matches!(self, Self::Arrow | Self::Select | Self::Auto | Self::Pages | Self::PagesSocket)
    }

    /// How the contender reads rows.
    pub(crate) fn read_mode(self) -> ReadMode {
        match self {
            Self::Auto => ReadMode::Auto,
            Self::Select => ReadMode::Select,
            Self::Pages | Self::PagesSocket | Self::PagesParquet => ReadMode::Pages,
            _ => ReadMode::Copy,
        }
    }

    fn is_drain(self) -> bool {
        matches!(self, Self::PlainDrain | Self::FairDrain | Self::SelectDrain)
    }
}

/// A program, and its number of connections.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) connections: usize,
    program: Program,
}

#[derive(Clone, Debug)]
enum Program {
    Ours(Ours),
    /// `pgarrow export --to none` in this read mode.
    Command {
        program: PathBuf,
        read_mode: &'static str,
    },
    Script(Script),
}

/// A script of `benches/rivals/`.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) python: PathBuf,
    /// Its name, without a suffix.
    pub(crate) name: &'static str,
    /// Its own arguments, before those that every script has.
    pub(crate) arguments: Vec<String>,
    /// Whether it measures pgarrow, so that it must not fail.
    pub(crate) is_ours: bool,
}

/// One round, or the first one, whose answer is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round<'a> {
    pub(crate) url: &'a str,
    /// The same server over its socket, if that is known.
    pub(crate) socket_url: Option<&'a str>,
    pub(crate) prepared: &'a Prepared,
    /// Pages of the table, or of its largest partition.
    pub(crate) pages: u64,
    pub(crate) answer: &'a Answer,
    pub(crate) is_checked: bool,
}

impl Contender {
    pub(crate) fn ours(ours: Ours, connections: usize) -> Self {
        Self { name: ours.name().to_owned(), connections, program: Program::Ours(ours) }
    }

    /// `pgarrow export --to none`.
    pub(crate) fn command(name: &str, connections: usize, program: PathBuf, read_mode: &'static str) -> Self {
        Self { name: name.to_owned(), connections, program: Program::Command { program, read_mode } }
    }

    pub(crate) fn script(name: String, connections: usize, script: Script) -> Self {
        Self { name, connections, program: Program::Script(script) }
    }

    pub(crate) fn is_ours(&self) -> bool {
        match &self.program {
            Program::Ours(_) | Program::Command { .. } => true,
            Program::Script(script) => script.is_ours,
        }
    }

    /// Whether the values are not looked at, so that only rows can be counted.
    fn is_blind(&self) -> bool {
        match &self.program {
            Program::Ours(ours) => ours.is_drain(),
            Program::Command { .. } => true,
            Program::Script(script) => !script.is_ours,
        }
    }

    /// One run. In the first round, compares its sums with the server's. Returns how many columns agreed.
    pub(crate) fn run(&self, round: &Round<'_>) -> Result<(Outcome, usize)> {
        let outcome = match &self.program {
            Program::Ours(ours) => outcome(&mut self.child(*ours, round)?)?,
            Program::Command { program, read_mode } => self.export(program, read_mode, round)?,
            Program::Script(script) => outcome(&mut self.python(script, round)?)?,
        };
        if outcome.rows != round.answer.rows {
            return Err(format!("{} rows of {}", outcome.rows, round.answer.rows).into());
        }
        let n_checked = match &outcome.sums {
            Some(sums) if round.is_checked => round.answer.check(sums, self.is_ours())?,
            None if round.is_checked && !self.is_blind() => return Err("the sums are missing".into()),
            _ => 0,
        };
        Ok((outcome, n_checked))
    }

    fn child(&self, ours: Ours, round: &Round<'_>) -> Result<Command> {
        let value = clap::ValueEnum::to_possible_value(&ours).ok_or("a contender without a name")?;
        let mut command = Command::new(std::env::current_exe()?);
        let url = match ours {
            Ours::PagesSocket => round.socket_url.ok_or("the server's socket is not known")?,
            _ => round.url,
        };
        command.args(["child", value.get_name(), "--url", url, "--table", &round.prepared.tables.join(",")]);
        command.args(["--select", &round.answer.select]);
        command.args(["--connections", &self.connections.to_string()]);
        if round.is_checked && !ours.is_drain() {
            command.arg("--check");
        }
        Ok(command)
    }

    /// The whole run of the command, from its start to its end.
    fn export(&self, program: &Path, read_mode: &str, round: &Round<'_>) -> Result<Outcome> {
        let flags = [format!("--readers={}", self.connections), format!("--read-mode={read_mode}")];
        let started = Instant::now();
        let rows = round.answer.rows;
        let report = command::export(program, round.url, round.prepared.table()?, "none", &flags, rows)?;
        let wall_seconds = started.elapsed().as_secs_f64();
        let number =
            |path: &str| report.pointer(path).and_then(Value::as_f64).ok_or("a report without times");
        let whole = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        if read_mode == "pages" {
            command::check_pages(&report)?;
        }
        Ok(Outcome {
            rows,
            wall_seconds,
            cpu_seconds: number("/cpu_seconds")?,
            peak_bytes: whole("/peak_memory_bytes"),
            bytes: whole("/wire_bytes"),
            start_seconds: wall_seconds - number("/seconds")?,
            encode_seconds: None,
            beyond_bytes: None,
            sums: None,
        })
    }

    fn python(&self, script: &Script, round: &Round<'_>) -> Result<Command> {
        let mut command = Command::new(&script.python);
        command.arg(folders::source().join(format!("rivals/{}.py", script.name))).args(&script.arguments);
        command.args([round.url, round.prepared.table()?, &self.connections.to_string()]);
        command.arg(round.pages.to_string());
        if round.is_checked {
            command.arg(round.answer.kinds(script.is_ours)?);
        }
        Ok(command)
    }
}

/// Runs a program that prints an [`Outcome`] as its last line.
pub(crate) fn outcome(command: &mut Command) -> Result<Outcome> {
    let output = command.output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        // Python's last lines say what happened, below the place; details may follow.
        let mut lines = stderr.trim().lines().rev();
        let message = lines.clone().find(|line| line.contains("Error:")).or_else(|| lines.next());
        return Err(format!("failed with {}: {}", output.status, message.unwrap_or("no message")).into());
    }
    let last = stdout.lines().last().ok_or("a run without an outcome")?;
    Ok(serde_json::from_str(last)?)
}
