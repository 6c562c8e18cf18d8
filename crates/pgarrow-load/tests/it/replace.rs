//! Tables that replace others.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use pgarrow_export::ErrorKind;
use pgarrow_load::{LoadMode, LoadOptions};
use pgarrow_testkit::Database;

use crate::support::{database, fingerprint, load, load_batches, refusal, rows, value};

fn replacing() -> LoadOptions {
    LoadOptions::default().with_mode(LoadMode::Replace)
}

fn batch(rows: &[(i64, &str)]) -> RecordBatch {
    let x = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let y = StringArray::from_iter_values(rows.iter().map(|row| row.1));
    RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef), ("y", Arc::new(y) as ArrayRef)]).unwrap()
}

/// The table's complete definition, except for its numbers (OIDs).
fn definition(database: &Database) -> Vec<Vec<Option<String>>> {
    let sql = "SELECT 'column', attname, format_type(atttypid, atttypmod), attnotnull::text, attidentity::text, attgenerated::text, \
                 coalesce(attacl::text, ''), attstattarget::text, pg_get_serial_sequence('t', attname), \
                 col_description(attrelid, attnum), (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef d \
                   WHERE d.adrelid = attrelid AND d.adnum = attnum) \
               FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped \
               UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid), '', '', '', '', '', '', obj_description(oid, 'pg_constraint'), '' \
               FROM pg_constraint WHERE conrelid = 't'::regclass \
               UNION ALL SELECT 'index', indexname, indexdef, '', '', '', '', '', '', '', '' FROM pg_indexes WHERE tablename = 't' \
               UNION ALL SELECT 'statistics', stxname, '', '', '', '', '', '', '', '', '' FROM pg_statistic_ext WHERE stxrelid = 't'::regclass \
               UNION ALL SELECT 'table', relname, relacl::text, relowner::regrole::text, relpersistence::text, reloptions::text, '', '', '', \
                 obj_description(oid, 'pg_class'), '' FROM pg_class WHERE oid = 't'::regclass ORDER BY 1, 2";
    rows(database, sql)
}

const TABLE: &str = "CREATE TABLE p (x int8 PRIMARY KEY); INSERT INTO p SELECT generate_series(1, 10); \
    CREATE UNLOGGED TABLE t (gone int, x int8 CONSTRAINT \"odd Name\" CHECK (x < 100) REFERENCES p, s serial, \
        y text NOT NULL DEFAULT 'd', i int8 GENERATED ALWAYS AS IDENTITY, g int8 GENERATED ALWAYS AS (x * 2) STORED, \
        CONSTRAINT k PRIMARY KEY (x)) WITH (fillfactor = 70); \
    ALTER TABLE t DROP COLUMN gone, ALTER COLUMN y SET STATISTICS 17; CREATE INDEX named ON t (y) WHERE y <> ''; \
    CREATE UNIQUE INDEX another ON t (s, (y || 'x')); CREATE STATISTICS st ON x, y FROM t; \
    COMMENT ON TABLE t IS 'it''s t'; COMMENT ON COLUMN t.y IS 'y'; COMMENT ON CONSTRAINT k ON t IS 'k'; \
    GRANT SELECT ON t TO PUBLIC; GRANT UPDATE (y) ON t TO pg_monitor WITH GRANT OPTION; \
    INSERT INTO t (x, y) VALUES (1, 'a'), (2, 'b')";

#[test]
fn a_table_is_replaced_by_one_like_it() {
    let database = database("replace", TABLE);
    database.execute("ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO pg_monitor");
    let before = definition(&database);
    assert!(before.len() > 12, "{before:?}");
    for round in 1..=2 {
        let report = load_batches(&database, "t", replacing(), &[batch(&[(3, "c"), (4, "d")])]).unwrap();
        assert_eq!((report.rows, report.target.as_str()), (2, "public.t"));
        assert_eq!(definition(&database), before);
        // Sequences continue where they were.
        let expected = [("3", "c", 2 * round + 1, "6"), ("4", "d", 2 * round + 2, "8")];
        let found = rows(&database, "SELECT x, y, s, i, g FROM t ORDER BY x");
        for (row, (x, y, number, g)) in found.iter().zip(expected) {
            let row: Vec<_> = row.iter().map(|value| value.as_deref().unwrap()).collect();
            assert_eq!(row, [x, y, &number.to_string(), &number.to_string(), g]);
        }
        assert_eq!(found.len(), 2);
    }
    let left = "SELECT count(*)::text FROM pg_class WHERE relname LIKE 'pgarrow%'";
    assert_eq!(value(&database, left), "0");
}

