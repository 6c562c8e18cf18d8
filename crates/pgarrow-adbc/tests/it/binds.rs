//! Bound parameters, batches and streams.

use std::sync::Arc;

use adbc_core::error::Status;
use adbc_core::options::OptionConnection;
use adbc_core::{Connection as _, Optionable as _, Statement as _};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, ListArray, NullArray, RecordBatch, RecordBatchIterator, StringArray,
    StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array, UInt32Array, UInt64Array,
};
use arrow_schema::{ArrowError, DataType};
use pgarrow_testkit::{Capability, require};

use crate::support::{collect, connection, number, run, state, statement};

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let named = columns.into_iter().enumerate().map(|(index, column)| (format!("p{index}"), column, true));
    RecordBatch::try_from_iter_with_nullable(named).unwrap()
}

fn ints(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

#[test]
fn values_of_every_arrow_type_reach_the_server() {
    require!(Capability::Server, Capability::Xml);
    let (_server, mut connection) = connection("every_bind");
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None])]);
    let cases: Vec<(ArrayRef, &str, &str)> = vec![
        (Arc::new(BooleanArray::from(vec![true])), "bool", "true"),
        (Arc::new(Int8Array::from(vec![-8])), "int2", "-8"),
        (Arc::new(Int16Array::from(vec![-16])), "int8", "-16"),
        (Arc::new(Int32Array::from(vec![32])), "numeric", "32"),
        (Arc::new(Int64Array::from(vec![64])), "int4", "64"),
        (Arc::new(Int64Array::from(vec![64])), "text", "64"),
        (Arc::new(UInt8Array::from(vec![255])), "int2", "255"),
        (Arc::new(UInt32Array::from(vec![u32::MAX])), "oid", "4294967295"),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), "numeric", "18446744073709551615"),
        (Arc::new(Float32Array::from(vec![1.5])), "float8", "1.5"),
        (Arc::new(Float64Array::from(vec![0.1])), "float8", "0.1"),
        (
            Arc::new(Decimal128Array::from(vec![12_345]).with_precision_and_scale(10, 2).unwrap()),
            "numeric",
            "123.45",
        ),
        (Arc::new(StringArray::from(vec!["é"])), "text", "é"),
        (Arc::new(StringViewArray::from(vec!["v"])), "varchar", "v"),
        (Arc::new(StringArray::from(vec!["17"])), "int4", "17"),
        (Arc::new(StringArray::from(vec!["today"])), "date", "CURRENT"),
        (Arc::new(StringArray::from(vec!["a & b"])), "tsquery", "'a' & 'b'"),
        (Arc::new(StringArray::from(vec!["<a/>"])), "xml", "<a/>"),
        (Arc::new(StringArray::from(vec!["{\"a\": 1}"])), "jsonb", "{\"a\": 1}"),
        (Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice()])), "bytea", "\\x00ff"),
        (Arc::new(Date32Array::from(vec![20_454])), "date", "2026-01-01"),
        (Arc::new(Time64MicrosecondArray::from(vec![1])), "time", "00:00:00.000001"),
        (Arc::new(TimestampMicrosecondArray::from(vec![0])), "timestamp", "1970-01-01 00:00:00"),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC")),
            "timestamptz",
            "1970-01-01 00:00:00+00",
        ),
        (Arc::new(list), "int8[]", "{1,NULL}"),
        (Arc::new(NullArray::new(1)), "int4", "NULL"),
        (ints(vec![None]), "int8", "NULL"),
    ];
    run(&mut connection, "SET TIME ZONE 'UTC'").unwrap();
    for (array, pg_type, expected) in cases {
        let what = format!("{} as {pg_type}", array.data_type());
        let sql = format!(
            "SELECT coalesce(CASE WHEN '{pg_type}' = 'date' AND v::text = current_date::text THEN 'CURRENT' \
             ELSE v::text END, 'NULL') FROM (SELECT $1::{pg_type} AS v) AS x"
        );
        // A parameter that is cast to text is a text for the server; the bound value knows better.
        let mut bound = statement(&mut connection, &sql);
        bound.bind(batch(vec![array])).unwrap();
        match bound.execute().and_then(collect) {
            Ok(found) => assert_eq!(found.column(0).as_string::<i32>().value(0), expected, "{what}"),
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

#[test]
fn a_parameter_without_a_type_has_that_of_its_value() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("untyped");
    let mut bound = statement(&mut connection, "SELECT $1 AS a, $2 AS b");
    bound.bind(batch(vec![ints(vec![Some(7)]), Arc::new(StringArray::from(vec!["x"]))])).unwrap();
    let found = collect(bound.execute().unwrap()).unwrap();
    assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), 7);
    assert_eq!(*found.column(1).data_type(), DataType::Utf8);
}

