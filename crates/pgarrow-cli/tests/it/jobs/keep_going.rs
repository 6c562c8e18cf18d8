//! A table that cannot be read does not end the run, if the user wants that.

use std::fs;

use pgarrow_testkit::{Capability, require};

use super::incremental::{increments, job, table};
use crate::support::{Place, run};

/// Two tables with values that do not fit; one is refused while it is planned, one while it is read.
const TABLES: &str = "CREATE TABLE a AS SELECT g AS id FROM generate_series(1, 50000) AS g; \
    CREATE TABLE infinite AS SELECT g AS id, CASE WHEN g = 40000 THEN 'infinity' ELSE now() END AS at, \
      repeat('x', 200) AS pad FROM generate_series(1, 50000) AS g; \
    CREATE TABLE b AS SELECT g AS id, md5(g::text) AS t, repeat('x', 300) AS pad FROM generate_series(1, 50000) AS g; \
    CREATE VIEW broken AS SELECT 1 / (g - 3) AS id FROM generate_series(1, 10) AS g; \
    CREATE TABLE none (); CREATE TABLE z AS SELECT 1 AS id; ANALYZE";

const NAMES: &str = "'public.a', 'public.infinite', 'public.b', 'public.broken', 'public.none', 'public.z'";

#[test]
fn the_others_are_committed() {
    require!(Capability::Server);
    let place = Place::new("job_keep_going");
    place.database.execute(TABLES);
    let names = |place: &Place| -> (Vec<String>, Vec<String>) {
        let manifest = place.newest();
        let of = |list: &str| {
            let tables = manifest[list].as_array().cloned().unwrap_or_default();
            tables.iter().map(|table| table["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        (of("tables"), of("failed"))
    };
    for (number, options) in [
        "readers = 1",
        "readers = 2\nslice_bytes = '1M'",
        "readers = 4\nslice_bytes = '1M'",
        "readers = 3\nslice_bytes = '1M'\nordered = true",
        "readers = 2\nfile_size = '1M'",
    ]
    .into_iter()
    .enumerate()
    {
        job(&place, NAMES, &format!("success_file = true\n[options]\n{options}\n"));
        place.run_job(&["--report", "report.json"]).assert_refused(2, &["public.none has no columns"]);
        let ran = place.run_job(&["--report", "report.json", "--keep-going"]);
        ran.assert_said(1, "3 of 6 tables failed; the others are committed");
        for says in
            ["public.infinite, column \"at\"", "public.broken: ", "division by zero", "public.none has no"]
        {
            assert!(ran.stderr.contains(says), "{says}: {ran:?}");
        }
        let (mut tables, mut failed) = names(&place);
        tables.sort();
        failed.sort();
        assert_eq!(
            (tables, failed),
            (
                ["a", "b", "z"].map(str::to_owned).to_vec(),
                ["broken", "infinite", "none"].map(str::to_owned).to_vec()
            )
        );
        assert_eq!(
            (table(&place, "a")["rows"].as_i64(), table(&place, "b")["rows"].as_i64()),
            (Some(50_000), Some(50_000))
        );
        run(&mut place.job(&["verify", "lake"])).assert_success();
        // Nothing is left of those that failed.
        let named: usize =
            ["a", "b", "z"].map(|name| table(&place, name)["files"].as_array().unwrap().len()).iter().sum();
        let run_id = place.newest()["run_id"].as_str().unwrap().to_owned();
        let of_run = place.data_files().into_iter().filter(|path| path.to_str().unwrap().contains(&run_id));
        assert_eq!(of_run.count(), named, "{number}");
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(place.path("report.json")).unwrap()).unwrap();
        // It said "complete" and 0, while the process ended with 1.
        assert_eq!(
            (report["status"].as_str(), report["exit_code"].as_i64(), report["rows"].as_i64()),
            (Some("incomplete"), Some(1), Some(100_001))
        );
        assert!(!place.path("lake/_SUCCESS").exists());
    }
    // So does a table that is not there any more, whatever a section says of it.
    place.database.execute("DROP TABLE z");
    let gone = format!("{NAMES}, 'nowhere', 'public.none*x'");
    job(&place, &gone, "[[table]]\nname = 'z'\nfilter = 'id > 0'\n");
    place.run_job(&[]).assert_said(2, "there is no table \"public\".\"z\"");
    place.run_job(&["--keep-going"]).assert_said(1, "6 of 8 tables failed");
    let (_, mut failed) = names(&place);
    failed.sort();
    assert_eq!(failed, ["broken", "infinite", "none", "none*x", "nowhere", "z"]);
    // What is about the server ends the run.
    place
        .run_job(&["--keep-going", "--lock-timeout", "1s", "--role", "nobody_here"])
        .assert_said(4, "nobody_here");
    // Without any table there is nothing to commit.
    job(&place, "'public.broken', 'public.none'", "");
    let n_manifests = place.manifests().len();
    let ran = place.run_job(&["--keep-going"]);
    ran.assert_said(4, "no table could be read");
    assert_eq!(place.manifests().len(), n_manifests);
}

/// Formerly the state would have been lost with the run that failed; or have been taken for that of the
/// server that the failed run had met.
#[test]
fn a_table_that_failed_goes_on_from_where_it_was_read_last() {
    require!(Capability::Server);
    let place = Place::new("job_failed_once");
    place.database.execute("CREATE TABLE o AS SELECT 1::bigint AS id, 'a' AS t; CREATE TABLE p AS TABLE o");
    job(&place, "'o', 'p'", "success_file = true\n[[table]]\nname = '*'\nincremental = 'xmin'\n");
    place.run_job(&[]).assert_success();
    assert!(place.path("lake/_SUCCESS").exists());
    place.database.execute("ALTER TABLE o ADD COLUMN n int");
    for _ in 0..2 {
        place.run_job(&["--keep-going"]).assert_said(1, "1 of 2 tables failed");
        assert!(!place.path("lake/_SUCCESS").exists());
    }
    place.database.execute("ALTER TABLE o DROP COLUMN n; INSERT INTO o VALUES (2, 'b')");
    place.run_job(&[]).assert_success();
    let modes: Vec<String> = increments(&place, "o").into_iter().map(|(mode, _)| mode).collect();
    assert_eq!(modes, ["full", "xmin"]);
    // The manifest that has the table says which server it was.
    place.database.execute("ALTER TABLE o ADD COLUMN n int");
    let of_table = place.manifests().pop().unwrap();
    place.run_job(&["--keep-going"]).assert_said(1, "1 of 2 tables failed");
    place.database.execute("ALTER TABLE o DROP COLUMN n");
    let text = fs::read_to_string(&of_table).unwrap();
    fs::write(&of_table, text.replace("\"timeline\": \"1\"", "\"timeline\": \"7\"")).unwrap();
    place.run_job(&[]).assert_refused(2, &["public.o: the server was promoted"]);
}
