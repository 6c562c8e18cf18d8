//! `export --reject`: bad rows in a file of their own, beside the output or not at all.

use std::fs;

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, Python, require};

use crate::signals::send;
use crate::support::{ENDLESS, Place, assert_cancelled, batches_of, end_of, eventually, parquet_rows};

/// Two tables with 3 and 2 bad rows of 5,000 and 10, and one without any.
const TABLES: &str = "CREATE SCHEMA s; \
     CREATE TABLE s.one AS SELECT g::int8 AS id, CASE WHEN g % 2000 = 1 THEN date 'infinity' ELSE date '2020-01-01' + g END AS d, \
        CASE WHEN g % 2 = 0 THEN 'a \"text\"' END AS note FROM generate_series(1, 5000) g; \
     CREATE TABLE s.two (id int8, n numeric(8,2), t timestamp); \
     INSERT INTO s.two SELECT g, CASE WHEN g = 4 THEN 'NaN'::numeric ELSE g END, '2020-01-01' FROM generate_series(1, 9) g; \
     INSERT INTO s.two VALUES (10, 'NaN', 'infinity'); CREATE TABLE s.good AS SELECT 1 AS id";

const READ: &str = "
import sys, pyarrow as pa
rows = pa.ipc.open_file(sys.argv[1]).read_all()
print(','.join(rows.column_names))
for row in sorted(rows.to_pylist(), key=lambda row: (row['table'] or '', int(dict(row['row'])['id']))):
    values = ' '.join(f'{name}={value}' for name, value in row['row'])
    print(row['schema'], row['table'], row['column'], row['reason'], values, sep='|')
";

const COLUMNS: &str = "schema,table,partition,ctid,place,column,reason,row";

impl Place {
    /// The lines of a file of rejected rows, as another program reads it.
    fn rejected(&self, name: &str) -> Vec<String> {
        let text = Python::shared().run(READ, &[self.path(name).to_str().unwrap()]);
        let mut lines = text.lines().map(str::to_owned);
        assert_eq!(lines.next().as_deref(), Some(COLUMNS));
        lines.collect()
    }

    fn report(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }
}

