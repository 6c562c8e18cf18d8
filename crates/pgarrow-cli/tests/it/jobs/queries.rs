//! Queries in a job, beside tables.

use std::fs;

use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use super::incremental::table;
use crate::support::{NUMBERS, Place, parquet_rows, run};

/// A text that may be in no file of a run but the data themselves.
const SECRET: &str = "hunter2";

impl Place {
    /// Writes a job with these tables and sections.
    pub(super) fn write_queries(&self, tables: &str, lines: &str) {
        let url = self.database.url();
        let job = format!(
            "[source]\nconnection = \"{url}\"\ntables = [{tables}]\n[destination]\npath = \"lake\"\n{lines}"
        );
        fs::write(self.path("job.toml"), job).unwrap();
    }

    fn rows_of_query(&self, name: &str) -> usize {
        let table = table(self, name);
        let files = table["files"].as_array().unwrap();
        files.iter().map(|file| parquet_rows(&self.path("lake").join(file["path"].as_str().unwrap()))).sum()
    }
}

#[test]
fn queries_are_read_beside_tables() {
    require!(Capability::Server);
    let place = Place::new("job_queries");
    place.database.execute(NUMBERS);
    place.database.execute("CREATE TABLE one AS SELECT 1 AS id; ANALYZE");
    fs::create_dir(place.path("sql")).unwrap();
    fs::write(place.path("sql/all.sql"), "SELECT * FROM t -- ${no variable}\n").unwrap();
    let queries = format!(
        "success_file = true\n[options]\nslice_bytes = '256K'\n\
         [[query]]\nname = 'totals'\nsql = '''SELECT id % 10 AS digit, count(*) AS n, '{SECRET}'::text AS s\n\
         FROM t GROUP BY 1'''\n\
         [[query]]\nname = 'all'\nfile = 'sql/all.sql'\nsplit_on = 'id'\n\
         [[query]]\nname = 'ALL'\nsql = 'VALUES (1), (2)'\n"
    );
    place.write_queries("'public.t', 'public.one'", &queries);
    let ran = run(&mut place.job(&["check", "job.toml"]));
    ran.assert_success();
    for says in ["query totals: 3 columns, size not known", "2 tables, 3 queries can be read"] {
        assert!(ran.stdout_text().contains(says), "{says}: {ran:?}");
    }
    assert!(!place.path("lake/_pgarrow/manifests").exists());
    for readers in ["1", "3"] {
        let ran = place.run_job(&["--readers", readers, "--report", "report.json"]);
        ran.assert_said(0, "2 tables, 3 queries, 40,013 rows");
        let manifest = place.newest();
        let tables = manifest["tables"].as_array().unwrap();
        let names: Vec<_> = tables
            .iter()
            .map(|table| [&table["schema"], &table["name"]].map(|it| it.as_str().unwrap()))
            .collect();
        let expected =
            [["public", "t"], ["public", "one"], ["query", "totals"], ["query", "all"], ["query", "ALL"]];
        assert_eq!(names, expected);
        for table in tables {
            assert_eq!(table["query_sha256"].is_string(), table["schema"] == "query", "{table}");
            assert_eq!(table["increments"][0]["snapshot"], manifest["snapshot"]);
        }
        assert_eq!(["totals", "all", "ALL"].map(|name| place.rows_of_query(name)), [10, 20_000, 2]);
        let slices = table(&place, "all")["slices"].as_u64().unwrap();
        assert_eq!(slices > 1, readers != "1", "{slices}");
        let totals = table(&place, "totals")["files"][0]["path"].as_str().unwrap().to_owned();
        assert!(totals.starts_with("query/totals/part-00000-"), "{totals}");
        // The text of a query may have secrets.
        let report = fs::read_to_string(place.path("report.json")).unwrap();
        assert!(report.contains("query totals") && !report.contains("GROUP BY"), "{report}");
        let manifest = fs::read_to_string(place.manifests().last().unwrap()).unwrap();
        assert!(!manifest.contains("GROUP BY"), "{manifest}");
        run(&mut place.job(&["verify", "lake"])).assert_success();
        let ran = run(&mut place.job(&["verify", "lake", place.database.url()]));
        ran.assert_said(0, "3 tables could not be compared");
        assert!(ran.stdout_text().contains("query.totals: not compared: it is a query"), "{ran:?}");
        assert!(ran.stderr.contains("2 tables with 20,001 rows are what the server has"), "{ran:?}");
    }
    // What the run before has left is garbage, also of queries.
    let before = place.data_files().len();
    super::age(&place);
    run(&mut place.job(&["gc", "lake", "--keep", "1", "--older-than", "30m", "--delete"])).assert_success();
    assert!(place.data_files().len() < before);
    assert_eq!(place.rows_of_query("all"), 20_000);
    // Queries alone; and into several files.
    place.write_queries("", "[options]\nfile_size = '16K'\nrow_group_rows = 2000\n[[query]]\nname = 'q'\nsql = 'SELECT * FROM t'\n");
    place.run_job(&[]).assert_said(0, "1 query, 20,000 rows");
    assert_eq!(place.rows_of_query("q"), 20_000);
    assert!(table(&place, "q")["files"].as_array().unwrap().len() > 1);
}

