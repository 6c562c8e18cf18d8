//! `numeric` on the wire, and its text.
//!
//! ```text
//! u16 n_digits │ i16 weight │ u16 sign │ u16 dscale │ n_digits × u16 digit
//! ```
//!
//! The value is the sum of `digit[i] × 10000^(weight − i)`. The text has `dscale` digits after the point, and
//! the value has no more. Sign: 0 plus, 0x4000 minus, 0xC000 NaN, 0xD000 Infinity, 0xF000 −Infinity (the
//! infinities since PostgreSQL 14, with any dscale).
//!
//! Source: `numeric_send`, `get_str_from_var` and the `NUMERIC_*` constants in PostgreSQL's
//! `src/backend/utils/adt/numeric.c`.

use crate::column::text_form::TextForm;
use crate::error::ValueError;

/// Decimal digits in one digit of the wire.
pub(crate) const DEC_DIGITS: i32 = 4;
const NBASE: u16 = 10_000;
const MINUS: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;
/// `NUMERIC_DSCALE_MAX`.
const DSCALE_MAX: u16 = 0x3fff;

/// A parsed value.
#[derive(Debug)]
pub(crate) enum Numeric<'a> {
    Finite(Digits<'a>),
    NotANumber,
    Infinity { is_negative: bool },
}

/// A finite value: base-10000 digits, most significant first, big-endian pairs of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits<'a> {
    pub(crate) is_negative: bool,
    /// The weight of the first digit, in powers of 10000.
    pub(crate) weight: i32,
    pub(crate) dscale: u16,
    digits: &'a [[u8; 2]],
}

impl<'a> Numeric<'a> {
    pub(crate) fn parse(wire: &'a [u8]) -> Result<Self, ValueError> {
        let (header, digits) =
            wire.split_first_chunk::<8>().ok_or(ValueError::Malformed("a numeric without its header"))?;
        let [n0, n1, w0, w1, s0, s1, d0, d1] = *header;
        let (digits, odd) = digits.as_chunks::<2>();
        if !odd.is_empty() || digits.len() != usize::from(u16::from_be_bytes([n0, n1])) {
            return Err(ValueError::Malformed("a numeric with another number of digits than it says"));
        }
        let is_negative = match u16::from_be_bytes([s0, s1]) {
            0 => false,
            MINUS => true,
            NAN => return Ok(Self::NotANumber),
            INFINITY => return Ok(Self::Infinity { is_negative: false }),
            MINUS_INFINITY => return Ok(Self::Infinity { is_negative: true }),
            _ => return Err(ValueError::Malformed("a numeric with an unknown sign")),
        };
        if digits.iter().any(|digit| u16::from_be_bytes(*digit) >= NBASE) {
            return Err(ValueError::Malformed("a numeric with a digit above 9999"));
        }
        let dscale = u16::from_be_bytes([d0, d1]);
        if dscale > DSCALE_MAX {
            return Err(ValueError::Malformed("a numeric with too large a scale"));
        }
        let weight = i32::from(i16::from_be_bytes([w0, w1]));
        Ok(Self::Finite(Digits { is_negative, weight, dscale, digits }))
    }
}

impl Digits<'_> {
    /// The digits as one integer, without the last `n_left_out`. `None` if there are so many digits that they
    /// might not fit.
    pub(crate) fn integer(&self, n_left_out: usize) -> Option<u128> {
        const DIGITS_MAX: usize = 9;
        let digits = self.digits.get(..self.digits.len().checked_sub(n_left_out)?)?;
        if digits.len() > DIGITS_MAX {
            return None;
        }
        let digit = |digit: &[u8; 2]| u64::from(u16::from_be_bytes(*digit));
        let combine =
            |digits: &[[u8; 2]]| digits.iter().fold(0, |all, next| all * u64::from(NBASE) + digit(next));
        // Four digits fit 64 bits, whose multiplication is cheaper.
        let (first, fours) = digits.as_rchunks::<4>();
        let first = u128::from(combine(first));
        Some(fours.iter().fold(first, |all, four| all * 10_000_000_000_000_000 + u128::from(combine(four))))
    }

    /// Base-10000 digits, most significant first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator {
        self.digits.iter().map(|digit| u16::from_be_bytes(*digit))
    }

    /// The digit of this weight; zero if it is not stored.
    fn at_weight(&self, weight: i32) -> u16 {
        let index = usize::try_from(self.weight - weight).ok();
        index.and_then(|index| self.digits.get(index)).map_or(0, |digit| u16::from_be_bytes(*digit))
    }

    fn print(&self, text: &mut Vec<u8>) {
        if self.is_negative {
            text.push(b'-');
        }
        if self.weight < 0 {
            text.push(b'0');
        }
        for weight in (0..=self.weight).rev() {
            let digit = self.at_weight(weight);
            let four = decimal_digits(digit);
            let leading_zeros = match digit {
                _ if weight < self.weight => 0,
                1000.. => 0,
                100.. => 1,
                10.. => 2,
                _ => 3,
            };
            text.extend_from_slice(four.get(leading_zeros..).unwrap_or_default());
        }
        if self.dscale > 0 {
            text.push(b'.');
            let end = text.len() + usize::from(self.dscale);
            for index in 0..i32::from(self.dscale.div_ceil(4)) {
                text.extend_from_slice(&decimal_digits(self.at_weight(-1 - index)));
            }
            text.truncate(end);
        }
    }
}

/// The four decimal digits of a base-10000 digit.
fn decimal_digits(digit: u16) -> [u8; 4] {
    [digit / 1000, digit / 100 % 10, digit / 10 % 10, digit % 10].map(|digit| {
        let [digit, _] = digit.to_le_bytes();
        b'0' + digit
    })
}

/// A numeric as PostgreSQL prints it: nothing is rounded, trailing zeros are kept.
#[derive(Debug)]
pub(crate) struct NumericText;

impl TextForm for NumericText {
    fn text_bytes_at_most(&self, wire: &[u8]) -> usize {
        let Some([_, _, w0, w1, _, _, d0, d1]) = wire.first_chunk::<8>() else { return 0 };
        let weight = usize::try_from(i16::from_be_bytes([*w0, *w1])).unwrap_or(0);
        let dscale = usize::from(u16::from_be_bytes([*d0, *d1]).min(DSCALE_MAX));
        // Sign, point, and the digits of a last group that are removed again.
        4 * (weight + 1) + dscale + 8
    }

    fn print(&self, wire: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError> {
        match Numeric::parse(wire)? {
            Numeric::Finite(digits) => digits.print(text),
            Numeric::NotANumber => text.extend_from_slice(b"NaN"),
            Numeric::Infinity { is_negative: false } => text.extend_from_slice(b"Infinity"),
            Numeric::Infinity { is_negative: true } => text.extend_from_slice(b"-Infinity"),
        }
        Ok(())
    }
}
