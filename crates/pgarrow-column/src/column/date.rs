//! `date`: days since 2000 on the wire, since 1970 in Arrow.
//!
//! Source: `date_send` in PostgreSQL's `src/backend/utils/adt/date.c`; the infinities are
//! `DATEVAL_NOBEGIN` and `DATEVAL_NOEND` in `src/include/utils/date.h`.

use arrow_array::types::Date32Type;

use crate::column::fixed::FixedWidth;
use crate::column::policy::Policies;
use crate::effect::Effect;
use crate::error::ValueError;

/// |            | PostgreSQL             | Arrow               |
/// |------------|------------------------|---------------------|
/// | width      | 4 bytes, big-endian    | 4 bytes             |
/// | unit, zero | days since 2000-01-01  | days since 1970-01-01 |
/// | range      | 4714-11-24 BC to 5874897-12-31 | more        |
/// | infinities | `i32::MIN`, `i32::MAX` | none                |
#[derive(Clone, Copy, Debug)]
pub(crate) struct Date(pub(crate) Policies);

const DAYS_1970_TO_2000: i32 = 10_957;

impl FixedWidth for Date {
    type Wire = [u8; 4];
    type Arrow = Date32Type;
    /// 1970-01-01.
    const OF_DEFAULT: Self::Wire = (-DAYS_1970_TO_2000).to_be_bytes();

    #[inline(always)]
    fn decode(self, wire: [u8; 4]) -> Result<i32, ValueError> {
        match i32::from_be_bytes(wire) {
            i32::MIN | i32::MAX => Err(ValueError::Infinite),
            since_2000 => since_2000
                .checked_add(DAYS_1970_TO_2000)
                .ok_or(ValueError::Malformed("a date after the last one of PostgreSQL")),
        }
    }

    fn reconsider(self, wire: [u8; 4], cause: ValueError) -> Result<(Option<i32>, Effect), ValueError> {
        let nearest = || if i32::from_be_bytes(wire) < 0 { i32::MIN } else { i32::MAX };
        self.0.resolve(cause, nearest)
    }
}
