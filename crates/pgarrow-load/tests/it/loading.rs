//! The result of a load: rows, or the target as it was.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pgarrow_export::{Cancel, Config, ErrorKind};
use pgarrow_load::{Conversions, IdentityValues, Load, LoadMethod, LoadMode, LoadOptions};

use crate::support::{database, fingerprint, load, load_batches, refusal, rows, value};

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    batch([("x", Arc::new(Int64Array::from_iter_values(values)) as _)])
}

#[test]
fn rows_are_appended_or_replace_what_was_there() {
    let database = database("load_modes", "CREATE TABLE t (x int8); INSERT INTO t VALUES (1)");
    let report =
        load_batches(&database, "t", LoadOptions::default(), &[numbers(2..4), numbers(4..5)]).unwrap();
    assert_eq!((report.rows, report.rows_sent, report.batches), (3, 3, 2));
    assert_eq!(value(&database, "SELECT string_agg(x::text, ',' ORDER BY x) FROM t"), "1,2,3,4");
    let truncating = LoadOptions::default().with_mode(LoadMode::Truncate);
    load_batches(&database, "t", truncating, &[numbers(7..8)]).unwrap();
    assert_eq!(value(&database, "SELECT string_agg(x::text, ',') FROM t"), "7");
}

/// A caller that knows the right partition can load it directly; the server checks each row.
#[test]
fn partitions_are_loaded_by_their_names_at_once_and_refuse_rows_of_others() {
    let database = database(
        "load_leaves",
        "CREATE TABLE t (x int8) PARTITION BY RANGE (x); CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10); \
         CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (20); INSERT INTO t VALUES (1)",
    );
    let open =
        |table: &str| load(&database, table, LoadOptions::default()).open(numbers(0..1).schema()).unwrap();
    let (mut low, mut high) = (open("low"), open("high"));
    low.write(&numbers(2..5)).unwrap();
    high.write(&numbers(12..20)).unwrap();
    assert_eq!((high.finish().unwrap().rows, low.finish().unwrap().rows), (8, 3));
    assert_eq!(value(&database, "SELECT count(*) || ' ' || sum(x) FROM t"), "12 134");
    let error = refusal(load_batches(&database, "low", LoadOptions::default(), &[numbers(5..11)]));
    assert!(error.to_string().contains("23514"), "{error}");
    assert_eq!(value(&database, "SELECT count(*) FROM t"), "12");
}

#[test]
fn many_rows_arrive_whatever_the_batches() {
    let database = database("load_many", "CREATE TABLE t (x int8, s text)");
    for rows_per_batch in [1_usize, 2, 3, 997, 70_000] {
        database.execute("TRUNCATE t");
        let n_rows = if rows_per_batch < 10 { 5_000 } else { 200_000 };
        let mut loading = load(&database, "t", LoadOptions::default())
            .open(
                batch([
                    ("s", Arc::new(StringArray::from(vec!["x"])) as _),
                    ("x", Arc::new(Int64Array::from(vec![1])) as _),
                ])
                .schema(),
            )
            .unwrap();
        for first in (0..n_rows).step_by(rows_per_batch) {
            let range = first..(first + rows_per_batch).min(n_rows);
            let texts = StringArray::from_iter_values(range.clone().map(|n| "ä".repeat(n % 50)));
            let numbers = Int64Array::from_iter_values(range.map(|n| n as i64));
            loading.write(&batch([("s", Arc::new(texts) as _), ("x", Arc::new(numbers) as _)])).unwrap();
        }
        assert_eq!(loading.rows(), n_rows as u64);
        assert_eq!(loading.finish().unwrap().rows, n_rows as u64);
        let sql = "SELECT count(*) || ' ' || count(DISTINCT x) || ' ' || sum((s = repeat('ä', (x % 50)::int))::int) FROM t";
        assert_eq!(value(&database, sql), format!("{n_rows} {n_rows} {n_rows}"));
    }
}

