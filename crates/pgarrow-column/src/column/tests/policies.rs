//! Values that Arrow cannot hold, and the user's choices for them.

use arrow_array::types::{TimestampMillisecondType, TimestampNanosecondType};
use pgarrow_types::{
    EnumForm, InfinityPolicy, LostDigitsPolicy, NanPolicy, OutOfRangePolicy, StringForm, TimestampUnit,
};

use super::nested::framed;
use super::*;
use crate::effect::{Effect, Effects};

fn options(infinity: InfinityPolicy, nan: NanPolicy, out_of_range: OutOfRangePolicy) -> TypeOptions {
    TypeOptions { infinity, nan, out_of_range, ..TypeOptions::default() }
}

fn nulls() -> TypeOptions {
    options(InfinityPolicy::Null, NanPolicy::Null, OutOfRangePolicy::Null)
}

fn saturate() -> TypeOptions {
    options(InfinityPolicy::Saturate, NanPolicy::Null, OutOfRangePolicy::Saturate)
}

/// The array and the counts, over chunks of one row, each decoded twice.
fn counted(pg_type: &PgType, options: &TypeOptions, values: &[Wire]) -> (ArrayRef, Vec<(Effect, u64)>) {
    let array = decode_with(pg_type, options, values).unwrap();
    let mut column = make_column(pg_type, options, 0);
    for (row, value) in values.iter().enumerate() {
        let bytes = framed(value.as_deref());
        for _ in 0..2 {
            column.truncate(row);
            column.decode(&mut Chunk::new(&bytes, &mut [0])).unwrap();
        }
    }
    assert_eq!(column.finish().unwrap().as_ref(), array.as_ref());
    let mut effects = Effects::default();
    column.take_effects(&mut effects);
    (array, effects.iter().collect())
}

fn wires<const N: usize>(values: &[[u8; N]]) -> Vec<Wire> {
    values.iter().map(|value| Some(value.to_vec())).collect()
}

#[test]
fn infinite_dates() {
    let values = ints(&[i32::MIN, 0, i32::MAX]);
    assert_eq!(decode(&PgType::Date, &values).unwrap_err().cause, ValueError::Infinite);
    let (array, effects) = counted(&PgType::Date, &nulls(), &values);
    assert_eq!(array.as_primitive::<Date32Type>().iter().collect::<Vec<_>>(), [None, Some(10_957), None]);
    assert_eq!(effects, [(Effect::InfinityNulled, 2)]);
    let (array, effects) = counted(&PgType::Date, &saturate(), &values);
    assert_eq!(array.as_primitive::<Date32Type>().values(), &[i32::MIN, 10_957, i32::MAX]);
    assert_eq!(effects, [(Effect::InfinitySaturated, 2)]);
}

#[test]
fn infinite_and_late_timestamps() {
    // The last microsecond that fits is 294247-01-10 04:00:54.775807; the last of PostgreSQL is in 294276.
    let last = i64::MAX - 946_684_800_000_000;
    let values = wires(&[i64::MIN, last, last + 1, i64::MAX].map(i64::to_be_bytes));
    assert!(decode(&PgType::Timestamptz, &values).is_err());
    let (array, effects) = counted(&PgType::Timestamptz, &nulls(), &values);
    let found: Vec<_> = array.as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(found, [None, Some(i64::MAX), None, None]);
    assert_eq!(effects, [(Effect::InfinityNulled, 2), (Effect::OutOfRangeNulled, 1)]);
    let (array, effects) = counted(&PgType::Timestamp, &saturate(), &values);
    let expected = [i64::MIN, i64::MAX, i64::MAX, i64::MAX];
    assert_eq!(array.as_primitive::<TimestampMicrosecondType>().values(), &expected);
    assert_eq!(effects, [(Effect::InfinitySaturated, 2), (Effect::OutOfRangeSaturated, 1)]);
}

#[test]
fn timestamps_of_other_units() {
    let of = |timestamp_unit, values: &[i64], out_of_range| {
        let options = TypeOptions { timestamp_unit, out_of_range, ..TypeOptions::default() };
        let values: Vec<Wire> = values.iter().map(|value| Some(value.to_be_bytes().to_vec())).collect();
        decode_with(&PgType::Timestamp, &options, &values)
    };
    let error = OutOfRangePolicy::Error;
    // Milliseconds hold times that microseconds cannot.
    let late = i64::MAX / 1_000 * 1_000 - 1_000;
    let array = of(TimestampUnit::Millisecond, &[0, -1_000, late], error).unwrap();
    let expected = [946_684_800_000, 946_684_799_999, late / 1_000 + 946_684_800_000];
    assert_eq!(array.as_primitive::<TimestampMillisecondType>().values(), &expected);
    for lost in [1, -1, 999] {
        let error = of(TimestampUnit::Millisecond, &[lost], OutOfRangePolicy::Null).unwrap_err();
        assert_eq!(error.cause, ValueError::LostDigits);
    }
    // From 1677-09-21 00:12:43.145225 to 2262-04-11 23:47:16.854775.
    let (first, last) =
        (-9_223_372_036_854_775 - 946_684_800_000_000, 9_223_372_036_854_775 - 946_684_800_000_000);
    let array = of(TimestampUnit::Nanosecond, &[first, last], error).unwrap();
    let expected = [-9_223_372_036_854_775_000, 9_223_372_036_854_775_000];
    assert_eq!(array.as_primitive::<TimestampNanosecondType>().values(), &expected);
    for outside in [first - 1, last + 1] {
        let found = of(TimestampUnit::Nanosecond, &[outside], error).unwrap_err();
        assert_eq!(found.cause, ValueError::OutOfRange);
    }
    let array = of(TimestampUnit::Nanosecond, &[first - 1, last + 1], OutOfRangePolicy::Saturate).unwrap();
    assert_eq!(array.as_primitive::<TimestampNanosecondType>().values(), &[i64::MIN, i64::MAX]);
}

