//! Partitions, and several readers.

use adbc_core::error::Status;
use adbc_core::options::OptionConnection;
use adbc_core::{Connection as _, Database as _, Optionable as _, PartitionedResult, Statement as _};
use arrow_array::RecordBatchReader;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type};
use pgarrow_adbc::{PgarrowConnection, PgarrowStatement};
use pgarrow_testkit::{Capability, eventually, require};

use crate::support::{collect, connection, database, rows, run, set, state, statement};

const TABLE: &str = "CREATE TABLE t AS SELECT g AS a, g / 2.0 AS b, repeat('x', 200) AS c \
                     FROM generate_series(1, 20000) AS g; ANALYZE t";

fn planned(connection: &mut PgarrowConnection, sql: &str) -> (PgarrowStatement, PartitionedResult) {
    let mut statement = statement(connection, sql);
    set(&mut statement, "pgarrow.slice_bytes", "256K");
    set(&mut statement, "pgarrow.numeric", "float64");
    let result = statement.execute_partitions().unwrap();
    (statement, result)
}

#[test]
fn partitions_are_read_from_any_connection_under_one_snapshot() {
    require!(Capability::Server);
    let (server, database) = database("partitions");
    server.execute(TABLE);
    let mut planner = database.new_connection().unwrap();
    let (holder, result) = planned(&mut planner, "SELECT a, b FROM t WHERE a > 10");
    assert!(result.partitions.len() > 3, "{}", result.partitions.len());
    assert_eq!(result.rows_affected, -1);
    server.execute("DELETE FROM t WHERE a % 2 = 0");
    let mut seen = Vec::new();
    for partition in &result.partitions {
        let connection = database.new_connection().unwrap();
        let reader = connection.read_partition(partition).unwrap();
        assert_eq!(reader.schema().as_ref(), &result.schema);
        let batch = collect(reader).unwrap();
        seen.extend_from_slice(batch.column(0).as_primitive::<Int32Type>().values());
        // The choices about types travel along.
        assert!(batch.column(1).as_primitive_opt::<Float64Type>().is_some());
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(11..=20_000));
    // The planner's own session is free meanwhile, and reads partitions, too.
    assert_eq!(rows(&mut planner, "SELECT 1").unwrap().num_rows(), 1);
    assert!(collect(planner.read_partition(&result.partitions[0]).unwrap()).unwrap().num_rows() > 0);
    // The snapshot goes with the statement.
    drop(holder);
    let error = planner.read_partition(&result.partitions[0]).err().unwrap();
    assert_eq!(state(&error).len(), 5, "{error}");
    assert_ne!(state(&error), "\0\0\0\0\0", "{error}");
}

#[test]
fn executing_again_ends_the_snapshot_before() {
    require!(Capability::Server);
    let (server, mut connection) = connection("again");
    server.execute(TABLE);
    let (mut holder, first) = planned(&mut connection, "TABLE t");
    let second = holder.execute_partitions().unwrap();
    assert!(connection.read_partition(&first.partitions[0]).is_err());
    let n: usize = second
        .partitions
        .iter()
        .map(|partition| collect(connection.read_partition(partition).unwrap()).unwrap().num_rows())
        .sum();
    assert_eq!(n, 20_000);
    drop(holder);
    drop(connection);
    eventually("no session is left", || server.n_sessions("pgarrow") == 0);
}

#[test]
fn a_query_is_cut_by_a_column_or_is_one_partition() {
    require!(Capability::Server);
    let (server, mut connection) = connection("cut");
    server.execute(TABLE);
    let sql = "SELECT a + 1 AS a FROM t ORDER BY a";
    let (_one, result) = planned(&mut connection, sql);
    assert_eq!(result.partitions.len(), 1);
    let mut by_column = statement(&mut connection, "SELECT a, c FROM t WHERE c <> 'y' ORDER BY a");
    set(&mut by_column, "pgarrow.slice_bytes", "256K");
    set(&mut by_column, "pgarrow.split_on", "a");
    let result = by_column.execute_partitions().unwrap();
    let n: usize = result
        .partitions
        .iter()
        .map(|partition| collect(connection.read_partition(partition).unwrap()).unwrap().num_rows())
        .sum();
    assert_eq!(n, 20_000);
}

