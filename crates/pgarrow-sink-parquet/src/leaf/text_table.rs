//! The dictionary of a column of text or bytes: each value once, and where it is.

use std::ops::Range;

use crate::leaf::places::{FREE, PLACES_MIN, SPREAD, is_far};

const WORD: usize = size_of::<u64>();

/// Most bytes of a dictionary, before its last value.
const BYTES_MAX: usize = 1 << 30;

/// What tells a short value from all others of its length, and most long ones: its first and its last bytes.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Ends {
    first: u64,
    last: u64,
    /// All lengths that need more bits are one: such a value fills every dictionary.
    length: u32,
}

impl Ends {
    fn of(value: &[u8]) -> Self {
        let length = value.len();
        let (first, last) = match (value.first_chunk::<WORD>(), value.last_chunk::<WORD>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (short(value), 0),
        };
        Self { first, last, length: u32::try_from(length).unwrap_or(u32::MAX) }
    }

    /// Bytes that have, in words, all of a value that is in neither end.
    #[inline]
    fn middle(self, value: &[u8]) -> &[[u8; WORD]] {
        let n = (self.length as usize).saturating_sub(WORD + 1) / WORD;
        value.get(WORD..).unwrap_or_default().as_chunks().0.get(..n).unwrap_or_default()
    }
}

/// Fewer than eight bytes as a number; different ones of the same length have different ones.
fn short(value: &[u8]) -> u64 {
    match (value.first_chunk::<4>(), value.last_chunk::<4>(), value) {
        (Some(first), Some(last), _) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        (_, _, [first, .., last]) => {
            let middle = value[value.len() / 2];
            u64::from(*first) | u64::from(middle) << 8 | u64::from(*last) << 16
        }
        (_, _, [only]) => u64::from(*only),
        _ => 0,
    }
}

/// A value of the dictionary.
#[derive(Clone, Copy)]
struct Entry {
    ends: Ends,
    /// Where it begins in the page, which is not full before it.
    start: u32,
    /// The last page that has it.
    page: u32,
}

impl Entry {
    fn range(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.ends.length as usize
    }
}

/// A value counts as so many bytes of the page, if it has fewer: its entry and its places take three times as
/// many, so that the table is not many times as large as the page.
const VALUE_BYTES_MIN: usize = 16;

/// The different values of a column, in the order in which they came.
pub(crate) struct TextTable {
    entries: Vec<Entry>,
    /// The dictionary's page: each value behind its length.
    page: Vec<u8>,
    /// Places by the highest bits of a hash, each followed by the next one if it has another value.
    places: Vec<u32>,
    shift: u32,
    /// Most bytes of the page.
    bytes_max: usize,
    /// The number of the page in progress.
    page_number: u32,
    /// Smallest and largest value of the page in progress.
    range: Option<(u32, u32)>,
}

impl TextTable {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            page: Vec::new(),
            places: vec![FREE; PLACES_MIN],
            shift: u64::BITS - PLACES_MIN.trailing_zeros(),
            bytes_max: bytes_max.min(BYTES_MAX),
            page_number: 1,
            range: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.page.len()
    }

    /// Whether there is no room for another value.
    pub(crate) fn is_full(&self) -> bool {
        self.page.len().max(self.entries.len() * VALUE_BYTES_MIN) >= self.bytes_max
    }

    pub(crate) fn value(&self, index: u32) -> &[u8] {
        let value = self.entries.get(index as usize);
        value.and_then(|entry| self.page.get(entry.range())).unwrap_or_default()
    }

    /// The index of a value, which is added if it is new.
    #[inline(always)]
    pub(crate) fn intern(&mut self, value: &[u8]) -> u32 {
        let ends = Ends::of(value);
        let own = (hash(ends, value) >> self.shift) as usize;
        let mut place = own;
        let index = loop {
            let index = self.places[place];
            let Some(entry) = self.entries.get(index as usize) else {
                if is_far(place, own, self.places.len()) {
                    self.bytes_max = 0;
                }
                break self.add(value, ends, place);
            };
            if entry.ends == ends && (ends.length as usize <= 2 * WORD || self.has_middle(entry, value)) {
                break index;
            }
            place = (place + 1) & (self.places.len() - 1);
        };
        if self.entries[index as usize].page != self.page_number {
            self.meet(index);
        }
        index
    }

    #[inline(never)]
    fn has_middle(&self, entry: &Entry, value: &[u8]) -> bool {
        let own = &self.page[entry.range()];
        let (own, other) = (entry.ends.middle(own), entry.ends.middle(value));
        let mut differ = 0;
        for (at, word) in own.iter().enumerate() {
            differ |= u64::from_le_bytes(*word) ^ other.get(at).map_or(0, |word| u64::from_le_bytes(*word));
        }
        differ == 0
    }

    #[cold]
    fn add(&mut self, value: &[u8], ends: Ends, place: usize) -> u32 {
        let index = self.entries.len() as u32;
        self.page.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.entries.push(Entry { ends, start: self.page.len() as u32, page: 0 });
        self.page.extend_from_slice(value);
        self.places[place] = index;
        // At most half of the places are taken.
        if self.entries.len() * 2 > self.places.len() {
            let n = self.places.len() * 4;
            self.shift = u64::BITS - n.trailing_zeros();
            self.places.clear();
            self.places.resize(n, FREE);
            for index in 0..self.entries.len() as u32 {
                let value = self.value(index);
                let mut place = (hash(Ends::of(value), value) >> self.shift) as usize;
                while self.places[place] != FREE {
                    place = (place + 1) & (n - 1);
                }
                self.places[place] = index;
            }
        }
        index
    }

    /// Takes note of a value that the page in progress has not had yet.
    #[cold]
    fn meet(&mut self, index: u32) {
        self.entries[index as usize].page = self.page_number;
        let (min, max) = self.range.unwrap_or((index, index));
        let value = self.value(index);
        let min = if value < self.value(min) { index } else { min };
        let max = if value > self.value(max) { index } else { max };
        self.range = Some((min, max));
    }

    /// Smallest and largest value of the page, which ends.
    pub(crate) fn end_page(&mut self) -> Option<(&[u8], &[u8])> {
        self.page_number += 1;
        let (min, max) = self.range.take()?;
        Some((self.value(min), self.value(max)))
    }

    /// The page of all values.
    pub(crate) fn into_page(self) -> Vec<u8> {
        self.page
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.page.capacity()
            + self.places.capacity() * size_of::<u32>()
    }
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(SPREAD).rotate_left(29)
}

