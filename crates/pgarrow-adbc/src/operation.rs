//! `Operation`: what runs at the moment, so that another thread can stop it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adbc_core::CancelHandle;
use pgarrow_session::Cancel;

use crate::error::{Result, invalid_state};

/// The cancels of what a statement or a connection does now. That may be several things: partitions have
/// sessions of their own. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operation(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    running: Vec<(u64, Cancel)>,
    next_id: u64,
}

/// Something that can be stopped, until this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    operation: Operation,
    id: u64,
}

impl Operation {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is complete or was not begun, even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, `cancel` stops it.
    pub(crate) fn begins(&self, cancel: &Cancel) -> Running {
        let mut known = self.known();
        let id = known.next_id;
        known.next_id += 1;
        known.running.push((id, cancel.clone()));
        Running { operation: self.clone(), id }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.operation.known().running.retain(|(id, _)| *id != self.id);
    }
}

impl CancelHandle for Operation {
    fn try_cancel(&self) -> Result<()> {
        let running = self.known().running.clone();
        if running.is_empty() {
            return Err(invalid_state("there is nothing to cancel: nothing runs"));
        }
        running.iter().for_each(|(_, cancel)| cancel.cancel_for("a call of the driver's cancel function"));
        Ok(())
    }
}
