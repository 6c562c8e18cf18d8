//! Several connections load one table, each by a COPY in its own transaction. All guarantees of a single
//! transaction still hold.
//!
//! ```text
//!  lanes ─▶ queue ─┬─▶ writer: BEGIN, COPY, COMMIT ─┐
//!                  ├─▶ writer: BEGIN, COPY, COMMIT ─┼─▶ hidden table ─▶ leader: BEGIN … COMMIT
//!                  └─▶ writer: BEGIN, COPY, COMMIT ─┘
//!
//!     create: the leader renames the hidden table; replace: it takes the old table's place;
//!     other modes: INSERT … SELECT, DROP
//! ```
//!
//! Connections cannot share a transaction, so writers commit their rows to a table that nobody else knows.
//! The leader's transaction is open from the beginning: it locks the target as a load with one connection
//! does, and alone changes it, at the end. If anything fails before, the target is as it was, and the hidden
//! table is dropped.

pub(crate) mod leader;
mod open;
mod start;
pub(crate) mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pgarrow_protocol::Session;
use pgarrow_session::{Cancel, Error, ErrorKind, Result};
use pgarrow_sink::Stop;
use pgarrow_types::message;
use pgarrow_types::option::{COMMIT_EVERY, WRITERS};

pub(crate) use open::{OpenWriters, open};

use self::leader::Leader;
use self::writer::Written;
use crate::copied::Copied;
use crate::options::{LoadMode, LoadOptions, OnConflict};
use crate::pipe::{Pipe, ended_before};
use crate::queue::{Buffer, NotTaken, OnTheWay, Queue};

/// How long a lane waits at most until its rows are sent.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Where lanes send their rows.
#[derive(Debug)]
pub(crate) enum Senders {
    /// To the only connection.
    One(Pipe),
    /// To several writers; each takes rows when it can.
    Many(Box<Writers>),
}

impl Senders {
    /// An empty buffer for rows.
    pub(crate) fn empty_buffer(&self) -> Buffer {
        match self {
            Self::One(pipe) => pipe.empty_buffer(),
            Self::Many(writers) => writers.queue.empty_buffer(),
        }
    }

    /// Sends whole rows.
    ///
    /// # Errors
    ///
    /// The first failure, at every call; or that the run was stopped.
    pub(crate) fn send(&self, rows: Buffer, of: &OnTheWay, stop: &Stop) -> Result<()> {
        match self {
            Self::One(pipe) => pipe.send(rows, of, stop),
            Self::Many(writers) => writers.queue.push(rows, of, stop).map_err(|why| writers.not_taken(why)),
        }
    }

    /// Waits until all rows of a lane are sent; with several writers, for a limited time.
    pub(crate) fn drain(&self, of: &OnTheWay, stop: &Stop) -> Result<()> {
        match self {
            Self::One(pipe) => pipe.drain(of, stop),
            Self::Many(writers) => writers.drain(of, stop),
        }
    }

    /// From now on, rows come from several readers, so their numbers mean nothing.
    pub(crate) fn set_unnumbered(&self) {
        match self {
            Self::One(pipe) => pipe.set_unnumbered(),
            Self::Many(writers) => writers.is_unnumbered.store(true, Ordering::Relaxed),
        }
    }

    /// Whether a lane's row numbers mean nothing.
    pub(crate) fn is_unnumbered(&self) -> bool {
        match self {
            Self::One(pipe) => pipe.is_unnumbered(),
            Self::Many(writers) => writers.is_unnumbered.load(Ordering::Relaxed),
        }
    }

    /// Aborts the load, and rolls back several writers. A single connection ends when it is dropped.
    ///
    /// # Errors
    ///
    /// The table that is left over, and why.
    pub(crate) fn abandon(&self) -> Result<()> {
        match self {
            Self::One(_) => Ok(()),
            Self::Many(writers) => writers.abandon().map_err(|left| Error::new(ErrorKind::Connection, left)),
        }
    }

    /// Ends the COPY of a single connection. Returns the session and what the server has confirmed.
    pub(crate) fn finish(&self) -> Result<(Session, Copied)> {
        match self {
            Self::One(pipe) => pipe.finish(),
            // Writers end their sessions themselves.
            Self::Many(_) => Err(ended_before()),
        }
    }
}

