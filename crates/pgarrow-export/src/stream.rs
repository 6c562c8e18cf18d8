//! Batches for embedders: an async `Stream` and a blocking `RecordBatchReader`.
//!
//! ```text
//!  reader threads: receive, decode ──▶ channel of one batch each ──▶ the caller
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use futures_core::Stream;
use tokio::sync::mpsc;

use pgarrow_session::{Cancel, Error, ErrorKind, Result, background};

use crate::plan::Plan;
use crate::reader::{Progress, Queued};
use crate::run::Run;

/// Batches of each reader waiting for the caller. With the one being built: two for each reader in memory.
const QUEUED_BATCHES: usize = 1;

/// The batches of an export: as they come, or in the order of their slices
/// ([`with_order`](crate::ExportOptions::with_order)).
///
/// **A slow consumer stops the reading**: at most one batch waits for each reader. **Dropping the stream cancels the COPY** on the
/// server; the session is closed within seconds. The stream has ended well only if it ends without an `Err`: only
/// then did the server confirm that the rows are all there are.
#[derive(Debug)]
pub struct BatchStream {
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    cancel: Cancel,
    receiver: mpsc::Receiver<Result<Queued>>,
    is_finished: bool,
}

impl BatchStream {
    /// Starts reading, in a thread of its own.
    pub(crate) fn start(run: Run) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUED_BATCHES * run.readers());
        let (plan, progress) = (Arc::clone(run.plan()), Arc::clone(run.progress()));
        let cancel = run.cancel().clone();
        background::spawn("pgarrow-reader", move || {
            let batches = sender.clone();
            let left = |_| Error::new(ErrorKind::Cancelled, "cancelled by the drop of its stream");
            let send = |batch, lease| batches.blocking_send(Ok((batch, lease))).map_err(left);
            // A thread that just ended would look like the end of the rows.
            let read =
                catch_unwind(AssertUnwindSafe(|| run.send_each(send))).unwrap_or_else(|_| Err(panicked()));
            if let Err(error) = read {
                // The caller may have left.
                let _ = sender.blocking_send(Err(error));
            }
        })?;
        Ok(Self { plan, progress, cancel, receiver, is_finished: false })
    }

    /// The schema of every batch, also if there is none.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema())
    }

    /// What is read.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
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

/// The batches of an export, for code that waits. Do not use it inside an async task.
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

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        self.stream.progress()
    }
}

impl Iterator for BatchReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stream.is_finished {
            return None;
        }
        let item = self.stream.receiver.blocking_recv();
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
