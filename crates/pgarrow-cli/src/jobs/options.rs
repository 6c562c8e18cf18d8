//! The options of a job: flags before the environment before the file.
//!
//! Each is given to the parser of flags, so that it means the same everywhere: `readers = 4` in the file and
//! `PGARROW_READERS=4` become `--readers=4`, in front of what the user has typed.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, Args, Command, CommandFactory, FromArgMatches};
use pgarrow_job::JobFile;

use crate::exit::Failure;
use crate::flags::{Flags, JobOptions};

/// A job file with the options that are in force.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) file: JobFile,
    pub(super) options: JobOptions,
    /// Every option that something gives, with its value and who says so, the last word only.
    pub(super) effective: Vec<Effective>,
}

/// An option that is in force.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Effective {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) from: String,
}

/// Values of one option from one place.
struct Given {
    name: String,
    values: Vec<String>,
    from: String,
}

impl Given {
    fn arguments(&self) -> impl Iterator<Item = OsString> {
        let flag = self.name.replace('_', "-");
        let switch = self.values.is_empty().then(|| format!("--{flag}"));
        let values = self.values.iter().map(move |value| format!("--{flag}={value}"));
        switch.into_iter().chain(values).map(OsString::from).collect::<Vec<_>>().into_iter()
    }
}

/// Reads a job file for `command`, `run` or `check`, and puts its options together with those of the environment
/// and of the command line.
pub(super) fn load(path: &Path, command: &str) -> Result<Loaded, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::options(format!("the job file {path:?} cannot be read: {error}")))?;
    let known = known();
    let names: Vec<String> = known.iter().map(name).collect();
    let variable = |name: &str| env::var(name).ok();
    let file = JobFile::parse(&path.display().to_string(), &text, &names, &variable)?;
    let of_file = file.options.iter().map(|option| Given {
        name: option.name.clone(),
        values: option.values.clone(),
        from: format!("{}, line {}", file.name, option.line),
    });
    let mut given: Vec<Given> = of_file.collect();
    for arg in &known {
        given.extend(of_environment(arg)?);
    }
    given.iter().try_for_each(check)?;

    let arguments: Vec<OsString> = env::args_os().collect();
    let at = arguments.iter().position(|argument| argument == command);
    let (before, typed) = arguments.split_at(at.map_or(arguments.len(), |at| at.saturating_add(1)));
    let all =
        before.iter().cloned().chain(given.iter().flat_map(Given::arguments)).chain(typed.iter().cloned());
    let parser = || Flags::command().mut_subcommand(command, |parser| parser.args_override_self(true));
    // What the user typed alone was parsed before, so this cannot fail for it.
    let matches = parser().try_get_matches_from(all).map_err(|error| Failure::options(first_line(&error)))?;
    let matches = matches.subcommand_matches(command).cloned().unwrap_or_default();
    let options =
        JobOptions::from_arg_matches(&matches).map_err(|error| Failure::options(first_line(&error)))?;

    if let Some(typed) =
        parser().try_get_matches_from(&arguments).ok().as_ref().and_then(|it| it.subcommand_matches(command))
    {
        for arg in &known {
            let id = arg.get_id().as_str();
            if typed.value_source(id) == Some(ValueSource::CommandLine) {
                let values = typed.get_raw(id).into_iter().flatten();
                let values = values.map(|value| value.to_string_lossy().into_owned()).collect();
                given.push(Given { name: name(arg), values, from: "flag".to_owned() });
            }
        }
    }
    Ok(Loaded { file, options, effective: effective(&given) })
}

/// The last word about each option, by name.
fn effective(given: &[Given]) -> Vec<Effective> {
    let mut effective: Vec<Effective> = Vec::new();
    for Given { name, values, from } in given {
        let value = if values.is_empty() { "true".to_owned() } else { values.join(", ") };
        effective.retain(|earlier| earlier.name != *name);
        effective.push(Effective { name: name.clone(), value, from: from.clone() });
    }
    effective.sort_by(|a, b| a.name.cmp(&b.name));
    effective
}

/// The options that a job may have, as arguments.
fn known() -> Vec<Arg> {
    let parser = JobOptions::augment_args(Command::new("options"));
    parser.get_arguments().filter(|arg| arg.get_long().is_some()).cloned().collect()
}

fn name(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().replace('-', "_")
}

/// `PGARROW_READERS=4`.
fn of_environment(arg: &Arg) -> Result<Option<Given>, Failure> {
    let name = name(arg);
    let variable = format!("PGARROW_{}", name.to_uppercase());
    let Ok(value) = env::var(&variable) else { return Ok(None) };
    let values = match (arg.get_action().takes_values(), value.as_str()) {
        (true, _) => vec![value],
        (false, "true" | "1") => Vec::new(),
        (false, "false" | "0" | "") => return Ok(None),
        (false, _) => return Err(Failure::options(format!("{variable}: write true or false"))),
    };
    Ok(Some(Given { name, values, from: variable }))
}

/// Parses an option alone, so that an error can say where it stands.
fn check(given: &Given) -> Result<(), Failure> {
    let parser = JobOptions::augment_args(Command::new("options").no_binary_name(true));
    match parser.try_get_matches_from(given.arguments()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::options(format!("{}: {}", given.from, first_line(&error)))),
    }
}

/// A parser's error without its usage.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
