//! Which columns get a dictionary, decided from the first rows of a row group.
//!
//! A dictionary pays for flags, dates and quantities and costs for keys, prices and comments: each of
//! their values is hashed and looked up for nothing, and the file gets larger. What matters is whether the
//! values keep coming: in the sample's second half, how many rows bring a value not seen before?
//!
//! | column of TPC-H `lineitem` | new values in the second half | dictionary |
//! |---|---|---|
//! | flags, quantity, discount, ship mode | 0 % | yes |
//! | dates (2,500 values) | 1 % | yes |
//! | order key (each value a few times in a row) | 25 % | no |
//! | supplier key (10,000 values) | 30 % | no |
//! | price, part key, comment | 90 % and more | no |
//!
//! The choice depends on the rows of the row group and on nothing else, so the same rows make the same file.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

/// Rows looked at. With half of it, the 2,500 dates of TPC-H would still be coming.
const SAMPLE_ROWS: usize = 16 * 1024;

/// Values a sample needs to say anything; with fewer the dictionary stays on, since it is small then.
const SAMPLE_VALUES_MIN: usize = 256;

/// New values among a hundred rows of the second half, from which on a dictionary is off.
const NEW_VALUES_PERCENT_MAX: usize = 10;

/// Bytes of a value, on average, from which on values are large: a dictionary, a smallest and a largest value would each
/// be a copy of some.
const LARGE_VALUE_BYTES: usize = 64 * 1024;

/// What suits a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Choice {
    pub(crate) dictionary: bool,
    pub(crate) statistics: bool,
}

/// Whether a column of the batch has large values.
pub(crate) fn has_large_values(batch: &RecordBatch) -> bool {
    batch.columns().iter().any(is_large)
}

fn is_large(array: &ArrayRef) -> bool {
    let bytes = array.to_data().get_slice_memory_size().unwrap_or(0);
    bytes / array.len().max(1) >= LARGE_VALUE_BYTES
}

/// For each leaf column of a batch, in the order of Parquet's columns: does a dictionary pay?
pub(crate) fn choose(batch: &RecordBatch) -> Vec<Choice> {
    let sample = batch.slice(0, batch.num_rows().min(SAMPLE_ROWS));
    let mut choices = Vec::new();
    for column in sample.columns() {
        walk(column, &mut choices);
    }
    choices
}

/// Visits the leaves of an array in the order in which the parquet crate makes their columns.
fn walk(array: &ArrayRef, choices: &mut Vec<Choice>) {
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|child| walk(child, choices)),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (start, end) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
            walk(&slice(list.values(), start as usize, end as usize), choices);
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (start, end) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
            walk(&slice(list.values(), start as usize, end as usize), choices);
        }
        DataType::FixedSizeList(_, size) => {
            let list = array.as_fixed_size_list();
            let start = list.value_offset(0) as usize;
            walk(&slice(list.values(), start, start + list.len() * *size as usize), choices);
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            let (start, end) = (map.value_offsets()[0], map.value_offsets()[map.len()]);
            walk(&slice(map.keys(), start as usize, end as usize), choices);
            walk(&slice(map.values(), start as usize, end as usize), choices);
        }
        _ if is_large(array) => choices.push(Choice { dictionary: false, statistics: false }),
        _ => choices.push(Choice { dictionary: pays(array), statistics: true }),
    }
}

/// A stretch of an array, no longer than a sample: a list may have many items in a row.
fn slice(array: &ArrayRef, start: usize, end: usize) -> ArrayRef {
    array.slice(start, (end - start).min(SAMPLE_ROWS))
}

fn pays(array: &ArrayRef) -> bool {
    let Some(hashes) = hashes(array) else { return true };
    if hashes.len() < SAMPLE_VALUES_MIN {
        return true;
    }
    let (first, second) = hashes.split_at(hashes.len() / 2);
    let mut seen: HashSet<u64, BuildHasherDefault<AlreadyHashed>> = first.iter().copied().collect();
    let n_before = seen.len();
    seen.extend(second);
    (seen.len() - n_before) * 100 < second.len() * NEW_VALUES_PERCENT_MAX
}

/// A hash of each value that is not null; none for types where the choice does not arise.
fn hashes(array: &ArrayRef) -> Option<Vec<u64>> {
    fn of<'a>(values: impl Iterator<Item = Option<impl AsRef<[u8]> + 'a>>) -> Option<Vec<u64>> {
        Some(values.flatten().map(|value| hash(value.as_ref())).collect())
    }
    match array.data_type() {
        DataType::Utf8 => of(array.as_string::<i32>().iter()),
        DataType::LargeUtf8 => of(array.as_string::<i64>().iter()),
        DataType::Utf8View => of(array.as_string_view().iter()),
        DataType::Binary => of(array.as_binary::<i32>().iter()),
        DataType::LargeBinary => of(array.as_binary::<i64>().iter()),
        DataType::BinaryView => of(array.as_binary_view().iter()),
        DataType::FixedSizeBinary(_) => of(array.as_fixed_size_binary().iter()),
        // Booleans never get a dictionary, and a dictionary array has its own.
        data_type => {
            let width = data_type.primitive_width()?;
            let data = array.to_data();
            let bytes = data.buffers().first()?.get(data.offset() * width..)?;
            let values = bytes.chunks_exact(width).take(data.len());
            of(values.enumerate().map(|(index, value)| data.is_valid(index).then_some(value)))
        }
    }
}

/// FxHash, with its high bits mixed into the low ones that the set looks at. No seed: the choice must be the
/// same in every run.
fn hash(bytes: &[u8]) -> u64 {
    const K: u64 = 0x517c_c1b7_2722_0a95;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(K);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    for byte in rest {
        hash = mix(hash, u64::from(*byte));
    }
    hash ^ (hash >> 32)
}

/// Takes a hash for what it is.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BinaryArray, Int32Array};

    use super::*;

    fn batch(value_bytes: usize) -> RecordBatch {
        let value = vec![7_u8; value_bytes];
        let values: ArrayRef = Arc::new(BinaryArray::from_iter_values([&value, &value]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        RecordBatch::try_from_iter([("v", values), ("n", numbers)]).unwrap()
    }

    #[test]
    fn large_values_are_kept_once() {
        let both = Choice { dictionary: true, statistics: true };
        assert_eq!(choose(&batch(1000)), [both, both]);
        assert_eq!(choose(&batch(100_000)), [Choice { dictionary: false, statistics: false }, both]);
        assert!(has_large_values(&batch(100_000)) && !has_large_values(&batch(1000)));
    }
}
