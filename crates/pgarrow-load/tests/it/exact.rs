//! Values that PostgreSQL would silently round, cut or drop, and a load does not.

use std::sync::Arc;

use arrow_array::types::Int16Type;
use arrow_array::{ArrayRef, ListArray, RecordBatch, StringArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema};
use pgarrow_export::{Error, ErrorKind, Result};
use pgarrow_load::{Conversions, LoadMethod, LoadOptions, LoadReport};
use pgarrow_testkit::Database;

use crate::support::{database, load_batches, refusal, rows, value};

const METHODS: [LoadMethod; 2] = [LoadMethod::Copy, LoadMethod::Insert];

fn options(method: LoadMethod, conversions: Conversions) -> LoadOptions {
    LoadOptions::default().with_method(method).with_conversions(conversions)
}

fn load_column(database: &Database, array: ArrayRef, options: LoadOptions) -> Result<LoadReport> {
    database.execute("TRUNCATE t");
    let field = Field::new("v", array.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
    load_batches(database, "t", options, &[batch])
}

fn texts(values: &[&str]) -> ArrayRef {
    // NULLs in between, which the CHECK must accept.
    let values = values.iter().flat_map(|value| [Some(*value), None]);
    Arc::new(StringArray::from_iter(values))
}

fn lists(values: &[&str]) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    Arc::new(ListArray::new(item, offsets, Arc::new(StringArray::from(values.to_vec())), None))
}

fn stored(database: &Database) -> Vec<String> {
    let sql = "SELECT v::text FROM t WHERE NOT (v IS NULL)";
    rows(database, sql).into_iter().map(|mut row| row.swap_remove(0).unwrap()).collect()
}

/// The error is about the value, and names its row but not the value.
fn assert_is_about_row(error: &Error, row: u32) {
    assert!(error.to_string().contains(&format!("row {row}")), "{error}");
    assert!(error.to_string().contains("conversions=round"), "{error}");
}

const MADE: &str = "CREATE TYPE c AS (a numeric(10,2), b tsvector); CREATE DOMAIN d AS c; CREATE DOMAIN m AS money; \
                    CREATE TYPE r AS RANGE (subtype = tsvector); CREATE TYPE p AS (a timestamptz, b tsvector)";

