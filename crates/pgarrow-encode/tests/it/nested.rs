//! Arrays: from lists in every layout, with an error in every part.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, LargeListBuilder, ListBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, FixedSizeListArray, Int32Array, LargeListViewArray, ListArray,
    ListViewArray, NullArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields};
use pgarrow_encode::{RefusalKind, ValueError};
use pgarrow_types::{ArrayType, PgType, oid};

use crate::support::To;

fn array_of(element: PgType, element_oid: u32) -> To {
    To::new(PgType::Array(Arc::new(ArrayType { element, element_oid, dimensions: 0, is_vector: false })))
}

fn ints() -> To {
    array_of(PgType::Int4, oid::INT4)
}

fn vector_of_ints() -> To {
    let (element, element_oid) = (PgType::Int2, oid::INT2);
    To::new(PgType::Array(Arc::new(ArrayType { element, element_oid, dimensions: 0, is_vector: true })))
}

/// The header of `array_send` for these dimensions, each a length and a lower bound.
fn header(dimensions: &[(i32, i32)], has_nulls: bool, element_oid: u32) -> Vec<u8> {
    let mut bytes = (dimensions.len() as i32).to_be_bytes().to_vec();
    bytes.extend(i32::from(has_nulls).to_be_bytes());
    bytes.extend(element_oid.to_be_bytes());
    for (length, lower) in dimensions {
        bytes.extend(length.to_be_bytes());
        bytes.extend(lower.to_be_bytes());
    }
    bytes
}

fn int4_array(dimensions: &[(i32, i32)], elements: &[Option<i32>]) -> Result<Option<Vec<u8>>, ValueError> {
    let mut bytes = header(dimensions, elements.contains(&None), oid::INT4);
    for element in elements {
        match element {
            None => bytes.extend((-1_i32).to_be_bytes()),
            Some(element) => {
                bytes.extend(4_i32.to_be_bytes());
                bytes.extend(element.to_be_bytes());
            }
        }
    }
    Ok(Some(bytes))
}

fn flat(elements: &[Option<i32>]) -> Result<Option<Vec<u8>>, ValueError> {
    let length = elements.len() as i32;
    if length == 0 { int4_array(&[], &[]) } else { int4_array(&[(length, 1)], elements) }
}

fn list_of(rows: Vec<Option<Vec<Option<i32>>>>) -> ListArray {
    ListArray::from_iter_primitive::<Int32Type, _, _>(rows)
}

#[test]
fn a_list_is_an_array_of_one_dimension() {
    let array: ArrayRef =
        Arc::new(list_of(vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(i32::MIN)])]));
    let expected = [flat(&[Some(1), None]), Ok(None), flat(&[]), flat(&[Some(i32::MIN)])];
    assert_eq!(ints().values(&array), expected);
    for start in 0..4 {
        assert_eq!(ints().values(&array.slice(start, 4 - start)), expected[start..]);
    }
}

/// The same lists in all layouts, slices of them, and with items behind NULL.
#[test]
fn lists_of_every_layout() {
    let items = Int32Array::from(vec![Some(1), None, Some(3), Some(4), Some(5), Some(6)]);
    let item = Arc::new(Field::new("element", DataType::Int32, true));
    let nulls = || Some(NullBuffer::from(vec![true, false, true]));
    let expected = [flat(&[Some(1), None]), Ok(None), flat(&[Some(5), Some(6)])];
    let small = ListArray::new(
        Arc::clone(&item),
        OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 4, 6])),
        Arc::new(items.clone()),
        nulls(),
    );
    let mut large = LargeListBuilder::new(Int32Builder::new());
    large.append_value([Some(1), None]);
    large.append_null();
    large.append_value([Some(5), Some(6)]);
    let fixed = FixedSizeListArray::new(Arc::clone(&item), 2, Arc::new(items.clone()), nulls());
    // Views share items, and come in any order.
    let view = ListViewArray::new(
        Arc::clone(&item),
        ScalarBuffer::from(vec![0, 1, 4]),
        ScalarBuffer::from(vec![2, 4, 2]),
        Arc::new(items.clone()),
        nulls(),
    );
    let large_view = LargeListViewArray::new(
        Arc::clone(&item),
        ScalarBuffer::from(vec![0_i64, 3, 4]),
        ScalarBuffer::from(vec![2_i64, 3, 2]),
        Arc::new(items),
        nulls(),
    );
    let layouts: Vec<ArrayRef> = vec![
        Arc::new(small),
        Arc::new(large.finish()),
        Arc::new(fixed),
        Arc::new(view),
        Arc::new(large_view),
    ];
    for array in layouts {
        for start in 0..3 {
            let slice = array.slice(start, 3 - start);
            assert_eq!(ints().values(&slice), expected[start..], "{} from {start}", array.data_type());
        }
    }
}

