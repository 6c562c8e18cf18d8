//! Every statement is in the connection's own session and transaction.

use adbc_core::error::Status;
use adbc_core::options::{OptionConnection, OptionStatement};
use adbc_core::{Connection as _, Database as _, Optionable as _, Statement as _};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use pgarrow_adbc::PgarrowConnection;
use pgarrow_testkit::{Capability, eventually, require};

use crate::support::{collect, connection, database, number, rows, run, set, state, statement, text};

fn autocommit(connection: &mut PgarrowConnection, on: bool) {
    connection.set_option(OptionConnection::AutoCommit, if on { "true" } else { "false" }.into()).unwrap();
}

#[test]
fn what_is_not_committed_is_seen_by_its_connection_alone() {
    require!(Capability::Server);
    let (server, database) = database("commit");
    server.execute("CREATE TABLE t (a int)");
    let (mut one, mut other) = (database.new_connection().unwrap(), database.new_connection().unwrap());
    autocommit(&mut one, false);
    assert_eq!(run(&mut one, "INSERT INTO t VALUES (1), (2)").unwrap(), Some(2));
    assert_eq!(number(&mut one, "SELECT count(*) FROM t"), 2);
    assert_eq!(number(&mut other, "SELECT count(*) FROM t"), 0);
    one.commit().unwrap();
    assert_eq!(number(&mut other, "SELECT count(*) FROM t"), 2);
    run(&mut one, "DELETE FROM t").unwrap();
    one.rollback().unwrap();
    assert_eq!(number(&mut one, "SELECT count(*) FROM t"), 2);
    // Turning autocommit on commits what is open.
    run(&mut one, "DELETE FROM t").unwrap();
    autocommit(&mut one, true);
    assert_eq!(number(&mut other, "SELECT count(*) FROM t"), 0);
    assert_eq!(one.commit().unwrap_err().status, Status::InvalidState);
    assert_eq!(one.rollback().unwrap_err().status, Status::InvalidState);
    // Transactions by SQL work as in psql.
    run(&mut one, "BEGIN").unwrap();
    run(&mut one, "INSERT INTO t VALUES (1)").unwrap();
    run(&mut one, "ROLLBACK").unwrap();
    assert_eq!(number(&mut one, "SELECT count(*) FROM t"), 0);
}

#[test]
fn session_state_is_that_of_psql() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("state");
    run(&mut connection, "CREATE TEMP TABLE mine (id serial, a text)").unwrap();
    let returned = rows(&mut connection, "INSERT INTO mine (a) VALUES ('x'), ('y') RETURNING id, a").unwrap();
    assert_eq!(returned.column(0).as_primitive::<Int32Type>().values(), &[1, 2]);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM mine"), 2);
    run(&mut connection, "CREATE SEQUENCE s").unwrap();
    assert_eq!(number(&mut connection, "nextval('s')"), 1);
    assert_eq!(number(&mut connection, "nextval('s')"), 2);
    assert_eq!(number(&mut connection, "currval('s')"), 2);
    run(&mut connection, "SET TIME ZONE 'Asia/Tokyo'").unwrap();
    assert_eq!(text(&mut connection, "current_setting('TimeZone')"), "Asia/Tokyo");
    run(&mut connection, "SET DateStyle = 'German'").unwrap();
    assert_eq!(text(&mut connection, "date '2026-01-31'"), "31.01.2026");
    assert_eq!(run(&mut connection, "UPDATE mine SET a = 'z'").unwrap(), Some(2));
    assert_eq!(run(&mut connection, "DROP TABLE mine").unwrap(), None);
    // SHOW and EXPLAIN return rows as well.
    assert_eq!(rows(&mut connection, "SHOW TimeZone").unwrap().num_rows(), 1);
    assert!(rows(&mut connection, "EXPLAIN SELECT 1").unwrap().num_rows() > 0);
}

#[test]
fn several_statements_and_statements_without_rows() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("several");
    let sql = "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); SELECT * FROM t";
    assert_eq!(run(&mut connection, sql).unwrap(), None);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 2);
    // A result of several is none.
    let error = rows(&mut connection, "SELECT 1; SELECT 2").unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::InvalidArguments, "42601"));
    let none = rows(&mut connection, "CREATE TABLE u ()").unwrap();
    assert_eq!((none.num_rows(), none.num_columns()), (0, 0));
    assert_eq!(run(&mut connection, "").unwrap(), None);
    assert_eq!(run(&mut connection, "-- nothing").unwrap(), None);
    assert_eq!(rows(&mut connection, "").unwrap().num_columns(), 0);
    // Rows without columns.
    assert_eq!(rows(&mut connection, "SELECT FROM t").unwrap().num_rows(), 2);
}

