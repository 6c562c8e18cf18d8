//! The command line's flags.

mod examples;
mod jobs;
mod load;
mod pages;
mod rejects;
mod report;
mod shared;
mod short;
mod types;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::console::{LogFormat, ProgressForm};
use crate::exit;
use crate::units::parse_duration;
use examples::{
    EXPORT_EXAMPLES, HOLD_EXAMPLES, INSPECT_EXAMPLES, LOAD_EXAMPLES, PLAN_EXAMPLES, REPORT_EXAMPLES,
    RUN_EXAMPLES,
};
pub(crate) use jobs::{CheckFlags, GcFlags, InitFlags, JobOptions, RunFlags, VerifyFlags, in_job};
pub(crate) use load::{
    ConflictName, ConvertName, CopyFlags, HowFlags, IdentityName, InputFormatName, IntoFlags, LoadFlags,
    MethodName, ModeName, NoPartFlags, PartFlags, TypesFromName,
};
pub(crate) use pages::{PagesCommand, PagesInstallFlags, PagesStatusFlags};
pub(crate) use rejects::RejectFlags;
pub(crate) use report::ReportFlags;
pub(crate) use shared::{
    ConnectFlags, FileFlags, ReadModeName, ReadingFlags, RetryFlags, SessionFlags, SortedBy, WhatFlags,
};
use short::{EXPORT_SHORT, HOLD_SHORT, READ_SHORT, at_the_end, in_short_help};
pub(crate) use types::TypeFlags;

/// The command's name.
const NAME: &str = "pgarrow";

/// Data out of PostgreSQL into Arrow, and back: Parquet files, Arrow IPC files and streams, other servers.
///
/// pgarrow reads tables or a query through COPY, or tables by their pages, by several connections under one
/// snapshot, and decodes the rows straight into Arrow. An output appears only when it is complete: a failed
/// export leaves no file behind. A load encodes its data for the table's columns, and is one transaction: a
/// failed load leaves the table as it was.
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100)]
#[command(
    after_help = "pgarrow COMMAND -h shows what is common, pgarrow COMMAND --help all options and examples"
)]
#[command(after_long_help = exit::help())]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// The form of messages on stderr. Default: text
    ///
    /// json: one object on each line, with timestamp, level, target and message, for every message, errors
    /// and warnings too; no progress bar. The environment variable RUST_LOG adds events of the program
    /// itself, in either form: RUST_LOG=pgarrow=info adds one for each COPY, retry and commit. With json,
    /// that is the default.
    #[arg(long, global = true, value_name = "FORM", help_heading = "Messages", hide_short_help = true)]
    pub(crate) log_format: Option<LogFormat>,
}

