//! Errors of exports and loads: the only error type that callers see.

use std::fmt;
use std::sync::Arc;

use arrow_schema::ArrowError;
use pgarrow_catalog::{CatalogError, NameError};
use pgarrow_protocol::{ServerError, escape_control};
use pgarrow_sink::{SinkError, SinkErrorKind};
use pgarrow_types::option::{ENCODING, READERS};
use pgarrow_types::{Hint, Message, message};

/// An error of an export or a load. It is one pointer wide, so it is cheap to return from hot code.
///
/// Its text says what failed, where, and what to do next. It never contains a password or a value that
/// pgarrow read from a table. It does show the server's own words (message, detail, hint), with control
/// characters escaped. Programs can get the same facts: [`kind`](Self::kind), [`sqlstate`](Self::sqlstate),
/// [`place`](Self::place), [`hints`](Self::hints), and the cause as `source()`, whose text is already part
/// of this one.
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Message,
    sqlstate: Option<String>,
    place: Place,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
    is_broken_pipe: bool,
    /// The connection was lost or could not be opened, and no server gave a reason.
    is_lost: bool,
    is_timeout: bool,
    /// One line per problem, if there are several.
    problems: Vec<Message>,
}

/// The place of an error, as far as it is known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Place {
    /// The schema's name.
    pub schema: Option<String>,
    /// The table's name. A query has none.
    pub table: Option<String>,
    /// The column's name.
    pub column: Option<String>,
    /// The row, counted from 1: in an export within the part that the error names, in a load within its
    /// data.
    pub row: Option<u64>,
}

impl Place {
    /// The place in this table.
    #[must_use]
    pub fn with_table(self, schema: impl Into<String>, table: impl Into<String>) -> Self {
        Self { schema: Some(schema.into()), table: Some(table.into()), ..self }
    }

    /// The place in this column.
    #[must_use]
    pub fn with_column(self, column: impl Into<String>) -> Self {
        Self { column: Some(column.into()), ..self }
    }

    /// The place in this row, counted from 1.
    #[must_use]
    pub fn with_row(self, row: u64) -> Self {
        Self { row: Some(row), ..self }
    }
}

/// The most lines of an error with several problems.
const PROBLEMS_MAX: usize = 50;

/// Who has to act on an [`Error`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call asks for something contradictory or impossible. Change the options.
    Options,
    /// No connection could be opened, or it broke. A retry may help.
    Connection,
    /// PostgreSQL refused; [`Error::sqlstate`] says why. Or it wants an authentication that we cannot give.
    Server,
    /// PostgreSQL, or something between it and us, broke the protocol. Please report it.
    Protocol,
    /// A value does not fit the Arrow type of its column. The message names the options that would allow it.
    Value,
    /// The output could not be written.
    Sink,
    /// The input cannot be read: missing, damaged, incomplete, or of different schemas.
    Input,
    /// The caller stopped the export.
    Cancelled,
    /// The connection broke while a load was being committed: its rows may be there or not. Check before you
    /// load again.
    OutcomeUnknown,
    /// What was written is not what the server has under the same snapshot. Nothing of it was committed.
    Differs,
}

/// Errors after which a retry may help: `admin_shutdown`, `crash_shutdown`, `cannot_connect_now`,
/// `too_many_connections`, `lock_not_available`. In addition to class 08, connection exceptions.
///
/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const TRANSIENT: [&str; 5] = ["57P01", "57P02", "57P03", "53300", "55P03"];

