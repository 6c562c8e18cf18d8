//! What turns a planned export into a finished one: the keeper, the job, and what the readers share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgarrow_decode::BatchLimits;
use pgarrow_session::{Cancel, Error, ErrorKind, Impatient, Memory, Pool, Pooled, Reservation, Result};
use pgarrow_sink::{Stop, Written};
use pgarrow_types::option::{COLUMNS, INCONSISTENT, READERS};
use pgarrow_types::{Hint, Message, message};

use crate::answer::{TextRows, texts};
use crate::budget::Budget;
use crate::channel::{Channel, SendBatch};
use crate::complete::Completions;
use crate::crew::{Crew, Done, Watched};
use crate::facts::Facts;
use crate::fewer;
use crate::keeper::{Keeper, lost_snapshot};
use crate::memory_policy::{Shares, Wish, share_of_free};
use crate::options::{ExportOptions, ReadMode};
use crate::order::{Line, LineOfPlans, Order, Turns};
use crate::outlet::Outlet;
use crate::phases::Phases;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::proof::Proof;
use crate::reader::{RunContext, mib};
use crate::reject::Rejects;
use crate::report::{Report, Summary};
use crate::sink_set::SinkSet;
use crate::statement::held::must_keep_transaction;

/// A snapshot that is held longer than this gets a warning: VACUUM cannot remove what it still sees.
const LONG_SNAPSHOT: Duration = Duration::from_secs(30 * 60);

/// A planned export: the keeper, and what is to be done.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) keeper: Keeper,
    pub(crate) job: Job,
}

impl Engine {
    /// Runs one statement under the snapshot, in the session that holds it.
    pub(crate) fn query_text(&mut self, sql: &str) -> Result<TextRows> {
        let Self { keeper, job } = self;
        if job.cancel.is_requested() {
            return Err(job.cancel.error());
        }
        must_keep_transaction(sql)?;
        texts(&mut keeper.reader.session, sql).map_err(|error| job.cancel.cancelled_or(error))
    }
}

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) plans: Vec<Arc<Plan>>,
    /// The proof that names still mean what they meant during planning.
    pub(crate) proof: Proof,
    pub(crate) options: ExportOptions,
    pub(crate) read_mode: ReadMode,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Arc<Progress>,
    /// Set before the reading begins, if at all.
    pub(crate) impatient: Impatient,
    /// The server is a standby, whose snapshots other sessions must not use.
    pub(crate) in_recovery: bool,
    /// Whether a pooler is in between.
    pub(crate) pooled: Pooled,
    /// Connecting and planning.
    pub(crate) phases: Phases,
    pub(crate) snapshot_taken: Instant,
    /// Where sessions come from and go to.
    pub(crate) pool: Pool,
    /// If rows with refused values are left out.
    pub(crate) rejects: Option<Rejects>,
    /// If a caller wants to know of each table when it is complete.
    pub(crate) completions: Option<Completions>,
    /// A table that cannot be read does not end the run.
    pub(crate) keeps_going: bool,
    /// Tables are read one after another.
    pub(crate) in_turn: bool,
}

/// What the readers of one run share.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) budget: Arc<Budget>,
    shares: Shares,
    limits: BatchLimits,
    turns: Vec<Turns>,
    line: LineOfPlans,
    is_ordered: bool,
    in_turn: bool,
    /// Stops the readers; the run's own cancel stops it too.
    cancel: Cancel,
    started: Instant,
    /// What the user should know.
    warnings: Vec<Message>,
}

impl Setup {
    /// How many read.
    pub(crate) fn n_readers(&self) -> usize {
        self.shares.n_readers
    }

    /// The memory that a part may hold. `None` for ordered output, which must not depend on the number of
    /// readers.
    pub(crate) fn part_share(&self) -> Option<usize> {
        (!self.is_ordered).then_some(self.shares.part_bytes)
    }

