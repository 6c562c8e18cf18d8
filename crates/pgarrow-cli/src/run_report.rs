//! `--report` and `--metrics`: the result of a run, whether it succeeded or failed.
//!
//! ```text
//!  begin ─▶ … ─▶ complete   status "complete", and all of the export's or load's own report; "incomplete", and
//!             │             the same, if some of its tables failed and the others are there
//!             └▶ failed     status "failed", and why: also where there is no time to unwind (signals)
//! ```
//!
//! A failed run must not leave the report of an earlier run in place: readers would take it for the report of
//! this run. Fields that both forms have, such as the servers, are in the same place.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use pgarrow::{Config, Report};
use pgarrow_sink::{Output, new_run_id};
use serde::Serialize;

use crate::console::Console;
use crate::exit::Failure;
use crate::metrics::{Ended, Metrics};
use crate::units::utc;

/// The report of one run, if the user asked for one. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct RunReport(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    command: Command,
    run_id: String,
    started: SystemTime,
    /// Taken out by the thread that writes it.
    output: Mutex<Option<Output>>,
    metrics: Mutex<Option<Metrics>>,
    servers: Mutex<Servers>,
    /// The report, once it is written, for a program that runs the command.
    text: Mutex<Option<String>>,
}

/// The command that is reported on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Command {
    Export,
    Load,
    Run,
}

/// The servers of the run, as far as they are known.
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
    /// The table, as the user named it.
    target: String,
    server: ServerName,
}

impl From<&Config> for ServerName {
    fn from(config: &Config) -> Self {
        Self { endpoint: config.endpoint(), database: config.dbname().to_owned() }
    }
}

/// The fields of every report.
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
    /// The source of an export, as its report has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerName>,
    /// The target of an export into a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<TargetName>,
    /// The target of a load.
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
    /// Begins the report, with the files to write it and its metrics to, if the user asked for them.
    pub(crate) fn begin(command: Command, output: Option<Output>, metrics: Option<Metrics>) -> Self {
        Self(Arc::new(Shared {
            command,
            run_id: new_run_id(),
            started: SystemTime::now(),
            output: Mutex::new(output),
            metrics: Mutex::new(metrics),
            servers: Mutex::default(),
            text: Mutex::default(),
        }))
    }

    /// The id of this run.
    pub(crate) fn run_id(&self) -> &str {
        &self.0.run_id
    }

    /// When this run began, as reports have it.
    pub(crate) fn started(&self) -> String {
        utc(self.0.started)
    }

    /// Sets where rows come from. Once connected, the server that answered.
    pub(crate) fn set_source(&self, config: &Config) {
        self.servers().source = Some(config.into());
    }

    /// Sets where rows go.
    pub(crate) fn set_target(&self, table: &str, config: &Config) {
        self.servers().target = Some(TargetName { target: table.to_owned(), server: config.into() });
    }

    /// Writes how the run ended, with its report: complete, or, with an error as its `outcome`, without some
    /// of its tables. Returns that outcome, or why the report is not there.
    pub(crate) fn complete(
        &self,
        report: &impl Serialize,
        outcome: Result<(), Failure>,
        console: &Console,
    ) -> Result<(), Failure> {
        let run = self.ended(&outcome);
        let written = self.write(&Complete { run, report }, console);
        self.and_written(outcome, "report is", written, console)
    }

    /// The same for an export, whose numbers also become metrics.
    pub(crate) fn complete_export(
        &self,
        export: &Report,
        report: &impl Serialize,
        outcome: Result<(), Failure>,
        console: &Console,
    ) -> Result<(), Failure> {
        let exit_code = self.ended(&outcome).exit_code;
        let outcome = self.complete(report, outcome, console);
        let written = self.write_metrics(exit_code, Some(export), console);
        self.and_written(outcome, "metrics are", written, console)
    }

    fn ended(&self, outcome: &Result<(), Failure>) -> Run<'_> {
        match outcome {
            Ok(()) => self.run("complete", 0),
            Err(failure) => self.run("incomplete", failure.code()),
        }
    }

    /// The outcome of the run. Only if it has none of its own, that what it writes about itself is not there.
    fn and_written(
        &self,
        outcome: Result<(), Failure>,
        what: &str,
        written: Result<(), String>,
        console: &Console,
    ) -> Result<(), Failure> {
        match (outcome, written) {
            (outcome, Ok(())) => outcome,
            (Ok(()), Err(error)) => Err(self.incomplete(what, &error)),
            (Err(failure), Err(error)) => {
                console.warn(self.incomplete(what, &error).to_string());
                Err(failure)
            }
        }
    }

    fn incomplete(&self, what: &str, error: &str) -> Failure {
        Failure::output(format!("the {} is complete, but its {what} not: {error}", self.0.command.name()))
    }

    /// Writes that the run failed, and why. If this fails too, an earlier report may stay, and a warning says
    /// so.
    pub(crate) fn failed(&self, failure: &Failure, console: &Console) {
        let Servers { source, target } = self.servers().clone();
        let (load, target) = match self.0.command {
            Command::Export | Command::Run => (target, None),
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
        if let Err(error) = self.write_metrics(failure.code(), None, console) {
            console.warn(format!("the metrics of this failure could not be written: {error}"));
        }
    }

    fn run(&self, status: &'static str, exit_code: u8) -> Run<'_> {
        let (started, ended) = (utc(self.0.started), utc(SystemTime::now()));
        Run { status, exit_code, run_id: &self.0.run_id, started, ended }
    }

    /// The report as JSON, once the run has ended, if a program runs the command.
    pub(crate) fn text(&self) -> Option<String> {
        self.0.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, report: &impl Serialize, console: &Console) -> Result<(), String> {
        let file = self.take();
        if file.is_none() && !console.is_embedded() {
            return Ok(());
        }
        let mut json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
        json.push('\n');
        if console.is_embedded() {
            *self.0.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(json.clone());
        }
        let Some(mut file) = file else { return Ok(()) };
        file.write_all(json.as_bytes()).map_err(|error| error.to_string())?;
        let published = file.publish().map_err(|error| error.to_string())?;
        published.warnings.iter().for_each(|warning| console.warn(warning));
        Ok(())
    }

    fn write_metrics(&self, exit_code: u8, report: Option<&Report>, console: &Console) -> Result<(), String> {
        let metrics = self.0.metrics.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(metrics) = metrics else { return Ok(()) };
        let ended = Ended { started: self.0.started, ended: SystemTime::now(), exit_code, report };
        metrics.write(ended)?.into_iter().for_each(|warning| console.warn(warning));
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
            Self::Run => "run",
        }
    }
}
