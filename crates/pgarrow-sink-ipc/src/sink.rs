//! [`IpcSink`]: Arrow IPC files or streams, written by any number of parts.

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use pgarrow_sink::{Chunk, Chunks, Lanes, Outputs, Part, Sink, SinkError, Stop, Written, check_batch};

use crate::encode::Encoder;
use crate::format::Format;
use crate::options::IpcOptions;

/// Writes Arrow IPC: one file or stream, or a series of them in a folder.
///
/// The schema is written at once, with its metadata, so an empty result has it, too. Batches without columns
/// keep their number of rows.
pub struct IpcSink {
    lanes: Arc<Lanes<Format>>,
}

impl IpcSink {
    /// Starts one or several files or streams for batches of `schema`. An [`Output`](pgarrow_sink::Output) is
    /// one.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](pgarrow_sink::SinkErrorKind::Unsupported) for a compression that is not available, or
    /// the output's error when the schema is written to it.
    pub fn create(
        outputs: impl Into<Outputs>,
        schema: SchemaRef,
        options: IpcOptions,
    ) -> Result<Self, SinkError> {
        let format = Format::new(schema, options)?;
        Ok(Self { lanes: Arc::new(Lanes::new(outputs.into(), format)?) })
    }

    /// What users should know about the files: columns that some readers refuse. One sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let fields = self.lanes.format().schema.fields();
        let deep = fields.iter().filter_map(|field| {
            let depth = depth(field.data_type());
            (depth > DEPTH_READ).then(|| {
                let name = field.name();
                format!(
                    "column {name:?}: types stand in one another {depth} deep, and readers of arrow ipc stop at {DEPTH_READ}"
                )
            })
        });
        deep.collect()
    }
}

/// How deep types may be nested for the readers of the arrow crate; those of Arrow C++ take 63.
const DEPTH_READ: usize = 60;

/// The number of lists, structs and maps around the innermost type.
fn depth(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => {
            1 + fields.iter().map(|field| depth(field.data_type())).max().unwrap_or_default()
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => 1 + depth(item.data_type()),
        _ => 0,
    }
}

impl Sink for IpcSink {
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
        let encoder = Encoder::new(self.lanes.format())?;
        Ok(Box::new(IpcPart { lanes: Arc::clone(&self.lanes), encoder }))
    }

    fn append(&self, lane: usize, chunk: Chunk, _stop: &Stop) -> Result<(), SinkError> {
        let rows = chunk.rows();
        let batch = chunk.into_encoded()?;
        self.lanes.append(lane, rows, |file| file.append(batch))
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        self.lanes.commit()
    }

    fn lanes(&self) -> usize {
        self.lanes.count()
    }
}

struct IpcPart {
    lanes: Arc<Lanes<Format>>,
    encoder: Encoder,
}

impl Part for IpcPart {
    fn write(&mut self, batch: &RecordBatch, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let format = self.lanes.format();
        check_batch(&format.schema, batch)?;
        // An empty batch has no rows, and readers of a stream would have to skip it.
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let encoded = self.encoder.encode(format, batch);
        let encoded = encoded.map_err(|e| SinkError::encode("encode a batch for", self.lanes.path(), e))?;
        chunks.push(Chunk::new(batch.num_rows() as u64, encoded.held_bytes(), encoded))
    }

    /// With compression, as much as the batch: buffers that compress badly grow a little. With dictionaries,
    /// as much again, since the buffers are joined. Otherwise buffers are written as they are; only validity
    /// and offsets of slices are made anew, which is little beside large values.
    fn working_bytes(&self, batch_bytes: usize) -> usize {
        let format = self.lanes.format();
        let copies = usize::from(format.is_compressed()) + usize::from(format.has_dictionaries);
        batch_bytes.saturating_mul(copies).saturating_add(batch_bytes / 8)
    }
}

impl fmt::Debug for IpcSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpcSink")
            .field("path", &self.lanes.path())
            .field("schema", &self.lanes.format().schema)
            .finish_non_exhaustive()
    }
}
