//! What a file says about a column of a row group: statistics, and the indexes of its pages.

use parquet::basic::{BoundaryOrder, LogicalType, SortOrder, Type as PhysicalType};
use parquet::basic::{ConvertedType, Encoding};
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

use crate::leaf::bound::{Bound, Cut, Order, cut_lower, cut_upper};
use crate::leaf::pages::Pages;
use crate::leaf::values::PageEnd;

/// What is known of the pages so far.
pub(crate) struct Summary {
    column: ColumnDescPtr,
    statistics: EnabledStatistics,
    order: Order,
    /// Most bytes of a bound in the page index, and in the statistics of the row group.
    index_length: Option<usize>,
    statistics_length: Option<usize>,
    column_index: ColumnIndexBuilder,
    offset_index: OffsetIndexBuilder,
    /// Whether no page has smaller bounds than the one before, and whether none has larger ones.
    is_ascending: bool,
    is_descending: bool,
    /// Bounds of the last page that has values.
    last: Option<(Bound, Bound)>,
    /// Bounds of all pages.
    all: Option<(Bound, Bound)>,
    rows: usize,
    nulls: usize,
    text_bytes: Option<i64>,
    /// Bytes that the indexes hold.
    index_bytes: usize,
}

/// Bytes that the indexes hold of a page besides its bounds: two texts, and numbers of rows and of levels.
/// Twice, since their buffers grow by doubling.
const PAGE_BYTES: usize = 2 * (2 * size_of::<Vec<u8>>() + 8 * WORD_BYTES);

const WORD_BYTES: usize = size_of::<u64>();