#[test]
fn items_in_dictionaries_and_items_that_are_nothing() {
    let keys = Int32Array::from(vec![Some(1), None, Some(0), Some(2)]);
    // The last key refers to a NULL.
    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(10), Some(20), None]));
    let items: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, values));
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 4]));
    let array: ArrayRef = Arc::new(ListArray::new(item, offsets, items, None));
    assert_eq!(ints().values(&array), [flat(&[Some(20), None]), flat(&[]), flat(&[Some(10), None])]);
    let item = Arc::new(Field::new("item", DataType::Null, true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2]));
    let array: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::new(NullArray::new(2)), None));
    assert_eq!(ints().values(&array), [flat(&[None, None]), flat(&[])]);
}

/// Lists of lists: rows, each a list of lists or NULLs.
fn nested(rows: &[&[Option<&[Option<i32>]>]]) -> ArrayRef {
    let mut builder = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
    for row in rows {
        for list in *row {
            match list {
                None => builder.values().append_null(),
                Some(list) => builder.values().append_value(list.iter().copied()),
            }
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

#[test]
fn lists_in_lists_are_dimensions() {
    let array = nested(&[
        &[Some(&[Some(1), Some(2), None]), Some(&[Some(4), Some(5), Some(6)])],
        &[],
        &[Some(&[Some(7)])],
        &[Some(&[Some(7)]), Some(&[Some(8), Some(9)])],
        &[Some(&[Some(7), Some(8)]), Some(&[Some(9)])],
        &[Some(&[Some(7)]), None],
        &[None],
        &[Some(&[]), Some(&[])],
        &[Some(&[Some(1)]), Some(&[])],
    ]);
    let expected = [
        int4_array(&[(2, 1), (3, 1)], &[Some(1), Some(2), None, Some(4), Some(5), Some(6)]),
        int4_array(&[], &[]),
        int4_array(&[(1, 1), (1, 1)], &[Some(7)]),
        Err(ValueError::Ragged),
        Err(ValueError::Ragged),
        Err(ValueError::NullPart),
        Err(ValueError::NullPart),
        Err(ValueError::Invalid("an empty list in a list")),
        Err(ValueError::Ragged),
    ];
    assert_eq!(ints().values(&array), expected);
    assert_eq!(ints().values(&array.slice(2, 3)), expected[2..5]);
}

#[test]
fn six_dimensions_and_no_more() {
    let mut array: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let mut data_types = Vec::new();
    for depth in 1..=7 {
        let item = Arc::new(Field::new("item", array.data_type().clone(), true));
        // The first list has both numbers, each other the one list.
        let n_items = array.len() as i32;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, n_items]));
        array = Arc::new(ListArray::new(item, offsets, array, None));
        data_types.push((depth, Arc::clone(&array)));
    }
    for (depth, array) in data_types {
        if depth <= 6 {
            let mut dimensions = vec![(1, 1); depth - 1];
            dimensions.push((2, 1));
            assert_eq!(ints().values(&array), [int4_array(&dimensions, &[Some(1), Some(2)])]);
        } else {
            assert_eq!(ints().refusal(array.data_type()).unwrap().kind, RefusalKind::Mismatch);
        }
    }
}

