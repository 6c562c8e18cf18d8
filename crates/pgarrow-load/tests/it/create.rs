//! Tables and columns that a load creates.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::IntervalMonthDayNano;
use arrow_array::{
    ArrayRef, DurationNanosecondArray, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray,
    RecordBatch, StringArray, Time64NanosecondArray, TimestampNanosecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use pgarrow_export::ErrorKind;
use pgarrow_load::{LoadMode, LoadOptions, TypesFrom};

use crate::support::{creating, database, load, load_batches, refusal, rows, value};

fn with_metadata<const N: usize>(field: Field, pairs: [(&str, &str); N]) -> Field {
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    field.with_metadata(HashMap::from(pairs))
}

const COLUMNS: &str = "SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum) \
                       FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum";

fn shown(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    let shown = |row: Vec<Option<String>>| {
        row.iter().map(|value| value.as_deref().unwrap_or("-").to_owned()).collect::<Vec<_>>().join("|")
    };
    rows.into_iter().map(shown).collect()
}

#[test]
fn of_arrow_types() {
    let database = database("create_arrow", "");
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    let schema = Schema::new(vec![
        Field::new("A b", DataType::Int16, false),
        Field::new("u", DataType::UInt64, true),
        Field::new("d", DataType::Decimal128(10, 2), true),
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, Some("+02:00".into())), true),
        Field::new("l", list(list(DataType::Float32)), true),
        with_metadata(
            Field::new("i", DataType::FixedSizeBinary(16), true),
            [("ARROW:extension:name", "arrow.uuid")],
        ),
        Field::new("s", DataType::Struct(vec![Field::new("x", DataType::Int8, true)].into()), true),
    ]);
    let loading = load(&database, "t", creating()).open(Arc::new(schema)).unwrap();
    // One about lists of lists, one about JSON.
    assert_eq!(loading.warnings().len(), 2, "{:?}", loading.warnings());
    let report = loading.finish().unwrap();
    assert_eq!((report.rows, report.rows_sent, report.target.as_str()), (0, 0, "public.t"));
    assert_eq!(
        shown(rows(&database, COLUMNS)),
        [
            "A b|smallint|t|-",
            "u|numeric(20,0)|f|-",
            "d|numeric(10,2)|f|-",
            "t|timestamp with time zone|f|-",
            "l|real[]|f|-",
            "i|uuid|f|-",
            "s|jsonb|f|-",
        ]
    );
}

/// Regression: `--mode create` made a table for nanoseconds, which pandas uses for every time, but the load
/// then refused to fill it.
#[test]
fn what_a_load_makes_it_fills() {
    let database = database("create_fill", "");
    let nanos = |nanos: i64| -> Vec<(&str, ArrayRef)> {
        let list = ListArray::new(
            Arc::new(Field::new("item", DataType::Timestamp(TimeUnit::Nanosecond, None), true)),
            OffsetBuffer::from_lengths([1]),
            Arc::new(TimestampNanosecondArray::from(vec![nanos])),
            None,
        );
        let span = IntervalMonthDayNano::new(1, 2, nanos);
        vec![
            ("t", Arc::new(TimestampNanosecondArray::from(vec![nanos]))),
            ("z", Arc::new(TimestampNanosecondArray::from(vec![nanos]).with_timezone("UTC"))),
            ("c", Arc::new(Time64NanosecondArray::from(vec![nanos]))),
            ("d", Arc::new(DurationNanosecondArray::from(vec![nanos]))),
            ("i", Arc::new(IntervalMonthDayNanoArray::from(vec![span]))),
            ("l", Arc::new(list)),
        ]
    };
    let batch = |nanos_of| RecordBatch::try_from_iter(nanos(nanos_of)).unwrap();
    load_batches(&database, "t", creating(), &[batch(1_000)]).unwrap();
    assert_eq!(
        shown(rows(&database, "SELECT * FROM t")),
        ["1970-01-01 00:00:00.000001|1970-01-01 00:00:00.000001+00|00:00:00.000001|00:00:00.000001|\
          1 mon 2 days 00:00:00.000001|{\"1970-01-01 00:00:00.000001\"}"]
    );
    // A value that does not fit is still an error, and so is a table that the load did not create.
    let error = refusal(load_batches(&database, "u", creating(), &[batch(1_001)]));
    assert_eq!(error.kind(), ErrorKind::Value, "{error}");
    let error = refusal(load_batches(&database, "t", LoadOptions::default(), &[batch(1_000)]));
    assert_eq!(error.kind(), ErrorKind::Options, "{error}");
    // An added column, and then the same table by replace.
    database.execute("ALTER TABLE t DROP COLUMN t");
    let replacing = LoadOptions::default().with_mode(LoadMode::Replace);
    load_batches(&database, "r", replacing, &[batch(1_000)]).unwrap();
    load_batches(&database, "t", LoadOptions::default().with_add_columns(true), &[batch(1_000)]).unwrap();
    assert_eq!(value(&database, "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM r)"), "2 1");
}