/// Messages of PgBouncer when a server connection is gone; all its errors have the code 08P01,
/// protocol_violation.
///
/// Source: `disconnect_client` and `disconnect_server` in PgBouncer's `src/`.
const LOST_BY_POOLER: [&str; 5] = [
    "server conn crashed?",
    "server login failed",
    "pgbouncer cannot connect to server",
    "server connection closed",
    "database removed",
];

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind. For callers whose callbacks can fail.
    pub fn new(kind: ErrorKind, message: impl Into<Message>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            sqlstate: None,
            place: Place::default(),
            cause: None,
            is_broken_pipe: false,
            is_lost: kind == ErrorKind::Connection,
            is_timeout: false,
            problems: Vec::new(),
        }))
    }

    /// Several errors as one, with at most fifty lines, one for each; a single error unchanged. `None` if
    /// there are none.
    ///
    /// The kind is that of the first error. The SQLSTATE is set only if all errors have the same one.
    pub fn all(errors: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut errors: Vec<Self> = errors.into_iter().collect();
        if errors.len() <= 1 {
            return errors.pop();
        }
        let (kind, sqlstate) = errors.first().map(|first| (first.kind(), first.0.sqlstate.clone()))?;
        let mut all = Self::new(kind, format!("{} problems, and nothing was read:", errors.len()));
        all.0.is_lost = false;
        all.0.sqlstate = sqlstate.filter(|state| errors.iter().all(|error| error.sqlstate() == Some(state)));
        let n_more = errors.len().saturating_sub(PROBLEMS_MAX);
        all.0.problems = errors.into_iter().take(PROBLEMS_MAX).map(|error| error.0.message).collect();
        if n_more > 0 {
            all.0.problems.push(format!("and {n_more} more").into());
        }
        Some(all)
    }

    /// Adds lines after the text: a table of all problems.
    #[must_use]
    pub fn with_problems(mut self, lines: impl IntoIterator<Item = Message>) -> Self {
        self.0.problems.extend(lines);
        self
    }

    /// Sets the place of the error.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.0.place = place;
        self
    }

    /// Sets the cause of the error.
    #[must_use]
    pub fn caused_by(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Arc::new(cause));
        self
    }

    /// The single problems, if there are several. The text contains them, too, one per line.
    pub fn problems(&self) -> &[Message] {
        &self.0.problems
    }

    /// The text without [`problems`](Self::problems), for callers that have their own names for options.
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// The text, with the caller's words for [`hints`](Self::hints). If it has several lines, control
    /// characters are escaped.
    pub fn with_words(&self, words: &dyn Fn(&Hint) -> String) -> String {
        let text = self.0.message.with_words(words);
        if self.0.problems.is_empty() {
            return text;
        }
        let lines = self.0.problems.iter().map(|problem| escape_control(&problem.with_words(words)));
        [escape_control(&text)].into_iter().chain(lines).collect::<Vec<_>>().join("\n  ")
    }

    /// What helps, as data: options and the values to set. The text names them, too.
    pub fn hints(&self) -> impl Iterator<Item = &Hint> {
        self.0.message.hints().chain(self.0.problems.iter().flat_map(Message::hints))
    }

    /// The place of the error, as far as it is known.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// An error for a missing right (42501), found before the server is asked.
    pub fn not_permitted(message: String) -> Self {
        Self::as_server("42501", message)
    }

    /// An error with the SQLSTATE that the server would give, found before the server is asked.
    pub fn as_server(sqlstate: &str, message: String) -> Self {
        let mut error = Self::new(ErrorKind::Server, message);
        error.0.sqlstate = Some(sqlstate.to_owned());
        error
    }

    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The five characters of the SQLSTATE, if the server refused.
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.sqlstate.as_deref()
    }

    /// Whether the reader of the output has gone: no message is needed, but the export is incomplete.
    pub fn is_broken_pipe(&self) -> bool {
        self.0.is_broken_pipe
    }

    /// Whether a retry may help: the connection was lost, or the server is starting or shutting down, has no
    /// free connection, or a lock was not available.
    ///
    /// Not after a timeout, a refused password, a broken protocol, or any error about the statement.
    pub fn is_transient(&self) -> bool {
        match self.sqlstate() {
            Some("08P01") => self.0.is_lost,
            Some(state) => state.starts_with("08") || TRANSIENT.contains(&state),
            None => self.0.is_lost,
        }
    }

    /// A copy of the error, for another caller that has to get it.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(Box::new(self.0.as_ref().clone()))
    }

    /// Whether a timeout passed, while connecting or waiting for the server's next byte.
    pub fn is_timeout(&self) -> bool {
        self.0.is_timeout
    }

    /// The error of the protocol or the server, without advice: the advice of `From` is for exports.
    pub fn without_advice(error: pgarrow_protocol::Error) -> Self {
        use pgarrow_protocol::ErrorKind as Wire;
        let kind = match error.kind() {
            Wire::Config => ErrorKind::Options,
            // A server that wants a password that the caller has not given also refuses.
            Wire::Server | Wire::RolledBack | Wire::Auth => ErrorKind::Server,
            Wire::CommitUnknown => ErrorKind::OutcomeUnknown,
            Wire::Protocol => ErrorKind::Protocol,
            Wire::Interrupted => ErrorKind::Cancelled,
            _ => ErrorKind::Connection,
        };
        let mut message = error.to_string();
        let server = error.server_error();
        if let Some(detail) = server.and_then(|server| server.detail.as_deref()) {
            message = format!("{message}; detail: {}", escape_control(detail));
        }
        let mut converted = Self::new(kind, message);
        if let Some(ServerError { schema, table, column, .. }) = server.cloned() {
            converted.0.place = Place { schema, table, column, row: None };
        }
        converted.0.sqlstate = error.sqlstate().map(str::to_owned);
        converted.0.is_lost = match (error.kind(), error.server_error()) {
            (Wire::Connect | Wire::Closed | Wire::Io, _) => true,
            (Wire::Server, Some(server)) => {
                server.is_fatal() && LOST_BY_POOLER.iter().any(|text| server.message.starts_with(text))
            }
            _ => false,
        };
        converted.0.is_timeout = error.kind() == Wire::Timeout;
        converted.caused_by(error)
    }

    /// Puts what was being done in front of the text.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = self.0.message.behind(format_args!("{doing}: "));
        self
    }

    /// Appends advice on what to do next.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<Message>) -> Self {
        self.0.message.push("; ");
        self.0.message.push(advice);
        self
    }
}