#[test]
fn copy_has_no_place_here() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("copy");
    run(&mut connection, "CREATE TABLE t (a int)").unwrap();
    for sql in [
        "COPY t FROM STDIN",
        "COPY t TO STDOUT",
        "copy (select 1) to stdout (format binary)",
        "SELECT 1; COPY t FROM STDIN",
    ] {
        assert_eq!(run(&mut connection, sql).unwrap_err().status, Status::NotImplemented, "{sql}");
        assert_eq!(rows(&mut connection, sql).unwrap_err().status, Status::NotImplemented, "{sql}");
    }
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 0);
}

#[test]
fn a_second_statement_while_a_result_is_open_is_an_error_that_says_so() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("open");
    let mut first = statement(&mut connection, "SELECT generate_series(1, 300000) AS a");
    let mut reader = first.execute().unwrap();
    reader.next().unwrap().unwrap();
    let error = run(&mut connection, "SELECT 1").unwrap_err();
    assert_eq!(error.status, Status::InvalidState);
    assert!(error.message.contains("close the result"), "{error}");
    // The result is not disturbed.
    let rest: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert!(rest > 200_000 && rest < 300_000, "{rest}");
    assert_eq!(number(&mut connection, "SELECT 1"), 1);

    // Executing the same statement again ends its earlier result.
    let mut reader = first.execute().unwrap();
    let again = first.execute().unwrap();
    let error = reader.find_map(Result::err).unwrap();
    assert!(error.to_string().contains("executed again"), "{error}");
    assert_eq!(collect(again).unwrap().num_rows(), 300_000);
}

#[test]
fn a_result_that_is_dropped_early_leaves_the_connection_and_its_transaction_in_order() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("early");
    let endless = "SELECT generate_series(1, 2000000000::int8) AS a, repeat('x', 100) AS b";
    drop(statement(&mut connection, endless).execute().unwrap());
    assert_eq!(number(&mut connection, "SELECT 1"), 1);

    autocommit(&mut connection, false);
    run(&mut connection, "CREATE TABLE t AS SELECT 1 AS a").unwrap();
    let mut reader = statement(&mut connection, endless).execute().unwrap();
    reader.next().unwrap().unwrap();
    drop(reader);
    // The transaction goes on, and the table can be changed, so that no portal is open.
    run(&mut connection, "ALTER TABLE t ADD COLUMN b int").unwrap();
    connection.commit().unwrap();
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 1);

    // What a statement has written stays, even if nobody reads what it returns.
    autocommit(&mut connection, true);
    let insert = "INSERT INTO t SELECT g FROM generate_series(1, 500000) AS g RETURNING a";
    drop(statement(&mut connection, insert).execute().unwrap());
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 500_001);
    // Rolling back ends a result that is open.
    autocommit(&mut connection, false);
    let mut reader = statement(&mut connection, endless).execute().unwrap();
    connection.rollback().unwrap();
    assert!(reader.find_map(Result::err).unwrap().to_string().contains("rolled back"));
    // All of it in one part: then the rest has to be received.
    let mut whole = statement(&mut connection, "SELECT generate_series(1, 300000)");
    set(&mut whole, "pgarrow.whole_results", "true");
    drop(whole.execute().unwrap());
    assert_eq!(number(&mut connection, "SELECT 1"), 1);
}

#[test]
fn rows_in_parts_are_all_rows() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("parts");
    autocommit(&mut connection, false);
    let sql = "SELECT g, repeat('x', (g % 50)::int) FROM generate_series(1, 200000::int8) AS g";
    let batch = rows(&mut connection, sql).unwrap();
    let values = batch.column(0).as_primitive::<Int64Type>().values();
    assert!(values.iter().copied().eq(1..=200_000));
    for n in [0, 1, 4095, 4096, 4097, 8192] {
        let batch = rows(&mut connection, &format!("SELECT generate_series(1, {n})")).unwrap();
        assert_eq!(batch.num_rows(), n);
    }
    connection.rollback().unwrap();
}

