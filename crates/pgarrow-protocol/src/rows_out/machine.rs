//! Reading rows by SELECT or by cursor as a state machine, without the socket.

use crate::backend;
use crate::backend::TransactionStatus;
use crate::cursor::BodyError;
use crate::frame::Tag;

/// One statement that returns rows, as seen by the client.
///
/// ```text
///  SELECT  Parse ──1──▶ Bind ──2──▶ Describe ──T──▶ Streaming ──C "SELECT n"──▶ Tagged ──Z──▶ Done
///                                                    │  ▲ D
///                                                    └──┘
///  cursor  Declare ──C "DECLARE CURSOR"──▶ Declared ──Z──▶ Fetch ──T──▶ Streaming ──C "FETCH n"──▶ Tagged
///                                                            ▲            │  ▲ D                   │
///                                                            │            └──┘                     Z
///                                                            └──────────── all rows of a FETCH ────┤
///                     Done ◀──Z── Closed ◀──C "CLOSE CURSOR"── Close ◀───────────── fewer ─────────┘
///
///  ErrorResponse at any place before Done ──▶ Failed
/// ```
///
/// `NoticeResponse`, `ParameterStatus` and `NotificationResponse` may come at any time and change nothing;
/// the session handles them. Any other message is a [`Violation`].
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    mode: Mode,
    /// Columns of the portal, from the first RowDescription.
    n_columns: Option<usize>,
    /// Rows of all FETCHes so far.
    rows: u64,
    /// Neither statement can begin or end a transaction block.
    began_in: TransactionStatus,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    Select,
    /// With the rows of one FETCH; at least 1.
    Cursor {
        fetch_rows: u32,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Parse,
    Bind,
    Describe,
    Declare,
    Declared,
    Fetch,
    Streaming,
    Tagged { rows: u64 },
    Close,
    Closed,
    Done { rows: u64 },
    Failed,
}

/// The meaning of ReadyForQuery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Send a FETCH.
    Fetch,
    /// Send a CLOSE.
    Close,
    Done {
        rows: u64,
    },
}

/// A message that cannot come here, or not in this form. In words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Violation(pub(super) String);

impl Machine {
    pub(super) fn new(mode: Mode, began_in: TransactionStatus) -> Self {
        let state = if mode == Mode::Select { State::Parse } else { State::Declare };
        Self { state, mode, n_columns: None, rows: 0, began_in }
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.state == State::Streaming
    }

    /// The server is about to describe the rows, or to say that the statement returns none.
    pub(super) fn is_describing(&self) -> bool {
        self.state == State::Describe
    }

    pub(super) fn is_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// No message of this statement is still to come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Done { .. } | State::Failed)
    }

    pub(super) fn done(&self) -> Option<u64> {
        match self.state {
            State::Done { rows } => Some(rows),
            _ => None,
        }
    }

    pub(super) fn n_columns(&self) -> usize {
        self.n_columns.unwrap_or(0)
    }

    pub(super) fn fail(&mut self) {
        self.state = State::Failed;
    }

    pub(super) fn step(&mut self, tag: u8, body: &[u8]) -> Result<(), Violation> {
        let malformed = |cause: BodyError| Violation(format!("message {} is malformed: {cause}", Tag(tag)));
        self.state = match (self.state, tag) {
            (State::Parse, b'1') if body.is_empty() => State::Bind,
            (State::Bind, b'2') if body.is_empty() => State::Describe,
            (State::Parse, b'1') | (State::Bind, b'2') => {
                return Err(malformed(BodyError::Trailing(body.len())));
            }
            (State::Describe | State::Fetch, b'T') => {
                self.describe(body, malformed)?;
                State::Streaming
            }
            (State::Streaming, b'D') => State::Streaming,
            (State::Streaming, b'C') => {
                let command_tag = backend::command_complete(body).map_err(malformed)?;
                State::Tagged { rows: self.tagged_rows(command_tag)? }
            }
            (State::Declare, b'C') => self.tagged(body, b"DECLARE CURSOR", State::Declared, malformed)?,
            (State::Close, b'C') => self.tagged(body, b"CLOSE CURSOR", State::Closed, malformed)?,
            (State::Done { .. } | State::Failed, _) => return Err(self.unexpected(tag)),
            (_, b'E') => State::Failed,
            _ => return Err(self.unexpected(tag)),
        };
        Ok(())
    }

    fn describe(&mut self, body: &[u8], malformed: impl Fn(BodyError) -> Violation) -> Result<(), Violation> {
        let formats = backend::row_formats(body).map_err(malformed)?;
        if !formats.is_binary {
            return Err(Violation("the server sends text where binary was asked for".to_owned()));
        }
        match self.n_columns {
            Some(n_columns) if n_columns != formats.n_columns => {
                Err(Violation(format!("{} columns after {n_columns} in the same cursor", formats.n_columns)))
            }
            _ => {
                self.n_columns = Some(formats.n_columns);
                Ok(())
            }
        }
    }

    /// Rows of one SELECT or FETCH.
    fn tagged_rows(&self, command_tag: &[u8]) -> Result<u64, Violation> {
        let rows = match self.mode {
            Mode::Select => backend::tagged_rows(command_tag, b"SELECT "),
            Mode::Cursor { fetch_rows } => {
                backend::tagged_rows(command_tag, b"FETCH ").filter(|rows| *rows <= u64::from(fetch_rows))
            }
        };
        rows.ok_or_else(|| {
            Violation("it was completed with something else than a number of its rows".to_owned())
        })
    }

    fn tagged(
        &self,
        body: &[u8],
        expected: &[u8],
        next: State,
        malformed: impl Fn(BodyError) -> Violation,
    ) -> Result<State, Violation> {
        if backend::command_complete(body).map_err(malformed)? == expected {
            Ok(next)
        } else {
            Err(Violation(format!(
                "another statement was completed than {}",
                String::from_utf8_lossy(expected)
            )))
        }
    }

    /// ReadyForQuery has come.
    pub(super) fn ready(&mut self, status: TransactionStatus) -> Result<Next, Violation> {
        let next = match (self.state, self.mode) {
            (State::Declared, _) => Next::Fetch,
            (State::Tagged { rows }, Mode::Select) => Next::Done { rows },
            (State::Tagged { rows }, Mode::Cursor { fetch_rows }) => {
                self.rows = self.rows.saturating_add(rows);
                if rows == u64::from(fetch_rows) { Next::Fetch } else { Next::Close }
            }
            (State::Closed, _) => Next::Done { rows: self.rows },
            _ => return Err(self.unexpected(b'Z')),
        };
        if status != self.began_in {
            let what = match status {
                TransactionStatus::Failed => {
                    "the transaction has failed although the statement was completed"
                }
                _ => "the transaction began or ended during the statement",
            };
            return Err(Violation(what.to_owned()));
        }
        self.state = match next {
            Next::Fetch => State::Fetch,
            Next::Close => State::Close,
            Next::Done { rows } => State::Done { rows },
        };
        Ok(next)
    }

    fn unexpected(&self, tag: u8) -> Violation {
        let state = match self.state {
            State::Parse | State::Bind | State::Describe => "before the rows began",
            State::Declare | State::Declared => "while the cursor was declared",
            State::Fetch => "before the rows of a FETCH",
            State::Streaming => "among the rows",
            State::Tagged { .. } => "after the rows",
            State::Close | State::Closed => "while the cursor was closed",
            State::Done { .. } => "after the statement was over",
            State::Failed => "after the statement had failed",
        };
        Violation(format!("unexpected message {} {state}", Tag(tag)))
    }
}

#[cfg(test)]
mod tests;
