//! The dictionary of a column of numbers: each value once, and where it is.

use crate::leaf::number::Number;
use crate::leaf::places::{FREE, PLACES_MIN, SPREAD, is_far};

/// Most places of integers that are found without a hash: each integer of a range has its own.
const DIRECT_MAX: usize = 1 << 16;

/// How a value's place is found.
#[derive(Clone, Copy)]
enum Way {
    /// The integer without this one. It pays for dates, quantities and codes.
    Direct(u64),
    /// The highest bits of a hash, and the next place if that one has another value.
    Hashed { shift: u32 },
}

/// The different values of a column, in the order in which they came.
pub(crate) struct NumberTable<T> {
    values: Vec<T>,
    places: Vec<u32>,
    way: Way,
    /// Most bytes of values.
    bytes_max: usize,
}

impl<T: Number> NumberTable<T> {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let way = match T::IS_INTEGER {
            true => Way::Direct(0),
            false => Way::Hashed { shift: 0 },
        };
        Self { values: Vec::new(), places: Vec::new(), way, bytes_max }
    }

    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }

    /// Whether there is no room for another value.
    pub(crate) fn is_full(&self) -> bool {
        self.values.len() * T::BYTES >= self.bytes_max
    }

    /// Appends the index of each value, and returns how many of them were given one until it was full.
    pub(crate) fn intern(&mut self, values: &[T], indexes: &mut Vec<u32>) -> usize {
        let before = indexes.len();
        indexes.reserve(values.len());
        let mut rest = values;
        while let Some(known) = self.find(rest, indexes).filter(|_| !self.is_full()) {
            indexes.push(self.add(rest[known]));
            rest = &rest[known + 1..];
        }
        indexes.len() - before
    }

    /// Appends the indexes of values up to the first one that is new, and returns where that one is.
    fn find(&self, values: &[T], indexes: &mut Vec<u32>) -> Option<usize> {
        if self.is_full() {
            return None;
        }
        match self.way {
            Way::Direct(base) => {
                for (at, value) in values.iter().enumerate() {
                    let place = value.bits().wrapping_sub(base);
                    match self.places.get(place as usize) {
                        Some(index) if *index != FREE => indexes.push(*index),
                        _ => return Some(at),
                    }
                }
            }
            Way::Hashed { shift } => {
                for (at, value) in values.iter().enumerate() {
                    match self.place(value.bits(), shift) {
                        Some(place) if self.places[place] != FREE => indexes.push(self.places[place]),
                        _ => return Some(at),
                    }
                }
            }
        }
        None
    }

    /// The place of a value, or the free one where it belongs. There is none in an empty table.
    fn place(&self, bits: u64, shift: u32) -> Option<usize> {
        let mut place = hash(bits).checked_shr(shift)? as usize;
        loop {
            match *self.places.get(place)? {
                FREE => return Some(place),
                index if self.values[index as usize].bits() == bits => return Some(place),
                _ => place = (place + 1) & (self.places.len() - 1),
            }
        }
    }

    /// Adds a value that is new, and returns its index.
    fn add(&mut self, value: T) -> u32 {
        let index = self.values.len() as u32;
        self.values.push(value);
        match self.way {
            Way::Direct(base) => match self.places.get_mut(value.bits().wrapping_sub(base) as usize) {
                Some(place) => *place = index,
                None => self.widen(),
            },
            // At most half of the places are taken.
            Way::Hashed { .. } if self.values.len() * 2 > self.places.len() => self.rehash(),
            Way::Hashed { shift } => {
                if let Some(place) = self.place(value.bits(), shift) {
                    self.places[place] = index;
                    let own = (hash(value.bits()) >> shift) as usize;
                    if is_far(place, own, self.places.len()) {
                        self.bytes_max = 0;
                    }
                }
            }
        }
        index
    }

    /// Makes room for all values, in a range of at least twice the size.
    fn widen(&mut self) {
        let all = || self.values.iter().map(|value| value.bits() as i64);
        let (Some(min), Some(max)) = (all().min(), all().max()) else { return };
        let needed = max.abs_diff(min).saturating_add(1);
        let n =
            needed.max(2 * self.places.len() as u64).max(PLACES_MIN as u64).min(DIRECT_MAX as u64) as usize;
        if needed > n as u64 {
            return self.rehash();
        }
        // The new places are on both sides.
        let base = (min as u64).wrapping_sub((n as u64 - needed) / 2);
        self.places.clear();
        self.places.resize(n, FREE);
        for (index, value) in self.values.iter().enumerate() {
            if let Some(place) = self.places.get_mut(value.bits().wrapping_sub(base) as usize) {
                *place = index as u32;
            }
        }
        self.way = Way::Direct(base);
    }

    /// Makes four places for each value.
    fn rehash(&mut self) {
        let n = (self.values.len() * 4).next_power_of_two().max(PLACES_MIN);
        let shift = u64::BITS - n.trailing_zeros();
        self.places.clear();
        self.places.resize(n, FREE);
        for (index, value) in self.values.iter().enumerate() {
            let mut place = (hash(value.bits()) >> shift) as usize;
            while self.places[place] != FREE {
                place = (place + 1) & (n - 1);
            }
            self.places[place] = index as u32;
        }
        self.way = Way::Hashed { shift };
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.values.capacity() * T::BYTES + self.places.capacity() * size_of::<u32>()
    }
}

