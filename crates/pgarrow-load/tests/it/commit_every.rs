//! Loads that commit in parts: whatever happens to them, a second start neither doubles nor loses a row.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use pgarrow_export::{Cancel, Config, ErrorKind, Result};
use pgarrow_load::{Load, LoadMethod, LoadMode, LoadOptions, LoadReport};
use pgarrow_testkit::{Database, Fault, Proxy, TestServer};

use crate::support::{database, load, refusal, rows, value};

fn parts(rows: u64) -> LoadOptions {
    // The last thing that the server does is a COMMIT.
    LoadOptions::default().with_commit_every(rows).with_restart_key("key").with_analyze(false)
}

fn batch(numbers: std::ops::Range<i64>) -> RecordBatch {
    let texts = StringArray::from_iter_values(numbers.clone().map(|x| format!("<a>{x}</a>")));
    RecordBatch::try_from_iter([
        ("x", Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef),
        ("s", Arc::new(texts) as ArrayRef),
    ])
    .unwrap()
}

/// Loads the numbers below `n`.
fn run(load: Load, n: i64, batch_rows: usize) -> Result<LoadReport> {
    let mut loading = load.open(batch(0..1).schema())?;
    for first in (0..n).step_by(batch_rows) {
        loading.write(&batch(first..n.min(first + batch_rows as i64)))?;
    }
    loading.finish()
}

/// Number of rows, of distinct rows, and their sum: each number below `n` must be there once.
fn check(database: &Database, n: i64) {
    let sql = "SELECT count(*) || ' ' || count(DISTINCT x) || ' ' || coalesce(sum(x), 0) FROM t";
    assert_eq!(value(database, sql), format!("{n} {n} {}", n * (n - 1) / 2));
}

fn mark(database: &Database) -> String {
    value(
        database,
        "SELECT load || ' ' || target || ' ' || rows || ' ' || is_complete FROM pgarrow_load_marks",
    )
}

#[test]
fn each_part_is_committed_with_its_mark_and_a_complete_load_is_not_done_again() {
    let database = database("parts", "CREATE TABLE t (x int8, s text)");
    for method in [LoadMethod::Copy, LoadMethod::Insert] {
        for (every, batch_rows) in [(1, 1), (3, 2), (2, 7), (10, 10), (7, 100), (1000, 3)] {
            database.execute("TRUNCATE t; DROP TABLE IF EXISTS pgarrow_load_marks");
            let options = || parts(every).with_method(method);
            let report = run(load(&database, "t", options()), 20, batch_rows).unwrap();
            assert_eq!((report.rows, report.rows_sent, report.rows_before), (20, 20, 0));
            let transactions = value(&database, "SELECT count(DISTINCT xmin::text)::text FROM t");
            assert_eq!(transactions, 20_u64.div_ceil(every).to_string(), "{every} {batch_rows}");
            assert_eq!(mark(&database), "key public.t 20 true");
            let mut again = load(&database, "t", options()).open(batch(0..1).schema()).unwrap();
            assert_eq!((again.is_complete(), again.rows_to_skip()), (true, 20));
            again.write(&batch(0..20)).unwrap();
            let report = again.finish().unwrap();
            assert_eq!((report.rows, report.rows_before), (0, 20));
            let unread = load(&database, "t", options()).open(batch(0..1).schema()).unwrap();
            assert_eq!(unread.finish().unwrap().rows_before, 20);
            check(&database, 20);
        }
    }
}

#[test]
fn a_load_that_stops_anywhere_goes_on_behind_its_last_commit() {
    let sql = "CREATE TABLE t (x int8, s tsvector); INSERT INTO t VALUES (77, '<b/>')";
    for mode in [LoadMode::Append, LoadMode::Truncate, LoadMode::Create] {
        for stop in [0, 1, 9, 10, 11, 25, 29] {
            let database = database("parts_stop", sql);
            match mode {
                LoadMode::Create => database.execute("DROP TABLE t"),
                LoadMode::Append => database.execute("TRUNCATE t"),
                _ => {}
            }
            let mut loading =
                load(&database, "t", parts(10).with_mode(mode)).open(batch(0..1).schema()).unwrap();
            for first in 0..stop {
                loading.write(&batch(first..first + 1)).unwrap();
            }
            drop(loading);
            let committed = stop / 10 * 10;
            if committed > 0 {
                check(&database, committed);
                assert_eq!(mark(&database), format!("key public.t {committed} false"));
            } else if mode == LoadMode::Truncate {
                // The first part also truncates the table.
                assert_eq!(value(&database, "SELECT x::text FROM t"), "77");
            }
            let report = run(load(&database, "t", parts(10).with_mode(mode)), 30, 4).unwrap();
            assert_eq!((report.rows, report.rows_before), (30 - committed as u64, committed as u64));
            check(&database, 30);
        }
    }
}

