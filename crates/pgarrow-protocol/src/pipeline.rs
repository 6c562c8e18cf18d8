//! Statements behind a script or a COPY, in its round trip: also those with a text that is not ours.
//!
//! ```text
//!  Q COPY · P B D E (· P B D E of COMMIT) · S                ──▶ H d* c C Z … Z
//!  … rows of COPY · c · P B D E S                            ──▶ C Z … Z
//!  Q script · P B D E (SAVEPOINT) · for each: P B D E │ P D(statement) · P B D E (RELEASE) · S ──▶ … Z … Z
//! ```
//!
//! In a script, the text of a user could end a statement and begin another one. Here each is one message,
//! which the server takes for one statement or refuses.
//!
//! A statement must not run if the script in front of it has failed: it would be in no transaction, or in
//! another one. So SAVEPOINT comes first. The server refuses it outside of a transaction block, and in a
//! failed one. Then it skips all messages up to Sync. After another refusal, [`UNDO`] leads back to where
//! the script has ended.

use crate::answer::{Answer, Behind, Description, Row};
use crate::backend::TransactionStatus;
use crate::error::Error;
use crate::session::Session;

const PHASE: &str = "query";

const COMMIT: &str = "COMMIT";
const GUARD: &str = "SAVEPOINT pgarrow_ahead";
const RELEASE: &str = "RELEASE SAVEPOINT pgarrow_ahead";

/// What to execute after a statement was refused that is not the first: the transaction is then as the script
/// has left it.
pub const UNDO: &str = "ROLLBACK TO SAVEPOINT pgarrow_ahead; RELEASE SAVEPOINT pgarrow_ahead";

/// The longest texts of a pipeline, in bytes. The server answers, or waits for a lock, while it has not
/// received all of them: what is left must have room in the buffers of the connection.
pub const PIPELINE_BYTES_MAX: usize = 32 * 1024;

/// A statement behind a script.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Runs it, as [`Session::query`] without parameters.
    Rows(&'a str),
    /// Describes it, as [`Session::describe`].
    Description(&'a str),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// The rows of [`Question::Rows`].
    Rows(Vec<Row>),
    /// The answer to [`Question::Description`].
    Description(Description),
}

/// A question behind a COPY: a statement of [`Session::query`] with its parameters. If `query` asks this
/// next, it receives that answer; otherwise nobody does.
#[derive(Clone, Copy, Debug)]
pub struct AskedBehind<'a> {
    /// The statement.
    pub sql: &'a str,
    /// Its parameters.
    pub parameters: &'a [Option<&'a str>],
    /// With the question, the server ends the transaction. If [`Session::execute`] is called for this COMMIT
    /// once the answer is received, it is done already.
    pub and_commit: bool,
}

/// What came of a script and of the questions behind it.
#[derive(Debug)]
pub struct Replies {
    /// The rows of each statement of the script.
    pub script: Vec<Vec<Row>>,
    /// The replies, up to the question that was refused.
    pub replies: Vec<Reply>,
    /// The server has refused the question behind the last reply, and has not looked at later ones.
    pub refused: Option<Error>,
    /// The transaction was open for the questions, so that [`UNDO`] can be executed after a refusal.
    pub is_guarded: bool,
}

