//! `timestamp` and `timestamptz`: microseconds since 2000 on the wire, since 1970 in Arrow.
//!
//! Source: `timestamp_send` in PostgreSQL's `src/backend/utils/adt/timestamp.c`; the infinities are
//! `DT_NOBEGIN` and `DT_NOEND` in `src/include/datatype/timestamp.h`.

use std::fmt;
use std::marker::PhantomData;

use arrow_array::types::{
    ArrowTimestampType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};

use crate::column::fixed::FixedWidth;
use crate::column::policy::Policies;
use crate::effect::Effect;
use crate::error::ValueError;

/// Both PostgreSQL timestamp types; their bits are the same.
///
/// |            | PostgreSQL               | Arrow                      |
/// |------------|--------------------------|----------------------------|
/// | width      | 8 bytes, big-endian      | 8 bytes                    |
/// | unit       | microseconds             | microseconds               |
/// | zero       | 2000-01-01 00:00:00      | 1970-01-01 00:00:00        |
/// | last value | AD 294276-12-31          | AD 294247-01-10            |
/// | infinities | `i64::MIN`, `i64::MAX`   | none                       |
///
/// Whether the instant is in UTC is a property of the column's Arrow type, not of this decoder.
pub(crate) struct Timestamp<U> {
    policies: Policies,
    unit: PhantomData<fn() -> U>,
}

impl<U> Clone for Timestamp<U> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<U> Copy for Timestamp<U> {}

impl<U: ArrowTimestampType> fmt::Debug for Timestamp<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({:?}, {:?})", U::UNIT, self.policies)
    }
}

impl<U> Timestamp<U> {
    pub(crate) fn new(policies: Policies) -> Self {
        Self { policies, unit: PhantomData }
    }
}

/// A unit of Arrow timestamps.
pub(crate) trait Unit: ArrowTimestampType {
    /// Converts PostgreSQL's microseconds since 2000.
    fn since_1970(micros_since_2000: i64) -> Result<i64, ValueError>;
}

impl Unit for TimestampMicrosecondType {
    #[inline(always)]
    fn since_1970(micros_since_2000: i64) -> Result<i64, ValueError> {
        // A legal timestamp of the last thirty years before AD 294277 does not fit.
        micros_since_2000.checked_add(MICROS_1970_TO_2000).ok_or(ValueError::OutOfRange)
    }
}

impl Unit for TimestampMillisecondType {
    #[inline(always)]
    fn since_1970(micros_since_2000: i64) -> Result<i64, ValueError> {
        match micros_since_2000 % 1_000 {
            0 => Ok(micros_since_2000 / 1_000 + MICROS_1970_TO_2000 / 1_000),
            _ => Err(ValueError::LostDigits),
        }
    }
}

impl Unit for TimestampNanosecondType {
    #[inline(always)]
    fn since_1970(micros_since_2000: i64) -> Result<i64, ValueError> {
        let micros = TimestampMicrosecondType::since_1970(micros_since_2000)?;
        micros.checked_mul(1_000).ok_or(ValueError::OutOfRange)
    }
}

/// Rounds to the nearest millisecond, halves away from 2000, as a `timestamp(3)` does. No overflow:
/// timestamps end in 294276.
///
/// Source: `AdjustTimestampForTypmod` in PostgreSQL's `src/backend/utils/adt/timestamp.c`.
fn rounded_to_millis(micros_since_2000: i64) -> i64 {
    let half = if micros_since_2000 < 0 { -500 } else { 500 };
    micros_since_2000.saturating_add(half) / 1_000 * 1_000
}

const MICROS_1970_TO_2000: i64 = 10_957 * 24 * 60 * 60 * 1_000_000;
const _: () = assert!(MICROS_1970_TO_2000 == 946_684_800_000_000);

impl<U: Unit> FixedWidth for Timestamp<U> {
    type Wire = [u8; 8];
    type Arrow = U;
    /// 1970-01-01.
    const OF_DEFAULT: Self::Wire = (-946_684_800_000_000_i64).to_be_bytes();

    #[inline(always)]
    fn decode(self, wire: [u8; 8]) -> Result<i64, ValueError> {
        match i64::from_be_bytes(wire) {
            i64::MIN | i64::MAX => Err(ValueError::Infinite),
            since_2000 => U::since_1970(since_2000),
        }
    }

    fn reconsider(self, wire: [u8; 8], cause: ValueError) -> Result<(Option<i64>, Effect), ValueError> {
        let since_2000 = i64::from_be_bytes(wire);
        if self.policies.rounds(cause) {
            return Ok((Some(U::since_1970(rounded_to_millis(since_2000))?), Effect::Rounded));
        }
        // Times after the largest are out of range; for nanoseconds also times before the smallest.
        let is_before = since_2000 == i64::MIN || since_2000 < -MICROS_1970_TO_2000;
        self.policies.resolve(cause, || if is_before { i64::MIN } else { i64::MAX })
    }
}
