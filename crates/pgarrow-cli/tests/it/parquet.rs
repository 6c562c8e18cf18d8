//! Options of Parquet files: what they change in the file, what other readers find in it, what is refused.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use pgarrow_testkit::{Capability, Python, require};
use serde_json::Value;

use crate::support::{Place, Ran, command, names, run};

const TABLES: &str = r#"
    CREATE TYPE address AS (city text, zip int);
    CREATE TABLE a (id int8 NOT NULL, "Url" text, at timestamptz, flag bool, home address, tags text[], u uuid);
    INSERT INTO a SELECT g, 'https://example.com/of/' || g, 'epoch'::timestamptz + g * '1 s'::interval, g % 2 = 0,
        ROW('city ' || g % 10, g)::address, ARRAY[g::text, 'x'], md5(g::text)::uuid FROM generate_series(1, 5000) AS g;
    CREATE TABLE b (id int8, note text);
    INSERT INTO b SELECT g, md5(g::text) FROM generate_series(1, 1000) AS g;
"#;

fn place(hint: &str) -> Place {
    let place = Place::new(hint);
    place.database.execute(TABLES);
    place
}

fn metadata(path: &Path) -> ParquetMetaData {
    ParquetMetaDataReader::new().parse_and_finish(&File::open(path).unwrap()).unwrap()
}

fn chunk(path: &Path, column: &str) -> ColumnChunkMetaData {
    let metadata = metadata(path);
    let columns = metadata.row_group(0).columns();
    columns.iter().find(|it| it.column_path().string() == column).unwrap().clone()
}

fn job(place: &Place, options: &str, args: &[&str]) -> Ran {
    let url = place.database.url();
    let text = format!(
        "[source]\nconnection = \"{url}\"\ntables = ['public.*']\n[destination]\npath = \"lake\"\n[options]\n{options}\n"
    );
    fs::write(place.path("job.toml"), text).unwrap();
    run(command(place.folder.path()).args(args))
}

#[test]
fn options_of_columns_are_in_the_file_and_others_read_it() {
    require!(Capability::Server, Capability::Python);
    let place = place("parquet_columns");
    let args = ["-t", "a", "-o", "a.parquet"];
    let columns = [
        "id:encoding=delta-binary-packed,bloom=0.01,bloom-values=10000",
        "\"Url\":encoding=delta-byte-array,compression=zstd:9,bloom=0.01",
        "AT:encoding=byte-stream-split,statistics=none",
        "flag:compression=none",
        "home.city:dictionary=true",
        "home.zip:encoding=plain,statistics=chunk",
        "tags.list.element:encoding=delta-length-byte-array,compression=gzip:9",
        "u:encoding=delta-byte-array",
    ];
    let flags: Vec<&str> = columns.iter().flat_map(|column| ["--parquet-column", column]).collect();
    place.export(&[&args[..], &flags].concat()).assert_success();
    let path = place.path("a.parquet");
    let chunk = |column: &str| chunk(&path, column);
    let has = |column: &str, encoding| chunk(column).encodings_mask().is_set(encoding);
    assert!(has("id", Encoding::DELTA_BINARY_PACKED) && has("Url", Encoding::DELTA_BYTE_ARRAY));
    assert!(has("at", Encoding::BYTE_STREAM_SPLIT) && has("u", Encoding::DELTA_BYTE_ARRAY));
    assert!(has("home.city", Encoding::RLE_DICTIONARY) && has("home.zip", Encoding::PLAIN));
    assert!(has("tags.list.element", Encoding::DELTA_LENGTH_BYTE_ARRAY));
    assert!(chunk("id").bloom_filter_offset().is_some() && chunk("Url").bloom_filter_offset().is_some());
    assert!(chunk("flag").bloom_filter_offset().is_none());
    assert!(chunk("at").statistics().is_none() && chunk("home.zip").statistics().is_some());
    assert_eq!(chunk("flag").compression(), Compression::UNCOMPRESSED);
    assert!(matches!(chunk("tags.list.element").compression(), Compression::GZIP(_)));

    const READERS: &str = "
import sys, duckdb, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
print(table.num_rows, sum(table['id'].to_pylist()), table['Url'][4999], table['home'][6], table['tags'][2])
sql = 'SELECT count(*), sum(id), sum(home.zip), max(\"Url\"), count(DISTINCT u) FROM read_parquet(?) WHERE id > 10'
print(duckdb.execute(sql, [sys.argv[1]]).fetchone())
print(duckdb.execute('SELECT epoch(\"at\"), u FROM read_parquet(?) WHERE id = 77', [sys.argv[1]]).fetchone())
print(duckdb.execute('SELECT count(*) FROM read_parquet(?) WHERE id = 777777', [sys.argv[1]]).fetchone())
probe = 'SELECT bloom_filter_excludes FROM parquet_bloom_probe(?, ?, ?)'
for column, value in [('id', 77), ('id', 777777), ('Url', 'https://example.com/of/1'), ('Url', 'nothing')]:
    print(duckdb.execute(probe, [sys.argv[1], column, value]).fetchone())
";
    let found = Python::shared().run(READERS, &[path.to_str().unwrap()]);
    assert_eq!(
        found.trim().lines().collect::<Vec<_>>(),
        [
            "5000 12502500 https://example.com/of/5000 [('city', 'city 7'), ('zip', 7)] ['3', 'x']",
            "(4990, 12502445, 12502445, 'https://example.com/of/999', 4990)",
            "(77.0, UUID('28dd2c79-55ce-9264-5624-0b2ff0100bde'))",
            "(0,)",
            "(False,)",
            "(True,)",
            "(False,)",
            "(True,)"
        ],
        "{found}"
    );
}

