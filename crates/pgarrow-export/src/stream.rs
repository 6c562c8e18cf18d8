//! Batches for embedders: an async `Stream` and a blocking `RecordBatchReader`.
//!
//! ```text
//!  reader threads: receive, decode ──▶ channel of one batch each ──▶ the caller
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use futures_core::Stream;
use tokio::sync::mpsc;

use pgarrow_session::{Cancel, Error, ErrorKind, Result, background};

use crate::channel::SendBatch;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::reader::Queued;
use crate::report::Report;

/// Batches of each reader that wait for the caller. With the one being built, two for each reader are in
/// memory.
const QUEUED_BATCHES: usize = 1;

/// The batches of an export: as they arrive, or in the order of their slices
/// ([`with_order`](crate::ExportOptions::with_order)).
///
/// **A slow consumer stops the reading**: at most one batch waits for each reader. **Dropping the stream
/// cancels the COPY** on the server; the session is closed within seconds. The export succeeded only if the
/// stream ends without an `Err`: only then has the server confirmed that all rows were read.
#[derive(Debug)]
pub struct BatchStream {
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    cancel: Cancel,
    receiver: mpsc::Receiver<Result<Queued>>,
    is_finished: bool,
    /// Set before the last sender is dropped.
    report: Arc<OnceLock<Report>>,
}

impl BatchStream {
    /// Starts reading, in a thread of its own: `read` passes every batch to its argument.
    pub(crate) fn start(
        plan: Arc<Plan>,
        progress: Arc<Progress>,
        cancel: Cancel,
        n_readers: usize,
        read: impl FnOnce(&SendBatch<'_>) -> Result<Report> + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUED_BATCHES * n_readers);
        let report = Arc::new(OnceLock::new());
        let reported = Arc::clone(&report);
        background::spawn("pgarrow-reader", move || {
            let batches = sender.clone();
            let left = |_| Error::new(ErrorKind::Cancelled, "cancelled by the drop of its stream");
            let send = |batch, lease| batches.blocking_send(Ok((batch, lease))).map_err(left);
            // Without this, a panic would look like the end of the rows.
            let read = catch_unwind(AssertUnwindSafe(|| read(&send))).unwrap_or_else(|_| Err(panicked()));
            match read {
                // Only this thread sets it.
                Ok(report) => drop(reported.set(report)),
                // The caller may have left.
                Err(error) => drop(sender.blocking_send(Err(error))),
            }
        })?;
        Ok(Self { plan, progress, cancel, receiver, is_finished: false, report })
    }

    /// The schema of every batch, also if there is none.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema())
    }

    /// What is read.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How far the export is. A clone can be watched from another thread.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Stops this export and no other. A clone can be kept elsewhere.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The result of the export, with its warnings and what choices did to values. `None` until the stream
    /// has ended.
    pub fn report(&self) -> Option<&Report> {
        self.report.get().filter(|_| self.is_finished)
    }

    fn received(&mut self, item: Option<Result<Queued>>) -> Option<Result<RecordBatch>> {
        self.is_finished |= !matches!(item, Some(Ok(_)));
        // From here on its memory is the caller's.
        item.map(|item| item.map(|(batch, _lease)| batch))
    }
}

fn panicked() -> Error {
    Error::new(ErrorKind::Protocol, "a reader panicked; please report it")
}

impl Stream for BatchStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_finished {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|item| self.received(item))
    }
}

impl Drop for BatchStream {
    fn drop(&mut self) {
        if !self.is_finished {
            self.cancel.cancel_for("the drop of its stream before the end");
        }
    }
}

/// The batches of an export, for blocking code: `next` blocks until the next batch. Inside an async task it
/// works, but blocks the task's thread.
#[derive(Debug)]
pub struct BatchReader {
    stream: BatchStream,
}

impl BatchReader {
    pub(crate) fn new(stream: BatchStream) -> Self {
        Self { stream }
    }

    /// What is read.
    pub fn plan(&self) -> &Plan {
        self.stream.plan()
    }

    /// How far the export is. A clone can be watched from another thread.
    pub fn progress(&self) -> &Arc<Progress> {
        self.stream.progress()
    }

    /// Stops this export and no other. A clone can be kept elsewhere.
    pub fn cancel(&self) -> &Cancel {
        self.stream.cancel()
    }

    /// The result of the export. `None` until `next` has returned `None`. See [`BatchStream::report`].
    pub fn report(&self) -> Option<&Report> {
        self.stream.report()
    }
}

impl Iterator for BatchReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stream.is_finished {
            return None;
        }
        // Not tokio's blocking_recv, which panics inside a runtime.
        let item = pollster::block_on(self.stream.receiver.recv());
        self.stream
            .received(item)
            .map(|batch| batch.map_err(|error| ArrowError::ExternalError(Box::new(error))))
    }
}

impl RecordBatchReader for BatchReader {
    fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }
}
