//! Arrays, composites, ranges, multiranges and hstore, and any of them inside any other.

use std::sync::Arc;

use arrow_array::types::Int64Type;
use pgarrow_types::{
    ArrayForm, ArrayType, Attribute, CompositeType, EncodingPolicy, InfinityPolicy, NanPolicy, RangeType,
};

use super::*;
use crate::effect::{Effect, Effects};

const INT4: u32 = 23;

pub(super) fn framed(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        None => (-1_i32).to_be_bytes().to_vec(),
        Some(value) => [&(value.len() as i32).to_be_bytes()[..], value].concat(),
    }
}

/// An array as `array_send` writes it. Dimensions are length and lower bound.
pub(super) fn array(oid: u32, dimensions: &[(i32, i32)], elements: &[Option<&[u8]>]) -> Vec<u8> {
    let has_nulls = elements.iter().any(Option::is_none);
    let mut wire = (dimensions.len() as i32).to_be_bytes().to_vec();
    wire.extend(i32::from(has_nulls).to_be_bytes());
    wire.extend(oid.to_be_bytes());
    for (length, lower) in dimensions {
        wire.extend(length.to_be_bytes());
        wire.extend(lower.to_be_bytes());
    }
    wire.extend(elements.iter().flat_map(|element| framed(*element)));
    wire
}

pub(super) fn composite(attributes: &[(u32, Option<&[u8]>)]) -> Vec<u8> {
    let mut wire = (attributes.len() as i32).to_be_bytes().to_vec();
    for (oid, value) in attributes {
        wire.extend(oid.to_be_bytes());
        wire.extend(framed(*value));
    }
    wire
}

pub(super) fn range(flags: u8, bounds: &[&[u8]]) -> Vec<u8> {
    let bounds = bounds.iter().flat_map(|bound| framed(Some(bound)));
    [flags].into_iter().chain(bounds).collect()
}

fn int(value: i32) -> [u8; 4] {
    value.to_be_bytes()
}

fn ints_array(dimensions: &[(i32, i32)], values: &[Option<i32>]) -> Vec<u8> {
    let values: Vec<Option<[u8; 4]>> = values.iter().map(|value| value.map(int)).collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| value.as_ref().map(|v| &v[..])).collect();
    array(INT4, dimensions, &values)
}

pub(super) fn array_of(element: PgType, element_oid: u32, dimensions: u8) -> PgType {
    PgType::Array(Arc::new(ArrayType { element, element_oid, dimensions, is_vector: false }))
}

fn int_array() -> PgType {
    array_of(PgType::Int4, INT4, 1)
}

pub(super) fn composite_of(attributes: &[(&str, PgType, u32)]) -> PgType {
    let attribute = |(name, pg_type, type_oid): &(&str, PgType, u32)| Attribute {
        name: (*name).to_owned(),
        pg_type: pg_type.clone(),
        type_oid: *type_oid,
        type_name: String::new(),
    };
    PgType::Composite(Arc::new(CompositeType { attributes: attributes.iter().map(attribute).collect() }))
}

pub(super) fn range_of(subtype: PgType) -> PgType {
    PgType::Range(Arc::new(RangeType { subtype }))
}

fn with(change: impl FnOnce(&mut TypeOptions)) -> TypeOptions {
    let mut options = TypeOptions::default();
    change(&mut options);
    options
}

fn shaped() -> TypeOptions {
    with(|options| options.arrays = ArrayForm::Shaped)
}

fn nested() -> TypeOptions {
    with(|options| options.arrays = ArrayForm::Nested)
}

fn ints_of(dimensions: u8) -> PgType {
    array_of(PgType::Int4, INT4, dimensions)
}

/// Values in Arrow's own display form.
fn display(array: &dyn Array) -> Vec<String> {
    let options = arrow_cast::display::FormatOptions::new().with_null("NULL");
    let formatter = arrow_cast::display::ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
}

