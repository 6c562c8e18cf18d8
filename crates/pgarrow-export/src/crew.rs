//! Several readers under one snapshot: the queue of slices, the readers that take them, and what happens when
//! one fails.
//!
//! ```text
//!  keeper ── holds snapshot and locks; looks once a second what the readers' backends wait for
//!    │ snapshot id
//!    ├──▶ reader 0 ─┐
//!    ├──▶ reader 1 ─┼── take neighbouring slices from a queue until it is empty
//!    └──▶ reader n ─┘      connection lost: connect again, same snapshot, same slice, from the next row on
//!                          refused:         look at the keeper first; if it is lost, that is the failure
//!                          anything else:   the first failure stops all others, and is the one reported
//! ```
//!
//! A panic in a reader or a callback stops all others as well; it resumes in the caller's thread.

mod opening;
mod queue;
mod watch;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use opening::{ReaderOpening, Retired};
use pgarrow_decode::Effects;
use pgarrow_session::{Backoff, Cancel, Error, ErrorKind, Result};
use pgarrow_types::option::LOCK_TIMEOUT;
use pgarrow_types::{Message, message};
use queue::Queue;
pub(crate) use watch::Watched;

use crate::keeper::{Keeper, lost_snapshot};
use crate::outlet::Outlet;
use crate::plan::Task;
use crate::reader::{Attempt, Reader, RunContext, Tally, add_effects};
use crate::reader_session::ReaderSession;
use crate::slice::SliceRange;

/// The readers of a run.
#[derive(Debug)]
pub(crate) struct Crew<'a> {
    shared: RunContext<'a>,
    queue: Queue,
    /// Stops readers that still connect when no slice is left.
    joining: Cancel,
    failure: Mutex<Option<Error>>,
    /// The plans that failed while the others go on, and why.
    failed: Mutex<BTreeMap<usize, Error>>,
    panic: Mutex<Option<Payload>>,
    warnings: Mutex<Vec<Message>>,
    /// Rows read, by plan.
    rows: Vec<AtomicU64>,
    tallies: Mutex<Vec<Tally>>,
    /// By plan, then by column.
    effects: Mutex<Vec<Vec<Effects>>>,
    /// The readers' backends, which the keeper watches.
    backend_pids: Mutex<Vec<i32>>,
    /// When a retry was last reported as a warning.
    retry_reported: Mutex<Option<Instant>>,
}

/// What a crew has done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Rows read, by plan.
    pub(crate) rows: Vec<u64>,
    /// By reader.
    pub(crate) tallies: Vec<Tally>,
    /// The plans that failed while the others went on, and why.
    pub(crate) failed: BTreeMap<usize, Error>,
    /// What policies did to values, by plan, then by column.
    pub(crate) effects: Vec<Vec<Effects>>,
    pub(crate) warnings: Vec<Message>,
    /// The share of the keeper's looks at a backend that found it waiting to send.
    pub(crate) server_waits_for_us: Option<f64>,
}

/// How the reading of a slice ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SliceEnd {
    /// Well.
    Read,
    /// Its table failed, and the others go on.
    LeftOut,
    /// The run failed.
    Failed,
}

/// What a thread panicked with.
struct Payload(Box<dyn Any + Send>);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload")
    }
}

impl<'a> Crew<'a> {
    /// All slices of all plans, for `n_readers` readers.
    pub(crate) fn new(shared: RunContext<'a>, n_readers: usize) -> Self {
        let tasks = shared.plans.iter().enumerate().flat_map(|(plan_index, plan)| {
            let task = move |slice_index| Task { plan_index, slice_index };
            plan.slices.iter().enumerate().map(move |(index, slice)| (task(index), slice.estimated_bytes))
        });
        Self {
            queue: Queue::new(tasks, n_readers, shared.options.ordered || shared.in_turn),
            joining: shared.cancel.child(),
            failure: Mutex::default(),
            failed: Mutex::default(),
            panic: Mutex::default(),
            warnings: Mutex::default(),
            rows: shared.plans.iter().map(|_| AtomicU64::new(0)).collect(),
            tallies: Mutex::default(),
            effects: Mutex::new(vec![Vec::new(); shared.plans.len()]),
            backend_pids: Mutex::default(),
            retry_reported: Mutex::default(),
            shared,
        }
    }

