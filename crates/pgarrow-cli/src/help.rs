//! Pages that come from the flags themselves: usage, completions, the manual.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use pgarrow::{Error, escape_control};
use pgarrow_sink::{Output, SinkError};

use crate::console::{Console, LogFormat, ProgressForm};
use crate::exit::Failure;
use crate::flags::{Flags, described, is_own};
use crate::log;

/// Prints what clap reports: help, the version, or an error in the flags.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if error.use_stderr() && log::form_of(&arguments) == LogFormat::Json {
        let text = without_secrets(&error.render().to_string(), &arguments);
        let console = Console::new(false, LogFormat::Json, ProgressForm::None);
        log::install(&console);
        console.error(text.trim_end());
        return exit_code(error);
    }
    let text = error.render().to_string();
    let shown = without_secrets(&text, &arguments);
    if shown == text {
        let _ = error.print();
    } else {
        let lines: Vec<String> = shown.lines().map(escape_control).collect();
        // If stderr is gone, there is no place for a message.
        let _ = writeln!(io::stderr(), "{}", lines.join("\n"));
    }
    exit_code(error)
}

fn exit_code(error: &clap::Error) -> ExitCode {
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Hides arguments that may hold a password, for example a connection in the wrong place: the text may end
/// up in a log.
fn without_secrets(text: &str, arguments: &[String]) -> String {
    let secrets = arguments.iter().filter(|argument| may_hold_a_password(argument));
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "(hidden)"))
}

fn may_hold_a_password(argument: &str) -> bool {
    argument.contains("://") || argument.to_ascii_lowercase().contains("password")
}

/// Prints the completions for a shell: only arguments that the commands accept.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut page = Vec::new();
    // The new commands borrow names for the life of the program.
    let all: &'static Command = Box::leak(Box::new(described()));
    clap_complete::generate(shell, &mut offered(all), "pgarrow", &mut page);
    print(&page)
}

/// The command without hidden options, which exist only to be refused with a reason: generators offer hidden
/// options, too.
fn offered(command: &'static Command) -> Command {
    let is_offered = |arg: &&Arg| !arg.is_hide_set() && is_own(command, arg);
    let args: Vec<&Arg> = command.get_arguments().filter(is_offered).collect();
    let visible = args.iter().map(|arg| arg.get_id().clone()).collect::<Vec<_>>();
    let args = args.into_iter().map(|arg| {
        let others = command.get_arg_conflicts_with(arg).into_iter().map(|other| other.get_id().clone());
        let others = others.filter(|other| visible.contains(other)).collect::<Vec<_>>();
        let mut offered = Arg::new(arg.get_id().clone())
            .action(arg.get_action().clone())
            .value_parser(arg.get_value_parser().clone())
            .value_hint(arg.get_value_hint())
            .global(arg.is_global_set())
            .hide_possible_values(arg.is_hide_possible_values_set())
            .conflicts_with_all(others);
        if let Some(help) = arg.get_help() {
            offered = offered.help(help.clone());
        }
        if let Some(names) = arg.get_value_names() {
            offered = offered.value_names(names.to_vec());
        }
        match (arg.get_long(), arg.get_short()) {
            (Some(long), Some(short)) => offered.long(long).short(short),
            (Some(long), None) => offered.long(long),
            (None, Some(short)) => offered.short(short),
            (None, None) => offered.required(arg.is_required_set()),
        }
    });
    let begun = Command::new(command.get_name()).args(args);
    let begun = match command.get_about() {
        Some(about) => begun.about(about.clone()),
        None => begun,
    };
    let begun = match command.get_version() {
        Some(version) => begun.version(version),
        None => begun,
    };
    // The parser adds `help`, and will do so to what is made here.
    let is_offered = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    begun.subcommands(command.get_subcommands().filter(is_offered).map(offered))
}

/// The manual: one page on stdout, or a page for every command in a folder.
pub(crate) fn manual(dir: Option<&Path>) -> Result<(), Failure> {
    match dir {
        Some(dir) => clap_mangen::generate_to(Flags::command(), dir).map_err(|error| {
            Failure::output(format!("the manual pages cannot be written to {dir:?}: {error}"))
        }),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Flags::command())
                .render(&mut page)
                .map_err(|error| Failure::output(format!("the manual page cannot be made: {error}")))?;
            print(&page)
        }
    }
}

/// Writes bytes to stdout, and returns the errors at which `println!` would panic.
pub(crate) fn print(page: &[u8]) -> Result<(), Failure> {
    let mut output = Output::stdout().map_err(Error::from)?;
    output.write_all(page).map_err(|error| Error::from(SinkError::io("write", None, error)))?;
    output.publish().map_err(Error::from)?;
    Ok(())
}
