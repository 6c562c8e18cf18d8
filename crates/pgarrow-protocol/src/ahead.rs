//! Several statements in one round trip, and answers that are fetched ahead.
//!
//! ```text
//!  query_script          Q ──▶ ( T D* C │ C │ I │ H c C )+ ──▶ Z
//!  execute_and_describe  Q P D(statement) S ──▶ ( T D* C │ C │ I )+ ──▶ Z ──▶ 1 ──▶ t ──▶ ( T │ n ) ──▶ Z
//!  with_answers          query(sql, parameters) ──▶ rows that are there already
//! ```
//!
//! Over a network, the time of questions to a catalog is the time of their round trips. Statements that do
//! not need an earlier answer are sent together. The code that wants the answers calls `query` as usual.

use crate::answer::{Answer, Description, Row};
use crate::backend;
use crate::error::Error;
use crate::session::Session;

const PHASE: &str = "query";

/// Statements of a script, at most.
const STATEMENTS_MAX: usize = 1000;

impl Session {
    /// Runs several statements in one round trip. Returns the rows of each; none for a statement that returns
    /// none. One may be a COPY TO STDOUT of no rows, as text.
    ///
    /// The statements are one transaction, unless they say otherwise. After one fails, no other runs.
    ///
    /// # Errors
    ///
    /// As for [`query`](Self::query).
    pub fn query_script(&mut self, sql: &str) -> Result<Vec<Vec<Row>>, Error> {
        self.begin()?;
        self.outgoing.query(sql)?;
        self.send(PHASE)?;
        self.receive_script()
    }

    /// The answer to a script.
    pub(crate) fn receive_script(&mut self) -> Result<Vec<Vec<Row>>, Error> {
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
                // Data in between is refused.
                b'H' => {
                    self.expect_empty(PHASE, b'c')?;
                    match self.receive_or_fail(PHASE)? {
                        message if message.tag == b'C' => self.completed(&message).map(drop)?,
                        message => return Err(self.unexpected(PHASE, message.tag)),
                    }
                    answers.push(Vec::new());
                }
                // ReadyForQuery without a CommandComplete is no success: the server may not have run the
                // statements.
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

    /// Runs `first`, which may be several statements, as [`execute`](Self::execute) does. In the same round
    /// trip, the server describes `sql`, as [`describe`](Self::describe) does.
    ///
    /// # Errors
    ///
    /// As for these two. If `first` failed, its error.
    pub fn execute_and_describe(&mut self, first: &str, sql: &str) -> Result<Description, Error> {
        self.begin()?;
        self.outgoing.query(first)?;
        self.ask_to_describe(sql)?;
        self.send(PHASE)?;
        let executed = self.receive_executed();
        if executed.is_err() && self.is_broken() {
            return Err(executed.err().unwrap_or_else(|| self.violation(PHASE, "no answer")));
        }
        // The server answers this even if the first failed.
        let described = self.receive_description();
        executed.and(described)
    }

    /// From now on, [`query`](Self::query) and [`execute`](Self::execute) take each of these answers once,
    /// instead of asking the server, until [`forget_answers`](Self::forget_answers). The statements behind
    /// them have run in this order, in [`query_script`](Self::query_script).
    pub fn keep_answers(&mut self, answers: Vec<Answer>) {
        self.answers = answers;
    }

    /// As [`keep_answers`](Self::keep_answers): [`describe`](Self::describe) takes this description once.
    pub fn keep_description(&mut self, sql: &str, description: Description) {
        self.description = Some((sql.to_owned(), description));
    }

    /// The description of `sql` that is kept, if there is one. It is kept no longer.
    pub fn take_description(&mut self, sql: &str) -> Option<Description> {
        self.description.take_if(|(of, _)| of == sql).map(|(_, description)| description)
    }

    /// Forgets the answers that nobody has taken.
    pub fn forget_answers(&mut self) {
        self.answers.clear();
        self.description = None;
    }

    /// Runs `ask`. In it, [`query`](Self::query) and [`execute`](Self::execute) take each of these answers
    /// once, instead of asking the server. They ask the server for all others.
    pub fn with_answers<T>(&mut self, answers: Vec<Answer>, ask: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.answers, answers);
        let result = ask(self);
        self.answers = before;
        result
    }

    /// The error with which the server has refused this statement, if it is there.
    pub(crate) fn take_refusal(&mut self, sql: &str) -> Option<Error> {
        let index = self.answers.iter().position(|answer| answer.is_refusal() && answer.is_of(sql, &[]))?;
        self.answers.swap_remove(index).into_result().err()
    }

    /// The answer to this statement, if it is there.
    pub(crate) fn take_answer(
        &mut self,
        sql: &str,
        parameters: &[Option<&str>],
    ) -> Option<Result<Vec<Row>, Error>> {
        let index = self.answers.iter().position(|answer| answer.is_of(sql, parameters))?;
        Some(self.answers.swap_remove(index).into_result())
    }
}
