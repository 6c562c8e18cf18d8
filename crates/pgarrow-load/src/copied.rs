//! What came of a COPY, or of the INSERTs in its place.

use std::time::Duration;

use pgarrow_session::{Error, ErrorKind};
use pgarrow_types::message;
use pgarrow_types::option::METHOD;

use crate::report::Times;
use crate::transaction::{outcome, server_error_after, server_error_of_any_row};

/// Why rows did not arrive.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The server, or the connection to it.
    Refused {
        error: pgarrow_protocol::Error,
        /// Which rows, if the server does not say it itself.
        place: Option<String>,
        /// It was the statement itself, not what came with it.
        at_start: bool,
    },
    /// The server expects something else than was planned.
    Unexpected(String),
}

impl From<pgarrow_protocol::Error> for Failed {
    fn from(error: pgarrow_protocol::Error) -> Self {
        Self::Refused { error, place: None, at_start: false }
    }
}

impl Failed {
    /// With where it was, and what is in the table. `is_unnumbered`: the server's numbers of rows are none of the data's.
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

/// What a server says that knows no such COPY: `feature_not_supported`, `syntax_error`.
fn is_about_copy(sqlstate: &str) -> bool {
    matches!(sqlstate, "0A000" | "42601")
}

/// Rows that the server has confirmed.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) rows: u64,
    /// Of rows that were sent.
    pub(crate) bytes: u64,
    /// How long each buffer took until it was with the system.
    pub(crate) times: Times,
    /// Handing bytes to the system.
    pub(crate) send: Duration,
    /// While sending, until they were taken.
    pub(crate) blocked: Duration,
    /// Afterwards, until the server had loaded them.
    pub(crate) wait: Duration,
}
