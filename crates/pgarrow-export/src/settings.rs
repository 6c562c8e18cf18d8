//! The settings of an export's transactions.
//!
//! ```text
//!  BEGIN READ COMMITTED READ ONLY; SET LOCAL …    to look things up: names, the server, what it can do
//!  ROLLBACK; BEGIN REPEATABLE READ READ ONLY; …   to read: locks, snapshot, rows
//! ```
//!
//! `TransactionSettings` of `pgarrow-session` makes the statements.

use pgarrow_protocol::{Session, TransactionStatus};
use pgarrow_session::{Result, begin_anew};

use crate::options::ExportOptions;

/// For a session that may wait for a lock behind a session that waits for the export itself.
pub(crate) const WAIT_LESS: &str = "SET LOCAL lock_timeout = '10s'";

/// Begins a look-up transaction with the user's role and parameters, unless the session is in one. Ends a
/// failed transaction first.
pub(crate) fn look_up(session: &mut Session, options: &ExportOptions) -> Result<()> {
    if session.transaction_status() == TransactionStatus::InTransaction {
        return Ok(());
    }
    let sql = look_up_statements(session, options)?;
    begin_anew(session, &sql)
}

/// BEGIN and the settings of a look-up transaction.
pub(crate) fn look_up_statements(session: &Session, options: &ExportOptions) -> Result<String> {
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";
    options.transaction_settings().begin(session, begin, &[])
}

/// BEGIN and the settings of a transaction that reads.
///
/// `no_views`: the server can forbid views, and only tables are read, by statements without a user's filter.
pub(crate) fn begin_statements(session: &Session, options: &ExportOptions, no_views: bool) -> Result<String> {
    let mut beside = vec![
        // Off: a policy that would filter rows is an error, not a silent subset.
        ("row_security", "off"),
        // Rows come in the order of the table's pages, from its first one.
        ("synchronize_seqscans", "off"),
    ];
    // No view may replace a table that is read and run functions of its owner (CVE-2024-7348). Foreign tables
    // stay allowed: one may be a partition.
    if no_views {
        beside.push(("restrict_nonsystem_relation_kind", "view"));
    }
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut statements = options.transaction_settings().begin(session, begin, &beside)?;
    if options.ordered || options.reject {
        // Rows of several parallel workers have no order. Those that are set aside are found by their
        // numbers.
        statements.push_str("; SET LOCAL max_parallel_workers_per_gather = 0");
    }
    Ok(statements)
}

/// The column of [`snapshot_query`] with the process.
pub(crate) const PID_INDEX: usize = 3;

/// Takes the snapshot, and says what it is.
pub(crate) fn snapshot_query(session: &Session) -> String {
    let snapshot = if session.server_version_num() >= 130_000 {
        "pg_catalog.pg_current_snapshot()"
    } else {
        "pg_catalog.txid_current_snapshot()"
    };
    format!(
        "SELECT {snapshot}::pg_catalog.text, \
         pg_catalog.concat(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()), '+00'), \
         pg_catalog.current_setting('server_version'), pg_catalog.pg_backend_pid(), \
         pg_catalog.current_setting('transaction_isolation')"
    )
}
