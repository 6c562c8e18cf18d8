//! `--report`: what a run came to, as JSON, whether it has succeeded or failed.
//!
//! ```text
//!  begin ─▶ … ─▶ complete   status "complete", and all of the export's or load's own report
//!             └▶ failed     status "failed", and why: also where there is no time to unwind (signals)
//! ```
//!
//! A failed run must not leave the report of an earlier one in its place: whoever looks would take it for that of this one.
//! Where both have something to say, as which servers, it stands in the same place.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use pgarrow::Config;
use pgarrow_sink::{Output, new_run_id};
use serde::Serialize;

use crate::console::Console;
use crate::exit::Failure;
use crate::units::utc;

/// The report of one run, if one was asked for. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct RunReport(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    command: Command,
    run_id: String,
    started: SystemTime,
    /// Taken out by whoever writes it.
    output: Mutex<Option<Output>>,
    servers: Mutex<Servers>,
}

/// What is reported on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    Export,
    Load,
}

/// Which servers it was about, as far as that is known.
#[derive(Clone, Debug, Default)]
struct Servers {
    source: Option<ServerName>,
    target: Option<TargetName>,
}

#[derive(Clone, Debug, Serialize)]
struct ServerName {
    endpoint: String,
    database: String,
}

#[derive(Clone, Debug, Serialize)]
struct TargetName {
    /// The table, as it was given.
    target: String,
    server: ServerName,
}

impl From<&Config> for ServerName {
    fn from(config: &Config) -> Self {
        Self { endpoint: config.endpoint(), database: config.dbname().to_owned() }
    }
}

/// What every report has.
#[derive(Serialize)]
struct Run<'a> {
    status: &'static str,
    exit_code: u8,
    run_id: &'a str,
    started: String,
    ended: String,
}

#[derive(Serialize)]
struct Complete<'a, R> {
    #[serde(flatten)]
    run: Run<'a>,
    #[serde(flatten)]
    report: &'a R,
}

#[derive(Serialize)]
struct Failed<'a> {
    #[serde(flatten)]
    run: Run<'a>,
    pgarrow_version: &'static str,
    error: Why<'a>,
    /// Of an export, as its report has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerName>,
    /// Of an export into a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<TargetName>,
    /// Of a load.
    #[serde(flatten)]
    target: Option<TargetName>,
}

#[derive(Serialize)]
struct Why<'a> {
    kind: &'static str,
    sqlstate: Option<&'a str>,
    text: String,
}

impl RunReport {
    /// Begins it, with the file that it is to be written to, if one was asked for.
    pub(crate) fn begin(command: Command, output: Option<Output>) -> Self {
        Self(Arc::new(Shared {
            command,
            run_id: new_run_id(),
            started: SystemTime::now(),
            output: Mutex::new(output),
            servers: Mutex::default(),
        }))
    }

    /// What tells this run from all others.
    pub(crate) fn run_id(&self) -> &str {
        &self.0.run_id
    }

    /// Where rows come from. Once connected, with the server that answered.
    pub(crate) fn set_source(&self, config: &Config) {
        self.servers().source = Some(config.into());
    }

    /// Where rows go.
    pub(crate) fn set_target(&self, table: &str, config: &Config) {
        self.servers().target = Some(TargetName { target: table.to_owned(), server: config.into() });
    }

    /// Writes that the run is complete, with what it came to.
    pub(crate) fn complete(&self, report: &impl Serialize, console: &Console) -> Result<(), Failure> {
        let run = self.run("complete", 0);
        self.write(&Complete { run, report }, console).map_err(|error| {
            let what = self.0.command.name();
            Failure::output(format!("the {what} is complete, but its report is not: {error}"))
        })
    }

    /// Writes that it has failed, and why. Where that fails too, an earlier report may stay: that is said.
    pub(crate) fn failed(&self, failure: &Failure, console: &Console) {
        let Servers { source, target } = self.servers().clone();
        let (load, target) = match self.0.command {
            Command::Export => (target, None),
            Command::Load => (None, target),
        };
        let failed = Failed {
            run: self.run("failed", failure.code()),
            pgarrow_version: env!("CARGO_PKG_VERSION"),
            error: Why { kind: failure.kind(), sqlstate: failure.sqlstate(), text: failure.to_string() },
            server: source,
            load,
            target,
        };
        if let Err(error) = self.write(&failed, console) {
            console.warn(format!("the report of this failure could not be written: {error}"));
        }
    }

    fn run(&self, status: &'static str, exit_code: u8) -> Run<'_> {
        let (started, ended) = (utc(self.0.started), utc(SystemTime::now()));
        Run { status, exit_code, run_id: &self.0.run_id, started, ended }
    }

    fn write(&self, report: &impl Serialize, console: &Console) -> Result<(), String> {
        let Some(mut file) = self.take() else { return Ok(()) };
        let mut json = serde_json::to_vec_pretty(report).map_err(|error| error.to_string())?;
        json.push(b'\n');
        file.write_all(&json).map_err(|error| error.to_string())?;
        let published = file.publish().map_err(|error| error.to_string())?;
        published.warnings.iter().for_each(|warning| console.warn(warning));
        Ok(())
    }

    fn take(&self) -> Option<Output> {
        self.0.output.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.0.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Command {
    fn name(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Load => "load",
        }
    }
}
