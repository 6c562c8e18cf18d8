//! The order of slices: which slice may hand out rows.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use pgarrow_session::{Cancel, Result};

use crate::budget::Budget;
use crate::plan::Task;

/// The slice whose turn it is, where slices go out in order.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    next: Mutex<usize>,
    changed: Condvar,
}

/// Nobody waits any more: what is written is not used.
const GIVEN_UP: usize = usize::MAX;

impl Turns {
    fn is_turn(&self, slice_index: usize) -> bool {
        may_go(*self.next.lock().unwrap_or_else(PoisonError::into_inner), slice_index)
    }

    fn advance(&self) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = next.saturating_add(1);
        self.changed.notify_all();
    }

    fn give_up(&self) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = GIVEN_UP;
        self.changed.notify_all();
    }

    fn wait(&self, slice_index: usize, budget: &Budget, cancel: &Cancel) -> Result<()> {
        if self.is_turn(slice_index) {
            return Ok(());
        }
        let _waiting = budget.waiting();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        while !may_go(*next, slice_index) {
            if cancel.is_requested() {
                return Err(cancel.error());
            }
            let waited = self.changed.wait_timeout(next, Duration::from_millis(100));
            next = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(next, _)| next);
        }
        Ok(())
    }
}

/// How far the plans of a run are, where the sink of one is made when that of the plan before is complete.
#[derive(Debug, Default)]
pub(crate) struct LineOfPlans {
    n_done: Mutex<usize>,
    changed: Condvar,
}

/// What outlets share whose plans come one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) plans: &'a LineOfPlans,
    pub(crate) budget: &'a Budget,
    pub(crate) cancel: &'a Cancel,
}

impl Line<'_> {
    /// Waits until all plans before are done.
    pub(crate) fn wait(&self, task: Task) -> Result<()> {
        let mut n_done = self.plans.n_done.lock().unwrap_or_else(PoisonError::into_inner);
        if *n_done >= task.plan_index {
            return Ok(());
        }
        drop(n_done);
        let _waiting = self.budget.waiting();
        n_done = self.plans.n_done.lock().unwrap_or_else(PoisonError::into_inner);
        while *n_done < task.plan_index {
            if self.cancel.is_requested() {
                return Err(self.cancel.error());
            }
            let waited = self.plans.changed.wait_timeout(n_done, Duration::from_millis(100));
            n_done = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(n_done, _)| n_done);
        }
        Ok(())
    }

    /// The plan's sink is complete, or given up.
    pub(crate) fn done(&self, task: Task) {
        let mut n_done = self.plans.n_done.lock().unwrap_or_else(PoisonError::into_inner);
        *n_done = (*n_done).max(task.plan_index.saturating_add(1));
        self.plans.changed.notify_all();
    }
}

fn may_go(next: usize, slice_index: usize) -> bool {
    next == slice_index || next == GIVEN_UP
}

/// What outlets that keep the order share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    /// One for each plan.
    pub(crate) turns: &'a [Turns],
    pub(crate) budget: &'a Budget,
    pub(crate) cancel: &'a Cancel,
}

impl Order<'_> {
    pub(crate) fn is_turn(&self, task: Task) -> bool {
        self.turns.get(task.plan_index).is_none_or(|turns| turns.is_turn(task.slice_index))
    }

    pub(crate) fn wait(&self, task: Task) -> Result<()> {
        self.turns
            .get(task.plan_index)
            .map_or(Ok(()), |turns| turns.wait(task.slice_index, self.budget, self.cancel))
    }

    pub(crate) fn advance(&self, task: Task) {
        if let Some(turns) = self.turns.get(task.plan_index) {
            turns.advance();
        }
    }

    /// The plan has failed: its slices wait for nobody.
    pub(crate) fn give_up(&self, task: Task) {
        if let Some(turns) = self.turns.get(task.plan_index) {
            turns.give_up();
        }
    }
}
