//! The commands for other programs, such as modules of other languages: the same options, checked in the same
//! way, and results as values.
//!
//! ```text
//!  options as flags ─▶ Caller ─┬─ open           a planned export
//!                              ├─ export, load_files, load_batches, run, verify, inspect, plan   JSON
//!                              └─ watch ──▶ Watcher   progress and warnings, from another thread
//! ```
//!
//! Nothing is written to stdout or stderr, no handler of a signal is installed, and only the [`Cancel`] ends
//! a call early. Options are given as the command line has them, `--batch-rows`, `1000`, without the command.

use std::ffi::OsString;
use std::time::Duration;

use arrow_array::RecordBatchReader;
use clap::Parser;
use clap::error::ErrorKind as Usage;
use pgarrow::{Cancel, Config, Error, ErrorKind, Extract, Hint, Message, Report, Run, Slice, Source};
use pgarrow_load::Connection;

use crate::console::Console;
use crate::exit::Failure;
use crate::export;
use crate::flags::{Command, ExportFlags, Flags, described, is_own};
use crate::host::Host;
use crate::inspect;
use crate::job::{ExportJob, Reading};
use crate::jobs;
use crate::load::{self, Rows};
use crate::plan;
use crate::subject::Subject;
use crate::units;
use crate::verify;
use crate::words;

/// Why a call failed.
#[derive(Debug)]
pub struct Problem {
    /// In the command's words, with flags.
    pub text: String,
    /// The kind of failure, as reports of runs have it.
    pub kind: &'static str,
    /// The error itself, if it was not the options alone.
    pub error: Option<Error>,
    /// The report of a run that ended without some of its tables, as JSON.
    pub report: Option<String>,
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, Problem>;

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let (text, kind) = (failure.to_string(), failure.kind());
        let error = match failure {
            Failure::Export(error) => Some(error),
            _ => None,
        };
        Self { text, kind, error, report: None }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

impl Problem {
    /// Options that cannot be used.
    pub fn options(text: impl Into<String>) -> Self {
        Self { text: text.into(), kind: "options", error: None, report: None }
    }
}

/// What is given with a call beside its options.
#[derive(Debug, Default)]
pub struct Given {
    /// The values of `$1`, `$2`, …, in place of `--param`.
    pub params: Vec<Option<String>>,
    /// The exact names of the columns to read, in place of `--columns`.
    pub columns: Option<Vec<String>>,
}

/// From now on, hints about options are said as `translation` says them. It gets the hint, and the name of
/// its flag without dashes. For the whole process.
pub fn translate_hints(translation: fn(&Hint, &str) -> String) {
    words::translate(translation);
}

/// An error's text in the command's words, or translated.
pub fn text_of(error: &Error) -> String {
    words::error(error)
}

/// A message in the command's words, or translated.
pub fn message_text(message: &Message) -> String {
    words::message(message)
}

/// The report of an export as JSON, in the command's words, or translated.
pub fn report_json(mut report: Report) -> String {
    words::report(&mut report);
    // Only maps with keys that are no text cannot be written.
    serde_json::to_string(&report).unwrap_or_default()
}

/// The connection that a string of psql's form names, or the environment.
///
/// # Errors
///
/// The string cannot be used.
pub fn config(conninfo: Option<&str>, connect_timeout: Option<Duration>) -> Result<Config> {
    let conninfo = conninfo.filter(|text| !text.trim().is_empty());
    let config = Config::parse(conninfo).map_err(Error::from)?;
    Ok(match connect_timeout {
        Some(time) => config.with_connect_timeout(Some(time)),
        None => config,
    })
}

/// A number of bytes as `--memory` takes it: `256M`.
///
/// # Errors
///
/// The text is none, or less than 16 MiB.
pub fn memory_bytes(text: &str) -> Result<usize> {
    units::parse_memory(text).map_err(|why| Problem::options(format!("the memory {text:?}: {why}")))
}

/// A time as `--connect-timeout` takes it: `10s`.
///
/// # Errors
///
/// The text is none.
pub fn duration(text: &str) -> Result<Duration> {
    units::parse_duration(text).map_err(|why| Problem::options(format!("the time {text:?}: {why}")))
}

/// Makes calls. One runs at a time; its [`Watcher`] and its [`Cancel`] are for other threads.
#[derive(Debug)]
pub struct Caller {
    host: Host,
}

/// How far a call is.
#[derive(Clone, Debug)]
pub struct Watcher(Console);

impl Watcher {
    /// The object of `--progress json`. `None` before rows are read, and behind the last one.
    pub fn progress(&self) -> Option<String> {
        self.0.progress_json()
    }

    /// The warnings so far, each once.
    pub fn warnings(&self) -> Vec<String> {
        self.0.warnings()
    }
}

impl Caller {
    /// Calls that `cancel` stops. Those that read have `source` as their server, if it is given, and
    /// otherwise connect themselves.
    pub fn new(cancel: Cancel, source: Option<Source>) -> Self {
        Self { host: Host::embedded(cancel, source) }
    }