fn effects_of(pg_type: &PgType, options: &TypeOptions, values: &[Wire]) -> Effects {
    let mut column = make_column(pg_type, options, 0);
    let mut effects = Effects::default();
    for value in values {
        let bytes = framed(value.as_deref());
        for _ in 0..2 {
            column.truncate(0);
            column.decode(&mut Chunk::new(&bytes, &mut [0])).unwrap();
        }
        column.finish().unwrap();
        column.take_effects(&mut effects);
    }
    effects
}

/// All values are decoded, whatever the cuts; every shortened or lengthened value is refused.
#[track_caller]
fn check(pg_type: &PgType, options: &TypeOptions, values: &[Vec<u8>], expected: &[&str]) {
    let wires: Vec<Wire> = values.iter().cloned().map(Some).collect();
    let array = decode_with(pg_type, options, &wires).unwrap();
    assert_eq!(display(&array), expected);
    for value in values {
        for end in 0..value.len() {
            let cut = decode_with(pg_type, options, &[Some(value[..end].to_vec())]);
            assert!(cut.is_err(), "{pg_type:?} cut off at {end} of {}", value.len());
        }
        let longer = decode_with(pg_type, options, &[Some([value, &[0][..]].concat())]);
        assert!(longer.is_err(), "{pg_type:?} with a byte behind it");
    }
    // More values than a chunk of elements has, in one row and over many rows.
    let many: Vec<Wire> = wires.iter().cycle().take(600).cloned().collect();
    for chunk_rows in [256, 100] {
        let array = decode_in_chunks(pg_type, options, &many, chunk_rows, 0).unwrap();
        array.to_data().validate_full().unwrap();
        let cycle: Vec<String> = expected.iter().cycle().take(600).map(|v| (*v).to_owned()).collect();
        assert_eq!(display(&array), cycle);
    }
}

fn array_values() -> Vec<Vec<u8>> {
    vec![
        ints_array(&[], &[]),
        ints_array(&[(3, 1)], &[Some(1), None, Some(-3)]),
        ints_array(&[(1, 1)], &[None]),
        ints_array(&[(2, 0)], &[Some(7), Some(8)]),
    ]
}

#[test]
fn arrays_of_one_dimension_are_lists() {
    let expected = ["[]", "[1, NULL, -3]", "[NULL]", "[7, 8]"];
    check(&int_array(), &TypeOptions::default(), &array_values(), &expected);
    let wires: Vec<Wire> = array_values().into_iter().map(Some).collect();
    let effects = effects_of(&int_array(), &TypeOptions::default(), &wires);
    assert_eq!(effects.iter().collect::<Vec<_>>(), [(Effect::LowerBoundDropped, 1)]);
    assert_eq!(effects_of(&int_array(), &shaped(), &wires), Effects::default());
    // An empty oidvector has a dimension of length 0.
    let oids = PgType::Array(Arc::new(ArrayType {
        element: PgType::Oid,
        element_oid: 26,
        dimensions: 1,
        is_vector: true,
    }));
    let empty = array(26, &[(0, 0)], &[]);
    let two = array(26, &[(2, 0)], &[Some(&[0xff; 4]), Some(&[0, 0, 0, 1])]);
    check(&oids, &shaped(), &[empty, two.clone()], &["[]", "[4294967295, 1]"]);
    assert_eq!(effects_of(&oids, &TypeOptions::default(), &[Some(two)]), Effects::default());
}

