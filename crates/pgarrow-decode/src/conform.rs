//! Replaces the fields inside an array's type by those of the schema, since columns do not know their
//! metadata.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, ListArray, MapArray, StructArray};
use arrow_schema::{ArrowError, DataType};

/// The array with this type, which differs from its own only in the metadata of inner fields. Copies nothing.
///
/// # Errors
///
/// Arrow's error if the types differ in more.
pub(crate) fn conform(array: ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == data_type {
        return Ok(array);
    }
    Ok(match (array.data_type(), data_type) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let (_, arrays, nulls) = array.as_struct().clone().into_parts();
            let n_rows = array.len();
            let arrays =
                arrays.into_iter().zip(fields).map(|(array, field)| conform(array, field.data_type()));
            let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, nulls, n_rows)?)
        }
        (DataType::List(_), DataType::List(item)) => {
            let (_, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            let values = conform(values, item.data_type())?;
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?)
        }
        (DataType::FixedSizeList(..), DataType::FixedSizeList(item, size)) => {
            let n_rows = array.len();
            let (_, _, values, nulls) = array.as_fixed_size_list().clone().into_parts();
            let values = conform(values, item.data_type())?;
            Arc::new(FixedSizeListArray::try_new_with_length(Arc::clone(item), *size, values, nulls, n_rows)?)
        }
        (DataType::Map(..), DataType::Map(entries, is_sorted)) => {
            let (_, offsets, of_entries, nulls, _) = array.as_map().clone().into_parts();
            let of_entries = conform(Arc::new(of_entries), entries.data_type())?;
            let of_entries = of_entries.as_struct().clone();
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, of_entries, nulls, *is_sorted)?)
        }
        // The batch reports the error.
        _ => array,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, StringBuilder};
    use arrow_array::{Int32Array, StringArray};
    use arrow_schema::{Field, FieldRef, Fields};

    /// Adds a word to the metadata of every inner field.
    fn marked(data_type: &DataType) -> DataType {
        let mark = |field: &FieldRef| -> FieldRef {
            let metadata = [("id".to_owned(), field.name().clone())].into();
            let field = Field::clone(field).with_data_type(marked(field.data_type())).with_metadata(metadata);
            Arc::new(field)
        };
        match data_type {
            DataType::Struct(fields) => DataType::Struct(fields.iter().map(mark).collect::<Fields>()),
            DataType::List(item) => DataType::List(mark(item)),
            DataType::FixedSizeList(item, size) => DataType::FixedSizeList(mark(item), *size),
            DataType::Map(entries, is_sorted) => DataType::Map(mark(entries), *is_sorted),
            other => other.clone(),
        }
    }

    #[test]
    fn only_the_type_changes() {
        let mut list = ListBuilder::new(Int32Builder::new());
        list.append_value([Some(1), None]);
        list.append_null();
        let list: ArrayRef = Arc::new(list.finish());
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("k");
        map.values().append_null();
        map.append(true).unwrap();
        map.append(false).unwrap();
        let map: ArrayRef = Arc::new(map.finish());
        let item = Arc::new(Field::new("item", DataType::Int32, false));
        let pairs = Int32Array::from(vec![1, 2, 3, 4]);
        let pairs: ArrayRef = Arc::new(FixedSizeListArray::new(item, 2, Arc::new(pairs), None));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let fields = [("l", &list), ("m", &map), ("p", &pairs), ("t", &text)];
        let fields = fields.map(|(name, array)| Field::new(name, array.data_type().clone(), true));
        let all: ArrayRef =
            Arc::new(StructArray::new(fields.into_iter().collect(), vec![list, map, pairs, text], None));
        let data_type = marked(all.data_type());
        assert_ne!(all.data_type(), &data_type);
        let conformed = conform(Arc::clone(&all), &data_type).unwrap();
        assert_eq!(conformed.data_type(), &data_type);
        assert_eq!(&conform(conformed, all.data_type()).unwrap(), &all);
        // A struct without fields keeps its length.
        let empty: ArrayRef = Arc::new(StructArray::new_empty_fields(3, None));
        let of_text = conform(Arc::clone(&empty), &DataType::Utf8).unwrap();
        assert_eq!((of_text.len(), of_text.data_type()), (3, empty.data_type()));
    }
}
