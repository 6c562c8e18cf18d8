//! `ALTER SCHEMA … RENAME` takes no lock on tables, and every statement resolves its names again. If a
//! schema is swapped in the middle of a load, or swapped and swapped back, the load fills the planned table,
//! or fails.

use std::sync::Arc;
use std::thread;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use pgarrow_export::{Error, ErrorKind, Result};
use pgarrow_load::{LoadMethod, LoadMode, LoadOptions, LoadReport, Loading};
use pgarrow_testkit::Database;

use crate::support::{database, eventually, load, refusal, value};

/// `live.t` is the target; `stage.t` has its name for a while.
const TABLES: &str = "CREATE SCHEMA live; CREATE SCHEMA stage; CREATE TABLE live.t (x int8 PRIMARY KEY); \
    CREATE TABLE stage.t (x int8 PRIMARY KEY); INSERT INTO live.t VALUES (-1); INSERT INTO stage.t VALUES (-2)";

const SWAP: &str = "BEGIN; ALTER SCHEMA live RENAME TO old; ALTER SCHEMA stage RENAME TO live; COMMIT";
const BACK: &str = "BEGIN; ALTER SCHEMA live RENAME TO stage; ALTER SCHEMA old RENAME TO live; COMMIT";

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let x = Int64Array::from_iter_values(range);
    RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef)]).unwrap()
}

fn mode(mode: LoadMode) -> LoadOptions {
    LoadOptions::default().with_mode(mode)
}

/// Gives the schemas their first names again.
fn swap_back(database: &Database) {
    if value(database, "SELECT count(*)::text FROM pg_namespace WHERE nspname = 'old'") == "1" {
        database.execute(BACK);
    }
}

/// The number of rows in both tables, under their first names.
fn counts(database: &Database) -> String {
    swap_back(database);
    value(database, "SELECT (SELECT count(*) FROM live.t) || ' ' || (SELECT count(*) FROM stage.t)")
}

fn leftovers(database: &Database) -> String {
    value(database, "SELECT count(*)::text FROM pg_class WHERE relname LIKE '%\\_pgarrow\\_%'")
}

/// Checks that nothing was loaded anywhere, and that the error says why.
#[track_caller]
fn check_refused(database: &Database, loaded: Result<LoadReport>, what: &str) {
    let error = refusal(loaded);
    assert_eq!(error.kind(), ErrorKind::Server, "{what}: {error}");
    let text = error.to_string();
    // A hidden table is not found under its name; the server reports that if its COPY comes after the swap.
    let is_hidden = what.contains("writers") || what.contains("replacing");
    let is_told = text.contains("start again") || (is_hidden && text.contains("42P01"));
    assert!(text.contains("live.t") && is_told, "{what}: {text}");
    assert_eq!((counts(database).as_str(), leftovers(database).as_str()), ("1 1", "0"), "{what}: {text}");
    eventually("no session is left", || database.n_sessions("pgarrow") == 0);
}

/// Regression: all rows went into `stage.t`, with exit code 0.
#[test]
fn statements_that_come_after_a_swap() {
    let upsert = || mode(LoadMode::Upsert);
    let append = LoadOptions::default;
    for (what, options) in [
        ("an upsert", upsert()),
        ("INSERT", append().with_method(LoadMethod::Insert)),
        ("a sieve", append().with_reject(true)),
        ("writers", append().with_writers(2)),
        ("an upsert of writers", upsert().with_writers(2)),
        ("truncating writers", mode(LoadMode::Truncate).with_writers(2)),
        ("replacing", mode(LoadMode::Replace)),
        ("replacing writers", mode(LoadMode::Replace).with_writers(2)),
    ] {
        let database = database("swap", TABLES);
        let mut loading = load(&database, "live.t", options).open(numbers(0..1).schema()).unwrap();
        database.execute(SWAP);
        loading.write(&numbers(0..5000)).unwrap();
        check_refused(&database, loading.finish(), what);
    }
}

