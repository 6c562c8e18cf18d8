//! [`Numbers`]: integers and floats, with a dictionary, as differences, or as they are.

use std::mem;

use arrow_array::Array;
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;

use crate::leaf::delta::Delta;
use crate::leaf::number::Number;
use crate::leaf::number_table::NumberTable;
use crate::leaf::pack::bits;
use crate::leaf::runs;
use crate::leaf::values::{Dictionary, Filter, PageEnd, Piece, Values, Wanted};

/// How values are written that are not in a dictionary.
enum Rest<T> {
    Plain(Vec<u8>),
    Delta(Delta<T>),
}

pub(crate) struct Numbers<T> {
    table: Option<NumberTable<T>>,
    /// Of a page with a dictionary.
    indexes: Vec<u32>,
    rest: Rest<T>,
    /// Values of the page in progress.
    n: usize,
    range: Option<(T, T)>,
    is_unsigned: bool,
    wants_bounds: bool,
    page_bytes: usize,
    filter: Option<Filter>,
    /// Values in another form than the array's.
    converted: Vec<T>,
    /// Values without those that are null.
    present: Vec<T>,
}

impl<T: Number> Numbers<T> {
    pub(crate) fn new(wanted: Wanted, is_unsigned: bool) -> Self {
        let rest = match wanted.encoding {
            Encoding::DELTA_BINARY_PACKED => Rest::Delta(Delta::new()),
            _ => Rest::Plain(Vec::new()),
        };
        Self {
            table: wanted.dictionary_bytes.map(NumberTable::new),
            indexes: Vec::new(),
            rest,
            n: 0,
            range: None,
            is_unsigned,
            wants_bounds: wanted.bounds,
            page_bytes: wanted.page_bytes,
            filter: wanted.filter,
            converted: Vec::new(),
            present: Vec::new(),
        }
    }

    /// Bits of a value in a page.
    fn width(&self) -> usize {
        match &self.table {
            Some(table) => index_width(table.values().len()) as usize,
            None => T::BYTES * 8,
        }
    }

    fn room(&self) -> usize {
        (self.page_bytes.saturating_mul(8) / self.width().max(1)).max(1).saturating_sub(self.n)
    }

    /// Takes values up to the one that fills the dictionary, and returns how many.
    fn take(&mut self, values: &[T]) -> usize {
        let (taken, new) = match (&mut self.table, &mut self.rest) {
            (Some(table), _) => {
                let before = table.values().len();
                let taken = table.intern(values, &mut self.indexes);
                (taken, &table.values()[before..])
            }
            (None, Rest::Plain(bytes)) => {
                T::put(values, bytes);
                (values.len(), values)
            }
            (None, Rest::Delta(delta)) => {
                delta.extend(values);
                (values.len(), values)
            }
        };
        if let Some(filter) = &mut self.filter {
            new.iter().for_each(|value| filter.insert(value));
        }
        if self.wants_bounds {
            let both = |(min, max): (T, T)| T::range(&[min, max], self.is_unsigned);
            self.range = match (self.range, T::range(&values[..taken], self.is_unsigned)) {
                (Some((least, most)), Some((min, max))) => {
                    both((least, min)).zip(both((most, max))).map(|((min, _), (_, max))| (min, max))
                }
                (one, two) => one.or(two),
            };
        }
        self.n += taken;
        taken
    }
}

impl<T: Number> Values for Numbers<T> {
    fn fit(&self, _: &dyn Array, _: usize, rows: usize) -> Result<usize, ParquetError> {
        Ok(rows.min(self.room()))
    }

    fn append(&mut self, piece: &Piece<'_>) -> Result<usize, ParquetError> {
        let mut converted = mem::take(&mut self.converted);
        let mut present = mem::take(&mut self.present);
        let values = T::of(piece.array, piece.start, piece.rows, &mut converted).ok_or_else(|| {
            ParquetError::General("an array has no numbers of its column's type".to_owned())
        })?;
        let taken = match &piece.nulls {
            None => self.take(values),
            Some(nulls) => {
                // Every value is written, and stays if it is one.
                present.resize(values.len() + 1, T::default());
                let mut n = 0;
                let words = nulls.inner().bit_chunks();
                for (values, mut valid) in values.chunks(64).zip(words.iter_padded()) {
                    for value in values {
                        present[n] = *value;
                        n += (valid & 1) as usize;
                        valid >>= 1;
                    }
                }
                let taken = self.take(&present[..n]);
                if taken < n { piece.rows_of(taken) } else { piece.rows }
            }
        };
        self.converted = converted;
        self.present = present;
        Ok(taken)
    }

    fn is_page_full(&self) -> bool {
        self.room() == 0
    }

    fn is_dictionary_full(&self) -> bool {
        self.table.as_ref().is_some_and(NumberTable::is_full)
    }

    fn end_page(&mut self, out: &mut Vec<u8>) -> PageEnd {
        let encoding = match (&self.table, &mut self.rest) {
            (Some(table), _) => {
                put_indexes(&mut self.indexes, table.values().len(), out);
                Encoding::RLE_DICTIONARY
            }
            (None, Rest::Plain(bytes)) => {
                out.extend_from_slice(bytes);
                bytes.clear();
                Encoding::PLAIN
            }
            (None, Rest::Delta(delta)) => {
                delta.end_page(out);
                Encoding::DELTA_BINARY_PACKED
            }
        };
        self.n = 0;
        let bounds = self.range.take().map(|(min, max)| (min.lower(), max.upper()));
        PageEnd { encoding, bounds, text_bytes: None, start: 0 }
    }

    fn end_dictionary(&mut self) -> Option<Dictionary> {
        self.indexes = Vec::new();
        let table = self.table.take()?;
        let mut page = Vec::new();
        T::put(table.values(), &mut page);
        Some(Dictionary { page, n: table.values().len() })
    }

    fn end_filter(&mut self) -> Option<Sbbf> {
        self.filter.take().map(Filter::end)
    }

    fn pending_bytes(&self) -> usize {
        match (&self.table, &self.rest) {
            (Some(table), _) => self.n * self.width() / 8 + table.values().len() * T::BYTES,
            (None, Rest::Plain(bytes)) => bytes.len(),
            (None, Rest::Delta(delta)) => delta.page_bytes(),
        }
    }

    fn held_bytes(&self) -> usize {
        let rest = match &self.rest {
            Rest::Plain(bytes) => bytes.capacity(),
            Rest::Delta(delta) => delta.held_bytes(),
        };
        size_of_val(self)
            + self.table.as_ref().map_or(0, NumberTable::held_bytes)
            + self.indexes.capacity() * size_of::<u32>()
            + rest
            + self.filter.as_ref().map_or(0, Filter::held_bytes)
            + (self.converted.capacity() + self.present.capacity()) * T::BYTES
    }
}

/// Bits of an index of a dictionary with `n` values.
pub(crate) fn index_width(n: usize) -> u32 {
    bits(n.saturating_sub(1) as u64)
}

/// Appends the indexes of a page, and leaves none.
pub(crate) fn put_indexes(indexes: &mut Vec<u32>, n: usize, out: &mut Vec<u8>) {
    let width = index_width(n);
    out.push(width as u8);
    runs::put(indexes, width, out);
    indexes.clear();
}