#[inline]
fn hash(ends: Ends, value: &[u8]) -> u64 {
    let mut hash = mix(mix(u64::from(ends.length), ends.first), ends.last);
    if ends.length as usize > 2 * WORD {
        hash = ends.middle(value).iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    }
    hash.wrapping_mul(SPREAD)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_value_has_one_index() {
        // Values of every length that differ in one place from one another, whichever that is.
        let mut values = vec![vec![]];
        for length in 1..70 {
            for at in 0..length {
                for other in [b'a', b'b', 0] {
                    let mut value = vec![b'x'; length];
                    value[at] = other;
                    values.push(value);
                }
            }
        }
        let all: Vec<_> = values.iter().chain(values.iter().rev()).collect();
        let mut table = TextTable::new(1 << 20);
        let mut known: HashMap<&[u8], u32> = HashMap::new();
        for value in &all {
            let next = known.len() as u32;
            let expected = *known.entry(value).or_insert(next);
            assert_eq!(table.intern(value), expected, "{value:?}");
            assert_eq!(table.value(expected), **value);
        }
        assert_eq!(table.len(), known.len());
        let page = table.into_page();
        let expected: Vec<u8> = values
            .iter()
            .flat_map(|value| [&(value.len() as u32).to_le_bytes()[..], value].concat())
            .collect();
        assert_eq!(page, expected);
    }

    #[test]
    fn range_of_a_page() {
        let mut table = TextTable::new(1 << 20);
        assert_eq!(table.end_page(), None);
        for (values, range) in [
            (&["b", "a", "c", "b"][..], Some(("a", "c"))),
            (&["b"], Some(("b", "b"))),
            (&[], None),
            (&["c", "", "ab"], Some(("", "c"))),
        ] {
            for value in values {
                table.intern(value.as_bytes());
            }
            assert_eq!(table.end_page(), range.map(|(min, max)| (min.as_bytes(), max.as_bytes())));
        }
    }

    /// The table of short texts was ten times as large as the page that it may have.
    #[test]
    fn short_values_take_a_few_times_the_bytes_of_the_page() {
        for bytes_max in [16 << 10, 100_000, 1 << 20] {
            let mut table = TextTable::new(bytes_max);
            for n in 0_u32.. {
                table.intern(&n.to_be_bytes()[1..]);
                if table.is_full() {
                    break;
                }
            }
            assert_eq!(table.len(), bytes_max / VALUE_BYTES_MIN);
            assert!(table.held_bytes() <= 5 * bytes_max, "{} of {bytes_max}", table.held_bytes());
        }
    }

    #[test]
    fn values_of_one_hash_end_the_dictionary() {
        let mut table = TextTable::new(1 << 20);
        for n in 0..50_000_u64 {
            // Sixteen bytes, the last of which undo the first.
            let first = n.to_le_bytes();
            let last = mix(2 * WORD as u64, n).to_le_bytes();
            let value = [first, last].concat();
            assert_eq!(hash(Ends::of(&value), &value), 0);
            table.intern(&value);
            if table.is_full() {
                break;
            }
        }
        assert!(table.len() < 1000, "{}", table.len());
    }
}
