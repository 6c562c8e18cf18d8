//! Dates, times and intervals: units, limits, digits that a column does not keep.

use std::sync::Arc;

use arrow_array::types::{IntervalDayTime, IntervalMonthDayNano};
use arrow_array::{
    ArrayRef, Date32Array, Date64Array, DurationMicrosecondArray, DurationMillisecondArray,
    DurationNanosecondArray, DurationSecondArray, Int32Array, Int64Array, IntervalDayTimeArray,
    IntervalMonthDayNanoArray, IntervalYearMonthArray, StructArray, Time32MillisecondArray,
    Time32SecondArray, Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use pgarrow_encode::{RefusalKind, ValueError};
use pgarrow_types::PgType;

use crate::support::To;

type Found = Vec<Result<Option<Vec<u8>>, ValueError>>;

const OUT: Result<i64, ValueError> = Err(ValueError::OutOfRange);
const LOST: Result<i64, ValueError> = Err(ValueError::LostDigits);
const DAY: i64 = 86_400_000_000;
/// Microseconds and days from 1970 to 2000.
const EPOCH: i64 = 10_957 * DAY;
const EPOCH_DAYS: i64 = 10_957;

fn eight(expected: &[Result<i64, ValueError>]) -> Found {
    expected.iter().map(|value| value.map(|value| Some(value.to_be_bytes().to_vec()))).collect()
}

fn four(expected: &[Result<i64, ValueError>]) -> Found {
    expected.iter().map(|value| value.map(|value| Some((value as i32).to_be_bytes().to_vec()))).collect()
}

fn kind(to: &To, data_type: &DataType) -> Option<RefusalKind> {
    to.refusal(data_type).map(|refusal| refusal.kind)
}

#[test]
fn dates_from_4714_bc_to_5874897() {
    let to = To::new(PgType::Date);
    // 4714-11-24 BC and 5874897-12-31, in days since 2000.
    let (first, last) = (-2_451_545, 2_145_031_948);
    let days = [first, first - 1, last, last + 1, 0].map(|days| (days + EPOCH_DAYS) as i32);
    let array: ArrayRef = Arc::new(Date32Array::from([&days[..], &[i32::MIN, i32::MAX]].concat()));
    assert_eq!(to.values(&array), four(&[Ok(first), OUT, Ok(last), OUT, Ok(0), OUT, OUT]));

    let array: ArrayRef =
        Arc::new(Date64Array::from(vec![0, 86_400_000, -86_400_000, 1, -1, i64::MIN, i64::MAX]));
    let [zero, one, before] = [-EPOCH_DAYS, 1 - EPOCH_DAYS, -1 - EPOCH_DAYS].map(Ok);
    assert_eq!(to.values(&array), four(&[zero, one, before, LOST, LOST, LOST, LOST]));
    assert_eq!(to.clone().round().values(&array), four(&[zero, one, before, zero, before, OUT, OUT]));

    let clock = |unit| DataType::Timestamp(unit, None);
    assert_eq!(kind(&to, &clock(TimeUnit::Second)), Some(RefusalKind::NeedsCheck));
    let to = to.check();
    let array: ArrayRef =
        Arc::new(TimestampSecondArray::from(vec![0, 86_400, 1, i64::MAX / 86_400 * 86_400]));
    assert_eq!(to.values(&array), four(&[zero, one, LOST, OUT]));
    let array: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![-86_400_000, 1]));
    assert_eq!(to.values(&array), four(&[before, LOST]));
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![DAY, DAY - 1]));
    assert_eq!(to.values(&array), four(&[one, LOST]));
    assert_eq!(to.clone().round().values(&array), four(&[one, zero]));
    let array: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000 * DAY, 1]));
    assert_eq!(to.values(&array), four(&[one, LOST]));
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let refusal = to.round().refusal(&instant).unwrap();
    assert_eq!(refusal.kind, RefusalKind::Mismatch);
    assert!(refusal.why.contains("time zone"), "{refusal}");
}

