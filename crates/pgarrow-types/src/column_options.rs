//! The choices for one column, which override those of the run.

use std::str::FromStr;

use crate::choices::{
    ArrayForm, ChoiceError, EncodingPolicy, EnumForm, GeometryForm, InfinityPolicy, IntervalForm,
    LostDigitsPolicy, NanPolicy, NumericForm, OutOfRangePolicy, TimestampUnit, TypeOptions, UnknownTypes,
};

/// The choices for one column. A choice that is `None` is the run's.
///
/// Written as a list: `text`, `decimal(20,4)`, `int4[][]`, `infinity=null,timestamp-unit=ns`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct ColumnOptions {
    /// Another form than the type's own.
    pub form: Option<ColumnForm>,
    /// Infinite dates, timestamps and intervals.
    pub infinity: Option<InfinityPolicy>,
    /// `NaN` and infinities in decimals.
    pub nan: Option<NanPolicy>,
    /// Values outside the range of their Arrow type.
    pub out_of_range: Option<OutOfRangePolicy>,
    /// Digits that the Arrow type does not keep.
    pub lost_digits: Option<LostDigitsPolicy>,
    /// What a numeric becomes.
    pub numeric: Option<NumericForm>,
    /// What an interval becomes.
    pub interval: Option<IntervalForm>,
    /// What an array becomes.
    pub arrays: Option<ArrayForm>,
    /// What an enum becomes.
    pub enums: Option<EnumForm>,
    /// Drops the padding of `char(n)`.
    pub trim: Option<bool>,
    /// The unit of timestamps.
    pub timestamp_unit: Option<TimestampUnit>,
    /// Text that is not UTF-8.
    pub encoding: Option<EncodingPolicy>,
    /// A type that is not decoded.
    pub unknown_types: Option<UnknownTypes>,
    /// What a geometry becomes.
    pub geometry: Option<GeometryForm>,
}

/// The form in which a column is read, whatever its type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ColumnForm {
    /// The server's text.
    Text,
    /// Lists in lists, where neither the declaration nor the query gives their number.
    Array {
        /// The name of the elements' type.
        element: String,
        /// The number of nested lists; at least 1.
        depth: u8,
    },
}

impl ColumnOptions {
    /// The choices that hold for the column, given those of the run.
    pub fn apply(&self, run: TypeOptions) -> TypeOptions {
        // The depth of its own arrays belongs to its type. Arrays inside its elements are as deep as they
        // declare.
        let arrays = match &self.form {
            Some(ColumnForm::Array { .. }) => ArrayForm::Nested,
            Some(ColumnForm::Text) | None => self.arrays.unwrap_or(run.arrays),
        };
        TypeOptions {
            infinity: self.infinity.unwrap_or(run.infinity),
            nan: self.nan.unwrap_or(run.nan),
            out_of_range: self.out_of_range.unwrap_or(run.out_of_range),
            lost_digits: self.lost_digits.unwrap_or(run.lost_digits),
            numeric: self.numeric.unwrap_or(run.numeric),
            interval: self.interval.unwrap_or(run.interval),
            arrays,
            enums: self.enums.unwrap_or(run.enums),
            trim: self.trim.unwrap_or(run.trim),
            strings: run.strings,
            timestamp_unit: self.timestamp_unit.unwrap_or(run.timestamp_unit),
            encoding: self.encoding.unwrap_or(run.encoding),
            unknown_types: self.unknown_types.unwrap_or(run.unknown_types),
            geometry: self.geometry.unwrap_or(run.geometry),
        }
    }

