//! What a part has encoded, on its way to the sink.

use std::any::Any;
use std::fmt;

use crate::error::{SinkError, SinkErrorKind};

/// Something encoded that can be appended by itself: a row group, a message, some lines.
pub struct Chunk {
    rows: u64,
    bytes: usize,
    encoded: Box<dyn Any + Send>,
}

impl Chunk {
    /// A chunk of this many rows, which takes this many bytes of memory. Only the sink of the part that made
    /// it knows the type of `encoded`.
    pub fn new(rows: u64, bytes: usize, encoded: impl Any + Send) -> Self {
        Self { rows, bytes, encoded: Box::new(encoded) }
    }

    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The memory it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The encoded value.
    ///
    /// # Errors
    ///
    /// [`SinkErrorKind::Encode`] if the value has another type: a part of another sink made the chunk.
    pub fn into_encoded<T: Any>(self) -> Result<T, SinkError> {
        let other = |_| SinkError::new(SinkErrorKind::Encode, "a chunk of another sink; please report it");
        self.encoded.downcast().map(|encoded| *encoded).map_err(other)
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, bytes, .. } = self;
        f.debug_struct("Chunk").field("rows", rows).field("bytes", bytes).finish_non_exhaustive()
    }
}

/// Takes the chunks that a [`Part`](crate::Part) has encoded.
pub struct Chunks<'q>(&'q mut dyn Push);

/// Takes chunks, at once or into a queue.
pub(crate) trait Push {
    fn push(&mut self, chunk: Chunk) -> Result<(), SinkError>;
}

impl<'q> Chunks<'q> {
    pub(crate) fn new(queue: &'q mut dyn Push) -> Self {
        Self(queue)
    }

    /// Hands over a chunk: to the sink if it is the part's turn, otherwise to the queue that waits for the
    /// turn.
    ///
    /// # Errors
    ///
    /// As for [`Sink::append`](crate::Sink::append).
    pub fn push(&mut self, chunk: Chunk) -> Result<(), SinkError> {
        self.0.push(chunk)
    }
}

impl fmt::Debug for Chunks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chunks")
    }
}
