//! The memory that the writers of a row group's columns take.
//!
//! Columns that are encoded here (`leaf`) know what their buffers hold. The parquet crate says how many bytes
//! it has buffered ([`ArrowColumnWriter::memory_size`]), but a column costs more or less: a writer of
//! differences reserves 1 MiB and counts it although it is empty, a page's buffers stay for the next page,
//! and contexts of the compressor are not counted at all. For a few columns that is little; for 300 it is
//! more than their values. So this module adds it all up. With many columns for the memory, pages are smaller
//! and dictionaries fewer.

use parquet::arrow::arrow_writer::ArrowColumnWriter;
use parquet::basic::{Compression, Encoding, Type as PhysicalType};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnDescriptor;

/// Bytes that a column writer takes before its first page is complete: itself, its compressor, and the first
/// buffers that it reserves. (1,600 integer columns of ten rows took 44 MB.)
pub(crate) const COLUMN_BYTES: usize = 28 << 10;

/// Bytes that a part should have for each column: [`COLUMN_BYTES`], and enough values that the file's
/// metadata about them (300 bytes) are small even if they compress very well.
pub(crate) const COLUMN_BYTES_WANTED: usize = 128 << 10;

/// Bytes kept of a column of an encoded row group until the end of the file: places, encodings, statistics,
/// indexes.
pub(crate) const CHUNK_BYTES: usize = 1 << 10;

/// Bytes that writers of differences reserve, and count although they are empty: `DEFAULT_BIT_WRITER_SIZE`.
const DELTA_RESERVED_BYTES: usize = 1 << 20;

/// A dictionary's table before its first value; those of text and bytes begin empty.
const DICTIONARY_TABLE_BYTES: usize = 73 << 10;

/// Bytes that a compressor of zstd keeps from its first page on, and for each byte that it compresses at a
/// time. (With 1,600 columns it took 62 KB each, with pages of 10 KB.)
const CONTEXT_BYTES: usize = 48 << 10;
const CONTEXT_FACTOR: usize = 2;
const COMPRESSED_AT_ONCE: usize = 128 << 10;

/// With less than this for a column, its compressor would take a large part of it. If the whole column is one
/// page, the compressor is needed only at the end of the row group.
const COLUMN_BYTES_FOR_PAGES: usize = 512 << 10;

/// With less than this for a column, a dictionary of text takes too large a part of it.
const COLUMN_BYTES_FOR_DICTIONARY: usize = 32 << 10;

/// Most rows of a page: those of a batch, as a rule. The parquet crate's own 20,000 cut a batch in two pages
/// where its writer, which looks between batches, made one. More pages compress worse.
const PAGE_ROWS: usize = 32_768;

/// A page takes at most this part of a row group's bytes, since it is held as it is and compressed, but may
/// always have so many.
const PAGES_WANTED: usize = 16;
const PAGE_BYTES_ALWAYS: usize = 1 << 20;

/// The rows that a row group may have by default.
const ROWS_OF_ONE_PAGE: usize = 1 << 20;

/// Bytes of a block, which a bloom filter is made of.
pub(crate) const FILTER_BLOCK_BYTES: usize = 32;

/// Most bytes of a bloom filter: `BITSET_MAX_LENGTH` of the parquet crate, which makes none that is larger,
/// however many values are expected.
pub(crate) const FILTER_BYTES_MAX: usize = 128 << 20;

/// A part should have this many times the bytes of its bloom filters. They stay as they are, however little
/// there is for values, so with less a row group would end as soon as it begins.
pub(crate) const FILTERS_WANTED: usize = 4;

/// Bytes of a bloom filter while a row group is written; `None` if they cannot be counted. The parquet crate
/// rounds them up to a power of two.
///
/// Source: `num_of_bits_from_ndv_fpp` of the parquet crate, which is private. A test compares.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "saturates, and only its magnitude matters"
)]
pub(crate) fn filter_bytes(values: u64, false_positives: f64) -> Option<usize> {
    let bits = -8.0 * values as f64 / (1.0 - false_positives.powf(1.0 / 8.0)).ln();
    (bits as usize / 8).max(FILTER_BLOCK_BYTES).checked_next_power_of_two()
}

/// The limits for the columns of a row group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Limits {
    /// Most rows of a page.
    pub(crate) page_rows: usize,
    /// Most bytes of a page, before compression.
    pub(crate) page_bytes: usize,
    /// The bytes at which the parquet crate's writer ends a page. It looks only between pieces, which may
    /// have as many bytes again.
    pub(crate) crate_page_bytes: usize,
    /// Bytes for a column, if all have the same.
    column_bytes: usize,
}

