//! Threads of Python that are inside of a call, for which the end of the interpreter waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::signals::is_main_thread;

/// How long they may take to leave it when the interpreter ends.
const LEAVE_TIME: Duration = Duration::from_secs(2);
/// How often the end looks whether they have.
const TICK: Duration = Duration::from_millis(10);

/// How many there are.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// The interpreter ends: who is still inside must not enter it.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Waits until they have left, for a while. Afterwards nobody enters the interpreter any more, but the main
/// thread, which ends it.
pub(crate) fn end() {
    let started = Instant::now();
    while INSIDE.load(Ordering::SeqCst) > 0 && started.elapsed() < LEAVE_TIME {
        thread::sleep(TICK);
    }
    IS_ENDING.store(true, Ordering::SeqCst);
}

/// Forgets those of the parent, which a fork does not have.
pub(crate) fn forget() {
    INSIDE.store(0, Ordering::SeqCst);
}

/// As long as it is there, the end of the interpreter waits, as it does for [`outside`]: for code of Python
/// that is called from here. A thread that the interpreter ends in the midst of that takes the process with
/// it.
pub(crate) struct Inside;

impl Inside {
    pub(crate) fn enter(py: Python<'_>) -> Self {
        if IS_ENDING.load(Ordering::SeqCst) {
            py.detach(stay_if_ending);
        }
        INSIDE.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Runs `work` without the interpreter. If that ends meanwhile, the thread stays here for ever: there is
/// nothing left that it could return to.
pub(crate) fn outside<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    let result = py.detach(|| {
        let result = work();
        stay_if_ending();
        result
    });
    INSIDE.fetch_sub(1, Ordering::SeqCst);
    result
}

/// Keeps any thread but the main one, for ever, when the interpreter ends.
fn stay_if_ending() {
    while IS_ENDING.load(Ordering::SeqCst) && !is_main_thread() {
        thread::park();
    }
}
