//! Loads that are part of a transaction of the caller.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator, StringArray};
use arrow_schema::ArrowError;
use pgarrow_export::{ErrorKind, Result, Source};
use pgarrow_load::{
    Connection, Conversions, Load, LoadMethod, LoadMode, LoadOptions, LoadReport, OnConflict,
};
use pgarrow_testkit::Database;

use crate::support::{creating, database, eventually, fingerprint, refusal, value};

fn begun(database: &Database) -> Connection {
    let connection = Connection::connect(database.url()).unwrap();
    connection.begin().unwrap();
    connection
}

fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from_iter_values(values)) as ArrayRef)]).unwrap()
}

fn reader(batches: Vec<RecordBatch>) -> impl arrow_array::RecordBatchReader {
    let schema = batches[0].schema();
    RecordBatchIterator::new(batches.into_iter().map(Ok), schema)
}

fn part(connection: &Connection, table: &str, options: LoadOptions) -> Load {
    Load::in_transaction(connection, table).unwrap().options(options)
}

fn load(
    connection: &Connection,
    table: &str,
    options: LoadOptions,
    batch: RecordBatch,
) -> Result<LoadReport> {
    part(connection, table, options).load_reader(reader(vec![batch]))
}

fn mode(mode: LoadMode) -> LoadOptions {
    LoadOptions::default().with_mode(mode)
}

/// Asserts a condition in the connection's transaction.
#[track_caller]
fn holds(connection: &Connection, condition: &str) {
    let checked = connection.execute(&format!("DO $do$ BEGIN ASSERT ({condition}), 'is not so'; END $do$"));
    assert!(checked.is_ok(), "{condition}: {checked:?}");
}

#[test]
fn rows_are_the_transactions_own_until_it_is_committed() {
    let database = database("part_modes", "");
    let sum = "SELECT coalesce(sum(x), 0) FROM t";
    let insert = || LoadOptions::default().with_method(LoadMethod::Insert);
    for (options, expected, is_shut) in [
        (LoadOptions::default(), "6", false),
        (insert(), "6", false),
        (mode(LoadMode::Upsert), "6", false),
        (LoadOptions::default().with_on_conflict(OnConflict::Skip), "6", false),
        (mode(LoadMode::Truncate), "5", true),
        (mode(LoadMode::Replace), "5", true),
    ] {
        let text = format!("{options:?}");
        database
            .execute("DROP TABLE IF EXISTS t; CREATE TABLE t (x int8 PRIMARY KEY); INSERT INTO t VALUES (1)");
        let connection = begun(&database);
        connection.execute("UPDATE t SET x = 1").unwrap();
        let report = load(&connection, "t", options.clone(), numbers([2, 3])).unwrap();
        assert_eq!((report.rows, report.rows_sent, report.batches), (2, 2, 1), "{text}");
        holds(&connection, &format!("({sum}) = {expected}"));
        if !is_shut {
            assert_eq!(value(&database, sum), "1", "{text}");
        }
        connection.rollback().unwrap();
        assert_eq!(value(&database, sum), "1", "{text}");

        connection.begin().unwrap();
        load(&connection, "t", options, numbers([2, 3])).unwrap();
        connection.commit().unwrap();
        assert_eq!(value(&database, sum), expected, "{text}");
    }
}

#[test]
fn a_table_that_is_made_goes_with_the_transaction() {
    let sql = "CREATE SCHEMA old; CREATE TABLE old.t (x int8); INSERT INTO old.t VALUES (1)";
    let database = database("part_create", sql);
    let is_there = "SELECT to_regclass('public.t') IS NOT NULL";
    let connection = begun(&database);
    // Another table of the same name that the transaction has written to does not count as a replacement.
    connection.execute("UPDATE old.t SET x = 2").unwrap();
    load(&connection, "t", creating(), numbers([7])).unwrap();
    load(&connection, "t", LoadOptions::default(), numbers([8])).unwrap();
    holds(&connection, "(SELECT sum(x) FROM public.t) = 15 AND (SELECT sum(x) FROM old.t) = 2");
    assert_eq!(value(&database, is_there), "f");
    connection.rollback().unwrap();
    assert_eq!(value(&database, is_there), "f");
    connection.begin().unwrap();
    load(&connection, "t", creating(), numbers([7])).unwrap();
    connection.commit().unwrap();
    assert_eq!(value(&database, "SELECT x FROM public.t"), "7");
}