#[test]
fn every_bound_row_is_an_execution() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("rows");
    run(&mut connection, "CREATE TABLE t (a int8 PRIMARY KEY, b text)").unwrap();
    let mut insert = statement(&mut connection, "INSERT INTO t VALUES ($1, $2)");
    let one = batch(vec![ints(vec![Some(1), Some(2)]), Arc::new(StringArray::from(vec![Some("x"), None]))]);
    let other = batch(vec![ints(vec![Some(3)]), Arc::new(StringArray::from(vec!["z"]))]);
    let schema = one.schema();
    let stream = RecordBatchIterator::new([Ok(one.clone()), Ok(other)], schema);
    insert.bind_stream(Box::new(stream)).unwrap();
    assert_eq!(insert.execute_update().unwrap(), Some(3));
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t WHERE b IS NULL"), 1);
    // A stream is used up.
    assert_eq!(insert.execute_update().unwrap_err().status, Status::InvalidState);
    // All or nothing, and the error says which row.
    insert
        .bind(batch(vec![ints(vec![Some(9), Some(1)]), Arc::new(StringArray::from(vec!["", ""]))]))
        .unwrap();
    let error = insert.execute_update().unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::Integrity, "23505"));
    assert!(error.message.contains("row 2"), "{error}");
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 3);
    // Results of a query are concatenated.
    let mut select = statement(&mut connection, "SELECT a, b FROM t WHERE a >= $1 ORDER BY a");
    select.bind(batch(vec![ints(vec![Some(3), None, Some(1)])])).unwrap();
    let found = collect(select.execute().unwrap()).unwrap();
    assert_eq!(found.column(0).as_primitive::<Int64Type>().values(), &[3, 1, 2, 3]);
    // A batch stays bound.
    assert_eq!(collect(select.execute().unwrap()).unwrap().num_rows(), 4);
    // Another text is another statement, to which nothing is bound.
    let text = "SELECT a, b FROM t WHERE a >= $1 ORDER BY a";
    select.set_sql_query("SELECT 1").unwrap();
    assert_eq!(collect(select.execute().unwrap()).unwrap().num_rows(), 1);
    select.set_sql_query(text).unwrap();
    assert_eq!(select.execute().err().unwrap().status, Status::InvalidState);
    // No row at all: no execution, and still a schema.
    select.bind(batch(vec![ints(vec![])])).unwrap();
    let found = collect(select.execute().unwrap()).unwrap();
    assert_eq!((found.num_rows(), found.num_columns()), (0, 2));
    // Rows that statements return are counted.
    let mut returning = statement(&mut connection, "DELETE FROM t WHERE a = $1 RETURNING a");
    returning.bind(batch(vec![ints(vec![Some(1), Some(2)])])).unwrap();
    assert_eq!(returning.execute_update().unwrap(), Some(2));
    // Statements without results, by execute.
    let mut insert = statement(&mut connection, "INSERT INTO t VALUES ($1)");
    insert.bind(batch(vec![ints(vec![Some(20), Some(21)])])).unwrap();
    assert_eq!(collect(insert.execute().unwrap()).unwrap().num_columns(), 0);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t WHERE a >= 20"), 2);
}

#[test]
fn prepared_statements_are_parsed_once() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("prepared");
    let mut select = statement(&mut connection, "SELECT $1::int8 + 1 AS a, $2::text AS b");
    assert_eq!(select.get_parameter_schema().unwrap_err().status, Status::InvalidState);
    select.prepare().unwrap();
    let parameters = select.get_parameter_schema().unwrap();
    let types: Vec<String> =
        parameters.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(types, ["$1 Int64", "$2 Utf8"]);
    assert_eq!(select.execute_schema().unwrap().field(0).name(), "a");
    for value in 0..5 {
        select.bind(batch(vec![ints(vec![Some(value)]), Arc::new(StringArray::from(vec!["x"]))])).unwrap();
        let found = collect(select.execute().unwrap()).unwrap();
        assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), value + 1);
    }
    let count = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'pgarrow%'";
    assert_eq!(number(&mut connection, count), 1);
    // The server forgets it when the statement is gone and something else is prepared.
    drop(select);
    let mut other = statement(&mut connection, count);
    other.prepare().unwrap();
    let found = collect(other.execute().unwrap()).unwrap();
    assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), 1);
}

