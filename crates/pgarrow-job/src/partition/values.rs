//! The values of a column that partitions stand for: as bytes, to tell them apart, and as the text of a path.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType, BooleanArray, Decimal256Array, FixedSizeBinaryArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, TimeUnit};
use pgarrow_sink::hexadecimal;

use super::date::{DAY_SECONDS, civil};
use super::folder::NULL;
use super::{DatePart, PartitionKey};
use crate::texts::Texts;

/// Years that readers of paths take, and that have four digits.
const YEARS: std::ops::RangeInclusive<i64> = 1..=9999;

/// What values of a column become.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Boolean,
    Integer,
    Text,
    Uuid,
    Date,
    /// Digits behind the point.
    Decimal(i8),
    Part(DatePart),
}

impl Form {
    /// The form for the values of a field; or why it has none.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other types are refused")]
    pub(super) fn of(key: &PartitionKey, field: &Field) -> Result<Self, String> {
        let data_type = field.data_type();
        if let Some(part) = key.part {
            return match data_type {
                DataType::Timestamp(..) => Ok(Self::Part(part)),
                DataType::Date32 if part != DatePart::Hour => Ok(Self::Part(part)),
                DataType::Date32 => Err("dates have no hours".to_owned()),
                other => Err(format!("{other} has no such part; dates and timestamps have")),
            };
        }
        let is_uuid = field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "arrow.uuid");
        match data_type {
            DataType::Boolean => Ok(Self::Boolean),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Ok(Self::Integer),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Ok(Self::Integer),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(Self::Text),
            DataType::Dictionary(key, value) if **key == DataType::Int32 && **value == DataType::Utf8 => {
                Ok(Self::Text)
            }
            DataType::Date32 => Ok(Self::Date),
            DataType::FixedSizeBinary(16) if is_uuid => Ok(Self::Uuid),
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Ok(Self::Decimal(*scale)),
            DataType::Timestamp(..) => {
                Err("a timestamp has too many values; choose parts: year(NAME), month(NAME), …".to_owned())
            }
            other => Err(format!(
                "its values ({other}) are no names of folders; those of booleans, integers, decimals, text, dates and \
                 uuid are"
            )),
        }
    }

    /// The values of an array; `None` for an array of another type.
    pub(super) fn bind<'a>(self, array: &'a dyn Array) -> Option<Values<'a>> {
        let of = match self {
            Self::Boolean => Of::Boolean(array.as_boolean_opt()?),
            Self::Text => Of::Text(Texts::new(array).ok()?),
            Self::Uuid => Of::Uuid(array.as_fixed_size_binary_opt()?),
            Self::Decimal(_) if matches!(array.data_type(), DataType::Decimal256(..)) => {
                Of::Wide(array.as_primitive_opt::<Decimal256Type>()?)
            }
            Self::Integer | Self::Date | Self::Decimal(_) => Of::Number(numbers(array)?),
            Self::Part(part) => Of::Number(parts(part, array)?),
        };
        Some(Values { form: self, of, nulls: array.logical_nulls() })
    }
}

/// Something that has no name as a folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unnamed {
    Empty,
    Null,
    Year,
}

impl Unnamed {
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Empty => "the empty text, which readers of paths do not tell from NULL",
            Self::Null => "the text that stands for NULL in paths",
            Self::Year => "a date outside of the years 1 to 9999, which are what readers of paths take",
        }
    }
}

type Number<'a> = Box<dyn Fn(usize) -> i128 + 'a>;

/// The values of one array.
pub(super) struct Values<'a> {
    form: Form,
    of: Of<'a>,
    nulls: Option<NullBuffer>,
}

