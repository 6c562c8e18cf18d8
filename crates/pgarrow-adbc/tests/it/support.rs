//! A database, connections of the driver, and answers as texts.

use adbc_core::error::Error;
use adbc_core::options::{OptionDatabase, OptionStatement};
use adbc_core::{Connection as _, Database as _, Driver as _, Optionable as _, Statement as _};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_select::concat::concat_batches;
use pgarrow_adbc::{PgarrowConnection, PgarrowDatabase, PgarrowDriver, PgarrowStatement};
use pgarrow_testkit::{Database, TestServer};

/// A fresh database, and the driver's handle to it.
pub(crate) fn database(hint: &str) -> (Database, PgarrowDatabase) {
    let server = TestServer::shared().fresh_database(hint);
    let database =
        PgarrowDriver.new_database_with_opts([(OptionDatabase::Uri, server.url().into())]).unwrap();
    (server, database)
}

/// A fresh database, and a connection to it.
pub(crate) fn connection(hint: &str) -> (Database, PgarrowConnection) {
    let (server, database) = database(hint);
    (server, database.new_connection().unwrap())
}

/// A statement with this SQL.
pub(crate) fn statement(connection: &mut PgarrowConnection, sql: &str) -> PgarrowStatement {
    let mut statement = connection.new_statement().unwrap();
    statement.set_sql_query(sql).unwrap();
    statement
}

/// Runs SQL, and returns the rows that it counts.
pub(crate) fn run(connection: &mut PgarrowConnection, sql: &str) -> Result<Option<i64>, Error> {
    statement(connection, sql).execute_update()
}

/// All rows as one batch.
pub(crate) fn rows(connection: &mut PgarrowConnection, sql: &str) -> Result<RecordBatch, Error> {
    collect(statement(connection, sql).execute()?)
}

/// All batches of a reader as one.
pub(crate) fn collect(reader: Box<dyn RecordBatchReader + Send + '_>) -> Result<RecordBatch, Error> {
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// The one number of a query.
pub(crate) fn number(connection: &mut PgarrowConnection, sql: &str) -> i64 {
    let sql = format!("SELECT ({sql})::int8");
    let batch = rows(connection, &sql).unwrap();
    assert_eq!(batch.num_rows(), 1);
    batch.column(0).as_primitive::<Int64Type>().value(0)
}

/// The one text of a query.
pub(crate) fn text(connection: &mut PgarrowConnection, sql: &str) -> String {
    let batch = rows(connection, &format!("SELECT ({sql})::text")).unwrap();
    batch.column(0).as_string::<i32>().value(0).to_owned()
}

/// The SQLSTATE of an error.
pub(crate) fn state(error: &Error) -> String {
    error.sqlstate.iter().map(|c| char::from(*c as u8)).collect()
}

/// Sets one of the driver's own options.
pub(crate) fn set(statement: &mut PgarrowStatement, name: &str, value: &str) {
    statement.set_option(OptionStatement::Other(name.to_owned()), value.into()).unwrap();
}
