//! Checks that all rows arrived: compares the server's count with the rows sent.

use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};

use crate::plan::{LoadPlan, Staging};
use crate::transaction::{outcome, server_error_after};

/// A warning about rows that the server left out.
pub(crate) fn left_out(plan: &LoadPlan, sent: u64, rows: u64) -> Option<String> {
    let why = match plan.staging {
        Some(Staging { skips: true, .. }) => "since their key is there, or by a trigger or rule",
        _ => "by a trigger or rule",
    };
    (rows < sent).then(|| format!("{} of {sent} rows were left out {why}", sent - rows))
}

/// Inserts rows from the staging table, if there is one, into the target. Returns the server's count, which
/// must match what was sent.
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
        // Nothing can leave rows out on the way into the staging table.
        check_count(target, sent, rows, false, committed)?;
        rows = staging
            .set_zone(session)
            .and_then(|()| staging.insert_from_staging(session))
            .map_err(|error| server_error_after(error, target, None, committed))?;
    }
    check_count(target, sent, rows, may_leave_out, committed)?;
    Ok(rows)
}

/// The server's count must match the rows sent; it may be lower if rows may be left out.
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
