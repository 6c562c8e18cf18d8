//! The COPY TO STDOUT sub-protocol as a state machine, without the socket.

use std::fmt;

use crate::backend;
use crate::backend::TransactionStatus;
use crate::cursor::BodyError;
use crate::frame::Tag;

/// One `COPY … TO STDOUT`, as seen by the client.
///
/// ```text
///  Requested ──CopyOutResponse──▶ Streaming ──CopyDone──▶ Closing ──CommandComplete──▶ Tagged
///      │                              │  ▲ CopyData           │        "COPY n"            │
///      │                              └──┘                    │                      ReadyForQuery
///      └────────ErrorResponse─────────┴───────────────────────┴────────┐                   ▼
///                                                                      ▼                 Done
///                                                                   Failed
/// ```
///
/// `NoticeResponse`, `ParameterStatus` and `NotificationResponse` may come at any time and change nothing;
/// the session handles them. Any other message is a [`Violation`], which names the state and the tag. After a
/// failure the session itself waits for ReadyForQuery.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    /// A COPY cannot begin or end a transaction block.
    began_in: TransactionStatus,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Requested,
    Streaming,
    Closing,
    Tagged { rows: u64 },
    Done { rows: u64 },
    Failed,
}

/// The meaning of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Started { n_columns: usize, is_binary: bool },
    GoneOn,
}

/// A message that cannot come here, or not in this form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Violation {
    Unexpected {
        state: &'static str,
        tag: u8,
    },
    Malformed {
        tag: u8,
        cause: BodyError,
    },
    /// A CommandComplete that is not exactly `COPY <u64>`.
    CommandTag,
    /// The transaction is not in the state it was in before the COPY.
    Transaction(TransactionStatus),
}

impl Machine {
    pub(super) fn new(began_in: TransactionStatus) -> Self {
        Self { state: State::Requested, began_in }
    }

    pub(super) fn is_streaming(&self) -> bool {
        self.state == State::Streaming
    }

    pub(super) fn is_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// No message of this COPY is still to come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Done { .. } | State::Failed)
    }

    pub(super) fn done(&self) -> Option<u64> {
        match self.state {
            State::Done { rows } => Some(rows),
            _ => None,
        }
    }

    pub(super) fn fail(&mut self) {
        self.state = State::Failed;
    }

    pub(super) fn step(&mut self, tag: u8, body: &[u8]) -> Result<Step, Violation> {
        let malformed = |cause| Violation::Malformed { tag, cause };
        match (self.state, tag) {
            (State::Requested, b'H') => {
                let formats = backend::copy_response(body).map_err(malformed)?;
                self.state = State::Streaming;
                return Ok(Step::Started { n_columns: formats.n_columns, is_binary: formats.is_binary });
            }
            (State::Streaming, b'd') => {}
            (State::Streaming, b'c') if body.is_empty() => self.state = State::Closing,
            (State::Streaming, b'c') => return Err(malformed(BodyError::Trailing(body.len()))),
            (State::Closing, b'C') => {
                let command_tag = backend::command_complete(body).map_err(malformed)?;
                let rows = backend::copy_rows(command_tag).ok_or(Violation::CommandTag)?;
                self.state = State::Tagged { rows };
            }
            (State::Requested | State::Streaming | State::Closing, b'E') => self.state = State::Failed,
            _ => return Err(self.unexpected(tag)),
        }
        Ok(Step::GoneOn)
    }

    /// ReadyForQuery has come. Returns the number of rows if the COPY is a success.
    pub(super) fn ready(&mut self, status: TransactionStatus) -> Result<u64, Violation> {
        let State::Tagged { rows } = self.state else { return Err(self.unexpected(b'Z')) };
        if status != self.began_in {
            return Err(Violation::Transaction(status));
        }
        self.state = State::Done { rows };
        Ok(rows)
    }

    fn unexpected(&self, tag: u8) -> Violation {
        let state = match self.state {
            State::Requested => "before the COPY began",
            State::Streaming => "while the COPY streamed",
            State::Closing => "after CopyDone",
            State::Tagged { .. } => "after the COPY was complete",
            State::Done { .. } => "after the COPY was over",
            State::Failed => "after the COPY had failed",
        };
        Violation::Unexpected { state, tag }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { state, tag } => write!(f, "unexpected message {} {state}", Tag(*tag)),
            Self::Malformed { tag, cause } => write!(f, "message {} is malformed: {cause}", Tag(*tag)),
            Self::CommandTag => write!(f, "the COPY was completed with something else than a number of rows"),
            Self::Transaction(TransactionStatus::Failed) => {
                write!(f, "the transaction has failed although the COPY was completed")
            }
            Self::Transaction(_) => write!(f, "the transaction began or ended during the COPY"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: TransactionStatus = TransactionStatus::Idle;

    /// A machine in each state, with its name.
    fn machines() -> Vec<(Machine, &'static str, &'static [u8])> {
        let advance = |messages: &[(u8, &[u8])]| {
            let mut machine = Machine::new(IDLE);
            for (tag, body) in messages {
                machine.step(*tag, body).unwrap();
            }
            machine
        };
        let start: (u8, &[u8]) = (b'H', b"\x01\0\0");
        let mut done = advance(&[start, (b'c', b""), (b'C', b"COPY 3\0")]);
        assert_eq!(done.ready(IDLE), Ok(3));
        vec![
            (advance(&[]), "requested", b"HE"),
            (advance(&[start]), "streaming", b"dcE"),
            (advance(&[start, (b'c', b"")]), "closing", b"CE"),
            (advance(&[start, (b'c', b""), (b'C', b"COPY 3\0")]), "tagged", b""),
            (done, "done", b""),
            (advance(&[start, (b'E', b"")]), "failed", b""),
        ]
    }

    #[test]
    fn every_tag_in_every_state() {
        for tag in 0..=u8::MAX {
            for (mut machine, state, accepted) in machines() {
                let body: &[u8] = match tag {
                    b'H' => b"\x01\0\0",
                    b'C' => b"COPY 3\0",
                    _ => b"",
                };
                let before = machine.state;
                let result = machine.step(tag, body);
                assert_eq!(result.is_ok(), accepted.contains(&tag), "{} in {state}", Tag(tag));
                if result.is_err() {
                    assert_eq!(machine.state, before);
                }
            }
        }
    }

    #[test]
    fn ready_is_a_success_only_after_the_tag() {
        for (mut machine, state, _) in machines() {
            assert_eq!(machine.ready(IDLE).is_ok(), state == "tagged", "{state}");
        }
    }

    #[test]
    fn the_transaction_must_be_as_before() {
        use TransactionStatus::{Failed, Idle, InTransaction};
        for (before, after, is_ok) in [
            (Idle, Idle, true),
            (InTransaction, InTransaction, true),
            (Idle, InTransaction, false),
            (InTransaction, Idle, false),
            (Idle, Failed, false),
            (InTransaction, Failed, false),
        ] {
            let mut machine = Machine { state: State::Tagged { rows: 1 }, began_in: before };
            assert_eq!(machine.ready(after).is_ok(), is_ok, "{before:?} {after:?}");
        }
    }
}
