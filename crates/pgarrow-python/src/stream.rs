//! `Stream`: the batches of one table, query or slice.
//!
//! ```text
//!  Free ─┬─ next, poll_next ─▶ Taken ─▶ Free … ─▶ Ended
//!        ├─ __arrow_c_stream__ ─▶ Given     an `Exported` has it now
//!        └─ close ─▶ Closed
//! ```

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use futures_core::Stream as _;
use pgarrow::{BatchStream, Cancel, Progress};
use pgarrow_cli::embedded;
use pyo3::exceptions::{PyKeyboardInterrupt, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};
use pyo3_arrow::{PyRecordBatch, PyRecordBatchReader, PySchema};

use crate::errors::{raise_error, state, text_of};
use crate::inside::{Inside, outside};
use crate::process::Own;
use crate::signals::{check_if_main, is_main_thread, n_interrupts, watch_interrupts};
use crate::wait::{LOOK_INTERVAL, wait};
use crate::wake::{Sleepers, Wake};

/// The batches of a read. Threads may share it; each batch goes to one of them.
#[pyclass(frozen, module = "pgarrow_engine._native")]
pub(crate) struct Stream {
    own: Own<Arc<Shared>>,
    schema: SchemaRef,
}

struct Shared {
    seat: Mutex<Seat>,
    /// Somebody has left the seat.
    left: Condvar,
    /// The same for event loops.
    sleepers: Mutex<Sleepers>,
    cancel: Cancel,
    progress: Arc<Progress>,
    estimated_rows: Option<u64>,
    warnings: Vec<String>,
    /// The report as JSON, once the last batch was seen.
    report: OnceLock<String>,
    /// What a signal's handler raised while foreign code waited for a batch.
    interrupt: Mutex<Option<PyErr>>,
    /// Called now and then, by threads that are in the interpreter anyway.
    on_progress: Option<Py<PyAny>>,
    counts_interrupts: bool,
}

enum Seat {
    Free(Box<BatchStream>),
    Taken { by: ThreadId, is_closing: bool },
    Given,
    Ended,
    Failed,
    Closed,
}

/// Why there is no batch.
enum Refused {
    State(&'static str),
    Raised(PyErr),
    Failed(pgarrow::Error),
}

const GIVEN: &str = "the stream was given to another reader by __arrow_c_stream__, and can be read once; \
                     read again for another";
const CLOSED: &str = "the stream is closed; read again for another";
const FAILED: &str = "the stream has failed before; read again for another";
/// What a reader of the C stream interface is told after Ctrl-C.
const INTERRUPTED: &str = "interrupted by a signal";
const BUSY: &str = "another thread is reading the stream";
const INNER: &str = "this thread is reading the stream already: what it calls meanwhile, to show progress or \
                     for a signal, cannot read it";

impl Stream {
    /// Fails with what the handler of a signal raises meanwhile.
    pub(crate) fn new(py: Python<'_>, stream: BatchStream, on_progress: Option<Py<PyAny>>) -> PyResult<Self> {
        let schema = stream.schema();
        let shared = Shared {
            left: Condvar::new(),
            sleepers: Mutex::default(),
            cancel: stream.cancel().clone(),
            progress: Arc::clone(stream.progress()),
            estimated_rows: stream.plan().estimated_rows(),
            warnings: stream.plan().warnings().iter().map(embedded::message_text).collect(),
            report: OnceLock::new(),
            interrupt: Mutex::default(),
            on_progress,
            // Who gives it away may be another thread.
            counts_interrupts: watch_interrupts(py)?,
            seat: Mutex::new(Seat::Free(Box::new(stream))),
        };
        Ok(Self { own: Own::new(Arc::new(shared)), schema })
    }
}

impl Shared {
    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the stream, to read from it. `None` behind its end. Waits for another thread that reads, if
    /// `waits`.
    fn take(&self, waits: bool) -> Result<Option<Box<BatchStream>>, Refused> {
        let mut seat = self.seat();
        let this = thread::current().id();
        loop {
            match std::mem::replace(&mut *seat, Seat::Taken { by: this, is_closing: false }) {
                Seat::Free(stream) => return Ok(Some(stream)),
                Seat::Taken { by, is_closing } => {
                    *seat = Seat::Taken { by, is_closing };
                    if by == this {
                        return Err(Refused::State(INNER));
                    }
                    if !waits {
                        return Err(Refused::State(BUSY));
                    }
                    let (back, _) =
                        self.left.wait_timeout(seat, LOOK_INTERVAL).unwrap_or_else(PoisonError::into_inner);
                    drop(back);
                    check_if_main().map_err(Refused::Raised)?;
                    seat = self.seat();
                }
                Seat::Ended => {
                    *seat = Seat::Ended;
                    return Ok(None);
                }
                Seat::Given => {
                    *seat = Seat::Given;
                    return Err(Refused::State(GIVEN));
                }
                Seat::Failed => {
                    *seat = Seat::Failed;
                    return Err(Refused::State(FAILED));
                }
                Seat::Closed => {
                    *seat = Seat::Closed;
                    return Err(Refused::State(CLOSED));
                }
            }
        }
    }

