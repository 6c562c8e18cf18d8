//! Composites, ranges and maps: in every order of their parts, with an error in every part.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, StringBuilder};
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, ListArray, MapArray, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields};
use pgarrow_encode::{RefusalKind, ValueError, make_encoder};
use pgarrow_types::{ArrayType, Attribute, CompositeType, PgType, RangeType, oid};

use crate::support::To;

fn pair() -> To {
    let attribute = |name: &str, pg_type, type_oid| Attribute {
        name: name.to_owned(),
        pg_type,
        type_oid,
        type_name: format!("type of {name}"),
    };
    // A domain on text, whose own OID precedes its values.
    let attributes = vec![attribute("a", PgType::Int4, oid::INT4), attribute("b", PgType::Text, 70_000)];
    To::new(PgType::Composite(Arc::new(CompositeType { attributes })))
}

fn pairs(order: [usize; 2], nulls: Option<NullBuffer>) -> ArrayRef {
    let columns: [(&str, ArrayRef); 2] = [
        ("a", Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]))),
        ("b", Arc::new(StringArray::from(vec![Some("x"), None, Some("")]))),
    ];
    let fields: Fields =
        order.iter().map(|i| Field::new(columns[*i].0, columns[*i].1.data_type().clone(), true)).collect();
    Arc::new(StructArray::new(fields, order.iter().map(|i| Arc::clone(&columns[*i].1)).collect(), nulls))
}

#[test]
fn attributes_are_found_by_their_names() {
    let row = |a: Option<i32>, b: Option<&str>| {
        let mut bytes = 2_i32.to_be_bytes().to_vec();
        bytes.extend(oid::INT4.to_be_bytes());
        match a {
            None => bytes.extend((-1_i32).to_be_bytes()),
            Some(a) => bytes.extend([4_i32, a].iter().flat_map(|n| n.to_be_bytes())),
        }
        bytes.extend(70_000_u32.to_be_bytes());
        match b {
            None => bytes.extend((-1_i32).to_be_bytes()),
            Some(b) => {
                bytes.extend((b.len() as i32).to_be_bytes());
                bytes.extend(b.as_bytes());
            }
        }
        Ok(Some(bytes))
    };
    // A composite of NULLs is not a NULL.
    let expected = [row(Some(1), Some("x")), row(None, None), row(Some(3), Some(""))];
    for order in [[0, 1], [1, 0]] {
        let array = pairs(order, None);
        assert_eq!(pair().values(&array), expected);
        assert_eq!(pair().values(&array.slice(1, 2)), expected[1..]);
        // The fields of a NULL may hold anything.
        let array = pairs(order, Some(NullBuffer::from(vec![false, true, false])));
        assert_eq!(pair().values(&array), [Ok(None), expected[1].clone(), Ok(None)]);
        assert_eq!(pair().values(&array.slice(1, 1)), [expected[1].clone()]);
    }
}

/// If the same types come in another order, no value goes to the wrong attribute.
#[test]
fn arrays_of_other_structs_than_was_planned() {
    let attribute = |name: &str| Attribute {
        name: name.to_owned(),
        pg_type: PgType::Int4,
        type_oid: oid::INT4,
        type_name: String::new(),
    };
    let attributes = vec![attribute("a"), attribute("b")];
    let to = To::new(PgType::Composite(Arc::new(CompositeType { attributes })));
    let array = |names: [&str; 2]| {
        let ints: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let fields: Fields = names.iter().map(|name| Field::new(*name, DataType::Int32, true)).collect();
        StructArray::new(fields, vec![Arc::clone(&ints), ints], None)
    };
    let planned = array(["a", "b"]);
    let field = Field::new("v", planned.data_type().clone(), true);
    let encoder = make_encoder(&field, to.target()).unwrap();
    assert!(encoder.bind(&planned).is_ok());
    assert_eq!(encoder.bind(&array(["b", "a"])).unwrap_err(), ValueError::WrongArray);
    assert_eq!(encoder.bind(&Int32Array::from(vec![1])).unwrap_err(), ValueError::WrongArray);
}

#[test]
fn structs_that_are_other_composites() {
    let fields = |names: &[(&str, DataType)]| {
        let fields = names.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        DataType::Struct(fields.collect())
    };
    let (a, b) = (("a", DataType::Int32), ("b", DataType::Utf8));
    for wrong in [
        fields(std::slice::from_ref(&a)),
        fields(&[a.clone(), b.clone(), ("c", DataType::Int32)]),
        fields(&[a.clone(), b.clone(), a.clone()]),
        fields(&[("A", DataType::Int32), b.clone()]),
        fields(&[]),
        DataType::Int32,
    ] {
        let refusal = pair().refusal(&wrong).unwrap();
        assert_eq!(refusal.kind, RefusalKind::Mismatch, "{wrong}");
        assert!(pair().check().refusal(&wrong).is_some());
    }
    let wide = fields(&[("a", DataType::Int64), b.clone()]);
    let refusal = pair().refusal(&wide).unwrap();
    assert_eq!((refusal.kind, refusal.path.as_str()), (RefusalKind::NeedsCheck, "a"));
    assert_eq!(pair().check().refusal(&wide), None);
    assert_eq!(pair().refusal(&fields(&[("a", DataType::Null), b.clone()])), None);
    // An attribute whose metadata names exactly this type.
    let said = Field::new("a", DataType::Int64, true)
        .with_metadata([("pg.type".to_owned(), "type of a".to_owned())].into());
    let said = DataType::Struct(vec![said, Field::new("b", DataType::Utf8, true)].into());
    assert_eq!(pair().refusal(&said), None);
}

