//! [`Texts`]: text and bytes of any length, with a dictionary, behind their lengths, or as they are.

use std::ops::Range;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{BinaryViewType, StringViewType};
use arrow_schema::DataType;
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;

use crate::leaf::apart::Apart;
use crate::leaf::bound::Bound;
use crate::leaf::numbers::{index_width, put_indexes};
use crate::leaf::strings::{Extremes, Keyed, Offsets, Strings, Views};
use crate::leaf::text_table::TextTable;
use crate::leaf::values::{Dictionary, Filter, PageEnd, Piece, Values, Wanted};

/// Bytes of a value's length, where it is in front of it.
const LENGTH_BYTES: usize = 4;

/// How values are written that are not in a dictionary.
enum Rest {
    Plain(Vec<u8>),
    /// All lengths, and then all bytes.
    Lengths(Apart),
}

pub(crate) struct Texts {
    table: Option<TextTable>,
    /// Of a page with a dictionary.
    indexes: Vec<u32>,
    rest: Rest,
    /// Values of the page in progress, and their bytes.
    n: usize,
    bytes: usize,
    /// Of a page without a dictionary.
    extremes: Extremes,
    wants_bounds: bool,
    page_bytes: usize,
    filter: Option<Filter>,
    /// Lengths of a few values.
    lengths: Vec<i32>,
}

/// Does the same with the values of any array of text or bytes.
macro_rules! with_strings {
    ($array:expr, $strings:ident => $do:expr) => {
        match $array.data_type() {
            DataType::Utf8 => {
                let $strings = Offsets::new($array.as_string::<i32>());
                $do
            }
            DataType::LargeUtf8 => {
                let $strings = Offsets::new($array.as_string::<i64>());
                $do
            }
            DataType::Binary => {
                let $strings = Offsets::new($array.as_binary::<i32>());
                $do
            }
            DataType::LargeBinary => {
                let $strings = Offsets::new($array.as_binary::<i64>());
                $do
            }
            DataType::Utf8View => {
                let $strings = Views($array.as_byte_view::<StringViewType>());
                $do
            }
            DataType::BinaryView => {
                let $strings = Views($array.as_byte_view::<BinaryViewType>());
                $do
            }
            _ => match Keyed::new($array) {
                Some($strings) => $do,
                None => {
                    return Err(ParquetError::General("an array has no text of its column's type".to_owned()))
                }
            },
        }
    };
}

impl Texts {
    pub(crate) fn new(wanted: Wanted) -> Self {
        let rest = match wanted.encoding {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => Rest::Lengths(Apart::new()),
            _ => Rest::Plain(Vec::new()),
        };
        Self {
            table: wanted.dictionary_bytes.map(TextTable::new),
            indexes: Vec::new(),
            rest,
            n: 0,
            bytes: 0,
            extremes: Extremes::default(),
            wants_bounds: wanted.bounds,
            page_bytes: wanted.page_bytes,
            filter: wanted.filter,
            lengths: Vec::new(),
        }
    }

    /// Bytes of the page in progress.
    fn filled(&self) -> usize {
        match &self.table {
            Some(table) => self.n * index_width(table.len()) as usize / 8,
            None => self.bytes + self.n * LENGTH_BYTES,
        }
    }