    /// Reads everything with `n_readers` sessions besides the keeper's. Returns the keeper and what it saw.
    ///
    /// `meanwhile` runs in this thread; `when_done` in another, once the last reader has ended. Slices that
    /// no reader could begin are left for [`work_alone`](Self::work_alone).
    pub(crate) fn run<O: Outlet>(
        &self,
        keeper: Keeper,
        n_readers: usize,
        make_outlet: &(impl Fn(usize) -> O + Sync),
        when_done: impl FnOnce() + Send,
        meanwhile: impl FnOnce(),
    ) -> Result<(Keeper, Watched)> {
        let (to_keeper, asked) = mpsc::channel();
        let opening = ReaderOpening {
            to_keeper,
            config: keeper.reader.facts.pooled.impatient(keeper.reader.session.config()),
            facts: keeper.reader.facts.clone(),
            begin: keeper.begin.clone(),
            locked: keeper.locked_by_readers.clone(),
        };
        // Once the readers have failed, the run does not wait for a keeper that does not answer.
        let attached = self.shared.cancel.attach_last(&keeper.reader.session);
        let watching = thread::scope(|scope| {
            let watch = move || self.watch(keeper, &asked);
            let watcher = thread::Builder::new().name("pgarrow-keeper".to_owned()).spawn_scoped(scope, watch);
            let mut readers = Vec::with_capacity(n_readers);
            for reader_index in 0..n_readers {
                let name = format!("pgarrow-reader-{reader_index}");
                let opening = opening.clone();
                let work = move || {
                    self.catch(|| self.work(&opening, reader_index, &mut make_outlet(reader_index)));
                };
                match thread::Builder::new().name(name).spawn_scoped(scope, work) {
                    Ok(reader) => readers.push(reader),
                    Err(error) => self.warn(format!("fewer readers than asked for: {error}")),
                }
            }
            let join = move || {
                for reader in readers {
                    // A panic was caught and kept.
                    let _ = reader.join();
                }
                when_done();
                // This was the last sender to the keeper, after the readers' own: `watch` now ends.
                drop(opening);
            };
            let joiner = thread::Builder::new().name("pgarrow-readers".to_owned()).spawn_scoped(scope, join);
            match (watcher, joiner) {
                (Ok(watcher), Ok(_)) => {
                    self.catch(meanwhile);
                    watcher.join().ok()
                }
                (Err(error), _) | (_, Err(error)) => {
                    self.fail(no_thread(&error));
                    // Readers must not wait for it to take a batch.
                    drop(meanwhile);
                    None
                }
            }
        });
        drop(attached);
        if let Some(Payload(payload)) = lock(&self.panic).take() {
            resume_unwind(payload);
        }
        if let Some(error) = lock(&self.failure).take() {
            return Err(error);
        }
        match watching {
            Some((Some(keeper), watched)) => Ok((keeper, watched)),
            _ => Err(Error::new(
                ErrorKind::Protocol,
                "the thread that holds the snapshot ended; please report it",
            )),
        }
    }