// Only the options of the command that is run are described to the parser, so what is changed in them is
// said at their structs, and not here. There, documentation of a struct would replace the command's, also
// that of a struct within: so these have plain comments.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Export tables or a query
    #[command(after_help = short_end("export"), after_long_help = after(EXPORT_EXAMPLES))]
    Export(Box<ExportFlags>),
    /// Load files, or a stream from stdin, into a table; or a folder of tables into a schema
    ///
    /// pgarrow reads the table's columns from its catalog, and decides how to make each from Arrow before it
    /// sends the first row: a field that does not fit is an error, unless --convert allows it. Fields and
    /// columns go together by name; columns that the data lack get their defaults. Rows go by COPY in binary,
    /// and a load is one transaction: if it fails, is stopped or is killed, the table is as it was.
    /// --commit-every makes it several transactions; the same command then continues after the last one.
    #[command(after_help = short_end("load"), after_long_help = after(LOAD_EXAMPLES))]
    Load(Box<LoadFlags>),
    /// Show what an export would read, in which slices and why, without reading it
    ///
    /// Reads no rows, with two exceptions: scan (--numeric scan, --column NAME:scan) reads all of them for
    /// the digits of numerics, and --split-on reads the keys once where the server has no statistics of them:
    /// for views, for queries, and for tables that were never analysed.
    #[command(after_help = short_end("plan"), after_long_help = after(PLAN_EXAMPLES))]
    Plan(Box<PlanFlags>),
    /// Show what columns become in Arrow and Parquet, what could stop an export, and which option decides it
    ///
    /// Reads no rows, with two exceptions: scan (--numeric scan, --column NAME:scan) reads all of them for
    /// the digits of numerics, and --split-on reads the keys once where the server has no statistics of them:
    /// for views, for queries, and for tables that were never analysed.
    #[command(after_help = short_end("inspect"), after_long_help = after(INSPECT_EXAMPLES))]
    Inspect(Box<InspectFlags>),
    /// Hold a snapshot and hand out slices of it, for exports in other processes
    ///
    /// Plans tables or a query, writes a token for each slice, and holds the snapshot until Ctrl-C, SIGTERM,
    /// --for or --until-eof ends it. Meanwhile each `pgarrow export --slice` reads one slice: in any number
    /// of processes, on any machine that reaches the server, and all of the same moment. `pgarrow run
    /// --snapshot` reads all tables of a job under it, if they are among those that are held. `--readers`
    /// sets the number of readers that the slices are for, `--slice-bytes` the size of a slice. A held
    /// snapshot keeps VACUUM from removing rows, so release it soon.
    #[command(after_help = short_end("hold"), after_long_help = after(HOLD_EXAMPLES))]
    Hold(Box<HoldFlags>),
    /// Read tables by their pages: check if that is possible, install the function for other roles
    ///
    /// A server can hand out pages of a table's heap as they are stored, without formatting rows.
    /// `--read-mode auto` reads pages, where that costs less, if the role is a superuser and the database has
    /// the extension pageinspect, or if an administrator has installed the function and granted it to the
    /// role. The rest comes by COPY, and with the function so do pages that VACUUM has not
    /// marked as all-visible.
    #[command(subcommand, after_help = short_end("pages"), after_long_help = exit::help())]
    Pages(PagesCommand),
    /// Run a job: many tables into one folder or server, under one snapshot, committed together
    ///
    /// A job file says which tables are read, where their files go, and with which options. The files belong
    /// to the run, and nothing refers to them until its manifest is there, as the last step: whoever reads
    /// the files that the newest manifest in _pgarrow/manifests names sees all of a run, or nothing of it. A
    /// run that fails leaves no manifest. The destination may also be another PostgreSQL: then all tables are
    /// one transaction there, or with --keep-going each is one.
    #[command(after_help = short_end("run"), after_long_help = after(RUN_EXAMPLES))]
    Run(Box<RunFlags>),
    /// Write a first job file, with the tables of a server
    #[command(after_help = short_end("init"), after_long_help = exit::help())]
    Init(InitFlags),
    /// Hold a job file against its server: every table, right, type and option, and nothing is written
    #[command(after_help = short_end("check"), after_long_help = exit::help())]
    Check(Box<CheckFlags>),
    /// Compare the files of a job's folder with their manifest, and with the server that they came from
    ///
    /// Without a connection, sizes and checksums of all files are compared with the newest manifest. With
    /// one, rows are compared with the tables, too: see the book's page "Verifying".
    #[command(after_help = short_end("verify"), after_long_help = exit::help())]
    Verify(Box<VerifyFlags>),
    /// List the files that dead or failed runs of a job left behind; with --delete, remove them
    ///
    /// These are files whose names have a run's id, that no manifest names, that are older than --older-than,
    /// and whose run does not have the lock of the folder.
    #[command(after_help = short_end("gc"), after_long_help = exit::help())]
    Gc(GcFlags),
    /// Make one page of HTML of a run: its time, throughput, tables, warnings and files
    ///
    /// The page has no scripts and loads nothing, so it may be sent and kept as it is. It is light or dark as
    /// the browser is, and can be printed.
    #[command(after_help = short_end("report"), after_long_help = after(REPORT_EXAMPLES))]
    Report(ReportFlags),
    /// Try pgarrow: start a private PostgreSQL, make and load TPC-H data, export it, check the files
    #[command(after_help = short_end("demo"), after_long_help = exit::help())]
    Demo(DemoFlags),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write a page for every command into a folder
    Man {
        /// The folder; without it, the page of pgarrow goes to stdout
        dir: Option<PathBuf>,
    },
}

/// The commands with all their options, for whoever looks through them. Those that the parser adds are among
/// them.
pub(crate) fn described() -> clap::Command {
    let mut all = Flags::command();
    all.build();
    all
}

/// Whether this command has the option from its struct: the parser adds some, and those of all commands.
pub(crate) fn is_own(command: &clap::Command, arg: &Arg) -> bool {
    let is_added = matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    );
    !is_added && (command.get_name() == NAME || !arg.is_global_set())
}

