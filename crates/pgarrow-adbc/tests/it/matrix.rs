//! The matrix: what the specification of ADBC 1.1 asks of a driver, function by function, option by option
//! and status by status, and what this driver answers. Each row names the test that shows it, or is shown
//! here.

use adbc_core::error::{Error, Status};
use adbc_core::options::{OptionConnection, OptionDatabase, OptionStatement};
use adbc_core::{Connection as _, Database as _, Driver as _, Optionable as _, Statement as _};
use pgarrow_adbc::PgarrowDriver;
use pgarrow_testkit::{Capability, require};

use crate::support::{connection, database, rows, run, state, statement};

/// Function, what is asked, what is answered, and where that is shown.
const FUNCTIONS: [(&str, &str, &str, &str); 41] = [
    ("DriverInit", "version 1.1.0", "ok", "loaded::the_fallback_name_works_too"),
    ("DriverInit", "version 1.0.0", "not implemented", "loaded::the_fallback_name_works_too"),
    ("DatabaseNew, Init, Release", "", "ok; connects to nothing yet", "matrix::statuses_of_options"),
    ("DatabaseSetOption, GetOption", "every type", "ok", "matrix::statuses_of_options"),
    ("ConnectionNew, Init, Release", "", "ok; one session", "transactions::no_session_is_left_behind"),
    ("ConnectionSetOption, GetOption", "every type", "ok", "matrix::statuses_of_options"),
    ("ConnectionCancel", "running", "ok", "cancelling::a_statement_is_cancelled_from_another_thread"),
    (
        "ConnectionCancel",
        "nothing runs",
        "invalid state",
        "cancelling::a_statement_is_cancelled_from_another_thread",
    ),
    (
        "ConnectionCommit, Rollback",
        "autocommit off",
        "ok",
        "transactions::what_is_not_committed_is_seen_by_its_connection_alone",
    ),
    (
        "ConnectionCommit, Rollback",
        "autocommit on",
        "invalid state",
        "transactions::what_is_not_committed_is_seen_by_its_connection_alone",
    ),
    (
        "ConnectionGetInfo",
        "all, some, unknown codes",
        "ok; unknown are left out",
        "catalog::info_types_and_statistics",
    ),
    ("ConnectionGetObjects", "every depth", "ok", "catalog::objects_at_every_depth"),
    ("ConnectionGetObjects", "every filter", "ok", "catalog::objects_with_filters"),
    ("ConnectionGetTableSchema", "a table", "ok", "catalog::schemas_of_tables"),
    ("ConnectionGetTableSchema", "no table", "not found", "catalog::schemas_of_tables"),
    ("ConnectionGetTableTypes", "", "ok", "catalog::info_types_and_statistics"),
    ("ConnectionGetStatistics", "approximate", "ok", "catalog::info_types_and_statistics"),
    (
        "ConnectionGetStatistics",
        "exact",
        "ok; approximate, and marked so",
        "catalog::info_types_and_statistics",
    ),
    ("ConnectionGetStatisticNames", "", "ok; none of our own", "catalog::info_types_and_statistics"),
    (
        "ConnectionReadPartition",
        "from any connection",
        "ok",
        "partitioned::partitions_are_read_from_any_connection_under_one_snapshot",
    ),
    (
        "ConnectionReadPartition",
        "the snapshot is gone",
        "the server's SQLSTATE",
        "partitioned::partitions_are_read_from_any_connection_under_one_snapshot",
    ),
    (
        "ConnectionReadPartition",
        "other bytes",
        "invalid argument",
        "partitioned::what_is_no_partition_is_refused",
    ),
    (
        "StatementNew, Release",
        "",
        "ok",
        "transactions::a_second_statement_while_a_result_is_open_is_an_error_that_says_so",
    ),
    ("StatementSetSqlQuery", "", "ok", "transactions::several_statements_and_statements_without_rows"),
    ("StatementSetSubstraitPlan", "", "not implemented", "matrix::statuses_of_functions"),
    ("StatementExecuteQuery", "with a stream", "ok", "transactions::session_state_is_that_of_psql"),
    (
        "StatementExecuteQuery",
        "without a stream",
        "ok; rows that are counted",
        "transactions::session_state_is_that_of_psql",
    ),
    (
        "StatementExecuteQuery",
        "several statements, no stream",
        "ok",
        "transactions::several_statements_and_statements_without_rows",
    ),
    (
        "StatementExecuteQuery",
        "COPY to or from the client",
        "not implemented",
        "transactions::copy_has_no_place_here",
    ),
    ("StatementExecuteQuery", "nothing is set", "invalid state", "matrix::statuses_of_functions"),
    (
        "StatementExecuteQuery",
        "a result is open",
        "invalid state",
        "transactions::a_second_statement_while_a_result_is_open_is_an_error_that_says_so",
    ),
    ("StatementExecuteSchema", "", "ok; nothing is executed", "matrix::statuses_of_functions"),
    (
        "StatementExecutePartitions",
        "",
        "ok",
        "partitioned::partitions_are_read_from_any_connection_under_one_snapshot",
    ),
    (
        "StatementExecutePartitions",
        "session state",
        "invalid state",
        "partitioned::what_other_sessions_would_not_see_is_refused",
    ),
    ("StatementPrepare", "", "ok", "binds::prepared_statements_are_parsed_once"),
    ("StatementGetParameterSchema", "prepared", "ok", "binds::prepared_statements_are_parsed_once"),
    (
        "StatementGetParameterSchema",
        "not prepared",
        "invalid state",
        "binds::prepared_statements_are_parsed_once",
    ),
    (
        "StatementBind, BindStream",
        "rows for a query, for DML",
        "ok",
        "binds::every_bound_row_is_an_execution",
    ),
    (
        "StatementBind",
        "what does not fit",
        "invalid data, invalid argument",
        "binds::what_cannot_be_bound_is_refused",
    ),
    (
        "StatementCancel",
        "running, reading",
        "ok; the stream fails",
        "cancelling::a_result_is_cancelled_while_it_is_read",
    ),
    ("Ingestion", "every mode, schema, catalog, temporary", "ok", "ingesting::every_mode"),
];

