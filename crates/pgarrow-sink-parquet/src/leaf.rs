//! [`Leaf`]: encodes a column that is not nested, faster than the parquet crate's writer.
//!
//! ```text
//! array ─▶ pieces of 1,024 rows ─┬▶ levels: which rows have a value ─┐
//!                                └▶ values: dictionary, or encoded ──┴▶ page ─▶ compressed ─▶ chunk
//! ```
//!
//! What it writes is what that writer would, up to where pages end and how long runs are. It knows the type
//! from the beginning: integers of a small range find their place in a dictionary without a hash, text is
//! compared eight bytes at a time, and all columns of a row group share one compressor and its buffers.
//!
//! Start at [`Leaf::begin`], which decides what is encoded here; the crate's writer has the rest. `values` is
//! what a type has to do: `numbers`, `texts`, `fixed`, `flags`. `summary` has statistics and page indexes.

mod apart;
mod bound;
mod delta;
mod fixed;
mod flags;
mod levels;
mod number;
mod number_table;
mod numbers;
mod pack;
mod pages;
mod places;
mod runs;
mod strings;
mod summary;
mod text_table;
mod texts;
mod values;

use arrow_array::Array;
use arrow_schema::{DataType, TimeUnit};
use parquet::basic::{Compression, Encoding, SortOrder, Type as PhysicalType};
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnDescPtr;

use crate::cost::Limits;
use crate::leaf::bound::Order;
use crate::leaf::fixed::Fixed;
use crate::leaf::flags::Flags;
use crate::leaf::levels::Levels;
use crate::leaf::numbers::Numbers;
use crate::leaf::pages::{Ended, Pages};
use crate::leaf::summary::Summary;
use crate::leaf::texts::Texts;
use crate::leaf::values::{Filter, Piece, Values, Wanted};

pub(crate) use crate::leaf::pages::Scratch;

/// Rows that are encoded at a time: their values stay in the processor's cache.
const PIECE_ROWS: usize = 1024;

/// A column of a row group in progress.
pub(crate) struct Leaf {
    values: Box<dyn Values>,
    levels: Levels,
    pages: Pages,
    summary: Summary,
    /// Most rows of a page.
    page_rows: usize,
}

/// A column of a row group that is complete.
pub(crate) struct Chunk {
    pub(crate) pages: Ended,
    pub(crate) close: ColumnCloseResult,
}

impl Leaf {
    /// Begins a column of values of this Arrow type. `None` for what the parquet crate's writer has to do.
    ///
    /// # Errors
    ///
    /// For a bloom filter that cannot be.
    pub(crate) fn begin(
        data_type: &DataType,
        column: &ColumnDescPtr,
        properties: &WriterProperties,
        limits: &Limits,
    ) -> Result<Option<Self>, ParquetError> {
        let path = column.path();
        let codec = properties.compression(path);
        let is_flat = column.max_rep_level() == 0 && column.max_def_level() <= 1 && path.parts().len() == 1;
        let is_known = matches!(codec, Compression::UNCOMPRESSED | Compression::ZSTD(_))
            && properties.writer_version() == WriterVersion::PARQUET_1_0
            && column.sort_order() != SortOrder::UNDEFINED;
        if !is_flat || !is_known {
            return Ok(None);
        }
        let filter = || match properties.bloom_filter_properties(path) {
            None => Ok::<_, ParquetError>(None),
            Some(wanted) => {
                let sbbf = Sbbf::new_with_ndv_fpp(wanted.ndv(), wanted.fpp())?;
                Ok(Some(Filter::new(sbbf, wanted.fpp())))
            }
        };
        let encoding = properties.encoding(path).unwrap_or(Encoding::PLAIN);
        let has_dictionary = properties.dictionary_enabled(path);
        let wanted = || {
            Ok::<_, ParquetError>(Wanted {
                encoding,
                dictionary_bytes: has_dictionary.then(|| limits.dictionary_bytes()),
                page_bytes: limits.page_bytes,
                bounds: properties.statistics_enabled(path) != EnabledStatistics::None,
                filter: filter()?,
            })
        };
        let summary = Summary::new(column, properties);
        let is_unsigned = summary.order() == Order::Unsigned;
        let width = usize::try_from(column.type_length()).unwrap_or(0);
        let values: Box<dyn Values> = match (column.physical_type(), encoding) {
            (PhysicalType::INT32, Encoding::PLAIN | Encoding::DELTA_BINARY_PACKED) if is_int32(data_type) => {
                Box::new(Numbers::<i32>::new(wanted()?, is_unsigned))
            }
            (PhysicalType::INT64, Encoding::PLAIN | Encoding::DELTA_BINARY_PACKED) if is_int64(data_type) => {
                Box::new(Numbers::<i64>::new(wanted()?, is_unsigned))
            }
            (PhysicalType::FLOAT, Encoding::PLAIN) if *data_type == DataType::Float32 => {
                Box::new(Numbers::<f32>::new(wanted()?, false))
            }
            (PhysicalType::DOUBLE, Encoding::PLAIN) if *data_type == DataType::Float64 => {
                Box::new(Numbers::<f64>::new(wanted()?, false))
            }
            (PhysicalType::BYTE_ARRAY, Encoding::PLAIN | Encoding::DELTA_LENGTH_BYTE_ARRAY)
                if is_text(data_type) =>
            {
                Box::new(Texts::new(wanted()?))
            }
            (PhysicalType::FIXED_LEN_BYTE_ARRAY, Encoding::PLAIN) if is_fixed(data_type, width) => {
                Box::new(Fixed::new(wanted()?, width))
            }
            (PhysicalType::BOOLEAN, Encoding::PLAIN) if *data_type == DataType::Boolean => {
                Box::new(Flags::new(&wanted()?))
            }
            _ => return Ok(None),
        };
        let levels = Levels::new(column.max_def_level() > 0);
        Ok(Some(Self {
            values,
            levels,
            pages: Pages::new(codec),
            summary,
            page_rows: limits.page_rows.max(1),
        }))
    }