/// Regression: the staging table existed until the end of the transaction, so a second load could not create
/// its own.
#[test]
fn many_loads_are_parts_of_one_transaction() {
    let sql = "CREATE TABLE t (x int8 PRIMARY KEY); CREATE SCHEMA s; CREATE TABLE s.t (x int8 PRIMARY KEY)";
    let database = database("part_many", sql);
    let connection = begun(&database);
    for round in 0..3 {
        let twice = refusal(load(&connection, "t", LoadOptions::default(), numbers([1, 1])));
        assert_eq!(twice.sqlstate(), Some("23505"), "{twice}");
        for table in ["t", "s.t"] {
            load(&connection, table, mode(LoadMode::Upsert), numbers([10, 20 + round])).unwrap();
            load(&connection, table, LoadOptions::default(), numbers([30 + round])).unwrap();
        }
        load(&connection, "t", mode(LoadMode::Replace), numbers([1, 10])).unwrap();
    }
    connection.commit().unwrap();
    assert_eq!(value(&database, "SELECT count(*) || ' ' || sum(x) FROM t"), "2 11");
    assert_eq!(value(&database, "SELECT count(*) || ' ' || sum(x) FROM s.t"), "7 166");
}

#[test]
fn a_load_that_fails_leaves_the_transaction_as_it_was() {
    let sql =
        "CREATE TABLE t (x int4 CHECK (x <> 66)); CREATE TABLE other (x int8); INSERT INTO t VALUES (1)";
    let database = database("part_failed", sql);
    let connection = begun(&database);
    connection.execute("INSERT INTO t VALUES (2)").unwrap();
    let check = || LoadOptions::default().with_conversions(Conversions::Check);

    // An error of the server; of a value; of the reader; and an abandoned load.
    let refused = refusal(load(&connection, "t", check(), numbers([65, 66])));
    assert_eq!((refused.kind(), refused.sqlstate()), (ErrorKind::Server, Some("23514")), "{refused}");
    assert!(refused.to_string().contains("nothing was loaded"), "{refused}");
    let refused = refusal(load(&connection, "t", check().with_mode(LoadMode::Truncate), numbers([1 << 40])));
    assert_eq!(refused.kind(), ErrorKind::Value, "{refused}");
    let broken = [Ok(numbers([5])), Err(ArrowError::ComputeError("the disk is gone".to_owned()))];
    let broken = RecordBatchIterator::new(broken, numbers([]).schema());
    let refused = refusal(part(&connection, "other", mode(LoadMode::Replace)).load_reader(broken));
    assert_eq!(refused.kind(), ErrorKind::Input, "{refused}");
    let mut loading = part(&connection, "other", LoadOptions::default()).open(numbers([]).schema()).unwrap();
    loading.write(&numbers(0..100_000)).unwrap();
    drop(loading);
    let loading = part(&connection, "other", LoadOptions::default()).open(numbers([]).schema()).unwrap();
    loading.rehearse().unwrap();
    let refused = refusal(load(&connection, "nowhere", LoadOptions::default(), numbers([])));
    assert_eq!(refused.kind(), ErrorKind::Options, "{refused}");

    // Earlier rows of the transaction are still there, and locks of failed loads are gone.
    let locks = "SELECT coalesce(string_agg(mode, ' '), '') FROM pg_locks WHERE relation = 'other'::regclass";
    assert_eq!(value(&database, locks), "");
    holds(&connection, "(SELECT sum(x) FROM t) = 3 AND (SELECT count(*) FROM other) = 0");
    connection.execute("SAVEPOINT mine").unwrap();
    load(&connection, "t", check(), numbers([4])).unwrap();
    connection.execute("ROLLBACK TO SAVEPOINT mine").unwrap();
    load(&connection, "t", check(), numbers([8])).unwrap();
    connection.commit().unwrap();
    assert_eq!(value(&database, "SELECT string_agg(x::text, ' ' ORDER BY x) FROM t"), "1 2 8");
}

