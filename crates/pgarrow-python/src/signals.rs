//! Signals: only the main thread may run their handlers, and only where it comes by.
//!
//! Foreign code may read a stream in a thread of its own, while the main thread waits for that one without
//! looking for signals. So Python's own handler also tells a [`Watch`], which such a thread sees.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyAnyMethods, PyDict};

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

/// Where Python's signal handler writes the number of each signal that has come (`signal.set_wakeup_fd`).
struct Watch {
    reader: UnixStream,
    writer: UnixStream,
    n_interrupts: AtomicU64,
    /// A fork shares the sockets, and what its parent is told is not for it.
    pid: u32,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

impl Watch {
    fn new() -> Option<Self> {
        let (reader, writer) = UnixStream::pair().ok()?;
        reader.set_nonblocking(true).and_then(|()| writer.set_nonblocking(true)).ok()?;
        Some(Self { reader, writer, n_interrupts: AtomicU64::new(0), pid: process::id() })
    }

    /// The watch of this process.
    fn get() -> Option<&'static Self> {
        WATCH.get().filter(|watch| watch.pid == process::id())
    }
}

/// Makes [`n_interrupts`] count from now on, where Ctrl-C raises `KeyboardInterrupt`, as it does by default,
/// and nobody else is told of signals, such as an event loop. Returns whether it counts.
///
/// This calls functions of Python, so a signal's handler may run right here: the error is what it raised.
pub(crate) fn watch_interrupts(py: Python<'_>) -> PyResult<bool> {
    if !is_main_thread() {
        return Ok(false);
    }
    let signal = py.import("signal")?;
    let handler = signal.call_method1("getsignal", (Signal::SIGINT as i32,))?;
    if !handler.is(&signal.getattr("default_int_handler")?) {
        return Ok(false);
    }
    if WATCH.get().is_none() {
        let Some(watch) = Watch::new() else { return Ok(false) };
        let _ = WATCH.set(watch);
    }
    let Some(watch) = Watch::get() else { return Ok(false) };
    let own = watch.writer.as_raw_fd();
    match tell(py, own)? {
        None => Ok(false),
        Some(before) if before == -1 || before == own => Ok(true),
        // Somebody else was told, and is again. A descriptor that was closed meanwhile tells nobody.
        Some(before) => Ok(tell(py, before)?.is_none()),
    }
}

/// Sets the file descriptor that is told of signals. Returns the one before; `None` where it cannot be set:
/// it was closed, or Python takes another thread for the main one.
fn tell(py: Python<'_>, descriptor: i32) -> PyResult<Option<i32>> {
    let how = PyDict::new(py);
    // What nobody reads is no news.
    how.set_item("warn_on_full_buffer", false)?;
    // In C: no signal's handler runs in it.
    match py.import("signal")?.getattr("set_wakeup_fd")?.call((descriptor,), Some(&how)) {
        Ok(before) => before.extract().map(Some),
        Err(error) if error.is_instance_of::<PyOSError>(py) || error.is_instance_of::<PyValueError>(py) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// How often Ctrl-C was pressed, as far as it is counted. Any thread, with or without the interpreter.
pub(crate) fn n_interrupts() -> u64 {
    let Some(watch) = Watch::get() else { return 0 };
    let mut signals = [0; 64];
    while let Ok(n_signals @ 1..) = (&watch.reader).read(&mut signals) {
        let come =
            signals.iter().take(n_signals).filter(|signal| i32::from(**signal) == Signal::SIGINT as i32);
        watch.n_interrupts.fetch_add(come.count() as u64, Ordering::SeqCst);
    }
    watch.n_interrupts.load(Ordering::SeqCst)
}

/// In a fork: its parent is not told of its signals.
pub(crate) fn forget_watch(py: Python<'_>) -> PyResult<()> {
    if let Some(watch) = WATCH.get() {
        match tell(py, -1)? {
            Some(before) if before != watch.writer.as_raw_fd() => drop(tell(py, before)?),
            _ => {}
        }
    }
    Ok(())
}
