//! Results: the rows of a statement on the connection's session, as a reader of batches.
//!
//! The first batch is received before `execute` returns. So most errors come from `execute` itself, with
//! their SQLSTATE, and a small result is complete by then: it holds no session.
//!
//! What becomes of the rest of a result that is dropped? Outside of a transaction block the statement is a
//! transaction by itself, and its rows come in one part, since a portal does not outlive its transaction. The
//! server is asked to stop, unless little is left, or the statement writes: stopping would undo what it wrote
//! (`INSERT … RETURNING`), so its rows are received and thrown away. In a transaction block a cancel would
//! make the whole transaction fail. So there the rows come in parts of about 16 MiB through the same portal:
//! at most one part has to be received, and the transaction goes on. The price is that the server plans such
//! a statement without parallel workers; the option `pgarrow.whole_results` chooses one part, and then
//! dropping a result receives all of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use pgarrow_export::driver::SessionRows;
use pgarrow_protocol::{Portal, Session};
use pgarrow_session::{Cancel, Lent};

use crate::binding::Rows;
use crate::error::{Result, for_reader, invalid_state, of_engine, of_wire};
use crate::link::{Held, Link, cancelled_or};
use crate::operation::Running;
use crate::prepared::{SharedPrepared, of};

/// How far the execution of a statement is, for other threads.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    rows: AtomicU64,
    /// Rows in all, plus one; 0 as long as that is not known.
    end: AtomicU64,
}

impl Progress {
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Rows in all, once they are known.
    pub(crate) fn end(&self) -> Option<u64> {
        self.end.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(crate) fn note(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, rows: u64) {
        self.note(rows);
        self.end.store(rows.saturating_add(1), Ordering::Relaxed);
    }
}

/// A result while it has the session.
pub(crate) struct Live {
    pub(crate) link: Arc<Link>,
    pub(crate) lent: Lent,
    pub(crate) session: Session,
    pub(crate) portal: Portal,
    pub(crate) rows: SessionRows,
    /// Executions that follow, with other values.
    pub(crate) more: Option<(SharedPrepared, Rows)>,
    pub(crate) text_columns: Vec<bool>,
    pub(crate) part_rows: Option<u32>,
    pub(crate) may_cancel: bool,
    pub(crate) cancel: Cancel,
    /// Of the connection and of the statement.
    pub(crate) running: [Running; 2],
    pub(crate) progress: Arc<Progress>,
}

/// The state of a result, which its reader and its statement share.
pub(crate) struct Shared(Mutex<State>);

enum State {
    Live(Box<Live>),
    /// All rows were received, or it has failed.
    Over,
    /// Something else has ended it: what.
    Ended(String),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Result<Option<RecordBatch>> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Over) {
            State::Live(mut live) => match live.next() {
                Ok((batch, true)) => {
                    *state = State::Live(live);
                    Ok(batch)
                }
                Ok((batch, false)) => {
                    live.give_back();
                    Ok(batch)
                }
                Err(error) => {
                    live.leave();
                    Err(error)
                }
            },
            State::Over => Ok(None),
            State::Ended(why) => {
                let error = invalid_state(format!("the result is closed: {why}"));
                *state = State::Ended(why);
                Err(error)
            }
        }
    }
}

impl Held for Shared {
    fn is_open(&self) -> bool {
        // While another thread waits for its rows, it has the session, too.
        match self.0.try_lock() {
            Ok(state) => matches!(*state, State::Live(_)),
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Poisoned(state)) => matches!(**state.get_ref(), State::Live(_)),
        }
    }

    fn end(&self, why: &str) {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Ended(why.to_owned())) {
            State::Live(live) => live.leave(),
            // Its reader has, or gets, all that there is.
            State::Over => *state = State::Over,
            State::Ended(before) => *state = State::Ended(before),
        }
    }
}

impl Live {
    /// The next batch, and whether there may be more.
    fn next(&mut self) -> Result<(Option<RecordBatch>, bool)> {
        if self.cancel.is_requested() {
            return Err(of_engine(self.cancel.error()));
        }
        // Only meanwhile: a cancel of a result that nobody reads must not end the session.
        let attached = self.cancel.attach(&self.session);
        let received = self.receive();
        drop(attached);
        received.map_err(|error| cancelled_or(&self.cancel, error))
    }

    fn receive(&mut self) -> Result<(Option<RecordBatch>, bool)> {
        loop {
            let is_full = self.rows.receive(&mut self.session, &mut self.portal).map_err(of_engine);
            let is_full = is_full.inspect_err(|_| self.link.forget())?;
            self.progress.note(self.rows.rows());
            if is_full {
                return Ok((self.rows.take_batch().map_err(of_engine)?, true));
            }
            self.link.has_run(self.portal.command());
            if !self.begin_next()? {
                self.progress.ended(self.rows.rows());
                return Ok((self.rows.take_batch().map_err(of_engine)?, false));
            }
        }
    }

    /// Begins the execution with the next values; false if there are none.
    fn begin_next(&mut self) -> Result<bool> {
        let Some((prepared, values)) = &mut self.more else { return Ok(false) };
        let mut bytes = Vec::new();
        let Some(parameters) = values.next(&mut bytes)? else { return Ok(false) };
        self.portal = of(prepared).run(&mut self.session, &parameters, &self.text_columns, self.part_rows)?;
        self.rows.continue_with_execution();
        Ok(true)
    }

    /// Leaves the rest, and returns the session.
    fn leave(mut self: Box<Self>) {
        let may_cancel = self.may_cancel || self.cancel.is_requested();
        let portal = self.portal;
        // If it fails, the session reports it at its next use.
        let _ = portal.abandon(&mut self.session, may_cancel);
        drop(self.running);
        self.lent.give_back(self.session);
    }

    fn give_back(self) {
        drop(self.running);
        self.lent.give_back(self.session);
    }
}

/// Begins to read a result.
///
/// # Errors
///
/// What the server, a value or a cancel stops before the first batch is complete. The session is returned.
pub(crate) fn begin(live: Live, schema: SchemaRef) -> Result<(ResultReader, Arc<Shared>)> {
    let link = Arc::clone(&live.link);
    let shared = Arc::new(Shared(Mutex::new(State::Live(Box::new(live)))));
    let first = shared.next()?;
    if shared.is_open() {
        link.is_held_by(&shared);
    }
    Ok((ResultReader { schema, first, shared: Some(Arc::clone(&shared)) }, shared))
}

/// The batches of a result.
pub(crate) struct ResultReader {
    schema: SchemaRef,
    first: Option<RecordBatch>,
    shared: Option<Arc<Shared>>,
}

impl ResultReader {
    /// A result without rows.
    pub(crate) fn empty(schema: SchemaRef) -> Self {
        Self { schema, first: None, shared: None }
    }
}

impl Iterator for ResultReader {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        match self.shared.as_ref()?.next() {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.shared = None;
                Some(Err(for_reader(error)))
            }
        }
    }
}

impl RecordBatchReader for ResultReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Drop for ResultReader {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.end("its reader was closed");
        }
    }
}

/// Ends a portal whose rows nobody wants, and returns what it counted.
pub(crate) fn discard(portal: &mut Portal, session: &mut Session) -> Result<Option<u64>> {
    portal.discard(session).map_err(of_wire)?;
    Ok(portal.counted())
}