    /// Puts back what was taken, as it is now. Others go on.
    fn leave(&self, now: Seat) {
        self.put_back(now);
        self.wake();
    }

    /// The same, but event loops sleep on, unless it was closed: nothing has come.
    fn put_back(&self, now: Seat) {
        let mut seat = self.seat();
        let is_closing = matches!(*seat, Seat::Taken { is_closing: true, .. });
        *seat = if is_closing { Seat::Closed } else { now };
        drop(seat);
        self.left.notify_all();
        if is_closing {
            self.wake();
        }
    }

    fn sleepers(&self) -> MutexGuard<'_, Sleepers> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.sleepers().wake();
    }

    /// Stops the reading, if it has not ended. Whoever has the stream ends it.
    fn close(&self, why: &str) {
        let mut seat = self.seat();
        let was = match &mut *seat {
            Seat::Taken { is_closing, .. } => {
                *is_closing = true;
                self.cancel.cancel_for(why);
                None
            }
            Seat::Free(_) => {
                self.cancel.cancel_for(why);
                Some(std::mem::replace(&mut *seat, Seat::Closed))
            }
            Seat::Given | Seat::Ended | Seat::Failed | Seat::Closed => None,
        };
        drop(seat);
        drop(was);
        self.wake();
    }

    /// What came of a poll: the batch, or the end.
    fn received(
        &self,
        stream: Box<BatchStream>,
        item: Option<pgarrow::Result<RecordBatch>>,
    ) -> Result<Option<RecordBatch>, Refused> {
        match item {
            Some(Ok(batch)) => {
                self.leave(Seat::Free(stream));
                Ok(Some(batch))
            }
            None => {
                self.keep_report(&stream);
                self.leave(Seat::Ended);
                Ok(None)
            }
            Some(Err(error)) => {
                drop(stream);
                self.leave(Seat::Failed);
                Err(Refused::Failed(error))
            }
        }
    }

    fn keep_report(&self, stream: &BatchStream) {
        if let Some(report) = stream.report() {
            let _ = self.report.set(embedded::report_json(report.clone()));
        }
    }

    /// Waits for the next batch, without the interpreter.
    fn next(&self) -> Result<Option<RecordBatch>, Refused> {
        let Some(mut stream) = self.take(true)? else { return Ok(None) };
        let item = wait(|context| Pin::new(&mut *stream).poll_next(context), || self.look());
        match item {
            Ok(item) => self.received(stream, item),
            Err(raised) => {
                self.cancel.cancel_for("an interrupt");
                drop(stream);
                self.leave(Seat::Closed);
                Err(Refused::Raised(raised))
            }
        }
    }

    /// On the main thread: runs handlers of signals, and shows progress.
    fn look(&self) -> PyResult<()> {
        check_if_main()?;
        self.show()
    }

