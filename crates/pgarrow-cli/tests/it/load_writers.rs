//! Loads by several connections: the same rows as by one connection, or nothing, and nothing left behind.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

use crate::loads::fingerprint;
use crate::signals::send;
use crate::support::{Place, assert_cancelled, command, end_of, eventually, start};

/// Several buffers for each writer.
const SOURCE: &str = "CREATE TABLE src (id int8 PRIMARY KEY, note text NOT NULL, amount numeric(12,2), day date); \
    INSERT INTO src SELECT g, repeat(md5(g::text), 2), g / 7.0, '2000-01-01'::date + g % 9000 \
    FROM generate_series(1, 60000) g; ANALYZE src; CREATE TABLE t (LIKE src INCLUDING ALL); INSERT INTO t VALUES (-1, 'was')";

/// The number of tables beside the target.
fn hidden(database: &Database) -> i64 {
    let sql = "SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_pgarrow\\_%' AND relkind = 'r'";
    database.client().query_one(sql, &[]).unwrap().get(0)
}

fn oid(database: &Database) -> u32 {
    database.client().query_one("SELECT 't'::regclass::oid", &[]).unwrap().get(0)
}

/// A load that has sent all but the end of its rows, and waits for more.
fn waiting(place: &Place, mode: &str) -> (Child, ChildStdin) {
    let args = ["-", "--into", "t", "--mode", mode, "--writers", "3"];
    let mut child = start(place.load_command(&args).stdin(Stdio::piped()));
    let bytes = fs::read(place.path("src.arrows")).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&bytes[..bytes.len() - 8]).unwrap();
    eventually("the COPYs run", || place.counts("state = 'active' AND query LIKE 'COPY%'") == 3);
    (child, stdin)
}

fn place(hint: &str) -> Place {
    let place = Place::new(hint);
    place.database.execute(SOURCE);
    place.export(&["-t", "src", "-o", "src.arrows", "--quiet"]).assert_success();
    place
}

#[test]
fn files_and_servers_whatever_the_readers_and_writers() {
    require!(Capability::Server);
    let place = place("writers_cli");
    place.export(&["-t", "src", "-o", "src.parquet", "--quiet"]).assert_success();
    let target = TestServer::shared().fresh_database("writers_cli_target");
    target.execute("CREATE TABLE t (id int8, note text, amount numeric(12,2), day date)");
    let expected = fingerprint(&place.database, "src");
    for writers in ["1", "2", "4"] {
        for (file, mode) in [("src.arrows", "truncate"), ("src.parquet", "replace")] {
            let args =
                ["--into", "t", "--mode", mode, "--writers", writers, "--report", "r.json", "--overwrite"];
            let ran = place.load(&[&[file], &args[..]].concat());
            ran.assert_success();
            assert_eq!(fingerprint(&place.database, "t"), expected, "{file} {writers}");
            let report: serde_json::Value =
                serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
            assert!(report["rows_per_batch"].as_f64() > Some(0.0), "{report}");
            let of_writers = report["writers"].as_array().unwrap();
            let n_writers = if writers == "1" { 0 } else { writers.parse().unwrap() };
            assert_eq!(of_writers.len(), n_writers, "{report}");
            assert_eq!(
                ran.stderr.contains(&format!("\n{writers} writers: ")),
                n_writers > 0,
                "{}",
                ran.stderr
            );
            if n_writers > 0 {
                let rows: u64 = of_writers.iter().map(|writer| writer["rows"].as_u64().unwrap()).sum();
                assert_eq!(rows, 60_000, "{report}");
            }
        }
        for readers in ["1", "4"] {
            let to = ["--to", "postgres", "--target", target.url(), "--into", "t", "--mode", "truncate"];
            let ran = place.export(
                &[&["-t", "src", "--slice-bytes", "1M", "--readers", readers, "--writers", writers], &to[..]]
                    .concat(),
            );
            ran.assert_success();
            assert_eq!(fingerprint(&target, "t"), expected, "{readers} {writers}");
        }
    }
    assert_eq!((hidden(&place.database), hidden(&target)), (0, 0));
    // A dry run takes back all that it tries.
    let before = oid(&place.database);
    let ran = place.load(&["src.parquet", "--into", "t", "--mode", "replace", "--writers", "2", "--dry-run"]);
    ran.assert_success();
    assert!(ran.stdout_text().contains(": 60,000 rows\n"), "{}", ran.stdout_text());
    assert_eq!((oid(&place.database), hidden(&place.database)), (before, 0));
    let args = ["-t", "src", "--ordered", "--writers", "2", "--to", "postgres", "--into", "t"];
    place.export(&args).assert_refused(2, &["--ordered"]);
    let ran = place.load(&["src.parquet", "--into", "t", "--writers", "0"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn a_signal_leaves_the_target_as_it_was() {
    require!(Capability::Server);
    let place = place("writers_signal");
    let before = (fingerprint(&place.database, "t"), oid(&place.database));
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        for mode in ["append", "truncate", "replace"] {
            let (child, stdin) = waiting(&place, mode);
            assert_eq!(hidden(&place.database), 1);
            send(&child, signal);
            let ran = end_of(child, 10);
            assert_eq!(ran.code, Some(code), "{ran:?}");
            assert_cancelled(&ran, signal.as_str());
            assert!(ran.stderr.ends_with("; nothing was loaded\n"), "{}", ran.stderr);
            drop(stdin);
            eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);
            assert_eq!((fingerprint(&place.database, "t"), oid(&place.database)), before, "{mode}");
            assert_eq!(hidden(&place.database), 0, "{mode}");
        }
    }
}

#[test]
fn what_a_killed_load_leaves_the_next_one_removes() {
    require!(Capability::Server);
    let place = place("writers_killed_cli");
    let before = (fingerprint(&place.database, "t"), oid(&place.database));
    let expected = fingerprint(&place.database, "src");
    for (mode, next) in [("append", "truncate"), ("replace", "replace"), ("truncate", "replace")] {
        place.database.execute("TRUNCATE t; INSERT INTO t VALUES (-1, 'was')");
        let was = oid(&place.database);
        let (mut child, stdin) = waiting(&place, mode);
        child.kill().unwrap();
        child.wait().unwrap();
        drop(stdin);
        eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);
        assert_eq!(
            (fingerprint(&place.database, "t"), oid(&place.database)),
            (before.0.clone(), was),
            "{mode}"
        );
        assert_eq!(hidden(&place.database), 1, "{mode}");
        let ran = place.load(&["src.arrows", "--into", "t", "--mode", next, "--writers", "2"]);
        ran.assert_success();
        assert!(ran.stderr.contains("was removed, which a load before had left"), "{}", ran.stderr);
        assert_eq!(fingerprint(&place.database, "t"), expected);
        assert_eq!(hidden(&place.database), 0, "{mode} {next}");
    }
}

