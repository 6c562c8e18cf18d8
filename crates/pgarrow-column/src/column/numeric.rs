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

use crate::column::text_form::{TextForm, make_text_room};
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

/// Whether one of four base-10000 digits is above 9999: its lane gets the top bit here.
#[inline(always)]
pub(crate) fn has_wrong_digit(lanes: u64) -> bool {
    (lanes | lanes.wrapping_add(0x58f0_58f0_58f0_58f0)) & 0x8000_8000_8000_8000 != 0
}

/// The lanes that are lower in each pair of them.
pub(crate) const LOW_LANES: u64 = 0x0000_ffff_0000_ffff;

/// The number of four base-10000 digits, of which the first is the highest lane.
#[inline(always)]
pub(crate) fn combined(lanes: u64) -> u64 {
    let pairs = (lanes & LOW_LANES) + (lanes >> 16 & LOW_LANES) * 10_000;
    (pairs >> 32) * 100_000_000 + (pairs & 0xffff_ffff)
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

    #[inline(always)]
    fn print_quickly(framed: &[u8], text: &mut Vec<u8>) -> Option<u32> {
        print_quickly(framed.first_chunk()?, text)
    }
}

/// Base-10000 digits that the quick way prints: all before and behind the point.
const QUICK_DIGITS: usize = 8;
/// Bytes of a value's length, its header and so many digits.
const QUICK_BYTES: usize = 4 + 8 + 2 * QUICK_DIGITS;
/// Decimal digits of so many.
const QUICK_TEXT: usize = 4 * QUICK_DIGITS;

/// A lane above 9999 gets the top bit by this addition, or has it.
const TO_TOP_BIT: u128 = 0x58f0_58f0_58f0_58f0_58f0_58f0_58f0_58f0;
const TOP_BITS: u128 = 0x8000_8000_8000_8000_8000_8000_8000_8000;

/// The first n of eight 16-bit lanes.
const FIRST_LANES: [u128; QUICK_DIGITS + 1] =
    [0, !0 << 112, !0 << 96, !0 << 80, !0 << 64, !0 << 48, !0 << 32, !0 << 16, !0];

/// The quick way for finite values with at most eight base-10000 digits from the point or the first digit to
/// the last one printed. `framed` is a value's length, header and first digits (or the bytes behind the
/// value).
///
/// All digits become text at once, in lanes. It is copied twice, the second time behind the point. A copy of
/// a constant size is a few instructions, and what is too much of it is cut off.
#[inline(always)]
fn print_quickly(framed: &[u8; QUICK_BYTES], text: &mut Vec<u8>) -> Option<u32> {
    let (header, digits) = framed.split_first_chunk::<12>()?;
    let [l0, l1, l2, l3, n0, n1, w0, w1, s0, s1, d0, d1] = *header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let n_digits = u32::from(u16::from_be_bytes([n0, n1]));
    let (sign, dscale) = (u16::from_be_bytes([s0, s1]), usize::from(u16::from_be_bytes([d0, d1])));
    let weight = i16::from_be_bytes([w0, w1]);
    // Groups of four decimal digits before the point, and zeros between the point and the first digit.
    let integer_groups = usize::try_from(weight).unwrap_or(0) + 1;
    let zero_groups = u32::from(weight.min(0).unsigned_abs());
    let lanes = u128::from_be_bytes(*digits.first_chunk()?) & FIRST_LANES.get(n_digits as usize)?;
    if length != 8 + 2 * n_digits
        || sign & !MINUS != 0
        || integer_groups + dscale.div_ceil(4) > QUICK_DIGITS
        || zero_groups as usize >= QUICK_DIGITS
        || (lanes | lanes.wrapping_add(TO_TOP_BIT)) & TOP_BITS != 0
    {
        return None;
    }
    let lanes = (lanes >> (16 * zero_groups)).to_be_bytes();
    let (pairs, _) = lanes.as_chunks::<2>();
    let mut groups = [0; QUICK_DIGITS];
    for (group, pair) in groups.iter_mut().zip(pairs) {
        *group = u16::from_be_bytes(*pair);
    }
    let [first, ..] = groups;
    let mut digits = [0; 2 * QUICK_TEXT];
    let (fours, _) = digits.as_chunks_mut::<4>();
    for (four, group) in fours.iter_mut().zip(groups) {
        *four = decimal_digits_in_lanes(group);
    }
    let leading_zeros = usize::from(first < 1000) + usize::from(first < 100) + usize::from(first < 10);
    let integer = digits.get(leading_zeros..)?.first_chunk::<QUICK_TEXT>()?;
    let fraction = digits.get(4 * integer_groups..)?.first_chunk::<QUICK_TEXT>()?;
    // Sign, point, and what is cut off.
    make_text_room(text, 2 * QUICK_TEXT + 2);
    text.push(b'-');
    text.truncate(text.len() - usize::from(sign == 0));
    let point = text.len() + 4 * integer_groups - leading_zeros;
    text.extend_from_slice(integer);
    text.truncate(point);
    text.push(b'.');
    text.extend_from_slice(fraction);
    text.truncate(if dscale == 0 { point } else { point + 1 + dscale });
    Some(4 + length)
}

