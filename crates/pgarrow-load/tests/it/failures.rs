//! What a load reports and does after a failure.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use pgarrow_export::{Cancel, Config, Error, ErrorKind, Place};
use pgarrow_load::{Conversions, Load, LoadMethod, LoadMode, LoadOptions, Loading};
use pgarrow_sink::{SinkError, SinkWriter, Stop};
use pgarrow_testkit::{Database, Fault, Proxy, TestServer};

use crate::support::{database, fingerprint, load, refusal, value};

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(range);
    RecordBatch::try_from_iter([("x", Arc::new(numbers) as ArrayRef)]).unwrap()
}

fn open(database: &Database, options: LoadOptions) -> Loading {
    load(database, "t", options).open(numbers(0..1).schema()).unwrap()
}

fn parts() -> LoadOptions {
    LoadOptions::default().with_commit_every(10).with_restart_key("key")
}

/// Regression: if a caller logged the error and went on, the rows around the refused batch were committed,
/// without a report of the missing ones.
#[test]
fn a_load_that_has_failed_stays_failed() {
    let database = database("failed_stays", "CREATE TABLE t (x int4); INSERT INTO t VALUES (77)");
    let before = fingerprint(&database, "t");
    let checking = || LoadOptions::default().with_conversions(Conversions::Check);
    for ends_as_sink in [false, true] {
        let mut loading = open(&database, checking());
        loading.write(&numbers(1..3)).unwrap();
        let error = refusal(loading.write(&numbers(1 << 40..(1 << 40) + 1)));
        assert_eq!(error.kind(), ErrorKind::Value);
        assert!(error.to_string().contains("row 3 of the data"), "{error}");
        assert_eq!(*error.place(), Place::default().with_table("public", "t").with_column("x").with_row(3));
        assert_eq!(refusal(loading.write(&numbers(3..5))).to_string(), error.to_string());
        let end = match ends_as_sink {
            true => refusal(loading.into_sink()),
            false => refusal(loading.finish()),
        };
        assert_eq!(end.to_string(), error.to_string());
        assert_eq!(fingerprint(&database, "t"), before);
    }
    let mut loading = open(&database, parts().with_conversions(Conversions::Check));
    refusal(loading.write(&numbers(1 << 40..(1 << 40) + 1)));
    refusal(loading.write(&numbers(3..5)));
    refusal(loading.finish());
    assert_eq!(fingerprint(&database, "t"), before);
}

/// Regression: the server gets a cancel a little later, and by then a short load was committed.
#[test]
fn a_load_that_was_cancelled_commits_nothing() {
    let database = database("cancelled", "CREATE TABLE t (x int8)");
    let config = Config::parse(Some(database.url())).unwrap();
    for options in [LoadOptions::default(), parts()] {
        for is_before_write in [true, false] {
            let cancel = Cancel::new();
            let load =
                Load::with_config(config.clone(), "t", cancel.clone()).unwrap().options(options.clone());
            let mut loading = load.open(numbers(0..1).schema()).unwrap();
            if is_before_write {
                cancel.cancel();
                assert_eq!(refusal(loading.write(&numbers(0..10))).kind(), ErrorKind::Cancelled);
            } else {
                loading.write(&numbers(0..9)).unwrap();
                cancel.cancel();
            }
            let error = refusal(loading.finish());
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert!(error.to_string().ends_with("; nothing was loaded"), "{error}");
            assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "0");
        }
    }
}

/// Regression: these rows stayed in the buffer of a lane that was no longer used.
#[test]
fn rows_that_were_written_before_it_becomes_a_sink_are_loaded() {
    let database = database("written_before", "CREATE TABLE t (x int8)");
    let mut loading = open(&database, LoadOptions::default());
    loading.write(&numbers(0..10)).unwrap();
    let sink = loading.into_sink().unwrap();
    let report = sink.report();
    let sink = SinkWriter::new(Box::new(sink), Stop::default());
    let mut part = sink.open_part(0).unwrap();
    part.write(&numbers(10..15)).unwrap();
    assert_eq!(part.finish().unwrap().rows, 5);
    assert_eq!(sink.commit().unwrap().rows, 15);
    assert_eq!(report.take().unwrap().rows, 15);
    assert_eq!(value(&database, "SELECT count(DISTINCT x)::text FROM t"), "15");
}

