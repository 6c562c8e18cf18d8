//! Shared by the tests: databases, and the contents of their tables.

use std::path::Path;

use arrow_array::RecordBatch;
use pgarrow_export::{Error, Result};
use pgarrow_load::{Load, LoadMode, LoadOptions, LoadReport};
pub(crate) use pgarrow_testkit::eventually;
use pgarrow_testkit::postgres::SimpleQueryMessage;
use pgarrow_testkit::{Database, TestServer};

/// An empty database after running `sql`.
pub(crate) fn database(hint: &str, sql: &str) -> Database {
    let database = TestServer::shared().fresh_database(hint);
    database.execute(sql);
    database
}

/// The database of all types.
pub(crate) fn every_type(hint: &str) -> Database {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/every_type.sql");
    database(hint, &std::fs::read_to_string(path).unwrap())
}

/// The rows of a query, as the server prints them.
pub(crate) fn rows(database: &Database, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = database.client().simple_query(sql).unwrap();
    let values = |message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect())
        }
        _ => None,
    };
    messages.into_iter().filter_map(values).collect()
}

/// The only value of a query.
pub(crate) fn value(database: &Database, sql: &str) -> String {
    rows(database, sql).swap_remove(0).swap_remove(0).unwrap()
}

/// A load into this table, with these options.
pub(crate) fn load(database: &Database, table: &str, options: LoadOptions) -> Load {
    Load::into(database.url(), table).unwrap().options(options)
}

/// Loads these batches.
pub(crate) fn load_batches(
    database: &Database,
    table: &str,
    options: LoadOptions,
    batches: &[RecordBatch],
) -> Result<LoadReport> {
    let mut loading = load(database, table, options).open(batches[0].schema())?;
    for batch in batches {
        loading.write(batch)?;
    }
    loading.finish()
}

pub(crate) fn creating() -> LoadOptions {
    LoadOptions::default().with_mode(LoadMode::Create)
}

/// The error of a refused load. Its text must contain no table data: the tests use the word `secret` for
/// that.
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T>) -> Error {
    let error = result.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    error
}

/// Count and hash of a table's rows, in any order.
pub(crate) fn fingerprint(database: &Database, table: &str) -> String {
    let sql = format!(
        "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {table} AS t"
    );
    value(database, &sql)
}
