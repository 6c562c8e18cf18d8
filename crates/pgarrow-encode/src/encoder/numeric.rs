//! `numeric_recv`, and the sources of numerics: decimals, integers, their text, and floats.
//!
//! `numeric_recv` silently rounds to the scale of the type's modifier, so digits are checked here. A numeric
//! without a modifier keeps the scale of each value.
//!
//! Source: `numeric_recv`, `apply_typmod`, `numeric_int8` and their kin in PostgreSQL's
//! `src/backend/utils/adt/numeric.c`.

mod digits;
mod scale;
mod text;

use arrow_array::downcast_integer;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_schema::DataType;
use pgarrow_types::NumericType;

use self::scale::Rescale;
use super::each::{each, each_string};
use super::scaled::{Unscaled, digits_of_integer, each_decimal, precision_and_scale};
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, ValueError};

pub(super) fn make(
    source: &DataType,
    target: TypeTarget<'_>,
    numeric: NumericType,
) -> Result<Box<dyn Encoder>, Refusal> {
    let rounds = target.conversions >= Conversions::Round;
    if Strings::is(source) {
        if target.conversions < Conversions::Check && numeric != NumericType::Unconstrained {
            return Err(Refusal::needs_check(format!("{source} may not fit into {}", name(numeric))));
        }
        return Ok(each_string(move |value, out| text::write(value, numeric, rounds, out)));
    }
    if let Some((precision, scale)) = precision_and_scale(source) {
        check_fits(source, target, numeric, precision, scale)?;
        let rescale = Rescale::new(numeric, scale.into(), rounds);
        return each_decimal(source, move |value, out| match value {
            Unscaled::Small(value) => rescale.write(value < 0, value.unsigned_abs(), out),
            Unscaled::Large(_) => {
                text::write(&format!("{value}e{}", -i32::from(scale)), numeric, rounds, out)
            }
        });
    }
    if let Some(digits) = digits_of_integer(source) {
        check_fits(source, target, numeric, digits, 0)?;
        let rescale = Rescale::new(numeric, 0, rounds);
        macro_rules! from_integer {
            ($arrow:ty) => {
                each::<$arrow>(source, move |value, out| {
                    let value = i128::from(value);
                    rescale.write(value < 0, value.unsigned_abs(), out)
                })
            };
        }
        return Ok(downcast_integer! { source => (from_integer), _ => return Err(refuse(source, target)) });
    }
    if !source.is_floating() {
        return Err(refuse(source, target));
    }
    if !rounds {
        return Err(Refusal::needs_round(format!("{source} is a binary fraction and becomes a decimal one")));
    }
    // The fewest digits that are read as the same float.
    Ok(match source {
        DataType::Float16 => each::<Float16Type>(source, move |value, out| {
            write_float(f64::from(value.to_f32()), format_args!("{value}"), numeric, out)
        }),
        DataType::Float32 => each::<Float32Type>(source, move |value, out| {
            write_float(f64::from(value), format_args!("{value}"), numeric, out)
        }),
        _ => each::<Float64Type>(source, move |value, out| {
            write_float(value, format_args!("{value}"), numeric, out)
        }),
    })
}

fn write_float(
    value: f64,
    printed: std::fmt::Arguments<'_>,
    numeric: NumericType,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    match () {
        () if value.is_nan() => text::write("NaN", numeric, true, out),
        () if value.is_finite() => text::write(&printed.to_string(), numeric, true, out),
        () if value > 0.0 => text::write("Infinity", numeric, true, out),
        () => text::write("-Infinity", numeric, true, out),
    }
}

/// Checks that every value with these numbers of digits fits, unless each value is checked later.
fn check_fits(
    source: &DataType,
    target: TypeTarget<'_>,
    numeric: NumericType,
    precision: u8,
    scale: i8,
) -> Result<(), Refusal> {
    let NumericType::Declared { precision: p, scale: s } = numeric else { return Ok(()) };
    let (precision, scale) = (i32::from(precision), i32::from(scale));
    let fits = scale <= i32::from(s) && precision - scale <= i32::from(p) - i32::from(s);
    match fits || target.conversions >= Conversions::Check {
        true => Ok(()),
        false => Err(Refusal::needs_check(format!("{source} may not fit into {}", name(numeric)))),
    }
}

fn name(numeric: NumericType) -> String {
    match numeric {
        NumericType::Unconstrained => "numeric".to_owned(),
        NumericType::Declared { precision, scale } => format!("numeric({precision},{scale})"),
    }
}
