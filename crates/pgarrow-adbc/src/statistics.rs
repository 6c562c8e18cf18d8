//! `get_statistics`: what ANALYZE has found out. All of it is an estimate, whatever was asked for: an exact
//! number would mean to read the tables.

use std::sync::Arc;

use adbc_core::constants;
use adbc_core::schemas::{
    GET_STATISTIC_NAMES_SCHEMA, GET_STATISTICS_SCHEMA, STATISTIC_VALUE_SCHEMA, STATISTICS_DB_SCHEMA_SCHEMA,
    STATISTICS_SCHEMA,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int16Array, Int64Array, RecordBatch, UInt64Array,
    UnionArray,
};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{ArrowError, DataType};
use pgarrow_protocol::{Row, Session};

use crate::error::{Result, of_wire};
use crate::nest::{field, lists, structs, texts};

/// One number about a table or column.
struct Statistic {
    schema: String,
    table: String,
    column: Option<String>,
    key: i16,
    value: f64,
}

/// There are none but ADBC's own.
pub(crate) fn names() -> RecordBatch {
    RecordBatch::new_empty(GET_STATISTIC_NAMES_SCHEMA.clone())
}

/// The statistics of tables whose names are like the patterns.
///
/// # Errors
///
/// Errors of the server.
pub(crate) fn statistics(
    session: &mut Session,
    catalog: Option<&str>,
    schema: Option<&str>,
    table: Option<&str>,
) -> Result<RecordBatch> {
    let like = |name: &str, number: usize| {
        format!(
            "(${number}::pg_catalog.text IS NULL OR {name} OPERATOR(pg_catalog.~~) ${number}::pg_catalog.text)"
        )
    };
    // pg_stats shows nobody more than the columns that the role may read. A negative number of distinct
    // values is a part of the rows.
    let sql = format!(
        "SELECT n.nspname, c.relname, s.attname, c.reltuples, s.null_frac, s.n_distinct, s.avg_width, \
           pg_catalog.current_database() \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
         LEFT JOIN pg_catalog.pg_stats s ON s.schemaname OPERATOR(pg_catalog.=) n.nspname \
           AND s.tablename OPERATOR(pg_catalog.=) c.relname \
           AND s.inherited OPERATOR(pg_catalog.=) (c.relkind OPERATOR(pg_catalog.=) 'p') \
         WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'm', 'f']::\"char\"[]) \
           AND c.reltuples OPERATOR(pg_catalog.>=) 0::pg_catalog.float4 \
           AND n.nspname OPERATOR(pg_catalog.!~) '^pg_toast' AND {} AND {} AND {} \
         ORDER BY n.nspname, c.relname, c.oid, s.attname",
        like("pg_catalog.current_database()", 1),
        like("n.nspname", 2),
        like("c.relname", 3)
    );
    let rows = session.query(&sql, &[catalog, schema, table]).map_err(of_wire)?;
    let mut statistics: Vec<Statistic> = Vec::new();
    let mut last = None;
    for row in &rows {
        add(row, &mut statistics, &mut last);
    }
    let current = rows.first().and_then(|row| row.text(7)).unwrap_or_default();
    Ok(batch(current, &statistics)?)
}

/// `last`: the table of the row before.
fn add(row: &Row, statistics: &mut Vec<Statistic>, last: &mut Option<(String, String)>) {
    let owned = |index| row.text(index).unwrap_or_default().to_owned();
    let number = |index| row.text(index).and_then(|text| text.parse::<f64>().ok());
    let (schema, table) = (owned(0), owned(1));
    let rows = number(3).unwrap_or(0.0);
    let mut push = |column: Option<&str>, key, value| {
        let column = column.map(str::to_owned);
        statistics.push(Statistic { schema: schema.clone(), table: table.clone(), column, key, value });
    };
    if last.as_ref() != Some(&(schema.clone(), table.clone())) {
        push(None, constants::ADBC_STATISTIC_ROW_COUNT_KEY, rows);
        *last = Some((schema.clone(), table.clone()));
    }
    let Some(column) = row.text(2) else { return };
    if let Some(width) = number(6) {
        push(Some(column), constants::ADBC_STATISTIC_AVERAGE_BYTE_WIDTH_KEY, width);
    }
    if let Some(distinct) = number(5) {
        let distinct = if distinct < 0.0 { -distinct * rows } else { distinct };
        push(Some(column), constants::ADBC_STATISTIC_DISTINCT_COUNT_KEY, distinct);
    }
    if let Some(nulls) = number(4) {
        push(Some(column), constants::ADBC_STATISTIC_NULL_COUNT_KEY, nulls * rows);
    }
}

fn batch(current: &str, statistics: &[Statistic]) -> std::result::Result<RecordBatch, ArrowError> {
    let mut schemas: Vec<(&str, usize)> = Vec::new();
    for statistic in statistics {
        match schemas.last_mut() {
            Some((schema, count)) if *schema == statistic.schema => *count += 1,
            _ => schemas.push((&statistic.schema, 1)),
        }
    }
    let values = structs(
        &STATISTICS_SCHEMA,
        vec![
            texts(statistics.iter().map(|statistic| Some(statistic.table.as_str()))),
            texts(statistics.iter().map(|statistic| statistic.column.as_deref())),
            Arc::new(statistics.iter().map(|statistic| Some(statistic.key)).collect::<Int16Array>()),
            numbers(statistics)?,
            Arc::new(statistics.iter().map(|_| Some(true)).collect::<BooleanArray>()),
        ],
    )?;
    let of = &STATISTICS_DB_SCHEMA_SCHEMA;
    let lengths: Vec<_> = schemas.iter().map(|(_, count)| Some(*count)).collect();
    let values = lists(field(of, "db_schema_statistics")?, &lengths, values)?;
    let of_schemas = structs(of, vec![texts(schemas.iter().map(|(schema, _)| Some(*schema))), values])?;
    let schema = GET_STATISTICS_SCHEMA.clone();
    let has_any = !schemas.is_empty();
    let lengths: Vec<_> = has_any.then_some(Some(schemas.len())).into_iter().collect();
    let of_catalogs = lists(schema.field(1).data_type(), &lengths, of_schemas)?;
    RecordBatch::try_new(schema, vec![texts(has_any.then_some(Some(current)).into_iter()), of_catalogs])
}

/// All are floats, the third kind of the union.
fn numbers(statistics: &[Statistic]) -> std::result::Result<ArrayRef, ArrowError> {
    let DataType::Union(fields, _) = &*STATISTIC_VALUE_SCHEMA else {
        return Err(ArrowError::SchemaError("values are a union".to_owned()));
    };
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(Vec::<i64>::new())),
        Arc::new(UInt64Array::from(Vec::<u64>::new())),
        Arc::new(statistics.iter().map(|statistic| Some(statistic.value)).collect::<Float64Array>()),
        Arc::new(BinaryArray::from(Vec::<&[u8]>::new())),
    ];
    let types = ScalarBuffer::from(vec![2_i8; statistics.len()]);
    let offsets = (0..).take(statistics.len()).collect::<Vec<i32>>();
    Ok(Arc::new(UnionArray::try_new(fields.clone(), types, Some(ScalarBuffer::from(offsets)), children)?))
}
