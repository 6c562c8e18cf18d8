//! How a run ends: the exit codes, and the messages about failures.

use std::fmt;
use std::process::ExitCode;

use pgarrow::{Error, ErrorKind, Message, escape_control};
use pgarrow_server::ServerError;

use crate::received::Received;
use crate::words;

/// Code and meaning, as `--help` lists them.
const CODES: [(u8, &str); 16] = [
    (0, "success"),
    (
        1,
        "some of several tables failed, and the others were committed; or anything that has no code of its own",
    ),
    (2, "options, names or a statement that cannot be used"),
    (3, "no connection, or it was lost, or the server had none left: another attempt may help"),
    (4, "PostgreSQL refused, as it does wrong and missing passwords"),
    (5, "the protocol was broken"),
    (6, "a value does not fit its Arrow type, or its column"),
    (7, "the output could not be written"),
    (8, "what is to be loaded could not be read"),
    (
        9,
        "a load or a run ended while it was committed, by a failure or a signal: its rows may be there or not",
    ),
    (10, "files are not what their manifest says"),
    (11, "tables on the server are not what the files have"),
    (129, "stopped by SIGHUP"),
    (130, "stopped by SIGINT (Ctrl-C)"),
    (141, "the reader of stdout left"),
    (143, "stopped by SIGTERM"),
];

pub(crate) const UNEXPECTED: u8 = 1;
const OPTIONS: u8 = 2;
const NO_CONNECTION: u8 = 3;
const REFUSED: u8 = 4;
const OUTPUT: u8 = 7;
/// The load may or may not have committed: its rows may be in the table.
pub(crate) const OUTCOME_UNKNOWN: u8 = 9;
const DIFFERS: u8 = 10;
const SERVER_DIFFERS: u8 = 11;
const BROKEN_PIPE: u8 = 141;

/// What stopped a run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The export or load, or the options.
    Export(Error),
    /// The demo's server.
    Server(ServerError),
    /// The demo found a difference between a file and the server.
    Check(String),
    /// Files are not what their manifest says.
    Differs(String),
    /// Tables on the server are not what the files have.
    ServerDiffers(String),
    /// Tables failed, and the others were committed.
    Incomplete(String),
    /// A signal, and a text about what it stopped.
    Signal(Received, Option<String>),
}

impl Failure {
    /// Options that cannot be used.
    pub(crate) fn options(text: impl Into<Message>) -> Self {
        Self::Export(Error::new(ErrorKind::Options, text))
    }

    /// An output that could not be written.
    pub(crate) fn output(text: impl Into<Message>) -> Self {
        Self::Export(Error::new(ErrorKind::Sink, text))
    }

    /// The reader of stdout has left: there is no message, but its data are incomplete.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Export(error) if error.is_broken_pipe())
    }

    /// The failure to report when there was a signal: the signal, as the reason. But an unknown outcome is
    /// reported as such.
    pub(crate) fn or(self, signal: Option<Self>) -> Self {
        match &self {
            Self::Export(error) if error.kind() == ErrorKind::OutcomeUnknown => self,
            // It is the signal already, with its text.
            Self::Signal(..) => self,
            _ => signal.unwrap_or(self),
        }
    }

    /// Adds advice behind the text.
    pub(crate) fn advice(self, advice: &str) -> Self {
        match self {
            Self::Export(error) => Self::Export(error.advice(advice)),
            Self::Signal(signal, None) => Self::Signal(signal, Some(advice.to_owned())),
            Self::Signal(signal, Some(text)) => Self::Signal(signal, Some(format!("{text}; {advice}"))),
            Self::Check(text) => Self::Check(format!("{text}; {advice}")),
            Self::Differs(text) => Self::Differs(format!("{text}; {advice}")),
            Self::ServerDiffers(text) => Self::ServerDiffers(format!("{text}; {advice}")),
            Self::Incomplete(text) => Self::Incomplete(format!("{text}; {advice}")),
            Self::Server(_) => self,
        }
    }

    /// For a load that a signal stopped before it committed anything: adds that nothing was loaded.
    pub(crate) fn nothing_loaded(self) -> Self {
        match self {
            Self::Signal(_, None) => self.advice("nothing was loaded"),
            other => other,
        }
    }

    /// The kind of failure, in a word for programs.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Export(error) => match error.kind() {
                ErrorKind::Options => "options",
                ErrorKind::Connection => "connection",
                ErrorKind::Server => "server",
                ErrorKind::Protocol => "protocol",
                ErrorKind::Value => "value",
                ErrorKind::Sink => "output",
                ErrorKind::Input => "input",
                ErrorKind::Cancelled => "cancelled",
                ErrorKind::OutcomeUnknown => "outcome_unknown",
                ErrorKind::Differs => "server_differs",
                _ => "other",
            },
            Self::Differs(_) => "differs",
            Self::ServerDiffers(_) => "server_differs",
            Self::Incomplete(_) => "incomplete",
            Self::Server(_) | Self::Check(_) => "other",
            Self::Signal(..) => "cancelled",
        }
    }

    /// The server's SQLSTATE, if the server refused.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Export(error) => error.sqlstate(),
            _ => None,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Export(error) if error.is_broken_pipe() => BROKEN_PIPE,
            Self::Export(error) => match error.kind() {
                ErrorKind::Options => OPTIONS,
                ErrorKind::Connection | ErrorKind::Server => code_of_server(error),
                ErrorKind::Protocol => 5,
                ErrorKind::Value => 6,
                ErrorKind::Sink => OUTPUT,
                ErrorKind::Input => 8,
                ErrorKind::OutcomeUnknown => OUTCOME_UNKNOWN,
                ErrorKind::Differs => SERVER_DIFFERS,
                _ => UNEXPECTED,
            },
            Self::Differs(_) => DIFFERS,
            Self::ServerDiffers(_) => SERVER_DIFFERS,
            Self::Incomplete(_) => UNEXPECTED,
            Self::Server(_) | Self::Check(_) => UNEXPECTED,
            Self::Signal(signal, _) => code_of_signal(signal.number),
        }
    }
}

