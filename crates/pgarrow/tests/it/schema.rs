//! Schemas: nullability, metadata, names, and tables without columns or with the most possible.

use pgarrow::ExportOptions;
use pgarrow_testkit::{Capability, require};

use crate::support::{assert_table, database, oracle, query_lines, read, server_text, source};

/// Which of a relation's fields are nullable.
#[track_caller]
fn nullable(database: &pgarrow_testkit::Database, relation: &str) -> Vec<bool> {
    let run = source(database).table(relation).open().unwrap();
    run.schema().fields().iter().map(|field| field.is_nullable()).collect()
}

#[test]
fn only_what_the_catalog_proves_is_not_nullable() {
    require!(Capability::Server);
    let database = database(
        "nullable",
        "CREATE DOMAIN never AS int4 NOT NULL; \
         CREATE TABLE e (id int4 PRIMARY KEY, a int4 NOT NULL, b int4, c never, d int4 CHECK (d IS NOT NULL)); \
         CREATE VIEW v AS SELECT * FROM e; CREATE MATERIALIZED VIEW m AS SELECT * FROM e",
    );
    assert_eq!(nullable(&database, "e"), [false, false, true, true, true]);
    assert_eq!(nullable(&database, "v"), [true; 5]);
    assert_eq!(nullable(&database, "m"), [true; 5]);
    let query = source(&database).query("SELECT * FROM e").open().unwrap();
    assert!(query.schema().fields().iter().all(|field| field.is_nullable()));
}

#[test]
fn a_child_that_dropped_not_null_makes_its_parent_nullable() {
    require!(Capability::Server);
    let database = database(
        "children",
        "CREATE TABLE e (a int4 NOT NULL, b int4 NOT NULL); CREATE TABLE child () INHERITS (e); \
         CREATE TABLE grandchild () INHERITS (child)",
    );
    assert_eq!(nullable(&database, "e"), [false, false]);
    let dropped = "ALTER TABLE grandchild ALTER a DROP NOT NULL; INSERT INTO grandchild VALUES (NULL, 1)";
    if database.client().batch_execute(dropped).is_err() {
        // Since 18, a child cannot drop it, so there is nothing to test.
        return;
    }
    assert_eq!(nullable(&database, "e"), [true, false]);
    assert_eq!(read(source(&database).table("e")).unwrap().lines(), ["∅|1"]);
}

#[test]
fn a_foreign_child_proves_nothing() {
    require!(Capability::Server, Capability::Extension("file_fdw"));
    let database = database(
        "foreignchild",
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; \
         CREATE TABLE e (a int4 NOT NULL) PARTITION BY RANGE (a); \
         CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (0) TO (10); \
         CREATE FOREIGN TABLE e2 PARTITION OF e FOR VALUES FROM (10) TO (20) SERVER files \
           OPTIONS (program 'echo 15')",
    );
    assert_eq!(nullable(&database, "e"), [true]);
    assert_eq!(read(source(&database).table("e")).unwrap().lines(), ["15"]);
}

#[test]
fn a_not_null_that_was_never_checked_proves_nothing() {
    require!(Capability::Server, Capability::VersionAtLeast(180_000));
    let database = database(
        "notvalid",
        "CREATE TABLE e (a int4); INSERT INTO e VALUES (NULL); ALTER TABLE e ADD CONSTRAINT n NOT NULL a NOT VALID",
    );
    assert_eq!(nullable(&database, "e"), [true]);
}

#[test]
fn metadata_of_fields_and_schema() {
    require!(Capability::Server);
    let database = database(
        "metadata",
        "CREATE SCHEMA s; CREATE TABLE s.\"E e\" (a numeric(10,2), b varchar(7), c uuid, d jsonb, f json, g int4); \
         COMMENT ON COLUMN s.\"E e\".a IS 'what it costs – é'",
    );
    let schema = read(source(&database).table("s.\"E e\"")).unwrap().schema;
    let get = |column: usize, key: &str| schema.field(column).metadata().get(key).map(String::as_str);
    assert_eq!(get(0, "pg.type"), Some("numeric(10,2)"));
    assert_eq!(get(0, "pg.oid"), Some("1700"));
    assert_eq!(get(0, "pg.typmod"), Some("655366"));
    assert_eq!(get(0, "pg.comment"), Some("what it costs – é"));
    assert_eq!(get(1, "pg.type"), Some("character varying(7)"));
    assert_eq!((get(5, "pg.typmod"), get(5, "pg.comment")), (None, None));
    let extensions: Vec<_> = (0..6).map(|column| get(column, "ARROW:extension:name")).collect();
    assert_eq!(extensions, [None, None, Some("arrow.uuid"), Some("arrow.json"), Some("arrow.json"), None]);
    assert_eq!(schema.metadata()["pg.table"], "s.\"E e\"");
    let version = server_text(&mut oracle(&database), "SHOW server_version")[0][0].clone().unwrap();
    assert_eq!(schema.metadata()["pg.server_version"], version);
    assert_eq!(schema.metadata().len(), 2, "{:?}", schema.metadata());
    let query = read(source(&database).query("SELECT 'secret' AS a")).unwrap().schema;
    assert_eq!(query.metadata().keys().collect::<Vec<_>>(), ["pg.server_version"]);
}

#[test]
fn dropped_columns_are_gone_and_added_ones_filled() {
    require!(Capability::Server);
    let database = database(
        "dropped",
        "CREATE TABLE e (a int4, b text, c int4); INSERT INTO e VALUES (1, 'gone', 3); \
         ALTER TABLE e DROP COLUMN b; ALTER TABLE e ADD COLUMN d int4 DEFAULT 42; ALTER TABLE e ADD COLUMN f text",
    );
    assert_eq!(assert_table(&database, "e", "*").lines(), ["1|3|42|∅"]);
}