fn int_range() -> To {
    To::new(PgType::Range(Arc::new(RangeType { subtype: PgType::Int4 })))
}

type Range = (Option<i32>, Option<i32>, Option<bool>, Option<bool>, Option<bool>);

fn ranges(rows: &[Range], nulls: Option<NullBuffer>) -> StructArray {
    let bounds = |part: &dyn Fn(&Range) -> Option<i32>| -> ArrayRef {
        Arc::new(rows.iter().map(part).collect::<Int32Array>())
    };
    let flags = |part: &dyn Fn(&Range) -> Option<bool>| -> ArrayRef {
        Arc::new(rows.iter().map(part).collect::<BooleanArray>())
    };
    let columns = [
        ("lower", bounds(&|row| row.0)),
        ("upper", bounds(&|row| row.1)),
        ("lower_inclusive", flags(&|row| row.2)),
        ("upper_inclusive", flags(&|row| row.3)),
        ("empty", flags(&|row| row.4)),
    ];
    let fields: Fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    StructArray::new(fields, columns.into_iter().map(|(_, array)| array).collect(), nulls)
}

#[test]
fn ranges_and_their_flags() {
    let (yes, no) = (Some(true), Some(false));
    let rows = [
        (Some(1), Some(2), yes, no, no),
        (Some(1), Some(2), no, yes, no),
        (None, Some(2), no, no, no),
        (Some(1), None, yes, no, no),
        (None, None, no, no, no),
        (None, None, no, no, yes),
        // The user may type `[,]`: a missing bound is not inclusive.
        (None, None, yes, yes, no),
        (Some(1), None, no, no, yes),
        (None, None, None, no, no),
        (None, None, no, no, None),
    ];
    let bound = |n: i32| [4_i32, n].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let expected = [
        Ok(Some([vec![0x02], bound(1), bound(2)].concat())),
        Ok(Some([vec![0x04], bound(1), bound(2)].concat())),
        Ok(Some([vec![0x08], bound(2)].concat())),
        Ok(Some([vec![0x12], bound(1)].concat())),
        Ok(Some(vec![0x18])),
        Ok(Some(vec![0x01])),
        Ok(Some(vec![0x18])),
        Err(ValueError::Invalid("an empty range with a bound")),
        Err(ValueError::NullPart),
        Err(ValueError::NullPart),
    ];
    let array: ArrayRef = Arc::new(ranges(&rows, None));
    assert_eq!(int_range().values(&array), expected);
    assert_eq!(int_range().values(&array.slice(3, 4)), expected[3..7]);
    let nulls: NullBuffer = (0..rows.len()).map(|row| row == 1).collect();
    let array: ArrayRef = Arc::new(ranges(&rows, Some(nulls)));
    let found = int_range().values(&array);
    assert_eq!(found[1], expected[1]);
    assert!(found.iter().enumerate().all(|(row, value)| row == 1 || *value == Ok(None)));
    // Multiranges: lists of ranges, none NULL.
    let to = To::new(PgType::Multirange(Arc::new(RangeType { subtype: PgType::Int4 })));
    let nulls: NullBuffer = [true, true, false].into_iter().collect();
    let items = ranges(&rows[..3], Some(nulls));
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 3]));
    let array: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::new(items), None));
    let two = [vec![0, 0, 0, 2], vec![0, 0, 0, 17, 0x02], bound(1), bound(2), vec![0, 0, 0, 17, 0x04]];
    let two = [two.concat(), bound(1), bound(2)].concat();
    assert_eq!(to.values(&array), [Ok(Some(two)), Ok(Some(vec![0; 4])), Err(ValueError::NullPart)]);
}

#[test]
fn structs_that_are_no_ranges() {
    let array = ranges(&[], None);
    let fields = array.fields();
    let without = |name: &str| {
        DataType::Struct(fields.iter().filter(|field| field.name() != name).cloned().collect::<Fields>())
    };
    for field in fields {
        assert_eq!(int_range().refusal(&without(field.name())).unwrap().kind, RefusalKind::Mismatch);
    }
    let of_longs = |name: &str| {
        let fields = fields.iter().map(|field| match field.name() == name {
            true => Arc::new(Field::new(name, DataType::Int64, true)),
            false => Arc::clone(field),
        });
        DataType::Struct(fields.collect())
    };
    let refusal = int_range().refusal(&of_longs("upper")).unwrap();
    assert_eq!((refusal.kind, refusal.path.as_str()), (RefusalKind::NeedsCheck, "upper"));
    assert_eq!(int_range().check().refusal(&of_longs("upper")), None);
    assert_eq!(int_range().check().refusal(&of_longs("empty")).unwrap().kind, RefusalKind::Mismatch);
}

