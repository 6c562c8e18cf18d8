//! Queries that are looked up, locked and planned in a few round trips, against long ones, which are asked
//! about step by step.

use std::thread;

use arrow_schema::SchemaRef;
use pgarrow::{Error, ErrorKind, ExportOptions, PoolOptions, Source};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{Role, assert_error, database, source_as, url, wait_until};

const TABLES: &str = "CREATE TABLE e AS SELECT g AS id, g::text AS t FROM generate_series(1, 1000) AS g; \
    CREATE SCHEMA other; CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE moods AS SELECT 'a'::mood AS m; \
    CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (9); \
    INSERT INTO p VALUES (1); CREATE VIEW v AS SELECT id FROM e; \
    CREATE MATERIALIZED VIEW kept AS SELECT 5 AS five; \
    CREATE FUNCTION refuses() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RAISE no_data_found; END'";

fn pooled(database: &Database) -> Source {
    let source = Source::connect_blocking(&url(database)).unwrap();
    source.with_pool(PoolOptions::default().with_idle_max(4))
}

/// Schema and number of rows.
fn read(source: &Source, sql: &str, options: &ExportOptions) -> Result<(SchemaRef, u64), Error> {
    let run = source.query(sql).options(options.clone()).open()?;
    let schema = run.schema().clone();
    Ok((schema, run.for_each(|_| Ok(()))?.rows))
}

/// Too long to be asked about at once.
fn long(sql: &str) -> String {
    format!("{sql}\n/* {} */", "x".repeat(20_000))
}

#[test]
fn short_and_long_queries_say_the_same() {
    require!(Capability::Server);
    let database = database("short queries", TABLES);
    let role = Role::new(&database);
    database
        .execute(&format!("GRANT SELECT (id) ON e TO \"{0}\"; GRANT SELECT ON v, p TO \"{0}\"", role.name));
    let queries = [
        "SELECT id, t FROM e",
        "SELECT count(*) FROM e JOIN v USING (id), p",
        "SELECT m, ARRAY[m] AS ms FROM moods",
        "SELECT * FROM kept, p",
        "SELECT id FROM e LIMIT 3",
        "VALUES (1, 'a'), (2, NULL)",
        "TABLE p",
        "WITH w AS (SELECT 1) SELECT * FROM w",
        "SELECT relname FROM pg_catalog.pg_class WHERE relname = 'e'",
        "SELECT current_setting('transaction_isolation') AS isolation",
        "SELECT 1 AS a, 2 AS a",
        "SELECT FROM e",
        "SHOW work_mem",
        // Refused.
        "SELECT nothing FROM e",
        "SELECT * FROM nothing",
        "SELEC",
        "SELECT 1/0",
        "SELECT refuses()",
        "SELECT 1/id FROM (SELECT id - 1 AS id FROM e) AS s",
        "SELECT $1",
        "INSERT INTO e VALUES (1, 'a') RETURNING id",
        "CREATE TABLE f (id int)",
        "COMMIT",
        "SELECT 1; COMMIT",
        "",
        "SELECT nextval('nothing')",
        "COPY e TO STDOUT",
        "LOCK TABLE e",
    ];
    let options = ExportOptions::default().with_readers(1);
    for user in [None, Some(role.name.as_str())] {
        let source = || user.map_or_else(|| pooled(&database), |user| source_as(&database, user));
        let kept = source();
        for sql in queries {
            let said = |result: Result<(SchemaRef, u64), Error>| {
                result.map_err(|error| (error.kind(), error.sqlstate().map(str::to_owned), error.to_string()))
            };
            let expected = said(read(&source(), &long(sql), &options));
            for _ in 0..3 {
                assert_eq!(said(read(&kept, sql, &options)), expected, "{sql}");
            }
        }
    }
}

