//! A writer: a connection, its transaction, and the thread that feeds it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgarrow_catalog::Relation;
use pgarrow_protocol::Session;
use pgarrow_session::{AttachedSession, Error, ErrorKind, Result, per_second};

use crate::arrival::check_count;
use crate::copied::{Copied, Failed};
use crate::names::{Names, Proof};
use crate::plan::LoadPlan;
use crate::queue::Queue;
use crate::report::WriterReport;
use crate::transaction::{commit, outcome, roll_back, server_error_of_any_row, server_error_of_writer};

use super::Failure;

/// A writer's session, in its open transaction, and everything that it needs.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) session: Session,
    pub(super) plan: Arc<LoadPlan>,
    /// Schema and name of the target.
    pub(super) target: String,
    /// The table that it writes to.
    pub(super) hidden: Relation,
    /// Rows go through a staging table of this session first.
    pub(super) inserts_from_staging: bool,
    /// The hidden table has the keys of the table that it replaces.
    pub(super) has_keys: bool,
    pub(super) queue: Arc<Queue>,
    pub(super) failure: Arc<Failure>,
    /// While these live, a cancel stops the session.
    pub(super) attached: [AttachedSession; 2],
}

/// What a writer has committed.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) copied: Copied,
    pub(crate) commit: Duration,
    seconds: f64,
}

/// If a writer does not end as it should, for example by a panic, this ends the others.
struct Guard {
    queue: Arc<Queue>,
    failure: Arc<Failure>,
    has_ended: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.has_ended {
            if !self.failure.has_failed() {
                let text = "a thread that sends rows has panicked; please report it";
                self.failure.set(Error::new(ErrorKind::Protocol, text).advice(outcome(0)));
            }
            self.queue.abandon(Duration::ZERO);
            self.queue.close();
        }
    }
}

impl Writer {
    /// Writes rows of the queue until its end, and commits. `None` if that failed or the load was abandoned;
    /// then all other writers fail, too.
    pub(super) fn run(self) -> Option<Written> {
        let span = tracing::info_span!(target: "pgarrow", "writer", table = %self.target);
        let _entered = span.enter();
        let failure = Arc::clone(&self.failure);
        let mut guard =
            Guard { queue: Arc::clone(&self.queue), failure: Arc::clone(&failure), has_ended: false };
        let written = self.write().map_err(|error| failure.set(error)).ok();
        guard.has_ended = written.is_some();
        written
    }

    fn write(mut self) -> Result<Written> {
        let started = Instant::now();
        let loaded = self.plan.transfer().load(&mut self.session, &self.queue);
        let waiting = Instant::now();
        let brought =
            loaded.map_err(|failed| self.refused(failed)).and_then(|copied| self.insert_from_staging(copied));
        let brought = brought.and_then(|copied| self.prove(copied));
        let copied = match brought {
            // If the queue did not end with `Finish`, the COPY was aborted.
            Ok(copied) if !self.failure.has_failed() => copied,
            ended => {
                roll_back(self.session);
                return Err(ended.err().unwrap_or_else(|| self.failure.first_error()));
            }
        };
        let copied = Copied { wait: copied.wait + waiting.elapsed(), ..copied };
        let committing = Instant::now();
        commit(&mut self.session).map_err(|error| self.not_committed(error))?;
        let commit = committing.elapsed();
        drop(self.attached);
        self.session.close();
        Ok(Written { copied, commit, seconds: started.elapsed().as_secs_f64() })
    }

    fn insert_from_staging(&mut self, copied: Copied) -> Result<Copied> {
        let staging = match &self.plan.staging {
            Some(staging) if self.inserts_from_staging => staging,
            _ => return Ok(copied),
        };
        let rows =
            staging.insert_from_staging(&mut self.session).map_err(|error| self.server_error(error))?;
        check_count(&self.target, copied.rows, rows, false, 0)?;
        Ok(Copied { rows, ..copied })
    }

    /// Checks that all rows are in the hidden table, and not in another table of that name.
    fn prove(&mut self, copied: Copied) -> Result<Copied> {
        let must_hold = [self.hidden.oid];
        let must_hold = if copied.rows > 0 { must_hold.as_slice() } else { &[] };
        let names = Names::unlocked(&self.hidden);
        match self.failure.has_failed() {
            // It is not committed, whatever it wrote to.
            true => Ok(copied),
            false => names.prove(&mut self.session, Proof::Locks, &self.target, must_hold).map(|()| copied),
        }
    }

    fn refused(&self, failed: Failed) -> Error {
        match failed {
            // If the COPY could not even begin, the error names the alternative.
            Failed::Refused { error, at_start: false, .. } => self.server_error(error),
            failed => failed.into_error(&self.target, 0, true),
        }
    }

    /// Only this load knows the table; its keys are those of the table that it replaces.
    fn server_error(&self, error: pgarrow_protocol::Error) -> Error {
        match self.has_keys {
            true => server_error_of_writer(error, &self.target),
            false => server_error_of_any_row(error, &self.target),
        }
    }

    /// Whether the commit succeeded or not: the hidden table is dropped.
    fn not_committed(&self, error: pgarrow_protocol::Error) -> Error {
        let error = self.server_error(error);
        match error.kind() {
            ErrorKind::OutcomeUnknown => {
                let text = format!("{}: the connection of a writer was lost while it committed", self.target);
                Error::new(ErrorKind::Connection, text).advice(outcome(0))
            }
            _ => error,
        }
    }
}

impl Written {
    pub(crate) fn report(&self) -> WriterReport {
        let Copied { rows, bytes, times, .. } = &self.copied;
        WriterReport {
            rows: *rows,
            wire_bytes: *bytes,
            buffers: times.count(),
            seconds: self.seconds,
            rows_per_second: per_second(*rows, self.seconds),
            bytes_per_second: per_second(*bytes, self.seconds),
            buffer_times: times.summary(),
        }
    }
}