#[test]
fn infinite_and_long_intervals() {
    let interval = |months: i32, days: i32, micros: i64| {
        let mut wire = [0; 16];
        wire[..8].copy_from_slice(&micros.to_be_bytes());
        wire[8..12].copy_from_slice(&days.to_be_bytes());
        wire[12..].copy_from_slice(&months.to_be_bytes());
        wire
    };
    let values = wires(&[
        interval(1, 2, 3),
        interval(i32::MAX, i32::MAX, i64::MAX),
        interval(i32::MIN, i32::MIN, i64::MIN),
        interval(1, -2, -9_223_372_036_854_776),
    ]);
    let (array, effects) = counted(&PgType::Interval { has_infinities: true }, &nulls(), &values);
    assert_eq!((array.null_count(), array.is_valid(0)), (3, true));
    assert_eq!(effects, [(Effect::InfinityNulled, 2), (Effect::OutOfRangeNulled, 1)]);
    let (array, effects) = counted(&PgType::Interval { has_infinities: true }, &saturate(), &values);
    let found: Vec<_> = array.as_primitive::<IntervalMonthDayNanoType>().values().iter().copied().collect();
    let of = arrow_buffer::IntervalMonthDayNano::new;
    let largest = of(i32::MAX, i32::MAX, i64::MAX);
    let smallest = of(i32::MIN, i32::MIN, i64::MIN);
    assert_eq!(found, [of(1, 2, 3_000), largest, smallest, of(1, -2, i64::MIN)]);
    assert_eq!(effects, [(Effect::InfinitySaturated, 2), (Effect::OutOfRangeSaturated, 1)]);
    // The struct has room for every finite interval.
    let parts = TypeOptions { interval: IntervalForm::Struct, ..nulls() };
    let (array, effects) = counted(&PgType::Interval { has_infinities: true }, &parts, &values);
    assert_eq!((array.null_count(), effects), (2, vec![(Effect::InfinityNulled, 2)]));
    let parts = TypeOptions { interval: IntervalForm::Struct, ..saturate() };
    let (array, _) = counted(&PgType::Interval { has_infinities: true }, &parts, &values);
    assert_eq!(array.as_struct().column(0).as_primitive::<Int32Type>().values(), &[1, i32::MAX, i32::MIN, 1]);
    // Before PostgreSQL 17 there are no infinities: the two are the largest and the smallest interval, and
    // only nanoseconds have no room for them.
    let before = PgType::Interval { has_infinities: false };
    let parts = TypeOptions { interval: IntervalForm::Struct, ..nulls() };
    let (array, effects) = counted(&before, &parts, &values);
    assert_eq!((array.null_count(), effects), (0, vec![]));
    let micros = array.as_struct().column(2).as_primitive::<arrow_array::types::Int64Type>();
    assert_eq!(micros.values()[1..3], [i64::MAX, i64::MIN]);
    let (array, effects) = counted(&before, &nulls(), &values);
    assert_eq!((array.null_count(), effects), (3, vec![(Effect::OutOfRangeNulled, 3)]));
}

fn numeric(sign: u16, weight: i16, digits: &[u16]) -> Wire {
    let header = [digits.len() as u16, weight as u16, sign, 0];
    Some(header.iter().chain(digits).flat_map(|part| part.to_be_bytes()).collect())
}

#[test]
fn numerics_that_are_no_numbers_or_too_large() {
    let special = [numeric(0xc000, 0, &[]), numeric(0xd000, 0, &[]), numeric(0xf000, 0, &[])];
    let large = [numeric(0, 1, &[10, 0]), numeric(0x4000, 1, &[10, 0])];
    for precision in [4_u16, 50] {
        let pg_type = PgType::Numeric(NumericType::Declared { precision, scale: 0 });
        for value in &special {
            assert_eq!(
                decode(&pg_type, std::slice::from_ref(value)).unwrap_err().cause,
                ValueError::NotANumber
            );
        }
        let values: Vec<Wire> = special.iter().cloned().chain([numeric(0, 0, &[7])]).collect();
        let (array, effects) = counted(&pg_type, &nulls(), &values);
        assert_eq!((array.null_count(), array.is_valid(3)), (3, true));
        assert_eq!(effects, [(Effect::NanNulled, 3)]);
    }
    let pg_type = PgType::Numeric(NumericType::Declared { precision: 4, scale: 0 });
    let (array, effects) = counted(&pg_type, &nulls(), &large);
    assert_eq!((array.null_count(), effects), (2, vec![(Effect::OutOfRangeNulled, 2)]));
    let (array, effects) = counted(&pg_type, &saturate(), &large);
    assert_eq!(array.as_primitive::<Decimal128Type>().values(), &[9_999, -9_999]);
    assert_eq!(effects, [(Effect::OutOfRangeSaturated, 2)]);
}

