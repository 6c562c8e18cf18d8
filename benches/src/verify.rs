//! The answer: what the server says about a table, against what the batches hold.
//!
//! Per column one number that depends on every value: sums of integers, decimals, days and microseconds, lengths of
//! text; and how many are NULL. Floats are added up in another order by the server, so theirs are compared roughly.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_buffer::i256;
use arrow_schema::DataType;
use pgarrow::{Plan, Source};

use crate::Result;
use crate::server::Database;

/// The sums of one column.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    nulls: u64,
    exact: i256,
    rough: f64,
}

/// Exports the table and compares every column with the server's own sums.
pub(crate) fn table(database: &mut Database, table: &str) -> Result<u64> {
    let source = Source::connect_blocking(database.url())?;
    let run = source.table(table).open()?;
    let plan = run.plan().clone();
    let mut sums = vec![Sums::default(); plan.columns().len()];
    let report = run.for_each(|batch| {
        add(&batch, &mut sums);
        Ok(())
    })?;
    let expected = expected(database, &plan, table)?;
    let Some((Some(rows), columns)) = expected.split_first() else {
        return Err("the server's sums are missing".into());
    };
    if rows.parse() != Ok(report.rows) {
        return Err(format!("{table}: {} rows were read, the server has {rows}", report.rows).into());
    }
    for ((column, sums), pair) in plan.columns().iter().zip(sums).zip(columns.chunks(2)) {
        let [nulls, sum] = pair else { return Err("the server's sums are incomplete".into()) };
        let nulls_differ = nulls.as_deref().and_then(|text| text.parse().ok()) != Some(sums.nulls);
        let sum = sum.as_deref().unwrap_or("0");
        let differs = match sum.parse::<f64>() {
            Ok(rough) if sums.rough != 0.0 => (rough - sums.rough).abs() > rough.abs() * 1e-6,
            _ => i256::from_string(&sum.replace('.', "")) != Some(sums.exact),
        };
        if nulls_differ || differs {
            return Err(format!("{table}.{}: {sums:?} instead of {nulls:?}, {sum}", column.name).into());
        }
    }
    Ok(report.rows)
}

/// One query: the row count, then for each column how many NULLs and the sum.
fn expected(database: &mut Database, plan: &Plan, table: &str) -> Result<Vec<Option<String>>> {
    let mut items = vec!["count(*)::text".to_owned()];
    for (column, field) in plan.columns().iter().zip(plan.schema().fields()) {
        let name = pgarrow::quote_identifier(&column.name);
        let sum = match field.data_type() {
            DataType::Boolean => format!("count(*) FILTER (WHERE {name})"),
            DataType::Date32 => format!("sum({name} - date '1970-01-01')"),
            DataType::Timestamp(..) => format!("sum(trunc(extract(epoch FROM {name}) * 1000000))"),
            DataType::Time64(_) => format!("sum(trunc(extract(epoch FROM {name}) * 1000000))"),
            // Cast to text, a char(n) would lose the padding that is sent.
            DataType::Utf8 if column.pg_type == pgarrow::PgType::Text => format!("sum(octet_length({name}))"),
            DataType::Utf8 => format!("sum(octet_length({name}::text))"),
            DataType::Decimal128(_, scale) => format!("sum({name})::numeric(1000, {scale})"),
            _ => format!("sum({name})"),
        };
        items.push(format!("(count(*) - count({name}))::text"));
        items.push(format!("({sum})::text"));
    }
    database.row(&format!("SELECT {} FROM {table}", items.join(", ")))
}

fn add(batch: &RecordBatch, sums: &mut [Sums]) {
    for (array, sums) in batch.columns().iter().zip(sums) {
        sums.nulls += array.null_count() as u64;
        let mut exact = |values: &mut dyn Iterator<Item = i256>| {
            sums.exact = values.fold(sums.exact, i256::wrapping_add);
        };
        macro_rules! integers {
            ($type:ty) => {
                exact(&mut array.as_primitive::<$type>().iter().flatten().map(|v| i256::from_i128(v.into())))
            };
        }
        match array.data_type() {
            DataType::Int16 => integers!(Int16Type),
            DataType::Int32 => integers!(Int32Type),
            DataType::Int64 => integers!(Int64Type),
            DataType::Date32 => integers!(Date32Type),
            DataType::Timestamp(..) => integers!(TimestampMicrosecondType),
            DataType::Time64(_) => integers!(Time64MicrosecondType),
            DataType::Decimal128(..) => integers!(Decimal128Type),
            DataType::Decimal256(..) => exact(&mut array.as_primitive::<Decimal256Type>().iter().flatten()),
            DataType::Boolean => {
                exact(&mut std::iter::once(i256::from_i128(array.as_boolean().true_count() as i128)))
            }
            DataType::Utf8 => {
                let text = array.as_string::<i32>();
                exact(&mut text.iter().flatten().map(|value| i256::from_i128(value.len() as i128)));
            }
            DataType::Float32 => {
                sums.rough +=
                    array.as_primitive::<Float32Type>().iter().flatten().map(f64::from).sum::<f64>();
            }
            DataType::Float64 => {
                sums.rough += array.as_primitive::<Float64Type>().iter().flatten().sum::<f64>()
            }
            _ => {}
        }
    }
}
