//! `date_recv`: days since 2000.
//!
//! Source: `date_recv`, `timestamp_date` in PostgreSQL's `src/backend/utils/adt/date.c`; `IS_VALID_DATE` in
//! `src/include/datatype/timestamp.h`.

use arrow_array::types::{
    Date32Type, Date64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_schema::{DataType, TimeUnit};

use super::date_text::{MICROS_PER_DAY, Moment, moment};
use super::each::{each_string, fixed};
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, ValueError};
use crate::write;

pub(super) const DAYS_1970_TO_2000: i64 = 10_957;
/// From 4714-11-24 BC to 5874897-12-31. The infinities are outside, and come from text only.
const DAYS: std::ops::Range<i64> = -2_451_545..2_145_031_949;
pub(super) const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1_000;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let rounds = target.conversions >= Conversions::Round;
    let day = move |value: i64, per_day: i64| {
        // The day of the time; days before 1970 have negative numbers.
        match rounds || value % per_day == 0 {
            true => date(value.div_euclid(per_day)),
            false => Err(ValueError::LostDigits),
        }
    };
    match source {
        DataType::Date32 => Ok(fixed::<Date32Type, 4>(source, |days| date(days.into()))),
        DataType::Date64 => Ok(fixed::<Date64Type, 4>(source, move |millis| day(millis, MILLIS_PER_DAY))),
        DataType::Timestamp(_, None) if target.conversions < Conversions::Check => {
            Err(Refusal::needs_check(format!("{source} may have a time of day")))
        }
        DataType::Timestamp(unit, None) => Ok(match unit {
            TimeUnit::Second => {
                fixed::<TimestampSecondType, 4>(source, move |seconds| day(seconds, MILLIS_PER_DAY / 1_000))
            }
            TimeUnit::Millisecond => {
                fixed::<TimestampMillisecondType, 4>(source, move |millis| day(millis, MILLIS_PER_DAY))
            }
            TimeUnit::Microsecond => fixed::<TimestampMicrosecondType, 4>(source, move |micros| {
                day(micros, MILLIS_PER_DAY * 1_000)
            }),
            TimeUnit::Nanosecond => fixed::<TimestampNanosecondType, 4>(source, move |nanos| {
                day(nanos, MILLIS_PER_DAY * 1_000_000)
            }),
        }),
        DataType::Timestamp(_, Some(_)) => Err(super::timestamp::crosses_zones(source)),
        _ if Strings::is(source) && target.conversions >= Conversions::Check => {
            Ok(each_string(move |text, out| {
                write::fixed(out, of_text(text, rounds)?);
                Ok(())
            }))
        }
        _ => Err(refuse(source, target)),
    }
}

fn date(days_since_1970: i64) -> Result<[u8; 4], ValueError> {
    since_2000(days_since_1970.checked_sub(DAYS_1970_TO_2000).ok_or(ValueError::OutOfRange)?)
}

fn since_2000(days: i64) -> Result<[u8; 4], ValueError> {
    let days = Some(days).filter(|days| DAYS.contains(days)).and_then(|days| i32::try_from(days).ok());
    Ok(days.ok_or(ValueError::OutOfRange)?.to_be_bytes())
}

/// The day of a timestamp, if its time may be rounded away.
fn of_text(text: &str, rounds: bool) -> Result<[u8; 4], ValueError> {
    match moment(text, rounds)? {
        Moment::Infinity => Ok(i32::MAX.to_be_bytes()),
        Moment::MinusInfinity => Ok(i32::MIN.to_be_bytes()),
        Moment::Finite { zone: Some(_), .. } => Err(ValueError::Malformed("a date has no time zone")),
        Moment::Finite { days, micros: 0, .. } => since_2000(days),
        Moment::Finite { .. } if !rounds => Err(ValueError::LostDigits),
        Moment::Finite { days, micros, .. } => since_2000(days + micros / MICROS_PER_DAY),
    }
}