#[derive(Args, Debug)]
#[command(mut_args(|arg| in_short_help(arg, &EXPORT_SHORT)))]
#[command(mut_arg("reject", |reject| reject.conflicts_with("dry_run")))]
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct ExportFlags {
    #[command(flatten)]
    pub(crate) what: WhatFlags,

    /// Export one slice of a snapshot that `pgarrow hold` holds: its token, a file with it, or - for stdin
    #[arg(long, value_name = "FILE|-|JSON", help_heading = "What")]
    pub(crate) slice: Option<String>,

    /// Where to: a file, a folder if it ends in /, or - for stdout
    ///
    /// A folder must be new or empty. It appears with all its files at once: part-00000.parquet and so on,
    /// where each reader writes files of its own; with several tables, one file for each, named
    /// SCHEMA.TABLE.parquet. The file _pgarrow_manifest.json beside them has their names and sizes.
    #[arg(long, short, value_name = "PATH", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,

    /// The format. Default: by PATH's ending (.parquet; .arrow, .feather, .ipc; .arrows); parquet in a folder
    ///
    /// Or postgres: into a table of another server, see --target and --into.
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) to: Option<FormatName>,

    #[command(flatten)]
    pub(crate) files: FileFlags,

    /// Replace an existing output, at the end and in one step; the report and rejected rows too
    ///
    /// A folder is replaced only if exports wrote all its files, as its manifest or the files themselves say;
    /// files whose names begin with . or _ go with it. A folder with anything else in it is not replaced, and
    /// neither is the current folder.
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,

    /// Compare what was written with the server before it appears, under the export's own snapshot
    ///
    /// Reads the files once more, and has the server compute counts and sums of hashes of the same tables. A
    /// difference ends the export with exit code 11, and there is no output. The report says what was not
    /// compared. For whole tables; takes one more connection.
    #[arg(long, help_heading = "Output")]
    pub(crate) verify: bool,

    /// Write a report of the run to this file, as JSON
    ///
    /// A run that fails writes a report, too: with status, exit_code, error (kind, sqlstate, text) and the
    /// servers, as far as they are known. An existing report is replaced only with --overwrite.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,

    /// Write metrics of the run to this file, in the text form of Prometheus
    ///
    /// For the textfile collector of node_exporter: a name that ends in .prom, in its folder. The file is
    /// replaced in one step when the run ends, also when it fails. Only a file with metrics of pgarrow is
    /// replaced.
    #[arg(long, conflicts_with = "dry_run", value_name = "FILE", help_heading = "Output")]
    pub(crate) metrics: Option<PathBuf>,

    /// Print the plan, as `pgarrow plan` does, and write nothing
    #[arg(long, help_heading = "Output")]
    pub(crate) dry_run: bool,

    /// Print only errors
    #[arg(long, short = 'Q', help_heading = "Output")]
    pub(crate) quiet: bool,

    /// How to show the progress, on stderr
    #[arg(
        long,
        value_name = "FORM",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Output"
    )]
    pub(crate) progress: ProgressForm,

    #[command(flatten)]
    pub(crate) into: IntoFlags,

    /// The schema of the tables to load, with --to postgres. Default for several tables: that of each table
    ///
    /// The exact name. Each table goes to the table of its own name there. Two tables of one name, of
    /// different schemas, are refused.
    #[arg(long, conflicts_with = "into", value_name = "NAME", help_heading = "Target")]
    pub(crate) into_schema: Option<String>,

    /// Commit each of several tables by itself, and go on when one fails: exit code 1. Default: all or
    /// nothing
    ///
    /// Without it, all tables are one transaction of the target. The report has the errors of tables that
    /// failed. What is about the servers still ends the run; the tables that are loaded by then stay.
    #[arg(long, help_heading = "Target")]
    pub(crate) keep_going: bool,

    #[command(flatten)]
    pub(crate) copying: CopyFlags,

    #[command(flatten)]
    pub(crate) parts: NoPartFlags,

    #[command(flatten)]
    pub(crate) rejects: RejectFlags,

    #[command(flatten)]
    pub(crate) types: TypeFlags,

    #[command(flatten)]
    pub(crate) reading: ReadingFlags,

    #[command(flatten)]
    pub(crate) retrying: RetryFlags,

    #[command(flatten)]
    pub(crate) session: SessionFlags,
}

