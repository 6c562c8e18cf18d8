//! [`Channel`]: a sink that passes batches to another thread. Its chunks are the batches themselves.

use std::sync::Arc;

use arrow_array::RecordBatch;
use pgarrow_session::Result;
use pgarrow_sink::{Chunk, Chunks, MANY_LANES, Part, Sink, SinkError, SinkErrorKind, Stop, Written};

use crate::budget::{Budget, Lease};

/// Takes a batch and its share of the memory, from any reader's thread; waits if it has to.
pub(crate) type SendBatch<'a> = dyn Fn(RecordBatch, Lease) -> Result<()> + Sync + 'a;

/// Sends every batch, with its share of the memory.
pub(crate) struct Channel<'a> {
    send: &'a SendBatch<'a>,
    budget: &'a Arc<Budget>,
}

impl<'a> Channel<'a> {
    pub(crate) fn new(send: &'a SendBatch<'a>, budget: &'a Arc<Budget>) -> Self {
        Self { send, budget }
    }
}

impl Sink for Channel<'_> {
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
        Ok(Box::new(BatchPart))
    }

    fn append(&self, _lane: usize, chunk: Chunk, _stop: &Stop) -> Result<(), SinkError> {
        let lease = self.budget.queued(chunk.bytes());
        let sent = (self.send)(chunk.into_encoded()?, lease);
        sent.map_err(|error| SinkError::of(SinkErrorKind::Io, error))
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        Ok(Written::default())
    }

    fn lanes(&self) -> usize {
        MANY_LANES
    }

    fn is_consumer(&self) -> bool {
        true
    }
}

struct BatchPart;

impl Part for BatchPart {
    fn write(&mut self, batch: &RecordBatch, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let (rows, bytes) = (batch.num_rows() as u64, batch.get_array_memory_size());
        // A second handle: the reader reuses the buffers of the first one after this one is dropped.
        chunks.push(Chunk::new(rows, bytes, batch.clone()))
    }

    fn working_bytes(&self, _batch_bytes: usize) -> usize {
        0
    }
}