#[test]
fn generated_columns_are_included() {
    require!(Capability::Server);
    let database = database(
        "generated",
        "CREATE TABLE e (a int4, g int4 GENERATED ALWAYS AS (a * 2) STORED, i int4 GENERATED ALWAYS AS IDENTITY); \
         INSERT INTO e (a) VALUES (5)",
    );
    let export = assert_table(&database, "e", "*");
    assert_eq!(export.lines(), ["5|10|1"]);
    let identity = export.schema.field(2);
    assert!(!identity.is_nullable(), "identity columns are NOT NULL");
}

#[test]
fn virtual_generated_columns_are_included() {
    require!(Capability::Server, Capability::VersionAtLeast(180_000));
    let sql =
        "CREATE TABLE e (a int4, g int4 GENERATED ALWAYS AS (a * 2) VIRTUAL); INSERT INTO e (a) VALUES (5)";
    assert_eq!(assert_table(&database("virtual", sql), "e", "*").lines(), ["5|10"]);
}

#[test]
fn a_table_without_columns_has_rows_nevertheless() {
    require!(Capability::Server);
    let sql = "CREATE TABLE e (); INSERT INTO e DEFAULT VALUES; INSERT INTO e DEFAULT VALUES";
    let database = database("zero", sql);
    let export = read(source(&database).table("e")).unwrap();
    assert_eq!((export.n_rows(), export.schema.fields().len()), (2, 0));
    let many = "INSERT INTO e SELECT FROM generate_series(1, 100000)";
    database.execute(many);
    assert_eq!(read(source(&database).table("e")).unwrap().n_rows(), 100_002);
    assert_eq!(read(source(&database).query("SELECT FROM e")).unwrap().n_rows(), 100_002);
}

#[test]
fn as_many_columns_as_a_table_can_have() {
    require!(Capability::Server);
    let columns: Vec<String> = (1..=1600).map(|number| format!("c{number} int2")).collect();
    let database = database(
        "columns",
        &format!(
            "CREATE TABLE e ({}); INSERT INTO e DEFAULT VALUES; INSERT INTO e (c1, c1600) VALUES (1, 1600); \
             INSERT INTO e (c800) SELECT g FROM generate_series(1, 700) AS g",
            columns.join(", ")
        ),
    );
    let export = assert_table(&database, "e", "*");
    assert_eq!((export.n_rows(), export.schema.fields().len()), (702, 1600));
}

#[test]
fn as_many_columns_as_a_query_can_have() {
    require!(Capability::Server);
    let database = database("wide", "");
    let items: Vec<String> = (1..=1664).map(|number| format!("{number} AS c")).collect();
    let sql = format!("SELECT {}", items.join(", "));
    let export = read(source(&database).query(&sql)).unwrap();
    assert_eq!(export.lines()[0], (1..=1664).map(|n| n.to_string()).collect::<Vec<_>>().join("|"));
    let error = source(&database).query(format!("{sql}, 1665")).open().unwrap_err();
    assert_eq!(error.sqlstate(), Some("54011"), "{error}");
}

#[test]
fn hostile_names_arrive_exactly() {
    require!(Capability::Server);
    let table = "\"we\"\"ird é.name\n\"";
    let columns = "\"A\" int4, a int4, \"a.b\" int4, \" \" int4, \"$1\" int4, \"select\" int4, \"x\"\"y\" int4, \
                   \"'; --\" int4, \"\\\" int4, \"😀\" int4";
    let database = database(
        "names",
        &format!(
            "CREATE TABLE {table} ({columns}); INSERT INTO {table} VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)"
        ),
    );
    let export = assert_table(&database, table, "*");
    let names: Vec<&str> = export.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["A", "a", "a.b", " ", "$1", "select", "x\"y", "'; --", "\\", "😀"]);
    let chosen = read(source(&database).table(table).columns(["x\"y", "A", "\\"])).unwrap();
    assert_eq!(chosen.lines(), ["7|1|9"]);
}

#[test]
fn names_that_differ_in_case_only() {
    require!(Capability::Server);
    let database = database("cases", "CREATE TABLE e AS SELECT 1 AS a; CREATE TABLE \"E\" AS SELECT 2 AS a");
    assert_eq!(read(source(&database).table("E")).unwrap().lines(), ["1"]);
    assert_eq!(read(source(&database).table("\"E\"")).unwrap().lines(), ["2"]);
}

#[test]
fn output_names_of_a_query_may_be_equal_or_none() {
    require!(Capability::Server);
    let database = database("output", "");
    let export = read(source(&database).query("SELECT 1 AS a, 'x' AS a, 3, 4.5")).unwrap();
    let names: Vec<&str> = export.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["a", "a", "?column?", "?column?"]);
    assert_eq!(export.lines(), ["1|x|3|4.5"]);
}

#[test]
fn an_empty_result_has_its_schema() {
    require!(Capability::Server);
    let database = database("empty", "CREATE TABLE e (a int4 NOT NULL, b numeric(5,1), c text[])");
    for options in [ExportOptions::default(), ExportOptions::default().with_batch_rows(1)] {
        let export = read(source(&database).table("e").options(options)).unwrap();
        assert_eq!((export.n_rows(), export.batches.len()), (0, 0));
        assert_eq!(export.schema.fields().len(), 3);
        assert!(!export.schema.field(0).is_nullable());
    }
    assert_eq!(query_lines(&database, "SELECT * FROM e"), [""; 0]);
}
