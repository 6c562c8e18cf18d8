//! Every conversion through the same helper, which cuts the rows into awkward chunks and puts NULLs between
//! them; and malformed values for each conversion.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, IntervalMonthDayNanoType,
    TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::i256;
use arrow_schema::DataType;
use pgarrow_types::{EnumType, GeometryType, IntervalForm, NumericType, PgType, TypeOptions};

use super::*;
use crate::chunk::{ABSENT, CHUNK_ROWS};
use crate::error::ValueError;

mod enums;
mod forms;
mod geometric;
mod nested;
mod nullable;
mod oracle;
mod policies;
mod texts;
mod vector;

type Wire = Option<Vec<u8>>;

fn decode_in_chunks(
    pg_type: &PgType,
    options: &TypeOptions,
    values: &[Wire],
    chunk_rows: usize,
    padding: usize,
) -> Result<ArrayRef, RowError> {
    let mut column = make_column(pg_type, options, 0);
    for (index, rows) in values.chunks(chunk_rows).enumerate() {
        let mut bytes = vec![0xaa; 3];
        let mut cursors = Vec::new();
        for value in rows {
            cursors.push(bytes.len() as u32);
            match value {
                None => bytes.extend((-1_i32).to_be_bytes()),
                Some(value) => {
                    bytes.extend((value.len() as i32).to_be_bytes());
                    bytes.extend(value);
                }
            }
        }
        let ends: Vec<u32> = cursors.iter().skip(1).copied().chain([bytes.len() as u32]).collect();
        bytes.extend(std::iter::repeat_n(0xff, padding));
        let before = column.bytes();
        // A chunk that is decoded, undone and decoded again leaves the same rows.
        let mut first = cursors.clone();
        column
            .decode(&mut Chunk::new(&bytes, &mut first))
            .map_err(|e| RowError { row: index * chunk_rows + e.row, ..e })?;
        assert_eq!(first, ends, "every cursor stands behind its value");
        column.truncate(index * chunk_rows);
        assert_eq!(column.bytes(), before);
        column.decode(&mut Chunk::new(&bytes, &mut cursors)).unwrap();
    }
    column.finish()
}

#[track_caller]
fn decode(pg_type: &PgType, values: &[Wire]) -> Result<ArrayRef, RowError> {
    decode_with(pg_type, &TypeOptions::default(), values)
}

/// Decodes `values` in every awkward way; all ways must agree.
#[track_caller]
fn decode_with(pg_type: &PgType, options: &TypeOptions, values: &[Wire]) -> Result<ArrayRef, RowError> {
    let whole = decode_in_chunks(pg_type, options, values, CHUNK_ROWS, 0);
    for chunk_rows in [1, 2, 3, 7] {
        for padding in [0, 1, 30, 100] {
            let cut = decode_in_chunks(pg_type, options, values, chunk_rows, padding);
            match (&whole, &cut) {
                (Ok(whole), Ok(cut)) => assert_eq!(whole, cut),
                (Err(whole), Err(cut)) => assert_eq!(whole.cause, cut.cause),
                _ => panic!("whole {whole:?}, in chunks of {chunk_rows} {cut:?}"),
            }
        }
    }
    if let Ok(array) = &whole {
        array.to_data().validate_full().unwrap();
        assert_eq!(array.data_type(), &pg_type.data_type(options));
        // The same values with NULLs between them: the valid ones do not change.
        let with_nulls: Vec<Wire> = values.iter().flat_map(|value| [value.clone(), None]).collect();
        let nullable = decode_in_chunks(pg_type, options, &with_nulls, CHUNK_ROWS, 0).unwrap();
        nullable.to_data().validate_full().unwrap();
        for row in 0..values.len() {
            assert_eq!(nullable.slice(row * 2, 1).as_ref(), array.slice(row, 1).as_ref());
            assert!(nullable.is_null(row * 2 + 1));
        }
    }
    whole
}

#[track_caller]
fn fails(pg_type: &PgType, value: &[u8]) -> ValueError {
    decode(pg_type, &[Some(value.to_vec())]).unwrap_err().cause
}

#[track_caller]
fn text_of(pg_type: &PgType, wire: &[u8]) -> String {
    decode(pg_type, &[Some(wire.to_vec())]).unwrap().as_string::<i32>().value(0).to_owned()
}