/// The four decimal digits of a base-10000 digit, in steps that the compiler makes of many digits at once.
#[inline(always)]
fn decimal_digits_in_lanes(digit: u16) -> [u8; 4] {
    // The reciprocals of 100 and 10 are exact up to 9999 and 99.
    let hundreds = u16::try_from((u32::from(digit) * 5243) >> 16).unwrap_or(0) >> 3;
    let rest = digit.wrapping_sub(hundreds.wrapping_mul(100));
    let two = |pair: u16| {
        let tens = pair.wrapping_mul(103) >> 10;
        let ones = pair.wrapping_sub(tens.wrapping_mul(10));
        (tens | ones << 8).wrapping_add(0x3030).to_le_bytes()
    };
    let [[a, b], [c, d]] = [two(hundreds), two(rest)];
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config() -> ProptestConfig {
        ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() }
    }

    fn digit() -> impl Strategy<Value = u16> {
        let edges = vec![0, 1, 9, 10, 99, 100, 999, 1000, 9999];
        prop_oneof![
            10 => 0..10_000_u16,
            10 => prop::sample::select(edges),
            1 => prop::sample::select(vec![10_000, 10_001, 0x7fff, 0x8000, 0xffff]),
        ]
    }

    #[test]
    fn the_digits_of_every_group() {
        for digit in 0..10_000 {
            assert_eq!(decimal_digits_in_lanes(digit), decimal_digits(digit));
        }
    }

    proptest! {
        #![proptest_config(config())]

        /// The oracle is the careful way. What the quick way leaves is malformed, not finite, or long.
        #[test]
        fn the_quick_text_is_the_careful_one(
            digits in prop::collection::vec(digit(), 0..10),
            weight in prop_oneof![20 => -9..9_i16, 1 => any::<i16>()],
            sign in prop_oneof![
                20 => prop::sample::select(vec![0, MINUS]),
                1 => prop::sample::select(vec![NAN, INFINITY, MINUS_INFINITY, 1]),
            ],
            dscale in prop_oneof![20 => 0..34_u16, 1 => any::<u16>()],
            (more_digits, more_bytes) in (prop_oneof![20 => Just(0_u16), 1 => any::<u16>()], 0..3_usize),
            behind in prop::collection::vec(any::<u8>(), QUICK_BYTES),
            text in "[0-9]{0,70}",
        ) {
            let header = [(digits.len() as u16).wrapping_add(more_digits), weight as u16, sign, dscale];
            let mut wire: Vec<u8> = header.iter().chain(&digits).flat_map(|word| word.to_be_bytes()).collect();
            wire.extend(std::iter::repeat_n(0, more_bytes));
            let framed = [&(wire.len() as u32).to_be_bytes()[..], &wire, &behind].concat();
            let mut careful = text.clone().into_bytes();
            let printed = NumericText.print(&wire, &mut careful);
            let mut quick = text.clone().into_bytes();
            let used = NumericText::print_quickly(&framed, &mut quick);
            if let Some(used) = used {
                prop_assert_eq!(used as usize, 4 + wire.len());
                prop_assert_eq!(printed, Ok(()));
                prop_assert_eq!(quick, careful);
            } else {
                prop_assert_eq!(quick, text.into_bytes());
                let n_groups = i32::from(weight.max(0)) + 1 + i32::from(dscale.div_ceil(4));
                let is_short = n_groups <= 8 && weight > -8 && digits.len() <= 8;
                prop_assert!(printed.is_err() || !is_short || sign & !MINUS != 0, "{:?} was left", wire);
            }
        }
    }

    #[test]
    fn near_the_end_of_the_bytes_nothing_is_quick() {
        let framed = [&10_u32.to_be_bytes()[..], &[0, 1, 0, 0, 0, 0, 0, 0, 0, 7], &[0; QUICK_BYTES]].concat();
        for end in 0..QUICK_BYTES {
            assert_eq!(NumericText::print_quickly(&framed[..end], &mut Vec::new()), None);
        }
        let mut text = Vec::new();
        assert_eq!(NumericText::print_quickly(&framed, &mut text), Some(14));
        assert_eq!(text, b"7");
    }
}
