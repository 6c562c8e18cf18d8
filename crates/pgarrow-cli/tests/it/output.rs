//! What the command writes, and where.

use std::fs::{self, File};
use std::io::Read;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_ipc::reader::FileReader;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use pgarrow_testkit::{Capability, TestServer, require};

use crate::support::{Place, command, end_of, parquet_rows, run, stream};

#[test]
fn the_ending_of_the_name_says_the_format() {
    require!(Capability::Server);
    let place = Place::new("endings");
    place.database.execute("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 1000) g");
    for name in ["a.parquet", "b.PARQUET", "c.arrow", "d.feather", "e.ipc", "f.arrows"] {
        place.export(&["-t", "t", "-o", name]).assert_success();
    }
    assert_eq!(place.names(), ["a.parquet", "b.PARQUET", "c.arrow", "d.feather", "e.ipc", "f.arrows"]);
    for name in ["a.parquet", "b.PARQUET"] {
        assert_eq!(parquet_rows(&place.path(name)), 1000);
    }
    for name in ["c.arrow", "d.feather", "e.ipc"] {
        let reader = FileReader::try_new(File::open(place.path(name)).unwrap(), None).unwrap();
        assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 1000);
    }
    let batches = stream(&fs::read(place.path("f.arrows")).unwrap());
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1000);
}

#[test]
fn stdout_is_data_and_nothing_else() {
    require!(Capability::Server);
    let place = Place::new("stdout");
    let query = "select 7 as a, null::aclitem as b";
    let ran = place.export(&["-q", query, "--to", "ipc-stream", "-o", "-"]);
    ran.assert_success();
    assert_eq!(stream(&ran.stdout)[0].column(0).as_primitive::<Int32Type>().value(0), 7);
    // The warning and the summary went to stderr.
    assert!(ran.stderr.contains("warning: column \"b\" (aclitem) is read as text"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the query: 1 row, "), "{}", ran.stderr);

    let ran = place.export(&["-q", query, "--to", "parquet", "-o", "-", "--quiet"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.starts_with(b"PAR1") && ran.stdout.ends_with(b"PAR1"));
    let ran = place.export(&["-q", query, "--to", "none"]);
    ran.assert_success();
    assert!(ran.stdout.is_empty());
}

#[test]
fn quiet_leaves_only_errors() {
    require!(Capability::Server);
    let place = Place::new("quiet");
    let ran = place.export(&["-q", "select null::aclitem", "-o", "x.parquet", "--quiet"]);
    assert_eq!((ran.code, ran.stdout.len(), ran.stderr.as_str()), (Some(0), 0, ""));
    place.export(&["-q", "select 1", "-o", "x.parquet", "--quiet"]).assert_refused(7, &["exists"]);
}

#[test]
fn a_reader_that_leaves() {
    require!(Capability::Server);
    let place = Place::new("pipe");
    let mut child = place.start_copy(&["-q", crate::support::ENDLESS, "--to", "ipc-stream", "-o", "-"]);
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let ran = end_of(child, 20);
    // No message, but not a success.
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(141), ""));
    crate::support::eventually("the server has stopped", || place.database.n_sessions("pgarrow") == 0);
}

#[test]
fn stdout_that_is_closed() {
    require!(Capability::Server);
    let place = Place::new("closed");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec \"$@\" >&- 2>&-", "sh", env!("CARGO_BIN_EXE_pgarrow"), "export"]);
    shell.args([place.database.url(), "-q", "select 1", "-o"]).arg(place.path("x.parquet"));
    run(&mut shell).assert_success();
    assert_eq!(parquet_rows(&place.path("x.parquet")), 1);
}

#[test]
fn the_report() {
    require!(Capability::Server);
    let place = Place::new("report");
    place
        .database
        .execute("CREATE TABLE t AS SELECT g::int8 AS a, g::text AS b FROM generate_series(1, 1000) g");
    place.export(&["-t", "t", "-o", "x.parquet", "--report", "r.json"]).assert_success();
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    assert_eq!(report["report_version"], 3);
    assert_eq!(report["subject"], "public.t");
    assert_eq!(report["server"]["database"], place.database.name());
    assert_eq!(report["rows"], 1000);
    assert_eq!(report["files"][0]["path"], "x.parquet");
    assert_eq!(report["files"][0]["rows"], 1000);
    assert_eq!(report["files"][0]["row_groups"], 1);
    assert_eq!(report["files"][0]["bytes"], fs::metadata(place.path("x.parquet")).unwrap().len());
    assert_eq!(report["columns"][0]["name"], "a");
    assert_eq!(report["columns"][0]["pg_type"], "bigint");
    assert_eq!(report["columns"][0]["arrow_type"], "Int64");
    for number in ["wire_bytes", "batches", "seconds", "peak_memory_bytes"] {
        assert!(report[number].as_f64().unwrap() > 0.0, "{number}");
    }
    assert!(report["snapshot"].as_str().unwrap().contains(':'));
    assert_eq!((&report["status"], &report["exit_code"]), (&"complete".into(), &0.into()));
    assert_eq!(report["run_id"].as_str().map(str::len), Some(32));
    let moment = |name: &str| report[name].as_str().unwrap().to_owned();
    assert!(moment("started") < moment("ended") && moment("ended").ends_with('Z'), "{report}");
}

