//! Waits that the read timeout does not limit: for locks, and for long COMMITs.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use pgarrow_load::{LoadMode, LoadOptions};

use crate::support::{database, load_batches, value};

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let x = Int64Array::from_iter_values(range);
    RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef)]).unwrap()
}

fn impatient() -> LoadOptions {
    LoadOptions::default().with_read_timeout(Duration::from_secs(3))
}

/// Regression: the load failed with "not one byte came" while it waited for another session's lock, whatever
/// its lock timeout was.
#[test]
fn locks_are_waited_for_beyond_it() {
    let waiting = || impatient().with_lock_timeout(Duration::from_secs(60));
    let mode = |mode| waiting().with_mode(mode);
    let columns = RecordBatch::try_from_iter([
        ("x", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
        ("added", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
    ]);
    let cases = [
        (mode(LoadMode::Append), numbers(0..3), "ACCESS EXCLUSIVE"),
        (mode(LoadMode::Truncate), numbers(0..3), "ACCESS SHARE"),
        // At the beginning of the load, and at its end.
        (mode(LoadMode::Replace), numbers(0..3), "SHARE UPDATE EXCLUSIVE"),
        (mode(LoadMode::Replace), numbers(0..3), "ACCESS SHARE"),
        (mode(LoadMode::Append).with_add_columns(true), columns.unwrap(), "ACCESS SHARE"),
        (waiting().with_restart_key("key"), numbers(3..6), "advisory"),
    ];
    thread::scope(|scope| {
        for (options, rows, lock) in cases {
            scope.spawn(move || waits_for(options, &rows, lock));
        }
    });
}

fn waits_for(options: LoadOptions, rows: &RecordBatch, lock: &str) {
    let database =
        database("timeout_locks", "CREATE TABLE t (x int8 PRIMARY KEY); INSERT INTO t VALUES (99)");
    let statement = match lock {
        "advisory" => {
            "SELECT pg_advisory_xact_lock(hashtextextended('\"public\".pgarrow_load_marks key', 0))"
                .to_owned()
        }
        _ => format!("LOCK TABLE t IN {lock} MODE"),
    };
    let mut other = database.client();
    other.batch_execute(&format!("BEGIN; {statement}")).unwrap();
    thread::scope(|scope| {
        let loaded = scope.spawn(|| load_batches(&database, "t", options, std::slice::from_ref(rows)));
        let deadline = Instant::now() + Duration::from_secs(60);
        let waits = "SELECT count(*)::text FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
                     WHERE d.datname = current_database() AND NOT granted";
        while value(&database, waits) == "0" {
            assert!(Instant::now() < deadline && !loaded.is_finished(), "{lock}");
            thread::sleep(Duration::from_millis(10));
        }
        // Longer than the read timeout.
        other.batch_execute("SELECT pg_sleep(4.5); COMMIT").unwrap();
        loaded.join().unwrap().unwrap();
    });
}

/// Regression: a long COMMIT ended with exit code 9, "rows may be there or not", although only the client
/// had closed the connection. And before the first row, when the table of marks or a hidden table is created
/// and removed, the load failed before it began.
#[test]
fn a_commit_may_take_longer() {
    let sql = "CREATE TABLE t (x int8); CREATE TABLE made (x int8); \
               CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN PERFORM pg_sleep(4.5); RETURN NULL; END'; \
               CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
               WHEN (NEW.x = 1) EXECUTE FUNCTION f(); \
               CREATE CONSTRAINT TRIGGER late AFTER INSERT ON made DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
               EXECUTE FUNCTION f(); \
               CREATE FUNCTION g() RETURNS event_trigger LANGUAGE plpgsql AS \
                 'BEGIN INSERT INTO made VALUES (0); END'; \
               CREATE EVENT TRIGGER makes ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') \
               EXECUTE FUNCTION g()";
    let parts = impatient().with_restart_key("key").with_commit_every(2);
    let cases = [(impatient(), false), (parts, true), (impatient().with_writers(2), true)];
    thread::scope(|scope| {
        for (options, makes_tables) in cases {
            scope.spawn(move || {
                let database = database("timeout_commit", sql);
                load_batches(&database, "t", options, &[numbers(0..3)]).unwrap();
                assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "3");
                assert_eq!(
                    value(&database, "SELECT (count(*) > 0)::text FROM made"),
                    makes_tables.to_string()
                );
            });
        }
    });
}