#[test]
fn everything_that_does_not_fit_is_told_at_once() {
    let sql = "CREATE TABLE t (a int4, \"B\" text, c uuid, d int8 NOT NULL, e int8 NOT NULL DEFAULT 5)";
    let database = database("load_misfits", sql);
    let schema = Schema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
        Field::new("c", DataType::Boolean, true),
    ]);
    let error = refusal(load(&database, "t", LoadOptions::default()).open(Arc::new(schema)));
    assert_eq!(error.kind(), ErrorKind::Options);
    for part in [
        "4 columns do not fit",
        "\n  a       integer       Int64 ",
        "conversions=check",
        "the table has no such column (did you mean \"B\"?)",
        "\n  c       uuid          Boolean ",
        "\n  d       bigint        -            must not be NULL",
    ] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(!error.to_string().contains("\n  e "), "{error}");
}

#[test]
fn a_value_that_its_column_cannot_hold_is_named_by_row_and_column() {
    let database = database("load_value", "CREATE TABLE t (x int4); INSERT INTO t VALUES (1)");
    let before = fingerprint(&database, "t");
    let options = || LoadOptions::default().with_conversions(Conversions::Check);
    let batches = [numbers(0..1000), numbers([1, 2, 1 << 40])];
    let error = refusal(load_batches(&database, "t", options(), &batches));
    assert_eq!(error.kind(), ErrorKind::Value);
    assert!(
        error.to_string().starts_with("public.t, column \"x\" (integer), row 1003 of the data: "),
        "{error}"
    );
    assert_eq!(fingerprint(&database, "t"), before);
    assert_eq!(load_batches(&database, "t", options(), &batches[..1]).unwrap().rows, 1000);
}

#[test]
fn what_the_server_refuses_leaves_the_target_as_it_was() {
    let sql = "CREATE TABLE p (x int8 PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 99999); \
               CREATE TABLE t (x int8 UNIQUE CHECK (x <> 99998), y varchar(3)); INSERT INTO t VALUES (-1, 'was'); \
               CREATE TABLE d (x int8 REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO d VALUES (1); \
               CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no %', TG_TABLE_NAME; END $$; \
               CREATE TABLE g (x int8); INSERT INTO g VALUES (1); \
               CREATE CONSTRAINT TRIGGER g AFTER INSERT ON g DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.x = 99999) \
                   EXECUTE FUNCTION f()";
    let database = database("load_refused", sql);
    let unchanged = |table: &str, sqlstate: &str, place: &str, batches: &[RecordBatch]| {
        let before = fingerprint(&database, table);
        for mode in [LoadMode::Append, LoadMode::Truncate] {
            let error =
                refusal(load_batches(&database, table, LoadOptions::default().with_mode(mode), batches));
            assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some(sqlstate)), "{error}");
            assert!(
                error.to_string().contains(place) && error.to_string().contains("nothing was loaded"),
                "{error}"
            );
            assert_eq!(fingerprint(&database, table), before);
        }
    };
    unchanged("t", "23514", "row 99999", &[numbers(0..100_000)]);
    unchanged("t", "23505", "row 50001", &[numbers(0..50_000), numbers(0..1)]);
    // At COMMIT: only the last row is bad, and the check comes after all rows.
    unchanged("d", "23503", "public.d", &[numbers(0..100_001)]);
    unchanged("g", "P0001", "public.g", &[numbers(0..100_000)]);
    let long = batch([
        ("x", Arc::new(Int64Array::from(vec![1])) as _),
        ("y", Arc::new(StringArray::from(vec!["secret"])) as _),
    ]);
    unchanged("t", "22001", "column y", &[long]);
}

