//! A load that looks at its table while the source is opened: what it asks, what it locks, and until when.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use pgarrow_export::{Cancel, Config, ErrorKind, OpaqueColumns, Source};
use pgarrow_load::{Load, LoadMode, LoadOptions, LookAhead};
use pgarrow_testkit::{Capability, Database, require};

use crate::round_trips::{all_closed, counting};
use crate::support::{creating, database, eventually, load, value};

fn batch(column: &str) -> RecordBatch {
    let array = Arc::new(Int64Array::from_iter_values(0..1000)) as ArrayRef;
    RecordBatch::try_from_iter([(column, array)]).unwrap()
}

/// Loads the rows. Returns the process that loaded them.
fn finish(database: &Database, load: Load, batch: &RecordBatch) -> String {
    let mut loading = load.open(batch.schema()).unwrap();
    let pids = locked(database);
    loading.write(batch).unwrap();
    assert_eq!(loading.finish().unwrap().rows, 1000);
    pids
}

/// The processes that have locked the table for a load.
fn locked(database: &Database) -> String {
    let sql = "SELECT COALESCE(string_agg(pid::text, ' '), '') FROM pg_locks \
               WHERE relation = 't'::regclass AND mode = 'RowExclusiveLock' AND granted";
    value(database, sql)
}

fn rows(database: &Database) -> String {
    value(database, "SELECT count(*)::text FROM t")
}

fn looked(load: &Load) -> (LookAhead, OpaqueColumns) {
    let look = load.look_ahead();
    let columns = look.columns().unwrap();
    // Whoever asks again gets the same.
    assert_eq!(look.columns().unwrap(), columns);
    (look, columns)
}

/// Before, a copy from server to server asked the target twice, and whether the export has it locked.
#[test]
fn opening_asks_nothing_that_the_look_has_asked() {
    require!(Capability::PrivateServer);
    let database =
        database("look trips", "CREATE TABLE t (x int8 PRIMARY KEY) WITH (autovacuum_enabled = off)");
    let (proxy, url, of_login) = counting(&database);
    let run = Source::connect_blocking(database.url()).unwrap().table("t").open().unwrap();
    let load = Load::into(&url, "t").unwrap().options(LoadOptions::default());
    let (look, columns) = looked(&load);
    assert_eq!(
        columns,
        crate::support::load(&database, "t", LoadOptions::default()).opaque_columns().unwrap()
    );
    let mut loading = load.fed_by(run.holders()).open(batch("x").schema()).unwrap();
    drop(look);
    loading.write(&batch("x")).unwrap();
    assert_eq!(loading.finish().unwrap().rows, 1000);
    all_closed(&proxy);
    // What opening asks, and whether to analyze; the COPY; its end, and that names still mean the same;
    // COMMIT.
    assert_eq!(proxy.n_round_trips() - 2 * of_login, 4);
}

/// Before, a load of files opened them before it connected.
#[test]
fn a_load_that_begins_ahead_asks_once() {
    require!(Capability::PrivateServer);
    let database =
        database("begin trips", "CREATE TABLE t (x int8 PRIMARY KEY) WITH (autovacuum_enabled = off)");
    let (proxy, url, of_login) = counting(&database);
    let once = |mode: LoadMode, is_ahead: bool| {
        database.execute("TRUNCATE t");
        let load = Load::into(&url, "t").unwrap().options(LoadOptions::default().with_mode(mode));
        let before = proxy.n_round_trips();
        let look = is_ahead.then(|| load.begin_ahead());
        let columns = look.as_ref().map(|look| look.columns().unwrap());
        assert!(columns.is_none_or(|columns| columns.is_empty()));
        let mut loading = load.open(batch("x").schema()).unwrap();
        drop(look);
        loading.write(&batch("x")).unwrap();
        let report = loading.finish().unwrap();
        assert_eq!(report.rows, 1000);
        // It was done ahead, and it was done.
        assert!(report.phases.connect > 0.0 && report.phases.plan > 0.0, "{:?}", report.phases);
        all_closed(&proxy);
        proxy.n_round_trips() - before - of_login
    };
    // Half a second may have passed in one of them.
    let n_round_trips = |mode, is_ahead| (0..3).map(|_| once(mode, is_ahead)).min().unwrap_or_default();
    // What opening asks; the COPY; its end, and that names still mean the same; COMMIT.
    assert_eq!(n_round_trips(LoadMode::Append, true), 4);
    // Without it, whether to analyze is asked at the end.
    assert_eq!(n_round_trips(LoadMode::Append, false), 5);
    assert_eq!(n_round_trips(LoadMode::Upsert, true) + 1, n_round_trips(LoadMode::Upsert, false));
    // To empty the table is not begun ahead: only the connection is.
    assert_eq!(n_round_trips(LoadMode::Truncate, true), n_round_trips(LoadMode::Truncate, false));
}

