//! What went wrong with an export: the only error callers see.

use std::fmt;

use pgarrow_catalog::{CatalogError, NameError};
use pgarrow_protocol::{ServerError, escape_control};
use pgarrow_sink::{SinkError, SinkErrorKind};

use crate::refusal::is_of_text;

/// What went wrong with an export. One pointer wide; cheap to return from hot code.
///
/// Its text says what, where, and what to do next; it never holds a password or a value that we read from a
/// table. What the server itself says (message, detail, hint) is shown, control characters escaped.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    sqlstate: Option<String>,
    is_broken_pipe: bool,
}

/// Who has to act on an [`Error`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call asks for something contradictory or impossible. Change the options.
    Options,
    /// No connection, or it broke. Trying again may help.
    Connection,
    /// PostgreSQL said no. [`Error::sqlstate`] says why.
    Server,
    /// PostgreSQL, or something between us, broke the protocol. Please report it.
    Protocol,
    /// A value does not fit the Arrow type of its column. The message names the choices that let it.
    Value,
    /// The output could not be written.
    Sink,
    /// The caller stopped the export.
    Cancelled,
}

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind. For embedders whose callbacks can fail.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), sqlstate: None, is_broken_pipe: false }))
    }

    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The five characters of PostgreSQL's error code, if the server refused.
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.sqlstate.as_deref()
    }

    /// Whether whoever was reading the output has left: nothing to say, but the export is not complete.
    pub fn is_broken_pipe(&self) -> bool {
        self.0.is_broken_pipe
    }

    /// Whether the connection was lost, or the server is on its way down or up: trying again may help.
    pub fn is_transient(&self) -> bool {
        match self.sqlstate() {
            Some(state) => state.starts_with("08") || ["57P01", "57P02", "57P03", "53300"].contains(&state),
            None => self.kind() == ErrorKind::Connection,
        }
    }

    /// The same, with what was being done in front.
    #[must_use]
    pub(crate) fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// The same, with what to do next behind.
    #[must_use]
    pub(crate) fn advice(mut self, advice: impl fmt::Display) -> Self {
        self.0.message = format!("{}; {advice}", self.0.message);
        self
    }
}

/// What a `main` that returns it shows: kind and text.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<pgarrow_protocol::Error> for Error {
    fn from(error: pgarrow_protocol::Error) -> Self {
        use pgarrow_protocol::ErrorKind as Wire;
        let kind = match error.kind() {
            Wire::Config => ErrorKind::Options,
            Wire::Server => ErrorKind::Server,
            Wire::Protocol => ErrorKind::Protocol,
            Wire::Interrupted => ErrorKind::Cancelled,
            _ => ErrorKind::Connection,
        };
        let mut message = error.to_string();
        if let Some(detail) = error.server_error().and_then(|server| server.detail.as_deref()) {
            message = format!("{message}; detail: {}", escape_control(detail));
        }
        let advice = error.server_error().and_then(advice);
        let mut converted = Self::new(kind, message);
        converted.0.sqlstate = error.sqlstate().map(str::to_owned);
        match advice {
            Some(advice) => converted.advice(advice),
            None => converted,
        }
    }
}

/// What to do about errors that users of an export meet.
fn advice(server: &ServerError) -> Option<&'static str> {
    match server.sqlstate.as_str() {
        "42501"
            if server.message.contains("row-level security") || server.message.contains("row security") =>
        {
            Some(
                "pass row_security=on as a setting (--set row_security=on) to export only what the policies allow",
            )
        }
        "42501" => Some("grant SELECT on it to this role, or name only columns that the role may read"),
        "53300" => Some("close other connections, or raise max_connections or the role's limit"),
        "25006" => Some("an export runs in a read-only transaction"),
        "22021" | "22P05" => Some(
            "the database holds text that is not valid in UTF-8; choose --encoding-policy replace|latin1|binary where the database's encoding is SQL_ASCII, or read such columns as bytea",
        ),
        "54000" => Some("a row of more than 1 GiB cannot be sent; leave out its largest columns"),
        "40001" => Some("on a standby, raise max_standby_streaming_delay or set hot_standby_feedback"),
        _ => None,
    }
}

impl From<CatalogError> for Error {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Protocol(error) if is_of_text(error.sqlstate()) => {
                // What is proposed for values is no help for the catalog.
                let text = format!("a name, a comment or a label in the catalog is not UTF-8: {error}");
                let mut converted = Self::new(ErrorKind::Server, text);
                converted.0.sqlstate = error.sqlstate().map(str::to_owned);
                converted.advice("rename it, or drop the comment")
            }
            CatalogError::Protocol(error) => error.into(),
            CatalogError::Unexpected(_) => Self::new(ErrorKind::Protocol, error.to_string()),
            _ => Self::new(ErrorKind::Options, error.to_string()),
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
        let kind = match error.kind() {
            SinkErrorKind::Unsupported => ErrorKind::Options,
            _ => ErrorKind::Sink,
        };
        let mut converted = Self::new(kind, error.to_string());
        converted.0.is_broken_pipe = error.kind() == SinkErrorKind::BrokenPipe;
        converted
    }
}
