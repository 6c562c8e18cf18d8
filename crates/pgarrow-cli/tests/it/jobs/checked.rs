//! Runs that compare what they have written with the server before they commit it.

use std::fs;

use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use crate::support::{NUMBERS, Place, eventually, run};

const TABLES: &str = "CREATE TABLE many (id int, at timestamptz, n numeric(10, 2), text text, u uuid, a int[]); \
    INSERT INTO many SELECT g, now(), g / 3.0, md5(g::text), md5(g::text)::uuid, ARRAY[g, NULL] \
      FROM generate_series(1, 5000) AS g; \
    CREATE TABLE empty (id int); ANALYZE";

#[test]
fn a_run_is_committed_if_the_server_has_the_same() {
    require!(Capability::Server);
    let place = Place::new("job_checked");
    place.database.execute(NUMBERS);
    place.database.execute(TABLES);
    let tables = "'public.t', 'public.many', 'public.empty'";
    place.write_queries(
        tables,
        "[options]\nslice_bytes = '256K'\nfile_size = '64K'\n[[query]]\nname = 'q'\nsql = 'SELECT 1 AS id'\n\
         [[table]]\nname = 'empty'\nfilter = 'id > 0'\n",
    );
    for readers in ["1", "3"] {
        let ran = place.run_job(&["--verify", "--readers", readers, "--report", "report.json"]);
        ran.assert_said(0, "2 tables with 25,000 rows are what the server has under the same snapshot");
        ran.assert_said(0, "not compared before the commit");
        let report: Value = serde_json::from_slice(&fs::read(place.path("report.json")).unwrap()).unwrap();
        let verified = &report["verified"];
        assert_eq!((verified["tables"].as_u64(), verified["rows"].as_u64()), (Some(2), Some(25_000)));
        let not_compared: Vec<_> = verified["not_compared"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["table"].as_str().unwrap())
            .collect();
        assert_eq!(not_compared, ["public.empty", "query.q"]);
    }
    // Without, there is nothing about it.
    place.run_job(&["--report", "report.json"]).assert_success();
    let report: Value = serde_json::from_slice(&fs::read(place.path("report.json")).unwrap()).unwrap();
    assert_eq!((&report["status"], &report["verified"]), (&"complete".into(), &Value::Null));
    assert_eq!(place.manifests().len(), 3);
    eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);
    // Snapshots of its own for each reader are none to compare with.
    let ran = place.run_job(&["--verify", "--inconsistent"]);
    ran.assert_refused(2, &["snapshots of their own"]);
}

/// Formerly, tables of which only new rows are read were compared in their first run only.
#[test]
fn new_rows_are_compared_with_the_rows_that_they_stand_for() {
    require!(Capability::Server);
    let place = Place::new("job_checked_new");
    place.database.execute(NUMBERS);
    place.database.execute(
        "CREATE TABLE grows AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 1000) AS g;
         CREATE TABLE rare AS SELECT 1 AS id; CREATE TABLE even AS SELECT * FROM grows;
         CREATE TABLE parts (id int, at date) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (500);
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (500) TO (5000);
         INSERT INTO parts SELECT g, '2020-01-01' FROM generate_series(1, 1000) AS g; ANALYZE",
    );
    let lines = "verify = true\n[[table]]\nname = '*'\nincremental = 'xmin'\n\
         [[table]]\nname = 'grows'\nincremental = 'column'\ncolumn = 'id'\noverlap = 10\n\
         [[table]]\nname = 'even'\nfilter = 'id % 2 = 0'\n";
    let tables = "'public.t', 'public.grows', 'public.rare', 'public.even', 'public.parts'";
    place.write_queries(tables, lines);
    let run_and_read = || {
        let ran = place.run_job(&["--report", "report.json"]);
        ran.assert_success();
        let report: Value = serde_json::from_slice(&fs::read(place.path("report.json")).unwrap()).unwrap();
        let verified = report["verified"].clone();
        let not_compared = verified["not_compared"].as_array().unwrap();
        assert_eq!((not_compared.len(), &not_compared[0]["table"]), (1, &"public.even".into()), "{verified}");
        assert_eq!(verified["tables"], 4);
        verified["rows"].as_u64().unwrap()
    };
    assert_eq!(run_and_read(), 20_000 + 1000 + 1 + 1000);
    place.database.execute(
        "INSERT INTO grows SELECT g, 'new' FROM generate_series(1001, 1100) AS g; UPDATE parts SET at = now() WHERE id % 100 = 0; \
         INSERT INTO t SELECT id, down, 'new' FROM t WHERE id < 50; INSERT INTO even VALUES (2, 'x')",
    );
    // Others' open transactions may make rows come again, which are then in both.
    assert!(run_and_read() >= 111 + 10 + 49);
    // No row is new.
    run_and_read();
    place.database.execute("DELETE FROM grows WHERE id > 500");
    run_and_read();
}

