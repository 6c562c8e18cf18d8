//! The settings of all transactions, of exports and loads.
//!
//! Everything is SET LOCAL: behind a pooler, session settings would stay on a server connection that another
//! client gets next. And nothing uses `SELECT set_config(…)`, which would take the snapshot before the
//! locks.

use std::time::Duration;

use pgarrow_catalog::{quote_identifier, quote_literal};
use pgarrow_protocol::{Session, TransactionStatus};

use crate::error::{Error, ErrorKind, Result};

/// Parameters that decide how values look on the wire or in text, and how statements are parsed: users
/// cannot set them.
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

/// Parameters whose values are lists of names, each quoted separately.
///
/// Source: `variable_is_guc_list_quote` in PostgreSQL's `src/bin/pg_dump/dumputils.c`, which says that no
/// more will be added.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The settings of all our transactions, unless the user sets them: no timeout ends them except that for
/// locks, and text values look the same whatever role or database settings say.
const OURS: [(&str, &str); 7] = [
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    // Our scanner of the user's SQL finds the ends of strings as the server does with this.
    ("standard_conforming_strings", "on"),
];

/// The settings of a run's transactions: first the user's role and parameters, then ours.
#[derive(Clone, Copy, Debug)]
pub struct TransactionSettings<'a> {
    /// For SET LOCAL ROLE.
    pub role: Option<&'a str>,
    /// The user's parameters, by name, in their order.
    pub parameters: &'a [(String, String)],
    /// How long a statement waits for a lock; `None`: without limit.
    pub lock_timeout: Option<Duration>,
}

