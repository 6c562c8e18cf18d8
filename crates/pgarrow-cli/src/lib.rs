//! The `pgarrow` command: flags in, a call of the library, an exit code out.
//!
//! ```text
//!  flags  what was typed ─▶ job  what it means ─▶ export  it is done ─▶ summary, exit
//!                           │ subject              │ outputs, progress, signals, console
//!                           │ destination          ├ plan, inspect  show it
//!                                                  ├ hold  for other processes
//!                           ┌ into                 ├ load  the way back, with rejects beside it
//!                                                  ├ servers  many tables of one server into another
//!                                                  ├ run_report  the result of an export or load, metrics
//!                                                  ├ html        a run as a page
//!                                                  ├ pages       reading by pages
//!                                                  ├ jobs        job files: many tables into one folder
//!                           │ log  events beside messages, words  the library's messages, with flags
//!                                  demo ───────────┘
//!  host      who runs a command: this program, or one that embeds it
//!  embedded  the commands for other programs: options as here, results as values
//! ```

mod allocator;
mod connecting;
mod console;
mod demo;
mod destination;
pub mod embedded;
mod exit;
mod export;
mod flags;
mod help;
mod hold;
mod host;
mod html;
mod inspect;
mod into;
mod job;
mod jobs;
mod load;
mod log;
mod metrics;
mod outputs;
mod pages;
mod plan;
mod progress;
mod received;
mod rejects;
mod run_report;
mod servers;
mod signals;
mod subject;
mod summary;
mod table;
mod units;
mod verify;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::console::{Console, ProgressForm};
use crate::exit::Failure;
use crate::flags::{Command, Flags};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return help::usage(&error),
    };
    let (is_quiet, progress) = match &flags.command {
        Command::Export(flags) => (flags.quiet, flags.progress),
        Command::Load(flags) => (flags.quiet, flags.progress),
        Command::Hold(flags) => (flags.quiet, ProgressForm::Auto),
        Command::Run(flags) => (flags.quiet, flags.progress),
        _ => (false, ProgressForm::Auto),
    };
    let console = Console::new(is_quiet, flags.log_format.unwrap_or_default(), progress);
    log::install(&console);
    let done = run(flags.command, &console);
    allocator::leave_the_rest();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_broken_pipe() {
                console.error(&failure);
            }
            failure.exit_code()
        }
    }
}

fn run(command: Command, console: &Console) -> Result<(), Failure> {
    match command {
        Command::Export(flags) if flags.dry_run => plan::dry_run(&flags, console),
        Command::Export(flags) => export::export(&flags, console),
        Command::Load(flags) => load::load(&flags, console),
        Command::Plan(flags) => plan::plan(&flags, console),
        Command::Inspect(flags) => inspect::inspect(&flags, console),
        Command::Hold(flags) => hold::hold(&flags, console),
        Command::Pages(command) => pages::run(&command, console),
        Command::Run(flags) => jobs::run(&flags, console),
        Command::Init(flags) => jobs::init(&flags, console),
        Command::Check(flags) => jobs::check(&flags, console),
        Command::Verify(flags) => verify::verify(&flags, console),
        Command::Gc(flags) => jobs::gc(&flags, console),
        Command::Report(flags) => html::report(&flags, console),
        Command::Demo(flags) => demo::demo(&flags, console),
        Command::Completions { shell } => help::completions(shell),
        Command::Man { dir } => help::manual(dir.as_deref()),
    }
}
