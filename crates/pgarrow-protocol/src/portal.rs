//! A caller's own statement: parsed once, run with parameters, its rows read a part at a time.
//!
//! ```text
//!  prepare  C* P D(statement) S ──▶ 3* 1 t ( T │ n ) Z
//!  run      P? B D(portal) E(n) S ──▶ 1? 2 ( T │ n ) D* ( C │ I │ s ) Z
//!  next     E(n) S ──▶ D* ( C │ s ) Z             after `s`, in a transaction block
//!  abandon  what is on its way, then C(portal) S
//! ```
//!
//! A [`Portal`] borrows no session, so that its rows can be read whenever their reader wants them. In
//! between, the session must not be used for anything else.
//!
//! Source: "Extended Query" in <https://www.postgresql.org/docs/current/protocol-flow.html>; `PortalRun` in
//! PostgreSQL's `src/backend/tcop/pquery.c`.

mod abandon;
mod rows;

pub use self::rows::PortalRows;

use crate::answer::Description;
use crate::backend::{self, ColumnDescription, TransactionStatus};
use crate::error::{Error, ErrorKind};
use crate::execution::Execution;
use crate::session::Session;

const PHASE: &str = "statement";

/// A statement that was begun. Each call takes the session that began it.
#[derive(Debug)]
pub struct Portal {
    state: State,
    n_columns: usize,
    /// Rows of the next part; `None` if all rows are in one.
    part_rows: Option<u32>,
    /// Rows of the part that is being received.
    rows_asked: u32,
    /// Rows of the parts before.
    rows: u64,
    /// The tag at the end: the command, and whether it counts.
    end: Option<(String, Option<u64>)>,
    bytes_before: u64,
    /// Bytes of the message that is being received.
    left: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Rows may come, or the end.
    Streaming,
    /// A part is over, and ReadyForQuery is to come.
    PartOver,
    /// All parts are over, and ReadyForQuery is to come.
    Tagged,
    Done,
    Failed,
}

impl Session {
    /// Lets the server parse `sql` under a name, and describe its parameters and columns. `types`: OIDs of
    /// the parameters' types; 0 and those that are left out are inferred. `closed`: names of earlier
    /// statements that are no longer needed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the statement is wrong; the session can be used afterwards.
    pub fn prepare(
        &mut self,
        name: &str,
        sql: &str,
        types: &[u32],
        closed: &[String],
    ) -> Result<Description, Error> {
        self.begin()?;
        for name in closed {
            self.outgoing.close_statement(name)?;
        }
        self.outgoing.parse_named(name, sql, types)?;
        self.outgoing.describe_named(name)?;
        self.outgoing.sync()?;
        self.send(PHASE)?;
        for _ in closed {
            self.expect_empty(PHASE, b'3')?;
        }
        self.receive_description()
    }

    /// Runs a statement. Its rows are then to be [read](Portal::rows); if it returns none, it has run to its
    /// end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Server`] if the server refuses; the session can be used afterwards.
    /// [`ErrorKind::Config`] for a statement that is a COPY, and for parts outside of a transaction block.
    /// [`ErrorKind::Protocol`] if the columns are no longer those that were described.
    pub fn run(&mut self, execution: &Execution<'_>) -> Result<Portal, Error> {
        self.begin()?;
        self.check_encoding(PHASE)?;
        let part_rows = execution.part_rows.map(|rows| rows.max(1));
        if part_rows.is_some() && self.transaction_status() != TransactionStatus::InTransaction {
            let message = format!("{} ({PHASE}): rows in parts need an open transaction", self.endpoint);
            return Err(Error::new(ErrorKind::Config, message));
        }
        if let Some((sql, types)) = execution.parse {
            self.outgoing.parse_named(execution.statement, sql, types)?;
        }
        self.outgoing.bind_execution(execution)?;
        self.outgoing.describe_portal()?;
        self.outgoing.execute_part(part_rows)?;
        self.outgoing.sync()?;
        let bytes_before = self.bytes_received();
        self.send(PHASE)?;
        if execution.parse.is_some() {
            self.expect_empty(PHASE, b'1')?;
        }
        self.expect_empty(PHASE, b'2')?;
        let mut portal = Portal {
            state: State::Streaming,
            n_columns: 0,
            part_rows,
            rows_asked: part_rows.unwrap_or(0),
            rows: 0,
            end: None,
            bytes_before,
            left: 0,
        };
        let message = self.receive_or_fail(PHASE)?;
        match message.tag {
            b'T' => {
                let columns = backend::row_description(&message.body)
                    .map_err(|cause| self.malformed(PHASE, b'T', cause))?;
                portal.n_columns = columns.len();
                if !execution.any_columns && !are_same(execution.columns, &columns) {
                    portal.drain(self)?;
                    let what = "the columns of the statement are not those that were described; run it again";
                    return Err(Error::new(
                        ErrorKind::Protocol,
                        format!("{} ({PHASE}): {what}", self.endpoint),
                    ));
                }
                self.wire.start_streaming().map_err(|cause| self.io_error(&cause, PHASE))?;
            }
            b'n' if message.body.is_empty() => portal.finish_without_rows(self)?,
            tag => return Err(self.unexpected(PHASE, tag)),
        }
        Ok(portal)
    }
}

