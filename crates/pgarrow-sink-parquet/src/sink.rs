//! [`ParquetSink`]: Parquet files, written by any number of parts.

use std::fmt;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use pgarrow_sink::{Chunk, Lanes, Outputs, Part, Sink, SinkError, Stop, Written};

use crate::cost::{COLUMN_BYTES_WANTED, FILTERS_WANTED};
use crate::file::Format;
use crate::options::ParquetOptions;
use crate::part::ParquetPart;
use crate::row_group::Layout;
use crate::schema::{self, Adapted};

/// Writes Parquet: one file, or a series of files in a folder.
///
/// Repeated column names get a suffix, see [`warnings`](Self::warnings). The Arrow schema is embedded, so
/// that types without a counterpart in Parquet come back; the schema's metadata become the file's. Columns of
/// `geoarrow.wkb` are described as GeoParquet requires. A field's metadata `PARQUET:field_id`, also inside
/// lists, structs and maps, becomes its field id.
pub struct ParquetSink {
    lanes: Arc<Lanes<Format>>,
    warnings: Vec<String>,
}

impl ParquetSink {
    /// Starts one or several files for batches of `schema`. An [`Output`](pgarrow_sink::Output) is one file.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](pgarrow_sink::SinkErrorKind::Unsupported) for a schema without columns, an interval,
    /// another type that Parquet does not have, a compression level that does not exist, or choices for a
    /// column that does not exist or cannot have them.
    pub fn create(
        outputs: impl Into<Outputs>,
        schema: SchemaRef,
        options: ParquetOptions,
    ) -> Result<Self, SinkError> {
        let Adapted { schema, geo, warnings } = schema::adapt(&schema)?;
        let format = Format {
            layout: Layout::new(schema, geo, &options)?,
            row_group_rows: options.row_group_rows.max(1),
            row_group_bytes: options.row_group_bytes.max(1),
            data_page_bytes: options.data_page_bytes,
        };
        Ok(Self { lanes: Arc::new(Lanes::new(outputs.into(), format)?), warnings })
    }

    /// What users should know about the files: columns that had to be renamed, coordinate systems that
    /// GeoParquet cannot name. One sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

impl Sink for ParquetSink {
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
        Ok(Box::new(ParquetPart::open(Arc::clone(&self.lanes))))
    }

    fn append(&self, lane: usize, chunk: Chunk, _stop: &Stop) -> Result<(), SinkError> {
        let rows = chunk.rows();
        let group = chunk.into_encoded()?;
        self.lanes.append(lane, rows, |file| file.append(group))
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        self.lanes.commit()
    }

    fn lanes(&self) -> usize {
        self.lanes.count()
    }

    fn part_bytes(&self) -> usize {
        let layout = &self.lanes.format().layout;
        let columns = layout.parquet.num_columns().saturating_mul(COLUMN_BYTES_WANTED);
        columns.saturating_add(layout.filter_bytes().saturating_mul(FILTERS_WANTED))
    }
}

impl fmt::Debug for ParquetSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetSink")
            .field("path", &self.lanes.path())
            .field("schema", &self.lanes.format().layout.arrow)
            .finish_non_exhaustive()
    }
}
