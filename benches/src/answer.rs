//! The answer: what the server says about a workload, compared with what a contender read.
//!
//! For each column, one number that depends on every value (sums of integers, decimals, days and
//! microseconds, lengths of text), and the number of NULLs. The server adds floats in another order, so their
//! sums are compared roughly.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, DecimalType, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_buffer::i256;
use arrow_schema::{DataType, Schema};
use pgarrow::{Plan, quote_identifier};
use pgarrow_types::PgType;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::server::Database;

/// How far two sums of floats may be apart, relative to their size.
const ROUGHLY: f64 = 1e-9;
/// `BPCHAROID` in PostgreSQL's `pg_type.dat`.
const BPCHAR_OID: u32 = 1042;

/// What is added up for a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Integers and decimals.
    Number,
    Float,
    /// How many are true.
    Flag,
    /// Bytes, of text in UTF-8.
    Length,
    /// Days since 1970.
    Day,
    /// Microseconds, since 1970 or midnight.
    Micros,
    /// Elements of arrays.
    Items,
    /// Nothing: only NULLs are counted.
    Nulls,
}

/// The sum of one column as a contender found it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ColumnSum {
    pub(crate) name: String,
    pub(crate) nulls: u64,
    /// A decimal number; none if the contender has a type that cannot be added up.
    pub(crate) sum: Option<String>,
}

/// The right answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) rows: u64,
    /// The list of columns that pgarrow reads, for the drains.
    pub(crate) select: String,
    columns: Vec<Expected>,
}

#[derive(Clone, Debug)]
struct Expected {
    name: String,
    kind: Kind,
    /// What rivals add up: they differ in numerics without a scale, and in JSON's blanks.
    rivals_kind: Kind,
    nulls: u64,
    sum: String,
    /// The sum if blanks at the end of `char(n)` are dropped, as rivals may.
    trimmed_sum: String,
}

impl Answer {
    /// Asks the server. All tables have the columns of the plan.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub(crate) fn of(database: &mut Database, plan: &Plan, tables: &[String]) -> Result<Self> {
        let kinds: Vec<Kind> =
            plan.schema().fields().iter().map(|field| Kind::of(field.data_type())).collect();
        let mut items = vec!["count(*)::text".to_owned()];
        for ((column, field), kind) in plan.columns().iter().zip(plan.schema().fields()).zip(&kinds) {
            let name = quote_identifier(&column.name);
            items.push(format!("(count(*) - count({name}))::text"));
            items.push(sum_of(&name, *kind, &column.pg_type, field.data_type()));
            items.push(match column.type_oid {
                BPCHAR_OID => format!("sum(octet_length({name}::text))::text"),
                _ => "NULL::text".to_owned(),
            });
        }
        let tables: Vec<String> = tables.iter().map(|table| format!("SELECT * FROM {table}")).collect();
        let sql = format!("SELECT {} FROM ({}) t", items.join(", "), tables.join(" UNION ALL "));
        let values = database.row(&sql)?;
        let Some((Some(rows), sums)) = values.split_first() else {
            return Err("the server's sums are missing".into());
        };
        let mut columns = Vec::new();
        for ((column, kind), pair) in plan.columns().iter().zip(kinds).zip(sums.chunks(3)) {
            let [Some(nulls), sum, trimmed] = pair else {
                return Err("the server's sums are incomplete".into());
            };
            let sum = sum.clone().unwrap_or_else(|| "0".to_owned());
            let is_rivals_own = match column.pg_type {
                PgType::Numeric(_) => kind == Kind::Length,
                PgType::Json | PgType::Jsonb | PgType::Array(_) => true,
                PgType::Bool
                | PgType::Int2
                | PgType::Int4
                | PgType::Int8
                | PgType::Oid
                | PgType::Xid8
                | PgType::PgLsn
                | PgType::Float4
                | PgType::Float8
                | PgType::Money { .. }
                | PgType::Text
                | PgType::Bpchar
                | PgType::Char
                | PgType::Bytea
                | PgType::Uuid
                | PgType::Date
                | PgType::Time
                | PgType::Timetz
                | PgType::Timestamp
                | PgType::Timestamptz
                | PgType::Interval { .. }
                | PgType::Bit
                | PgType::Inet
                | PgType::Macaddr
                | PgType::Macaddr8
                | PgType::Enum(_)
                | PgType::Tid
                | PgType::Point
                | PgType::Line
                | PgType::Lseg
                | PgType::Box
                | PgType::Path
                | PgType::Polygon
                | PgType::Circle
                | PgType::Hstore
                | PgType::Ltree
                | PgType::Vector { .. }
                | PgType::Halfvec { .. }
                | PgType::Sparsevec
                | PgType::Geometry(_)
                | PgType::Composite(_)
                | PgType::Range(_)
                | PgType::Multirange(_)
                | PgType::ServerText { .. } => false,
            };
            columns.push(Expected {
                name: column.name.clone(),
                kind,
                rivals_kind: if is_rivals_own { Kind::Nulls } else { kind },
                nulls: nulls.parse()?,
                trimmed_sum: trimmed.clone().unwrap_or_else(|| sum.clone()),
                sum,
            });
        }
        let items = plan.columns().iter().map(|column| {
            let cast = column.pg_type.server_cast().map(|cast| format!("::{cast}"));
            quote_identifier(&column.name) + &cast.unwrap_or_default()
        });
        Ok(Self { rows: rows.parse()?, select: items.collect::<Vec<_>>().join(", "), columns })
    }

    /// What a script adds up, as a JSON object of kinds by column.
    pub(crate) fn kinds(&self, is_ours: bool) -> Result<String> {
        let kind = |column: &Expected| if is_ours { column.kind } else { column.rivals_kind };
        let kinds =
            self.columns.iter().map(|column| Ok((column.name.clone(), serde_json::to_value(kind(column))?)));
        let kinds: serde_json::Map<_, _> = kinds.collect::<Result<_>>()?;
        Ok(serde_json::to_string(&kinds)?)
    }

    /// How many columns were added up and agree.
    ///
    /// # Errors
    ///
    /// A column that is missing, or has another sum, or, for our contenders, no sum.
    pub(crate) fn check(&self, sums: &[ColumnSum], is_ours: bool) -> Result<usize> {
        let mut n_agreed = 0;
        for expected in &self.columns {
            let found = sums.iter().find(|found| found.name == expected.name);
            let found = found.ok_or_else(|| format!("column {} is missing", expected.name))?;
            let kind = if is_ours { expected.kind } else { expected.rivals_kind };
            let agrees = match (&found.sum, kind) {
                _ if found.nulls != expected.nulls => false,
                (_, Kind::Nulls) => true,
                (None, _) => !is_ours,
                (Some(sum), Kind::Float) => is_roughly(sum, &expected.sum),
                (Some(sum), _) if is_ours => canonical(sum) == canonical(&expected.sum),
                // A rival may have turned decimals into floats.
                (Some(sum), _) => is_roughly(sum, &expected.sum) || is_roughly(sum, &expected.trimmed_sum),
            };
            if !agrees {
                let Expected { name, nulls, sum, .. } = expected;
                return Err(format!("column {name}: {found:?} instead of {nulls} NULLs and {sum}").into());
            }
            n_agreed += usize::from(found.sum.is_some() && kind != Kind::Nulls);
        }
        Ok(n_agreed)
    }
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int16 | DataType::Int32 | DataType::Int64 => Self::Number,
            DataType::Decimal128(..) | DataType::Decimal256(..) => Self::Number,
            DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Boolean => Self::Flag,
            DataType::Utf8 | DataType::Binary => Self::Length,
            DataType::Date32 => Self::Day,
            DataType::List(_) => Self::Items,
            DataType::Timestamp(..) | DataType::Time64(_) => Self::Micros,
            _ => Self::Nulls,
        }
    }
}

