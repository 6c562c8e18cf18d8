//! The shared library, loaded by the driver manager of Rust.

use adbc_core::options::{AdbcVersion, OptionConnection, OptionDatabase};
use adbc_core::{Connection as _, Database as _, Driver as _, Optionable as _, Statement as _};
use adbc_driver_manager::{ManagedConnection, ManagedDriver};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use pgarrow_testkit::{Capability, Database, TestServer, require};

use crate::support::collect;

/// Cargo puts the library into the folder above that of the tests.
fn library() -> std::path::PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("{}pgarrow_adbc{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let beside = test.with_file_name(&name);
    if beside.exists() { beside } else { test.parent().unwrap().parent().unwrap().join(name) }
}

fn connect(hint: &str) -> (Database, ManagedConnection) {
    let server = TestServer::shared().fresh_database(hint);
    let version = AdbcVersion::V110;
    let mut driver =
        ManagedDriver::load_dynamic_from_filename(library(), Some(b"PgarrowDriverInit"), version).unwrap();
    let database = driver.new_database_with_opts([(OptionDatabase::Uri, server.url().into())]).unwrap();
    (server, database.new_connection().unwrap())
}

#[test]
fn a_driver_manager_loads_it_and_runs_a_statement() {
    require!(Capability::Server);
    let (_server, mut connection) = connect("loaded");
    let mut statement = connection.new_statement().unwrap();
    statement.set_sql_query("SELECT g AS a FROM generate_series(1, 3) AS g").unwrap();
    let batch = collect(statement.execute().unwrap()).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[1, 2, 3]);
    assert_eq!(batch.schema().field(0).metadata()["pg.type"], "integer");

    statement.set_sql_query("CREATE TABLE t AS SELECT 1 AS a").unwrap();
    assert_eq!(statement.execute_update().unwrap(), Some(1));
    statement.set_sql_query("SELECT * FROM nowhere").unwrap();
    let error = statement.execute().err().unwrap();
    assert!(error.message.contains("nowhere"), "{error}");
    assert_eq!(crate::support::state(&error), "42P01");
}

#[test]
fn the_fallback_name_works_too() {
    require!(Capability::Server);
    let driver =
        ManagedDriver::load_dynamic_from_filename(library(), Some(b"AdbcDriverInit"), AdbcVersion::V110);
    driver.unwrap();
    // It speaks 1.1 only.
    let old =
        ManagedDriver::load_dynamic_from_filename(library(), Some(b"PgarrowDriverInit"), AdbcVersion::V100);
    assert!(old.is_err());
}

#[test]
fn options_pass_through() {
    require!(Capability::Server);
    let (_server, mut connection) = connect("options");
    connection.set_option(OptionConnection::AutoCommit, "false".into()).unwrap();
    assert_eq!(connection.get_option_string(OptionConnection::AutoCommit).unwrap(), "false");
    connection.set_option(OptionConnection::Other("pgarrow.batch_rows".to_owned()), 2.into()).unwrap();
    let mut statement = connection.new_statement().unwrap();
    statement.set_sql_query("SELECT generate_series(1, 5)").unwrap();
    let sizes: Vec<usize> = statement.execute().unwrap().map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(sizes, [2, 2, 1]);
    connection.rollback().unwrap();
}