#[test]
fn every_row_of_the_matrix_names_a_test() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it"));
    for (function, asked, _, shown) in FUNCTIONS {
        let (module, test) = shown.split_once("::").unwrap();
        let text = std::fs::read_to_string(folder.join(format!("{module}.rs"))).unwrap();
        assert!(text.contains(&format!("fn {test}()")), "{function} {asked}: there is no {shown}");
    }
}

/// For options that a caller may set: the key, a value, and the status of setting it; `Ok` if it is taken.
const DATABASE: [(&str, &str, Status); 7] = [
    ("username", "postgres", Status::Ok),
    ("password", "secret", Status::Ok),
    ("uri", "postgres://h:1/d?sslmode=never", Status::InvalidArguments),
    ("pgarrow.numeric", "text", Status::Ok),
    ("pgarrow.numeric", "round", Status::InvalidArguments),
    ("pgarrow.nothing", "1", Status::NotImplemented),
    ("adbc.nothing", "1", Status::NotImplemented),
];

const CONNECTION: [(&str, &str, Status); 19] = [
    ("adbc.connection.autocommit", "false", Status::Ok),
    ("adbc.connection.autocommit", "true", Status::Ok),
    ("adbc.connection.autocommit", "off", Status::InvalidArguments),
    ("adbc.connection.readonly", "true", Status::Ok),
    ("adbc.connection.readonly", "false", Status::Ok),
    ("adbc.connection.catalog", "elsewhere", Status::NotImplemented),
    ("adbc.connection.db_schema", "pg_catalog", Status::Ok),
    ("adbc.connection.db_schema", "nowhere", Status::NotFound),
    (
        "adbc.connection.transaction.isolation_level",
        "adbc.connection.transaction.isolation.default",
        Status::Ok,
    ),
    (
        "adbc.connection.transaction.isolation_level",
        "adbc.connection.transaction.isolation.read_uncommitted",
        Status::Ok,
    ),
    (
        "adbc.connection.transaction.isolation_level",
        "adbc.connection.transaction.isolation.read_committed",
        Status::Ok,
    ),
    (
        "adbc.connection.transaction.isolation_level",
        "adbc.connection.transaction.isolation.repeatable_read",
        Status::Ok,
    ),
    (
        "adbc.connection.transaction.isolation_level",
        "adbc.connection.transaction.isolation.snapshot",
        Status::Ok,
    ),
    (
        "adbc.connection.transaction.isolation_level",
        "adbc.connection.transaction.isolation.serializable",
        Status::Ok,
    ),
    (
        "adbc.connection.transaction.isolation_level",
        "adbc.connection.transaction.isolation.linearizable",
        Status::NotImplemented,
    ),
    ("adbc.connection.transaction.isolation_level", "strict", Status::InvalidArguments),
    ("pgarrow.batch_rows", "10", Status::Ok),
    ("pgarrow.batch_rows", "-1", Status::InvalidArguments),
    ("pgarrow.nothing", "1", Status::NotImplemented),
];

