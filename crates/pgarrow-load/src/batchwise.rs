//! Loads that commit in parts, keep a restart mark, or leave out bad rows.
//!
//! ```text
//!  Idle ──begin──▶ Begun ──rows──▶ Copying ──settle──▶ Begun ──mark, COMMIT──▶ Idle
//!                    └─── rows, by a sieve ───┘
//! ```
//!
//! Others may change the table between two transactions: each transaction checks the table again.

mod allowed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use pgarrow_catalog::RelationName;
use pgarrow_protocol::Session;
use pgarrow_session::{Cancel, Error, ErrorKind, Result};
use pgarrow_sink::check_batch;

pub(crate) use allowed::restarted;

use crate::arrival::insert_from_staging;
use crate::lane::{Lane, LaneContext, LaneTally};
use crate::marks::Mark;
use crate::names::{Names, Proof};
use crate::options::{LoadMode, LoadOptions};
use crate::pipe::{Pipe, ended_before};
use crate::plan::LoadPlan;
use crate::progress::{LoadProgress, LoadStage};
use crate::reject::{Sieve, not_final};
use crate::target::{self, TargetTable};
use crate::transaction::{begin, commit, outcome, roll_back, server_error_after, with_outcome};
use crate::writers::Senders;

/// A load that ends its transactions itself.
#[derive(Debug)]
pub(crate) struct Batchwise {
    plan: Arc<LoadPlan>,
    schema: SchemaRef,
    name: RelationName,
    options: LoadOptions,
    target: TargetTable,
    state: State,
    mark: Option<Mark>,
    cancel: Cancel,
    progress: Arc<LoadProgress>,
    pub(crate) sieve: Option<Sieve>,
    /// Rows of the data given so far, skipped rows included.
    given: u64,
    /// Rows that earlier loads have finished.
    pub(crate) skipped: u64,
    /// Rows of the data since the last commit.
    uncommitted: u64,
    /// Rows rejected in earlier transactions.
    rejected_before: u64,
    /// Rows that the server counted.
    pub(crate) loaded: u64,
    pub(crate) tally: LaneTally,
    pub(crate) send: Duration,
    pub(crate) blocked: Duration,
    pub(crate) wait: Duration,
    pub(crate) commit: Duration,
}

/// The state of the session.
#[derive(Debug)]
enum State {
    /// In no transaction.
    Idle(Session),
    /// In a transaction, but idle.
    Begun(Session),
    /// Rows are being sent.
    Copying(Arc<LaneContext>, Lane),
    /// The session is gone.
    Ended,
}

impl Batchwise {
    /// Expects the open transaction in which the target was opened and the plan made.
    pub(crate) fn new(
        session: Session,
        schema: SchemaRef,
        name: RelationName,
        mut options: LoadOptions,
        (target, plan): (TargetTable, Arc<LoadPlan>),
        mark: Option<Mark>,
        (cancel, progress): (Cancel, Arc<LoadProgress>),
    ) -> Result<Self> {
        let skipped = mark.as_ref().map_or(0, |mark| mark.rows);
        let sieve = options.reject.then(|| {
            let (shown, limit) = (target.shown.clone(), options.reject_limit);
            let mut sieve =
                Sieve::new(Arc::clone(&plan), shown, target.may_leave_out, &schema, limit, skipped);
            sieve.tell(&progress);
            sieve
        });
        progress.set_committed(skipped);
        // Only the first transaction truncates or creates the table, or adds columns.
        if matches!(options.mode, LoadMode::Truncate | LoadMode::Create) {
            options.mode = LoadMode::Append;
        }
        options.add_columns = false;
        let mut load = Self {
            plan,
            schema,
            name,
            options,
            target,
            state: State::Begun(session),
            mark,
            cancel,
            progress,
            sieve,
            given: 0,
            skipped,
            uncommitted: 0,
            rejected_before: 0,
            loaded: 0,
            tally: LaneTally::default(),
            send: Duration::ZERO,
            blocked: Duration::ZERO,
            wait: Duration::ZERO,
            commit: Duration::ZERO,
        };
        load.prepare()?;
        Ok(load)
    }

