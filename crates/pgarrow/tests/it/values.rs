//! Values whose text depends on the server's version or on user-defined functions: the export gives what the
//! server prints, everywhere.

use pgarrow::{ErrorKind, ExportOptions, InfinityPolicy, IntervalForm, ReadMode, TypeOptions};
use pgarrow_testkit::{Capability, TestServer, require};

use crate::choices::{options, report};
use crate::pages_equality::assert_same_with;
use crate::support::{assert_error, assert_table, database, oracle, read, refusal, server_text, source};

/// Formerly, the stored text arrived, with a declaration of an encoding that it no longer has: other programs
/// read é as Ã©. In an array it was right.
#[test]
fn xml_is_what_the_server_prints_everywhere() {
    require!(Capability::Server, Capability::Xml);
    let database = database(
        "xml",
        "SET xmloption = content; CREATE DOMAIN page AS xml; CREATE TYPE pair AS (x xml, p page, xs xml[]); \
         CREATE TABLE e (x xml, p page, xs xml[], ps page[], b pair, bs pair[]); \
         INSERT INTO e SELECT x, x, ARRAY[x, NULL], ARRAY[x]::page[], ROW(x, x, ARRAY[x])::pair, \
             ARRAY[ROW(x, x, ARRAY[x])::pair] FROM (VALUES ('<a/>'::xml), (''), ('<?xml version=\"1.0\"?><b>é</b>'), \
           ('<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>é</a>'), \
           (E'<?xml version=\"1.0\" encoding=\"UTF-8\"?>\\n\\n<a>é</a>'), \
           ('<?xml version=\"1.0\" encoding=\"latin1\" standalone=\"yes\"?><a/>'), \
           ('<?xml version=\"1.1\" encoding=\"utf-8\" standalone=\"no\"?><a/>'), \
           ('<?xml-stylesheet encoding=\"latin1\"?><a/>'), (NULL)) AS v(x); SET xmloption = document; \
         INSERT INTO e (x) VALUES (E'<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\\n<!DOCTYPE a [<!ENTITY b \"é\">]>\\n<a>&b;</a>')",
    );
    let export = assert_table(&database, "e", "*");
    assert!(export.warnings.is_empty(), "{:?}", export.warnings);
    let expected = server_text(&mut oracle(&database), "SELECT * FROM e");
    let text = |x: &str| expected.iter().any(|row| row[0].as_deref() == Some(x));
    assert!(text("<a>é</a>") && text("<?xml version=\"1.0\" standalone=\"yes\"?><a/>"), "{expected:?}");
    // With text as the choice, and for a query, with every read mode.
    let as_text = ["x", "p", "xs", "ps", "b", "bs"]
        .into_iter()
        .fold(ExportOptions::default(), |options, name| options.with_column(name, "text".parse().unwrap()));
    let lists = |text: &str| format!("SELECT {text} FROM e");
    let texts = server_text(&mut oracle(&database), &lists("x, p, xs, ps, b, bs"));
    read(source(&database).table("e").options(as_text.clone())).unwrap().assert_is(&texts);
    read(source(&database).query("TABLE e").options(as_text)).unwrap().assert_is(&texts);
    for mode in [ReadMode::Copy, ReadMode::Select, ReadMode::Cursor] {
        let options = ExportOptions::default().with_read_mode(mode);
        read(source(&database).query("TABLE e").options(options)).unwrap().assert_is(&expected);
    }
}

