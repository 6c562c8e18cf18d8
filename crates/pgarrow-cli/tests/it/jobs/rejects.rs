//! `run --reject`: bad rows of a job's tables in a file of their own, and counted in its manifest.

use std::fs;

use pgarrow_testkit::{Capability, require};

use crate::support::{Place, run};

/// Two bad rows of 100, one of 10, and none.
const TABLES: &str = "CREATE TABLE t1 AS SELECT g::int8 AS id, CASE WHEN g % 50 = 1 THEN date 'infinity' ELSE date '2020-01-01' + g END \
        AS d FROM generate_series(1, 100) g; \
     CREATE TABLE t2 AS SELECT g::int8 AS id, (CASE WHEN g = 4 THEN 'NaN' ELSE g::numeric END)::numeric(8, 2) AS n \
        FROM generate_series(1, 10) g; \
     CREATE TABLE t3 AS SELECT 1 AS id; ANALYZE";

fn rows_of(place: &Place, name: &str) -> usize {
    let file = fs::File::open(place.path(name)).unwrap();
    let reader = arrow_ipc::reader::FileReader::try_new(file, None).unwrap();
    reader.map(|batch| batch.unwrap().num_rows()).sum()
}

#[test]
fn bad_rows_of_a_job_are_set_aside_and_counted() {
    require!(Capability::Server);
    let place = Place::new("job_rejects");
    place.database.execute(TABLES);
    place.write_queries("'public.t*'", "");
    let with_rejects = |more: &[&str]| {
        run(&mut place
            .job(&[&["run", "job.toml", "--reject", "bad.arrow", "--report", "r.json"], more].concat()))
    };
    // Formerly, one bad row ended the night.
    run(&mut place.job(&["run", "job.toml"])).assert_said(6, "infinite");
    for _ in 0..2 {
        // A later run replaces the file.
        let ran = with_rejects(&[]);
        ran.assert_said(0, "3 of 111 rows (2.7 %) could not be exported, and were written to \"bad.arrow\"");
        assert_eq!(rows_of(&place, "bad.arrow"), 3);
    }
    let manifest = place.newest();
    let tables = manifest["tables"].as_array().unwrap();
    let counts: Vec<_> = tables
        .iter()
        .map(|table| {
            let increment = &table["increments"][0];
            (table["rows"].as_u64().unwrap(), increment["rows_rejected"].as_u64().unwrap_or_default())
        })
        .collect();
    assert_eq!(counts, [(98, 2), (9, 1), (1, 0)]);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    assert_eq!((&report["rows"], &report["rows_rejected"]), (&108.into(), &3.into()));
    // What was left out is no difference.
    let verified = run(&mut place.job(&["verify", "lake", place.database.url(), "--json"]));
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(
        verified.stdout_text().contains("2 of its rows were rejected, and are in no file"),
        "{verified:?}"
    );
    // Too many bad rows end the run, and nothing is committed; the file of the run before stays.
    with_rejects(&["--reject-limit", "2"]).assert_said(6, "more than 2 rows are bad");
    assert_eq!(place.newest()["number"], manifest["number"]);
    assert_eq!(rows_of(&place, "bad.arrow"), 3);
    for (more, says) in [
        (&["--verify"][..], "finds rows that are not in the files (--verify)"),
        (&["--resume"], "keeps tables whose rejected rows are in no file (--resume)"),
        (&["--metrics", "bad.arrow"], "--metrics and --reject name the same file"),
    ] {
        with_rejects(more).assert_said(2, says);
    }
}

/// Rows that are rejected while only new rows are read are counted where they were read.
#[test]
fn rows_of_later_runs_are_counted_with_them() {
    require!(Capability::Server);
    let place = Place::new("job_rejects_new");
    place.database.execute(TABLES);
    place.write_queries(
        "'public.t1'",
        "[[table]]\nname = \"t1\"\nincremental = \"column\"\ncolumn = \"id\"\noverlap = 0\n",
    );
    let night = || run(&mut place.job(&["run", "job.toml", "--reject", "bad.arrow"]));
    night().assert_success();
    // The last row of the run before comes again.
    place
        .database
        .execute("INSERT INTO t1 VALUES (199, '2020-01-01'), (200, '-infinity'), (201, '2020-01-01')");
    night().assert_said(0, "1 of 4 rows");
    place.database.execute("INSERT INTO t1 VALUES (202, '2020-01-01')");
    night().assert_success();
    assert_eq!(rows_of(&place, "bad.arrow"), 0);
    let manifest = place.newest();
    let increments = manifest["tables"][0]["increments"].as_array().unwrap();
    let of = |increment: &serde_json::Value| {
        (increment["rows"].as_u64().unwrap(), increment["rows_rejected"].as_u64().unwrap_or_default())
    };
    assert_eq!(increments.iter().map(of).collect::<Vec<_>>(), [(98, 2), (3, 1), (2, 0)]);
}