/// Shown when `main` returns the error: kind and text.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_words(&Hint::to_string))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}

impl From<pgarrow_protocol::Error> for Error {
    fn from(error: pgarrow_protocol::Error) -> Self {
        let advice = error.server_error().and_then(advice);
        let converted = Self::without_advice(error);
        match advice {
            Some(advice) => converted.advice(advice),
            None => converted,
        }
    }
}

/// Advice on errors that users of an export meet.
fn advice(server: &ServerError) -> Option<Message> {
    let text = match server.sqlstate.as_str() {
        "42501"
            if server.message.contains("row-level security") || server.message.contains("row security") =>
        {
            return Some(message![
                "pass row_security=on as a setting (",
                Hint::setting("row_security", "on"),
                ") to export only what the policies allow"
            ]);
        }
        "42501" => permission_advice(
            &server.message,
            "grant SELECT on it to this role, or name only columns that the role may read",
        )?,
        "08P01" if server.message.starts_with("unsupported startup parameter") => {
            return Some(message![
                "the pooler refuses it when a session begins; leave it out of the connection string and PGOPTIONS, and set it \
                 for the export (",
                Hint::setting("NAME", "VALUE"),
                ")"
            ]);
        }
        "08P01" if server.message.starts_with("query_wait_timeout") => {
            return Some(message![
                "the pooler had no server connection to give; raise its pool_size, or use fewer readers (",
                READERS,
                ")"
            ]);
        }
        "08P01" if server.message.starts_with("query timeout") => {
            "the pooler's query_timeout ended it; raise that for exports, or connect past the pooler"
        }
        "57014" if server.message.contains("statement timeout") => {
            return Some(message![
                "statement_timeout is 0 in an export, unless it is set (",
                Hint::setting("statement_timeout", "…"),
                "): a pooler or an extension may have one of its own"
            ]);
        }
        "57014" => {
            "nothing here asked for that: somebody has called pg_cancel_backend, or a tool or timeout on the server has; its \
             log says when"
        }
        "53300" => "close other connections, or raise max_connections or the role's limit",
        "25006" => "an export runs in a read-only transaction",
        "22021" | "22P05" => {
            return Some(message![
                "the database holds text that is not valid in UTF-8; choose ",
                ENCODING.to("replace|latin1|binary"),
                " where the database's encoding is SQL_ASCII, or read such columns as bytea"
            ]);
        }
        "54000" => "a row of more than 1 GiB cannot be sent; leave out its largest columns",
        "40001" => "on a standby, raise max_standby_streaming_delay or set hot_standby_feedback",
        _ => return None,
    };
    Some(text.into())
}