#[test]
fn arrays_of_more_dimensions_need_a_form_that_has_them() {
    let square = ints_array(&[(2, -2), (2, 3)], &[Some(1), Some(2), None, Some(4)]);
    assert_eq!(fails(&int_array(), &square), ValueError::Dimensions { expected: 1, found: 2 });
    let empty = ints_array(&[], &[]);
    check(&ints_of(2), &nested(), &[square.clone(), empty.clone()], &["[[1, 2], [NULL, 4]]", "[]"]);
    let deep = ints_array(&[(1, 1); 6], &[Some(1)]);
    check(&ints_of(6), &nested(), &[deep.clone(), empty.clone()], &["[[[[[[1]]]]]]", "[]"]);
    let box_of_six = ints_array(&[(2, 1), (1, 1), (3, 1)], &[1, 2, 3, 4, 5, 6].map(Some));
    check(&ints_of(3), &nested(), &[box_of_six], &["[[[1, 2, 3]], [[4, 5, 6]]]"]);
    let error = decode_with(&ints_of(3), &nested(), &[Some(square.clone())]).unwrap_err();
    assert_eq!(error.cause, ValueError::Dimensions { expected: 3, found: 2 });
    check(
        &int_array(),
        &shaped(),
        &[square, empty, deep],
        &[
            "{values: [1, 2, NULL, 4], dimensions: [2, 2], lower_bounds: [-2, 3]}",
            "{values: [], dimensions: [], lower_bounds: []}",
            "{values: [1], dimensions: [1, 1, 1, 1, 1, 1], lower_bounds: [1, 1, 1, 1, 1, 1]}",
        ],
    );
}

#[test]
fn arrays_that_lie_are_refused() {
    let good = ints_array(&[(2, 1)], &[Some(1), None]);
    let patched = |at: usize, bytes: &[u8]| {
        let mut wire = good.clone();
        wire[at..at + bytes.len()].copy_from_slice(bytes);
        wire
    };
    for (what, wire) in [
        ("-1 dimensions", patched(0, &(-1_i32).to_be_bytes())),
        ("7 dimensions", patched(0, &7_i32.to_be_bytes())),
        ("flags", patched(4, &2_i32.to_be_bytes())),
        ("no NULLs", patched(4, &0_i32.to_be_bytes())),
        ("another element", patched(8, &25_u32.to_be_bytes())),
        ("a length below 0", patched(12, &(-1_i32).to_be_bytes())),
        ("too long", patched(12, &3_i32.to_be_bytes())),
        ("much too long", patched(12, &i32::MAX.to_be_bytes())),
        ("too short", patched(12, &1_i32.to_be_bytes())),
        ("an upper bound past the last", patched(16, &i32::MAX.to_be_bytes())),
        ("an element's length", patched(20, &(-2_i32).to_be_bytes())),
        ("an empty second dimension", array(INT4, &[(i32::MAX, 1), (0, 1)], &[])),
        ("65536 squared", array(INT4, &[(65536, 1), (65536, 1)], &[])),
    ] {
        for options in [TypeOptions::default(), shaped(), nested()] {
            assert!(decode_with(&ints_of(2), &options, &[Some(wire.clone())]).is_err(), "{what}");
        }
    }
    // The largest possible lower bound of one element.
    let last = ints_array(&[(1, i32::MAX)], &[Some(5)]);
    assert_eq!(display(&decode(&int_array(), &[Some(last)]).unwrap()), ["[5]"]);
}

#[test]
fn composites_are_structs() {
    let pg_type = composite_of(&[("a", PgType::Int4, INT4), ("b", PgType::Text, 25)]);
    let values = [
        composite(&[(INT4, Some(&int(1))), (25, Some(b"x"))]),
        composite(&[(INT4, None), (25, None)]),
        composite(&[(INT4, Some(&int(-1))), (25, Some(b""))]),
    ];
    let expected = ["{a: 1, b: x}", "{a: NULL, b: NULL}", "{a: -1, b: }"];
    check(&pg_type, &TypeOptions::default(), &values, &expected);
    for (what, wire) in [
        ("one attribute", composite(&[(INT4, None)])),
        ("three attributes", composite(&[(INT4, None), (25, None), (25, None)])),
        ("another type", composite(&[(INT4, None), (1043, None)])),
        ("an attribute behind the end", {
            let mut wire = values[0].clone();
            wire[8..12].copy_from_slice(&100_i32.to_be_bytes());
            wire
        }),
    ] {
        // The next row's bytes do not belong to the attribute.
        let rows = [Some(wire), Some(values[0].clone())];
        assert_eq!(decode(&pg_type, &rows).unwrap_err().row, 0, "{what}");
    }
}

