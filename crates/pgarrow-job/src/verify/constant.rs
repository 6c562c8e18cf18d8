//! A column that is only in the paths of files, put back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeBinaryArray, StringArray, UInt32Array, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field};
use arrow_select::take::take;

use crate::manifest::{ManifestColumn, ManifestFile, ManifestPartition, ManifestTable};

/// The value that all rows of a file have in a column.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) field: Arc<Field>,
    /// An array of it alone.
    value: ArrayRef,
}

impl Constant {
    /// The columns of a table that are not in this file.
    ///
    /// # Errors
    ///
    /// The manifest has no value for one, or none of its type; why.
    pub(super) fn all_of(table: &ManifestTable, file: &ManifestFile) -> Result<Vec<Self>, String> {
        let is_left_out = |by: &&ManifestPartition| by.part.is_none() && !by.in_files;
        let constant = |by: &ManifestPartition| {
            let column = table.columns.iter().find(|column| column.name == by.column);
            let value = file.partition.get(&by.name);
            column.zip(value).and_then(|(column, value)| Self::new(column, value.as_deref())).ok_or_else(
                || format!("the manifest does not say which value of column {:?} it has", by.column),
            )
        };
        table.partition_by.iter().filter(is_left_out).map(constant).collect()
    }

    fn new(column: &ManifestColumn, value: Option<&str>) -> Option<Self> {
        let is_uuid = column.pg_type == "uuid";
        let data_type: DataType = column.arrow_type.parse().ok()?;
        let data_type = match data_type {
            DataType::Dictionary(_, values) => *values,
            plain => plain,
        };
        let value = match (value, &data_type) {
            (None, _) => new_null_array(&data_type, 1),
            (Some(text), DataType::FixedSizeBinary(16)) => {
                Arc::new(FixedSizeBinaryArray::try_from_iter([uuid(text)?].into_iter()).ok()?)
            }
            (Some(text), _) => {
                // What cannot be converted is an error, and not NULL.
                let options = CastOptions { safe: false, ..CastOptions::default() };
                cast_with_options(&StringArray::from(vec![text]), &data_type, &options).ok()?
            }
        };
        let field = Field::new(&column.name, data_type, true);
        let extension = is_uuid.then(|| ("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned()));
        let field = field.with_metadata(HashMap::from_iter(extension));
        Some(Self { field: Arc::new(field), value })
    }

    /// The value, so many times.
    pub(super) fn rows(&self, n_rows: usize) -> Option<ArrayRef> {
        take(&self.value, &UInt32Array::from(vec![0; n_rows]), None).ok()
    }
}

/// The bytes of a UUID.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Date32Type, Decimal128Type, Int64Type};

    use super::*;

    fn constant(pg_type: &str, data_type: &DataType, value: Option<&str>) -> Option<ArrayRef> {
        let json = serde_json::json!({
            "name": "c", "pg_type": pg_type, "arrow_type": data_type.to_string(), "nullable": true
        });
        let column: ManifestColumn = serde_json::from_value(json).unwrap();
        Constant::new(&column, value)?.rows(3)
    }

    #[test]
    fn values_come_back_from_texts() {
        let int = constant("bigint", &DataType::Int64, Some("-7")).unwrap();
        assert_eq!(int.as_primitive::<Int64Type>().values().as_ref(), [-7; 3]);
        let day = constant("date", &DataType::Date32, Some("1970-01-02")).unwrap();
        assert_eq!(day.as_primitive::<Date32Type>().value(2), 1);
        let decimal = constant("numeric(10,2)", &DataType::Decimal128(10, 2), Some("-0.05")).unwrap();
        assert_eq!(decimal.as_primitive::<Decimal128Type>().value(0), -5);
        let id = "0188a5eb-5ca3-7abc-8def-0123456789ab";
        let id = constant("uuid", &DataType::FixedSizeBinary(16), Some(id)).unwrap();
        assert_eq!(id.as_fixed_size_binary().value(1)[..3], [0x01, 0x88, 0xa5]);
        assert!(constant("boolean", &DataType::Boolean, Some("true")).unwrap().as_boolean().value(0));
        let labels = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        assert_eq!(constant("mood", &labels, Some("a b")).unwrap().as_string::<i32>().value(2), "a b");
        assert_eq!(constant("text", &DataType::Utf8, None).unwrap().null_count(), 3);
        for (data_type, text) in
            [(DataType::Int16, "99999"), (DataType::Date32, "x"), (DataType::FixedSizeBinary(16), "12")]
        {
            assert!(constant("x", &data_type, Some(text)).is_none(), "{data_type}");
        }
    }
}
