//! `Source`: a server, and what is read of it.

use std::ffi::OsString;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pgarrow::{BatchStream, Cancel, PoolOptions, Slice};
use pgarrow_cli::embedded::{self, Caller, Given, Problem, Result, Watcher};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors::{raise, state};
use crate::held::Held;
use crate::memory::Memory;
use crate::process::{Own, cancel_of_all};
use crate::stream::Stream;
use crate::task::Task;
use crate::wait::{wait_for, wait_plainly};
use crate::wake::Wake;

/// A PostgreSQL database.
#[pyclass(frozen, module = "pgarrow_engine._native")]
pub(crate) struct Source {
    own: Own<Mutex<Option<pgarrow::Source>>>,
    cancel: Cancel,
    conninfo: Option<String>,
}

/// The options of a call, as Python's code makes them.
#[derive(FromPyObject)]
pub(crate) struct Options {
    /// As the command line has them.
    flags: Vec<OsString>,
    params: Vec<Option<String>>,
    columns: Option<Vec<String>>,
}

impl Options {
    fn split(self, conninfo: Option<&str>) -> (Vec<OsString>, Given) {
        let Self { mut flags, params, columns } = self;
        // The connection is there already; but what the environment says of another one is not read.
        flags.extend(conninfo.map(|conninfo| ["--".into(), conninfo.into()]).into_iter().flatten());
        (flags, Given { params, columns })
    }
}

#[pymethods]
impl Source {
    /// Connects. `connect_timeout` in seconds.
    #[new]
    #[pyo3(signature = (conninfo, connect_timeout, memory, idle_max))]
    fn new(
        py: Python<'_>,
        conninfo: Option<String>,
        connect_timeout: Option<f64>,
        memory: Option<&Memory>,
        idle_max: usize,
    ) -> PyResult<Self> {
        let timeout = connect_timeout.map(Duration::try_from_secs_f64).transpose();
        let timeout = timeout.map_err(|_| {
            raise(py, Problem::options("connect_timeout: write a number of seconds, or a text as in \"10s\""))
        })?;
        let config = embedded::config(conninfo.as_deref(), timeout).map_err(|problem| raise(py, problem))?;
        let cancel = cancel_of_all().child();
        let of_source = cancel.clone();
        let connect = move || Ok(pgarrow::Source::connect_blocking_with(config, of_source)?);
        let source = wait_plainly(py, Task::start(&cancel, connect))?;
        let source = source.with_pool(PoolOptions::default().with_idle_max(idle_max));
        let source = match memory {
            Some(Memory(memory)) => source.with_memory(memory),
            None => source,
        };
        Ok(Self { own: Own::new(Mutex::new(Some(source))), cancel, conninfo })
    }

    #[getter]
    fn conninfo(&self) -> Option<&str> {
        self.conninfo.as_deref()
    }

    /// `localhost:5432`, and the database.
    #[getter]
    fn place(&self) -> PyResult<(String, String)> {
        let source = self.source()?;
        Ok((source.config().endpoint(), source.config().dbname().to_owned()))
    }

    #[getter]
    fn is_closed(&self) -> PyResult<bool> {
        Ok(self.own.get()?.lock().unwrap_or_else(PoisonError::into_inner).is_none())
    }

    /// Stops all that is read, and closes idle sessions.
    fn close(&self) -> PyResult<()> {
        let closed = self.own.get()?.lock().unwrap_or_else(PoisonError::into_inner).take();
        if closed.is_some() {
            self.cancel.cancel_for("the close of its connection");
        }
        Ok(())
    }

    #[pyo3(signature = (options, on_progress = None))]
    fn read(&self, py: Python<'_>, options: Options, on_progress: Option<Py<PyAny>>) -> PyResult<Stream> {
        let stream = wait_plainly(py, self.opening(options, None)?)?;
        Stream::new(py, stream, on_progress)
    }

    #[pyo3(signature = (slice, options, on_progress = None))]
    fn read_slice(
        &self,
        py: Python<'_>,
        slice: &str,
        options: Options,
        on_progress: Option<Py<PyAny>>,
    ) -> PyResult<Stream> {
        let slice = Slice::from_json(slice).map_err(|error| raise(py, error.into()))?;
        let stream = wait_plainly(py, self.opening(options, Some(slice))?)?;
        Stream::new(py, stream, on_progress)
    }

    /// The same for event loops.
    #[pyo3(signature = (options, on_progress = None))]
    fn start_read(
        &self,
        py: Python<'_>,
        options: Options,
        on_progress: Option<Py<PyAny>>,
    ) -> PyResult<Opening> {
        let task = self.opening(options, None)?.map_err(|problem| raise(py, problem))?;
        Ok(Opening { task: Own::new(Mutex::new(Some(task))), on_progress: Mutex::new(on_progress) })
    }

    /// Returns the report as JSON, and the warnings. `on_look` is called ten times a second, with an object
    /// of JSON, or None before there is progress.
    #[pyo3(signature = (options, on_look = None))]
    fn export(
        &self,
        py: Python<'_>,
        options: Options,
        on_look: Option<Py<PyAny>>,
    ) -> PyResult<(String, Vec<String>)> {
        let (caller, cancel) = self.caller()?;
        let watch = caller.watch();
        let (flags, given) = options.split(self.conninfo.as_deref());
        let task = Task::start(&cancel, move || caller.export(&flags, given));
        let report = watched(py, task, &watch, on_look)?;
        Ok((report, watch.warnings()))
    }