fn sum_of(name: &str, kind: Kind, pg_type: &PgType, data_type: &DataType) -> String {
    let sum = match (kind, data_type) {
        (Kind::Nulls, _) => return "NULL::text".to_owned(),
        (Kind::Flag, _) => format!("count(*) FILTER (WHERE {name})"),
        (Kind::Items, _) if matches!(pg_type, PgType::Array(_)) => format!("sum(cardinality({name}))"),
        (Kind::Items, _) => return "NULL::text".to_owned(),
        (Kind::Day, _) => format!("sum({name} - date '1970-01-01')"),
        (Kind::Micros, _) => format!("sum(trunc(extract(epoch FROM {name}) * 1000000))"),
        // A cast to text would lose the padding that char(n) is sent with.
        (Kind::Length, _) if matches!(pg_type, PgType::Text | PgType::Bpchar | PgType::Bytea) => {
            format!("sum(octet_length({name}))")
        }
        (Kind::Length, _) => format!("sum(octet_length({name}::text))"),
        (_, DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => {
            format!("sum({name})::numeric(1000, {scale})")
        }
        (Kind::Float, _) => format!("sum({name}::float8)"),
        (Kind::Number, _) => format!("sum({name})"),
    };
    format!("({sum})::text")
}

/// The number without zeros at the end of its fraction.
fn canonical(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

fn is_roughly(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= ROUGHLY * a.abs().max(b.abs()).max(1.0),
        _ => false,
    }
}

/// Sums of batches, column by column.
#[derive(Debug)]
pub(crate) struct Sums {
    columns: Vec<Sum>,
}

#[derive(Clone, Debug)]
struct Sum {
    name: String,
    kind: Kind,
    nulls: u64,
    exact: i256,
    rough: f64,
    scale: usize,
}

impl Sums {
    pub(crate) fn new(schema: &Schema) -> Self {
        let columns = schema.fields().iter().map(|field| Sum {
            name: field.name().clone(),
            kind: Kind::of(field.data_type()),
            nulls: 0,
            exact: i256::ZERO,
            rough: 0.0,
            scale: match field.data_type() {
                DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
                    usize::try_from(*scale).unwrap_or(0)
                }
                _ => 0,
            },
        });
        Self { columns: columns.collect() }
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        for (array, sum) in batch.columns().iter().zip(&mut self.columns) {
            sum.add(array);
        }
    }

    pub(crate) fn finish(self) -> Vec<ColumnSum> {
        let columns = self.columns.into_iter().map(|column| ColumnSum {
            sum: match column.kind {
                Kind::Nulls => None,
                Kind::Float => Some(column.rough.to_string()),
                _ => Some(Decimal256Type::format_decimal(column.exact, 76, column.scale as i8)),
            },
            name: column.name,
            nulls: column.nulls,
        });
        columns.collect()
    }
}

