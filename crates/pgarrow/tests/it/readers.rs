//! Several readers under one snapshot: every row once, all of one moment, whatever happens to one reader.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use pgarrow::{Error, ErrorKind, ExportOptions, ReadMode, Report, Run, Slice, Source};
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

use crate::render;
use crate::support::{
    Role, assert_error, database, oracle, read, server_text, source, source_as, url, wait_until,
    wait_until_no_sessions, with_parameter,
};

/// Some hundred pages with rows of some width.
const TABLE: &str = "CREATE TABLE e AS SELECT g AS id, g % 7 AS b, repeat(md5(g::text), 4) AS t, \
    CASE WHEN g % 5 = 0 THEN NULL ELSE g::numeric(12, 2) END AS n FROM generate_series(1, 30000) AS g; ANALYZE e";

fn pages(n_readers: usize) -> ExportOptions {
    ExportOptions::default().with_readers(n_readers).with_slice_bytes(8192)
}

/// Rows as text, sorted.
fn sorted(batches: &[RecordBatch]) -> Vec<String> {
    let mut lines: Vec<String> = render::rows(batches).into_iter().map(|row| format!("{row:?}")).collect();
    lines.sort_unstable();
    lines
}

fn expected(database: &Database, sql: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        server_text(&mut oracle(database), sql).into_iter().map(|row| format!("{row:?}")).collect();
    lines.sort_unstable();
    lines
}

fn collect(run: Run) -> Result<(Vec<RecordBatch>, Report), Error> {
    let batches = Mutex::new(Vec::new());
    let report = run.for_each_concurrently(|batch| {
        batches.lock().unwrap().push(batch);
        Ok(())
    })?;
    Ok((batches.into_inner().unwrap(), report))
}

#[test]
fn every_row_once_with_any_number_of_readers() {
    require!(Capability::Server);
    let database = database("crew", TABLE);
    let rows = expected(&database, "SELECT * FROM e");
    for n_readers in [1, 2, 3, 8] {
        let run = source(&database).table("e").options(pages(n_readers)).open().unwrap();
        let n_slices = run.plan().n_slices();
        assert!(n_slices > 400, "{n_slices} slices of one page");
        let (batches, report) = collect(run).unwrap();
        assert_eq!(report.slices, n_slices as u64);
        assert_eq!(report.readers.len(), n_readers);
        assert!(sorted(&batches) == rows, "{n_readers} readers");
    }
    wait_until_no_sessions(&database);
}

