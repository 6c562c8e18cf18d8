//! Folders of files: one table or several, there with all their files or not at all.

use std::fs;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pgarrow_testkit::{Capability, Python, require};

use crate::support::{NUMBERS, Place, names, parts, run};

const PYARROW: &str = "
import sys, pyarrow.dataset as ds
table = ds.dataset(sys.argv[1], format=sys.argv[2]).to_table()
print(table.num_rows, sum(table['id'].to_pylist()))
";

const DUCKDB: &str = "
import sys, duckdb
print(*duckdb.sql(f\"select count(*), sum(id), count(distinct text) from '{sys.argv[1]}/*.parquet'\").fetchall()[0])
";

const PARTS: [&str; 7] = ["-t", "t", "--slice-bytes", "64K", "--readers", "3", "-o"];

#[test]
fn a_folder_is_read_by_pyarrow_and_duckdb() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("folder");
    place.database.execute(NUMBERS);
    for (args, kind, at_least) in [
        (&["a/"][..], "parquet", 1),
        (&["b/", "--file-size", "30K", "--row-group-rows", "1000"], "parquet", 5),
        (&["c/", "--file-size", "100K", "--to", "ipc", "--batch-rows", "1000"], "ipc", 5),
        (&["d.arrow/", "--ordered"], "ipc", 1),
        (&["e/", "--ordered", "--file-size", "30K", "--row-group-rows", "1000"], "parquet", 5),
    ] {
        let ran = place.export(&[&PARTS[..], args].concat());
        ran.assert_success();
        let folder = place.path(args[0]);
        let files = parts(&folder);
        assert!(files.len() >= at_least, "{args:?}: {files:?}");
        // With `--ordered` there is one sequence of files; otherwise up to as many at a time as readers.
        let is_one = args.contains(&"--ordered") && at_least == 1;
        assert!(!is_one || files.len() == 1, "{args:?}: {files:?}");
        for (number, name) in files.iter().enumerate() {
            let extension = if kind == "ipc" { "arrow" } else { "parquet" };
            assert_eq!(*name, format!("part-{number:05}.{extension}"));
        }
        let folder = folder.to_str().unwrap().trim_end_matches('/');
        assert_eq!(Python::shared().run(PYARROW, &[folder, kind]).trim_end(), "20000 200010000", "{args:?}");
        if kind == "parquet" {
            assert_eq!(
                Python::shared().run(DUCKDB, &[folder]).trim_end(),
                "20000 200010000 20000",
                "{args:?}"
            );
        }
        if files.len() > 4 {
            let all = format!("{}: {} files, ", args[0], files.len());
            assert!(ran.stderr.contains(&all), "{all:?} is not in {}", ran.stderr);
        }
    }
    // With `--ordered`: the same rows in the same files, by any number of readers.
    let again = ["-t", "t", "--slice-bytes", "64K", "--readers", "1", "-o", "f/", "--ordered"];
    place
        .export(&[&again[..], &["--file-size", "30K", "--row-group-rows", "1000"]].concat())
        .assert_success();
    let files = parts(&place.path("f"));
    assert_eq!(files, parts(&place.path("e")));
    for name in files {
        assert!(
            fs::read(place.path("e").join(&name)).unwrap() == fs::read(place.path("f").join(&name)).unwrap()
        );
    }
}

#[test]
fn a_folder_that_is_there_and_one_that_fails() {
    require!(Capability::Server);
    let place = Place::new("folder_there");
    place.database.execute(NUMBERS);
    fs::create_dir(place.path("out")).unwrap();
    // An empty folder counts as none. One reader may read all slices: several files come of their size.
    place.export(&[&PARTS[..], &["out/", "--file-size", "64K"]].concat()).assert_success();
    let before = names(&place.path("out"));
    place.export(&[&PARTS[..], &["out/"]].concat()).assert_refused(7, &["\"out/\"", "--overwrite"]);
    // A run that fails leaves the old files, and nothing else.
    let fails =
        ["-q", "select 1 / (90000 - g) from generate_series(1, 100000) g", "-o", "out/", "--overwrite"];
    assert_eq!(place.export(&fails).code, Some(4));
    assert_eq!((place.names(), names(&place.path("out"))), (vec!["out".to_owned()], before.clone()));
    let fails = ["-q", "select 1 / (90000 - g) from generate_series(1, 100000) g", "-o", "new/"];
    assert_eq!(place.export(&fails).code, Some(4));
    assert_eq!(place.names(), ["out"]);
    // A run that succeeds replaces all of it.
    assert!(before.len() > 2, "{before:?}");
    place.export(&["-q", "select 1 as a", "-o", "out/", "--overwrite"]).assert_success();
    assert_eq!(parts(&place.path("out")), ["part-00000.parquet"]);
    place.export(&["-t", "t", "-o", "out"]).assert_refused(2, &["\"out\" says no format"]);
    place
        .export(&["-t", "t", "--to", "parquet", "-o", "out"])
        .assert_refused(7, &["is a folder", "end it with /"]);
}

const OTHERS: &str = "
import sys, pyarrow as pa, pyarrow.parquet as pq, pyarrow.feather as feather
table = pa.table({'a': [1, 2, 3]})
pq.write_table(table, sys.argv[1] + '.parquet')
feather.write_feather(table, sys.argv[1] + '.arrow')
with pa.ipc.new_stream(sys.argv[1] + '.arrows', table.schema) as stream:
    stream.write_table(table)
";

/// Before, folders were emptied if all names in them ended like an export's: `--overwrite` removed the user's
/// own files.
#[test]
fn a_folder_of_somebody_elses_files_is_never_replaced() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("folder_of_others");
    let export = ["-q", "select 1 as a", "-o", "out/", "--overwrite"];
    let theirs = place.path("theirs");
    Python::shared().run(OTHERS, &[theirs.to_str().unwrap()]);
    for extension in ["parquet", "arrow", "arrows"] {
        // Alone; or among files of exports, with a manifest and without.
        for (n_ours, has_manifest) in [(0, false), (1, false), (1, true)] {
            let out = place.path("out");
            fs::create_dir(&out).unwrap();
            if n_ours > 0 {
                place.export(&export).assert_success();
            }
            if !has_manifest {
                let _ = fs::remove_file(out.join("_pgarrow_manifest.json"));
            }
            fs::copy(theirs.with_extension(extension), out.join(format!("x.{extension}"))).unwrap();
            fs::write(out.join("_SUCCESS"), "").unwrap();
            let before = names(&out);
            let says = ["\"out/\"", "a file in it that no export has made", &format!("\"x.{extension}\"")];
            place.export(&export).assert_refused(7, &says);
            assert_eq!(names(&out), before);
            fs::remove_dir_all(&out).unwrap();
        }
        let _ = fs::remove_file(theirs.with_extension(extension));
    }
    // Exports' files say so themselves, in every format and under any name; an export of an older version has
    // no manifest.
    for to in ["parquet", "ipc", "ipc-stream"] {
        place.export(&["-q", "select 1 as a", "-o", "out/", "--to", to, "--overwrite"]).assert_success();
        let out = place.path("out");
        fs::remove_file(out.join("_pgarrow_manifest.json")).unwrap();
        let [name] = &names(&out)[..] else { panic!("{:?}", names(&out)) };
        fs::rename(out.join(name), out.join("renamed")).unwrap();
        fs::write(out.join("_SUCCESS"), "").unwrap();
        fs::write(out.join(".part.crc"), "crc").unwrap();
    }
    place.export(&export).assert_success();
    assert_eq!(parts(&place.path("out")), ["part-00000.parquet"]);
    // The current folder, empty or not.
    for is_empty in [true, false] {
        let here = place.path("here");
        if is_empty {
            fs::create_dir(&here).unwrap();
        } else {
            fs::copy(place.path("out/part-00000.parquet"), here.join("part-00000.parquet")).unwrap();
        }
        let mut command = place.export_command(&["-q", "select 1 as a", "-o", "./", "--overwrite"]);
        run(command.current_dir(&here)).assert_refused(7, &["\"./\"", "the current folder"]);
        assert_eq!(names(&here).len(), usize::from(!is_empty));
    }
}

