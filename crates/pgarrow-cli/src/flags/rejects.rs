//! Flags for rows that an export leaves out.

use std::path::PathBuf;

use clap::Args;
use pgarrow::ExportOptions;

// Rows with values that Arrow cannot hold.
#[derive(Args, Debug)]
pub(crate) struct RejectFlags {
    /// Leave out rows with values that Arrow cannot hold, and write them to this Arrow IPC file. Default: one
    /// stops the export
    ///
    /// Such values are infinite dates, NaN in a decimal, timestamps out of range, and so on; choices as
    /// --infinity null keep the row instead. The file has a line for each row: schema, table, partition,
    /// ctid, place (the number of the row, and in what), column (the first bad one), reason, and row, which
    /// has all exported columns as the server prints them. Of queries, views, tables with --where and ranges
    /// of --split-on, ctid is NULL. The file appears behind the output, even if no row was bad. An existing
    /// one is replaced by a job, and by an export only with --overwrite. If all rows are bad, or each of a
    /// table's first 1,000, the export fails with exit code 6.
    #[arg(long, value_name = "FILE", help_heading = "Bad rows")]
    pub(crate) reject: Option<PathBuf>,

    /// Fail if more rows are bad, of all tables. Default: no limit, but an export fails if each of a table's
    /// first 1,000 rows is bad
    #[arg(long, value_name = "ROWS", requires = "reject", help_heading = "Bad rows")]
    pub(crate) reject_limit: Option<u64>,
}

impl RejectFlags {
    /// Adds them to how rows are read.
    pub(crate) fn applied_to(&self, options: ExportOptions) -> ExportOptions {
        let options = options.with_reject(self.reject.is_some());
        self.reject_limit.into_iter().fold(options, ExportOptions::with_reject_limit)
    }
}