/// With `--ordered`, the same rows and options make the same bytes.
#[test]
fn options_of_columns_keep_files_the_same() {
    require!(Capability::Server);
    let place = place("parquet_same");
    let export = |name: &str, readers: &str| {
        let column =
            ["--parquet-column", "id:bloom=0.01", "--parquet-column", "tags.list.element:dictionary=true"];
        let args = ["-t", "a", "--ordered", "--slice-bytes", "64K", "--readers", readers, "-o", name];
        place.export(&[&args[..], &column].concat()).assert_success();
        fs::read(place.path(name)).unwrap()
    };
    assert!(export("1.parquet", "1") == export("2.parquet", "3"));
}

#[test]
fn what_columns_cannot_have_is_refused_before_rows_are_read() {
    require!(Capability::Server);
    let place = place("parquet_refused");
    for (column, says) in [
        ("nothing:encoding=plain", &["column \"nothing\"", "--parquet-column"][..]),
        ("url:encoding=plain", &["column \"url\"", "--parquet-column"]),
        ("id:encoding=delta-byte-array", &["\"id\"", "choose plain, dictionary, delta-binary-packed"]),
        ("flag:bloom=0.01", &["\"flag\"", "a boolean has no bloom filter"]),
        ("tags.list.element:bloom=0.01", &["\"tags.list.element\"", "leave it out"]),
        ("tags:compression=none", &["\"tags\" is made of others", "tags.list.element"]),
        ("home:bloom=0.01", &["\"home\" is made of others", "home.city, home.zip"]),
        ("u:dictionary=true", &["\"u\"", "has no dictionary"]),
    ] {
        place.export(&["-t", "a", "-o", "x.parquet", "--parquet-column", column]).assert_refused(2, says);
        let ran = place.export(&["-t", "a", "-o", "x.parquet", "--parquet-column", column, "--dry-run"]);
        ran.assert_refused(2, says);
        // Of a query that would fail with its first row, only the option is an error.
        let query = "select *, 1 / (id - id) as fails from a";
        place.export(&["-q", query, "-o", "x.parquet", "--parquet-column", column]).assert_refused(2, says);
    }
    assert_eq!(place.names(), Vec::<String>::new());
    for (args, says) in [
        (
            &["-o", "x.arrow", "--parquet-column", "id:encoding=plain"][..],
            "--parquet-column is for --to parquet",
        ),
        (&["--to", "none", "--parquet-column", "id:encoding=plain"], "--parquet-column is for --to parquet"),
        (&["-o", "x.parquet", "--parquet-column", "id"], "write NAME:KEY=VALUE"),
        (&["-o", "x.parquet", "--parquet-column", "id:encoding=lzo"], "write one of plain, dictionary"),
        (
            &[
                "-o",
                "x.parquet",
                "--parquet-column",
                "a.b:bloom=0.1",
                "--parquet-column",
                "A.b:encoding=plain",
            ],
            "names \"a.b\" twice",
        ),
    ] {
        place.export(&[&["-t", "a"], args].concat()).assert_said(2, says);
    }
}

