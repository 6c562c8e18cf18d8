//! How a run ends: the exit codes, and what is said about a failure.

use std::fmt;
use std::process::ExitCode;

use pgarrow::{Error, ErrorKind, escape_control};
use pgarrow_server::ServerError;

/// Code and meaning, as `--help` lists them.
const CODES: [(u8, &str); 12] = [
    (0, "success"),
    (1, "anything that has no code of its own"),
    (2, "options, names or a statement that cannot be used"),
    (3, "no connection, or it broke"),
    (4, "PostgreSQL refused"),
    (5, "the protocol was broken"),
    (6, "a value does not fit its Arrow type"),
    (7, "the output could not be written"),
    (129, "stopped by SIGHUP"),
    (130, "stopped by SIGINT (Ctrl-C)"),
    (141, "the reader of stdout left"),
    (143, "stopped by SIGTERM"),
];

const UNEXPECTED: u8 = 1;
const OPTIONS: u8 = 2;
const OUTPUT: u8 = 7;
const BROKEN_PIPE: u8 = 141;

/// What stopped a run.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The export, or the options.
    Export(Error),
    /// The demo's server.
    Server(ServerError),
    /// The demo found a difference between a file and the server.
    Check(String),
    /// A signal, by its number.
    Signal(i32),
}

impl Failure {
    /// Options that cannot be used.
    pub(crate) fn options(text: impl Into<String>) -> Self {
        Self::Export(Error::new(ErrorKind::Options, text))
    }

    /// An output that could not be written.
    pub(crate) fn output(text: impl Into<String>) -> Self {
        Self::Export(Error::new(ErrorKind::Sink, text))
    }

    /// The reader of stdout has left: nothing to say, but what it has is not complete.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Export(error) if error.is_broken_pipe())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Self::Export(error) if error.is_broken_pipe() => BROKEN_PIPE,
            Self::Export(error) => match error.kind() {
                ErrorKind::Options => OPTIONS,
                ErrorKind::Connection => 3,
                ErrorKind::Server => 4,
                ErrorKind::Protocol => 5,
                ErrorKind::Value => 6,
                ErrorKind::Sink => OUTPUT,
                _ => UNEXPECTED,
            },
            Self::Server(_) | Self::Check(_) => UNEXPECTED,
            Self::Signal(number) => code_of_signal(*number),
        }
    }
}

/// As shells count: 128 and the signal's number.
pub(crate) fn code_of_signal(number: i32) -> u8 {
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
            // Names and the server's words are in it.
            Self::Export(error) => f.write_str(&escape_control(&error.to_string())),
            // The end of a log comes in lines.
            Self::Server(error) => {
                let lines: Vec<String> = error.to_string().lines().map(escape_control).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Check(difference) => f.write_str(&escape_control(difference)),
            Self::Signal(_) => f.write_str("cancelled"),
        }
    }
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
    fn every_kind_of_failure_has_a_code_of_the_list() {
        let kinds = [
            ErrorKind::Options,
            ErrorKind::Connection,
            ErrorKind::Server,
            ErrorKind::Protocol,
            ErrorKind::Value,
            ErrorKind::Sink,
            ErrorKind::Cancelled,
        ];
        let exports = kinds.map(|kind| Failure::Export(Error::new(kind, "")));
        let others =
            [Failure::Check(String::new()), Failure::Signal(1), Failure::Signal(2), Failure::Signal(15)];
        for failure in exports.into_iter().chain(others) {
            let code = failure.code();
            assert!(CODES.iter().any(|(known, _)| *known == code), "{failure:?}: {code}");
        }
    }
}
