//! `numeric(p, s)` to a decimal: an integer count of 10^-s.

use arrow_array::types::{Decimal128Type, Decimal256Type};
use arrow_buffer::i256;

use crate::chunk::{NULL, take_value};
use crate::column::decimal_wide::{WIDE_BYTES, Wide};
use crate::column::numeric::{LOW_LANES, Numeric, combined, has_wrong_digit};
use crate::column::policy::Policies;
use crate::column::primitive::{Decode, Rows};
use crate::column::unscaled::{Unscaled, rounded, unscaled};
use crate::effect::{Effect, EffectLog};
use crate::error::{RowError, ValueError};
use crate::stored::{STORED_NULL, StoredChunk};

fn decode<N: Unscaled>(wire: &[u8], scale: u8, limit: N) -> Result<N, ValueError> {
    match Numeric::parse(wire)? {
        Numeric::Finite(digits) => unscaled(&digits, scale, limit),
        // Infinities have no own policy here: a decimal can hold them as little as NaN.
        Numeric::NotANumber | Numeric::Infinity { .. } => Err(ValueError::NotANumber),
    }
}

/// The result for a refused value: NULL, the largest or smallest value of the precision, or the rounded
/// value.
#[cold]
fn reconsider<N: Unscaled>(
    wire: &[u8],
    cause: ValueError,
    (scale, limit, largest): (u8, N, N),
    policies: Policies,
) -> Result<(Option<N>, Effect), ValueError> {
    let mut cause = cause;
    if policies.rounds(cause)
        && let Numeric::Finite(digits) = Numeric::parse(wire)?
    {
        match rounded(&digits, scale, limit) {
            Ok(value) => return Ok((Some(value), Effect::Rounded)),
            // 9.99 rounds to 10, which may have a digit too many.
            Err(then) => cause = then,
        }
    }
    policies.resolve(cause, || match Numeric::parse(wire) {
        Ok(Numeric::Finite(digits)) if digits.is_negative => largest.negate(),
        _ => largest,
    })
}

/// The quick way for values of at most four base-10000 digits that fit 64 bits.
///
/// The digits are one 8-byte load, combined by two multiplications. A third one does the rest: it appends the
/// base-10000 digits that the scale needs and the value does not have, and divides by what the last of them
/// has below the scale. Such a division is exact if the value fits the scale. So it is a multiplication by
/// the inverse modulo 2^64, and a rotation for the twos; a remainder makes the result too large.
///
/// Source: Granlund and Montgomery, "Division by invariant integers using multiplication", section 9.
#[derive(Clone, Copy, Debug)]
struct Quick {
    /// Base-10000 digits after the point, and one: ⌈scale / 4⌉ + 1.
    fraction_digits: i32,
    /// Decimal digits below the scale in the last of them: 0 to 3.
    below_scale: u32,
    /// By the number of appended digits n: 10000^n × 5^-below_scale modulo 2^64.
    factors: [u64; 5],
    /// A quotient above it had a remainder, or more digits than the precision.
    quotient_max: u64,
}

/// Half of a shift by 16 × `lanes` bits, up to 64: a single shift by 64 is invalid.
#[inline(always)]
fn half_of(lanes: u32) -> u32 {
    (8 * lanes) & 63
}

