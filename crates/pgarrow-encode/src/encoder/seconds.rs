//! Digits of a second: those that a type keeps, and those of a unit.
//!
//! Source: `AdjustTimeForTypmod`, `AdjustTimestampForTypmod` and `AdjustIntervalForTypmod` in PostgreSQL's
//! `src/backend/utils/adt/`, which all round half away from zero.

use arrow_schema::{DataType, TimeUnit};

use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, ValueError};

/// The kept part of microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digits {
    /// The smallest kept time, in microseconds.
    step: i64,
    rounds: bool,
}

impl Digits {
    /// For a time, a timestamp or their kin, from values of this unit.
    pub(super) fn new(source: &DataType, target: TypeTarget<'_>, unit: TimeUnit) -> Result<Self, Refusal> {
        Self::of(target.declared.second_digits(), source, target, unit)
    }

    /// For a type that keeps `kept` digits.
    pub(super) fn of(
        kept: u8,
        source: &DataType,
        target: TypeTarget<'_>,
        unit: TimeUnit,
    ) -> Result<Self, Refusal> {
        let has = match unit {
            TimeUnit::Second => 0,
            TimeUnit::Millisecond => 3,
            TimeUnit::Microsecond => 6,
            TimeUnit::Nanosecond => 9,
        };
        if has > kept && target.conversions < Conversions::Check {
            let why =
                format!("{source} may have more than the {kept} digits of a second that the column keeps");
            return Err(Refusal::needs_check(why));
        }
        let step = 10_i64.pow(u32::from(6_u8.saturating_sub(kept)));
        Ok(Self { step, rounds: target.conversions >= Conversions::Round })
    }

    /// Whether digits may be rounded away.
    pub(super) fn rounds(self) -> bool {
        self.rounds
    }

    /// Microseconds without the digits that the type does not keep.
    #[inline]
    pub(super) fn kept(self, micros: i64) -> Result<i64, ValueError> {
        match self.step {
            1 => Ok(micros),
            step => {
                self.rounded(micros, step).and_then(|n| n.checked_mul(step).ok_or(ValueError::OutOfRange))
            }
        }
    }

    /// Nanoseconds in microseconds.
    #[inline]
    pub(super) fn micros_of_nanos(self, nanos: i64) -> Result<i64, ValueError> {
        self.rounded(nanos, 1_000)
    }

    #[inline]
    fn rounded(self, value: i64, step: i64) -> Result<i64, ValueError> {
        let (quotient, rest) = (value / step, value % step);
        match (rest, self.rounds) {
            (0, _) => Ok(quotient),
            (_, false) => Err(ValueError::LostDigits),
            (_, true) if rest.abs() < step - rest.abs() => Ok(quotient),
            (_, true) => Ok(quotient + value.signum()),
        }
    }
}
