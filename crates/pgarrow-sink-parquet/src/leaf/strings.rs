//! Text and bytes of an array, wherever it has them, and the smallest and the largest of them.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{ByteArrayType, ByteViewType, Int32Type};
use arrow_array::{Array, GenericByteArray, GenericByteViewArray, StringArray};
use arrow_buffer::ArrowNativeType;

use crate::leaf::bound::Bound;

const WORD: usize = size_of::<u64>();

/// The values of an array.
pub(crate) trait Strings<'a>: Copy {
    fn value(self, row: usize) -> &'a [u8];

    /// About how many bytes some rows have.
    fn bytes(self, rows: Range<usize>) -> usize;

    /// The bytes of some rows, if they are next to one another.
    fn span(self, rows: Range<usize>) -> Option<&'a [u8]>;

    /// Appends the lengths of some rows.
    fn put_lengths(self, rows: Range<usize>, lengths: &mut Vec<i32>) {
        lengths.extend(rows.map(|row| self.value(row).len() as i32));
    }

    /// The first bytes of a value as a number, which orders values whose first bytes differ.
    #[inline]
    fn head(self, row: usize) -> u64 {
        head(self.value(row))
    }
}

#[inline]
fn head(value: &[u8]) -> u64 {
    value.first_chunk::<WORD>().map_or_else(
        || value.iter().zip((0..WORD).rev()).fold(0, |head, (byte, at)| head | u64::from(*byte) << (8 * at)),
        |word| u64::from_be_bytes(*word),
    )
}

/// Values in one buffer.
pub(crate) struct Offsets<'a, T: ByteArrayType> {
    offsets: &'a [T::Offset],
    bytes: &'a [u8],
}

impl<T: ByteArrayType> Clone for Offsets<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ByteArrayType> Copy for Offsets<'_, T> {}

impl<'a, T: ByteArrayType> Offsets<'a, T> {
    pub(crate) fn new(array: &'a GenericByteArray<T>) -> Self {
        Self { offsets: array.value_offsets(), bytes: array.value_data() }
    }

    #[inline]
    fn range(self, rows: Range<usize>) -> Range<usize> {
        self.offsets[rows.start].as_usize()..self.offsets[rows.end].as_usize()
    }
}

impl<'a, T: ByteArrayType> Strings<'a> for Offsets<'a, T> {
    #[inline]
    fn value(self, row: usize) -> &'a [u8] {
        &self.bytes[self.range(row..row + 1)]
    }

    fn bytes(self, rows: Range<usize>) -> usize {
        self.range(rows).len()
    }

    fn span(self, rows: Range<usize>) -> Option<&'a [u8]> {
        Some(&self.bytes[self.range(rows)])
    }

    fn put_lengths(self, rows: Range<usize>, lengths: &mut Vec<i32>) {
        let pairs = self.offsets[rows.start..=rows.end].array_windows();
        lengths.extend(pairs.map(|[start, end]| (end.as_usize() - start.as_usize()) as i32));
    }

    #[inline]
    fn head(self, row: usize) -> u64 {
        let range = self.range(row..row + 1);
        let length = range.len();
        // What comes behind a short value belongs to the next ones.
        match self.bytes.get(range.start..).and_then(<[u8]>::first_chunk::<WORD>) {
            Some(word) if length >= WORD => u64::from_be_bytes(*word),
            Some(word) => u64::from_be_bytes(*word) & !(u64::MAX >> (8 * length)),
            None => head(self.value(row)),
        }
    }
}

/// Values in several buffers, and short ones beside their lengths.
pub(crate) struct Views<'a, T: ByteViewType>(pub(crate) &'a GenericByteViewArray<T>);

impl<T: ByteViewType> Clone for Views<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ByteViewType> Copy for Views<'_, T> {}

impl<'a, T: ByteViewType> Strings<'a> for Views<'a, T> {
    #[inline]
    fn value(self, row: usize) -> &'a [u8] {
        let value: &'a T::Native = self.0.value(row);
        value.as_ref()
    }

    fn bytes(self, rows: Range<usize>) -> usize {
        // A view begins with the value's length.
        let views = self.0.views().get(rows).unwrap_or_default();
        views.iter().map(|view| *view as u32 as usize).fold(0, usize::saturating_add)
    }

    fn span(self, _: Range<usize>) -> Option<&'a [u8]> {
        None
    }
}

