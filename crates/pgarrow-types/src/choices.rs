//! The choices about how types are mapped, for a run or for one column of it.

use std::fmt;
use std::str::FromStr;

use arrow_schema::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION};

/// A word that no choice has, or a text that is no value of its kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChoiceError(pub(crate) String);

impl fmt::Display for ChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ChoiceError {}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value of the choice, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ChoiceError;

            fn from_str(word: &str) -> Result<Self, ChoiceError> {
                match word {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(ChoiceError(format!("write one of {}", [$($word),*].join(", ")))),
                }
            }
        }
    };
}

choice! {
    /// What happens to `infinity` and `-infinity` in dates, timestamps and intervals. Arrow has no such
    /// values.
    InfinityPolicy {
        /// The export stops.
        #[default]
        Error = "error",
        /// NULL, and counted.
        Null = "null",
        /// The largest or the smallest value of the Arrow type, and counted.
        Saturate = "saturate",
    }
}

choice! {
    /// What happens to `NaN`, `Infinity` and `-Infinity` in a `numeric` that becomes a decimal.
    NanPolicy {
        /// The export stops.
        #[default]
        Error = "error",
        /// NULL, and counted.
        Null = "null",
    }
}

choice! {
    /// What happens to finite values outside the range of their Arrow type.
    OutOfRangePolicy {
        /// The export stops.
        #[default]
        Error = "error",
        /// NULL, and counted.
        Null = "null",
        /// The largest or the smallest value of the Arrow type, and counted.
        Saturate = "saturate",
    }
}

choice! {
    /// What happens to values with more digits than the Arrow type keeps: behind the point of a chosen
    /// decimal, or behind the milliseconds of a timestamp.
    LostDigitsPolicy {
        /// The export stops.
        #[default]
        Error = "error",
        /// Rounded as PostgreSQL rounds, half away from zero, and counted. A rounded value can be out of
        /// range.
        Round = "round",
    }
}

choice! {
    /// What `interval` becomes.
    IntervalForm {
        /// `Interval(MonthDayNano)`. A time part beyond ±292 years is out of range.
        #[default]
        MonthDayNano = "month-day-nano",
        /// `Struct{months: Int32, days: Int32, microseconds: Int64}`: PostgreSQL's own three parts.
        /// For Parquet, whose interval has milliseconds.
        Struct = "struct",
        /// As PostgreSQL prints it, in `IntervalStyle` `postgres`.
        Text = "text",
    }
}

choice! {
    /// What arrays become. PostgreSQL fixes neither the number of dimensions of a column's arrays nor their
    /// lower bounds.
    ArrayForm {
        /// `List<T>`. A value of more than one dimension stops the export; lower bounds are counted and
        /// dropped.
        #[default]
        List = "list",
        /// `List<List<…>>`, with the declared number of dimensions; a value with another number stops the
        /// export.
        Nested = "nested",
        /// `Struct{values: List<T>, dimensions: List<Int32>, lower_bounds: List<Int32>}`, which loses
        /// nothing.
        Shaped = "shaped",
    }
}

choice! {
    /// What enums become.
    EnumForm {
        /// `Dictionary(Int32, Utf8)`.
        #[default]
        Dictionary = "dictionary",
        /// The label as a string.
        Text = "text",
    }
}

choice! {
    /// The Arrow form of strings and bytes.
    StringForm {
        /// `Utf8`, `Binary`.
        #[default]
        Utf8 = "utf8",
        /// `LargeUtf8`, `LargeBinary`.
        Large = "large",
        /// `Utf8View`, `BinaryView`.
        View = "view",
    }
}

choice! {
    /// The unit of timestamps.
    TimestampUnit {
        /// Microseconds, PostgreSQL's own.
        #[default]
        Microsecond = "us",
        /// Milliseconds; a value with a fraction of a millisecond stops the export.
        Millisecond = "ms",
        /// Nanoseconds, from 1677 to 2262; others are out of range.
        Nanosecond = "ns",
    }
}

choice! {
    /// What happens to text that is not valid UTF-8. Databases of encoding SQL_ASCII may hold such text.
    EncodingPolicy {
        /// The export stops.
        #[default]
        Error = "error",
        /// Invalid bytes become U+FFFD, and the value is counted.
        Replace = "replace",
        /// An invalid value is read as Latin-1 (every byte is a character), and counted.
        Latin1 = "latin1",
        /// Text columns become `Binary`, their bytes as they are.
        Binary = "binary",
    }
}

choice! {
    /// What happens to types that are not decoded from their binary form.
    UnknownTypes {
        /// The server's text form, with a warning.
        #[default]
        Text = "text",
        /// Planning fails.
        Error = "error",
    }
}

choice! {
    /// What PostGIS geometries become.
    GeometryForm {
        /// ISO WKB, with the column's SRID in the field's metadata; a value of another SRID stops the export.
        #[default]
        Wkb = "wkb",
        /// PostGIS's own EWKB, which has an SRID in every value.
        Ewkb = "ewkb",
    }
}