/// Regression: with `--convert check`, all texts on the left were loaded, and the values in the middle were
/// stored. Composite types that the server parses as a whole did not even need the option.
#[test]
fn text_that_says_more_than_the_type_keeps() {
    let database = database("exact_text", MADE);
    for (type_name, text, silently, fitting) in [
        ("money", "1.239", "$1.24", vec!["1.23", "$1.24", "-$1,234.50", "+1"]),
        ("interval day", "1 day 02:03:04", "1 day", vec!["1 day", "P1D"]),
        (
            "interval",
            "00:00:00.1234567",
            "00:00:00.123457",
            vec!["1 days 02:03:04.50", "P1Y-2M3DT4H5M6.5S", "-1 year +2 mons"],
        ),
        ("interval", "0.01 years", "00:00:00", vec!["2 weeks 3 hours", "1.5 seconds", "00:00:00"]),
        ("interval(2)", "00:00:00.126", "00:00:00.13", vec!["00:00:00.12", "1 mon"]),
        ("numeric(10,2)[]", "{1.239}", "{1.24}", vec!["{1.23,NULL}", "{}"]),
        ("varchar(3)[]", "{\"ab   \"}", "{\"ab \"}", vec!["{\"ab \"}"]),
        ("float4[]", "{16777217}", "{1.6777216e+07}", vec!["{1.5,NaN}"]),
        (
            "tsrange",
            "[2020-01-01 00:00:00.1234567,)",
            "[\"2020-01-01 00:00:00.123457\",)",
            vec!["[\"2020-01-01 00:00:00\",infinity)"],
        ),
        (
            "daterange",
            "[2020-01-01 12:00:00,2020-01-03)",
            "[2020-01-01,2020-01-03)",
            vec!["[2020-01-01,2020-01-03)", "empty"],
        ),
        ("point", "(0.12345678901234567891,1)", "(0.12345678901234568,1)", vec!["(0.1,-2)"]),
        ("box", "(1,0),(3,4)", "(3,4),(1,0)", vec!["(3,4),(1,0)"]),
        ("oid", "-1", "4294967295", vec!["4294967295"]),
        ("c", "(1.239,x)", "(1.24,'x')", vec!["(1.23,'x')"]),
        ("d", "(1.239,x)", "(1.24,'x')", vec!["(1.23,'x')"]),
        ("c[]", "{\"(1.239,x)\"}", "{\"(1.24,'x')\"}", vec!["{\"(1.23,'x')\"}"]),
        (
            "p",
            "(2020-01-01 00:00:00,)",
            "(\"2020-01-01 00:00:00+00\",)",
            vec!["(\"2020-01-01 00:00:00+00\",)"],
        ),
        ("m", "1.239", "$1.24", vec!["1.23"]),
    ] {
        database.execute(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (v {type_name})"));
        for method in METHODS {
            let what = format!("{text} as {type_name}, by {method:?}");
            let check = || options(method, Conversions::Check);
            let error = refusal(load_column(&database, texts(&[fitting[0], text]), check()));
            assert_eq!(
                (error.kind(), error.sqlstate()),
                (ErrorKind::Server, Some("23514")),
                "{what}: {error}"
            );
            if method == LoadMethod::Copy {
                assert_is_about_row(&error, 3);
            }
            load_column(&database, texts(&fitting), check())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(stored(&database).len(), fitting.len(), "{what}");
            // With rounding allowed, the value is stored as before.
            load_column(&database, texts(&[text]), options(method, Conversions::Round)).unwrap();
            assert_eq!(stored(&database), [silently], "{what}");
        }
    }
}

#[test]
fn elements_that_say_more_than_the_type_keeps() {
    let database = database("exact_elements", MADE);
    for (type_name, text, silently, fitting) in [
        ("interval[]", "00:00:00.1234567", "{00:00:00.123457}", "1 day"),
        ("c[]", "(1.239,x)", "{\"(1.24,'x')\"}", "(1.23,'x')"),
        ("point[]", "(16777217.12345678912,0)", "{\"(16777217.123456787,0)\"}", "(1,2)"),
    ] {
        database.execute(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (v {type_name})"));
        for method in METHODS {
            let check = || options(method, Conversions::Check);
            let error = refusal(load_column(&database, lists(&[fitting, text]), check()));
            assert_eq!(error.sqlstate(), Some("23514"), "{type_name}: {error}");
            load_column(&database, lists(&[fitting, fitting]), check()).unwrap();
            load_column(&database, lists(&[text]), options(method, Conversions::Round)).unwrap();
            assert_eq!(stored(&database), [silently], "{type_name}");
        }
    }
    // Text that pgarrow parses, also in lists. Regression: "2020-01-01 00:00:00.1236" became .124.
    database.execute("DROP TABLE t; CREATE TABLE t (v timestamp(3)[])");
    for method in METHODS {
        let array = lists(&["2020-01-01T00:00:00.1236"]);
        let error = refusal(load_column(&database, array, options(method, Conversions::Check)));
        assert_eq!(error.kind(), ErrorKind::Value, "{error}");
        assert_is_about_row(&error, 1);
        load_column(&database, lists(&["2020-01-01T00:00:00.1230"]), options(method, Conversions::Check))
            .unwrap();
        assert_eq!(stored(&database), ["{\"2020-01-01 00:00:00.123\"}"]);
    }
}

/// What tsvector keeps is unknown here, so nothing is checked: its input function decides.
#[test]
fn text_of_a_type_that_stands_for_itself_needs_no_certain_form() {
    let database = database("exact_unknown", "CREATE TABLE t (v tsvector)");
    for method in METHODS {
        load_column(&database, texts(&["b a b"]), options(method, Conversions::Widen)).unwrap();
        assert_eq!(stored(&database), ["'a' 'b'"]);
    }
}

/// Regression: "ab   " became "ab " in the default mode, by COPY and by INSERT, in arrays, composites and
/// domains.
#[test]
fn blanks_at_the_end_of_a_varchar() {
    let made = "CREATE DOMAIN v AS varchar(3)";
    let database = database("exact_blanks", made);
    for (type_name, by_element) in
        [("varchar(3)", false), ("v", false), ("varchar(3)[]", true), ("v[]", true)]
    {
        database.execute(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (v {type_name})"));
        let array = |text| if by_element { lists(&["x", text]) } else { texts(&["x", text]) };
        for method in METHODS {
            let error = refusal(load_column(&database, array("ab   "), options(method, Conversions::Widen)));
            assert_eq!(error.kind(), ErrorKind::Value, "{type_name}: {error}");
            assert_is_about_row(&error, if by_element { 1 } else { 3 });
            load_column(&database, array("ab "), options(method, Conversions::Widen)).unwrap();
            load_column(&database, array("ab   "), options(method, Conversions::Round)).unwrap();
            let sql = "SELECT count(*)::text FROM t WHERE v::text LIKE '%ab %' AND v::text NOT LIKE '%ab  %'";
            assert_eq!(value(&database, sql), "1", "{type_name}");
        }
    }
}

/// Regression: NULLs were dropped, so [1, NULL, 2] became 1 2, and lists of lists became one list.
#[test]
fn vectors_have_no_null_and_one_dimension() {
    let database = database("exact_vectors", "CREATE TABLE t (v int2vector)");
    let of = |values: Vec<Option<i16>>| -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int16Type, _, _>([Some(values), None]))
    };
    let inner = of(vec![Some(1), Some(2)]);
    let item = Arc::new(Field::new("item", inner.data_type().clone(), true));
    let nested: ArrayRef =
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1]), inner.slice(0, 1), None));
    for type_name in ["int2vector", "oidvector"] {
        database.execute(&format!("DROP TABLE t; CREATE TABLE t (v {type_name})"));
        for method in METHODS {
            let check = || options(method, Conversions::Check);
            let error = refusal(load_column(&database, of(vec![Some(1), None, Some(2)]), check()));
            assert_eq!(error.kind(), ErrorKind::Value, "{error}");
            assert!(error.to_string().contains("row 1"), "{error}");
            let error = refusal(load_column(&database, Arc::clone(&nested), check()));
            assert_eq!(error.kind(), ErrorKind::Options, "{error}");
            for (values, expected) in [(vec![Some(1), Some(2)], "1 2"), (vec![], "")] {
                load_column(&database, of(values), check()).unwrap();
                assert_eq!(stored(&database), [expected], "{type_name}");
            }
        }
    }
}

