//! When a replaced table is locked, and what waits for it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use pgarrow_load::{LoadMode, LoadOptions};
use pgarrow_testkit::Database;

use crate::support::{database, eventually, load, load_batches, refusal, value};

fn replacing() -> LoadOptions {
    LoadOptions::default().with_mode(LoadMode::Replace)
}

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let x = Int64Array::from_iter_values(range);
    RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef)]).unwrap()
}

/// How many sessions wait for a lock on this table.
fn waiting(database: &Database, table: &str) -> String {
    value(
        database,
        &format!("SELECT count(*)::text FROM pg_locks WHERE relation = '{table}'::regclass AND NOT granted"),
    )
}

/// Regression: a trial DROP at the start waited for long readers, and everybody else waited for the DROP.
#[test]
fn long_readers_are_waited_for_at_the_end_alone() {
    let sql = "CREATE TABLE p (x int8 PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 9); \
        CREATE TABLE t (x int8 REFERENCES p); INSERT INTO t VALUES (7)";
    let database = database("replace_readers", sql);
    let mut reader = database.client();
    let mut reading = reader.transaction().unwrap();
    reading.query("SELECT * FROM t JOIN p USING (x)", &[]).unwrap();
    // Without a timeout it would wait for ever; with one, the load fails.
    let options = replacing().with_lock_timeout(Duration::from_millis(500));
    let mut loading = load(&database, "t", options).open(numbers(0..1).schema()).unwrap();
    loading.write(&numbers(0..5)).unwrap();
    assert_eq!(waiting(&database, "t"), "0");
    assert_eq!(value(&database, "SELECT string_agg(x::text, ' ') FROM t"), "7");
    let error = refusal(loading.finish());
    assert_eq!(error.sqlstate(), Some("55P03"), "{error}");
    reading.commit().unwrap();
    load_batches(&database, "t", replacing(), &[numbers(0..5)]).unwrap();
    assert_eq!(value(&database, "SELECT sum(x)::text FROM t"), "10");
}

/// Regression: foreign keys were added, with a check of every row, when the old table was already locked
/// against reads.
#[test]
fn foreign_keys_are_looked_at_while_others_read() {
    let sql = "CREATE TABLE p (x int8 PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 9); \
        CREATE TABLE t (x int8 CONSTRAINT f REFERENCES p); INSERT INTO t VALUES (7)";
    let database = database("replace_keys_late", sql);
    // As if the key checks took long: p can be read, but not be referenced.
    let mut other = database.client();
    let mut writing = other.transaction().unwrap();
    writing.execute("UPDATE p SET x = x", &[]).unwrap();
    thread::scope(|scope| {
        let loaded = scope.spawn(|| load_batches(&database, "t", replacing(), &[numbers(0..5)]));
        eventually("it waits for p", || waiting(&database, "p") == "1");
        let locks = "SELECT count(*)::text FROM pg_locks WHERE relation = 't'::regclass AND mode = 'AccessExclusiveLock'";
        assert_eq!(value(&database, locks), "0");
        database.execute("SET lock_timeout = '20s'; SELECT * FROM t; INSERT INTO t VALUES (8)");
        writing.commit().unwrap();
        assert_eq!(loaded.join().unwrap().unwrap().rows, 5);
    });
    assert_eq!(value(&database, "SELECT sum(x)::text FROM t"), "10");
}

/// The DROP at the end finds objects that were created while the load ran.
#[test]
fn a_view_that_is_made_meanwhile_keeps_the_old_table() {
    let database = database("replace_view", "CREATE TABLE t (x int8); INSERT INTO t VALUES (7)");
    let mut loading = load(&database, "t", replacing()).open(numbers(0..1).schema()).unwrap();
    loading.write(&numbers(0..5)).unwrap();
    database.execute("CREATE VIEW v AS SELECT * FROM t");
    let error = refusal(loading.finish());
    assert_eq!(error.sqlstate(), Some("2BP01"), "{error}");
    assert!(error.to_string().contains("mode=truncate"), "{error}");
    assert_eq!(value(&database, "SELECT string_agg(x::text, ' ') FROM v"), "7");
}
