//! What an export has written, held against the server before it is published.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgarrow_export::{Cancel, ExportOptions, FileReport, Plan, Report, Result, Run, Source};

use super::files::CheckedFile;
use super::found::ServerVerified;
use super::run::concluded;
use super::server::Opened;
use crate::manifest::{ManifestFile, ManifestTable};
use crate::partition::PartitionValues;

/// What is read of the tables of an export.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// Tables are read without those that inherit from them.
    pub only: bool,
    /// Columns are left out.
    pub columns_chosen: bool,
}

/// The tables of an export, held under its snapshot, to be compared with what it writes.
#[derive(Debug)]
pub struct ExportCheck {
    opened: Opened,
    what: Compared,
    cancel: Cancel,
}

impl ExportCheck {
    /// Plans the tables of an export once more, in a connection of its own, under the snapshot of `run`.
    /// Whole tables are compared: not queries, and not rows for which a condition holds.
    ///
    /// # Errors
    ///
    /// The server exports no snapshot; or what stops a plan.
    pub fn open(source: &Source, run: &mut Run, what: Compared, options: &ExportOptions) -> Result<Self> {
        let opened = Opened::of_run(source, run, what.only, options)?;
        Ok(Self { opened, what, cancel: run.cancel().clone() })
    }

    /// Compares what the export has written, but not published. `place` says where a file of the report is
    /// now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Differs`](pgarrow_export::ErrorKind::Differs), if it is not what the server has; what
    /// stops the reading of either side.
    pub fn compare(
        self,
        plans: &[Arc<Plan>],
        report: &Report,
        place: impl Fn(&Path) -> PathBuf,
    ) -> Result<ServerVerified> {
        let Self { mut opened, what: Compared { only, columns_chosen }, cancel } = self;
        let mut files = report.files.iter();
        let mut differences = Vec::new();
        for plan in plans {
            let of_table = report.tables.iter().find(|table| table.table == plan.subject());
            // Of one table, the report itself has the files.
            let n_files = of_table.map_or(report.files.len(), |table| table.files);
            let files: Vec<ManifestFile> = files.by_ref().take(n_files).map(named).collect();
            let mut table = ManifestTable { only, columns_chosen, files, ..ManifestTable::of_plan(plan) };
            table.add_effects(plan, report);
            let files = table.files.iter();
            let files: Vec<_> =
                files.map(|known| CheckedFile::at(known, place(Path::new(&known.path)))).collect();
            let wrong = opened.compare(&table, &files, None)?;
            differences.extend(wrong.into_iter().map(|(path, what)| format!("{path:?}: {what}")));
            if cancel.is_requested() {
                return Err(cancel.error());
            }
        }
        concluded(opened, differences, "nothing was published").map_err(|error| cancel.cancelled_or(error))
    }
}

/// A file of a report.
fn named(file: &FileReport) -> ManifestFile {
    ManifestFile {
        path: file.path.clone().unwrap_or_default(),
        rows: file.rows,
        bytes: file.bytes,
        sha256: String::new(),
        row_groups: None,
        increment: 0,
        partition: PartitionValues::new(),
        columns: Vec::new(),
    }
}