#[test]
fn for_each_gets_all_batches_in_the_calling_thread() {
    require!(Capability::Server);
    let database = database("calling", TABLE);
    let here = std::thread::current().id();
    let mut ids = HashSet::new();
    let run = source(&database).table("e").columns(["id"]).options(pages(3)).open().unwrap();
    run.for_each(|batch| {
        assert_eq!(std::thread::current().id(), here);
        for row in render::rows(&[batch]) {
            assert!(ids.insert(row[0].clone().unwrap()), "a row came twice");
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(ids.len(), 30_000);
}

#[test]
fn in_order_they_come_as_from_one_stream() {
    require!(Capability::Server);
    let database = database("order", TABLE);
    let one = read(source(&database).table("e").options(ExportOptions::default().with_readers(1))).unwrap();
    for n_readers in [2, 5] {
        let options = pages(n_readers).with_order(true);
        let many = read(source(&database).table("e").options(options.clone())).unwrap();
        assert!(many.lines() == one.lines(), "{n_readers} readers, as a stream");
        let mut batches = Vec::new();
        let run = source(&database).table("e").options(options).open().unwrap();
        run.for_each(|batch| {
            batches.push(batch);
            Ok(())
        })
        .unwrap();
        assert!(render::rows(&batches) == render::rows(&one.batches), "{n_readers} readers, by callback");
    }
}

#[test]
fn rows_by_select_and_by_cursor_are_those_by_copy() {
    require!(Capability::Server);
    let database = database("modes", TABLE);
    let rows = expected(&database, "SELECT * FROM e");
    for mode in [ReadMode::Auto, ReadMode::Copy, ReadMode::Select, ReadMode::Cursor] {
        for options in [ExportOptions::default().with_readers(1), pages(2)] {
            let run = source(&database).table("e").options(options.with_read_mode(mode)).open().unwrap();
            let (batches, report) = collect(run).unwrap();
            assert!(sorted(&batches) == rows, "{mode:?}");
            let used = if mode == ReadMode::Auto { ReadMode::Copy } else { mode };
            assert_eq!(report.read_mode, used);
        }
        let options = ExportOptions::default().with_read_mode(mode);
        let empty = read(source(&database).query("SELECT 1 AS a WHERE false").options(options)).unwrap();
        assert_eq!((empty.n_rows(), empty.schema.fields().len()), (0, 1), "{mode:?}");
    }
}

/// Writers move amounts from row to row, VACUUM runs, and a session constantly tries to change the table.
#[test]
fn one_moment_whatever_others_do() {
    require!(Capability::Server);
    let database = database(
        "moment",
        "CREATE TABLE e (id int4, amount int8, pad text) WITH (fillfactor = 60, autovacuum_enabled = off); \
         INSERT INTO e SELECT g, 1000, repeat('x', 200) FROM generate_series(1, 2000) AS g; ANALYZE e",
    );
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let transfers = |seed: i32| {
            let mut client = database.client();
            while !is_over.load(Ordering::SeqCst) {
                let sql = format!(
                    "BEGIN; SELECT setseed({seed} / 100.0 + random() / 2); \
                     UPDATE e SET amount = amount - 7 WHERE id = (random() * 1999)::int + 1; \
                     UPDATE e SET amount = amount + 7 WHERE ctid = (SELECT ctid FROM e ORDER BY random() LIMIT 1); \
                     INSERT INTO e SELECT 5000 + (random() * 100)::int, 0, 'new'; \
                     DELETE FROM e WHERE id >= 5000 AND amount = 0 AND random() < 0.3; COMMIT"
                );
                // Two writers may conflict.
                if client.batch_execute(&sql).is_err() {
                    client.batch_execute("ROLLBACK").unwrap();
                }
            }
        };
        scope.spawn(move || transfers(1));
        scope.spawn(move || transfers(2));
        scope.spawn(|| {
            let mut client = database.client();
            while !is_over.load(Ordering::SeqCst) {
                client.batch_execute("VACUUM e").unwrap();
            }
        });
        scope.spawn(|| {
            let mut client = database.client();
            client.batch_execute("SET lock_timeout = '3ms'").unwrap();
            while !is_over.load(Ordering::SeqCst) {
                // Mostly locked out; sometimes it succeeds between two exports.
                let _ = client.batch_execute("TRUNCATE ONLY e RESTART IDENTITY; ROLLBACK");
                let _ = client.batch_execute("BEGIN; ALTER TABLE e ALTER amount TYPE int8; ROLLBACK");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let source = source(&database);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for repetition in 0..40 {
                let columns = ["id", "amount"];
                let mut run = source.table("e").columns(columns).options(pages(3)).open().unwrap();
                let snapshot = run.slices().unwrap()[0].snapshot.clone().unwrap().exported;
                let mut control = oracle(&database);
                control
                    .batch_execute(&format!(
                        "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'"
                    ))
                    .unwrap();
                let mut rows: Vec<String> = server_text(&mut control, "SELECT id, amount FROM e")
                    .into_iter()
                    .map(|row| format!("{row:?}"))
                    .collect();
                rows.sort_unstable();
                let (batches, _) = collect(run).unwrap();
                assert!(sorted(&batches) == rows, "repetition {repetition}");
            }
        }));
        is_over.store(true, Ordering::SeqCst);
        done.unwrap();
    });
}

#[test]
fn fewer_connections_than_readers() {
    require!(Capability::Server);
    let database = database("fewer", TABLE);
    let rows = expected(&database, "SELECT * FROM e");
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON e TO \"{}\"", role.name));
    for limit in [1, 2, 3] {
        database.execute(&format!("ALTER ROLE \"{}\" CONNECTION LIMIT {limit}", role.name));
        // On a busy machine, those that are there may have read all before another one is refused.
        let is_said = (0..10).any(|_| {
            let run = source_as(&database, &role.name).table("e").options(pages(4)).open().unwrap();
            let (batches, report) = collect(run).unwrap();
            assert!(sorted(&batches) == rows, "a limit of {limit}");
            wait_until_no_sessions(&database);
            report.warnings.iter().any(|warning| warning.contains("fewer connections"))
        });
        assert!(is_said, "a limit of {limit}");
    }
}