/// Regression: "row 17 of the data" was the 17th of one of several readers, or of the shared COPY, and
/// another row in the next run.
#[test]
fn rows_of_several_readers_have_no_numbers() {
    let sql = "CREATE DOMAIN d AS int8 CHECK (VALUE <> 12); CREATE TABLE t (x d CHECK (x <> 13)); CREATE TABLE s (x int4)";
    let database = database("no_numbers", sql);
    let told = |error: SinkError| {
        let error = Error::from(error);
        for number in ["(row", "row 1", "of the data"] {
            assert!(!error.to_string().contains(number), "{error}");
        }
        assert!(error.to_string().contains("nothing was loaded"), "{error}");
        error
    };
    let through = |table: &str, range| {
        let options = LoadOptions::default().with_conversions(Conversions::Check);
        let sink = load(&database, table, options).open(numbers(0..1).schema())?.into_sink()?;
        let sink = SinkWriter::new(Box::new(sink), Stop::default());
        let mut part = sink.open_part(0)?;
        let written = part.write(&numbers(range)).and_then(|()| part.finish());
        written.and_then(|_| sink.commit()).map_err(told)
    };
    let error = through("t", 0..13).unwrap_err();
    assert_eq!(error.sqlstate(), Some("23514"));
    assert!(error.to_string().starts_with("public.t (column x): "), "{error}");
    let error = through("t", 13..14).unwrap_err();
    assert_eq!(error.sqlstate(), Some("23514"));
    assert!(error.to_string().starts_with("public.t: "), "{error}");
    let error = through("s", 1 << 40..(1 << 40) + 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Value);
    assert!(error.to_string().starts_with("public.s, column \"x\" (integer): "), "{error}");
}

/// Every part that fails gets the reason. Regression: only the first one got it, and the others got "has
/// failed before".
#[test]
fn all_readers_are_told_why() {
    let database = database("all_told", "CREATE TABLE t (x int8 CHECK (x < 100000))");
    let sink = open(&database, LoadOptions::default()).into_sink().unwrap();
    let sink = SinkWriter::new(Box::new(sink), Stop::default());
    let mut parts = [sink.open_part(0).unwrap(), sink.open_part(1).unwrap()];
    for part in &mut parts {
        let error = (0..).find_map(|step| part.write(&numbers(step * 50_000..(step + 1) * 50_000)).err());
        let error = Error::from(error.unwrap());
        assert_eq!(error.sqlstate(), Some("23514"), "{error}");
        assert!(error.to_string().contains("nothing was loaded"), "{error}");
        assert!(error.is_transient() || error.kind() == ErrorKind::Server);
    }
}

/// Regression: the error said "nothing was loaded" with seven of eight parts in the table; a user who
/// believed it loaded them twice.
#[test]
fn what_is_said_when_a_later_part_cannot_begin() {
    for reject in [false, true] {
        let options = || parts().with_reject(reject).with_lock_timeout(Duration::from_millis(500));
        for (sql, sqlstate, says) in [
            ("BEGIN; LOCK TABLE t", Some("55P03"), "start the load again"),
            ("DROP TABLE t", None, "dropped or renamed"),
            ("ALTER TABLE t RENAME TO u", None, "dropped or renamed"),
            ("ALTER TABLE t ALTER x TYPE numeric", None, "another session changed"),
            ("ALTER TABLE t RENAME TO u; CREATE TABLE t (x int8)", None, "another session changed"),
            (
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE 'no place' USING ERRCODE = '53100'; END $$; \
                 CREATE TRIGGER f BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION f()",
                Some("53100"),
                "make room there",
            ),
        ] {
            let database = database("later_part", "CREATE TABLE t (x int8)");
            let mut loading = open(&database, options());
            loading.write(&numbers(0..10)).unwrap();
            let mut other = database.client();
            other.batch_execute(sql).unwrap();
            let error = refusal(loading.write(&numbers(10..20)).and_then(|()| loading.finish()));
            assert_eq!(error.sqlstate(), sqlstate, "{error}");
            assert!(error.to_string().contains(says), "{says}: {error}");
            assert_eq!(error.to_string().matches("the first 10 rows of the data are loaded").count(), 1);
            for wrong in ["nothing was loaded", "mode=create"] {
                assert!(!error.to_string().contains(wrong), "{sql}: {error}");
            }
            // A second start gets the same error if the table does not exist, or cannot be locked.
            if matches!(sqlstate, Some("55P03")) || says == "dropped or renamed" {
                let error = refusal(load(&database, "t", options()).open(numbers(0..1).schema()));
                assert!(error.to_string().contains("the first 10 rows of the data are loaded"), "{error}");
                assert!(!error.to_string().contains("nothing was loaded"), "{error}");
            }
        }
    }
}