/// `int2vectorsend`: counted from 0, never without a dimension, never with NULL.
#[test]
fn vectors_of_the_catalog() {
    let rows = vec![Some(vec![Some(1), Some(2)]), Some(vec![]), Some(vec![None])];
    let array: ArrayRef = Arc::new(list_of(rows));
    let to = vector_of_ints().check();
    let of_two = [header(&[(2, 0)], false, oid::INT2), vec![0, 0, 0, 2, 0, 1, 0, 0, 0, 2, 0, 2]].concat();
    let expected =
        [Ok(Some(of_two)), Ok(Some(header(&[(0, 0)], false, oid::INT2))), Err(ValueError::NullPart)];
    assert_eq!(to.values(&array), expected);
    assert_eq!(to.refusal(nested(&[]).data_type()).unwrap().kind, RefusalKind::Mismatch);
    // Its items need a check, and the refusal names them.
    let refusal = vector_of_ints().refusal(array.data_type()).unwrap();
    assert_eq!((refusal.kind, refusal.path.as_str()), (RefusalKind::NeedsCheck, "item"));
}

/// Elements that are made of lists themselves use the inner lists.
#[test]
fn elements_that_are_lists() {
    let of_arrays = array_of(
        PgType::Array(Arc::new(ArrayType {
            element: PgType::Int4,
            element_oid: oid::INT4,
            dimensions: 1,
            is_vector: false,
        })),
        99_999,
    );
    let array = nested(&[&[Some(&[Some(1)]), None, Some(&[])]]);
    let inner = int4_array(&[(1, 1)], &[Some(1)]).unwrap().unwrap();
    let empty = int4_array(&[], &[]).unwrap().unwrap();
    let mut expected = header(&[(3, 1)], true, 99_999);
    expected.extend((inner.len() as i32).to_be_bytes());
    expected.extend(inner);
    expected.extend((-1_i32).to_be_bytes());
    expected.extend((empty.len() as i32).to_be_bytes());
    expected.extend(empty);
    assert_eq!(of_arrays.values(&array), [Ok(Some(expected))]);
    // Texts in nested lists are two dimensions of json; numbers are arrays within it.
    let to = array_of(PgType::Json, oid::JSON);
    let mut texts = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    texts.values().append_value([Some("{}")]);
    texts.append(true);
    let texts: ArrayRef = Arc::new(texts.finish());
    let expected = [header(&[(1, 1), (1, 1)], false, oid::JSON), b"\0\0\0\x02{}".to_vec()].concat();
    assert_eq!(to.values(&texts), [Ok(Some(expected))]);
    let numbers = nested(&[&[Some(&[Some(1), None])]]);
    let expected = [header(&[(1, 1)], false, oid::JSON), b"\0\0\0\x08[1,null]".to_vec()].concat();
    assert_eq!(to.values(&numbers), [Ok(Some(expected))]);
}

fn shaped_fields(item: DataType) -> Fields {
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    Fields::from(vec![
        Field::new("lower_bounds", list(DataType::Int32), true),
        Field::new("values", list(item), true),
        Field::new("dimensions", list(DataType::Int32), true),
    ])
}

type Shaped<'a> = (Option<&'a [Option<i32>]>, Option<&'a [Option<i32>]>, Option<&'a [Option<i32>]>);

