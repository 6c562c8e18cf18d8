//! The end of a load: compares the server's count, commits, and reports.

mod writers;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pgarrow_protocol::Session;
use pgarrow_session::{
    AttachedSession, Cancel, Error, ErrorKind, ProcessUsage, Result, ServerReport, per_second,
};
use pgarrow_types::Message;

use crate::arrival::{insert_from_staging, left_out};
use crate::batchwise::Batchwise;
use crate::copied::Copied;
use crate::create::add_key;
use crate::lane::{LaneContext, LaneTally};
use crate::names::Proof;
use crate::options::{LoadMethod, LoadMode};
use crate::owner::Owner;
use crate::pipe::ended_before;
use crate::plan::{LoadPlan, STAGING};
use crate::progress::{LoadProgress, LoadStage};
use crate::report::{LoadPhases, LoadReport};
use crate::transaction::with_outcome;
use crate::upkeep::UpkeepReport;
use crate::writers::Senders;

/// What is needed to end a load.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) owner: Owner,
    pub(crate) started: Instant,
    pub(crate) mode: LoadMode,
    pub(crate) may_leave_out: bool,
    pub(crate) server: ServerReport,
    pub(crate) phases: LoadPhases,
    pub(crate) tallies: Mutex<LaneTally>,
    pub(crate) attached: Option<AttachedSession>,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Arc<LoadProgress>,
}

impl End {
    /// For a load that this session begins, in its own transaction.
    pub(crate) fn of(session: &Session, mode: LoadMode, cancel: Cancel) -> Self {
        Self {
            owner: Owner::Load,
            started: Instant::now(),
            mode,
            may_leave_out: false,
            server: ServerReport::of(session),
            phases: LoadPhases::default(),
            tallies: Mutex::default(),
            attached: None,
            cancel,
            progress: Arc::default(),
        }
    }

    /// Called when everything is planned.
    pub(crate) fn begun(&mut self, started: Instant, connected: Instant, may_leave_out: bool) {
        // As in an export: the time to connect and plan does not count.
        self.started = Instant::now();
        self.may_leave_out = may_leave_out;
        self.phases.connect = connected.saturating_duration_since(started).as_secs_f64();
        self.phases.plan = connected.elapsed().as_secs_f64();
    }