/// Whether the columns of a portal are those of its statement. Planning may find a modifier, or lose one, as
/// when the body of a function takes the place of its call; it never finds another one.
fn are_same(described: Option<&[ColumnDescription]>, found: &[ColumnDescription]) -> bool {
    let is_same = |(one, other): (&ColumnDescription, &ColumnDescription)| {
        let modifiers = [one.type_modifier, other.type_modifier];
        one.name == other.name
            && one.type_oid == other.type_oid
            && (modifiers.contains(&-1) || one.type_modifier == other.type_modifier)
    };
    described
        .is_some_and(|described| described.len() == found.len() && described.iter().zip(found).all(is_same))
}

impl Portal {
    /// Its rows, to be read on.
    pub fn rows<'a>(&'a mut self, session: &'a mut Session) -> PortalRows<'a> {
        PortalRows::new(session, self)
    }

    /// How many rows the next part has. Without effect if all rows are in one.
    pub fn set_part_rows(&mut self, rows: u32) {
        self.part_rows = self.part_rows.map(|_| rows.max(1));
    }

    /// Whether the server has finished it, well or not.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Done | State::Failed)
    }

    /// The server's word for what was done: `SELECT`, `CREATE TABLE`. `None` before the end, and for an empty
    /// statement.
    pub fn command(&self) -> Option<&str> {
        self.end.as_ref().map(|(command, _)| command.as_str())
    }

    /// Rows that the server says were read, inserted, updated, deleted or merged. `None` before the end, and
    /// for a command that counts none.
    pub fn counted(&self) -> Option<u64> {
        self.end.as_ref().and_then(|(_, counted)| *counted)
    }

    fn fail(&mut self) {
        self.state = State::Failed;
    }

    /// NoData has come: the statement runs to its end.
    fn finish_without_rows(&mut self, session: &mut Session) -> Result<(), Error> {
        let message = session.receive_or_fail(PHASE)?;
        match message.tag {
            b'C' => self.tagged(session, &message.body)?,
            b'I' if message.body.is_empty() => self.state = State::Tagged,
            tag => return Err(session.not_an_end(tag)),
        }
        session.expect_ready(PHASE)?;
        self.state = State::Done;
        Ok(())
    }

    /// CommandComplete has come.
    fn tagged(&mut self, session: &mut Session, body: &[u8]) -> Result<(), Error> {
        let tag = backend::command_complete(body).map_err(|cause| session.malformed(PHASE, b'C', cause))?;
        let Some(counted) = backend::counted(tag) else {
            return Err(session.violation(PHASE, "a statement that counts rows does not say how many"));
        };
        let text = String::from_utf8_lossy(tag);
        let command = text.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ').to_owned();
        self.end = Some((command, counted.map(|rows| rows.saturating_add(self.rows))));
        self.state = State::Tagged;
        Ok(())
    }
}