/// What `open` would say is said by `open`, in its own words; without a connection, there is nothing to open.
#[test]
fn what_cannot_begin_ahead() {
    require!(Capability::Server);
    let database = database("begin not", "CREATE TABLE t (x int8)");
    let missing = load(&database, "missing", LoadOptions::default());
    let look = missing.begin_ahead();
    look.columns().unwrap();
    let error = missing.clone().open(batch("x").schema()).unwrap_err();
    let expected = load(&database, "missing", LoadOptions::default()).open(batch("x").schema()).unwrap_err();
    assert_eq!(error.to_string(), expected.to_string());

    let mut other = database.client();
    let mut transaction = other.transaction().unwrap();
    transaction.execute("LOCK TABLE t IN SHARE MODE", &[]).unwrap();
    let waiting = load(&database, "t", LoadOptions::default());
    let look = waiting.begin_ahead();
    look.columns().unwrap();
    assert_eq!(locked(&database), "");
    transaction.commit().unwrap();
    finish(&database, waiting, &batch("x"));

    // A table that is made, in whatever way, is only connected to.
    for options in [creating(), LoadOptions::default().with_mode(LoadMode::Replace)] {
        let made = load(&database, "made", options);
        let look = made.begin_ahead();
        look.columns().unwrap();
        let mut loading = made.open(batch("x").schema()).unwrap();
        loading.write(&batch("x")).unwrap();
        assert_eq!(loading.finish().unwrap().rows, 1000);
        drop(look);
    }

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://nobody@{nobody}/nothing?sslmode=disable");
    let error = Load::into(&url, "t").unwrap().begin_ahead().columns().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
}

#[test]
fn the_load_goes_on_in_the_transaction_that_has_looked() {
    require!(Capability::Server);
    let database = database("look goes on", "CREATE TABLE t (x int8 PRIMARY KEY)");
    for mode in [LoadMode::Append, LoadMode::Upsert] {
        database.execute("TRUNCATE t");
        let load = load(&database, "t", LoadOptions::default().with_mode(mode));
        let (_look, _) = looked(&load);
        let pid = locked(&database);
        let in_use = finish(&database, load, &batch("x"));
        // Half a second may have passed.
        assert!(pid.is_empty() || in_use == pid, "{mode:?}: {pid:?}, {in_use:?}");
        assert_eq!(rows(&database), "1000", "{mode:?}");
    }
}

/// Nobody has to wait long for a load that has not begun; and what has changed is asked again.
#[test]
fn what_is_not_opened_is_let_go() {
    require!(Capability::Server);
    let database = database("look let go", "CREATE TABLE t (x int8)");
    for is_dropped in [false, true] {
        let load = load(&database, "t", LoadOptions::default());
        let (look, _) = looked(&load);
        let look = (!is_dropped).then_some(look);
        database.execute(
            "SET lock_timeout = '60s'; ALTER TABLE t RENAME x TO y; ALTER TABLE t RENAME y TO x; TRUNCATE t",
        );
        assert_eq!(locked(&database), "");
        database.execute("ALTER TABLE t ADD y int8");
        finish(&database, load, &batch("y"));
        assert_eq!(value(&database, "SELECT count(y)::text FROM t"), "1000");
        database.execute("ALTER TABLE t DROP y");
        drop(look);
    }
}

/// The server may end a transaction that waits for its source: nothing has begun then.
#[test]
fn a_session_that_was_ended_meanwhile_is_not_gone_on_with() {
    require!(Capability::Server);
    let database = database("look ended", "CREATE TABLE t (x int8)");
    let waiting = load(&database, "t", LoadOptions::default());
    let (_look, _) = looked(&waiting);
    let sql = "SELECT count(pg_terminate_backend(pid, 60000))::text FROM pg_locks \
               WHERE relation = 't'::regclass AND mode = 'RowExclusiveLock'";
    value(&database, sql);
    finish(&database, waiting, &batch("x"));
    assert_eq!(rows(&database), "1000");

    let options = LoadOptions::default().with_setting("idle_in_transaction_session_timeout", "1ms");
    let ending = load(&database, "t", options);
    let look = ending.begin_ahead();
    look.columns().unwrap();
    assert_eq!(locked(&database), "");
}

