//! Flags of `pgarrow report`.

use std::path::PathBuf;

use clap::Args;

use super::short::at_the_end;

#[derive(Args, Debug)]
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct ReportFlags {
    /// The JSON report of an export or a run, or the folder of a job, for its newest manifest
    ///
    /// A manifest has the tables, columns and files, and no times.
    #[arg(value_name = "REPORT.json|PATH")]
    pub(crate) place: String,

    /// The page to write. Default: stdout
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,

    /// Replace an existing file
    #[arg(long, requires = "output", help_heading = "Output")]
    pub(crate) overwrite: bool,
}
