//! Decides which columns get a dictionary, from the first rows of a row group.
//!
//! A dictionary pays for flags, dates and quantities, and costs for keys, prices and comments: each of those
//! values is hashed and looked up in vain, and the file gets larger. The test is whether new values keep
//! coming: in the sample's second half, how many rows have a value not seen before?
//!
//! | column of TPC-H `lineitem` | new values in the second half | dictionary |
//! |---|---|---|
//! | flags, quantity, discount, ship mode | 0 % | yes |
//! | dates (2,500 values) | 1 % | yes |
//! | order key (each value a few times in a row) | 25 % | no |
//! | supplier key (10,000 values) | 30 % | no |
//! | price, part key, comment | 90 % and more | no |
//!
//! The choice depends only on the rows of the row group, so the same rows make the same file.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

use crate::size;

/// Rows in the sample. In half as many, the 2,500 dates of TPC-H would still be new.
const SAMPLE_ROWS: usize = 16 * 1024;

/// Values that a sample needs to show how many new ones keep coming. With fewer, there is a dictionary if
/// every value occurs twice on average: it is small then. (Before, it was on in any case, so with batches of
/// few rows every column had one.)
const SAMPLE_VALUES_MIN: usize = 256;

/// With more new values than this in a hundred rows of the second half, there is no dictionary.
const NEW_VALUES_PERCENT_MAX: usize = 10;

/// Average bytes of a value from which values count as large: a dictionary, and smallest and largest values,
/// would be copies of some.
const LARGE_VALUE_BYTES: usize = 64 * 1024;

/// The choices for a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Choice {
    pub(crate) dictionary: bool,
    pub(crate) statistics: bool,
}

/// Whether a leaf column of the batch has large values.
pub(crate) fn has_large_values(batch: &RecordBatch) -> bool {
    batch.columns().iter().flat_map(leaves).any(|leaf| is_large(&leaf))
}

fn is_large(leaf: &ArrayRef) -> bool {
    size::bytes(leaf) / leaf.len().max(1) >= LARGE_VALUE_BYTES
}

/// The choices for each leaf column of a batch, in the order of Parquet's columns.
pub(crate) fn choose(batch: &RecordBatch) -> Vec<Choice> {
    let sample = batch.slice(0, batch.num_rows().min(SAMPLE_ROWS));
    sample.columns().iter().flat_map(leaves).map(|leaf| choose_for(&leaf)).collect()
}

/// A list may have many items in a row: the sample has no more items than rows.
fn choose_for(leaf: &ArrayRef) -> Choice {
    match is_large(leaf) {
        true => Choice { dictionary: false, statistics: false },
        false => Choice { dictionary: pays(&leaf.slice(0, leaf.len().min(SAMPLE_ROWS))), statistics: true },
    }
}

/// The leaves of an array, in the order of the parquet crate's columns.
pub(crate) fn leaves(array: &ArrayRef) -> Vec<ArrayRef> {
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().flat_map(leaves).collect(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Map(..) => {
            size::items(array).iter().flat_map(leaves).collect()
        }
        _ => vec![Arc::clone(array)],
    }
}

fn pays(array: &ArrayRef) -> bool {
    let Some(hashes) = hashes(array) else { return true };
    if hashes.len() < SAMPLE_VALUES_MIN {
        let different: HashSet<u64, BuildHasherDefault<AlreadyHashed>> = hashes.iter().copied().collect();
        return different.len() * 2 <= hashes.len();
    }
    let (first, second) = hashes.split_at(hashes.len() / 2);
    let mut seen: HashSet<u64, BuildHasherDefault<AlreadyHashed>> = first.iter().copied().collect();
    let n_before = seen.len();
    seen.extend(second);
    (seen.len() - n_before) * 100 < second.len() * NEW_VALUES_PERCENT_MAX
}

/// A hash of each value that is not null; `None` for types without this choice.
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

/// FxHash, with its high bits mixed into the low ones, which the set uses. No seed: the choice must be the
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

/// A hasher that returns a given hash unchanged.
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
    use arrow_array::builder::{Int32Builder, ListBuilder};
    use arrow_array::{BinaryArray, Int32Array, StringArray, StructArray};

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
        let no_dictionary = Choice { dictionary: false, statistics: true };
        assert_eq!(choose(&batch(1000)), [both, no_dictionary]);
        let neither = Choice { dictionary: false, statistics: false };
        assert_eq!(choose(&batch(100_000)), [neither, no_dictionary]);
        assert!(has_large_values(&batch(100_000)) && !has_large_values(&batch(1000)));
    }

    /// Before, with 255 rows, every column got one.
    #[test]
    fn few_rows_have_no_dictionary_of_different_values() {
        let columns = [("all different", 255), ("each twice", 127), ("few", 3)];
        let columns = columns.map(|(name, n)| {
            let values = (0..255).map(|row| row % n);
            (name, Arc::new(Int32Array::from_iter_values(values)) as ArrayRef)
        });
        let choices = choose(&RecordBatch::try_from_iter(columns).unwrap());
        assert_eq!(choices.iter().map(|choice| choice.dictionary).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn leaves_of_nested_columns_are_looked_at_one_by_one() {
        let mut lists = ListBuilder::new(Int32Builder::new());
        for row in 0..1000 {
            lists.append_value([Some(row), Some(row + 1_000_000)]);
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        let flags: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..1000).map(|row| ["a", "b"][row % 2])));
        let structs = StructArray::try_from(vec![("keys", lists), ("flag", flags)]).unwrap();
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
        let batch =
            RecordBatch::try_from_iter([("s", Arc::new(structs) as ArrayRef), ("n", numbers)]).unwrap();
        let dictionaries = |batch: &RecordBatch| -> Vec<bool> {
            choose(batch).iter().map(|choice| choice.dictionary).collect()
        };
        assert_eq!(dictionaries(&batch), [false, true, false]);
        assert_eq!(dictionaries(&batch.slice(500, 400)), [false, true, false]);
        // One row of a long list is not a large value, and neither is a slice of a batch.
        let mut long = ListBuilder::new(Int32Builder::new());
        (0..100).for_each(|_| long.append_value((0..100_000).map(Some)));
        let long: ArrayRef = Arc::new(long.finish());
        let batch = RecordBatch::try_from_iter([("long", long)]).unwrap();
        assert!(!has_large_values(&batch) && !has_large_values(&batch.slice(99, 1)));
        assert_eq!(dictionaries(&batch), [false]);
    }
}