#[test]
fn tables_come_together() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("tables");
    place.database.execute(NUMBERS);
    place.database.execute(
        "CREATE SCHEMA \"S\"; CREATE TABLE \"S\".\"a/b\" AS SELECT g::int8 AS id FROM generate_series(1, 10) g; \
         CREATE TABLE \"S\".empty (id int8); \
         CREATE MATERIALIZED VIEW \"S\".m AS SELECT 5::int8 AS id; \
         CREATE VIEW \"S\".left_out AS SELECT 1 AS id; \
         CREATE TABLE \"S\".p (id int8) PARTITION BY RANGE (id); \
         CREATE TABLE \"S\".p1 PARTITION OF \"S\".p FOR VALUES FROM (0) TO (10); \
         INSERT INTO \"S\".p SELECT g FROM generate_series(0, 9) g",
    );
    let args = ["--schema", "S", "-t", "T", "--slice-bytes", "64K", "--readers", "3"];
    let ran = place.export(&[&args[..], &["-o", "all/", "--report", "r.json"]].concat());
    ran.assert_success();
    let files = ["S.a%2Fb.parquet", "S.empty.parquet", "S.m.parquet", "S.p.parquet", "public.t.parquet"];
    assert_eq!(parts(&place.path("all")), files);
    assert!(ran.stderr.contains("5 tables: 20,021 rows, "), "{}", ran.stderr);
    assert!(ran.stderr.contains("all/: 5 files, "), "{}", ran.stderr);
    for (name, totals) in files.iter().zip(["10 55", "0 0", "1 5", "10 45", "20000 200010000"]) {
        let path = place.path("all").join(name);
        assert_eq!(
            Python::shared().run(PYARROW, &[path.to_str().unwrap(), "parquet"]).trim_end(),
            totals,
            "{name}"
        );
    }
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    assert_eq!((&report["subject"], &report["rows"]), (&"5 tables".into(), &20_021.into()));
    let tables = report["tables"].as_array().unwrap();
    let large = tables.iter().find(|table| table["table"] == "public.t").unwrap();
    assert_eq!(large["rows"], 20_000);
    assert_eq!(tables.len(), 5);

    let ran = place.export(&[&args[..], &["--to", "none"]].concat());
    ran.assert_success();
    assert!(ran.stderr.contains("5 tables: 20,021 rows, "), "{}", ran.stderr);
    // With other file sizes and formats.
    let sized = [
        "-t",
        "t",
        "-t",
        "\"S\".p",
        "-o",
        "sized/",
        "--to",
        "ipc-stream",
        "--batch-rows",
        "1000",
        "--file-size",
    ];
    place.export(&[&sized[..], &["100K", "--quiet"]].concat()).assert_success();
    let files = parts(&place.path("sized"));
    assert!(files.len() > 3, "{files:?}");
    assert_eq!((files[0].as_str(), files[1].as_str()), ("S.p-00000.arrows", "public.t-00000.arrows"));

    // One table that fails stops all.
    place.database.execute("CREATE TABLE \"S\".z AS SELECT 'infinity'::timestamp AS at");
    let ran = place.export(&[&args[..], &["-o", "none/"]].concat());
    ran.assert_refused(6, &["\"S\".z", "\"at\""]);
    assert_eq!(place.names(), ["all", "r.json", "sized"]);
    place.export(&["--schema", "s", "--to", "none"]).assert_refused(2, &["s"]);
    place.export(&["-t", "t", "-t", "u", "--to", "none"]).assert_refused(2, &["there is no table \"u\""]);
}