/// Regression: a second start found the table and was refused in planning, because nanoseconds were only
/// allowed in a created table.
#[test]
fn what_a_load_makes_a_second_start_fills() {
    let times = |from: i64| {
        let times = TimestampNanosecondArray::from_iter_values((from..from + 4).map(|micros| micros * 1_000));
        RecordBatch::try_from_iter([("t", Arc::new(times) as ArrayRef)]).unwrap()
    };
    let batches: Vec<RecordBatch> = (0..3).map(|part| times(part * 4)).collect();
    for (mode, every) in [(LoadMode::Create, Some(4)), (LoadMode::Create, None), (LoadMode::Replace, None)] {
        let database = database("create_again", "");
        let options = || {
            let options = LoadOptions::default().with_mode(mode).with_restart_key("key");
            every.iter().fold(options, |options, every| options.with_commit_every(*every))
        };
        if every.is_some() {
            let mut loading = load(&database, "t", options()).open(batches[0].schema()).unwrap();
            loading.write(&batches[0]).unwrap();
            loading.write(&batches[1].slice(0, 1)).unwrap();
            drop(loading);
            assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "4");
        }
        let report = load_batches(&database, "t", options(), &batches).unwrap();
        assert_eq!(report.rows_before, every.unwrap_or_default(), "{mode:?}");
        // A third start has nothing to do.
        let report = load_batches(&database, "t", options(), &batches).unwrap();
        assert_eq!((report.rows, report.rows_before), (0, 12), "{mode:?}");
        let times = "SELECT count(DISTINCT t) || ' ' || max(t) FROM t";
        assert_eq!(value(&database, times), "12 1970-01-01 00:00:00.000011");
        // If this load has not created the table, a user has chosen its types.
        let other = LoadOptions::default().with_restart_key("other");
        assert_eq!(refusal(load_batches(&database, "t", other, &batches)).kind(), ErrorKind::Options);
    }
}

/// Regression: a foreign type or domain in a schema before pg_catalog was used, and its CHECK ran as the
/// loader.
#[test]
fn types_are_those_of_postgres() {
    let sql = "CREATE SCHEMA s; CREATE DOMAIN s.text AS pg_catalog.text CHECK (false); \
               CREATE DOMAIN s.bytea AS pg_catalog.bytea; CREATE DOMAIN s.date AS pg_catalog.date; \
               CREATE DOMAIN s.jsonb AS pg_catalog.jsonb";
    let database = database("create_path", sql);
    let struct_of = DataType::Struct(vec![Field::new("x", DataType::Int8, true)].into());
    let schema = Schema::new(vec![
        Field::new("t", DataType::Utf8, true),
        Field::new("b", DataType::Binary, true),
        Field::new("d", DataType::Date32, true),
        Field::new("j", struct_of, true),
    ]);
    let options = creating().with_setting("search_path", "s, pg_catalog, public");
    load(&database, "public.t", options).open(Arc::new(schema)).unwrap().finish().unwrap();
    assert_eq!(shown(rows(&database, COLUMNS)), ["t|text|f|-", "b|bytea|f|-", "d|date|f|-", "j|jsonb|f|-"]);
}