/// What `numeric` becomes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum NumericForm {
    /// The decimal that holds every value of the declared type; text where there is none.
    #[default]
    Exact,
    /// As PostgreSQL prints it.
    Text,
    /// `Float64`, correctly rounded.
    Float64,
    /// Where no decimal holds every value of the declared type: this one. A value that does not fit stops the
    /// export, unless [`LostDigitsPolicy`] and [`OutOfRangePolicy`] allow a change.
    Decimal(Decimal),
    /// The same, with a precision and scale that hold every present value. One aggregate query finds them
    /// when the export is planned. A column without values becomes `decimal(38,10)`; a column with too many
    /// digits stays text.
    Scan,
}

/// Precision and scale of an Arrow decimal: 1 to 76 digits, of which 0 to `precision` are behind the point.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Decimal {
    precision: u8,
    scale: u8,
}

impl Decimal {
    /// `None` unless 1 ≤ `precision` ≤ 76 and `scale` ≤ `precision`.
    pub fn new(precision: u8, scale: u8) -> Option<Self> {
        let is_valid = (1..=DECIMAL256_MAX_PRECISION).contains(&precision) && scale <= precision;
        is_valid.then_some(Self { precision, scale })
    }

    /// Digits.
    pub fn precision(self) -> u8 {
        self.precision
    }

    /// Digits behind the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// Whether it has 16 bytes. Otherwise it has 32.
    pub fn is_128(self) -> bool {
        self.precision <= DECIMAL128_MAX_PRECISION
    }
}

impl fmt::Display for NumericForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Text => f.write_str("text"),
            Self::Float64 => f.write_str("float64"),
            Self::Decimal(Decimal { precision, scale }) => write!(f, "decimal({precision},{scale})"),
            Self::Scan => f.write_str("scan"),
        }
    }
}

impl FromStr for NumericForm {
    type Err = ChoiceError;

    fn from_str(word: &str) -> Result<Self, ChoiceError> {
        Ok(match word {
            "exact" => Self::Exact,
            "text" => Self::Text,
            "float64" => Self::Float64,
            "scan" => Self::Scan,
            _ => {
                let inside = word.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
                let parts = inside.and_then(|inside| inside.split_once(','));
                let number = |text: &str| text.trim().parse::<u8>().ok();
                let decimal = parts.and_then(|(p, s)| Decimal::new(number(p)?, number(s)?));
                Self::Decimal(decimal.ok_or_else(|| {
                    let text = "write exact, text, float64, scan or decimal(P,S), 1 ≤ P ≤ 76, 0 ≤ S ≤ P";
                    ChoiceError(text.to_owned())
                })?)
            }
        })
    }
}

/// Choices about how types are mapped, for a run or one column. The default suits Arrow in memory and Arrow
/// IPC.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[must_use]
pub struct TypeOptions {
    /// Infinite dates, timestamps and intervals.
    pub infinity: InfinityPolicy,
    /// `NaN` and infinities in decimals.
    pub nan: NanPolicy,
    /// Values outside the range of their Arrow type.
    pub out_of_range: OutOfRangePolicy,
    /// Digits that the Arrow type does not keep.
    pub lost_digits: LostDigitsPolicy,
    /// What a numeric becomes.
    pub numeric: NumericForm,
    /// What an interval becomes.
    pub interval: IntervalForm,
    /// What an array becomes.
    pub arrays: ArrayForm,
    /// What an enum becomes.
    pub enums: EnumForm,
    /// Drops the padding of `char(n)`.
    pub trim: bool,
    /// The form of strings and bytes.
    pub strings: StringForm,
    /// The unit of timestamps.
    pub timestamp_unit: TimestampUnit,
    /// Text that is not UTF-8.
    pub encoding: EncodingPolicy,
    /// Types that are not decoded.
    pub unknown_types: UnknownTypes,
    /// What a geometry becomes.
    pub geometry: GeometryForm,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_printed() {
        for form in IntervalForm::ALL {
            assert_eq!(form.as_str().parse(), Ok(*form));
        }
        let decimal = NumericForm::Decimal(Decimal::new(20, 4).unwrap());
        for form in [NumericForm::Exact, NumericForm::Text, NumericForm::Float64, NumericForm::Scan, decimal]
        {
            assert_eq!(form.to_string().parse(), Ok(form));
        }
        assert_eq!("decimal( 20 , 4 )".parse(), Ok(decimal));
        for wrong in [
            "",
            "Text",
            "decimal",
            "decimal()",
            "decimal(0,0)",
            "decimal(77,0)",
            "decimal(5,6)",
            "decimal(5)",
        ] {
            assert!(wrong.parse::<NumericForm>().is_err(), "{wrong}");
        }
        assert_eq!("nil".parse::<NanPolicy>().unwrap_err().to_string(), "write one of error, null");
    }
}