    /// The line of plans, if each waits for the one before.
    pub(crate) fn line(&self) -> Option<Line<'_>> {
        self.in_turn.then_some(Line { plans: &self.line, budget: &self.budget, cancel: &self.cancel })
    }

    /// The order of slices, if the output keeps it.
    pub(crate) fn order(&self) -> Option<Order<'_>> {
        self.is_ordered.then_some(Order { turns: &self.turns, budget: &self.budget, cancel: &self.cancel })
    }
}

/// Tells consumers of batches whether `cancel` stops the readers.
pub(crate) fn stop(cancel: &Cancel) -> Stop {
    let cancel = cancel.clone();
    Stop::new(move || cancel.is_requested())
}

/// Everything was read, and the transaction is over.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) done: Done,
    pub(crate) phases: Phases,
    facts: Facts,
    started: Instant,
    budget: Arc<Budget>,
}

impl Job {
    fn n_slices(&self) -> usize {
        self.plans.iter().map(|plan| plan.slices.len()).sum()
    }

    /// How many readers there will be, as far as that is known before the output is.
    pub(crate) fn n_readers(&self) -> usize {
        self.wish(0).readers_within(self.options.memory_bytes())
    }

    /// What the run wants, if each reader's part of the output should have `part_bytes`.
    fn wish(&self, part_bytes: usize) -> Wish {
        Wish {
            n_readers: self.options.readers_wanted().min(self.n_slices()).max(1),
            n_columns: self.plans.iter().map(|plan| plan.columns.len()).max().unwrap_or(0),
            part_bytes,
            batch_bytes: self.options.limits.bytes,
            is_ordered: self.options.ordered,
        }
    }

    /// Shares out memory among the readers; each reader's part of the output should have `part_bytes`.
    ///
    /// `cancel`, a child of the run's own, stops the readers.
    ///
    /// # Errors
    ///
    /// The columns do not fit the memory even of one reader.
    pub(crate) fn setup(&self, part_bytes: usize, cancel: Cancel) -> Result<Setup> {
        let wish = self.wish(part_bytes);
        let most = self.options.memory_bytes();
        if wish.least() > most {
            let text = format!(
                "{} columns need {} MiB of memory in this format, and the limit is {} MiB",
                wish.n_columns,
                mib(wish.least()),
                most >> 20
            );
            let error = Error::new(ErrorKind::Options, text);
            return Err(error.advice(message![
                "allow more (",
                Hint::memory(wish.least()),
                "), leave out columns (",
                COLUMNS,
                "), or write Arrow IPC, which needs less for each"
            ]));
        }
        let budget = Budget::new(self.reserve(wish.least().max(Memory::MIN_BYTES), most)?, most);
        let shares = wish.cut(budget.limit());
        let mut warnings = Vec::new();
        if shares.n_readers < wish.n_readers {
            warnings.push(fewer::within_memory(shares.n_readers, &wish, budget.limit()));
        }
        Ok(Setup {
            limits: BatchLimits {
                bytes: shares.batch_bytes,
                exact: self.options.ordered,
                ..self.options.limits
            },
            shares,
            turns: self.plans.iter().map(|_| Turns::default()).collect(),
            line: LineOfPlans::default(),
            is_ordered: self.options.ordered,
            in_turn: self.in_turn,
            cancel,
            started: Instant::now(),
            warnings,
            budget,
        })
    }

    /// The sinks of batches that leave their reader's thread.
    pub(crate) fn channel<'a>(&'a self, setup: &'a Setup, send: &'a SendBatch<'a>) -> SinkSet<'a> {
        let channel = Channel::new(send, &setup.budget);
        SinkSet::one(&self.plans, Box::new(channel), stop(&setup.cancel))
    }