#[test]
fn the_first_failure_is_the_one_that_is_told() {
    require!(Capability::Server);
    let database = database(
        "failure",
        "CREATE TABLE e AS SELECT g AS id, date '2020-01-01' + g AS d, repeat('x', 500) AS t \
         FROM generate_series(1, 20000) AS g; UPDATE e SET d = 'infinity' WHERE id = 10000",
    );
    let run = source(&database).table("e").options(pages(4)).open().unwrap();
    let error = collect(run).unwrap_err();
    assert_error(
        &error,
        ErrorKind::Value,
        None,
        &["public.e", "\"d\"", "date", "from ctid (", "rows like it: SELECT"],
    );
    wait_until_no_sessions(&database);
}

#[test]
fn a_callback_that_fails_stops_all_readers() {
    require!(Capability::Server);
    let database = database("callback", TABLE);
    let wish = || Error::new(ErrorKind::Sink, "enough");
    let run = source(&database).table("e").options(pages(4)).open().unwrap();
    assert_error(&run.for_each(|_| Err(wish())).unwrap_err(), ErrorKind::Sink, None, &["enough"]);
    let run = source(&database).table("e").options(pages(4)).open().unwrap();
    let error = run.for_each_concurrently(|_| Err(wish())).unwrap_err();
    assert_error(&error, ErrorKind::Sink, None, &["enough"]);
    wait_until_no_sessions(&database);
}

/// The proxy's connections: 0 is the keeper's, from 1 on the readers'.
fn through(proxy: &Proxy, database: &Database) -> Source {
    let url = with_parameter(&proxy.url_of(&url(database)), "sslmode=disable");
    Source::connect_blocking(&url).unwrap()
}

#[test]
fn a_reader_that_loses_its_connection_goes_on_where_it_was() {
    require!(Capability::PrivateServer);
    let database = database("lost", TABLE);
    let rows = expected(&database, "SELECT * FROM e");
    let port = TestServer::shared().private().unwrap().port();
    let mut n_redone = 0;
    // While it logs in, while it takes over the snapshot, and in the middle of slices.
    for n_bytes in (300..500).step_by(40).chain((10_000..2_000_000).step_by(190_000)) {
        let server = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let proxy = Proxy::start_with(server, move |connection| match connection {
            1 => Fault::ResetAfterServerBytes(n_bytes),
            _ => Fault::None,
        });
        // Large slices and small batches: rows were handed out before the fault.
        let options = ExportOptions::default().with_readers(2).with_slice_bytes(1 << 20).with_batch_rows(500);
        let run = through(&proxy, &database).table("e").options(options).open().unwrap();
        match collect(run) {
            Ok((batches, report)) => {
                assert!(sorted(&batches) == rows, "after {n_bytes} bytes");
                n_redone += report.slices_redone;
            }
            // Without a slice begun, the run may fail instead.
            Err(error) => assert!(n_bytes < 10_000 && error.is_transient(), "{n_bytes}: {error}"),
        }
    }
    assert!(n_redone >= 5, "{n_redone} slices were read again");
}

