//! How a thread waits: ten times a second it looks for signals, and for whatever else its caller wants to
//! see.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pgarrow_cli::embedded::Result;
use pyo3::prelude::*;

use crate::errors;
use crate::inside::outside;
use crate::signals::check_if_main;
use crate::task::Task;

/// How often a wait looks.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long what was cancelled may take to end before the call returns all the same.
const GRACE: Duration = Duration::from_millis(800);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    /// When this thread has looked last. A consumer that gets batch after batch never waits for long, and has
    /// to look as often.
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// How long until this thread should look again; 0 if it should now.
fn until_look() -> Duration {
    LOOKED.get().map_or(Duration::ZERO, |looked| LOOK_INTERVAL.saturating_sub(looked.elapsed()))
}

/// Polls until it is ready. `look` is called ten times a second, over all waits of the thread; its error ends
/// the wait.
///
/// Without the interpreter; `look` may attach to it.
pub(crate) fn wait<T, E>(
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    mut look: impl FnMut() -> std::result::Result<(), E>,
) -> std::result::Result<T, E> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if until_look().is_zero() {
            LOOKED.set(Some(Instant::now()));
            look()?;
        }
        if let Poll::Ready(value) = poll(&mut context) {
            return Ok(value);
        }
        thread::park_timeout(until_look());
    }
}

/// Waits for a task. On the main thread, signals are looked for meanwhile: an exception of a handler cancels
/// the task and is raised. `on_look` is called ten times a second with the interpreter, and may raise, too.
pub(crate) fn wait_for<T: Send + 'static>(
    py: Python<'_>,
    task: Result<Task<T>>,
    on_look: &mut (dyn FnMut(Python<'_>) -> PyResult<()> + Send),
    has_look: bool,
) -> PyResult<T> {
    let task = task.map_err(|problem| errors::raise(py, problem))?;
    let cancel = task.cancel().clone();
    let waited = outside(py, move || {
        let mut task = pin!(task);
        let look = || {
            if has_look && Python::try_attach(&mut *on_look).transpose()?.is_none() {
                return Ok(());
            }
            check_if_main()
        };
        let waited = wait(|context| task.as_mut().poll(context), look);
        if waited.is_err() {
            cancel.cancel_for("an interrupt");
            let until = Instant::now() + GRACE;
            // It ends in order, if it can: hidden files are removed, sessions are closed.
            let ended = wait(
                |context| task.as_mut().poll(context),
                || {
                    if Instant::now() < until { Ok(()) } else { Err(()) }
                },
            );
            drop(ended);
        }
        waited
    });
    waited?.map_err(|problem| errors::raise(py, problem))
}

/// The same without anything else to look at.
pub(crate) fn wait_plainly<T: Send + 'static>(py: Python<'_>, task: Result<Task<T>>) -> PyResult<T> {
    wait_for(py, task, &mut |_| Ok(()), false)
}
