//! Values that consist of others, as `array_out`, `record_out`, `range_out`, `hstore_out` and `*_out` of
//! geometric types print them.

use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, StructArray};
use arrow_schema::{DataType, Field, Fields};

use super::Renderer;
use super::scalar::{float4, float8, interval, offset, time};

/// `array_isspace` and the C locale's `isspace`.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\u{b}', '\u{c}'];

impl Renderer {
    pub(super) fn structure(
        &self,
        type_name: &str,
        fields: &Fields,
        parts: &StructArray,
        row: usize,
    ) -> String {
        // Attributes of a composite may have any names, but are always nullable.
        let is_fixed = fields.iter().any(|field| !field.is_nullable());
        let names: Vec<_> = fields.iter().map(|field| field.name().as_str()).collect();
        let float = |part: usize| float8(parts.column(part).as_primitive::<Float64Type>().value(row));
        let int = |part: usize| parts.column(part).as_primitive::<Int32Type>().value(row);
        let part = |part: usize| self.value("", parts.column(part).as_ref(), row);
        match names[..] {
            _ if !is_fixed => self.composite(fields, parts, row),
            ["time", "offset"] => {
                let micros = parts.column(0).as_primitive::<Time64MicrosecondType>().value(row);
                time(micros) + &offset(int(1))
            }
            ["months", "days", "microseconds"] => {
                interval(int(0), int(1), parts.column(2).as_primitive::<Int64Type>().value(row))
            }
            ["lower", "upper", "lower_inclusive", "upper_inclusive", "empty"] => {
                self.range(range_subtype(type_name), parts, row)
            }
            ["values", "dimensions", "lower_bounds"] => self.shaped(type_name, parts, row),
            ["block", "offset"] => format!("({},{})", part(0), part(1)),
            ["x", "y"] => format!("({},{})", float(0), float(1)),
            ["a", "b", "c"] => format!("{{{},{},{}}}", float(0), float(1), float(2)),
            ["start", "end"] => format!("[{},{}]", part(0), part(1)),
            ["high", "low"] => format!("{},{}", part(0), part(1)),
            ["closed", "points"] => {
                let points = part(1);
                let inside = points.strip_prefix('(').and_then(|points| points.strip_suffix(')')).unwrap();
                if parts.column(0).as_boolean().value(row) { points } else { format!("[{inside}]") }
            }
            ["center", "radius"] => format!("<{},{}>", part(0), float(1)),
            ["dimensions", "indices", "values"] => {
                let (indices, values) = (parts.column(1).as_list::<i32>(), parts.column(2).as_list::<i32>());
                let (indices, values) = (indices.value(row), values.value(row));
                let values = values.as_primitive::<Float32Type>().values().iter();
                // Counted from 0 on the wire and from 1 in text.
                let indices = indices.as_primitive::<Int32Type>().values().iter();
                let pairs: Vec<_> =
                    indices.zip(values).map(|(i, value)| format!("{}:{}", i + 1, float4(*value))).collect();
                format!("{{{}}}/{}", pairs.join(","), int(0))
            }
            _ => panic!("no text for a struct of {names:?}"),
        }
    }

    /// `record_out`: values in quotes if needed, NULL as nothing.
    fn composite(&self, fields: &Fields, parts: &StructArray, row: usize) -> String {
        let parts = fields.iter().zip(parts.columns()).map(|(field, column)| {
            let value = self.text(field, column.as_ref(), row);
            value.map_or_else(String::new, |value| quoted_twice(value, &['(', ')', ',']))
        });
        format!("({})", parts.collect::<Vec<_>>().join(","))
    }

    /// `range_out`.
    fn range(&self, subtype: &str, parts: &StructArray, row: usize) -> String {
        let flag = |part: usize| parts.column(part).as_boolean().value(row);
        let bound = |part: usize| {
            let value = self.optional(subtype, parts.column(part).as_ref(), row);
            value.map_or_else(String::new, |value| quoted_twice(value, &['(', ')', '[', ']', ',']))
        };
        if flag(4) {
            assert!(parts.column(0).is_null(row) && parts.column(1).is_null(row) && !flag(2) && !flag(3));
            return "empty".to_owned();
        }
        let (open, close) = (if flag(2) { '[' } else { '(' }, if flag(3) { ']' } else { ')' });
        format!("{open}{},{}{close}", bound(0), bound(1))
    }