#[test]
fn retries_have_an_end() {
    require!(Capability::PrivateServer);
    let database = database("retries", TABLE);
    let port = TestServer::shared().private().unwrap().port();
    let server = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let proxy = Proxy::start_with(server, |connection| match connection {
        0 => Fault::None,
        _ => Fault::CloseAfterServerBytes(50_000),
    });
    let options = ExportOptions::default().with_readers(2).with_slice_bytes(1 << 20).with_retries(1);
    let run = through(&proxy, &database).table("e").options(options).open().unwrap();
    let error = collect(run).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    wait_until_no_sessions(&database);
}

#[test]
fn without_its_keeper_an_export_fails() {
    require!(Capability::Server);
    let database = database("keeperless", TABLE);
    let run = source(&database).table("e").options(pages(2)).open().unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL AND application_name = 'pgarrow_test'";
    let is_killed = AtomicBool::new(false);
    let error = run
        .for_each_concurrently(|_| {
            if !is_killed.swap(true, Ordering::SeqCst) {
                let mut client = database.client();
                let sql = format!("{kill} AND state = 'idle in transaction' AND query LIKE '%snapshot%'");
                client.batch_execute(&sql).unwrap();
            }
            // Long enough for a look at the keeper.
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        })
        .unwrap_err();
    assert!(error.to_string().contains("snapshot"), "{error}");
    wait_until_no_sessions(&database);
}

#[test]
fn somebody_who_waits_to_lock_the_table_stops_no_export() {
    require!(Capability::Server);
    let database = database("queued", TABLE);
    let rows = expected(&database, "SELECT * FROM e");
    let run = source(&database).table("e").options(pages(3)).open().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| database.client().batch_execute("ALTER TABLE e ADD COLUMN x int4"));
        wait_until("the ALTER TABLE waits", || {
            let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'e'::regclass";
            server_text(&mut oracle(&database), sql)[0][0].as_deref() == Some("1")
        });
        let started = Instant::now();
        let (batches, report) = collect(run).unwrap();
        assert!(sorted(&batches) == rows);
        assert!(
            report.warnings.iter().any(|warning| warning.contains("exclusively")),
            "{:?}",
            report.warnings
        );
        assert!(started.elapsed() < Duration::from_secs(8), "nobody waits for a lock that nobody will give");
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn what_cannot_be_locked_is_held_and_read_by_all() {
    require!(Capability::Server);
    let database =
        database("held", &format!("{TABLE}; CREATE MATERIALIZED VIEW m AS SELECT * FROM e; ANALYZE m"));
    let rows = expected(&database, "SELECT * FROM e");
    let run = source(&database).table("m").options(pages(3)).open().unwrap();
    assert!(run.plan().n_slices() > 100, "{}", run.plan().slicing());
    database.execute("DELETE FROM e");
    let refresh = database.client().batch_execute("SET lock_timeout = '50ms'; REFRESH MATERIALIZED VIEW m");
    assert_eq!(refresh.unwrap_err().code().unwrap().code(), "55P03");
    let (batches, _) = collect(run).unwrap();
    assert!(sorted(&batches) == rows);
}

#[test]
fn a_snapshot_that_cannot_be_shared_is_an_error_unless_asked_for() {
    require!(Capability::Server);
    let database = database("unshared", TABLE);
    let rows = expected(&database, "SELECT * FROM e");
    let role = Role::new(&database);
    database.execute(&format!(
        "GRANT SELECT ON e TO \"{}\"; REVOKE EXECUTE ON FUNCTION pg_catalog.pg_export_snapshot() FROM PUBLIC",
        role.name
    ));
    let run = source_as(&database, &role.name).table("e").options(pages(3)).open().unwrap();
    assert_eq!(collect(run).unwrap_err().sqlstate(), Some("42501"));
    let options = pages(3).with_inconsistent(true);
    let run = source_as(&database, &role.name).table("e").options(options).open().unwrap();
    let (batches, report) = collect(run).unwrap();
    assert!(sorted(&batches) == rows);
    assert!(
        report.warnings.iter().any(|warning| warning.contains("different moments")),
        "{:?}",
        report.warnings
    );
}

