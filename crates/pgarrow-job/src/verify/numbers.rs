//! Smallest, largest and sum of numbers, exactly; smallest and largest of dates and timestamps.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrowPrimitiveType};
use arrow_buffer::i256;
use arrow_schema::DataType;
use pgarrow_sink::hexadecimal;

/// How numbers are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NumberForm {
    /// Integers and decimals, as decimal texts.
    Exact,
    /// As what `date_send` makes: days since 2000 in 32 bits, in hexadecimal digits. Infinities are the
    /// extremes.
    Date,
    /// The same of `timestamp_send`: microseconds in 64 bits.
    Timestamp,
    /// The same of `timestamptz_send`.
    Timestamptz,
}

/// From 1970, where Arrow counts from, to 2000, where PostgreSQL does.
const DAYS: i32 = 10_957;
const MICROSECONDS: i64 = 946_684_800_000_000;
const _: () = assert!(MICROSECONDS == DAYS as i64 * 24 * 60 * 60 * 1_000_000);

impl NumberForm {
    /// SQL of smallest, largest and sum of an expression, as texts.
    pub(super) fn sql(self, number: &str) -> [String; 3] {
        let sent = |send: &str| {
            let of = |aggregate: &str| {
                format!("pg_catalog.encode(pg_catalog.{send}(pg_catalog.{aggregate}({number})), 'hex')")
            };
            [of("min"), of("max"), "NULL::pg_catalog.text".to_owned()]
        };
        match self {
            Self::Exact => {
                ["min", "max", "sum"].map(|of| format!("pg_catalog.{of}({number})::pg_catalog.text"))
            }
            Self::Date => sent("date_send"),
            Self::Timestamp => sent("timestamp_send"),
            Self::Timestamptz => sent("timestamptz_send"),
        }
    }

    /// A text of the server in the form that [`Numbers::texts`] has.
    pub(super) fn canonical(self, text: &str) -> String {
        match self {
            Self::Exact => canonical(text),
            Self::Date | Self::Timestamp | Self::Timestamptz => text.to_owned(),
        }
    }
}

/// What a column's numbers come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    smallest: Option<i256>,
    largest: Option<i256>,
    /// `None`: it is wider than 256 bits.
    sum: Option<i256>,
    /// Digits behind the point.
    scale: usize,
}

/// The same as decimal texts in one form: no zeros at the end of a fraction. `None`: there are no values, or
/// it is not known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct NumberTexts {
    pub(super) smallest: Option<String>,
    pub(super) largest: Option<String>,
    pub(super) sum: Option<String>,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self { sum: Some(i256::ZERO), ..Self::default() }
    }

    /// Adds the values of an array.
    pub(super) fn add(&mut self, array: &dyn Array) {
        if let DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) = array.data_type() {
            self.scale = usize::try_from(*scale).unwrap_or(0);
        }
        self.add_of::<Int16Type>(array, |value| i256::from_i128(value.into()));
        self.add_of::<Int32Type>(array, |value| i256::from_i128(value.into()));
        self.add_of::<Int64Type>(array, |value| i256::from_i128(value.into()));
        self.add_of::<Decimal128Type>(array, i256::from_i128);
        self.add_of::<Decimal256Type>(array, |value| value);
        self.add_of::<Date32Type>(array, |value| i256::from_i128(value.into()));
        self.add_of::<TimestampMicrosecondType>(array, |value| i256::from_i128(value.into()));
    }

    fn add_of<T: ArrowPrimitiveType>(&mut self, array: &dyn Array, wide: impl Fn(T::Native) -> i256) {
        let Some(array) = array.as_primitive_opt::<T>() else { return };
        for value in array.iter().flatten().map(wide) {
            self.smallest = Some(self.smallest.map_or(value, |smallest| smallest.min(value)));
            self.largest = Some(self.largest.map_or(value, |largest| largest.max(value)));
            self.sum = self.sum.and_then(|sum| sum.checked_add(value));
        }
    }

    /// As texts.
    pub(super) fn texts(&self, form: NumberForm) -> NumberTexts {
        let text = |value: i256| match form {
            NumberForm::Exact => Some(decimal(&value.to_string(), self.scale)),
            NumberForm::Date => {
                let days = i32::try_from(value.to_i128()?).ok()?.checked_sub(DAYS)?;
                Some(hexadecimal(&days.to_be_bytes()))
            }
            NumberForm::Timestamp | NumberForm::Timestamptz => {
                let microseconds = i64::try_from(value.to_i128()?).ok()?.checked_sub(MICROSECONDS)?;
                Some(hexadecimal(&microseconds.to_be_bytes()))
            }
        };
        let sum = self.sum.filter(|_| self.smallest.is_some() && form == NumberForm::Exact);
        NumberTexts {
            smallest: self.smallest.and_then(text),
            largest: self.largest.and_then(text),
            sum: sum.and_then(text),
        }
    }
}

/// A decimal from its digits.
fn decimal(digits: &str, scale: usize) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = format!("{digits:0>width$}", width = scale.saturating_add(1));
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(scale));
    canonical(&format!("{sign}{whole}.{fraction}"))
}

/// A decimal as PostgreSQL prints it, without zeros at the end of its fraction.
fn canonical(text: &str) -> String {
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Date32Array, Decimal128Array, Int64Array};

    use super::*;

    #[test]
    fn decimals_have_one_form() {
        for (digits, scale, text) in [
            ("0", 2, "0"),
            ("-1", 2, "-0.01"),
            ("100", 2, "1"),
            ("150", 2, "1.5"),
            ("-1500", 0, "-1500"),
            ("7", 5, "0.00007"),
        ] {
            assert_eq!(decimal(digits, scale), text);
        }
        assert_eq!([canonical("1.500"), canonical("100"), canonical("-0.00")], ["1.5", "100", "0"]);
    }

    #[test]
    fn sums_are_wider_than_their_values() {
        let mut numbers = Numbers::new();
        assert_eq!(numbers.texts(NumberForm::Exact), NumberTexts::default());
        let most = Int64Array::from(vec![Some(i64::MAX), None, Some(i64::MAX), Some(-1)]);
        numbers.add(&most);
        let texts = numbers.texts(NumberForm::Exact);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!((texts.smallest, texts.largest), (text("-1"), text("9223372036854775807")));
        assert_eq!(texts.sum, text("18446744073709551613"));
        let mut numbers = Numbers::new();
        numbers.add(&Decimal128Array::from(vec![150, -25]).with_precision_and_scale(10, 2).unwrap());
        assert_eq!(numbers.texts(NumberForm::Exact).sum, text("1.25"));
        // As `date_send` has 2000-01-01 and the day before.
        let mut days = Numbers::new();
        days.add(&Date32Array::from(vec![DAYS, DAYS - 1]));
        let texts = days.texts(NumberForm::Date);
        assert_eq!((texts.smallest, texts.largest), (text("ffffffff"), text("00000000")));
        assert_eq!(texts.sum, None);
    }
}
