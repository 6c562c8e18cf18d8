//! Runs that compare what they have written with the server before they commit it.

use std::fs;

use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use crate::support::{NUMBERS, Place, run};

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
    assert_eq!(place.database.n_sessions("pgarrow"), 0);
    // Snapshots of its own for each reader are none to compare with.
    let ran = place.run_job(&["--verify", "--inconsistent"]);
    ran.assert_refused(2, &["snapshots of their own"]);
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
