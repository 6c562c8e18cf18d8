//! Field ids: numbers that fields keep when they are renamed, in the metadata that Parquet writers read.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields};
use pgarrow_types::PgColumn;

/// The metadata key where Parquet writers look for a field's id.
const KEY: &str = "PARQUET:field_id";

/// How many ids a column has for fields inside it. Further fields have none.
const OF_COLUMN: u32 = 100_000;

/// The columns' fields with their ids.
pub(crate) fn numbered(fields: &Fields, columns: &[PgColumn]) -> Fields {
    let fields = fields.iter().zip(columns).map(|(field, column)| {
        let number = u32::from(column.number);
        let mut numbers = Numbers { of_column: number.saturating_mul(OF_COLUMN), used: 0 };
        let data_type = numbers.inside(field.data_type());
        with_id(field, data_type, Some(number))
    });
    fields.collect()
}

struct Numbers {
    of_column: u32,
    used: u32,
}

impl Numbers {
    fn next(&mut self) -> Option<u32> {
        self.used += 1;
        (self.used < OF_COLUMN).then(|| self.of_column.checked_add(self.used)).flatten()
    }

    fn field(&mut self, field: &FieldRef) -> FieldRef {
        let id = self.next();
        let data_type = self.inside(field.data_type());
        with_id(field, data_type, id)
    }

    fn inside(&mut self, data_type: &DataType) -> DataType {
        match data_type {
            DataType::Struct(fields) => {
                DataType::Struct(fields.iter().map(|field| self.field(field)).collect())
            }
            DataType::List(item) => DataType::List(self.field(item)),
            DataType::FixedSizeList(item, size) => DataType::FixedSizeList(self.field(item), *size),
            DataType::Map(entries, is_sorted) => DataType::Map(self.field(entries), *is_sorted),
            other => other.clone(),
        }
    }
}

fn with_id(field: &Field, data_type: DataType, id: Option<u32>) -> FieldRef {
    let mut metadata = field.metadata().clone();
    metadata.extend(id.map(|id| (KEY.to_owned(), id.to_string())));
    Arc::new(field.clone().with_data_type(data_type).with_metadata(metadata))
}