fn ints(values: &[i32]) -> Vec<Wire> {
    values.iter().map(|value| Some(value.to_be_bytes().to_vec())).collect()
}

fn all_types() -> Vec<PgType> {
    let declared = |precision, scale| PgType::Numeric(NumericType::Declared { precision, scale });
    vec![
        PgType::Bool,
        PgType::Int2,
        PgType::Int4,
        PgType::Int8,
        PgType::Oid,
        PgType::Xid8,
        PgType::PgLsn,
        PgType::Float4,
        PgType::Float8,
        declared(15, 2),
        declared(38, 38),
        declared(50, 3),
        PgType::Numeric(NumericType::Unconstrained),
        PgType::Money { fraction_digits: 2 },
        PgType::Text,
        PgType::Char,
        PgType::Bytea,
        PgType::Uuid,
        PgType::Json,
        PgType::Jsonb,
        PgType::Date,
        PgType::Time,
        PgType::Timetz,
        PgType::Timestamp,
        PgType::Timestamptz,
        PgType::Interval { has_infinities: true },
        PgType::Bit,
        PgType::Inet,
        PgType::Macaddr,
        PgType::Macaddr8,
        PgType::Enum(EnumType { labels: vec!["a".into()] }.into()),
        PgType::ServerText { warn: true },
        PgType::Tid,
        PgType::Point,
        PgType::Line,
        PgType::Lseg,
        PgType::Box,
        PgType::Path,
        PgType::Polygon,
        PgType::Circle,
        PgType::Vector { dimensions: Some(3) },
        PgType::Vector { dimensions: None },
        PgType::Halfvec { dimensions: Some(3) },
        PgType::Halfvec { dimensions: None },
        PgType::Sparsevec,
        PgType::Geometry(GeometryType { srid: 0, crs: None, is_geography: false }.into()),
        PgType::Ltree,
        PgType::Hstore,
    ]
}

#[test]
fn integers_keep_every_bit() {
    let array = decode(&PgType::Int4, &ints(&[0, 1, -1, i32::MIN, i32::MAX])).unwrap();
    assert_eq!(array.as_primitive::<Int32Type>().values(), &[0, 1, -1, i32::MIN, i32::MAX]);
    let array = decode(&PgType::Oid, &ints(&[-1, i32::MIN])).unwrap();
    assert_eq!(array.as_primitive::<UInt32Type>().values(), &[u32::MAX, 1 << 31]);
}

#[test]
fn floats_keep_every_bit() {
    let bits = [0, 1, (-0.0_f64).to_bits(), f64::NAN.to_bits() | 7, f64::INFINITY.to_bits()];
    let values: Vec<Wire> = bits.iter().map(|bits: &u64| Some(bits.to_be_bytes().to_vec())).collect();
    let array = decode(&PgType::Float8, &values).unwrap();
    let found: Vec<u64> = array.as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect();
    assert_eq!(found, bits);
}

#[test]
fn more_rows_than_a_chunk_and_nulls_anywhere() {
    for n_null in [0, 1, 2, 3, 50] {
        let values: Vec<Wire> = (0..700_i32)
            .map(|i| (n_null == 0 || i % n_null != 0).then(|| i.to_be_bytes().to_vec()))
            .collect();
        for pg_type in [PgType::Int4, PgType::Text, PgType::Bytea] {
            // Bytes 0x80 and above are no text.
            let values: Vec<Wire> = values
                .iter()
                .map(|v| {
                    v.as_ref().map(|v| {
                        v.iter().map(|b| if pg_type == PgType::Text { b & 0x7f } else { *b }).collect()
                    })
                })
                .collect();
            let array = decode(&pg_type, &values).unwrap();
            assert_eq!(array.null_count(), values.iter().filter(|v| v.is_none()).count());
            assert_eq!(array.nulls().is_some(), n_null > 0, "no validity without a NULL");
        }
    }
}