    fn set(&mut self, part: &str) -> Result<(), ChoiceError> {
        // The quoted name of a type may contain one, too.
        let Some((key, value)) = part.split_once('=').filter(|(key, _)| !key.contains('"')) else {
            return self.set_form(part);
        };
        let (key, value) = (key.trim_end(), value.trim_start());
        match key {
            "infinity" => put(&mut self.infinity, key, value),
            "nan" => put(&mut self.nan, key, value),
            "out-of-range" => put(&mut self.out_of_range, key, value),
            "lost-digits" => put(&mut self.lost_digits, key, value),
            "numeric" => put(&mut self.numeric, key, value),
            "interval" => put(&mut self.interval, key, value),
            "arrays" => match self.form {
                // Its brackets already say what the arrays become.
                Some(ColumnForm::Array { .. }) => Err(twice(key)),
                _ => put(&mut self.arrays, key, value),
            },
            "enum" => put(&mut self.enums, key, value),
            "trim" => match value {
                "true" | "false" => put(&mut self.trim, key, value),
                _ => Err(ChoiceError("trim: write true or false".to_owned())),
            },
            "timestamp-unit" => put(&mut self.timestamp_unit, key, value),
            "encoding-policy" => put(&mut self.encoding, key, value),
            "unknown-types" => put(&mut self.unknown_types, key, value),
            "geometry" => put(&mut self.geometry, key, value),
            _ => Err(ChoiceError(format!(
                "there is no choice {key:?}; there are infinity, nan, out-of-range, lost-digits, numeric, interval, \
                 arrays, enum, trim, timestamp-unit, encoding-policy, unknown-types and geometry"
            ))),
        }
    }

    fn set_form(&mut self, word: &str) -> Result<(), ChoiceError> {
        let form = match word {
            "text" => ColumnForm::Text,
            "float64" | "scan" => return put(&mut self.numeric, "numeric", word),
            _ if word.starts_with("decimal") && !word.ends_with(']') => {
                return put(&mut self.numeric, "numeric", word);
            }
            _ => array_form(word)?,
        };
        if self.form.is_some() || (self.arrays.is_some() && form != ColumnForm::Text) {
            return Err(twice("what the column is read as"));
        }
        self.form = Some(form);
        Ok(())
    }
}

impl FromStr for ColumnOptions {
    type Err = ChoiceError;

    /// Reads a list, its parts separated by commas.
    ///
    /// # Errors
    ///
    /// A word that is no choice, or a choice that occurs twice.
    fn from_str(list: &str) -> Result<Self, ChoiceError> {
        let mut options = Self::default();
        for part in parts(list) {
            options.set(part.trim())?;
        }
        Ok(options)
    }
}

