//! `cash_recv`: an integer count of the smallest unit of the server's `lc_monetary`.
//!
//! Source: `cash_recv`, `numeric_cash` in PostgreSQL's `src/backend/utils/adt/cash.c`.

use arrow_schema::DataType;

use super::scaled::{each_decimal, precision_and_scale};
use super::{Encoder, refuse};
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, ValueError};
use crate::write;

/// Decimal digits of the longest value, as in the decimal that money becomes.
const DIGITS: u8 = 19;

pub(super) fn make(
    source: &DataType,
    target: TypeTarget<'_>,
    fraction_digits: u8,
) -> Result<Box<dyn Encoder>, Refusal> {
    let Some((precision, scale)) = precision_and_scale(source) else { return Err(refuse(source, target)) };
    let n_whole = i32::from(precision) - i32::from(scale);
    let fits = i32::from(scale) <= fraction_digits.into()
        && n_whole <= i32::from(DIGITS) - i32::from(fraction_digits);
    if !fits && target.conversions < Conversions::Check {
        return Err(Refusal::needs_check(format!("{source} may not fit into money")));
    }
    // Any number of units; the range of 64 bits is checked below.
    let lost = (i32::from(scale) - i32::from(fraction_digits)).max(0);
    let zeros = u32::try_from(i32::from(fraction_digits) - i32::from(scale)).unwrap_or(0);
    let rounds = target.conversions >= Conversions::Round;
    each_decimal(source, move |value, out| {
        let units = value.without_last(lost.unsigned_abs(), rounds)?;
        let units = match (units, 10_i128.checked_pow(zeros)) {
            (0, _) => Some(0),
            (units, Some(factor)) => units.checked_mul(factor).and_then(|units| i64::try_from(units).ok()),
            (_, None) => None,
        };
        write::fixed(out, units.ok_or(ValueError::OutOfRange)?.to_be_bytes());
        Ok(())
    })
}
