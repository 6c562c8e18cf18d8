//! A Parquet file in progress, and what all files of a sink share.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use parquet::file::writer::SerializedFileWriter;
use pgarrow_sink::{FileEnd, FileFormat, FileWriter, Output, SinkError};

use crate::ranges::ranges;
use crate::row_group::{Encoded, Layout};

/// What all files and row groups of a sink share.
pub(crate) struct Format {
    pub(crate) layout: Layout,
    pub(crate) row_group_rows: usize,
    pub(crate) row_group_bytes: usize,
    pub(crate) data_page_bytes: usize,
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
        Ok(File { writer, schema: Arc::clone(&self.layout.arrow), rows: 0 })
    }
}

/// A Parquet file in progress.
pub(crate) struct File {
    writer: SerializedFileWriter<Output>,
    schema: SchemaRef,
    rows: u64,
}

impl File {
    /// Appends an encoded row group.
    pub(crate) fn append(&mut self, group: Encoded) -> Result<(), SinkError> {
        let append = || {
            let mut writer = self.writer.next_row_group()?;
            for chunk in group.chunks {
                chunk.append(&mut writer)?;
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
        let groups = self.writer.flushed_row_groups();
        let row_groups = Some(groups.len());
        let ranges = ranges(&self.schema, self.writer.schema_descr(), groups);
        let output = self.writer.into_inner();
        let output = output.map_err(|e| SinkError::encode("write the footer of", path.as_deref(), e))?;
        Ok(FileEnd { output, rows: self.rows, row_groups, ranges })
    }
}
