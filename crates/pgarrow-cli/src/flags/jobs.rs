//! Flags of jobs: run, init, check, verify, gc.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::shared::{ConnectFlags, FileFlags, ReadingFlags, RetryFlags, SessionFlags};
use super::types::TypeFlags;
use crate::console::ProgressForm;
use crate::units::parse_duration;

#[derive(Args, Debug)]
pub(crate) struct RunFlags {
    /// The job file: what is read, and where it goes
    ///
    /// Section source has connection, tables, exclude_tables and only. Section destination has path, file_name,
    /// format and success_file. Section options has the options below, without the dashes in front, as in
    /// readers = 4. Each option may also be given by the environment, as in PGARROW_READERS=4. A flag wins
    /// over the environment, and that over the file. Values of the file may have variables: ${NAME}.
    #[arg(value_name = "JOB.toml")]
    pub(crate) job: PathBuf,

    /// Take the place of a run that was killed: its lock is still in the folder
    ///
    /// A run that lives shows it every few seconds, and keeps its place.
    #[arg(long, help_heading = "Job")]
    pub(crate) take_over: bool,

    /// Write a report of the run to this file, as JSON, and replace the one before
    #[arg(long, value_name = "FILE", help_heading = "Job")]
    pub(crate) report: Option<PathBuf>,

    /// Write metrics of the run to this file, in the text form of Prometheus
    ///
    /// For the textfile collector of node_exporter: a name that ends in .prom, in its folder. The file is replaced in
    /// one step when the run ends, also when it fails. Only a file with metrics of pgarrow is replaced.
    #[arg(long, value_name = "FILE", help_heading = "Job")]
    pub(crate) metrics: Option<PathBuf>,

    /// Print only errors
    #[arg(long, short = 'Q', help_heading = "Job")]
    pub(crate) quiet: bool,

    /// How to show the progress, on stderr
    #[arg(
        long,
        value_name = "FORM",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Job"
    )]
    pub(crate) progress: ProgressForm,

    #[command(flatten)]
    pub(crate) options: JobOptions,
}

/// The options that a job file, the environment and flags may give.
#[derive(Args, Debug)]
pub(crate) struct JobOptions {
    #[command(flatten)]
    pub(crate) files: FileFlags,

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
pub(crate) struct CheckFlags {
    /// The job file
    #[arg(value_name = "JOB.toml")]
    pub(crate) job: PathBuf,

    /// Print the options that are in force, and what says so: the file, the environment or a flag
    #[arg(long, help_heading = "Job")]
    pub(crate) effective: bool,

    #[command(flatten)]
    pub(crate) options: JobOptions,
}

#[derive(Args, Debug)]
pub(crate) struct InitFlags {
    /// The server, as for `pgarrow export`. Default: the PG* environment
    pub(crate) connection: Option<String>,

    /// Tables and patterns as psql takes them, as in 'sales.*'. Repeatable. Default: all tables of all schemas
    #[arg(long = "table", short, value_name = "PATTERN", help_heading = "Job")]
    pub(crate) tables: Vec<String>,

    /// Leave out tables that match this pattern. Repeatable
    #[arg(long = "exclude-table", value_name = "PATTERN", help_heading = "Job")]
    pub(crate) exclude_tables: Vec<String>,

    /// The folder that the job will write to
    #[arg(long, value_name = "PATH", default_value = "lake", help_heading = "Job")]
    pub(crate) path: String,

    /// The job file to write. Default: stdout
    #[arg(long, short, value_name = "FILE", help_heading = "Job")]
    pub(crate) output: Option<PathBuf>,

    /// Replace an existing file
    #[arg(long, help_heading = "Job")]
    pub(crate) overwrite: bool,

    #[command(flatten)]
    pub(crate) connecting: ConnectFlags,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyFlags {
    /// The folder of a job
    #[arg(value_name = "PATH")]
    pub(crate) place: String,

    /// Print JSON
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct GcFlags {
    /// The folder of a job
    #[arg(value_name = "PATH")]
    pub(crate) place: String,

    /// Only files that were not written for this long, as in 24h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "24h", help_heading = "Job")]
    pub(crate) older_than: Duration,

    /// Also what runs before the newest N have committed: their manifests and files. Default: all are kept
    #[arg(long, value_name = "N", value_parser = super::at_least_one, help_heading = "Job")]
    pub(crate) keep: Option<usize>,

    /// Remove the files, and do not only list them
    #[arg(long, help_heading = "Job")]
    pub(crate) delete: bool,
}
