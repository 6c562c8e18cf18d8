//! The options of a job: flags before the environment before the file.
//!
//! Each is given to the parser of flags, so that it means the same everywhere: `readers = 4` in the file and
//! `PGARROW_READERS=4` become `--readers=4`, in front of what the user has typed. The last word about an
//! option wins as a whole, also for one that may be repeated.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches};
use pgarrow_job::{JobFile, KnownOption, OptionValue};

use crate::exit::Failure;
use crate::flags::{Flags, JobOptions};

/// An option that is of no use for several tables.
const OF_ONE_TABLE: &str = "split_on";

/// A job file with the options that are in force.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) file: JobFile,
    pub(super) options: JobOptions,
    /// Every option that something gives, by name: `readers = 3  # flag`.
    pub(super) effective: Vec<String>,
}

/// An option from one place.
struct Given {
    name: String,
    value: OptionValue,
    /// The values as they may be shown: variables of a job file by their names.
    shown: Vec<String>,
    from: String,
}

impl Given {
    fn arguments(&self) -> Vec<OsString> {
        let flag = self.name.replace('_', "-");
        match &self.value {
            OptionValue::Switch(true) => vec![format!("--{flag}").into()],
            OptionValue::Switch(false) => Vec::new(),
            OptionValue::Values(values) => {
                values.iter().map(|value| format!("--{flag}={value}").into()).collect()
            }
        }
    }

    fn line(&self) -> String {
        let value = match &self.value {
            OptionValue::Switch(is_on) => is_on.to_string(),
            OptionValue::Values(_) => self.shown.join(", "),
        };
        format!("{} = {value}  # {}", self.name, self.from)
    }

    /// Whether its text may be repeated in a message.
    fn is_shown(&self) -> bool {
        matches!(&self.value, OptionValue::Values(values) if *values == self.shown)
    }
}

/// Reads a job file for `command`, `run` or `check`, and puts its options together with those of the
/// environment and of the command line, whose words are `arguments`.
pub(super) fn load(path: &Path, command: &str, arguments: &[OsString]) -> Result<Loaded, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::options(format!("the job file {path:?} cannot be read: {error}")))?;
    let known = known();
    let names: Vec<KnownOption> = known
        .iter()
        .map(|arg| KnownOption { name: name(arg), is_switch: !arg.get_action().takes_values() })
        .collect();
    let variable = |name: &str| env::var(name).ok();
    let file = JobFile::parse(&path.display().to_string(), &text, &names, &variable)?;
    let of_file = file.options.iter().map(|option| Given {
        name: option.name.clone(),
        value: option.value.clone(),
        shown: option.written.clone(),
        from: format!("{}, line {}", file.name, option.line),
    });
    let mut given: Vec<Given> = of_file.collect();
    for arg in &known {
        if let Some(of_environment) = of_environment(arg)? {
            given.retain(|earlier| earlier.name != of_environment.name);
            given.push(of_environment);
        }
    }
    given.iter().try_for_each(check)?;

    let matches = |arguments: Vec<OsString>| -> Result<ArgMatches, Failure> {
        // What the user has typed was parsed before, and each of the others alone.
        let parsed = Flags::command().try_get_matches_from(arguments);
        let parsed = parsed.map_err(|error| Failure::options(first_line(&error)))?;
        Ok(parsed.subcommand_matches(command).cloned().unwrap_or_default())
    };
    let typed = matches(arguments.to_vec())?;
    let is_typed = |arg: &&Arg| typed.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    for arg in known.iter().filter(is_typed) {
        given.retain(|earlier| earlier.name != name(arg));
    }
    let at = arguments.iter().position(|argument| argument == command);
    let (before, behind) = arguments.split_at(at.map_or(arguments.len(), |at| at.saturating_add(1)));
    let of_job = given.iter().flat_map(Given::arguments);
    let all = before.iter().cloned().chain(of_job).chain(behind.iter().cloned()).collect();
    let options =
        JobOptions::from_arg_matches(&matches(all)?).map_err(|error| Failure::options(first_line(&error)))?;

    for arg in known.iter().filter(is_typed) {
        let values = typed.get_raw(arg.get_id().as_str()).into_iter().flatten();
        let values: Vec<String> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let value = match arg.get_action().takes_values() {
            true => OptionValue::Values(values.clone()),
            false => OptionValue::Switch(true),
        };
        given.push(Given { name: name(arg), value, shown: values, from: "flag".to_owned() });
    }
    given.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Loaded { file, options, effective: given.iter().map(Given::line).collect() })
}

/// The options that a job may have, as arguments.
fn known() -> Vec<Arg> {
    let parser = JobOptions::augment_args(Command::new("options"));
    let is_known = |arg: &&Arg| arg.get_long().is_some() && name(arg) != OF_ONE_TABLE;
    parser.get_arguments().filter(is_known).cloned().collect()
}

fn name(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().replace('-', "_")
}

/// `PGARROW_READERS=4`.
fn of_environment(arg: &Arg) -> Result<Option<Given>, Failure> {
    let name = name(arg);
    let variable = format!("PGARROW_{}", name.to_uppercase());
    let Some(text) = env::var_os(&variable) else { return Ok(None) };
    let Ok(text) = text.into_string() else {
        return Err(Failure::options(format!("{variable} is not UTF-8")));
    };
    let value = match (arg.get_action().takes_values(), text.as_str()) {
        (true, _) => OptionValue::Values(vec![text.clone()]),
        (false, "true" | "1") => OptionValue::Switch(true),
        (false, "false" | "0" | "") => OptionValue::Switch(false),
        (false, _) => return Err(Failure::options(format!("{variable}: write true or false"))),
    };
    Ok(Some(Given { name, value, shown: vec![text], from: variable }))
}

/// Parses an option alone, so that an error can say where it stands.
fn check(given: &Given) -> Result<(), Failure> {
    let parser = JobOptions::augment_args(Command::new("options").no_binary_name(true));
    match parser.try_get_matches_from(given.arguments()) {
        Ok(_) => Ok(()),
        Err(error) if given.is_shown() => {
            Err(Failure::options(format!("{}: {}", given.from, first_line(&error))))
        }
        // A variable may have a secret.
        Err(_) => {
            let text = format!("{}: what its variables have is no value for {}", given.from, given.name);
            Err(Failure::options(text))
        }
    }
}

/// A parser's error without its usage.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
