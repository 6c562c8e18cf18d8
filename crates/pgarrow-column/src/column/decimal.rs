//! `numeric(p, s)` to a decimal: an integer count of 10^-s.

use arrow_array::types::{Decimal128Type, Decimal256Type};
use arrow_buffer::i256;

use crate::chunk::{NULL, take_value};
use crate::column::numeric::Numeric;
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
/// The digits are one 8-byte load. They are shifted so that the lowest base-10000 digit that the scale needs
/// is last, and combined by two multiplications. The part of the last digit below the scale (always zeros) is
/// removed by an exact division, which is a multiplication by the inverse modulo 2^64.
#[derive(Clone, Copy, Debug)]
struct Quick {
    /// Base-10000 digits after the point: ⌈scale / 4⌉.
    fraction_digits: i32,
    /// Decimal digits below the scale in the last of them: 0 to 3.
    below_scale: u32,
    /// 5^-below_scale modulo 2^64.
    inverse: u64,
    /// A quotient above it had a remainder, or more digits than the precision.
    quotient_max: u64,
}

impl Quick {
    fn new(precision: u8, scale: u8) -> Self {
        let fraction_digits = i32::from(scale.div_ceil(4));
        let below_scale = u32::from(scale).next_multiple_of(4) - u32::from(scale);
        let five_to = 5_u64.pow(below_scale);
        // Newton's iteration doubles the correct low bits: 5 × 5 = 25 ≡ 1 (mod 8) starts with 3.
        let mut inverse = five_to;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(five_to.wrapping_mul(inverse)));
        }
        let limit = 10_u64.checked_pow(precision.into()).unwrap_or(u64::MAX);
        Self { fraction_digits, below_scale, inverse, quotient_max: (u64::MAX / five_to).min(limit - 1) }
    }

    /// Decodes a stored value in the short form: `n_header` and the first four digits (or the bytes behind
    /// the value).
    ///
    /// Source: `NumericShort` in PostgreSQL's `src/backend/utils/adt/numeric.c`.
    #[inline(always)]
    fn decode_stored(self, stored: &[u8; 10], length: u32) -> Option<i128> {
        const EVEN_BYTES: u64 = 0x00ff_00ff_00ff_00ff;
        let [h0, h1, digits @ ..] = *stored;
        let header = u16::from_le_bytes([h0, h1]);
        // A signed number of seven bits.
        let weight = i32::from(header & 0x3f) - i32::from(header & 0x40);
        let n_digits = length.wrapping_sub(2) / 2;
        // Makes the first digit the highest, with its bytes swapped.
        let digits = u64::from_be_bytes(digits);
        let digits = (digits & EVEN_BYTES) << 8 | digits >> 8 & EVEN_BYTES;
        if header & 0xc000 != 0x8000 || length & 1 != 0 || length < 2 {
            return None;
        }
        let magnitude = self.combine(n_digits, weight, digits)?;
        Some(if header & 0x2000 == 0 { magnitude } else { -magnitude })
    }

    /// `framed` is a value's length, header and first four digits (or the bytes behind the value).
    #[inline(always)]
    fn decode(self, framed: &[u8; 20]) -> Option<(u32, i128)> {
        let [l0, l1, l2, l3, n0, n1, w0, w1, s0, s1, dscale, _, digits @ ..] = *framed;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let n_digits = u32::from(u16::from_be_bytes([n0, n1]));
        let weight = i32::from(i16::from_be_bytes([w0, w1]));
        let sign = u16::from_be_bytes([s0, s1]);
        if length != 8 + 2 * n_digits || sign & !0x4000 != 0 || dscale & 0xc0 != 0 {
            return None;
        }
        let magnitude = self.combine(n_digits, weight, u64::from_be_bytes(digits))?;
        Some((4 + length, if sign == 0 { magnitude } else { -magnitude }))
    }

    /// The value of `n_digits` digits, the first in the highest 16 bits of `digits`; the bits behind them are
    /// ignored.
    #[inline(always)]
    fn combine(self, n_digits: u32, weight: i32, digits: u64) -> Option<i128> {
        const LOW_LANES: u64 = 0x0000_ffff_0000_ffff;
        // Base-10000 digits from the first one stored to the last one the scale needs.
        let n_needed = weight + self.fraction_digits + 1;
        let fits = n_digits <= 4 && (0..=4).contains(&n_needed) && n_digits <= n_needed.unsigned_abs();
        if !fits {
            return None;
        }
        // Shifts by up to 64 bits, in halves: a single shift by 64 is invalid.
        let unused = 8 * (4 - n_digits);
        let digits = digits >> unused >> unused << unused << unused;
        let unneeded = 8 * (4 - n_needed.unsigned_abs());
        let lanes = digits >> unneeded >> unneeded;
        // A digit above 9999 sets a lane's top bit here.
        if (lanes | lanes.wrapping_add(0x58f0_58f0_58f0_58f0)) & 0x8000_8000_8000_8000 != 0 {
            return None;
        }
        let pairs = (lanes & LOW_LANES) + (lanes >> 16 & LOW_LANES) * 10_000;
        let all = (pairs >> 32) * 100_000_000 + (pairs & 0xffff_ffff);
        let quotient = (all >> self.below_scale).wrapping_mul(self.inverse);
        if all & ((1 << self.below_scale) - 1) != 0 || quotient > self.quotient_max {
            return None;
        }
        Some(i128::from(quotient))
    }
}

/// To `Decimal128(precision, scale)`: the quick way, and a careful one for the rest.
#[derive(Debug)]
pub(crate) struct Decimal128 {
    scale: u8,
    limit: i128,
    quick: Quick,
    policies: Policies,
}

impl Decimal128 {
    /// 1 ≤ `precision` ≤ 38, 0 ≤ `scale` ≤ `precision`.
    pub(crate) fn new(precision: u8, scale: i8, policies: Policies) -> Self {
        let scale = scale.unsigned_abs();
        let limit = i128::ten_to(precision).unwrap_or(i128::MAX);
        Self { scale, limit, quick: Quick::new(precision, scale), policies }
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
        let (quick, before) = (self.quick, values.len());
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
        let (quick, before) = (self.quick, values.len());
        let mut is_left = chunk.lengths.len() != chunk.rows();
        let places = chunk.starts.iter().zip(chunk.lengths).zip(nulls.scratch());
        values.extend(places.map(|((start, length), valid)| {
            *valid = *start != STORED_NULL;
            let at = *start as usize;
            let stored = chunk.bytes.get(at..at.wrapping_add(10)).and_then(|stored| stored.try_into().ok());
            let value = stored.and_then(|stored| quick.decode_stored(stored, *length));
            is_left |= value.is_none() && *valid;
            value.unwrap_or_default()
        }));
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
