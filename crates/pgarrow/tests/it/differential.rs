//! Every type of a server: thousands of values, alone, in arrays, in composites and as the bounds of ranges,
//! each compared with the server's own text.
//!
//! The test fails for a type without a generator, so that none is forgotten.

mod extensions;
pub(crate) mod generators;

use std::fmt::Write as _;

use pgarrow::{ArrayForm, EnumForm, ExportOptions, GeometryForm, IntervalForm, StringForm, TypeOptions};
use pgarrow_testkit::postgres::Client;
use pgarrow_testkit::{Capability, Database, TestServer, require};

use crate::render::Renderer;
use crate::support::{Export, oracle, read, server_text, source};
use extensions::EXTENSIONS;
use generators::{GENERATORS, Generator, NULL_ONLY, TYPES};

/// Random values of each type.
const N_VALUES: u32 = 150;

/// The random columns for the generators' expressions. The same in every run, unless `PGARROW_TEST_SEED` is
/// set.
fn chance(n_values: u32) -> String {
    let seed = literal(&std::env::var("PGARROW_TEST_SEED").unwrap_or_default());
    format!(
        r#"(SELECT g, h, ('x' || h)::bit(64)::int8 AS n,
              translate(h || md5(h) || md5(md5(h)), 'abcdef', '012345') AS d,
              translate(left(h, g % 33), '0123456789abcdef', E'aé\u0001\t\\🦀''"€ ,({{}})[') AS t
            FROM (SELECT g, md5(g || {seed}) AS h FROM generate_series(1, {n_values}) AS g) AS s) AS chance"#
    )
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A database with the server's available extensions and with types of every kind.
pub(crate) fn database_of_types() -> Database {
    let database = TestServer::shared().fresh_database("everytype");
    for extension in available(&mut database.client()) {
        database.execute(&format!("CREATE EXTENSION {extension}"));
    }
    database.execute(TYPES);
    database
}

fn available(client: &mut Client) -> Vec<&'static str> {
    let rows = server_text(client, "SELECT name FROM pg_available_extensions");
    let has = |name: &&str| rows.iter().any(|row| row[0].as_deref() == Some(*name));
    EXTENSIONS.iter().copied().filter(has).collect()
}

/// The generators whose types the server has, numbered.
fn known(database: &Database) -> Vec<(usize, &'static Generator)> {
    let extensions = available(&mut database.client());
    let is_known =
        |generator: &Generator| generator.extension.is_empty() || extensions.contains(&generator.extension);
    let all = GENERATORS.iter().chain(extensions::GENERATORS);
    all.enumerate().filter(|(_, generator)| is_known(generator)).collect()
}

/// The generators whose values the server can make.
pub(crate) fn usable(database: &Database) -> Vec<(usize, &'static Generator)> {
    let mut known = known(database);
    if Capability::Xml.probe().is_err() {
        known.retain(|(_, generator)| generator.pg_type != "xml");
    }
    known
}

/// A table `v{number}` of values, extremes first.
pub(crate) fn create_values(number: usize, generator: &Generator) -> String {
    let Generator { pg_type, random, extremes, .. } = generator;
    let mut sql = format!("CREATE TABLE v{number} (g int4, v {pg_type}); ");
    for (place, text) in extremes.iter().enumerate() {
        write!(sql, "INSERT INTO v{number} VALUES (-{place}, {}::{pg_type}); ", literal(text)).unwrap();
    }
    let chance = chance(N_VALUES);
    // The name of no object is read from a number as text.
    let via = if pg_type.starts_with("reg") { "oid" } else { "text" };
    write!(
        sql,
        "INSERT INTO v{number} SELECT g, CASE WHEN g % 7 <> 3 THEN (({random})::{via})::{pg_type} END FROM {chance}; "
    )
    .unwrap();
    sql
}

