//! Rows that COPY freezes: their pages are all-visible at once, and an export reads them as stored.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use pgarrow_export::{ExportOptions, ReadMode, Source};
use pgarrow_load::{
    Connection, Load, LoadMethod, LoadMode, LoadOptions, LoadReport, LoadSet, OnConflict, RelationName,
};
use pgarrow_protocol::Config;
use pgarrow_session::Cancel;
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{database, load_batches, value};

const ROWS: i64 = 30_000;

fn batches() -> Vec<RecordBatch> {
    let batch = |from: i64| {
        let x = Int64Array::from_iter_values(from..from + ROWS / 3);
        let y = StringArray::from_iter_values(x.values().iter().map(|x| format!("row {x}")));
        RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef), ("y", Arc::new(y) as ArrayRef)]).unwrap()
    };
    [0, ROWS / 3, ROWS / 3 * 2].map(batch).into()
}

fn mode(mode: LoadMode) -> LoadOptions {
    LoadOptions::default().with_mode(mode)
}

fn inspected(hint: &str, sql: &str) -> Database {
    database(hint, &format!("CREATE EXTENSION pageinspect; {sql}"))
}

/// Pages that are marked all-visible, and all pages.
fn marked(database: &Database, table: &str) -> (i64, i64) {
    // PostgreSQL 16 and later add several pages at once, the last of which stay unused.
    let sql = format!(
        "SELECT count(*) FILTER (WHERE h.flags & 4 <> 0), count(*) \
         FROM generate_series(0, pg_relation_size('{table}') / current_setting('block_size')::int8 - 1) AS b, \
           page_header(get_raw_page('{table}', 'main', b::int)) AS h \
         WHERE h.upper > 0"
    );
    let row = database.client().query_one(&sql, &[]).unwrap();
    (row.get(0), row.get(1))
}

#[track_caller]
fn assert_frozen(database: &Database, table: &str) {
    let (n_marked, n_pages) = marked(database, table);
    assert!(n_pages > 100 && n_marked * 100 >= n_pages * 99, "{table}: {n_marked} of {n_pages}");
    let options = ExportOptions::default().with_read_mode(ReadMode::Pages).with_readers(1);
    let source = Source::connect_blocking(database.url()).unwrap();
    let report = source.table(table).options(options).open().unwrap().for_each(|_| Ok(())).unwrap();
    let pages = report.pages.unwrap();
    assert!(
        pages.read * 100 >= (pages.read + pages.copied) * 99,
        "{table}: {pages:?}, {:?}, {:?}",
        report.warnings,
        report.page_notes
    );
    assert_eq!(report.rows, ROWS as u64, "{table}");
}

/// Asserts that the load has succeeded, and that no page is marked.
#[track_caller]
fn assert_plain(database: &Database, table: &str, of_table: &str, report: &LoadReport) {
    assert_eq!(report.rows, ROWS as u64, "{table}");
    assert_eq!(value(database, &format!("SELECT count(*)::text FROM {of_table}")), ROWS.to_string());
    let (n_marked, n_pages) = marked(database, table);
    assert_eq!(n_marked, 0, "{table}");
    assert!(n_pages > 100, "{table}");
}

#[test]
fn tables_that_are_made_or_emptied_are_read_as_stored() {
    require!(Capability::Superuser);
    require!(Capability::Extension("pageinspect"));
    let sql = "CREATE TABLE t (x int8 PRIMARY KEY, y text); INSERT INTO t SELECT g, 'old' FROM generate_series(1, 9) g";
    let database = inspected("fresh", sql);
    for (options, table) in [
        (mode(LoadMode::Create), "made"),
        (mode(LoadMode::Replace), "made_by_replace"),
        (mode(LoadMode::Truncate), "t"),
        (mode(LoadMode::Replace), "t"),
        (mode(LoadMode::Truncate), "t"),
        (mode(LoadMode::Create).with_restart_key("once"), "keyed"),
        (mode(LoadMode::Create).with_writers(1), "by_one"),
    ] {
        let report = load_batches(&database, table, options, &batches()).unwrap();
        assert_eq!(report.rows, ROWS as u64);
        assert_frozen(&database, table);
    }
    // Whose owner is another role: the new table is given away and taken back before the COPY.
    let owner = format!("owner_{}", database.name());
    database.execute(&format!("CREATE ROLE {owner}; ALTER TABLE t OWNER TO {owner}"));
    load_batches(&database, "t", mode(LoadMode::Replace), &batches()).unwrap();
    assert_frozen(&database, "t");
    database.execute(&format!("DROP OWNED BY {owner}; DROP ROLE {owner}"));
}

