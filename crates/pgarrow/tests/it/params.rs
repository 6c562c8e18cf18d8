//! Values bound to a query or a filter: COPY takes none, so they become literals; and which statements are
//! accepted.

use std::sync::OnceLock;

use pgarrow::{ErrorKind, ExportOptions, Extract, Source};
use pgarrow_testkit::{Capability, TestServer, require};
use proptest::prelude::*;

use crate::support::{
    Role, assert_error, database, oracle, query_lines, read, refusal, server_text, source, source_as, url,
};

#[test]
fn values_of_many_types_take_the_type_that_the_server_gives_them() {
    require!(Capability::Server);
    let database =
        database("binds", "CREATE TYPE \"My mood\" AS ENUM ('ok', 'it''s'); CREATE TABLE e AS SELECT 7 AS a");
    let source = source(&database);
    let one = |sql: &str, value: &str| read(source.query(sql).bind(Some(value))).unwrap().lines().join(" ");
    assert_eq!(one("SELECT $1::int4 + 1", "41"), "42");
    assert_eq!(one("SELECT a + $1 FROM e", "1"), "8");
    assert_eq!(one("SELECT $1::numeric", "-0.10"), "-0.10");
    assert_eq!(one("SELECT $1::date", "0044-03-15 BC"), "0044-03-15 BC");
    assert_eq!(one("SELECT $1::timestamptz", "2000-01-01 00:00+05:45"), "1999-12-31 18:15:00+00");
    assert_eq!(one("SELECT $1::bytea", "\\x00ff"), "\\x00ff");
    assert_eq!(one("SELECT $1::int4[]", "{1,NULL}"), "{1,NULL}");
    assert_eq!(one("SELECT $1::\"My mood\"", "it's"), "it's");
    assert_eq!(one("SELECT $1::jsonb", r#"{"a": "\\'"}"#), r#"{"a": "\\'"}"#);
    assert_eq!(one("SELECT $1::char(3)", "é"), "é  ");
    assert_eq!(one("SELECT $1", "text by default"), "text by default");
    assert_eq!(one("SELECT count(*) FROM e WHERE a = $1", "7"), "1");
    assert_eq!(one("SELECT $1 || $1", "twice"), "twicetwice");
    assert_eq!(one("SELECT -$1::int4", "-3"), "3");
}

#[test]
fn null_numbers_and_placeholders_in_any_order() {
    require!(Capability::Server);
    let database = database("order", "");
    let source = source(&database);
    let query = source
        .query("SELECT $3, $1::int4, $2::text, '$1', \"x\" AS \"$2\" FROM (SELECT 'x' AS x) AS s -- $4");
    let export = read(query.bind(Some(-5)).bind(None::<&str>).bind(Some(2.5))).unwrap();
    assert_eq!(export.lines(), ["2.5|-5|∅|$1|x"]);
}

#[test]
fn awkward_texts_arrive_as_they_are() {
    require!(Capability::Server);
    let database = database("awkward", "");
    let source = source(&database);
    for text in [
        "",
        "'",
        "''",
        "\\",
        "\\'",
        "'; DROP TABLE e; --",
        "$1",
        "$$",
        "$a$x$a$",
        "é😀\u{10ffff}",
        "\n\r\t\u{1}",
        "NULL",
        "\u{feff}",
        "/*",
        "--",
        "\"",
        "E'\\n'",
        "U&'\\0041'",
        "%s ? :x",
    ] {
        let export = read(source.query("SELECT $1::text").bind(Some(text))).unwrap();
        assert_eq!(export.lines(), [text], "{text:?}");
    }
    let nul = refusal(source.query("SELECT $1::text").bind(Some("a\0b")));
    assert_error(&nul, ErrorKind::Options, None, &["NUL"]);
}

/// A source with every setting that once made literals unsafe.
fn unsafe_source() -> &'static Source {
    static SOURCE: OnceLock<Source> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let url = TestServer::shared().url();
        let separator = if url.contains('?') { '&' } else { '?' };
        let options = "options=-cstandard_conforming_strings%3Doff%20-cbackslash_quote%3Don";
        Source::connect_blocking(&format!("{url}{separator}{options}")).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_makes_the_round_trip(
        texts in proptest::collection::vec("[^\u{0}]{0,20}|['\\\\$\"; \n-]{0,8}", 1..8)
    ) {
        if Capability::Server.probe().is_err() {
            return Ok(());
        }
        let sql: Vec<String> = (1..=texts.len()).map(|number| format!("${number}::text")).collect();
        let mut query: Extract = unsafe_source().query(format!("SELECT {}", sql.join(", ")));
        for text in &texts {
            query = query.bind(Some(text));
        }
        let export = read(query).unwrap();
        prop_assert_eq!(&crate::render::rows(&export.batches)[0], &texts.iter().cloned().map(Some).collect::<Vec<_>>());
    }
}

#[test]
fn where_strings_end_is_the_same_to_us_and_to_a_server_of_old() {
    require!(Capability::Server);
    // If backslashes escaped, the first string would end at the third quote, the second $1 would be inside
    // it, and its value would be read as SQL.
    let sql = "SELECT $1::text, '\\', $1, '||'--\\''";
    let export = read(unsafe_source().query(sql).bind(Some(", (SELECT 1), "))).unwrap();
    assert_eq!(export.lines(), [", (SELECT 1), |\\|, (SELECT 1), |||"]);
}

#[test]
fn another_number_of_values_than_placeholders() {
    require!(Capability::Server);
    let database = database("counts", "CREATE TABLE e (a int4)");
    let source = source(&database);
    let error = refusal(source.query("SELECT $1::int4, $2::int4").bind(Some(1)));
    assert_error(&error, ErrorKind::Options, None, &["2 parameters", "1 were given"]);
    let error = refusal(source.query("SELECT 1").bind(Some(1)));
    assert_error(&error, ErrorKind::Options, None, &["0 parameters"]);
    let error = refusal(source.query("SELECT $2::int4").bind(Some(1)).bind(Some(2)));
    assert_eq!(error.kind(), ErrorKind::Server, "the server cannot tell the type of $1: {error}");
    let error = refusal(source.table("e").bind(Some(1)));
    assert_error(&error, ErrorKind::Options, None, &["queries", "no filter"]);
}

const FILTERED: &str = "CREATE TYPE mood AS ENUM ('ok', 'it''s'); \
    CREATE TABLE p (id int4, total numeric(10,2), name text, day date, m mood) PARTITION BY RANGE (id); \
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (3000); \
    CREATE TABLE p2 (m mood, day date, name text, total numeric(10,2), id int4); \
    ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (3000) TO (90000); \
    INSERT INTO p SELECT g, g / 10.0, CASE WHEN g % 7 <> 0 THEN 'n' || g % 5 END, date '2020-01-01' + g, \
      CASE WHEN g % 2 = 0 THEN mood 'ok' ELSE 'it''s' END FROM generate_series(1, 6000) AS g; \
    CREATE VIEW v AS SELECT * FROM p; ANALYZE p";

/// Every slice has the values, however the export is cut.
#[test]
fn a_filter_takes_values_as_a_query_does() {
    require!(Capability::Server);
    let database = database("filtered", FILTERED);
    let source = source(&database);
    let one = ExportOptions::default().with_readers(1);
    let pages = ExportOptions::default().with_readers(3).with_slice_bytes(8192);
    let keys = ExportOptions::default().with_readers(3).with_split_on("id");
    for (filter, values, same) in [
        ("total > $1", &[Some("100")][..], "total > 100"),
        ("id BETWEEN $1 AND $2 -- $3", &[Some("2990"), Some("3010")], "id BETWEEN 2990 AND 3010"),
        ("name = $1 OR name = $1", &[Some("n3")], "name = 'n3'"),
        ("name IS NOT DISTINCT FROM $1", &[None], "name IS NULL"),
        (
            "$2 < day AND m = $1 AND name <> '$1'",
            &[Some("it's"), Some("2025-01-01")],
            "day > '2025-01-01' AND m = 'it''s' AND name <> ''",
        ),
        (
            "p.id = ANY ($1) AND day > now() - interval '100 years'",
            &[Some("{1,3000,5999}")],
            "id IN (1, 3000, 5999)",
        ),
        ("name = $1", &[Some("') OR (true) --")], "false"),
    ] {
        let expected = server_text(&mut oracle(&database), &format!("SELECT count(*) FROM p WHERE {same}"));
        for (name, options) in [("p", &one), ("p", &pages), ("p", &keys), ("v", &keys)] {
            let filter = if name == "v" { filter.replace("p.id", "v.id") } else { filter.to_owned() };
            let table =
                source.table(name).columns(["name", "id"]).filter(filter.as_str()).options(options.clone());
            let extract = values.iter().fold(table, |extract, value| extract.bind(*value));
            let rows = read(extract).unwrap().n_rows().to_string();
            assert_eq!(expected[0][0].as_deref(), Some(rows.as_str()), "{name}, {filter}, {options:?}");
        }
    }
    let run = source.table("p").filter("id > $1").bind(Some(10)).options(pages).open().unwrap();
    assert!(run.plan().n_slices() > 10, "{}", run.plan().slicing());
    let limited = source.table("p").filter("id > $1").bind(Some(5995)).limit(3);
    assert_eq!(read(limited).unwrap().n_rows(), 3);
}

#[test]
fn slices_bring_the_values_of_their_filter() {
    require!(Capability::Server);
    let database = database("filtered slices", FILTERED);
    let here = source(&database);
    let options = ExportOptions::default().with_readers(2).with_slice_bytes(64 << 10);
    let filter = here.table("p").filter("total > $1 AND name = $2").bind(Some(100)).bind(Some("n3"));
    let mut run = filter.options(options).open().unwrap();
    let slices = run.slices().unwrap();
    assert!(slices.len() > 3, "{}", slices.len());
    let there = source(&database);
    let mut rows = 0;
    for slice in &slices {
        let filter = slice.filter.as_deref().unwrap();
        assert_eq!(filter, "total > ('100'::numeric) AND name = ('n3'::text)");
        rows += read(there.slice(slice.clone())).unwrap().n_rows();
    }
    let sql = "SELECT count(*) FROM p WHERE total > 100 AND name = 'n3'";
    assert_eq!(server_text(&mut oracle(&database), sql)[0][0], Some(rows.to_string()));
    drop(run);
}

#[test]
fn values_that_do_not_fit_a_filter() {
    require!(Capability::Server);
    let database = database("unfiltered", FILTERED);
    let source = source(&database);
    let p = |filter: &str| source.table("p").filter(filter);
    let error = refusal(p("id > $1 AND id < $2").bind(Some(1)));
    assert_error(&error, ErrorKind::Options, None, &["the filter takes 2 parameters", "1 were given"]);
    let error = refusal(p("id > 1").bind(Some(1)));
    assert_error(&error, ErrorKind::Options, None, &["the filter takes 0 parameters", "1 were given"]);
    let error = refusal(p("id > $1").bind(Some("eleven")));
    assert_error(&error, ErrorKind::Server, Some("22P02"), &["the filter cannot be used"]);
    let error = refusal(p("nothing > $1").bind(Some(1)));
    assert_error(&error, ErrorKind::Server, Some("42703"), &["the filter cannot be used", "nothing"]);
    let error = refusal(p("$2 > 1").bind(Some(1)).bind(Some(1)));
    assert_eq!(error.kind(), ErrorKind::Server, "the server cannot tell the type of $1: {error}");
    assert!(error.to_string().contains("the filter"), "{error}");
    let error = refusal(p("name = $1").bind(Some("a\0b")));
    assert_error(&error, ErrorKind::Options, None, &["NUL"]);
    // One connection reads all if a value differs between sessions, also a bound one.
    let readers = ExportOptions::default().with_readers(3).with_slice_bytes(8192);
    let run = p("day <= $1").bind(Some("now")).options(readers).open().unwrap();
    assert_eq!(run.plan().n_slices(), 1, "{}", run.plan().slicing());
    assert_eq!(run.plan().estimated_rows(), None);
}

#[test]
fn a_value_that_its_type_does_not_take() {
    require!(Capability::Server);
    let database = database("nofit", "");
    let error = refusal(source(&database).query("SELECT $1::int4").bind(Some("eleven")));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("22P02")), "{error}");
}