/// A table `e{number}` with the values in arrays, in composites and as bounds; and `s{number}` with arrays of
/// several dimensions and arrays that do not count from 1.
fn create_nested(number: usize, pg_type: &str, range: Option<&str>) -> String {
    let array = |place: &str, shape: &str| format!("array_fill({place}, {shape})");
    let item = |place: &str| array(place, "'{1}'");
    let null = item(&format!("NULL::{pg_type}"));
    let three = format!("array_cat(array_cat({}, {null}), {})::{pg_type}[]", item("v"), item("u"));
    let bounds = match range {
        None => String::new(),
        Some(range) => format!(
            ", {range}(least(v, u), greatest(v, u), (ARRAY['[)', '()', '[]', '(]'])[1 + abs(g) % 4]) AS r"
        ),
    };
    let square = format!("array_cat({}, {})::{pg_type}[]", array("v", "'{1,2}'"), array("u", "'{1,2}'"));
    let moved = format!("{}::{pg_type}[]", array("v", "'{2,1}', '{0,-7}'"));
    format!(
        "CREATE TYPE c{number} AS (i int4, v {pg_type}, a {pg_type}[]); \
         CREATE TABLE e{number} AS SELECT *, CASE abs(g) % 4 WHEN 1 THEN NULL WHEN 2 THEN '{{}}' \
             ELSE ARRAY[w, NULL, row(NULL, NULL, NULL)::c{number}] END AS ca \
           FROM (SELECT *, CASE WHEN g % 5 <> 1 THEN row(g, v, a)::c{number} END AS w \
             FROM (SELECT g, v, CASE abs(g) % 7 WHEN 2 THEN NULL WHEN 5 THEN '{{}}' ELSE {three} END AS a {bounds} \
               FROM (SELECT *, lag(v) OVER (ORDER BY g) AS u FROM v{number}) AS x) AS y) AS z ORDER BY g; \
         CREATE TABLE s{number} AS SELECT *, row(1, v, m)::c{number} AS w FROM (SELECT g, v, {square} AS m, {moved} AS l \
           {bounds} FROM (SELECT *, lag(v) OVER (ORDER BY g) AS u FROM v{number}) AS x) AS y ORDER BY g; "
    )
}

/// The first difference in each column between the export and the server's text.
fn differences(renderer: &Renderer, export: &Export, expected: &[Vec<Option<String>>]) -> Vec<String> {
    if export.n_rows() != expected.len() {
        return vec![format!("{} rows, not {}", export.n_rows(), expected.len())];
    }
    let mut found = Vec::new();
    for (number, field) in export.schema.fields().iter().enumerate() {
        let mut rows = expected.iter();
        'column: for batch in &export.batches {
            for row in 0..batch.num_rows() {
                let server = &rows.next().unwrap()[number];
                let ours = renderer.text(field, batch.column(number), row);
                if ours != *server {
                    let what = field.metadata().get("pg.type");
                    found.push(format!(
                        "{} {what:?}: {server:.300?} is {ours:.300?} ({:.200})",
                        field.name(),
                        field.data_type()
                    ));
                    break 'column;
                }
            }
        }
    }
    found
}

/// Exports a table and compares. Adds differences to `failures`.
fn check(
    database: &Database,
    renderer: &Renderer,
    table: &str,
    types: TypeOptions,
    about: &str,
    failures: &mut Vec<String>,
) {
    let expected = server_text(&mut oracle(database), &format!("SELECT * FROM {table}"));
    let options = ExportOptions::default().with_types(types).with_batch_rows(61).with_order(true);
    match read(source(database).table(table).options(options)) {
        Ok(export) => {
            let found = differences(renderer, &export, &expected);
            failures.extend(found.into_iter().map(|text| format!("{about}, {table}, {text}")));
        }
        Err(error) => failures.push(format!("{about}, {table}: {error}")),
    }
}

#[track_caller]
fn assert_none(failures: &[String]) {
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Choices that change Arrow types but no values.
fn variants() -> [TypeOptions; 2] {
    let default = TypeOptions { geometry: GeometryForm::Ewkb, ..TypeOptions::default() };
    let other = TypeOptions {
        arrays: ArrayForm::Shaped,
        strings: StringForm::View,
        interval: IntervalForm::Struct,
        enums: EnumForm::Text,
        ..default
    };
    [default, other]
}

#[test]
fn every_type_alone_in_arrays_in_composites_and_in_ranges_is_what_the_server_prints() {
    require!(Capability::Server);
    let database = database_of_types();
    let mut client = oracle(&database);
    assert_none(&forgotten(&database));
    let usable = usable(&database);
    for (number, generator) in &usable {
        let mut sql = create_values(*number, generator);
        let range = range_over(&mut client, generator.pg_type);
        if let Some(range) = &range {
            write!(sql, "CREATE TYPE {range} AS RANGE (subtype = {}); ", generator.pg_type).unwrap();
        }
        sql += &create_nested(*number, generator.pg_type, range.as_deref());
        client.batch_execute(&sql).unwrap_or_else(|cause| panic!("{}: {cause:?}\n{sql}", generator.pg_type));
    }
    let renderer = Renderer::of(&database);
    let mut failures = Vec::new();
    for (number, generator) in &usable {
        let [default, other] = variants();
        check(&database, &renderer, &format!("e{number}"), default, generator.pg_type, &mut failures);
        check(&database, &renderer, &format!("s{number}"), other, generator.pg_type, &mut failures);
    }
    assert_none(&failures);
}

/// The name of the range type that the test makes over a type, if the type can be ordered.
fn range_over(client: &mut Client, pg_type: &str) -> Option<String> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_opclass AS c JOIN pg_am AS m ON m.oid = c.opcmethod \
           WHERE m.amname = 'btree' AND c.opcdefault AND c.opcintype = {}::regtype)",
        literal(pg_type)
    );
    let has_order = client.query_one(&sql, &[]).unwrap().get::<_, bool>(0);
    let is_new = !pg_type.contains('(') && !pg_type.contains("range");
    (has_order && is_new).then(|| format!("range_of_{}", pg_type.trim_matches('"')))
}

