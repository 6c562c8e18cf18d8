//! Batches for embedders: an async `Stream` and a blocking `RecordBatchReader`.
//!
//! ```text
//!  reader thread: receive, decode ──▶ channel of one batch ──▶ the caller
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::background;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::reader::{Progress, cancelled};
use crate::run::Run;

/// Batches waiting for the caller. With the one being built and the one the caller has: three in memory.
const QUEUED_BATCHES: usize = 1;

/// The batches of an export, in the order of the COPY.
///
/// **A slow consumer stops the reading**: at most one batch waits. **Dropping the stream cancels the COPY** on the
/// server; the session is closed within seconds. The stream has ended well only if it ends without an `Err`: only
/// then did the server confirm that the rows are all there are.
#[derive(Debug)]
pub struct BatchStream {
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    cancel: Cancel,
    receiver: mpsc::Receiver<Result<RecordBatch>>,
    is_finished: bool,
}

impl BatchStream {
    /// Starts reading, in a thread of its own.
    pub(crate) fn start(run: Run) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUED_BATCHES);
        let (plan, progress) = (Arc::clone(run.plan()), Arc::clone(run.progress()));
        let cancel = run.cancel().clone();
        background::spawn("pgarrow-reader", move || {
            let batches = sender.clone();
            let read = run.for_each(|batch| batches.blocking_send(Ok(batch)).map_err(|_| cancelled()));
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

    fn received(&mut self, item: Option<Result<RecordBatch>>) -> Option<Result<RecordBatch>> {
        self.is_finished |= !matches!(item, Some(Ok(_)));
        item
    }
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
            self.cancel.cancel();
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

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::ExternalError(error) => match error.downcast::<Self>() {
                Ok(error) => *error,
                Err(error) => Self::new(ErrorKind::Protocol, error.to_string()),
            },
            error => Self::new(ErrorKind::Protocol, error.to_string()),
        }
    }
}