    /// Reserves this run's share of the memory that runs share, or memory of its own.
    fn reserve(&self, least: usize, most: usize) -> Result<Reservation> {
        let ExportOptions { memory: chosen, shared_memory, .. } = &self.options;
        let (memory, is_chosen) = match shared_memory {
            Some(shared) => (shared.clone(), chosen.is_some()),
            None => (Memory::new(most), true),
        };
        memory.reserve(|free| share_of_free(free, least, most, is_chosen)).map_err(|free| {
            let text = format!(
                "other runs have {} of the {} MiB of memory that they share with this one, which needs {} MiB",
                mib(memory.limit() - free),
                memory.limit() >> 20,
                mib(least)
            );
            // Waiting here would hold the snapshot, perhaps for ever: one caller may read several runs in
            // turn.
            Error::new(ErrorKind::Options, text).advice(message![
                "begin when one of them has ended, or give each run less (",
                Hint::memory(least),
                ")"
            ])
        })
    }

    pub(crate) fn crew<'a>(&'a self, setup: &'a Setup) -> Crew<'a> {
        self.progress.begin(setup.started, setup.budget.memory_use());
        let shared = RunContext {
            plans: &self.plans,
            proof: &self.proof,
            options: &self.options,
            read_mode: self.read_mode,
            limits: setup.limits,
            progress: &self.progress,
            cancel: &setup.cancel,
            pooled: self.pooled,
            pool: &self.pool,
            completions: self.completions.as_ref(),
            rejects: self.rejects.as_ref(),
            keeps_going: self.keeps_going,
            in_turn: self.in_turn,
            is_impatient: self.is_impatient(),
            budget: &setup.budget,
            shares: setup.shares,
        };
        Crew::new(shared, setup.n_readers())
    }

    /// Reads everything, with as many readers as there are, and ends the transaction.
    pub(crate) fn read<O: Outlet>(
        &self,
        mut keeper: Keeper,
        setup: &Setup,
        make_outlet: &(impl Fn(usize) -> O + Sync),
    ) -> Result<Finished> {
        // The keeper's own transaction would end with the first table that fails.
        if setup.n_readers() == 1 && !self.keeps_going {
            return self.read_alone(keeper, setup, &mut make_outlet(0));
        }
        self.share_snapshot(&mut keeper)?;
        let crew = self.crew(setup);
        let (mut keeper, watched) = crew.run(keeper, setup.n_readers(), make_outlet, || {}, || {})?;
        if crew.has_rest() {
            crew.work_alone(&mut keeper, &mut make_outlet(setup.n_readers()));
        }
        self.finish(keeper, crew.done(watched)?, setup)
    }

    /// Whether to give up a lock that another session holds, since that session may wait for these rows. The
    /// user's own setting goes first.
    fn is_impatient(&self) -> bool {
        let ExportOptions { lock_timeout, settings, .. } = &self.options;
        let is_users = |name: &str| name.trim().eq_ignore_ascii_case("lock_timeout");
        self.impatient.is_set() && lock_timeout.is_none() && !settings.iter().any(|(name, _)| is_users(name))
    }

    /// Exports the snapshot for the readers. Their own sessions never wait long for a lock anyway.
    pub(crate) fn share_snapshot(&self, keeper: &mut Keeper) -> Result<()> {
        self.prepare(keeper)?;
        // On a standby, only runs whose readers may have snapshots of their own get here.
        if self.in_recovery && self.options.inconsistent {
            return Ok(());
        }
        let shared = match keeper.export_snapshot() {
            // Where it cannot be shared, readers have snapshots of their own, if the user allowed that.
            Err(error) if self.options.inconsistent && error.sqlstate().is_some() => keeper.begin_again(),
            exported => exported,
        };
        shared.map_err(|error| {
            self.pool.forget_facts();
            let error = match error.sqlstate() {
                Some(_) => {
                    error.context("the server hands out no snapshot for several readers").advice(message![
                        "use one (",
                        READERS.to("1"),
                        "), or let each have its own, of different moments (",
                        INCONSISTENT,
                        ")"
                    ])
                }
                None => error,
            };
            self.cancel.cancelled_or(error)
        })
    }

    /// Refuses to complete an output of which no row is left.
    fn check_rows_left(&self, done: &Done) -> Result<()> {
        let tables = self.progress.tables().iter().enumerate();
        let read = tables.filter(|(index, _)| !done.failed.contains_key(index));
        let rejected: u64 = read.map(|(_, table)| table.rows_rejected()).sum();
        match (done.rows.iter().sum::<u64>(), rejected) {
            (0, rejected @ 1..) => {
                let text = match rejected {
                    1 => "the only row was rejected".to_owned(),
                    _ => format!("all {rejected} rows were rejected"),
                };
                Err(Error::new(ErrorKind::Value, text))
            }
            _ => Ok(()),
        }
    }