#[test]
fn a_time_of_24_hours_is_kept_and_told() {
    let day = 86_400_000_000_i64;
    let (_, effects) = counted(&PgType::Time, &nulls(), &wires(&[0, day, day].map(i64::to_be_bytes)));
    assert_eq!(effects, [(Effect::EndOfDay, 2)]);
    let wire = [&day.to_be_bytes()[..], &0_i32.to_be_bytes()].concat();
    let (_, effects) = counted(&PgType::Timetz, &TypeOptions::default(), &[Some(wire)]);
    assert_eq!(effects, [(Effect::EndOfDay, 1)]);
}

#[test]
fn padding_is_dropped_on_request() {
    let values: Vec<Wire> = ["ab  ", "", "  ", "x", " y "].map(|v| Some(v.as_bytes().to_vec())).to_vec();
    let kept = decode(&PgType::Bpchar, &values).unwrap();
    assert_eq!(kept.as_string::<i32>().value(0), "ab  ");
    let options = TypeOptions { trim: true, ..TypeOptions::default() };
    let (array, effects) = counted(&PgType::Bpchar, &options, &values);
    let found: Vec<_> = array.as_string::<i32>().iter().flatten().collect();
    assert_eq!(found, ["ab", "", "", "x", " y"]);
    assert_eq!(effects, [(Effect::Trimmed, 3)]);
}

#[test]
fn strings_and_labels_of_every_form() {
    let mood = PgType::Enum(std::sync::Arc::new(EnumType { labels: vec!["sad".into(), "happy".into()] }));
    let values: Vec<Wire> = ["happy", "sad"].map(|v| Some(v.as_bytes().to_vec())).to_vec();
    for strings in [StringForm::Utf8, StringForm::Large, StringForm::View] {
        let options = TypeOptions { strings, enums: EnumForm::Text, ..TypeOptions::default() };
        for pg_type in [&mood, &PgType::Text, &PgType::Bytea, &PgType::Json] {
            let array = decode_with(pg_type, &options, &values).unwrap();
            assert_eq!(array.len(), 2);
        }
        let array = decode_with(&mood, &options, &values).unwrap();
        assert_eq!(array.data_type(), &PgType::Text.data_type(&options));
    }
}

#[test]
fn lost_digits_are_rounded_and_counted_if_that_was_chosen() {
    // 1.005, 9.995, NULL, 1.5; and -1.005, whose row is dropped because of its error.
    let values = [numeric(0, 0, &[1, 50]), numeric(0, 0, &[9, 9950]), None, numeric(0, 0, &[1, 5000])];
    for precision in [3_u16, 50] {
        let pg_type = PgType::Numeric(NumericType::Declared { precision, scale: 2 });
        let round = TypeOptions { lost_digits: LostDigitsPolicy::Round, ..TypeOptions::default() };
        assert_eq!(decode(&pg_type, &values).unwrap_err().cause, ValueError::LostDigits);
        match precision {
            // 9.995 is 10.00, which has a digit too many: another policy decides about it.
            3 => {
                assert_eq!(decode_with(&pg_type, &round, &values).unwrap_err().cause, ValueError::OutOfRange);
                let both = TypeOptions { out_of_range: OutOfRangePolicy::Null, ..round };
                let (array, effects) = counted(&pg_type, &both, &values);
                let found: Vec<_> = array.as_primitive::<Decimal128Type>().iter().collect();
                assert_eq!(found, [Some(101), None, None, Some(150)]);
                assert_eq!(effects, [(Effect::OutOfRangeNulled, 1), (Effect::Rounded, 1)]);
            }
            _ => {
                let (array, effects) = counted(&pg_type, &round, &values);
                assert_eq!((array.null_count(), effects), (1, vec![(Effect::Rounded, 2)]));
            }
        }
    }
    // A timestamp(3), counted from 2000: half a millisecond rounds away from 2000.
    let options = TypeOptions {
        timestamp_unit: TimestampUnit::Millisecond,
        lost_digits: LostDigitsPolicy::Round,
        ..TypeOptions::default()
    };
    let micros: [i64; 5] = [1_500, 1_499, -1_500, -1_499, 2_000];
    let (array, effects) = counted(&PgType::Timestamp, &options, &wires(&micros.map(i64::to_be_bytes)));
    let since_2000 =
        array.as_primitive::<TimestampMillisecondType>().values().iter().map(|at| at - 946_684_800_000);
    assert_eq!(since_2000.collect::<Vec<_>>(), [2, 1, -2, -1, 2]);
    assert_eq!(effects, [(Effect::Rounded, 4)]);
}
