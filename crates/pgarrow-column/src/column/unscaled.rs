//! From base-10000 digits to an integer count of 10^-scale.

use arrow_buffer::i256;

use crate::column::numeric::{DEC_DIGITS, Digits};
use crate::error::ValueError;

/// An integer that holds scaled values: i128 or i256.
pub(crate) trait Unscaled: Copy + Default + PartialOrd {
    fn checked_mul_add(self, factor: u32, addend: u32) -> Option<Self>;
    fn negate(self) -> Self;
    fn ten_to(exponent: u8) -> Option<Self>;

    /// The digits, without their sign, × 10^`exponent`, if this is possible at once. `None` for all others,
    /// valid or not.
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
            // The last digit has some decimal digits below the scale: zeros, since the value fits the scale.
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
/// [`ValueError::OutOfRange`] if the value is too large; otherwise [`ValueError::LostDigits`] if it has
/// digits behind the last one that the scale keeps.
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

/// The value × 10^`scale`, rounded half away from zero; `limit` is 10^precision.
///
/// Source: `round_var` in PostgreSQL's `src/backend/utils/adt/numeric.c`.
///
/// # Errors
///
/// [`ValueError::OutOfRange`] if the rounded value is too large.
pub(crate) fn rounded<N: Unscaled>(digits: &Digits<'_>, scale: u8, limit: N) -> Result<N, ValueError> {
    let mut value = N::default();
    let mut exponent = DEC_DIGITS * digits.weight + i32::from(scale);
    let mut rounds_up = false;
    for digit in digits.iter() {
        let digit = u32::from(digit);
        let (factor, kept) = match exponent {
            0.. => (10_000, digit),
            // Only the first decimal digits of this one are kept.
            -3..=-1 => {
                let divisor = 10_u32.pow(exponent.unsigned_abs());
                rounds_up = 2 * (digit % divisor) >= divisor;
                (10_000 / divisor, digit / divisor)
            }
            // No decimal digit is kept. The first may be the one behind the last kept digit.
            _ => {
                rounds_up = exponent == -DEC_DIGITS && digit >= 5_000;
                break;
            }
        };
        value = value.checked_mul_add(factor, kept).ok_or(ValueError::OutOfRange)?;
        exponent -= DEC_DIGITS;
        if exponent < -DEC_DIGITS {
            break;
        }
    }
    // Zeros that were not sent.
    while exponent > -DEC_DIGITS && value > N::default() {
        let power = (exponent + DEC_DIGITS).clamp(0, DEC_DIGITS);
        value = value.checked_mul_add(10_u32.pow(power.unsigned_abs()), 0).ok_or(ValueError::OutOfRange)?;
        exponent -= DEC_DIGITS;
    }
    if rounds_up {
        value = value.checked_mul_add(1, 1).ok_or(ValueError::OutOfRange)?;
    }
    if value >= limit {
        return Err(ValueError::OutOfRange);
    }
    Ok(if digits.is_negative { value.negate() } else { value })
}

/// As [`unscaled`], without sign, for all values. The limit only chooses the error.
fn digit_by_digit<N: Unscaled>(digits: &Digits<'_>, scale: u8, limit: N) -> Result<N, ValueError> {
    // The kept part is complete when a lost digit comes: digits come from the largest on.
    let lost = |kept: N| if kept >= limit { ValueError::OutOfRange } else { ValueError::LostDigits };
    let n_digits = digits.iter().len();
    let trailing_zeros = digits.iter().rev().take_while(|digit| *digit == 0).count();
    let n_significant = n_digits - trailing_zeros;
    let mut value = N::default();
    // The exponent of 10 for each digit. Above zero, the following digits are zeros that were not sent. Below
    // zero, the digit must be divided, without a remainder.
    let mut exponent = DEC_DIGITS * digits.weight + i32::from(scale);
    for digit in digits.iter().take(n_significant) {
        let digit = u32::from(digit);
        value = match exponent {
            0.. => value.checked_mul_add(10_000, digit),
            // The value takes 4 + exponent more decimal digits; the others of this base-10000 digit must be
            // zero.
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
        // The factor that the last digit still needs. A value of 0 is complete with any exponent.
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

    /// Base-10000 digits; `weight` is that of the first.
    fn wire(is_negative: bool, weight: i16, digits: &[u16]) -> Vec<u8> {
        let sign = if is_negative { 0x4000 } else { 0 };
        let header = [digits.len() as u16, weight as u16, sign, 0];
        header.iter().chain(digits).flat_map(|number| number.to_be_bytes()).collect()
    }

    fn parsed(wire: &[u8]) -> Digits<'_> {
        let Numeric::Finite(digits) = Numeric::parse(wire).unwrap() else { panic!("not finite") };
        digits
    }

    /// As PostgreSQL's `round(numeric, scale)`.
    #[test]
    fn rounding_is_half_away_from_zero() {
        for (digits, weight, scale, expected) in [
            // 2.5, 2.4999, 0.5, 0.49999999, 0.00005, 0.00004999
            (&[2, 5000][..], 0, 0, 3),
            (&[2, 4999], 0, 0, 2),
            (&[5000], -1, 0, 1),
            (&[4999, 9999], -1, 0, 0),
            (&[5000], -2, 4, 1),
            (&[4999], -2, 4, 0),
            // 1.005, 1.00499999, 1.0049, 99.995, 1.2345
            (&[1, 50], 0, 2, 101),
            (&[1, 49, 9999], 0, 2, 100),
            (&[1, 49], 0, 2, 100),
            (&[99, 9950], 0, 2, 10_000),
            (&[1, 2345], 0, 3, 1_235),
            // Zeros that were not sent, before and after the point.
            (&[12], 1, 2, 12_000_000),
            (&[12], 2, 0, 1_200_000_000),
            (&[12], 0, 9, 12_000_000_000),
            (&[], 0, 2, 0),
            (&[0, 0, 9], 0, 2, 0),
            (&[7], -5, 2, 0),
        ] {
            for is_negative in [false, true] {
                let expected = if is_negative { -expected } else { expected };
                let wire = wire(is_negative, weight, digits);
                assert_eq!(
                    rounded(&parsed(&wire), scale, i128::MAX),
                    Ok(expected),
                    "{digits:?} {weight} {scale}"
                );
                let wide = rounded(&parsed(&wire), scale, i256::MAX);
                assert_eq!(wide, Ok(i256::from_i128(expected)), "{digits:?} {weight} {scale}");
            }
        }
        // 9.99 rounded has a digit more; 10^40 has too many from the start.
        let limit = |wire: &[u8]| rounded(&parsed(wire), 1, 100_i128);
        assert_eq!(limit(&wire(false, 0, &[9, 9400])), Ok(99));
        assert_eq!(limit(&wire(false, 0, &[9, 9900])), Err(ValueError::OutOfRange));
        assert_eq!(limit(&wire(false, 10, &[1])), Err(ValueError::OutOfRange));
    }

    proptest! {
        #[test]
        fn rounding_is_that_of_integers(
            digits in prop::collection::vec(prop_oneof![Just(0), Just(9999), Just(5000), 0..10_000_u16], 0..5),
            scale in 0..9_u8,
            is_negative: bool,
        ) {
            // The last digit is in units of 10^-8.
            let weight = digits.len() as i16 - 3;
            let all = digits.iter().fold(0_i128, |all, digit| all * 10_000 + i128::from(*digit));
            let divisor = 10_i128.pow(8 - u32::from(scale));
            let expected = (all + divisor / 2) / divisor;
            let wire = wire(is_negative, weight, &digits);
            let found = rounded(&parsed(&wire), scale, i128::MAX).unwrap();
            prop_assert_eq!(found, if is_negative { -expected } else { expected });
            // If nothing is lost, the value is unchanged.
            if let Ok(exact) = unscaled(&parsed(&wire), scale, i128::MAX) {
                prop_assert_eq!(found, exact);
            }
        }

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