impl Session {
    /// Runs a script as [`query_script`](Self::query_script) does, which must leave a transaction open. In
    /// the same round trip, the server answers questions in that transaction. The caller keeps their texts
    /// below [`PIPELINE_BYTES_MAX`].
    ///
    /// `may_wait`: the server may take any time to answer the questions, whatever the read timeout is.
    ///
    /// # Errors
    ///
    /// Those of the script, and those that end the session. A question that is refused is none of them.
    pub fn query_script_and(
        &mut self,
        script: &str,
        questions: &[Question<'_>],
        may_wait: bool,
    ) -> Result<Replies, Error> {
        self.begin()?;
        self.outgoing.query(script)?;
        let guarded = || {
            let inner = questions.iter().copied();
            [Question::Rows(GUARD)].into_iter().chain(inner).chain([Question::Rows(RELEASE)])
        };
        for question in guarded() {
            match question {
                Question::Rows(sql) => {
                    self.outgoing.parse(sql)?;
                    self.outgoing.bind(&[])?;
                    self.outgoing.describe_portal()?;
                    self.outgoing.execute()?;
                }
                Question::Description(sql) => {
                    self.outgoing.parse(sql)?;
                    self.outgoing.describe_statement()?;
                }
            }
        }
        self.outgoing.sync()?;
        self.send(PHASE)?;
        let script = self.receive_script();
        if script.is_err() && self.is_broken() {
            return Err(script.err().unwrap_or_else(|| self.violation(PHASE, "no answer")));
        }
        // The server answers to Sync even if the script has failed.
        let read_timeout = self.read_timeout();
        if may_wait && script.is_ok() {
            self.set_read_timeout(None);
        }
        let mut replies = Vec::with_capacity(questions.len() + 2);
        let received = guarded().try_for_each(|question| {
            replies.push(self.receive_reply(question)?);
            Ok(())
        });
        let received = received.and_then(|()| self.expect_ready(PHASE));
        self.set_read_timeout(read_timeout);
        let script = script?;
        let refused = match received {
            Err(error) if self.is_broken() || error.server_error().is_none() => return Err(error),
            received => received.err(),
        };
        let is_guarded = !replies.is_empty();
        let replies = replies.into_iter().skip(1).take(questions.len()).collect();
        Ok(Replies { script, replies, refused, is_guarded })
    }

    /// Appends a question to the outgoing messages, which end a COPY, and COMMIT. The server skips the COMMIT
    /// if it refuses the question. What is returned belongs into `behind` when they are sent.
    pub(crate) fn question_behind(&mut self, question: AskedBehind<'_>) -> Result<Behind, Error> {
        let AskedBehind { sql, parameters, and_commit } = question;
        let commit = and_commit.then_some((COMMIT, &[][..]));
        for (sql, parameters) in [(sql, parameters)].into_iter().chain(commit) {
            self.outgoing.parse(sql)?;
            self.outgoing.bind(parameters)?;
            self.outgoing.describe_portal()?;
            self.outgoing.execute()?;
        }
        self.outgoing.sync()?;
        let parameters = parameters.iter().map(|parameter| parameter.map(str::to_owned)).collect();
        Ok(Behind { sql: sql.to_owned(), parameters, and_commit })
    }

    /// Whether a question was sent behind a COPY, and nobody has asked for the answer.
    pub fn has_answer_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// The answer to this question, if it was sent behind the COPY that is over.
    pub(crate) fn answer_behind(
        &mut self,
        sql: &str,
        parameters: &[Option<&str>],
    ) -> Option<Result<Vec<Row>, Error>> {
        let behind = self.behind.take_if(|behind| {
            behind.sql == sql && behind.parameters.iter().map(Option::as_deref).eq(parameters.iter().copied())
        })?;
        let answer = self.receive_answer_behind(behind.and_commit);
        if behind.and_commit && answer.is_ok() {
            self.answers.push(Answer::new(COMMIT, &[], Vec::new()));
        }
        Some(answer)
    }

    /// Skips an answer that nobody has taken. It may be an error: after a COPY that has failed, the server
    /// answers no question.
    pub(crate) fn skip_answer_behind(&mut self) -> Result<(), Error> {
        let Some(behind) = self.behind.take() else { return Ok(()) };
        if self.is_broken() {
            return Ok(());
        }
        match self.receive_answer_behind(behind.and_commit) {
            Err(error) if self.is_broken() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn receive_answer_behind(&mut self, and_commit: bool) -> Result<Vec<Row>, Error> {
        let n_columns = self.receive_n_columns()?;
        let rows = self.receive_rows(n_columns)?;
        if and_commit {
            self.receive_n_columns()?;
            let message = self.receive_or_fail(PHASE)?;
            if message.tag != b'C' {
                return Err(self.unexpected(PHASE, message.tag));
            }
            if self.completed(&message)? != COMMIT.as_bytes() {
                return Err(self.violation(PHASE, "the transaction was rolled back in place of its COMMIT"));
            }
        }
        self.takes_rows = false;
        self.expect_ready(PHASE)?;
        if and_commit && self.transaction_status() != TransactionStatus::Idle {
            return Err(self.violation(PHASE, "a transaction is open behind its COMMIT"));
        }
        Ok(rows)
    }

    fn receive_reply(&mut self, question: Question<'_>) -> Result<Reply, Error> {
        match question {
            Question::Rows(_) => {
                let n_columns = self.receive_n_columns()?;
                let rows = self.receive_rows(n_columns)?;
                self.takes_rows = false;
                Ok(Reply::Rows(rows))
            }
            Question::Description(_) => Ok(Reply::Description(self.receive_described()?)),
        }
    }
}