/// The types of a database without a generator.
fn forgotten(database: &Database) -> Vec<String> {
    let known = known(database).into_iter().map(|(_, generator)| generator.pg_type);
    let known: Vec<_> = known.map(|name| format!("{}::regtype", literal(name))).collect();
    let null_only: Vec<_> = NULL_ONLY.iter().map(|name| literal(name)).collect();
    // Array types follow from their elements; row types of tables have a test of their own.
    let sql = format!(
        "SELECT t.oid::regtype::text FROM pg_catalog.pg_type AS t \
           LEFT JOIN pg_catalog.pg_type AS element ON element.oid = t.typelem AND element.typarray = t.oid \
           LEFT JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid \
         WHERE t.typtype IN ('b', 'e', 'c', 'r', 'm', 'd') AND element.oid IS NULL \
           AND (c.oid IS NULL OR c.relkind = 'c') AND t.typname <> ALL (ARRAY[{}]) AND t.oid <> ALL (ARRAY[{}]::oid[])",
        null_only.join(", "),
        known.join(", ")
    );
    let rows = server_text(&mut database.client(), &sql);
    rows.into_iter().map(|row| format!("nothing makes values of {}", row[0].as_deref().unwrap())).collect()
}

#[test]
fn types_whose_values_no_sql_can_make_are_there_as_null() {
    require!(Capability::Server);
    let database = database_of_types();
    let mut columns = Vec::new();
    for name in NULL_ONLY {
        let row = database.client().query_one(&format!("SELECT to_regtype('{name}') IS NOT NULL"), &[]);
        if row.unwrap().get::<_, bool>(0) {
            columns.push(format!("{name}_ {name}"));
        }
    }
    assert!(columns.len() > 6, "{columns:?}");
    database.execute(&format!("CREATE TABLE e ({}); INSERT INTO e DEFAULT VALUES", columns.join(", ")));
    let export = read(source(&database).table("e")).unwrap();
    assert_eq!(export.lines(), [vec!["∅"; columns.len()].join("|")]);
}

