//! [`ParquetSink`]: Parquet files, written by any number of parts.

use std::fmt;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use parquet::file::writer::SerializedFileWriter;
use pgarrow_sink::{FileEnd, FileFormat, FileWriter, Lanes, Output, Outputs, Part, Sink, SinkError, Written};

use crate::cost::COLUMN_BYTES_WANTED;
use crate::options::ParquetOptions;
use crate::part::ParquetPart;
use crate::row_group::{Encoded, Layout};
use crate::schema::{self, Adapted};

/// Writes Parquet: one file, or a series of files in a folder.
///
/// Repeated column names get a suffix, see [`warnings`](Self::warnings). The Arrow schema is embedded, so
/// that types without a counterpart in Parquet come back; the schema's metadata becomes the file's. Columns of
/// `geoarrow.wkb` are described as GeoParquet wants it. A field's metadata `PARQUET:field_id`, also inside of lists, structs
/// and maps, becomes its field id.
pub struct ParquetSink {
    lanes: Arc<Lanes<Format>>,
    warnings: Vec<String>,
}

/// What all files and row groups of a sink have in common.
pub(crate) struct Format {
    pub(crate) layout: Layout,
    pub(crate) row_group_rows: usize,
    pub(crate) row_group_bytes: usize,
    pub(crate) data_page_bytes: usize,
}

impl ParquetSink {
    /// Starts one file or several for batches of `schema`. An [`Output`] is one file.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](pgarrow_sink::SinkErrorKind::Unsupported): a schema without columns, an interval, another
    /// type that Parquet does not have, or a compression level that does not exist.
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

    /// What people should know about the files: columns that had to be renamed, coordinate systems that GeoParquet cannot
    /// be told. One sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

impl Sink for ParquetSink {
    fn open_part(&self, index: usize) -> Result<Box<dyn Part>, SinkError> {
        Ok(Box::new(ParquetPart::open(Arc::clone(&self.lanes), index)))
    }

    fn part_bytes(&self) -> usize {
        self.lanes.format().layout.parquet.num_columns().saturating_mul(COLUMN_BYTES_WANTED)
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        self.lanes.commit()
    }
}

impl FileFormat for Format {
    type Writer = File;

    fn extension(&self) -> &str {
        "parquet"
    }

    fn begin(&self, output: Output) -> Result<File, SinkError> {
        let path = output.path().map(ToOwned::to_owned);
        let (root, properties) = (self.layout.parquet.root_schema_ptr(), Arc::clone(&self.layout.properties));
        let writer = SerializedFileWriter::new(output, root, properties)
            .map_err(|e| SinkError::encode("begin the parquet file", path.as_deref(), e))?;
        Ok(File { writer, rows: 0 })
    }
}

/// A Parquet file in progress.
pub(crate) struct File {
    writer: SerializedFileWriter<Output>,
    rows: u64,
}

impl File {
    /// Appends an encoded row group.
    pub(crate) fn append(&mut self, group: Encoded) -> Result<(), SinkError> {
        let append = || {
            let mut writer = self.writer.next_row_group()?;
            for chunk in group.chunks {
                chunk.append_to_row_group(&mut writer)?;
            }
            writer.close()
        };
        let appended = append();
        let metadata = appended.map_err(|e| SinkError::encode("write", self.writer.inner().path(), e))?;
        self.rows += metadata.num_rows().unsigned_abs();
        Ok(())
    }
}

impl FileWriter for File {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn bytes(&self) -> u64 {
        // The parquet crate has a buffer of its own in front of the output.
        self.writer.bytes_written() as u64
    }

    fn end(self) -> Result<FileEnd, SinkError> {
        let path = self.writer.inner().path().map(ToOwned::to_owned);
        let row_groups = Some(self.writer.flushed_row_groups().len());
        let output = self.writer.into_inner();
        let output = output.map_err(|e| SinkError::encode("write the footer of", path.as_deref(), e))?;
        Ok(FileEnd { output, rows: self.rows, row_groups })
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