    /// Runs `work`; a panic stops all readers.
    fn catch(&self, work: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
            lock(&self.panic).get_or_insert(Payload(payload));
            self.shared.cancel.cancel_for("a panic of another thread");
        }
    }

    /// Whether slices are left that no reader could begin.
    pub(crate) fn has_rest(&self) -> bool {
        self.queue.has_rest()
    }

    /// Stops all readers. The first reason is the one reported.
    pub(crate) fn fail(&self, error: Error) {
        let mut failure = lock(&self.failure);
        if failure.is_none() {
            *failure = Some(self.shared.cancel.cancelled_or(self.shared.pooled.explain_end(error)));
        }
        drop(failure);
        self.shared.pool.forget_facts();
        self.shared.cancel.cancel_for("the failure of another reader");
    }

    /// What the crew did, or why it failed.
    pub(crate) fn done(self, watched: Watched) -> Result<Done> {
        if let Some(error) = lock(&self.failure).take() {
            return Err(error);
        }
        if self.shared.cancel.is_requested() {
            return Err(self.shared.cancel.error());
        }
        let failed = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let rows = self.rows.into_iter().map(AtomicU64::into_inner).enumerate();
        Ok(Done {
            // What was read of a plan that failed is not to be used.
            rows: rows.map(|(plan, rows)| if failed.contains_key(&plan) { 0 } else { rows }).collect(),
            failed,
            tallies: self.tallies.into_inner().unwrap_or_else(PoisonError::into_inner),
            effects: self.effects.into_inner().unwrap_or_else(PoisonError::into_inner),
            warnings: self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner),
            server_waits_for_us: watched.share_of_waiting(),
        })
    }

    fn next(&self, reader_index: usize) -> Option<Task> {
        if self.shared.cancel.is_requested() {
            return None;
        }
        let is_left = |task: &Task| !lock(&self.failed).contains_key(&task.plan_index);
        std::iter::from_fn(|| self.queue.next(reader_index)).find(is_left)
    }

    /// Notes that a plan failed, if the others can go on without it. Otherwise, gives the error back.
    fn leave_out(&self, task: Task, error: Error, outlet: &mut dyn Outlet) -> Option<Error> {
        let is_of_table = match error.kind() {
            // Options are about this table if its sink asks for others.
            ErrorKind::Value | ErrorKind::Options => true,
            // Without a code, it is about the run: what was opened besides what was planned.
            ErrorKind::Server => error.sqlstate().is_some_and(|state| !state.starts_with("53")),
            _ => false,
        };
        let mut failed = lock(&self.failed);
        // Another slice of a plan that has failed fails for its sake.
        let is_of_failed = failed.contains_key(&task.plan_index) && !error.is_transient();
        let can_go_on = self.shared.keeps_going
            && !self.shared.cancel.is_requested()
            && ((is_of_table && !error.is_transient()) || is_of_failed);
        if !can_go_on {
            return Some(error);
        }
        failed.entry(task.plan_index).or_insert(error);
        drop(failed);
        outlet.abandon();
        None
    }

    fn warn(&self, warning: impl Into<Message>) {
        let warning = warning.into();
        let mut warnings = lock(&self.warnings);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Reads one slice into the outlet. A failure stops all readers, unless only its table fails.
    fn slice(
        &self,
        task: Task,
        outlet: &mut dyn Outlet,
        read: impl FnOnce(&mut dyn Outlet) -> Result<u64>,
    ) -> SliceEnd {
        let (span, started) = (slice_span(task), Instant::now());
        // The table before may fail only now, which is not for the sake of this one.
        if let Err((before, error)) = outlet.complete_before(Some(task))
            && let Some(error) = self.leave_out(before, error, outlet)
        {
            self.fail(error);
            return SliceEnd::Failed;
        }
        self.shared.progress.slice_began(task.plan_index);
        let rows = span.in_scope(|| {
            outlet.begin(task)?;
            let rows = read(outlet)?;
            outlet.end()?;
            tracing::info!(target: "pgarrow", rows, seconds = started.elapsed().as_secs_f64(), "slice read");
            Ok(rows)
        });
        match rows.map_err(|error| self.with_lock_explained(error, outlet)) {
            Ok(rows) => {
                span.record("rows", rows);
                if let Some(sum) = self.rows.get(task.plan_index) {
                    sum.fetch_add(rows, Ordering::Relaxed);
                }
                self.shared.progress.slice_ended(task.plan_index);
                SliceEnd::Read
            }
            Err(error) => match self.leave_out(task, error, outlet) {
                None => SliceEnd::LeftOut,
                Some(error) => {
                    self.fail(error);
                    SliceEnd::Failed
                }
            },
        }
    }

    /// Explains a lock that the reader gave up because the consumer of the rows may hold it.
    fn with_lock_explained(&self, error: Error, outlet: &dyn Outlet) -> Error {
        match self.is_own_lock(&error, outlet) {
            true => error.advice(message![
                "what the query reads inside a function may be the very table that its rows go into, which is locked until \
                 they are there: export to a file, and load that; ",
                LOCK_TIMEOUT,
                " says how long to wait for others"
            ]),
            false => error,
        }
    }

    fn is_own_lock(&self, error: &Error, outlet: &dyn Outlet) -> bool {
        self.shared.is_impatient && error.sqlstate() == Some("55P03") && !outlet.has_failed()
    }

    /// Reads the rest on the keeper's own session, which has the locks, in this thread.
    pub(crate) fn work_alone(&self, keeper: &mut Keeper, outlet: &mut dyn Outlet) {
        let reader_index = 0;
        let span = reader_span(reader_index);
        let _entered = span.enter();
        let mut reader = Reader::new(self.shared);
        let ends_run = self.ends_with_slice(keeper);
        while let Some(task) = self.next(reader_index) {
            let read = |outlet: &mut dyn Outlet| {
                reader.read(&mut keeper.reader, &mut Attempt::ending(task, ends_run), outlet)
            };
            // Whoever goes on without a table has readers besides the keeper.
            if self.slice(task, outlet, read) != SliceEnd::Read {
                break;
            }
            // It has answered after the slice, which follows those of the tables that are complete.
            let n_complete = self.n_complete();
            if n_complete > 0 {
                match keeper.check_holder() {
                    Ok(()) => self.confirm_complete(n_complete),
                    Err(error) => self.fail(lost_snapshot(error)),
                }
            }
        }
        self.finish(reader, outlet);
    }

    /// Whether the keeper reads one slice, behind which there is only the proof, with one question. A
    /// snapshot that others may read under stays until the run is over.
    fn ends_with_slice(&self, keeper: &Keeper) -> bool {
        match self.shared.plans {
            [plan] if plan.n_slices() == 1 && !self.shared.keeps_going => {
                let is_shared = keeper.reader.facts.exported.is_some();
                !is_shared && keeper.ends_alone() && self.shared.proof.ends_with_beside(plan)
            }
            _ => false,
        }
    }

    fn finish(&self, mut reader: Reader<'_>, outlet: &mut dyn Outlet) {
        if !self.shared.cancel.is_requested() {
            let (started, before) = (Instant::now(), outlet.times());
            if let Err((task, error)) = outlet.complete_before(None)
                && let Some(error) = self.leave_out(task, error, outlet)
            {
                self.fail(error);
            }
            reader.tally.phases.add_sink(started.elapsed(), before, outlet.times());
        }
        reader.tell_last();
        let Tally { phases, rows, slices, .. } = reader.tally;
        tracing::info!(
            target: "pgarrow",
            rows,
            slices,
            connect = phases.connect,
            wait_for_server = phases.wait_for_server,
            receive = phases.receive,
            decode = phases.decode,
            encode = phases.encode,
            write = phases.write,
            wait_for_sink = phases.wait_for_sink,
            wait_for_memory = phases.wait_for_memory,
            "reader finished"
        );
        reader.warnings.drain(..).for_each(|warning| self.warn(warning));
        lock(&self.tallies).push(reader.tally);
        let mut sums = lock(&self.effects);
        for (plan_index, effects) in reader.effects {
            if let Some(sum) = sums.get_mut(plan_index) {
                add_effects(sum, effects);
            }
        }
    }

    /// The work of one reader, from connecting to its last slice.
    fn work(&self, opening: &ReaderOpening, reader_index: usize, outlet: &mut dyn Outlet) {
        let span = reader_span(reader_index);
        let _entered = span.enter();
        let mut tally = Tally::default();
        let mut session = self.join(opening, &mut tally);
        // Only now: a reader that still connects must not hold memory that others wait for.
        let mut reader = Reader::new(self.shared);
        reader.tally = tally;
        // Without a first session, the reader is not needed.
        let mut goes_on = session.is_some();
        while goes_on {
            let Some(task) = self.next(reader_index) else {
                self.joining.cancel_for("the end of the last slice");
                break;
            };
            let read = |outlet: &mut dyn Outlet| {
                self.read_again_and_again(&mut session, opening, task, &mut reader, outlet)
            };
            match self.slice(task, outlet, read) {
                SliceEnd::Read => {}
                SliceEnd::Failed => goes_on = false,
                // Its transaction has failed, or its COPY has not ended.
                SliceEnd::LeftOut => {
                    if let Some(failed) = session.take() {
                        self.shared.proof.lose(&failed.opened, false);
                        failed.session.close();
                    }
                }
            }
        }
        if let Some(session) = &mut session {
            self.prove(session);
        }
        self.finish(reader, outlet);
        if let Some(session) = session
            && !self.shared.cancel.is_requested()
        {
            // All rows are here and confirmed: how the reader's own transaction ends changes nothing.
            let _ = session.finish(self.shared.pool);
        }
    }

    /// Proves that a reader read what was planned, and ends its transaction in the same round trip. A session
    /// that was lost cannot prove it.
    fn prove(&self, ReaderSession { session, opened, .. }: &mut ReaderSession) {
        // A reader that connected after the last slice was taken has read nothing, and may have been
        // cancelled.
        if !opened.is_unproven || self.shared.cancel.is_requested() {
            return;
        }
        match self.shared.proof.session_and_commit(session, opened) {
            Ok(()) => {}
            Err(error) if error.is_transient() => self.shared.proof.lose(opened, false),
            Err(error) => self.fail(error),
        }
    }

    /// Reads a slice, and reads it again after a lost connection, as long as the snapshot exists.
    fn read_again_and_again(
        &self,
        session: &mut Option<ReaderSession>,
        opening: &ReaderOpening,
        task: Task,
        reader: &mut Reader<'_>,
        outlet: &mut dyn Outlet,
    ) -> Result<u64> {
        let mut attempt = Attempt::new(task);
        let (mut n_retries, mut backoff) = (0, Backoff::default());
        loop {
            let read = match session.as_mut() {
                Some(opened) => reader.read(opened, &mut attempt, outlet),
                None => match self.open(opening, self.shared.cancel, &mut reader.tally) {
                    Ok(Ok(opened)) => {
                        *session = Some(opened);
                        continue;
                    }
                    Ok(Err(Retired(why))) => Err(Error::new(ErrorKind::Connection, why)),
                    Err(error) => Err(error),
                },
            };
            let error = match read {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            // An error of the outlet is not one of the reader's connection, whatever it looks like.
            let is_transient =
                error.is_transient() && !outlet.has_failed() && !self.is_own_lock(&error, outlet);
            let can_repeat = attempt.delivered_rows == 0 || self.has_fixed_order(task);
            if !is_transient || !can_repeat || n_retries >= self.shared.options.retries {
                return Err(error);
            }
            if let Some(lost) = session.take() {
                self.shared.proof.lose(&lost.opened, attempt.delivered_rows > 0);
            }
            reader.tally.redone += 1;
            reader.tally.retries += 1;
            self.report_retry(n_retries + 1, &error);
            self.warn("a reader lost its connection; its slice was read again under the same snapshot");
            if !self.shared.cancel.pause(backoff.next()) {
                return Err(self.shared.cancel.error());
            }
            n_retries += 1;
        }
    }

    /// Whether reading the slice again under the same snapshot gives the same rows in the same order.
    ///
    /// A scan of a range of pages does: rows of the snapshot stay where they are, since nobody can rewrite
    /// the table and VACUUM keeps what the snapshot sees. A filter may call any function, and the server may
    /// return other ranges in any order.
    fn has_fixed_order(&self, task: Task) -> bool {
        let plan = self.shared.plans.get(task.plan_index);
        plan.is_some_and(|plan| {
            let slice = plan.slices.get(task.slice_index);
            plan.filter.is_none()
                // The snapshot may then be another one.
                && !self.shared.options.inconsistent
                && slice.is_some_and(|slice| {
                    slice.relations.len() == 1 && matches!(slice.range, SliceRange::Pages { .. })
                })
        })
    }

    /// Warns at most once a second, however many readers try again; the other retries are logged at debug
    /// level.
    fn report_retry(&self, attempt: u32, error: &Error) {
        let mut reported = lock(&self.retry_reported);
        if reported.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            *reported = Some(Instant::now());
            tracing::warn!(target: "pgarrow", attempt, "a reader has no connection, and tries again: {error}");
        } else {
            tracing::debug!(target: "pgarrow", attempt, "a reader has no connection, and tries again: {error}");
        }
    }
}

/// From connecting to the last slice.
fn reader_span(reader_index: usize) -> tracing::Span {
    tracing::info_span!(target: "pgarrow", "reader", reader_index)
}

/// From the statement to its confirmed end.
fn slice_span(task: Task) -> tracing::Span {
    let Task { plan_index, slice_index } = task;
    tracing::debug_span!(target: "pgarrow", "slice", plan_index, slice_index, rows = tracing::field::Empty)
}

fn no_thread(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Connection, format!("no thread could be started: {error}"))
}

/// Each change under the lock is complete or was not begun, even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
