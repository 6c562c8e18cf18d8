//! How many rows have arrived: what the server has counted is compared with what was sent.

use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};

use crate::plan::{LoadPlan, Staging};
use crate::transaction::{outcome, server_error_after};

/// What is said of rows that the server has left out.
pub(crate) fn left_out(plan: &LoadPlan, sent: u64, rows: u64) -> Option<String> {
    let why = match plan.staging {
        Some(Staging { skips: true, .. }) => "since their key is there, or by a trigger or rule",
        _ => "by a trigger or rule",
    };
    (rows < sent).then(|| format!("{} of {sent} rows were left out {why}", sent - rows))
}

/// Brings rows on from the staging table, if there is one. How many the table has been given, which has to be what was
/// sent.
pub(crate) fn insert_from_staging(
    session: &mut Session,
    plan: &LoadPlan,
    target: &str,
    copied: u64,
    sent: u64,
    may_leave_out: bool,
    committed: u64,
) -> Result<u64> {
    let mut rows = copied;
    if let Some(staging) = &plan.staging {
        // Nothing can leave rows out of the staging table.
        check_count(target, sent, rows, false, committed)?;
        rows = staging
            .set_zone(session)
            .and_then(|()| staging.insert_from_staging(session))
            .map_err(|error| server_error_after(error, target, None, committed))?;
    }
    check_count(target, sent, rows, may_leave_out, committed)?;
    Ok(rows)
}

/// The server has to have counted what was sent.
pub(crate) fn check_count(
    target: &str,
    sent: u64,
    rows: u64,
    may_leave_out: bool,
    committed: u64,
) -> Result<()> {
    if rows == sent || (may_leave_out && rows < sent) {
        return Ok(());
    }
    let text = format!("{target}: {sent} rows were sent, and the server has counted {rows}");
    Err(Error::new(ErrorKind::Protocol, text).advice(outcome(committed)))
}
