//! Batches and files into tables.
//!
//! ```text
//!  the caller's thread: the data's own next ─▶ channel of one batch ─▶ a thread that encodes and sends
//! ```
//!
//! The data may be made by Python code, which runs in the thread that called, and in no other.

use std::ffi::OsString;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use pgarrow_cli::embedded::Caller;
use pyo3::exceptions::{PyKeyboardInterrupt, PyTypeError};
use pyo3::prelude::*;
use pyo3_arrow::{PyRecordBatch, PyRecordBatchReader};
use tokio::sync::mpsc;

use crate::errors::raise;
use crate::inside::outside;
use crate::process::cancel_of_all;
use crate::signals::check_if_main;
use crate::source::watched;
use crate::stream::is_interrupt;
use crate::task::Task;
use crate::transaction::Transaction;
use crate::wait::wait;

type Item = Result<RecordBatch, ArrowError>;

/// What the thread that sends reads.
struct Fed {
    schema: SchemaRef,
    receiver: mpsc::Receiver<Item>,
}

impl Iterator for Fed {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.receiver.blocking_recv()
    }
}

impl RecordBatchReader for Fed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Loads whatever has `__arrow_c_stream__` or `__arrow_c_array__`. Returns the report as JSON, and the
/// warnings.
#[pyfunction]
#[pyo3(signature = (data, flags, transaction = None, on_look = None))]
pub(crate) fn load_batches(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    flags: Vec<OsString>,
    transaction: Option<&Transaction>,
    on_look: Option<Py<PyAny>>,
) -> PyResult<(String, Vec<String>)> {
    let mut reader = reader_of(data)?;
    let cancel = cancel_of_all().child();
    let caller = Caller::new(cancel.clone(), None);
    let caller = match transaction {
        Some(transaction) => caller.in_transaction(transaction.connection()?),
        None => caller,
    };
    let watch = caller.watch();
    let (sender, receiver) = mpsc::channel(1);
    let fed = Fed { schema: reader.schema(), receiver };
    let task = Task::start(&cancel, move || caller.load_batches(&flags, Box::new(fed)));
    let task = task.map_err(|problem| raise(py, problem))?;
    let (of_feeding, cancel_feeding) = (watch.clone(), cancel.clone());
    let (task, fed) = outside(py, move || {
        let mut task = task;
        let fed = feed(&mut reader, &sender, &mut task, || {
            check_if_main()?;
            match &on_look {
                Some(on_look) => {
                    Python::try_attach(|py| on_look.call1(py, (of_feeding.progress(),)).map(drop))
                        .unwrap_or(Ok(()))
                }
                None => Ok(()),
            }
        });
        if fed.is_err() {
            // While there is a sender: without one, the load takes what it has for all of the data, and may
            // commit before this thread has the interpreter again.
            cancel_feeding.cancel_for("an interrupt");
        }
        (task, fed)
    });
    let ended = match fed {
        Ok(Fedded::Ended(result)) => result.map_err(|problem| raise(py, problem)),
        Ok(Fedded::Sent) => watched(py, Ok(task), &watch, None),
        Ok(Fedded::Failed(text)) => {
            // The load ends with an error that says the same.
            let ended = watched(py, Ok(task), &watch, None);
            // Data of ours have sent the signal a second time, since they cannot raise.
            py.check_signals()?;
            if is_interrupt(&text) { Err(PyKeyboardInterrupt::new_err(())) } else { ended }
        }
        Err(raised) => {
            drop(watched(py, Ok(task), &watch, None));
            Err(raised)
        }
    };
    Ok((ended?, watch.warnings()))
}

/// How the feeding ended.
enum Fedded {
    /// The load has ended before its data: it failed.
    Ended(pgarrow_cli::embedded::Result<String>),
    /// All batches are on their way.
    Sent,
    /// The data failed.
    Failed(String),
}

/// Takes batches from the data as the load has room for them.
fn feed(
    reader: &mut Box<dyn RecordBatchReader + Send>,
    sender: &mpsc::Sender<Item>,
    task: &mut Task<String>,
    mut look: impl FnMut() -> PyResult<()>,
) -> PyResult<Fedded> {
    loop {
        // Room first: a batch that nobody takes is not made.
        let room = {
            let mut reserving = pin!(sender.reserve());
            wait(
                |context| {
                    if let Poll::Ready(result) = Pin::new(&mut *task).poll(context) {
                        return Poll::Ready(Err(result));
                    }
                    reserving.as_mut().poll(context).map(Ok)
                },
                &mut look,
            )?
        };
        let permit = match room {
            Err(result) => return Ok(Fedded::Ended(result)),
            // The load takes no more: its result is on its way.
            Ok(Err(_)) => return Ok(Fedded::Sent),
            Ok(Ok(permit)) => permit,
        };
        look()?;
        match reader.next() {
            None => return Ok(Fedded::Sent),
            Some(Ok(batch)) => permit.send(Ok(batch)),
            Some(Err(error)) => {
                let text = error.to_string();
                permit.send(Err(error));
                return Ok(Fedded::Failed(text));
            }
        }
    }
}

/// Anything that speaks Arrow's C interface, a stream before a single batch.
fn reader_of(data: &Bound<'_, PyAny>) -> PyResult<Box<dyn RecordBatchReader + Send>> {
    if data.hasattr("__arrow_c_stream__")? {
        return data.extract::<PyRecordBatchReader>()?.into_reader();
    }
    if data.hasattr("__arrow_c_array__")? {
        let batch = data.extract::<PyRecordBatch>()?.into_inner();
        let schema = batch.schema();
        return Ok(Box::new(arrow_array::RecordBatchIterator::new([Ok(batch)], schema)));
    }
    let name = data.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "data of the type {name} cannot be loaded: give something with __arrow_c_stream__ or __arrow_c_array__ \
         (a table or data frame of pyarrow, polars, pandas from 2.2 on, DuckDB), or the path of a file"
    )))
}

/// `pgarrow load` of files. Returns the report as JSON, and the warnings.
#[pyfunction]
#[pyo3(signature = (flags, transaction = None, on_look = None))]
pub(crate) fn load_files(
    py: Python<'_>,
    flags: Vec<OsString>,
    transaction: Option<&Transaction>,
    on_look: Option<Py<PyAny>>,
) -> PyResult<(String, Vec<String>)> {
    let cancel = cancel_of_all().child();
    let caller = Caller::new(cancel.clone(), None);
    let caller = match transaction {
        Some(transaction) => caller.in_transaction(transaction.connection()?),
        None => caller,
    };
    let watch = caller.watch();
    let report = watched(py, Task::start(&cancel, move || caller.load_files(&flags)), &watch, on_look)?;
    Ok((report, watch.warnings()))
}
