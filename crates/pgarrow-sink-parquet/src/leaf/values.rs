//! [`Values`]: what encodes the values of a column, whatever its type.

use std::ops::Range;

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;

use crate::leaf::bound::Bound;

/// Some rows of an array, at most [`PIECE_ROWS`](crate::leaf::PIECE_ROWS) of them.
pub(crate) struct Piece<'a> {
    pub(crate) array: &'a dyn Array,
    pub(crate) start: usize,
    pub(crate) rows: usize,
    /// Which rows have a value, if not all have.
    pub(crate) nulls: Option<NullBuffer>,
}

impl Piece<'_> {
    /// The ranges of the array's rows that have values.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let start = self.start;
        let all = self.nulls.is_none().then_some((0, self.rows));
        let valid = self.nulls.as_ref().map(|nulls| nulls.inner().set_slices());
        all.into_iter().chain(valid.into_iter().flatten()).map(move |(from, to)| start + from..start + to)
    }

    /// The rows up to the value that comes after `n` others; all if there is none.
    pub(crate) fn rows_of(&self, n: usize) -> usize {
        match &self.nulls {
            None => n,
            Some(nulls) => nulls.valid_indices().nth(n).unwrap_or(self.rows),
        }
    }
}

/// The values of a page that is complete.
pub(crate) struct PageEnd {
    pub(crate) encoding: Encoding,
    /// Smallest and largest value, if there are some and they are wanted.
    pub(crate) bounds: Option<(Bound, Bound)>,
    /// Bytes of text and bytes, without their lengths.
    pub(crate) text_bytes: Option<i64>,
    /// Where the page begins, in front of which is room that was not needed.
    pub(crate) start: usize,
}

/// A dictionary that is complete.
pub(crate) struct Dictionary {
    pub(crate) page: Vec<u8>,
    pub(crate) n: usize,
}

/// The values of a page in progress, and the dictionary. NULLs have none.
pub(crate) trait Values: Send {
    /// How many of these rows the page has room for, so that it has about as many bytes as it may have.
    fn fit(&self, array: &dyn Array, start: usize, rows: usize) -> Result<usize, ParquetError>;

    /// Takes the rows of a piece up to the one that fills the dictionary, and returns how many.
    fn append(&mut self, piece: &Piece<'_>) -> Result<usize, ParquetError>;

    /// Whether the page has as many bytes as it may have.
    fn is_page_full(&self) -> bool;

    /// Whether there is a dictionary that has as many bytes as it may have.
    fn is_dictionary_full(&self) -> bool {
        false
    }

    /// Appends the page's values to what comes before them, and begins anew. `out` may be exchanged for the
    /// values' own buffer: then the page is what `out` holds from [`PageEnd::start`] on.
    fn end_page(&mut self, out: &mut Vec<u8>) -> PageEnd;

    /// When the page is written: takes the buffer back for which `out` was exchanged.
    fn take_back(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// The dictionary, if there is one. What comes then has none.
    fn end_dictionary(&mut self) -> Option<Dictionary> {
        None
    }

    /// The filter of all values.
    fn end_filter(&mut self) -> Option<Sbbf> {
        None
    }

    /// About how many bytes page and dictionary take before they are compressed.
    fn pending_bytes(&self) -> usize;

    fn held_bytes(&self) -> usize;
}

/// A bloom filter in progress.
pub(crate) struct Filter {
    sbbf: Sbbf,
    false_positives: f64,
}

impl Filter {
    pub(crate) fn new(sbbf: Sbbf, false_positives: f64) -> Self {
        Self { sbbf, false_positives }
    }

    pub(crate) fn insert<T: parquet::data_type::AsBytes + ?Sized>(&mut self, value: &T) {
        self.sbbf.insert(value);
    }

    /// The filter, as small as its values allow.
    pub(crate) fn end(mut self) -> Sbbf {
        self.sbbf.fold_to_target_fpp(self.false_positives);
        self.sbbf
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.sbbf.num_blocks() * crate::cost::FILTER_BLOCK_BYTES
    }
}

/// What all types have of a column's choices.
pub(crate) struct Wanted {
    pub(crate) encoding: Encoding,
    /// Most bytes of the dictionary, if there is one.
    pub(crate) dictionary_bytes: Option<usize>,
    pub(crate) page_bytes: usize,
    pub(crate) bounds: bool,
    pub(crate) filter: Option<Filter>,
}