    /// Loads become part of this transaction.
    #[must_use]
    pub fn in_transaction(self, transaction: Connection) -> Self {
        Self { host: self.host.in_transaction(transaction) }
    }

    /// Progress and warnings of the calls.
    pub fn watch(&self) -> Watcher {
        Watcher(self.host.console.clone())
    }

    /// Describes what `pgarrow export` would read: for one table or query.
    ///
    /// # Errors
    ///
    /// Options that contradict each other.
    pub fn extract(&self, options: &[OsString], given: Given) -> Result<Extract> {
        let Reading { connection, subject, options, .. } = reading(options, given)?;
        let Subject::One { single, limit } = &subject else {
            return Err(Problem::options(
                "batches have one schema: name one --table or a --query, without patterns",
            ));
        };
        let extract = single.extract(&self.host.connect(connection)?).options(options);
        Ok(limit.iter().fold(extract, |extract, rows| extract.limit(*rows)))
    }

    /// Plans what `pgarrow export` reads, tables or a query, as far as the snapshot.
    ///
    /// # Errors
    ///
    /// As for the command.
    pub fn open(&self, options: &[OsString], given: Given) -> Result<Run> {
        let reading = reading(options, given)?;
        let source = self.host.connect(reading.connection)?;
        Ok(reading.subject.open(&source, reading.options, None)?)
    }

    /// Describes one slice, read with the options of `pgarrow export --slice`.
    ///
    /// # Errors
    ///
    /// Options that are not for slices.
    pub fn extract_slice(&self, slice: Slice, options: &[OsString]) -> Result<Extract> {
        // In front: behind dashes there may be a connection.
        let all: Vec<OsString> =
            ["--slice".into(), slice.to_json()?.into()].into_iter().chain(options.iter().cloned()).collect();
        self.extract(&all, Given::default())
    }

    /// `pgarrow export`. Returns its report.
    ///
    /// # Errors
    ///
    /// As for the command.
    pub fn export(&self, options: &[OsString], given: Given) -> Result<String> {
        let flags = export_flags(options)?;
        crate::job::check_reports(&flags)?;
        let change = |job: ExportJob| Ok(ExportJob { reading: with_given(job.reading, given)?, ..job });
        report(export::export_by(&self.host, &flags, change)?.text())
    }

    /// `pgarrow inspect --json`.
    ///
    /// # Errors
    ///
    /// As for the command.
    pub fn inspect(&self, options: &[OsString], given: Given) -> Result<String> {
        let Command::Inspect(flags) = parse("inspect", options)? else { return Err(unknown()) };
        let reading = with_given(Reading::try_from(flags.as_ref())?, given)?;
        let source = self.host.connect(reading.connection.clone())?;
        json(&inspect::inspection(reading, &flags.types, &source)?)
    }

    /// `pgarrow plan --json`.
    ///
    /// # Errors
    ///
    /// As for the command.
    pub fn plan(&self, options: &[OsString], given: Given) -> Result<String> {
        let Command::Plan(flags) = parse("plan", options)? else { return Err(unknown()) };
        let reading = with_given(Reading::try_from(flags.as_ref())?, given)?;
        let source = self.host.connect(reading.connection.clone())?;
        let run = reading.subject.open(&source, reading.options, None)?;
        Ok(String::from_utf8_lossy(&plan::json_of(&run)?).into_owned())
    }

    /// `pgarrow load` of files. Returns its report.
    ///
    /// # Errors
    ///
    /// As for the command.
    pub fn load_files(&self, options: &[OsString]) -> Result<String> {
        let Command::Load(flags) = parse("load", options)? else { return Err(unknown()) };
        load::check(&flags)?;
        report(load::load_by(&self.host, &flags, None)?.text())
    }

    /// `pgarrow load` of batches, in place of files. Returns its report.
    ///
    /// # Errors
    ///
    /// As for the command.
    pub fn load_batches(
        &self,
        options: &[OsString],
        batches: Box<dyn RecordBatchReader + Send>,
    ) -> Result<String> {
        // The command needs a file, and this one is not opened.
        let options: Vec<OsString> = options.iter().cloned().chain(["--".into(), "-".into()]).collect();
        let Command::Load(flags) = parse("load", &options)? else { return Err(unknown()) };
        load::check(&flags)?;
        report(load::load_by(&self.host, &flags, Some(Rows::Batches(batches)))?.text())
    }

    /// `pgarrow run`. Returns its report, which the [`Problem`] of a run without some of its tables has, too.
    ///
    /// # Errors
    ///
    /// As for the command.
    pub fn run(&self, options: &[OsString]) -> Result<String> {
        let Command::Run(flags) = parse("run", options)? else { return Err(unknown()) };
        let (written, outcome) = jobs::run_by(&self.host, &flags, &words_of("run", options))?;
        match outcome {
            Ok(()) => report(written.text()),
            Err(failure) => Err(Problem { report: written.text(), ..failure.into() }),
        }
    }