#[test]
fn a_width_that_is_wrong_is_refused_for_every_fixed_type() {
    for pg_type in all_types() {
        let width = match pg_type {
            PgType::Bool | PgType::Char => 1,
            PgType::Int2 => 2,
            PgType::Int4 | PgType::Oid | PgType::Float4 | PgType::Date => 4,
            PgType::Int8 | PgType::Xid8 | PgType::PgLsn | PgType::Float8 | PgType::Money { .. } => 8,
            PgType::Time | PgType::Timestamp | PgType::Timestamptz | PgType::Macaddr8 => 8,
            PgType::Macaddr => 6,
            PgType::Timetz => 12,
            PgType::Uuid | PgType::Interval { has_infinities: true } => 16,
            _ => continue,
        };
        for found in [0, width - 1, width + 1, width + 4] {
            if found == width {
                continue;
            }
            assert_eq!(
                fails(&pg_type, &vec![0; found]),
                ValueError::Width { expected: width, found },
                "{pg_type:?}"
            );
        }
    }
}

#[test]
fn a_length_that_runs_past_the_bytes_is_refused_for_every_type() {
    for pg_type in all_types() {
        for length in [-2_i32, i32::MIN, i32::MAX, 5] {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend([1, 1]);
            let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
            let error = column.decode(&mut Chunk::new(&bytes, &mut [0])).unwrap_err();
            assert_eq!(error, RowError { row: 0, cause: ValueError::Length }, "{pg_type:?} {length}");
        }
        for cut in 0..4 {
            let bytes = vec![0; cut];
            let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
            assert!(column.decode(&mut Chunk::new(&bytes, &mut [0])).is_err(), "{pg_type:?}");
            assert!(column.decode(&mut Chunk::new(&bytes, &mut [u32::MAX - 1])).is_err(), "{pg_type:?}");
        }
    }
}

/// The parts and elements of a NULL composite: they have no bytes.
#[test]
fn what_is_absent_is_null_for_every_type() {
    for pg_type in all_types() {
        let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
        let bytes = [0xff; 40];
        let mut cursors = [ABSENT, 0, ABSENT];
        column.decode(&mut Chunk::new(&bytes, &mut cursors)).unwrap();
        assert_eq!(cursors, [ABSENT, 4, ABSENT], "{pg_type:?}");
        let array = column.finish().unwrap();
        assert_eq!((array.len(), array.null_count()), (3, 3), "{pg_type:?}");
    }
}

#[test]
fn a_bool_is_0_or_1() {
    let array = decode(&PgType::Bool, &[Some(vec![0]), Some(vec![1])]).unwrap();
    assert_eq!(array.as_boolean().iter().collect::<Vec<_>>(), [Some(false), Some(true)]);
    assert!(matches!(fails(&PgType::Bool, &[2]), ValueError::Malformed(_)));
    assert!(matches!(fails(&PgType::Bool, &[7]), ValueError::Malformed(_)));
}

#[test]
fn dates_at_the_ends_of_postgres_range() {
    let array = decode(&PgType::Date, &ints(&[0, -10_957, -2_451_545, 2_145_031_948])).unwrap();
    assert_eq!(array.as_primitive::<Date32Type>().values(), &[10_957, 0, -2_440_588, 2_145_042_905]);
    assert_eq!(decode(&PgType::Date, &ints(&[i32::MAX])).unwrap_err().cause, ValueError::Infinite);
    assert_eq!(decode(&PgType::Date, &ints(&[i32::MIN])).unwrap_err().cause, ValueError::Infinite);
    let after_the_last = decode(&PgType::Date, &ints(&[i32::MAX - 1])).unwrap_err();
    assert!(matches!(after_the_last.cause, ValueError::Malformed(_)));
}

fn longs(values: &[i64]) -> Vec<Wire> {
    values.iter().map(|value| Some(value.to_be_bytes().to_vec())).collect()
}

#[test]
fn timestamps_around_both_epochs() {
    let array = decode(&PgType::Timestamp, &longs(&[0, -1, -946_684_800_000_000])).unwrap();
    let expected = [946_684_800_000_000, 946_684_799_999_999, 0];
    assert_eq!(array.as_primitive::<TimestampMicrosecondType>().values(), &expected);
}