impl Quick {
    fn new(precision: u8, scale: u8) -> Self {
        let fraction_digits = i32::from(scale.div_ceil(4)) + 1;
        let below_scale = u32::from(scale).next_multiple_of(4) - u32::from(scale);
        let five_to = 5_u64.pow(below_scale);
        // Newton's iteration doubles the correct low bits: 5 × 5 = 25 ≡ 1 (mod 8) starts with 3.
        let mut inverse = five_to;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(five_to.wrapping_mul(inverse)));
        }
        let factors = [0, 1, 2, 3, 4].map(|n| 10_000_u64.pow(n).wrapping_mul(inverse));
        let limit = 10_u64.checked_pow(precision.into()).unwrap_or(u64::MAX);
        let quotient_max = (u64::MAX / 10_u64.pow(below_scale)).min(limit - 1).min(i64::MAX.unsigned_abs());
        Self { fraction_digits, below_scale, factors, quotient_max }
    }

    /// Decodes a stored value in the short form: `n_header` and the first four digits (or the bytes behind
    /// the value).
    ///
    /// Source: `NumericShort` in PostgreSQL's `src/backend/utils/adt/numeric.c`.
    #[inline(always)]
    fn decode_stored(&self, stored: &[u8; 10], length: u32) -> Option<i128> {
        let [h0, h1, digits @ ..] = *stored;
        let header = u32::from(u16::from_le_bytes([h0, h1]));
        // A signed number of seven bits.
        let weight = (header << 25).cast_signed() >> 25;
        let n_digits = length.wrapping_sub(2) / 2;
        let factor = self.factor(n_digits, weight)?;
        // The first digit is the lowest. The last one becomes the highest, and nothing is behind it.
        let half = half_of(4 - n_digits);
        let lanes = u64::from_le_bytes(digits) << half << half;
        if header & 0xc000 != 0x8000 || length & 1 != 0 || has_wrong_digit(lanes) {
            return None;
        }
        let pairs = (lanes & LOW_LANES) * 10_000 + (lanes >> 16 & LOW_LANES);
        let all = (pairs & 0xffff_ffff) * 100_000_000 + (pairs >> 32);
        self.signed(all, factor, header & 0x2000 != 0)
    }

    /// `framed` is a value's length, header and first four digits (or the bytes behind the value).
    #[inline(always)]
    fn decode(&self, framed: &[u8; 20]) -> Option<(u32, i128)> {
        let [l0, l1, l2, l3, n0, n1, w0, w1, s0, s1, d0, d1, digits @ ..] = *framed;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let n_digits = u32::from(u16::from_be_bytes([n0, n1]));
        let weight = i32::from(i16::from_be_bytes([w0, w1]));
        let sign_and_dscale = u32::from_be_bytes([s0, s1, d0, d1]);
        let factor = self.factor(n_digits, weight)?;
        // The first digit is the highest. The last one becomes the lowest, and nothing is behind it.
        let half = half_of(4 - n_digits);
        let lanes = u64::from_be_bytes(digits) >> half >> half;
        if length != 8 + 2 * n_digits || sign_and_dscale & !0x4000_3fff != 0 || has_wrong_digit(lanes) {
            return None;
        }
        let value = self.signed(combined(lanes), factor, sign_and_dscale & 0x4000_0000 != 0)?;
        Some((4 + length, value))
    }

    /// The factor for a value of `n_digits` digits. `None` if it or the scale needs more than four, or if it
    /// has more than the scale needs.
    #[inline(always)]
    fn factor(&self, n_digits: u32, weight: i32) -> Option<u64> {
        // Base-10000 digits from the first one stored to the last one the scale needs.
        let n_needed = weight + self.fraction_digits;
        let appended = n_needed.wrapping_sub_unsigned(n_digits).cast_unsigned();
        let factor = self.factors.get(appended as usize)?;
        (n_needed <= 4).then_some(*factor)
    }

    /// The value of the integer `all`.
    #[inline(always)]
    fn signed(&self, all: u64, factor: u64, is_negative: bool) -> Option<i128> {
        let quotient = all.wrapping_mul(factor).rotate_right(self.below_scale);
        if quotient > self.quotient_max {
            return None;
        }
        let magnitude = quotient.cast_signed();
        Some(i128::from(if is_negative { -magnitude } else { magnitude }))
    }
}

/// To `Decimal128(precision, scale)`: the quick way, and a careful one for the rest.
#[derive(Debug)]
pub(crate) struct Decimal128 {
    scale: u8,
    limit: i128,
    quick: Quick,
    wide: Wide,
    policies: Policies,
}