/// Advice for `insufficient_privilege`, by the object that the server names. `of_rows` is for tables, and
/// for messages in other languages. `None` if the message is not about a right to an object, for example SET
/// ROLE: it explains itself.
///
/// Source: `aclcheck_error` in PostgreSQL's `src/backend/catalog/aclchk.c`.
pub fn permission_advice<'a>(message: &str, of_rows: &'a str) -> Option<&'a str> {
    if message.contains("must be ") || message.contains("permission denied to ") {
        return None;
    }
    let Some((_, what)) = message.split_once("permission denied for ") else { return Some(of_rows) };
    let by_kind: [(&str, &'static str); 10] = [
        ("schema ", "grant USAGE on the schema to this role"),
        ("database ", "grant CONNECT on the database to this role"),
        ("function ", EXECUTE),
        ("procedure ", EXECUTE),
        ("aggregate ", EXECUTE),
        ("routine ", EXECUTE),
        ("type ", "grant USAGE on the type to this role"),
        ("language ", "grant USAGE on the language to this role"),
        ("foreign server ", "grant USAGE on the foreign server to this role"),
        ("foreign-data wrapper ", "grant USAGE on the foreign-data wrapper to this role"),
    ];
    let known = by_kind.into_iter().find(|(kind, _)| what.starts_with(kind));
    Some(known.map_or(of_rows, |(_, advice)| advice))
}

/// Whether the server could not convert text to UTF-8: invalid in its encoding, or without a counterpart.
pub fn is_of_text(sqlstate: Option<&str>) -> bool {
    matches!(sqlstate, Some("22021" | "22P05"))
}

const EXECUTE: &str = "grant EXECUTE on it to this role";

impl From<CatalogError> for Error {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Protocol(error) if is_of_text(error.sqlstate()) => {
                // The advice for values does not help with the catalog.
                let text = format!("a name, a comment or a label in the catalog is not UTF-8: {error}");
                let mut converted = Self::new(ErrorKind::Server, text);
                converted.0.sqlstate = error.sqlstate().map(str::to_owned);
                converted.caused_by(error).advice("rename it, or drop the comment")
            }
            CatalogError::Protocol(error) => error.into(),
            CatalogError::SchemaRefused { schema, error } => Self::without_advice(error)
                .advice(format_args!("grant USAGE on schema {schema:?} to this role")),
            CatalogError::Unexpected(_) => Self::new(ErrorKind::Protocol, error.to_string()).caused_by(error),
            _ => Self::new(ErrorKind::Options, error.to_string()).caused_by(error),
        }
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::new(ErrorKind::Options, error.to_string())
    }
}

impl From<SinkError> for Error {
    fn from(error: SinkError) -> Self {
        // If the sink is a server, its error is as good as one of the source.
        if let Some(cause) = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Self>())
        {
            return cause.duplicate();
        }
        let kind = match error.kind() {
            SinkErrorKind::Unsupported => ErrorKind::Options,
            _ => ErrorKind::Sink,
        };
        let mut converted = Self::new(kind, error.message());
        converted.0.is_broken_pipe = error.kind() == SinkErrorKind::BrokenPipe;
        converted.caused_by(error)
    }
}