/// A load that other options make another one does not go on in that transaction.
#[test]
fn other_options_begin_anew() {
    require!(Capability::Server);
    let database = database("look other", "CREATE TABLE t (x int8); INSERT INTO t VALUES (-1)");
    let appending = load(&database, "t", LoadOptions::default());
    let (_look, _) = looked(&appending);
    finish(&database, appending.options(LoadOptions::default().with_mode(LoadMode::Truncate)), &batch("x"));
    assert_eq!(rows(&database), "1000");

    let appending = load(&database, "t", LoadOptions::default());
    let (_look, _) = looked(&appending);
    let options = LoadOptions::default().with_setting("application_name", "another");
    finish(&database, appending.options(options), &batch("x"));
    assert_eq!(rows(&database), "2000");

    // These lock nothing before they are opened.
    for options in
        [LoadOptions::default().with_mode(LoadMode::Truncate), LoadOptions::default().with_writers(2)]
    {
        let load = load(&database, "t", options);
        let (_look, columns) = looked(&load);
        assert!(!columns.is_empty());
        assert_eq!(locked(&database), "");
        load.open(batch("x").schema()).unwrap().abandon().unwrap();
    }
    assert_eq!(looked(&load(&database, "u", creating())).1, OpaqueColumns::all());
}

#[test]
fn a_table_that_is_locked_or_missing() {
    require!(Capability::Server);
    let database = database("look locked", "CREATE TABLE t (x int8)");
    let mut other = database.client();
    let mut transaction = other.transaction().unwrap();
    transaction.execute("LOCK TABLE t IN SHARE MODE", &[]).unwrap();
    let appending = load(&database, "t", LoadOptions::default());
    let (_look, columns) = looked(&appending);
    assert!(columns.get("x").is_some());
    transaction.commit().unwrap();
    finish(&database, appending, &batch("x"));
    assert_eq!(rows(&database), "1000");

    let missing = load(&database, "missing", LoadOptions::default());
    let look = missing.look_ahead();
    for _ in 0..2 {
        let error = look.columns().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Options, "{error}");
        assert_eq!(error.to_string(), missing.opaque_columns().unwrap_err().to_string());
    }
}

/// The source waits behind a session that waits for the target: the server sees no deadlock.
#[test]
fn a_source_that_waits_for_the_target_ends_the_look() {
    require!(Capability::Server);
    let database = database("look deadlock", "CREATE TABLE t (x int8)");
    let load = load(&database, "t", LoadOptions::default());
    let (_look, _) = looked(&load);
    let mut other = database.client();
    let waiting = thread::spawn(move || {
        let mut transaction = other.transaction().unwrap();
        transaction.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE", &[]).unwrap();
        transaction.commit().unwrap();
    });
    let waits = "SELECT count(*)::text FROM pg_locks WHERE relation = 't'::regclass AND NOT granted";
    eventually("it waits, or the look is over", || value(&database, waits) == "1" || waiting.is_finished());
    let run = Source::connect_blocking(database.url()).unwrap().table("t").open().unwrap();
    finish(&database, load.fed_by(run.holders()), &batch("x"));
    waiting.join().unwrap();
    assert_eq!(rows(&database), "1000");
}

#[test]
fn a_look_that_waits_for_the_server_is_cancelled() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://nobody@{}/nothing?sslmode=disable", silent.local_addr().unwrap());
    let cancel = Cancel::new();
    let load = Load::with_config(Config::parse(Some(&url)).unwrap(), "t", cancel.clone()).unwrap();
    let look = load.look_ahead();
    let _stream = silent.accept().unwrap();
    cancel.cancel_for("the test");
    let error = look.columns().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
}

/// Whether there are enough rows for ANALYZE is asked before they come.
#[test]
fn what_is_analyzed_is_known_before() {
    require!(Capability::Server);
    let database = database("look analyze", "CREATE TABLE t (x int8)");
    for (option, is_analyzed) in
        [("threshold = 999", true), ("threshold = 1000", false), ("enabled = off", false)]
    {
        database.execute(&format!("TRUNCATE t; ALTER TABLE t SET (autovacuum_{option})").replace(
            "autovacuum_threshold",
            "autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold",
        ));
        let load = load(&database, "t", LoadOptions::default());
        let (_look, _) = looked(&load);
        let mut loading = load.open(batch("x").schema()).unwrap();
        loading.write(&batch("x")).unwrap();
        assert_eq!(loading.finish().unwrap().upkeep.analyzed, is_analyzed, "{option}");
    }
}
