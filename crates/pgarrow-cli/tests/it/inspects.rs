//! `pgarrow inspect`: what columns become and what to look out for; no rows are read.

use pgarrow_testkit::{Capability, require};

use crate::support::{Place, Ran, command, eventually, run};

const TABLE: &str = "CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TABLE t (id bigint PRIMARY KEY, day date NOT NULL, n numeric(15,2), free numeric, m mood, a int[], i interval,
        r tstzrange, acl aclitem);
    INSERT INTO t SELECT g, 'infinity', 'NaN', g, 'ok', '{{1}}', '1 day', NULL, NULL FROM generate_series(1, 1000) g;
    ANALYZE t";

impl Place {
    fn inspect(&self, args: &[&str]) -> Ran {
        run(command(self.folder.path()).args(["inspect", self.database.url()]).args(args))
    }

    fn inspect_json(&self, args: &[&str]) -> serde_json::Value {
        let ran = self.inspect(&[&["--json"], args].concat());
        ran.assert_success();
        serde_json::from_slice(&ran.stdout).unwrap()
    }
}

#[test]
fn a_table_for_people() {
    require!(Capability::Server);
    let place = Place::new("inspect");
    place.database.execute(TABLE);
    let ran = place.inspect(&["-t", "t"]);
    ran.assert_success();
    let text = ran.stdout_text();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(words).collect();
    for line in [
        "column PostgreSQL Arrow Parquet",
        "id bigint Int64 INT64 not null",
        "day date Date32 INT32 (DATE) not null",
        "infinity and -infinity stop the export (--infinity null|saturate)",
        "n numeric(15,2) Decimal128(15, 2) INT64 (DECIMAL(15,2))",
        "NaN stops the export (--nan null or --numeric text)",
        "is text, since no precision is declared (--numeric decimal(P,S)|float64|scan)",
        "a integer[] List(Int32) LIST<INT32>",
        "arrays of more than one dimension stop the export (--arrays nested|shaped)",
        "i interval Interval(MonthDayNano) STRUCT<months: INT32, days: INT32, …>",
        "warnings",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line:?} is not in {text}");
    }
    assert!(lines[0].starts_with("public.t, about 1,000 rows, "), "{text}");
    assert!(lines[1].starts_with("1 slice, read by 1 connection; "), "{text}");
    assert!(text.contains("column \"acl\" (aclitem) is read as text"), "{text}");
    eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);

    // With other choices, the notes differ.
    let ran = place.inspect(&[
        "-t",
        "t",
        "--infinity",
        "null",
        "--arrays",
        "shaped",
        "--interval",
        "month-day-nano",
    ]);
    let text = ran.stdout_text();
    assert!(!text.contains("dimension stop") && !text.contains("infinity stop"), "{text}");
    assert!(text.contains("becomes nullable, since a policy may write NULL"), "{text}");
    assert!(text.contains("not possible") && text.contains("not in Parquet: column \"i\" cannot"), "{text}");
}

#[test]
fn the_same_as_json() {
    require!(Capability::Server);
    let place = Place::new("inspect_json");
    place.database.execute(TABLE);
    let inspected = place.inspect_json(&["-t", "t", "--column", "i:text"]);
    assert_eq!((&inspected["inspect_version"], &inspected["connections"]), (&1.into(), &1.into()));
    let subject = &inspected["subjects"][0];
    assert_eq!(subject["subject"], "public.t");
    assert_eq!((&subject["estimated_rows"], &subject["slices"]), (&1000.into(), &1.into()));
    assert!(subject["estimated_bytes"].as_u64().unwrap() > 0);
    assert_eq!(subject["parquet_error"], serde_json::Value::Null);
    assert_eq!(
        subject["columns"][1],
        serde_json::json!({
            "name": "day",
            "pg_type": "date",
            "arrow_type": "Date32",
            "parquet_type": "INT32 (DATE)",
            "nullable": false,
            "notes": [{
                "kind": "stops",
                "what": "infinity and -infinity stop the export",
                "option": "--infinity null|saturate",
            }],
        })
    );
    let range = &subject["columns"][7];
    assert_eq!(
        range["parquet_type"],
        "STRUCT<lower: INT64 (TIMESTAMP(MICROS,true)), upper: INT64 (TIMESTAMP(MICROS,true)), \
         lower_inclusive: BOOLEAN, upper_inclusive: BOOLEAN, empty: BOOLEAN>"
    );
    assert_eq!(subject["columns"][6]["arrow_type"], "Utf8");

    place.database.execute("CREATE TABLE u (a int)");
    let inspected = place.inspect_json(&["--schema", "public"]);
    let names: Vec<_> = inspected["subjects"].as_array().unwrap().iter().map(|of| &of["subject"]).collect();
    assert_eq!(names, ["public.t", "public.u"]);
    let ran = place.inspect(&["--schema", "public", "--readers", "1"]);
    let text = ran.stdout_text();
    assert!(text.starts_with("2 tables, read by 1 connection\n\npublic.t, about 1,000 rows, "), "{text}");
    assert!(text.contains("\n\npublic.u"), "{text}");
}

#[test]
fn queries_and_what_parquet_cannot_hold() {
    require!(Capability::Server);
    let place = Place::new("inspect_query");
    let inspected = place.inspect_json(&["-q", "select 1 as a, 2 as a, $1::int as b", "--param", "3"]);
    let subject = &inspected["subjects"][0];
    assert_eq!(subject["subject"], "the query");
    assert!(subject["slicing"].as_str().unwrap().contains("--split-on"));
    assert!(subject["warnings"][0].as_str().unwrap().contains("\"a_2\" in parquet"), "{subject}");

    place.database.execute("CREATE TABLE nothing ()");
    let subject = &place.inspect_json(&["-t", "nothing"])["subjects"][0];
    assert_eq!(subject["columns"], serde_json::json!([]));
    assert!(subject["parquet_error"].as_str().unwrap().contains("without columns"), "{subject}");
    // A size that was never analysed is unknown.
    place.inspect(&["-t", "nothing"]).assert_success();
    place.inspect(&["-t", "missing"]).assert_refused(2, &["there is no table \"missing\""]);
}