#[test]
fn times_within_a_day_and_its_end() {
    let to = To::new(PgType::Time);
    let array: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![0, DAY - 1, DAY, DAY + 1, -1]));
    assert_eq!(to.values(&array), eight(&[Ok(0), Ok(DAY - 1), Ok(DAY), OUT, OUT]));
    let array: ArrayRef = Arc::new(Time32SecondArray::from(vec![1, 86_400, 86_401, i32::MIN]));
    assert_eq!(to.values(&array), eight(&[Ok(1_000_000), Ok(DAY), OUT, OUT]));
    let array: ArrayRef = Arc::new(Time32MillisecondArray::from(vec![1, 86_400_000, 86_400_001]));
    assert_eq!(to.values(&array), eight(&[Ok(1_000), Ok(DAY), OUT]));
    assert_eq!(kind(&to, &DataType::Time64(TimeUnit::Nanosecond)), Some(RefusalKind::NeedsCheck));
    let array: ArrayRef =
        Arc::new(Time64NanosecondArray::from(vec![1_000, 1_499, 1_500, i64::MAX, 1_000 * DAY - 1]));
    assert_eq!(to.clone().check().values(&array), eight(&[Ok(1), LOST, LOST, LOST, LOST]));
    assert_eq!(to.round().values(&array), eight(&[Ok(1), Ok(1), Ok(2), OUT, Ok(DAY)]));

    // time(2): receive functions round silently.
    let to = To::new(PgType::Time).modifier(2);
    assert_eq!(kind(&to, &DataType::Time32(TimeUnit::Second)), None);
    assert_eq!(kind(&to, &DataType::Time32(TimeUnit::Millisecond)), Some(RefusalKind::NeedsCheck));
    let array: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![10_000, 14_999, 15_000, DAY - 1]));
    assert_eq!(to.clone().check().values(&array), eight(&[Ok(10_000), LOST, LOST, LOST]));
    assert_eq!(to.round().values(&array), eight(&[Ok(10_000), Ok(10_000), Ok(20_000), Ok(DAY)]));
}

/// `Struct{time, offset}`.
fn timetz(times: ArrayRef, offsets: Int32Array) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("time", times.data_type().clone(), true),
        Field::new("offset", DataType::Int32, true),
    ]);
    Arc::new(StructArray::new(fields, vec![times, Arc::new(offsets)], None))
}

#[test]
fn times_with_a_zone() {
    let to = To::new(PgType::Timetz);
    let times: ArrayRef =
        Arc::new(Time64MicrosecondArray::from(vec![Some(1), Some(DAY), Some(0), Some(0), None, Some(0)]));
    let zone = 16 * 3600 - 1;
    let offsets =
        Int32Array::from(vec![Some(zone), Some(-zone), Some(zone + 1), Some(i32::MIN), Some(0), None]);
    let wire = |micros: i64, west: i32| Ok(Some([&micros.to_be_bytes()[..], &west.to_be_bytes()].concat()));
    let (out, null) = (Err(ValueError::OutOfRange), Err(ValueError::NullPart));
    let expected = [wire(1, -zone), wire(DAY, zone), out.clone(), out, null.clone(), null];
    let array = timetz(times, offsets);
    assert_eq!(to.values(&array), expected);
    assert_eq!(to.values(&array.slice(1, 2)), expected[1..3]);

    let to = to.modifier(0);
    let refusal = to.refusal(array.data_type()).unwrap();
    assert_eq!((refusal.kind, &*refusal.path), (RefusalKind::NeedsCheck, "time"));
    let times: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![1_000_000, 1_500_000]));
    let array = timetz(times, Int32Array::from(vec![0, 0]));
    assert_eq!(to.clone().check().values(&array), [wire(1_000_000, 0), Err(ValueError::LostDigits)]);
    assert_eq!(to.clone().round().values(&array), [wire(1_000_000, 0), wire(2_000_000, 0)]);
    assert_eq!(kind(&to.round(), &DataType::Time64(TimeUnit::Microsecond)), Some(RefusalKind::Mismatch));
}

