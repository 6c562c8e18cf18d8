//! Jobs whose files are in partitions.

use std::fs;

use pgarrow_testkit::{Capability, Emulator, require};
use serde_json::Value;

use crate::support::{Place, command, parquet_rows, run};

const EVENTS: &str = "
    CREATE TYPE mood AS ENUM ('Good', 'good', 'so so');
    CREATE TABLE events (id int PRIMARY KEY, day date, mood mood, price numeric(8, 2), is_new boolean, owner uuid,
                         at timestamptz, text text);
    INSERT INTO events SELECT g, CASE WHEN g % 5 > 0 THEN date '2026-02-27' + g % 4 END,
        (ARRAY['Good', 'good', 'so so', NULL])[1 + g % 4]::mood, (g % 3 - 1) * 1.5, g % 2 = 0,
        md5((g % 3)::text)::uuid, timestamptz '2026-01-01' + g * interval '1 hour', md5(g::text)
      FROM generate_series(1, 3000) AS g;
    CREATE TABLE plain AS SELECT 1 AS id;
    CREATE TABLE empty (LIKE events);
    ANALYZE;
";

const ALL: &str = "partition_by = ['day', 'mood', 'price', 'is_new', 'owner', 'month(at)']\n";

impl Place {
    fn of_events(hint: &str) -> Self {
        let place = Self::new(hint);
        place.database.execute(EVENTS);
        place
    }

    /// Writes `job.toml`, with these lines at its end.
    fn write_events(&self, lines: &str) {
        let job = format!(
            "[source]\nconnection = \"{}\"\ntables = ['public.events', 'public.plain', 'public.empty']\n\
             [destination]\npath = \"lake\"\n{lines}",
            self.database.url()
        );
        fs::write(self.path("job.toml"), job).unwrap();
    }

    fn table(&self, name: &str) -> Value {
        let manifest = self.newest();
        manifest["tables"].as_array().unwrap().iter().find(|table| table["name"] == name).unwrap().clone()
    }

    fn verify_events(&self, args: &[&str]) -> crate::support::Ran {
        run(command(self.folder.path()).args(["verify", "lake", self.database.url()]).args(args))
    }
}

#[test]
fn a_manifest_has_the_partitions_and_verify_puts_them_back() {
    require!(Capability::Server);
    let place = Place::of_events("job_partitions");
    place.write_events(&format!(
        "[options]\n{ALL}[[table]]\nname = 'plain'\npartition_by = []\n[[table]]\nname = 'empty'\npartition_by = ['day']\n"
    ));
    place.run_job(&["--readers", "3", "--slice-bytes", "32K"]).assert_success();
    let events = place.table("events");
    let by = events["partition_by"].as_array().unwrap();
    assert_eq!(by.len(), 6);
    assert_eq!((&by[0]["name"], &by[0]["in_files"]), (&"day".into(), &false.into()));
    assert_eq!(
        (&by[5]["name"], &by[5]["part"], &by[5]["in_files"]),
        (&"at_month".into(), &"month".into(), &true.into())
    );
    let mut rows = 0;
    for file in events["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        rows += parquet_rows(&place.path("lake").join(path));
        let mood = match file["partition"]["mood"].as_str() {
            None => "mood=__HIVE_DEFAULT_PARTITION__",
            Some("Good") => "=",
            Some("good") => "=",
            Some(_) => "mood=so so",
        };
        assert!(path.starts_with("public/events/day=") && path.contains(mood), "{path}");
    }
    assert_eq!((rows, events["rows"].as_u64()), (3000, Some(3000)));
    let plain = place.table("plain");
    assert!(plain["partition_by"].is_null() && plain["files"][0]["partition"].is_null());
    let empty = place.table("empty");
    let path = empty["files"][0]["path"].as_str().unwrap();
    assert!(path.starts_with("public/empty/day=__HIVE_DEFAULT_PARTITION__/part-"), "{path}");

    run(&mut place.job(&["verify", "lake"])).assert_success();
    for args in [&[][..], &["--full"]] {
        let ran = place.verify_events(args);
        ran.assert_success();
        assert!(!ran.stdout_text().contains("not compared"), "{}", ran.stdout_text());
    }
    // A value of a partition that is another one on the server is found.
    place.database.execute("UPDATE events SET owner = md5('x')::uuid WHERE id = 17");
    let ran = place.verify_events(&[]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stdout_text().contains("owner"), "{}", ran.stdout_text());
    let ran = run(&mut place.job(&["gc", "lake", "--older-than", "1s"]));
    ran.assert_said(0, "nothing was left behind");
}

