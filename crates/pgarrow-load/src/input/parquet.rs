//! Reads Parquet files, one row group after the other.

use std::fs::File;
use std::io;

use arrow_array::cast::AsArray;
use arrow_array::types::ByteViewType;
use arrow_array::{Array, GenericByteViewArray, RecordBatch, make_array};
use arrow_schema::{ArrowError, DataType};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Encoding, Type};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;

use super::OpenFile;
use super::remote::RemoteReader;

/// The most rows of a batch.
const BATCH_ROWS: usize = 8192;

/// The same if the file does not state the size of values: few rows at a time bound the memory of large
/// values.
const UNKNOWN_BATCH_ROWS: usize = 1024;

/// Rows of the first batch of such a file.
const UNKNOWN_FIRST_ROWS: usize = 64;

/// Target size of a batch in bytes. A batch may be twice as large.
const BATCH_BYTES: usize = 8 << 20;

/// A file whose row groups are read one after the other.
pub(super) trait GroupFile: ChunkReader + Sized + 'static {
    /// The same file for another reader.
    fn reopen(&self) -> io::Result<Self>;

    /// Says which row group is read next.
    fn expect(&self, group: &RowGroupMetaData);
}

impl GroupFile for File {
    fn reopen(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn expect(&self, _: &RowGroupMetaData) {}
}

impl GroupFile for RemoteReader {
    fn reopen(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    fn expect(&self, group: &RowGroupMetaData) {
        self.expect(group.columns().iter().map(|column| {
            let (start, n_bytes) = column.byte_range();
            start..start.saturating_add(n_bytes)
        }));
    }
}

pub(super) fn open(file: impl GroupFile) -> Result<OpenFile, ArrowError> {
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    let groups = metadata.metadata().row_groups();
    let mut rows = groups.iter().map(|group| u64::try_from(group.num_rows()).ok());
    let rows = rows.try_fold(0_u64, |sum, rows| sum.checked_add(rows?));
    let rows = rows.filter(|rows| i64::try_from(*rows) == Ok(metadata.metadata().file_metadata().num_rows()));
    let rows = rows.ok_or_else(|| damaged("its row groups have other rows than the file says"))?;
    let schema = metadata.schema().clone();
    let batches = Batches { file, metadata, next_group: 0, group: None };
    Ok(OpenFile { schema, rows: Some(rows), batches: Box::new(batches) })
}

struct Batches<F> {
    file: F,
    metadata: ArrowReaderMetadata,
    next_group: usize,
    group: Option<Group>,
}

/// The row group being read.
struct Group {
    index: usize,
    reader: ParquetRecordBatchReader,
    /// Rows already read.
    done: usize,
    /// Rows still expected.
    rows: u64,
    /// Rows per batch.
    batch_rows: usize,
    /// Upper limit of `batch_rows` once the size of rows is known.
    batch_rows_max: usize,
}

impl<F: GroupFile> Batches<F> {
    fn read(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        loop {
            let mut group = match self.group.take() {
                Some(group) => group,
                None => match self.open_group()? {
                    Some(group) => group,
                    None => return Ok(None),
                },
            };
            match group.reader.next() {
                Some(Ok(batch)) => {
                    let rows = group.rows.checked_sub(batch.num_rows() as u64);
                    group.rows = rows.ok_or_else(|| damaged("a row group has more rows than it says"))?;
                    group.done += batch.num_rows();
                    let batch_rows = next_rows(&group, &batch);
                    self.go_on(group, batch_rows)?;
                    return Ok(Some(batch));
                }
                // Values too large for one array may fit into several. A damaged file fails again.
                Some(Err(_)) if group.batch_rows > 1 => {
                    let batch_rows = (group.batch_rows / 8).max(1);
                    group.batch_rows_max = batch_rows;
                    self.go_on(group, batch_rows)?;
                }
                Some(Err(error)) => return Err(error),
                None if group.rows > 0 => return Err(damaged("a row group has fewer rows than it says")),
                None => {}
            }
        }
    }

    fn open_group(&mut self) -> Result<Option<Group>, ArrowError> {
        let index = self.next_group;
        let Some(group) = self.metadata.metadata().row_groups().get(index) else { return Ok(None) };
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        self.file.expect(group);
        let (batch_rows, batch_rows_max) = batch_rows(group, rows);
        let reader = self.reader(index, 0, batch_rows)?;
        self.next_group += 1;
        Ok(Some(Group { index, reader, done: 0, rows, batch_rows, batch_rows_max }))
    }