#[test]
fn a_session_that_is_killed_between_and_within_parts() {
    let database = database("parts_killed", "CREATE TABLE t (x int8, s text)");
    let kill = || {
        let sql = "SELECT count(pg_terminate_backend(pid, 10000))::text FROM pg_stat_activity \
                   WHERE pid <> pg_backend_pid() AND datname = current_database()";
        assert_ne!(value(&database, sql), "0");
    };
    let mut done = 0;
    for (written, is_lost_within) in [(10, false), (15, true), (20, false)] {
        let mut loading = load(&database, "t", parts(10)).open(batch(0..1).schema()).unwrap();
        assert_eq!(loading.rows_to_skip(), done);
        loading.write(&batch(0..done as i64 + written)).unwrap();
        kill();
        let error = loading.write(&batch(0..50_000)).and_then(|()| loading.finish()).unwrap_err();
        done += (written / 10 * 10) as u64;
        assert!(error.to_string().contains(&format!("the first {done} rows")) || !is_lost_within, "{error}");
        assert_eq!(value(&database, "SELECT count(*)::text FROM t"), done.to_string());
    }
    run(load(&database, "t", parts(10)), 100, 33).unwrap();
    check(&database, 100);
}

#[test]
fn the_answer_to_each_commit_is_lost() {
    let server = server();
    let database = database("parts_unknown", "CREATE TABLE t (x int8, s text)");
    // The bytes that the server had sent when each commit was answered. The table of marks exists by then.
    run(load(&database, "t", parts(10)), 30, 10).unwrap();
    let mut answered = [0; 4];
    for _ in 0..3 {
        database.execute("TRUNCATE t, pgarrow_load_marks");
        let proxy = Proxy::start_with(server, |_| Fault::None);
        let through = Load::into(&proxy.url_of(database.url()), "t").unwrap().options(parts(10));
        let mut loading = through.open(batch(0..1).schema()).unwrap();
        for (first, answered) in (0..).step_by(10).zip(&mut answered[..3]) {
            loading.write(&batch(first..first + 10)).unwrap();
            // The proxy counts after forwarding, so a later look may see more.
            *answered = proxy.from_server_bytes().max(*answered);
        }
        loading.finish().unwrap();
        answered[3] = proxy.from_server_bytes().max(answered[3]);
    }
    // CommandComplete has 12 bytes, ReadyForQuery 6, and between them come ParameterStatus messages.
    for (n_committed, answered) in [10, 20, 30, 30].into_iter().zip(answered) {
        let mut n_unknown = 0;
        for cut in (answered - 48..answered - 6).step_by(4) {
            database.execute("TRUNCATE t, pgarrow_load_marks");
            let proxy = Proxy::start_with(server, move |_| Fault::CloseAfterServerBytes(cut));
            let cut_off = Load::into(&proxy.url_of(database.url()), "t").unwrap().options(parts(10));
            let result = run(cut_off, 30, 10);
            drop(proxy);
            let report = run(load(&database, "t", parts(10)), 30, 10).unwrap();
            match result {
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                    n_unknown += 1;
                    assert!(error.to_string().contains("same restart key"), "{error}");
                    // The server had committed everything: only its answer was lost.
                    assert_eq!(report.rows_before, n_committed);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Connection, "{error}"),
                Ok(report) => assert_eq!(report.rows, 30),
            }
            check(&database, 30);
            assert_eq!(mark(&database), "key public.t 30 true");
        }
        assert!(n_unknown >= 2, "{n_committed}: {n_unknown}");
    }
}