    fn inspect(&self, py: Python<'_>, options: Options) -> PyResult<String> {
        let (caller, cancel) = self.caller()?;
        let (flags, given) = options.split(self.conninfo.as_deref());
        wait_plainly(py, Task::start(&cancel, move || caller.inspect(&flags, given)))
    }

    fn describe(&self, py: Python<'_>, options: Options) -> PyResult<String> {
        let (caller, cancel) = self.caller()?;
        let (flags, given) = options.split(self.conninfo.as_deref());
        wait_plainly(py, Task::start(&cancel, move || caller.plan(&flags, given)))
    }

    /// Plans, and holds the snapshot: for `hold_for` seconds, or until it is released.
    fn hold(&self, py: Python<'_>, options: Options, hold_for: Option<f64>) -> PyResult<Held> {
        let (caller, cancel) = self.caller()?;
        let (flags, given) = options.split(self.conninfo.as_deref());
        let open = move || {
            let mut run = caller.open(&flags, given)?;
            let slices = run.slices()?;
            Ok((run.snapshot().to_owned(), slices, run))
        };
        let (snapshot, slices, run) = wait_plainly(py, Task::start(&cancel, open))?;
        Held::new(py, snapshot, &slices, run, cancel, hold_for)
    }

    /// Statements in a session of their own.
    fn execute(&self, py: Python<'_>, sql: String) -> PyResult<()> {
        let (source, cancel) = self.called()?;
        wait_plainly(py, Task::start(&cancel, move || Ok(source.execute(&sql)?)))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a connection cannot be pickled; pickle what it was made of, or the tokens of a plan",
        ))
    }
}

impl Source {
    fn source(&self) -> PyResult<pgarrow::Source> {
        let source = self.own.get()?.lock().unwrap_or_else(PoisonError::into_inner).clone();
        source.ok_or_else(|| state("the connection is closed; connect again"))
    }

    /// The server for one call, and what stops that call.
    fn called(&self) -> PyResult<(pgarrow::Source, Cancel)> {
        let cancel = self.cancel.child();
        Ok((self.source()?.stopped_by(cancel.clone()), cancel))
    }

    fn caller(&self) -> PyResult<(Caller, Cancel)> {
        let (source, cancel) = self.called()?;
        Ok((Caller::new(cancel.clone(), Some(source)), cancel))
    }

    /// Opens a stream, of a slice if there is one.
    fn opening(&self, options: Options, slice: Option<Slice>) -> PyResult<Result<Task<BatchStream>>> {
        let (caller, cancel) = self.caller()?;
        let (flags, given) = options.split(self.conninfo.as_deref());
        Ok(Task::start(&cancel, move || {
            let extract = match slice {
                Some(slice) => caller.extract_slice(slice, &flags)?,
                None => caller.extract(&flags, given)?,
            };
            Ok(extract.open()?.into_stream()?)
        }))
    }
}

/// A read that is being planned, for event loops.
#[pyclass(frozen, module = "pgarrow_engine._native")]
pub(crate) struct Opening {
    task: Own<Mutex<Option<Task<BatchStream>>>>,
    on_progress: Mutex<Option<Py<PyAny>>>,
}

#[pymethods]
impl Opening {
    /// The stream, if it is open. Otherwise, `wake` becomes readable when it is time to ask again.
    fn poll(&self, py: Python<'_>, wake: &Wake) -> PyResult<Option<Stream>> {
        let mut task = self.task.get()?.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut opening) = task.take() else { return Err(state("the read was opened before")) };
        let waker = wake.waker();
        match Pin::new(&mut opening).poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                *task = Some(opening);
                Ok(None)
            }
            Poll::Ready(opened) => {
                // What follows runs code of Python, such as handlers of signals.
                drop(task);
                let stream = opened.map_err(|problem| raise(py, problem))?;
                let on_progress = self.on_progress.lock().unwrap_or_else(PoisonError::into_inner).take();
                Stream::new(py, stream, on_progress).map(Some)
            }
        }
    }
}

/// Waits for a call, and tells how far it is meanwhile.
pub(crate) fn watched<T: Send + 'static>(
    py: Python<'_>,
    task: Result<Task<T>>,
    watch: &Watcher,
    on_look: Option<Py<PyAny>>,
) -> PyResult<T> {
    let Some(on_look) = on_look else { return wait_plainly(py, task) };
    let mut look = |py: Python<'_>| on_look.call1(py, (watch.progress(),)).map(drop);
    let result = wait_for(py, task, &mut look, true)?;
    Ok(result)
}

/// `pgarrow run`. Returns the report as JSON, and the warnings.
#[pyfunction]
#[pyo3(signature = (flags, on_look = None))]
pub(crate) fn run_job(
    py: Python<'_>,
    flags: Vec<OsString>,
    on_look: Option<Py<PyAny>>,
) -> PyResult<(String, Vec<String>)> {
    let cancel = cancel_of_all().child();
    let caller = Caller::new(cancel.clone(), None);
    let watch = caller.watch();
    let report = watched(py, Task::start(&cancel, move || caller.run(&flags)), &watch, on_look)?;
    Ok((report, watch.warnings()))
}

/// `pgarrow verify`. Returns what was compared, as JSON.
#[pyfunction]
pub(crate) fn verify(py: Python<'_>, flags: Vec<OsString>) -> PyResult<String> {
    let cancel = cancel_of_all().child();
    let caller = Caller::new(cancel.clone(), None);
    wait_plainly(py, Task::start(&cancel, move || caller.verify(&flags)))
}

/// The names of a command's options, as arguments.
#[pyfunction]
pub(crate) fn options_of(command: &str) -> Vec<String> {
    embedded::options_of(command).iter().map(|flag| crate::words::argument(flag)).collect()
}