#[test]
fn a_load_that_is_dropped_or_cancelled_leaves_nothing() {
    let database = database("load_dropped", "CREATE TABLE t (x int8); INSERT INTO t VALUES (1)");
    let before = fingerprint(&database, "t");
    let truncating = || LoadOptions::default().with_mode(LoadMode::Truncate);
    let mut loading = load(&database, "t", truncating()).open(numbers(0..1).schema()).unwrap();
    loading.write(&numbers(0..200_000)).unwrap();
    drop(loading);
    assert_eq!(fingerprint(&database, "t"), before);

    let cancel = Cancel::new();
    let config = Config::parse(Some(database.url())).unwrap();
    let cancelled = Load::with_config(config, "t", cancel.clone()).unwrap().options(truncating());
    let mut loading = cancelled.open(numbers(0..1).schema()).unwrap();
    loading.write(&numbers(0..200_000)).unwrap();
    cancel.cancel();
    let error = loop {
        match loading.write(&numbers(0..200_000)) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    drop(loading);
    assert_eq!(fingerprint(&database, "t"), before);
}

#[test]
fn columns_that_the_server_fills() {
    let sql = "CREATE TABLE t (x int8, i int8 GENERATED ALWAYS AS IDENTITY, j int8 GENERATED BY DEFAULT AS IDENTITY, \
               g int8 GENERATED ALWAYS AS (x * 2) STORED, d text DEFAULT 'd', n text)";
    let database = database("load_filled", sql);
    let shown = || {
        let rows = rows(&database, "SELECT x, i, j, g, d, n FROM t ORDER BY x");
        rows.into_iter()
            .map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join(","))
            .collect::<Vec<_>>()
    };
    load_batches(&database, "t", LoadOptions::default(), &[numbers(1..3)]).unwrap();
    assert_eq!(shown(), ["1,1,1,2,d,", "2,2,2,4,d,"]);
    let column = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let all = [batch([("x", column(3)), ("i", column(70)), ("j", column(80)), ("g", column(90))])];
    let report = load_batches(&database, "t", LoadOptions::default(), &all).unwrap();
    assert_eq!(shown()[2], "3,70,80,6,d,");
    assert_eq!(report.warnings.len(), 3, "{:?}", report.warnings);
    let generating = LoadOptions::default().with_identity(IdentityValues::Generate);
    load_batches(&database, "t", generating, &all).unwrap();
    assert_eq!(shown()[3], "3,3,3,6,d,");
}

#[test]
fn text_that_only_the_server_can_read() {
    let sql = "CREATE DOMAIN v AS varchar(3); CREATE TABLE t (x tsvector, y text, z jsonpath, w v)";
    let database = database("load_text", sql);
    let text = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    let rows_of = |w: &'static str| {
        batch([
            ("x", text(vec!["b:1 a"])),
            ("y", text(vec!["y"])),
            ("z", text(vec!["$.a"])),
            ("w", text(vec![w])),
        ])
    };
    let checked = LoadOptions::default;
    let report = load_batches(&database, "t", checked(), &[rows_of("abc")]).unwrap();
    let how: Vec<_> = report.columns.iter().map(|column| column.how).collect();
    assert_eq!(how, ["text", "binary", "text", "binary"]);
    assert_eq!(value(&database, "SELECT t::text FROM t"), "(\"'a' 'b':1\",y,\"$.\"\"a\"\"\",abc)");
    let before = fingerprint(&database, "t");
    // Longer than the domain allows: nothing truncates it.
    let error = refusal(load_batches(&database, "t", checked(), &[rows_of("abcd")]));
    assert_eq!(error.sqlstate(), Some("22001"), "{error}");
    assert_eq!(fingerprint(&database, "t"), before);
}

#[test]
fn a_trigger_may_leave_rows_out_and_that_is_told() {
    let sql = "CREATE TABLE t (x int8); \
               CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN NEW.x % 2 = 0 THEN NEW END; END $$; \
               CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()";
    let database = database("load_trigger", sql);
    let report = load_batches(&database, "t", LoadOptions::default(), &[numbers(0..10)]).unwrap();
    assert_eq!((report.rows, report.rows_sent), (5, 10));
    assert!(
        report.warnings.iter().any(|warning| warning.contains("5 of 10 rows were left out by a trigger")),
        "{:?}",
        report.warnings
    );
}