/// Values, dimensions, lower bounds; in another order than in an export.
fn shaped(rows: &[Shaped<'_>]) -> ArrayRef {
    let lists = |part: &dyn Fn(&Shaped<'_>) -> Option<Vec<Option<i32>>>| -> ArrayRef {
        Arc::new(list_of(rows.iter().map(part).collect()))
    };
    let columns = vec![
        lists(&|row| row.2.map(<[_]>::to_vec)),
        lists(&|row| row.0.map(<[_]>::to_vec)),
        lists(&|row| row.1.map(<[_]>::to_vec)),
    ];
    Arc::new(StructArray::new(shaped_fields(DataType::Int32), columns, None))
}

#[test]
fn shapes_are_kept_and_have_to_be_shapes() {
    let one = Some(1);
    let array = shaped(&[
        (Some(&[one, None, one, one]), Some(&[Some(2), Some(2)]), Some(&[Some(-2), Some(3)])),
        (Some(&[]), Some(&[]), Some(&[])),
        (Some(&[Some(5)]), Some(&[one]), Some(&[Some(i32::MAX - 1)])),
        (Some(&[one]), Some(&[one; 6]), Some(&[one; 6])),
        // Invalid from here on.
        (Some(&[one]), Some(&[one; 7]), Some(&[one; 7])),
        (Some(&[one]), Some(&[one]), Some(&[Some(i32::MAX)])),
        (Some(&[one]), Some(&[Some(2)]), Some(&[one])),
        (Some(&[one]), Some(&[]), Some(&[])),
        (Some(&[]), Some(&[Some(0)]), Some(&[one])),
        (Some(&[one]), Some(&[Some(-1)]), Some(&[one])),
        (Some(&[one]), Some(&[one]), Some(&[one, one])),
        (Some(&[one]), Some(&[None]), Some(&[one])),
        (Some(&[one]), Some(&[one]), None),
        (None, Some(&[]), Some(&[])),
        (Some(&[one]), Some(&[Some(i32::MAX), Some(i32::MAX)]), Some(&[one, one])),
    ]);
    let found = ints().values(&array);
    let expected = [
        int4_array(&[(2, -2), (2, 3)], &[one, None, one, one]),
        int4_array(&[], &[]),
        int4_array(&[(1, i32::MAX - 1)], &[Some(5)]),
        int4_array(&[(1, 1); 6], &[one]),
    ];
    assert_eq!(found[..4], expected);
    for (row, found) in found.iter().enumerate().take(11).skip(4) {
        assert!(matches!(found, Err(ValueError::Invalid(_))), "{row}: {found:?}");
    }
    assert_eq!(found[11..14], [const { Err(ValueError::NullPart) }; 3]);
    assert!(matches!(found[14], Err(ValueError::Invalid(_) | ValueError::TooLarge)));
    assert_eq!(ints().values(&array.slice(1, 3)), expected[1..]);
    let without = DataType::Struct(shaped_fields(DataType::Int32).iter().take(2).cloned().collect());
    assert_eq!(ints().refusal(&without).unwrap().kind, RefusalKind::Mismatch);
    let refusal = ints().refusal(&DataType::Struct(shaped_fields(DataType::Int64))).unwrap();
    assert_eq!((refusal.kind, refusal.path.as_str()), (RefusalKind::NeedsCheck, "values"));
}

/// Once, two dimensions became one, and a lower bound was dropped.
#[test]
fn shapes_that_vectors_do_not_have() {
    let (zero, one) = (Some(0), Some(1));
    let array = shaped(&[
        (Some(&[one, one]), Some(&[Some(2)]), Some(&[zero])),
        (Some(&[]), Some(&[]), Some(&[])),
        // Invalid from here on.
        (Some(&[one, one]), Some(&[one, Some(2)]), Some(&[zero, zero])),
        (Some(&[one]), Some(&[one]), Some(&[one])),
        (Some(&[None]), Some(&[one]), Some(&[zero])),
    ]);
    let found = vector_of_ints().check().values(&array);
    assert_eq!(found[0].as_ref().unwrap().as_ref().unwrap()[..20], header(&[(2, 0)], false, oid::INT2));
    assert!(found[1].is_ok());
    assert!(matches!(found[2..4], [Err(ValueError::Invalid(_)), Err(ValueError::Invalid(_))]));
    assert_eq!(found[4], Err(ValueError::NullPart));
}