/// SET LOCAL lasts until the transaction ends: the release of a savepoint does not reset it.
#[test]
fn settings_are_what_they_were() {
    let sql =
        "CREATE TABLE t (x int8, d timestamptz, v tsvector); CREATE SCHEMA app; CREATE TABLE app.p (x int8)";
    let database = database("part_settings", sql);
    let role = format!("part_{}", database.name());
    database.execute(&format!("CREATE ROLE \"{role}\"; GRANT ALL ON t TO \"{role}\""));
    let connection = begun(&database);
    // The language of DO brings its own settings.
    holds(&connection, "true");
    connection
        .execute(
            "SET LOCAL work_mem = '5MB'; SET search_path = app, \"$user\", public; \
             SET LOCAL DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET LOCAL lock_timeout = '7s'; \
             SET LOCAL default_tablespace = 'pg_default'; \
             SET LOCAL my.own = 'kept'; SET LOCAL xmloption = 'document'; \
             CREATE TEMPORARY TABLE noted AS SELECT name, setting FROM pg_settings UNION ALL SELECT 'role', \
             current_setting('role') UNION ALL SELECT 'my.own', current_setting('my.own')",
        )
        .unwrap();
    let unchanged = || {
        let now = "SELECT name, setting FROM pg_settings UNION ALL \
                   SELECT 'role', current_setting('role') UNION ALL \
                   SELECT 'my.own', current_setting('my.own')";
        holds(&connection, &format!("NOT EXISTS (({now}) EXCEPT SELECT * FROM noted)"));
        holds(&connection, &format!("NOT EXISTS (SELECT * FROM noted EXCEPT ({now}))"));
    };
    let texts = RecordBatch::try_from_iter([
        ("d", Arc::new(StringArray::from(vec!["2024-01-01T12:00:00Z"])) as ArrayRef),
        ("v", Arc::new(StringArray::from(vec!["a b"])) as ArrayRef),
    ])
    .unwrap();
    let checked = || LoadOptions::default().with_conversions(Conversions::Check);
    let all = || {
        let options = checked().with_role(&role).with_lock_timeout(Duration::from_secs(9));
        let options = options.with_setting("work_mem", "9MB").with_setting("my.own", "other");
        options.with_setting("search_path", "public").with_setting("TimeZone", "America/Lima")
    };
    unchanged();
    load(&connection, "public.t", all(), texts.clone()).unwrap();
    unchanged();
    load(&connection, "public.t", checked(), texts.clone()).unwrap();
    unchanged();
    load(&connection, "p", mode(LoadMode::Replace), numbers([1])).unwrap();
    unchanged();
    // A load that fails, and a load that is dropped.
    let bad = RecordBatch::try_from_iter([("d", Arc::new(StringArray::from(vec!["never"])) as ArrayRef)]);
    refusal(load(&connection, "public.t", all(), bad.unwrap()));
    unchanged();
    refusal(load(&connection, "public.t", all().with_columns(["nothing"]), numbers([1])));
    unchanged();
    drop(part(&connection, "public.t", all()).open(texts.schema()).unwrap());
    unchanged();
    // Settings and roles that do not exist.
    refusal(load(&connection, "public.t", all().with_setting("no_such_setting", "1"), texts.clone()));
    refusal(load(&connection, "public.t", all().with_role("no_such_role"), texts.clone()));
    unchanged();
    connection.commit().unwrap();
    // Session settings of the caller stay, and its transaction settings end with the transaction.
    connection.begin().unwrap();
    holds(&connection, "current_setting('TimeZone') = 'Asia/Tokyo' AND current_setting('work_mem') <> '5MB'");
    holds(&connection, "current_setting('search_path') = 'app, \"$user\", public'");
    connection.rollback().unwrap();
    drop(connection);
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn what_cannot_be_a_part_of_a_transaction_is_refused() {
    let database = database("part_refused", "CREATE TABLE t (x int8)");
    let connection = Connection::connect(database.url()).unwrap();
    let refused = |options: LoadOptions, text: &str| {
        let error = refusal(load(&connection, "t", options, numbers([1])));
        assert_eq!(error.kind(), ErrorKind::Options, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    };
    refused(LoadOptions::default(), "no open transaction; begin one");
    for (begin, text) in [
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", "REPEATABLE READ; a load needs READ COMMITTED"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "SERIALIZABLE; a load needs READ COMMITTED"),
        ("BEGIN READ ONLY", "only reads"),
    ] {
        connection.execute(begin).unwrap();
        refused(LoadOptions::default(), text);
        // The transaction continues.
        connection.execute("SELECT 1").unwrap();
        connection.rollback().unwrap();
    }
    connection.begin().unwrap();
    refused(LoadOptions::default().with_writers(2), "several writers");
    let key = || LoadOptions::default().with_restart_key("k");
    refused(key(), "restart key");
    refused(key().with_commit_every(10), "commit in parts");
    refused(LoadOptions::default().with_reject(true), "bad rows");

    // One load at a time; meanwhile the connection refuses everything else.
    let loading = part(&connection, "t", LoadOptions::default()).open(numbers([]).schema()).unwrap();
    refused(LoadOptions::default(), "has a load that has not ended");
    for error in
        [connection.execute("SELECT 1"), connection.commit(), connection.rollback(), connection.begin()]
    {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Options);
    }
    drop(loading);
    assert!(connection.begin().unwrap_err().to_string().contains("open already"));
    connection.execute("SELECT 1/0").unwrap_err();
    refused(LoadOptions::default(), "has failed before; roll it back");
    connection.rollback().unwrap();
    connection.rollback().unwrap();
    assert_eq!(connection.commit().unwrap_err().kind(), ErrorKind::Options);
}

#[test]
fn locks_are_waited_for_as_long_as_somebody_says() {
    let database = database("part_locks", "CREATE TABLE t (x int8); INSERT INTO t VALUES (1)");
    let connection = begun(&database);
    let mut other = database.client();
    let mut lock = other.transaction().unwrap();
    lock.batch_execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE").unwrap();
    let short = || LoadOptions::default().with_lock_timeout(Duration::from_millis(50));
    let refused = refusal(load(&connection, "t", short(), numbers([2])));
    assert_eq!(refused.sqlstate(), Some("55P03"), "{refused}");
    // The caller's timeouts apply.
    for (timeout, sqlstate) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
        connection.execute(&format!("SAVEPOINT mine; SET LOCAL {timeout} = '50ms'")).unwrap();
        let refused = refusal(load(&connection, "t", LoadOptions::default(), numbers([2])));
        assert_eq!(refused.sqlstate(), Some(sqlstate), "{refused}");
        connection.execute("ROLLBACK TO SAVEPOINT mine").unwrap();
    }
    // Cancelled during a wait.
    let waiting = part(&connection, "t", LoadOptions::default());
    let cancel = waiting.cancel().clone();
    let cancelled = thread::scope(|scope| {
        let loading = scope.spawn(move || waiting.load_reader(reader(vec![numbers([2])])));
        let waits = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND NOT granted";
        // As an OID, because the table is locked.
        let waits = waits.replace("'t'::regclass", &lock_oid(&mut lock));
        eventually("the load waits", || value(&database, &waits) == "1");
        cancel.cancel_for("this test");
        loading.join().unwrap().unwrap_err()
    });
    assert_eq!(cancelled.kind(), ErrorKind::Cancelled, "{cancelled}");
    assert!(cancelled.to_string().contains("this test"), "{cancelled}");
    lock.rollback().unwrap();
    load(&connection, "t", LoadOptions::default(), numbers([3])).unwrap();
    // Locks last until the caller's transaction ends.
    let mut lock = other.transaction().unwrap();
    let taken = lock.batch_execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT").unwrap_err();
    assert_eq!(taken.code().map(|code| code.code()), Some("55P03"));
    lock.rollback().unwrap();
    connection.commit().unwrap();
    other.batch_execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT").unwrap_err();
    assert_eq!(value(&database, "SELECT string_agg(x::text, ' ' ORDER BY x) FROM t"), "1 3");
}

