//! Numerics as text: PostgreSQL's form, and exponents.
//!
//! ```text
//! text = NaN │ [-]Infinity │ [+-] digits [. digits] [e [+-] digits]
//! ```
//!
//! Source: `set_var_from_str`, `round_var`, `apply_typmod` and `apply_typmod_special` in PostgreSQL's
//! `src/backend/utils/adt/numeric.c`.

use pgarrow_types::NumericType;

use super::digits::{DSCALE_MAX, Special, WHOLE_DIGITS_MAX, write_decimal_digits};
use super::scale::Rescale;
use crate::error::ValueError;

const MALFORMED: ValueError = ValueError::Malformed("a numeric has digits, a point and a sign");

/// A number of digits that always fits 128 bits.
const SMALL_DIGITS: usize = 38;
/// Only the value 0 may have a larger exponent: this is ten times a numeric's number of digits.
const EXPONENT_MAX: i32 = 1_500_000;

/// Appends the value of the text and its length.
pub(super) fn write(
    text: &str,
    numeric: NumericType,
    rounds: bool,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    match (text, numeric) {
        ("NaN", _) => Special::NotANumber.write(out),
        ("Infinity", NumericType::Unconstrained) => Special::Infinity.write(out),
        ("-Infinity", NumericType::Unconstrained) => Special::MinusInfinity.write(out),
        ("Infinity" | "-Infinity", NumericType::Declared { .. }) => return Err(ValueError::OutOfRange),
        _ => return Number::parse(text.as_bytes()).ok_or(MALFORMED)?.write(numeric, rounds, out),
    }
    Ok(())
}

/// `whole fraction × 10^-scale`, with the digits of `whole` and `fraction` joined.
struct Number<'a> {
    is_negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    scale: i32,
}

impl<'a> Number<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (is_negative, text) = match text {
            [b'-', text @ ..] => (true, text),
            [b'+', text @ ..] => (false, text),
            text => (false, text),
        };
        let (whole, text) = digits(text);
        let (fraction, text) = match text {
            [b'.', text @ ..] => digits(text),
            text => (&[][..], text),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent: i32 = match text {
            [] => 0,
            [b'e' | b'E', exponent @ ..] => {
                let exponent: i32 = std::str::from_utf8(exponent).ok()?.parse().ok()?;
                exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX)
            }
            _ => return None,
        };
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        Some(Self { is_negative, whole, fraction, scale })
    }

    fn write(&self, numeric: NumericType, rounds: bool, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let whole = without_leading_zeros(self.whole);
        let dscale = match numeric {
            NumericType::Declared { scale, .. } => u16::try_from(scale).unwrap_or(0),
            NumericType::Unconstrained => u16::try_from(self.scale.max(0))
                .ok()
                .filter(|dscale| *dscale <= DSCALE_MAX)
                .ok_or(ValueError::LostDigits)?,
        };
        if whole.len() + self.fraction.len() <= SMALL_DIGITS {
            let value = |all: u128, digit: &u8| 10 * all + u128::from(digit - b'0');
            let magnitude = whole.iter().chain(self.fraction).fold(0, value);
            return match magnitude {
                // Zero of any scale, even of one that no digit could have.
                0 => write_decimal_digits(false, &[], 0, dscale, out),
                _ => Rescale::new(numeric, self.scale, rounds).write(self.is_negative, magnitude, out),
            };
        }
        let all = [whole, self.fraction].concat();
        let mut digits = without_leading_zeros(&all).to_vec();
        let mut scale = self.scale;
        if let NumericType::Declared { precision, scale: declared } = numeric {
            round(&mut digits, &mut scale, declared.into(), rounds)?;
            let n_whole = digits.len() as i64 - i64::from(scale);
            if !digits.is_empty() && n_whole > i64::from(precision) - i64::from(declared) {
                return Err(ValueError::OutOfRange);
            }
        }
        if !digits.is_empty() && digits.len() as i64 - i64::from(scale) > i64::from(WHOLE_DIGITS_MAX) {
            return Err(ValueError::OutOfRange);
        }
        write_decimal_digits(
            self.is_negative,
            &digits,
            if digits.is_empty() { 0 } else { -scale },
            dscale,
            out,
        )
    }
}

/// Removes the digits beyond the scale `kept`: they must be zeros, or are rounded half away from zero.
fn round(digits: &mut Vec<u8>, scale: &mut i32, kept: i32, rounds: bool) -> Result<(), ValueError> {
    let Some(n_lost) = scale.checked_sub(kept).and_then(|lost| usize::try_from(lost).ok()) else {
        return Ok(());
    };
    if n_lost == 0 {
        return Ok(());
    }
    *scale = kept;
    // Zeros before the first digit are removed as well.
    let n_kept = digits.len().checked_sub(n_lost);
    let lost = digits.split_off(n_kept.unwrap_or(0));
    if !rounds && lost.iter().any(|digit| *digit != b'0') {
        return Err(ValueError::LostDigits);
    }
    let is_up = n_kept.is_some() && lost.first().is_some_and(|digit| *digit >= b'5');
    if is_up {
        let mut place = digits.iter_mut().rev();
        loop {
            match place.next() {
                Some(digit) if *digit == b'9' => *digit = b'0',
                Some(digit) => {
                    *digit += 1;
                    break;
                }
                None => {
                    digits.insert(0, b'1');
                    break;
                }
            }
        }
    }
    Ok(())
}

/// The digits at its beginning, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

fn without_leading_zeros(mut digits: &[u8]) -> &[u8] {
    while let [b'0', rest @ ..] = digits {
        digits = rest;
    }
    digits
}