/// Values by their numbers: the labels of an enum.
#[derive(Clone, Copy)]
pub(crate) struct Keyed<'a> {
    keys: &'a [i32],
    values: &'a StringArray,
}

impl<'a> Keyed<'a> {
    /// `None` for other keys or values.
    pub(crate) fn new(array: &'a dyn Array) -> Option<Self> {
        let array = array.as_dictionary_opt::<Int32Type>()?;
        Some(Self { keys: array.keys().values(), values: array.values().as_string_opt()? })
    }
}

impl<'a> Strings<'a> for Keyed<'a> {
    #[inline]
    fn value(self, row: usize) -> &'a [u8] {
        self.values.value(self.keys[row] as usize).as_bytes()
    }

    fn bytes(self, rows: Range<usize>) -> usize {
        // What is null has any key.
        let value = |key: &i32| {
            let key = usize::try_from(*key).ok().filter(|key| *key < self.values.len());
            key.map_or(0, |key| self.values.value(key).len())
        };
        self.keys[rows].iter().map(value).fold(0, usize::saturating_add)
    }

    fn span(self, _: Range<usize>) -> Option<&'a [u8]> {
        None
    }
}

/// Smallest and largest value of a page in progress.
#[derive(Default)]
pub(crate) struct Extremes {
    min: Vec<u8>,
    max: Vec<u8>,
    has_some: bool,
}

impl Extremes {
    /// Looks at rows that all have values. Only if the first bytes are the same, others count.
    pub(crate) fn extend<'a>(&mut self, strings: impl Strings<'a>, rows: Range<usize>) {
        let Range { start, end } = rows;
        if start == end {
            return;
        }
        let first = (strings.head(start), start);
        let (mut min, mut max) = (first, first);
        for row in start + 1..end {
            let head = strings.head(row);
            if head <= min.0 && (head < min.0 || strings.value(row) < strings.value(min.1)) {
                min = (head, row);
            }
            if head >= max.0 && (head > max.0 || strings.value(row) > strings.value(max.1)) {
                max = (head, row);
            }
        }
        let (min, max) = (strings.value(min.1), strings.value(max.1));
        if !self.has_some || min < self.min.as_slice() {
            self.min.clear();
            self.min.extend_from_slice(min);
        }
        if !self.has_some || max > self.max.as_slice() {
            self.max.clear();
            self.max.extend_from_slice(max);
        }
        self.has_some = true;
    }

    pub(crate) fn end_page(&mut self) -> Option<(Bound, Bound)> {
        let bounds = self.has_some.then(|| (Bound::Bytes(self.min.clone()), Bound::Bytes(self.max.clone())));
        self.has_some = false;
        bounds
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.min.capacity() + self.max.capacity()
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{BinaryArray, BinaryViewArray};

    use super::*;

    #[test]
    fn smallest_and_largest_of_everything() {
        let mut values: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0, 0], b"a".to_vec(), b"a\0".to_vec()];
        for length in 0..12 {
            for last in [0, 1, b'x', 0x7f, 0x80, 0xff] {
                values.push([&vec![b'x'; length][..], &[last]].concat());
                values.push([&vec![0xff; length][..], &[last]].concat());
            }
        }
        for at in 0..values.len() {
            values.rotate_left(1);
            let n = 1 + at % 9;
            let offsets = BinaryArray::from_iter_values(&values);
            let views = BinaryViewArray::from_iter_values(&values);
            let expected = values[..n].iter().min().zip(values[..n].iter().max());
            for step in [1, 2, n] {
                let mut both = [Extremes::default(), Extremes::default()];
                for start in (0..n).step_by(step) {
                    let rows = start..n.min(start + step);
                    both[0].extend(Offsets::new(&offsets), rows.clone());
                    both[1].extend(Views(&views), rows);
                }
                for mut found in both {
                    let found = found.end_page().unwrap();
                    let (min, max) = expected.unwrap();
                    assert_eq!(found, (Bound::Bytes(min.clone()), Bound::Bytes(max.clone())));
                }
            }
        }
    }
}
