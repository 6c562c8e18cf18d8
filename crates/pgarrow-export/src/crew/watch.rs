//! The keeper while others read: it holds the snapshot, and checks once a second what the readers' backends
//! wait for. It checks at once if the server refuses a reader, because the keeper may be lost.

use std::convert::Infallible;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{Crew, lock};
use pgarrow_session::{Cancel, Result};

use crate::complete::Completions;
use crate::keeper::{Keeper, lost_snapshot};

/// The fewest looks at working backends for a statement about their waits.
const LOOKS_MIN: u64 = 10;

/// How long a reader waits for a look at the keeper. Without an answer, it reports its own error.
const ANSWER: Duration = Duration::from_secs(5);

/// How often a waiting reader checks for a cancel.
const TICK: Duration = Duration::from_millis(20);

/// Asks for a look at the keeper. The watcher drops it after the look and never sends anything.
pub(super) type Ask = mpsc::Sender<Infallible>;

/// What the keeper saw while the readers read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watched {
    n_looks: u64,
    n_waiting_to_send: u64,
}

impl Watched {
    /// `None` if there were too few looks.
    pub(super) fn share_of_waiting(self) -> Option<f64> {
        (self.n_looks >= LOOKS_MIN).then(|| self.n_waiting_to_send as f64 / self.n_looks as f64)
    }
}

/// Asks for a look at the keeper and waits for it, until [`ANSWER`] has passed or a cancel. If the keeper is
/// lost, that becomes the run's failure.
pub(super) fn have_looked_at(to_keeper: &mpsc::Sender<Ask>, cancel: &Cancel) {
    let (ask, looked) = mpsc::channel();
    // Without a receiver, the keeper was lost before.
    let _ = to_keeper.send(ask);
    let deadline = Instant::now() + ANSWER;
    while looked.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout)
        && !cancel.is_requested()
        && Instant::now() < deadline
    {}
}

impl Crew<'_> {
    /// Holds the keeper while the readers read, and looks at it and them: regularly, and whenever a reader
    /// asks. No keeper is returned if its connection was lost.
    pub(super) fn watch(&self, mut keeper: Keeper, asked: &mpsc::Receiver<Ask>) -> (Option<Keeper>, Watched) {
        let mut watched = Watched::default();
        // A server without LOCK TABLE may have no savepoints, and hardly a view of other processes.
        let mut can_look = !keeper.is_lock_unknown;
        let mut interval = Duration::from_millis(100);
        loop {
            let ask = match asked.recv_timeout(interval) {
                Ok(ask) => Some(ask),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return (Some(keeper), watched),
            };
            interval = Duration::from_secs(1);
            let n_complete = self.n_complete();
            if let Err(error) = self.look(&mut keeper, &mut can_look, &mut watched) {
                self.fail(lost_snapshot(error));
                return (None, watched);
            }
            drop(ask);
            self.confirm_complete(n_complete);
        }
    }

    /// How many tables wait for the keeper's next answer.
    pub(super) fn n_complete(&self) -> usize {
        self.shared.completions.map_or(0, Completions::so_far)
    }

    /// The keeper has answered: these tables are complete.
    pub(super) fn confirm_complete(&self, n_complete: usize) {
        if let Some(completions) = self.shared.completions {
            completions.confirm(n_complete, self.shared.plans);
        }
    }

    /// Checks that the keeper's connections are alive, and looks at the readers as long as the server allows
    /// it.
    fn look(&self, keeper: &mut Keeper, can_look: &mut bool, watched: &mut Watched) -> Result<()> {
        keeper.check_holder()?;
        if !*can_look {
            keeper.reader.session.query("SELECT 1", &[])?;
            return Ok(());
        }
        // A refusal here must not end the transaction: the snapshot would be lost with it.
        keeper.reader.session.execute("SAVEPOINT pgarrow_look")?;
        match self.look_at_backends(keeper, watched) {
            Ok(()) => keeper.reader.session.execute("RELEASE SAVEPOINT pgarrow_look")?,
            Err(error)
                if error.sqlstate().is_some_and(|state| state.starts_with("42") || state == "0A000") =>
            {
                *can_look = false;
                keeper
                    .reader
                    .session
                    .execute("ROLLBACK TO SAVEPOINT pgarrow_look; RELEASE SAVEPOINT pgarrow_look")?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn look_at_backends(&self, keeper: &mut Keeper, watched: &mut Watched) -> Result<()> {
        let pids: Vec<String> = lock(&self.backend_pids).iter().map(i32::to_string).collect();
        let pids = format!("{{{}}}", pids.join(","));
        // Without this, the view shows the same as at its first use in this transaction.
        let sql = "SELECT pg_catalog.pg_stat_clear_snapshot()";
        keeper.reader.session.query(sql, &[])?;
        let sql = "SELECT pg_catalog.count(*)::pg_catalog.text, \
                   pg_catalog.count(*) FILTER (WHERE wait_event OPERATOR(pg_catalog.=) 'ClientWrite')::pg_catalog.text \
                   FROM pg_catalog.pg_stat_activity WHERE state OPERATOR(pg_catalog.=) 'active' \
                   AND pid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int4[])";
        let rows = keeper.reader.session.query(sql, &[Some(&pids)])?;
        let number = |index| rows.first().and_then(|row| row.text(index)).and_then(|text| text.parse().ok());
        watched.n_looks += number(0).unwrap_or(0);
        watched.n_waiting_to_send += number(1).unwrap_or(0);
        Ok(())
    }
}
