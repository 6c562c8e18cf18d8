//! Values bound to a query: COPY takes none, so they become literals; and which statements are taken at all.

use std::sync::OnceLock;

use pgarrow::{ErrorKind, Extract, Source};
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

/// A source whose role has every setting that once made literals unsafe.
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
    // With backslashes that escape, the first string would go on to the third quote, the second $1 would be
    // inside of it, and a value put there would be read as SQL.
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
    assert_error(&error, ErrorKind::Options, None, &["queries"]);
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
    // Each statement that would write is refused, whatever it returns.
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
    // While parameters were looked up, the role's own setting held: "unterminated quoted string".
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