#[derive(Args, Debug)]
#[command(mut_args(|arg| in_short_help(arg, &READ_SHORT)))]
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct PlanFlags {
    #[command(flatten)]
    pub(crate) what: WhatFlags,

    #[command(flatten)]
    pub(crate) types: TypeFlags,

    #[command(flatten)]
    pub(crate) reading: ReadingFlags,

    #[command(flatten)]
    pub(crate) session: SessionFlags,

    /// Print JSON: an object for one table or query, an array for several tables
    #[arg(long, help_heading = "Output", conflicts_with = "all")]
    pub(crate) json: bool,

    /// Show long lists in full
    #[arg(long, help_heading = "Output")]
    pub(crate) all: bool,

    /// Accepted only to explain its refusal: only `pgarrow hold` makes tokens of slices.
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) tokens: Option<PathBuf>,

    /// Accepted only to explain its refusal: a slice is planned already.
    #[arg(long, value_name = "FILE|-|JSON", hide = true)]
    pub(crate) slice: Option<String>,
}

#[derive(Args, Debug)]
#[command(mut_args(|arg| in_short_help(arg, &READ_SHORT)))]
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct InspectFlags {
    #[command(flatten)]
    pub(crate) what: WhatFlags,

    #[command(flatten)]
    pub(crate) types: TypeFlags,

    #[command(flatten)]
    pub(crate) reading: ReadingFlags,

    #[command(flatten)]
    pub(crate) session: SessionFlags,

    /// Print JSON, with full types
    ///
    /// An object with inspect_version (1), connections and subjects. A subject has subject, columns,
    /// parquet_error, estimated_rows, estimated_bytes, slices, slicing and warnings; a column has name,
    /// pg_type, arrow_type, parquet_type, nullable and notes; a note has kind (stops, changes or tells), what
    /// and option. A value that is not known or not possible is null. Fields may be added within a version.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(mut_args(|arg| in_short_help(arg, &HOLD_SHORT)))]
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct HoldFlags {
    #[command(flatten)]
    pub(crate) what: WhatFlags,

    #[command(flatten)]
    pub(crate) reading: ReadingFlags,

    #[command(flatten)]
    pub(crate) session: SessionFlags,

    /// Write the tokens to this file, which appears complete. Default: stdout, which is then closed
    ///
    /// One line of JSON for each slice. A token holds no password, but it holds what to read: a query's
    /// values, a condition, and with --split-on some values of that column.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) tokens: Option<PathBuf>,

    /// Replace the file of tokens if it exists
    #[arg(long, requires = "tokens", help_heading = "Output")]
    pub(crate) overwrite: bool,

    /// Print only errors
    #[arg(long, short = 'Q', help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Release the snapshot after this time, as in 30s, 10m or 2h. Default: at Ctrl-C or SIGTERM
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, help_heading = "Holding")]
    pub(crate) at_most: Option<Duration>,

    /// Release the snapshot when stdin ends, for a program that holds its other end
    #[arg(long, help_heading = "Holding")]
    pub(crate) until_eof: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FormatName {
    /// A Parquet file
    Parquet,
    /// An Arrow IPC file, also known as Feather 2
    Ipc,
    /// An Arrow IPC stream, fit for pipes
    IpcStream,
    /// A table of a server: --target says which server, --into which table
    Postgres,
    /// Nothing: decode and discard, to measure
    None,
}

#[derive(Args, Debug)]
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct DemoFlags {
    /// How much data: 1 is 6 million lineitems, 1.3 GB from the server
    #[arg(long, value_name = "FACTOR", default_value_t = 0.1, value_parser = parse_scale)]
    pub(crate) scale: f64,

    /// The folder for the files. Default: pgarrow-demo, where files of an earlier demo are replaced
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Replace lineitem.parquet and lineitem.arrow in DIR, too
    #[arg(long, requires = "dir")]
    pub(crate) overwrite: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("write a whole number from 1 on".to_owned()),
    }
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.001..=100.0).contains(&scale) => Ok(scale),
        _ => Err("write a number from 0.001 to 100".to_owned()),
    }
}

/// The last line of `-h`: it points to `--help`.
fn short_end(command: &str) -> String {
    format!("pgarrow {command} --help shows all options, examples and the exit codes")
}

fn after(examples: &str) -> String {
    format!("{examples}\n\n{}", exit::help())
}