#[test]
fn a_statement_that_fails_leaves_what_postgresql_leaves() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("fails");
    let error = rows(&mut connection, "SELECT 1 / 0").unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::InvalidData, "22012"));
    assert_eq!(number(&mut connection, "SELECT 1"), 1);
    autocommit(&mut connection, false);
    run(&mut connection, "CREATE TABLE t (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)").unwrap();
    rows(&mut connection, "SELECT 1 / 0").unwrap_err();
    let error = rows(&mut connection, "SELECT 1").unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::InvalidState, "25P02"));
    // COMMIT of a failed transaction is a rollback, and no success.
    connection.commit().unwrap_err();
    run(&mut connection, "CREATE TABLE t (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)").unwrap();
    run(&mut connection, "INSERT INTO t VALUES (1), (1)").unwrap();
    let error = connection.commit().unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::Integrity, "23505"));
    assert_eq!(number(&mut connection, "SELECT count(*) FROM pg_class WHERE relname = 't'"), 0);
    connection.rollback().unwrap();
}

#[test]
fn a_row_in_the_middle_that_fails_is_an_error_of_the_reader() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("middle");
    let sql = "SELECT 1 / (g - 200000) FROM generate_series(1, 300000) AS g";
    let reader = statement(&mut connection, sql).execute().unwrap();
    let error = reader.into_iter().find_map(Result::err).unwrap();
    assert!(error.to_string().contains("22012"), "{error}");
    assert_eq!(number(&mut connection, "SELECT 1"), 1);
    // So is a value that has no place in Arrow: where it is, and what helps.
    let sql = "SELECT CASE WHEN g = 100001 THEN 'infinity' ELSE now() END AS t FROM generate_series(1, 200000) AS g";
    let reader = statement(&mut connection, sql).execute().unwrap();
    let error = reader.into_iter().find_map(Result::err).unwrap().to_string();
    assert!(error.contains("column \"t\"") && error.contains("row 100001"), "{error}");
    assert!(error.contains("pgarrow.infinity=null|saturate"), "{error}");
    assert_eq!(number(&mut connection, "SELECT 1"), 1);
}

#[test]
fn isolation_read_only_and_schema_are_options() {
    require!(Capability::Server);
    let (server, mut connection) = connection("current");
    server.execute("CREATE SCHEMA other; CREATE TABLE other.t AS SELECT 7 AS a");
    let mut set = |key, value: &str| connection.set_option(key, value.into());
    set(OptionConnection::IsolationLevel, "adbc.connection.transaction.isolation.serializable").unwrap();
    set(OptionConnection::CurrentSchema, "other").unwrap();
    assert_eq!(set(OptionConnection::CurrentSchema, "nowhere").unwrap_err().status, Status::NotFound);
    set(OptionConnection::ReadOnly, "true").unwrap();
    set(OptionConnection::AutoCommit, "false").unwrap();
    assert_eq!(text(&mut connection, "current_setting('transaction_isolation')"), "serializable");
    assert_eq!(number(&mut connection, "SELECT a FROM t"), 7);
    let error = run(&mut connection, "DELETE FROM t").unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::InvalidState, "25006"));
    let key = OptionConnection::IsolationLevel;
    let level = "adbc.connection.transaction.isolation.read_committed";
    assert_eq!(connection.set_option(key, level.into()).unwrap_err().status, Status::InvalidState);
    connection.rollback().unwrap();
    let level = connection.get_option_string(OptionConnection::IsolationLevel).unwrap();
    assert!(level.ends_with("serializable"), "{level}");
    assert_eq!(connection.get_option_string(OptionConnection::ReadOnly).unwrap(), "true");
    assert_eq!(connection.get_option_string(OptionConnection::CurrentSchema).unwrap(), "other");
    let catalog = connection.get_option_string(OptionConnection::CurrentCatalog).unwrap();
    assert_eq!(catalog, server.name());
    connection.set_option(OptionConnection::CurrentCatalog, catalog.as_str().into()).unwrap();
    let other = connection.set_option(OptionConnection::CurrentCatalog, "postgres".into());
    assert_eq!(other.unwrap_err().status, Status::NotImplemented);
}

#[test]
fn no_session_is_left_behind() {
    require!(Capability::Server);
    let (server, database) = database("left");
    let mut connection = database.new_connection().unwrap();
    let reader = statement(&mut connection, "SELECT generate_series(1, 1000000)").execute().unwrap();
    drop(connection);
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 1_000_000);
    eventually("the session is gone", || server.n_sessions("pgarrow") == 0);
}