#[test]
fn timestamps_that_postgres_can_hold_and_arrow_cannot() {
    let last = i64::MAX - 946_684_800_000_000;
    decode(&PgType::Timestamptz, &longs(&[last])).unwrap();
    let error = |value| decode(&PgType::Timestamptz, &longs(&[0, value])).unwrap_err();
    assert_eq!(error(last + 1), RowError { row: 1, cause: ValueError::OutOfRange });
    assert_eq!(error(9_223_371_331_199_999_999).cause, ValueError::OutOfRange); // 294276-12-31
    assert_eq!(error(i64::MAX).cause, ValueError::Infinite);
    assert_eq!(error(i64::MIN).cause, ValueError::Infinite);
}

#[test]
fn the_last_moment_of_a_day_is_kept() {
    let array = decode(&PgType::Time, &longs(&[0, 86_400_000_000])).unwrap();
    assert_eq!(array.to_data().buffers()[0].typed_data::<i64>(), &[0, 86_400_000_000]);
    for no_time in [86_400_000_001, -1] {
        let error = decode(&PgType::Time, &longs(&[no_time])).unwrap_err();
        assert!(matches!(error.cause, ValueError::Malformed(_)));
    }
}

#[test]
fn the_zone_of_a_timetz_is_seconds_east() {
    let mut wire = 45_296_000_000_i64.to_be_bytes().to_vec();
    wire.extend((-20_700_i32).to_be_bytes()); // +05:45
    let array = decode(&PgType::Timetz, &[Some(wire)]).unwrap();
    let offset = array.as_struct().column(1).as_primitive::<Int32Type>().value(0);
    assert_eq!(offset, 20_700);
}

fn interval(micros: i64, days: i32, months: i32) -> Wire {
    let mut wire = micros.to_be_bytes().to_vec();
    wire.extend(days.to_be_bytes());
    wire.extend(months.to_be_bytes());
    Some(wire)
}

#[test]
fn intervals_are_not_normalised_and_do_not_wrap() {
    let array = decode(
        &PgType::Interval { has_infinities: true },
        &[interval(-1, 30, -1), interval(9_223_372_036_854_775, 0, 0)],
    )
    .unwrap();
    let values = array.as_primitive::<IntervalMonthDayNanoType>();
    assert_eq!((values.value(0).months, values.value(0).days, values.value(0).nanoseconds), (-1, 30, -1000));
    assert_eq!(values.value(1).nanoseconds, 9_223_372_036_854_775_000);
    let error = |wire| decode(&PgType::Interval { has_infinities: true }, &[wire]).unwrap_err().cause;
    assert_eq!(error(interval(9_223_372_036_854_776, 0, 0)), ValueError::OutOfRange);
    assert_eq!(error(interval(i64::MAX, i32::MAX, i32::MAX)), ValueError::Infinite);
    assert_eq!(error(interval(i64::MIN, i32::MIN, i32::MIN)), ValueError::Infinite);
}

#[test]
fn an_interval_as_a_struct_holds_every_finite_one() {
    let options = TypeOptions { interval: IntervalForm::Struct, ..TypeOptions::default() };
    let mut column = make_column(&PgType::Interval { has_infinities: true }, &options, 0);
    let mut bytes = 16_i32.to_be_bytes().to_vec();
    bytes.extend(interval(i64::MAX, i32::MIN, i32::MAX).unwrap());
    bytes.extend((-1_i32).to_be_bytes());
    column.decode(&mut Chunk::new(&bytes, &mut [0, 20])).unwrap();
    let array = column.finish().unwrap();
    assert_eq!(array.data_type(), &PgType::Interval { has_infinities: true }.data_type(&options));
    assert_eq!(
        array.as_struct().column(2).as_primitive::<arrow_array::types::Int64Type>().value(0),
        i64::MAX
    );
    assert!(array.is_null(1));
}

