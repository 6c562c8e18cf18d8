//! The benchmark suite: in memory, and end to end beside the wire's limit.
//!
//! ```text
//!  prepare    tables in a PostgreSQL: a private one, or --url
//!  memory     COPY bytes in memory → batches, nanoseconds a row; with valgrind, instructions a row
//!  wire       one connection: plain drain, fair drain and pgarrow in turn, wall and CPU as ratios
//!  files      one connection into Parquet and IPC files, beside rivals that are installed
//!  smoke      all of it on tiny tables, for its checks only
//! ```
//!
//! Every run checks its answer. See benches/README.md for what the numbers mean.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod child;
mod contender;
mod drain;
mod files;
mod instructions;
mod memory;
mod record;
mod server;
mod stats;
mod verify;
mod wire;
mod workloads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As in the `pgarrow` command: batches are large and short-lived, which the system's allocator returns to the
/// kernel and faults in again every time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "pgarrow's benchmark suite", version)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// In-memory decoding, by workload and by type
    Memory(memory::MemoryFlags),
    /// One connection end to end, beside the plain and the fair drain of the same COPY
    Wire(wire::WireFlags),
    /// One connection into files, beside the rivals that are installed
    Files(files::FilesFlags),
    /// Every check of the suite on tiny tables; measures nothing
    Smoke,
    /// One run of one contender, in a process of its own (used by the others)
    #[command(hide = true)]
    Child(child::ChildFlags),
    /// Decodes a captured stream a number of times (used for counting instructions)
    #[command(hide = true)]
    Decode(instructions::DecodeFlags),
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let result = match Flags::parse().command {
        Command::Memory(flags) => memory::run(&flags),
        Command::Wire(flags) => wire::run(&flags),
        Command::Files(flags) => files::run(&flags),
        Command::Smoke => smoke(),
        Command::Child(flags) => child::run(&flags),
        Command::Decode(flags) => instructions::decode(&flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgarrow-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tiny tables, one round: it passes if every answer is right.
fn smoke() -> Result<()> {
    memory::run(&memory::MemoryFlags::smoke())?;
    wire::run(&wire::WireFlags::smoke())?;
    files::run(&files::FilesFlags::smoke())
}