    pub(crate) fn write(&mut self, array: &dyn Array, scratch: &mut Scratch) -> Result<(), ParquetError> {
        // Of an enum's labels, too.
        let all_nulls = array.logical_nulls();
        let mut start = 0;
        while start < array.len() {
            let room = (self.page_rows - self.levels.rows()).min(PIECE_ROWS).min(array.len() - start);
            let rows = self.values.fit(array, start, room)?.clamp(1, room);
            let nulls = all_nulls.as_ref().map(|nulls| nulls.slice(start, rows));
            let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
            let mut piece = Piece { array, start, rows, nulls };
            let taken = self.values.append(&piece)?;
            if taken < rows {
                piece.nulls = piece.nulls.map(|nulls| nulls.slice(0, taken));
            }
            self.levels.append(piece.nulls.as_ref(), taken);
            start += taken;
            let is_dictionary_full = self.values.is_dictionary_full();
            if is_dictionary_full || self.levels.rows() >= self.page_rows || self.values.is_page_full() {
                self.end_page(scratch)?;
            }
            if is_dictionary_full {
                self.end_dictionary(scratch)?;
            }
        }
        Ok(())
    }

    fn end_page(&mut self, scratch: &mut Scratch) -> Result<(), ParquetError> {
        let (rows, nulls) = (self.levels.rows(), self.levels.nulls());
        if rows == 0 {
            return Ok(());
        }
        scratch.page.clear();
        self.levels.end_page(&mut scratch.page);
        let page = self.values.end_page(&mut scratch.page);
        scratch.page_start = page.start;
        self.pages.add(scratch, rows, page.encoding)?;
        self.values.take_back(&mut scratch.page);
        scratch.page_start = 0;
        self.summary.add(page, rows, nulls);
        Ok(())
    }

    fn end_dictionary(&mut self, scratch: &mut Scratch) -> Result<(), ParquetError> {
        if let Some(dictionary) = self.values.end_dictionary() {
            (scratch.page, scratch.page_start) = (dictionary.page, 0);
            self.pages.add_dictionary(scratch, dictionary.n)?;
        }
        Ok(())
    }

    /// About how many bytes the column will take in the file.
    pub(crate) fn estimated_bytes(&self) -> usize {
        self.pages.bytes + self.values.pending_bytes()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        size_of_val(self)
            + self.pages.held_bytes()
            + self.values.held_bytes()
            + self.levels.held_bytes()
            + self.summary.held_bytes()
    }

    pub(crate) fn close(mut self, scratch: &mut Scratch) -> Result<Chunk, ParquetError> {
        self.end_page(scratch)?;
        self.end_dictionary(scratch)?;
        let close = self.summary.end(&self.pages, self.values.end_filter())?;
        Ok(Chunk { pages: self.pages.end(), close })
    }
}

/// Whether `Numbers` of four bytes reads arrays of this type: see `Number::of`.
fn is_int32(data_type: &DataType) -> bool {
    use DataType::{Date32, Decimal128, Int8, Int16, Int32, Time32, UInt8, UInt16, UInt32};
    match data_type {
        Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | Date32 | Decimal128(..) => true,
        Time32(unit) => *unit == TimeUnit::Millisecond,
        _ => false,
    }
}

/// Whether `Numbers` of eight bytes reads arrays of this type.
fn is_int64(data_type: &DataType) -> bool {
    use DataType::{Decimal128, Int64, Time64, Timestamp, UInt64};
    match data_type {
        Int64 | UInt64 | Time64(_) | Decimal128(..) => true,
        Timestamp(unit, _) => *unit != TimeUnit::Second,
        _ => false,
    }
}

/// Whether [`Texts`] reads arrays of this type.
fn is_text(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Dictionary, LargeBinary, LargeUtf8, Utf8, Utf8View};
    match data_type {
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => true,
        Dictionary(keys, values) => **keys == DataType::Int32 && **values == Utf8,
        _ => false,
    }
}

/// Whether [`Fixed`] reads arrays of this type.
fn is_fixed(data_type: &DataType, width: usize) -> bool {
    match data_type {
        DataType::FixedSizeBinary(_) => (1..=fixed::WIDTH_MAX).contains(&width),
        DataType::Decimal128(..) => (1..=size_of::<i128>()).contains(&width),
        _ => false,
    }
}
