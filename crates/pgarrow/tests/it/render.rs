//! Arrow values back into the text that PostgreSQL prints for them.
//!
//! Written from PostgreSQL's `*_out` functions, not from the decoders, so that it does not repeat their
//! mistakes.
//!
//! ```text
//! render          values by their Arrow type
//! render/scalar   numbers, dates and times
//! render/nested   arrays, composites, ranges, hstore, geometry, vectors: values that consist of others
//! ```
//!
//! If an Arrow type stands for several PostgreSQL types, the type's name decides: `pg.type` of a column or of
//! a composite's attribute; for an array's elements, that name without `[]`.

mod nested;
mod scalar;

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};
use pgarrow_testkit::Database;

use crate::support::server_text;
use scalar::{DAY, date, decimal, float4, float8, hex, interval, money, time, uuid};

/// The types whose values arrive as OIDs, and the catalogs of the objects that they name.
const REG_TYPES: [(&str, &str); 11] = [
    ("regproc", "pg_proc"),
    ("regprocedure", "pg_proc"),
    ("regoper", "pg_operator"),
    ("regoperator", "pg_operator"),
    ("regclass", "pg_class"),
    ("regtype", "pg_type"),
    ("regconfig", "pg_ts_config"),
    ("regdictionary", "pg_ts_dict"),
    ("regnamespace", "pg_namespace"),
    ("regrole", "pg_authid"),
    ("regcollation", "pg_collation"),
];

/// Settings for text that depends on more than the value.
#[derive(Debug, Default)]
pub(crate) struct Renderer {
    /// The names of objects by type and OID. Without them, an OID is printed as a number.
    names: HashMap<&'static str, HashMap<u32, String>>,
    /// Money with its sign, as in the locale C; otherwise as a number.
    money_sign: bool,
    /// Lists of lists are one array of several dimensions, not arrays of a domain over an array.
    pub(crate) lists_are_dimensions: bool,
}

impl Renderer {
    /// A renderer that prints as this database does: names for OIDs, money with its sign.
    pub(crate) fn of(database: &Database) -> Self {
        let mut client = database.client();
        let name_of = |(name, catalog): (&'static str, &str)| {
            let sql = format!("SELECT oid, oid::{name}::text FROM pg_catalog.{catalog}");
            let rows = server_text(&mut client, &sql).into_iter();
            let names = rows.map(|row| (row[0].as_ref().unwrap().parse().unwrap(), row[1].clone().unwrap()));
            (name, names.collect())
        };
        let names = REG_TYPES.into_iter().map(name_of).collect();
        Self { names, money_sign: true, lists_are_dimensions: false }
    }

    /// The text of one value; `None` is NULL.
    pub(crate) fn text(&self, field: &Field, array: &dyn Array, row: usize) -> Option<String> {
        assert_eq!(field.data_type(), array.data_type(), "{}", field.name());
        let type_name = field.metadata().get("pg.type").map_or("", String::as_str);
        self.optional(type_name, array, row)
    }

    fn optional(&self, type_name: &str, array: &dyn Array, row: usize) -> Option<String> {
        array.is_valid(row).then(|| self.value(type_name, array, row))
    }