/// A check of the names at the end shows nothing: they are as before.
#[test]
fn a_swap_back_before_the_end() {
    // A sieve loads 4,096 rows during a write.
    let sieve = || LoadOptions::default().with_reject(true);
    for (what, options) in
        [("a sieve", sieve()), ("a sieve by INSERT", sieve().with_method(LoadMethod::Insert))]
    {
        let database = database("swap_back", TABLES);
        let mut loading = load(&database, "live.t", options).open(numbers(0..1).schema()).unwrap();
        database.execute(SWAP);
        loading.write(&numbers(0..4096)).unwrap();
        database.execute(BACK);
        check_refused(&database, loading.finish(), what);
    }
    // Rows that the other table refused were rejected, and the rollback left no locks.
    let database =
        database("swap_rejected", &format!("{TABLES}; ALTER TABLE stage.t ADD CHECK (x < 0 OR x > 4090)"));
    let options = sieve().with_reject_limit(5000);
    let mut loading = load(&database, "live.t", options).open(numbers(0..1).schema()).unwrap();
    database.execute(SWAP);
    loading.write(&numbers(0..4096)).unwrap();
    database.execute(BACK);
    loading.write(&numbers(5000..5010)).unwrap();
    check_refused(&database, loading.finish(), "rejected rows");
    // One statement inserts all rows from the staging table: the trigger there holds it up.
    let held = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
          PERFORM pg_advisory_xact_lock_shared(42); RETURN NEW; END $$; \
        CREATE TRIGGER f BEFORE INSERT ON stage.t EXECUTE FUNCTION f()";
    let database = crate::support::database("swap_held", &format!("{TABLES}; {held}"));
    let mut gate = database.client();
    gate.batch_execute("SELECT pg_advisory_lock(42)").unwrap();
    let mut loading = load(&database, "live.t", mode(LoadMode::Upsert)).open(numbers(0..1).schema()).unwrap();
    database.execute(SWAP);
    loading.write(&numbers(0..100)).unwrap();
    let finishing = thread::spawn(|| loading.finish());
    eventually("the INSERT is held up", || is_waiting(&database, "locktype = 'advisory'"));
    database.execute(BACK);
    gate.batch_execute("SELECT pg_advisory_unlock(42)").unwrap();
    check_refused(&database, finishing.join().unwrap(), "an INSERT");
}

fn is_waiting(database: &Database, what: &str) -> bool {
    let sql = "SELECT count(*)::text FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
        WHERE d.datname = current_database() AND NOT l.granted AND";
    value(database, &format!("{sql} {what}")) != "0"
}

/// Opens a load, and runs `sql` while the load reads the catalog, between the lock on the table and the
/// first statement.
fn open_with(database: &Database, options: LoadOptions, sql: &str) -> Result<Loading, Error> {
    let mut gate = database.client();
    gate.batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_trigger IN ACCESS EXCLUSIVE MODE").unwrap();
    let load = load(database, "live.t", options);
    let opening = thread::spawn(move || load.open(numbers(0..1).schema()));
    eventually("it looks for triggers", || is_waiting(database, "relation = 'pg_trigger'::regclass"));
    database.execute(sql);
    gate.batch_execute("COMMIT").unwrap();
    opening.join().unwrap()
}

/// Regression: the table was locked under its name, but COPY reached the other one.
#[test]
fn a_swap_between_the_lock_and_the_first_statement() {
    for is_swapped_back in [false, true] {
        for (what, options) in [
            ("append", LoadOptions::default()),
            ("truncate", mode(LoadMode::Truncate)),
            ("INSERT", LoadOptions::default().with_method(LoadMethod::Insert)),
            ("create", mode(LoadMode::Create)),
            ("writers", LoadOptions::default().with_writers(2)),
        ] {
            let database = database("swap_open", TABLES);
            if what == "create" {
                database.execute("DROP TABLE live.t");
            }
            let loaded = open_with(&database, options, SWAP).and_then(|mut loading| {
                // The COPY has begun once the first rows are in the table.
                loading.write(&numbers(0..49))?;
                if is_swapped_back && what != "INSERT" {
                    eventually("it is opened", || {
                        let sql = "SELECT count(*)::text FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
                            WHERE l.mode IN ('RowExclusiveLock', 'AccessExclusiveLock') \
                              AND c.relnamespace = 'live'::regnamespace AND c.relkind = 'r'";
                        value(&database, sql) != "0"
                    });
                    database.execute(BACK);
                }
                loading.finish()
            });
            if what == "create" {
                // There is no hidden table now, as there was none before.
                let error = refusal(loaded);
                assert!(error.to_string().contains("live.t"), "{error}");
                swap_back(&database);
                let left = "SELECT (to_regclass('live.t') IS NULL) || ' ' || (SELECT count(*) FROM stage.t)";
                assert_eq!(value(&database, left), "true 1", "{error}");
                continue;
            }
            check_refused(&database, loaded, what);
        }
    }
}

