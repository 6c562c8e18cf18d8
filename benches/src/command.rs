//! Runs of the command `pgarrow`, in a process of its own, with its report.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::{Result, folders};

/// A run that is ready to start, and the folder of what it writes.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) command: Command,
    folder: TempDir,
}

impl Prepared {
    fn new(program: &Path) -> Result<Self> {
        Ok(Self { command: Command::new(program), folder: tempfile::tempdir()? })
    }

    /// An export of a table; `to` is a name of `--to`.
    ///
    /// # Errors
    ///
    /// There can be no folder.
    pub(crate) fn export(
        program: &Path,
        url: &str,
        table: &str,
        to: &str,
        flags: &[impl AsRef<OsStr>],
    ) -> Result<Self> {
        let mut run = Self::new(program)?;
        let report = run.folder.path().join("report.json");
        run.command.args(["export", url, "--quiet", "--table", table, "--to", to, "--report"]).arg(&report);
        if to != "none" {
            run.command.arg("--output").arg(run.folder.path().join("out"));
        }
        run.command.args(flags);
        Ok(run)
    }

    /// A load of a file into a table.
    ///
    /// # Errors
    ///
    /// There can be no folder.
    pub(crate) fn load(program: &Path, url: &str, file: &Path, table: &str) -> Result<Self> {
        let mut run = Self::new(program)?;
        let report = run.folder.path().join("report.json");
        run.command.arg("load").arg(file).args(["--target", url, "--into", table, "--quiet", "--report"]);
        run.command.arg(&report);
        Ok(run)
    }

    /// Runs it, and returns the report.
    ///
    /// # Errors
    ///
    /// It fails, or has another number of rows.
    pub(crate) fn run(mut self, rows: u64) -> Result<Value> {
        folders::output(&mut self.command)?;
        self.report(rows)
    }

    /// The report of a run that has ended.
    ///
    /// # Errors
    ///
    /// There is none, or it has another number of rows.
    pub(crate) fn report(&self, rows: u64) -> Result<Value> {
        let report = std::fs::read_to_string(self.folder.path().join("report.json"))?;
        let report: Value = serde_json::from_str(&report)?;
        match report.get("rows").and_then(Value::as_u64) {
            Some(found) if found == rows => Ok(report),
            found => Err(format!("{:?}: {found:?} rows of {rows}", self.command.get_program()).into()),
        }
    }
}

/// Whether a run by pages, whose report this is, has read nine of ten pages as such.
pub(crate) fn check_pages(report: &Value) -> Result<()> {
    let pages = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    if pages("/pages/read") < (9 * pages("/pages/copied")).max(1) {
        return Err(format!("the table was not read by pages: {:?}", report.get("pages")).into());
    }
    Ok(())
}

/// Exports a table, and returns the report.
///
/// # Errors
///
/// It fails, or has another number of rows.
pub(crate) fn export(
    program: &Path,
    url: &str,
    table: &str,
    to: &str,
    flags: &[impl AsRef<OsStr>],
    rows: u64,
) -> Result<Value> {
    Prepared::export(program, url, table, to, flags)?.run(rows)
}
