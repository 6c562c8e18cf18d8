//! The parts of an interval that its type modifier keeps: `interval day to second(3)`.
//!
//! ```text
//! bits 16 to 30: the fields │ bits 0 to 15: digits of a second, 0xffff for all
//! ```
//!
//! Source: `AdjustIntervalForTypmod` in PostgreSQL's `src/backend/utils/adt/timestamp.c`;
//! `INTERVAL_FULL_RANGE` and its kin in `src/include/utils/timestamp.h`; the numbers of the fields in
//! `src/include/utils/datetime.h`.

use arrow_schema::{DataType, TimeUnit};

use super::Interval;
use crate::encode_target::{Conversions, TypeTarget};
use crate::encoder::seconds::Digits;
use crate::error::{Refusal, ValueError};

const MONTH: i32 = 1 << 1;
const YEAR: i32 = 1 << 2;
const DAY: i32 = 1 << 3;
const HOUR: i32 = 1 << 10;
const MINUTE: i32 = 1 << 11;

const MICROS_PER_MINUTE: i64 = 60 * 1_000_000;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;

#[derive(Clone, Copy, Debug)]
pub(super) struct Modifier {
    pub(super) digits: Digits,
    smallest: Smallest,
    rounds: bool,
}

/// The smallest field that the modifier keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Smallest {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

impl Modifier {
    pub(super) fn new(source: &DataType, target: TypeTarget<'_>, unit: TimeUnit) -> Result<Self, Refusal> {
        const ALL: i32 = 0x7fff;
        let (fields, digits) = match target.declared.type_modifier {
            ..0 => (ALL, 6),
            modifier => {
                (modifier >> 16 & ALL, u8::try_from(modifier & 0xffff).map_or(6, |digits| digits.min(6)))
            }
        };
        // Ranges with a larger first field have the same smallest field.
        let smallest = match fields {
            YEAR => Smallest::Year,
            _ if fields & !(YEAR | MONTH) == 0 => Smallest::Month,
            DAY => Smallest::Day,
            _ if fields & !(DAY | HOUR) == 0 => Smallest::Hour,
            _ if fields & !(DAY | HOUR | MINUTE) == 0 => Smallest::Minute,
            _ => Smallest::Second,
        };
        if smallest != Smallest::Second && target.conversions < Conversions::Check {
            let why = format!("{source} may have fields that the column's interval does not keep");
            return Err(Refusal::needs_check(why));
        }
        let digits = Digits::of(digits, source, target, unit)?;
        Ok(Self { digits, smallest, rounds: target.conversions >= Conversions::Round })
    }

    /// The kept fields. Smaller fields are cut off; without rounding, they must be zero.
    #[inline]
    pub(super) fn kept(self, interval: Interval) -> Result<Interval, ValueError> {
        let Interval { months, days, micros } = interval;
        let cut = match self.smallest {
            Smallest::Second => return Ok(Interval { micros: self.digits.kept(micros)?, ..interval }),
            Smallest::Year => Interval { months: months / 12 * 12, days: 0, micros: 0 },
            Smallest::Month => Interval { months, days: 0, micros: 0 },
            Smallest::Day => Interval { months, days, micros: 0 },
            Smallest::Hour => Interval { micros: micros / MICROS_PER_HOUR * MICROS_PER_HOUR, ..interval },
            Smallest::Minute => {
                Interval { micros: micros / MICROS_PER_MINUTE * MICROS_PER_MINUTE, ..interval }
            }
        };
        match self.rounds || cut == interval {
            true => Ok(cut),
            false => Err(ValueError::LostDigits),
        }
    }
}