/// Errors of a `RecordBatchReader` have to be Arrow's: an error of ours inside one is unwrapped unchanged.
impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::ExternalError(error) => match error.downcast::<Self>() {
                Ok(error) => *error,
                Err(error) => {
                    let text = error.to_string();
                    Self::new(ErrorKind::Protocol, text).caused_by(ArrowError::ExternalError(error))
                }
            },
            error => Self::new(ErrorKind::Protocol, error.to_string()).caused_by(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_errors_are_a_line_each_up_to_fifty() {
        let options = |text: &str| Error::new(ErrorKind::Options, text);
        assert!(Error::all([]).is_none());
        let one = Error::all([options("a\nb")]).unwrap();
        assert_eq!((one.to_string().as_str(), one.problems().len()), ("a\nb", 0));
        let two = Error::all([Error::not_permitted("no\nline".to_owned()), options("c")]).unwrap();
        assert_eq!((two.kind(), two.sqlstate()), (ErrorKind::Server, None));
        assert_eq!(two.to_string(), "2 problems, and nothing was read:\n  no\\u{a}line\n  c");
        let all = Error::all((0..60).map(|n| Error::not_permitted(n.to_string()))).unwrap();
        assert_eq!(all.sqlstate(), Some("42501"));
        assert_eq!(all.to_string().lines().count(), 52);
        assert!(all.to_string().ends_with("\n  49\n  and 10 more"), "{all}");
    }

    /// Regression: programs had to search the text for words.
    #[test]
    fn what_helps_where_and_why_is_there_for_programs() {
        let cause = SinkError::io("write", None, std::io::Error::from(std::io::ErrorKind::StorageFull));
        let error = Error::from(cause).context("public.t").advice(message!["use fewer (", READERS, ")"]);
        let place = Place::default().with_table("public", "t").with_row(3);
        let error = error.at(place.clone()).duplicate();
        assert!(error.to_string().ends_with("choose another place; use fewer (option readers)"), "{error}");
        assert!(error.with_words(&|_| "FEWER".to_owned()).ends_with("; use fewer (FEWER)"));
        assert_eq!((error.place(), error.kind()), (&place, ErrorKind::Sink));
        assert_eq!(error.hints().map(Hint::option).collect::<Vec<_>>(), [Some(READERS)]);
        let sink = std::error::Error::source(&error).unwrap();
        assert!(sink.is::<SinkError>() && sink.source().unwrap().is::<std::io::Error>());
        let several = Error::all([error.duplicate(), error]).unwrap();
        assert_eq!(several.hints().count(), 2);
        let arrow = Error::from(ArrowError::ComputeError("no".to_owned()));
        assert!(std::error::Error::source(&arrow).unwrap().is::<ArrowError>());
    }

    /// An error of the server with this code.
    fn of_server(sqlstate: &str) -> Error {
        let mut error = Error::new(ErrorKind::Server, "");
        (error.0.sqlstate, error.0.is_lost) = (Some(sqlstate.to_owned()), false);
        error
    }

    #[test]
    fn what_is_tried_again_and_what_is_not() {
        for (sqlstate, is_transient) in [
            // Connection exceptions. A broken protocol is not a lost connection.
            ("08000", true),
            ("08001", true),
            ("08003", true),
            ("08004", true),
            ("08006", true),
            ("08P01", false),
            ("57P01", true),
            ("57P02", true),
            ("57P03", true),
            ("53300", true),
            ("55P03", true),
            // Stopped on request.
            ("57014", false),
            ("57P04", false),
            ("57P05", false),
            ("22012", false),
            ("22021", false),
            ("22023", false),
            ("25P03", false),
            ("28000", false),
            ("28P01", false),
            ("40001", false),
            ("40P01", false),
            ("42501", false),
            ("42704", false),
            ("42P01", false),
            ("0A000", false),
            ("53100", false),
            ("53200", false),
            ("53400", false),
            ("54000", false),
            ("54001", false),
            ("55000", false),
            ("58030", false),
            ("72000", false),
            ("P0001", false),
            ("XX000", false),
            ("XX001", false),
            ("XX002", false),
            ("unknown", false),
        ] {
            assert_eq!(of_server(sqlstate).is_transient(), is_transient, "{sqlstate}");
        }
        for (kind, is_transient) in [
            (ErrorKind::Connection, true),
            (ErrorKind::Options, false),
            (ErrorKind::Protocol, false),
            (ErrorKind::Value, false),
            (ErrorKind::Sink, false),
            (ErrorKind::Cancelled, false),
        ] {
            assert_eq!(Error::new(kind, "").is_transient(), is_transient, "{kind:?}");
        }
    }

    /// Regression: the advice was always to grant SELECT, whatever right was missing.
    #[test]
    fn what_is_granted_is_what_was_denied() {
        for (message, advice) in [
            ("permission denied for table t", Some("rows")),
            ("permission denied for view v", Some("rows")),
            ("permission denied for schema s", Some("grant USAGE on the schema to this role")),
            ("permission denied for function f", Some(EXECUTE)),
            ("permission denied for database d", Some("grant CONNECT on the database to this role")),
            (
                "permission denied for foreign server f",
                Some("grant USAGE on the foreign server to this role"),
            ),
            ("keine Berechtigung für Tabelle t", Some("rows")),
            ("permission denied to set role \"r\"", None),
            ("must be owner of table t", None),
        ] {
            assert_eq!(permission_advice(message, "rows"), advice, "{message}");
        }
    }

    #[test]
    fn still_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