#[test]
fn slices_are_read_elsewhere_while_the_snapshot_is_held() {
    require!(Capability::Server);
    let database = database("tokens", TABLE);
    let rows = expected(&database, "SELECT * FROM e WHERE b < 5");
    let here = source(&database);
    let options = ExportOptions::default().with_slice_bytes(1 << 20);
    let mut run = here.table("e").filter("e.b < 5").options(options).open().unwrap();
    let tokens: Vec<String> = run.slices().unwrap().iter().map(|slice| slice.to_json().unwrap()).collect();
    assert!(tokens.len() > 3);
    database.execute("DELETE FROM e WHERE id % 2 = 0; INSERT INTO e SELECT -1, 1, 'new', 0");
    let is_read = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let holding = scope.spawn(|| run.hold(|| !is_read.load(Ordering::SeqCst)));
        let there = source(&database);
        let mut batches = Vec::new();
        for token in &tokens {
            let export = read(there.slice(Slice::from_json(token).unwrap())).unwrap();
            batches.extend(export.batches);
        }
        assert!(sorted(&batches) == rows);
        // A slice of another server, or of the same server before a restart.
        let mut slice = Slice::from_json(&tokens[0]).unwrap();
        slice.source.server_started = "2020-01-01 00:00:00+00".to_owned();
        let error = read(there.slice(slice)).unwrap_err();
        assert_error(&error, ErrorKind::Server, None, &["another server"]);
        let mut slice = Slice::from_json(&tokens[0]).unwrap();
        slice.schema_fingerprint = "0".repeat(64);
        read(there.slice(slice)).unwrap_err();
        is_read.store(true, Ordering::SeqCst);
        holding.join().unwrap().unwrap();
    });
    let late = Slice::from_json(&tokens[0]).unwrap();
    let error = read(source(&database).slice(late)).unwrap_err();
    assert!(error.to_string().contains("snapshot"), "{error}");
}

#[test]
fn a_query_is_split_on_a_column() {
    require!(Capability::Server);
    let database = database("split", TABLE);
    let sql = "SELECT n, id, t AS id2 FROM e WHERE b <> 3";
    let rows = expected(&database, sql);
    for column in ["id", "id2"] {
        let options = ExportOptions::default().with_readers(3).with_split_on(column);
        let run = source(&database).query(sql).options(options).open().unwrap();
        assert!(run.plan().n_slices() > 2, "{}", run.plan().slicing());
        let (batches, _) = collect(run).unwrap();
        assert!(sorted(&batches) == rows, "{column}");
    }
    let run = source(&database).query(sql).open().unwrap();
    assert_eq!(run.plan().n_slices(), 1);
    assert!(run.plan().slicing().contains("option split_on"), "{}", run.plan().slicing());
}

#[test]
fn tables_that_a_query_reads_are_locked_before_the_snapshot() {
    require!(Capability::Server);
    let database = database("querylock", &format!("{TABLE}; CREATE VIEW v AS SELECT * FROM e"));
    let run = source(&database).query("SELECT count(*) FROM v").open().unwrap();
    let truncate = database.client().batch_execute("SET lock_timeout = '50ms'; TRUNCATE e");
    assert_eq!(truncate.unwrap_err().code().unwrap().code(), "55P03");
    let (batches, _) = collect(run).unwrap();
    assert_eq!(render::rows(&batches), [[Some("30000".to_owned())]]);
}

