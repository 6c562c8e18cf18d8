//! Files against the server: the number of rows, exact sums of numeric columns, first and last of dates.
//!
//! The files are read back by the readers of parquet and arrow-ipc, which share nothing with our decoding.

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::FileReader;
use arrow_schema::{ArrowError, DataType, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pgarrow::{Source, quote_identifier};

use crate::exit::Failure;

/// The totals of a file: found, or expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Totals {
    rows: u64,
    columns: Vec<(String, Total)>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Total {
    /// In units of the last digit: a sum of `numeric(15,2)` counts hundredths.
    Sum(i128),
    /// Days since 1970; none without rows.
    Range(Option<RangeInclusive<i32>>),
}

impl Totals {
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn n_sums(&self) -> u64 {
        self.columns.iter().filter(|(_, total)| matches!(total, Total::Sum(_))).count() as u64
    }

    pub(crate) fn n_ranges(&self) -> u64 {
        self.columns.iter().filter(|(_, total)| matches!(total, Total::Range(_))).count() as u64
    }

    fn empty(schema: &Schema) -> Self {
        let columns = schema.fields().iter().filter_map(|field| {
            let total = match field.data_type() {
                DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => {
                    Total::Sum(0)
                }
                DataType::Date32 => Total::Range(None),
                _ => return None,
            };
            Some((field.name().clone(), total))
        });
        Self { rows: 0, columns: columns.collect() }
    }

    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for (name, total) in &mut self.columns {
            let Some(column) = batch.column_by_name(name) else { continue };
            match total {
                Total::Sum(sum) => *sum += sum_of(column),
                Total::Range(range) => {
                    for day in column.as_primitive::<Date32Type>().iter().flatten() {
                        *range = Some(match range.take() {
                            Some(range) => day.min(*range.start())..=day.max(*range.end()),
                            None => day..=day,
                        });
                    }
                }
            }
        }
    }
}

fn sum_of(column: &dyn Array) -> i128 {
    match column.data_type() {
        DataType::Int16 => column.as_primitive::<Int16Type>().iter().flatten().map(i128::from).sum(),
        DataType::Int32 => column.as_primitive::<Int32Type>().iter().flatten().map(i128::from).sum(),
        DataType::Int64 => column.as_primitive::<Int64Type>().iter().flatten().map(i128::from).sum(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().iter().flatten().sum(),
        _ => 0,
    }
}

/// Asks the server for a table's totals. `like` is a file of the table, for its columns.
pub(crate) fn ask_server(source: &Source, table: &str, like: &Path) -> Result<Totals, Failure> {
    let schema = read(like)?.0;
    let mut totals = Totals::empty(&schema);
    let mut items = vec!["count(*)".to_owned()];
    for (name, total) in &totals.columns {
        let column = quote_identifier(name);
        match total {
            Total::Sum(_) => items.push(format!("sum({column})")),
            Total::Range(_) => {
                items.extend(["min", "max"].map(|end| format!("{end}({column}) - date '1970-01-01'")))
            }
        }
    }
    let rows = source.query_text(&format!("SELECT {} FROM {table}", items.join(", ")))?;
    let mut values = rows.into_iter().next().unwrap_or_default().into_iter();
    let unreadable = || Failure::Check("the server's totals cannot be read".to_owned());
    let mut next = || values.next().ok_or_else(unreadable);
    totals.rows = next()?.and_then(|text| text.parse().ok()).ok_or_else(unreadable)?;
    for (name, total) in &mut totals.columns {
        *total = match total {
            Total::Sum(_) => {
                let scale = schema.field_with_name(name).map_or(0, |field| scale_of(field.data_type()));
                // Without rows, SQL's sum is null.
                Total::Sum(next()?.map_or(Some(0), |text| units_of(&text, scale)).ok_or_else(unreadable)?)
            }
            Total::Range(_) => Total::Range(match (next()?, next()?) {
                (Some(first), Some(last)) => {
                    Some(first.parse().map_err(|_| unreadable())?..=last.parse().map_err(|_| unreadable())?)
                }
                _ => None,
            }),
        };
    }
    Ok(totals)
}

fn scale_of(data_type: &DataType) -> usize {
    match data_type {
        DataType::Decimal128(_, scale) => usize::try_from(*scale).unwrap_or(0),
        _ => 0,
    }
}

/// `-12.5` at scale 2 as -1250. `None` if the text is not a number or has more digits.
fn units_of(text: &str, scale: usize) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > scale {
        return None;
    }
    format!("{whole}{fraction:0<scale$}").parse().ok()
}

/// Reads a file and compares it with the expected totals.
pub(crate) fn check(expected: &Totals, path: &Path, name: &str) -> Result<(), Failure> {
    let (schema, batches) = read(path)?;
    let mut found = Totals::empty(&schema);
    for batch in batches {
        found.add(&batch.map_err(|error| unreadable(path, &error))?);
    }
    if found == *expected {
        return Ok(());
    }
    if found.rows != expected.rows {
        let (found, expected) = (found.rows, expected.rows);
        return Err(Failure::Check(format!(
            "{name} has {found} rows, the server {expected}; please report it"
        )));
    }
    let different = found.columns.iter().zip(&expected.columns).find(|(found, expected)| found != expected);
    let column = different.map_or("?", |((column, _), _)| column.as_str());
    Err(Failure::Check(format!("{name}: column {column:?} differs from the server; please report it")))
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

fn read(path: &Path) -> Result<(Schema, Batches), Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    if path.extension().is_some_and(|extension| extension == "parquet") {
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(path, &error))?;
        let schema = builder.schema().as_ref().clone();
        let reader = builder.build().map_err(|error| unreadable(path, &error))?;
        Ok((schema, Box::new(reader)))
    } else {
        let reader = FileReader::try_new_buffered(file, None).map_err(|error| unreadable(path, &error))?;
        Ok((reader.schema().as_ref().clone(), Box::new(reader)))
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::Check(format!("{path:?} cannot be read back: {error}; please report it"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Date32Array, Decimal128Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn sums_are_exact() {
        assert_eq!(units_of("-12.5", 2), Some(-1250));
        assert_eq!(units_of("7", 2), Some(700));
        assert_eq!(units_of("-0.01", 2), Some(-1));
        assert_eq!(units_of("18005322964949", 0), Some(18_005_322_964_949));
        assert_eq!(units_of("1.234", 2), None);
        assert_eq!(units_of("NaN", 2), None);
    }

    #[test]
    fn a_file_that_differs_by_a_cent_is_noticed() {
        let batch = |cents: i128| {
            let total =
                Decimal128Array::from(vec![Some(cents), None]).with_precision_and_scale(15, 2).unwrap();
            let columns: [(&str, Arc<dyn Array>); 4] = [
                ("id", Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX]))),
                ("total", Arc::new(total)),
                ("day", Arc::new(Date32Array::from(vec![Some(-3), Some(9)]))),
                ("text", Arc::new(StringArray::from(vec!["a", "b"]))),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let totals = |cents| {
            let batch = batch(cents);
            let mut totals = Totals::empty(batch.schema_ref());
            totals.add(&batch);
            totals
        };
        assert_eq!((totals(5).rows(), totals(5).n_sums(), totals(5).n_ranges()), (2, 2, 1));
        assert_eq!(totals(5).columns[0].1, Total::Sum(2 * i128::from(i64::MAX)));
        assert_eq!(totals(5).columns[2].1, Total::Range(Some(-3..=9)));
        assert_ne!(totals(5), totals(6));
    }
}
