//! `textrecv`, `varcharrecv`, `bpcharrecv`, `namerecv`, `citextrecv`, `xml_recv` inside other types: text.
//! The server itself checks the length, except for blanks: it silently cuts excess blanks of a `varchar(n)`.
//! (Blanks at the end of a `char(n)` are no part of its value.) If XML names another encoding than UTF-8, the
//! server reads it in that encoding.
//!
//! Source: `varlena.c`, `varchar.c`, `name.c`, `xml.c` in PostgreSQL's `src/backend/utils/adt/`.

use std::fmt;
use std::io::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray, downcast_integer};
use arrow_schema::DataType;
use pgarrow_types::oid;

use super::each::{each, each_bytes};
use super::scaled::{each_decimal, precision_and_scale};
use super::{Encoder, Values, refuse};
use crate::access::{Bytes, Strings};
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, ValueError};
use crate::write;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let inner = make_any(source, target)?;
    // The modifier for a length of n: `anychar_typmodin`.
    let chars_max = usize::try_from(target.declared.type_modifier.saturating_sub(4));
    Ok(match (target.declared.base_oid, chars_max) {
        (oid::VARCHAR, Ok(chars_max)) if target.conversions < Conversions::Round => {
            Box::new(Looked { inner, look: move |text: &[u8]| loses_no_blanks(text, chars_max) })
        }
        (oid::XML, _) => Box::new(Looked { inner, look: is_said_to_be_utf8 }),
        _ => inner,
    })
}

fn make_any(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    if Strings::is(source) {
        return Ok(Box::new(Texts));
    }
    if Bytes::is(source) {
        return make_of_bytes(source, target, |value, out| write::bytes(out, value));
    }
    let scale = precision_and_scale(source).map(|(_, scale)| scale);
    if !source.is_integer() && *source != DataType::Boolean && scale.is_none() {
        return Err(refuse(source, target));
    }
    if target.conversions < Conversions::Check {
        return Err(Refusal::needs_check(format!("{source} is not text")));
    }
    if let Some(scale) = scale {
        return each_decimal(source, move |value, out| {
            write::measured(out, |out| {
                print_decimal(&value.to_string(), scale, out);
                Ok(())
            })
        });
    }
    macro_rules! from_integer {
        ($arrow:ty) => {
            each::<$arrow>(source, |value, out| {
                write::measured(out, |out| {
                    // Writing to a Vec cannot fail.
                    let _ = write!(out, "{value}");
                    Ok(())
                })
            })
        };
    }
    Ok(downcast_integer! { source => (from_integer), _ => Box::new(Bools) })
}

/// For bytes that once were text of an unknown encoding. The server checks whether they are text in its own.
pub(super) fn make_of_bytes(
    source: &DataType,
    target: TypeTarget<'_>,
    write: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), ValueError> + Send + Sync + 'static,
) -> Result<Box<dyn Encoder>, Refusal> {
    if target.conversions < Conversions::Check {
        return Err(Refusal::needs_check(format!("{source} may not be text")));
    }
    Ok(each_bytes(move |value, out| write(without_zero(value)?, out)))
}

/// The text unchanged, unless PostgreSQL would end it too early.
#[inline]
pub(super) fn without_zero(text: &[u8]) -> Result<&[u8], ValueError> {
    match text.contains(&0) {
        true => Err(ValueError::ZeroByte),
        false => Ok(text),
    }
}

/// Prints as PostgreSQL prints a numeric: the point before the last `scale` digits, and a zero in front if
/// the point comes first.
pub(super) fn print_decimal(unscaled: &str, scale: i8, out: &mut Vec<u8>) {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    let behind = usize::try_from(scale).unwrap_or(0);
    let digits = match (scale < 0, digits) {
        (true, "0") | (false, _) => digits.to_owned(),
        (true, _) => digits.to_owned() + &"0".repeat(scale.unsigned_abs().into()),
    };
    let digits = format!("{digits:0>width$}", width = behind + 1);
    let (whole, fraction) = digits.split_at(digits.len() - behind);
    let point = if behind > 0 { "." } else { "" };
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{sign}{whole}{point}{fraction}");
}