#[test]
fn until_the_end_the_old_table_is_read_and_written() {
    let database = database("replace_late", "CREATE TABLE t (x int8, y text); INSERT INTO t VALUES (1, 'a')");
    let rows = batch(&[(2, "b")]);
    let mut loading = load(&database, "t", replacing()).open(rows.schema()).unwrap();
    loading.write(&rows).unwrap();
    database.execute("INSERT INTO t VALUES (7, 'late')");
    assert_eq!(value(&database, "SELECT string_agg(x || y, ' ' ORDER BY x) FROM t"), "1a 7late");
    loading.finish().unwrap();
    assert_eq!(value(&database, "SELECT string_agg(x || y, ' ' ORDER BY x) FROM t"), "2b");
}

#[test]
fn a_failed_load_replaces_nothing() {
    let database = database("replace_failed", TABLE);
    let (before, rows_before) = (definition(&database), fingerprint(&database, "t"));
    // The last one breaks the foreign key, which is checked when the table takes the other's place.
    for (rows, sqlstate) in [
        (&[(3, "c"), (3, "d")][..], "23505"),
        (&[(3, "c"), (300, "d")], "23514"),
        (&[(3, "c"), (11, "d")], "23503"),
    ] {
        let error = refusal(load_batches(&database, "t", replacing(), &[batch(rows)]));
        assert_eq!(error.sqlstate(), Some(sqlstate), "{error}");
        assert!(error.to_string().starts_with("public.t"), "{error}");
        assert_eq!(
            (definition(&database), fingerprint(&database, "t")),
            (before.clone(), rows_before.clone())
        );
    }
}

#[test]
fn what_a_new_table_would_not_have_is_told_before() {
    let made = "CREATE TABLE t (x int8 PRIMARY KEY, y text)";
    for (name, sql, word) in [
        // Regression: other sessions would have waited for the trial DROP that found this out.
        ("view", "CREATE VIEW v AS SELECT * FROM t", "view v needs this very table"),
        (
            "several",
            "CREATE FUNCTION g(t) RETURNS int LANGUAGE sql RETURN 1; CREATE TABLE o (x t); CREATE MATERIALIZED VIEW m AS SELECT x FROM t",
            "column x of table o, function g(t), materialized view m need this very table",
        ),
        (
            "counter",
            "ALTER TABLE t ADD i int GENERATED ALWAYS AS IDENTITY; CREATE TABLE o (x int DEFAULT currval('t_i_seq'))",
            "default value for column x of table o needs",
        ),
        ("forced", "ALTER TABLE t FORCE ROW LEVEL SECURITY", "its row security"),
        ("type", "GRANT USAGE ON TYPE t TO pg_monitor", "the rights to its type"),
        ("key", "CREATE TABLE c (x int8 CONSTRAINT to_t REFERENCES t)", "\"to_t\""),
        (
            "trigger",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
            CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
            "the trigger \"g\"",
        ),
        ("policy", "CREATE POLICY q ON t USING (true)", "the policy \"q\""),
        ("security", "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "its row security"),
        ("child", "CREATE TABLE c () INHERITS (t)", "its inheritance"),
        (
            "subscription",
            "CREATE SUBSCRIPTION l CONNECTION '' PUBLICATION p WITH (connect = false, slot_name = NONE, enabled = false); \
             INSERT INTO pg_subscription_rel SELECT oid, 't'::regclass, 'r' FROM pg_subscription WHERE subname = 'l'",
            "the subscription that fills it",
        ),
        ("publication", "CREATE PUBLICATION u FOR TABLE t", "the publication \"u\""),
        ("identity", "ALTER TABLE t REPLICA IDENTITY FULL", "its replica identity"),
        ("options", "ALTER TABLE t ALTER COLUMN x SET (n_distinct = 5)", "the options of column \"x\""),
        (
            "partitioned",
            "DROP TABLE t; CREATE TABLE t (x int8, y text) PARTITION BY LIST (x)",
            "only a table",
        ),
    ] {
        let database = database(&format!("replace_{name}"), &format!("{made}; {sql}"));
        let before = value(&database, "SELECT 't'::regclass::oid::text");
        let loaded = load_batches(&database, "t", replacing(), &[batch(&[(1, "a")])]);
        if name == "subscription" {
            // Otherwise the database could not be dropped.
            database.execute("DROP SUBSCRIPTION l");
        }
        let error = refusal(loaded);
        assert_eq!(error.kind(), ErrorKind::Options, "{name}: {error}");
        assert!(
            error.to_string().contains(word) && error.to_string().contains("mode=truncate"),
            "{name}: {error}"
        );
        assert_eq!(value(&database, "SELECT 't'::regclass::oid::text"), before, "{name}");
    }
}

#[test]
fn a_table_that_is_not_there_is_made() {
    let database = database("replace_missing", "");
    load_batches(&database, "t", replacing(), &[batch(&[(1, "a")])]).unwrap();
    load_batches(&database, "t", replacing(), &[batch(&[(2, "b")])]).unwrap();
    assert_eq!(value(&database, "SELECT string_agg(x || y, ' ') FROM t"), "2b");
}
