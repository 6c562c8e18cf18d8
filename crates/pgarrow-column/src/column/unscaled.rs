//! From base-10000 digits to an integer count of 10^-scale.

use arrow_buffer::i256;

use crate::column::numeric::{DEC_DIGITS, Digits};
use crate::error::ValueError;

/// An integer that holds scaled values: i128 or i256.
pub(crate) trait Unscaled: Copy + Default + PartialOrd {
    fn checked_mul_add(self, factor: u32, addend: u32) -> Option<Self>;
    fn negate(self) -> Self;
    fn ten_to(exponent: u8) -> Option<Self>;

    /// The digits, without their sign, × 10^`exponent`, for those that can be had at once. `None` says nothing of the
    /// others.
    fn quickly(digits: &Digits<'_>, exponent: i32) -> Option<Self> {
        let _ = (digits, exponent);
        None
    }
}

impl Unscaled for i128 {
    #[inline]
    fn checked_mul_add(self, factor: u32, addend: u32) -> Option<Self> {
        self.checked_mul(factor.into())?.checked_add(addend.into())
    }
    fn negate(self) -> Self {
        -self
    }
    fn ten_to(exponent: u8) -> Option<Self> {
        10_i128.checked_pow(exponent.into())
    }

    fn quickly(digits: &Digits<'_>, exponent: i32) -> Option<Self> {
        let magnitude = match exponent {
            0.. => {
                let factor = *POWERS_OF_10.get(usize::try_from(exponent).ok()?)?;
                digits.integer(0)?.checked_mul(factor.into())?
            }
            // Of the last digit some decimal digits are below the scale: zeros, as all that is there fits the scale.
            -3..=-1 => {
                let divisor = u16::try_from(*POWERS_OF_10.get(usize::try_from(-exponent).ok()?)?).ok()?;
                let factor = *POWERS_OF_10.get(usize::try_from(DEC_DIGITS + exponent).ok()?)?;
                let last = digits.iter().next_back()?;
                if last % divisor != 0 {
                    return None;
                }
                digits.integer(1)?.checked_mul(factor.into())?.checked_add((last / divisor).into())?
            }
            _ => return None,
        };
        Self::try_from(magnitude).ok()
    }
}

const POWERS_OF_10: [u64; 17] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
    1_000_000_000,
    10_000_000_000,
    100_000_000_000,
    1_000_000_000_000,
    10_000_000_000_000,
    100_000_000_000_000,
    1_000_000_000_000_000,
    10_000_000_000_000_000,
];

impl Unscaled for i256 {
    #[inline]
    fn checked_mul_add(self, factor: u32, addend: u32) -> Option<Self> {
        self.checked_mul(Self::from(i64::from(factor)))?.checked_add(Self::from(i64::from(addend)))
    }
    fn negate(self) -> Self {
        self.wrapping_neg()
    }
    fn ten_to(exponent: u8) -> Option<Self> {
        Self::from(10_i64).checked_pow(exponent.into())
    }
}

/// The value × 10^`scale`, exactly; `limit` is 10^precision.
///
/// # Errors
///
/// [`ValueError::OutOfRange`] if the value is too large, [`ValueError::LostDigits`] if it is not, but has digits behind
/// the last one that the scale keeps.
pub(crate) fn unscaled<N: Unscaled>(digits: &Digits<'_>, scale: u8, limit: N) -> Result<N, ValueError> {
    let n_digits = i32::try_from(digits.iter().len()).unwrap_or(i32::MAX);
    let last_exponent = DEC_DIGITS * (digits.weight - n_digits + 1) + i32::from(scale);
    let value = match N::quickly(digits, last_exponent) {
        Some(value) => value,
        None => digit_by_digit(digits, scale, limit)?,
    };
    if value >= limit {
        return Err(ValueError::OutOfRange);
    }
    Ok(if digits.is_negative { value.negate() } else { value })
}

/// As [`unscaled`], without sign, for all values; the limit only tells one error from the other.
fn digit_by_digit<N: Unscaled>(digits: &Digits<'_>, scale: u8, limit: N) -> Result<N, ValueError> {
    // What is kept of a value that has more digits is complete when they come: digits are taken from the largest on.
    let lost = |kept: N| if kept >= limit { ValueError::OutOfRange } else { ValueError::LostDigits };
    let n_digits = digits.iter().len();
    let trailing_zeros = digits.iter().rev().take_while(|digit| *digit == 0).count();
    let n_significant = n_digits - trailing_zeros;
    let mut value = N::default();
    // The exponent of 10 that each digit is to be multiplied with. Above zero, the digits that follow
    // are zeros that were not sent; below, the digit has to be divided, and zeros come out.
    let mut exponent = DEC_DIGITS * digits.weight + i32::from(scale);
    for digit in digits.iter().take(n_significant) {
        let digit = u32::from(digit);
        value = match exponent {
            0.. => value.checked_mul_add(10_000, digit),
            // 10^4 × 10^exponent more digits fit; the others of this base-10000 digit must be zero.
            -3..=-1 => {
                let divisor = 10_u32.pow(exponent.unsigned_abs());
                let kept = value.checked_mul_add(10_000 / divisor, digit / divisor);
                if let (Some(kept), 1..) = (kept, digit % divisor) {
                    return Err(lost(kept));
                }
                kept
            }
            _ => return Err(lost(value)),
        }
        .ok_or(ValueError::OutOfRange)?;
        exponent -= DEC_DIGITS;
    }
    if n_significant > 0 {
        // What the last digit is still to be multiplied with. A value of 0 is done at any exponent.
        for power in std::iter::repeat_n(4, usize::try_from((exponent + DEC_DIGITS) / 4).unwrap_or(0))
            .chain(std::iter::once(u32::try_from((exponent + DEC_DIGITS).max(0) % 4).unwrap_or(0)))
        {
            value = value.checked_mul_add(10_u32.pow(power), 0).ok_or(ValueError::OutOfRange)?;
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::column::numeric::Numeric;

    proptest! {
        #[test]
        fn the_quick_way_is_the_slow_one(
            digits in prop::collection::vec(prop_oneof![Just(0), Just(9999), 0..10_000_u16, (0..100_u16).prop_map(|d| 100 * d)], 0..12),
            weight in -6..8_i16,
            scale in 0..39_u8,
        ) {
            let mut wire: Vec<u8> = Vec::new();
            for number in [digits.len() as u16, weight as u16, 0, 0].iter().chain(&digits) {
                wire.extend(number.to_be_bytes());
            }
            let Numeric::Finite(parsed) = Numeric::parse(&wire).unwrap() else { panic!("not finite") };
            let exponent = DEC_DIGITS * (i32::from(weight) - digits.len() as i32 + 1) + i32::from(scale);
            if let Some(quick) = i128::quickly(&parsed, exponent) {
                prop_assert_eq!(digit_by_digit(&parsed, scale, i128::MAX).unwrap(), quick);
            } else if digits.len() <= 8 && (0..=4).contains(&exponent) {
                prop_assert!(false, "no quick way");
            }
        }
    }
}
