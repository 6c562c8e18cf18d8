//! Flags about types: what they become, and what becomes of values that do not fit.

use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Args};
use pgarrow::{
    ArrayForm, ChoiceError, ColumnOptions, EncodingPolicy, EnumForm, GeometryForm, InfinityPolicy,
    IntervalForm, LostDigitsPolicy, NanPolicy, NumericForm, OutOfRangePolicy, StringForm, TimestampUnit,
    TypeOptions, UnknownTypes, parse_column_list,
};

#[derive(Args, Clone, Debug)]
pub(crate) struct TypeFlags {
    /// What becomes of infinite dates, timestamps and intervals. Default: error, which stops the export
    #[arg(long, value_name = "POLICY", value_parser = words(InfinityPolicy::ALL, InfinityPolicy::as_str), help_heading = "Types")]
    pub(crate) infinity: Option<InfinityPolicy>,

    /// What becomes of NaN and infinities in numerics that become decimals. Default: error
    #[arg(long, value_name = "POLICY", value_parser = words(NanPolicy::ALL, NanPolicy::as_str), help_heading = "Types")]
    pub(crate) nan: Option<NanPolicy>,

    /// What becomes of values outside the range of their Arrow type. Default: error
    #[arg(long, value_name = "POLICY", value_parser = words(OutOfRangePolicy::ALL, OutOfRangePolicy::as_str), help_heading = "Types")]
    pub(crate) out_of_range: Option<OutOfRangePolicy>,

    /// What becomes of digits beyond those that a chosen decimal, or a timestamp in ms, keeps. Default: error
    ///
    /// round: as PostgreSQL rounds, half away from zero. A value that is out of range then falls under
    /// --out-of-range.
    #[arg(long, value_name = "POLICY", value_parser = words(LostDigitsPolicy::ALL, LostDigitsPolicy::as_str), help_heading = "Types")]
    pub(crate) lost_digits: Option<LostDigitsPolicy>,

    /// What numeric becomes: exact, text, float64, decimal(P,S), scan. Default: exact; text without precision
    ///
    /// decimal(P,S) is for numerics that declare no precision, or one of more than 76 digits. scan asks the
    /// server, by a query that reads the table, for the smallest decimal that holds every value of such a
    /// column.
    #[arg(long, value_name = "FORM", value_parser = NumericParser, help_heading = "Types")]
    #[arg(hide_possible_values = true)]
    pub(crate) numeric: Option<NumericForm>,

    /// What interval becomes. Default: month-day-nano; struct in Parquet, which has no such type
    #[arg(long, value_name = "FORM", value_parser = words(IntervalForm::ALL, IntervalForm::as_str), help_heading = "Types")]
    pub(crate) interval: Option<IntervalForm>,

    /// What arrays become. Default: list, which stops at a value of more than one dimension
    ///
    /// nested: lists in lists, as deep as the column is declared. shaped: a struct of values, dimensions and
    /// lower bounds, which loses nothing.
    #[arg(long, value_name = "FORM", value_parser = words(ArrayForm::ALL, ArrayForm::as_str), help_heading = "Types")]
    pub(crate) arrays: Option<ArrayForm>,

    /// What enums become. Default: dictionary
    #[arg(long = "enum", value_name = "FORM", value_parser = words(EnumForm::ALL, EnumForm::as_str), help_heading = "Types")]
    pub(crate) enums: Option<EnumForm>,

    /// Drop the blanks that char(n) is padded with. Default: they are kept
    #[arg(long, help_heading = "Types")]
    pub(crate) trim: bool,

    /// Which Arrow form strings and bytes have. Default: utf8
    #[arg(long, value_name = "FORM", value_parser = words(StringForm::ALL, StringForm::as_str), help_heading = "Types")]
    pub(crate) strings: Option<StringForm>,

    /// The unit of timestamps. Default: us, PostgreSQL's own; a value that another one lacks stops the export
    #[arg(long, value_name = "UNIT", value_parser = words(TimestampUnit::ALL, TimestampUnit::as_str), help_heading = "Types")]
    pub(crate) timestamp_unit: Option<TimestampUnit>,

    /// What becomes of text that is not valid UTF-8, as in SQL_ASCII databases. Default: error
    ///
    /// replace: U+FFFD for invalid bytes. latin1: such a value is read as Latin-1. binary: text columns
    /// become binary, with their bytes unchanged.
    #[arg(long, value_name = "POLICY", value_parser = words(EncodingPolicy::ALL, EncodingPolicy::as_str), help_heading = "Types")]
    pub(crate) encoding_policy: Option<EncodingPolicy>,

    /// What becomes of types that are not decoded. Default: text, as the server writes it, with a warning
    #[arg(long, value_name = "POLICY", value_parser = words(UnknownTypes::ALL, UnknownTypes::as_str), help_heading = "Types")]
    pub(crate) unknown_types: Option<UnknownTypes>,

    /// What PostGIS geometries become: ISO WKB with one SRID per column, or EWKB. Default: wkb
    #[arg(long, value_name = "FORM", value_parser = words(GeometryForm::ALL, GeometryForm::as_str), help_heading = "Types")]
    pub(crate) geometry: Option<GeometryForm>,

