//! `pgarrow export --to postgres`: values that need no decoding are not decoded.

use std::fs;

use pgarrow_testkit::{Capability, require};

use crate::loads::fingerprint;
use crate::support::Place;

const COLUMNS: &str = "at timestamptz, day date, n numeric, w daterange, span interval, m numeric(12, 4)";

#[test]
fn values_that_arrow_does_not_have_need_no_choice() {
    require!(Capability::Server);
    let place = Place::new("load_undecoded");
    place.database.execute(&format!(
        "CREATE TABLE t ({COLUMNS}); INSERT INTO t SELECT 'infinity', '-infinity', 'NaN', '[infinity,)', \
         g * interval '1 day 1 second', g / 7.0 FROM generate_series(1, 5000) g; \
         CREATE TABLE u ({COLUMNS})"
    ));
    let how = |mode: &str, into: &str, table: &[&str]| {
        let target = ["--to", "postgres", "--target", place.database.url(), "--into", into, "--mode", mode];
        let args = [table, &target[..], &["--report", "r.json", "--readers", "3"]].concat();
        place.export(&args).assert_success();
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
        fs::remove_file(place.path("r.json")).unwrap();
        assert_eq!(report["load"]["rows"], 5000);
        let columns = report["load"]["columns"].as_array().unwrap();
        columns.iter().map(|column| column["how"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let table = ["-t", "t"];
    let undecoded = "undecoded undecoded undecoded undecoded binary undecoded";
    for (mode, into) in [("append", "u"), ("truncate", "u"), ("replace", "u"), ("create", "v")] {
        assert_eq!(how(mode, into, &table), undecoded, "{mode}");
        assert_eq!(fingerprint(&place.database, into), fingerprint(&place.database, "t"), "{mode}");
    }
    let query = ["-q", "select * from t where n is not null"];
    assert_eq!(how("truncate", "u", &query), undecoded);
    assert_eq!(fingerprint(&place.database, "u"), fingerprint(&place.database, "t"));
    // Digits that the target's column does not have, and choices about values, need decoding.
    place.database.execute("CREATE TABLE w (at timestamptz, day date, n numeric, m numeric(12, 2))");
    let some = "select null::timestamptz as at, null::date as day, 1.5 as n, 1.25::numeric(12, 4) as m \
                from generate_series(1, 5000)";
    assert_eq!(
        how("append", "w", &["-q", some, "--convert", "check"]),
        "undecoded undecoded undecoded binary"
    );
    assert_eq!(
        how("append", "w", &["-q", some, "--convert", "check", "--nan", "null"]),
        "binary binary binary binary"
    );
}

#[test]
fn a_dry_run_says_what_is_not_decoded() {
    require!(Capability::Server);
    let place = Place::new("load_undecoded_dry");
    place.database.execute("CREATE TABLE t (a timestamptz, b interval); CREATE TABLE u (LIKE t)");
    let ran = place.export(&[
        "-t",
        "t",
        "--to",
        "postgres",
        "--target",
        place.database.url(),
        "--into",
        "u",
        "--dry-run",
    ]);
    ran.assert_success();
    assert!(ran.stdout_text().contains("undecoded"), "{}", ran.stdout_text());
}
