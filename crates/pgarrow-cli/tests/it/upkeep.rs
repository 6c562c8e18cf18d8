//! What a load does for later readers: frozen rows, VACUUM and ANALYZE.

use std::fs;

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, TestServer, require};
use serde_json::Value;

use crate::signals::send;
use crate::support::{NUMBERS, Place, command, end_of, eventually, run, start};

fn report(place: &Place) -> Value {
    let report = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    fs::remove_file(place.path("r.json")).unwrap();
    report
}

/// Regression: of a table that was loaded and exported again, no page was read as stored.
#[test]
fn a_table_that_was_loaded_is_exported_by_pages() {
    require!(Capability::Superuser);
    require!(Capability::Extension("pageinspect"));
    let place = Place::new("upkeep_pages");
    place.database.execute(NUMBERS);
    place.database.execute("CREATE EXTENSION IF NOT EXISTS pageinspect; CREATE TABLE u (LIKE t)");
    place.export(&["-t", "t", "-o", "t.parquet"]).assert_success();
    let url = place.database.url();
    let by_pages = |table: &str| {
        let args = ["-t", table, "-o", "x.parquet", "--overwrite", "--report", "r.json"];
        place.export(&[&args[..], &["--read-mode", "pages", "--readers", "1"]].concat()).assert_success();
        let report = report(&place);
        let number = |name: &str| report["pages"][name].as_u64().unwrap_or(0);
        (number("read"), number("copied"))
    };
    for (args, table) in [
        (&["load", "t.parquet", "--target", url, "--mode", "create"][..], "made"),
        (&["load", "t.parquet", "--target", url, "--mode", "truncate"], "u"),
        (&["load", "t.parquet", "--target", url, "--mode", "replace"], "u"),
        (&["export", url, "-t", "t", "--to", "postgres", "--target", url, "--mode", "create"], "copied"),
    ] {
        run(command(place.folder.path()).args(args).args(["--into", table, "--report", "r.json"]))
            .assert_success();
        let report = report(&place);
        let load = if report["load"].is_null() { &report } else { &report["load"] };
        assert_eq!(load["upkeep"]["analyzed"], true, "{report}");
        let (read, copied) = by_pages(table);
        assert!(read > 20 && read * 100 >= (read + copied) * 99, "{args:?}: {read} and {copied}");
    }
}

#[test]
fn many_tables_are_vacuumed_and_analyzed_after_their_commit() {
    require!(Capability::Server);
    let place = Place::new("upkeep_many");
    let sql = "CREATE SCHEMA s; CREATE TABLE s.a AS SELECT generate_series(1, 1000) AS x; CREATE TABLE s.b AS TABLE s.a";
    place.database.execute(sql);
    place.export(&["--schema", "s", "-o", "all/"]).assert_success();
    let target = TestServer::shared().fresh_database("upkeep_many_to");
    target.execute("CREATE SCHEMA t; CREATE SCHEMA u; CREATE SCHEMA v");
    let into = |schema| {
        ["--target", target.url(), "--into-schema", schema, "--mode", "create", "--report", "r.json"]
    };
    let assert_tended = |schema: &str, vacuumed: bool| {
        let report = report(&place);
        let loads = report["loads"].as_array().unwrap();
        assert_eq!(loads.len(), 2);
        for load in loads {
            assert_eq!(
                (&load["upkeep"]["analyzed"], &load["upkeep"]["vacuumed"]),
                (&true.into(), &vacuumed.into())
            );
        }
        let sql = format!(
            "SELECT sum(reltuples)::int8 FROM pg_class WHERE relnamespace = '{schema}'::regnamespace"
        );
        assert_eq!(target.client().query_one(&sql, &[]).unwrap().get::<_, i64>(0), 2000);
    };
    place
        .export(&[&["--schema", "s", "--to", "postgres", "--vacuum"][..], &into("t")].concat())
        .assert_success();
    assert_tended("t", true);
    let folder = command(place.folder.path()).args(["load", "all/"]).args(into("u")).output().unwrap();
    assert!(folder.status.success(), "{folder:?}");
    assert_tended("u", false);
    let job = format!(
        "[source]\nconnection = \"{}\"\ntables = ['s.*']\n[destination]\nconnection = \"{}\"\ninto_schema = 'v'\n\
         [options]\nmode = 'create'\nvacuum = true\nno_analyze = true\nno_freeze = true\n",
        place.database.url(),
        target.url()
    );
    fs::write(place.path("job.toml"), job).unwrap();
    run(&mut place.job(&["run", "job.toml", "--report", "r.json"])).assert_success();
    let report = report(&place);
    assert_eq!(report["loads"][1]["upkeep"]["analyzed"], false, "{report}");
    assert_eq!(report["loads"][1]["upkeep"]["vacuumed"], true, "{report}");
}

/// The rows are committed: whoever reads of a load that failed would load them again.
#[test]
fn a_signal_after_the_commit_is_no_failure() {
    require!(Capability::Server);
    let place = Place::new("upkeep_signal");
    place
        .database
        .execute("CREATE TABLE t (x int8); CREATE TABLE s AS SELECT generate_series(1, 1000)::int8 AS x");
    place.export(&["-t", "s", "-o", "s.parquet"]).assert_success();
    let url = place.database.url();
    let mut holder = place.database.client();
    for args in [
        &["load", "s.parquet", "--target", url, "--into", "t", "--lock-timeout", "10m", "--report", "r.json"]
            [..],
        &[
            "export",
            url,
            "-t",
            "s",
            "--to",
            "postgres",
            "--target",
            url,
            "--into",
            "t",
            "--lock-timeout",
            "10m",
            "--report",
            "r.json",
        ],
    ] {
        holder
            .batch_execute("BEGIN; TRUNCATE t; COMMIT; BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")
            .unwrap();
        let child = start(command(place.folder.path()).args(args));
        eventually("it waits", || place.counts("wait_event_type = 'Lock' AND query ~ '^ANALYZE'") == 1);
        send(&child, Signal::SIGINT);
        let ran = end_of(child, 30);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains("public.t: the rows are committed, but ANALYZE was stopped"), "{ran:?}");
        holder.batch_execute("COMMIT").unwrap();
        assert_eq!(holder.query_one("SELECT count(*) FROM t", &[]).unwrap().get::<_, i64>(0), 1000);
        let report = report(&place).to_string();
        assert!(report.contains("ANALYZE was stopped"), "{report}");
    }
}