/// Each of these loads would fail with FREEZE, or would gain nothing.
#[test]
fn loads_that_cannot_freeze_do_not_try() {
    require!(Capability::Superuser);
    require!(Capability::Extension("pageinspect"));
    let sql = "CREATE TABLE t (x int8 PRIMARY KEY, y text); CREATE TABLE texts (x int8, y tsvector); \
        CREATE TABLE watched (x int8, y text); \
        CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
        CREATE TRIGGER b BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION same(); \
        CREATE TABLE parted (x int8, y text) PARTITION BY HASH (x); \
        CREATE TABLE part PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0)";
    let database = inspected("fresh_not", sql);
    let emptying = || mode(LoadMode::Truncate);
    for (options, table, stored) in [
        (emptying().with_freeze(false), "t", "t"),
        (mode(LoadMode::Append), "t", "t"),
        (mode(LoadMode::Upsert), "t", "t"),
        (emptying().with_on_conflict(OnConflict::Skip), "t", "t"),
        (emptying().with_commit_every(9_000).with_restart_key("k"), "t", "t"),
        (emptying().with_reject(true), "t", "t"),
        (emptying().with_writers(2), "t", "t"),
        (emptying().with_method(LoadMethod::Insert), "t", "t"),
        (mode(LoadMode::Replace).with_writers(2), "t", "t"),
        (mode(LoadMode::Create).with_writers(2), "made", "made"),
        (emptying(), "texts", "texts"),
        (emptying(), "watched", "watched"),
        (emptying(), "parted", "part"),
    ] {
        database.execute(&format!("TRUNCATE {}", if table == "made" { "t" } else { table }));
        let report = load_batches(&database, table, options, &batches()).unwrap();
        assert_plain(&database, stored, table, &report);
    }
}

/// A caller may have cursors, with which PostgreSQL refuses FREEZE.
#[test]
fn a_load_in_a_transaction_of_the_caller_freezes_nothing() {
    require!(Capability::Superuser);
    require!(Capability::Extension("pageinspect"));
    let database = inspected("fresh_part", "CREATE TABLE t (x int8, y text)");
    let connection = Connection::connect(database.url()).unwrap();
    connection.begin().unwrap();
    connection.execute("DECLARE c CURSOR FOR SELECT generate_series(1, 10); FETCH 1 FROM c").unwrap();
    for (how, table) in [(LoadMode::Truncate, "t"), (LoadMode::Create, "made")] {
        let load = Load::in_transaction(&connection, table).unwrap().options(mode(how));
        let mut loading = load.open(batches()[0].schema()).unwrap();
        for batch in batches() {
            loading.write(&batch).unwrap();
        }
        loading.finish().unwrap();
    }
    connection.commit().unwrap();
    for table in ["t", "made"] {
        assert_eq!(marked(&database, table).0, 0, "{table}");
    }
}

/// Each table of a set is made behind a savepoint of its own, and filled behind the same. Tables that are
/// emptied are emptied together, before.
#[test]
fn tables_of_one_transaction_that_are_made_are_read_as_stored() {
    require!(Capability::Superuser);
    require!(Capability::Extension("pageinspect"));
    let database =
        inspected("fresh_set", "CREATE TABLE old (x int8, y text); CREATE TABLE emptied (LIKE old)");
    let config = Config::parse(Some(database.url())).unwrap();
    let name = |name: &str| RelationName::parse(name).unwrap();
    let tables = ["a", "b", "old", "emptied"].map(name);
    let set = LoadSet::connect(&config, mode(LoadMode::Create), true, Cancel::new()).unwrap();
    let set = set.with_mode(&tables[2], LoadMode::Replace).unwrap();
    let mut set = set.with_mode(&tables[3], LoadMode::Truncate).unwrap();
    set.look(&tables).unwrap();
    set.begin(&tables, None).unwrap();
    let mut reports = Vec::new();
    for table in &tables {
        let mut loading = set.load(table).open(batches()[0].schema()).unwrap();
        for batch in batches() {
            loading.write(&batch).unwrap();
        }
        reports.push(loading.finish().unwrap());
    }
    assert!(reports.iter().all(|report| report.rows == ROWS as u64));
    set.commit().unwrap();
    set.tend(&mut reports);
    for table in ["a", "b", "old"] {
        assert_frozen(&database, table);
    }
    assert_eq!(marked(&database, "emptied").0, 0);
}

/// What the documentation says of older snapshots.
#[test]
fn an_older_snapshot_sees_frozen_rows() {
    let database = database("fresh_older", "CREATE TABLE t (x int8, y text)");
    for (freeze, seen) in [(true, ROWS), (false, 0)] {
        database.execute("TRUNCATE t");
        let mut older = database.client();
        older.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
        load_batches(&database, "t", mode(LoadMode::Truncate).with_freeze(freeze), &batches()).unwrap();
        let count: i64 = older.query_one("SELECT count(*) FROM t", &[]).unwrap().get(0);
        assert_eq!(count, seen, "{freeze}");
    }
}