#[test]
fn the_connection_ends_anywhere() {
    let database = database("parts_cut", "CREATE TABLE t (x int8, s text)");
    run(load(&database, "t", parts(10)), 30, 10).unwrap();
    let server = server();
    let measured = Proxy::start_with(server, |_| Fault::None);
    database.execute("TRUNCATE t, pgarrow_load_marks");
    run(Load::into(&measured.url_of(database.url()), "t").unwrap().options(parts(10)), 30, 10).unwrap();
    let n_bytes = measured.from_client_bytes();
    let mut n_failed = 0;
    for step in 0..40 {
        database.execute("TRUNCATE t, pgarrow_load_marks");
        let cut = n_bytes * step / 40;
        let proxy = Proxy::start_with(server, move |_| Fault::ResetAfterClientBytes(cut));
        let cut_off = Load::into(&proxy.url_of(database.url()), "t").unwrap().options(parts(10));
        n_failed += u32::from(run(cut_off, 30, 10).is_err());
        drop(proxy);
        run(load(&database, "t", parts(10)), 30, 10).unwrap();
        check(&database, 30);
        assert_eq!(mark(&database), "key public.t 30 true");
    }
    assert_eq!(n_failed, 40);
}

/// The shared server's address.
fn server() -> SocketAddr {
    let config: pgarrow_testkit::postgres::Config = TestServer::shared().url().parse().unwrap();
    (Ipv4Addr::LOCALHOST, config.get_ports()[0]).into()
}

#[test]
fn two_loads_with_one_key_at_once() {
    let database = database("parts_two", "CREATE TABLE t (x int8, s text)");
    let first = load(&database, "t", parts(10)).open(batch(0..1).schema()).unwrap();
    let short = parts(10).with_lock_timeout(std::time::Duration::from_millis(500));
    let error = refusal(load(&database, "t", short).open(batch(0..1).schema()));
    assert_eq!(error.sqlstate(), Some("55P03"), "{error}");
    let other = parts(10).with_restart_key("other");
    assert_eq!(run(load(&database, "t", other), 5, 5).unwrap().rows, 5);
    drop(first);

    // If the lock has no effect, the mark decides: here, another session has moved it.
    let mut loading = load(&database, "t", parts(10)).open(batch(0..1).schema()).unwrap();
    loading.write(&batch(0..10)).unwrap();
    database.execute("UPDATE pgarrow_load_marks SET rows = 20 WHERE load = 'key'");
    let error = refusal(loading.write(&batch(10..20)));
    assert!(error.to_string().contains("another load with the same restart key"), "{error}");
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "15");
}

#[test]
fn other_data_another_table_and_a_table_that_changes() {
    let sql = "CREATE TABLE t (x int8, s text); CREATE TABLE u (x int8, s text)";
    let database = database("parts_other", sql);
    let mut loading = load(&database, "t", parts(10)).open(batch(0..1).schema()).unwrap();
    loading.write(&batch(0..10)).unwrap();
    // Eight bytes of an integer are a valid numeric of another value.
    database.execute("ALTER TABLE t ALTER x TYPE numeric");
    let error = refusal(loading.write(&batch(10..20)));
    assert!(error.to_string().contains("another session changed"), "{error}");
    assert!(error.to_string().contains("the first 10 rows"), "{error}");
    assert_eq!(refusal(run(load(&database, "u", parts(10)), 30, 10)).kind(), ErrorKind::Options);
    assert_eq!(refusal(run(load(&database, "t", parts(10)), 5, 5)).kind(), ErrorKind::Input);
    run(load(&database, "t", parts(10)), 30, 10).unwrap();
    check(&database, 30);
    let error = refusal(run(load(&database, "t", parts(10)), 31, 10));
    assert_eq!(error.kind(), ErrorKind::Input, "{error}");
    assert!(error.to_string().contains("DELETE FROM"), "{error}");
    // If the table is gone, its mark still says what was loaded.
    database.execute("DROP TABLE t");
    let creating = parts(10).with_mode(LoadMode::Create);
    let error = refusal(run(load(&database, "t", creating), 30, 10));
    assert!(error.to_string().contains("delete its mark"), "{error}");
    let replacing = parts(10).with_mode(LoadMode::Replace);
    assert_eq!(refusal(run(load(&database, "u", replacing), 30, 10)).kind(), ErrorKind::Options);
}

#[test]
fn a_key_without_parts_is_one_transaction_that_happens_once() {
    let database = database("parts_once", "CREATE TABLE t (x int8 CHECK (x < 30), s text)");
    let once = || LoadOptions::default().with_restart_key("key");
    assert_eq!(refusal(run(load(&database, "t", once()), 31, 10)).sqlstate(), Some("23514"));
    check(&database, 0);
    for rows in [30, 0] {
        assert_eq!(run(load(&database, "t", once()), 30, 10).unwrap().rows, rows);
        check(&database, 30);
    }
}

