//! What Parquet asks of a schema and Arrow does not: unique names, at least one column, no intervals, and a
//! note on geometries in the footer.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{DataType, FieldRef, Schema, SchemaRef};
use pgarrow_sink::option::INTERVAL;
use pgarrow_sink::{Hint, Message, SinkError, SinkErrorKind, message};

use crate::geo::{self, Geo};

/// A schema as it is written, and warnings about the difference.
#[derive(Debug)]
pub(crate) struct Adapted {
    pub(crate) schema: SchemaRef,
    /// The footer's description of geometries.
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
/// [`SinkErrorKind::Unsupported`] for no columns, or a type that would lose something.
pub(crate) fn adapt(schema: &SchemaRef) -> Result<Adapted, SinkError> {
    if schema.fields().is_empty() {
        let text = "a table without columns cannot be written to parquet, which has no rows without columns; \
                    write Arrow IPC instead";
        return Err(SinkError::new(SinkErrorKind::Unsupported, text));
    }
    for field in schema.fields() {
        if let Some(why) = unsupported(field.name(), field.data_type()) {
            let text = why.behind(format!("column {:?} cannot be written to parquet: ", field.name()));
            return Err(SinkError::new(SinkErrorKind::Unsupported, text));
        }
    }

    let (schema, mut warnings) = with_unique_names(schema);
    let Geo { json: geo, warning } = geo::metadata(&schema);
    warnings.extend(warning);
    Ok(Adapted { schema, geo, warnings })
}

/// Gives repeated names a suffix. A name that occurs once stays unchanged: suffixed names avoid it.
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

/// The schema that is embedded for readers: dictionaries inside other types become their values.
///
/// A reader that finds such a dictionary makes one for each row group, and Arrow's C++ library cannot join
/// those inside lists, structs and maps: `pyarrow.parquet.ParquetFile.read()` fails ("Nested data conversions
/// not implemented for chunked array outputs"). The file's own type is the same in both cases, and so are its
/// pages.
pub(crate) fn for_readers(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        // A dictionary that is a column of its own may come in pieces.
        DataType::Dictionary(..) | DataType::RunEndEncoded(..) => Arc::clone(field),
        _ => plain(field),
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

/// The field without dictionaries, its own included.
fn plain(field: &FieldRef) -> FieldRef {
    let data_type = plain_type(field.data_type());
    match data_type == *field.data_type() {
        true => Arc::clone(field),
        false => Arc::new(field.as_ref().clone().with_data_type(data_type)),
    }
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        DataType::List(item) => DataType::List(plain(item)),
        DataType::LargeList(item) => DataType::LargeList(plain(item)),
        DataType::ListView(item) => DataType::ListView(plain(item)),
        DataType::LargeListView(item) => DataType::LargeListView(plain(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain(item), *size),
        DataType::Map(entries, is_sorted) => DataType::Map(plain(entries), *is_sorted),
        other => other.clone(),
    }
}

/// Why a type cannot be written, if it cannot: the column's type, or one inside it.
fn unsupported(column: &str, data_type: &DataType) -> Option<Message> {
    match data_type {
        DataType::Interval(_) => Some(message![
            "its interval type keeps milliseconds only; choose the struct or the text form (",
            INTERVAL.to("struct"),
            ", ",
            INTERVAL.to("text"),
            ")"
        ]),
        DataType::Struct(fields) if fields.is_empty() => Some(message![
            "it has no type without fields; read the column as text (",
            Hint::column(column, "text"),
            ")"
        ]),
        DataType::Struct(fields) => fields.iter().find_map(|field| unsupported(column, field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => unsupported(column, field.data_type()),
        DataType::Dictionary(_, values) => unsupported(column, values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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
    fn dictionaries_inside_of_other_types_are_their_values() {
        let word = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let of = |word: DataType| {
            let item = |data_type| Arc::new(Field::new_list_field(data_type, true));
            let named = |name: &str| Field::new(name, word.clone(), true).with_metadata(known());
            let pair = DataType::Struct(vec![named("keys"), named("values")].into());
            vec![
                DataType::List(item(word.clone())),
                DataType::LargeList(item(DataType::FixedSizeList(item(pair.clone()), 2))),
                DataType::ListView(item(word.clone())),
                DataType::LargeListView(item(word.clone())),
                DataType::Map(Arc::new(Field::new("entries", pair, false)), false),
            ]
        };
        let schema = |types: Vec<DataType>| {
            let fields = types.into_iter().map(|data_type| Field::new("c", data_type, true));
            Schema::new_with_metadata(fields.collect::<Vec<_>>(), known())
        };
        assert_eq!(for_readers(&schema(of(word()))), schema(of(DataType::Utf8)));
        // A column of its own stays unchanged.
        let plain = schema(vec![word(), DataType::Int32]);
        assert_eq!(for_readers(&plain), plain);
    }

    fn known() -> HashMap<String, String> {
        [("pg.type".to_owned(), "mood".to_owned())].into()
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
