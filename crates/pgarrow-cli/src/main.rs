//! The `pgarrow` command: flags in, a call of the library, an exit code out.
//!
//! ```text
//!  flags  what was typed ─▶ job  what it means ─▶ export  it is done ─▶ summary, exit
//!                                                   │ progress, signals, console
//!                                  demo ────────────┘
//! ```
#![forbid(unsafe_code)]

mod console;
mod demo;
mod exit;
mod export;
mod flags;
mod job;
mod pages;
mod progress;
mod signals;
mod summary;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::console::Console;
use crate::exit::Failure;
use crate::flags::{Command, Flags};
use crate::job::Job;

/// Batches are large buffers that come and go; the system's allocator returns each to the kernel and gets it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return pages::usage(&error),
    };
    let is_quiet = matches!(&flags.command, Command::Export(flags) if flags.quiet);
    let console = Console::new(is_quiet);
    match run(flags.command, &console) {
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
        Command::Export(flags) => export::export(Job::try_from(*flags)?, console),
        Command::Demo(flags) => demo::demo(&flags, console),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { dir } => pages::manual(dir.as_deref()),
    }
}
