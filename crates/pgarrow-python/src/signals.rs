//! Signals: only the main thread may run their handlers.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyAnyMethods;

/// The main thread as `threading` has it, which is `pthread_self` of it.
static MAIN_THREAD: AtomicUsize = AtomicUsize::new(0);

/// Asks `threading` which thread is the main one.
///
/// Source: `threading.get_ident`, which is `pthread_self()` where there are POSIX threads.
pub(crate) fn remember_main_thread(py: Python<'_>) -> PyResult<()> {
    let main = py.import("threading")?.call_method0("main_thread")?;
    let ident: Option<usize> = main.getattr("ident")?.extract()?;
    MAIN_THREAD.store(ident.unwrap_or(0), Ordering::SeqCst);
    Ok(())
}

/// The calling thread is the main one from now on: after a fork.
pub(crate) fn this_is_the_main_thread() {
    let this = nix::sys::pthread::pthread_self();
    MAIN_THREAD.store(usize::try_from(this).unwrap_or(usize::MAX), Ordering::SeqCst);
}

/// Whether the calling thread is the main one. Needs no interpreter.
pub(crate) fn is_main_thread() -> bool {
    let this = nix::sys::pthread::pthread_self();
    MAIN_THREAD.load(Ordering::SeqCst) == usize::try_from(this).unwrap_or(usize::MAX)
}

/// Runs handlers of signals that have come, if this is the main thread: an exception of one is returned.
///
/// Any caller, with or without the interpreter. Nothing happens if the interpreter is ending.
pub(crate) fn check_if_main() -> PyResult<()> {
    if !is_main_thread() {
        return Ok(());
    }
    Python::try_attach(|py| py.check_signals()).unwrap_or(Ok(()))
}