#[test]
fn whole_rows_of_the_catalogs() {
    require!(Capability::Server);
    let database = database_of_types();
    database.execute(
        "CREATE TABLE measured AS SELECT g % 3 AS a, g % 7 AS b, g::text AS c FROM generate_series(1, 500) AS g; \
         CREATE STATISTICS s ON a, b FROM measured; ANALYZE measured; CREATE INDEX ON measured ((a + b)) WHERE b > 1; \
         CREATE VIEW seen AS SELECT * FROM measured; ALTER TABLE measured ALTER a SET DEFAULT 4",
    );
    let mut client = oracle(&database);
    let sql = "SELECT relname FROM pg_catalog.pg_class \
               WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' ORDER BY relname";
    let catalogs: Vec<_> =
        server_text(&mut client, sql).into_iter().map(|row| row[0].clone().unwrap()).collect();
    // A row type with a pseudo-type inside cannot be a column's type: these catalogs are read directly.
    let (pseudo, catalogs): (Vec<_>, Vec<_>) = catalogs
        .into_iter()
        .partition(|name| ["pg_attribute", "pg_statistic", "pg_statistic_ext_data"].contains(&name.as_str()));
    assert!(catalogs.len() > 50 && pseudo.len() == 3, "{catalogs:?}");
    for name in &catalogs {
        let sql = format!(
            "CREATE TABLE e_{name} AS SELECT t AS v FROM pg_catalog.{name} AS t ORDER BY t.ctid DESC LIMIT 60"
        );
        client.batch_execute(&sql).unwrap_or_else(|cause| panic!("{sql}: {cause:?}"));
    }
    let renderer = Renderer::of(&database);
    let mut failures = Vec::new();
    for name in &catalogs {
        check(&database, &renderer, &format!("e_{name}"), TypeOptions::default(), name, &mut failures);
    }
    for name in &pseudo {
        let sql = format!(
            "SELECT t AS v, t.* FROM pg_catalog.{name} AS t \
             WHERE t::text LIKE '(' || CASE '{name}' WHEN 'pg_statistic_ext_data' THEN \
               (SELECT max(oid) FROM pg_catalog.pg_statistic_ext) ELSE 'measured'::regclass::oid END || ',%'"
        );
        let expected = server_text(&mut client, &sql);
        assert!(!expected.is_empty(), "{name}");
        match read(source(&database).query(&sql)) {
            Ok(export) => failures.extend(differences(&renderer, &export, &expected)),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert_none(&failures);
}

/// The server's own form of a value for choices that give it another form.
const CHOICES: &[(&str, &str, &str, &str)] = &[
    // Type, choice, random values, and the server's form.
    (
        "numeric",
        "float64",
        "CASE WHEN g % 2 = 0 THEN '-' ELSE '' END || left(d, 1 + g % 60) || '.' || right(d, g % 36) || 'e' || g % 180 - 90",
        "v::float8",
    ),
    ("numeric", "text", "(left(d, 1 + g % 60) || '.' || right(d, g % 36))", "v"),
    ("numeric", "decimal(38,9)", "n / (10 ^ (g % 9 + 1))::numeric(12,0)", "round(v, 9)"),
    ("numeric", "decimal(70,30)", "(left(d, 1 + g % 40) || '.' || right(d, g % 30))", "round(v, 30)"),
    ("numeric", "scan", "(left(d, 1 + g % 30) || '.' || right(d, g % 8))", "round(v, 7)"),
    ("numeric(20,3)", "float64", "n / 1000.0", "v::float8"),
    (
        "numeric(100,50)",
        "decimal(60,10)",
        "(left(d, 1 + g % 50) || '.' || right(d, 5))",
        "v::numeric(100,10)",
    ),
    (
        "timestamp",
        "timestamp-unit=ns",
        "'1700-01-01'::timestamp + (abs(n) % 17000000000000000) * interval '1 microsecond'",
        "v",
    ),
    (
        "timestamptz",
        "timestamp-unit=ms",
        "date_trunc('milliseconds', '2000-01-01'::timestamptz + (n % 100000000000000) * interval '1 millisecond')",
        "v",
    ),
    (
        "interval",
        "interval=text",
        "make_interval(months => (n % 2000000)::int4, days => g, secs => n % 100000)",
        "v",
    ),
    (
        "interval",
        "interval=struct",
        "make_interval(months => (n % 2000000)::int4, secs => n % 100000000000)",
        "v",
    ),
    ("char(40)", "trim=true", "t", "rtrim(v::text, ' ')"),
    ("mood", "enum=text", "(enum_range(NULL::mood))[1 + g % 6]", "v"),
    ("int4[]", "int4[][]", "array_fill(g, ARRAY[1 + g % 5, 1 + g % 3])", "v"),
    ("text[]", "text[][][]", "array_fill(t, ARRAY[1 + g % 3, 2, 1 + g % 4])", "v"),
    (
        "date[]",
        "infinity=null",
        "ARRAY['infinity', NULL, '2000-01-01'::date + g, '-infinity']",
        "array_replace(array_replace(v, 'infinity', NULL), '-infinity', NULL)",
    ),
    (
        "date",
        "infinity=saturate",
        "CASE g % 3 WHEN 0 THEN 'infinity'::date WHEN 1 THEN '2000-01-01'::date + g ELSE '-infinity' END",
        "CASE WHEN v IS NULL OR isfinite(v) THEN v::text WHEN v > '2000-01-01' THEN '5881580-07-11' ELSE '5877642-06-23 BC' END",
    ),
    ("tsvector", "text", "to_tsvector('simple', h)", "v"),
    ("pairs", "text", "row(row(g, t, n, NULL)::pair, '{}', '[1,5)', 'a')::pairs", "v"),
    ("bytea", "text", "decode(h, 'hex')", "v"),
];

#[test]
fn values_in_other_forms_are_what_the_server_makes_of_them() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("choices");
    database.execute(TYPES);
    let mut client = oracle(&database);
    let mut failures = Vec::new();
    for (number, (pg_type, choice, values, form)) in CHOICES.iter().enumerate() {
        let table = format!("e{number}");
        let sql = format!(
            "CREATE TABLE {table} AS SELECT CASE WHEN g % 7 <> 3 THEN (({values})::text)::{pg_type} END AS v FROM {}",
            chance(500)
        );
        client.batch_execute(&sql).unwrap_or_else(|cause| panic!("{sql}: {cause:?}"));
        let expected = server_text(&mut client, &format!("SELECT {form} FROM {table}"));
        let options = ExportOptions::default().with_order(true).with_column("v", choice.parse().unwrap());
        let mut renderer = Renderer::default();
        renderer.lists_are_dimensions = choice.contains("[][]");
        match read(source(&database).table(&*table).options(options)) {
            Ok(export) => {
                let found = differences(&renderer, &export, &expected);
                failures.extend(found.into_iter().map(|text| format!("{choice}: {text}")));
            }
            Err(error) => failures.push(format!("{choice}: {error}")),
        }
    }
    assert_none(&failures);
}