const STATEMENT: [(&str, &str, Status); 17] = [
    ("adbc.ingest.mode", "adbc.ingest.mode.append", Status::Ok),
    ("adbc.ingest.mode", "append", Status::InvalidArguments),
    ("adbc.ingest.target_table", "t", Status::Ok),
    ("adbc.ingest.target_catalog", "c", Status::Ok),
    ("adbc.ingest.target_db_schema", "s", Status::Ok),
    ("adbc.ingest.temporary", "true", Status::InvalidArguments), // beside a schema
    ("adbc.ingest.temporary", "maybe", Status::InvalidArguments),
    ("adbc.statement.exec.incremental", "false", Status::Ok),
    ("adbc.statement.exec.incremental", "true", Status::NotImplemented),
    ("adbc.statement.exec.progress", "1", Status::InvalidArguments),
    ("adbc.statement.exec.max_progress", "1", Status::InvalidArguments),
    ("pgarrow.memory", "64M", Status::Ok),
    ("pgarrow.batch_bytes", "1M", Status::Ok),
    ("pgarrow.slice_bytes", "8M", Status::Ok),
    ("pgarrow.readers", "2", Status::Ok),
    ("pgarrow.column.total", "decimal(20,4)", Status::Ok),
    ("pgarrow.nothing", "1", Status::NotImplemented),
];

fn status(result: Result<(), Error>) -> Status {
    result.map_or_else(|error| error.status, |()| Status::Ok)
}

#[test]
fn statuses_of_options() {
    require!(Capability::Server);
    for (key, value, expected) in DATABASE {
        let mut database = PgarrowDriver.new_database().unwrap();
        let set = match key {
            "uri" => PgarrowDriver.new_database_with_opts([(key.into(), value.into())]).map(drop),
            _ => database.set_option(key.into(), value.into()),
        };
        assert_eq!(status(set), expected, "{key}={value}");
    }
    let (server, mut connection) = connection("options");
    for (key, value, expected) in CONNECTION {
        let set = connection.set_option(OptionConnection::from(key), value.into());
        assert_eq!(status(set), expected, "{key}={value}");
    }
    let mut of_statement = connection.new_statement().unwrap();
    for (key, value, expected) in STATEMENT {
        let set = of_statement.set_option(OptionStatement::from(key), value.into());
        assert_eq!(status(set), expected, "{key}={value}");
    }
    // What was set is given back, in every type.
    let key = || OptionConnection::from("pgarrow.batch_rows");
    assert_eq!(connection.get_option_string(key()).unwrap(), "10");
    assert_eq!(connection.get_option_int(key()).unwrap(), 10);
    assert_eq!(connection.get_option_double(key()).unwrap(), 10.0);
    assert_eq!(connection.get_option_bytes(key()).unwrap(), b"10");
    connection.set_option(key(), 20.into()).unwrap();
    assert_eq!(connection.get_option_int(key()).unwrap(), 20);
    let unset = connection.get_option_string(OptionConnection::from("pgarrow.memory"));
    assert_eq!(unset.unwrap_err().status, Status::NotFound);
    let word = connection.get_option_int(OptionConnection::AutoCommit);
    assert_eq!(word.unwrap_err().status, Status::InvalidArguments);
    // Nobody is told the password.
    let (_server, mut database) = database("password");
    database.set_option(OptionDatabase::Password, "secret".into()).unwrap();
    assert_eq!(database.get_option_string(OptionDatabase::Password).unwrap_err().status, Status::NotFound);
    assert!(!format!("{database:?} {connection:?}").contains("secret"));
    drop(server);
}