enum Of<'a> {
    Boolean(&'a BooleanArray),
    Number(Number<'a>),
    Wide(&'a Decimal256Array),
    Text(Texts<'a>),
    Uuid(&'a FixedSizeBinaryArray),
}

impl Values<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends bytes that tell the value of a row from all others.
    pub(super) fn append(&self, row: usize, bytes: &mut Vec<u8>) {
        if self.is_null(row) {
            return bytes.push(0);
        }
        bytes.push(1);
        match &self.of {
            Of::Boolean(array) => bytes.push(array.value(row).into()),
            Of::Number(number) => bytes.extend_from_slice(&number(row).to_be_bytes()),
            Of::Wide(array) => bytes.extend_from_slice(&array.value(row).to_be_bytes()),
            Of::Text(texts) => {
                let text = texts.value(row).unwrap_or_default();
                bytes.extend_from_slice(&text.len().to_be_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
            Of::Uuid(array) => bytes.extend_from_slice(array.value(row)),
        }
    }

    /// The text of a row's value, `None` for NULL.
    ///
    /// # Errors
    ///
    /// A value that is no name.
    pub(super) fn text(&self, row: usize) -> Result<Option<String>, Unnamed> {
        if self.is_null(row) {
            return Ok(None);
        }
        Ok(Some(match &self.of {
            Of::Boolean(array) => array.value(row).to_string(),
            Of::Wide(array) => decimal(&array.value(row).to_string(), self.form),
            Of::Text(texts) => match texts.value(row).unwrap_or_default() {
                "" => return Err(Unnamed::Empty),
                NULL => return Err(Unnamed::Null),
                text => text.to_owned(),
            },
            Of::Uuid(array) => {
                let digits = hexadecimal(array.value(row));
                let part = |range| digits.get(range).unwrap_or_default();
                [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
            }
            Of::Number(number) => match (self.form, number(row)) {
                (Form::Date, number) => {
                    let (year, month, day) = civil(i64::try_from(number).unwrap_or(i64::from(i32::MAX)));
                    if !YEARS.contains(&year) {
                        return Err(Unnamed::Year);
                    }
                    format!("{year:04}-{month:02}-{day:02}")
                }
                (Form::Part(DatePart::Year), year) => match i64::try_from(year) {
                    Ok(year) if YEARS.contains(&year) => year.to_string(),
                    _ => return Err(Unnamed::Year),
                },
                (form, number) => decimal(&number.to_string(), form),
            },
        }))
    }
}

/// An unscaled number as PostgreSQL prints the decimal.
fn decimal(digits: &str, form: Form) -> String {
    let Form::Decimal(scale) = form else { return digits.to_owned() };
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let n_digits = usize::from(scale.unsigned_abs());
    match scale {
        0 => format!("{sign}{digits}"),
        ..0 if digits == "0" => digits.to_owned(),
        ..0 => format!("{sign}{digits}{}", "0".repeat(n_digits)),
        1.. => {
            let digits = format!("{digits:0>width$}", width = n_digits.saturating_add(1));
            let (whole, fraction) = digits.split_at(digits.len().saturating_sub(n_digits));
            format!("{sign}{whole}.{fraction}")
        }
    }
}

fn primitive<'a, T: ArrowPrimitiveType>(array: &'a dyn Array) -> Option<Number<'a>>
where
    T::Native: Into<i128>,
{
    let array = array.as_primitive_opt::<T>()?;
    Some(Box::new(|row| array.value(row).into()))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other types have no numbers")]
fn numbers(array: &dyn Array) -> Option<Number<'_>> {
    match array.data_type() {
        DataType::Int8 => primitive::<Int8Type>(array),
        DataType::Int16 => primitive::<Int16Type>(array),
        DataType::Int32 => primitive::<Int32Type>(array),
        DataType::Int64 => primitive::<Int64Type>(array),
        DataType::UInt8 => primitive::<UInt8Type>(array),
        DataType::UInt16 => primitive::<UInt16Type>(array),
        DataType::UInt32 => primitive::<UInt32Type>(array),
        DataType::UInt64 => primitive::<UInt64Type>(array),
        DataType::Date32 => primitive::<Date32Type>(array),
        DataType::Decimal128(..) => primitive::<Decimal128Type>(array),
        _ => None,
    }
}

/// Parts of dates, in UTC: that is what timestamps with time zone count in.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other types are no dates")]
fn parts(part: DatePart, array: &dyn Array) -> Option<Number<'_>> {
    let (number, of_second) = match array.data_type() {
        DataType::Date32 => {
            let days = numbers(array)?;
            let seconds: Number<'_> = Box::new(move |row| days(row).saturating_mul(DAY_SECONDS.into()));
            (seconds, 1)
        }
        DataType::Timestamp(TimeUnit::Second, _) => (primitive::<TimestampSecondType>(array)?, 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (primitive::<TimestampMillisecondType>(array)?, 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (primitive::<TimestampMicrosecondType>(array)?, 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            (primitive::<TimestampNanosecondType>(array)?, 1_000_000_000)
        }
        _ => return None,
    };
    let seconds = move |row| i64::try_from(number(row).div_euclid(of_second)).unwrap_or_default();
    Some(Box::new(move |row| {
        let seconds = seconds(row);
        let (year, month, day) = civil(seconds.div_euclid(DAY_SECONDS));
        i128::from(match part {
            DatePart::Year => year,
            DatePart::Month => month,
            DatePart::Day => day,
            DatePart::Hour => seconds.rem_euclid(DAY_SECONDS).div_euclid(3600),
        })
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, Date32Array, Decimal128Array, DictionaryArray, Int32Array, StringArray,
        TimestampMicrosecondArray,
    };

    use super::*;

    fn texts(array: ArrayRef, part: Option<DatePart>) -> Vec<Result<Option<String>, Unnamed>> {
        let field = Field::new("a", array.data_type().clone(), true);
        let key = PartitionKey { column: "a".to_owned(), part };
        let values = Form::of(&key, &field).unwrap().bind(array.as_ref()).unwrap();
        (0..array.len()).map(|row| values.text(row)).collect()
    }

    fn text(text: &str) -> Result<Option<String>, Unnamed> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn texts_of_values() {
        let decimals = Decimal128Array::from(vec![150, -5, 0]).with_precision_and_scale(5, 2).unwrap();
        assert_eq!(texts(Arc::new(decimals), None), [text("1.50"), text("-0.05"), text("0.00")]);
        let days = Date32Array::from(vec![Some(0), None, Some(-719_162), Some(-719_163), Some(i32::MAX)]);
        let dates =
            [text("1970-01-01"), Ok(None), text("0001-01-01"), Err(Unnamed::Year), Err(Unnamed::Year)];
        assert_eq!(texts(Arc::new(days.clone()), None), dates);
        let months = [text("1"), Ok(None), text("1"), text("12"), text("7")];
        assert_eq!(texts(Arc::new(days), Some(DatePart::Month)), months);
        let strings = StringArray::from(vec![Some("x"), Some(""), None, Some(NULL)]);
        let expected = [text("x"), Err(Unnamed::Empty), Ok(None), Err(Unnamed::Null)];
        assert_eq!(texts(Arc::new(strings.clone()), None), expected);
        let keys = Int32Array::from(vec![Some(0), Some(1), Some(2), Some(3)]);
        let labels = DictionaryArray::new(keys, Arc::new(strings));
        assert_eq!(texts(Arc::new(labels), None), expected);
    }

    #[test]
    fn parts_of_moments_are_those_of_utc() {
        // 1969-12-31 23:59:59.999999, 2026-03-01 00:00:00.
        let moments = TimestampMicrosecondArray::from(vec![-1, 1_772_323_200_000_000]).with_timezone("UTC");
        for (part, expected) in [
            (DatePart::Year, ["1969", "2026"]),
            (DatePart::Month, ["12", "3"]),
            (DatePart::Day, ["31", "1"]),
            (DatePart::Hour, ["23", "0"]),
        ] {
            assert_eq!(texts(Arc::new(moments.clone()), Some(part)), expected.map(text));
        }
    }

    #[test]
    fn types_without_names_are_refused() {
        let form = |data_type, part| {
            let key = PartitionKey { column: "a".to_owned(), part };
            Form::of(&key, &Field::new("a", data_type, true))
        };
        let list = DataType::new_list(DataType::Int32, true);
        for data_type in [DataType::Float64, DataType::Binary, list, DataType::FixedSizeBinary(16)] {
            assert!(form(data_type, None).unwrap_err().contains("are no names of folders"));
        }
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert!(form(timestamp.clone(), None).unwrap_err().contains("choose parts"));
        assert!(form(timestamp, Some(DatePart::Hour)).is_ok());
        assert!(form(DataType::Date32, Some(DatePart::Hour)).is_err());
        assert!(form(DataType::Utf8, Some(DatePart::Year)).is_err());
    }
}