/// Regression: text without a zone was parsed in the zone of the server, the database or the role.
#[test]
fn the_time_zone_of_the_session_decides_nothing_but_where_it_is_asked_for() {
    let sql = "CREATE TABLE t (v tstzrange, z text DEFAULT current_setting('TimeZone'))";
    let database = database("exact_zone", sql);
    database.execute(&format!("ALTER DATABASE \"{}\" SET TimeZone = 'Asia/Tokyo'", database.name()));
    let text = "[\"2020-01-01 00:00:00\",)";
    for (set, expected) in [(None, "2020-01-01 00:00:00"), (Some("America/Lima"), "2020-01-01 05:00:00")] {
        for method in METHODS {
            for writers in [1, 2] {
                let mut options = options(method, Conversions::Round).with_writers(writers);
                if let Some(zone) = set {
                    options = options.with_setting("timezone", zone);
                }
                load_column(&database, texts(&[text]), options).unwrap();
                let sql = "SELECT (lower(v) AT TIME ZONE 'UTC')::text FROM t WHERE v IS NOT NULL";
                assert_eq!(value(&database, sql), expected, "{set:?} {method:?} {writers}");
            }
        }
    }
    // If no text is parsed, defaults still see the session's zone.
    database.execute("DROP TABLE t; CREATE TABLE t (v text, z text DEFAULT current_setting('TimeZone'))");
    load_column(&database, texts(&["x"]), LoadOptions::default()).unwrap();
    assert_eq!(value(&database, "SELECT DISTINCT z FROM t"), "Asia/Tokyo");
}

/// Several connections write to one shared table, which has the CHECK.
#[test]
fn text_is_looked_at_by_each_of_several_writers() {
    let database = database("exact_writers", &format!("{MADE}; CREATE TABLE t (v p)"));
    database.execute(&format!("ALTER DATABASE \"{}\" SET TimeZone = 'Asia/Tokyo'", database.name()));
    for method in METHODS {
        let check = || options(method, Conversions::Check).with_writers(2);
        let error = refusal(load_column(&database, texts(&["(2020-01-01 00:00:00,)"]), check()));
        assert_eq!(error.sqlstate(), Some("23514"), "{error}");
        assert!(error.to_string().contains("conversions=round"), "{error}");
        load_column(&database, texts(&["(\"2020-01-01 00:00:00+00\",)"]), check()).unwrap();
        assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "2");
    }
}