#[test]
fn what_other_sessions_would_not_see_is_refused() {
    require!(Capability::Server);
    let (server, mut connection) = connection("refused");
    server.execute(TABLE);
    let refused = |connection: &mut PgarrowConnection, sql: &str| {
        let mut parallel = statement(connection, sql);
        set(&mut parallel, "pgarrow.readers", "2");
        let by_readers = parallel.execute().err().unwrap();
        let by_partitions = parallel.execute_partitions().unwrap_err();
        assert_eq!(by_readers.status, by_partitions.status);
        by_readers.status
    };
    assert_eq!(refused(&mut connection, "DELETE FROM t RETURNING a"), Status::NotImplemented);
    assert_eq!(refused(&mut connection, "SELECT $1::int"), Status::NotImplemented);
    run(&mut connection, "SET work_mem = '8MB'").unwrap();
    assert_eq!(refused(&mut connection, "TABLE t"), Status::InvalidState);
    run(&mut connection, "RESET work_mem; CREATE TEMP TABLE mine (a int)").unwrap();
    assert_eq!(refused(&mut connection, "TABLE t"), Status::InvalidState);
    run(&mut connection, "DROP TABLE mine; SET ROLE pg_read_all_data").unwrap();
    assert_eq!(refused(&mut connection, "TABLE t"), Status::InvalidState);
    run(&mut connection, "RESET ROLE; SET SESSION AUTHORIZATION pg_read_all_data").unwrap();
    assert_eq!(refused(&mut connection, "TABLE t"), Status::InvalidState);
    run(&mut connection, "RESET SESSION AUTHORIZATION").unwrap();
    connection.set_option(OptionConnection::AutoCommit, "false".into()).unwrap();
    assert_eq!(refused(&mut connection, "TABLE t"), Status::InvalidState);
    connection.set_option(OptionConnection::AutoCommit, "true".into()).unwrap();
    let mut parallel = statement(&mut connection, "TABLE t");
    set(&mut parallel, "pgarrow.readers", "2");
    set(&mut parallel, "pgarrow.slice_bytes", "256K");
    assert_eq!(collect(parallel.execute().unwrap()).unwrap().num_rows(), 20_000);
    // The current schema is passed on.
    run(&mut connection, "CREATE SCHEMA s; CREATE TABLE s.u AS SELECT 1 AS a").unwrap();
    connection.set_option(OptionConnection::CurrentSchema, "s".into()).unwrap();
    parallel.set_sql_query("SELECT * FROM u").unwrap();
    assert_eq!(collect(parallel.execute().unwrap()).unwrap().num_rows(), 1);
}

#[test]
fn what_is_no_partition_is_refused() {
    require!(Capability::Server);
    let (_server, connection) = connection("no_partition");
    for bytes in [&b""[..], b"\xff", b"{}", b"{\"pgarrow_partition\":1,\"options\":{},\"slice\":\"{}\"}"] {
        assert_eq!(connection.read_partition(bytes).err().unwrap().status, Status::InvalidArguments);
    }
}

#[test]
fn a_partition_can_be_cancelled_after_its_connection_has_done_something_else() {
    require!(Capability::Server);
    let (server, database) = database("partition_cancel");
    server.execute(TABLE);
    let mut connection = database.new_connection().unwrap();
    let (_holder, result) = planned(&mut connection, "SELECT a, b FROM t");
    let reader = connection.read_partition(&result.partitions[0]).unwrap();
    // The end of this statement used to be taken for the end of the partition.
    rows(&mut connection, "SELECT 1").unwrap();
    let handle = connection.get_cancel_handle();
    handle.try_cancel().unwrap();
    drop(reader);
    assert_eq!(handle.try_cancel().unwrap_err().status, Status::InvalidState);
    assert_eq!(rows(&mut connection, "SELECT 1").unwrap().num_rows(), 1);
}
