//! A file or stream in progress: the part that the lock protects.
//!
//! Source: <https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format>.

use std::io::{self, Write};

use arrow_ipc::convert::IpcSchemaEncoder;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, write_message};
use arrow_ipc::{Block, FooterBuilder, MetadataVersion};
use arrow_schema::SchemaRef;
use flatbuffers::FlatBufferBuilder;
use pgarrow_sink::option::ENUMS;
use pgarrow_sink::{FileEnd, FileFormat, FileWriter, Output, SinkError, SinkErrorKind, message};

use crate::encode::{Encoded, Message};
use crate::format::{Format, has_dictionary};
use crate::options::IpcFormat;

/// The first and last bytes of a file; at the beginning padded to a multiple of eight bytes.
const MAGIC: &[u8; 6] = b"ARROW1";

/// A prefix that announces a message of no bytes.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

impl FileFormat for Format {
    type Writer = File;

    fn extension(&self) -> &str {
        match self.options.format {
            IpcFormat::File => "arrow",
            IpcFormat::Stream => "arrows",
        }
    }

    fn begin(&self, mut output: Output) -> Result<File, SinkError> {
        let path = output.path().map(ToOwned::to_owned);
        let begin = || {
            if self.options.format == IpcFormat::File {
                // Padded like a buffer of a body.
                let mut magic = [0; ALIGNMENT];
                magic[..MAGIC.len()].copy_from_slice(MAGIC);
                output.write_all(&magic)?;
            }
            let mut tracker = DictionaryTracker::new(false);
            let schema = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
                &self.schema,
                &mut tracker,
                &self.write_options,
            );
            write_message(&mut output, schema, &self.write_options)?;
            Ok::<_, arrow_schema::ArrowError>(output)
        };
        let output = begin().map_err(|e| SinkError::encode("write the schema to", path.as_deref(), e))?;
        Ok(File {
            output,
            format: self.options.format,
            schema: SchemaRef::clone(&self.schema),
            rows: 0,
            dictionaries: Vec::new(),
            dictionary_blocks: Vec::new(),
            batch_blocks: Vec::new(),
        })
    }
}

/// The arrow crate pads to this many bytes by default.
const ALIGNMENT: usize = 64;

pub(crate) struct File {
    output: Output,
    format: IpcFormat,
    schema: SchemaRef,
    rows: u64,
    /// The dictionaries for the next batch, in the order of the schema.
    dictionaries: Vec<Message>,
    /// The places of messages, for the footer.
    dictionary_blocks: Vec<Block>,
    batch_blocks: Vec<Block>,
}

impl File {
    /// Appends an encoded batch, after those of its dictionaries that differ from the previous batch's.
    pub(crate) fn append(&mut self, batch: Encoded) -> Result<(), SinkError> {
        for (index, dictionary) in batch.dictionaries.into_iter().enumerate() {
            let last = self.dictionaries.get(index);
            if last.is_some_and(|last| last.same_bytes(&dictionary)) {
                continue;
            }
            if last.is_some() && self.format == IpcFormat::File {
                return Err(self.replaced_dictionary());
            }
            let block = self.write(&dictionary)?;
            self.dictionary_blocks.push(block);
            match self.dictionaries.get_mut(index) {
                Some(last) => *last = dictionary,
                None => self.dictionaries.push(dictionary),
            }
        }
        let block = self.write(&batch.batch)?;
        self.batch_blocks.push(block);
        self.rows += batch.rows as u64;
        Ok(())
    }

    fn write(&mut self, message: &Message) -> Result<Block, SinkError> {
        let offset = self.output.bytes();
        let written: io::Result<()> =
            message.buffers.iter().try_for_each(|buffer| self.output.write_all(buffer));
        written.map_err(|e| SinkError::io("write a batch to", self.output.path(), e))?;
        let too_large = || {
            let text = "an arrow ipc message or file is larger than the format allows";
            SinkError::new(SinkErrorKind::Encode, text)
        };
        Ok(Block::new(
            i64::try_from(offset).map_err(|_| too_large())?,
            i32::try_from(message.header_bytes).map_err(|_| too_large())?,
            i64::try_from(message.body_bytes).map_err(|_| too_large())?,
        ))
    }

    /// The error for an enum that grew: a file has one dictionary per column, which readers may load before
    /// any batch.
    fn replaced_dictionary(&self) -> SinkError {
        let fields = self.schema.fields().iter().filter(|field| has_dictionary(field.data_type()));
        let enums: Vec<_> = fields.map(|field| format!("{:?}", field.name())).collect();
        let text = message![
            format!(
                "a label was added to the enum of a column ({}) while the export ran, and an arrow ipc file \
                 cannot take it; use the stream format or Parquet, read enums as text (",
                enums.join(", ")
            ),
            ENUMS.to("text"),
            "), or run the export again"
        ];
        let error = SinkError::new(SinkErrorKind::Encode, text);
        match self.output.path() {
            Some(path) => error.with_path(path),
            None => error,
        }
    }

    /// The end of a file: the places of its schema, dictionaries and batches.
    fn footer(&self) -> Result<Vec<u8>, io::Error> {
        let mut builder = FlatBufferBuilder::new();
        let dictionaries = builder.create_vector(&self.dictionary_blocks);
        let batches = builder.create_vector(&self.batch_blocks);
        let mut tracker = DictionaryTracker::new(false);
        let schema = IpcSchemaEncoder::new()
            .with_dictionary_tracker(&mut tracker)
            .schema_to_fb_offset(&mut builder, &self.schema);
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(dictionaries);
        footer.add_recordBatches(batches);
        let footer = footer.finish();
        builder.finish(footer, None);
        let mut bytes = builder.finished_data().to_vec();
        let length = i32::try_from(bytes.len()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(MAGIC);
        Ok(bytes)
    }
}

impl FileWriter for File {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn bytes(&self) -> u64 {
        self.output.bytes()
    }

    fn end(mut self) -> Result<FileEnd, SinkError> {
        let mut end = || {
            self.output.write_all(&END_OF_STREAM)?;
            if self.format == IpcFormat::File {
                let footer = self.footer()?;
                self.output.write_all(&footer)?;
            }
            self.output.flush()
        };
        let ended = end();
        ended.map_err(|e| SinkError::io("write the end of", self.output.path(), e))?;
        Ok(FileEnd { output: self.output, rows: self.rows, row_groups: None, ranges: Vec::new() })
    }
}
