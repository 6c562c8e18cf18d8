//! `numeric` on the wire.
//!
//! ```text
//! u16 n_digits │ i16 weight │ u16 sign │ u16 dscale │ n_digits × u16 digit
//! ```
//!
//! The value is the sum of `digit[i] × 10000^(weight − i)`; the text has `dscale` digits after the point.
//! PostgreSQL stores no zeros at either end, and no digits for 0.
//!
//! Source: `numeric_send`, `numeric_recv`, `strip_var` and the `NUMERIC_*` constants in PostgreSQL's
//! `src/backend/utils/adt/numeric.c`.

use crate::error::ValueError;
use crate::write;

/// `NUMERIC_DSCALE_MAX`.
pub(super) const DSCALE_MAX: u16 = 0x3fff;
/// The most decimal digits before the point: `NUMERIC_WEIGHT_MAX` base-10000 digits and one.
pub(super) const WHOLE_DIGITS_MAX: i32 = 4 * 0x8000;

const PLUS: u16 = 0;
const MINUS: u16 = 0x4000;

/// A special value, which has its own sign on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Special {
    NotANumber,
    Infinity,
    MinusInfinity,
}

impl Special {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        // The scale that `numeric_send` reads from the header of such a value.
        let (sign, dscale): (u16, u16) = match self {
            Self::NotANumber => (0xc000, 0),
            Self::Infinity => (0xd000, 0x20),
            Self::MinusInfinity => (0xf000, 0x20),
        };
        write::fixed(out, header(0, 0, sign, dscale));
    }
}

const TEN_TO_16: u128 = 10_000_000_000_000_000;

/// Appends `magnitude × 10^exponent` and its length.
#[inline]
pub(super) fn write_integer(
    is_negative: bool,
    magnitude: u128,
    exponent: i32,
    dscale: u16,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    // The lowest base-10000 digit holds some decimal digits of the integer, and zeros behind them.
    let weight = exponent.div_euclid(4);
    // Room for 39 decimal digits and three zeros.
    let mut digits = Digits { digits: [[0; 2]; 12], n_digits: 0 };
    if let Ok(magnitude) = u64::try_from(magnitude) {
        // Divisions by constants, which become multiplications.
        let (last, rest) = match exponent.rem_euclid(4) {
            0 => (magnitude % 10_000, magnitude / 10_000),
            1 => (magnitude % 1_000 * 10, magnitude / 1_000),
            2 => (magnitude % 100 * 100, magnitude / 100),
            _ => (magnitude % 10 * 1_000, magnitude / 10),
        };
        digits.prepend(last);
        digits.prepend_all(rest);
    } else {
        let (last, mut rest) = match exponent.rem_euclid(4) {
            0 => (magnitude % 10_000, magnitude / 10_000),
            1 => (magnitude % 1_000 * 10, magnitude / 1_000),
            2 => (magnitude % 100 * 100, magnitude / 100),
            _ => (magnitude % 10 * 1_000, magnitude / 10),
        };
        digits.prepend(last as u64);
        // In groups of sixteen decimal digits, since 64-bit division is much cheaper.
        while rest > u128::from(u64::MAX) {
            let mut sixteen = (rest % TEN_TO_16) as u64;
            for _ in 0..4 {
                digits.prepend(sixteen % 10_000);
                sixteen /= 10_000;
            }
            rest /= TEN_TO_16;
        }
        digits.prepend_all(rest as u64);
    }
    digits.write(is_negative, weight, dscale, out)
}

/// Base-10000 digits, at the end of the array.
struct Digits {
    digits: [[u8; 2]; 12],
    n_digits: usize,
}

impl Digits {
    #[inline(always)]
    fn prepend(&mut self, digit: u64) {
        self.n_digits += 1;
        let place = self.digits.len().checked_sub(self.n_digits);
        if let Some(place) = place.and_then(|place| self.digits.get_mut(place)) {
            *place = (digit as u16).to_be_bytes();
        }
    }

    #[inline(always)]
    fn prepend_all(&mut self, mut rest: u64) {
        while rest > 0 {
            self.prepend(rest % 10_000);
            rest /= 10_000;
        }
    }

    #[inline(always)]
    fn write(
        &self,
        is_negative: bool,
        weight: i32,
        dscale: u16,
        out: &mut Vec<u8>,
    ) -> Result<(), ValueError> {
        let start = self.digits.len().saturating_sub(self.n_digits);
        write_digits(is_negative, self.digits.get(start..).unwrap_or_default(), weight, dscale, out)
    }
}

/// Appends `digits × 10^exponent`, with any number of decimal digits.
pub(super) fn write_decimal_digits(
    is_negative: bool,
    digits: &[u8],
    exponent: i32,
    dscale: u16,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let (weight, zeros) = (exponent.div_euclid(4), exponent.rem_euclid(4) as usize);
    let missing = (digits.len() + zeros).next_multiple_of(4) - digits.len() - zeros;
    let padded: Vec<u8> =
        [&b"000"[..missing], digits, &b"000"[..zeros]].concat().iter().map(|digit| digit - b'0').collect();
    let four = |four: &[u8; 4]| four.iter().fold(0_u16, |all, digit| 10 * all + u16::from(*digit));
    let wire: Vec<[u8; 2]> =
        padded.as_chunks::<4>().0.iter().map(|digits| four(digits).to_be_bytes()).collect();
    write_digits(is_negative, &wire, weight, dscale, out)
}

/// Appends a value whose last base-10000 digit has this weight.
#[inline(always)]
fn write_digits(
    is_negative: bool,
    mut digits: &[[u8; 2]],
    mut weight: i32,
    dscale: u16,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    while let [[0, 0], rest @ ..] = digits {
        digits = rest;
    }
    while let [rest @ .., [0, 0]] = digits {
        digits = rest;
        weight += 1;
    }
    let (first_weight, sign) = match (digits, is_negative) {
        ([], _) => (0, PLUS),
        (_, true) => (weight + digits.len() as i32 - 1, MINUS),
        (_, false) => (weight + digits.len() as i32 - 1, PLUS),
    };
    let first_weight = i16::try_from(first_weight).map_err(|_| ValueError::OutOfRange)?;
    let n_digits = u16::try_from(digits.len()).map_err(|_| ValueError::OutOfRange)?;
    let [l0, l1, l2, l3] = (8 + 2 * u32::from(n_digits)).to_be_bytes();
    let [h0, h1, h2, h3, h4, h5, h6, h7] = header(n_digits, first_weight, sign, dscale);
    out.extend_from_slice(&[l0, l1, l2, l3, h0, h1, h2, h3, h4, h5, h6, h7]);
    out.extend_from_slice(digits.as_flattened());
    Ok(())
}

/// The first eight bytes of `numeric_send`.
fn header(n_digits: u16, weight: i16, sign: u16, dscale: u16) -> [u8; 8] {
    let ([n0, n1], [w0, w1]) = (n_digits.to_be_bytes(), weight.to_be_bytes());
    let ([s0, s1], [d0, d1]) = (sign.to_be_bytes(), dscale.to_be_bytes());
    [n0, n1, w0, w1, s0, s1, d0, d1]
}