    /// `pgarrow verify --json`: also of files that differ, which is no error here.
    ///
    /// # Errors
    ///
    /// As for the command, but for differences.
    pub fn verify(&self, options: &[OsString]) -> Result<String> {
        let Command::Verify(flags) = parse("verify", options)? else { return Err(unknown()) };
        json(&verify::verify_by(&self.host, &flags)?)
    }
}

/// The names of all options of a command, without dashes; hidden ones exist only to be refused.
pub fn options_of(command: &str) -> Vec<String> {
    let all = described();
    let Some(command) = all.find_subcommand(command) else { return Vec::new() };
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set() && is_own(command, arg));
    shown.filter_map(|argument| argument.get_long().map(str::to_owned)).collect()
}

fn reading(options: &[OsString], given: Given) -> Result<Reading> {
    let flags = export_flags(options)?;
    Ok(with_given(Reading::batches_of(&flags)?, given)?)
}

fn with_given(reading: Reading, given: Given) -> std::result::Result<Reading, Failure> {
    let Given { params, columns } = given;
    let subject = if params.is_empty() { reading.subject } else { reading.subject.with_params(params) };
    let subject = match columns {
        Some(columns) => subject.with_columns(columns)?,
        None => subject,
    };
    Ok(Reading { subject, ..reading })
}

fn export_flags(options: &[OsString]) -> Result<Box<ExportFlags>> {
    match parse("export", options)? {
        Command::Export(flags) if flags.dry_run => {
            Err(Problem::options("--dry-run is `inspect`, or `describe`"))
        }
        Command::Export(flags) => Ok(flags),
        _ => Err(unknown()),
    }
}

/// The options as flags. The error is the first line of what the command line would say.
fn parse(command: &str, options: &[OsString]) -> Result<Command> {
    match Flags::try_parse_from(words_of(command, options)) {
        Ok(flags) => Ok(flags.command),
        Err(error) if matches!(error.kind(), Usage::DisplayHelp | Usage::DisplayVersion) => Err(unknown()),
        Err(error) => {
            let text = error.render().to_string();
            // Behind it come advice about command lines, and the usage.
            let text = text.split("\n\n").next().unwrap_or_default();
            let text = text.strip_prefix("error: ").unwrap_or(text);
            Err(Problem::options(without_values(&text.split_whitespace().collect::<Vec<_>>().join(" "))))
        }
    }
}

/// The text with plain flags: `--readers` in place of `'--readers <N>'`.
fn without_values(text: &str) -> String {
    let mut parts = text.split("'--");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('\'') {
            Some((flag, behind)) => {
                shown.push_str("--");
                shown.push_str(flag.split(" <").next().unwrap_or_default());
                shown.push_str(behind);
            }
            None => shown.extend(["'--", part]),
        }
    }
    shown
}

/// What would be typed.
fn words_of(command: &str, options: &[OsString]) -> Vec<OsString> {
    ["pgarrow".into(), command.into()].into_iter().chain(options.iter().cloned()).collect()
}

fn unknown() -> Problem {
    Problem::options("these are no options of a call")
}

fn report(text: Option<String>) -> Result<String> {
    text.ok_or_else(|| Error::new(ErrorKind::Protocol, "a run without a report; please report it").into())
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string(value);
    text.map_err(|error| Error::new(ErrorKind::Protocol, format!("the result: {error}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_options_are_one_line_without_usage() {
        let said = |options: &[&str]| {
            let options: Vec<OsString> = options.iter().map(OsString::from).collect();
            parse("export", &options).unwrap_err().text
        };
        let expected = "invalid value '0' for --readers: write a whole number from 1 on";
        assert_eq!(said(&["--readers", "0"]), expected);
        assert!(said(&["--nothing"]).starts_with("unexpected argument --nothing found"));
        let text = "a < b, '--c <D>' or '--e': 'f <G>', '--h";
        assert_eq!(without_values(text), "a < b, --c or --e: 'f <G>', '--h");
    }

    #[test]
    fn a_call_needs_nothing_of_a_terminal() {
        let caller = Caller::new(Cancel::new(), None);
        let error = caller.export(&["--to".into(), "parquet".into()], Given::default()).unwrap_err();
        assert_eq!((error.kind, error.report), ("options", None));
        assert_eq!((caller.watch().progress(), caller.watch().warnings()), (None, Vec::new()));
    }

    #[test]
    fn hidden_options_are_not_offered() {
        let export = options_of("export");
        assert!(
            export.iter().any(|name| name == "batch-rows")
                && !export.iter().any(|name| name == "commit-every")
        );
        assert!(options_of("no such command").is_empty());
    }
}
