//! `numeric` to the nearest double, half to even.
//!
//! The wire format is in `numeric.rs`.

use std::io::Write as _;

use arrow_array::types::Float64Type;

use crate::chunk::take_value;
use crate::column::numeric::{DEC_DIGITS, Digits, Numeric};
use crate::column::policy::Policies;
use crate::column::primitive::{Decode, Rows};
use crate::effect::Effect;
use crate::error::{RowError, ValueError};

/// Every integer up to this one is a double.
const EXACT_MAX: u64 = 1 << 53;

/// Every power of ten that is an exact double.
const POWERS_OF_10: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// The magnitude of a value of few digits: one operation on two exact doubles, which rounds correctly.
fn quickly(digits: &Digits<'_>) -> Option<f64> {
    let integer = u64::try_from(digits.integer(0)?).ok().filter(|integer| *integer <= EXACT_MAX)?;
    #[expect(clippy::cast_precision_loss, reason = "exact: at most 2^53")]
    let integer = integer as f64;
    let n_digits = i32::try_from(digits.iter().len()).ok()?;
    let exponent = DEC_DIGITS * (digits.weight - n_digits + 1);
    let power = POWERS_OF_10.get(usize::try_from(exponent.unsigned_abs()).ok()?)?;
    Some(if exponent < 0 { integer / power } else { integer * power })
}

/// The magnitude of any value, by the standard library's parser, which rounds correctly.
#[cold]
fn carefully(digits: &Digits<'_>, text: &mut Vec<u8>) -> f64 {
    text.clear();
    text.push(b'0');
    let mut exponent = DEC_DIGITS * (digits.weight + 1);
    for digit in digits.iter() {
        // Writing to a Vec cannot fail.
        let _ = write!(text, "{digit:04}");
        exponent -= DEC_DIGITS;
    }
    let _ = write!(text, "e{exponent}");
    // ASCII, and a number.
    let magnitude = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    magnitude.unwrap_or(f64::NAN)
}

