//! The limits of tables and names, in files that other programs read; values of every size and storage; types
//! that change meanwhile.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use pgarrow::{ErrorKind, ExportOptions, Extract, Source};
use pgarrow_sink::{Output, Sink};
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};
use pgarrow_testkit::{Capability, Python, TestServer, require};

use crate::support::{assert_error, assert_table, database, read, source};

/// Writes an export to a Parquet file, and another to an Arrow file.
fn files(folder: &tempfile::TempDir, extract: impl Fn() -> pgarrow::Result<pgarrow::Run>) -> [String; 2] {
    ["parquet", "arrow"].map(|extension| {
        let path = folder.path().join("e").with_extension(extension);
        let run = extract().unwrap();
        let (output, schema) = (Output::file(&path, false).unwrap(), run.schema().clone());
        let sink: Box<dyn Sink> = match extension {
            "parquet" => Box::new(ParquetSink::create(output, schema, ParquetOptions::default()).unwrap()),
            _ => Box::new(IpcSink::create(output, schema, IpcOptions::default()).unwrap()),
        };
        run.write_to(sink).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

/// Names and rows, as JSON, from either file.
const PYARROW: &str = r#"
import json, sys, pyarrow as pa, pyarrow.parquet as pq
path = sys.argv[1]
table = pq.read_table(path) if path.endswith("parquet") else pa.ipc.open_file(path).read_all()
table.validate(full=True)
rows = [[c[i].as_py() for c in table.columns] for i in range(table.num_rows)]
print(json.dumps([table.column_names, rows], ensure_ascii=False))
"#;

/// The same by DuckDB.
const DUCKDB: &str = r#"
import json, sys, duckdb
result = duckdb.execute("SELECT * FROM read_parquet(?)", [sys.argv[1]])
print(json.dumps([[d[0] for d in result.description], [list(row) for row in result.fetchall()]], ensure_ascii=False))
"#;

#[track_caller]
fn assert_read(files: &[String; 2], parquet_names: &[String], names: &[String], rows: &[Vec<Option<i64>>]) {
    let json = |names: &[String]| serde_json::to_value((names, rows)).unwrap();
    let read = |script, path: &String| {
        serde_json::from_str::<serde_json::Value>(&Python::shared().run(script, &[path])).unwrap()
    };
    assert_eq!(read(PYARROW, &files[0]), json(parquet_names), "pyarrow, Parquet");
    assert_eq!(read(DUCKDB, &files[0]), json(parquet_names), "DuckDB");
    assert_eq!(read(PYARROW, &files[1]), json(names), "pyarrow, IPC");
}

#[test]
fn files_of_as_many_columns_as_a_table_can_have() {
    require!(Capability::Server, Capability::Python);
    let columns: Vec<String> = (1..=1600).map(|number| format!("c{number} int2")).collect();
    let sql = format!(
        "CREATE TABLE e ({}); INSERT INTO e DEFAULT VALUES; INSERT INTO e (c1, c1600) VALUES (-1, 1600)",
        columns.join(", ")
    );
    let database = database("widest", &sql);
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder, || source(&database).table("e").open());
    let names: Vec<String> = (1..=1600).map(|number| format!("c{number}")).collect();
    let (mut last, nulls) = (vec![None; 1600], vec![None; 1600]);
    (last[0], last[1599]) = (Some(-1), Some(1600));
    assert_read(&files, &names, &names, &[nulls, last]);
}

#[test]
fn files_of_columns_with_hostile_names() {
    require!(Capability::Server, Capability::Python);
    let names = [
        "A",
        "a.b",
        " ",
        "$1",
        "select",
        "x\"y",
        "'; --",
        "\\",
        "😀",
        "line\nbreak",
        "é",
        "e\u{301}",
        "list.element",
    ];
    let quoted = names.map(|name| format!("\"{}\" int4", name.replace('"', "\"\"")));
    let values: Vec<String> = (1..=names.len()).map(|number| number.to_string()).collect();
    let sql = format!("CREATE TABLE e ({}); INSERT INTO e VALUES ({})", quoted.join(", "), values.join(", "));
    let database = database("namesinfiles", &sql);
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder, || source(&database).table("e").open());
    let row = (1..=i64::try_from(names.len()).unwrap()).map(Some).collect();
    let names = names.map(str::to_owned);
    assert_read(&files, &names, &names, &[row]);
}

#[test]
fn files_of_columns_that_share_a_name() {
    require!(Capability::Server, Capability::Python);
    let database = database("shared", "");
    let folder = tempfile::tempdir().unwrap();
    let sql = "SELECT 1 AS a, 2 AS a, 3 AS a_2, 4, 5";
    let files = files(&folder, || source(&database).query(sql).open());
    let names = ["a", "a", "a_2", "?column?", "?column?"].map(str::to_owned);
    // Parquet has no two columns of one name: the first keeps it, the others get new names.
    let parquet = Python::shared().run(PYARROW, &[&files[0]]);
    let (found, _): (Vec<String>, serde_json::Value) = serde_json::from_str(&parquet).unwrap();
    let mut distinct = found.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!((found.len(), distinct.len()), (5, 5), "{found:?}");
    assert_eq!((found[0].as_str(), found[2].as_str(), found[3].as_str()), ("a", "a_2", "?column?"));
    assert_read(&files, &found, &names, &[(1..=5).map(Some).collect()]);
}

#[test]
fn values_from_every_kind_of_storage() {
    require!(Capability::Server, Capability::LzCompression);
    let database = database(
        "storage",
        "CREATE TABLE e (id int4, plain text, main text, external text, extended text, lz text COMPRESSION lz4, \
           a int4[], c numeric); \
         ALTER TABLE e ALTER plain SET STORAGE PLAIN, ALTER main SET STORAGE MAIN, \
           ALTER external SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL; \
         INSERT INTO e SELECT g, repeat('p', least(g, 2000)), repeat(md5(g::text), g / 20), repeat(md5(g::text), g / 9), \
           repeat('é' || g, g), repeat('é' || g, g), array_fill(g, ARRAY[g]), repeat('7', g + 1)::numeric \
           FROM generate_series(0, 30000, 977) AS g",
    );
    assert_eq!(assert_table(&database, "e", "*").n_rows(), 31);
}

#[test]
fn a_value_of_a_gigabyte() {
    // The server makes copies of it, and so does the test.
    require!(Capability::Server, Capability::MemoryGib(8));
    // Close to what a message of the server can hold.
    const CHARS: usize = 525_000_000;
    let database = database("gigabyte", "");
    // Not a constant: the planner would compute it and EXPLAIN would print it.
    let sql = format!("SELECT repeat('é', {CHARS} * g) AS v, 7 AS n FROM generate_series(1, 1) AS g");
    let options = ExportOptions::default().with_memory(4 << 30);
    let export = read(source(&database).query(sql).options(options)).unwrap();
    let value = export.batches[0].column(0).as_string::<i32>().value(0);
    assert_eq!((value.len(), &value[value.len() - 4..]), (2 * CHARS, "éé"));
    assert_eq!(export.batches[0].column(1).len(), 1);
}

#[test]
fn attributes_that_older_rows_do_not_have() {
    require!(Capability::Server);
    let database = database(
        "missing",
        "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TYPE pair AS (a int4, b text); \
         CREATE TABLE e (a int4); INSERT INTO e SELECT g FROM generate_series(1, 1000) AS g; \
         ALTER TABLE e ADD b int4[] DEFAULT '{1,NULL}', ADD c pair DEFAULT '(1,x)', ADD d mood DEFAULT 'b', \
           ADD f int4range DEFAULT '[1,5)', ADD g numeric(10,2) DEFAULT 1.5, ADD h text; \
         INSERT INTO e (a) VALUES (1001); INSERT INTO e VALUES (1002)",
    );
    let export = assert_table(&database, "e", "*");
    assert_eq!(export.lines()[0], "1|{1,NULL}|(1,x)|b|[1,5)|1.50|∅");
}

#[test]
fn rows_of_views_of_queries_and_of_trees_as_one_value() {
    require!(Capability::Server);
    let database = database(
        "rowtypes",
        "CREATE TABLE e (a int4, gone int4, b text); ALTER TABLE e DROP COLUMN gone; INSERT INTO e VALUES (1, 'x,y'), (NULL, NULL); \
         CREATE TABLE child (c int4[]) INHERITS (e); INSERT INTO child VALUES (2, 'child', '{1}'); \
         CREATE VIEW v AS SELECT *, a AS again FROM e; CREATE MATERIALIZED VIEW m AS SELECT * FROM v",
    );
    let lines = |sql: &str| read(source(&database).query(sql)).unwrap().lines();
    assert_eq!(lines("SELECT e FROM e"), ["(1,\"x,y\")", "(,)", "(2,child)"]);
    assert_eq!(lines("SELECT v FROM v"), ["(1,\"x,y\",1)", "(,,)", "(2,child,2)"]);
    assert_eq!(lines("SELECT m FROM m"), ["(1,\"x,y\",1)", "(,,)", "(2,child,2)"]);
    assert_eq!(lines("SELECT child FROM child"), ["(2,child,{1})"]);
    assert_eq!(lines("SELECT x FROM (SELECT 1 AS a, 'b c' AS b) AS x"), ["(1,\"b c\")"]);
    assert_eq!(lines("SELECT array_agg(e) FROM e WHERE a = 2"), ["{\"(2,child)\"}"]);
}

#[test]
fn a_label_of_an_enum_that_is_renamed_after_the_planning() {
    require!(Capability::Server);
    let sql = "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE e AS SELECT 'b'::mood AS v, ARRAY['b', NULL, 'a']::mood[] AS w";
    let database = database("renamed", sql);
    let run = source(&database).table("e").open().unwrap();
    database.execute("ALTER TYPE mood RENAME VALUE 'b' TO 'renamed'");
    // The server sends the new labels, but labels for pages of the heap are from before: one value may have
    // two labels.
    let error = run.for_each(|_| Ok(())).unwrap_err();
    assert_error(&error, ErrorKind::Server, None, &["labels of mood were renamed"]);
}

#[test]
fn text_of_a_latin_1_database_wherever_it_stands() {
    require!(Capability::Server, Capability::Extension("hstore"));
    let server = TestServer::shared();
    let maintenance = server.fresh_database("latin");
    let name = format!("{}_1", maintenance.name());
    maintenance.execute(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    ));
    let result = std::panic::catch_unwind(|| {
        let source = Source::connect_blocking(&server.url_for(&name)).unwrap();
        source
            .execute(
                "CREATE EXTENSION hstore; CREATE TYPE \"lü\" AS ENUM ('ö', 'b'); CREATE TYPE \"pä\" AS (\"ß\" text, m \"lü\"); \
                 CREATE TABLE \"té\" (\"ñ\" text, e \"lü\", a text[], p \"pä\", j json, r \"lü\"[], h hstore); \
                 COMMENT ON COLUMN \"té\".\"ñ\" IS 'ÿ'; \
                 INSERT INTO \"té\" VALUES ('né', 'ö', '{é,ü}', row('ø', 'ö'), '{\"å\": 1}', '{ö,NULL}', 'é=>1')",
            )
            .unwrap();
        let table: Extract = source.table("\"té\"");
        let export = read(table.filter("e = 'ö'")).unwrap();
        assert_eq!(export.lines(), ["né|ö|{é,ü}|(ø,ö)|{\"å\": 1}|{ö,NULL}|\"é\"=>\"1\""]);
        // The lengths inside an hstore count bytes before conversion, so its values cannot be found.
        assert_eq!(export.schema.field(6).data_type(), &arrow_schema::DataType::Utf8);
        let field = export.schema.field(0);
        assert_eq!((field.name().as_str(), field.metadata()["pg.comment"].as_str()), ("ñ", "ÿ"));
    });
    maintenance.execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
    result.unwrap();
}
