//! Plain SQL on a source: statements, small results, and COPY FROM STDIN.
//!
//! For work around an export, such as preparing and checking it. Every call opens a session and closes it
//! afterwards: settings, temporary tables and transactions do not carry over to the next call.

use std::io::{ErrorKind as IoErrorKind, Read};

use pgarrow_catalog::Relation;
use pgarrow_protocol::Session;
use pgarrow_session::{AttachedSession, Error, ErrorKind, Result};

use crate::answer::{TextRows, texts};
use crate::open::find_tables;
use crate::options::ExportOptions;
use crate::settings::look_up;
use crate::source::Source;
use crate::source::extract::Named;

/// How many bytes [`Source::copy_in`] reads at a time.
const CHUNK_BYTES: usize = 64 * 1024;

impl Source {
    /// Runs one or several statements and discards their rows. Blocks.
    ///
    /// Several statements in one call are one transaction, unless they say otherwise.
    ///
    /// # Errors
    ///
    /// What the server refuses, [`ErrorKind::Cancelled`] after [`cancel`](Self::cancel), or what breaks the
    /// connection.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.with_session(|session| Ok(session.execute(sql)?))
    }

    /// Runs one statement and returns its rows: every value as the text that PostgreSQL prints, `None` for
    /// NULL.
    ///
    /// For small answers; one above 256 MiB is an error.
    ///
    /// # Errors
    ///
    /// As for [`execute`](Self::execute).
    pub fn query_text(&self, sql: &str) -> Result<TextRows> {
        self.with_session(|session| texts(session, sql))
    }

    /// Runs each of these statements as [`query_text`](Self::query_text) does, one after another in one
    /// session, with the role and the settings that an export with these options has, in transactions that
    /// only read. What the server refuses is an error of its statement only.
    ///
    /// # Errors
    ///
    /// As for [`execute`](Self::execute), as far as the others have no answer either.
    pub fn query_texts_with<'q>(
        &self,
        statements: impl IntoIterator<Item = &'q str>,
        options: &ExportOptions,
    ) -> Result<Vec<Result<TextRows>>> {
        self.with_session(|session| {
            let mut answers = Vec::new();
            for sql in statements {
                look_up(session, options)?;
                match texts(session, sql) {
                    Err(error) if error.is_transient() || error.sqlstate().is_none() => return Err(error),
                    answer => answers.push(answer),
                }
            }
            Ok(answers)
        })
    }

    /// Sends all of `data` to a `COPY … FROM STDIN` and returns the number of rows that the server loaded.
    /// Blocks.
    ///
    /// `data` is in the format that the statement names. It is read and sent in pieces, so it may be larger
    /// than memory. Either all of it is loaded or nothing.
    ///
    /// # Errors
    ///
    /// As for [`execute`](Self::execute); [`ErrorKind::Options`] for a statement that is no COPY FROM STDIN
    /// and for `data` that cannot be read.
    pub fn copy_in(&self, sql: &str, mut data: impl Read) -> Result<u64> {
        self.with_session(|session| {
            let mut copy = session.copy_in(sql)?;
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                if self.cancel().is_requested() {
                    return Err(self.cancel().error());
                }
                let n_bytes = match data.read(&mut chunk) {
                    Ok(0) => return Ok(copy.finish()?),
                    Ok(n_bytes) => n_bytes,
                    Err(error) if error.kind() == IoErrorKind::Interrupted => continue,
                    Err(error) => {
                        let text = format!("the data for COPY cannot be read: {error}");
                        return Err(Error::new(ErrorKind::Options, text));
                    }
                };
                copy.write(chunk.get(..n_bytes).unwrap_or_default())?;
            }
        })
    }

    /// The tables that are named, each with the indexes of the patterns that match it.
    pub(crate) fn find_tables(
        &self,
        named: &Named,
        patterns: &[String],
        options: &ExportOptions,
    ) -> Result<Vec<(Relation, Vec<usize>)>> {
        self.with_session(|session| find_tables(session, named, patterns, options))
    }

    /// Runs `work` in a new session that a cancel can reach.
    pub(crate) fn with_session<T>(&self, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let mut session = Session::connect(self.config())?;
        let attached: AttachedSession = self.cancel().attach(&session);
        let result = work(&mut session);
        drop(attached);
        session.close();
        // Any error after a cancel counts as its consequence.
        match result {
            Err(_) if self.cancel().is_requested() => Err(self.cancel().error()),
            result => result,
        }
    }
}
