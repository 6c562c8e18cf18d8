//! Applies a type modifier to integers with a scale.

use pgarrow_types::NumericType;

use super::digits::write_integer;
use crate::error::ValueError;

/// From one scale to the scale that a numeric keeps: made once for a column, and for each text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rescale {
    /// Removes the digits that the target does not have. `None` removes all digits.
    divisor: Option<u128>,
    /// The quotient must be below this. `None` if it always is.
    limit: Option<u128>,
    /// The quotient is multiplied by ten to this power.
    exponent: i32,
    dscale: u16,
    rounds: bool,
}

impl Rescale {
    /// For integers × 10^-scale.
    pub(super) fn new(numeric: NumericType, scale: i32, rounds: bool) -> Self {
        match numeric {
            NumericType::Unconstrained => Self {
                divisor: Some(1),
                limit: None,
                exponent: -scale,
                dscale: u16::try_from(scale).unwrap_or(0),
                rounds,
            },
            NumericType::Declared { precision, scale: declared } => {
                let (precision, declared) = (i32::from(precision), i32::from(declared));
                let lost = (scale - declared).max(0);
                let kept_scale = scale - lost;
                Self {
                    divisor: ten_to(lost),
                    limit: ten_to((precision - declared + kept_scale).max(0)),
                    exponent: -kept_scale,
                    dscale: u16::try_from(declared).unwrap_or(0),
                    rounds,
                }
            }
        }
    }

    /// The integer in the target's scale, rounded half away from zero as in `round_var`, if rounding is
    /// allowed.
    #[inline]
    pub(super) fn quotient(self, magnitude: u128) -> Result<u128, ValueError> {
        let quotient = match self.divisor {
            Some(1) => magnitude,
            _ => self.rounded(magnitude)?,
        };
        match self.limit.is_some_and(|limit| quotient >= limit) {
            true => Err(ValueError::OutOfRange),
            false => Ok(quotient),
        }
    }

    fn rounded(self, magnitude: u128) -> Result<u128, ValueError> {
        // 10^39 is more than twice any magnitude.
        let (quotient, rest, is_up) = match self.divisor {
            None => (0, magnitude, false),
            Some(divisor) => {
                let rest = magnitude % divisor;
                (magnitude / divisor, rest, rest >= divisor - rest)
            }
        };
        match (rest, self.rounds) {
            (0, _) => Ok(quotient),
            (_, true) => Ok(quotient + u128::from(is_up)),
            // If the value also exceeds the range, this error says more.
            (_, false) if self.limit.is_some_and(|limit| quotient >= limit) => Err(ValueError::OutOfRange),
            (_, false) => Err(ValueError::LostDigits),
        }
    }

    /// Appends the value and its length.
    #[inline]
    pub(super) fn write(
        self,
        is_negative: bool,
        magnitude: u128,
        out: &mut Vec<u8>,
    ) -> Result<(), ValueError> {
        write_integer(is_negative, self.quotient(magnitude)?, self.exponent, self.dscale, out)
    }
}

/// `None` if it does not fit 128 bits.
fn ten_to(exponent: i32) -> Option<u128> {
    10_u128.checked_pow(u32::try_from(exponent).ok()?)
}
