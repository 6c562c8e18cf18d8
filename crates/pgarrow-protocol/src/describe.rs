//! What a statement would return, without running it.
//!
//! ```text
//!  P D(statement) S ──▶ 1 ──▶ t ──▶ ( T │ n ) ──▶ Z
//! ```
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY>.

use crate::answer::Description;
use crate::backend;
use crate::error::Error;
use crate::session::Session;

const PHASE: &str = "describe";

impl Session {
    /// Lets the server parse `sql` and describe its parameters and columns. The server does not run it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`](crate::ErrorKind::Server) if the statement is wrong; the session can be
    /// used afterwards.
    pub fn describe(&mut self, sql: &str) -> Result<Description, Error> {
        if let Some(description) = self.take_description(sql) {
            return Ok(description);
        }
        if let Some(error) = self.take_refusal(sql) {
            return Err(error);
        }
        self.begin()?;
        self.ask_to_describe(sql)?;
        self.send(PHASE)?;
        self.receive_description()
    }

    /// Appends the request for a description to the outgoing messages.
    pub(crate) fn ask_to_describe(&mut self, sql: &str) -> Result<(), Error> {
        self.outgoing.parse(sql)?;
        self.outgoing.describe_statement()?;
        self.outgoing.sync()
    }

    /// The answer to [`ask_to_describe`](Self::ask_to_describe).
    pub(crate) fn receive_description(&mut self) -> Result<Description, Error> {
        let description = self.receive_described()?;
        self.expect_ready(PHASE)?;
        Ok(description)
    }

    /// The same without the end of the answer.
    pub(crate) fn receive_described(&mut self) -> Result<Description, Error> {
        self.expect_empty(PHASE, b'1')?;
        let message = self.receive_or_fail(PHASE)?;
        if message.tag != b't' {
            return Err(self.unexpected(PHASE, message.tag));
        }
        let parameters = backend::parameter_description(&message.body)
            .map_err(|cause| self.malformed(PHASE, b't', cause))?;
        let message = self.receive_or_fail(PHASE)?;
        let columns = match message.tag {
            b'T' => {
                let columns = backend::row_description(&message.body);
                Some(columns.map_err(|cause| self.malformed(PHASE, b'T', cause))?)
            }
            b'n' if message.body.is_empty() => None,
            tag => return Err(self.unexpected(PHASE, tag)),
        };
        Ok(Description { parameters, columns })
    }
}