#[test]
fn many_tables_are_of_one_moment() {
    require!(Capability::Server);
    let database = database(
        "many",
        "CREATE SCHEMA s; DO $$ BEGIN FOR i IN 1..60 LOOP EXECUTE format('CREATE TABLE s.t%s AS SELECT g AS a, \
         %s AS b FROM generate_series(1, %s) AS g', i, i, i * 10); END LOOP; END $$; \
         CREATE TABLE s.p (a int4, b int4) PARTITION BY HASH (a); \
         CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE s.p2 PARTITION OF s.p FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
         INSERT INTO s.p SELECT g, 0 FROM generate_series(1, 1000) AS g",
    );
    let run = source(&database)
        .tables(["s.t1"])
        .schema("s")
        .options(ExportOptions::default().with_readers(3))
        .open()
        .unwrap();
    assert_eq!(run.plans().len(), 61, "each table once, partitions with their parent");
    database.execute("DELETE FROM s.t7; INSERT INTO s.t8 VALUES (0, 0)");
    let counts: Vec<_> = run.plans().iter().map(|_| std::sync::atomic::AtomicUsize::new(0)).collect();
    let report = run
        .for_each_with_plan(|plan_index, batch| {
            counts[plan_index].fetch_add(batch.num_rows(), Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    for (table, count) in report.tables.iter().zip(&counts) {
        let number: Option<u64> = table.table.strip_prefix("s.t").and_then(|number| number.parse().ok());
        let rows = number.map_or(1000, |number| number * 10);
        assert_eq!((table.rows, count.load(Ordering::Relaxed) as u64), (rows, rows), "{}", table.table);
    }
    wait_until_no_sessions(&database);
}

#[test]
fn a_cancel_stops_all_readers() {
    require!(Capability::Server);
    let database = database("cancelled", TABLE);
    let run = source(&database).table("e").options(pages(3)).open().unwrap();
    let cancel = run.cancel().clone();
    let error = run
        .for_each_concurrently(|_| {
            cancel.cancel();
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    wait_until_no_sessions(&database);
}

#[test]
fn a_stream_that_is_dropped_stops_all_readers() {
    require!(Capability::Server);
    let database = database("dropped", TABLE);
    for ordered in [false, true] {
        let options = pages(3).with_order(ordered);
        let mut reader = source(&database).table("e").options(options).reader().unwrap();
        reader.next().unwrap().unwrap();
        drop(reader);
        wait_until_no_sessions(&database);
    }
}

#[test]
fn the_report_says_where_the_time_went() {
    require!(Capability::Server);
    let database = database("phases", TABLE);
    let run = source(&database).table("e").options(pages(2)).open().unwrap();
    let (_, report) = collect(run).unwrap();
    let phases = report.phases;
    assert!(phases.connect > 0.0 && phases.plan > 0.0 && phases.decode > 0.0, "{phases:?}");
    assert!(phases.wait_for_server + phases.receive > 0.0 && phases.commit > 0.0, "{phases:?}");
    let of_readers: f64 = report.readers.iter().map(|reader| reader.phases.decode).sum();
    assert!((of_readers - phases.decode).abs() < 1e-9);
    assert_eq!(report.readers.iter().map(|reader| reader.rows).sum::<u64>(), 30_000);
    assert!(report.memory.peak_bytes > 0 && report.memory.peak_bytes <= report.memory.limit_bytes);
    let json = serde_json::to_value(&report).unwrap();
    assert!(json["phases"]["decode"].as_f64().unwrap() > 0.0 && json["limit"].is_string());
}

/// What a tracing subscriber of an embedding program receives.
#[derive(Clone, Default)]
struct Heard(std::sync::Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_embedding_program_sees_spans() {
    require!(Capability::Server);
    // The subscriber belongs to the whole process: readers have threads of their own.
    if !crate::support::is_alone("readers::an_embedding_program_sees_spans") {
        return;
    }
    let heard = Heard::default();
    let writer = heard.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let database = database("spans", TABLE);
    let run = source(&database).table("e").options(pages(2)).open().unwrap();
    let n_slices = run.plan().n_slices();
    collect(run).unwrap();
    let text = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
    let of_slices =
        |line: &&str| line.contains(":slice{") && line.contains("close") && line.contains("rows=");
    assert_eq!(text.lines().filter(of_slices).count(), n_slices, "{text:.2000}");
    for part in ["plan: ", "reader{reader_index=1}", "reader finished", "decode=", "export finished"] {
        assert!(text.contains(part), "{part}: {text:.2000}");
    }
}