/// The wire form of a decimal number in text, made in a slow way.
fn numeric(text: &str) -> Vec<u8> {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    let integer = format!("{}{integer}", "0".repeat(integer.len().next_multiple_of(4) - integer.len()));
    let padded = format!("{fraction}{}", "0".repeat(fraction.len().next_multiple_of(4) - fraction.len()));
    let all = format!("{integer}{padded}");
    let mut digits: Vec<u16> =
        all.as_bytes().chunks(4).map(|four| std::str::from_utf8(four).unwrap().parse().unwrap()).collect();
    let mut weight = (integer.len() / 4 - 1) as i16;
    while digits.first() == Some(&0) {
        digits.remove(0);
        weight -= 1;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    if digits.is_empty() {
        weight = 0;
    }
    numeric_wire(&digits, weight, if is_negative { 0x4000 } else { 0 }, fraction.len() as u16)
}

fn numeric_wire(digits: &[u16], weight: i16, sign: u16, dscale: u16) -> Vec<u8> {
    let mut wire = (digits.len() as u16).to_be_bytes().to_vec();
    wire.extend(weight.to_be_bytes());
    wire.extend(sign.to_be_bytes());
    wire.extend(dscale.to_be_bytes());
    digits.iter().for_each(|digit| wire.extend(digit.to_be_bytes()));
    wire
}

const NUMBERS: &[&str] = &[
    "0",
    "0.00",
    "1",
    "-1",
    "0.01",
    "-0.01",
    "0.000067",
    "9999",
    "10000",
    "-10000.00",
    "99990000",
    "1.10",
    "12345.678901234567890",
    "9999999999999.99",
    "-9999999999999.99",
    "100000000000000000000",
    "0.00000001",
    "10000.0001",
    "99999999.9999",
    "1234567890123456.78",
    "1000000000000",
    "0.5",
    "-12.34",
    "7777777.77",
];

#[test]
fn numerics_without_a_type_modifier_are_the_text_postgres_prints() {
    let pg_type = PgType::Numeric(NumericType::Unconstrained);
    for number in NUMBERS {
        assert_eq!(text_of(&pg_type, &numeric(number)), *number);
    }
    let long = format!("-1{}.{}1", "0".repeat(131_071), "0".repeat(16_382));
    assert_eq!(text_of(&pg_type, &numeric(&long)), long);
    assert_eq!(text_of(&pg_type, &numeric_wire(&[], 0, 0xc000, 0)), "NaN");
    assert_eq!(text_of(&pg_type, &numeric_wire(&[], 0, 0xd000, 0x20)), "Infinity");
    assert_eq!(text_of(&pg_type, &numeric_wire(&[], 0, 0xf000, 0x20)), "-Infinity");
}

/// The integer that a decimal of this scale stores, or the reason why it cannot.
fn unscaled_slowly(number: &str, precision: usize, scale: usize) -> Result<i256, ValueError> {
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    let significant = fraction.trim_end_matches('0');
    let kept = &significant[..significant.len().min(scale)];
    let text = format!("{integer}{kept:0<scale$}");
    if text.trim_start_matches('-').trim_start_matches('0').len() > precision {
        return Err(ValueError::OutOfRange);
    }
    let is_whole = kept == significant;
    is_whole.then(|| i256::from_string(&text).unwrap()).ok_or(ValueError::LostDigits)
}

#[test]
fn decimals_are_exact_or_refused_at_every_precision_and_scale() {
    for precision in 1..=76_u16 {
        for scale in 0..=precision {
            let pg_type = PgType::Numeric(NumericType::Declared { precision, scale: scale as i16 });
            for number in NUMBERS {
                let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
                let wire = numeric(number);
                let mut bytes = (wire.len() as i32).to_be_bytes().to_vec();
                bytes.extend(wire);
                // Once at the very end of the bytes, once with others behind it.
                for padding in [0, 16] {
                    bytes.extend(vec![0x11; padding]);
                    column.decode(&mut Chunk::new(&bytes, &mut [0])).ok();
                }
                let found = column.finish().unwrap();
                let expected = unscaled_slowly(number, precision.into(), scale.into());
                let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
                let decoded = column.decode(&mut Chunk::new(&bytes, &mut [0]));
                match expected {
                    Err(cause) => {
                        assert_eq!(decoded.unwrap_err().cause, cause, "{number} {precision},{scale}");
                    }
                    Ok(expected) => {
                        decoded.unwrap();
                        for row in 0..2 {
                            let value = if precision <= 38 {
                                i256::from_i128(found.as_primitive::<Decimal128Type>().value(row))
                            } else {
                                found.as_primitive::<Decimal256Type>().value(row)
                            };
                            assert_eq!(value, expected, "{number} {precision},{scale}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_longest_decimals_of_each_width() {
    for (precision, scale) in [(38, 0), (38, 38), (38, 19), (76, 0), (76, 76), (76, 1)] {
        let integer = "9".repeat(precision - scale);
        let number = if scale == 0 { integer } else { format!("{integer}.{}", "9".repeat(scale)) };
        let number = number.strip_prefix('.').map_or(number.clone(), |fraction| format!("0.{fraction}"));
        for number in [number.clone(), format!("-{number}")] {
            let pg_type =
                PgType::Numeric(NumericType::Declared { precision: precision as u16, scale: scale as i16 });
            let array = decode(&pg_type, &[Some(numeric(&number))]).unwrap();
            let found = if precision <= 38 {
                i256::from_i128(array.as_primitive::<Decimal128Type>().value(0))
            } else {
                array.as_primitive::<Decimal256Type>().value(0)
            };
            assert_eq!(Ok(found), unscaled_slowly(&number, precision, scale));
        }
    }
}

#[test]
fn numerics_that_a_decimal_cannot_hold() {
    for precision in [15, 60] {
        let pg_type = PgType::Numeric(NumericType::Declared { precision, scale: 2 });
        assert_eq!(fails(&pg_type, &numeric_wire(&[], 0, 0xc000, 0)), ValueError::NotANumber);
        assert_eq!(fails(&pg_type, &numeric_wire(&[], 0, 0xd000, 0x20)), ValueError::NotANumber);
        assert_eq!(fails(&pg_type, &numeric_wire(&[], 0, 0xf000, 0)), ValueError::NotANumber);
        assert_eq!(fails(&pg_type, &numeric("0.001")), ValueError::LostDigits);
        assert_eq!(fails(&pg_type, &numeric("-0.00000000001")), ValueError::LostDigits);
        assert_eq!(
            fails(&pg_type, &numeric(&format!("{}.001", "9".repeat(precision as usize - 2)))),
            ValueError::LostDigits
        );
        assert_eq!(
            fails(&pg_type, &numeric(&format!("{}.001", "9".repeat(precision as usize - 1)))),
            ValueError::OutOfRange
        );
        assert_eq!(fails(&pg_type, &numeric(&"9".repeat(75))), ValueError::OutOfRange);
        assert_eq!(fails(&pg_type, &numeric_wire(&[1], i16::MAX, 0, 0)), ValueError::OutOfRange);
        assert_eq!(fails(&pg_type, &numeric_wire(&[1], i16::MIN, 0, 0)), ValueError::LostDigits);
    }
}

#[test]
fn malformed_numerics() {
    for pg_type in [
        PgType::Numeric(NumericType::Unconstrained),
        PgType::Numeric(NumericType::Declared { precision: 15, scale: 2 }),
        PgType::Numeric(NumericType::Declared { precision: 60, scale: 2 }),
    ] {
        let malformed =
            |wire: &[u8]| assert!(matches!(fails(&pg_type, wire), ValueError::Malformed(_)), "{wire:?}");
        malformed(&[]);
        malformed(&[0; 7]);
        malformed(&numeric_wire(&[10_000], 0, 0, 0));
        malformed(&numeric_wire(&[1, 0xffff], 0, 0, 0));
        malformed(&numeric_wire(&[0x8000, 1, 1, 1], 1, 0, 0));
        malformed(&numeric_wire(&[1], 0, 0x8000, 0));
        malformed(&numeric_wire(&[1], 0, 1, 0));
        malformed(&numeric_wire(&[1], 0, 0, 0x4000));
        let mut trailing = numeric_wire(&[1], 0, 0, 0);
        trailing.push(0);
        malformed(&trailing);
        let mut short = numeric_wire(&[1, 2], 1, 0, 0);
        short.truncate(10);
        malformed(&short);
        let mut negative = numeric_wire(&[], 0, 0, 0);
        negative[0] = 0xff;
        malformed(&negative);
    }
}

/// Zeros that PostgreSQL itself never sends: before the first digit and behind the last.
#[test]
fn numerics_that_are_not_normalised() {
    for precision in [15, 60] {
        let pg_type = PgType::Numeric(NumericType::Declared { precision, scale: 2 });
        for wire in [
            numeric_wire(&[0, 0, 12], 2, 0, 0),
            numeric_wire(&[12, 0, 0, 0, 0, 0], 0, 0, 0),
            numeric_wire(&[0, 12, 0], 1, 0, 2),
        ] {
            let array = decode(&pg_type, &[Some(wire)]).unwrap();
            let unscaled = match array.data_type() {
                DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value(0),
                _ => array.as_primitive::<Decimal256Type>().value(0).as_i128(),
            };
            assert_eq!(unscaled, 1200);
        }
    }
}

#[test]
fn text_of_every_length_and_script() {
    let mut values: Vec<Wire> = (0..200).map(|n| Some(vec![b'a' + (n % 26) as u8; n])).collect();
    values.extend(["naïve", "日本語", "🦀", ""].map(|text| Some(text.as_bytes().to_vec())));
    let array = decode(&PgType::Text, &values).unwrap();
    for (row, value) in values.iter().enumerate() {
        assert_eq!(Some(array.as_string::<i32>().value(row).as_bytes()), value.as_deref());
    }
}

#[test]
fn text_that_is_not_utf8_names_its_row() {
    let values = [b"ok".to_vec(), "é".into(), b"\xe9".to_vec(), b"\xff".to_vec()].map(Some);
    let error = decode_in_chunks(&PgType::Text, &TypeOptions::default(), &values, 2, 0).unwrap_err();
    assert_eq!(error, RowError { row: 2, cause: ValueError::Utf8 });
    decode(&PgType::Bytea, &values).unwrap();
}

#[test]
fn jsonb_loses_its_version_byte_and_nothing_else() {
    let long = format!("\"{}\"", "x".repeat(1000));
    let values: Vec<Wire> = ["{}", "null", &long].map(|json| Some([&[1], json.as_bytes()].concat())).to_vec();
    let array = decode(&PgType::Jsonb, &values).unwrap();
    let found: Vec<_> = array.as_string::<i32>().iter().flatten().collect();
    assert_eq!(found, ["{}", "null", &long]);
    // Copied whole, in blocks, and by a call.
    let values: Vec<Wire> =
        (1..700).map(|n| Some([vec![1], vec![b'0' + (n % 10) as u8; n]].concat())).collect();
    let array = decode(&PgType::Jsonb, &values).unwrap();
    for (row, value) in values.iter().flatten().enumerate() {
        assert_eq!(array.as_string::<i32>().value(row).as_bytes(), &value[1..]);
    }
    for n_bytes in [1, 20, 64, 65, 300, 600] {
        assert!(matches!(fails(&PgType::Jsonb, &vec![b'1'; n_bytes]), ValueError::Malformed(_)));
    }
    assert!(matches!(fails(&PgType::Jsonb, b""), ValueError::Malformed(_)));
    assert!(matches!(fails(&PgType::Jsonb, b"\x02{}"), ValueError::Malformed(_)));
    assert!(matches!(fails(&PgType::Jsonb, &[b'{'; 100]), ValueError::Malformed(_)));
}

#[test]
fn the_one_byte_char_has_a_text_for_every_byte() {
    assert_eq!(text_of(&PgType::Char, &[0]), "");
    assert_eq!(text_of(&PgType::Char, b"a"), "a");
    assert_eq!(text_of(&PgType::Char, &[0x80]), "\\200");
    assert_eq!(text_of(&PgType::Char, &[0xe9]), "\\351");
    assert_eq!(text_of(&PgType::Char, &[0xff]), "\\377");
}

#[test]
fn bits_keep_their_leading_zeros() {
    let wire = |bits: i32, bytes: &[u8]| [&bits.to_be_bytes()[..], bytes].concat();
    assert_eq!(text_of(&PgType::Bit, &wire(0, &[])), "");
    assert_eq!(text_of(&PgType::Bit, &wire(9, &[0b0010_1010, 0b1000_0000])), "001010101");
    assert_eq!(text_of(&PgType::Bit, &wire(8, &[0x0f])), "00001111");
    for malformed in [wire(-1, &[]), wire(9, &[0]), wire(8, &[0, 0]), wire(i32::MAX, &[0]), vec![0, 0]] {
        assert!(matches!(fails(&PgType::Bit, &malformed), ValueError::Malformed(_)));
    }
}

#[test]
fn network_addresses_as_postgres_prints_them() {
    let v4 = |address: [u8; 4], bits, cidr| [&[2, bits, cidr, 4], &address[..]].concat();
    let v6 = |address: &str, bits, cidr| {
        let address: std::net::Ipv6Addr = address.parse().unwrap();
        [&[3, bits, cidr, 16], &address.octets()[..]].concat()
    };
    let inet = |wire: Vec<u8>| text_of(&PgType::Inet, &wire);
    assert_eq!(inet(v4([10, 1, 2, 3], 32, 0)), "10.1.2.3");
    assert_eq!(inet(v4([10, 1, 2, 3], 8, 0)), "10.1.2.3/8");
    assert_eq!(inet(v4([10, 1, 2, 3], 32, 1)), "10.1.2.3/32");
    assert_eq!(inet(v4([0; 4], 0, 1)), "0.0.0.0/0");
    // PostgreSQL 15 printed these texts for these addresses.
    for (address, printed) in [
        ("::", "::"),
        ("::1", "::1"),
        ("::2", "::2"),
        ("::2:3", "::0.2.0.3"),
        ("::ffff:0.0.0.1", "::ffff:0.0.0.1"),
        ("::ffff:10.1.2.3", "::ffff:10.1.2.3"),
        ("::1.2.3.4", "::1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("1:0:0:2::", "1:0:0:2::"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("1::2:0:0:3", "1::2:0:0:3"),
        ("0:1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"),
        ("fe80::", "fe80::"),
    ] {
        assert_eq!(inet(v6(address, 128, 0)), printed, "{address}");
    }
    for malformed in [
        vec![],
        vec![2, 32, 0, 4, 1, 1, 1],
        vec![2, 33, 0, 4, 1, 1, 1, 1],
        vec![2, 32, 2, 4, 1, 1, 1, 1],
        vec![4, 32, 0, 4, 1, 1, 1, 1],
        vec![3, 32, 0, 4, 1, 1, 1, 1],
    ] {
        assert!(matches!(fails(&PgType::Inet, &malformed), ValueError::Malformed(_)), "{malformed:?}");
    }
}

#[test]
fn hardware_addresses() {
    assert_eq!(text_of(&PgType::Macaddr, &[8, 0, 0x2b, 1, 2, 0xff]), "08:00:2b:01:02:ff");
    assert_eq!(text_of(&PgType::Macaddr8, &[8, 0, 0x2b, 1, 2, 3, 4, 5]), "08:00:2b:01:02:03:04:05");
}

#[test]
fn enums_share_one_dictionary_and_learn_new_labels() {
    let pg_type = PgType::Enum(EnumType { labels: vec!["a".into(), "é".into(), String::new()] }.into());
    let labels = |labels: &[&str]| labels.iter().map(|l| Some(l.as_bytes().to_vec())).collect::<Vec<Wire>>();
    let array = decode(&pg_type, &labels(&["é", "", "a", "é"])).unwrap();
    assert_eq!(array.as_dictionary::<Int32Type>().keys().values(), &[1, 2, 0, 1]);

    let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
    let mut batch = |label: &str| {
        let bytes = [&(label.len() as i32).to_be_bytes()[..], label.as_bytes()].concat();
        column.decode(&mut Chunk::new(&bytes, &mut [0])).unwrap();
        column.finish().unwrap()
    };
    let (first, second, third) = (batch("a"), batch("é"), batch("new"));
    let values = |array: &ArrayRef| std::sync::Arc::as_ptr(array.as_dictionary::<Int32Type>().values());
    assert!(std::ptr::addr_eq(values(&first), values(&second)), "the very same dictionary");
    assert_eq!(third.as_dictionary::<Int32Type>().keys().value(0), 3);
    assert_eq!(third.as_dictionary::<Int32Type>().values().len(), 4);
}

#[test]
fn a_uuid_is_its_bytes() {
    let values: Vec<Wire> = [[0; 16], [0xff; 16], *b"0123456789abcdef"].map(|v| Some(v.to_vec())).to_vec();
    let array = decode(&PgType::Uuid, &values).unwrap();
    assert_eq!(array.as_fixed_size_binary().value(2), b"0123456789abcdef");
}
