//! Types in another form than their default.

use arrow_array::types::BinaryViewType;
use pgarrow_types::{GeometryForm, GeometryType, NumericForm, OutOfRangePolicy, StringForm};

use super::*;
use crate::effect::Effect;

#[test]
fn numerics_as_doubles_are_rounded_correctly() {
    let options = TypeOptions { numeric: NumericForm::Float64, ..TypeOptions::default() };
    for numeric_type in [NumericType::Unconstrained, NumericType::Declared { precision: 15, scale: 2 }] {
        let values: Vec<Wire> = NUMBERS.iter().map(|number| Some(numeric(number))).collect();
        let array = decode_with(&PgType::Numeric(numeric_type), &options, &values).unwrap();
        let expected: Vec<f64> = NUMBERS.iter().map(|number| number.parse().unwrap()).collect();
        assert_eq!(array.as_primitive::<Float64Type>().values(), &expected[..]);
    }
    for malformed in [&[][..], &[0; 7], &numeric_wire(&[10_000], 0, 0, 0), &numeric_wire(&[1], 0, 1, 0)] {
        let pg_type = PgType::Numeric(NumericType::Unconstrained);
        let error = decode_with(&pg_type, &options, &[Some(malformed.to_vec())]).unwrap_err();
        assert!(matches!(error.cause, ValueError::Malformed(_)));
    }
}

#[test]
fn numerics_that_no_double_reaches() {
    let pg_type = PgType::Numeric(NumericType::Unconstrained);
    let values = [
        Some(numeric("1.5")),
        Some(numeric_wire(&[1], 100, 0, 0)),
        None,
        Some(numeric_wire(&[1], 100, 0x4000, 0)),
        Some(numeric_wire(&[], 0, 0xd000, 0x20)),
    ];
    let decode = |out_of_range| {
        let options = TypeOptions { numeric: NumericForm::Float64, out_of_range, ..TypeOptions::default() };
        let array = decode_with(&pg_type, &options, &values)?;
        // The effects of one column that decodes the values once.
        let mut column = make_column(&pg_type, &options, 0);
        for value in values.iter().flatten() {
            let bytes = [&(value.len() as i32).to_be_bytes()[..], value].concat();
            column.decode(&mut Chunk::new(&bytes, &mut [0])).unwrap();
        }
        column.truncate(3);
        column.finish().unwrap();
        let mut effects = Effects::default();
        column.take_effects(&mut effects);
        let doubles = array.as_primitive::<Float64Type>();
        Ok((doubles.iter().collect::<Vec<_>>(), effects))
    };
    let error: RowError = decode(OutOfRangePolicy::Error).unwrap_err();
    assert_eq!(error, RowError { row: 1, cause: ValueError::OutOfRange });
    let infinity = Some(f64::INFINITY);
    let (doubles, effects) = decode(OutOfRangePolicy::Null).unwrap();
    assert_eq!(doubles, [Some(1.5), None, None, None, infinity]);
    assert_eq!(effects.iter().collect::<Vec<_>>(), [(Effect::OutOfRangeNulled, 2)]);
    let (doubles, effects) = decode(OutOfRangePolicy::Saturate).unwrap();
    assert_eq!(doubles, [Some(1.5), Some(f64::MAX), None, Some(f64::MIN), infinity]);
    assert_eq!(effects.iter().collect::<Vec<_>>(), [(Effect::OutOfRangeSaturated, 2)]);
}

#[test]
fn intervals_as_text() {
    let options = TypeOptions { interval: IntervalForm::Text, ..TypeOptions::default() };
    let values = [interval(-1, 1, -1), None, interval(i64::MIN, i32::MIN, i32::MIN), interval(0, 0, 0)];
    let array = decode_with(&PgType::Interval { has_infinities: true }, &options, &values).unwrap();
    let texts: Vec<_> = array.as_string::<i32>().iter().collect();
    let expected = ["-1 mons +1 day -00:00:00.000001", "", "-infinity", "00:00:00"];
    assert_eq!(texts, expected.map(|text| Some(text).filter(|text| !text.is_empty())));
}

#[test]
fn geometries_are_bytes_of_the_form_that_was_chosen() {
    let ewkb: [u8; 25] =
        [1, 1, 0, 0, 0x20, 0xe6, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x40];
    let iso = [&ewkb[..4], &[0], &ewkb[9..]].concat();
    let pg_type = |srid| PgType::Geometry(GeometryType { srid, crs: None, is_geography: false }.into());
    let values = [Some(ewkb.to_vec()), None, Some(ewkb.to_vec())];
    let bytes = |geometry, strings| {
        let options = TypeOptions { geometry, strings, ..TypeOptions::default() };
        let array = decode_with(&pg_type(4326), &options, &values).unwrap();
        match strings {
            StringForm::Utf8 => array.as_binary::<i32>().value(2).to_vec(),
            StringForm::Large => array.as_binary::<i64>().value(2).to_vec(),
            StringForm::View => array.as_byte_view::<BinaryViewType>().value(2).to_vec(),
        }
    };
    for strings in StringForm::ALL {
        assert_eq!(bytes(GeometryForm::Wkb, *strings), iso);
        assert_eq!(bytes(GeometryForm::Ewkb, *strings), ewkb);
    }
    assert_eq!(fails(&pg_type(3857), &ewkb), ValueError::Srid);
    assert!(matches!(fails(&pg_type(4326), &ewkb[..24]), ValueError::Malformed(_)));
}