#[test]
fn a_table_is_replaced_once() {
    let database = database(
        "parts_replace",
        "CREATE TABLE t (x int8 CHECK (x <> 7), s text); INSERT INTO t VALUES (77)",
    );
    let once =
        || LoadOptions::default().with_restart_key("key").with_reject(true).with_mode(LoadMode::Replace);
    let report = run(load(&database, "t", once()), 30, 10).unwrap();
    assert_eq!((report.rows, report.rows_rejected), (29, 1));
    assert_eq!(value(&database, "SELECT count(*) || ' ' || sum(x) FROM t"), "29 428");
    database.execute("INSERT INTO t VALUES (77)");
    assert_eq!(run(load(&database, "t", once()), 30, 10).unwrap().rows_before, 30);
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "30");
}

#[test]
fn rights_to_the_marks() {
    let database = database("parts_rights", "CREATE TABLE t (x int8, s text)");
    let role = format!("loader_{}", database.name());
    // The default since PostgreSQL 15: before, every role may create tables there.
    database.execute(&format!(
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
         CREATE ROLE \"{role}\"; GRANT INSERT, SELECT ON t TO \"{role}\""
    ));
    let refused = run(load(&database, "t", parts(10).with_role(&role)), 30, 10);
    // Does what the advice says, as a role that may.
    run(load(&database, "t", parts(10).with_restart_key("other")), 0, 10).unwrap();
    database.execute(&format!("GRANT SELECT, INSERT, UPDATE ON pgarrow_load_marks TO \"{role}\""));
    let loaded = run(load(&database, "t", parts(10).with_role(&role)), 30, 10);
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
    let error = refusal(refused);
    assert_eq!(error.sqlstate(), Some("42501"));
    assert!(error.to_string().contains("CREATE TABLE \"public\".pgarrow_load_marks ("), "{error}");
    assert_eq!(loaded.unwrap().rows, 30);
    check(&database, 30);
}

#[test]
fn rows_in_errors_are_those_of_the_data() {
    let database = database("parts_rows", "CREATE TABLE t (x int8 CHECK (x <> 25), s text)");
    let error = refusal(run(load(&database, "t", parts(10)), 30, 7));
    assert!(error.to_string().starts_with("public.t (row 26)"), "{error}");
    assert!(error.to_string().contains("the first 20 rows of the data are loaded"), "{error}");
    check(&database, 20);
}

#[test]
fn parts_with_rejects() {
    let database =
        database("parts_reject", "CREATE TABLE t (x int8 PRIMARY KEY CHECK (x % 10 <> 3), s tsvector)");
    let mut loading = load(&database, "t", parts(25).with_reject(true)).open(batch(0..1).schema()).unwrap();
    loading.write(&batch(0..60)).unwrap();
    drop(loading);
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "45");
    let report = run(load(&database, "t", parts(25).with_reject(true)), 100, 9).unwrap();
    assert_eq!((report.rows, report.rows_before, report.rows_rejected), (45, 50, 5));
    let all = rows(&database, "SELECT FROM t");
    assert_eq!(all.len(), 90);
}

/// Regression: the transaction that was open at the cancel was committed anyway, if the server was idle at
/// that moment.
#[test]
fn a_cancel_between_two_statements_commits_nothing() {
    let database = database("parts_cancelled", "CREATE TABLE t (x int8 CHECK (x <> 15), s text)");
    for (options, committed) in [
        (parts(10).with_reject(true), 10),
        (LoadOptions::default().with_restart_key("once").with_reject(true), 0),
        (LoadOptions::default().with_reject(true), 0),
    ] {
        database.execute("TRUNCATE t");
        let (cancel, config) = (Cancel::new(), Config::parse(Some(database.url())).unwrap());
        let load = Load::with_config(config, "t", cancel.clone()).unwrap().options(options);
        let mut loading = load.open(batch(0..1).schema()).unwrap();
        // No statement runs while the rejected row is handed out, and the commit comes next.
        loading
            .on_reject(move |_| {
                cancel.cancel();
                Ok(())
            })
            .unwrap();
        let ran = loading.write(&batch(0..30)).and_then(|()| loading.finish());
        assert_eq!(ran.unwrap_err().kind(), ErrorKind::Cancelled);
        check(&database, committed);
    }
}