#[test]
fn a_table_without_columns_is_named() {
    require!(Capability::Server);
    let place = Place::new("no_columns");
    place.database.execute("CREATE TABLE t (a int4); CREATE TABLE without ()");
    place
        .export(&["--schema", "public", "-o", "all/"])
        .assert_refused(2, &["public.without has no columns", "--exclude-table", "Arrow IPC"]);
    place.export(&["--schema", "public", "--exclude-table", "without", "-o", "some/"]).assert_success();
    assert_eq!(parts(&place.path("some")), ["public.t.parquet"]);
    place.export(&["--schema", "public", "-o", "all/", "--to", "ipc"]).assert_success();
    assert_eq!(parts(&place.path("all")), ["public.t.arrow", "public.without.arrow"]);
}

/// Before, the second one was refused: "upper and lower case count as the same", and the message named no way
/// out.
#[test]
fn tables_whose_names_differ_in_case_only() {
    require!(Capability::Server);
    let place = Place::new("cases");
    place.database.execute(
        "CREATE SCHEMA s; CREATE TABLE s.a AS SELECT 1 AS n; CREATE TABLE s.\"A\" AS SELECT 2 AS n; \
         CREATE TABLE s.\"Other\" AS SELECT 3 AS n",
    );
    place.export(&["--schema", "s", "-o", "all/"]).assert_success();
    assert_eq!(parts(&place.path("all")), ["s.%41.parquet", "s.Other.parquet", "s.a.parquet"]);
    for (file, n) in [("s.%41", 2), ("s.a", 1), ("s.Other", 3)] {
        let path = place.path(&format!("all/{file}.parquet"));
        let batches =
            ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap().build().unwrap();
        let values: Vec<i32> = batches
            .flat_map(|batch| batch.unwrap().column(0).as_primitive::<Int32Type>().values().to_vec())
            .collect();
        assert_eq!(values, [n], "{file}");
    }
}
