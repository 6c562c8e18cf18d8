//! `Operation`: what runs at the moment, so that another thread can stop it.

use std::sync::{Arc, Mutex, PoisonError};

use adbc_core::CancelHandle;
use pgarrow_session::Cancel;

use crate::error::{Result, invalid_state};

/// The cancel of what a statement or a connection does now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operation(Arc<Mutex<Option<Cancel>>>);

impl Operation {
    /// From now on, `cancel` stops it.
    pub(crate) fn begins(&self, cancel: &Cancel) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel.clone());
    }

    /// It is over, and nothing is left to be stopped.
    pub(crate) fn ends(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl CancelHandle for Operation {
    fn try_cancel(&self) -> Result<()> {
        let cancel = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match cancel {
            Some(cancel) => {
                cancel.cancel_for("a call of the driver's cancel function");
                Ok(())
            }
            None => Err(invalid_state("there is nothing to cancel: nothing runs")),
        }
    }
}
