//! The result of a COPY, or of the INSERTs in its place.

use std::time::Duration;

use pgarrow_session::{Error, ErrorKind};
use pgarrow_types::message;
use pgarrow_types::option::METHOD;

use crate::report::Times;
use crate::transaction::{outcome, server_error_after, server_error_of_any_row};

/// Why rows did not arrive.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The server refused the rows, or the connection failed.
    Refused {
        error: pgarrow_protocol::Error,
        /// Which rows, if the server does not say so itself.
        place: Option<String>,
        /// The server refused the statement itself, not its rows.
        at_start: bool,
    },
    /// The server expects other rows than were planned.
    Unexpected(String),
}

impl From<pgarrow_protocol::Error> for Failed {
    fn from(error: pgarrow_protocol::Error) -> Self {
        Self::Refused { error, place: None, at_start: false }
    }
}

impl Failed {
    /// Adds the place of the error and what is in the table. `is_unnumbered`: the server's row numbers do
    /// not match the data's.
    pub(crate) fn into_error(self, target: &str, committed: u64, is_unnumbered: bool) -> Error {
        match self {
            Self::Refused { error, place, at_start } => {
                let is_refused = at_start && error.sqlstate().is_some_and(is_about_copy);
                let error = match is_unnumbered {
                    true => server_error_of_any_row(error, target),
                    false => server_error_after(error, target, place, committed),
                };
                match is_refused {
                    true => {
                        error.advice(message!["where COPY is not possible, ", METHOD.to("insert"), " is"])
                    }
                    false => error,
                }
            }
            Self::Unexpected(what) => {
                Error::new(ErrorKind::Protocol, format!("{target}: {what}")).advice(outcome(committed))
            }
        }
    }
}

/// SQLSTATEs of a server that does not know such a COPY: `feature_not_supported`, `syntax_error`.
fn is_about_copy(sqlstate: &str) -> bool {
    matches!(sqlstate, "0A000" | "42601")
}

/// Rows that the server has confirmed.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) rows: u64,
    /// Bytes of the rows sent.
    pub(crate) bytes: u64,
    /// How long it took to hand each buffer to the operating system.
    pub(crate) times: Times,
    /// Time spent handing bytes to the operating system.
    pub(crate) send: Duration,
    /// Time blocked while sending, until the server took more.
    pub(crate) blocked: Duration,
    /// Time after the last byte until the server had loaded the rows.
    pub(crate) wait: Duration,
}
