//! `float4recv`, `float8recv`: IEEE 754, big-endian. A float of the target's own width keeps every bit, also
//! those of a NaN.
//!
//! Source: `float.c` in PostgreSQL's `src/backend/utils/adt/`, where `dtof` is the cast from float8 to
//! float4.

use std::fmt::LowerExp;
use std::str::FromStr;

use arrow_array::downcast_integer;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_schema::DataType;

use super::each::{each_string, fixed};
use super::scaled::{Unscaled, each_decimal, precision_and_scale};
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, ValueError};
use crate::write;

/// For `real`.
pub(super) fn make_float4(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let rounds = target.conversions >= Conversions::Round;
    match source {
        DataType::Float32 => return Ok(fixed::<Float32Type, 4>(source, |value| Ok(bytes4(value)))),
        DataType::Float16 => return Ok(fixed::<Float16Type, 4>(source, |value| Ok(bytes4(value.to_f32())))),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => {}
        _ if source.is_integer() => needs_check(source, target, "real")?,
        DataType::Float64 => {
            needs_check(source, target, "real")?;
            return Ok(fixed::<Float64Type, 4>(source, move |value| narrowed(value, rounds)));
        }
        _ if is_readable(source, target) => return Ok(of_text::<f32>(rounds)),
        _ => return of_decimal::<f32>(source, target, "real"),
    }
    macro_rules! from_integer {
        ($arrow:ty) => {
            fixed::<$arrow, 4>(source, move |value| {
                let float = value as f32;
                // Exact for at most 24 bits; a float up to 2^64 fits a number of 128 bits.
                match rounds || i128::from(value) == float as i128 {
                    true => Ok(bytes4(float)),
                    false => Err(ValueError::LostDigits),
                }
            })
        };
    }
    Ok(downcast_integer! { source => (from_integer), _ => return Err(refuse(source, target)) })
}

/// For `double precision`.
pub(super) fn make_float8(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let rounds = target.conversions >= Conversions::Round;
    match source {
        DataType::Float64 => return Ok(fixed::<Float64Type, 8>(source, |value| Ok(bytes8(value)))),
        DataType::Float32 => return Ok(fixed::<Float32Type, 8>(source, |value| Ok(bytes8(value.into())))),
        DataType::Float16 => return Ok(fixed::<Float16Type, 8>(source, |value| Ok(bytes8(value.to_f64())))),
        DataType::Int64 | DataType::UInt64 => needs_check(source, target, "double precision")?,
        _ if source.is_integer() => {}
        _ if is_readable(source, target) => return Ok(of_text::<f64>(rounds)),
        _ => return of_decimal::<f64>(source, target, "double precision"),
    }
    macro_rules! from_integer {
        ($arrow:ty) => {
            fixed::<$arrow, 8>(source, move |value| {
                let float = value as f64;
                match rounds || i128::from(value) == float as i128 {
                    true => Ok(bytes8(float)),
                    false => Err(ValueError::LostDigits),
                }
            })
        };
    }
    Ok(downcast_integer! { source => (from_integer), _ => return Err(refuse(source, target)) })
}

fn needs_check(source: &DataType, target: TypeTarget<'_>, name: &str) -> Result<(), Refusal> {
    match target.conversions {
        Conversions::Widen => {
            Err(Refusal::needs_check(format!("{source} may have digits that {name} does not keep")))
        }
        Conversions::Check | Conversions::Round => Ok(()),
    }
}

fn bytes4(value: f32) -> [u8; 4] {
    value.to_bits().to_be_bytes()
}

fn bytes8(value: f64) -> [u8; 8] {
    value.to_bits().to_be_bytes()
}

/// As `dtof`, which refuses a value that would become infinite or zero.
fn narrowed(value: f64, rounds: bool) -> Result<[u8; 4], ValueError> {
    #[expect(clippy::cast_possible_truncation, reason = "what it loses is looked at below")]
    let narrow = value as f32;
    if (narrow.is_infinite() && value.is_finite()) || (narrow == 0.0 && value != 0.0) {
        return Err(ValueError::OutOfRange);
    }
    match rounds || value.is_nan() || f64::from(narrow) == value {
        true => Ok(bytes4(narrow)),
        false => Err(ValueError::LostDigits),
    }
}