#[test]
fn what_cannot_be_bound_is_refused() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("refused");
    let mut select = statement(&mut connection, "SELECT $1::int4");
    assert_eq!(select.execute().err().unwrap().status, Status::InvalidState);
    assert_eq!(select.execute_update().unwrap_err().status, Status::InvalidState);
    select.bind(batch(vec![ints(vec![Some(1)]), ints(vec![Some(1)])])).unwrap();
    let error = select.execute().err().unwrap();
    assert!(error.message.contains("1 parameters, and 2 values"), "{error}");
    // A value that does not fit, and a type that means nothing there.
    select.bind(batch(vec![ints(vec![Some(1 << 40)])])).unwrap();
    let error = select.execute().err().unwrap();
    assert_eq!(error.status, Status::InvalidData);
    assert!(error.message.contains("$1 in row 1"), "{error}");
    select.bind(batch(vec![Arc::new(BinaryArray::from(vec![b"x".as_slice()]))])).unwrap();
    let error = select.execute().err().unwrap();
    assert_eq!(error.status, Status::InvalidArguments);
    assert!(error.message.contains("integer") && error.message.contains("Binary"), "{error}");
    select.bind(batch(vec![Arc::new(StringArray::from(vec!["x"]))])).unwrap();
    assert_eq!(state(&select.execute().err().unwrap()), "22P02");
    // A stream that fails in the middle.
    let good = batch(vec![ints(vec![Some(1)])]);
    let schema = good.schema();
    let bad = Err(ArrowError::ComputeError("broken".to_owned()));
    select.bind_stream(Box::new(RecordBatchIterator::new([Ok(good), bad], schema))).unwrap();
    let error = select.execute().err().unwrap();
    assert!(error.status == Status::IO && error.message.contains("broken"), "{error}");
    assert_eq!(number(&mut connection, "SELECT 1"), 1);
}

#[test]
fn in_a_transaction_bound_statements_are_part_of_it() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("bound_in_transaction");
    run(&mut connection, "CREATE TABLE t (a int8)").unwrap();
    connection.set_option(OptionConnection::AutoCommit, "false".into()).unwrap();
    let mut insert = statement(&mut connection, "INSERT INTO t VALUES ($1)");
    insert.bind(batch(vec![ints((0..10_000).map(Some).collect())])).unwrap();
    assert_eq!(insert.execute_update().unwrap(), Some(10_000));
    let mut select = statement(&mut connection, "SELECT a FROM t WHERE a % 2 = $1");
    select.bind(batch(vec![ints(vec![Some(0), Some(1)])])).unwrap();
    assert_eq!(collect(select.execute().unwrap()).unwrap().num_rows(), 10_000);
    connection.rollback().unwrap();
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 0);
}

#[test]
fn another_type_of_value_is_another_type_of_parameter() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("rebound");
    // The type that the first value asked for used to stay, so that a text was read as a bigint.
    for is_prepared in [true, false] {
        let mut statement = statement(&mut connection, "SELECT $1 AS value");
        if is_prepared {
            statement.prepare().unwrap();
        }
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["abc"]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
        for value in [ints(vec![Some(5)]), texts, floats, ints(vec![None])] {
            statement.bind(batch(vec![Arc::clone(&value)])).unwrap();
            let found = collect(statement.execute().unwrap()).unwrap();
            assert_eq!(found.column(0), &value, "{is_prepared}");
        }
    }
}

#[test]
fn a_late_value_that_does_not_fit_leaves_the_connection() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("late_value");
    run(&mut connection, "CREATE TABLE t (a int2)").unwrap();
    let mut insert = statement(&mut connection, "INSERT INTO t VALUES ($1)");
    // Much has been sent by then, and without a transaction the connection used to be given up.
    let mut values = vec![Some(1); 50_000];
    values.push(Some(100_000));
    insert.bind(batch(vec![ints(values)])).unwrap();
    let error = insert.execute_update().unwrap_err();
    assert_eq!(error.status, Status::InvalidData, "{error}");
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 0);
}