impl Summary {
    pub(crate) fn new(column: &ColumnDescPtr, properties: &WriterProperties) -> Self {
        let physical = column.physical_type();
        let statistics = properties.statistics_enabled(column.path());
        let mut column_index = ColumnIndexBuilder::new(physical);
        if statistics != EnabledStatistics::Page {
            column_index.to_invalid();
        }
        let is_decimal = matches!(column.logical_type_ref(), Some(LogicalType::Decimal(_)));
        let order = match (column.sort_order(), physical) {
            (SortOrder::UNSIGNED, PhysicalType::INT32 | PhysicalType::INT64) => Order::Unsigned,
            (_, PhysicalType::FIXED_LEN_BYTE_ARRAY) if is_decimal => Order::SignedBytes,
            _ => Order::Natural,
        };
        // A part of a decimal is another number.
        let can_cut = order == Order::Natural;
        Self {
            column: ColumnDescPtr::clone(column),
            statistics,
            order,
            index_length: properties.column_index_truncate_length().filter(|_| can_cut),
            statistics_length: properties.statistics_truncate_length().filter(|_| can_cut),
            column_index,
            offset_index: OffsetIndexBuilder::new(),
            is_ascending: true,
            is_descending: true,
            last: None,
            all: None,
            rows: 0,
            nulls: 0,
            text_bytes: None,
            index_bytes: 0,
        }
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// Adds a page of `rows`, some of which are NULL.
    pub(crate) fn add(&mut self, page: PageEnd, rows: usize, nulls: usize) {
        self.rows += rows;
        self.nulls += nulls;
        self.index_bytes += PAGE_BYTES;
        self.offset_index.append_row_count(rows as i64);
        self.offset_index.append_unencoded_byte_array_data_bytes(page.text_bytes);
        if let Some(bytes) = page.text_bytes {
            *self.text_bytes.get_or_insert(0) += bytes;
        }
        match page.bounds {
            Some(bounds) => self.add_bounds(bounds, nulls),
            None if nulls == rows => self.column_index.append(true, Vec::new(), Vec::new(), nulls as i64),
            // Values without an order: of a page that has only these, nothing can be said.
            None => self.column_index.to_invalid(),
        }
        self.column_index.append_histograms(&None, &self.histogram(rows, nulls));
    }

    fn add_bounds(&mut self, (min, max): (Bound, Bound), nulls: usize) {
        let is_less = |one: &Bound, two: &Bound| one.is_less(two, self.order);
        if let Some((last_min, last_max)) = &self.last {
            self.is_ascending &= !is_less(&min, last_min) && !is_less(&max, last_max);
            self.is_descending &= !is_less(last_min, &min) && !is_less(last_max, &max);
        }
        self.all = Some(match self.all.take() {
            None => (min.clone(), max.clone()),
            Some((least, most)) => (
                if is_less(&min, &least) { min.clone() } else { least },
                if is_less(&most, &max) { max.clone() } else { most },
            ),
        });
        let (lower, _) = self.cut(min.to_bytes(), self.index_length, cut_lower);
        let (upper, _) = self.cut(max.to_bytes(), self.index_length, cut_upper);
        self.index_bytes += lower.capacity() + upper.capacity();
        self.column_index.append(false, lower, upper, nulls as i64);
        self.last = Some((min, max));
    }

    pub(crate) fn held_bytes(&self) -> usize {
        let bounds = [&self.last, &self.all].into_iter().flatten().flat_map(|(min, max)| [min, max]);
        self.index_bytes + bounds.map(Bound::held_bytes).sum::<usize>()
    }

    fn cut(&self, bytes: Vec<u8>, length: Option<usize>, cut: Cut) -> (Vec<u8>, bool) {
        let is_text = self.column.logical_type_ref() == Some(&LogicalType::String)
            || self.column.converted_type() == ConvertedType::UTF8;
        match length {
            Some(length) => cut(bytes, length, is_text),
            None => (bytes, false),
        }
    }

    fn histogram(&self, rows: usize, nulls: usize) -> Option<LevelHistogram> {
        let wanted = self.statistics != EnabledStatistics::None;
        let mut histogram = LevelHistogram::try_new(self.column.max_def_level()).filter(|_| wanted)?;
        histogram.increment_by(0, nulls as i64);
        histogram.increment_by(1, (rows - nulls) as i64);
        Some(histogram)
    }

    /// The description of all pages, as an appended column has it: the first page is at 0.
    pub(crate) fn end(
        mut self,
        pages: &Pages,
        filter: Option<Sbbf>,
    ) -> Result<ColumnCloseResult, ParquetError> {
        let mut offset = pages.dictionary_bytes().unwrap_or(0);
        let mut builder = ColumnChunkMetaData::builder(ColumnDescPtr::clone(&self.column))
            .set_compression(pages.codec())
            .set_encodings(self.encodings(pages))
            .set_page_encoding_stats(pages.stats().to_vec())
            .set_total_compressed_size(pages.bytes as i64)
            .set_total_uncompressed_size(pages.plain_bytes as i64)
            .set_num_values(self.rows as i64)
            .set_data_page_offset(offset as i64)
            .set_dictionary_page_offset(pages.dictionary_bytes().map(|_| 0));
        if self.statistics != EnabledStatistics::None {
            builder = builder
                .set_statistics(self.statistics())
                .set_unencoded_byte_array_data_bytes(self.text_bytes)
                .set_definition_level_histogram(self.histogram(self.rows, self.nulls));
        }
        for bytes in pages.data_bytes() {
            self.offset_index.append_offset_and_size(offset as i64, bytes as i32);
            offset += bytes;
        }
        self.column_index.set_boundary_order(match (self.is_ascending, self.is_descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        });
        Ok(ColumnCloseResult {
            bytes_written: pages.bytes as u64,
            rows_written: self.rows as u64,
            metadata: builder.build()?,
            bloom_filter: filter,
            column_index: self.column_index.valid().then(|| self.column_index.build()).transpose()?,
            offset_index: Some(self.offset_index.build()),
        })
    }

    /// All encodings, and that of levels, which every column has.
    fn encodings(&self, pages: &Pages) -> Vec<Encoding> {
        pages.stats().iter().map(|stats| stats.encoding).chain([Encoding::RLE]).collect()
    }

    fn statistics(&self) -> Statistics {
        /// Statistics of one type of bounds.
        macro_rules! of {
            ($min:expr, $max:expr) => {
                ValueStatistics::new($min, $max, None, Some(self.nulls as u64), false)
                    .with_backwards_compatible_min_max(self.column.sort_order().is_signed())
            };
        }
        macro_rules! numbers {
            ($bound:path) => {{
                let number = |bound: &Bound| match bound {
                    $bound(value) => Some(*value),
                    _ => None,
                };
                let (min, max) =
                    self.all.as_ref().map_or((None, None), |(min, max)| (number(min), number(max)));
                of!(min, max).into()
            }};
        }
        macro_rules! texts {
            ($text:ty) => {{
                let cut = |bound: &Bound, cut: Cut| self.cut(bound.to_bytes(), self.statistics_length, cut);
                let text =
                    |(bytes, is_other): (Vec<u8>, bool)| (<$text>::from(ByteArray::from(bytes)), !is_other);
                let (min, is_min) = self.all.as_ref().map(|(min, _)| text(cut(min, cut_lower))).unzip();
                let (max, is_max) = self.all.as_ref().map(|(_, max)| text(cut(max, cut_upper))).unzip();
                of!(min, max)
                    .with_min_is_exact(is_min.unwrap_or(false))
                    .with_max_is_exact(is_max.unwrap_or(false))
                    .into()
            }};
        }
        match self.column.physical_type() {
            PhysicalType::BOOLEAN => numbers!(Bound::Flag),
            PhysicalType::INT32 => numbers!(Bound::Int32),
            PhysicalType::INT64 | PhysicalType::INT96 => numbers!(Bound::Int64),
            PhysicalType::FLOAT => numbers!(Bound::Float),
            PhysicalType::DOUBLE => numbers!(Bound::Double),
            PhysicalType::BYTE_ARRAY => texts!(ByteArray),
            PhysicalType::FIXED_LEN_BYTE_ARRAY => texts!(FixedLenByteArray),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::SchemaDescriptor;

    use super::*;

    /// Smallest and largest values of long texts were held, and not counted.
    #[test]
    fn bounds_of_long_texts_are_counted() {
        let schema = parse_message_type("message m { optional binary t (UTF8); }").unwrap();
        let column = SchemaDescriptor::new(Arc::new(schema)).column(0);
        let mut summary = Summary::new(&column, &WriterProperties::default());
        assert_eq!(summary.held_bytes(), 0);
        const LONG: usize = 1 << 20;
        let mut before = 0;
        for pages in 1..=100 {
            let bound = |byte: u8| Bound::Bytes(vec![byte; LONG]);
            let bounds = Some((bound(b'b'), bound(b'c')));
            summary.add(PageEnd { encoding: Encoding::PLAIN, bounds, text_bytes: Some(0), start: 0 }, 10, 0);
            let held = summary.held_bytes();
            // Those of the last page and of all pages; in the index they are cut.
            assert!((4 * LONG..4 * LONG + pages * 1000).contains(&held), "{held} of {pages} pages");
            assert!(held >= before + 128 + 2 * size_of::<Vec<u8>>(), "{held} after {before}");
            before = held;
        }
    }
}
