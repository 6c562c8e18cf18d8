//! The benchmark suite: in memory, and end to end beside the wire's limit and beside other programs.
//!
//! ```text
//!  export     drains and pgarrow in turn, to Arrow, Parquet and IPC, by any number of connections
//!  rivals     the same beside ADBC, DuckDB, ConnectorX, psycopg and pg2parquet
//!  pages      heap pages beside COPY, the drains and DuckDB
//!  sizes      exports of 100 to 1,000,000 rows, as whole commands beside psql's \copy
//!  network    TLS, 1 Gbit/s and 20 ms: COPY, pages and the command's own choice, by 1 to 4 readers
//!  load       rows into a table: pgarrow beside psql's \copy, ADBC, DuckDB, pgpq, INSERT; server to server
//!  decode     COPY bytes in memory → batches, nanoseconds a row; with valgrind, instructions a row
//!  python     tables of pyarrow, polars and pandas, and small queries, beside what Python has for them
//!  memory     resident memory of the command: columns × readers × --memory × format
//!  compare    two git revisions of the command in turn, in total and by phases
//!  profile    a flame graph of one export
//!  report     Markdown and charts from the recorded results
//!  model      the book's page about larger machines, from the recorded costs
//!  smoke      all of it on tiny tables, for its checks only
//! ```
//!
//! Every run checks its answer. See benches/README.md for what the numbers mean.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod answer;
mod chart;
mod child;
mod command;
mod compare;
mod compare_instructions;
mod contender;
mod decode;
mod drain;
mod drains;
mod export;
mod far;
mod folders;
mod instructions;
mod load;
mod load_child;
mod load_report;
mod load_table;
mod loaders;
mod memory;
mod model;
mod network;
mod pages;
mod profile;
mod python;
mod python_report;
mod rates;
mod record;
mod report;
mod revision;
mod rivals;
mod rounds;
mod server;
mod sizes;
mod smoke;
mod stats;
mod types;
mod verdict;
mod workloads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As in the `pgarrow` command: batches are large and short-lived, and the system's allocator returns each to
/// the kernel and faults it in again.
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
    /// pgarrow to Arrow, Parquet and IPC, beside the plain and the fair drain of the same COPY
    Export(export::ExportFlags),
    /// The same beside the rivals that are installed
    Rivals(rivals::RivalsFlags),
    /// Heap pages beside COPY, the drains and DuckDB, with the server's CPU; and a table without all-visible
    /// pages
    Pages(pages::PagesFlags),
    /// Exports of few rows and many, as whole commands, beside psql's \copy and sync
    Sizes(sizes::SizesFlags),
    /// COPY, pages and the command's own choice over TLS, over 1 Gbit/s (as root) and over a link of 20 ms
    Network(network::NetworkFlags),
    /// Rows into a table, beside psql's \copy of the same rows from a binary file, and beside other programs
    Load(load::LoadFlags),
    /// In-memory decoding, by workload and by type
    Decode(decode::DecodeFlags),
    /// Tables of pyarrow, polars and pandas by the wheel, beside other packages and `export --to none`; and
    /// small queries by ADBC
    Python(python::PythonFlags),
    /// Resident memory of the command over a matrix; fails if a cell is above its limit
    Memory(memory::MemoryFlags),
    /// Two revisions of the command in turn; fails if the second is worse
    Compare(compare::CompareFlags),
    /// A flame graph of one export, by perf
    Profile(profile::ProfileFlags),
    /// Markdown and charts from the recorded results
    Report(report::ReportFlags),
    /// The book's page about larger machines, from the recorded costs of a row
    Model(model::ModelFlags),
    /// Every check of the suite on tiny tables; measures nothing
    Smoke(smoke::SmokeFlags),
    /// One run of one contender, in a process of its own (used by the other subcommands)
    #[command(hide = true)]
    Child(child::ChildFlags),
    /// Programs that are measured together (used by `sizes`)
    #[command(hide = true)]
    Commands(sizes::CommandsFlags),
    /// One load by pgarrow, in a process of its own (used by `load`)
    #[command(hide = true)]
    LoadChild(load_child::LoadChildFlags),
    /// Decodes a captured stream a number of times (used for counting instructions)
    #[command(hide = true)]
    DecodeStream(instructions::StreamFlags),
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let result = match Flags::parse().command {
        Command::Export(flags) => export::run(&flags),
        Command::Rivals(flags) => rivals::run(&flags),
        Command::Pages(flags) => pages::run(&flags),
        Command::Sizes(flags) => sizes::run(&flags),
        Command::Network(flags) => network::run(&flags),
        Command::Load(flags) => load::run(&flags),
        Command::LoadChild(flags) => load_child::run(&flags),
        Command::Decode(flags) => decode::run(&flags),
        Command::Python(flags) => python::run(&flags),
        Command::Memory(flags) => match memory::run(&flags) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Command::Compare(flags) => match compare::run(&flags) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Command::Profile(flags) => profile::run(&flags),
        Command::Report(flags) => report::run(&flags),
        Command::Model(flags) => model::run(&flags),
        Command::Smoke(flags) => smoke::run(&flags),
        Command::Child(flags) => child::run(&flags),
        Command::Commands(flags) => sizes::run_commands(&flags),
        Command::DecodeStream(flags) => instructions::decode_stream(&flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgarrow-bench: {error}");
            ExitCode::from(2)
        }
    }
}
