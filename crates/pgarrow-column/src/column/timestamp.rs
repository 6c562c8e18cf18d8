//! `timestamp` and `timestamptz`: microseconds since 2000 on the wire, since 1970 in Arrow.
//!
//! Source: `timestamp_send` in PostgreSQL's `src/backend/utils/adt/timestamp.c`; the infinities are
//! `DT_NOBEGIN` and `DT_NOEND` in `src/include/datatype/timestamp.h`.

use arrow_array::types::TimestampMicrosecondType;

use crate::column::fixed::FixedWidth;
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp;

const MICROS_1970_TO_2000: i64 = 10_957 * 24 * 60 * 60 * 1_000_000;
const _: () = assert!(MICROS_1970_TO_2000 == 946_684_800_000_000);

impl FixedWidth for Timestamp {
    type Wire = [u8; 8];
    type Arrow = TimestampMicrosecondType;

    #[inline(always)]
    fn decode(self, wire: [u8; 8]) -> Result<i64, ValueError> {
        match i64::from_be_bytes(wire) {
            i64::MIN | i64::MAX => Err(ValueError::Infinite),
            // A legal timestamp of the last thirty years before AD 294277 does not fit.
            since_2000 => since_2000.checked_add(MICROS_1970_TO_2000).ok_or(ValueError::OutOfRange),
        }
    }
}