/// The running writers of a load.
///
/// Writers share one queue, and each takes rows when it can. So a writer that waits, for example for a key
/// that another writer has sent, delays no other writer; and when that other writer ends, it continues.
///
/// Dropping them rolls back their work.
#[derive(Debug)]
pub(crate) struct Writers {
    queue: Arc<Queue>,
    failure: Arc<Failure>,
    threads: Mutex<Vec<JoinHandle<Option<Written>>>>,
    leader: Mutex<Option<Leader>>,
    /// Rows come from several readers.
    is_unnumbered: AtomicBool,
}

/// The first failure of a writer, which all callers get.
#[derive(Debug)]
struct Failure {
    error: Mutex<Option<Error>>,
    /// Stops the writers' sessions.
    cancel: Cancel,
}

impl Failure {
    fn has_failed(&self) -> bool {
        lock(&self.error).is_some()
    }

    fn set(&self, error: Error) {
        lock(&self.error).get_or_insert(error);
        self.cancel.cancel_for("the failure of another writer");
    }

    fn first_error(&self) -> Error {
        lock(&self.error).as_ref().map_or_else(ended_before, Error::duplicate)
    }
}

impl Writers {
    /// Waits until all writers have committed. Returns the leader, and what each has written.
    ///
    /// # Errors
    ///
    /// The first failure; the target is as it was.
    pub(crate) fn finish(&self) -> Result<(Leader, Vec<Written>)> {
        self.queue.finish();
        let written = self.join();
        let leader = lock(&self.leader).take().ok_or_else(ended_before)?;
        match written {
            Some(written) => Ok((leader, written)),
            None => Err(leader.take_back(self.failure.first_error())),
        }
    }

    /// Rolls back the writers' work, unless the load has ended already.
    ///
    /// # Errors
    ///
    /// The table that is left over, and why.
    fn abandon(&self) -> std::result::Result<(), String> {
        let leader = lock(&self.leader).take();
        let Some(leader) = leader else { return Ok(()) };
        self.failure.set(ended_before());
        self.queue.abandon(Duration::ZERO);
        self.join();
        leader.undo()
    }

    /// What each writer has written; `None` if one has failed.
    fn join(&self) -> Option<Vec<Written>> {
        let threads = std::mem::take(&mut *lock(&self.threads));
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join().ok().flatten()).collect();
        ended.into_iter().collect()
    }

    /// Does not wait without limit: a writer may depend on the end of another one, which comes only after
    /// all lanes have ended.
    fn drain(&self, of: &OnTheWay, stop: &Stop) -> Result<()> {
        if of.bytes() == 0 {
            return Ok(());
        }
        let (deadline, stopped) = (Instant::now() + DRAIN_TIME, stop.clone());
        let patience = Stop::new(move || stopped.is_requested() || Instant::now() >= deadline);
        match self.queue.drain(of, &patience) {
            Err(NotTaken::Stopped) if !stop.is_requested() => Ok(()),
            drained => drained.map_err(|why| self.not_taken(why)),
        }
    }

    fn not_taken(&self, why: NotTaken) -> Error {
        match why {
            NotTaken::Closed => self.failure.first_error(),
            NotTaken::Stopped => Error::new(ErrorKind::Cancelled, "the load was stopped"),
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        // A caller that drops a load gets no error.
        let _ = self.abandon();
    }
}

impl LoadOptions {
    /// Whether several connections load.
    pub(crate) fn has_writers(&self) -> bool {
        self.writers.is_some_and(|writers| writers > 1)
    }

    /// Refuses options that cannot be combined with several writers.
    pub(crate) fn check_writers(&self) -> Result<()> {
        let refuse = |text: &str| Error::new(ErrorKind::Options, text);
        if self.writers == Some(0) {
            return Err(refuse("a load needs one writer at least"));
        }
        if !self.has_writers() {
            return Ok(());
        }
        if self.is_batchwise() {
            let text = "rows that several writers load have no order that a restart mark or the number of a rejected row \
                        could rely on";
            return Err(refuse(text).advice(message![
                "load with one writer (",
                WRITERS.to("1"),
                "), or without restart key, rejects and a commit every so many rows (",
                COMMIT_EVERY,
                ")"
            ]));
        }
        if matches!(self.mode, LoadMode::Create | LoadMode::Replace)
            && self.on_conflict()? != OnConflict::Error
        {
            let text = "in a new table, rows of several writers do not see one another's keys before they are committed";
            return Err(refuse(text).advice(message![
                "load with one writer (",
                WRITERS.to("1"),
                "), or let the same key twice be an error"
            ]));
        }
        Ok(())
    }
}

/// Each change under the lock is complete or was not begun, even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