/// Formerly, before PostgreSQL 17, the largest and the smallest interval became "infinity" as text, and the
/// struct refused them as infinite.
#[test]
fn the_largest_and_the_smallest_interval_are_finite_before_17() {
    // PostgreSQL 14 does not accept them.
    require!(Capability::VersionAtLeast(150_000));
    let server = TestServer::shared();
    let version =
        server.client().query_one("SELECT current_setting('server_version_num')::int4", &[]).unwrap();
    if version.get::<_, i32>(0) >= 170_000 {
        // There, they are the infinities.
        return;
    }
    let database = database(
        "ends",
        "CREATE TYPE spans AS RANGE (subtype = interval); CREATE TYPE span AS (a interval, b interval[]); \
         CREATE DOMAIN lasting AS interval; \
         CREATE TABLE e (v interval, vs interval[], s span, r spans, d lasting); \
         INSERT INTO e SELECT v, ARRAY[v, NULL], ROW(v, ARRAY[v])::span, spans(NULL, v), v \
           FROM (VALUES ('2147483647 mons 2147483647 days 2562047788:00:54.775807'::interval), \
             (interval '-2147483648 mons -2147483648 days -2562047788:00:54.775807' - interval '1 microsecond'), \
             ('1 day'), (NULL)) AS v(v)",
    );
    let expected = server_text(&mut oracle(&database), "SELECT * FROM e");
    assert_eq!(
        expected[0][0].as_deref(),
        Some("178956970 years 7 mons 2147483647 days 2562047788:00:54.775807")
    );
    for form in [IntervalForm::Struct, IntervalForm::Text] {
        for policy in [InfinityPolicy::Error, InfinityPolicy::Null, InfinityPolicy::Saturate] {
            let types = TypeOptions { interval: form, infinity: policy, ..TypeOptions::default() };
            let export =
                read(source(&database).table("e").options(ExportOptions::default().with_types(types)));
            export.unwrap().assert_is(&expected);
        }
    }
    // By pages, too.
    database.execute("CREATE TABLE p AS SELECT v, vs, d FROM e");
    if Capability::Superuser.probe().is_ok() && Capability::Extension("pageinspect").probe().is_ok() {
        for interval in [IntervalForm::Struct, IntervalForm::Text] {
            assert_same_with(&database, "p", TypeOptions { interval, ..TypeOptions::default() });
        }
    }
    // They do not fit nanoseconds, and the error says so.
    let error = refusal(source(&database).query("SELECT v FROM e"));
    assert_error(&error, ErrorKind::Value, None, &["outside the range"]);
    let null = TypeOptions { infinity: InfinityPolicy::Null, ..TypeOptions::default() };
    let error = refusal(
        source(&database).query("SELECT v FROM e").options(ExportOptions::default().with_types(null)),
    );
    assert_error(&error, ErrorKind::Value, None, &["out_of_range=null|saturate"]);
}

/// Formerly, a base type with text's send function counted as text, whatever its output function prints.
#[test]
fn a_type_is_another_one_only_if_all_of_its_functions_are() {
    require!(Capability::Server, Capability::Superuser);
    let functions = |name: &str, input: &str, output: &str, receive: &str, send: &str| {
        format!(
            "CREATE TYPE {name}; \
             CREATE FUNCTION {name}_in(cstring) RETURNS {name} IMMUTABLE STRICT LANGUAGE internal AS '{input}'; \
             CREATE FUNCTION {name}_out({name}) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS '{output}'; \
             CREATE FUNCTION {name}_recv(internal) RETURNS {name} IMMUTABLE STRICT LANGUAGE internal AS '{receive}'; \
             CREATE FUNCTION {name}_send({name}) RETURNS bytea IMMUTABLE STRICT LANGUAGE internal AS '{send}'; \
             CREATE TYPE {name} (INPUT = {name}_in, OUTPUT = {name}_out, RECEIVE = {name}_recv, SEND = {name}_send, \
               LIKE = text); "
        )
    };
    let sql = functions("same", "textin", "textout", "textrecv", "textsend")
        + &functions("prints", "textin", "byteaout", "textrecv", "textsend")
        + &functions("reads", "byteain", "textout", "textrecv", "textsend")
        + &functions("receives", "textin", "textout", "bytearecv", "textsend")
        + "CREATE DOMAIN printed AS prints; CREATE TYPE part AS (a prints); \
           CREATE TABLE e (s same, p prints, r reads, v receives, d printed, ps prints[], c part); \
           INSERT INTO e VALUES ('aé', 'abc', 'abc', 'abc', 'abc', ARRAY['abc'::prints], ROW('abc')::part), \
             (NULL, NULL, NULL, NULL, NULL, NULL, NULL)";
    let database = database("borrowed", &sql);
    let export = assert_table(&database, "e", "*");
    assert_eq!(export.lines()[0].split('|').nth(1), Some("\\x616263"));
    let warned: Vec<&str> = export.warnings.iter().filter_map(|text| text.split('"').nth(1)).collect();
    assert_eq!(warned, ["p", "r", "v", "d", "ps", "c"], "{:#?}", export.warnings);
}

