//! `numeric` as it is stored.
//!
//! ```text
//! short:   u16 1 0 sign 6 bits dscale, 7 bits weight │ digits
//! long:    u16 0 sign 14 bits dscale │ i16 weight    │ digits
//! special: u16 0xC000 NaN, 0xD000 Infinity, 0xF000 -Infinity
//! ```
//!
//! The value is the sum of `digit[i] × 10000^(weight − i)`.
//!
//! Source: `NumericData`, `numeric_send`, `get_str_from_var` in `src/backend/utils/adt/numeric.c`.

use crate::compressed::Corrupt;

/// `NUMERIC_SIGN_MASK`: the form, and for the long form the sign.
const FORM: u16 = 0xc000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xc000;
const MINUS: u16 = 0x4000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;
const SHORT_MINUS: u16 = 0x2000;
const SHORT_DSCALE: u16 = 0x1f80;
const SHORT_DSCALE_SHIFT: u32 = 7;
/// The weight's 7 bits; the highest is its sign.
const SHORT_WEIGHT_BITS: u32 = 7;
const LONG_DSCALE: u16 = 0x3fff;
/// `NBASE`: every digit is below it.
const BASE: u16 = 10_000;

/// A stored value.
#[derive(Debug)]
pub(super) struct Numeric<'a> {
    /// 0, [`MINUS`], or the whole header of a special value.
    sign: u16,
    /// The weight of the first digit, in powers of 10000.
    weight: i16,
    /// Decimal digits behind the point.
    dscale: u16,
    /// Most significant first, little-endian.
    digits: &'a [[u8; 2]],
}

/// `numeric_send`: u16 digits, i16 weight, u16 sign, u16 dscale, digits.
pub(super) fn send(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let numeric = Numeric::parse(stored)?;
    let n_digits =
        u16::try_from(numeric.digits.len()).map_err(|_| Corrupt("a numeric of too many digits"))?;
    out.reserve(8 + 2 * numeric.digits.len());
    out.extend_from_slice(&n_digits.to_be_bytes());
    out.extend_from_slice(&numeric.weight.to_be_bytes());
    out.extend_from_slice(&numeric.sign.to_be_bytes());
    out.extend_from_slice(&numeric.dscale.to_be_bytes());
    for digit in numeric.digits {
        out.extend_from_slice(&u16::from_le_bytes(*digit).to_be_bytes());
    }
    Ok(())
}

impl<'a> Numeric<'a> {
    /// `stored` is the content behind the varlena header.
    pub(super) fn parse(stored: &'a [u8]) -> Result<Self, Corrupt> {
        let (header, rest) = stored.split_first_chunk().ok_or(Corrupt("a numeric without its header"))?;
        let header = u16::from_le_bytes(*header);
        // The scale of a special value is the number in the scale's bits: 32 for the infinities.
        let short_dscale = (header & SHORT_DSCALE) >> SHORT_DSCALE_SHIFT;
        let (sign, weight, dscale, digits) = match header & FORM {
            SHORT => {
                let sign = if header & SHORT_MINUS == 0 { 0 } else { MINUS };
                let unused = u16::BITS - SHORT_WEIGHT_BITS;
                let weight = (header << unused).cast_signed() >> unused;
                (sign, weight, short_dscale, rest)
            }
            SPECIAL => match (header, rest) {
                (SPECIAL | INFINITY | MINUS_INFINITY, []) => (header, 0, short_dscale, rest),
                _ => return Err(Corrupt("a special numeric that is none of the known ones")),
            },
            sign => {
                let (weight, rest) =
                    rest.split_first_chunk().ok_or(Corrupt("a numeric without its weight"))?;
                (sign, i16::from_le_bytes(*weight), header & LONG_DSCALE, rest)
            }
        };
        let (digits, odd) = digits.as_chunks();
        if !odd.is_empty() {
            return Err(Corrupt("a numeric with half of a digit"));
        }
        if digits.iter().any(|digit| u16::from_le_bytes(*digit) >= BASE) {
            return Err(Corrupt("a numeric with a digit above 9999"));
        }
        Ok(Self { sign, weight, dscale, digits })
    }

    /// Whether it is NaN or an infinity.
    pub(super) fn is_special(&self) -> bool {
        self.sign & FORM == SPECIAL
    }

    /// Appends a value that is not special as `numeric_out` prints it.
    pub(super) fn print(&self, out: &mut Vec<u8>) {
        if self.sign == MINUS {
            out.push(b'-');
        }
        let n_whole = usize::try_from(i32::from(self.weight) + 1).unwrap_or_default();
        let (whole, fraction) = self.digits.split_at(n_whole.min(self.digits.len()));
        let (first, rest) = whole.split_first().unwrap_or((&[0, 0], &[]));
        let first = u16::from_le_bytes(*first);
        let leading_zeros = match first {
            1000.. => 0,
            100.. => 1,
            10.. => 2,
            _ => 3,
        };
        out.extend(four(first).iter().skip(leading_zeros));
        for digit in rest {
            out.extend_from_slice(&four(u16::from_le_bytes(*digit)));
        }
        let n_zeros = 4 * n_whole.saturating_sub(whole.len().max(1));
        out.resize(out.len() + n_zeros, b'0');

        if self.dscale == 0 {
            return;
        }
        out.push(b'.');
        let dscale = usize::from(self.dscale);
        let start = out.len();
        // Zeros between the point and the first stored digit.
        let n_zeros = 4 * usize::try_from(-1 - i32::from(self.weight)).unwrap_or_default();
        out.resize(start + n_zeros.min(dscale), b'0');
        for digit in fraction {
            if out.len() - start >= dscale {
                break;
            }
            out.extend_from_slice(&four(u16::from_le_bytes(*digit)));
        }
        out.resize(start + dscale, b'0');
    }
}

/// A base-10000 digit as four decimal digits.
fn four(digit: u16) -> [u8; 4] {
    [1000, 100, 10, 1].map(|unit| b'0' + u8::try_from(digit / unit % 10).unwrap_or_default())
}