/// A row that the files lack is found among the new ones.
#[test]
fn new_rows_that_differ_are_not_committed() {
    require!(Capability::Server);
    let place = Place::new("job_differs_new");
    // Each reader, and who compares, gets other values from the view; its column grows.
    place.database.execute(
        "CREATE TABLE base AS SELECT g AS id FROM generate_series(1, 100) AS g; \
         CREATE VIEW shifting AS SELECT id, CASE WHEN id > 100 THEN random() END AS r FROM base",
    );
    let lines =
        "verify = true\n[[table]]\nname = 'shifting'\nincremental = 'column'\ncolumn = 'id'\noverlap = 5\n";
    place.write_queries("'public.shifting'", lines);
    place.run_job(&[]).assert_said(0, "1 table with 100 rows");
    place.database.execute("INSERT INTO base SELECT generate_series(101, 110)");
    let ran = place.run_job(&[]);
    ran.assert_said(11, "public.shifting, column \"r\": other values");
    assert_eq!(place.manifests().len(), 1);
}

#[test]
fn a_run_that_differs_commits_nothing() {
    require!(Capability::Server);
    let place = Place::new("job_differs");
    place.database.execute(NUMBERS);
    // Other values each time they are read; and the same.
    place.database.execute(
        "CREATE VIEW shifting AS SELECT id, random() AS r FROM t; CREATE VIEW steady AS SELECT 1 AS id",
    );
    place.write_queries("'public.t', 'public.shifting', 'public.steady'", "verify = true\n");
    for args in [&["--readers", "1"][..], &["--readers", "3", "--resume"], &["--keep-going"]] {
        let ran = place.run_job(&[args, &["--report", "report.json"]].concat());
        let says = "what was written is not what the server has under the same snapshot: public.shifting, column \"r\": ";
        ran.assert_said(11, says);
        ran.assert_said(11, "nothing was committed");
        assert!(!ran.stderr.contains("public.t,") && !ran.stderr.contains("\"id\""), "{ran:?}");
        let report: Value = serde_json::from_slice(&fs::read(place.path("report.json")).unwrap()).unwrap();
        assert_eq!(
            (&report["status"], &report["error"]["kind"]),
            (&"failed".into(), &"server_differs".into())
        );
        assert!(place.manifests().is_empty() && place.data_files().is_empty(), "{args:?}");
        assert!(!place.path("lake/_pgarrow/lock.json").exists());
        let journals = fs::read_dir(place.path("lake/_pgarrow/journals"));
        assert!(journals.map_or(0, Iterator::count) == 0, "{args:?}");
    }
    // The same without the view that shifts; and the view without the comparison.
    place.write_queries("'public.t', 'public.steady'", "verify = true\n");
    place.run_job(&[]).assert_success();
    place.write_queries("'public.shifting'", "");
    place.run_job(&[]).assert_success();
    run(&mut place.job(&["verify", "lake"])).assert_success();
}