    /// The text of a value that is not NULL.
    fn value(&self, type_name: &str, array: &dyn Array, row: usize) -> String {
        match array.data_type() {
            DataType::Boolean => if array.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
            DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
            DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
            DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).to_string(),
            DataType::UInt32 => self.oid(type_name, array.as_primitive::<UInt32Type>().value(row)),
            DataType::UInt64 => match (array.as_primitive::<UInt64Type>().value(row), type_name) {
                (lsn, "pg_lsn") => format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff),
                (number, _) => number.to_string(),
            },
            DataType::Float16 => float4(array.as_primitive::<Float16Type>().value(row).to_f32()),
            DataType::Float32 => float4(array.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => float8(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal128(_, scale) => {
                let number = decimal(&array.as_primitive::<Decimal128Type>().value(row).to_string(), *scale);
                if type_name == "money" && self.money_sign { money(&number) } else { number }
            }
            DataType::Decimal256(_, scale) => {
                decimal(&array.as_primitive::<Decimal256Type>().value(row).to_string(), *scale)
            }
            DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
            DataType::LargeUtf8 => array.as_string::<i64>().value(row).to_owned(),
            DataType::Utf8View => array.as_string_view().value(row).to_owned(),
            DataType::Binary => bytes(type_name, array.as_binary::<i32>().value(row)),
            DataType::LargeBinary => bytes(type_name, array.as_binary::<i64>().value(row)),
            DataType::BinaryView => bytes(type_name, array.as_binary_view().value(row)),
            DataType::FixedSizeBinary(16) => uuid(array.as_fixed_size_binary().value(row)),
            DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row).into(), ""),
            DataType::Time64(TimeUnit::Microsecond) => {
                time(array.as_primitive::<Time64MicrosecondType>().value(row))
            }
            DataType::Timestamp(unit, zone) => {
                let micros = match unit {
                    TimeUnit::Second => panic!("PostgreSQL has fractions of seconds"),
                    TimeUnit::Millisecond => {
                        array.as_primitive::<TimestampMillisecondType>().value(row) * 1000
                    }
                    TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
                    TimeUnit::Nanosecond => {
                        let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
                        assert_eq!(nanos % 1000, 0, "PostgreSQL has no nanoseconds");
                        nanos / 1000
                    }
                };
                let zone = zone.as_deref().map_or("", |zone| if zone == "UTC" { "+00" } else { "?" });
                let (day, of_day) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
                date(day, &format!(" {}{zone}", time(of_day)))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                assert_eq!(value.nanoseconds % 1000, 0, "PostgreSQL has no nanoseconds");
                interval(value.months, value.days, value.nanoseconds / 1000)
            }
            DataType::Dictionary(_, _) => {
                let array = array.as_dictionary::<Int32Type>();
                let key = usize::try_from(array.keys().value(row)).unwrap();
                self.value(type_name, array.values().as_ref(), key)
            }
            DataType::Struct(fields) => self.structure(type_name, fields, array.as_struct(), row),
            DataType::List(item) => {
                let items = array.as_list::<i32>().value(row);
                self.list(type_name, item, items.as_ref())
            }
            DataType::FixedSizeList(item, _) => {
                let items = array.as_fixed_size_list().value(row);
                self.list(type_name, item, items.as_ref())
            }
            DataType::Map(_, _) => self.hstore(&array.as_map().value(row)),
            other => panic!("no text for {other}"),
        }
    }

    fn oid(&self, type_name: &str, oid: u32) -> String {
        match self.names.get(type_name) {
            // An OID without an object is printed as a number, and 0 as `-` or, for operators, `0`.
            Some(names) => match names.get(&oid) {
                Some(name) => name.clone(),
                None if oid == 0 => {
                    (if type_name == "regoper" || type_name == "regoperator" { "0" } else { "-" }).to_owned()
                }
                None => oid.to_string(),
            },
            None => oid.to_string(),
        }
    }
}

/// `byteaout`; for PostGIS's types, whose bytes are EWKB, `LWGEOM_out`.
fn bytes(type_name: &str, bytes: &[u8]) -> String {
    match type_name.split('(').next() {
        Some("geometry" | "geography") => hex(bytes).to_uppercase(),
        _ => format!("\\x{}", hex(bytes)),
    }
}

/// The text of one value, OIDs and money as numbers; `None` is NULL.
pub(crate) fn text(field: &Field, array: &dyn Array, row: usize) -> Option<String> {
    Renderer::default().text(field, array, row)
}

/// Whether a value equals what PostgreSQL prints as `expected`. Floats are compared by their bits.
pub(crate) fn is_same(field: &Field, array: &dyn Array, row: usize, expected: Option<&str>) -> bool {
    match (array.data_type(), expected) {
        (DataType::Float32, Some(expected)) if array.is_valid(row) => {
            let found = array.as_primitive::<Float32Type>().value(row);
            found.to_bits() == expected.parse::<f32>().unwrap().to_bits()
        }
        (DataType::Float64, Some(expected)) if array.is_valid(row) => {
            let found = array.as_primitive::<Float64Type>().value(row);
            found.to_bits() == expected.parse::<f64>().unwrap().to_bits()
        }
        _ => text(field, array, row).as_deref() == expected,
    }
}

/// All rows, as texts.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<Vec<Option<String>>> {
    rows_by(&Renderer::default(), batches)
}

/// All rows, as a renderer's texts.
pub(crate) fn rows_by(renderer: &Renderer, batches: &[RecordBatch]) -> Vec<Vec<Option<String>>> {
    let of_batch = |batch: &RecordBatch| {
        let (schema, columns) = (batch.schema(), batch.columns().to_vec());
        (0..batch.num_rows())
            .map(|row| {
                let fields = schema.fields().iter().zip(&columns);
                fields.map(|(field, column)| renderer.text(field, column, row)).collect()
            })
            .collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect()
}
