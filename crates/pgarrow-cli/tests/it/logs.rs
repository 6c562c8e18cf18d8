//! What programs read of a run: RUST_LOG and --log-format, in every command.

use pgarrow_testkit::{Capability, require};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Place, Ran, command, run};

/// Each line of stderr is a JSON object of its own.
fn lines(ran: &Ran) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    let lines: Vec<Value> = ran.stderr.lines().map(parse).collect();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
    }
    lines
}

fn count(lines: &[Value], message: &str) -> usize {
    lines.iter().filter(|line| line["message"] == message).count()
}

const ROWS: &str = "CREATE TABLE t AS SELECT g AS id, 'text ' || g AS name FROM generate_series(1, 20000) g";

/// Before, the program ignored RUST_LOG, and loads had no events.
#[test]
fn exports_and_loads_say_every_copy_and_commit() {
    require!(Capability::Server);
    let place = Place::new("events");
    place.database.execute(ROWS);
    let export =
        ["-t", "t", "--readers", "2", "--slice-bytes", "256K", "-o", "x.arrow", "--report", "r.json"];
    let ran = place.export(&[&export[..], &["--log-format", "json"]].concat());
    ran.assert_success();
    let said = lines(&ran);
    let report: Value = serde_json::from_slice(&std::fs::read(place.path("r.json")).unwrap()).unwrap();
    let slices = report["slices"].as_u64().unwrap();
    assert!(slices > 1);
    assert_eq!(count(&said, "slice read") as u64, slices, "{}", ran.stderr);
    assert_eq!((count(&said, "transaction ended"), count(&said, "export finished")), (1, 1));
    // The messages for people are there, too.
    let is_summary = |line: &Value| line["target"] == "pgarrow::console" && line["level"] == "INFO";
    let summary = said.iter().filter(|line| is_summary(line)).map(|line| line["message"].as_str().unwrap());
    assert!(summary.clone().any(|line| line.starts_with("public.t: 20,000 rows")), "{}", ran.stderr);

    let load = |args: &[&str]| {
        let load =
            ["load", "x.arrow", "--target", place.database.url(), "--into", "u", "--log-format", "json"];
        run(command(place.folder.path()).args(load).args(args))
    };
    let copies_and_commits = |ran: &Ran| {
        ran.assert_success();
        let said = lines(ran);
        assert_eq!(count(&said, "load finished"), 1, "{}", ran.stderr);
        (count(&said, "COPY ended"), count(&said, "INSERT ended"), count(&said, "committed"))
    };
    assert_eq!(copies_and_commits(&load(&["--mode", "create"])), (1, 0, 1));
    assert_eq!(copies_and_commits(&load(&["--method", "insert"])), (0, 1, 1));
    // Four parts, and one commit that creates the table of marks.
    let (copies, _, commits) = copies_and_commits(&load(&["--commit-every", "6000"]));
    assert!(copies == 4 && commits >= 4, "{copies} and {commits}");
    let (copies, _, commits) = copies_and_commits(&load(&["--writers", "2", "--mode", "replace"]));
    assert!(copies == 2 && commits >= 3, "{copies} and {commits}");
    // An error is an object as well, and the only one when quiet.
    let ran = load(&["--mode", "create", "-Q"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let said = lines(&ran);
    assert_eq!(said.len(), 1, "{}", ran.stderr);
    assert_eq!(said[0]["level"], "ERROR");
    assert!(said[0]["message"].as_str().unwrap().contains("already exists"), "{}", ran.stderr);
}

#[test]
fn rust_log_says_which_events_and_text_stays_text() {
    require!(Capability::Server);
    let place = Place::new("rust_log");
    place.database.execute(ROWS);
    let export = |filter: &str, args: &[&str]| {
        run(place.export_command(&["-t", "t", "--to", "none"]).args(args).env("RUST_LOG", filter))
    };
    let silent = export("", &[]);
    silent.assert_success();
    assert!(!silent.stderr.contains("INFO"), "{}", silent.stderr);
    for filter in ["info", "pgarrow=info", "warn,pgarrow=debug"] {
        let ran = export(filter, &[]);
        ran.assert_success();
        assert!(ran.stderr.contains("INFO") && ran.stderr.contains("slice read"), "{filter}: {}", ran.stderr);
        // The messages for people stay the same.
        assert!(ran.stderr.contains("\npublic.t: 20,000 rows"), "{filter}: {}", ran.stderr);
    }
    assert!(!export("other=trace", &[]).stderr.contains("slice read"));
    // Quiet does not hide events that the user asked for by name.
    let quiet = export("pgarrow=info", &["-Q"]);
    assert!(quiet.stderr.contains("slice read") && !quiet.stderr.contains("public.t: "), "{}", quiet.stderr);
    // With JSON, the filter is the same, and the messages for people are always there.
    let said = lines(&export("off", &["--log-format=json"]));
    assert!(said.iter().all(|line| line["target"] == "pgarrow::console") && !said.is_empty(), "{said:?}");
    // An invalid filter gives a warning, and stops nothing.
    let ran = export("pgarrow=loud", &[]);
    ran.assert_success();
    assert!(ran.stderr.contains("warning: RUST_LOG is not followed"), "{}", ran.stderr);
}

#[test]
fn every_command_takes_it() {
    require!(Capability::Server);
    let place = Place::new("every_command");
    place.database.execute("CREATE TABLE t (id int)");
    let url = place.database.url();
    for args in [
        &["plan", url, "t"][..],
        &["inspect", url, "t"],
        &["hold", url, "t", "--for", "1s", "--tokens", "tokens"],
        &["pages", "status", url, "t"],
        &["completions", "bash"],
        &["man"],
    ] {
        let ran = run(command(place.folder.path()).args(args).args(["--log-format", "json"]));
        ran.assert_success();
        lines(&ran);
    }
    // Planning is a span, so events within have it; every failure is JSON, too, also an error of usage.
    let folder = TempDir::new().unwrap();
    for args in [
        &["--log-format", "json", "plan", "postgres://u@127.0.0.1:1/d", "t"][..],
        &["--log-format", "json", "pages", "status", "postgres://u@127.0.0.1:1/d"],
        &["export", "--log-format=json", "--nonsense"],
        &["export", "--log-format=json", "postgres://u:canary@h/d", "--readers", "postgres://u:canary@h/d"],
        &["demo", "--dir", "no/such/folder", "--log-format", "json"],
    ] {
        let ran = run(command(folder.path()).args(args));
        assert!(ran.code.is_some_and(|code| code > 0), "{ran:?}");
        assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
        assert_eq!(lines(&ran).last().unwrap()["level"], "ERROR", "{}", ran.stderr);
    }
}
