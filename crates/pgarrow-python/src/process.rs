//! The process: what a fork of it may not touch, and how it ends.

use std::process;
use std::sync::{Mutex, PoisonError};

use pgarrow::Cancel;
use pyo3::prelude::*;

use crate::errors::state;
use crate::inside;

/// Stops whatever this process does. With the process that it is of.
static ALL: Mutex<Option<(u32, Cancel)>> = Mutex::new(None);

/// The cancel of everything in this process, of which every other is a child.
pub(crate) fn cancel_of_all() -> Cancel {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    match all.as_ref() {
        Some((pid, cancel)) if *pid == process::id() => cancel.clone(),
        _ => {
            let cancel = Cancel::new();
            // What a fork inherits of its parent is leaked: it may be locked by a thread that is not there.
            std::mem::forget(all.replace((process::id(), cancel.clone())));
            cancel
        }
    }
}

/// Ends everything that is still done: the interpreter is about to end. Python calls it by `atexit`.
#[pyfunction]
pub(crate) fn leave(py: Python<'_>) {
    cancel_of_all().cancel_for("the end of the interpreter");
    // Those inside return to Python meanwhile, with an exception.
    py.detach(inside::end);
}

/// Forgets the threads of the parent, which a fork does not have. Python calls it in each fork.
#[pyfunction]
pub(crate) fn forked(py: Python<'_>) -> PyResult<()> {
    inside::forget();
    // The thread that forked is the main one of the fork, whatever it was.
    crate::signals::this_is_the_main_thread();
    crate::signals::forget_watch(py)
}

/// Something that belongs to the process that made it. In a fork it can neither be used nor ended: its
/// sockets are the parent's as well.
#[derive(Debug)]
pub(crate) struct Own<T> {
    pid: u32,
    value: Option<T>,
}

impl<T> Own<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { pid: process::id(), value: Some(value) }
    }

    /// The value, in the process that made it.
    pub(crate) fn get(&self) -> PyResult<&T> {
        self.check()?;
        self.value.as_ref().ok_or_else(|| state("it was given away; please report it"))
    }

    /// The same, to change it. `None` in a fork.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.value.as_mut().filter(|_| self.pid == process::id())
    }

    /// Fails in a fork.
    pub(crate) fn check(&self) -> PyResult<()> {
        match process::id() {
            pid if pid == self.pid => Ok(()),
            pid => Err(state(&format!(
                "this was opened in process {}, and process {pid} is a fork of it, which cannot share its \
                 connections; connect in this process, or start processes by \"spawn\"",
                self.pid
            ))),
        }
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        if self.pid != process::id() {
            std::mem::forget(self.value.take());
        }
    }
}