#[test]
fn of_metadata_as_it_was() {
    let database = database("create_metadata", "CREATE SCHEMA s; CREATE DOMAIN s.\"Euro\" AS numeric(10,2)");
    let schema = |metadata_of_y| {
        Arc::new(Schema::new(vec![
            with_metadata(
                Field::new("x", DataType::Utf8, false),
                [("pg.type", "character varying(3)"), ("pg.typmod", "7"), ("pg.comment", "it's \\ x")],
            ),
            with_metadata(Field::new("y", DataType::Decimal128(10, 2), true), metadata_of_y),
        ]))
    };
    let of_domain = schema([("pg.type", "s.\"Euro\"")]);
    load(&database, "t", creating()).open(Arc::clone(&of_domain)).unwrap().finish().unwrap();
    assert_eq!(shown(rows(&database, COLUMNS)), ["x|character varying(3)|t|it's \\ x", "y|s.\"Euro\"|f|-"]);

    // With Arrow's types, if the options say so.
    let options = creating().with_types_from(TypesFrom::Arrow);
    load(&database, "u", options).open(of_domain).unwrap().finish().unwrap();
    let sql = "SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum) FROM pg_attribute \
               WHERE attrelid = 'u'::regclass AND attnum > 0";
    assert_eq!(value(&database, sql), "text,numeric(10,2)");

    // Text from a file never becomes SQL.
    for name in ["s.missing", "numeric); DROP TABLE t; --", "int4, z int4", "", "a.b.c.d", "\"", "\0"] {
        let error = refusal(load(&database, "v", creating()).open(schema([("pg.type", name)])));
        assert_eq!(error.kind(), ErrorKind::Options, "{error}");
        assert!(error.to_string().contains("column \"y\""), "{error}");
        assert_eq!(value(&database, "SELECT to_regclass('v') IS NULL AND to_regclass('t') IS NOT NULL"), "t");
    }
}

#[test]
fn a_table_that_is_there_is_not_made() {
    let database = database("create_exists", "CREATE TABLE t (x int8)");
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    let error = refusal(load(&database, "t", creating()).open(Arc::clone(&schema)));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("42P07")));
    assert!(error.to_string().contains("mode=append|truncate"), "{error}");
    let error = refusal(load(&database, "missing", LoadOptions::default()).open(schema));
    assert!(error.to_string().contains("mode=create"), "{error}");
}

#[test]
fn names_stay_as_they_are() {
    let database = database("create_names", "");
    for name in ["", "a\0b", &"n".repeat(64)] {
        let schema = Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, true)]));
        let error = refusal(load(&database, "t", creating()).open(schema));
        assert_eq!(error.kind(), ErrorKind::Options, "{error}");
    }
    let odd = "S\"el'ect; -- ä";
    let schema = Arc::new(Schema::new(vec![Field::new(odd, DataType::Int64, true)]));
    load(&database, "\"T; x\"", creating()).open(schema).unwrap().finish().unwrap();
    let sql = "SELECT attname FROM pg_attribute WHERE attrelid = '\"T; x\"'::regclass AND attnum > 0";
    assert_eq!(value(&database, sql), odd);
}

#[test]
fn columns_that_the_table_lacks_are_added() {
    let database = database("create_add", "CREATE TABLE t (x int8); INSERT INTO t VALUES (1)");
    let batch = RecordBatch::try_from_iter([
        ("x", Arc::new(Int64Array::from(vec![2])) as _),
        ("y", Arc::new(StringArray::from(vec!["b"])) as _),
        ("z", Arc::new(Int32Array::from(vec![3])) as _),
    ])
    .unwrap();
    let error = refusal(load_batches(&database, "t", LoadOptions::default(), std::slice::from_ref(&batch)));
    assert!(
        error.to_string().contains("no column \"y\"") && error.to_string().contains("no column \"z\""),
        "{error}"
    );
    assert!(error.to_string().contains("option add_columns"), "{error}");
    let options = LoadOptions::default().with_add_columns(true);
    load_batches(&database, "t", options, &[batch]).unwrap();
    assert_eq!(shown(rows(&database, "SELECT * FROM t ORDER BY x")), ["1|-|-", "2|b|3"]);
}