#[test]
fn statements_that_are_none_two_or_open() {
    require!(Capability::Server);
    let database = database("statements", "CREATE TABLE e (a int4)");
    let source = source(&database);
    for (sql, word) in [
        ("", "empty"),
        (" ; -- nothing\n", "empty"),
        ("SELECT 1; SELECT 2", "more than one"),
        ("SELECT 1; DROP TABLE e", "more than one"),
        ("SELECT 'open", "quote"),
        ("SELECT \"open", "quote"),
        ("SELECT $a$open$b$", "quote"),
        ("SELECT 1 /* open /* twice */", "comment"),
        ("SELECT 1\0", "NUL"),
    ] {
        assert_error(&refusal(source.query(sql)), ErrorKind::Options, None, &[word]);
    }
    for sql in
        ["SELECT 1;", " SELECT 1 ; ; -- end", "/* a; /* b; */ */ SELECT 1 -- c;", "TABLE e", "VALUES (1)"]
    {
        read(source.query(sql)).unwrap();
    }
    assert_eq!(query_lines(&database, "WITH x AS (SELECT 1) SELECT ';' || $$;'$$ FROM x"), [";;'"]);
}

#[test]
fn statements_that_return_nothing_or_that_copy_does_not_take() {
    require!(Capability::Server);
    let database = database("nothing", "CREATE TABLE e (a int4)");
    let source = source(&database);
    for sql in ["CREATE TABLE f (a int4)", "DELETE FROM e", "BEGIN", "DO $$ BEGIN END $$"] {
        let error = refusal(source.query(sql));
        assert_eq!(error.kind(), ErrorKind::Options, "{sql}: {error}");
    }
    for sql in ["SHOW work_mem", "EXPLAIN SELECT 1"] {
        let error = refusal(source.query(sql));
        assert_error(&error, ErrorKind::Server, Some("42601"), &["SELECT, VALUES, TABLE, WITH"]);
    }
    // Every statement that would write is refused, whatever it returns.
    for sql in ["INSERT INTO e VALUES (1) RETURNING a", "SELECT 1) TO STDOUT; DROP TABLE e; COPY (SELECT 1"] {
        refusal(source.query(sql));
    }
    let tables =
        server_text(&mut oracle(&database), "SELECT count(*) FROM pg_class WHERE relname IN ('e', 'f')");
    assert_eq!(tables[0][0].as_deref(), Some("1"));
}

