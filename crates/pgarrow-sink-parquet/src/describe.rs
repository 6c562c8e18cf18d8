//! What an Arrow schema becomes in Parquet: the written schema, and a description in words.
//!
//! Source: <https://parquet.apache.org/docs/file-format/types/logicaltypedefinition/>.

use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{DecimalType, IntType, LogicalType, TimeUnit};
use parquet::schema::types::{SchemaDescriptor, Type};
use pgarrow_sink::{SinkError, SinkErrorKind};

use crate::schema;

/// The Parquet types of the columns of a schema, as [`ParquetSink`](crate::ParquetSink) writes them.
///
/// A physical type and, where there is one, the logical type in parentheses: `INT32`,
/// `INT64 (TIMESTAMP(MICROS,true))`, `FIXED_LEN_BYTE_ARRAY(16) (UUID)`. Groups are `LIST<INT32>`,
/// `MAP<BYTE_ARRAY (STRING), INT64>` and `STRUCT<x: DOUBLE, y: DOUBLE>`.
///
/// # Errors
///
/// [`SinkErrorKind::Unsupported`] for what Parquet cannot hold.
pub fn parquet_types(schema: &SchemaRef) -> Result<Vec<String>, SinkError> {
    let adapted = schema::adapt(schema)?;
    let converted = convert(&adapted.schema)?;
    Ok(converted.root_schema().get_fields().iter().map(|field| type_of(field)).collect())
}

/// What users should know about a schema in Parquet: columns that get another name, coordinate systems that
/// cannot be named. One sentence each. [`ParquetSink::warnings`](crate::ParquetSink::warnings) gives the
/// same.
///
/// # Errors
///
/// [`SinkErrorKind::Unsupported`] for what Parquet cannot hold.
pub fn parquet_warnings(schema: &SchemaRef) -> Result<Vec<String>, SinkError> {
    let adapted = schema::adapt(schema)?;
    convert(&adapted.schema)?;
    Ok(adapted.warnings)
}

/// The Parquet schema: lists are `list.element` and maps `key_value.key` and `key_value.value`, as strict
/// readers want it, under any names of Arrow's fields. Enums are `STRING`: Arrow's own readers read `ENUM` as
/// bytes.
pub(crate) fn convert(arrow: &Schema) -> Result<SchemaDescriptor, SinkError> {
    ArrowSchemaConverter::new().with_coerce_types(true).convert(arrow).map_err(|e| {
        let text = format!("this schema cannot be written to parquet: {e}");
        SinkError::new(SinkErrorKind::Unsupported, text)
    })
}