/// Of several tables, an option is for those that have the column. Jobs have it in their file.
#[test]
fn options_of_columns_hold_for_each_table_that_has_them() {
    require!(Capability::Server);
    let place = place("parquet_tables");
    let column = |column: &'static str| ["--parquet-column", column];
    let args = ["-t", "a", "-t", "b", "-o", "out/"];
    let of_both = column("id:encoding=plain");
    let of_b = column("note:compression=none");
    place.export(&[&args[..], &of_both, &of_b].concat()).assert_success();
    for table in ["a", "b"] {
        let id = chunk(&place.path(&format!("out/public.{table}.parquet")), "id");
        assert!(id.encodings_mask().is_set(Encoding::PLAIN) && id.dictionary_page_offset().is_none());
    }
    assert_eq!(chunk(&place.path("out/public.b.parquet"), "note").compression(), Compression::UNCOMPRESSED);
    let args = ["-t", "a", "-t", "b", "-o", "no/"];
    let ran = place.export(&[&args[..], &column("nothing:compression=none")].concat());
    ran.assert_refused(2, &["\"nothing\"", "nothing that is read has such a column", "--parquet-column"]);
    let ran = place.export(&[&args[..], &column("note:encoding=byte-stream-split")].concat());
    ran.assert_refused(2, &["public.b", "\"note\"", "has no encoding byte-stream-split"]);
    assert_eq!(place.names(), ["out"]);

    let options = "parquet_column = ['id:bloom=0.01', '\"Url\":compression=gzip:9']";
    job(&place, options, &["check", "job.toml"]).assert_success();
    let ran = job(&place, options, &["check", "job.toml", "--effective"]);
    assert!(
        ran.stdout_text()
            .starts_with("parquet_column = id:bloom=0.01, \"Url\":compression=gzip:9  # job.toml"),
        "{ran:?}"
    );
    job(&place, options, &["run", "job.toml"]).assert_success();
    let manifest = names(&place.path("lake/_pgarrow/manifests")).remove(0);
    let manifest: Value =
        serde_json::from_slice(&fs::read(place.path("lake/_pgarrow/manifests").join(manifest)).unwrap())
            .unwrap();
    let tables = manifest["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 2);
    for table in tables {
        let path = place.path("lake").join(table["files"][0]["path"].as_str().unwrap());
        assert!(chunk(&path, "id").bloom_filter_offset().is_some(), "{table}");
        if table["name"] == "a" {
            assert!(matches!(chunk(&path, "Url").compression(), Compression::GZIP(_)));
        }
    }
    for (options, says) in [
        ("parquet_column = ['nothing:bloom=0.01']", "nothing that is read has such a column"),
        ("parquet_column = ['note:encoding=byte-stream-split']", "public.b: column \"note\""),
        ("parquet_column = ['id:bloom=2']", "job.toml, line 7: invalid value 'id:bloom=2'"),
        ("parquet_column = true", "job.toml, line 7"),
    ] {
        for command in ["check", "run"] {
            job(&place, options, &[command, "job.toml"]).assert_said(2, says);
        }
    }
}

/// What others find in a file for readers of version 1 is what they find in any other.
#[test]
fn files_for_old_readers_have_the_same_values() {
    require!(Capability::Server, Capability::Python);
    let place = place("parquet_compat");
    place.database.execute(
        "CREATE TABLE types AS SELECT 1.5::numeric(9,2) AS n, -12345678901234567890.5::numeric(30,3) AS big,
            '2026-11-23'::date AS d, '24:00'::time AS t, '{\"a\": 1}'::jsonb AS j, 'infinity'::float8 AS f,
            '1969-12-31 23:59:59.999999'::timestamp AS ts, 7::int2 AS i2, '\\x00ff'::bytea AS b",
    );
    for table in ["a", "types"] {
        for (name, flag) in [("usual", None), ("compat", Some("--parquet-compat"))] {
            let output = format!("{table}-{name}.parquet");
            let args = ["-t", table, "--readers", "1", "-o", &output];
            place.export(&[&args[..], flag.as_slice()].concat()).assert_success();
        }
        const PYARROW: &str = "
import sys, pyarrow.parquet as pq, duckdb
usual, compat = (pq.ParquetFile(path) for path in sys.argv[1:])
assert usual.read().equals(compat.read())
sql = 'SELECT count(*) FROM (FROM read_parquet(?) EXCEPT ALL FROM read_parquet(?))'
assert duckdb.execute(sql, sys.argv[1:]).fetchone() == duckdb.execute(sql, sys.argv[:0:-1]).fetchone() == (0,)
columns = [compat.metadata.row_group(0).column(i) for i in range(compat.metadata.num_columns)]
encodings = {encoding for column in columns for encoding in column.encodings}
print(compat.metadata.format_version, sorted(encodings - {'RLE', 'BIT_PACKED'}), {c.compression for c in columns})
";
        let paths = ["usual", "compat"].map(|name| place.path(&format!("{table}-{name}.parquet")));
        let found = Python::shared().run(PYARROW, &paths.each_ref().map(|path| path.to_str().unwrap()));
        assert_eq!(found.trim(), "1.0 ['PLAIN'] {'SNAPPY'}", "{table}");
    }
    for (args, says) in [
        (&["-q", "select now() as at", "--timestamp-unit", "ns"][..], "--timestamp-unit us"),
        (&["-q", "select 1::oid as o"], "--column o:text"),
        (&["-t", "a", "--compression", "zstd"], "choose snappy, gzip or none"),
        (&["-t", "a", "--parquet-column", "id:encoding=delta-binary-packed"], "choose plain"),
        (&["-t", "a", "--to", "ipc"], "--parquet-compat is for --to parquet"),
    ] {
        let args = [args, &["-o", "x.parquet", "--parquet-compat"]].concat();
        place.export(&args).assert_refused(2, &[says]);
    }
    place
        .export(&[
            "-q",
            "select 4294967295::oid as o",
            "--column",
            "o:text",
            "-o",
            "x.parquet",
            "--parquet-compat",
        ])
        .assert_success();
    job(&place, "parquet_compat = true", &["run", "job.toml"]).assert_success();
    let manifest = names(&place.path("lake/_pgarrow/manifests")).remove(0);
    let manifest = fs::read(place.path("lake/_pgarrow/manifests").join(manifest)).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let path = place.path("lake").join(manifest["tables"][0]["files"][0]["path"].as_str().unwrap());
    assert_eq!(metadata(&path).row_group(0).column(0).compression(), Compression::SNAPPY);
}

/// What a file says about itself: the metadata of a Parquet file, and of an Arrow file's schema.
fn said_by(path: &Path) -> BTreeMap<String, String> {
    if path.extension().is_some_and(|it| it == "arrow") {
        let reader = arrow_ipc::reader::FileReader::try_new(File::open(path).unwrap(), None).unwrap();
        return reader.schema().metadata().clone().into_iter().collect();
    }
    let metadata = metadata(path);
    let pairs = metadata.file_metadata().key_value_metadata().unwrap().iter();
    pairs
        .filter(|it| it.key != "ARROW:schema")
        .map(|it| (it.key.clone(), it.value.clone().unwrap()))
        .collect()
}

#[test]
fn files_say_where_rows_come_from_if_asked() {
    require!(Capability::Server);
    let place = place("origin");
    let database: String =
        place.database.client().query_one("SELECT current_database()::text", &[]).unwrap().get(0);
    let secret = "select 'canary' as secret";
    for name in ["x.parquet", "x.arrow"] {
        for (what, table, source) in
            [(["-t", "a"], Some("public.a"), "table"), (["-q", secret], None, "query")]
        {
            let args = ["-o", name, "--report", "r.json", "--overwrite"];
            place.export(&[&what[..], &args].concat()).assert_success();
            let plain = said_by(&place.path(name));
            let known = ["pg.server_version", "pg.table"];
            assert!(plain.keys().all(|key| known.contains(&key.as_str())), "{plain:?}");

            place.export(&[&what[..], &args, &["--origin"]].concat()).assert_success();
            let report: Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
            let mut said = said_by(&place.path(name));
            for (key, of_report) in [
                ("pg.snapshot", &report["snapshot"]),
                ("pg.server_version", &report["server"]["version"]),
                ("pgarrow.version", &report["pgarrow_version"]),
                ("pgarrow.run_id", &report["run_id"]),
                ("pgarrow.started", &report["started"]),
            ] {
                assert_eq!(said.remove(key).as_deref(), of_report.as_str(), "{key}");
            }
            assert_eq!(said.remove("pg.database").as_deref(), Some(database.as_str()));
            assert_eq!(said.remove("pg.table").as_deref(), table);
            assert_eq!(said.remove("pgarrow.source").as_deref(), Some(source));
            assert_eq!(said, BTreeMap::new());
            let bytes = fs::read(place.path(name)).unwrap();
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
    place.export(&["-t", "a", "-t", "b", "-o", "out/", "--origin"]).assert_success();
    let [a, b] = ["a", "b"].map(|table| said_by(&place.path(&format!("out/public.{table}.parquet"))));
    assert_eq!(a["pgarrow.run_id"], b["pgarrow.run_id"]);
    assert_eq!([&a["pg.table"], &b["pg.table"]], ["public.a", "public.b"]);

    for (options, is_said) in [("origin = true", true), ("origin = false", false), ("", false)] {
        job(&place, options, &["run", "job.toml"]).assert_success();
        let folder = place.path("lake/_pgarrow/manifests");
        let mut manifests = names(&folder);
        manifests.sort();
        let manifest = fs::read(folder.join(manifests.last().unwrap())).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        for table in manifest["tables"].as_array().unwrap() {
            let said = said_by(&place.path("lake").join(table["files"][0]["path"].as_str().unwrap()));
            let value = |key: &str| said.get(key).map(String::as_str);
            for (key, of_manifest) in [
                ("pgarrow.run_id", &manifest["run_id"]),
                ("pgarrow.started", &manifest["started"]),
                ("pg.snapshot", &manifest["snapshot"]),
            ] {
                assert_eq!(value(key), of_manifest.as_str().filter(|_| is_said), "{options} {key}");
            }
        }
    }
    place.export(&["-t", "a", "--to", "none", "--origin"]).assert_refused(2, &["leave out --origin"]);
}

/// Rows that come in the declared order, whatever it is read by; and rows that do not.
#[test]
fn a_declared_order_is_checked_and_written_down() {
    require!(Capability::Server, Capability::Python);
    let place = place("sorted");
    place.database.execute(
        "CREATE TYPE size AS ENUM ('small', 'large');
         CREATE TABLE s AS SELECT g % 7 AS a, nullif(g % 5, 0) AS b, md5(g::text) AS t,
            (ARRAY['small', 'large'])[g % 2 + 1]::size AS e, g / 2.0::float8 AS f FROM generate_series(1, 3000) AS g;",
    );
    const PYARROW: &str = "
import sys, pyarrow.parquet as pq
file = pq.ParquetFile(sys.argv[1])
for i in range(file.metadata.num_row_groups):
    order = [(s.column_index, s.descending, s.nulls_first) for s in file.metadata.row_group(i).sorting_columns]
    print(file.metadata.row_group(i).num_rows, order)
";
    // Batches of one, two and three rows are cut everywhere.
    for batch_rows in ["1", "2", "3", "1000"] {
        let export = |query: &str, order: &str| {
            let args = ["-o", "s.parquet", "--overwrite", "--row-group-rows", "2000"];
            let more = ["-q", query, "--sorted-by", order, "--batch-rows", batch_rows];
            place.export(&[&args[..], &more].concat())
        };
        export("select * from s order by a, b desc, t collate \"C\"", "A, b desc,t").assert_success();
        let found = Python::shared().run(PYARROW, &[place.path("s.parquet").to_str().unwrap()]);
        let order = "[(0, False, False), (1, True, True), (2, False, False)]";
        assert_eq!(found.trim(), format!("2000 {order}\n1000 {order}"));
        export("select * from s order by b nulls first, a", "b nulls first, a").assert_success();
        export("select * from s order by e::text collate \"C\"", "e").assert_success();
        fs::remove_file(place.path("s.parquet")).unwrap();
        let others: Vec<String> = place.names();
        for (query, order, says) in [
            (
                "values ('a'), ('b'), ('canary'), ('b'), ('x')",
                "column1",
                &["\"s.parquet\"", "column \"column1\", row 4 of", "COLLATE \"C\"", "(--sorted-by)"][..],
            ),
            // As most languages have it, and bytes do not.
            ("values ('a'), ('B')", "column1", &["row 2 of"]),
            ("select * from s order by b, a", "b nulls first", &["column \"b\"", "row 2401 of"]),
            // The server orders labels as they were declared.
            ("select * from s order by e", "e", &["column \"e\"", "row 1501 of"]),
            ("select * from s order by a desc", "a", &["column \"a\""]),
        ] {
            let ran = export(query, order);
            ran.assert_refused(7, says);
            assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
            assert_eq!(place.names(), others, "nothing is left");
        }
    }
    for (order, says) in [
        ("f", "floats have no order that all readers agree on"),
        ("nothing", "column \"nothing\", and no such column is written"),
        ("a, b, a", "named twice"),
    ] {
        place.export(&["-t", "s", "-o", "x.parquet", "--sorted-by", order]).assert_refused(2, &[says]);
    }
    place.export(&["-t", "s", "-o", "x.parquet", "--sorted-by", "a up"]).assert_said(2, "asc or desc");
    place
        .export(&["-t", "s", "-o", "x.arrow", "--sorted-by", "a"])
        .assert_refused(2, &["--sorted-by is for --to parquet"]);
}

/// Several readers keep an order that slices have; tables of a job have their own.
#[test]
fn slices_and_jobs_have_a_declared_order() {
    require!(Capability::Server);
    let place = place("sorted_slices");
    let args = ["-t", "a", "--ordered", "--split-on", "id", "--readers", "3", "--slice-bytes", "64K"];
    place.export(&[&args[..], &["-o", "a.parquet", "--sorted-by", "id"]].concat()).assert_success();
    assert_eq!(metadata(&place.path("a.parquet")).row_group(0).sorting_columns().unwrap().len(), 1);
    place.export(&["-t", "a", "-t", "b", "-o", "out/", "--sorted-by", "id"]).assert_success();
    let ran = place.export(&["-t", "a", "-t", "b", "-o", "no/", "--sorted-by", "note"]);
    ran.assert_refused(2, &["public.a: ", "column \"note\", and no such column is written"]);

    job(&place, "sorted_by = 'id nulls last'", &["run", "job.toml"]).assert_success();
    place.database.execute("INSERT INTO b VALUES (1, 'late')");
    let before = names(&place.path("lake/_pgarrow/manifests"));
    let ran = job(&place, "sorted_by = 'id'", &["run", "job.toml"]);
    ran.assert_said(7, " of public.b is not sorted: by column \"id\", row 1001 of");
    let ran = job(&place, "sorted_by = 'id'\nfile_size = '1M'", &["run", "job.toml"]);
    ran.assert_said(7, "the output of public.b is not sorted: by column \"id\", row 1001 of");
    assert_eq!(names(&place.path("lake/_pgarrow/manifests")), before, "nothing was committed");
    job(&place, "sorted_by = 'id up'", &["check", "job.toml"]).assert_said(2, "job.toml, line 7");
}