/// A type counts as an array only if all of its functions are those of arrays.
#[test]
fn a_type_that_sends_an_array_and_prints_something_else_is_text() {
    require!(Capability::Server, Capability::Superuser);
    let database = database(
        "arrays_own",
        "CREATE TYPE numbers; \
         CREATE FUNCTION numbers_in(cstring) RETURNS numbers IMMUTABLE STRICT LANGUAGE internal AS 'byteain'; \
         CREATE FUNCTION numbers_out(numbers) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'byteaout'; \
         CREATE FUNCTION numbers_send(numbers) RETURNS bytea IMMUTABLE STRICT LANGUAGE internal AS 'array_send'; \
         CREATE TYPE numbers (INPUT = numbers_in, OUTPUT = numbers_out, SEND = numbers_send, ELEMENT = int4, \
           SUBSCRIPT = raw_array_subscript_handler, \
           INTERNALLENGTH = VARIABLE, ALIGNMENT = int4); \
         CREATE TABLE e AS SELECT '\\x00ff'::numbers AS v",
    );
    let export = assert_table(&database, "e", "*");
    assert_eq!((export.lines(), export.warnings.len()), (vec!["\\x00ff".to_owned()], 1));
}

/// Formerly, `decimal(P,S)` could only stop at more digits.
#[test]
fn decimals_and_milliseconds_are_rounded_as_the_server_rounds() {
    require!(Capability::Server);
    let database = database(
        "rounded",
        "CREATE TABLE e AS SELECT CASE WHEN g % 17 > 0 THEN (g - 1000) * 0.0037 + (g % 7) * 0.00005 END AS n, \
           ARRAY[(g % 100) / 8.0, NULL] AS ns, numrange(g / 16.0, NULL) AS r, \
           timestamp '1999-12-31 23:59:59' + g * interval '1500 microseconds' AS at FROM generate_series(1, 2000) g",
    );
    let choice = |text: &str| text.parse::<pgarrow::ColumnOptions>().unwrap();
    let options = ExportOptions::default()
        .with_order(true)
        .with_column("n", choice("decimal(20,2),lost-digits=round"))
        .with_column("ns", choice("decimal(50,1),lost-digits=round"))
        .with_column("r", choice("numeric=decimal(30,3),lost-digits=round"))
        .with_column("at", choice("timestamp-unit=ms,lost-digits=round"));
    let sql = "SELECT round(n, 2), ARRAY[round(ns[1], 1), NULL], numrange(round(lower(r), 3), NULL), at::timestamp(3) FROM e";
    let expected = server_text(&mut oracle(&database), sql);
    read(source(&database).table("e").options(options.clone())).unwrap().assert_is(&expected);
    let report = report(&source(&database), options);
    let rounded = |name: &str| {
        let column = report.columns.iter().find(|column| column.name == name).unwrap();
        column.effects.get("rounded").copied().unwrap_or(0)
    };
    let sql = "SELECT count(*) FILTER (WHERE round(n, 2) <> n), count(*) FILTER (WHERE round(ns[1], 1) <> ns[1]), \
                 count(*) FILTER (WHERE round(lower(r), 3) <> lower(r)), count(*) FILTER (WHERE at::timestamp(3) <> at) FROM e";
    let counts = &server_text(&mut oracle(&database), sql)[0];
    for (name, count) in ["n", "ns", "r", "at"].into_iter().zip(counts) {
        assert_eq!(Some(rounded(name).to_string()), *count, "{name}");
    }
    // Still errors: too many digits before the point, and more digits without the choice.
    let narrow = ExportOptions::default().with_column("n", choice("decimal(2,2),lost-digits=round"));
    let error = refusal(source(&database).table("e").columns(["n"]).options(narrow));
    assert_error(&error, ErrorKind::Value, None, &["out_of_range=null|saturate"]);
    let exact = ExportOptions::default().with_column("n", choice("decimal(20,2)"));
    let error = refusal(source(&database).table("e").columns(["n"]).options(exact));
    assert_error(&error, ErrorKind::Value, None, &["lost_digits=round"]);
}

#[test]
fn numerics_without_a_decimal_are_known_beforehand() {
    require!(Capability::Server);
    let database = database(
        "undecided",
        "CREATE TYPE priced AS (a numeric); \
         CREATE TABLE e (i int4, n numeric, d numeric(10,2), w numeric(80,2), ns numeric[], p priced)",
    );
    let names = |choices: &[(&str, &str)]| -> Vec<String> {
        let run = source(&database).table("e").options(options(choices)).open().unwrap();
        run.plan().numerics_as_text().map(|column| column.name.clone()).collect()
    };
    assert_eq!(names(&[]), ["n", "w", "ns", "p"]);
    let chosen = [("n", "scan"), ("w", "numeric=text"), ("ns", "decimal(38,9)"), ("p", "numeric=float64")];
    assert_eq!(names(&chosen), [""; 0]);
    assert_eq!(names(&[("n", "text")]), ["w", "ns", "p"]);
}