#[test]
fn relations_that_cannot_be_loaded() {
    let sql = "CREATE TABLE t (x int8); CREATE VIEW v AS SELECT * FROM t; CREATE MATERIALIZED VIEW m AS SELECT * FROM t; \
               CREATE SEQUENCE s; CREATE TABLE p (x int8) PARTITION BY RANGE (x); \
               CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)";
    let database = database("load_relations", sql);
    for (table, word) in [("v", "INSTEAD OF"), ("m", "materialized view"), ("s", "sequence")] {
        let error = refusal(load_batches(&database, table, LoadOptions::default(), &[numbers(0..1)]));
        assert_eq!(error.kind(), ErrorKind::Options, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_eq!(load_batches(&database, "p", LoadOptions::default(), &[numbers(0..10)]).unwrap().rows, 10);
    let error = refusal(load_batches(&database, "p", LoadOptions::default(), &[numbers(9..11)]));
    assert_eq!(error.sqlstate(), Some("23514"), "{error}");
    assert_eq!(value(&database, "SELECT count(*)::text FROM p1"), "10");
}

#[test]
fn rights_and_row_security() {
    let sql = "CREATE TABLE t (x int8, y int8); CREATE TABLE r (x int8); ALTER TABLE r ENABLE ROW LEVEL SECURITY; \
               CREATE POLICY r ON r USING (true)";
    let database = database("load_rights", sql);
    let role = format!("loader_{}", database.name());
    database.execute(&format!(
        "CREATE ROLE \"{role}\"; GRANT INSERT (x) ON t TO \"{role}\"; GRANT INSERT ON r TO \"{role}\""
    ));
    let as_role = || LoadOptions::default().with_role(&role);
    let y = batch([("y", Arc::new(Int64Array::from(vec![1])) as _)]);
    let error = refusal(load_batches(&database, "t", as_role(), &[y]));
    assert!(error.to_string().contains("may not INSERT into column \"y\""), "{error}");
    let error = refusal(load_batches(&database, "r", as_role(), &[numbers(0..1)]));
    assert!(error.to_string().contains("row security"), "{error}");
    // Where COPY is refused, INSERT is taken if the load may choose; and COPY elsewhere.
    let auto = || as_role().with_method(LoadMethod::Auto);
    let methods =
        ["r", "t"].map(|table| load_batches(&database, table, auto(), &[numbers(0..3)]).unwrap().method);
    let in_parts = auto().with_commit_every(1).with_restart_key("key");
    let error = refusal(load_batches(&database, "r", in_parts.clone().with_writers(2), &[numbers(0..3)]));
    assert!(error.to_string().contains("writers"), "{error}");
    let loaded = load_batches(&database, "t", as_role(), &[numbers(0..1)]);
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
    // Rights on one column do not suffice for LOCK, so the load does not use LOCK here.
    assert_eq!(loaded.unwrap().rows, 1);
    assert_eq!(methods, [LoadMethod::Insert, LoadMethod::Copy]);
    assert_eq!(value(&database, "SELECT (SELECT count(*) FROM r) || ' ' || (SELECT count(*) FROM t)"), "3 4");
}

/// COPY does not look at rules, so INSERT would do something else.
#[test]
fn a_load_that_may_choose_takes_copy_where_it_can() {
    let sql = "CREATE TABLE t (x int8); CREATE TABLE other (x int8); \
               CREATE RULE away AS ON INSERT TO t DO INSTEAD INSERT INTO other VALUES (new.x); \
               CREATE VIEW v AS SELECT x FROM other; CREATE TABLE kept (x int8 PRIMARY KEY)";
    let database = database("load_auto", sql);
    let load = |table: &str, options: LoadOptions| {
        load_batches(&database, table, options.with_method(LoadMethod::Auto), &[numbers(0..5)]).unwrap()
    };
    for (table, mode, method) in [
        ("t", LoadMode::Append, LoadMethod::Copy),
        ("v", LoadMode::Append, LoadMethod::Insert),
        ("made", LoadMode::Create, LoadMethod::Copy),
        ("made", LoadMode::Replace, LoadMethod::Copy),
        ("kept", LoadMode::Upsert, LoadMethod::Copy),
    ] {
        let report = load(table, LoadOptions::default().with_mode(mode));
        assert_eq!((report.rows, report.method), (5, method), "{table}, {mode:?}");
    }
    assert_eq!(
        load("kept", LoadOptions::default().with_mode(LoadMode::Truncate).with_writers(2)).method,
        LoadMethod::Copy
    );
    let counts = "SELECT concat_ws(' ', (SELECT count(*) FROM t), (SELECT count(*) FROM other), (SELECT count(*) FROM made), \
                  (SELECT count(*) FROM kept))";
    assert_eq!(value(&database, counts), "5 5 5 5");
}

#[test]
fn a_batch_of_another_schema_is_refused() {
    let database = database("load_schema", "CREATE TABLE t (x int8)");
    let mut loading = load(&database, "t", LoadOptions::default()).open(numbers(0..1).schema()).unwrap();
    let other = batch([("x", Arc::new(Int32Array::from(vec![1])) as _)]);
    assert_eq!(refusal(loading.write(&other)).kind(), ErrorKind::Sink);
}
