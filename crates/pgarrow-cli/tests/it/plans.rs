//! `pgarrow plan` and `--dry-run`: they print what would be read, and read nothing.

use pgarrow_testkit::{Capability, require};

use crate::support::{NUMBERS, Place, Ran, command, eventually, run};

impl Place {
    fn plan(&self, args: &[&str]) -> Ran {
        run(command(self.folder.path()).args(["plan", self.database.url()]).args(args))
    }
}

#[test]
fn a_plan_for_people() {
    require!(Capability::Server);
    let place = Place::new("plan");
    place.database.execute(NUMBERS);
    let ran = place.plan(&["-t", "t", "--slice-bytes", "64K", "--readers", "3"]);
    ran.assert_success();
    let text = ran.stdout_text();
    for part in ["public.t, read by 3 connections\n", "\ncolumns\n", "\nslices\n", "\nabout ", "to the end"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(words).collect();
    assert!(lines.contains(&"id bigint Int64 not null".to_owned()), "{text}");
    assert!(lines.contains(&"text text Utf8".to_owned()), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("0 public.t pages 0 to ")), "{text}");
    assert!(text.contains("more (--all shows them)"), "{text}");
    let all = place.plan(&["-t", "t", "--slice-bytes", "64K", "--all"]);
    assert!(!all.stdout_text().contains("--all"), "{}", all.stdout_text());
    assert!(all.stdout_text().lines().count() > text.lines().count());

    let refused = place.plan(&["--slice", "token.json"]);
    refused.assert_refused(2, &["a slice is planned already", "--dry-run"]);

    // One stream, and the reason; warnings go to stderr.
    let ran = place.plan(&["-q", "select 1 as a, null::aclitem as b"]);
    ran.assert_success();
    assert!(ran.stdout_text().contains("one stream: "), "{}", ran.stdout_text());
    assert!(ran.stderr.contains("warning: column \"b\" (aclitem) is read as text"), "{}", ran.stderr);
    let ran = place.plan(&["-q", "select * from t", "--split-on", "id"]);
    assert!(ran.stdout_text().contains("  id before "), "{}", ran.stdout_text());
    eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);
}

#[test]
fn a_plan_as_json() {
    require!(Capability::Server);
    let place = Place::new("plan_json");
    place.database.execute(NUMBERS);
    place.database.execute("CREATE TABLE u (i interval)");
    let json = |args: &[&str]| -> serde_json::Value {
        let ran = place.plan(&[&["--json"], args].concat());
        ran.assert_success();
        serde_json::from_slice(&ran.stdout).unwrap()
    };
    let plan = json(&["-t", "t", "--slice-bytes", "64K"]);
    assert_eq!(plan["subject"], "public.t");
    assert_eq!(plan["columns"][0]["arrow_type"], "Int64");
    assert_eq!(plan["slices"][0]["range"]["pages"]["from"], 0);
    assert_eq!(plan["slices"][0]["relations"][0], "public.t");
    assert!(plan["slices"].as_array().unwrap().len() > 10);
    let plans = json(&["-t", "t", "-t", "u"]);
    assert_eq!((&plans[0]["subject"], &plans[1]["subject"]), (&"public.t".into(), &"public.u".into()));

    let ran = place.plan(&["--schema", "public"]);
    ran.assert_success();
    for part in ["2 tables in ", "public.t ", "public.u ", "--table NAME"] {
        assert!(ran.stdout_text().contains(part), "{part:?} is not in {}", ran.stdout_text());
    }
    place.plan(&["-t", "nothing"]).assert_refused(2, &["there is no table \"nothing\""]);
}

#[test]
fn a_dry_run_writes_nothing() {
    require!(Capability::Server);
    let place = Place::new("dry_run");
    place.database.execute("CREATE TABLE u (i interval)");
    for (output, arrow_type) in [("x.parquet", "Struct("), ("x.arrow", "Interval(")] {
        let ran = place.export(&["-t", "u", "-o", output, "--dry-run"]);
        ran.assert_success();
        assert!(ran.stdout_text().contains(arrow_type), "{}", ran.stdout_text());
    }
    place.export(&["-t", "u", "--dry-run"]).assert_success();
    let ran = place.export(&["-t", "u", "--dry-run", "--to", "ipc-stream", "-o", "-"]);
    assert!(ran.stdout_text().starts_with("public.u, read by 1 connection\n"), "{}", ran.stdout_text());
    assert!(place.names().is_empty());
}
