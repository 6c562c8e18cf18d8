//! The order in which rows are declared to be, and the check that they are.
//!
//! The order is that of the file's values: numbers and moments by size, text and bytes by their bytes. It is
//! written for each row group, and checked there: over all batches, and not from one row group to the next.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_ord::ord::{DynComparator, make_comparator};
use arrow_schema::{ArrowError, DataType, Field, Schema, SortOptions};
use arrow_select::take::take;
use parquet::file::metadata::SortingColumn;
use parquet::schema::types::SchemaDescriptor;
use pgarrow_sink::option::SORTED_BY;
use pgarrow_sink::{SinkError, SinkErrorKind, message};

use crate::geo;
use crate::size;

/// A column by which rows are sorted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub struct SortColumn {
    name: String,
    options: SortOptions,
}

impl SortColumn {
    /// Smallest values first, NULLs last. The name is the column's in the file.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), options: SortOptions { descending: false, nulls_first: false } }
    }

    /// Whether the largest values come first. This does not change the place of NULLs.
    pub fn with_descending(mut self, descending: bool) -> Self {
        self.options.descending = descending;
        self
    }

    /// Whether NULLs come before all values.
    pub fn with_nulls_first(mut self, nulls_first: bool) -> Self {
        self.options.nulls_first = nulls_first;
        self
    }
}

/// The columns of a file by which its rows are sorted; most important first.
#[derive(Debug)]
pub(crate) struct Order {
    keys: Vec<Key>,
    /// The table that the rows are from, as the schema's metadata have it: a series of files has no name yet.
    table: Option<String>,
}

#[derive(Debug)]
struct Key {
    name: String,
    /// Its place among the columns of a batch.
    position: usize,
    /// Its place among Parquet's columns.
    leaf: i32,
    options: SortOptions,
    is_text: bool,
}

impl Order {
    /// # Errors
    ///
    /// [`SinkErrorKind::Unsupported`] for a column that does not exist, is named twice, or has no order that
    /// all readers agree on.
    pub(crate) fn new(
        sorted_by: &[SortColumn],
        schema: &Schema,
        parquet: &SchemaDescriptor,
    ) -> Result<Self, SinkError> {
        let mut keys: Vec<Key> = Vec::with_capacity(sorted_by.len());
        for SortColumn { name, options } in sorted_by {
            let refuse = |why: &str| {
                let text = format!("rows are to be sorted by column {name:?}, {why}");
                Err(SinkError::new(SinkErrorKind::Unsupported, text))
            };
            if keys.iter().any(|key| key.name == *name) {
                return refuse("which is named twice");
            }
            let Some((position, field)) = schema.fields().find(name) else {
                return refuse("and no such column is written");
            };
            if let Some(why) = without_order(field) {
                return refuse(why);
            }
            let leaf = parquet.columns().iter().position(|it| it.path().parts() == [name.as_str()]);
            let Some(leaf) = leaf.and_then(|leaf| i32::try_from(leaf).ok()) else {
                return refuse("which is made of others");
            };
            let is_text = is_text(field.data_type());
            keys.push(Key { name: name.clone(), position, leaf, options: *options, is_text });
        }
        let table = schema.metadata().get("pg.table").cloned();
        Ok(Self { keys, table })
    }

    /// The order as the metadata of row groups have it; `None` if there is none.
    pub(crate) fn columns(&self) -> Option<Vec<SortingColumn>> {
        let column = |key: &Key| SortingColumn {
            column_idx: key.leaf,
            descending: key.options.descending,
            nulls_first: key.options.nulls_first,
        };
        (!self.keys.is_empty()).then(|| self.keys.iter().map(column).collect())
    }

