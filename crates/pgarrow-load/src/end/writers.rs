//! The end of a load with several writers: all have committed, and the leader finishes the target.

use std::time::{Duration, Instant};

use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::Message;

use crate::arrival::{check_count, insert_from_staging, left_out};
use crate::lane::LaneContext;
use crate::names::Proof;
use crate::progress::LoadStage;
use crate::report::{LoadPhases, LoadReport};
use crate::transaction::{commit, server_error, with_outcome};
use crate::writers::Writers;
use crate::writers::leader::{Goal, Leader};
use crate::writers::writer::Written;

use super::End;

impl End {
    /// Waits for the writers, compares the server's count, and commits the leader's transaction.
    pub(crate) fn commit_writers(self, shared: &LaneContext, writers: &Writers) -> Result<LoadReport> {
        let (mut keeper, written) = writers.finish().map_err(|error| self.explain(error))?;
        let sum = |time: fn(&Written) -> Duration| written.iter().map(time).sum::<Duration>();
        let started = Instant::now();
        // The server forgets a cancel request that arrives while the leader is idle.
        let settled = self.unless_cancelled().and_then(|()| self.settle(shared, &mut keeper, rows(&written)));
        let waited = sum(|written| written.copied.wait) + started.elapsed();
        let started = Instant::now();
        let committed = settled.and_then(|rows| {
            self.unless_cancelled()?;
            self.progress.enter(LoadStage::Committing);
            let failed = |error| self.not_committed(server_error(error, &shared.target));
            commit(&mut keeper.session).map_err(failed)?;
            self.progress.enter(LoadStage::Committed);
            Ok(rows)
        });
        let rows = match committed {
            Ok(rows) => rows,
            Err(error) => {
                let error = keeper.take_back(error);
                return Err(self.explain(error));
            }
        };
        let commit = sum(|written| written.commit) + started.elapsed();
        let after = self.after();
        let mut warnings = shared.plan.warnings.clone();
        warnings.extend(left_out(&shared.plan, self.rows_sent(), rows).map(Message::from));
        let phases = LoadPhases {
            send: sum(|written| written.copied.send).as_secs_f64(),
            blocked: sum(|written| written.copied.blocked).as_secs_f64(),
            wait_for_server: waited.as_secs_f64(),
            commit: commit.as_secs_f64(),
            ..self.phases
        };
        let tally = self.take_tally();
        let mut report = self.report(&shared.plan, shared.target.clone(), rows, &tally, phases, warnings);
        after.tend(&mut keeper.session, &shared.plan, &mut report);
        keeper.close();
        Ok(LoadReport { writers: written.iter().map(Written::report).collect(), ..report })
    }

    /// Runs the end of the load without rows, and rolls it back.
    pub(crate) fn rehearse_writers(&self, shared: &LaneContext, writers: &Writers) -> Result<()> {
        let (mut keeper, written) = writers.finish()?;
        let settled = match keeper.goal {
            // The end of a replace waits for all readers of the old table, such as the export that feeds
            // this load.
            Goal::Replace(_) => Ok(0),
            Goal::Create(_) | Goal::Insert => self.settle(shared, &mut keeper, rows(&written)),
        };
        match settled {
            Ok(_) => keeper.undo().map_err(|left| Error::new(ErrorKind::Connection, left)),
            Err(error) => Err(keeper.take_back(error)),
        }
    }

    /// Brings all rows into the target, in the leader's transaction. Returns how many.
    fn settle(&self, shared: &LaneContext, keeper: &mut Leader, copied: u64) -> Result<u64> {
        let sent = self.rows_sent();
        let (plan, target) = (&shared.plan, &shared.target);
        match keeper.goal {
            Goal::Insert => self.progress.enter(LoadStage::Merging),
            Goal::Replace(_) => self.progress.enter(LoadStage::Replacing),
            Goal::Create(_) => {}
        }
        let rows = match keeper.goal {
            Goal::Insert => {
                insert_from_staging(&mut keeper.session, plan, target, copied, sent, self.may_leave_out, 0)?
            }
            Goal::Create(_) | Goal::Replace(_) => {
                // Only this load knows the new table, so it has no trigger that could leave rows out.
                check_count(target, sent, copied, false, 0)?;
                copied
            }
        };
        keeper.settle()?;
        let proven = keeper.names.prove(&mut keeper.session, Proof::Locks, target, &[]);
        proven.map_err(|error| with_outcome(error, 0))?;
        Ok(rows)
    }
}

/// Rows that the server counted.
fn rows(written: &[Written]) -> u64 {
    written.iter().map(|written| written.copied.rows).sum()
}