    pub(crate) fn merge(&self, tally: &LaneTally) {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).merge(tally);
    }

    /// Rows of finished lanes.
    pub(crate) fn rows_sent(&self) -> u64 {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).rows
    }

    /// The tally of finished lanes.
    pub(crate) fn take_tally(&self) -> LaneTally {
        std::mem::take(&mut *self.tallies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows in the progress that a commit failed, unless its outcome is unknown.
    pub(crate) fn not_committed(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::OutcomeUnknown {
            self.progress.enter(LoadStage::Sending);
        }
        error
    }

    /// Completes an error: after a cancel, the error says so, and says what is in the table.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let error = self.cancel.cancelled_or(error);
        match error.kind() {
            ErrorKind::Cancelled => with_outcome(error, self.progress.rows_committed()),
            _ => error,
        }
    }

    /// After a cancel nothing is committed, even if the server has not received the cancel request yet.
    pub(crate) fn unless_cancelled(&self) -> Result<()> {
        match self.cancel.is_requested() {
            true => Err(self.explain(ended_before())),
            false => Ok(()),
        }
    }

    /// Ends the COPY, compares the server's count, and commits.
    pub(crate) fn commit(mut self, shared: &LaneContext) -> Result<LoadReport> {
        let pipe = match &shared.pipe {
            Senders::One(pipe) => pipe,
            Senders::Many(writers) => return self.commit_writers(shared, writers),
        };
        let (mut session, copied) = pipe.finish().map_err(|error| self.explain(error))?;
        let completed = self.complete(shared, &mut session, &copied);
        let (rows, phases, warnings) = match completed {
            Ok(completed) => completed,
            Err(error) => {
                self.owner.roll_back(session, None);
                return Err(self.explain(error));
            }
        };
        let (attached, after) = (self.attached.take(), self.after());
        let tally = self.take_tally();
        let phases =
            LoadPhases { send: copied.send.as_secs_f64(), blocked: copied.blocked.as_secs_f64(), ..phases };
        let mut report = self.report(&shared.plan, shared.target.clone(), rows, &tally, phases, warnings);
        after.tend(&mut session, &shared.plan, &mut report);
        after.owner.leave(session, attached);
        Ok(report)
    }

    /// The same for a load that ends its transactions itself.
    pub(crate) fn finish(
        mut self,
        mut load: Batchwise,
        plan: &LoadPlan,
        target: String,
    ) -> Result<LoadReport> {
        load.finish().map_err(|error| self.explain(error))?;
        let (_attached, after) = (self.attached.take(), self.after());
        let mut warnings = plan.warnings.clone();
        warnings.extend(left_out(plan, load.tally.rows, load.loaded).map(Message::from));
        let phases = LoadPhases {
            send: load.send.as_secs_f64(),
            blocked: load.blocked.as_secs_f64(),
            wait_for_server: load.wait.as_secs_f64(),
            commit: load.commit.as_secs_f64(),
            ..self.phases
        };
        let mut report = self.report(plan, target, load.loaded, &load.tally, phases, warnings);
        if let Some(session) = load.committed_session() {
            after.tend(session, plan, &mut report);
        }
        let rows_rejected = load.sieve.as_ref().map_or(0, |sieve| sieve.rejected);
        Ok(LoadReport { rows_before: load.skipped, rows_rejected, ..report })
    }

    /// What is needed once everything else is over.
    pub(crate) fn after(&self) -> After {
        let (cancel, progress) = (self.cancel.clone(), Arc::clone(&self.progress));
        After { owner: self.owner.clone(), cancel, progress }
    }

    pub(crate) fn report(
        mut self,
        plan: &LoadPlan,
        target: String,
        rows: u64,
        tally: &LaneTally,
        phases: LoadPhases,
        warnings: Vec<Message>,
    ) -> LoadReport {
        drop(self.attached.take());
        // The last buffer went after the last batch.
        self.progress.set_wire_bytes(tally.bytes);
        let usage = ProcessUsage::now();
        let seconds = self.started.elapsed().as_secs_f64();
        let phases = LoadPhases {
            encode: tally.encode.as_secs_f64(),
            wait_for_send: tally.wait.as_secs_f64(),
            ..phases
        };
        tracing::info!(
            target: "pgarrow",
            rows,
            wire_bytes = tally.bytes,
            seconds,
            encode = tally.encode.as_secs_f64(),
            wait_for_send = tally.wait.as_secs_f64(),
            wait_for_server = phases.wait_for_server,
            commit = phases.commit,
            "load finished"
        );
        LoadReport {
            report_version: 2,
            pgarrow_version: env!("CARGO_PKG_VERSION"),
            target,
            server: self.server,
            mode: self.mode,
            method: match plan.inserts {
                Some(_) => LoadMethod::Insert,
                None => LoadMethod::Copy,
            },
            rows,
            rows_before: 0,
            rows_rejected: 0,
            rows_sent: tally.rows,
            wire_bytes: tally.bytes,
            batches: tally.times.count(),
            seconds,
            rows_per_second: per_second(tally.rows, seconds),
            bytes_per_second: per_second(tally.bytes, seconds),
            cpu_seconds: usage.cpu_seconds,
            peak_memory_bytes: usage.peak_memory_bytes,
            phases,
            limit: phases.limit(),
            batch_times: tally.times.summary(),
            rows_per_batch: per_batch(tally.rows, tally.times.count()),
            bytes_per_batch: per_batch(tally.bytes, tally.times.count()),
            writers: Vec::new(),
            columns: plan.columns.clone(),
            upkeep: UpkeepReport::default(),
            warnings,
            to_do: None,
        }
    }

    fn complete(
        &self,
        shared: &LaneContext,
        session: &mut Session,
        copied: &Copied,
    ) -> Result<(u64, LoadPhases, Vec<Message>)> {
        let started = Instant::now();
        let mut warnings = shared.plan.warnings.clone();
        let sent = self.rows_sent();
        if shared.plan.staging.is_some() {
            self.progress.enter(LoadStage::Merging);
        }
        let rows = insert_from_staging(
            session,
            &shared.plan,
            &shared.target,
            copied.rows,
            sent,
            self.may_leave_out,
            shared.committed,
        )?;
        warnings.extend(left_out(&shared.plan, sent, rows).map(Message::from));
        let proven = shared.plan.tables.prove(session, Proof::Locks, &shared.target, &[]);
        proven.map_err(|error| with_outcome(error, shared.committed))?;
        if let Some(key) = &shared.plan.key {
            self.progress.enter(LoadStage::Merging);
            add_key(session, key, &shared.target)?;
        }
        if let Some(replacement) = &shared.plan.replacement {
            self.progress.enter(LoadStage::Replacing);
            replacement.finish(session)?;
        }
        let waited = copied.wait + started.elapsed();
        self.unless_cancelled()?;
        let started = Instant::now();
        let between = shared.plan.staging.is_some().then_some(STAGING);
        if self.owner.is_load() {
            self.progress.enter(LoadStage::Committing);
        }
        let committed = self.owner.commit(session, between, &shared.target);
        committed.map_err(|error| self.not_committed(error))?;
        if self.owner.is_load() {
            self.progress.enter(LoadStage::Committed);
        }
        let phases = LoadPhases {
            wait_for_server: waited.as_secs_f64(),
            commit: started.elapsed().as_secs_f64(),
            ..self.phases
        };
        Ok((rows, phases, warnings))
    }
}

/// What is needed after the commit.
#[derive(Debug)]
pub(crate) struct After {
    pub(crate) owner: Owner,
    cancel: Cancel,
    progress: Arc<LoadProgress>,
}

impl After {
    /// VACUUM and ANALYZE, or a note of what is left to whoever commits.
    pub(crate) fn tend(&self, session: &mut Session, plan: &LoadPlan, report: &mut LoadReport) {
        let Some(upkeep) = &plan.upkeep else { return };
        if self.owner.is_load() {
            report.add_upkeep(upkeep.run(session, report.rows, &self.cancel, &self.progress));
        } else if upkeep.is_of_set() {
            report.to_do = Some(upkeep.clone());
        } else {
            report.warnings.extend(upkeep.left_to_caller());
        }
    }
}

/// The mean per batch.
fn per_batch(sum: u64, batches: u64) -> f64 {
    sum as f64 / batches.max(1) as f64
}