    /// Checks that the rows of a batch are in order, and come after `last`, which is then its last row.
    pub(crate) fn check(&self, last: &mut LastRow, batch: &RecordBatch) -> Result<(), Disorder> {
        let n_rows = batch.num_rows();
        if self.keys.is_empty() || n_rows == 0 {
            return Ok(());
        }
        let columns: Vec<&ArrayRef> =
            self.keys.iter().filter_map(|key| batch.columns().get(key.position)).collect();
        if let Some(before) = &last.0 {
            let compare = self.comparators(before.iter().zip(&columns))?;
            self.compare(&compare, 0, 0).map_err(|key| Disorder::Row { row: 0, key })?;
        }
        let compare = self.comparators(columns.iter().copied().zip(&columns))?;
        for row in 1..n_rows {
            self.compare(&compare, row - 1, row).map_err(|key| Disorder::Row { row, key })?;
        }
        let place = UInt64Array::from(vec![n_rows as u64 - 1]);
        let taken = columns.iter().map(|column| Ok(alone(take(column, &place, None)?)));
        last.0 = Some(taken.collect::<Result<_, ArrowError>>()?);
        Ok(())
    }

    fn comparators<'a>(
        &self,
        columns: impl Iterator<Item = (&'a ArrayRef, &'a &'a ArrayRef)>,
    ) -> Result<Vec<DynComparator>, ArrowError> {
        let pairs = columns.zip(&self.keys);
        pairs.map(|((left, right), key)| make_comparator(left, right, key.options)).collect()
    }

    /// # Errors
    ///
    /// The key by which the second row is before the first.
    fn compare(&self, columns: &[DynComparator], first: usize, second: usize) -> Result<(), usize> {
        for (key, compare) in columns.iter().enumerate() {
            match compare(first, second) {
                Ordering::Less => return Ok(()),
                Ordering::Equal => {}
                Ordering::Greater => return Err(key),
            }
        }
        Ok(())
    }

    /// The error about it: what was written before counts from the beginning of the part.
    pub(crate) fn error(&self, disorder: Disorder, path: Option<&Path>, rows_before: u64) -> SinkError {
        let (row, key) = match disorder {
            Disorder::Row { row, key } => (rows_before.saturating_add(row as u64).saturating_add(1), key),
            Disorder::Arrow(error) => return SinkError::encode("compare the rows of", path, error),
        };
        let place = match (path, &self.table) {
            (Some(path), Some(table)) => format!("output {path:?} of {table}"),
            (Some(path), None) => format!("output {path:?}"),
            (None, Some(table)) => format!("the output of {table}"),
            (None, None) => "the output stream".to_owned(),
        };
        let (name, is_text) = self.keys.get(key).map_or(("", false), |key| (key.name.as_str(), key.is_text));
        let bytewise = if is_text { "; text is compared by its bytes, as in COLLATE \"C\"" } else { "" };
        let text = message![
            format_args!(
                "{place} is not sorted: by column {name:?}, row {row} of those that one reader wrote belongs before the \
                 one before it{bytewise}; order the rows where they are read, as by ORDER BY in a query, or declare \
                 the order that they have ("
            ),
            SORTED_BY,
            ")"
        ];
        SinkError::new(SinkErrorKind::Encode, text)
    }
}

/// The keys of the last row of a row group in progress.
#[derive(Debug, Default)]
pub(crate) struct LastRow(Option<Vec<ArrayRef>>);

impl LastRow {
    /// Bytes that it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.0.iter().flatten().map(size::bytes).fold(0, usize::saturating_add)
    }
}

/// Why rows are not in order.
#[derive(Debug)]
pub(crate) enum Disorder {
    /// This row of a batch belongs before the one before it, by this key.
    Row { row: usize, key: usize },
    /// They could not be compared.
    Arrow(ArrowError),
}

impl From<ArrowError> for Disorder {
    fn from(error: ArrowError) -> Self {
        Self::Arrow(error)
    }
}

/// A taken row without the batch that it was in: views share their bytes otherwise.
fn alone(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => array,
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Why a column has no order, if it has none.
fn without_order(field: &Field) -> Option<&'static str> {
    if geo::is_geometry(field) {
        return Some("whose geometries have no order");
    }
    match field.data_type() {
        // NaN and the two zeros: PostgreSQL, Arrow and readers of Parquet order them in three ways.
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            Some("whose floats have no order that all readers agree on")
        }
        DataType::Dictionary(_, values) => without_order(&Field::new("", values.as_ref().clone(), true)),
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => None,
        other if other.is_primitive() => None,
        _ => Some("which is made of others; sort by columns that are not"),
    }
}