impl Decimal128 {
    /// 1 ≤ `precision` ≤ 38, 0 ≤ `scale` ≤ `precision`.
    pub(crate) fn new(precision: u8, scale: i8, policies: Policies) -> Self {
        let scale = scale.unsigned_abs();
        let limit = i128::ten_to(precision).unwrap_or(i128::MAX);
        let (quick, wide) = (Quick::new(precision, scale), Wide::new(precision, scale));
        Self { scale, limit, quick, wide, policies }
    }
}

/// Decodes values that the quick way leaves, in a chunk behind `before` rows. It is one struct, so that the
/// quick loop keeps only a reference in a register.
struct Careful<'a, N> {
    scale: u8,
    limit: N,
    largest: N,
    policies: Policies,
    effects: &'a mut EffectLog,
    before: usize,
}

impl<N: Unscaled> Careful<'_, N> {
    #[inline(never)]
    fn decode(&mut self, bytes: &[u8], cursor: &mut u32, row: usize) -> Result<Option<N>, ValueError> {
        let Some(value) = take_value(bytes, cursor)? else { return Ok(None) };
        match decode(value, self.scale, self.limit) {
            Ok(value) => Ok(Some(value)),
            Err(cause) => {
                let decimal = (self.scale, self.limit, self.largest);
                let (instead, effect) = reconsider(value, cause, decimal, self.policies)?;
                self.effects.note(self.before + row, effect);
                Ok(instead)
            }
        }
    }
}

impl Decode for Decimal128 {
    type Arrow = Decimal128Type;

    fn decode(&mut self, bytes: &[u8], cursors: &mut [u32], rows: &mut Rows<i128>) -> Result<(), RowError> {
        let Rows { values, nulls, effects } = rows;
        let (quick, wide, before) = (&self.quick, &self.wide, values.len());
        let Self { scale, limit, policies, .. } = *self;
        let mut careful = Careful { scale, limit, largest: limit - 1, policies, effects, before };
        let mut any_null = false;
        let mut failed = None;
        let valid = nulls.scratch();
        let decoded = cursors.iter_mut().zip(valid).enumerate().map(|(row, (cursor, valid))| {
            let at = *cursor as usize;
            *valid = true;
            if let Some(framed) = bytes.get(at..at + 20).and_then(|framed| framed.try_into().ok()) {
                if let Some((used, value)) = quick.decode(framed) {
                    *cursor += used;
                    return value;
                }
                if framed.first_chunk() == Some(&NULL.to_be_bytes()) {
                    *cursor += 4;
                    *valid = false;
                    any_null = true;
                    return 0;
                }
            }
            let framed = bytes.get(at..at.wrapping_add(WIDE_BYTES)).and_then(<[u8]>::first_chunk);
            if let Some((used, value)) = framed.and_then(|framed| wide.decode(framed)) {
                *cursor += used;
                return value;
            }
            match careful.decode(bytes, cursor, row) {
                Ok(value) => {
                    *valid = value.is_some();
                    any_null |= value.is_none();
                    value.unwrap_or_default()
                }
                Err(cause) => {
                    failed = failed.or(Some(RowError { row, cause }));
                    0
                }
            }
        });
        values.extend(decoded);
        if let Some(error) = failed {
            return Err(error);
        }
        nulls.append_chunk(cursors.len(), any_null);
        Ok(())
    }

