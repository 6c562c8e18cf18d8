//! One moment: other sessions neither change a running export nor get past its locks.

use std::time::Instant;

use pgarrow::{ErrorKind, ExportOptions, Run};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{
    APPLICATION, PATIENCE, assert_error, database, query_lines, read, refusal, source, url, wait_until,
    wait_until_no_sessions, with_parameter,
};

const TEN: &str = "CREATE TABLE e AS SELECT g AS a FROM generate_series(1, 10) AS g";

fn n_rows(run: Run) -> u64 {
    run.for_each(|_| Ok(())).unwrap().rows
}

/// Asserts that a statement of a session that does not wait fails on the lock.
#[track_caller]
fn assert_locked_out(database: &Database, sql: &str) {
    let error = database.client().batch_execute(&format!("SET lock_timeout = '50ms'; {sql}")).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03", "{sql}");
}

#[test]
fn rows_that_come_and_go_later_are_not_seen() {
    require!(Capability::Server);
    let database = database("later", TEN);
    let run = source(&database).table("e").open().unwrap();
    database.execute("DELETE FROM e WHERE a <= 5; INSERT INTO e SELECT 11; UPDATE e SET a = -a");
    assert_eq!(n_rows(run), 10);
    assert_eq!(read(source(&database).table("e")).unwrap().n_rows(), 6);
}

#[test]
fn nobody_truncates_rewrites_or_drops_what_is_read() {
    require!(Capability::Server);
    let database = database("ddl", TEN);
    let run = source(&database).table("e").open().unwrap();
    for sql in [
        "TRUNCATE e",
        "DROP TABLE e",
        "ALTER TABLE e ADD COLUMN b int4",
        "ALTER TABLE e RENAME TO f",
        "ALTER TABLE e ALTER a TYPE int8",
    ] {
        assert_locked_out(&database, sql);
    }
    assert_eq!(n_rows(run), 10);
    database.execute("TRUNCATE e");
}

#[test]
fn partitions_are_locked_with_their_parent() {
    require!(Capability::Server);
    let database = database(
        "leaves",
        "CREATE TABLE e (a int4) PARTITION BY RANGE (a); CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (0) TO (99); \
         INSERT INTO e SELECT generate_series(1, 10)",
    );
    let run = source(&database).table("e").open().unwrap();
    assert_locked_out(&database, "TRUNCATE e1");
    assert_eq!(n_rows(run), 10);
}

#[test]
fn what_a_view_reads_is_locked_too() {
    require!(Capability::Server);
    let database = database("under", &format!("{TEN}; CREATE VIEW v AS SELECT * FROM e"));
    let run = source(&database).table("v").open().unwrap();
    assert_locked_out(&database, "TRUNCATE e");
    assert_locked_out(&database, "CREATE OR REPLACE VIEW v AS SELECT 1 AS a");
    assert_eq!(n_rows(run), 10);
}

#[test]
fn a_writer_that_was_there_first_is_waited_for_and_seen() {
    require!(Capability::Server);
    let database = database("first", TEN);
    let mut writer = database.client();
    writer.batch_execute("BEGIN; TRUNCATE e; INSERT INTO e VALUES (1), (2), (3)").unwrap();
    let source = source(&database);
    let rows = std::thread::scope(|scope| {
        let export = scope.spawn(|| read(source.table("e")).unwrap().lines());
        wait_for_lock(&database);
        writer.batch_execute("COMMIT").unwrap();
        export.join().unwrap()
    });
    // With a snapshot from before the lock, the truncated table would have been empty.
    assert_eq!(rows, ["1", "2", "3"]);
}

#[test]
fn a_table_that_is_replaced_while_its_lock_is_waited_for() {
    require!(Capability::Server);
    let database = database("replaced", TEN);
    let mut other = database.client();
    other.batch_execute("BEGIN; ALTER TABLE e RENAME TO old; CREATE TABLE e AS SELECT 'other' AS a").unwrap();
    let source = source(&database);
    let export = std::thread::scope(|scope| {
        let export = scope.spawn(|| read(source.table("e")).unwrap());
        wait_for_lock(&database);
        other.batch_execute("COMMIT").unwrap();
        export.join().unwrap()
    });
    // The lock was on the old table: the export gave it up and planned again.
    assert_eq!(export.lines(), ["other"]);
}

#[test]
fn a_table_that_is_dropped_while_its_lock_is_waited_for() {
    require!(Capability::Server);
    let database = database("vanished", TEN);
    let mut other = database.client();
    other.batch_execute("BEGIN; DROP TABLE e").unwrap();
    let source = source(&database);
    let error = std::thread::scope(|scope| {
        let export = scope.spawn(|| refusal(source.table("e")));
        wait_for_lock(&database);
        other.batch_execute("COMMIT").unwrap();
        export.join().unwrap()
    });
    assert_error(&error, ErrorKind::Server, Some("42P01"), &["public.e"]);
}

fn wait_for_lock(database: &Database) {
    let mut client = database.client();
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_until("the export waits for its lock", || client.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1);
}

