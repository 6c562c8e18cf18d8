//! What a type modifier makes of integers with a scale.

use pgarrow_types::NumericType;

use super::digits::write_integer;
use crate::error::ValueError;

/// From one scale to what a numeric keeps of it: made once for a column, and for each text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rescale {
    /// Takes away the digits that the target does not have. `None` takes away all.
    divisor: Option<u128>,
    /// What the quotient has to be below. `None` if it always is.
    limit: Option<u128>,
    /// The power of ten that the quotient is multiplied with.
    exponent: i32,
    dscale: u16,
    rounds: bool,
}

impl Rescale {
    /// Of integers that are multiplied with 10^-scale.
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

    /// The integer in the target's scale: rounded half away from zero, as `round_var` does, if it may be.
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
        // 10^39 is more than twice as much as any magnitude.
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
            // Of what does not fit either way, this says more.
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

/// `None` if it is more than 128 bits hold.
fn ten_to(exponent: i32) -> Option<u128> {
    10_u128.checked_pow(u32::try_from(exponent).ok()?)
}
