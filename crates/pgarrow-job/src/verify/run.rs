//! What a run has written, held against the server before it is committed.

use pgarrow_export::{Cancel, Error, ErrorKind, Result};
use pgarrow_store::Store;

use super::files::CheckedFile;
use super::found::{ServerDifference, ServerVerified};
use super::server::Opened;
use super::stopped_by;
use crate::manifest::{ManifestFile, ManifestTable};

/// The most differences that an error names.
const NAMED_MAX: usize = 5;

/// Compares the files of a run's tables with the tables, under the run's snapshot. `condition_of` says of a
/// table of which only new rows were read, for which rows of the server its new files stand.
///
/// # Errors
///
/// [`ErrorKind::Differs`], if they are not the same; what stops the reading of either side.
pub(crate) fn compare_run(
    mut opened: Opened,
    store: &Store,
    run_id: &str,
    tables: &[ManifestTable],
    condition_of: impl Fn(&ManifestTable) -> Option<String>,
    cancel: &Cancel,
) -> Result<ServerVerified> {
    let store = &stopped_by(store, cancel);
    let mut differences = Vec::new();
    for table in tables {
        let is_of_run = table.increments.last().is_some_and(|increment| increment.run_id == run_id);
        if !is_of_run {
            opened.leave_out(table, "an earlier run has read it");
            continue;
        }
        let condition = condition_of(table);
        let last = table.increments.len().saturating_sub(1);
        let of_run = |file: &&ManifestFile| condition.is_none() || file.increment == last;
        let n_files = table.files.iter().filter(of_run).count();
        let mut files = Vec::with_capacity(n_files);
        for known in table.files.iter().filter(of_run) {
            let Some(mut file) = CheckedFile::read(store, known, true, cancel)? else {
                differences.push(format!("{:?} is not there", known.path));
                continue;
            };
            match file.difference().map_or_else(|| file.put_back(table), Err) {
                Ok(()) => files.push(file),
                Err(what) => differences.push(format!("{:?}: {what}", known.path)),
            }
        }
        if files.len() == n_files {
            let wrong = opened.compare(table, &files, condition.as_deref())?;
            differences.extend(wrong.into_iter().map(|(path, what)| format!("{path:?}: {what}")));
        }
    }
    concluded(opened, differences, "nothing was committed")
}

/// Ends the comparison. It is an error if anything differs: the files' own `differences`, or what was found
/// on the server. `outcome` says what that means.
pub(super) fn concluded(
    opened: Opened,
    mut differences: Vec<String>,
    outcome: &'static str,
) -> Result<ServerVerified> {
    let verified = opened.end()?;
    differences.extend(verified.differences.iter().map(said));
    if differences.is_empty() {
        return Ok(verified);
    }
    let more = match differences.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let named = differences.get(..NAMED_MAX).unwrap_or(&differences).join("; ");
    let text = format!("what was written is not what the server has under the same snapshot: {named}{more}");
    Err(Error::new(ErrorKind::Differs, text).advice(outcome))
}

fn said(difference: &ServerDifference) -> String {
    let ServerDifference { table, column, what, .. } = difference;
    match column {
        Some(column) => format!("{table}, column {column:?}: {what}"),
        None => format!("{table}: {what}"),
    }
}
