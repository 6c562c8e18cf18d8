//! COMMIT, which has three outcomes: committed, not committed, and not known.
//!
//! ```text
//!  Q ──▶ C "COMMIT"   ──▶ Z          committed
//!   │ ╲─▶ C "ROLLBACK" ──▶ Z          the transaction had failed before: not committed
//!   │  ╲─▶ E           ──▶ Z          not committed: a deferred constraint, for one
//!   │   ╲─▶ anything else, nothing    not known
//!   └─ not sent                       not committed
//! ```
//!
//! Source: "COMMIT" in <https://www.postgresql.org/docs/current/sql-commit.html>; `exec_simple_query` in
//! PostgreSQL's `src/backend/tcop/postgres.c`, which ends the transaction and says CommandComplete
//! afterwards.

use std::sync::atomic::Ordering;

use crate::backend::{self, TransactionStatus};
use crate::error::{Error, ErrorKind};
use crate::session::Session;

const PHASE: &str = "COMMIT";

/// SQLSTATEs of errors that leave the outcome of a statement open: statement_completion_unknown, and all
/// those for a connection or a server that went away, as poolers report them too.
///
/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const UNKNOWN: [&str; 3] = ["40003", "08", "57P0"];

impl Session {
    /// Commits the open transaction.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CommitUnknown`] if COMMIT was sent, at least in part, and no answer came that says its
    /// outcome. The transaction may be committed or not; only a look at the tables can tell. With every other
    /// kind it is not committed: [`ErrorKind::RolledBack`] if it had failed before, [`ErrorKind::Server`] if
    /// the server refuses, [`ErrorKind::Config`] without a transaction, and other kinds if COMMIT could not
    /// be sent.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.begin()?;
        self.check_time(PHASE)?;
        // If the server has ended the transaction meanwhile, the outcome is certain.
        if self.poll_for_answer(PHASE)? {
            let message = self.receive_or_fail(PHASE)?;
            return Err(self.unexpected(PHASE, message.tag));
        }
        if self.transaction_status() == TransactionStatus::Idle {
            let message = format!("{} ({PHASE}): there is no open transaction", self.endpoint);
            return Err(Error::new(ErrorKind::Config, message));
        }
        self.outgoing.query("COMMIT")?;
        self.committing.store(true, Ordering::SeqCst);
        let result = self.commit_sent();
        let is_known = !matches!(&result, Err(error) if error.kind() == ErrorKind::CommitUnknown);
        self.committing.store(!is_known, Ordering::SeqCst);
        result
    }

    /// Sends what is prepared, and waits for the answer.
    fn commit_sent(&mut self) -> Result<(), Error> {
        let written_before = self.wire.bytes_written();
        if let Err(error) = self.send(PHASE) {
            let is_sent = self.wire.bytes_written() > written_before;
            return Err(if is_sent { self.commit_unknown(&error) } else { error });
        }
        let message = match self.receive_or_fail(PHASE) {
            Ok(message) => message,
            Err(error) if is_refusal(&error) => return Err(error),
            Err(error) => return Err(self.commit_unknown(&error)),
        };
        let tag = match message.tag {
            b'C' => backend::command_complete(&message.body),
            tag => {
                let error = self.unexpected(PHASE, tag);
                return Err(self.commit_unknown(&error));
            }
        };
        match tag {
            Ok(b"COMMIT") => {
                // Committed, whatever comes now. If the session breaks here, the next statement reports it.
                if self.expect_ready(PHASE).is_ok() && self.transaction_status() != TransactionStatus::Idle {
                    self.abandon("the server is in a transaction after COMMIT");
                }
                Ok(())
            }
            Ok(b"ROLLBACK") => {
                let _ = self.expect_ready(PHASE); // as above
                let what = "the transaction had failed before: the server has rolled it back";
                Err(Error::new(ErrorKind::RolledBack, format!("{} ({PHASE}): {what}", self.endpoint)))
            }
            _ => {
                let error = self.violation(PHASE, "COMMIT was answered with the end of another statement");
                Err(self.commit_unknown(&error))
            }
        }
    }

    /// Without the server's SQLSTATE: a caller that looks at it would try again.
    fn commit_unknown(&mut self, cause: &Error) -> Error {
        self.abandon("what became of COMMIT is not known");
        let what =
            "COMMIT was sent and what became of it is not known: the transaction may be committed or not";
        Error::new(
            ErrorKind::CommitUnknown,
            format!("{cause}; {what}, look at the tables before trying again"),
        )
    }
}

/// The server is still there and says that the transaction is not committed.
fn is_refusal(error: &Error) -> bool {
    error.kind() == ErrorKind::Server
        && error.server_error().is_some_and(|report| {
            !report.is_fatal() && !UNKNOWN.iter().any(|state| report.sqlstate.starts_with(state))
        })
}
