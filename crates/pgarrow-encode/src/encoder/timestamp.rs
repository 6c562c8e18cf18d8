//! `timestamp_recv`, `timestamptz_recv`: microseconds since 2000.
//!
//! Both round to the digits that the type declares (`AdjustTimestampForTypmod`), so they are checked here. A
//! timestamp with a zone is an instant. Without one it is a clock's reading, and its instant is unknown.
//!
//! Source: `timestamp.c` in PostgreSQL's `src/backend/utils/adt/`; `IS_VALID_TIMESTAMP` in
//! `src/include/datatype/timestamp.h`.

use arrow_array::types::{
    Date32Type, Date64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_schema::{DataType, TimeUnit};

use super::date::{DAYS_1970_TO_2000, MILLIS_PER_DAY};
use super::date_text::{MICROS_PER_DAY, Moment, moment};
use super::each::{each_string, fixed};
use super::seconds::Digits;
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, RefusalKind, ValueError};
use crate::write;

const MICROS_1970_TO_2000: i64 = DAYS_1970_TO_2000 * MILLIS_PER_DAY * 1_000;
/// From 4714-11-24 BC to the end of 294276-12-31. The infinities are outside.
const MICROS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// For `timestamptz`, or for `timestamp`.
pub(super) fn make(
    source: &DataType,
    target: TypeTarget<'_>,
    is_instant: bool,
) -> Result<Box<dyn Encoder>, Refusal> {
    let unit = match source {
        DataType::Timestamp(_, zone) if zone.is_some() != is_instant => return Err(crosses_zones(source)),
        DataType::Timestamp(unit, _) => *unit,
        DataType::Date32 | DataType::Date64 if !is_instant => TimeUnit::Second,
        DataType::Date32 | DataType::Date64 => return Err(crosses_zones(source)),
        _ if Strings::is(source) && target.conversions >= Conversions::Check => {
            let digits = Digits::new(source, target, TimeUnit::Nanosecond)?;
            return Ok(each_string(move |text, out| {
                write::fixed(out, of_text(text, digits, is_instant)?);
                Ok(())
            }));
        }
        _ => return Err(refuse(source, target)),
    };
    let digits = Digits::new(source, target, unit)?;
    Ok(match (source, unit) {
        (DataType::Date32, _) => {
            fixed::<Date32Type, 8>(source, move |days| timestamp(digits, days.into(), MILLIS_PER_DAY * 1_000))
        }
        (DataType::Date64, _) => {
            fixed::<Date64Type, 8>(source, move |millis| match millis % MILLIS_PER_DAY {
                0 => timestamp(digits, millis, 1_000),
                _ => Err(ValueError::LostDigits),
            })
        }
        (_, TimeUnit::Second) => {
            fixed::<TimestampSecondType, 8>(source, move |value| timestamp(digits, value, 1_000_000))
        }
        (_, TimeUnit::Millisecond) => {
            fixed::<TimestampMillisecondType, 8>(source, move |value| timestamp(digits, value, 1_000))
        }
        (_, TimeUnit::Microsecond) => {
            fixed::<TimestampMicrosecondType, 8>(source, move |value| timestamp(digits, value, 1))
        }
        (_, TimeUnit::Nanosecond) => fixed::<TimestampNanosecondType, 8>(source, move |value| {
            timestamp(digits, digits.micros_of_nanos(value)?, 1)
        }),
    })
}

/// Why an instant and a clock's reading do not convert to each other.
pub(super) fn crosses_zones(source: &DataType) -> Refusal {
    let why = match source {
        DataType::Timestamp(_, Some(_)) => {
            format!("{source} is an instant, and what clocks show at it depends on a time zone")
        }
        _ => format!("{source} has no time zone, so its instant is unknown"),
    };
    Refusal::new(RefusalKind::Mismatch, why)
}

#[inline]
fn timestamp(digits: Digits, since_1970: i64, micros: i64) -> Result<[u8; 8], ValueError> {
    let since_1970 = since_1970.checked_mul(micros).ok_or(ValueError::OutOfRange)?;
    since_2000(digits, since_1970.checked_sub(MICROS_1970_TO_2000))
}

/// `None` means out of range.
#[inline]
fn since_2000(digits: Digits, micros: Option<i64>) -> Result<[u8; 8], ValueError> {
    let micros = micros.filter(|micros| MICROS.contains(micros)).ok_or(ValueError::OutOfRange)?;
    let kept = digits.kept(micros)?;
    // Rounding may lead out of the range again.
    match MICROS.contains(&kept) {
        true => Ok(kept.to_be_bytes()),
        false => Err(ValueError::OutOfRange),
    }
}

/// An instant must have a zone, and a clock's reading must have none: the server would assume a zone, or drop
/// it.
fn of_text(text: &str, digits: Digits, is_instant: bool) -> Result<[u8; 8], ValueError> {
    let (days, micros, east) = match moment(text, digits.rounds())? {
        Moment::Infinity => return Ok(i64::MAX.to_be_bytes()),
        Moment::MinusInfinity => return Ok(i64::MIN.to_be_bytes()),
        Moment::Finite { days, micros, zone } => match (zone, is_instant) {
            (Some(east), true) => (days, micros, east),
            (None, false) => (days, micros, 0),
            (None, true) => {
                return Err(ValueError::Malformed("without a time zone, its instant is unknown"));
            }
            (Some(_), false) => return Err(ValueError::Malformed("a timestamp without time zone has none")),
        },
    };
    let micros = days.checked_mul(MICROS_PER_DAY).and_then(|day| day.checked_add(micros));
    since_2000(digits, micros.and_then(|micros| micros.checked_sub(i64::from(east) * 1_000_000)))
}