#[test]
fn bad_rows_of_a_table_are_beside_its_file() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("rejects");
    place.database.execute(TABLES);
    let args = ["-t", "s.one", "-o", "one.parquet", "--reject", "bad.arrow", "--report", "r.json"];
    let ran = place.export(&args);
    ran.assert_success();
    let warning = "warning: 3 of 5,000 rows (0.06 %) could not be exported, and were written to \"bad.arrow\" with the reasons\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    assert_eq!(parquet_rows(&place.path("one.parquet")), 4997);
    let infinite = "an infinite value, which the Arrow type cannot hold";
    let line = |id: i64| format!("s|one|d|{infinite}|id={id} d=infinity note=None");
    assert_eq!(place.rejected("bad.arrow"), [1, 2001, 4001].map(line));
    let report = place.report("r.json");
    assert_eq!((&report["rows"], &report["rows_rejected"]), (&4997.into(), &3.into()));
    let metrics = ["-t", "s.one", "--to", "none", "--reject", "n.arrow", "--metrics", "m.prom"];
    place.export(&metrics).assert_success();
    assert_eq!(place.rejected("n.arrow").len(), 3);
    let metrics = fs::read_to_string(place.path("m.prom")).unwrap();
    assert!(metrics.contains("pgarrow_run_rows_rejected{name=\"m\"} 3\n"), "{metrics}");

    // An existing file stays unchanged, unless it may be replaced. No output is there then, either.
    let before = fs::read(place.path("bad.arrow")).unwrap();
    let args = ["-t", "s.two", "-o", "two.parquet", "--reject", "bad.arrow"];
    place.export(&args).assert_refused(7, &["bad.arrow", "exists"]);
    assert_eq!(fs::read(place.path("bad.arrow")).unwrap(), before);
    let ran = place.export(&[&args[..], &["--reject-limit", "1", "--overwrite"]].concat());
    ran.assert_refused(6, &["more than 1 row is bad; the next: s.two, column \"n\"", "row 10", "--nan null"]);
    assert_eq!(fs::read(place.path("bad.arrow")).unwrap(), before);
    assert!(!place.names().iter().any(|name| name.contains("two")), "{:?}", place.names());
    place.export(&[&args[..], &["--reject-limit", "2", "--overwrite"]].concat()).assert_success();
    let nan = "NaN or an infinity, which a decimal cannot hold";
    assert_eq!(
        place.rejected("bad.arrow"),
        [
            format!("s|two|n|{nan}|id=4 n=NaN t=2020-01-01 00:00:00"),
            format!("s|two|n|{nan}|id=10 n=NaN t=infinity"),
        ]
    );
    // Choices keep rows. The file is there also if no row is bad.
    let ran =
        place.export(&["-t", "s.one", "-o", "kept.parquet", "--infinity", "null", "--reject", "0.arrow"]);
    ran.assert_success();
    assert!(!ran.stderr.contains("could not"), "{}", ran.stderr);
    assert_eq!((parquet_rows(&place.path("kept.parquet")), place.rejected("0.arrow").len()), (5000, 0));
    // A table of the server can take the lines.
    if Capability::Extension("hstore").probe().is_ok() {
        place.database.execute("CREATE EXTENSION hstore; CREATE TABLE lines (place text, row hstore)");
        place.load(&["bad.arrow", "--into", "lines", "--columns", "place,row"]).assert_success();
        let sql = "SELECT string_agg(row -> 't', ' ' ORDER BY (row -> 'id')::int) FROM lines";
        let texts: String = place.database.client().query_one(sql, &[]).unwrap().get(0);
        assert_eq!(texts, "2020-01-01 00:00:00 infinity");
    }
    // To stdout.
    let args = ["-t", "s.two", "--to", "ipc-stream", "-o", "-", "--reject", "out.arrow"];
    let ran = place.export(&args);
    ran.assert_success();
    let rows: usize = crate::support::stream(&ran.stdout).iter().map(|batch| batch.num_rows()).sum();
    assert_eq!((rows, place.rejected("out.arrow").len()), (8, 2));
}

#[test]
fn bad_rows_of_many_tables_are_in_one_file() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("rejects_many");
    place.database.execute(TABLES);
    for (output, more) in [("a/", &[][..]), ("b/", &["--readers", "3", "--slice-bytes", "64K", "--ordered"])]
    {
        let bad = format!("{}.arrow", output.trim_end_matches('/'));
        let args = ["--schema", "s", "-o", output, "--reject", &bad, "--report", "r.json", "--overwrite"];
        let ran = place.export(&[&args[..], more].concat());
        ran.assert_success();
        assert!(ran.stderr.contains("5 of 5,011 rows (0.10 %) could not be exported"), "{}", ran.stderr);
        let lines = place.rejected(&bad);
        assert_eq!(lines.len(), 5);
        assert!(lines[0].starts_with("s|one|d|") && lines[4].starts_with("s|two|n|"), "{lines:?}");
        let report = place.report("r.json");
        let tables = report["tables"].as_array().unwrap().iter();
        let mut counts: Vec<_> =
            tables.map(|table| ["rows", "rows_rejected"].map(|name| table[name].as_u64().unwrap())).collect();
        counts.sort_unstable();
        assert_eq!((counts, &report["rows_rejected"]), (vec![[1, 0], [8, 2], [4997, 3]], &5.into()));
        assert_eq!(parquet_rows(&place.path(&format!("{output}s.two.parquet"))), 8);
    }
    // The limit is one of all tables.
    let args = ["--schema", "s", "-o", "c/", "--reject", "c.arrow", "--reject-limit", "4"];
    place.export(&args).assert_refused(6, &["more than 4 rows are bad"]);
    assert!(!place.path("c").exists() && !place.path("c.arrow").exists());
}

