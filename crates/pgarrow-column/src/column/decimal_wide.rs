//! The quick way for decimals of five to ten base-10000 digits.

use std::num::NonZeroU32;

use crate::column::numeric::{combined, has_wrong_digit};

/// Bytes of a value's length, its header and so many digits.
pub(crate) const WIDE_BYTES: usize = 4 + 8 + 2 * 10;
/// Where the first digit is.
const DIGITS_AT: usize = 4 + 8;

/// The first n of four 16-bit lanes.
const FIRST_LANES: [u64; 5] = [0, !0 << 48, !0 << 32, !0 << 16, !0];
/// The last n of them.
const LAST_LANES: [u64; 5] = [0, !0 >> 48, !0 >> 32, !0 >> 16, !0];

/// The digits before the last one that the scale needs are two words of four, and one more:
///
/// ```text
///  digits   0 │ 1 2 3 4 │ 5 6 7 8 │ 9      the first may be missing, and the last
///         high   middle     low    last
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wide {
    /// Base-10000 digits behind the point, and one: ⌈scale / 4⌉ + 1.
    fraction_digits: i32,
    /// 10 to the decimal digits that the last digit has below the scale,
    below_scale: NonZeroU32,
    /// and to those that it has above it.
    above_scale: u64,
    /// 10 to the precision.
    limit: u128,
}

impl Wide {
    pub(crate) fn new(precision: u8, scale: u8) -> Self {
        let n_below = u32::from(scale).next_multiple_of(4) - u32::from(scale);
        Self {
            fraction_digits: i32::from(scale.div_ceil(4)) + 1,
            below_scale: NonZeroU32::MIN.saturating_add(9).saturating_pow(n_below),
            above_scale: 10_u64.pow(4 - n_below),
            limit: 10_u128.pow(u32::from(precision).min(38)),
        }
    }

    /// `framed` is a value's length, header and first ten digits (or the bytes behind the value). Returns the
    /// bytes of length and value, and the value. `None` for all others, valid or not.
    #[inline(always)]
    pub(crate) fn decode(&self, framed: &[u8; WIDE_BYTES]) -> Option<(u32, i128)> {
        let [l0, l1, l2, l3, n0, n1, w0, w1, s0, s1, d0, d1, ..] = *framed;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let n_digits = usize::from(u16::from_be_bytes([n0, n1]));
        let weight = i32::from(i16::from_be_bytes([w0, w1]));
        let sign_and_dscale = u32::from_be_bytes([s0, s1, d0, d1]);
        let n_needed = usize::try_from(weight + self.fraction_digits).ok()?;
        // Digits that are not stored are zeros; here, only low ones may be.
        let n_before_last = n_needed.wrapping_sub(1);
        if !(4..=9).contains(&n_before_last) || n_digits > n_needed || n_digits + 4 < n_before_last {
            return None;
        }
        if length as usize != 8 + 2 * n_digits || sign_and_dscale & !0x4000_3fff != 0 {
            return None;
        }
        let word = |digit: usize| {
            let at = DIGITS_AT + 2 * n_before_last - 2 * digit;
            let word = framed.get(at..at + 8)?.first_chunk::<8>()?;
            Some(u64::from_be_bytes(*word))
        };
        let low = word(4)? & FIRST_LANES.get((n_digits + 4 - n_before_last).min(4))?;
        let middle = word(8)? & LAST_LANES.get((n_before_last - 4).min(4))?;
        let digit = |is_there: bool, index: usize| {
            let at = DIGITS_AT + 2 * index;
            let digit = framed.get(at..at + 2)?.first_chunk::<2>()?;
            Some(u32::from(u16::from_be_bytes(*digit)) * u32::from(is_there))
        };
        let (high, last) = (digit(n_before_last == 9, 0)?, digit(n_digits == n_needed, n_before_last)?);
        if has_wrong_digit(low) || has_wrong_digit(middle) || high > 9999 || last > 9999 {
            return None;
        }
        let before_last = (u128::from(high) * 10_000_000_000_000_000 + u128::from(combined(middle)))
            * 10_000_000_000_000_000
            + u128::from(combined(low));
        let (kept, lost) = (last / self.below_scale, last % self.below_scale);
        if lost != 0 || before_last > u128::MAX / 10_000 - 1 {
            return None;
        }
        let magnitude = before_last * u128::from(self.above_scale) + u128::from(kept);
        if magnitude >= self.limit {
            return None;
        }
        let value = magnitude.cast_signed();
        let is_negative = sign_and_dscale & 0x4000_0000 != 0;
        Some((4 + length, if is_negative { -value } else { value }))
    }
}
