//! What the transactions of an export are set to.
//!
//! ```text
//!  BEGIN READ COMMITTED READ ONLY; SET LOCAL …    to look things up: names, the server, what it can do
//!  ROLLBACK; BEGIN REPEATABLE READ READ ONLY; …   to read: locks, snapshot, rows
//! ```
//!
//! Everything is SET LOCAL: behind a pooler a session's settings would stay with a server process that somebody else
//! gets next. And nothing is a `SELECT set_config(…)`, which would take the snapshot before the locks.

use pgarrow_protocol::{Session, TransactionStatus};
use pgarrow_session::{Result, begin_anew, server_timeout, session_settings};

use crate::options::ExportOptions;

/// Sees to it that the session is in a transaction to look things up in, with the user's role and settings. A
/// transaction that has failed is left for another one.
pub(crate) fn look_up(session: &mut Session, options: &ExportOptions) -> Result<()> {
    if session.transaction_status() == TransactionStatus::InTransaction {
        return Ok(());
    }
    // The user's statement is looked at as it will be read.
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = '0'; \
                 SET LOCAL standard_conforming_strings = 'on'; SET LOCAL idle_in_transaction_session_timeout = '0'";
    let lock_timeout = server_timeout(options.lock_timeout);
    let transaction_timeout = match session.server_version_num() >= 170_000 {
        true => "; SET LOCAL transaction_timeout = '0'",
        false => "",
    };
    let sql = format!(
        "{begin}; SET LOCAL lock_timeout = '{lock_timeout}'{transaction_timeout}{}",
        of_user(options)?
    );
    begin_anew(session, &sql)
}

/// BEGIN and the settings of a transaction that reads. The user's own settings come first.
///
/// `is_plain`: nothing but tables is read, by statements of ours without a user's filter.
pub(crate) fn begin_statements(
    session: &mut Session,
    options: &ExportOptions,
    is_plain: bool,
) -> Result<String> {
    let lock_timeout = server_timeout(options.lock_timeout);
    let mut settings = vec![
        ("statement_timeout", "0"),
        ("lock_timeout", lock_timeout.as_str()),
        ("idle_in_transaction_session_timeout", "0"),
        // Off: a policy that would filter rows is an error, not a silent subset.
        ("row_security", "off"),
        // Values in text, the server's own, are the same whatever role or database are set to.
        ("DateStyle", "ISO, YMD"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        // Where strings end is decided here as the server decides it.
        ("standard_conforming_strings", "on"),
        // Rows come in the order of the table's pages, from its first one.
        ("synchronize_seqscans", "off"),
    ];
    if session.server_version_num() >= 170_000 {
        settings.push(("transaction_timeout", "0"));
    }
    // Where a table is read, no view may stand in for it and run functions of its owner (CVE-2024-7348).
    // A foreign table may be one of its partitions. The setting came with minor releases, so the server is asked.
    if is_plain {
        look_up(session, options)?;
        let sql = "SELECT pg_catalog.current_setting('restrict_nonsystem_relation_kind', true)";
        let rows = session.query(sql, &[])?;
        if rows.first().is_some_and(|row| row.text(0).is_some()) {
            settings.push(("restrict_nonsystem_relation_kind", "view"));
        }
    }
    let mut statements = String::from("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    statements.push_str(&of_user(options)?);
    for (name, value) in settings {
        if !options.sets(name) {
            // A list may be one literal, as long as it has no names in it; a word with a hyphen must be.
            statements.push_str(&format!("; SET LOCAL {name} = '{value}'"));
        }
    }
    if options.ordered {
        // Rows of several workers come in no order.
        statements.push_str("; SET LOCAL max_parallel_workers_per_gather = 0");
    }
    Ok(statements)
}

/// The user's role and settings, each with a semicolon in front.
fn of_user(options: &ExportOptions) -> Result<String> {
    session_settings(options.role.as_deref(), &options.settings)
}