    /// Only for values that the quick way can decode. The others are decoded from the form that COPY sends.
    fn decode_stored(&mut self, chunk: &StoredChunk<'_>, rows: &mut Rows<i128>) -> Result<bool, RowError> {
        let Rows { values, nulls, .. } = rows;
        let (quick, before) = (&self.quick, values.len());
        let mut is_left = chunk.lengths.len() != chunk.rows();
        let stored = |start: u32| {
            let at = start as usize;
            chunk.bytes.get(at..at.wrapping_add(10)).and_then(|stored| stored.try_into().ok())
        };
        let places = chunk.starts.iter().zip(chunk.lengths);
        if chunk.has_nulls {
            values.extend(places.zip(nulls.scratch()).map(|((start, length), valid)| {
                *valid = *start != STORED_NULL;
                let value = stored(*start).and_then(|stored| quick.decode_stored(stored, *length));
                is_left |= value.is_none() && *valid;
                value.unwrap_or_default()
            }));
        } else {
            values.extend(places.map(|(start, length)| {
                let value = stored(*start).and_then(|stored| quick.decode_stored(stored, *length));
                is_left |= value.is_none();
                value.unwrap_or_default()
            }));
        }
        if is_left {
            values.truncate(before);
            return Ok(false);
        }
        nulls.append_chunk(chunk.rows(), chunk.has_nulls);
        Ok(true)
    }
}

/// To `Decimal256(precision, scale)`.
#[derive(Debug)]
pub(crate) struct Decimal256 {
    scale: u8,
    limit: i256,
    policies: Policies,
}

impl Decimal256 {
    /// 39 ≤ `precision` ≤ 76, 0 ≤ `scale` ≤ `precision`.
    pub(crate) fn new(precision: u8, scale: i8, policies: Policies) -> Self {
        let limit = i256::ten_to(precision).unwrap_or(i256::MAX);
        Self { scale: scale.unsigned_abs(), limit, policies }
    }
}

impl Decode for Decimal256 {
    type Arrow = Decimal256Type;