/// The double nearest to a value; `text` is scratch.
///
/// # Errors
///
/// [`ValueError::OutOfRange`] if a finite value is so large that the nearest double is an infinity.
fn nearest(numeric: &Numeric<'_>, text: &mut Vec<u8>) -> Result<f64, ValueError> {
    let digits = match numeric {
        Numeric::NotANumber => return Ok(f64::NAN),
        Numeric::Infinity { is_negative } => {
            return Ok(if *is_negative { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        Numeric::Finite(digits) => digits,
    };
    let magnitude = quickly(digits).unwrap_or_else(|| carefully(digits, text));
    if magnitude.is_infinite() {
        return Err(ValueError::OutOfRange);
    }
    Ok(if digits.is_negative { -magnitude } else { magnitude })
}

/// To `Float64`. NaN and the infinities stay.
#[derive(Debug)]
pub(crate) struct Float64 {
    policies: Policies,
    text: Vec<u8>,
}

impl Float64 {
    pub(crate) fn new(policies: Policies) -> Self {
        Self { policies, text: Vec::new() }
    }

    /// A value and the effect of a policy, if one applied. The value is `None` if a policy makes it NULL.
    fn value(&mut self, wire: &[u8]) -> Result<(Option<f64>, Option<Effect>), ValueError> {
        let numeric = Numeric::parse(wire)?;
        match nearest(&numeric, &mut self.text) {
            Ok(value) => Ok((Some(value), None)),
            Err(cause) => {
                let is_negative = matches!(numeric, Numeric::Finite(digits) if digits.is_negative);
                let largest = || if is_negative { f64::MIN } else { f64::MAX };
                let (instead, effect) = self.policies.resolve(cause, largest)?;
                Ok((instead, Some(effect)))
            }
        }
    }
}

impl Decode for Float64 {
    type Arrow = Float64Type;

    fn decode(&mut self, bytes: &[u8], cursors: &mut [u32], rows: &mut Rows<f64>) -> Result<(), RowError> {
        let Rows { values, nulls, effects } = rows;
        for (row, (cursor, valid)) in cursors.iter_mut().zip(nulls.scratch()).enumerate() {
            let at_row = |cause| RowError { row, cause };
            let (value, effect) = match take_value(bytes, cursor).map_err(at_row)? {
                None => (None, None),
                Some(wire) => self.value(wire).map_err(at_row)?,
            };
            if let Some(effect) = effect {
                effects.note(values.len(), effect);
            }
            *valid = value.is_some();
            values.push(value.unwrap_or_default());
        }
        nulls.commit(cursors.len());
        Ok(())
    }

    fn allocated_bytes(&self) -> usize {
        self.text.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::column::numeric::NumericText;
    use crate::column::text_form::TextForm as _;

    fn wire(digits: &[u16], weight: i16, sign: u16, dscale: u16) -> Vec<u8> {
        let header = [digits.len() as u16, weight as u16, sign, dscale];
        header.iter().chain(digits).flat_map(|number| number.to_be_bytes()).collect()
    }

    fn decoded(wire: &[u8]) -> Result<f64, ValueError> {
        nearest(&Numeric::parse(wire).unwrap(), &mut Vec::new())
    }

    /// All digits of PostgreSQL's text, parsed by the standard library.
    fn expected(wire: &[u8]) -> f64 {
        let mut text = Vec::new();
        NumericText.print(wire, &mut text).unwrap();
        String::from_utf8(text).unwrap().parse().unwrap()
    }

    #[track_caller]
    fn check(wire: &[u8]) {
        let expected = expected(wire);
        match decoded(wire) {
            Ok(found) => assert_eq!(found.to_bits(), expected.to_bits(), "{expected}"),
            Err(cause) => assert!(cause == ValueError::OutOfRange && expected.is_infinite(), "{cause}"),
        }
    }

    #[test]
    fn values_around_the_ends_of_the_quick_way() {
        for digits in [
            &[][..],
            &[1],
            &[5000],
            &[9007, 1992, 5474, 992], // 2^53, which takes the quick way
            &[9007, 1992, 5474, 993], // halfway between two doubles
            &[9007, 1992, 5474, 995], // halfway, to the even one above
            &[9999, 9999, 9999, 9999],
            &[1, 8014, 3985, 948, 1984], // 2^54
            &[1, 0, 0, 0, 0, 0, 0, 0, 1],
            &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ] {
            for weight in -90..90 {
                for sign in [0, 0x4000] {
                    check(&wire(digits, weight, sign, 400));
                }
            }
        }
    }

    /// 2^53 + 1 is halfway between two doubles; any digit behind it decides, however far.
    #[test]
    fn the_last_digit_of_very_many_decides() {
        for n_zeros in [0, 1, 10, 200, 2000] {
            let halfway = [9007, 1992, 5474, 993];
            let above = [&halfway[..], &vec![0; n_zeros], &[1]].concat();
            let found = decoded(&wire(&above, 3, 0, 16_000)).unwrap();
            assert_eq!(found, 9_007_199_254_740_994.0);
            assert_eq!(decoded(&wire(&halfway, 3, 0, 0)).unwrap(), 9_007_199_254_740_992.0);
        }
    }

    #[test]
    fn values_too_large_are_refused_and_those_too_small_are_zero() {
        // 1.7976931348623157…e308 is the largest double. 1.797693134862315807937… is halfway to the next one,
        // which does not exist.
        let below = [1, 7976, 9313, 4862, 3158, 790];
        let above = [1, 7976, 9313, 4862, 3158, 800];
        assert_eq!(decoded(&wire(&below, 77, 0, 0)), Ok(f64::MAX));
        assert_eq!(decoded(&wire(&below, 77, 0x4000, 0)), Ok(f64::MIN));
        assert_eq!(decoded(&wire(&above, 77, 0, 0)), Err(ValueError::OutOfRange));
        assert_eq!(decoded(&wire(&[1], i16::MAX, 0, 0)), Err(ValueError::OutOfRange));
        assert_eq!(decoded(&wire(&[1], 78, 0, 0)), Err(ValueError::OutOfRange));
        assert_eq!(decoded(&wire(&[1, 8000], 77, 0x4000, 0)), Err(ValueError::OutOfRange));
        assert_eq!(decoded(&wire(&[5], -81, 0, 400)), Ok(5e-324));
        assert_eq!(decoded(&wire(&[1], -83, 0, 400)).map(f64::to_bits), Ok(0));
        assert_eq!(decoded(&wire(&[1], i16::MIN, 0x4000, 400)).map(f64::to_bits), Ok((-0.0_f64).to_bits()));
    }

    #[test]
    fn what_is_not_finite_stays_what_it_is() {
        assert!(decoded(&wire(&[], 0, 0xc000, 0)).unwrap().is_nan());
        assert_eq!(decoded(&wire(&[], 0, 0xd000, 0)), Ok(f64::INFINITY));
        assert_eq!(decoded(&wire(&[], 0, 0xf000, 0)), Ok(f64::NEG_INFINITY));
    }

    proptest! {
        /// `numeric` prints all digits up to the last stored one if its scale says so.
        #[test]
        fn the_nearest_double_is_what_the_text_reads_as(
            digits in prop::collection::vec(prop_oneof![Just(0), Just(9999), Just(5000), 0..10_000_u16], 0..12),
            weight in prop_oneof![-6..8_i16, -90..90_i16],
            is_negative in any::<bool>(),
        ) {
            let dscale = 4 * (digits.len() as i16 - 1 - weight).max(0);
            check(&wire(&digits, weight, if is_negative { 0x4000 } else { 0 }, dscale as u16));
        }
    }
}
