//! What went wrong, and who has to act.

use crate::server_error::ServerError;

/// Why a call of this crate did not succeed. One pointer wide.
///
/// The message names the server and the phase and never holds a password or a value from a table.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    server: Option<ServerError>,
    execution: Option<u64>,
}

/// Who has to act on an [`Error`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The connection string, an environment variable or an option cannot be used. Change it.
    Config,
    /// No connection could be made. Trying again may help.
    Connect,
    /// TLS could not be set up as asked for.
    Tls,
    /// The server asks for a proof of identity that we cannot give.
    Auth,
    /// PostgreSQL reported an error. [`Error::sqlstate`] says why.
    Server,
    /// The server, or something between, violated the protocol; or the session cannot be used any more.
    Protocol,
    /// The server closed the connection. Trying again may help.
    Closed,
    /// The deadline passed.
    Timeout,
    /// An [`Interrupter`](crate::Interrupter) of the session was used.
    Interrupted,
    /// [`Session::commit`](crate::Session::commit) was sent, and no answer came that says its outcome. Trying
    /// again may do everything twice: look at the tables first.
    CommitUnknown,
    /// The transaction had failed before the commit: nothing of it stays.
    RolledBack,
    /// The operating system reported an error on the connection, or memory ran out.
    Io,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), server: None, execution: None }))
    }

    /// An error with the server's report. `context` names the server and the phase.
    pub(crate) fn server(context: &str, report: ServerError) -> Self {
        let message = format!("{context}: {report}");
        Self::new(ErrorKind::Server, message).with_server(report)
    }

    pub(crate) fn with_server(mut self, report: ServerError) -> Self {
        self.0.server = Some(report);
        self
    }

    pub(crate) fn with_execution(mut self, execution: Option<u64>) -> Self {
        self.0.execution = execution;
        self
    }

    /// For a statement that a [`Bulk`](crate::Bulk) executes many times: the execution that the server
    /// refused, from 0. `None` if it refused the statement, or all executions together, for example by a
    /// constraint that is checked at their end.
    pub fn failed_execution(&self) -> Option<u64> {
        self.0.execution
    }

    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The server's report, if it sent one.
    ///
    /// Set for [`ErrorKind::Server`], and for [`ErrorKind::Closed`] if the server announced a crash.
    pub fn server_error(&self) -> Option<&ServerError> {
        self.0.server.as_ref()
    }

    /// The five characters of PostgreSQL's error code, if the server sent one.
    pub fn sqlstate(&self) -> Option<&str> {
        self.server_error().map(|report| report.sqlstate.as_str())
    }
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// The server's report, if it sent one. This error's message already contains its text.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.server_error().map(|report| report as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }
}
