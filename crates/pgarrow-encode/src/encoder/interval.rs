//! `interval_recv`: microseconds, days and months, none normalised into another.
//!
//! ```text
//! i64 microseconds │ i32 days │ i32 months        16 bytes, big-endian
//! ```
//!
//! It rounds and cuts by the type's modifier (`AdjustIntervalForTypmod`), so this is checked here. Since
//! PostgreSQL 17, all three at their minimum or maximum mean ∓infinity. No Arrow interval means infinity, so
//! these values are out of range. Before, they are the smallest and the largest interval.
//!
//! Source: `interval_recv`, `AdjustIntervalForTypmod` in PostgreSQL's `src/backend/utils/adt/timestamp.c`;
//! `INTERVAL_NOBEGIN` in `src/include/datatype/timestamp.h`.

mod modifier;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Int32Type,
    Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType,
};
use arrow_array::{Array, Int32Array, Int64Array};
use arrow_schema::{DataType, Fields, IntervalUnit, TimeUnit};

use self::modifier::Modifier;
use super::each::fixed;
use super::{Encoder, Values, refuse};
use crate::access::{part, required};
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

/// PostgreSQL's three parts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Interval {
    months: i32,
    days: i32,
    micros: i64,
}

pub(super) fn make(
    source: &DataType,
    target: TypeTarget<'_>,
    has_infinities: bool,
) -> Result<Box<dyn Encoder>, Refusal> {
    let unit = match source {
        DataType::Duration(unit) => *unit,
        DataType::Interval(IntervalUnit::YearMonth) => TimeUnit::Second,
        DataType::Interval(IntervalUnit::DayTime) => TimeUnit::Millisecond,
        DataType::Interval(IntervalUnit::MonthDayNano) => TimeUnit::Nanosecond,
        DataType::Struct(fields) if is_struct_of_parts(fields) => TimeUnit::Microsecond,
        _ => return Err(refuse(source, target)),
    };
    let modifier = Modifier::new(source, target, unit)?;
    let wire = Wire { modifier, has_infinities };
    let duration = move |value: i64, micros: i64| {
        let micros = value.checked_mul(micros).ok_or(ValueError::OutOfRange)?;
        wire.encode(Interval { months: 0, days: 0, micros })
    };
    Ok(match source {
        DataType::Duration(TimeUnit::Second) => {
            fixed::<DurationSecondType, 16>(source, move |value| duration(value, 1_000_000))
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            fixed::<DurationMillisecondType, 16>(source, move |value| duration(value, 1_000))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            fixed::<DurationMicrosecondType, 16>(source, move |value| duration(value, 1))
        }
        DataType::Duration(TimeUnit::Nanosecond) => {
            fixed::<DurationNanosecondType, 16>(source, move |value| {
                duration(modifier.digits.micros_of_nanos(value)?, 1)
            })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            fixed::<IntervalYearMonthType, 16>(source, move |months| {
                wire.encode(Interval { months, days: 0, micros: 0 })
            })
        }
        DataType::Interval(IntervalUnit::DayTime) => fixed::<IntervalDayTimeType, 16>(source, move |value| {
            let micros = i64::from(value.milliseconds) * 1_000;
            wire.encode(Interval { months: 0, days: value.days, micros })
        }),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            fixed::<IntervalMonthDayNanoType, 16>(source, move |value| {
                // The values of saturated infinities.
                if matches!((value.months, value.days), (i32::MIN, i32::MIN) | (i32::MAX, i32::MAX))
                    && matches!(value.nanoseconds, i64::MIN | i64::MAX)
                {
                    return Err(ValueError::OutOfRange);
                }
                let micros = modifier.digits.micros_of_nanos(value.nanoseconds)?;
                wire.encode(Interval { months: value.months, days: value.days, micros })
            })
        }
        _ => Box::new(Parts(wire)),
    })
}

/// The form of the target.
#[derive(Clone, Copy, Debug)]
struct Wire {
    modifier: Modifier,
    has_infinities: bool,
}

impl Wire {
    fn encode(self, interval: Interval) -> Result<[u8; 16], ValueError> {
        let Interval { months, days, micros } = self.modifier.kept(interval)?;
        let is_extreme =
            matches!((months, days, micros), (i32::MIN, i32::MIN, i64::MIN) | (i32::MAX, i32::MAX, i64::MAX));
        if is_extreme && self.has_infinities {
            return Err(ValueError::OutOfRange);
        }
        let mut wire = [0; 16];
        for (place, byte) in wire
            .iter_mut()
            .zip(micros.to_be_bytes().into_iter().chain(days.to_be_bytes()).chain(months.to_be_bytes()))
        {
            *place = byte;
        }
        Ok(wire)
    }
}

/// `Struct{months, days, microseconds}`.
fn is_struct_of_parts(fields: &Fields) -> bool {
    let is = |name, data_type| fields.find(name).is_some_and(|(_, field)| *field.data_type() == data_type);
    fields.len() == 3
        && is("months", DataType::Int32)
        && is("days", DataType::Int32)
        && is("microseconds", DataType::Int64)
}

#[derive(Debug)]
struct Parts(Wire);

impl Encoder for Parts {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let array = array.as_struct_opt().ok_or(ValueError::WrongArray)?;
        Ok(Box::new(PartsValues {
            wire: self.0,
            months: part::<Int32Type>(array, "months")?,
            days: part::<Int32Type>(array, "days")?,
            micros: part::<Int64Type>(array, "microseconds")?,
        }))
    }
}

#[derive(Debug)]
struct PartsValues<'a> {
    wire: Wire,
    months: &'a Int32Array,
    days: &'a Int32Array,
    micros: &'a Int64Array,
}

impl Values for PartsValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let interval = Interval {
            months: required(self.months, row)?,
            days: required(self.days, row)?,
            micros: required(self.micros, row)?,
        };
        write::fixed(out, self.wire.encode(interval)?);
        Ok(())
    }
}