    fn fit_of<'a>(&self, strings: impl Strings<'a>, start: usize, rows: usize) -> usize {
        let room = self.page_bytes.saturating_sub(self.filled());
        match &self.table {
            Some(table) => {
                let fitting = room.saturating_mul(8) / index_width(table.len()).max(1) as usize;
                rows.min(fitting.max(1))
            }
            None if strings.bytes(start..start + rows).saturating_add(rows * LENGTH_BYTES) < room => rows,
            None => {
                let mut bytes = 0_usize;
                let is_full = |row: &usize| {
                    let of_row = strings.bytes(start + row..start + row + 1);
                    bytes = bytes.saturating_add(of_row + LENGTH_BYTES);
                    bytes >= room
                };
                (0..rows).find(is_full).map_or(rows, |row| row + 1)
            }
        }
    }

    /// Returns how many rows it took.
    fn append_of<'a>(&mut self, strings: impl Strings<'a>, piece: &Piece<'_>) -> usize {
        if let (None, Rest::Lengths(apart)) = (&self.table, &mut self.rest) {
            apart.begin_page(piece.rows, || strings.bytes(piece.start..piece.start + piece.rows));
        }
        for run in piece.runs() {
            match &mut self.table {
                None => self.append_rest(strings, run),
                Some(table) => {
                    self.indexes.reserve(run.len());
                    for row in run {
                        let value = strings.value(row);
                        let next = table.len();
                        let index = table.intern(value);
                        self.indexes.push(index);
                        self.n += 1;
                        self.bytes += value.len();
                        if index as usize == next {
                            if let Some(filter) = &mut self.filter {
                                filter.insert(value);
                            }
                            if table.is_full() {
                                return row + 1 - piece.start;
                            }
                        }
                    }
                }
            }
        }
        piece.rows
    }

    fn append_rest<'a>(&mut self, strings: impl Strings<'a>, run: Range<usize>) {
        let values = || run.clone().map(|row| strings.value(row));
        self.n += run.len();
        match &mut self.rest {
            Rest::Plain(bytes) => {
                for value in values() {
                    bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    bytes.extend_from_slice(value);
                    self.bytes += value.len();
                }
            }
            Rest::Lengths(apart) => {
                self.lengths.clear();
                match strings.span(run.clone()) {
                    Some(all) => {
                        apart.bytes.extend_from_slice(all);
                        self.bytes += all.len();
                    }
                    None => {
                        for value in values() {
                            apart.bytes.extend_from_slice(value);
                            self.bytes += value.len();
                        }
                    }
                }
                strings.put_lengths(run.clone(), &mut self.lengths);
                apart.lengths.extend(&self.lengths);
            }
        }
        if let Some(filter) = &mut self.filter {
            values().for_each(|value| filter.insert(value));
        }
        if self.wants_bounds {
            self.extremes.extend(strings, run);
        }
    }
}

impl Values for Texts {
    fn fit(&self, array: &dyn Array, start: usize, rows: usize) -> Result<usize, ParquetError> {
        Ok(with_strings!(array, strings => self.fit_of(strings, start, rows)))
    }

    fn append(&mut self, piece: &Piece<'_>) -> Result<usize, ParquetError> {
        Ok(with_strings!(piece.array, strings => self.append_of(strings, piece)))
    }

    fn is_page_full(&self) -> bool {
        self.filled() >= self.page_bytes
    }

    fn is_dictionary_full(&self) -> bool {
        self.table.as_ref().is_some_and(TextTable::is_full)
    }

    fn end_page(&mut self, out: &mut Vec<u8>) -> PageEnd {
        let text_bytes = Some(self.bytes as i64);
        (self.n, self.bytes) = (0, 0);
        let bound = |(min, max): (&[u8], &[u8])| (Bound::Bytes(min.to_vec()), Bound::Bytes(max.to_vec()));
        let mut start = 0;
        let (encoding, bounds) = match (&mut self.table, &mut self.rest) {
            (Some(table), _) => {
                put_indexes(&mut self.indexes, table.len(), out);
                (Encoding::RLE_DICTIONARY, table.end_page().map(bound))
            }
            (None, Rest::Plain(bytes)) => {
                out.extend_from_slice(bytes);
                bytes.clear();
                (Encoding::PLAIN, self.extremes.end_page())
            }
            (None, Rest::Lengths(apart)) => {
                start = apart.end_page(out);
                (Encoding::DELTA_LENGTH_BYTE_ARRAY, self.extremes.end_page())
            }
        };
        PageEnd { encoding, bounds: bounds.filter(|_| self.wants_bounds), text_bytes, start }
    }

    fn take_back(&mut self, out: &mut Vec<u8>) {
        if let Rest::Lengths(apart) = &mut self.rest {
            apart.take_back(out);
        }
    }

    fn end_dictionary(&mut self) -> Option<Dictionary> {
        self.indexes = Vec::new();
        let table = self.table.take()?;
        let n = table.len();
        Some(Dictionary { page: table.into_page(), n })
    }

    fn end_filter(&mut self) -> Option<Sbbf> {
        self.filter.take().map(Filter::end)
    }

    fn pending_bytes(&self) -> usize {
        self.filled() + self.table.as_ref().map_or(0, TextTable::page_bytes)
    }

    fn held_bytes(&self) -> usize {
        let rest = match &self.rest {
            Rest::Plain(bytes) => bytes.capacity(),
            Rest::Lengths(apart) => apart.held_bytes(),
        };
        size_of_val(self)
            + self.table.as_ref().map_or(0, TextTable::held_bytes)
            + self.indexes.capacity() * size_of::<u32>()
            + rest
            + self.extremes.held_bytes()
            + self.filter.as_ref().map_or(0, Filter::held_bytes)
            + self.lengths.capacity() * size_of::<i32>()
    }
}
