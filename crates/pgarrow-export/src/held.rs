//! `HeldSnapshot`: a planned export whose snapshot is held while others read its slices.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pgarrow_session::{Cancel, Error, ErrorKind, Result};
use pgarrow_types::message;
use pgarrow_types::option::INCONSISTENT;

use crate::answer::TextRows;
use crate::engine::Engine;
use crate::plan::Plan;
use crate::slice::Slice;
use crate::under::SharedSnapshot;

/// How often a waiting [`HeldSnapshot`] checks its sessions.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How often it asks the caller whether to go on.
const TICK: Duration = Duration::from_millis(50);

/// Transaction, locks and snapshot of a planned export, while others read its slices:
/// [`Run::into_held`](crate::Run::into_held).
///
/// Dropping it ends the sessions, and with them the snapshot, without a last proof.
/// [`release`](Self::release) ends it in order and says whether all slices were of the planned relations.
/// Nothing happens in between unless the caller asks: [`check`](Self::check) says whether it still exists.
#[derive(Debug)]
pub struct HeldSnapshot {
    engine: Engine,
}

impl HeldSnapshot {
    pub(crate) fn of(engine: Engine) -> Self {
        Self { engine }
    }

    /// What was planned: a plan for each table, or one.
    pub fn plans(&self) -> &[Arc<Plan>] {
        &self.engine.job.plans
    }

    /// Runs one statement under the snapshot, with the settings that rows are read with, and returns its
    /// rows: every value as the text that PostgreSQL prints, `None` for NULL.
    ///
    /// For small answers; one above 256 MiB is an error. After a statement that fails, the transaction is of
    /// no use any more, and the snapshot is lost.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for more than one statement, and for one that would end the transaction, such
    /// as COMMIT: it does not reach the server, and the snapshot stays. What the server refuses,
    /// [`ErrorKind::Cancelled`] after a cancel, or what breaks the connection.
    pub fn query_text(&mut self, sql: &str) -> Result<TextRows> {
        self.engine.query_text(sql)
    }

    /// The slices as tokens, for [`Source::slice`](crate::Source::slice), in other processes too.
    ///
    /// # Errors
    ///
    /// The server exports no snapshot.
    pub fn slices(&mut self) -> Result<Vec<Slice>> {
        self.engine.slices()
    }

    /// Checks that the sessions still exist, and with them transaction, locks and snapshot. Waits for the
    /// server's answer.
    ///
    /// # Errors
    ///
    /// The connection was lost, and with it the snapshot; or the run was cancelled.
    pub fn check(&mut self) -> Result<()> {
        let Engine { keeper, job } = &mut self.engine;
        if job.cancel.is_requested() {
            return Err(job.cancel.error());
        }
        let answered = keeper.reader.session.query("SELECT 1", &[]).map(drop).map_err(Error::from);
        answered.and_then(|()| keeper.check_holder()).map_err(|error| self.lost(error))
    }

    /// Holds it while `go_on` returns true, which is called a few times a second, and checks it once a
    /// second.
    ///
    /// # Errors
    ///
    /// As for [`check`](Self::check).
    pub fn hold_while(&mut self, mut go_on: impl FnMut() -> bool) -> Result<()> {
        let mut checked = Instant::now();
        while go_on() {
            if self.engine.job.cancel.is_requested() {
                return Err(self.engine.job.cancel.error());
            }
            if checked.elapsed() >= CHECK_INTERVAL {
                checked = Instant::now();
                self.check()?;
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Ends the transaction, and with it the snapshot and the locks.
    ///
    /// # Errors
    ///
    /// The connection was lost before, or the names of the plan may have meant other relations meanwhile:
    /// what others have read since may be something else than what was planned.
    pub fn release(mut self) -> Result<()> {
        let Engine { keeper, job } = &mut self.engine;
        if let Err(error) = job.proof.end(keeper, &job.plans) {
            return Err(if error.is_transient() { self.lost(error) } else { job.cancel.cancelled_or(error) });
        }
        let Engine { keeper, job } = self.engine;
        keeper.finish(&job.pool).map(drop).map_err(|error| lost(&job.cancel, error))
    }

    fn lost(&self, error: Error) -> Error {
        lost(&self.engine.job.cancel, error)
    }
}

fn lost(cancel: &Cancel, error: Error) -> Error {
    cancel.cancelled_or(error.context("the held snapshot was lost"))
}

impl Engine {
    /// The snapshot, for others who read under it.
    pub(crate) fn shared_snapshot(&mut self) -> Result<SharedSnapshot> {
        if self.job.options.inconsistent {
            let text = message![
                "readers have snapshots of their own (",
                INCONSISTENT,
                "), so there is none to share"
            ];
            return Err(Error::new(ErrorKind::Options, text));
        }
        self.refuse_on_standby()?;
        self.job.share_snapshot(&mut self.keeper)?;
        SharedSnapshot::of(&self.keeper.reader.facts)
            .ok_or_else(|| Error::new(ErrorKind::Protocol, "the server has exported no snapshot"))
    }

    fn refuse_on_standby(&self) -> Result<()> {
        match self.job.in_recovery && !self.job.options.inconsistent {
            true => {
                let text = "the server is a standby, whose snapshots are not shared; plan on the primary, or read with one connection";
                Err(Error::new(ErrorKind::Options, text))
            }
            false => Ok(()),
        }
    }

    /// The slices as tokens.
    pub(crate) fn slices(&mut self) -> Result<Vec<Slice>> {
        self.refuse_on_standby()?;
        if self.job.plans.iter().any(|plan| plan.has_limit()) {
            let text = "what has a limit has no slices for others: it is one statement; leave out the limit";
            return Err(Error::new(ErrorKind::Options, text));
        }
        self.job.share_snapshot(&mut self.keeper)?;
        let (facts, planned) = (&self.keeper.reader.facts, self.job.proof.planned());
        let tokens = self.job.plans.iter().flat_map(|plan| plan.tokens(facts, self.job.read_mode, planned));
        Ok(tokens.collect())
    }
}