#[test]
fn parentheses_that_would_leave_the_copy_are_refused() {
    require!(Capability::Server);
    let database = database("leave", "CREATE TABLE e (a int4)");
    let target = std::env::temp_dir().join(format!("pgarrow_{}", database.name()));
    let sql = format!("SELECT 1) TO '{}' -- ", target.display());
    let error = refusal(source(&database).query(&sql));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("42601")), "{error}");
    assert!(!target.exists(), "nothing was written on the server");
}

#[test]
fn a_query_by_a_role_with_old_string_literals() {
    require!(Capability::PrivateServer);
    let database = database("oldstrings", "");
    let role = Role::new(&database);
    database.execute(&format!("ALTER ROLE \"{}\" SET standard_conforming_strings = off", role.name));
    let source = source_as(&database, &role.name);
    let export = read(source.query("SELECT $1::text, 'a\\nb'").bind(Some("\\' || x || '"))).unwrap();
    assert_eq!(export.lines(), ["\\' || x || '|a\\nb"]);
    // Formerly, the role's own setting held while parameters were looked up: "unterminated quoted string".
    let export = read(source.query("SELECT $1::text, '\\' AS \"'\"").bind(Some("x"))).unwrap();
    assert_eq!(export.lines(), ["x|\\"]);
    drop(source);
}

#[test]
fn an_error_in_a_query_shows_the_servers_words_and_no_control_characters() {
    require!(Capability::Server);
    let database = database("words", "");
    let sql = "DO $$ BEGIN NULL; END $$";
    database.execute(sql);
    database.execute(
        "CREATE FUNCTION f() RETURNS int4 LANGUAGE plpgsql AS $$ BEGIN \
           RAISE EXCEPTION E'red \\u001b[31m' USING DETAIL = E'the\\u0007 detail', HINT = 'the hint', ERRCODE = 'P0042'; END $$",
    );
    let source = Source::connect_blocking(&url(&database)).unwrap();
    let error = refusal(source.query("SELECT f()"));
    assert_error(
        &error,
        ErrorKind::Server,
        Some("P0042"),
        &["red", "the detail".split(' ').nth(1).unwrap(), "the hint"],
    );
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
}