#[test]
fn timestamps_of_every_unit() {
    for (pg_type, zone) in [(PgType::Timestamp, None), (PgType::Timestamptz, Some("Asia/Kathmandu"))] {
        let to = To::new(pg_type.clone());
        let zone = zone.map(Arc::from);
        // 4714-11-24 BC and the last microsecond of 294276, since 2000.
        let (first, last) = (-211_813_488_000_000_000, 9_223_371_331_199_999_999);
        let micros = vec![first + EPOCH, first + EPOCH - 1, 0, EPOCH, i64::MIN, i64::MAX];
        let array: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(micros).with_timezone_opt(zone.clone()));
        let expected = [Ok(first), OUT, Ok(-EPOCH), Ok(0), OUT, Ok(i64::MAX - EPOCH)];
        assert_eq!(to.values(&array), eight(&expected), "{pg_type:?}");
        let millis = (last + 1) / 1_000 + EPOCH / 1_000;
        let array: ArrayRef = Arc::new(
            TimestampMillisecondArray::from(vec![1, millis, millis - 1, i64::MIN])
                .with_timezone_opt(zone.clone()),
        );
        assert_eq!(to.values(&array), eight(&[Ok(1_000 - EPOCH), OUT, OUT, OUT]), "beyond 294247");
        let array: ArrayRef = Arc::new(
            TimestampSecondArray::from(vec![-1, i64::MAX, i64::MIN]).with_timezone_opt(zone.clone()),
        );
        assert_eq!(to.values(&array), eight(&[Ok(-1_000_000 - EPOCH), OUT, OUT]));
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
        assert_eq!(kind(&to, &nanos), Some(RefusalKind::NeedsCheck));
        let array: ArrayRef = Arc::new(
            TimestampNanosecondArray::from(vec![-1_000, -1_499, 1_500, i64::MAX])
                .with_timezone_opt(zone.clone()),
        );
        assert_eq!(to.clone().check().values(&array), eight(&[Ok(-1 - EPOCH), LOST, LOST, LOST]));
        let last = i64::MAX / 1_000 + 1 - EPOCH;
        assert_eq!(
            to.round().values(&array),
            eight(&[Ok(-1 - EPOCH), Ok(-1 - EPOCH), Ok(2 - EPOCH), Ok(last)])
        );

        // Only three digits of a second, counted from 2000.
        let to = To::new(pg_type).modifier(3);
        assert_eq!(kind(&to, &DataType::Timestamp(TimeUnit::Millisecond, zone.clone())), None);
        let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        assert_eq!(kind(&to, &micros), Some(RefusalKind::NeedsCheck));
        let micros = [1_000, 1_001, 1_500, -1_500, -1_499].map(|micros| micros + EPOCH);
        let array: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(micros.to_vec()).with_timezone_opt(zone));
        assert_eq!(to.clone().check().values(&array), eight(&[Ok(1_000), LOST, LOST, LOST, LOST]));
        let rounded = [Ok(1_000), Ok(1_000), Ok(2_000), Ok(-2_000), Ok(-1_000)];
        assert_eq!(to.round().values(&array), eight(&rounded));
    }
}

#[test]
fn an_instant_is_not_what_a_clock_shows() {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let clock = DataType::Timestamp(TimeUnit::Microsecond, None);
    for (pg_type, source) in [(PgType::Timestamp, &instant), (PgType::Timestamptz, &clock)] {
        let refusal = To::new(pg_type).round().refusal(source).unwrap();
        assert_eq!(refusal.kind, RefusalKind::Mismatch);
        assert!(refusal.why.contains("zone"), "{refusal}");
    }
    assert_eq!(kind(&To::new(PgType::Timestamptz).round(), &DataType::Date32), Some(RefusalKind::Mismatch));
}

#[test]
fn dates_are_midnights() {
    let to = To::new(PgType::Timestamp).modifier(0);
    let array: ArrayRef = Arc::new(Date32Array::from(vec![0, EPOCH_DAYS as i32, i32::MAX]));
    assert_eq!(to.values(&array), eight(&[Ok(-EPOCH), Ok(0), OUT]));
    let array: ArrayRef = Arc::new(Date64Array::from(vec![86_400_000, 86_400_001, i64::MIN]));
    assert_eq!(to.values(&array), eight(&[Ok(DAY - EPOCH), LOST, LOST]));
}

fn interval(months: i32, days: i32, micros: i64) -> Result<Option<Vec<u8>>, ValueError> {
    Ok(Some([&micros.to_be_bytes()[..], &days.to_be_bytes(), &months.to_be_bytes()].concat()))
}

fn parts(values: &[(i32, i32, i64)]) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("months", DataType::Int32, false),
        Field::new("days", DataType::Int32, false),
        Field::new("microseconds", DataType::Int64, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(values.iter().map(|value| value.0))),
        Arc::new(Int32Array::from_iter_values(values.iter().map(|value| value.1))),
        Arc::new(Int64Array::from_iter_values(values.iter().map(|value| value.2))),
    ];
    Arc::new(StructArray::new(fields, columns, None))
}

