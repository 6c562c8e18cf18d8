//! Access to Arrow's four decimals in one way: an integer, and its number of digits behind the point.

use std::fmt;

use arrow_array::types::{Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type};
use arrow_buffer::i256;
use arrow_schema::DataType;

use super::each::each;
use super::{Encoder, mismatch};
use crate::error::{Refusal, ValueError};

/// The integer of a decimal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unscaled {
    Small(i128),
    /// Beyond 128 bits.
    Large(i256),
}

/// Precision and scale of a decimal.
pub(super) fn precision_and_scale(source: &DataType) -> Option<(u8, i8)> {
    match source {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// Decimal digits of an integer type's longest value.
pub(super) fn digits_of_integer(source: &DataType) -> Option<u8> {
    Some(match source {
        DataType::Int8 | DataType::UInt8 => 3,
        DataType::Int16 | DataType::UInt16 => 5,
        DataType::Int32 | DataType::UInt32 => 10,
        DataType::Int64 => 19,
        DataType::UInt64 => 20,
        _ => return None,
    })
}

/// For a decimal array: appends a value with its length.
pub(super) fn each_decimal<F>(source: &DataType, write: F) -> Result<Box<dyn Encoder>, Refusal>
where
    F: Fn(Unscaled, &mut Vec<u8>) -> Result<(), ValueError> + Send + Sync + 'static,
{
    Ok(match source {
        DataType::Decimal32(_, _) => {
            each::<Decimal32Type>(source, move |value, out| write(Unscaled::Small(value.into()), out))
        }
        DataType::Decimal64(_, _) => {
            each::<Decimal64Type>(source, move |value, out| write(Unscaled::Small(value.into()), out))
        }
        DataType::Decimal128(_, _) => {
            each::<Decimal128Type>(source, move |value, out| write(Unscaled::Small(value), out))
        }
        DataType::Decimal256(_, _) => {
            each::<Decimal256Type>(source, move |value, out| write(Unscaled::of_256(value), out))
        }
        _ => return Err(mismatch(source)),
    })
}

impl Unscaled {
    /// Makes a small value of 256 bits if 128 bits can hold it.
    pub(super) fn of_256(value: i256) -> Self {
        value.to_i128().map_or(Self::Large(value), Self::Small)
    }
    /// The shortest form: digits without a trailing zero, and the exponent of their power of ten. `None` if
    /// they do not fit 128 bits.
    pub(super) fn shortest(self, scale: i8) -> Option<(i128, i32)> {
        const TEN: i256 = i256::from_i128(10);
        let mut exponent = -i32::from(scale);
        let mut small = match self {
            Self::Small(value) => value,
            Self::Large(mut value) => loop {
                if let Some(small) = value.to_i128() {
                    break small;
                }
                if value.checked_rem(TEN)? != i256::ZERO {
                    return None;
                }
                value = value.checked_div(TEN)?;
                exponent += 1;
            },
        };
        if small == 0 {
            return Some((0, 0));
        }
        while small % 10 == 0 {
            small /= 10;
            exponent += 1;
        }
        Some((small, exponent))
    }

    /// Removes the last digits: they must be zeros, or are rounded half away from zero, as in PostgreSQL.
    pub(super) fn without_last(self, n_digits: u32, rounds: bool) -> Result<i128, ValueError> {
        let value = match self {
            Self::Small(value) if n_digits == 0 => return Ok(value),
            Self::Small(value) => i256::from_i128(value),
            Self::Large(value) => value,
        };
        // 10^77 is more than twice any decimal.
        let Some(divisor) = i256::from_i128(10).checked_pow(n_digits) else {
            return if rounds || value == i256::ZERO { Ok(0) } else { Err(ValueError::LostDigits) };
        };
        let out_of_range = ValueError::OutOfRange;
        let quotient = value.checked_div(divisor).and_then(i256::to_i128).ok_or(out_of_range)?;
        let rest = value.checked_rem(divisor).and_then(i256::checked_abs).ok_or(out_of_range)?;
        match (rest == i256::ZERO, rounds) {
            (true, _) => Ok(quotient),
            (false, false) => Err(ValueError::LostDigits),
            (false, true) if rest < divisor.wrapping_sub(rest) => Ok(quotient),
            (false, true) => Ok(if value.is_negative() { quotient - 1 } else { quotient + 1 }),
        }
    }
}

impl fmt::Display for Unscaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small(value) => write!(f, "{value}"),
            Self::Large(value) => write!(f, "{value}"),
        }
    }
}