#[test]
fn the_transaction_is_read_only_and_repeatable_read() {
    require!(Capability::Server);
    let database = database("transaction", TEN);
    let sql = "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')";
    assert_eq!(query_lines(&database, sql), ["repeatable read|on"]);
    database.execute("CREATE FUNCTION f() RETURNS int4 LANGUAGE sql AS $$ DELETE FROM e RETURNING 1 $$");
    let error = refusal(source(&database).query("SELECT f()"));
    assert_error(&error, ErrorKind::Server, Some("25006"), &["read-only transaction"]);
    assert_eq!(read(source(&database).table("e")).unwrap().n_rows(), 10);
}

#[test]
fn a_default_of_the_connection_does_not_weaken_the_transaction() {
    require!(Capability::Server);
    let database = database("weak", "");
    let options = "options=-cdefault_transaction_isolation%3Dread%5C%20committed";
    let source = pgarrow::Source::connect_blocking(&with_parameter(&url(&database), options)).unwrap();
    let sql = "SELECT current_setting('transaction_isolation')";
    assert_eq!(read(source.query(sql)).unwrap().lines(), ["repeatable read"]);
}

#[test]
fn the_report_names_the_snapshot_and_counts_the_rows() {
    require!(Capability::Server);
    let database = database("report", &format!("{TEN}; ANALYZE e"));
    let run = source(&database).table("e").open().unwrap();
    assert_eq!(run.plan().estimated_rows(), Some(10));
    let report = run.for_each(|_| Ok(())).unwrap();
    assert_eq!((report.rows, report.batches, report.subject.as_str()), (10, 1, "public.e"));
    assert_eq!(report.snapshot.split(':').count(), 3, "{}", report.snapshot);
    assert!(report.wire_bytes > 10 * 10 && report.server.database == database.name());
}

/// Ends the backend of the session that holds what LOCK refuses, and waits until its locks are gone.
fn end_holder(database: &Database) {
    let mut client = database.client();
    // Only that session of the library has run such a query before the reading begins.
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 \
               AND query LIKE 'SELECT % LIMIT 0'";
    let pid: i32 = client.query_one(sql, &[&APPLICATION]).unwrap().get(0);
    client.execute("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
    wait_until("it is gone", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
        client.query_one(sql, &[&pid]).unwrap().get::<_, i64>(0) == 0
    });
}

const MATERIALIZED: &str = "CREATE MATERIALIZED VIEW m AS \
                            SELECT g AS a, repeat('x', 100) AS b FROM generate_series(1, 20000) AS g";

#[test]
fn an_export_whose_second_session_was_lost_is_an_error() {
    require!(Capability::PrivateServer);
    let database = database("holder", MATERIALIZED);
    for n_readers in [1, 2] {
        let options = ExportOptions::default().with_readers(n_readers).with_slice_bytes(128 << 10);
        let run = source(&database).table("m").options(options).open().unwrap();
        assert_eq!(run.readers(), n_readers);
        end_holder(&database);
        // All rows arrive: only the end shows the loss.
        let error = run.for_each(|_| Ok(())).unwrap_err();
        let words = ["second connection", "the snapshot was lost", "run the export again"];
        assert_error(&error, ErrorKind::Server, Some("57P01"), &words);
        wait_until_no_sessions(&database);
    }
}

#[test]
fn a_second_session_that_is_lost_ends_an_export_at_once() {
    require!(Capability::PrivateServer);
    let database = database("holder watched", MATERIALIZED);
    let options = ExportOptions::default().with_readers(2).with_slice_bytes(128 << 10);
    // Without a check of the holder, this takes an hour.
    let source = source(&database);
    let run = source.table("m").filter("pg_sleep(3600) IS NOT NULL").options(options.clone()).open().unwrap();
    assert_eq!(run.readers(), 2);
    end_holder(&database);
    let error = run.for_each(|_| Ok(())).unwrap_err();
    assert_error(&error, ErrorKind::Server, Some("57P01"), &["second connection"]);
    // With slices that other processes read.
    let mut run = source.table("m").options(options).open().unwrap();
    run.slices().unwrap();
    end_holder(&database);
    let since = Instant::now();
    let error = run.hold(|| since.elapsed() < PATIENCE).unwrap_err();
    assert_error(&error, ErrorKind::Server, Some("57P01"), &["the held snapshot was lost"]);
    assert!(since.elapsed() < PATIENCE);
    drop(source);
    wait_until_no_sessions(&database);
}

/// A run of one slice ends its transaction with its rows, unless others read under its snapshot.
#[test]
fn a_shared_snapshot_is_there_until_the_run_is_over() {
    require!(Capability::Server);
    let database = database("shared till the end", TEN);
    let source = source(&database);
    let options = || ExportOptions::default().with_readers(1);
    let mut run = source.table("e").options(options()).open().unwrap();
    assert_eq!(run.plan().n_slices(), 1);
    let snapshot = run.shared_snapshot().unwrap();
    database.execute("INSERT INTO e VALUES (11)");
    let mut of_others = 0;
    let report = run.for_each(|_| {
        let other = source.tables(["e"]).under(snapshot.clone()).options(options()).open()?;
        of_others += other.for_each_with_plan(|_, _| Ok(()))?.rows;
        Ok(())
    });
    assert_eq!((report.unwrap().rows, of_others), (10, 10));
}