type Pairs<'a> = &'a [(&'a str, Option<&'a str>)];

fn map(rows: &[Option<Pairs<'_>>]) -> MapArray {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row.unwrap_or_default() {
            builder.keys().append_value(key);
            builder.values().append_option(*value);
        }
        builder.append(row.is_some()).unwrap();
    }
    builder.finish()
}

#[test]
fn maps_are_hstores_whose_keys_differ() {
    let to = To::new(PgType::Hstore);
    let rows: [Option<Pairs<'_>>; 6] = [
        Some(&[("b", Some("1")), ("a", None), ("", Some(""))]),
        None,
        Some(&[]),
        Some(&[("a", None), ("b", None), ("a", None)]),
        Some(&[("a", Some("\0"))]),
        Some(&[("aa", Some("x")), ("a", Some("aa"))]),
    ];
    let array: ArrayRef = Arc::new(map(&rows));
    let first = b"\0\0\0\x03\0\0\0\x01b\0\0\0\x011\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0\0\0\0\0";
    let last = b"\0\0\0\x02\0\0\0\x02aa\0\0\0\x01x\0\0\0\x01a\0\0\0\x02aa";
    let expected = [
        Ok(Some(first.to_vec())),
        Ok(None),
        Ok(Some(vec![0; 4])),
        Err(ValueError::DuplicateKey),
        Err(ValueError::ZeroByte),
        Ok(Some(last.to_vec())),
    ];
    assert_eq!(to.values(&array), expected);
    assert_eq!(to.values(&array.slice(3, 3)), expected[3..]);
    // As a list of structs, whose keys may be NULL.
    let entries = Arc::new(StructArray::from(vec![
        (
            Arc::new(Field::new("key", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("k"), None])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("value", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![None, Some("v")])) as ArrayRef,
        ),
    ]));
    let item = Arc::new(Field::new("item", entries.data_type().clone(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 1, 2]));
    let array: ArrayRef = Arc::new(ListArray::new(item, offsets, entries, None));
    let one = b"\0\0\0\x01\0\0\0\x01k\xff\xff\xff\xff";
    assert_eq!(to.values(&array), [Ok(Some(one.to_vec())), Err(ValueError::NullPart)]);
    // Values that are not text need a check.
    let entries =
        Fields::from(vec![Field::new("k", DataType::Utf8, false), Field::new("v", DataType::Int64, true)]);
    let data_type = DataType::Map(Arc::new(Field::new("e", DataType::Struct(entries), false)), false);
    let refusal = to.refusal(&data_type).unwrap();
    assert_eq!((refusal.kind, refusal.path.as_str()), (RefusalKind::NeedsCheck, "value"));
    assert_eq!(to.check().refusal(&data_type), None);
}

/// Types inside types, with NULL on each level.
#[test]
fn composites_of_arrays_of_composites() {
    let attribute = |name: &str, pg_type, type_oid| Attribute {
        name: name.to_owned(),
        pg_type,
        type_oid,
        type_name: String::new(),
    };
    let array = ArrayType { element: pair().pg_type, element_oid: 80_000, dimensions: 0, is_vector: false };
    let attributes = vec![attribute("list", PgType::Array(Arc::new(array)), 80_001)];
    let to = To::new(PgType::Composite(Arc::new(CompositeType { attributes })));
    let items = pairs([0, 1], Some(NullBuffer::from(vec![true, false, true])));
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 3]));
    let lists = ListArray::new(item, offsets, items, Some(NullBuffer::from(vec![true, false, true])));
    let fields = Fields::from(vec![Field::new("list", lists.data_type().clone(), true)]);
    let array: ArrayRef = Arc::new(StructArray::new(fields, vec![Arc::new(lists)], None));
    let found = to.values(&array);
    // n, OID, length | the array: header of 20, length and composite of 25, NULL.
    let first = found[0].clone().unwrap().unwrap();
    assert_eq!(first[..8], [0, 0, 0, 1, 0, 1, 0x38, 0x81]);
    assert_eq!(first.len(), 12 + 20 + 4 + 25 + 4);
    assert_eq!(first[first.len() - 4..], [0xff; 4]);
    assert_eq!(found[1], Ok(Some([&[0, 0, 0, 1, 0, 1, 0x38, 0x81][..], &[0xff; 4]].concat())));
    assert_eq!(to.values(&array.slice(2, 1)), found[2..]);
    let longs: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)])]));
    assert!(to.refusal(longs.data_type()).is_some());
}
