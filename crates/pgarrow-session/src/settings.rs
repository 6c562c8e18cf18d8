//! What transactions are set to, by statements that hold for nothing behind them.
//!
//! Everything is SET LOCAL: behind a pooler a session's settings would stay with a server process that somebody else
//! gets next. And nothing is a `SELECT set_config(…)`, which would take the snapshot before the locks.

use std::time::Duration;

use pgarrow_catalog::{quote_identifier, quote_literal};
use pgarrow_protocol::{Session, TransactionStatus};

use crate::error::{Error, ErrorKind, Result};

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

/// Begins a transaction, and ends the one before, if there is one.
pub fn begin_anew(session: &mut Session, begin: &str) -> Result<()> {
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
pub fn literal(text: &str) -> Result<String> {
    quote_literal(text).ok_or_else(|| {
        Error::new(ErrorKind::Options, "a value has a NUL byte, which PostgreSQL's text cannot hold")
    })
}

/// Runs what may wait for a lock: a server that waits says nothing for long, and is well. The read timeout is the session's
/// again afterwards.
pub fn without_read_timeout<T>(session: &mut Session, run: impl FnOnce(&mut Session) -> T) -> T {
    let read_timeout = session.read_timeout();
    session.set_read_timeout(None);
    let result = run(session);
    session.set_read_timeout(read_timeout);
    result
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
        let settings = [("work_mem", "1MB'"), ("my.Setting", "a, b"), ("search_path", "a, \"B\"")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            session_settings(Some("Reader"), &settings).unwrap(),
            "; SET LOCAL ROLE \"Reader\"; SET LOCAL \"work_mem\" = '1MB'''; SET LOCAL \"my\".\"Setting\" = 'a, b'; \
             SET LOCAL \"search_path\" = 'a', 'B'"
        );
        let fixed = [(" Transaction_Read_Only".to_owned(), "off".to_owned())];
        assert!(session_settings(None, &fixed).unwrap_err().to_string().contains("fixed by pgarrow"));
    }

    #[test]
    fn timeouts_of_the_server() {
        assert_eq!(server_timeout(None), "0");
        assert_eq!(server_timeout(Some(Duration::from_nanos(1))), "1");
        assert_eq!(server_timeout(Some(Duration::from_secs(30))), "30000");
        assert_eq!(server_timeout(Some(Duration::MAX)), "2147483647");
    }
}