#[test]
fn ranges_tell_missing_bounds_from_infinite_ones() {
    let pg_type = range_of(PgType::Date);
    let day = |days: i32| days.to_be_bytes();
    let values = [
        range(0x01, &[]),
        range(0x18, &[]),
        range(0x02 | 0x10, &[&day(0)]),
        range(0x08 | 0x04, &[&day(1)]),
        range(0x02, &[&day(0), &day(1)]),
    ];
    let expected = [
        "{lower: NULL, upper: NULL, lower_inclusive: false, upper_inclusive: false, empty: true}",
        "{lower: NULL, upper: NULL, lower_inclusive: false, upper_inclusive: false, empty: false}",
        "{lower: 2000-01-01, upper: NULL, lower_inclusive: true, upper_inclusive: false, empty: false}",
        "{lower: NULL, upper: 2000-01-02, lower_inclusive: false, upper_inclusive: true, empty: false}",
        "{lower: 2000-01-01, upper: 2000-01-02, lower_inclusive: true, upper_inclusive: false, empty: false}",
    ];
    check(&pg_type, &TypeOptions::default(), &values, &expected);
    let infinite = range(0x02, &[&day(0), &day(i32::MAX)]);
    assert_eq!(fails(&pg_type, &infinite), ValueError::Infinite);
    let options = with(|options| options.infinity = InfinityPolicy::Null);
    let effects = effects_of(&pg_type, &options, &[Some(infinite.clone()), Some(values[1].clone())]);
    assert_eq!(effects.iter().collect::<Vec<_>>(), [(Effect::InfinityNulled, 1)]);
    let one = decode_with(&pg_type, &options, &[Some(infinite)]).unwrap();
    assert!(one.as_struct().column(1).is_null(0));
    for wire in [
        vec![],
        range(0x20, &[&day(0), &day(1)]),
        range(0x80, &[&day(0), &day(1)]),
        range(0x03, &[]),
        range(0x0a, &[&day(1)]),
        range(0x14, &[&day(0)]),
        range(0x01, &[&day(0)]),
        range(0x02, &[&day(0)]),
        range(0x18, &[&day(0)]),
        [&[0x12][..], &framed(None)].concat(),
    ] {
        assert!(decode(&pg_type, &[Some(wire.clone())]).is_err(), "{wire:?}");
    }
}