/// What is known of a query is only where to look first.
#[test]
fn a_known_query_whose_tables_have_changed_is_read_as_it_is() {
    require!(Capability::Server);
    let database = database("known queries", TABLES);
    let source = pooled(&database);
    let options = ExportOptions::default().with_readers(1).with_setting("search_path", "other, public");
    let sql = "SELECT * FROM e";
    let changes: &[(&str, u64, usize)] = &[
        ("SELECT 1", 1000, 2),
        ("ALTER TABLE e ADD u int; DELETE FROM e WHERE id = 1", 999, 3),
        ("ALTER TABLE e RENAME t TO w", 999, 3),
        ("ALTER TABLE e ALTER u TYPE text", 999, 3),
        ("DROP TABLE e CASCADE; CREATE TABLE e AS SELECT 1 AS one", 1, 1),
        ("CREATE TABLE other.e AS SELECT 1 AS a, 2 AS b FROM generate_series(1, 5)", 5, 2),
        ("ALTER SCHEMA other RENAME TO another", 1, 1),
        ("ALTER TABLE e RENAME TO f; CREATE VIEW e AS SELECT one, 5 AS five FROM f", 1, 2),
        ("DROP VIEW e; CREATE MATERIALIZED VIEW e AS SELECT 7 AS seven", 1, 1),
        ("DROP MATERIALIZED VIEW e; CREATE TABLE e (p int) PARTITION BY LIST (p)", 0, 1),
        ("CREATE TABLE e1 PARTITION OF e FOR VALUES IN (1); INSERT INTO e VALUES (1)", 1, 1),
        ("CREATE TABLE e2 PARTITION OF e FOR VALUES IN (2); INSERT INTO e VALUES (2)", 2, 1),
    ];
    for (change, rows, n_columns) in changes {
        for statement in change.split("; ") {
            database.execute(statement);
        }
        for _ in 0..3 {
            let run = source.query(sql).options(options.clone()).open().unwrap();
            assert_eq!(run.schema().fields().len(), *n_columns, "{change}");
            assert_eq!(run.for_each(|_| Ok(())).unwrap().rows, *rows, "{change}");
        }
    }
    database.execute("DROP TABLE e");
    for _ in 0..2 {
        assert_eq!(read(&source, sql, &options).unwrap_err().sqlstate(), Some("42P01"));
    }
    database.execute("CREATE TABLE e AS SELECT 1 AS one");
    assert_eq!(read(&source, sql, &options).unwrap().1, 1);
    // Bounds and digits are found by reading: then nothing is taken from an earlier export.
    for column in ["one", "nothing"] {
        let options = options.clone().with_split_on(column);
        assert_eq!(read(&source, sql, &options).is_ok(), column == "one");
    }
    assert_eq!(read(&source, sql, &options).unwrap().1, 1);
}

/// Locks of the session outlive every transaction, and are counted.
#[test]
fn a_query_is_executed_once() {
    require!(Capability::Server);
    let database = database("queries once", TABLES);
    let source = pooled(&database);
    let options = ExportOptions::default().with_readers(1);
    for _ in 0..2 {
        let locks = "SELECT pg_advisory_lock(id)::text AS locked FROM e WHERE id = 7";
        assert_eq!(read(&source, locks, &options).unwrap().1, 1);
        let mut unlocked = Vec::new();
        let unlock = "SELECT CASE WHEN pg_advisory_unlock(7) THEN 1 END AS one FROM generate_series(1, 3)";
        let run = source.query(unlock).options(options.clone()).open().unwrap();
        let report = run.for_each(|batch| {
            unlocked.push(batch.column(0).null_count());
            Ok(())
        });
        assert_eq!((report.unwrap().rows, unlocked), (3, vec![2]));
    }
}

/// The query waits for the table, as long as the user allows; then its error names who has it.
#[test]
fn a_query_waits_for_its_tables() {
    require!(Capability::Server);
    let database = database("queries waiting", TABLES);
    let mut other = database.client();
    let source = pooled(&database);
    for sql in ["SELECT id FROM e", "SELECT id FROM v"] {
        let options = ExportOptions::default().with_readers(1);
        let impatient = options.clone().with_lock_timeout(std::time::Duration::from_millis(200));
        for _ in 0..2 {
            // The second time, it is known what it reads.
            assert_eq!(read(&source, sql, &options).unwrap().1, 1000);
            let mut transaction = other.transaction().unwrap();
            transaction.batch_execute("LOCK TABLE e IN ACCESS EXCLUSIVE MODE").unwrap();
            let error = read(&source, sql, &impatient).unwrap_err();
            let words = ["could not be locked in time", "has locked e exclusively"];
            assert_error(&error, ErrorKind::Server, Some("55P03"), &words);
            transaction.rollback().unwrap();
        }
    }
}

/// What a plan does not name has to be waited for, too: views, and tables whose partitions are read. A known
/// query used to wait for them with its tables locked, and the server ended the session that came from the
/// other side.
#[test]
fn a_known_query_waits_with_nothing_locked() {
    require!(Capability::Server);
    let database = database("queries views", TABLES);
    let (mut other, mut watching) = (database.client(), database.client());
    let source = pooled(&database);
    let options = ExportOptions::default().with_readers(1);
    for (sql, first, then, rows) in [
        (
            "SELECT id FROM v",
            "CREATE OR REPLACE VIEW v AS SELECT id + 0 AS id FROM e",
            "ALTER TABLE e ADD u int",
            1000,
        ),
        ("SELECT id FROM p", "CREATE TABLE p1 PARTITION OF p DEFAULT; LOCK TABLE ONLY p", "TRUNCATE p0", 0),
    ] {
        read(&source, sql, &options).unwrap();
        let mut transaction = other.transaction().unwrap();
        transaction.batch_execute(first).unwrap();
        let (source, options) = (source.clone(), options.clone());
        let waiting = thread::spawn(move || read(&source, sql, &options));
        wait_until("the query waits", || {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                         AND wait_event_type = 'Lock'";
            watching.query_one(waits, &[]).unwrap().get::<_, i64>(0) > 0
        });
        transaction.batch_execute(then).unwrap();
        transaction.commit().unwrap();
        assert_eq!(waiting.join().unwrap().unwrap().1, rows, "{sql}");
    }
}
