//! Who runs: each in a process of its own, so that CPU time and memory are its own.

use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Result;

/// What one run came to.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) rows: u64,
    pub(crate) wall_seconds: f64,
    /// User and system time of the client, from the start of the COPY to its end.
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    /// Bytes on the wire, or of the file that was written.
    pub(crate) bytes: u64,
}

/// A contender of this suite.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// The COPY, read and thrown away
    PlainDrain,
    /// The same with SO_RCVLOWAT
    FairDrain,
    /// pgarrow to record batches, which are dropped
    Arrow,
    /// pgarrow to a Parquet file (zstd 1)
    Parquet,
    /// pgarrow to an Arrow IPC file
    Ipc,
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PlainDrain => "plain drain",
            Self::FairDrain => "fair drain",
            Self::Arrow => "pgarrow → Arrow",
            Self::Parquet => "pgarrow → Parquet",
            Self::Ipc => "pgarrow → IPC",
        }
    }

    /// One run in a process of its own.
    pub(crate) fn run(self, url: &str, table: &str) -> Result<Outcome> {
        let value = clap::ValueEnum::to_possible_value(&self).ok_or("a contender without a name")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["child", value.get_name(), "--url", url, "--table", table]);
        outcome(&mut command)
    }
}

/// Runs a program that prints an [`Outcome`] as its last line.
pub(crate) fn outcome(command: &mut Command) -> Result<Outcome> {
    let output = command.output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed: {}", stderr.trim()).into());
    }
    let last = stdout.lines().last().ok_or("a run without an outcome")?;
    Ok(serde_json::from_str(last)?)
}
