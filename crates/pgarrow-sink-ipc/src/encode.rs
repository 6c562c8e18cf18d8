//! Encodes one batch as messages of Arrow IPC: a part does so without a lock.
//!
//! Source: <https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format>.

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::writer::{
    DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, StreamEncoder, write_message,
};
use arrow_schema::ArrowError;
use pgarrow_sink::{SinkError, SinkErrorKind};

use crate::format::Format;

/// A batch that is ready to be appended.
pub(crate) struct Encoded {
    /// All dictionaries that the batch needs, in the order of the schema. Only under the lock is it known
    /// which of them the file has already.
    pub(crate) dictionaries: Vec<Message>,
    pub(crate) batch: Message,
    pub(crate) rows: usize,
}

/// An encapsulated message: prefix, metadata, padding, body.
pub(crate) struct Message {
    pub(crate) buffers: Vec<Buffer>,
    /// Bytes of prefix, metadata and padding.
    pub(crate) header_bytes: usize,
    /// Bytes of the body.
    pub(crate) body_bytes: usize,
}

impl Encoded {
    /// Bytes held in memory. Uncompressed buffers are the batch's own.
    pub(crate) fn held_bytes(&self) -> usize {
        let messages = self.dictionaries.iter().chain([&self.batch]);
        messages.flat_map(|message| &message.buffers).map(Buffer::capacity).sum()
    }
}

/// Encodes the batches of one part.
pub(crate) enum Encoder {
    /// Without dictionaries: buffers that need no compression are not copied.
    Plain(Box<StreamEncoder>),
    /// With dictionaries. The stream encoder would leave out dictionaries that it has seen, although the file
    /// may have others by now. So each batch brings its own, which are small beside it.
    Dictionaries(Box<IpcWriteContext>),
}

impl Encoder {
    pub(crate) fn new(format: &Format) -> Result<Self, SinkError> {
        if format.has_dictionaries {
            return Ok(Self::Dictionaries(Box::default()));
        }
        let begin = || {
            let options = format.write_options.clone();
            let mut encoder = StreamEncoder::try_new_with_options(&format.schema, options)?;
            // Its first batch comes with the schema, which the file has already: this empty batch takes it.
            encoder.encode(&RecordBatch::new_empty(format.schema.clone()))?;
            Ok(encoder)
        };
        let encoder = begin().map_err(|e: ArrowError| {
            let text = format!("this schema cannot be written to arrow ipc: {e}");
            SinkError::new(SinkErrorKind::Unsupported, text)
        })?;
        Ok(Self::Plain(Box::new(encoder)))
    }

    pub(crate) fn encode(&mut self, format: &Format, batch: &RecordBatch) -> Result<Encoded, ArrowError> {
        let rows = batch.num_rows();
        match self {
            Self::Plain(encoder) => {
                let batch = Message::from_buffers(encoder.encode(batch)?)?;
                Ok(Encoded { dictionaries: Vec::new(), batch, rows })
            }
            Self::Dictionaries(context) => {
                let generator = IpcDataGenerator::default();
                let mut tracker = DictionaryTracker::new(false);
                // Numbers the dictionaries as the schema at the beginning of the file does.
                let options = &format.write_options;
                generator.schema_to_bytes_with_dictionary_tracker(&format.schema, &mut tracker, options);
                let (dictionaries, batch) = generator.encode(batch, &mut tracker, options, context)?;
                let message = |encoded| Message::from_encoded(encoded, format);
                let dictionaries = dictionaries.into_iter().map(message).collect::<Result<_, _>>()?;
                Ok(Encoded { dictionaries, batch: message(batch)?, rows })
            }
        }
    }
}

impl Message {
    /// A message in pieces. The first is its prefix: `FF FF FF FF`, and the length of all bytes before the
    /// body, less 8.
    fn from_buffers(buffers: Vec<Buffer>) -> Result<Self, ArrowError> {
        let all: usize = buffers.iter().map(Buffer::len).sum();
        let prefix = buffers.first().map(Buffer::as_slice);
        let Some([0xff, 0xff, 0xff, 0xff, length @ ..]) = prefix else { return Err(unexpected()) };
        let length = <[u8; 4]>::try_from(length).map_err(|_| unexpected())?;
        let header_bytes = u32::from_le_bytes(length) as usize + 8;
        let body_bytes = all.checked_sub(header_bytes).ok_or_else(unexpected)?;
        Ok(Self { buffers, header_bytes, body_bytes })
    }

    /// Compares buffers. A dictionary always has two: header and body.
    pub(crate) fn same_bytes(&self, other: &Self) -> bool {
        self.buffers == other.buffers
    }

    fn from_encoded(encoded: EncodedData, format: &Format) -> Result<Self, ArrowError> {
        let EncodedData { ipc_message, arrow_data } = encoded;
        let header = EncodedData { ipc_message, arrow_data: Vec::new() };
        let mut bytes = Vec::new();
        let (header_bytes, _) = write_message(&mut bytes, header, &format.write_options)?;
        // The generator has padded the body already.
        let body_bytes = arrow_data.len();
        Ok(Self { buffers: vec![bytes.into(), arrow_data.into()], header_bytes, body_bytes })
    }
}

fn unexpected() -> ArrowError {
    ArrowError::IpcError("an encoded batch does not begin with a prefix of eight bytes".to_owned())
}
