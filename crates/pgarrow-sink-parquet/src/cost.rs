//! What the writers of a row group's columns take of memory.
//!
//! The parquet crate says how many bytes it has buffered ([`ArrowColumnWriter::memory_size`]), and that is not what a
//! column costs: a writer of differences reserves 1 MiB and is said to hold it although nothing is in it, a page's
//! buffers stay for the next page, and contexts of the compressor are not counted at all. Of a few columns that is
//! little; of 300 it is more than their values. So it is all put together here, and with many columns for the
//! memory there is, pages are smaller and dictionaries fewer.

use parquet::arrow::arrow_writer::ArrowColumnWriter;
use parquet::basic::{Compression, Encoding, Type as PhysicalType};
use parquet::file::properties::{DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT, WriterProperties};
use parquet::schema::types::ColumnDescriptor;

/// What a column writer takes before its first page is complete: itself, its compressor, and the beginnings of buffers that
/// it reserves. (1,600 integer columns of ten rows took 44 MB.)
pub(crate) const COLUMN_BYTES: usize = 28 << 10;

/// What a part should have for each column: that, and so many bytes of values that what the file says about them (300
/// bytes) is little even where they compress very well.
pub(crate) const COLUMN_BYTES_WANTED: usize = 128 << 10;

/// What is kept of a column of an encoded row group until the end of the file: places, encodings, statistics, indexes.
pub(crate) const CHUNK_BYTES: usize = 1 << 10;

/// What writers of differences reserve, and count as held although it is empty: `DEFAULT_BIT_WRITER_SIZE`.
const DELTA_RESERVED_BYTES: usize = 1 << 20;

/// A dictionary's table before its first value; those of text and bytes begin empty.
const DICTIONARY_TABLE_BYTES: usize = 73 << 10;

/// What a compressor of zstd keeps from its first page on, and for each byte that it works on at a time. (Of the 1,600
/// columns it took 62 KB each, with pages of 10 KB.)
const CONTEXT_BYTES: usize = 48 << 10;
const CONTEXT_FACTOR: usize = 2;
const COMPRESSED_AT_ONCE: usize = 128 << 10;

/// With less than this for a column, its compressor would take a large part of it: it is needed only at the end of the row
/// group if all of a column is one page.
const COLUMN_BYTES_FOR_PAGES: usize = 512 << 10;

/// With less than this for a column, a dictionary of text takes too large a part of it.
const COLUMN_BYTES_FOR_DICTIONARY: usize = 32 << 10;

/// As many as a row group may have by default.
const ROWS_OF_ONE_PAGE: usize = 1 << 20;

/// What the columns of a row group may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Limits {
    /// Rows of a page at most.
    pub(crate) page_rows: usize,
    /// Bytes of a page at most, before compression.
    pub(crate) page_bytes: usize,
    /// Bytes of a column, if all have the same.
    column_bytes: usize,
}

impl Limits {
    /// Of a row group of `group_bytes`, with pages of `page_bytes` where there are few columns.
    pub(crate) fn new(group_bytes: usize, n_columns: usize, page_bytes: usize) -> Self {
        let column_bytes = group_bytes / n_columns.max(1);
        let page_rows = match column_bytes >= COLUMN_BYTES_FOR_PAGES {
            true => DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT,
            false => ROWS_OF_ONE_PAGE,
        };
        Self { page_rows, page_bytes, column_bytes }
    }

    /// Bytes of a dictionary at most. A column that has more goes on without one.
    pub(crate) fn dictionary_bytes(&self) -> usize {
        (self.column_bytes / 2).clamp(16 << 10, 1 << 20)
    }

    /// Whether a column of this type can afford a dictionary: an index of eight bytes for each value of a page, and, but for
    /// text and bytes, a table.
    pub(crate) fn affords_dictionary(&self, physical: PhysicalType) -> bool {
        let needed = match physical {
            PhysicalType::BYTE_ARRAY => COLUMN_BYTES_FOR_DICTIONARY,
            _ => 2 * DICTIONARY_TABLE_BYTES,
        };
        needed <= self.column_bytes
    }
}

/// What is to be known of a column to say what its writer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Counted by the parquet crate, and not there.
    reserved: usize,
    /// Bytes of a page at most.
    page_bytes: usize,
    /// Text and bytes, whose buffers grow by doubling.
    is_bytes: bool,
    /// What the compressor keeps from the first page on.
    compressor_bytes: usize,
}

impl Cost {
    pub(crate) fn new(column: &ColumnDescriptor, properties: &WriterProperties, limits: &Limits) -> Self {
        let encoding = properties.encoding(column.path());
        let is_delta = encoding == Some(Encoding::DELTA_BINARY_PACKED);
        let width = match column.physical_type() {
            PhysicalType::BOOLEAN | PhysicalType::INT32 | PhysicalType::FLOAT => 4,
            PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
            PhysicalType::INT96 => 12,
            PhysicalType::FIXED_LEN_BYTE_ARRAY => usize::try_from(column.type_length()).unwrap_or(0),
            // As long as they are.
            PhysicalType::BYTE_ARRAY => limits.page_bytes,
        };
        let page_bytes = limits.page_bytes.min(width.saturating_mul(limits.page_rows));
        let keeps_context = matches!(properties.compression(column.path()), Compression::ZSTD(_));
        Self {
            reserved: if is_delta { DELTA_RESERVED_BYTES } else { 0 },
            page_bytes,
            is_bytes: column.physical_type() == PhysicalType::BYTE_ARRAY,
            compressor_bytes: if keeps_context {
                CONTEXT_BYTES + CONTEXT_FACTOR * page_bytes.min(COMPRESSED_AT_ONCE)
            } else {
                0
            },
        }
    }

    /// What the writer holds of values, encoded or not, and its dictionary.
    pub(crate) fn value_bytes(&self, writer: &ArrowColumnWriter) -> usize {
        let counted = writer.memory_size().saturating_sub(self.reserved);
        counted.max(writer.get_estimated_total_bytes())
    }

    /// What the writer holds besides, once it was given `raw_bytes` of values.
    pub(crate) fn fixed_bytes(&self, raw_bytes: usize) -> usize {
        let has_pages = raw_bytes > self.page_bytes;
        let of_compressor = if has_pages { self.compressor_bytes } else { 0 };
        // What is in the first page is counted as values.
        let of_page = if has_pages || self.is_bytes { raw_bytes.min(self.page_bytes) } else { 0 };
        COLUMN_BYTES + of_page + of_compressor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_columns_get_what_they_always_got() {
        let limits = Limits::new(64 << 20, 50, 1 << 20);
        assert_eq!((limits.page_rows, limits.page_bytes), (20_000, 1 << 20));
        assert_eq!(limits.dictionary_bytes(), (64 << 20) / 100);
        assert!(limits.affords_dictionary(PhysicalType::INT64));
    }

    /// 300 integer columns had tables, indexes and compressors of 400 KB each, whatever the memory.
    #[test]
    fn many_columns_share_what_there_is() {
        for (group_bytes, n_columns, dictionaries) in [
            (64 << 20, 300, [true, true]),
            (16 << 20, 300, [false, true]),
            (64 << 20, 1600, [false, true]),
            (4 << 20, 1600, [false, false]),
        ] {
            let limits = Limits::new(group_bytes, n_columns, 1 << 20);
            let types = [PhysicalType::INT32, PhysicalType::BYTE_ARRAY];
            assert_eq!(types.map(|physical| limits.affords_dictionary(physical)), dictionaries, "{limits:?}");
            assert_eq!(limits.page_rows, ROWS_OF_ONE_PAGE);
        }
    }
}