/// Code 3 if another attempt may help: the connection was lost or refused, or the server is starting up or
/// shutting down, or has no connection left. Otherwise 4: a wrong or missing password does not become right.
///
/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn code_of_server(error: &Error) -> u8 {
    let is_lost = match error.sqlstate() {
        // Poolers send this for every failure, also when they lost the server.
        Some("08P01") => error.is_transient(),
        Some(state) => state.starts_with("08") || matches!(state, "53300" | "57P01" | "57P02" | "57P03"),
        None => error.kind() == ErrorKind::Connection,
    };
    if is_lost { NO_CONNECTION } else { REFUSED }
}

/// As shells count: 128 and the signal's number.
fn code_of_signal(number: i32) -> u8 {
    u8::try_from(number).map_or(UNEXPECTED, |number| number.saturating_add(128))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Export(error)
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The text has names and the server's words in it.
            Self::Export(error) if error.problems().is_empty() => {
                f.write_str(&escape_control(&words::error(error)))
            }
            // One line each. The end of a log has several lines.
            Self::Export(error) => in_lines(&words::error(error), f),
            Self::Server(error) => in_lines(&error.to_string(), f),
            Self::Check(text) | Self::Differs(text) | Self::ServerDiffers(text) | Self::Incomplete(text) => {
                f.write_str(&escape_control(text))
            }
            Self::Signal(signal, None) => write!(f, "cancelled by {signal}"),
            Self::Signal(signal, Some(advice)) => {
                write!(f, "cancelled by {signal}; {}", escape_control(advice))
            }
        }
    }
}

/// The text, escaped, with its line ends.
fn in_lines(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let lines: Vec<_> = text.lines().map(escape_control).collect();
    f.write_str(&lines.join("\n"))
}

/// The list of exit codes for `--help`.
pub(crate) fn help() -> String {
    let lines: Vec<String> = CODES.iter().map(|(code, meaning)| format!("  {code:>3}  {meaning}")).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_does_not_hide_that_nobody_knows() {
        let failure = |kind| Failure::Export(Error::new(kind, ""));
        let code = |kind| failure(kind).or(Some(Failure::Signal(Received::unknown(2), None))).code();
        assert_eq!([code(ErrorKind::OutcomeUnknown), code(ErrorKind::Server)], [9, 130]);
        assert_eq!(failure(ErrorKind::Server).or(None).code(), 4);
    }

    #[test]
    fn every_kind_of_failure_has_a_code_of_the_list() {
        let kinds = [
            ErrorKind::Options,
            ErrorKind::Connection,
            ErrorKind::Server,
            ErrorKind::Protocol,
            ErrorKind::Value,
            ErrorKind::Sink,
            ErrorKind::Input,
            ErrorKind::OutcomeUnknown,
            ErrorKind::Cancelled,
        ];
        let exports = kinds.map(|kind| Failure::Export(Error::new(kind, "")));
        let others = [
            Failure::Check(String::new()),
            Failure::Differs(String::new()),
            Failure::ServerDiffers(String::new()),
            Failure::Signal(Received::unknown(1), None),
            Failure::Signal(Received::unknown(2), None),
            Failure::Signal(Received::unknown(15), None),
        ];
        for failure in exports.into_iter().chain(others) {
            let code = failure.code();
            assert!(CODES.iter().any(|(known, _)| *known == code), "{failure:?}: {code}");
        }
    }
}