    fn prepare(&self, keeper: &mut Keeper) -> Result<()> {
        match self.is_impatient() {
            true => keeper.wait_less().map_err(|error| self.cancel.cancelled_or(error)),
            false => Ok(()),
        }
    }

    /// Reads everything on the keeper's session, and ends the transaction.
    pub(crate) fn read_alone(
        &self,
        mut keeper: Keeper,
        setup: &Setup,
        outlet: &mut dyn Outlet,
    ) -> Result<Finished> {
        self.prepare(&mut keeper)?;
        let crew = self.crew(setup);
        crew.work_alone(&mut keeper, outlet);
        self.finish(keeper, crew.done(Watched::default())?, setup)
    }

    /// Ends the transaction: only its COMMIT shows that the snapshot was held all the time.
    pub(crate) fn finish(&self, mut keeper: Keeper, mut done: Done, setup: &Setup) -> Result<Finished> {
        let _committing = tracing::info_span!(target: "pgarrow", "commit").entered();
        let committing = Instant::now();
        self.proof.end(&mut keeper, &self.plans).map_err(|error| {
            self.cancel.cancelled_or(if error.is_transient() { lost_snapshot(error) } else { error })
        })?;
        let facts =
            keeper.finish(&self.pool).map_err(|error| self.cancel.cancelled_or(lost_snapshot(error)))?;
        self.check_rows_left(&done)?;
        done.warnings.extend(long_snapshot(self.snapshot_taken.elapsed()).map(Message::from));
        done.warnings.splice(0..0, setup.warnings.iter().cloned());
        if self.options.ordered && done.tallies.iter().any(|tally| tally.ended_early > 0) {
            done.warnings.push(message![
                "memory was short, so row groups ended early: with the rows in the same order, the file may differ from that of \
                 another run; allow more memory (",
                Hint::Memory { needed: None },
                ")"
            ]);
        }
        let mut phases = self.phases;
        for tally in &done.tallies {
            phases.add(&tally.phases);
        }
        phases.commit += committing.elapsed().as_secs_f64();
        tracing::info!(target: "pgarrow", seconds = committing.elapsed().as_secs_f64(), "transaction ended");
        Ok(Finished { done, phases, facts, started: setup.started, budget: Arc::clone(&setup.budget) })
    }
}

impl Finished {
    pub(crate) fn report(self, job: &Job, written: Vec<Written>) -> Result<Report> {
        let report = Report::new(Summary {
            facts: &self.facts,
            plans: &job.plans,
            progress: &job.progress,
            elapsed: self.started.elapsed(),
            done: &self.done,
            phases: self.phases,
            budget: &self.budget,
            read_mode: job.read_mode,
            written,
        });
        tracing::info!(
            target: "pgarrow",
            rows = report.rows,
            wire_bytes = report.wire_bytes,
            seconds = report.seconds,
            wait_for_server = report.phases.wait_for_server,
            receive = report.phases.receive,
            decode = report.phases.decode,
            encode = report.phases.encode,
            write = report.phases.write,
            commit = report.phases.commit,
            "export finished"
        );
        Ok(report)
    }
}

fn long_snapshot(held: Duration) -> Option<String> {
    (held >= LONG_SNAPSHOT).then(|| {
        let minutes = held.as_secs() / 60;
        format!(
            "the snapshot was held for {minutes} minutes; meanwhile VACUUM could not remove what it still saw"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_held_long_is_mentioned() {
        assert_eq!(long_snapshot(Duration::from_secs(60)), None);
        let warning = long_snapshot(Duration::from_secs(7_200)).unwrap();
        assert!(warning.starts_with("the snapshot was held for 120 minutes"), "{warning}");
    }
}
