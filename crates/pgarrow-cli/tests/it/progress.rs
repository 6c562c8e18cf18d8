//! What is shown of the progress: lines of JSON, and the live view of a terminal.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::pty::{Winsize, openpty};
use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use crate::support::{Place, command, end_of, eventually, run, start};

/// A table, and a view that cannot be read as long as somebody else has the lock. A reader gives up a lock
/// after 10 s, but not this one: a machine with much to do may need longer.
const TABLES: &str = "CREATE TABLE a AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 5000) AS g; \
     CREATE FUNCTION wait() RETURNS bool LANGUAGE sql VOLATILE SET lock_timeout = 0 AS \
         'SELECT pg_advisory_lock_shared(7) IS NULL'; \
     CREATE VIEW held AS SELECT wait() AS a; ANALYZE";

/// The objects among the lines.
fn objects<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Value> {
    lines.filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every path of an object's fields is in the page of reports.
#[track_caller]
fn assert_documented(object: &Value) {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/report.md")).unwrap();
    let (_, page) = page.split_once("## While a run reads").unwrap();
    let mut paths: Vec<String> = Vec::new();
    for (name, value) in object.as_object().unwrap() {
        let inner = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        let many = if value.is_array() { "[]" } else { "" };
        match inner.as_object() {
            Some(fields) => paths.extend(fields.keys().map(|field| format!("{name}{many}.{field}"))),
            None => paths.push(format!("{name}{many}")),
        }
    }
    for path in paths {
        assert!(page.contains(&format!("`{path}`")), "{path} is not in docs/src/report.md");
    }
}

#[test]
fn lines_of_json_while_it_reads_and_the_last_one_is_the_report() {
    require!(Capability::Server);
    let place = Place::new("progress_json");
    place.database.execute(TABLES);
    let mut holder = place.database.client();
    holder.execute("SELECT pg_advisory_lock(7)", &[]).unwrap();
    let args = ["a", "held", "-o", "out/", "--readers", "2", "--progress", "json", "--report", "r.json"];
    let mut child = start(&mut place.export_command(&args));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    // The table is complete, and the view is begun.
    let seen = lines.by_ref().find_map(|line| {
        let object = objects([line.as_str()].into_iter()).pop()?;
        (object["tables"] == 1 && object["reading"][0]["table"] == "public.held").then_some(object)
    });
    let seen = seen.unwrap();
    assert_documented(&seen);
    assert_eq!((&seen["event"], &seen["is_last"]), (&"progress".into(), &false.into()));
    assert_eq!((&seen["rows"], &seen["tables_total"]), (&5000.into(), &2.into()), "{seen}");
    let reading = &seen["reading"][0];
    assert_eq!(
        (&reading["rows"], &reading["slices"], &reading["slices_total"]),
        (&0.into(), &0.into(), &1.into())
    );
    assert!(
        seen["memory_peak_bytes"].as_u64().unwrap() > 0 && reading["seconds"].as_f64().unwrap() > 0.0,
        "{seen}"
    );
    holder.execute("SELECT pg_advisory_unlock(7)", &[]).unwrap();

    let rest: Vec<String> = lines.collect();
    assert!(end_of(child, 60).code == Some(0), "{rest:?}");
    let objects = objects(rest.iter().map(String::as_str));
    let (last, before) = objects.split_last().unwrap();
    assert!(last["is_last"] == true && before.iter().all(|object| object["is_last"] == false), "{rest:?}");
    assert_documented(last);
    let report: Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    for field in ["rows", "wire_bytes", "batches", "slices"] {
        assert_eq!(last[field], report[field], "{field}");
    }
    for (field, of_report) in [
        ("memory_peak_bytes", "peak_bytes"),
        ("memory_waits", "waits"),
        ("buffers_allocated", "buffers_allocated"),
        ("buffers_reused", "buffers_reused"),
    ] {
        assert_eq!(last[field], report["memory"][of_report], "{field}");
    }
    for wait in ["server", "sink", "memory"] {
        let reported = report["phases"][format!("wait_for_{wait}")].as_f64().unwrap();
        assert!((last["waits"][wait].as_f64().unwrap() - reported).abs() < 1e-6, "{wait}: {last}");
    }
    assert_eq!(
        (&last["rows"], &last["tables"], &last["reading"]),
        (&5001.into(), &2.into(), &Value::Array(vec![]))
    );
    assert!(last["seconds_left"].is_null() && last["memory_bytes"] == 0, "{last}");
    // What was read while the view was waited for counts as its time, whichever began first.
    let seconds = |seconds: &Value| seconds.as_f64().unwrap();
    let of_view = seconds(&report["tables"][1]["seconds"]);
    assert!(of_view >= seconds(&reading["seconds"]), "{report}");
    assert!(seconds(&report["tables"][0]["seconds"]) > 0.0, "{report}");
}

#[test]
fn a_load_has_lines_of_json_too_and_quiet_leaves_only_them() {
    require!(Capability::Server);
    let place = Place::new("progress_load");
    place.database.execute(TABLES);
    place.export(&["a", "-o", "a.parquet", "--quiet"]).assert_success();
    let load = |args: &[&str]| {
        let target =
            ["--target", place.database.url(), "--into", "public.b", "--report", "r.json", "--overwrite"];
        let ran = run(command(place.folder.path()).args(["load", "a.parquet"]).args(target).args(args));
        ran.assert_success();
        ran
    };
    let ran = load(&["--mode", "create", "--progress", "json", "--quiet"]);
    let objects = objects(ran.stderr.lines());
    assert_eq!(objects.len(), ran.stderr.lines().count(), "{}", ran.stderr);
    let last = objects.last().unwrap();
    assert_documented(last);
    let report: Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    assert_eq!((&last["is_last"], &last["rows"]), (&true.into(), &5000.into()));
    assert_eq!((&last["rows"], &last["wire_bytes"]), (&report["rows"], &report["wire_bytes"]));
    assert_eq!((&last["stage"], &last["rows_expected"]), (&"committed".into(), &5000.into()), "{last}");
    // Without a wish, and with none: no JSON.
    for args in [&["--mode", "append"][..], &["--mode", "append", "--progress", "none"]] {
        assert!(!load(args).stderr.contains('{'));
    }
}

/// A failed run says how far it came, as its last object.
#[test]
fn a_failed_run_ends_with_a_last_line_before_its_error() {
    require!(Capability::Server);
    let place = Place::new("progress_failed");
    let args = ["-q", "select 1 / (g - 500) as a from generate_series(1, 1000) g", "--to", "none"];
    let ran = place.export(&[&args[..], &["--progress", "json"]].concat());
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let last = objects(lines.iter().copied()).pop().unwrap();
    assert_eq!((&last["is_last"], &last["tables"]), (&true.into(), &0.into()));
    assert!(lines.last().unwrap().contains("division by zero"), "{lines:?}");
}

/// The program on a terminal of this size.
struct Terminal {
    shown: Arc<Mutex<String>>,
    reading: thread::JoinHandle<()>,
}

impl Terminal {
    fn start(command: &mut std::process::Command, ws_row: u16, ws_col: u16) -> (Self, std::process::Child) {
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let child = command
            .env("TERM", "xterm")
            .stdout(Stdio::null())
            .stderr(Stdio::from(pty.slave))
            .spawn()
            .unwrap();
        // The command has a handle of the terminal, which must not stay open.
        command.stderr(Stdio::null());
        let shown = Arc::<Mutex<String>>::default();
        let to = Arc::clone(&shown);
        let mut master = File::from(pty.master);
        let reading = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // At the end of all writers, Linux says EIO.
            while let Ok(n @ 1..) = master.read(&mut buffer) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        (Self { shown, reading }, child)
    }

    fn has(&self, text: &str) -> bool {
        self.shown.lock().unwrap().contains(text)
    }

    fn end(self) -> String {
        self.reading.join().unwrap();
        self.shown.lock().unwrap().clone()
    }
}

#[test]
fn a_terminal_shows_the_tables_that_are_being_read_and_the_whole() {
    require!(Capability::Server);
    let place = Place::new("progress_live");
    place.database.execute(TABLES);
    let mut holder = place.database.client();
    holder.execute("SELECT pg_advisory_lock(7)", &[]).unwrap();
    let args = ["a", "held", "-o", "out/", "--readers", "2"];
    let (terminal, child) = Terminal::start(&mut place.export_command(&args), 24, 120);
    eventually("the live view", || {
        terminal.has("public.held  0 of 1 slice, 0 rows, 0 rows/s")
            && terminal.has("5,000 rows, ")
            && terminal.has("1 of 2 tables")
    });
    holder.execute("SELECT pg_advisory_unlock(7)", &[]).unwrap();
    assert_eq!(end_of(child, 60).code, Some(0));
    // What stays is the result. A view may still be drawn while the last table ends: only what is
    // on the screen at the end counts.
    let shown = terminal.end();
    let mut screen = vt100::Parser::new(24, 120, 0);
    screen.process(shown.as_bytes());
    let stays = screen.screen().contents();
    assert!(stays.contains("2 tables: 5,001 rows"), "{stays}\n{shown:?}");
    assert!(!stays.contains("of 1 slice,") && !stays.contains("of 2 tables"), "{stays}\n{shown:?}");
}

#[test]
fn a_terminal_with_few_lines_still_shows_the_whole() {
    require!(Capability::Server);
    let place = Place::new("progress_low");
    place.database.execute(TABLES);
    let names = ["v1", "v2", "v3", "v4"];
    for name in names {
        place.database.execute(&format!("CREATE VIEW {name} AS SELECT * FROM held"));
    }
    let mut holder = place.database.client();
    holder.execute("SELECT pg_advisory_lock(7)", &[]).unwrap();
    let args = [&names[..], &["-o", "out/", "--readers", "4"]].concat();
    let (terminal, child) = Terminal::start(&mut place.export_command(&args), 4, 100);
    eventually("the live view", || terminal.has("and 3 more tables") && terminal.has("0 of 4 tables"));
    holder.execute("SELECT pg_advisory_unlock(7)", &[]).unwrap();
    assert_eq!(end_of(child, 60).code, Some(0));
    assert!(!terminal.end().contains("and 4 more tables"));
}