    /// Continues the row group with batches of this many rows.
    fn go_on(&mut self, group: Group, batch_rows: usize) -> Result<(), ArrowError> {
        let reader = match batch_rows == group.batch_rows {
            true => group.reader,
            false => self.reader(group.index, group.done, batch_rows)?,
        };
        self.group = Some(Group { reader, batch_rows, ..group });
        Ok(())
    }

    fn reader(
        &self,
        group: usize,
        done: usize,
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, ArrowError> {
        let file = self.file.reopen()?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone());
        let builder = builder.with_row_groups(vec![group]).with_batch_size(batch_rows);
        Ok(if done > 0 { builder.with_offset(done).build()? } else { builder.build()? })
    }
}

/// How many rows the next batch should have, from the size of this one.
fn next_rows(group: &Group, batch: &RecordBatch) -> usize {
    let bytes = batch.columns().iter().map(|column| own_bytes(column)).fold(0, usize::saturating_add);
    let row_bytes = bytes / batch.num_rows().max(1);
    let fitting = (BATCH_BYTES / row_bytes.max(1)).clamp(1, group.batch_rows_max);
    // A new reader reads earlier rows again, so the batch size changes only if the difference is large.
    let is_other = fitting >= group.batch_rows.saturating_mul(4) || fitting < group.batch_rows / 2;
    if is_other { fitting } else { group.batch_rows }
}

/// The bytes of an array that shrink with its number of rows. Views point into pages, and keys into
/// dictionaries, that all batches of the row group share, however few rows they have.
fn own_bytes(array: &dyn Array) -> usize {
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let (n_rows, values) = (array.len(), dictionary.values());
        // If rows share values, more rows do not need more values.
        let is_shared = values.len() <= n_rows / 2;
        let value_bytes = own_bytes(values.as_ref()) / values.len().max(1);
        let n_own = if is_shared { 0 } else { n_rows.min(values.len()) };
        return own_bytes(dictionary.keys()).saturating_add(value_bytes.saturating_mul(n_own));
    }
    let data = array.to_data();
    match array.data_type() {
        DataType::Utf8View => view_bytes(array.as_string_view()),
        DataType::BinaryView => view_bytes(array.as_binary_view()),
        _ if data.child_data().is_empty() => {
            data.get_slice_memory_size().unwrap_or_else(|_| array.get_buffer_memory_size())
        }
        _ => {
            let children = data.child_data().iter().map(|child| own_bytes(&make_array(child.clone())));
            children.fold(array.len().saturating_mul(size_of::<i64>()), usize::saturating_add)
        }
    }
}

/// Several views of one value share its bytes.
fn view_bytes<T: ByteViewType>(array: &GenericByteViewArray<T>) -> usize {
    let values: usize = array.lengths().map(|length| length as usize).fold(0, usize::saturating_add);
    let pages = array.data_buffers().iter().map(|page| page.len()).fold(0, usize::saturating_add);
    array.len().saturating_mul(size_of::<u128>()).saturating_add(values.min(pages))
}

impl<F: GroupFile> Iterator for Batches<F> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Rows of the first batch, and the most rows of later batches, from the sizes that the row group states.
fn batch_rows(group: &RowGroupMetaData, rows: u64) -> (usize, usize) {
    let mut bytes = group.columns().iter().map(column_bytes);
    let bytes: Option<u64> = bytes.try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)));
    let Some(bytes) = bytes else { return (UNKNOWN_FIRST_ROWS, UNKNOWN_BATCH_ROWS) };
    let row_bytes = usize::try_from(bytes / rows.max(1)).unwrap_or(usize::MAX);
    ((BATCH_BYTES / row_bytes.max(1)).clamp(1, BATCH_ROWS), BATCH_ROWS)
}

/// The decoded size of a column's values. For dictionaries and prefix encodings, some writers do not state
/// it.
fn column_bytes(column: &ColumnChunkMetaData) -> Option<u64> {
    let n_values = u64::try_from(column.num_values()).unwrap_or_default();
    let width = match column.column_type() {
        Type::BYTE_ARRAY => {
            let stated = column.unencoded_byte_array_data_bytes();
            let is_plain = |encoding| matches!(encoding, Encoding::PLAIN | Encoding::RLE);
            let is_plain = column.dictionary_page_offset().is_none() && column.encodings().all(is_plain);
            let bytes = stated.or_else(|| is_plain.then(|| column.uncompressed_size()));
            return bytes.map(|bytes| u64::try_from(bytes).unwrap_or_default());
        }
        Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(column.column_descr().type_length()).unwrap_or_default(),
        Type::INT96 => 12,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT32 | Type::FLOAT => 4,
        Type::BOOLEAN => 1,
    };
    Some(n_values.saturating_mul(width))
}

fn damaged(what: &str) -> ArrowError {
    ArrowError::ParquetError(format!("it is damaged: {what}"))
}
