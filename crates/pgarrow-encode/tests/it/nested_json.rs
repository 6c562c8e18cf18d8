//! JSON of structs, maps and lists.

use std::sync::Arc;

use arrow_array::builder::{MapBuilder, StringBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, DictionaryArray,
    Float16Array, Float32Array, Float64Array, Int32Array, Int64Array, ListArray, RunArray, StringArray,
    StructArray, TimestampMicrosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer, i256};
use arrow_schema::{DataType, Field, Fields};
use pgarrow_encode::{RefusalKind, ValueError};
use pgarrow_types::PgType;

use crate::support::To;

fn structs(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let fields: Fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    Arc::new(StructArray::new(fields, columns.into_iter().map(|(_, array)| array).collect(), None))
}

fn json(array: &ArrayRef) -> Vec<Result<Option<String>, ValueError>> {
    let text = |value: Option<Vec<u8>>| value.map(|value| String::from_utf8(value).expect("UTF-8"));
    let values = To::new(PgType::Json).values(array).into_iter().map(|value| value.map(text));
    let values: Vec<_> = values.collect();
    for value in values.iter().flatten().flatten() {
        serde_json::from_str::<serde_json::Value>(value).expect("JSON");
    }
    values
}

fn text(text: &str) -> Result<Option<String>, ValueError> {
    Ok(Some(text.to_owned()))
}

