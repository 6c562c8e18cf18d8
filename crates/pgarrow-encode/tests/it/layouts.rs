//! Every layout of arrays with the same values: slices, views, dictionaries, runs.

use std::sync::Arc;

use arrow_array::types::{ArrowDictionaryKeyType, Int16Type, Int32Type, Int64Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int16Array, Int32Array, Int64Array, NullArray, PrimitiveArray,
    RecordBatch, RunArray, StringArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};
use pgarrow_encode::{
    Conversions, EncodeError, EncodeTarget, RefusalKind, RowEncoder, ValueError, make_encoder,
};
use pgarrow_types::{DeclaredType, PgType};

use crate::numbers::numeric;
use crate::support::{To, text_of};

fn bytes(value: &[u8]) -> Result<Option<Vec<u8>>, ValueError> {
    Ok(Some(value.to_vec()))
}

#[test]
fn slices_have_their_own_values_and_nulls() {
    let array: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3), None, Some(5)]));
    let to = To::new(PgType::Int8);
    let all = to.values(&array);
    assert_eq!(all[2], bytes(&3_i64.to_be_bytes()));
    let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc"), None, Some("")]));
    let views: ArrayRef = Arc::new(StringViewArray::from(vec![
        Some("a"),
        None,
        Some("longer than a view has room for"),
        None,
        Some(""),
    ]));
    for start in 0..=5 {
        for length in 0..=5 - start {
            let end = start + length;
            assert_eq!(to.values(&array.slice(start, length)), all[start..end]);
            for array in [&strings, &views] {
                let to = To::new(PgType::Text);
                assert_eq!(to.values(&array.slice(start, length)), to.values(array)[start..end]);
            }
        }
    }
}

fn dictionary<K: ArrowDictionaryKeyType>(keys: PrimitiveArray<K>, values: ArrayRef) -> ArrayRef {
    Arc::new(DictionaryArray::<K>::new(keys, values))
}

#[test]
fn dictionaries_of_anything() {
    // A key that is NULL, a value that is NULL, a value that no key refers to.
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(i64::MAX)]));
    let expected = [bytes(&[0, 7]), Ok(None), Ok(None), bytes(&[0, 7])];
    let to = To::new(PgType::Int2).check();
    let narrow =
        dictionary::<Int16Type>(Int16Array::from(vec![Some(0), None, Some(1), Some(0)]), Arc::clone(&values));
    assert_eq!(to.values(&narrow), expected);
    assert_eq!(to.values(&narrow.slice(1, 3)), expected[1..]);
    let keys = PrimitiveArray::<UInt64Type>::from(vec![Some(0), None, Some(1), Some(0)]);
    assert_eq!(to.values(&dictionary(keys, Arc::clone(&values))), expected);
    let beyond = dictionary::<Int16Type>(Int16Array::from(vec![0, 2]), Arc::clone(&values));
    assert_eq!(to.values(&beyond), [bytes(&[0, 7]), Err(ValueError::OutOfRange)]);
    let refusal = To::new(PgType::Int2).refusal(narrow.data_type()).unwrap();
    assert_eq!(refusal.kind, RefusalKind::NeedsCheck);

    let text: ArrayRef = Arc::new(StringArray::from(vec!["1.50", "x"]));
    let text = dictionary::<Int16Type>(Int16Array::from(vec![1, 0]), text);
    let found = numeric(None).values(&text);
    assert!(matches!(found[0], Err(ValueError::Malformed(_))));
    assert_eq!(text_of(found[1].as_ref().unwrap().as_ref().unwrap()), "1.50");
}

#[test]
fn runs_of_anything() {
    let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("b\0")]));
    let to = To::new(PgType::Text);
    let all = [bytes(b"a"), bytes(b"a"), Ok(None), Err(ValueError::ZeroByte)];
    let ends16: ArrayRef =
        Arc::new(RunArray::<Int16Type>::try_new(&Int16Array::from(vec![2, 3, 4]), &values).unwrap());
    let ends32: ArrayRef =
        Arc::new(RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 3, 4]), &values).unwrap());
    let ends64: ArrayRef =
        Arc::new(RunArray::<Int64Type>::try_new(&Int64Array::from(vec![2, 3, 4]), &values).unwrap());
    for array in [ends16, ends32, ends64] {
        assert_eq!(to.values(&array), all);
        assert_eq!(to.values(&array.slice(1, 3)), all[1..]);
    }
}

