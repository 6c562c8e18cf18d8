//! The transaction of a load: its begin, its end, and the errors that end it.

use std::time::{Duration, Instant};

use pgarrow_catalog::RelationName;
use pgarrow_protocol::Session;
use pgarrow_session::{
    Error, ErrorKind, Place, Result, TransactionSettings, must_be_in_transaction, permission_advice,
    without_read_timeout,
};
use pgarrow_types::option::{KEY, MODE, ON_CONFLICT, WRITERS};
use pgarrow_types::{Message, message};

use crate::exact;
use crate::options::LoadOptions;

/// Settings of loads besides those of all pgarrow transactions.
pub(crate) const BESIDE: [(&str, &str); 1] = [("xmloption", "content")];

/// The statements of [`begin`].
pub(crate) fn begin_sql(session: &Session, options: &LoadOptions) -> Result<String> {
    let settings = TransactionSettings {
        role: options.role.as_deref(),
        parameters: &options.settings,
        lock_timeout: options.lock_timeout,
    };
    settings.begin(session, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", &BESIDE)
}

/// Begins a read-write transaction. The server parses and prints values as text in the same form as in an
/// export.
pub(crate) fn begin(session: &mut Session, options: &LoadOptions) -> Result<()> {
    let sql = begin_sql(session, options)?;
    let was_usable = session.is_usable();
    session.execute(&sql).map_err(|error| match error.sqlstate() {
        // The connection was lost after a successful COMMIT.
        _ if !was_usable => Error::new(ErrorKind::Connection, error.to_string()),
        Some("25006") => Error::without_advice(error)
            .context("the target cannot be written to")
            .advice("name a server that is no standby (target_session_attrs=read-write finds it)"),
        _ => Error::without_advice(error),
    })?;
    must_be_in_transaction(session, "a load")
}

/// Commits. A commit may take long, for example for deferred constraints or a synchronous standby. The read
/// timeout does not apply: after a timeout, the outcome would be unknown.
pub(crate) fn commit(session: &mut Session) -> std::result::Result<(), pgarrow_protocol::Error> {
    let started = Instant::now();
    let committed = without_read_timeout(session, Session::commit);
    let seconds = started.elapsed().as_secs_f64();
    match &committed {
        Ok(()) => tracing::info!(target: "pgarrow", seconds, "committed"),
        Err(error) => tracing::warn!(target: "pgarrow", seconds, "not committed: {error}"),
    }
    committed
}

/// The most time that a session may take to roll back.
pub(crate) const ROLLBACK_TIME: Duration = Duration::from_secs(5);

/// Ends a session whose transaction has failed. When this returns, the target is as before. If the server
/// does not answer, this holds as soon as the server notices that the connection is closed.
pub(crate) fn roll_back(session: Session) {
    if let Some(session) = take_back(session) {
        session.close();
    }
}

/// Rolls back. Returns the session, unless it is lost.
pub(crate) fn take_back(mut session: Session) -> Option<Session> {
    session.set_read_timeout(Some(ROLLBACK_TIME));
    match session.execute("ROLLBACK") {
        Ok(()) => Some(session),
        Err(_) => {
            session.close();
            None
        }
    }
}

/// A server error in a load's first transaction, with its place in the data.
pub(crate) fn server_error(error: pgarrow_protocol::Error, target: &str) -> Error {
    server_error_after(error, target, None, 0)
}

/// The same in a transaction that follows `committed` committed rows of the data. `known`: the place in the
/// data, if the server does not give one.
pub(crate) fn server_error_after(
    error: pgarrow_protocol::Error,
    target: &str,
    known: Option<String>,
    committed: u64,
) -> Error {
    let place = told_place(&error).or(known).map(|place| shifted(&place, committed));
    error_at(error, target, place, committed)
}

/// The same for rows of several readers, whose numbers in the COPY do not match the data.
pub(crate) fn server_error_of_any_row(error: pgarrow_protocol::Error, target: &str) -> Error {
    let place = column(&error);
    error_at(error, target, place, 0)
}

/// The place that the server gives, without the row number.
fn column(error: &pgarrow_protocol::Error) -> Option<String> {
    let place = told_place(error)?;
    place.split_once(", ").map(|(_, column)| column.to_owned())
}

/// The same if only writers of this load can block one another, by the keys of their rows.
pub(crate) fn server_error_of_writer(error: pgarrow_protocol::Error, target: &str) -> Error {
    let place = column(&error);
    match error.sqlstate() {
        Some("40P01" | "55P03") => error_with(error, target, None, 0, Some(same_key())),
        _ => error_at(error, target, place, 0),
    }
}

/// Advice for a writer that waits for another one.
fn same_key() -> Message {
    message![
        "a writer has waited for another one that had the same key, which is in the data twice; with one writer (",
        WRITERS.to("1"),
        "), the server names it"
    ]
}

fn error_at(error: pgarrow_protocol::Error, target: &str, place: Option<String>, committed: u64) -> Error {
    let advice = error.server_error().and_then(|server| advice(&server.sqlstate, &server.message));
    error_with(error, target, place, committed, advice)
}

fn error_with(
    error: pgarrow_protocol::Error,
    target: &str,
    place: Option<String>,
    committed: u64,
    advice: Option<Message>,
) -> Error {
    let row = place;
    let error = match &row {
        Some(place) => Error::without_advice(error).context(format!("{target} ({place})")),
        None => Error::without_advice(error).context(target),
    };
    let at = located(error.place(), target, row.as_deref());
    let error = error.at(at);
    if error.kind() == ErrorKind::OutcomeUnknown {
        return error;
    }
    let error = error.advice(outcome(committed));
    match advice {
        Some(advice) => error.advice(advice),
        None => error,
    }
}

/// The loaded table as a place for errors.
pub(crate) fn place_in(target: &str) -> Place {
    let mut is_quoted = false;
    // Some names are followed by more text.
    let is_name = target.chars().all(|c| {
        is_quoted ^= c == '"';
        is_quoted || c.is_ascii_alphanumeric() || "_.\"".contains(c)
    });
    match RelationName::parse(target) {
        Ok(RelationName { schema: Some(schema), name }) if is_name => {
            Place::default().with_table(schema, name)
        }
        _ => Place::default(),
    }
}

/// The server's place may name a staging table. `row` looks like `row 3, column x`, in the server's
/// language.
fn located(by_server: &Place, target: &str, row: Option<&str>) -> Place {
    let (rows, column) = row.map_or(("", None), |row| match row.split_once(", ") {
        Some((rows, column)) => (rows, column.split_once(' ').map(|(_, name)| name)),
        None => (row, None),
    });
    let numbers: Vec<u64> = rows.split(' ').filter_map(|word| word.parse().ok()).collect();
    let mut place = place_in(target);
    place.column = by_server.column.clone().or(column.map(str::to_owned));
    place.row = if let [row] = numbers[..] { Some(row) } else { None };
    place
}

fn told_place(error: &pgarrow_protocol::Error) -> Option<String> {
    error.server_error().and_then(|server| server.where_.as_deref()).and_then(place)
}

/// Adds what is in the table and what to do, unless the error says so already.
pub(crate) fn with_outcome(error: Error, committed: u64) -> Error {
    let outcome = outcome(committed);
    if error.kind() == ErrorKind::OutcomeUnknown || error.to_string().contains(&outcome) {
        return error;
    }
    let advice = error.sqlstate().and_then(|sqlstate| advice(sqlstate, &error.to_string()));
    let error = error.advice(outcome);
    match advice {
        Some(advice) => error.advice(advice),
        None => error,
    }
}

/// What is in the table after a failure, with this many committed rows of the data.
pub(crate) fn outcome(committed: u64) -> String {
    match committed {
        0 => "nothing was loaded".to_owned(),
        _ => format!(
            "the first {committed} rows of the data are loaded; started again with the same restart key, the load goes \
             on behind them"
        ),
    }
}

/// Shifts `row 3, column c4` by the number of rows before.
fn shifted(place: &str, rows_before: u64) -> String {
    let (rows, column) = place.split_at(place.find(',').unwrap_or(place.len()));
    let shift = |word: &str| match word.parse::<u64>() {
        Ok(row) => row.saturating_add(rows_before).to_string(),
        Err(_) => word.to_owned(),
    };
    let words: Vec<String> = rows.split(' ').map(shift).collect();
    words.join(" ") + column
}

/// Extracts `line 3, column x` from `COPY t, line 3, column x`. A value may follow a colon.
///
/// Source: `CopyFromErrorCallback` in PostgreSQL's `src/backend/commands/copyfrom.c`. In other message
/// languages, other words replace line and column.
fn place(context: &str) -> Option<String> {
    let line = context.lines().find(|line| line.starts_with("COPY "))?;
    let (_, place) = line.split_once(", ")?;
    let place = place.split(':').next().unwrap_or(place).trim();
    // Users count rows, not lines.
    Some(match place.strip_prefix("line ") {
        Some(rest) => format!("row {rest}"),
        None => place.to_owned(),
    })
}

/// Advice by SQLSTATE. `message` shows whether the constraint is one of ours.
fn advice(sqlstate: &str, message: &str) -> Option<Message> {
    const OF_ROWS: &str =
        "grant INSERT on the table to this role; where it has policies, they decide about each row";
    let text = match sqlstate {
        "23514" if exact::is_broken(message) => return Some(exact::advice()),
        "23505" => {
            return Some(message![
                "the table has a row with this key, or the data has it twice: ",
                ON_CONFLICT.to("skip"),
                " leaves such a row out, and ",
                MODE.to("upsert"),
                " updates the row that is there (",
                KEY.to("LIST"),
                " names another key than the primary one)"
            ]);
        }
        "23502" | "23503" | "23514" | "23P01" => {
            "a row breaks a constraint of the table: mend the data, or load it into a table without it"
        }
        "21000" => "the data has the same key twice: one row of a key can be loaded",
        "22001" => "a text is longer than its column allows",
        "25006" => "the target does not let this session write",
        "40P01" | "40001" | "55P03" => "another session was in the way; start the load again",
        "42501" => permission_advice(message, OF_ROWS)?,
        "44000" => "a row is none that the view would show: mend the data, or load another view or table",
        "42P07" => return Some(message!["choose another name, or ", MODE.to("append|truncate")]),
        "53100" => "the server's disk is full; make room there",
        "57014" => "someone cancelled the statement on the server, or a timeout there did",
        _ => return None,
    };
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_has_no_value_in_it() {
        assert_eq!(place("COPY t, line 3, column x: \"secret\"").as_deref(), Some("row 3, column x"));
        assert_eq!(place("SQL statement \"…\"\nCOPY t, line 12").as_deref(), Some("row 12"));
        assert_eq!(place("COPY t, Zeile 12, Spalte b").as_deref(), Some("Zeile 12, Spalte b"));
        assert_eq!(place("PL/pgSQL function f() line 3"), None);
    }

    #[test]
    fn a_place_is_there_for_programs() {
        let by_server = Place::default().with_table("pg_temp_3", "between");
        let of_t = || Place::default().with_table("public", "T t");
        for (told, place) in [
            (None, of_t()),
            (Some("row 3"), of_t().with_row(3)),
            (Some("Zeile 12, Spalte b c"), of_t().with_row(12).with_column("b c")),
            (Some("one of the rows 3 to 7"), of_t()),
        ] {
            assert_eq!(located(&by_server, "public.\"T t\"", told), place);
        }
        let named = located(&Place::default().with_column("x"), "public.t, rows 1 to 9 of the data", None);
        assert_eq!(named, Place::default().with_column("x"));
    }

    #[test]
    fn a_place_is_one_of_the_data() {
        assert_eq!(shifted("row 3, column 4", 10), "row 13, column 4");
        assert_eq!(shifted("one of the rows 3 to 7", 10), "one of the rows 13 to 17");
        assert_eq!(shifted("Zeile 12, Spalte b", 0), "Zeile 12, Spalte b");
    }
}