/// A float type that decimals can become.
trait Float: Copy + FromStr + LowerExp + PartialEq + Default {
    /// This number of decimal digits always survives: `FLT_DIG`, `DBL_DIG`.
    const DIGITS: usize;
    fn write(self, out: &mut Vec<u8>);
    fn is_infinite(self) -> bool;
    fn is_subnormal(self) -> bool;
}

impl Float for f32 {
    const DIGITS: usize = f32::DIGITS as usize;

    fn write(self, out: &mut Vec<u8>) {
        write::fixed(out, bytes4(self));
    }
    fn is_infinite(self) -> bool {
        self.is_infinite()
    }
    fn is_subnormal(self) -> bool {
        self.is_subnormal()
    }
}

impl Float for f64 {
    const DIGITS: usize = f64::DIGITS as usize;

    fn write(self, out: &mut Vec<u8>) {
        write::fixed(out, bytes8(self));
    }
    fn is_infinite(self) -> bool {
        self.is_infinite()
    }
    fn is_subnormal(self) -> bool {
        self.is_subnormal()
    }
}

/// The nearest float. Without rounding, its shortest digits must be those of the decimal.
fn of_decimal<T: Float>(
    source: &DataType,
    target: TypeTarget<'_>,
    name: &str,
) -> Result<Box<dyn Encoder>, Refusal> {
    let Some((_, scale)) = precision_and_scale(source) else { return Err(refuse(source, target)) };
    needs_check(source, target, name)?;
    let rounds = target.conversions >= Conversions::Round;
    each_decimal(source, move |value, out| {
        let text = format!("{value}e{}", -i32::from(scale));
        let float: T = text.parse().map_err(|_| ValueError::OutOfRange)?;
        let shortest = value.shortest(scale);
        let is_zero = shortest.is_some_and(|(digits, _)| digits == 0);
        if float.is_infinite() || (float == T::default() && !is_zero) {
            return Err(ValueError::OutOfRange);
        }
        if !rounds && (shortest.is_none() || shortest != shortest_digits(float)) {
            return Err(ValueError::LostDigits);
        }
        float.write(out);
        Ok(())
    })
}

fn is_readable(source: &DataType, target: TypeTarget<'_>) -> bool {
    Strings::is(source) && target.conversions >= Conversions::Check
}

/// Digits with a point and an exponent, NaN, or an infinity.
fn of_text<T: Float>(rounds: bool) -> Box<dyn Encoder> {
    each_string(move |text, out| {
        let float: T = text.parse().map_err(|_| MALFORMED)?;
        // A text that is no word has digits.
        if let Some(digits) = SignificantDigits::of(text) {
            if float.is_infinite() || (float == T::default() && digits.count > 0) {
                return Err(ValueError::OutOfRange);
            }
            if !rounds && !digits.are_of(float) {
                return Err(ValueError::LostDigits);
            }
        }
        float.write(out);
        Ok(())
    })
}

const MALFORMED: ValueError = ValueError::Malformed("a float has digits, a point, a sign and an exponent");

/// The most digits that any double has: those of `2^-1074 × (2^53 − 1)`.
const DIGITS_MAX: usize = 767;

/// The decimal digits of a number in text, without leading and trailing zeros.
struct SignificantDigits<'a> {
    whole: &'a str,
    fraction: &'a str,
    count: usize,
}

