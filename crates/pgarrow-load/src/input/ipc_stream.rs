//! Arrow IPC streams: a schema, then messages, then an end mark.
//!
//! The end mark is required here, although the format makes it optional: without it, the writer may have
//! failed and the rows may be incomplete.

use std::io::Read;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_schema::ArrowError;

use super::OpenFile;
use super::ipc::{CONTINUATION, Decoder, body_bytes, damaged, message, schema};

/// The most memory allocated for a claimed length before its bytes arrive.
const CLAIM_BYTES_MAX: u64 = 16 << 20;

pub(super) fn open(reader: impl Read + 'static) -> Result<OpenFile, ArrowError> {
    let mut messages = Messages { reader };
    let no_schema = || damaged("it does not begin with a schema, so it is no Arrow IPC stream");
    let metadata = messages.metadata()?.ok_or_else(no_schema)?;
    let first = message(&metadata).map_err(|_| no_schema())?;
    let schema = schema(first.header_as_schema().ok_or_else(no_schema)?)?;
    messages.body(body_bytes(&first)?)?;
    let batches = Batches { messages, decoder: Decoder::new(Arc::clone(&schema)), is_ended: false };
    Ok(OpenFile { schema, rows: None, batches: Box::new(batches) })
}

struct Messages<R> {
    reader: R,
}

impl<R: Read> Messages<R> {
    /// The next message's metadata; `None` at the end mark, after which no bytes may follow.
    fn metadata(&mut self) -> Result<Option<Vec<u8>>, ArrowError> {
        let mut length = self.word()?;
        if length == CONTINUATION {
            length = self.word()?;
        }
        match u32::from_le_bytes(length) {
            0 => match self.reader.read(&mut [0])? {
                0 => Ok(None),
                _ => Err(ArrowError::IpcError(
                    "there are bytes behind the end of the stream; streams are loaded one by one, each from a file of its own"
                        .to_owned(),
                )),
            },
            length => self.bytes(u64::from(length)).map(Some),
        }
    }

    fn body(&mut self, n_bytes: u64) -> Result<Buffer, ArrowError> {
        self.bytes(n_bytes).map(Buffer::from_vec)
    }

    fn word(&mut self) -> Result<[u8; 4], ArrowError> {
        let bytes = self.bytes(4)?;
        bytes.first_chunk().copied().ok_or_else(not_ended)
    }

    /// A length is a claim: memory grows as bytes arrive.
    fn bytes(&mut self, n_bytes: u64) -> Result<Vec<u8>, ArrowError> {
        let room = usize::try_from(n_bytes.min(CLAIM_BYTES_MAX)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(room);
        self.reader.by_ref().take(n_bytes).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == n_bytes {
            true => Ok(bytes),
            false => Err(not_ended()),
        }
    }
}

struct Batches<R> {
    messages: Messages<R>,
    decoder: Decoder,
    is_ended: bool,
}

impl<R: Read> Batches<R> {
    fn read(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while let Some(metadata) = self.messages.metadata()? {
            let message = message(&metadata)?;
            let body = self.messages.body(body_bytes(&message)?)?;
            if let Some(batch) = self.decoder.read(&message, &body)? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

impl<R: Read> Iterator for Batches<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_ended {
            return None;
        }
        let batch = self.read();
        self.is_ended = !matches!(batch, Ok(Some(_)));
        batch.transpose()
    }
}

fn not_ended() -> ArrowError {
    ArrowError::IpcError("it ends without its end mark: its writer may have failed".to_owned())
}