    /// Whether earlier loads have loaded all of the data.
    pub(crate) fn is_complete(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.is_complete)
    }

    /// Rows given so far, skipped rows included.
    pub(crate) fn rows(&self) -> u64 {
        self.given
    }

    /// Bytes of rows sent so far.
    pub(crate) fn wire_bytes(&self) -> u64 {
        match &self.state {
            State::Copying(_, lane) => self.tally.bytes + lane.tally.bytes,
            _ => self.tally.bytes,
        }
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let started = Instant::now();
        let written = self.write_rows(batch);
        self.tally.times.add(started.elapsed());
        written.map_err(|error| self.give_up(error))
    }

    fn write_rows(&mut self, batch: &RecordBatch) -> Result<()> {
        if matches!(self.state, State::Ended) {
            return Err(ended_before());
        }
        check_batch(&self.schema, batch)?;
        let rows_before = self.given;
        let n_rows = batch.num_rows();
        let skipped = self.skipped.saturating_sub(self.given).min(n_rows as u64);
        self.given += skipped;
        let mut row = usize::try_from(skipped).unwrap_or(n_rows);
        if row < n_rows && self.is_complete() {
            let text = format!(
                "{}: the load of this restart key was completed with {} rows, and the data has more: it is not the same",
                self.target.shown, self.skipped
            );
            return Err(Error::new(ErrorKind::Input, text).advice(self.advice()));
        }
        while row < n_rows {
            if matches!(self.state, State::Idle(_)) {
                self.begin()?;
            }
            let room = self.options.commit_every.map_or(u64::MAX, |every| every - self.uncommitted);
            let end = n_rows.min(row.saturating_add(usize::try_from(room).unwrap_or(usize::MAX)));
            let taken = match self.sieve {
                Some(_) => self.sift(&batch.slice(0, end), row, rows_before)?,
                None => {
                    self.copy(&batch.slice(row, end - row))?;
                    end
                }
            };
            let n_taken = (taken - row) as u64;
            self.given += n_taken;
            self.uncommitted += n_taken;
            row = taken;
            self.progress.set_rows(self.given, self.wire_bytes());
            if self.options.commit_every == Some(self.uncommitted) {
                self.commit(false)?;
            }
        }
        Ok(())
    }

    /// Sends these rows.
    fn copy(&mut self, rows: &RecordBatch) -> Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Begun(session) => {
                let (committed, target) = (self.committed(), self.target.shown.clone());
                let pipe = Pipe::start(session, self.plan.transfer(), target.clone())?.after(committed);
                let (plan, schema) = (Arc::clone(&self.plan), Arc::clone(&self.schema));
                let shared =
                    Arc::new(LaneContext { plan, schema, pipe: Senders::One(pipe), target, committed });
                State::Copying(Arc::clone(&shared), Lane::new(shared))
            }
            state => state,
        };
        match &mut self.state {
            State::Copying(_, lane) => lane.write(rows),
            _ => Err(ended_before()),
        }
    }

    /// Gathers rows from `row` on, and loads them when there are enough. Returns the index after the last
    /// row taken.
    fn sift(&mut self, batch: &RecordBatch, row: usize, rows_before: u64) -> Result<usize> {
        let started = Instant::now();
        let sieve = self.sieve.as_mut().ok_or_else(ended_before)?;
        let row = sieve.gather(batch, row, rows_before)?;
        let is_full = sieve.is_full();
        self.tally.encode += started.elapsed();
        if is_full {
            self.settle()?;
        }
        Ok(row)
    }

    /// Waits until all rows given so far are in the target, in the open transaction.
    fn settle(&mut self) -> Result<()> {
        let started = Instant::now();
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Copying(shared, mut lane) => {
                lane.send()?;
                let (session, copied) = shared.pipe.finish()?;
                let sent = lane.tally.rows;
                self.state = State::Begun(session);
                let may_leave_out = self.target.may_leave_out;
                let progress = Arc::clone(&self.progress);
                let session = self.session()?;
                if shared.plan.staging.is_some() {
                    progress.enter(LoadStage::Merging);
                }
                self.loaded += insert_from_staging(
                    session,
                    &shared.plan,
                    &shared.target,
                    copied.rows,
                    sent,
                    may_leave_out,
                    shared.committed,
                )?;
                progress.enter(LoadStage::Sending);
                self.tally.rows += sent;
                self.tally.bytes += lane.tally.bytes;
                self.tally.encode += lane.tally.encode;
                self.tally.wait += lane.tally.wait;
                self.send += copied.send;
                self.blocked += copied.blocked;
                self.wait += started.elapsed();
                Ok(())
            }
            State::Begun(session) => {
                let mut session = Some(session);
                let flushed = match &mut self.sieve {
                    Some(sieve) => sieve.flush(&mut session),
                    None => Ok(Default::default()),
                };
                if let Some(session) = session {
                    self.state = State::Begun(session);
                }
                let flushed = flushed?;
                self.loaded += flushed.rows;
                self.tally.rows += flushed.sent;
                self.tally.bytes += flushed.bytes;
                self.send += flushed.copied.send;
                self.blocked += flushed.copied.blocked;
                self.wait += started.elapsed().saturating_sub(flushed.copied.send);
                Ok(())
            }
            state => {
                self.state = state;
                Ok(())
            }
        }
    }

    /// Begins a transaction, and checks that the table is still as planned.
    fn begin(&mut self) -> Result<()> {
        let State::Idle(session) = std::mem::replace(&mut self.state, State::Ended) else {
            return Err(ended_before());
        };
        self.state = State::Begun(session);
        let (name, schema, options) = (self.name.clone(), Arc::clone(&self.schema), self.options.clone());
        let committed = self.committed();
        let session = self.session()?;
        begin(session, &options).map_err(|error| error.advice(outcome(committed)))?;
        let now = target::open_again(session, &name, &schema, &options, committed)?;
        if now.relation.oid != self.target.relation.oid || now.columns != self.target.columns {
            let text = format!("another session changed {} while it was loaded", self.target.shown);
            return Err(Error::new(ErrorKind::Server, text).advice(outcome(self.committed())));
        }
        self.target.may_leave_out = now.may_leave_out;
        self.target.names = now.names;
        self.rejected_before = self.sieve.as_ref().map_or(0, |sieve| sieve.rejected);
        if let Some(sieve) = &mut self.sieve {
            sieve.may_leave_out = now.may_leave_out;
            sieve.committed = committed;
        }
        self.prepare()
    }

    /// Prepares each transaction.
    fn prepare(&mut self) -> Result<()> {
        let (plan, target, committed) = (Arc::clone(&self.plan), self.target.shown.clone(), self.committed());
        let is_sifting = self.sieve.is_some();
        let session = self.session()?;
        let failed = |error| server_error_after(error, &target, None, committed);
        if let Some(staging) = &plan.staging {
            staging.set_zone(session).and_then(|()| session.execute(&staging.create)).map_err(failed)?;
        }
        if is_sifting {
            // An error at COMMIT comes too late to leave out its row.
            session.execute("SET CONSTRAINTS ALL IMMEDIATE").map_err(failed)?;
        }
        Ok(())
    }

    /// Settles, moves the mark, and commits.
    fn commit(&mut self, is_complete: bool) -> Result<()> {
        self.settle()?;
        let started = Instant::now();
        let (rows, committed, shown) = (self.given, self.committed(), self.target.shown.clone());
        let advice = self
            .mark
            .is_some()
            .then_some("start the load again with the same restart key: its mark says what was committed");
        let mut mark = self.mark.clone();
        let (session, replacement) = match &mut self.state {
            State::Begun(session) => (session, &self.target.replacement),
            _ => return Err(ended_before()),
        };
        // A rollback for rejected rows also released locks.
        let rejected = self.sieve.as_ref().map_or(0, |sieve| sieve.rejected);
        let proof = if rejected > self.rejected_before { Proof::Schemas } else { Proof::Locks };
        let mut names = &self.target.names;
        let (no_names, marks) = (Names::default(), mark.as_ref().map(|mark| mark.oid));
        if let Some(replacement) = replacement {
            // After the replacement, the names mean the new table.
            names.prove(session, proof, &shown, &[]).map_err(|error| with_outcome(error, committed))?;
            names = &no_names;
            self.progress.enter(LoadStage::Replacing);
            replacement.finish(session)?;
        }
        if let Some(mark) = &mut mark {
            mark.advance(session, &shown, rows, is_complete)
                .map_err(|error| error.advice(outcome(committed)))?;
        }
        names
            .prove(session, proof, &shown, marks.as_slice())
            .map_err(|error| with_outcome(error, committed))?;
        // Checked here because a cancel request may reach the server late.
        if self.cancel.is_requested() {
            return Err(self.cancel.cancelled_or(ended_before()));
        }
        self.progress.enter(LoadStage::Committing);
        commit(session).map_err(|error| {
            let error = server_error_after(error, &shown, None, committed);
            match (error.kind(), advice) {
                (ErrorKind::OutcomeUnknown, Some(advice)) => error.advice(advice),
                _ => error,
            }
        })?;
        self.mark = mark;
        self.progress.set_committed(self.committed());
        self.progress.enter(if is_complete { LoadStage::Committed } else { LoadStage::Sending });
        self.uncommitted = 0;
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Begun(session) => State::Idle(session),
            state => state,
        };
        self.commit += started.elapsed();
        Ok(())
    }

    /// Loads and commits the rest, and marks the load as complete.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.settle_all().map_err(|error| self.give_up(error))?;
        let rejected = self.sieve.as_ref().map_or(0, |sieve| sieve.rejected);
        if rejected > 0 && rejected == self.given && self.committed() == 0 {
            // A truncated, created or replaced table without any row is not what the user wants.
            self.end();
            let text = format!("{}: none of the {rejected} rows could be loaded", self.target.shown);
            return Err(Error::new(ErrorKind::Server, text).advice(outcome(0)));
        }
        self.commit_all().map_err(|error| self.give_up(error))
    }

    fn settle_all(&mut self) -> Result<()> {
        // If the mark says that all is loaded, the caller need not read the data again.
        let is_left_out = self.is_complete() && self.given == 0;
        if self.given < self.skipped && !is_left_out {
            let text = format!(
                "{}: {} rows were loaded under this restart key, and the data has {}: it is not the same",
                self.target.shown, self.skipped, self.given
            );
            return Err(Error::new(ErrorKind::Input, text).advice(self.advice()));
        }
        if matches!(self.state, State::Idle(_)) && !self.is_complete() {
            self.begin()?;
        }
        self.settle()
    }

    fn commit_all(&mut self) -> Result<()> {
        match self.is_complete() {
            true => self.end(),
            false => self.commit(true)?,
        }
        Ok(())
    }

    /// Rows of the data that stay whatever happens.
    pub(crate) fn committed(&self) -> u64 {
        self.mark.as_ref().map_or(0, |mark| mark.rows)
    }

    /// The session, once everything is committed.
    pub(crate) fn committed_session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Idle(session) => Some(session),
            State::Begun(_) | State::Copying(..) | State::Ended => None,
        }
    }

    fn session(&mut self) -> Result<&mut Session> {
        match &mut self.state {
            State::Idle(session) | State::Begun(session) => Ok(session),
            State::Copying(..) | State::Ended => Err(ended_before()),
        }
    }

    fn advice(&self) -> String {
        self.mark.as_ref().map(Mark::advice).unwrap_or_default()
    }

    /// Runs the load without rows, and rolls it back.
    pub(crate) fn rehearse(&mut self) -> Result<()> {
        let rehearsed = match self.is_complete() {
            true => Ok(()),
            false => {
                self.copy(&RecordBatch::new_empty(Arc::clone(&self.schema))).and_then(|()| self.settle())
            }
        };
        self.end();
        rehearsed
    }

    /// Rolls back what is not committed.
    fn give_up(&mut self, error: Error) -> Error {
        self.end();
        match (&self.sieve, self.committed()) {
            (Some(sieve), committed) if sieve.progress.has_given_up() => with_outcome(error, committed),
            (Some(sieve), committed) if sieve.rejected > 0 => not_final(error, committed),
            (_, 0) => error,
            (_, committed) => with_outcome(error, committed),
        }
    }

    fn end(&mut self) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle(session) => session.close(),
            State::Begun(session) => roll_back(session),
            // Dropping both aborts the COPY.
            State::Copying(..) | State::Ended => {}
        }
    }
}

impl Drop for Batchwise {
    fn drop(&mut self) {
        self.end();
    }
}