#[test]
fn intervals_in_all_their_forms() {
    let to = To::new(PgType::Interval { has_infinities: true });
    let (out, lost) = (Err(ValueError::OutOfRange), Err(ValueError::LostDigits));
    let (min, max) = ((i32::MIN, i32::MIN, i64::MIN), (i32::MAX, i32::MAX, i64::MAX));
    let array = parts(&[(1, -2, 3), (i32::MAX, i32::MAX, i64::MAX - 1), min, max]);
    let expected = [interval(1, -2, 3), interval(i32::MAX, i32::MAX, i64::MAX - 1), out.clone(), out.clone()];
    assert_eq!(to.values(&array), expected);
    assert_eq!(to.values(&array.slice(1, 2)), expected[1..3]);
    // Before PostgreSQL 17 these two are finite; they were once refused anyway.
    let before = To::new(PgType::Interval { has_infinities: false });
    let ends = [interval(i32::MIN, i32::MIN, i64::MIN), interval(i32::MAX, i32::MAX, i64::MAX)];
    assert_eq!(before.values(&array.slice(2, 2)), ends);

    let nanos = |nanos| IntervalMonthDayNano::new(1, -2, nanos);
    let extreme = IntervalMonthDayNano::new(i32::MIN, i32::MIN, i64::MIN);
    let array: ArrayRef =
        Arc::new(IntervalMonthDayNanoArray::from(vec![nanos(3_000), nanos(1_500), nanos(-1_499), extreme]));
    assert_eq!(kind(&to, array.data_type()), Some(RefusalKind::NeedsCheck));
    let (exact, checked) = (interval(1, -2, 3), to.clone().check());
    assert_eq!(checked.values(&array), [exact.clone(), lost.clone(), lost.clone(), out.clone()]);
    let rounded = [exact, interval(1, -2, 2), interval(1, -2, -1), out.clone()];
    assert_eq!(to.clone().round().values(&array), rounded);

    let array: ArrayRef = Arc::new(IntervalYearMonthArray::from(vec![-13, i32::MAX]));
    assert_eq!(to.values(&array), [interval(-13, 0, 0), interval(i32::MAX, 0, 0)]);
    let array: ArrayRef = Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(-1, i32::MIN)]));
    assert_eq!(to.values(&array), [interval(0, -1, i64::from(i32::MIN) * 1_000)]);
    let array: ArrayRef = Arc::new(DurationSecondArray::from(vec![-1, i64::MAX]));
    assert_eq!(to.values(&array), [interval(0, 0, -1_000_000), out.clone()]);
    let array: ArrayRef = Arc::new(DurationMillisecondArray::from(vec![-1, i64::MIN]));
    assert_eq!(to.values(&array), [interval(0, 0, -1_000), out]);
    let array: ArrayRef = Arc::new(DurationMicrosecondArray::from(vec![i64::MIN, i64::MAX]));
    assert_eq!(to.values(&array), [interval(0, 0, i64::MIN), interval(0, 0, i64::MAX)]);
    let array: ArrayRef = Arc::new(DurationNanosecondArray::from(vec![1_000, 1]));
    assert_eq!(kind(&to, array.data_type()), Some(RefusalKind::NeedsCheck));
    assert_eq!(checked.values(&array), [interval(0, 0, 1), lost]);
    assert_eq!(kind(&to, &DataType::Int64), Some(RefusalKind::Mismatch));
    assert_eq!(kind(&to.check(), &DataType::Utf8), Some(RefusalKind::NeedsServer));
}

/// As `INTERVAL_TYPMOD` packs them.
pub(crate) fn interval_modifier(fields: i32, digits: i32) -> i32 {
    fields << 16 | digits
}

#[test]
fn intervals_of_some_fields() {
    let (all, year, month, day, hour, minute, second) = (0x7fff, 4, 2, 8, 1 << 10, 1 << 11, 1 << 12);
    let value = (25, 3, 3_723_500_000 + DAY);
    // Fields, digits, and the kept part of a year, a month, three days, 25:02:03.5.
    for (fields, digits, kept) in [
        (all, 0xffff, value),
        (all, 0, (25, 3, 3_724_000_000 + DAY)),
        (all, 1, value),
        (second, 0, (25, 3, 3_724_000_000 + DAY)),
        (minute | second, 0xffff, value),
        (day | hour | minute | second, 6, value),
        (hour | minute, 0xffff, (25, 3, 3_720_000_000 + DAY)),
        (minute, 0xffff, (25, 3, 3_720_000_000 + DAY)),
        (day | hour | minute, 0xffff, (25, 3, 3_720_000_000 + DAY)),
        (day | hour, 0xffff, (25, 3, 3_600_000_000 + DAY)),
        (hour, 0xffff, (25, 3, 3_600_000_000 + DAY)),
        (day, 0xffff, (25, 3, 0)),
        (year | month, 0xffff, (25, 0, 0)),
        (month, 0xffff, (25, 0, 0)),
        (year, 0xffff, (24, 0, 0)),
    ] {
        let to =
            To::new(PgType::Interval { has_infinities: true }).modifier(interval_modifier(fields, digits));
        let array = parts(&[value, kept]);
        let exact = interval(kept.0, kept.1, kept.2);
        let checked = if value == kept { exact.clone() } else { Err(ValueError::LostDigits) };
        assert_eq!(to.clone().check().values(&array), [checked, exact.clone()], "{fields} {digits}");
        assert_eq!(to.clone().round().values(&array), [exact.clone(), exact], "{fields} {digits}");
        let keeps_all = fields & second != 0 && digits >= 6;
        assert_eq!(kind(&to, array.data_type()).is_none(), keeps_all, "{fields} {digits}");
    }
    let to = To::new(PgType::Interval { has_infinities: true }).modifier(interval_modifier(all, 0));
    assert_eq!(kind(&to, &DataType::Interval(IntervalUnit::YearMonth)), None);
}
