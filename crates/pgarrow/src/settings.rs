//! What the transactions of an export are set to.
//!
//! ```text
//!  BEGIN READ COMMITTED READ ONLY; SET LOCAL …    to look things up: names, the server, what it can do
//!  ROLLBACK; BEGIN REPEATABLE READ READ ONLY; …   to read: locks, snapshot, rows
//! ```
//!
//! Everything is SET LOCAL: behind a pooler a session's settings would stay with a server process that somebody else
//! gets next. And nothing is a `SELECT set_config(…)`, which would take the snapshot before the locks.

use std::time::Duration;

use pgarrow_catalog::{quote_identifier, quote_literal};
use pgarrow_protocol::{Session, TransactionStatus};

use crate::error::{Error, ErrorKind, Result};
use crate::options::ExportOptions;

/// Parameters that decide how values look on the wire or in text, and how a statement is read: ours alone.
const FIXED: [&str; 8] = [
    "client_encoding",
    "standard_conforming_strings",
    "datestyle",
    "intervalstyle",
    "extra_float_digits",
    "bytea_output",
    "transaction_isolation",
    "transaction_read_only",
];

/// Parameters that are lists of names, each of which is quoted by itself.
///
/// Source: `variable_is_guc_list_quote` in PostgreSQL's `src/bin/pg_dump/dumputils.c`, which says that there will be no
/// more of them.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

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

/// Begins a transaction, and ends the one before, if there is one.
pub(crate) fn begin_anew(session: &mut Session, begin: &str) -> Result<()> {
    let began = match session.transaction_status() {
        TransactionStatus::Idle => session.execute(begin),
        // In one go: the transaction before has changed nothing.
        TransactionStatus::InTransaction | TransactionStatus::Failed => {
            session.execute(&format!("ROLLBACK; {begin}"))
        }
    };
    began.map_err(|error| match error.sqlstate() {
        // What PgBouncer says of everything that it refuses, and what servers say that know no such statement.
        Some("08P01" | "0A000" | "42601") => Error::from(error).context("no transaction could be begun").advice(
            "an export needs REPEATABLE READ; of a pooler, use session or transaction mode, or connect past it",
        ),
        _ => error.into(),
    })?;
    if session.transaction_status() != TransactionStatus::InTransaction {
        let text = "the server was told to begin a transaction, and is in none: \
                    an export needs one; if this is a pooler, connect past it";
        return Err(Error::new(ErrorKind::Server, text));
    }
    Ok(())
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

/// Statements that set role and parameters for the transaction, each with a semicolon in front: for whoever begins a
/// transaction beside exports.
///
/// # Errors
///
/// [`ErrorKind::Options`] for a parameter that pgarrow itself has to set, and for a value with a NUL byte.
pub fn session_settings(role: Option<&str>, settings: &[(String, String)]) -> Result<String> {
    let mut statements = String::new();
    if let Some(role) = role {
        statements.push_str(&format!("; SET LOCAL ROLE {}", quote_identifier(role)));
    }
    for (name, value) in settings {
        let name = name.trim();
        if FIXED.iter().any(|fixed| fixed.eq_ignore_ascii_case(name)) {
            let text = format!(
                "the setting {name} is fixed by pgarrow, since it changes how values are sent or read"
            );
            return Err(Error::new(ErrorKind::Options, text));
        }
        // A parameter of an extension has a dot in its name.
        let quoted = name.split('.').map(quote_identifier).collect::<Vec<_>>().join(".");
        let values = match LISTS.iter().any(|list| list.eq_ignore_ascii_case(name)) {
            true => names(value).iter().map(|name| literal(name)).collect::<Result<Vec<_>>>()?.join(", "),
            false => literal(value)?,
        };
        statements.push_str(&format!("; SET LOCAL {quoted} = {values}"));
    }
    Ok(statements)
}

/// The names of a list such as `"$user", public`: in lower case unless they are quoted.
///
/// Source: `SplitIdentifierString` in PostgreSQL's `src/backend/utils/adt/varlena.c`.
fn names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut name, mut is_quoted, mut was_quoted) = (String::new(), false, false);
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => (is_quoted, was_quoted) = (!is_quoted, true),
            _ if is_quoted => name.push(character),
            ',' => {
                names.push(ended(&name, was_quoted));
                (name, was_quoted) = (String::new(), false);
            }
            _ if character.is_whitespace() && (was_quoted || name.is_empty()) => {}
            _ => name.push(character.to_ascii_lowercase()),
        }
    }
    names.push(ended(&name, was_quoted));
    names
}

fn ended(name: &str, was_quoted: bool) -> String {
    if was_quoted { name.to_owned() } else { name.trim_end().to_owned() }
}

/// As the server's timeouts are set, in milliseconds; 0 is none.
pub fn server_timeout(time: Option<Duration>) -> String {
    // The server's limit. A time below a millisecond is not none.
    let milliseconds = time.map_or(0, |time| time.as_millis().clamp(1, 2_147_483_647));
    milliseconds.to_string()
}

/// A string literal, or why there is none.
pub(crate) fn literal(text: &str) -> Result<String> {
    quote_literal(text).ok_or_else(|| {
        Error::new(ErrorKind::Options, "a value has a NUL byte, which PostgreSQL's text cannot hold")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names() {
        for (list, expected) in [
            ("public", &["public"][..]),
            ("\"$user\", Public", &["$user", "public"]),
            ("\"A,b\" ,\"say \"\"x\"\"\"", &["A,b", "say \"x\""]),
            ("a b,  \" c\"", &["a b", " c"]),
            ("", &[""]),
        ] {
            assert_eq!(names(list), expected, "{list}");
        }
    }

    #[test]
    fn role_and_settings_of_the_user() {
        let options = ExportOptions::default()
            .with_role("Reader")
            .with_setting("work_mem", "1MB'")
            .with_setting("my.Setting", "a, b")
            .with_setting("search_path", "a, \"B\"");
        assert_eq!(
            of_user(&options).unwrap(),
            "; SET LOCAL ROLE \"Reader\"; SET LOCAL \"work_mem\" = '1MB'''; SET LOCAL \"my\".\"Setting\" = 'a, b'; \
             SET LOCAL \"search_path\" = 'a', 'B'"
        );
        let options = ExportOptions::default().with_setting(" Transaction_Read_Only", "off");
        assert!(of_user(&options).unwrap_err().to_string().contains("fixed by pgarrow"));
    }

    #[test]
    fn timeouts_of_the_server() {
        assert_eq!(server_timeout(None), "0");
        assert_eq!(server_timeout(Some(Duration::from_nanos(1))), "1");
        assert_eq!(server_timeout(Some(Duration::from_secs(30))), "30000");
        assert_eq!(server_timeout(Some(Duration::MAX)), "2147483647");
    }
}
