//! Several statements in one round trip, and answers that were had that way.
//!
//! ```text
//!  query_script          Q ──▶ ( T D* C │ C │ I )+ ──▶ Z
//!  execute_and_describe  Q P D(statement) S ──▶ ( T D* C │ C │ I )+ ──▶ Z ──▶ 1 ──▶ t ──▶ ( T │ n ) ──▶ Z
//!  with_answers          query(sql, parameters) ──▶ rows that are there already
//! ```
//!
//! Over a network, what a catalog is asked costs its round trips. What does not need the answer before is
//! asked at once; who wants the answers asks for them as ever.

use crate::answer::{Answer, Row};
use crate::backend;
use crate::describe::Description;
use crate::error::Error;
use crate::session::Session;

const PHASE: &str = "query";

/// Statements of a script, at most.
const STATEMENTS_MAX: usize = 1000;

impl Session {
    /// Runs several statements in one round trip: the rows of each, none for one that returns none.
    ///
    /// They are one transaction, unless they say otherwise. The first that fails is the last that is run.
    ///
    /// # Errors
    ///
    /// As for [`query`](Self::query).
    pub fn query_script(&mut self, sql: &str) -> Result<Vec<Vec<Row>>, Error> {
        self.begin()?;
        self.outgoing.query(sql)?;
        self.send(PHASE)?;
        let mut answers = Vec::new();
        loop {
            let message = self.receive_or_fail(PHASE)?;
            match message.tag {
                b'T' => {
                    let columns = backend::row_description(&message.body)
                        .map_err(|cause| self.malformed(PHASE, b'T', cause))?;
                    answers.push(self.receive_rows(Some(columns.len()))?);
                    self.takes_rows = false;
                }
                b'C' => {
                    self.completed(&message)?;
                    answers.push(Vec::new());
                }
                b'I' => answers.push(Vec::new()),
                // Ready without a word about the statements is no success: they may not have been run.
                b'Z' if !answers.is_empty() => {
                    self.ready(PHASE, &message)?;
                    return Ok(answers);
                }
                tag => return Err(self.not_an_end(tag)),
            }
            if answers.len() > STATEMENTS_MAX {
                return Err(self.violation(PHASE, "more answers than statements"));
            }
        }
    }

    /// Runs `first`, which may be several statements, as [`execute`](Self::execute) does, and lets the server
    /// describe `sql` behind it, as [`describe`](Self::describe) does: in one round trip.
    ///
    /// # Errors
    ///
    /// As for these two; that of `first`, if it failed.
    pub fn execute_and_describe(&mut self, first: &str, sql: &str) -> Result<Description, Error> {
        self.begin()?;
        self.outgoing.query(first)?;
        self.ask_to_describe(sql)?;
        self.send(PHASE)?;
        let executed = self.receive_executed();
        if executed.is_err() && self.is_broken() {
            return Err(executed.err().unwrap_or_else(|| self.violation(PHASE, "no answer")));
        }
        // The server has an answer to this, whatever became of the first.
        let described = self.receive_description();
        executed.and(described)
    }

    /// Runs `ask`, for which [`query`](Self::query) finds these answers instead of asking the server, each
    /// once. What is not among them is asked for.
    pub fn with_answers<T>(&mut self, answers: Vec<Answer>, ask: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.answers, answers);
        let result = ask(self);
        self.answers = before;
        result
    }

    /// The answer to this statement, if it is there.
    pub(crate) fn take_answer(&mut self, sql: &str, parameters: &[Option<&str>]) -> Option<Vec<Row>> {
        let index = self.answers.iter().position(|answer| answer.is_of(sql, parameters))?;
        Some(self.answers.swap_remove(index).rows)
    }
}