    /// On the main thread: shows progress.
    fn show(&self) -> PyResult<()> {
        match &self.on_progress {
            Some(on_progress) if is_main_thread() => {
                Python::try_attach(|py| on_progress.call0(py).map(drop)).unwrap_or(Ok(()))
            }
            _ => Ok(()),
        }
    }
}

impl Refused {
    fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Self::State(text) => state(text),
            Self::Raised(error) => error,
            Self::Failed(error) => raise_error(py, error),
        }
    }
}

#[pymethods]
impl Stream {
    /// The schema, for whatever takes `__arrow_c_schema__`.
    #[getter]
    fn schema(&self) -> PySchema {
        PySchema::new(Arc::clone(&self.schema))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Bound::new(py, self.schema())?.call_method0("__arrow_c_schema__")
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let shared = Arc::clone(self.own.get()?);
        let counts_interrupts = shared.counts_interrupts || watch_interrupts(py)?;
        let n_interrupts = counts_interrupts.then(n_interrupts);
        // Behind the count: what is counted by now, and has had no handler, would never be seen. A foreign
        // library may have worked since Python last looked, and goes on without looking.
        py.check_signals()?;
        let taken = shared.take(false).map_err(|refused| refused.raise(py))?;
        let Some(stream) = taken else {
            return Err(state("the stream was read to its end; read again for another"));
        };
        shared.leave(Seat::Given);
        let exported =
            Exported { own: Own::new(stream), schema: Arc::clone(&self.schema), shared, n_interrupts };
        // A schema that is asked for is only a wish, and arrow's casts turn values that do not fit into NULL.
        drop(requested_schema);
        let reader = Bound::new(py, PyRecordBatchReader::new(Box::new(exported)))?;
        reader.call_method0("__arrow_c_stream__")
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyRecordBatch>> {
        let shared = Arc::clone(self.own.get()?);
        let next = outside(py, || shared.next());
        let batch = next.map_err(|refused| refused.raise(py))?;
        if let Some(on_progress) = &shared.on_progress {
            let told = {
                let _inside = Inside::enter(py);
                on_progress.call0(py)
            };
            if let Err(raised) = told {
                // The batch is lost, so there is nothing to go on with.
                outside(py, || shared.close("an exception of its progress function"));
                return Err(raised);
            }
        }
        Ok(batch.map(PyRecordBatch::new))
    }

    /// For event loops: whether there is an answer, and the batch; no batch is the end. Without an answer,
    /// `wake` becomes readable when it is time to ask again.
    fn poll_next(&self, py: Python<'_>, wake: &Wake) -> PyResult<(bool, Option<PyRecordBatch>)> {
        let shared = self.own.get()?;
        // A poll forgets who has polled before; so whoever gets something wakes all the others.
        shared.sleepers().add(wake.writer());
        let mut stream = match shared.take(false) {
            Ok(Some(stream)) => stream,
            Ok(None) => return Ok((true, None)),
            Err(Refused::State(BUSY)) => return Ok((false, None)),
            Err(refused) => return Err(refused.raise(py)),
        };
        let waker = wake.waker();
        match Pin::new(&mut *stream).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                shared.put_back(Seat::Free(stream));
                Ok((false, None))
            }
            Poll::Ready(item) => {
                let batch = shared.received(stream, item).map_err(|refused| refused.raise(py))?;
                Ok((true, batch.map(PyRecordBatch::new)))
            }
        }
    }

    /// Stops the reading. A reader in another thread gets `Cancelled`.
    fn cancel(&self) -> PyResult<()> {
        self.own.get()?.cancel.cancel_for("a call of cancel()");
        Ok(())
    }

    /// Stops the reading, if it has not ended, and lets go of the stream.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let shared = self.own.get()?;
        outside(py, || shared.close("a call of close()"));
        Ok(())
    }

    /// The report as JSON, once the end was seen.
    #[getter]
    fn report_json(&self) -> PyResult<Option<String>> {
        Ok(self.own.get()?.report.get().cloned())
    }

    /// Warnings of planning.
    #[getter]
    fn warnings(&self) -> PyResult<Vec<String>> {
        Ok(self.own.get()?.warnings.clone())
    }

    /// What a signal's handler raised while other code read the stream by `__arrow_c_stream__`.
    #[getter]
    fn interrupt(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let interrupt = self.own.get()?.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(interrupt.as_ref().map(|error| error.value(py).clone().into_any().unbind()))
    }

    #[getter]
    fn progress<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let Shared { progress, estimated_rows, .. } = self.own.get()?.as_ref();
        let shown = PyDict::new(py);
        shown.set_item("rows", progress.rows())?;
        shown.set_item("rows_expected", estimated_rows)?;
        shown.set_item("wire_bytes", progress.wire_bytes())?;
        shown.set_item("batches", progress.batches())?;
        shown.set_item("slices", progress.slices())?;
        shown.set_item("slices_total", progress.slices_total())?;
        shown.set_item("memory_bytes", progress.memory_bytes())?;
        Ok(shown)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a stream cannot be pickled: it reads a connection of this process; pickle the tokens of a plan",
        ))
    }
}

