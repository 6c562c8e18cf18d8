//! What Parquet asks of a schema that Arrow does not: unique names, at least one column, no intervals, and a word about
//! geometries in the footer.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, Schema, SchemaRef};
use pgarrow_sink::{SinkError, SinkErrorKind};

use crate::geo::{self, Geo};

/// A schema as it is written, and what people should know about the difference.
#[derive(Debug)]
pub(crate) struct Adapted {
    pub(crate) schema: SchemaRef,
    /// What the footer says about geometries.
    pub(crate) geo: Option<String>,
    pub(crate) warnings: Vec<String>,
}

/// Gives repeated names a suffix, and refuses what Parquet cannot hold.
///
/// A query may return two columns of one name; PostgreSQL and Arrow address columns by position, Parquet's
/// readers by name.
///
/// # Errors
///
/// [`SinkErrorKind::Unsupported`]: no columns, or a type that would lose something.
pub(crate) fn adapt(schema: &SchemaRef) -> Result<Adapted, SinkError> {
    if schema.fields().is_empty() {
        let text = "a table without columns cannot be written to parquet, which has no rows without columns; \
                    write Arrow IPC instead";
        return Err(SinkError::new(SinkErrorKind::Unsupported, text));
    }
    for field in schema.fields() {
        if let Some(why) = unsupported(field.data_type()) {
            let text = format!("column {:?} cannot be written to parquet: {why}", field.name());
            return Err(SinkError::new(SinkErrorKind::Unsupported, text));
        }
    }

    let (schema, mut warnings) = with_unique_names(schema);
    let Geo { json: geo, warning } = geo::metadata(&schema);
    warnings.extend(warning);
    Ok(Adapted { schema, geo, warnings })
}

/// A name that is there once, anywhere, stays as it is: suffixes go around it.
fn with_unique_names(schema: &SchemaRef) -> (SchemaRef, Vec<String>) {
    let mut taken: HashSet<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    if taken.len() == schema.fields().len() {
        return (Arc::clone(schema), Vec::new());
    }
    let mut seen = HashSet::new();
    let mut warnings = Vec::new();
    let fields = schema.fields().iter().enumerate().map(|(index, field)| {
        let name = field.name();
        if seen.insert(name.clone()) {
            return Arc::clone(field);
        }
        let mut number = 2_u64;
        let unique = loop {
            let candidate = format!("{name}_{number}");
            if taken.insert(candidate.clone()) {
                break candidate;
            }
            number += 1;
        };
        let position = index + 1;
        warnings
            .push(format!("column {position} is named {unique:?} in parquet: the name {name:?} is taken"));
        Arc::new(field.as_ref().clone().with_name(unique))
    });
    let fields = fields.collect::<Vec<_>>();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    (schema, warnings)
}

/// Why a type cannot be written, if it cannot.
fn unsupported(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Interval(_) => Some(
            "its interval type keeps milliseconds only; choose the struct or the text form (--interval struct, --interval text)",
        ),
        DataType::Struct(fields) if fields.is_empty() => {
            Some("it has no type without fields; read the column as text (--column NAME:text)")
        }
        DataType::Struct(fields) => fields.iter().find_map(|field| unsupported(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => unsupported(field.data_type()),
        DataType::Dictionary(_, values) => unsupported(values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{Field, IntervalUnit};

    use super::*;

    fn names_of(names: &[&str]) -> (Vec<String>, Vec<String>) {
        let fields: Vec<_> = names.iter().map(|name| Field::new(*name, DataType::Int32, true)).collect();
        let Adapted { schema, warnings, .. } = adapt(&Arc::new(Schema::new(fields))).unwrap();
        (schema.fields().iter().map(|field| field.name().clone()).collect(), warnings)
    }

    #[test]
    fn repeated_names_get_a_suffix() {
        for (names, expected) in [
            (["a", "b", "c", "d"], ["a", "b", "c", "d"]),
            (["a", "a", "a", "A"], ["a", "a_2", "a_3", "A"]),
            (["a", "a", "a_2", "a_3"], ["a", "a_4", "a_2", "a_3"]),
            (["?column?", "?column?", "x", "x"], ["?column?", "?column?_2", "x", "x_2"]),
            (["a_2", "a_2", "a", "a"], ["a_2", "a_2_2", "a", "a_3"]),
        ] {
            let (found, warnings) = names_of(&names);
            assert_eq!(found, expected);
            let changed = names.iter().zip(expected).filter(|(from, to)| **from != *to).count();
            assert_eq!(warnings.len(), changed);
        }
        let (_, warnings) = names_of(&["a", "a"]);
        assert_eq!(warnings, ["column 2 is named \"a_2\" in parquet: the name \"a\" is taken"]);
    }

    #[test]
    fn what_parquet_cannot_hold() {
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let nested = DataType::List(Arc::new(Field::new_list_field(interval.clone(), true)));
        for (data_type, says) in [
            (interval, "milliseconds only"),
            (nested, "milliseconds only"),
            (DataType::Struct([].into()), "no type without fields"),
        ] {
            let error = adapt(&Arc::new(Schema::new(vec![Field::new("c", data_type, true)]))).unwrap_err();
            assert_eq!(error.kind(), SinkErrorKind::Unsupported);
            assert!(error.to_string().starts_with("column \"c\" cannot be written"), "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        let error = adapt(&Arc::new(Schema::empty())).unwrap_err();
        assert!(error.to_string().contains("without columns"), "{error}");
    }
}