    /// A list: an array, or a type that is a list itself.
    pub(super) fn list(&self, type_name: &str, item: &Field, items: &dyn Array) -> String {
        let joined = |separator| {
            (0..items.len()).map(|row| self.value("", items, row)).collect::<Vec<_>>().join(separator)
        };
        if let DataType::Struct(fields) = item.data_type()
            && !item.is_nullable()
        {
            // Items that are never NULL: points of a polygon, or ranges of a multirange.
            return match fields.len() {
                2 => format!("({})", joined(",")),
                _ => {
                    let range = type_name.replacen("multirange", "range", 1);
                    let ranges = (0..items.len()).map(|row| self.value(&range, items, row));
                    format!("{{{}}}", ranges.collect::<Vec<_>>().join(","))
                }
            };
        }
        match type_name {
            "int2vector" | "oidvector" => joined(" "),
            name if !item.is_nullable() => {
                assert!(!name.ends_with("[]"), "{name}");
                format!("[{}]", joined(","))
            }
            _ => self.dimension(type_name, items),
        }
    }

    /// `array_out` of an array whose lower bounds are 1.
    fn dimension(&self, type_name: &str, items: &dyn Array) -> String {
        let element = type_name.strip_suffix("[]").unwrap_or("");
        let inner = match items.data_type() {
            DataType::List(item) if self.lists_are_dimensions && item.is_nullable() => Some(item),
            _ => None,
        };
        let texts = (0..items.len()).map(|row| match inner {
            Some(_) => self.dimension(type_name, items.as_list::<i32>().value(row).as_ref()),
            None => self.element(element, items, row),
        });
        format!("{{{}}}", texts.collect::<Vec<_>>().join(delimiter(element)))
    }

    /// An element of an array, in quotes if needed.
    fn element(&self, element: &str, items: &dyn Array, row: usize) -> String {
        let Some(text) = self.optional(element, items, row) else { return "NULL".to_owned() };
        let special = ['"', '\\', '{', '}'];
        let needs_quotes = text.is_empty()
            || text.eq_ignore_ascii_case("null")
            || text.contains(delimiter(element))
            || text.contains(special)
            || text.contains(BLANKS);
        if !needs_quotes {
            return text;
        }
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    /// `array_out` of an array of any shape.
    fn shaped(&self, type_name: &str, parts: &StructArray, row: usize) -> String {
        let element = type_name.strip_suffix("[]").unwrap_or("");
        let numbers = |part: usize| {
            let list = parts.column(part).as_list::<i32>().value(row);
            list.as_primitive::<Int32Type>().values().to_vec()
        };
        let (dimensions, lower_bounds) = (numbers(1), numbers(2));
        assert_eq!(dimensions.len(), lower_bounds.len());
        let values = parts.column(0).as_list::<i32>().value(row);
        if dimensions.is_empty() {
            assert_eq!(values.len(), 0);
            return "{}".to_owned();
        }
        let mut text = String::new();
        if lower_bounds.iter().any(|bound| *bound != 1) {
            for (dimension, bound) in dimensions.iter().zip(&lower_bounds) {
                write!(text, "[{bound}:{}]", i64::from(*bound) + i64::from(*dimension) - 1).unwrap();
            }
            text.push('=');
        }
        let mut texts: Vec<_> = (0..values.len()).map(|row| self.element(element, &values, row)).collect();
        for dimension in dimensions.iter().rev() {
            let n_items = usize::try_from(*dimension).unwrap();
            texts = texts
                .chunks(n_items)
                .map(|items| format!("{{{}}}", items.join(delimiter(element))))
                .collect();
        }
        assert_eq!(texts.len(), 1, "as many values as the dimensions say");
        text + &texts[0]
    }

    /// `hstore_out`.
    pub(super) fn hstore(&self, entries: &StructArray) -> String {
        let quoted = |text: String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let pair = |row: usize| {
            let key = self.value("", entries.column(0).as_ref(), row);
            let value = self.optional("", entries.column(1).as_ref(), row);
            format!("{}=>{}", quoted(key), value.map_or_else(|| "NULL".to_owned(), quoted))
        };
        (0..entries.len()).map(pair).collect::<Vec<_>>().join(", ")
    }
}

/// Quotes as in composites and ranges: quotes and backslashes are written twice.
fn quoted_twice(text: String, special: &[char]) -> String {
    let needs_quotes =
        text.is_empty() || text.contains(['"', '\\']) || text.contains(special) || text.contains(BLANKS);
    if !needs_quotes {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
}

/// `pg_type.typdelim` of an element type.
fn delimiter(element: &str) -> &'static str {
    match element.split('(').next().unwrap_or_default() {
        "box" => ";",
        "geometry" | "geography" => ":",
        _ => ",",
    }
}

/// The subtype of a test's range type, taken from its name: `range_of_pg_lsn`.
fn range_subtype(range: &str) -> &str {
    range.strip_prefix("range_of_").unwrap_or("")
}