/// A stream that was given away by the C stream interface. Foreign code calls it, from any thread, with or
/// without the interpreter.
struct Exported {
    own: Own<Box<BatchStream>>,
    schema: SchemaRef,
    shared: Arc<Shared>,
    /// How many interrupts had come when the last batch went out. `None` if they are not counted.
    n_interrupts: Option<u64>,
}

/// An interrupt between two batches may have been for another thing, which is over: Python's handler has run.
/// If the next batch takes so long, it is not.
const LATE: Duration = Duration::from_secs(1);

impl Iterator for Exported {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let failed = |text: String| Some(Err(ArrowError::ExternalError(text.into())));
        let Some(stream) = self.own.get_mut() else {
            return failed("the stream was opened in another process; read again in this one".to_owned());
        };
        // The main thread may be waiting for this one, in code that does not look for signals.
        let watched = self.n_interrupts.filter(|_| !is_main_thread()).map(|before| (before, n_interrupts()));
        let began = Instant::now();
        let is_interrupted = |(before, at_first)| {
            let now = n_interrupts();
            now != at_first || (now != before && began.elapsed() >= LATE)
        };
        let look = || match watched.is_some_and(is_interrupted) {
            true => Err(PyKeyboardInterrupt::new_err(INTERRUPTED)),
            false => self.shared.look(),
        };
        let mut item = wait(|context| Pin::new(&mut **stream).poll_next(context), look);
        self.n_interrupts = self.n_interrupts.map(|_| n_interrupts());
        if let Ok(None) = &item {
            self.shared.keep_report(stream);
            item = self.shared.show().map(|()| None);
        }
        match item {
            Ok(Some(Ok(batch))) => Some(Ok(batch)),
            Ok(Some(Err(error))) => failed(text_of(&error)),
            Ok(None) => None,
            Err(raised) => {
                self.shared.cancel.cancel_for("an interrupt");
                // In another thread it was only seen: the handler runs when the main one comes by.
                if is_main_thread() {
                    deliver(&raised);
                }
                *self.shared.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(raised);
                failed(INTERRUPTED.to_owned())
            }
        }
    }
}

impl RecordBatchReader for Exported {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The C stream interface has no exceptions, only texts. So the signal comes a second time, to the code that
/// called the reader.
fn deliver(raised: &PyErr) {
    // If the interpreter is ending, nobody waits for it.
    let _ = Python::try_attach(|py| match raised.is_instance_of::<PyKeyboardInterrupt>(py) {
        true => py.import("_thread")?.call_method0("interrupt_main").map(drop),
        false => Ok(()),
    });
}

/// The text of a batch reader's failure, for readers that take batches from Python.
pub(crate) fn is_interrupt(text: &str) -> bool {
    text.contains("KeyboardInterrupt") || text.ends_with(INTERRUPTED)
}