/// Spreads numbers over all bits. (Of one product, numbers that are the same distance from one another, such
/// as the hours of a timestamp, had their highest bits in a few places only: 30 were looked at for each.)
#[inline]
fn hash(bits: u64) -> u64 {
    let product = bits.wrapping_mul(SPREAD);
    (product ^ product >> 32).wrapping_mul(SPREAD)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Compares with a map, whole and value by value.
    fn check<T: Number>(values: &[T], bytes_max: usize) {
        let mut known = HashMap::new();
        let mut expected = Vec::new();
        for value in values {
            if known.len() * T::BYTES >= bytes_max {
                break;
            }
            let next = known.len() as u32;
            expected.push(*known.entry(value.bits()).or_insert(next));
        }
        for step in [1, 2, 3, values.len().max(1)] {
            let mut table = NumberTable::new(bytes_max);
            let mut indexes = Vec::new();
            for piece in values.chunks(step) {
                if table.intern(piece, &mut indexes) < piece.len() {
                    break;
                }
            }
            assert_eq!(indexes, expected, "{step}");
            assert_eq!(table.values().len(), known.len());
            assert_eq!(table.is_full(), known.len() * T::BYTES >= bytes_max);
            for (value, index) in values.iter().zip(&indexes) {
                assert_eq!(table.values()[*index as usize].bits(), value.bits());
            }
        }
    }

    #[test]
    fn every_value_has_one_index() {
        let random = |i: i64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
        for bytes_max in [1, 4, 8, 9, 800, 1 << 20] {
            check::<i64>(&[], bytes_max);
            check(&(0..3000).map(|i| random(i) >> 60).collect::<Vec<_>>(), bytes_max);
            check(&(0..3000).map(|i| random(i) >> 50).collect::<Vec<_>>(), bytes_max);
            check(&(0..3000).map(|i| random(i % 1000)).collect::<Vec<_>>(), bytes_max);
            // Ranges at both ends, and one that grows beyond what is found without a hash.
            check(&[i64::MIN, i64::MAX, 0, -1, i64::MIN, i64::MAX], bytes_max);
            check(&[i64::MAX, i64::MAX - 1, i64::MAX, i64::MAX - 200], bytes_max);
            check(&[i64::MIN, i64::MIN + 1, i64::MIN + 200, i64::MIN], bytes_max);
            check(&[i32::MIN, i32::MAX, 0, -1, i32::MIN, i32::MAX], bytes_max);
            check(&(0..2000_i32).flat_map(|i| [i * 40, -i * 40]).collect::<Vec<_>>(), bytes_max);
            check(&(0..40_000_i64).rev().collect::<Vec<_>>(), bytes_max);
            check(&[0.0, -0.0, f64::NAN, f64::from_bits(0x7ff8_0000_0000_beef), 0.0, f64::NAN], bytes_max);
            check(&(0..3000).map(|i| (i % 700) as f32).collect::<Vec<_>>(), bytes_max);
        }
    }

    /// How many places away from their own values are at most.
    fn distance_max(table: &NumberTable<i64>) -> usize {
        let Way::Hashed { shift } = table.way else { return 0 };
        let mask = table.places.len() - 1;
        let distance = |value: &i64| {
            let bits = value.bits();
            table.place(bits, shift).unwrap().wrapping_sub((hash(bits) >> shift) as usize) & mask
        };
        table.values().iter().map(distance).max().unwrap_or(0)
    }

    #[test]
    fn values_at_equal_distances_are_spread() {
        for step in [10, 1000, 1_000_000, 60_000_000, 300_000_000, 3_600_000_000, 100_000_000, 1 << 32] {
            let mut table = NumberTable::new(1 << 20);
            let values: Vec<i64> = (0..20_000).map(|i| i * step).collect();
            assert_eq!(table.intern(&values, &mut Vec::new()), values.len(), "{step}");
            assert!(distance_max(&table) <= 40, "{step}: {}", distance_max(&table));
        }
    }

    /// The number of which this is the hash.
    fn number_of(hash: u64) -> i64 {
        let inverse = (0..6)
            .fold(1_u64, |inverse, _| inverse.wrapping_mul(2_u64.wrapping_sub(SPREAD.wrapping_mul(inverse))));
        let mixed = hash.wrapping_mul(inverse);
        (mixed ^ mixed >> 32).wrapping_mul(inverse) as i64
    }

    #[test]
    fn values_of_one_place_end_the_dictionary() {
        let values: Vec<i64> = (0..100_000).map(number_of).collect();
        assert_eq!(hash(values[77].bits()), 77);
        let mut table = NumberTable::new(1 << 20);
        let taken = table.intern(&values, &mut Vec::new());
        assert!(table.is_full() && taken == table.values().len() && taken < 1000, "{taken}");
    }
}