/// Regression: a dry run began the COPY in a thread and did not wait for it, so errors of the server were
/// not reported.
#[test]
fn a_rehearsal_tells_what_the_server_refuses_without_a_row() {
    let raising = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                   $$ BEGIN RAISE 'never that' USING ERRCODE = 'PA001'; END $$; \
                   CREATE TABLE t (x int8); INSERT INTO t VALUES (77)";
    let database = database("rehearsal", raising);
    let before = fingerprint(&database, "t");
    let all = || {
        [
            LoadOptions::default(),
            LoadOptions::default().with_mode(LoadMode::Truncate),
            parts(),
            parts().with_reject(true),
        ]
    };
    for options in all().into_iter().chain([LoadOptions::default().with_mode(LoadMode::Replace)]) {
        open(&database, options).rehearse().unwrap();
        assert_eq!(fingerprint(&database, "t"), before);
    }
    for time in ["BEFORE", "AFTER"] {
        database.execute(&format!(
            "DROP TRIGGER IF EXISTS f ON t; \
             CREATE TRIGGER f {time} INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION f()"
        ));
        for options in all() {
            assert_eq!(refusal(open(&database, options).rehearse()).sqlstate(), Some("PA001"));
            assert_eq!(fingerprint(&database, "t"), before);
        }
    }
    assert_eq!(value(&database, "SELECT count(*)::text FROM pgarrow_load_marks"), "0");
}

/// Regression: a connection lost while the empty table of marks was committed gave "rows may be there or
/// not".
#[test]
fn before_the_first_row_there_is_nothing_unknown() {
    let database = database("marks_lost", "CREATE TABLE t (x int8)");
    let server = TestServer::shared().url().parse::<pgarrow_testkit::postgres::Config>().unwrap();
    let server: SocketAddr = (Ipv4Addr::LOCALHOST, server.get_ports()[0]).into();
    let through = |fault| {
        database.execute("DROP TABLE IF EXISTS pgarrow_load_marks");
        let proxy = Proxy::start_with(server, move |_| fault);
        let load = Load::into(&proxy.url_of(database.url()), "t").unwrap().options(parts());
        let opened = load.open(numbers(0..1).schema());
        (proxy.from_server_bytes(), opened)
    };
    let (n_bytes, opened) = through(Fault::None);
    drop(opened.unwrap());
    let mut n_lost = 0;
    // The commit's answer has 12 bytes.
    for cut in (0..n_bytes).step_by(8) {
        let (_, opened) = through(Fault::CloseAfterServerBytes(cut));
        let Err(error) = opened else { continue };
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        n_lost += u32::from(error.to_string().contains("no row was sent yet"));
    }
    assert!(n_lost >= 2, "{n_lost}");
}

/// The server's messages must be read while rows are sent, or the server takes no more rows.
#[test]
fn a_target_that_talks_all_the_time() {
    let sql = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                   $$ BEGIN RAISE NOTICE '%', repeat('a word ', 300); RETURN NEW; END $$; \
               CREATE TABLE t (x int8); CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()";
    let database = database("talking", sql);
    for method in [LoadMethod::Copy, LoadMethod::Insert] {
        database.execute("TRUNCATE t");
        let options =
            LoadOptions::default().with_method(method).with_setting("client_min_messages", "notice");
        let mut loading = open(&database, options);
        for first in 0..10 {
            loading.write(&numbers(first * 3000..(first + 1) * 3000)).unwrap();
        }
        assert_eq!(loading.finish().unwrap().rows, 30_000);
    }
}

/// Regression: the time in which the server took nothing counted as sending, so the report did not show who
/// was slow.
#[test]
fn waiting_for_the_server_is_no_sending() {
    let sql = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(5); RETURN NULL; END $$; \
               CREATE TABLE t (s text); \
               CREATE TRIGGER f BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION f()";
    let database = database("slow_server", sql);
    // More than all buffers on the way can hold.
    let texts = StringArray::from_iter_values(std::iter::repeat_n("x".repeat(1 << 20), 32));
    let batch = RecordBatch::try_from_iter([("s", Arc::new(texts) as ArrayRef)]).unwrap();
    let mut loading = load(&database, "t", LoadOptions::default()).open(batch.schema()).unwrap();
    loading.write(&batch).unwrap();
    let report = loading.finish().unwrap();
    assert_eq!(report.rows, 32);
    // Most of the sleep: the buffers are filled while the server sleeps.
    assert!(report.phases.blocked > 0.5, "{:?}", report.phases);
}