fn type_of(parquet: &Type) -> String {
    let info = parquet.get_basic_info();
    if let Type::PrimitiveType { physical_type, type_length, .. } = parquet {
        let length = if *type_length > 0 { format!("({type_length})") } else { String::new() };
        let logical = info.logical_type_ref().map(logical);
        let logical = logical.map_or(String::new(), |logical| format!(" ({logical})"));
        return format!("{physical_type}{length}{logical}");
    }
    let fields = parquet.get_fields();
    let repeated = || fields.iter().flat_map(|group| group.get_fields()).map(|field| type_of(field));
    match info.logical_type_ref() {
        Some(LogicalType::List) => format!("LIST<{}>", repeated().collect::<Vec<_>>().join(", ")),
        Some(LogicalType::Map) => format!("MAP<{}>", repeated().collect::<Vec<_>>().join(", ")),
        _ => {
            let fields = fields.iter().map(|field| format!("{}: {}", field.name(), type_of(field)));
            format!("STRUCT<{}>", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

fn logical(logical_type: &LogicalType) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => "MILLIS",
        TimeUnit::MICROS => "MICROS",
        TimeUnit::NANOS => "NANOS",
    };
    match logical_type {
        LogicalType::Integer(IntType { bit_width, is_signed }) => format!("INTEGER({bit_width},{is_signed})"),
        LogicalType::Decimal(DecimalType { scale, precision }) => format!("DECIMAL({precision},{scale})"),
        LogicalType::Timestamp(time) => {
            format!("TIMESTAMP({},{})", unit(&time.unit), time.is_adjusted_to_u_t_c)
        }
        LogicalType::Time(time) => format!("TIME({},{})", unit(&time.unit), time.is_adjusted_to_u_t_c),
        LogicalType::Float16 => "FLOAT16".to_owned(),
        // The others have no parameters: Uuid, Json, String, Date.
        other => format!("{other:?}").to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, Fields, TimeUnit};

    use super::*;

    fn types_of(fields: Vec<Field>) -> Vec<String> {
        parquet_types(&Arc::new(Schema::new(fields))).unwrap()
    }

    #[test]
    fn physical_and_logical_types() {
        let uuid = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())];
        let text = || Field::new("item", DataType::Utf8, true);
        let list = |field| DataType::List(Arc::new(field));
        let entries: Fields =
            vec![Field::new("keys", DataType::Utf8, false), text().with_name("values")].into();
        let enumeration = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        for (data_type, expected) in [
            (DataType::Int32, "INT32"),
            (DataType::UInt16, "INT32 (INTEGER(16,false))"),
            (
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                "INT64 (TIMESTAMP(MICROS,true))",
            ),
            (DataType::Time64(TimeUnit::Microsecond), "INT64 (TIME(MICROS,false))"),
            (DataType::Date32, "INT32 (DATE)"),
            (DataType::Decimal128(38, 4), "FIXED_LEN_BYTE_ARRAY(16) (DECIMAL(38,4))"),
            (DataType::Float16, "FIXED_LEN_BYTE_ARRAY(2) (FLOAT16)"),
            (DataType::FixedSizeBinary(16), "FIXED_LEN_BYTE_ARRAY(16) (UUID)"),
            (DataType::BinaryView, "BYTE_ARRAY"),
            (enumeration, "BYTE_ARRAY (STRING)"),
            (list(text()), "LIST<BYTE_ARRAY (STRING)>"),
            (list(Field::new("item", list(text()), true)), "LIST<LIST<BYTE_ARRAY (STRING)>>"),
            (
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false),
                "MAP<BYTE_ARRAY (STRING), BYTE_ARRAY (STRING)>",
            ),
            (
                DataType::Struct(vec![Field::new("x", DataType::Float64, false), text()].into()),
                "STRUCT<x: DOUBLE, item: BYTE_ARRAY (STRING)>",
            ),
        ] {
            let field = Field::new("c", data_type, true).with_metadata(uuid.clone().into());
            assert_eq!(types_of(vec![field]), [expected]);
        }
    }

    #[test]
    fn lists_and_maps_are_named_as_strict_readers_want_it() {
        let item = |name: &str| Arc::new(Field::new(name, DataType::Int32, true));
        let entries =
            vec![Field::new("keys", DataType::Int32, false), Field::new("values", DataType::Int32, true)];
        let entries = Arc::new(Field::new("entries", DataType::Struct(entries.into()), false));
        let schema = Schema::new(vec![
            Field::new("a", DataType::List(item("item")), true),
            Field::new("b", DataType::FixedSizeList(item("$data$"), 2), true),
            Field::new("c", DataType::Map(entries, false), true),
        ]);
        let converted = convert(&schema).unwrap();
        let paths: Vec<_> = converted.columns().iter().map(|column| column.path().string()).collect();
        assert_eq!(paths, ["a.list.element", "b.list.element", "c.key_value.key", "c.key_value.value"]);
    }

    #[test]
    fn what_there_is_to_know() {
        let schema = |fields: Vec<Field>| Arc::new(Schema::new(fields));
        let one = || Field::new("a", DataType::Int32, true);
        assert_eq!(parquet_warnings(&schema(vec![one()])).unwrap(), Vec::<String>::new());
        assert_eq!(parquet_warnings(&schema(vec![one(), one()])).unwrap().len(), 1);
        assert!(parquet_types(&schema(vec![])).is_err() && parquet_warnings(&schema(vec![])).is_err());
    }
}