fn lock_oid(lock: &mut pgarrow_testkit::postgres::Transaction<'_>) -> String {
    lock.query_one("SELECT 't'::regclass::oid::text", &[]).unwrap().get(0)
}

/// A COPY that waits for another session's key is aborted, and its cancel does not reach what the caller
/// does next.
#[test]
fn a_load_that_is_dropped_while_the_server_waits_gives_the_connection_back() {
    let database = database("part_dropped", "CREATE TABLE t (x int8 PRIMARY KEY)");
    let connection = begun(&database);
    connection.execute("INSERT INTO t VALUES (1)").unwrap();
    let mut other = database.client();
    let mut key = other.transaction().unwrap();
    key.batch_execute("INSERT INTO t VALUES (5000000)").unwrap();
    for _ in 0..3 {
        let mut loading = part(&connection, "t", LoadOptions::default()).open(numbers([]).schema()).unwrap();
        loading.write(&numbers(5_000_000..5_100_000)).unwrap();
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted";
        eventually("the COPY waits", || value(&database, waits) == "1");
        drop(loading);
        for _ in 0..20 {
            connection.execute("SELECT pg_sleep(0.001)").unwrap();
        }
    }
    key.rollback().unwrap();
    load(&connection, "t", LoadOptions::default(), numbers([5_000_000])).unwrap();
    connection.commit().unwrap();
    assert_eq!(value(&database, "SELECT sum(x) FROM t"), "5000001");
}