/// Regression: the mark was moved beside the other table, so the next start loaded the committed rows again.
#[test]
fn marks_stay_beside_the_table() {
    let database = database("swap_marks", TABLES);
    let parts = || LoadOptions::default().with_commit_every(10).with_restart_key("key");
    let other = load(&database, "stage.t", parts().with_restart_key("other")).open(numbers(0..1).schema());
    other.unwrap().finish().unwrap();
    let mut loading = load(&database, "live.t", parts()).open(numbers(0..1).schema()).unwrap();
    loading.write(&numbers(0..15)).unwrap();
    // The COPY has begun with rows of the second part.
    eventually("the COPY runs", || {
        let sql = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'";
        value(&database, sql) == "1"
    });
    database.execute(SWAP);
    let text = refusal(loading.finish()).to_string();
    assert!(text.contains("live.t") && text.contains("the first 10 rows of the data are loaded"), "{text}");
    assert_eq!(counts(&database), "11 1");
    let mut loading = load(&database, "live.t", parts()).open(numbers(0..1).schema()).unwrap();
    loading.write(&numbers(0..15)).unwrap();
    assert_eq!(loading.finish().unwrap().rows_before, 10);
    assert_eq!(counts(&database), "16 1");
}

/// Regression: `DROP TABLE IF EXISTS` found nothing under the name, which is no error, and the table stayed
/// for ever.
#[test]
fn a_hidden_table_is_removed_whatever_its_schema_is_called() {
    let database = database("swap_hidden", TABLES);
    let options = LoadOptions::default().with_writers(2);
    let mut loading = load(&database, "live.t", options).open(numbers(0..1).schema()).unwrap();
    loading.write(&numbers(0..10)).unwrap();
    assert_eq!(leftovers(&database), "1");
    database.execute("ALTER SCHEMA live RENAME TO old");
    loading.abandon().unwrap();
    assert_eq!(leftovers(&database), "0");
}

/// Tables that triggers write to do not matter, and a schema may change in other ways.
#[test]
fn what_is_no_swap_fails_no_load() {
    let audit = "CREATE SCHEMA audit; CREATE TABLE audit.t (x int8); \
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit.t VALUES (NEW.x); RETURN NEW; END $$; \
        CREATE TRIGGER f AFTER INSERT ON live.t FOR EACH ROW EXECUTE FUNCTION f()";
    for (what, options) in [
        ("append", LoadOptions::default()),
        ("upsert", mode(LoadMode::Upsert)),
        ("a sieve", LoadOptions::default().with_reject(true)),
        ("writers", LoadOptions::default().with_writers(2)),
        ("parts", LoadOptions::default().with_commit_every(7).with_restart_key("key")),
    ] {
        // A table with the target's name, which a trigger writes to.
        let database = database("no_swap", &format!("{TABLES}; {audit}"));
        let mut loading = load(&database, "live.t", options.clone()).open(numbers(0..1).schema()).unwrap();
        database.execute("GRANT USAGE ON SCHEMA audit, stage TO public; ALTER SCHEMA stage RENAME TO other");
        loading.write(&numbers(0..20)).unwrap();
        assert_eq!(loading.finish().unwrap().rows, 20, "{what}");
        assert_eq!(value(&database, "SELECT count(*)::text FROM audit.t"), "20", "{what}");
        // The target's own schema.
        let database = crate::support::database("no_swap_granted", TABLES);
        let mut loading = load(&database, "live.t", options).open(numbers(0..1).schema()).unwrap();
        database.execute("GRANT USAGE ON SCHEMA live TO public");
        loading.write(&numbers(0..20)).unwrap();
        assert_eq!(loading.finish().unwrap().rows, 20, "{what}");
        assert_eq!(counts(&database), "21 1", "{what}");
    }
}
