//! A pooler between us and the server: how it is detected, and how long to wait for it.

use std::time::Duration;

use pgarrow_protocol::{Config, Session};

use crate::error::{Error, ErrorKind};

/// How long a pooler may take to find a server connection for another session. The export can do without
/// that session, or cannot begin without it. The pooler's own limit (`query_wait_timeout` of PgBouncer) is
/// minutes, or none.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Whether a pooler is in between.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pooled(bool);

impl Pooled {
    /// Detects a pooler: it gives out its own cancel keys, so the process in the key is not the one that
    /// answers.
    pub fn of(session: &Session, backend_pid: Option<i32>) -> Self {
        match (session.backend_pid(), backend_pid) {
            (Some(told), Some(found)) => Self(told != found),
            _ => Self(false),
        }
    }

    /// Whether a pooler is in between.
    pub fn is_pooled(self) -> bool {
        self.0
    }

    /// The configuration for connecting another session.
    pub fn impatient(self, config: &Config) -> Config {
        match self.0 {
            false => config.clone(),
            true => {
                let time = config.connect_timeout().map_or(FIRST_ANSWER, |time| time.min(FIRST_ANSWER));
                config.clone().with_connect_timeout(Some(time))
            }
        }
    }

    /// How long another session may wait for its first answer, if later answers have this read timeout.
    pub fn first_answer(self, read_timeout: Option<Duration>) -> Option<Duration> {
        match self.0 {
            false => read_timeout,
            true => Some(read_timeout.map_or(FIRST_ANSWER, |time| time.min(FIRST_ANSWER))),
        }
    }

    /// Adds advice: a pooler that ends a connection in the middle of rows cannot say why.
    pub fn explain_end(self, error: Error) -> Error {
        match self.0 && error.kind() == ErrorKind::Connection && !error.is_timeout() {
            true => error.advice(
                "a pooler is in between, whose own limits may have ended it (PgBouncer's query_timeout, for one); \
                 raise them for exports, or connect past it",
            ),
            false => error,
        }
    }

    /// Adds the cause of a timeout of the first answer.
    pub fn explain(self, error: Error) -> Error {
        match self.0 && error.is_timeout() {
            true => {
                error.context("the pooler has no server connection to give").advice("raise its pool_size")
            }
            false => error,
        }
    }
}
