//! `Held`: a planned read whose snapshot is held, while others read its slices.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;
use pgarrow::{Cancel, HeldSnapshot, Run, Slice};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3_arrow::PySchema;

use crate::errors::{raise, raise_error, state};
use crate::process::Own;
use crate::task::Task;
use crate::wait::wait_plainly;

/// A snapshot that is held.
#[pyclass(frozen, module = "pgarrow_engine._native")]
pub(crate) struct Held {
    own: Own<Arc<Shared>>,
    cancel: Cancel,
    snapshot: String,
    slices: Vec<String>,
    schema: SchemaRef,
    subject: String,
    estimated: (Option<u64>, u64),
}

struct Shared {
    held: Mutex<State>,
    released: Condvar,
}

enum State {
    Held(Box<HeldSnapshot>),
    /// A thread asks it.
    Asked,
    /// The same, and it is let go of afterwards.
    AskedLast,
    Released,
    /// Its time was over.
    Expired,
}

impl Held {
    pub(crate) fn new(
        py: Python<'_>,
        snapshot: String,
        slices: &[Slice],
        run: Run,
        cancel: Cancel,
        hold_for: Option<f64>,
    ) -> PyResult<Self> {
        let tokens = slices.iter().map(Slice::to_json).collect::<Result<_, _>>();
        let tokens = tokens.map_err(|error| raise_error(py, error))?;
        let bytes = slices.iter().map(|slice| slice.estimated_bytes).sum();
        let (schema, plan) = (Arc::clone(run.schema()), Arc::clone(run.plan()));
        let shared =
            Shared { held: Mutex::new(State::Held(Box::new(run.into_held()))), released: Condvar::new() };
        let shared = Arc::new(shared);
        if let Some(seconds) = hold_for {
            let time = Duration::try_from_secs_f64(seconds);
            let time =
                time.map_err(|_| state("hold_for: write a number of seconds, or a text as in \"2h\""))?;
            let of_thread = Arc::clone(&shared);
            let expire = move || of_thread.expire_after(time);
            let thread = thread::Builder::new().name("pgarrow-hold".to_owned()).spawn(expire);
            thread.map_err(|error| state(&format!("no thread could be started: {error}")))?;
        }
        let (subject, estimated) = (plan.subject().to_owned(), (plan.estimated_rows(), bytes));
        Ok(Self { own: Own::new(shared), cancel, snapshot, slices: tokens, schema, subject, estimated })
    }

    /// Asks the held snapshot, if it is held.
    fn ask<T: Send + 'static>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&mut HeldSnapshot) -> pgarrow::Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let shared = Arc::clone(self.own.get()?);
        let mut held = shared.take()?;
        let back = Arc::clone(&shared);
        // A statement that is interrupted takes the snapshot with it: its transaction is of no use any more.
        let work = move || {
            let asked = ask(&mut held);
            back.give_back(held);
            Ok(asked?)
        };
        wait_plainly(py, Task::start(&self.cancel, work))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> PyResult<Box<HeldSnapshot>> {
        let mut state_now = self.state();
        match std::mem::replace(&mut *state_now, State::Asked) {
            State::Held(held) => Ok(held),
            other => {
                let text = match other {
                    State::Expired => {
                        "the plan's time is over (hold_for), and its snapshot is gone; plan again"
                    }
                    State::Asked => "another thread asks the plan",
                    State::Held(_) | State::AskedLast | State::Released => {
                        "the plan was released, and its snapshot is gone; plan again"
                    }
                };
                *state_now = other;
                Err(state(text))
            }
        }
    }

    /// Behind an answer. What was released meanwhile is dropped, which ends its sessions.
    fn give_back(&self, held: Box<HeldSnapshot>) {
        let mut state = self.state();
        let is_last = matches!(*state, State::AskedLast);
        let kept = if is_last { State::Released } else { State::Held(held) };
        *state = kept;
        drop(state);
        self.released.notify_all();
    }

    /// Lets go after this time.
    fn expire_after(&self, time: Duration) {
        let Some(until) = Instant::now().checked_add(time) else { return };
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match &*state {
                State::Released | State::AskedLast | State::Expired => return,
                State::Held(_) if left.is_zero() => break,
                State::Held(_) | State::Asked => {}
            }
            let wait = left.max(Duration::from_millis(10));
            (state, _) = self.released.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
        }
        let expired = std::mem::replace(&mut *state, State::Expired);
        drop(state);
        if let State::Held(held) = expired {
            // What others have read since is proven by their own slices.
            drop(held.release());
        }
    }
}

#[pymethods]
impl Held {
    /// The slices, as the command's tokens.
    #[getter]
    fn slices(&self) -> Vec<String> {
        self.slices.clone()
    }

    #[getter]
    fn snapshot(&self) -> &str {
        &self.snapshot
    }

    #[getter]
    fn subject(&self) -> &str {
        &self.subject
    }

    /// Rows, if they are known, and bytes on the server's disk.
    #[getter]
    fn estimated(&self) -> (Option<u64>, u64) {
        self.estimated
    }

    #[getter]
    fn schema(&self) -> PySchema {
        PySchema::new(Arc::clone(&self.schema))
    }

    /// Asks the server whether the snapshot is still there.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, HeldSnapshot::check)
    }

    /// The rows of a statement under the snapshot, as text.
    fn query_text(&self, py: Python<'_>, sql: String) -> PyResult<Vec<Vec<Option<String>>>> {
        self.ask(py, move |held| held.query_text(&sql))
    }

    /// Lets go. Does nothing the second time.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let shared = self.own.get()?;
        let held = {
            let mut state = shared.state();
            match std::mem::replace(&mut *state, State::Released) {
                State::Held(held) => held,
                // Another thread asks, or a statement that was interrupted has not ended yet.
                State::Asked | State::AskedLast => {
                    *state = State::AskedLast;
                    drop(state);
                    self.cancel.cancel_for("the release of its plan");
                    return Ok(());
                }
                gone @ (State::Released | State::Expired) => {
                    *state = gone;
                    return Ok(());
                }
            }
        };
        shared.released.notify_all();
        let released = Task::start(&self.cancel.child(), move || Ok(held.release()?));
        wait_plainly(py, released.map_err(|problem| raise(py, problem)).map(Ok)?)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a plan cannot be pickled: it holds a snapshot in this process; pickle its tokens",
        ))
    }
}