impl<'a> SignificantDigits<'a> {
    /// Reads text that is a float; `None` if it is a word.
    fn of(text: &'a str) -> Option<Self> {
        let text = text.trim_start_matches(['+', '-']);
        text.starts_with(|first: char| first == '.' || first.is_ascii_digit()).then_some(())?;
        let (mantissa, _) = text.split_once(['e', 'E']).unwrap_or((text, ""));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let (mut whole, mut fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        if whole.is_empty() {
            fraction = fraction.trim_start_matches('0');
        }
        if fraction.is_empty() {
            whole = whole.trim_end_matches('0');
        }
        Some(Self { whole, fraction, count: whole.len() + fraction.len() })
    }

    /// Whether the float, printed with this number of digits, has these digits. Then the text is an output of
    /// this float, by a printer of the fewest digits or of more.
    fn are_of<T: Float>(&self, float: T) -> bool {
        match self.count {
            0 => true,
            count if count <= T::DIGITS && !float.is_subnormal() => true,
            count if count > DIGITS_MAX => false,
            count => {
                let printed = format!("{float:.precision$e}", precision = count - 1);
                let mantissa = printed.split('e').next().unwrap_or_default();
                let digits = mantissa.bytes().filter(u8::is_ascii_digit);
                digits.eq(self.whole.bytes().chain(self.fraction.bytes()))
            }
        }
    }
}

/// The fewest digits that are read as this finite float, and the exponent of their power of ten.
fn shortest_digits<T: Float>(float: T) -> Option<(i128, i32)> {
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (digits, trailing) = Unscaled::Small(digits).shortest(0)?;
    if digits == 0 {
        return Some((0, 0));
    }
    Some((digits, exponent - fraction.len() as i32 + trailing))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for a text: the float's bits, or the error.
    fn read<T: Float>(text: &str, rounds: bool) -> Result<Vec<u8>, ValueError> {
        use arrow_array::StringArray;
        let array = StringArray::from(vec![text]);
        let mut out = Vec::new();
        of_text::<T>(rounds).bind(&array)?.write(0, &mut out)?;
        Ok(out.split_off(4))
    }

    #[test]
    fn text_that_is_a_single() {
        for text in [
            "0",
            "-0.0",
            "1",
            "0.1",
            ".5",
            "5.",
            "16777216",
            "1.6777216e7",
            "3.4028235e38",
            "1e-45",
            "1.4e-45",
        ] {
            assert_eq!(read::<f32>(text, false), Ok(bytes4(text.parse().unwrap()).to_vec()), "{text}");
        }
        // 0.1 with the digits that a single needs, and with all of its digits.
        for text in ["0.100000001", "0.100000001490116119384765625", "0.1000000000"] {
            assert_eq!(read::<f32>(text, false), Ok(bytes4(0.1).to_vec()), "{text}");
        }
        for text in ["16777217", "0.1000000002", "2e-45", "1.00000001"] {
            assert_eq!(read::<f32>(text, false), Err(ValueError::LostDigits), "{text}");
            assert_eq!(read::<f32>(text, true), Ok(bytes4(text.parse().unwrap()).to_vec()), "{text}");
        }
        for text in ["1e39", "-1e39", "1e-46"] {
            assert_eq!(read::<f32>(text, true), Err(ValueError::OutOfRange), "{text}");
        }
        for text in ["", " 1", "1 ", "1,5", "0x10", "1e", "e1", "--1", "one", "$1"] {
            assert_eq!(read::<f32>(text, true), Err(MALFORMED), "{text}");
        }
        for (text, float) in
            [("NaN", f32::NAN), ("Infinity", f32::INFINITY), ("-Infinity", f32::NEG_INFINITY)]
        {
            assert_eq!(read::<f32>(text, false), Ok(bytes4(float).to_vec()));
        }
    }

    #[test]
    fn text_that_is_a_double() {
        for text in [
            "0.1",
            "0.10000000000000001",
            "9007199254740993e0",
            "5e-324",
            "1.7976931348623157e308",
            "123456789012345678",
        ] {
            let is_exact = !text.starts_with("900") && !text.starts_with("123");
            assert_eq!(read::<f64>(text, false).is_ok(), is_exact, "{text}");
        }
        assert_eq!(read::<f64>(&format!("0.{}1", "3".repeat(800)), false), Err(ValueError::LostDigits));
    }
}