/// Cuts at commas outside of parentheses and quotes.
fn parts(list: &str) -> Vec<&str> {
    let (mut depth, mut is_quoted) = (0_usize, false);
    let is_comma = |c: char| {
        match c {
            '"' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0 && !is_quoted
    };
    list.split(is_comma).collect()
}

/// `int4[][]`: a type's name and a pair of brackets for each dimension.
fn array_form(word: &str) -> Result<ColumnForm, ChoiceError> {
    let (mut element, mut depth) = (word, 0_usize);
    while let Some(rest) = element.strip_suffix("[]") {
        (element, depth) = (rest.trim_end(), depth + 1);
    }
    match u8::try_from(depth) {
        // MAXDIM of src/include/utils/array.h.
        Ok(depth @ 1..=6) if !element.is_empty() => {
            Ok(ColumnForm::Array { element: element.to_owned(), depth })
        }
        Ok(7..) | Err(_) => Err(ChoiceError(format!("{word:?}: arrays have at most 6 dimensions"))),
        _ => Err(ChoiceError(format!(
            "{word:?} is no choice for a column; write text, float64, decimal(P,S), scan, an array such as int4[][], \
             or KEY=VALUE"
        ))),
    }
}

fn put<T: FromStr>(place: &mut Option<T>, key: &str, value: &str) -> Result<(), ChoiceError>
where
    T::Err: std::fmt::Display,
{
    if place.is_some() {
        return Err(twice(key));
    }
    *place = Some(value.parse().map_err(|why| ChoiceError(format!("{key}: {why}")))?);
    Ok(())
}

fn twice(what: &str) -> ChoiceError {
    ChoiceError(format!("{what} is said twice"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Decimal;

    fn parsed(list: &str) -> ColumnOptions {
        list.parse().unwrap()
    }

    #[test]
    fn forms() {
        assert_eq!(parsed("text").form, Some(ColumnForm::Text));
        let array = |element: &str, depth| Some(ColumnForm::Array { element: element.to_owned(), depth });
        assert_eq!(parsed("int4[][]").form, array("int4", 2));
        assert_eq!(parsed("double precision []").form, array("double precision", 1));
        assert_eq!(parsed("numeric(10,2)[]").form, array("numeric(10,2)", 1));
        assert_eq!(parsed(r#"public."a, b"[] , trim=true"#).form, array(r#"public."a, b""#, 1));
        assert_eq!(parsed(r#""a=b"[]"#).form, array(r#""a=b""#, 1));
        assert_eq!(parsed("decimal_of_mine[]").form, array("decimal_of_mine", 1));
        assert_eq!(parsed("float64").numeric, Some(NumericForm::Float64));
        assert_eq!(parsed("scan").numeric, Some(NumericForm::Scan));
        let decimal = NumericForm::Decimal(Decimal::new(20, 4).unwrap());
        assert_eq!(parsed("decimal(20,4)").numeric, Some(decimal));
        assert_eq!(parsed("numeric = decimal( 20, 4 )").numeric, Some(decimal));
    }

    #[test]
    fn every_key() {
        let options = parsed(
            "infinity=null, nan=null,out-of-range=saturate,lost-digits=round,numeric=text,interval=struct,arrays=shaped,enum=text,\
             trim=true,timestamp-unit=ns,encoding-policy=replace,unknown-types=error,geometry=ewkb",
        );
        let applied = options.apply(TypeOptions::default());
        let expected = TypeOptions {
            infinity: InfinityPolicy::Null,
            nan: NanPolicy::Null,
            out_of_range: OutOfRangePolicy::Saturate,
            lost_digits: LostDigitsPolicy::Round,
            numeric: NumericForm::Text,
            interval: IntervalForm::Struct,
            arrays: ArrayForm::Shaped,
            enums: EnumForm::Text,
            trim: true,
            timestamp_unit: TimestampUnit::Nanosecond,
            encoding: EncodingPolicy::Replace,
            unknown_types: UnknownTypes::Error,
            geometry: GeometryForm::Ewkb,
            ..TypeOptions::default()
        };
        assert_eq!(applied, expected);
        // The run decides what the column does not choose.
        assert_eq!(ColumnOptions::default().apply(expected), expected);
        let back = parsed("trim=false,enum=dictionary").apply(expected);
        assert_eq!(back, TypeOptions { trim: false, enums: EnumForm::Dictionary, ..expected });
        let nested = parsed("int4[][]").apply(expected);
        assert_eq!(nested.arrays, ArrayForm::Nested);
    }

    #[test]
    fn what_is_no_choice() {
        for (list, why) in [
            ("", "no choice"),
            ("txt", "no choice"),
            ("[]", "no choice"),
            ("text,", "no choice"),
            ("int4[][][][][][][]", "6 dimensions"),
            ("int4[][", "no choice"),
            ("text,text", "twice"),
            ("text,int4[]", "twice"),
            ("int4[],arrays=list", "twice"),
            ("arrays=list,int4[]", "twice"),
            ("scan,numeric=text", "twice"),
            ("nan=null,nan=null", "twice"),
            ("nan=saturate", "nan: write one of error, null"),
            ("trim=yes", "true or false"),
            ("colour=red", "there is no choice \"colour\""),
            ("decimal(77,0)", "numeric: write"),
        ] {
            let error = list.parse::<ColumnOptions>().unwrap_err();
            assert!(error.to_string().contains(why), "{list}: {error}");
        }
    }
}
