//! JSON of structs, maps and lists, for `json_recv` and `jsonb_recv`.
//!
//! Every value is kept, so this conversion needs no permission. Integers and decimals keep all of their
//! digits. Floats have the shortest digits that are read as the same float; jsonb has no minus zero. NULL is
//! `null`. Dates and times have the form of ISO 8601, those with a time zone in UTC. Strings stay strings,
//! even if they are JSON themselves. A value that JSON does not have is an error, for example NaN. Binary
//! columns are refused: there are many ways to write bytes.

use std::fmt;
use std::io::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::temporal_conversions::as_datetime;
use arrow_array::types::{
    ArrowTimestampType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    Float16Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{
    Array, BooleanArray, Float16Array, Float32Array, Float64Array, PrimitiveArray, new_empty_array,
};
use arrow_buffer::NullBuffer;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use pgarrow_types::DEPTH_MAX;

use super::list::Lists;
use super::text::print_decimal;
use super::{Encoder, Values};
use crate::access::{Strings, primitive, required};
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, RefusalKind, ValueError};
use crate::write;

/// The version byte before the text of jsonb.
const JSONB_VERSION: u8 = 1;

/// Whether it is a type of JSON values other than numbers and strings.
pub(super) fn is_nested(source: &DataType) -> bool {
    matches!(source, DataType::Struct(_) | DataType::Map(_, _)) || Lists::item(source).is_some()
}

pub(super) fn make(
    source: &DataType,
    target: TypeTarget<'_>,
    is_jsonb: bool,
) -> Result<Box<dyn Encoder>, Refusal> {
    check(source, DEPTH_MAX)?;
    let rounds = target.conversions >= Conversions::Round;
    Ok(Box::new(JsonValues { source: source.clone(), form: Form { is_jsonb, rounds } }))
}

/// The purpose of the JSON.
#[derive(Clone, Copy, Debug)]
struct Form {
    is_jsonb: bool,
    /// Whether a value may lose digits or its sign.
    rounds: bool,
}

impl Form {
    /// jsonb stores numbers as numerics, which have no minus zero.
    fn keeps_zero(self, is_minus_zero: bool) -> Result<(), ValueError> {
        match is_minus_zero && self.is_jsonb && !self.rounds {
            true => Err(MINUS_ZERO),
            false => Ok(()),
        }
    }
}

pub(super) const MINUS_ZERO: ValueError = ValueError::Invalid("minus zero");

/// Refuses types without a JSON form, with the reason.
fn check(source: &DataType, depth_left: usize) -> Result<(), Refusal> {
    let mismatch = |why: String| Err(Refusal::new(RefusalKind::Mismatch, why));
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return mismatch(format!("its types stand in one another more than {DEPTH_MAX} deep"));
    };
    if let Some(item) = Lists::item(source) {
        return check(item.data_type(), depth_left).map_err(|refusal| refusal.inside(item.name()));
    }
    match source {
        DataType::Struct(fields) => {
            for (index, field) in fields.iter().enumerate() {
                // jsonb would keep only the last of the two.
                if fields.iter().take(index).any(|before| before.name() == field.name()) {
                    return mismatch(format!("there are two fields {:?}", field.name()));
                }
                check(field.data_type(), depth_left).map_err(|refusal| refusal.inside(field.name()))?;
            }
            Ok(())
        }
        DataType::Map(entries, _) => match entry_types(entries.data_type()) {
            Some((keys, values)) if Strings::is(keys) => {
                check(values, depth_left).map_err(|refusal| refusal.inside("value"))
            }
            _ => mismatch("keys that are no strings, as those of JSON are".to_owned()),
        },
        DataType::Dictionary(_, values) => check(values, depth_left),
        DataType::RunEndEncoded(_, values) => check(values.data_type(), depth_left),
        DataType::Null | DataType::Boolean | DataType::Timestamp(_, Some(_)) => Ok(()),
        source if Strings::is(source) || source.is_integer() || source.is_floating() => Ok(()),
        source if source.is_decimal() || source.is_temporal() => {
            match ArrayFormatter::try_new(new_empty_array(source).as_ref(), &FormatOptions::new()) {
                Ok(_) => Ok(()),
                Err(_) => mismatch(format!("{source} cannot be printed")),
            }
        }
        source => mismatch(format!("JSON has no form for {source}")),
    }
}

fn entry_types(entries: &DataType) -> Option<(&DataType, &DataType)> {
    match entries {
        DataType::Struct(fields) => match &**fields {
            [keys, values] => Some((keys.data_type(), values.data_type())),
            _ => None,
        },
        _ => None,
    }
}

#[derive(Debug)]
struct JsonValues {
    source: DataType,
    form: Form,
}

impl Encoder for JsonValues {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        if *array.data_type() != self.source {
            return Err(ValueError::WrongArray);
        }
        Ok(Box::new(BoundJson { node: Node::new(array, self.form)?, is_jsonb: self.form.is_jsonb }))
    }
}

#[derive(Debug)]
struct BoundJson<'a> {
    node: Node<'a>,
    is_jsonb: bool,
}

