//! Lists and structs of what the catalog says, from rows that stand one behind the other.

use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Fields};

type Result<T> = std::result::Result<T, ArrowError>;

/// A list of texts, each may be NULL.
pub(crate) fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// Lists of so many of the items each; `None` is NULL.
pub(crate) fn lists(of: &DataType, lengths: &[Option<usize>], items: ArrayRef) -> Result<ArrayRef> {
    let DataType::List(item) = of else {
        return Err(ArrowError::SchemaError(format!("{of} is no list")));
    };
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|length| length.unwrap_or(0)));
    let nulls: NullBuffer = lengths.iter().map(Option::is_some).collect::<Vec<bool>>().into();
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls)?))
}

/// Structs with these columns.
pub(crate) fn structs(of: &DataType, columns: Vec<ArrayRef>) -> Result<ArrayRef> {
    Ok(Arc::new(StructArray::try_new(fields(of)?.clone(), columns, None)?))
}

/// The fields of a struct.
pub(crate) fn fields(of: &DataType) -> Result<&Fields> {
    match of {
        DataType::Struct(fields) => Ok(fields),
        other => Err(ArrowError::SchemaError(format!("{other} is no struct"))),
    }
}

/// The type of a struct's field.
pub(crate) fn field<'a>(of: &'a DataType, name: &str) -> Result<&'a DataType> {
    let found = fields(of)?.iter().find(|field| field.name() == name);
    found.map(|field| field.data_type()).ok_or_else(|| ArrowError::SchemaError(format!("there is no {name}")))
}
