//! Tables that are complete before the run is: for a caller that notes them, so that another run need not
//! read them again.
//!
//! ```text
//!  last part of a table ─▶ sink committed ─▶ waits here ─▶ the keeper has answered since ─▶ the caller's note
//! ```
//!
//! A table's rows are the snapshot's only if the keeper's locks were held while they were read. That the
//! keeper answers after the last of them shows it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgarrow_sink::Written;

use crate::file_report::FileReport;
use crate::plan::Plan;

/// Notes a complete table and its files.
type Note = dyn Fn(&Plan, &[FileReport]) + Send + Sync;

/// The tables of a run that are complete.
pub(crate) struct Completions {
    note: Box<Note>,
    /// Complete, but the keeper has not answered since: index of the plan, files.
    waiting: Mutex<Vec<(usize, Vec<FileReport>)>>,
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completions")
    }
}

impl Completions {
    pub(crate) fn new(note: impl Fn(&Plan, &[FileReport]) + Send + Sync + 'static) -> Self {
        Self { note: Box::new(note), waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(usize, Vec<FileReport>)>> {
        // Each change is complete or was not begun, even after a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All slices of the plan were read and proven, and its output was committed.
    pub(crate) fn add(&self, plan_index: usize, written: &Written) {
        let files = written.files.iter().cloned().map(FileReport::from).collect();
        self.waiting().push((plan_index, files));
    }

    /// The tables that are complete by now: those the keeper's next answer is for.
    pub(crate) fn so_far(&self) -> usize {
        self.waiting().len()
    }

    /// The keeper has answered after the first `n` became complete.
    pub(crate) fn confirm(&self, n: usize, plans: &[Arc<Plan>]) {
        let confirmed: Vec<_> = {
            let mut waiting = self.waiting();
            let n = n.min(waiting.len());
            waiting.drain(..n).collect()
        };
        for (plan_index, files) in confirmed {
            if let Some(plan) = plans.get(plan_index) {
                (self.note)(plan, &files);
            }
        }
    }
}