#[test]
fn a_session_that_ends_takes_the_transaction_with_it() {
    let database = database("part_lost", "CREATE TABLE t (x int8)");
    let connection = begun(&database);
    connection.execute("INSERT INTO t VALUES (1)").unwrap();
    let mut loading = part(&connection, "t", LoadOptions::default()).open(numbers([]).schema()).unwrap();
    loading.write(&numbers([2])).unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks \
               WHERE relation = 't'::regclass AND mode = 'RowExclusiveLock'";
    assert_eq!(value(&database, end), "1");
    let error = refusal(loading.finish());
    assert_eq!(error.sqlstate(), Some("57P01"), "{error}");
    for error in [connection.execute("SELECT 1"), connection.commit(), connection.rollback()] {
        assert!(!error.unwrap_err().to_string().contains("has a load"));
    }
    assert_eq!(value(&database, "SELECT count(*) FROM t"), "0");
}

#[test]
fn what_is_checked_late_is_told_when_the_caller_commits() {
    let sql = "CREATE TABLE p (x int8 PRIMARY KEY); \
               CREATE TABLE t (x int8 REFERENCES p DEFERRABLE INITIALLY DEFERRED)";
    let database = database("part_late", sql);
    let connection = begun(&database);
    load(&connection, "t", LoadOptions::default(), numbers([1])).unwrap();
    let error = refusal(connection.commit());
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("23503")), "{error}");
    connection.begin().unwrap();
    load(&connection, "t", LoadOptions::default(), numbers([1])).unwrap();
    connection.execute("INSERT INTO p VALUES (1)").unwrap();
    connection.commit().unwrap();
    assert_eq!(value(&database, "SELECT count(*) FROM t"), "1");
}

/// An export of the target itself feeds the load: their locks are compatible.
#[test]
fn an_export_of_the_table_feeds_its_load() {
    let database = database("part_fed", "CREATE TABLE t (x int8); INSERT INTO t VALUES (1), (2)");
    let source = Source::connect_blocking(database.url()).unwrap();
    let connection = begun(&database);
    let open = |options: LoadOptions| {
        let run = source.table("t").open().unwrap();
        let loading = part(&connection, "t", options).fed_by(run.holders()).open(run.schema().clone());
        (run, loading)
    };
    let (run, refused) = open(mode(LoadMode::Truncate));
    assert_eq!(refusal(refused).kind(), ErrorKind::Options);
    drop(run);
    for lock_timeout in ["0", "3s"] {
        connection.execute(&format!("SET LOCAL lock_timeout = '{lock_timeout}'")).unwrap();
        let (run, loading) = open(LoadOptions::default());
        let sink = loading.unwrap().into_sink().unwrap();
        let report = sink.report();
        run.write_to(Box::new(sink)).unwrap();
        assert_eq!(report.take().map(|report| report.rows), Some(2));
        holds(&connection, &format!("current_setting('lock_timeout') = '{lock_timeout}'"));
    }
    // The export's snapshot does not contain rows that the transaction has added.
    holds(&connection, "(SELECT count(*) FROM t) = 6");
    // The lookup of columns that need no decoding uses the same connection.
    let columns = part(&connection, "t", LoadOptions::default()).opaque_columns().unwrap();
    assert_ne!(format!("{columns:?}"), format!("{:?}", pgarrow_export::OpaqueColumns::default()));
    holds(&connection, "(SELECT count(*) FROM t) = 6");
    connection.commit().unwrap();
    let sum = fingerprint(&database, "t");
    assert!(sum.starts_with("6 "), "{sum}");
}

/// Regression: planning a query does not lock what its functions read. The function waited for the table
/// that the caller had truncated, and the caller for the function's rows.
#[test]
fn a_function_that_reads_what_the_transaction_has_emptied_is_not_waited_for() {
    let sql = "CREATE TABLE t (x int8); INSERT INTO t VALUES (1); CREATE TABLE u (x int8); \
        CREATE FUNCTION f() RETURNS SETOF int8 LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT x FROM t; END'";
    let database = database("part_function", sql);
    let source = Source::connect_blocking(database.url()).unwrap();
    let connection = begun(&database);
    connection.execute("TRUNCATE t").unwrap();
    let run = source.query("SELECT x FROM f() AS x").open().unwrap();
    let loading = part(&connection, "u", LoadOptions::default()).fed_by(run.holders());
    let sink = loading.open(run.schema().clone()).unwrap().into_sink().unwrap();
    let error = refusal(run.write_to(Box::new(sink)));
    assert_eq!(error.sqlstate(), Some("55P03"), "{error}");
    load(&connection, "u", LoadOptions::default(), numbers([1])).unwrap();
    connection.commit().unwrap();
    assert_eq!(value(&database, "SELECT concat((SELECT count(*) FROM t), (SELECT count(*) FROM u))"), "01");
}