#[test]
fn statuses_of_functions() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("functions");
    let mut empty = connection.new_statement().unwrap();
    assert_eq!(empty.execute().err().unwrap().status, Status::InvalidState);
    assert_eq!(empty.execute_update().unwrap_err().status, Status::InvalidState);
    assert_eq!(empty.execute_schema().unwrap_err().status, Status::InvalidState);
    assert_eq!(empty.execute_partitions().unwrap_err().status, Status::InvalidState);
    assert_eq!(empty.prepare().unwrap_err().status, Status::InvalidState);
    assert_eq!(empty.set_substrait_plan(b"").unwrap_err().status, Status::NotImplemented);
    run(&mut connection, "CREATE SEQUENCE s").unwrap();
    let schema = statement(&mut connection, "SELECT nextval('s') AS a").execute_schema().unwrap();
    assert_eq!(schema.field(0).name(), "a");
    assert_eq!(crate::support::number(&mut connection, "nextval('s')"), 1);
    assert_eq!(statement(&mut connection, "CREATE TABLE x ()").execute_schema().unwrap().fields().len(), 0);
}

/// Errors of the server: SQL, SQLSTATE and status.
const ERRORS: [(&str, &str, Status); 15] = [
    ("SELEC 1", "42601", Status::InvalidArguments),
    ("SELECT * FROM nowhere", "42P01", Status::NotFound),
    ("SELECT nothing FROM pg_class", "42703", Status::NotFound),
    ("SELECT nothing()", "42883", Status::NotFound),
    ("CREATE SCHEMA public", "42P06", Status::AlreadyExists),
    ("CREATE TABLE t (a int)", "42P07", Status::AlreadyExists),
    ("SELECT 1 / 0", "22012", Status::InvalidData),
    ("SELECT 'x'::int", "22P02", Status::InvalidData),
    ("INSERT INTO t VALUES (NULL)", "23502", Status::Integrity),
    ("INSERT INTO t VALUES (1), (1)", "23505", Status::Integrity),
    ("SET work_mem = 'x'", "22023", Status::InvalidData),
    ("BEGIN READ ONLY; CREATE TABLE u ()", "25006", Status::InvalidState),
    ("SET ROLE pg_monitor; SELECT * FROM pg_authid", "42501", Status::Unauthorized),
    ("DO $$ BEGIN RAISE EXCEPTION 'x'; END $$", "P0001", Status::Unknown),
    ("LOCK TABLE t", "25P01", Status::InvalidState),
];

#[test]
fn statuses_of_errors_have_the_sqlstate() {
    require!(Capability::Server);
    for (sql, expected, status) in ERRORS {
        let (server, mut connection) = connection("errors");
        server.execute("CREATE TABLE t (a int PRIMARY KEY)");
        let error = run(&mut connection, sql).unwrap_err();
        assert_eq!((state(&error).as_str(), error.status), (expected, status), "{sql}: {error}");
    }
    let (server, mut database) = database("login");
    let nobody = database.set_option(OptionDatabase::Username, "nobody at all".into());
    nobody.unwrap();
    let error = database.new_connection().err().unwrap();
    assert!(matches!(error.status, Status::Unauthenticated), "{error}");
    assert_eq!(state(&error).get(..2), Some("28"), "{error}");
    drop(server);
    let uri = "postgres://127.0.0.1:1/nothing?connect_timeout=2";
    let database = PgarrowDriver.new_database_with_opts([(OptionDatabase::Uri, uri.into())]).unwrap();
    assert_eq!(database.new_connection().err().unwrap().status, Status::IO);
    let (_server, mut connection) = connection("details");
    run(&mut connection, "CREATE TABLE t (a int NOT NULL)").unwrap();
    let error = rows(&mut connection, "INSERT INTO t VALUES (NULL) RETURNING a").unwrap_err();
    let details = error.details.unwrap();
    assert!(details.contains(&("pgarrow.column".to_owned(), b"a".to_vec())), "{details:?}");
}
