//! The bytes of an array's values: of a slice only its own, also inside lists.
//!
//! (`ArrayData::get_slice_memory_size` counts all items that a sliced list could reach, and no text of a
//! view.)

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

/// About the bytes of all values of a batch.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(bytes).sum()
}

/// About the bytes of an array's values. For a dictionary array, of its keys.
pub(crate) fn bytes(array: &ArrayRef) -> usize {
    /// Bytes of a view. Short values are inside it.
    const VIEW: usize = 16;
    let length = array.len();
    let validity = if array.nulls().is_some() { length.div_ceil(8) } else { 0 };
    let values = match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().map(bytes).sum(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Map(..) => {
            size_of::<i32>() * length + items(array).iter().map(bytes).sum::<usize>()
        }
        DataType::Dictionary(key, _) => key.primitive_width().unwrap_or_default() * length,
        DataType::Utf8View => VIEW * length + of_views(array.as_string_view().lengths()),
        DataType::BinaryView => VIEW * length + of_views(array.as_binary_view().lengths()),
        _ => {
            return array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
        }
    };
    validity.saturating_add(values)
}

fn of_views(lengths: impl Iterator<Item = u32>) -> usize {
    lengths.map(|length| length as usize).fold(0, usize::saturating_add)
}

/// The items of a list array's own rows; of a map the keys, and then the values.
pub(crate) fn items(array: &ArrayRef) -> Vec<ArrayRef> {
    let between = |items: &ArrayRef, start: usize, end: usize| items.slice(start, end.saturating_sub(start));
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let [start, end] = ends(list.value_offsets()).map(|offset| usize::try_from(offset).unwrap_or(0));
            vec![between(list.values(), start, end)]
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let [start, end] = ends(list.value_offsets()).map(|offset| usize::try_from(offset).unwrap_or(0));
            vec![between(list.values(), start, end)]
        }
        // Slicing the list slices them, too.
        DataType::FixedSizeList(..) => vec![array.as_fixed_size_list().values().clone()],
        DataType::Map(..) => {
            let map = array.as_map();
            let [start, end] = ends(map.value_offsets()).map(|offset| usize::try_from(offset).unwrap_or(0));
            vec![between(map.keys(), start, end), between(map.values(), start, end)]
        }
        _ => Vec::new(),
    }
}

fn ends<T: Copy + Default>(offsets: &[T]) -> [T; 2] {
    [offsets.first(), offsets.last()].map(|offset| offset.copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{FixedSizeListBuilder, Int32Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::types::Int32Type;
    use arrow_array::{DictionaryArray, StringViewArray, StructArray};

    use super::*;

    #[test]
    fn a_slice_has_the_bytes_of_its_rows() {
        let text = "x".repeat(1000);
        let mut lists = ListBuilder::new(StringBuilder::new());
        let mut vectors = FixedSizeListBuilder::new(Int32Builder::new(), 250);
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        for _ in 0..100 {
            lists.append_value([Some(&text)]);
            vectors.values().append_slice(&[7; 250]);
            vectors.append(true);
            maps.keys().append_value(&text);
            maps.values().append_null();
            maps.append(true).unwrap();
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        let structs = StructArray::try_from(vec![("a", lists.clone())]).unwrap();
        let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(vec![&text; 100]));
        for array in [lists, Arc::new(vectors.finish()), Arc::new(maps.finish()), Arc::new(structs), views] {
            for (start, length) in [(0, 100), (0, 1), (99, 1), (40, 10), (5, 0)] {
                let found = bytes(&array.slice(start, length));
                let (least, most) = (1000 * length, 1040 * length + 40);
                assert!((least..=most).contains(&found), "{}: {length}: {found}", array.data_type());
            }
        }
        let flags: ArrayRef = Arc::new([&*text; 10].into_iter().collect::<DictionaryArray<Int32Type>>());
        assert_eq!(bytes(&flags), 40);
    }
}
