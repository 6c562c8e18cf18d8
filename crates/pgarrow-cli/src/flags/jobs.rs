//! Flags of jobs: run, init, check, verify, gc.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::load::{CopyFlags, HowFlags};
use super::rejects::RejectFlags;
use super::shared::{ConnectFlags, FileFlags, ReadingFlags, RetryFlags, SessionFlags};
use super::short::{RUN_SHORT, at_the_end, in_short_help, of_connection, of_server};
use super::types::TypeFlags;
use crate::console::ProgressForm;
use crate::units::{parse_duration, parse_memory};

#[derive(Args, Debug)]
#[command(mut_args(|arg| in_short_help(of_server(arg), &RUN_SHORT)))]
#[command(mut_arg("split_on", |split_on| split_on.hide(true)))]
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct RunFlags {
    /// The job file: what is read, and where it goes
    ///
    /// Section source has connection, tables, exclude_tables and only. Section destination has path,
    /// file_name, format and success_file. Sections named table say what is read of single tables, and
    /// whether only new rows are. Section options has the options below, without the dashes in front, as in
    /// readers = 4. Each option may also be given by the environment, as in PGARROW_READERS=4. A flag wins
    /// over the environment, and that over the file. Values of the file may have variables: ${NAME}.
    #[arg(value_name = "JOB.toml")]
    pub(crate) job: PathBuf,

    /// Take the place of a run that was killed: its lock is still in the folder
    ///
    /// A run that lives shows it every few seconds, and keeps its place.
    #[arg(long, help_heading = "Job")]
    pub(crate) take_over: bool,

    /// Go on where a run that was killed has ended: what it has complete is not read again
    ///
    /// As --take-over, too. What is complete is of the moment that the dead run has read, so it is kept only
    /// with --allow-mixed-snapshots; or if both runs read the same held snapshot (--snapshot). If this run
    /// fails, its own complete tables stay for the next one.
    #[arg(long, help_heading = "Job")]
    pub(crate) resume: bool,

    /// Read all tables under a snapshot that `pgarrow hold` holds: one of its tokens, a file with them, or -
    /// for stdin
    ///
    /// The holder must hold all tables that the job reads. Not for tables of which only new rows are read.
    #[arg(long, value_name = "TOKEN", help_heading = "Job")]
    pub(crate) snapshot: Option<String>,

    /// With --resume: tables may be of different moments. The manifest says which
    #[arg(long, requires = "resume", help_heading = "Job")]
    pub(crate) allow_mixed_snapshots: bool,

    /// Read all rows of all tables, also where the job file asks for new ones only
    #[arg(long, help_heading = "Job")]
    pub(crate) full: bool,

    /// Compare what was written with the server before it is committed, under the run's own snapshot
    ///
    /// As `pgarrow verify` does. A difference ends the run with exit code 11, and nothing is committed. The
    /// report says what was not compared, such as queries and tables with a filter. Takes one more
    /// connection.
    #[arg(long, help_heading = "Job")]
    pub(crate) verify: bool,

    /// Go on when a table cannot be read, and commit the others without it: exit code 1, and no _SUCCESS
    ///
    /// The manifest and the report have its error. What is about the server or the outputs still ends the
    /// run.
    #[arg(long, help_heading = "Job")]
    pub(crate) keep_going: bool,

    #[command(flatten)]
    pub(crate) rejects: RejectFlags,

    /// Write a report of the run to this file, as JSON, and replace the one before
    #[arg(long, value_name = "FILE", help_heading = "Job")]
    pub(crate) report: Option<PathBuf>,

    /// Write metrics of the run to this file, in the text form of Prometheus
    ///
    /// For the textfile collector of node_exporter: a name that ends in .prom, in its folder. The file is
    /// replaced in one step when the run ends, also when it fails. Only a file with metrics of pgarrow is
    /// replaced.
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

// The options that a job file, the environment and flags may give.
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
    pub(crate) how: HowFlags,

    /// Give new tables the primary keys of the tables that are read, when all rows are there
    ///
    /// With the names of the keys. With --mode create, and with --mode replace where there is no table yet.
    /// Other modes need no key to be named: rows are told apart by the primary key of their table.
    #[arg(long, help_heading = "Target")]
    pub(crate) key: bool,

    #[command(flatten)]
    pub(crate) copying: CopyFlags,

    #[command(flatten)]
    pub(crate) session: SessionFlags,
}

impl JobOptions {
    /// The name of an option that is for a destination that is a server, as a job file has it.
    pub(crate) fn of_server(&self) -> Option<String> {
        let given = self.how.any().or_else(|| self.copying.any()).or(self.key.then_some("--key"));
        given.map(in_job)
    }
}

/// The name of an option as a job file has it.
pub(crate) fn in_job(flag: &str) -> String {
    flag.trim_start_matches('-').replace('-', "_")
}

#[derive(Args, Debug)]
#[command(mut_args(|arg| in_short_help(of_server(arg), &RUN_SHORT)))]
#[command(mut_arg("split_on", |split_on| split_on.hide(true)))]
#[command(mut_arg("log_format", at_the_end))]
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
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct InitFlags {
    /// The server, as for `pgarrow export`. Default: the PG* environment
    pub(crate) connection: Option<String>,

    /// Tables and patterns as psql takes them, as in 'sales.*'. Repeatable. Default: all tables of all
    /// schemas
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
#[command(mut_args(of_connection))]
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct VerifyFlags {
    /// The folder of a job, or its URL: s3://, gs://, az://, abfss://, https://
    #[arg(value_name = "PATH")]
    pub(crate) place: String,

    /// Compare the rows with the tables of this server, too: as for `pgarrow export`; '' is the PG*
    /// environment
    ///
    /// Rows are counted, and hashed on both sides: the values of each column, and whole rows. The server
    /// hashes its own values, so no rows cross the network. All tables are read under one snapshot.
    pub(crate) connection: Option<String>,

    /// Look for every row on the other side, and name the first ten that are not there: file and row, or ctid
    ///
    /// The hash of each of the server's rows crosses the network. If the rows of a table do not fit --memory,
    /// at 112 bytes each in half of it, both sides are read several times.
    #[arg(long, requires = "connection", help_heading = "Compare")]
    pub(crate) full: bool,

    /// Memory for --full, as in 512M; from 32M. Default: 1/4 of the machine's, up to 1G
    #[arg(long, value_name = "SIZE", value_parser = parse_memory, requires = "full", help_heading = "Compare")]
    pub(crate) memory: Option<usize>,

    /// Print JSON
    ///
    /// An object with run_id, started, files, bytes, rows and differences (table, path, what). With a
    /// connection also server: tables, rows, full, differences (table, column, what, file_rows, server_rows)
    /// and not_compared (table, column, why). Fields may be added.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) session: SessionFlags,
}

#[derive(Args, Debug)]
#[command(mut_arg("log_format", at_the_end))]
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