#[test]
fn the_layout_and_the_order_have_to_go_with_partitions() {
    require!(Capability::Server);
    let place = Place::of_events("job_partitions_refused");
    for (lines, says) in [
        (
            "file_name = '{table}-{index}'\n[options]\npartition_by = 'id'\n",
            "folders in a table's own folder",
        ),
        ("file_name = '{table}/data'\n[options]\npartition_by = 'id'\n", "folders in a table's own folder"),
        ("[options]\nordered = true\npartition_by = 'id'\n", "the order of all rows is kept"),
        ("[options]\npartition_by = 'week(at)'\n", "job.toml, line 7"),
        (
            "[[table]]\nname = 'plain'\npartition_by = ['x', 'week(at)']\n",
            "line 8: \"week(at)\" is nothing to",
        ),
        (
            "[options]\npartition_by = 'day'\n",
            "public.plain cannot be partitioned so: there is no column \"day\"",
        ),
    ] {
        place.write_events(lines);
        place.run_job(&[]).assert_said(2, says);
        assert!(place.manifests().is_empty(), "{lines}");
    }
    // A value that is no name: the table fails, and the others are committed.
    place.database.execute("UPDATE events SET text = '' WHERE id = 2000");
    place.write_events("[[table]]\nname = 'events'\npartition_by = ['text']\n");
    place.run_job(&["--keep-going"]).assert_said(1, "column \"text\" has the empty text");
    let manifest = place.newest();
    assert_eq!(manifest["failed"][0]["name"], "events");
    assert_eq!(manifest["tables"].as_array().unwrap().len(), 2);
    // Its files that were complete are gone.
    let n_files = place.data_files().len();
    assert_eq!(n_files, 2, "{:?}", place.data_files());
}

#[test]
fn new_rows_go_into_partitions_and_another_layout_begins_anew() {
    require!(Capability::Server);
    let place = Place::of_events("job_partitions_new");
    let lines = |by: &str| {
        place.write_events(&format!(
            "[[table]]\nname = 'events'\nincremental = 'xmin'\npartition_by = [{by}]\n"
        ));
    };
    lines("'is_new'");
    place.run_job(&[]).assert_success();
    place.database.execute("INSERT INTO events (id, is_new) VALUES (0, NULL), (-1, true)");
    place.run_job(&[]).assert_success();
    let events = place.table("events");
    assert_eq!(events["increments"].as_array().unwrap().len(), 2);
    assert_eq!(events["rows"], 3002);
    let new: Vec<_> =
        events["files"].as_array().unwrap().iter().filter(|file| file["increment"] == 1).collect();
    assert!(new.iter().any(|file| file["partition"]["is_new"].is_null()), "{new:?}");
    run(&mut place.job(&["verify", "lake"])).assert_success();
    lines("'mood'");
    place.run_job(&[]).assert_said(0, "all rows are read, since its files are partitioned in another way");
    let events = place.table("events");
    assert_eq!((&events["rows"], events["increments"].as_array().unwrap().len()), (&3002.into(), 1));
    place.verify_events(&[]).assert_success();
}

#[test]
fn partitions_go_to_an_object_store() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("partitions");
    let place = Place::of_events("job_partitions_s3");
    place.write_events("[options]\nmemory = '256M'\nreaders = 2\n[[table]]\nname = 'events'\npartition_by = ['mood', 'day']\n");
    let job =
        fs::read_to_string(place.path("job.toml")).unwrap().replace("\"lake\"", "\"s3://partitions/lake\"");
    fs::write(place.path("job.toml"), job).unwrap();
    let with_s3 = |args: &[&str]| {
        let mut command = place.job(args);
        command.envs(moto.environment());
        command
    };
    run(&mut with_s3(&["run", "job.toml"])).assert_said(0, "3 tables, ");
    run(&mut with_s3(&["verify", "s3://partitions/lake", place.database.url()])).assert_success();
}

/// Queries are partitioned as tables are, and what is held against the server before the commit has the
/// columns that are in paths only.
#[test]
fn partitions_of_queries_and_a_look_before_the_commit() {
    require!(Capability::Server);
    let place = Place::of_events("job_partitions_checked");
    place.write_events(
        "[[query]]\nname = 'days'\nsql = 'select day, count(*) as n from events group by day'\n\
         [options]\npartition_by = 'day'\n[[table]]\nname = 'plain'\npartition_by = []\n",
    );
    place.run_job(&["--verify"]).assert_success();
    let days = place.table("days");
    assert_eq!((days["files"].as_array().unwrap().len(), days["rows"].as_u64()), (5, Some(5)));
    for file in days["files"].as_array().unwrap() {
        assert!(file["path"].as_str().unwrap().starts_with("query/days/day="), "{file}");
    }
    for args in [&[][..], &["--full"]] {
        place.verify_events(args).assert_success();
    }
}