#[test]
fn a_writer_that_is_killed_and_a_row_that_one_is_refused() {
    require!(Capability::Server);
    let place = place("writers_lost");
    let before = (fingerprint(&place.database, "t"), oid(&place.database));
    for mode in ["append", "replace"] {
        let (child, mut stdin) = waiting(&place, mode);
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND query LIKE 'COPY %' AND state = 'active' ORDER BY pid LIMIT 1";
        assert!(place.database.client().query_one(sql, &[]).unwrap().get::<_, bool>(0));
        // The end of the rows: only the writer is missing.
        let bytes = fs::read(place.path("src.arrows")).unwrap();
        let _ = stdin.write_all(&bytes[bytes.len() - 8..]);
        drop(stdin);
        let ran = end_of(child, 20);
        assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
        assert!(ran.stderr.contains("nothing was loaded") && ran.stderr.contains("57P01"), "{}", ran.stderr);
        assert_eq!((fingerprint(&place.database, "t"), oid(&place.database), hidden(&place.database)), {
            let (rows, oid) = before.clone();
            (rows, oid, 0)
        });
    }
    place.database.execute("ALTER TABLE t ADD CHECK (id <> 59999)");
    for mode in ["append", "truncate", "replace", "upsert"] {
        let ran = place.load(&["src.arrows", "--into", "t", "--mode", mode, "--writers", "4"]);
        ran.assert_refused(4, &["23514", "public.t", "nothing was loaded"]);
        assert_eq!((fingerprint(&place.database, "t"), oid(&place.database)), before);
        assert_eq!(hidden(&place.database), 0, "{mode}");
    }
}

/// Before: the connection was lost at the last COMMIT, and while the load looked for leftovers, a second
/// Ctrl-C ended it with exit code 130 and no word of the rows, which were in the table.
#[test]
fn a_signal_after_an_answer_to_commit_was_lost() {
    require!(Capability::PrivateServer);
    let place = Place::new("writers_unknown");
    // The last COMMIT waits for the test.
    place.database.execute(
        "CREATE TABLE t (id int8, note text); \
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER f AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             WHEN (NEW.id = 1) EXECUTE FUNCTION f()",
    );
    let query = "select g::int8 as id, 'x' as note from generate_series(1, 5) g";
    place.export(&["-q", query, "-o", "rows.arrow", "--quiet"]).assert_success();
    let server = (Ipv4Addr::LOCALHOST, TestServer::shared().private().unwrap().port()).into();
    let is_lost = Arc::new(AtomicBool::new(false));
    let of_proxy = Arc::clone(&is_lost);
    let proxy = Proxy::start_with(server, move |_| match of_proxy.load(Ordering::SeqCst) {
        true => Fault::FreezeAfterServerBytes(0),
        false => Fault::None,
    });
    let mut other = place.database.client();
    other.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(4711)").unwrap();
    let mut load = command(place.folder.path());
    load.args(["load", "rows.arrow", "--into", "t", "--writers", "2"]);
    let mut child = start(load.args(["--target", &proxy.url_of(place.database.url())]));
    eventually("it commits", || place.counts("wait_event = 'advisory' AND query = 'COMMIT'") == 1);
    let connections = proxy.n_connections();
    is_lost.store(true, Ordering::SeqCst);
    proxy.reset_all();
    eventually("it connects once more", || proxy.n_connections() > connections);
    send(&child, Signal::SIGINT);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    stderr.read_line(&mut text).unwrap();
    assert_eq!(text, "pgarrow: cancelling…\n");
    send(&child, Signal::SIGINT);
    let ran = end_of(child, 15);
    stderr.read_to_string(&mut text).unwrap();
    assert_eq!(ran.code, Some(9), "{text}");
    assert!(text.contains("COMMIT was under way: the rows may be in the table or not"), "{text}");
    drop(proxy);
    other.batch_execute("COMMIT").unwrap();
    eventually("its session has ended", || place.database.n_sessions("pgarrow") == 0);
    assert_eq!((fingerprint(&place.database, "t").0, hidden(&place.database)), (5, 0));
}