#[test]
fn arrays_without_any_value_fit_everywhere() {
    let array: ArrayRef = Arc::new(NullArray::new(3));
    for pg_type in [PgType::Int4, PgType::Text, PgType::Timetz, PgType::ServerText { warn: true }] {
        assert_eq!(To::new(pg_type).values(&array), [Ok(None), Ok(None), Ok(None)]);
    }
}

/// An encoder that read numbers of another unit would write other times.
#[test]
fn another_array_than_the_schema_says_is_refused() {
    let seconds: ArrayRef = Arc::new(arrow_array::TimestampSecondArray::from(vec![1]));
    let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1]));
    let to = To::new(PgType::Timestamp);
    let encoder = make_encoder(&Field::new("v", micros.data_type().clone(), true), to.target()).unwrap();
    assert!(encoder.bind(micros.as_ref()).is_ok());
    assert_eq!(encoder.bind(seconds.as_ref()).unwrap_err(), ValueError::WrongArray);

    let decimals =
        |scale| arrow_array::Decimal128Array::from(vec![1]).with_precision_and_scale(5, scale).unwrap();
    let encoder =
        make_encoder(&Field::new("v", DataType::Decimal128(5, 2), true), numeric(None).target()).unwrap();
    assert!(encoder.bind(&decimals(2)).is_ok());
    assert_eq!(encoder.bind(&decimals(3)).unwrap_err(), ValueError::WrongArray);
}

#[test]
fn errors_name_row_and_column_and_leave_whole_rows() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3])),
        Arc::new(StringArray::from(vec![Some("x"), None, Some("\0")])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let (int, text) = (To::new(PgType::Int4).check(), To::new(PgType::Text));
    // In another order than in the batch.
    let encoders = vec![
        (1, make_encoder(schema.field(1), text.target()).unwrap()),
        (0, make_encoder(schema.field(0), int.target()).unwrap()),
    ];
    let encoder = RowEncoder::new(encoders).unwrap();
    assert_eq!(encoder.columns(), 2);
    let bound = encoder.bind(&batch).unwrap();
    let mut out = Vec::new();
    let error = bound.write_rows(0, usize::MAX, &mut out).unwrap_err();
    assert_eq!(error, EncodeError { row: 2, column: 0, cause: ValueError::ZeroByte });
    let first = b"\0\x02\0\0\0\x01x\0\0\0\x04\0\0\0\x01";
    let second = b"\0\x02\xff\xff\xff\xff\0\0\0\x04\0\0\0\x02";
    assert_eq!(out, [&first[..], second].concat());
    // No more than requested, but at least one row.
    let mut out = Vec::new();
    assert_eq!(bound.write_rows(0, 1, &mut out), Ok(1));
    assert_eq!(out, first);
    assert_eq!(bound.write_rows(1, 15, &mut out), Ok(1), "there are as many bytes already");
    assert_eq!(bound.write_rows(1, 16, &mut out), Ok(2));
}

#[test]
fn a_field_that_was_of_the_same_type_is_looked_at_and_not_refused() {
    let target = EncodeTarget {
        name: "v".to_owned(),
        pg_type: PgType::Int2,
        declared: DeclaredType::new(21, -1),
        type_name: "smallint".to_owned(),
    };
    let field = |type_name: &str| {
        let metadata = [("pg.type".to_owned(), type_name.to_owned())].into();
        Field::new("v", DataType::Int64, true).with_metadata(metadata)
    };
    let conversions = |field: &Field, given| target.type_target(field, given).conversions;
    assert_eq!(conversions(&field("smallint"), Conversions::Widen), Conversions::Check);
    assert_eq!(conversions(&field("smallint"), Conversions::Round), Conversions::Round);
    assert_eq!(conversions(&field("bigint"), Conversions::Widen), Conversions::Widen);
    assert!(
        make_encoder(&field("smallint"), target.type_target(&field("smallint"), Conversions::Widen)).is_ok()
    );
}