impl Limits {
    /// The limits in a row group of `group_bytes`, with pages of `page_bytes` if there are few columns.
    pub(crate) fn new(group_bytes: usize, n_columns: usize, page_bytes: usize) -> Self {
        let column_bytes = group_bytes / n_columns.max(1);
        let page_rows = match column_bytes >= COLUMN_BYTES_FOR_PAGES {
            true => PAGE_ROWS,
            false => ROWS_OF_ONE_PAGE,
        };
        let crate_page_bytes = page_bytes.div_ceil(2);
        let page_bytes = page_bytes.min((group_bytes / PAGES_WANTED).max(PAGE_BYTES_ALWAYS));
        Self { page_rows, page_bytes, crate_page_bytes, column_bytes }
    }

    /// Most bytes of a dictionary. A column with more continues without one.
    pub(crate) fn dictionary_bytes(&self) -> usize {
        (self.column_bytes / 2).clamp(16 << 10, 1 << 20)
    }

    /// Whether a column of this type can afford a dictionary: an index of eight bytes for each value of a
    /// page, and a table, except for text and bytes.
    pub(crate) fn affords_dictionary(&self, physical: PhysicalType) -> bool {
        let needed = match physical {
            PhysicalType::BYTE_ARRAY => COLUMN_BYTES_FOR_DICTIONARY,
            _ => 2 * DICTIONARY_TABLE_BYTES,
        };
        needed <= self.column_bytes
    }
}

/// Bytes that a compressor of zstd keeps from its first page on, if pages have up to so many.
pub(crate) fn compressor_bytes(page_bytes: usize) -> usize {
    CONTEXT_BYTES + CONTEXT_FACTOR * page_bytes.min(COMPRESSED_AT_ONCE)
}

/// What decides how much memory the parquet crate's writer of a column holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Bytes that the parquet crate counts although they are not in use.
    reserved: usize,
    /// Most bytes of a page.
    page_bytes: usize,
    /// The column has text or bytes, whose buffers grow by doubling.
    is_bytes: bool,
    /// Bytes that the compressor keeps from the first page on.
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
            // Values of any length.
            PhysicalType::BYTE_ARRAY => limits.crate_page_bytes,
        };
        let page_bytes = limits.crate_page_bytes.min(width.saturating_mul(limits.page_rows));
        let keeps_context = matches!(properties.compression(column.path()), Compression::ZSTD(_));
        Self {
            reserved: if is_delta { DELTA_RESERVED_BYTES } else { 0 },
            page_bytes,
            is_bytes: column.physical_type() == PhysicalType::BYTE_ARRAY,
            compressor_bytes: if keeps_context { compressor_bytes(page_bytes) } else { 0 },
        }
    }

    /// Bytes that the writer holds of values, encoded or not, and its dictionary.
    pub(crate) fn value_bytes(&self, writer: &ArrowColumnWriter) -> usize {
        let counted = writer.memory_size().saturating_sub(self.reserved);
        counted.max(writer.get_estimated_total_bytes())
    }

    /// Bytes that the writer holds besides, after it was given `raw_bytes` of values.
    pub(crate) fn fixed_bytes(&self, raw_bytes: usize) -> usize {
        let has_pages = raw_bytes > self.page_bytes;
        let of_compressor = if has_pages { self.compressor_bytes } else { 0 };
        // The contents of the first page count as values.
        let of_page = if has_pages || self.is_bytes { raw_bytes.min(self.page_bytes) } else { 0 };
        COLUMN_BYTES + of_page + of_compressor
    }
}

#[cfg(test)]
mod tests {
    use parquet::bloom_filter::Sbbf;

    use super::*;

    #[test]
    fn filters_are_as_large_as_those_of_the_parquet_crate() {
        for values in [1, 2, 31, 1000, 65_536, 1 << 20, 3 << 20] {
            for false_positives in [0.5, 0.05, 0.01, 0.000_1] {
                let filter = Sbbf::new_with_ndv_fpp(values, false_positives).unwrap();
                let expected = filter.num_blocks() * FILTER_BLOCK_BYTES;
                assert_eq!(
                    filter_bytes(values, false_positives),
                    Some(expected),
                    "{values}, {false_positives}"
                );
            }
        }
        assert!(filter_bytes(u64::MAX, 1e-9).is_none_or(|bytes| bytes > FILTER_BYTES_MAX));
    }

    #[test]
    fn few_columns_get_what_they_always_got() {
        let limits = Limits::new(64 << 20, 50, 2 << 20);
        assert_eq!((limits.page_rows, limits.page_bytes), (32_768, 2 << 20));
        assert_eq!(limits.crate_page_bytes, 1 << 20);
        // In little memory, pages are smaller.
        for (group_bytes, expected) in
            [(32 << 20, 2 << 20), (24 << 20, 3 << 19), (16 << 20, 1 << 20), (0, 1 << 20)]
        {
            assert_eq!(Limits::new(group_bytes, 1, 2 << 20).page_bytes, expected);
        }
        assert_eq!(Limits::new(0, 1, 900).page_bytes, 900);
        assert_eq!(limits.dictionary_bytes(), (64 << 20) / 100);
        assert!(limits.affords_dictionary(PhysicalType::INT64));
    }

    /// Before, 300 integer columns had tables, indexes and compressors of 400 KB each, whatever the memory.
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