#[test]
fn every_value_has_all_of_its_digits() {
    let decimals = Decimal128Array::from(vec![Some(10_i128.pow(37) + 1), Some(-1)]);
    let array = structs(vec![
        ("i", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("d", Arc::new(decimals.with_precision_and_scale(38, 2).unwrap())),
        ("f", Arc::new(Float64Array::from(vec![0.1, -1e300]))),
        ("g", Arc::new(Float32Array::from(vec![0.1, 1e-40]))),
        ("b", Arc::new(BooleanArray::from(vec![true, false]))),
        ("s", Arc::new(StringArray::from(vec!["\"\\\u{1}\n/é\u{10348}", ""]))),
    ]);
    let expected = [
        text(
            r#"{"i":-9223372036854775808,"u":18446744073709551615,"d":100000000000000000000000000000000000.01,"f":0.1,"g":0.1,"b":true,"s":"\"\\\u0001\u000a/é𐍈"}"#,
        ),
        text(r#"{"i":null,"u":0,"d":-0.01,"f":-1e300,"g":1e-40,"b":false,"s":""}"#),
    ];
    assert_eq!(json(&array), expected);
    assert_eq!(json(&array.slice(1, 1)), expected[1..]);
    let jsonb = To::new(PgType::Jsonb).values(&array.slice(1, 1));
    let wire = [&[1], expected[1].clone().unwrap().unwrap().as_bytes()].concat();
    assert_eq!(jsonb, [Ok(Some(wire))]);
}

#[test]
fn numbers_that_json_does_not_have() {
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let array = structs(vec![("f", Arc::new(Float64Array::from(vec![Some(1.0), Some(wrong), None])))]);
        assert_eq!(json(&array), [text(r#"{"f":1.0}"#), Err(ValueError::NotJson), text(r#"{"f":null}"#)]);
        #[expect(clippy::cast_possible_truncation, reason = "of these nothing is lost")]
        let array = structs(vec![("f", Arc::new(Float32Array::from(vec![wrong as f32])))]);
        assert_eq!(json(&array), [Err(ValueError::NotJson)]);
    }
    let halves: Float16Array = [1.5_f32, f32::NAN].into_iter().map(|value| Some(half(value))).collect();
    assert_eq!(
        json(&structs(vec![("h", Arc::new(halves))])),
        [text(r#"{"h":1.5}"#), Err(ValueError::NotJson)]
    );
}

/// Once, 123.45 in a decimal(3, 2), which files may hold, became 1.23; and 0 of a negative scale became 000,
/// which is no JSON.
#[test]
fn decimals_have_their_digits_whatever_is_declared() {
    let of = |precision, scale| {
        let decimals = Decimal128Array::from(vec![12_345, -5, 0]);
        json(&structs(vec![("d", Arc::new(decimals.with_precision_and_scale(precision, scale).unwrap()))]))
    };
    assert_eq!(of(3, 2), [text(r#"{"d":123.45}"#), text(r#"{"d":-0.05}"#), text(r#"{"d":0.00}"#)]);
    assert_eq!(of(5, -2), [text(r#"{"d":1234500}"#), text(r#"{"d":-500}"#), text(r#"{"d":0}"#)]);
    let large = Decimal256Array::from(vec![i256::from_i128(i128::MAX), i256::MINUS_ONE]);
    let large = structs(vec![("d", Arc::new(large.with_precision_and_scale(76, 1).unwrap()))]);
    assert_eq!(
        json(&large),
        [text(r#"{"d":17014118346046923173168730371588410572.7}"#), text(r#"{"d":-0.1}"#)]
    );
}

/// jsonb stores numbers as numerics: minus zero once came back as 0.0.
#[test]
fn minus_zero_is_none_that_jsonb_has() {
    let minus_zero = Err(ValueError::Invalid("minus zero"));
    let singles: ArrayRef = Arc::new(Float32Array::from(vec![-0.0, 0.0]));
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.0]));
    let halves: Float16Array = [-0.0_f32, 0.0].into_iter().map(|value| Some(half(value))).collect();
    for floats in [singles, doubles, Arc::new(halves)] {
        let array = structs(vec![("f", floats)]);
        assert_eq!(json(&array), [text(r#"{"f":-0.0}"#), text(r#"{"f":0.0}"#)]);
        let zero = Ok(Some(b"\x01{\"f\":0.0}".to_vec()));
        let to = To::new(PgType::Jsonb);
        assert_eq!(to.values(&array), [minus_zero.clone(), zero.clone()]);
        assert_eq!(to.check().values(&array), [minus_zero.clone(), zero]);
        assert!(To::new(PgType::Jsonb).round().values(&array).iter().all(Result::is_ok));
    }
}

type F16 = <arrow_array::types::Float16Type as arrow_array::ArrowPrimitiveType>::Native;

fn half(value: f32) -> F16 {
    F16::from_f32(value)
}

#[test]
fn temporal_values_are_printed() {
    let array = structs(vec![
        ("d", Arc::new(Date32Array::from(vec![0]))),
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC"))),
        ("n", Arc::new(TimestampMicrosecondArray::from(vec![-1]))),
    ]);
    let expected = r#"{"d":"1970-01-01","t":"1970-01-01T00:00:01.500Z","n":"1969-12-31T23:59:59.999999"}"#;
    assert_eq!(json(&array), [text(expected)]);
    // The zone's name does not matter, and may be unknown.
    let zoned =
        TimestampSecondArray::from(vec![Some(0), None, Some(i64::MAX)]).with_timezone("Nowhere/At_All");
    let array = structs(vec![("t", Arc::new(zoned))]);
    let expected =
        [text(r#"{"t":"1970-01-01T00:00:00Z"}"#), text(r#"{"t":null}"#), Err(ValueError::OutOfRange)];
    assert_eq!(json(&array), expected);
    // A year that cannot be printed is an error, not a text.
    let array = structs(vec![("t", Arc::new(TimestampSecondArray::from(vec![i64::MAX])))]);
    assert_eq!(json(&array), [Err(ValueError::OutOfRange)]);
}

/// NULL behind a key, and NULL behind a NULL.
#[test]
fn dictionaries_runs_and_lists() {
    let words: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
    let keys = Int32Array::from(vec![Some(1), Some(0), None]);
    let of_keys: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::clone(&words)));
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![1, 3]), &words).unwrap();
    let array = structs(vec![("k", of_keys), ("r", Arc::new(runs))]);
    let expected = [r#"{"k":null,"r":"x"}"#, r#"{"k":"x","r":null}"#, r#"{"k":null,"r":null}"#].map(text);
    assert_eq!(json(&array), expected);
    assert_eq!(json(&array.slice(1, 2)), expected[1..]);
    // Keys of an empty dictionary.
    let none: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
    let array = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![None, None]), none);
    assert_eq!(json(&structs(vec![("k", Arc::new(array))])), [text(r#"{"k":null}"#), text(r#"{"k":null}"#)]);
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 2]));
    let nulls = Some(NullBuffer::from(vec![true, true, false]));
    let array: ArrayRef = Arc::new(ListArray::new(item, offsets, words, nulls));
    assert_eq!(json(&array), [text(r#"["x",null]"#), text("[]"), Ok(None)]);
}

#[test]
fn maps_are_objects_whose_keys_differ() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for keys in [["b", "a"], ["a", "a"]] {
        for key in keys {
            builder.keys().append_value(key);
            builder.values().append_null();
        }
        builder.append(true).unwrap();
    }
    let array: ArrayRef = Arc::new(builder.finish());
    assert_eq!(json(&array), [text(r#"{"b":null,"a":null}"#), Err(ValueError::DuplicateKey)]);
}

#[test]
fn a_zero_byte_is_an_escape_that_jsonb_does_not_have() {
    let array = structs(vec![("s", Arc::new(StringArray::from(vec!["a\0b"])))]);
    assert_eq!(json(&array), [text(r#"{"s":"a\u0000b"}"#)]);
    assert_eq!(To::new(PgType::Jsonb).values(&array), [Err(ValueError::ZeroByte)]);
}

#[test]
fn what_json_does_not_have() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![b"x".as_slice()]));
    let refusal = To::new(PgType::Json).check().refusal(structs(vec![("b", bytes)]).data_type()).unwrap();
    assert_eq!((refusal.kind, refusal.path.as_str()), (RefusalKind::Mismatch, "b"));
    let twice = DataType::Struct(vec![Field::new("a", DataType::Int32, true); 2].into());
    assert_eq!(To::new(PgType::Json).refusal(&twice).unwrap().kind, RefusalKind::Mismatch);
    let entries =
        Fields::from(vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Utf8, true)]);
    let of_numbers = DataType::Map(Arc::new(Field::new("e", DataType::Struct(entries), false)), false);
    assert_eq!(To::new(PgType::Jsonb).refusal(&of_numbers).unwrap().kind, RefusalKind::Mismatch);
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    let deep = |depth: usize| (0..depth).fold(DataType::Int32, |item, _| list(item));
    assert_eq!(To::new(PgType::Json).refusal(&deep(63)), None);
    assert_eq!(To::new(PgType::Json).refusal(&deep(64)).unwrap().kind, RefusalKind::Mismatch);
}
