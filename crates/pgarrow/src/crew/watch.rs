//! The keeper while others read: it holds the snapshot, and looks once a second what the readers' backends wait for.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::{Crew, lock};
use crate::engine::lost_snapshot;
use crate::error::Result;
use crate::keeper::Keeper;

/// Backends that were seen at work, from which on it is said what they waited for.
const LOOKS_MIN: u64 = 10;

/// What the keeper saw while the readers read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watched {
    n_looks: u64,
    n_waiting_to_send: u64,
}

impl Watched {
    /// `None` if that was seen too seldom to say anything.
    pub(super) fn share_of_waiting(self) -> Option<f64> {
        (self.n_looks >= LOOKS_MIN).then(|| self.n_waiting_to_send as f64 / self.n_looks as f64)
    }
}

impl Crew<'_> {
    /// Holds the keeper while the readers read, and looks at them. None if its connection was lost.
    pub(super) fn watch(
        &self,
        mut keeper: Keeper,
        stopped: &mpsc::Receiver<()>,
    ) -> (Option<Keeper>, Watched) {
        let mut watched = Watched::default();
        let mut can_look = true;
        let mut interval = Duration::from_millis(100);
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(interval) {
            interval = Duration::from_secs(1);
            if let Err(error) = self.look(&mut keeper, &mut can_look, &mut watched) {
                self.fail(lost_snapshot(error));
                return (None, watched);
            }
        }
        (Some(keeper), watched)
    }

    /// Looks whether the keeper's connection is there, and at the readers as long as the server lets it.
    fn look(&self, keeper: &mut Keeper, can_look: &mut bool, watched: &mut Watched) -> Result<()> {
        if !*can_look {
            keeper.session.query("SELECT 1", &[])?;
            return Ok(());
        }
        // What is refused here must not end the transaction: the snapshot goes with it.
        keeper.session.execute("SAVEPOINT pgarrow_look")?;
        match self.look_at_backends(keeper, watched) {
            Ok(()) => keeper.session.execute("RELEASE SAVEPOINT pgarrow_look")?,
            Err(error)
                if error.sqlstate().is_some_and(|state| state.starts_with("42") || state == "0A000") =>
            {
                *can_look = false;
                keeper
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
        // Without this the view shows for ever what it showed first in this transaction.
        let sql = "SELECT pg_catalog.pg_stat_clear_snapshot()";
        keeper.session.query(sql, &[])?;
        let sql = "SELECT pg_catalog.count(*)::pg_catalog.text, \
                   pg_catalog.count(*) FILTER (WHERE wait_event OPERATOR(pg_catalog.=) 'ClientWrite')::pg_catalog.text \
                   FROM pg_catalog.pg_stat_activity WHERE state OPERATOR(pg_catalog.=) 'active' \
                   AND pid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int4[])";
        let rows = keeper.session.query(sql, &[Some(&pids)])?;
        let number = |index| rows.first().and_then(|row| row.text(index)).and_then(|text| text.parse().ok());
        watched.n_looks += number(0).unwrap_or(0);
        watched.n_waiting_to_send += number(1).unwrap_or(0);
        Ok(())
    }
}