impl Values for BoundJson<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        write::measured(out, |out| {
            if self.is_jsonb {
                out.push(JSONB_VERSION);
            }
            self.node.kind.write(row, out)
        })
    }
}

/// Appends the value of a row.
type WriteRow<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<(), ValueError> + 'a>;

/// An array, and the arrays inside it.
struct Node<'a> {
    /// Also NULLs behind keys of dictionaries.
    nulls: Option<NullBuffer>,
    kind: Kind<'a>,
}

enum Kind<'a> {
    /// Every value is NULL.
    Null,
    Bool(&'a BooleanArray),
    Half(&'a Float16Array, Form),
    Single(&'a Float32Array, Form),
    Double(&'a Float64Array, Form),
    /// An integer, as its formatter prints it.
    Number(ArrayFormatter<'a>),
    /// The same in quotes. Its text needs no escapes.
    Printed(ArrayFormatter<'a>),
    /// A timestamp with a time zone, or a decimal. A formatter would cut a decimal's digits beyond its
    /// precision.
    Written(WriteRow<'a>),
    Text {
        strings: Strings<'a>,
        is_jsonb: bool,
    },
    List(Lists<'a>, Box<Node<'a>>),
    Map {
        lists: Lists<'a>,
        keys: Box<Node<'a>>,
        values: Box<Node<'a>>,
    },
    /// Names in JSON form, with the colon.
    Struct(Vec<(Vec<u8>, Node<'a>)>),
    /// A dictionary or runs: where a row's value is.
    Elsewhere(Box<dyn Fn(usize) -> usize + 'a>, Box<Node<'a>>),
}

impl<'a> Node<'a> {
    fn new(array: &'a dyn Array, form: Form) -> Result<Self, ValueError> {
        const WRONG: ValueError = ValueError::WrongArray;
        let node = |array: &'a dyn Array| Ok(Box::new(Self::new(array, form)?));
        let formatter = || ArrayFormatter::try_new(array, &const { FormatOptions::new() }).map_err(|_| WRONG);
        let kind = match array.data_type() {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Bool(array.as_boolean_opt().ok_or(WRONG)?),
            DataType::Float16 => Kind::Half(primitive::<Float16Type>(array)?, form),
            DataType::Float32 => Kind::Single(primitive::<Float32Type>(array)?, form),
            DataType::Float64 => Kind::Double(primitive::<Float64Type>(array)?, form),
            DataType::Struct(fields) => {
                let columns = array.as_struct_opt().ok_or(WRONG)?.columns();
                let pairs = fields.iter().zip(columns).map(|(field, column)| {
                    let mut name = Vec::with_capacity(field.name().len().saturating_add(3));
                    write_string(field.name(), &mut name);
                    name.push(b':');
                    Ok((name, Self::new(column.as_ref(), form)?))
                });
                Kind::Struct(pairs.collect::<Result<_, ValueError>>()?)
            }
            DataType::Map(_, _) => {
                let lists = Lists::new(array)?;
                let entries = lists.items.as_struct_opt().ok_or(WRONG)?;
                let [keys, values] = entries.columns() else { return Err(WRONG) };
                Kind::Map { lists, keys: node(keys.as_ref())?, values: node(values.as_ref())? }
            }
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary_opt().ok_or(WRONG)?;
                if dictionary.values().is_empty() {
                    // No key can refer to a value: all are NULL.
                    return Ok(Self { nulls: array.logical_nulls(), kind: Kind::Null });
                }
                let keys = dictionary.normalized_keys();
                let find = move |row: usize| keys.get(row).copied().unwrap_or(usize::MAX);
                Kind::Elsewhere(Box::new(find), node(dictionary.values().as_ref())?)
            }
            DataType::RunEndEncoded(_, _) => {
                macro_rules! of_runs {
                    ($($ends:ty),*) => {
                        $(if let Some(runs) = array.as_run_opt::<$ends>() {
                            let find = |row| runs.get_physical_index(row);
                            Kind::Elsewhere(Box::new(find), node(runs.values().as_ref())?)
                        } else)* { return Err(WRONG) }
                    };
                }
                of_runs!(Int16Type, Int32Type, Int64Type)
            }
            DataType::Timestamp(unit, Some(_)) => Kind::Written(match unit {
                TimeUnit::Second => instants(primitive::<TimestampSecondType>(array)?),
                TimeUnit::Millisecond => instants(primitive::<TimestampMillisecondType>(array)?),
                TimeUnit::Microsecond => instants(primitive::<TimestampMicrosecondType>(array)?),
                TimeUnit::Nanosecond => instants(primitive::<TimestampNanosecondType>(array)?),
            }),
            source if Strings::is(source) => {
                Kind::Text { strings: Strings::new(array)?, is_jsonb: form.is_jsonb }
            }
            source if source.is_integer() => Kind::Number(formatter()?),
            DataType::Decimal32(_, scale) => Kind::Written(decimals::<Decimal32Type>(array, *scale)?),
            DataType::Decimal64(_, scale) => Kind::Written(decimals::<Decimal64Type>(array, *scale)?),
            DataType::Decimal128(_, scale) => Kind::Written(decimals::<Decimal128Type>(array, *scale)?),
            DataType::Decimal256(_, scale) => Kind::Written(decimals::<Decimal256Type>(array, *scale)?),
            source if Lists::item(source).is_some() => {
                let lists = Lists::new(array)?;
                Kind::List(lists, node(lists.items)?)
            }
            _ => Kind::Printed(formatter()?),
        };
        Ok(Self { nulls: array.logical_nulls().filter(|nulls| nulls.null_count() > 0), kind })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        match self.is_null(row) {
            true => out.extend_from_slice(b"null"),
            false => self.kind.write(row, out)?,
        }
        Ok(())
    }
}

impl Kind<'_> {
    /// Appends a value that is not NULL.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(array) => {
                let word: &[u8] = if array.value(row) { b"true" } else { b"false" };
                out.extend_from_slice(word);
            }
            Self::Half(array, form) => {
                let value = array.value(row).to_f32();
                form.keeps_zero(value == 0.0 && value.is_sign_negative())?;
                write_float(value.is_finite(), format_args!("{value:?}"), out)?;
            }
            Self::Single(array, form) => {
                let value = array.value(row);
                form.keeps_zero(value == 0.0 && value.is_sign_negative())?;
                write_float(value.is_finite(), format_args!("{value:?}"), out)?;
            }
            Self::Double(array, form) => {
                let value = array.value(row);
                form.keeps_zero(value == 0.0 && value.is_sign_negative())?;
                write_float(value.is_finite(), format_args!("{value:?}"), out)?;
            }
            Self::Number(formatter) => out.extend_from_slice(printed(formatter, row)?.as_bytes()),
            Self::Written(write) => write(row, out)?,
            Self::Printed(formatter) => write_string(&printed(formatter, row)?, out),
            Self::Text { strings, is_jsonb } => {
                let text = strings.value(row);
                // json keeps its text, with the escape; jsonb has no such character.
                if *is_jsonb && text.contains('\0') {
                    return Err(ValueError::ZeroByte);
                }
                write_string(text, out);
            }
            Self::List(lists, items) => {
                out.push(b'[');
                for (n, index) in lists.range(row)?.enumerate() {
                    comma(n, out);
                    items.write(index, out)?;
                }
                out.push(b']');
            }
            Self::Map { lists, keys, values } => write_map(*lists, keys, values, row, out)?,
            Self::Struct(parts) => {
                out.push(b'{');
                for (n, (name, part)) in parts.iter().enumerate() {
                    comma(n, out);
                    out.extend_from_slice(name);
                    part.write(row, out)?;
                }
                out.push(b'}');
            }
            Self::Elsewhere(find, values) => values.write(find(row), out)?,
        }
        Ok(())
    }
}

fn write_map(
    lists: Lists<'_>,
    keys: &Node<'_>,
    values: &Node<'_>,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let mut places = Vec::new();
    out.push(b'{');
    for (n, entry) in lists.range(row)?.enumerate() {
        if lists.items.is_null(entry) || keys.is_null(entry) {
            return Err(ValueError::NullPart);
        }
        comma(n, out);
        let start = out.len();
        keys.kind.write(entry, out)?;
        places.push(start..out.len());
        out.push(b':');
        values.write(entry, out)?;
    }
    out.push(b'}');
    match super::map::is_unique(&mut places, out) {
        true => Ok(()),
        false => Err(ValueError::DuplicateKey),
    }
}

fn comma(n_before: usize, out: &mut Vec<u8>) {
    if n_before > 0 {
        out.push(b',');
    }
}

/// The shortest digits that are read as the same float, with an exponent instead of many zeros.
fn write_float(is_finite: bool, digits: fmt::Arguments<'_>, out: &mut Vec<u8>) -> Result<(), ValueError> {
    if !is_finite {
        return Err(ValueError::NotJson);
    }
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(digits);
    Ok(())
}

/// Refuses values that cannot be printed, for example a timestamp in a far year.
fn printed(formatter: &ArrayFormatter<'_>, row: usize) -> Result<String, ValueError> {
    formatter.value(row).try_to_string().map_err(|_| ValueError::OutOfRange)
}

fn instants<'a, T: ArrowTimestampType>(array: &'a PrimitiveArray<T>) -> WriteRow<'a> {
    Box::new(|row, out| {
        let instant = as_datetime::<T>(required(array, row)?).ok_or(ValueError::OutOfRange)?;
        // As in ISO 8601, with all digits of the second.
        let _ = write!(out, "\"{instant:?}Z\"");
        Ok(())
    })
}

/// Appends all digits, whatever the declared precision.
fn decimals<T: DecimalType>(array: &dyn Array, scale: i8) -> Result<WriteRow<'_>, ValueError>
where
    T::Native: fmt::Display,
{
    let array = primitive::<T>(array)?;
    Ok(Box::new(move |row, out| {
        print_decimal(&required(array, row)?.to_string(), scale, out);
        Ok(())
    }))
}

/// Source: RFC 8259, "Strings".
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                let _ = write!(out, "\\u{byte:04x}");
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("nulls", &self.nulls.is_some()).finish_non_exhaustive()
    }
}