    fn decode(&mut self, bytes: &[u8], cursors: &mut [u32], rows: &mut Rows<i256>) -> Result<(), RowError> {
        let Rows { values, nulls, effects } = rows;
        let Self { scale, limit, policies } = *self;
        let largest = limit.wrapping_sub(i256::ONE);
        let mut careful = Careful { scale, limit, largest, policies, effects, before: values.len() };
        for (row, (cursor, valid)) in cursors.iter_mut().zip(nulls.scratch()).enumerate() {
            let value = careful.decode(bytes, cursor, row).map_err(|cause| RowError { row, cause })?;
            *valid = value.is_some();
            values.push(value.unwrap_or_default());
        }
        nulls.commit(cursors.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config() -> ProptestConfig {
        ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() }
    }

    fn framed(wire: &[u8], behind: &[u8]) -> Vec<u8> {
        [&(wire.len() as u32).to_be_bytes()[..], wire, behind].concat()
    }

    fn digit() -> impl Strategy<Value = u16> {
        prop_oneof![
            3 => Just(0_u16),
            3 => Just(9999),
            6 => 0..10_000_u16,
            3 => (0..100_u16).prop_map(|digit| 100 * digit),
            1 => prop::sample::select(vec![10_000, 10_001, 0x7fff, 0x8000, 0xffff]),
        ]
    }

    proptest! {
        #![proptest_config(config())]

        /// The oracle is the careful way. Whatever is quick must be the same; what the quick way leaves has
        /// more than four digits, or does not fit.
        #[test]
        fn the_quick_ways_are_the_careful_one(
            digits in prop::collection::vec(digit(), 0..6),
            weight in -4..5_i16,
            (sign, dscale) in (prop::sample::select(vec![0_u16, 0x4000, 0xc000, 0x0001]), 0..40_u16),
            (precision, scale) in (1..=38_u8).prop_flat_map(|p| (Just(p), 0..=p)),
            behind in prop::collection::vec(any::<u8>(), 20),
        ) {
            let header = [digits.len() as u16, weight as u16, sign, dscale];
            let wire: Vec<u8> = header.iter().chain(&digits).flat_map(|word| word.to_be_bytes()).collect();
            let limit = i128::ten_to(precision).unwrap();
            let careful = decode::<i128>(&wire, scale, limit);
            let quick = Quick::new(precision, scale);
            let framed = framed(&wire, &behind);
            let found = quick.decode(framed.first_chunk().unwrap());
            if let Some((used, value)) = found {
                prop_assert_eq!(used as usize, 4 + wire.len());
                prop_assert_eq!(Ok(value), careful);
            } else if let Ok(value) = careful {
                let n_needed = i32::from(weight) + i32::from(scale.div_ceil(4)) + 1;
                let is_quick = (digits.len() as i32..=4).contains(&n_needed) && value.abs() < 1 << 60;
                prop_assert!(!is_quick, "{digits:?} {weight} {precision} {scale} was left");
            }
            // Stored, the digits are little-endian, and the short header has seven bits of weight.
            if sign & 0xbfff == 0 {
                let short = 0x8000 | sign >> 1 | (dscale & 0x3f) << 7 | weight as u16 & 0x7f;
                let words = [short].into_iter().chain(digits.iter().copied());
                let stored: Vec<u8> = words.flat_map(u16::to_le_bytes).collect();
                let padded = [&stored[..], &behind].concat();
                let found_stored = quick.decode_stored(padded.first_chunk().unwrap(), stored.len() as u32);
                prop_assert_eq!(found_stored, found.map(|(_, value)| value));
                for length in [0, 1, stored.len() as u32 + 1, u32::MAX] {
                    prop_assert_eq!(quick.decode_stored(padded.first_chunk().unwrap(), length), None);
                }
                let mut long = padded;
                long[1] &= 0x7f;
                prop_assert_eq!(quick.decode_stored(long.first_chunk().unwrap(), stored.len() as u32), None);
            }
        }

        /// The same for more digits, stored or not.
        #[test]
        fn the_wide_way_is_the_careful_one(
            digits in prop::collection::vec(digit(), 0..12),
            n_zeros in 0..8_usize,
            weight in prop_oneof![20 => -10..10_i16, 1 => any::<i16>()],
            (sign, dscale) in (prop::sample::select(vec![0_u16, 0x4000, 0xc000, 0x0001]), 0..40_u16),
            (precision, scale) in (1..=38_u8).prop_flat_map(|p| (Just(p), 0..=p)),
            wrong_length in prop_oneof![20 => Just(0_u32), 1 => any::<u32>()],
            behind in prop::collection::vec(any::<u8>(), WIDE_BYTES),
        ) {
            let zeros = std::iter::repeat_n(0, n_zeros);
            let digits: Vec<u16> = zeros.chain(digits).collect();
            let header = [digits.len() as u16, weight as u16, sign, dscale];
            let wire: Vec<u8> = header.iter().chain(&digits).flat_map(|word| word.to_be_bytes()).collect();
            let careful = decode::<i128>(&wire, scale, i128::ten_to(precision).unwrap());
            let mut framed = framed(&wire, &behind);
            let wide = Wide::new(precision, scale);
            let found = wide.decode(framed.first_chunk().unwrap());
            if let Some((used, value)) = found {
                prop_assert_eq!(used as usize, 4 + wire.len());
                prop_assert_eq!(Ok(value), careful);
            } else if let Ok(value) = careful {
                let n_needed = i32::from(weight) + i32::from(scale.div_ceil(4)) + 1;
                let n_digits = digits.len() as i32;
                let is_wide = (5..=10).contains(&n_needed) && (n_needed - 5..=n_needed).contains(&n_digits);
                let is_left = is_wide && value.abs() < 10_i128.pow(33);
                prop_assert!(!is_left, "{digits:?} {weight} {precision} {scale} was left");
            }
            if wrong_length != 0 && wrong_length as usize != wire.len() {
                framed[..4].copy_from_slice(&wrong_length.to_be_bytes());
                prop_assert_eq!(wide.decode(framed.first_chunk().unwrap()), None);
            }
        }
    }
}