#[test]
fn progress_is_rows_and_known_at_the_end() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("progress");
    let mut rows = statement(&mut connection, "SELECT generate_series(1, 200000)");
    let progress = |rows: &pgarrow_adbc::PgarrowStatement, key| rows.get_option_double(key).unwrap();
    assert!(progress(&rows, OptionStatement::MaxProgress) < 0.0);
    let mut reader = rows.execute().unwrap();
    reader.next().unwrap().unwrap();
    let seen = progress(&rows, OptionStatement::Progress);
    assert!(seen > 0.0 && seen < 200_000.0, "{seen}");
    reader.for_each(drop);
    assert_eq!(progress(&rows, OptionStatement::Progress), 200_000.0);
    assert_eq!(progress(&rows, OptionStatement::MaxProgress), 200_000.0);
}

#[test]
fn an_unnamed_statement_is_not_taken_for_another() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("unnamed");
    // What another statement had left in its place used to be run instead.
    let mut one = statement(&mut connection, "SELECT 1::int8 AS a");
    one.execute_schema().unwrap();
    assert_eq!(number(&mut connection, "2"), 2);
    let mut same_name = statement(&mut connection, "SELECT 2::int8 AS a");
    collect(same_name.execute().unwrap()).unwrap();
    let batch = collect(one.execute().unwrap()).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 1);
}

#[test]
fn columns_that_others_rename_are_never_mixed_up() {
    require!(Capability::Server);
    let (server, mut connection) = connection("renamed");
    server.execute("CREATE TABLE t (a int8, b int8); INSERT INTO t VALUES (1, 2)");
    let mut read = statement(&mut connection, "SELECT * FROM t");
    collect(read.execute().unwrap()).unwrap();
    server.execute("ALTER TABLE t RENAME a TO c; ALTER TABLE t RENAME b TO a");
    // Once it may be an error, but values under the names of before are none of the outcomes.
    let batch = match read.execute() {
        Ok(reader) => collect(reader).unwrap(),
        Err(_) => collect(read.execute().unwrap()).unwrap(),
    };
    let a = batch.column_by_name("a").unwrap();
    assert_eq!(a.as_primitive::<Int64Type>().value(0), 2);
}

#[test]
fn a_statement_that_was_deallocated_is_prepared_again() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("deallocated");
    run(
        &mut connection,
        "CREATE FUNCTION f() RETURNS int8 LANGUAGE plpgsql AS \
           $$BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN 1; END$$",
    )
    .unwrap();
    let mut prepared = statement(&mut connection, "SELECT 7::int8");
    prepared.prepare().unwrap();
    assert_eq!(number(&mut connection, "f()"), 1);
    assert_eq!(state(&prepared.execute().err().unwrap()), "26000");
    assert_eq!(collect(prepared.execute().unwrap()).unwrap().num_rows(), 1);
}

#[test]
fn a_transaction_that_has_failed_is_said_to_have_failed() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("has_failed");
    autocommit(&mut connection, false);
    let mut again = statement(&mut connection, "SELECT 1");
    again.prepare().unwrap();
    collect(again.execute().unwrap()).unwrap();
    run(&mut connection, "SELECT 1/0").unwrap_err();
    assert_eq!(state(&again.execute().err().unwrap()), "25P02");
    let error = connection.commit().unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::InvalidState, "25P02"));
    // A commit that is a rollback takes types back, too.
    run(&mut connection, "CREATE TYPE pair AS (a int, b int)").unwrap();
    connection.commit().unwrap();
    run(&mut connection, "ALTER TYPE pair RENAME ATTRIBUTE a TO c").unwrap();
    let name = |connection: &mut PgarrowConnection| {
        let batch = rows(connection, "SELECT (1, 2)::pair").unwrap();
        batch.column(0).as_struct().column_names()[0].to_owned()
    };
    assert_eq!(name(&mut connection), "c");
    run(&mut connection, "SELECT 1/0").unwrap_err();
    connection.commit().unwrap_err();
    assert_eq!(name(&mut connection), "a");
}

#[test]
fn a_connection_in_use_by_another_thread_says_so() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("in_use");
    let mut slow = statement(&mut connection, "SELECT pg_sleep(2)");
    let mut other = statement(&mut connection, "SELECT 1");
    std::thread::scope(|scope| {
        let slow = scope.spawn(move || while slow.execute_update().is_err() {});
        let refused = || other.execute().err().is_some_and(|error| error.message.contains("another thread"));
        eventually("the connection is in use", refused);
        slow.join().unwrap();
    });
}
