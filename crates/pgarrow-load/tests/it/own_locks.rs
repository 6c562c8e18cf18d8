//! Loads of an export's rows, and the export's locks. (The rest is in `pgarrow-cli/tests/it/loads_own.rs`.)

use std::thread;
use std::time::{Duration, Instant};

use pgarrow_export::{ErrorKind, ExportOptions, Source};
use pgarrow_load::{LoadMode, LoadOptions};

use crate::support::{database, load, refusal, value};

/// The export waits for the load, and the load for a session that waits for the export: the server cannot
/// detect this.
#[test]
fn who_comes_between_the_export_and_its_load_is_waited_for_within_bounds() {
    let database = database("own_queue", "CREATE TABLE t (x int8); INSERT INTO t VALUES (1)");
    let source = Source::connect_blocking(database.url()).unwrap();
    for mode in [LoadMode::Append, LoadMode::Replace] {
        let run = source.table("t").open().unwrap();
        let mut other = database.client();
        let pid: i32 = other.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        thread::scope(|scope| {
            let between = scope
                .spawn(move || other.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; ROLLBACK"));
            let deadline = Instant::now() + Duration::from_secs(60);
            let waits = format!("SELECT count(*)::text FROM pg_locks WHERE pid = {pid} AND NOT granted");
            while value(&database, &waits) == "0" {
                assert!(Instant::now() < deadline);
                thread::sleep(Duration::from_millis(10));
            }
            let options = LoadOptions::default().with_mode(mode);
            let error =
                refusal(load(&database, "t", options).fed_by(run.holders()).open(run.schema().clone()));
            assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("55P03")), "{error}");
            assert!(error.to_string().contains("another session waits for the export's end"), "{error}");
            drop(run);
            between.join().unwrap().unwrap();
        });
        let run = source.table("t").open().unwrap();
        let options = LoadOptions::default().with_mode(mode).with_setting("work_mem", "1MB");
        let loading = load(&database, "t", options).fed_by(run.holders()).open(run.schema().clone()).unwrap();
        let sink = loading.into_sink().unwrap();
        run.write_to(Box::new(sink)).unwrap();
    }
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "2");
}

/// A process with this ID on another server, which has another start time, does not belong to the export.
#[test]
fn it_is_known_who_holds_what_on_which_server() {
    let database = database("own_other_server", "CREATE TABLE t (x int8); CREATE TABLE u (x int8)");
    let source = Source::connect_blocking(database.url()).unwrap();
    let run = source.table("t").open().unwrap();
    let holders = run.holders();
    assert_eq!(holders.backend_pids().len(), 1);
    let start = "SELECT concat(timezone('UTC', pg_postmaster_start_time()), '+00')";
    assert_eq!(holders.server_start(), value(&database, start));
    let truncating = || LoadOptions::default().with_mode(LoadMode::Truncate);
    let schema = || run.schema().clone();
    let error = refusal(load(&database, "t", truncating()).fed_by(run.holders()).open(schema()));
    assert_eq!(error.kind(), ErrorKind::Options, "{error}");
    load(&database, "u", truncating()).fed_by(run.holders()).open(schema()).unwrap();
    // Options that are set later keep the holders.
    let load = load(&database, "t", LoadOptions::default()).fed_by(run.holders()).options(truncating());
    assert_eq!(refusal(load.open(schema())).kind(), ErrorKind::Options);
}

/// Regression: planning a query does not lock what its functions read. The function waited for the table
/// that the load had truncated, and the load for the function's rows. Neither ended.
#[test]
fn a_function_that_reads_the_table_that_is_emptied_is_not_waited_for() {
    let sql = "CREATE TABLE t (x int8); INSERT INTO t VALUES (1); \
        CREATE FUNCTION f() RETURNS SETOF int8 LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT x FROM t; END'; \
        CREATE VIEW v AS SELECT x FROM f() AS x";
    let database = database("own_function", sql);
    let source = Source::connect_blocking(database.url()).unwrap();
    let truncating = || LoadOptions::default().with_mode(LoadMode::Truncate);
    let adding = || LoadOptions::default().with_add_columns(true);
    let deadline = Instant::now() + Duration::from_secs(100);
    for (query, options, export) in [
        ("SELECT x FROM f() AS x", truncating(), ExportOptions::default()),
        ("SELECT x, 1 AS added FROM v", adding(), ExportOptions::default()),
        // With a lock timeout of the user, the export waits that long.
        (
            "SELECT x FROM v",
            truncating(),
            ExportOptions::default().with_lock_timeout(Duration::from_millis(300)),
        ),
    ] {
        let is_users = query == "SELECT x FROM v";
        let run = source.query(query).options(export).open().unwrap();
        let loading = load(&database, "t", options).fed_by(run.holders()).open(run.schema().clone()).unwrap();
        let error = refusal(run.write_to(Box::new(loading.into_sink().unwrap())));
        assert_eq!(error.sqlstate(), Some("55P03"), "{error}");
        assert_eq!(error.to_string().contains("inside a function"), !is_users, "{error}");
        assert_eq!(value(&database, "SELECT count(*) || ' ' || sum(x) FROM t"), "1 1");
    }
    assert!(Instant::now() < deadline);
    // The function reads another table than the truncated one.
    database.execute("CREATE TABLE u (x int8); INSERT INTO u VALUES (7)");
    let run = source.query("SELECT x FROM v").open().unwrap();
    let loading =
        load(&database, "u", truncating()).fed_by(run.holders()).open(run.schema().clone()).unwrap();
    run.write_to(Box::new(loading.into_sink().unwrap())).unwrap();
    assert_eq!(value(&database, "SELECT string_agg(x::text, ' ') FROM u"), "1");
}
