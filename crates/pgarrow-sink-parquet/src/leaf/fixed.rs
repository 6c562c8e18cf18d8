//! [`Fixed`]: values of one length, as they are: uuids, and decimals of more than 18 digits.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_schema::DataType;
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;

use crate::leaf::bound::{Bound, Order};
use crate::leaf::number::native;
use crate::leaf::values::{Filter, PageEnd, Piece, Values, Wanted};

/// The longest values. (Statistics of longer ones are cut.)
pub(crate) const WIDTH_MAX: usize = 64;

pub(crate) struct Fixed {
    width: usize,
    bytes: Vec<u8>,
    /// Smallest and largest value of the page in progress.
    range: Option<(Bound, Bound)>,
    wants_bounds: bool,
    page_bytes: usize,
    filter: Option<Filter>,
}

impl Fixed {
    pub(crate) fn new(wanted: Wanted, width: usize) -> Self {
        let (wants_bounds, page_bytes, filter) = (wanted.bounds, wanted.page_bytes, wanted.filter);
        Self { width, bytes: Vec::new(), range: None, wants_bounds, page_bytes, filter }
    }

    fn room(&self) -> usize {
        let n = self.page_bytes.div_ceil(self.width.max(1)).max(1);
        n.saturating_sub(self.bytes.len() / self.width.max(1))
    }

    /// Keeps smallest and largest value.
    fn widen(&mut self, values: &[u8], is_decimal: bool) {
        let values = values.chunks_exact(self.width);
        let both = if self.width > size_of::<u128>() {
            values.clone().min().zip(values.max()).map(|(min, max)| (min.to_vec(), max.to_vec()))
        } else {
            // The first bit of a decimal is its sign.
            let sign = if is_decimal { 1 << (8 * self.width - 1) } else { 0 };
            let mut keys = values.map(|value| wide(value) ^ sign);
            let first = keys.next();
            let range =
                first.map(|first| keys.fold((first, first), |(min, max), key| (min.min(key), max.max(key))));
            let start = size_of::<u128>() - self.width;
            let value = |key: u128| (key ^ sign).to_be_bytes()[start..].to_vec();
            range.map(|(min, max)| (value(min), value(max)))
        };
        let order = if is_decimal { Order::SignedBytes } else { Order::Natural };
        let Some((min, max)) = both.map(|(min, max)| (Bound::Bytes(min), Bound::Bytes(max))) else { return };
        self.range = Some(match self.range.take() {
            None => (min, max),
            Some((least, most)) => (
                if min.is_less(&least, order) { min } else { least },
                if most.is_less(&max, order) { max } else { most },
            ),
        });
    }
}

impl Values for Fixed {
    fn fit(&self, _: &dyn Array, _: usize, rows: usize) -> Result<usize, ParquetError> {
        Ok(rows.min(self.room()))
    }

    fn append(&mut self, piece: &Piece<'_>) -> Result<usize, ParquetError> {
        let wrong = || ParquetError::General("an array has no values of its column's length".to_owned());
        let width = self.width;
        let before = self.bytes.len();
        let is_decimal = matches!(piece.array.data_type(), DataType::Decimal128(..));
        if is_decimal {
            let start = size_of::<i128>().checked_sub(width).ok_or_else(wrong)?;
            for run in piece.runs() {
                let values = native::<Decimal128Type>(piece.array, run.start, run.len()).ok_or_else(wrong)?;
                for value in values {
                    self.bytes.extend_from_slice(&value.to_be_bytes()[start..]);
                }
            }
        } else {
            let array = piece.array.as_fixed_size_binary_opt().ok_or_else(wrong)?;
            if array.value_size() != width {
                return Err(wrong());
            }
            for row in piece.runs().flatten() {
                self.bytes.extend_from_slice(array.value(row));
            }
        }
        let bytes = std::mem::take(&mut self.bytes);
        let values = &bytes[before..];
        if self.wants_bounds {
            self.widen(values, is_decimal);
        }
        if let Some(filter) = &mut self.filter {
            values.chunks_exact(width).for_each(|value| filter.insert(value));
        }
        self.bytes = bytes;
        Ok(piece.rows)
    }

    fn is_page_full(&self) -> bool {
        self.room() == 0
    }

    fn end_page(&mut self, out: &mut Vec<u8>) -> PageEnd {
        out.extend_from_slice(&self.bytes);
        self.bytes.clear();
        PageEnd { encoding: Encoding::PLAIN, bounds: self.range.take(), text_bytes: None, start: 0 }
    }

    fn end_filter(&mut self) -> Option<Sbbf> {
        self.filter.take().map(Filter::end)
    }

    fn pending_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn held_bytes(&self) -> usize {
        let filter = self.filter.as_ref().map_or(0, Filter::held_bytes);
        size_of_val(self) + self.bytes.capacity() + 2 * self.width + filter
    }
}

/// Up to sixteen bytes as a number, the highest first.
fn wide(bytes: &[u8]) -> u128 {
    match bytes.try_into() {
        Ok(all) => u128::from_be_bytes(all),
        Err(_) => bytes.iter().fold(0, |wide, byte| wide << 8 | u128::from(*byte)),
    }
}
