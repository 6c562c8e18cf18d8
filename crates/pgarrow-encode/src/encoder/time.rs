//! `time_recv`: microseconds since midnight. `timetz_recv`: the same, with a zone.
//!
//! Both round to the digits that the type declares (`AdjustTimeForTypmod`), so they are checked here.
//!
//! Source: `time_recv`, `timetz_recv` in PostgreSQL's `src/backend/utils/adt/date.c`; `TZDISP_LIMIT` in
//! `src/include/datatype/timestamp.h`.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int32Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
};
use arrow_array::{Array, Int32Array};
use arrow_schema::{DataType, TimeUnit};

use super::date_text::time_of_day;
use super::each::{each_string, fixed};
use super::seconds::Digits;
use super::{Encoder, Values, refuse};
use crate::access::{Strings, part, required};
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, ValueError};
use crate::write;

/// 24:00:00 is a legal time in PostgreSQL.
const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// A zone's distance from UTC must be below this number of seconds: 16 hours.
const ZONE_LIMIT: i32 = 16 * 60 * 60;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let unit = match source {
        DataType::Time32(unit) | DataType::Time64(unit) => *unit,
        _ if Strings::is(source) && target.conversions >= Conversions::Check => {
            let digits = Digits::new(source, target, TimeUnit::Nanosecond)?;
            return Ok(each_string(move |text, out| match time_of_day(text, digits.rounds())? {
                (micros, None) => {
                    write::fixed(out, time(digits, micros, 1)?);
                    Ok(())
                }
                (_, Some(_)) => Err(ValueError::Malformed("a time without time zone has none")),
            }));
        }
        _ => return Err(refuse(source, target)),
    };
    let digits = Digits::new(source, target, unit)?;
    Ok(match unit {
        TimeUnit::Second => {
            fixed::<Time32SecondType, 8>(source, move |value| time(digits, value.into(), 1_000_000))
        }
        TimeUnit::Millisecond => {
            fixed::<Time32MillisecondType, 8>(source, move |value| time(digits, value.into(), 1_000))
        }
        TimeUnit::Microsecond => {
            fixed::<Time64MicrosecondType, 8>(source, move |value| time(digits, value, 1))
        }
        TimeUnit::Nanosecond => fixed::<Time64NanosecondType, 8>(source, move |value| {
            time(digits, digits.micros_of_nanos(value)?, 1)
        }),
    })
}

fn time(digits: Digits, value: i64, micros: i64) -> Result<[u8; 8], ValueError> {
    let micros = value.checked_mul(micros).ok_or(ValueError::OutOfRange)?;
    match (0..=MICROS_PER_DAY).contains(&micros) {
        true => Ok(digits.kept(micros)?.to_be_bytes()),
        false => Err(ValueError::OutOfRange),
    }
}

/// From `Struct{time, offset}` with a 32-bit offset, or from text.
pub(super) fn make_timetz(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    if Strings::is(source) && target.conversions >= Conversions::Check {
        let digits = Digits::new(source, target, TimeUnit::Nanosecond)?;
        return Ok(each_string(move |text, out| match time_of_day(text, digits.rounds())? {
            (micros, Some(offset)) => {
                let ([t0, t1, t2, t3, t4, t5, t6, t7], [z0, z1, z2, z3]) =
                    (time(digits, micros, 1)?, zone(offset)?);
                write::fixed(out, [t0, t1, t2, t3, t4, t5, t6, t7, z0, z1, z2, z3]);
                Ok(())
            }
            (_, None) => Err(ValueError::Malformed("a time with time zone has one")),
        }));
    }
    let DataType::Struct(fields) = source else { return Err(refuse(source, target)) };
    let (Some((_, time)), Some((_, offset))) = (fields.find("time"), fields.find("offset")) else {
        return Err(super::mismatch(source));
    };
    if fields.len() != 2 || *offset.data_type() != DataType::Int32 {
        return Err(super::mismatch(source));
    }
    let time = make(time.data_type(), target).map_err(|refusal| refusal.inside("time"))?;
    Ok(Box::new(Timetz { time }))
}

#[derive(Debug)]
struct Timetz {
    time: Box<dyn Encoder>,
}

impl Encoder for Timetz {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let array = array.as_struct_opt().ok_or(ValueError::WrongArray)?;
        let times = array.column_by_name("time").ok_or(ValueError::WrongArray)?.as_ref();
        Ok(Box::new(TimetzValues {
            times,
            time: self.time.bind(times)?,
            offsets: part::<Int32Type>(array, "offset")?,
        }))
    }
}

#[derive(Debug)]
struct TimetzValues<'a> {
    times: &'a dyn Array,
    time: Box<dyn Values + 'a>,
    offsets: &'a Int32Array,
}

impl Values for TimetzValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        if self.times.is_null(row) {
            return Err(ValueError::NullPart);
        }
        let zone = zone(required(self.offsets, row)?)?;
        write::measured(out, |out| {
            let start = out.len();
            self.time.write(row, out)?;
            // Removes the time's own length.
            out.drain(start..start.saturating_add(4).min(out.len()));
            out.extend_from_slice(&zone);
            Ok(())
        })
    }
}

/// Seconds west of UTC, from seconds east of it.
fn zone(east: i32) -> Result<[u8; 4], ValueError> {
    match east > -ZONE_LIMIT && east < ZONE_LIMIT {
        true => Ok((-east).to_be_bytes()),
        false => Err(ValueError::OutOfRange),
    }
}