    /// Choices for one column: text, float64, decimal(P,S), int4[][], or KEY=VALUE as in nan=null. Repeatable
    ///
    /// They override the other options; commas separate several. text is the server's text, for any type.
    /// int4[][] reads an array as lists in lists of this depth. Keys are the names of the options above, as
    /// in at:infinity=null,timestamp-unit=ms. A name is folded to lower case unless it is "quoted"; quote a
    /// name with a colon in it.
    #[arg(long = "column", value_name = "NAME:TYPE", value_parser = parse_column, help_heading = "Types")]
    pub(crate) by_column: Vec<(String, ColumnOptions)>,
}

impl TypeFlags {
    /// The choices for all columns. `unsaid` holds the choices that no flag makes.
    pub(crate) fn options(&self, unsaid: TypeOptions) -> TypeOptions {
        TypeOptions {
            infinity: self.infinity.unwrap_or(unsaid.infinity),
            nan: self.nan.unwrap_or(unsaid.nan),
            out_of_range: self.out_of_range.unwrap_or(unsaid.out_of_range),
            lost_digits: self.lost_digits.unwrap_or(unsaid.lost_digits),
            numeric: self.numeric.unwrap_or(unsaid.numeric),
            interval: self.interval.unwrap_or(unsaid.interval),
            arrays: self.arrays.unwrap_or(unsaid.arrays),
            enums: self.enums.unwrap_or(unsaid.enums),
            trim: self.trim || unsaid.trim,
            strings: self.strings.unwrap_or(unsaid.strings),
            timestamp_unit: self.timestamp_unit.unwrap_or(unsaid.timestamp_unit),
            encoding: self.encoding_policy.unwrap_or(unsaid.encoding),
            unknown_types: self.unknown_types.unwrap_or(unsaid.unknown_types),
            geometry: self.geometry.unwrap_or(unsaid.geometry),
        }
    }

    /// Whether a flag chooses what intervals in this column become.
    pub(crate) fn say_interval(&self, column: &str) -> bool {
        let of_column = self.by_column.iter().find(|(name, _)| name == column);
        self.interval.is_some() || of_column.is_some_and(|(_, options)| options.interval.is_some())
    }

    /// The name of a column that has choices in two flags.
    pub(crate) fn repeated_column(&self) -> Option<&str> {
        repeated(&self.by_column).map(String::as_str)
    }
}

/// The first name that was there before.
pub(super) fn repeated<N: PartialEq, T>(choices: &[(N, T)]) -> Option<&N> {
    let names = || choices.iter().map(|(name, _)| name);
    names()
        .enumerate()
        .find(|(index, name)| names().take(*index).any(|earlier| earlier == *name))
        .map(|(_, name)| name)
}

/// The words of a choice, as help and completions show them.
fn words<T>(all: &'static [T], word: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + FromStr<Err = ChoiceError> + Send + Sync,
{
    PossibleValuesParser::new(all.iter().map(|choice| word(*choice))).try_map(|word| word.parse::<T>())
}

/// A numeric form: some words, and decimals.
#[derive(Clone, Copy, Debug)]
struct NumericParser;

impl TypedValueParser for NumericParser {
    type Value = NumericForm;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<NumericForm, clap::Error> {
        let parse = |text: &str| text.parse::<NumericForm>();
        parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(["exact", "text", "float64", "scan"].into_iter().map(PossibleValue::new)))
    }
}

/// `NAME:TYPE`, up to the first colon that is not quoted.
fn parse_column(text: &str) -> Result<(String, ColumnOptions), String> {
    let form = "write NAME:TYPE, as in total:decimal(20,4)";
    let (name, options) = name_and_choices(text).ok_or(form)?;
    let names = parse_column_list(name).map_err(|error| error.to_string())?;
    let [name] = <[String; 1]>::try_from(names).map_err(|_| format!("{name:?} is not one column; {form}"))?;
    let options = options.parse::<ColumnOptions>().map_err(|error| error.to_string())?;
    Ok((name, options))
}

/// Cuts at the first colon that is not quoted.
pub(super) fn name_and_choices(text: &str) -> Option<(&str, &str)> {
    let mut is_quoted = false;
    let colon = text.char_indices().find(|(_, c)| {
        is_quoted ^= *c == '"';
        *c == ':' && !is_quoted
    });
    let (name, choices) = colon.and_then(|(colon, _)| text.split_at_checked(colon))?;
    Some((name, choices.strip_prefix(':').unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use pgarrow::ColumnForm;

    use super::*;

    #[test]
    fn columns_and_their_choices() {
        for (text, name) in [
            ("a:text", "a"),
            ("Total : text", "total"),
            (r#""Total":text"#, "Total"),
            (r#""a:b,""c":text"#, "a:b,\"c"),
        ] {
            let (found, options) = parse_column(text).unwrap();
            assert_eq!((found.as_str(), options.form), (name, Some(ColumnForm::Text)), "{text}");
        }
        let (_, options) = parse_column("at:infinity=null,timestamp-unit=ms").unwrap();
        assert_eq!(options.infinity, Some(InfinityPolicy::Null));
        assert_eq!(options.timestamp_unit, Some(TimestampUnit::Millisecond));
        for (text, why) in [
            ("a", "write NAME:TYPE"),
            (":text", "empty"),
            ("a,b:text", "is not one column"),
            ("\"a:text", "NAME:TYPE"),
            ("a:txt", "no choice for a column"),
            ("a::text", "no choice for a column"),
            ("a:nan=zero", "nan: write one of error, null"),
        ] {
            let error = parse_column(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