#[test]
fn multiranges_are_lists_of_ranges() {
    let pg_type = PgType::Multirange(Arc::new(RangeType { subtype: PgType::Int4 }));
    let multirange = |ranges: &[Vec<u8>]| {
        let mut wire = (ranges.len() as u32).to_be_bytes().to_vec();
        wire.extend(ranges.iter().flat_map(|range| framed(Some(range))));
        wire
    };
    let one_to_two = range(0x02, &[&int(1), &int(2)]);
    let values = [multirange(&[]), multirange(&[one_to_two.clone(), range(0x12, &[&int(5)])])];
    let expected = [
        "[]",
        "[{lower: 1, upper: 2, lower_inclusive: true, upper_inclusive: false, empty: false}, \
          {lower: 5, upper: NULL, lower_inclusive: true, upper_inclusive: false, empty: false}]",
    ];
    check(&pg_type, &TypeOptions::default(), &values, &expected);
    let mut lying = multirange(&[one_to_two]);
    lying[0..4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(decode(&pg_type, &[Some(lying)]).is_err());
    let with_null = [&1_u32.to_be_bytes()[..], &framed(None)].concat();
    assert!(decode(&pg_type, &[Some(with_null)]).is_err());
}

#[test]
fn hstore_is_a_map() {
    let hstore = |pairs: &[(&[u8], Option<&[u8]>)]| {
        let mut wire = (pairs.len() as i32).to_be_bytes().to_vec();
        for (key, value) in pairs {
            wire.extend(framed(Some(key)));
            wire.extend(framed(*value));
        }
        wire
    };
    let values = [
        hstore(&[]),
        hstore(&[(b"", None), (b"a", Some(b"1")), (b"b", Some(b"")), (b"aa", None)]),
        hstore(&[("ä".as_bytes(), Some("ö".as_bytes()))]),
    ];
    let expected = ["{}", "{: NULL, a: 1, b: , aa: NULL}", "{ä: ö}"];
    check(&PgType::Hstore, &TypeOptions::default(), &values, &expected);
    let mut lying = values[1].clone();
    lying[0..4].copy_from_slice(&(-1_i32).to_be_bytes());
    let null_key = [&1_i32.to_be_bytes()[..], &framed(None), &framed(None)].concat();
    for wire in
        [lying, null_key, hstore(&[(b"a", None), (b"a", None)]), hstore(&[(b"aa", None), (b"b", None)])]
    {
        assert!(matches!(fails(&PgType::Hstore, &wire), ValueError::Malformed(_)));
    }
    let latin = hstore(&[(b"\xe9", Some(b"\xff"))]);
    assert_eq!(fails(&PgType::Hstore, &latin), ValueError::Utf8);
    // Once, binary was planned and text was made, so that no value could be decoded.
    let binary = with(|options| options.encoding = EncodingPolicy::Binary);
    let array = decode_with(&PgType::Hstore, &binary, &[Some(latin.clone())]).unwrap();
    assert_eq!(array.as_map().keys().as_binary::<i32>().value(0), b"\xe9");
    // Values are replaced and keys are not: two keys could become one.
    let latin_value = hstore(&[(b"a", Some(b"\xff"))]);
    for encoding in [EncodingPolicy::Replace, EncodingPolicy::Latin1] {
        let replace = with(|options| options.encoding = encoding);
        let effects = effects_of(&PgType::Hstore, &replace, &[Some(latin_value.clone())]);
        assert_eq!(effects.count(Effect::TextReplaced), 1);
        let refused = decode_with(&PgType::Hstore, &replace, &[Some(latin.clone())]).unwrap_err();
        assert_eq!(refused.cause, ValueError::Utf8);
    }
}

/// An array of composites of ranges and arrays, with NULLs on every level.
#[test]
fn everything_stands_in_everything() {
    let inner = composite_of(&[
        ("r", range_of(PgType::Int8), 3926),
        ("xs", int_array(), 1007),
        ("n", PgType::Numeric(NumericType::Unconstrained), 1700),
    ]);
    let pg_type = array_of(inner, 90_000, 1);
    let nine = [0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
    let r = range(0x02, &[&5_i64.to_be_bytes(), &6_i64.to_be_bytes()]);
    let xs = ints_array(&[(2, 1)], &[Some(1), None]);
    let full = composite(&[(3926, Some(&r)), (1007, Some(&xs)), (1700, Some(&nine))]);
    let empty = composite(&[(3926, None), (1007, Some(&ints_array(&[], &[]))), (1700, None)]);
    let values = [
        array(90_000, &[(3, 1)], &[Some(&full), None, Some(&empty)]),
        array(90_000, &[], &[]),
        array(90_000, &[(1, 1)], &[None]),
    ];
    let range_text = "{lower: 5, upper: 6, lower_inclusive: true, upper_inclusive: false, empty: false}";
    let first = format!("[{{r: {range_text}, xs: [1, NULL], n: 9}}, NULL, {{r: NULL, xs: [], n: NULL}}]");
    check(&pg_type, &TypeOptions::default(), &values, &[&first, "[]", "[NULL]"]);
    // Composites inside composites, as deep as the catalog allows.
    let mut deep = PgType::Int4;
    let mut oid = INT4;
    let mut value = int(7).to_vec();
    let mut text = "7".to_owned();
    for depth in 0..60 {
        deep = composite_of(&[("x", deep, oid)]);
        value = composite(&[(oid, Some(&value))]);
        text = format!("{{x: {text}}}");
        oid = 70_000 + depth;
    }
    assert_eq!(display(&decode(&deep, &[Some(value)]).unwrap()), [text]);
}

/// `CREATE TYPE nothing AS ()` is legal.
#[test]
fn a_composite_without_attributes_still_has_rows() {
    let array = decode(&composite_of(&[]), &[Some(composite(&[])), None, Some(composite(&[]))]);
    assert_eq!(array.unwrap().len(), 3);
}

/// An error names the row of the wrong element, also if text is checked only at the end.
#[test]
fn errors_name_the_row_of_the_value() {
    let pg_type = array_of(PgType::Text, 25, 1);
    let good = array(25, &[(2, 1)], &[Some(b"a"), Some(b"b")]);
    let bad = array(25, &[(3, 1)], &[Some(b"a"), Some(b"\xff"), Some(b"c")]);
    let rows = [Some(good.clone()), None, Some(bad), Some(good.clone())];
    let error = decode(&pg_type, &rows).unwrap_err();
    assert_eq!(error, RowError { row: 2, cause: ValueError::Utf8 });
    let bools = array_of(PgType::Bool, 16, 1);
    let bool_array = |byte: u8| array(16, &[(2, 1)], &[Some(&[1]), Some(&[byte])]);
    let rows: Vec<Wire> = (0..700).map(|row| Some(bool_array(if row == 613 { 7 } else { 0 }))).collect();
    assert_eq!(decode(&bools, &rows).unwrap_err().row, 613);
}

/// One array of a million NULL composites has four megabytes on the wire, and would have gigabytes in Arrow.
#[test]
fn nulls_do_not_take_more_than_a_batch_may_have() {
    let wide: Vec<(String, PgType, u32)> = (0..1000)
        .map(|i| (format!("a{i}"), PgType::Numeric(NumericType::Declared { precision: 50, scale: 0 }), 1700))
        .collect();
    let wide: Vec<(&str, PgType, u32)> = wide.iter().map(|(n, t, o)| (n.as_str(), t.clone(), *o)).collect();
    let pg_type = array_of(composite_of(&wide), 90_000, 1);
    let nulls = vec![None; 1 << 20];
    let bytes = framed(Some(&array(90_000, &[(1 << 20, 1)], &nulls)));
    let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
    let error = column.decode(&mut Chunk::new(&bytes, &mut [0]).with_room(16 << 20)).unwrap_err();
    assert_eq!(error.cause, ValueError::ChunkFull);
    assert!(column.allocated_bytes() < 64 << 20, "{}", column.allocated_bytes());
    // In rows of their own, the batch ends earlier.
    let one = framed(Some(&array(90_000, &[(100, 1)], &vec![None; 100])));
    let bytes = one.repeat(200);
    let mut cursors: Vec<u32> = (0..200).map(|row| (row * one.len()) as u32).collect();
    let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
    let error = column.decode(&mut Chunk::new(&bytes, &mut cursors).with_room(1 << 20)).unwrap_err();
    assert_eq!(error.cause, ValueError::ChunkFull);
    assert!(
        error.row < 100 && column.allocated_bytes() < 64 << 20,
        "{} {}",
        error.row,
        column.allocated_bytes()
    );
}

/// NULLs in parts of elements were once not counted: 640 kB became gigabytes.
#[test]
fn wide_nulls_are_counted_wherever_they_stand() {
    let vector = PgType::Vector { dimensions: Some(16_000) };
    let holder = composite_of(&[("v", vector.clone(), 80_000)]);
    let with_null = composite(&[(80_000, None)]);
    let elements = vec![Some(&with_null[..]); 40_000];
    let of_composites = array(90_000, &[(40_000, 1)], &elements);
    let empty = range(0x01, &[]);
    let of_ranges = array(90_000, &[(40_000, 1)], &vec![Some(&empty[..]); 40_000]);
    let texts: Vec<(String, PgType, u32)> = (0..1600).map(|i| (format!("a{i}"), PgType::Text, 25)).collect();
    let texts: Vec<(&str, PgType, u32)> = texts.iter().map(|(n, t, o)| (n.as_str(), t.clone(), *o)).collect();
    let of_nulls = array(90_000, &[(300_000, 1)], &vec![None; 300_000]);
    for (element, value) in
        [(holder, of_composites), (range_of(vector), of_ranges), (composite_of(&texts), of_nulls)]
    {
        let pg_type = array_of(element, 90_000, 1);
        let bytes = framed(Some(&value));
        let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
        let mut cursors = [0];
        let mut chunk = Chunk::new(&bytes, &mut cursors).with_room(16 << 20);
        let error = column.decode(&mut chunk).unwrap_err();
        assert_eq!(error, RowError { row: 0, cause: ValueError::ChunkFull });
        let allocated = column.allocated_bytes();
        assert!(allocated < 64 << 20, "{pg_type:?}: {allocated}");
        // The column can be used again.
        column.truncate(0);
        let bytes = framed(Some(&array(90_000, &[], &[])));
        column.decode(&mut Chunk::new(&bytes, &mut [0])).unwrap();
        assert_eq!(column.finish().unwrap().len(), 1);
    }
}

/// A list of a list once gave the chunk more room than it had before.
#[test]
fn room_is_only_used_up() {
    let pg_type = array_of(composite_of(&[("a", int_array(), 1007)]), 90_000, 1);
    let xs = ints_array(&[(1, 1)], &[Some(1)]);
    let one = composite(&[(1007, Some(&xs))]);
    let bytes = framed(Some(&array(90_000, &[(1, 1)], &[Some(&one)]))).repeat(2);
    let length = (bytes.len() / 2) as u32;
    let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
    let mut cursors = [0, length];
    let mut chunk = Chunk::new(&bytes, &mut cursors).with_room(1000);
    column.decode(&mut chunk).unwrap();
    assert!(chunk.room() <= 1000, "{}", chunk.room());
}

#[test]
fn policies_hold_inside_of_other_types() {
    let numeric = PgType::Numeric(NumericType::Declared { precision: 5, scale: 2 });
    let pg_type = array_of(numeric, 1700, 1);
    let nan = [0, 0, 0, 0, 0xc0, 0, 0, 0];
    let value = array(1700, &[(3, 1)], &[Some(&nan), None, Some(&nan)]);
    assert_eq!(fails(&pg_type, &value), ValueError::NotANumber);
    let options = with(|options| options.nan = NanPolicy::Null);
    let list = decode_with(&pg_type, &options, &[Some(value.clone())]).unwrap();
    assert_eq!(display(&list), ["[NULL, NULL, NULL]"]);
    let effects = effects_of(&pg_type, &options, &[Some(value.clone()), Some(value)]);
    assert_eq!(effects.count(Effect::NanNulled), 4);
}

/// Arrays that a column gave out come back into it, whatever they consist of.
#[test]
fn nested_buffers_are_used_again() {
    let pg_type = composite_of(&[("a", int_array(), 1007), ("b", range_of(PgType::Int8), 3926)]);
    let xs = ints_array(&[(50, 1)], &[Some(1); 50]);
    let r = range(0x02, &[&1_i64.to_be_bytes(), &2_i64.to_be_bytes()]);
    let bytes = framed(Some(&composite(&[(1007, Some(&xs)), (3926, Some(&r))]))).repeat(100);
    let length = bytes.len() / 100;
    let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
    for _ in 0..3 {
        let mut cursors: Vec<u32> = (0..100).map(|row| (row * length) as u32).collect();
        column.decode(&mut Chunk::new(&bytes, &mut cursors)).unwrap();
        let array = column.finish().unwrap();
        let sum: i64 = array
            .as_struct()
            .column(1)
            .as_struct()
            .column(1)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .sum();
        assert_eq!(sum, 200);
        column.recycle(array);
    }
    assert!(column.reuse().reused >= 4, "{:?}", column.reuse());
}