/// An empty output would look as if the table were empty.
#[test]
fn an_export_of_bad_rows_alone_has_failed() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("rejects_all");
    let rows = |n: usize| format!("select g as id, 'infinity'::date as d from generate_series(1, {n}) g");
    let ran = place.export(&["-q", &rows(5), "-o", "x.parquet", "--reject", "bad.arrow"]);
    ran.assert_refused(6, &["all 5 rows were rejected", "\"bad.arrow\" has them, with the reasons"]);
    assert_eq!(place.names(), ["bad.arrow"]);
    assert_eq!(place.rejected("bad.arrow").len(), 5);
    // Whoever gives up has not seen all.
    let ran = place.export(&["-q", &rows(3000), "-o", "x.parquet", "--reject", "first.arrow"]);
    ran.assert_refused(6, &["each of the first 1000 rows is bad", "row 1000", "with --reject-limit ROWS"]);
    assert_eq!(place.names(), ["bad.arrow"]);
    let ran = place.export(&[
        "-q",
        &rows(3000),
        "-o",
        "x.parquet",
        "--reject",
        "all.arrow",
        "--reject-limit",
        "3000",
    ]);
    ran.assert_refused(6, &["all 3000 rows were rejected"]);
    assert_eq!(place.rejected("all.arrow").len(), 3000);
}

#[test]
fn a_run_that_is_stopped_leaves_no_file() {
    require!(Capability::Server);
    let place = Place::new("rejects_stopped");
    let query =
        format!("select g, case when g % 1000 = 0 then date 'infinity' end as d, x from ({ENDLESS}) q");
    let args = ["-q", &query, "-o", "x.arrow", "--reject", "bad.arrow"];
    let child = place.start_copy(&args);
    eventually("rows were written", || {
        let hidden =
            place.names().into_iter().map(|name| fs::metadata(place.path(&name)).map_or(0, |it| it.len()));
        hidden.max().unwrap_or(0) > 1 << 20
    });
    assert_eq!(place.names().len(), 2, "{:?}", place.names());
    send(&child, Signal::SIGINT);
    let ran = end_of(child, 10);
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert_cancelled(&ran, "SIGINT");
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn what_does_not_go_with_rejects() {
    let place = Place::new("rejects_options");
    let table = |args: &[&'static str]| {
        let ran = place.export(&[&["-t", "t"], args].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        ran.stderr
    };
    for (args, says) in [
        (&["-o", "x.arrow", "--reject", "x.arrow"][..], "--reject and --output name the same file"),
        (&["-o", "x/", "--reject", "x/bad.arrow"], "--reject would be in the folder of --output"),
        (&["-o", "x.arrow", "--reject", "r", "--report", "./r"], "--report and --reject name the same file"),
        (&["-o", "x.arrow", "--reject", "s3://b/r.arrow"], "--reject"),
        (&["-o", "x.arrow", "--reject-limit", "3"], "--reject <FILE>"),
        (&["-o", "x.arrow", "--reject", "r.arrow", "--dry-run"], "--dry-run"),
        (
            &["--to", "postgres", "--into", "u", "--target", "host=h", "--reject", "r.arrow"],
            "--reject is for exports to files",
        ),
    ] {
        let said = table(args);
        assert!(said.contains(says), "{args:?}: {said}");
    }
    assert!(place.names().is_empty(), "{:?}", place.names());
}

/// A slice that another process reads: the rows that it rejects have their places, too.
#[test]
fn bad_rows_of_a_slice() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("rejects_slice");
    place.database.execute(TABLES);
    let (holder, tokens) = place.hold(&["-t", "s.one", "--slice-bytes", "64K"]);
    let mut n_rows = 0;
    let mut lines = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let (output, bad) = (format!("{index}.parquet"), format!("{index}.arrow"));
        place.export(&["--slice", token, "-o", &output, "--reject", &bad]).assert_success();
        n_rows += batches_of(&place.path(&output)).iter().map(|batch| batch.num_rows()).sum::<usize>();
        lines.extend(place.rejected(&bad));
    }
    assert!(tokens.len() > 2, "{}", tokens.len());
    assert_eq!((n_rows, lines.len()), (4997, 3), "{lines:?}");
    send(&holder, Signal::SIGINT);
    end_of(holder, 10);
}
