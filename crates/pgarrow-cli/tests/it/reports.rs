//! Reports of runs that fail: an older report must not stay in their place.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use pgarrow_testkit::{Capability, TestServer, require};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{NUMBERS, Place, command, run};

fn report(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Before, a run that failed left the report of the run before it.
#[test]
fn a_run_that_fails_has_a_report_of_its_own() {
    require!(Capability::Server);
    let place = Place::new("failed_report");
    let to_report = ["--to", "none", "--report", "r.json", "--overwrite"];
    place.export(&[&["-q", "select 1"], &to_report[..]].concat()).assert_success();
    let yesterday = report(&place.path("r.json"));
    for (args, code, kind, sqlstate, says) in [
        (&["-q", "select 1/0"][..], 4, "server", Some("22012"), "division by zero"),
        (&["-t", "missing"], 2, "options", None, "there is no table"),
        (&["-q", "select 'infinity'::date"], 6, "value", None, "--infinity"),
        // Found before anything connects.
        (&["-q", "select 1", "--set", "x", "--compression", "zstd"], 2, "options", None, "--compression"),
    ] {
        let args: Vec<&str> = args.iter().map(|arg| if *arg == "x" { "a=b" } else { arg }).collect();
        let ran = place.export(&[&args[..], &to_report[..]].concat());
        assert_eq!(ran.code, Some(code), "{ran:?}");
        let report = report(&place.path("r.json"));
        assert_eq!((&report["status"], &report["exit_code"]), (&"failed".into(), &code.into()), "{report}");
        let error = &report["error"];
        assert_eq!((&error["kind"], error["sqlstate"].as_str()), (&kind.into(), sqlstate), "{report}");
        let text = error["text"].as_str().unwrap();
        assert!(text.contains(says) && ran.stderr.contains(text), "{report}: {}", ran.stderr);
        if code != 2 {
            assert_eq!(report["server"]["database"], place.database.name(), "{report}");
            assert_eq!(report["server"]["endpoint"], yesterday["server"]["endpoint"], "{report}");
        }
        assert!(report["rows"].is_null() && report["run_id"] != yesterday["run_id"], "{report}");
        assert!(yesterday["ended"].as_str() < report["started"].as_str(), "{report}");
        assert!(report["started"].as_str() <= report["ended"].as_str(), "{report}");
    }
    // Without --overwrite an existing report stays, and the error comes before anything else.
    let before = fs::read(place.path("r.json")).unwrap();
    place
        .export(&["-q", "select 1/0", "--to", "none", "--report", "r.json"])
        .assert_refused(7, &["\"r.json\" exists", "--overwrite"]);
    assert!(fs::read(place.path("r.json")).unwrap() == before);
    assert_eq!(place.names(), ["r.json"]);
    // The report does not replace the output either, under any name of it.
    place.export(&["-q", "select 1 as a", "-o", "x.parquet"]).assert_success();
    let x = fs::read(place.path("x.parquet")).unwrap();
    std::os::unix::fs::symlink(place.folder.path(), place.path("here")).unwrap();
    for name in ["./x.parquet", "here/x.parquet"] {
        let args = ["-q", "select 1/0", "-o", "x.parquet", "--report", name, "--overwrite"];
        place.export(&args).assert_refused(2, &["the same file"]);
        assert!(fs::read(place.path("x.parquet")).unwrap() == x);
    }
}

#[test]
fn a_report_says_which_servers_it_was_about() {
    require!(Capability::Server);
    let place = Place::new("report_sides");
    place.database.execute(NUMBERS);
    let target = TestServer::shared().fresh_database("report_target");
    let report_of = |args: &[&str], code: i32| {
        let ran = place.export(&[args, &["--report", "r.json", "--overwrite"]].concat());
        assert_eq!(ran.code, Some(code), "{ran:?}");
        (report(&place.path("r.json")), ran.stderr)
    };
    let into = |url| ["-t", "t", "--to", "postgres", "--target", url, "--into", "public.t"];
    // The result line says where the rows are.
    let (complete, said) = report_of(&[&into(target.url())[..], &["--mode", "create"]].concat(), 0);
    let endpoint = complete["load"]["server"]["endpoint"].as_str().unwrap();
    let says = format!("; database {} at {endpoint}", target.name());
    let is_result = |line: &str| line.starts_with("public.t: 20,000 rows, ") && line.ends_with(&says);
    assert!(said.lines().any(is_result), "{says:?} is not in {said}");
    // The table exists already.
    let (failed, _) = report_of(&[&into(target.url())[..], &["--mode", "create"]].concat(), 4);
    for (side, database) in [("/server", place.database.name()), ("/load/server", target.name())] {
        let of = |report: &serde_json::Value, name| report.pointer(&format!("{side}/{name}")).cloned();
        assert_eq!(of(&failed, "database"), Some(database.into()), "{failed}");
        assert!(of(&failed, "endpoint").is_some(), "{failed}");
        assert_eq!(of(&failed, "endpoint"), of(&complete, "endpoint"), "{failed}");
    }
    assert_eq!(
        (&failed["load"]["target"], &failed["error"]["sqlstate"]),
        (&"public.t".into(), &"42P07".into())
    );
    // No server listens at this port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = format!("postgres://u:canary@127.0.0.1:{port}/elsewhere");
    let (failed, _) = report_of(&into(&nowhere), 3);
    let load = serde_json::json!({
        "target": "public.t", "server": { "endpoint": format!("127.0.0.1:{port}"), "database": "elsewhere" },
    });
    assert_eq!((&failed["load"], &failed["error"]["kind"]), (&load, &"connection".into()), "{failed}");
    assert!(!failed.to_string().contains("canary"));
    // A load, and its target.
    let folder = TempDir::new().unwrap();
    let load = |args: &[&str]| {
        let load = ["load", "x.arrow", "--into", "public.t", "--report", "r.json"];
        run(command(folder.path()).args(load).args(["--target", &nowhere]).args(args))
    };
    load(&[]).assert_refused(8, &["no such file"]);
    let failed = report(&folder.path().join("r.json"));
    assert_eq!((&failed["exit_code"], &failed["error"]["kind"]), (&8.into(), &"input".into()), "{failed}");
    assert_eq!(
        (&failed["target"], &failed["server"]["database"]),
        (&"public.t".into(), &"elsewhere".into()),
        "{failed}"
    );
    load(&[]).assert_refused(7, &["\"r.json\" exists"]);
    // A report does not replace a file to load, under any name of it.
    fs::write(folder.path().join("x.arrow"), "no Arrow").unwrap();
    fs::remove_file(folder.path().join("r.json")).unwrap();
    fs::hard_link(folder.path().join("x.arrow"), folder.path().join("r.json")).unwrap();
    load(&["--overwrite"]).assert_refused(2, &["--report names a file that is loaded"]);
    assert_eq!(fs::read_to_string(folder.path().join("r.json")).unwrap(), "no Arrow");
}
