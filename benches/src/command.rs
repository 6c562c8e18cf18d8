//! Runs of the command `pgarrow`, in a process of its own, with its report.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{Result, folders};

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
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.json");
    let mut command = Command::new(program);
    command.args(["export", url, "--quiet", "--table", table, "--to", to, "--report"]).arg(&report);
    if to != "none" {
        command.arg("--output").arg(folder.path().join("out"));
    }
    folders::output(command.args(flags))?;
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report)?)?;
    match report.get("rows").and_then(Value::as_u64) {
        Some(found) if found == rows => Ok(report),
        found => Err(format!("{}: {found:?} rows of {rows} in {table}", program.display()).into()),
    }
}