#[test]
fn part_of_a_table_with_names_as_in_psql() {
    require!(Capability::Server);
    let place = Place::new("names");
    place.database.execute(
        "CREATE SCHEMA \"S\"; CREATE TABLE \"S\".\"My.Table\" AS \
         SELECT g AS a, -g::int8 AS \"B,c\", 'x' AS left_out FROM generate_series(1, 10) g; \
         CREATE TABLE lower AS SELECT 1 AS a",
    );
    let args = ["-t", "\"S\".\"My.Table\"", "--columns", "\"B,c\", A", "--where", "a > 7 -- more\n"];
    let ran = place.export(&[&args[..], &["--to", "ipc-stream", "-o", "-"]].concat());
    ran.assert_success();
    let batch = &stream(&ran.stdout)[0];
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["B,c", "a"]);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values().as_ref(), [-8, -9, -10]);
    place.export(&["-t", "LOWER", "--to", "none"]).assert_success();
    place.export(&["-t", "PUBLIC.Lower", "--to", "none"]).assert_success();
    place.export(&["-t", "\"LOWER\"", "--to", "none"]).assert_refused(2, &["there is no table \"LOWER\""]);
}

#[test]
fn parameters_settings_and_a_query_from_a_file() {
    require!(Capability::Server);
    let place = Place::new("parameters");
    fs::write(
        place.path("q.sql"),
        "select $1::int4 + $2 as a, $3::text as b, current_setting('my.x') as c\n",
    )
    .unwrap();
    let args = ["--query-file", "q.sql", "--param", "3", "--param", "-5", "--param", "it's; -- $1", "--set"];
    let ran = place.export(&[&args[..], &["my.x=y=z", "--to", "ipc-stream", "-o", "-"]].concat());
    ran.assert_success();
    let batch = &stream(&ran.stdout)[0];
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().value(0), -2);
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "it's; -- $1");
    assert_eq!(batch.column(2).as_string::<i32>().value(0), "y=z");
}

#[test]
fn parameters_of_a_filter() {
    require!(Capability::Server);
    let place = Place::new("filter parameters");
    place
        .database
        .execute("CREATE TABLE t AS SELECT g AS a, 'it''s ' || g AS b FROM generate_series(1, 20) g");
    let filter = ["-t", "t", "--where", "a > $1 and b <> $2"];
    let args = ["--param", "17", "--param", "it's 19", "--to", "ipc-stream", "-o", "-"];
    let ran = place.export(&[&filter[..], &args[..]].concat());
    ran.assert_success();
    assert_eq!(stream(&ran.stdout)[0].column(0).as_primitive::<Int32Type>().values().as_ref(), [18, 20]);
    let ran = place.export(&[&filter[..], &["--param", "17", "--to", "none"]].concat());
    ran.assert_refused(2, &["the filter takes 2 parameters", "1 were given"]);
}

#[test]
fn the_size_of_row_groups_batches_and_the_codec() {
    require!(Capability::Server);
    let place = Place::new("sizes");
    let query = "select g from generate_series(1, 1000) g";
    let args = ["-q", query, "-o", "x.parquet", "--row-group-rows", "300", "--compression", "gzip:3"];
    let ran = place.export(&args);
    ran.assert_success();
    assert!(ran.stderr.contains("x.parquet: ") && ran.stderr.contains(", 4 row groups"), "{}", ran.stderr);
    let reader = SerializedFileReader::new(File::open(place.path("x.parquet")).unwrap()).unwrap();
    let sizes: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(sizes, [300, 300, 300, 100]);
    let codec = reader.metadata().row_group(0).column(0).compression();
    assert!(matches!(codec, parquet::basic::Compression::GZIP(_)), "{codec:?}");

    let args = ["-q", query, "--to", "ipc-stream", "-o", "-", "--batch-rows", "400", "--compression", "zstd"];
    let sizes: Vec<usize> = stream(&place.export(&args).stdout).iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [400, 400, 200]);
    let args = ["-q", query, "--to", "ipc-stream", "-o", "-", "--batch-bytes", "1K"];
    assert!(stream(&place.export(&args).stdout).len() > 2);
}

#[test]
fn intervals_have_a_form_in_parquet() {
    require!(Capability::Server);
    let place = Place::new("intervals");
    for name in ["x.parquet", "x.arrow"] {
        place.export(&["-q", "select interval '1 month 2 days 3 s' as i", "-o", name]).assert_success();
    }
}

#[test]
fn overwriting_replaces_at_the_end() {
    require!(Capability::Server);
    let place = Place::new("overwrite");
    fs::write(place.path("x.parquet"), "old").unwrap();
    let ran = place.export(&["-q", "select 1/0", "-o", "x.parquet", "--overwrite"]);
    assert_eq!(ran.code, Some(4));
    assert_eq!(fs::read_to_string(place.path("x.parquet")).unwrap(), "old");
    place.export(&["-q", "select 1", "-o", "x.parquet", "--overwrite"]).assert_success();
    assert_eq!(parquet_rows(&place.path("x.parquet")), 1);
}

#[test]
fn the_environment_is_the_connection_when_none_is_given() {
    require!(Capability::PrivateServer);
    let place = Place::new("environment");
    let port = TestServer::shared().private().unwrap().port().to_string();
    let mut with_environment = command(place.folder.path());
    with_environment.env("PGHOST", "127.0.0.1").env("PGPORT", &port).env("PGUSER", "postgres");
    with_environment.env("PGDATABASE", place.database.name());
    let args = ["export", "-q", "select current_database()::text", "--to", "ipc-stream", "-o", "-"];
    let ran = run(with_environment.args(args));
    ran.assert_success();
    assert_eq!(stream(&ran.stdout)[0].column(0).as_string::<i32>().value(0), place.database.name());
}

#[test]
fn an_empty_result_is_a_file_with_a_schema() {
    require!(Capability::Server);
    let place = Place::new("empty");
    for name in ["x.parquet", "x.arrow"] {
        let ran = place.export(&["-q", "select 1 as a where false", "-o", name]);
        ran.assert_success();
        assert!(ran.stderr.contains("the query: 0 rows"), "{}", ran.stderr);
    }
    assert_eq!(parquet_rows(&place.path("x.parquet")), 0);
}