impl TransactionSettings<'_> {
    /// `begin` followed by the SET LOCAL statements, as one list of statements for this server. `beside`:
    /// our parameters for this kind of transaction, which the user may set, too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a parameter that only pgarrow may set, and for a value with a NUL byte.
    pub fn begin(&self, session: &Session, begin: &str, beside: &[(&str, &str)]) -> Result<String> {
        let mut statements = begin.to_owned();
        statements.push_str(&self.of_user()?);
        let lock_timeout = server_timeout(self.lock_timeout);
        let has_transaction_timeout = session.server_version_num() >= 170_000;
        let of_version = has_transaction_timeout.then_some(("transaction_timeout", "0"));
        let ours = OURS.iter().copied().chain([("lock_timeout", lock_timeout.as_str())]).chain(of_version);
        for (name, value) in ours.chain(beside.iter().copied()) {
            if !self.sets(name) {
                // A list can be one literal as long as it contains no names; a word with a hyphen must be a
                // literal.
                statements.push_str(&format!("; SET LOCAL {name} = '{value}'"));
            }
        }
        Ok(statements)
    }

    /// The statements that set a part of the caller's transaction, and the parameters' names. The caller's
    /// timeouts stay.
    ///
    /// # Errors
    ///
    /// As for [`begin`](Self::begin).
    pub(crate) fn within(&self, beside: &[(&str, &str)]) -> Result<(String, Vec<String>)> {
        let (mut statements, mut names) = (self.of_user()?, Vec::new());
        names.extend(self.parameters.iter().map(|(name, _)| name.trim().to_owned()));
        let lock_timeout = self.lock_timeout.map(|time| server_timeout(Some(time)));
        let lock_timeout = lock_timeout.as_deref().map(|time| ("lock_timeout", time));
        let texts = OURS.iter().copied().filter(|(name, _)| !name.ends_with("_timeout"));
        for (name, value) in texts.chain(lock_timeout).chain(beside.iter().copied()) {
            if !self.sets(name) {
                statements.push_str(&format!("; SET LOCAL {name} = '{value}'"));
                names.push(name.to_owned());
            }
        }
        Ok((statements, names))
    }

    /// Whether the user sets a parameter.
    pub fn sets(&self, name: &str) -> bool {
        self.parameters.iter().any(|(of_user, _)| of_user.trim().eq_ignore_ascii_case(name))
    }

    /// The statements for the user's role and parameters, each after a semicolon.
    fn of_user(&self) -> Result<String> {
        let mut statements = String::new();
        if let Some(role) = self.role {
            statements.push_str(&format!("; SET LOCAL ROLE {}", quote_identifier(role)));
        }
        for (name, value) in self.parameters {
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
}

/// Begins a read transaction. Ends an open one first.
pub fn begin_anew(session: &mut Session, begin: &str) -> Result<()> {
    let began = match session.transaction_status() {
        TransactionStatus::Idle => session.execute(begin),
        // In one round trip: the old transaction has changed nothing.
        TransactionStatus::InTransaction | TransactionStatus::Failed => {
            session.execute(&format!("ROLLBACK; {begin}"))
        }
    };
    began.map_err(|error| not_begun(error.into()))?;
    must_be_in_transaction(session, "an export")
}

/// Adds to an error of BEGIN what an export needs.
pub fn not_begun(error: Error) -> Error {
    match error.sqlstate() {
        // PgBouncer's code for everything that it refuses, and codes of servers that do not know the
        // statement.
        Some("08P01" | "0A000" | "42601") => error.context("no transaction could be begun").advice(
            "an export needs REPEATABLE READ; of a pooler, use session or transaction mode, or connect past it",
        ),
        _ => error,
    }
}

/// Checks that BEGIN has begun a transaction, which `who` needs: a pooler in statement mode accepts BEGIN
/// and ends the transaction at once.
///
/// # Errors
///
/// [`ErrorKind::Server`] if no transaction is open.
pub fn must_be_in_transaction(session: &Session, who: &str) -> Result<()> {
    if session.transaction_status() == TransactionStatus::InTransaction {
        return Ok(());
    }
    let text = format!(
        "the server was told to begin a transaction, and is in none: {who} needs one; if this is a pooler, \
         connect past it"
    );
    Err(Error::new(ErrorKind::Server, text))
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

/// A timeout as the server takes it, in milliseconds; 0 is none.
pub fn server_timeout(time: Option<Duration>) -> String {
    // The server's maximum. A time below a millisecond must not become 0.
    let milliseconds = time.map_or(0, |time| time.as_millis().clamp(1, 2_147_483_647));
    milliseconds.to_string()
}

/// A string literal, or an error if the text has a NUL byte.
pub fn literal(text: &str) -> Result<String> {
    quote_literal(text).ok_or_else(|| {
        Error::new(ErrorKind::Options, "a value has a NUL byte, which PostgreSQL's text cannot hold")
    })
}

/// Runs work that may wait for a lock without the read timeout: a waiting server is silent for long, and
/// healthy. Restores the session's read timeout afterwards.
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
    fn role_and_parameters_of_the_user() {
        let of_user = |role, parameters: &[(&str, &str)]| {
            let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
            let parameters: Vec<(String, String)> = parameters.iter().map(own).collect();
            TransactionSettings { role, parameters: &parameters, lock_timeout: None }.of_user()
        };
        let parameters = [("work_mem", "1MB'"), ("my.Setting", "a, b"), ("search_path", "a, \"B\"")];
        assert_eq!(
            of_user(Some("Reader"), &parameters).unwrap(),
            "; SET LOCAL ROLE \"Reader\"; SET LOCAL \"work_mem\" = '1MB'''; SET LOCAL \"my\".\"Setting\" = 'a, b'; \
             SET LOCAL \"search_path\" = 'a', 'B'"
        );
        let error = of_user(None, &[(" Transaction_Read_Only", "off")]).unwrap_err();
        assert!(error.to_string().contains("fixed by pgarrow"), "{error}");
    }

    #[test]
    fn timeouts_of_the_server() {
        assert_eq!(server_timeout(None), "0");
        assert_eq!(server_timeout(Some(Duration::from_nanos(1))), "1");
        assert_eq!(server_timeout(Some(Duration::from_secs(30))), "30000");
        assert_eq!(server_timeout(Some(Duration::MAX)), "2147483647");
    }
}