impl Sum {
    fn add(&mut self, array: &dyn Array) {
        self.nulls += array.null_count() as u64;
        let Self { exact, rough, .. } = self;
        let mut sum = |values: &mut dyn Iterator<Item = i256>| {
            *exact = values.fold(*exact, i256::wrapping_add);
        };
        macro_rules! integers {
            ($type:ty) => {
                sum(&mut array.as_primitive::<$type>().iter().flatten().map(|v| i256::from_i128(v.into())))
            };
        }
        let length = |value: usize| i256::from_i128(value as i128);
        match array.data_type() {
            DataType::Int16 => integers!(Int16Type),
            DataType::Int32 => integers!(Int32Type),
            DataType::Int64 => integers!(Int64Type),
            DataType::Date32 => integers!(Date32Type),
            DataType::Timestamp(..) => integers!(TimestampMicrosecondType),
            DataType::Time64(_) => integers!(Time64MicrosecondType),
            DataType::Decimal128(..) => integers!(Decimal128Type),
            DataType::Decimal256(..) => sum(&mut array.as_primitive::<Decimal256Type>().iter().flatten()),
            DataType::Boolean => sum(&mut std::iter::once(length(array.as_boolean().true_count()))),
            DataType::Utf8 => sum(&mut array.as_string::<i32>().iter().flatten().map(|v| length(v.len()))),
            DataType::Binary => sum(&mut array.as_binary::<i32>().iter().flatten().map(|v| length(v.len()))),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                sum(&mut list.iter().flatten().map(|items| length(items.len())));
            }
            DataType::Float32 => {
                *rough += array.as_primitive::<Float32Type>().iter().flatten().map(f64::from).sum::<f64>();
            }
            DataType::Float64 => {
                *rough += array.as_primitive::<Float64Type>().iter().flatten().sum::<f64>();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Decimal128Array, Float64Array, Int32Array, StringArray};

    use super::*;

    fn expected(name: &str, kind: Kind, nulls: u64, sum: &str) -> Expected {
        let (name, sum) = (name.to_owned(), sum.to_owned());
        Expected { name, kind, rivals_kind: kind, nulls, trimmed_sum: sum.clone(), sum }
    }

    fn answer() -> Answer {
        let columns = vec![
            expected("i", Kind::Number, 1, "-2"),
            expected("d", Kind::Number, 0, "-1.50"),
            expected("f", Kind::Float, 0, "0.30000000000000004"),
            expected("t", Kind::Length, 0, "8"),
        ];
        Answer { rows: 3, select: String::new(), columns }
    }

    fn sums() -> Vec<ColumnSum> {
        let decimals = Decimal128Array::from(vec![100, -300, 50]).with_precision_and_scale(10, 2).unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("i", Arc::new(Int32Array::from(vec![Some(1), None, Some(-3)]))),
            ("d", Arc::new(decimals)),
            ("f", Arc::new(Float64Array::from(vec![0.3, -0.1, 0.1]))),
            ("t", Arc::new(StringArray::from(vec!["a", "", "日本x"]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut sums = Sums::new(&batch.schema());
        sums.add(&batch);
        sums.finish()
    }

    #[test]
    fn a_right_answer() {
        assert_eq!(answer().check(&sums(), true).unwrap(), 4);
    }

    #[test]
    fn wrong_answers() {
        for change in 0..4 {
            let mut sums = sums();
            let mut columns = answer();
            match change {
                0 => sums[0].nulls = 0,
                1 => sums[1].sum = Some("-1.51".to_owned()),
                2 => sums[2].sum = Some("0.31".to_owned()),
                _ => columns.columns[3].name = "other".to_owned(),
            }
            assert!(columns.check(&sums, true).is_err(), "{change}");
        }
    }

    #[test]
    fn a_rival_may_drop_blanks() {
        let (mut sums, mut answer) = (sums(), answer());
        answer.columns[3].trimmed_sum = "7".to_owned();
        sums[3].sum = Some("7".to_owned());
        assert!(answer.check(&sums, true).is_err());
        assert_eq!(answer.check(&sums, false).unwrap(), 4);
    }

    #[test]
    fn a_rival_may_have_floats_for_decimals_and_types_that_cannot_be_added_up() {
        let mut sums = sums();
        sums[1].sum = Some("-1.4999999999999998".to_owned());
        sums[3].sum = None;
        assert!(answer().check(&sums, true).is_err());
        assert_eq!(answer().check(&sums, false).unwrap(), 3);
    }
}