/// Checks that no blanks would be cut from a text of a `varchar(n)`.
///
/// Source: `varchar_input` in PostgreSQL's `src/backend/utils/adt/varchar.c`.
fn loses_no_blanks(text: &[u8], chars_max: usize) -> Result<(), ValueError> {
    if text.len() <= chars_max || !text.ends_with(b" ") || n_chars(text) <= chars_max {
        return Ok(());
    }
    // If the excess holds more than blanks, the server refuses the text.
    let n_kept = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last.saturating_add(1));
    match n_chars(text.get(..n_kept).unwrap_or_default()) <= chars_max {
        true => Err(ValueError::LostBlanks),
        false => Ok(()),
    }
}

/// The number of characters of UTF-8: bytes that do not continue a character.
fn n_chars(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Checks that XML does not declare another encoding than UTF-8: the server would use that one.
///
/// Source: `xml_recv`, `parse_xml_decl` in PostgreSQL's `src/backend/utils/adt/xml.c`.
fn is_said_to_be_utf8(text: &[u8]) -> Result<(), ValueError> {
    // With a longer name, it is an instruction: `<?xml-stylesheet … ?>`.
    let rest = text.strip_prefix(b"<?xml").filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace));
    let Some(rest) = rest else { return Ok(()) };
    let end = rest.windows(2).position(|pair| pair == b"?>").unwrap_or(rest.len());
    let declaration = rest.get(..end).unwrap_or_default();
    const NAME: &[u8] = b"encoding";
    let Some(start) = declaration.windows(NAME.len()).position(|word| word == NAME) else { return Ok(()) };
    let value = declaration.get(start.saturating_add(NAME.len())..).unwrap_or_default().trim_ascii_start();
    let value = value.strip_prefix(b"=").map(<[u8]>::trim_ascii);
    let value = value.and_then(|value| {
        let (quote, value) = value.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
        value.get(..value.iter().position(|byte| byte == quote)?)
    });
    match value {
        Some(value) if value.eq_ignore_ascii_case(b"utf-8") || value.eq_ignore_ascii_case(b"utf8") => Ok(()),
        _ => Err(ValueError::Malformed("it declares another encoding than UTF-8, which it has")),
    }
}

/// Text that is checked after it is written.
struct Looked<F> {
    inner: Box<dyn Encoder>,
    look: F,
}

impl<F> Encoder for Looked<F>
where
    F: Fn(&[u8]) -> Result<(), ValueError> + Send + Sync,
{
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(LookedValues { inner: self.inner.bind(array)?, look: &self.look }))
    }
}

impl<F> fmt::Debug for Looked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looked").field("inner", &self.inner).finish_non_exhaustive()
    }
}

struct LookedValues<'a, F> {
    inner: Box<dyn Values + 'a>,
    look: &'a F,
}

impl<F: Fn(&[u8]) -> Result<(), ValueError>> Values for LookedValues<'_, F> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let start = out.len().saturating_add(4);
        self.inner.write(row, out)?;
        (self.look)(out.get(start..).unwrap_or_default())
    }
}

impl<F> fmt::Debug for LookedValues<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookedValues").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Texts;

impl Encoder for Texts {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let strings = Strings::new(array)?;
        // One check of all bytes is quicker than one of each value.
        Ok(match strings.may_have_zero() {
            true => Box::new(TextValues::<true>(strings)),
            false => Box::new(TextValues::<false>(strings)),
        })
    }
}

#[derive(Debug)]
struct TextValues<'a, const LOOKS: bool>(Strings<'a>);

impl<const LOOKS: bool> Values for TextValues<'_, LOOKS> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let text = self.0.value(row).as_bytes();
        write::bytes(out, if LOOKS { without_zero(text)? } else { text })
    }
}

/// `true` and `false`, as in the cast of `boolean` to text.
#[derive(Debug)]
struct Bools;

impl Encoder for Bools {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(BoolValues(array.as_boolean_opt().ok_or(ValueError::WrongArray)?)))
    }
}

#[derive(Debug)]
struct BoolValues<'a>(&'a BooleanArray);

impl Values for BoolValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        write::bytes(out, if self.0.value(row) { b"true" } else { b"false" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_as_postgres_prints_them() {
        for (unscaled, scale, expected) in [
            ("0", 0, "0"),
            ("0", 2, "0.00"),
            ("0", -2, "0"),
            ("5", 3, "0.005"),
            ("-5", 1, "-0.5"),
            ("12345", 2, "123.45"),
            ("-12345", 5, "-0.12345"),
            ("12", -3, "12000"),
            ("-170141183460469231731687303715884105728", 38, "-1.70141183460469231731687303715884105728"),
        ] {
            let mut out = Vec::new();
            print_decimal(unscaled, scale, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{unscaled} {scale}");
        }
    }
}
