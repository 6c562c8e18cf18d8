//! Messages of Arrow IPC: decodes metadata and body into batches and dictionaries.
//!
//! ```text
//!  message = [FF FF FF FF] u32 length of the metadata, metadata (a flatbuffer, padded), body
//! ```
//!
//! Source: <https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format>.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_ipc::{CompressionType, Message, MessageHeader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};

/// Precedes the length of each message since Arrow 0.15.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];

/// The most bytes that zstd expands one byte to: a block has at most 128 KiB and at least 4 bytes.
///
/// Source: RFC 8878, 3.1.1.2.
const ZSTD_EXPANSION_MAX: u64 = 1 << 15;

/// The same for LZ4: one length byte stands for 255 bytes.
///
/// Source: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>.
const LZ4_EXPANSION_MAX: u64 = 255;

/// Turns messages into batches.
#[derive(Debug)]
pub(super) struct Decoder {
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, dictionaries: HashMap::new() }
    }

    /// A batch, or `None` if the message was a dictionary.
    pub(super) fn read(
        &mut self,
        message: &Message<'_>,
        body: &Buffer,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let version = message.version();
        if let Some(batch) = message.header_as_record_batch() {
            check(&batch, body)?;
            let schema = Arc::clone(&self.schema);
            let decoder = RecordBatchDecoder::try_new(body, batch, schema, &self.dictionaries, &version)?;
            return decoder.read_record_batch().map(Some);
        }
        if let Some(dictionary) = message.header_as_dictionary_batch() {
            let values = dictionary.data().ok_or_else(|| damaged("a dictionary has no values"))?;
            check(&values, body)?;
            read_dictionary(body, dictionary, &self.schema, &mut self.dictionaries, &version)?;
            return Ok(None);
        }
        Err(damaged("a message is neither batch nor dictionary"))
    }
}

/// Parses the metadata of a message.
pub(super) fn message(metadata: &[u8]) -> Result<Message<'_>, ArrowError> {
    root_as_message(metadata).map_err(|error| damaged(&format!("a message cannot be read: {error}")))
}

/// The schema of a message or footer.
pub(super) fn schema(schema: arrow_ipc::Schema<'_>) -> Result<SchemaRef, ArrowError> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(damaged("its bytes have the other order (endianness), which is not read"));
    }
    if schema.fields().is_none() {
        return Err(damaged("its schema has no columns"));
    }
    Ok(Arc::new(fb_to_schema(schema)))
}

/// The length of a message's body.
pub(super) fn body_bytes(message: &Message<'_>) -> Result<u64, ArrowError> {
    u64::try_from(message.bodyLength()).map_err(|_| damaged("a message has a negative length"))
}

/// The number of rows that a batch claims.
pub(super) fn rows(message: &Message<'_>) -> Result<u64, ArrowError> {
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        _ => None,
    };
    let batch = batch.ok_or_else(|| damaged("a message is no batch where one should be"))?;
    u64::try_from(batch.length()).map_err(|_| damaged("a batch has a negative number of rows"))
}

/// Checks a batch's claims against its bytes, because the decoder allocates for them.
fn check(batch: &arrow_ipc::RecordBatch<'_>, body: &[u8]) -> Result<(), ArrowError> {
    if batch.length() < 0 {
        return Err(damaged("a batch has a negative number of rows"));
    }
    let is_sound = |node: &arrow_ipc::FieldNode| (0..=node.length()).contains(&node.null_count());
    if !batch.nodes().into_iter().flatten().all(is_sound) {
        return Err(damaged("a column has a length that cannot be"));
    }
    let expansion = match batch.compression().map(|compression| compression.codec()) {
        Some(CompressionType::ZSTD) => Some(ZSTD_EXPANSION_MAX),
        Some(CompressionType::LZ4_FRAME) => Some(LZ4_EXPANSION_MAX),
        Some(_) => return Err(damaged("it is compressed by neither zstd nor lz4")),
        None => None,
    };
    let mut claimed = 0_usize;
    for buffer in batch.buffers().into_iter().flatten() {
        let bytes = slice(body, buffer.offset(), buffer.length())
            .ok_or_else(|| damaged("a buffer lies outside of its batch"))?;
        let Some(expansion) = expansion.filter(|_| !bytes.is_empty()) else { continue };
        let length = bytes.first_chunk::<8>().map(|length| i64::from_le_bytes(*length));
        let length = length.ok_or_else(|| damaged("a compressed buffer has no length"))?;
        // -1: the buffer is not compressed after all.
        if length < -1 || u64::try_from(length).is_ok_and(|length| length / expansion > bytes.len() as u64) {
            return Err(damaged("a compressed buffer says it is larger than it can be"));
        }
        claimed = claimed.saturating_add(usize::try_from(length).unwrap_or_default());
    }
    reserve(claimed)
}

/// Tests whether this much memory is available: if the decoder's own allocation fails, the process ends.
fn reserve(n_bytes: usize) -> Result<(), ArrowError> {
    match Vec::<u8>::new().try_reserve_exact(n_bytes) {
        Ok(()) => Ok(()),
        Err(_) => {
            let text = format!("a batch says it has {n_bytes} bytes, for which there is no memory");
            Err(ArrowError::IpcError(text))
        }
    }
}

fn slice(body: &[u8], offset: i64, length: i64) -> Option<&[u8]> {
    let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    body.get(offset..offset.checked_add(length)?)
}

pub(super) fn damaged(what: &str) -> ArrowError {
    ArrowError::IpcError(format!("it is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        reserve(1 << 20).unwrap();
        assert!(reserve(usize::MAX).unwrap_err().to_string().contains("there is no memory"));
    }
}