#[test]
fn queries_that_cannot_be_read() {
    require!(Capability::Server);
    let place = Place::new("job_bad_queries");
    place.database.execute(NUMBERS);
    place
        .database
        .execute("CREATE SCHEMA query; CREATE TABLE query.q AS SELECT 1 AS id; CREATE TABLE none ()");
    let query = |name: &str, sql: &str| format!("[[query]]\nname = '{name}'\nsql = '''{sql}'''\n");
    for (sections, says) in [
        // All that is wrong is said at once, with names and places.
        (
            query("a", "SELECT id,\n  nonsense FROM t") + &query("b", "SELEC 1"),
            &["query a, line 2, column 3: ", "\"nonsense\" does not exist", "query b, line 1, column 1: "][..],
        ),
        (query("a", "SELECT 1") + &query("a", "SELECT 2"), &["two queries have the name \"a\""]),
        (query("q", "SELECT 1"), &["the query \"q\" and the table query.q would have the same files"]),
        (query("a/b", "SELECT 1"), &["the name \"a/b\" of a query", "letters, digits"]),
        (query("a", "SELECT $1"), &["query a: the query takes 1 parameters"]),
        (query("a", "DELETE FROM t"), &["query a: "]),
        (query("a", "SELECT 1; SELECT 2"), &["query a: "]),
        (query("a", "SELECT 1") + "split_on = 'b'\n", &["query a: ", "\"b\""]),
        (
            "[[query]]\nname = 'a'\nfile = 'a.sql'\n".to_owned(),
            &["line 8: the file \"a.sql\" cannot be read"],
        ),
        (query("a", "SELECT 1") + "incremental = 'xmin'\n", &["each run reads all rows of a query"]),
        (query("a", "SELECT 1") + "[options]\ncolumn = 'nowhere:text'\n", &["\"nowhere\""]),
    ] {
        place.write_queries("'public.t', 'query.q'", &sections);
        for command in ["check", "run"] {
            let ran = run(&mut place.job(&[command, "job.toml"]));
            assert!(matches!(ran.code, Some(2 | 4)), "{sections}: {ran:?}");
            for says in says {
                assert!(ran.stderr.contains(says), "{says}: {ran:?}");
            }
        }
    }
    assert!(place.manifests().is_empty() && place.data_files().is_empty());

    // Or go on without them, whether they fail while they are planned or while they are read.
    let sections =
        query("a", "SELECT nonsense") + &query("b", "SELECT 1 / (id - 3) FROM t") + &query("c", "SELECT 1");
    place.write_queries("'public.t', 'public.none'", &sections);
    let ran = place.run_job(&["--keep-going"]);
    ran.assert_said(1, "3 of 5 tables failed; the others are committed");
    for says in ["query a, line 1, column 8: ", "query b: ", "division by zero", "public.none has no columns"]
    {
        assert!(ran.stderr.contains(says), "{says}: {ran:?}");
    }
    let manifest = place.newest();
    let names = |list: &str| -> Vec<String> {
        let tables = manifest[list].as_array().unwrap();
        let mut names: Vec<_> =
            tables.iter().map(|table| table["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(
        (names("tables"), names("failed")),
        (vec!["c".into(), "t".into()], vec!["a".into(), "b".into(), "none".into()])
    );
    let of_query = |failed: &&Value| failed["schema"] == "query";
    assert_eq!(manifest["failed"].as_array().unwrap().iter().filter(of_query).count(), 2);
}
