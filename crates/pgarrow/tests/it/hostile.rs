//! Names and tables of an attacker, on a real server.

use std::cell::RefCell;

use pgarrow::ErrorKind;
use pgarrow_testkit::{Capability, Database, require};
use proptest::prelude::*;

use crate::support::{database, read, refusal, source, wait_until};

/// Any name that PostgreSQL accepts: not empty, no NUL, at most 63 bytes.
fn name() -> impl Strategy<Value = String> {
    let any = "[^\u{0}]{1,15}|['\\\\\";$ \n\r\t\u{1b}\u{202e}%./-]{1,20}|[A-Za-z]{63}|ä{31}";
    any.prop_filter("too long", |name| name.len() <= 63)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Schemas, tables and columns with any name are found, planned, locked and read correctly.
#[test]
fn any_name_is_an_identifier_on_a_live_server() {
    require!(Capability::Server);
    let database = database("names", "");
    let source = source(&database);
    let client = RefCell::new(database.client());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let names = (name(), name(), name());
    let result = runner.run(&names, |(schema, table, column)| {
        let (in_sql, name) = (quoted(&schema), format!("{}.{}", quoted(&schema), quoted(&table)));
        let sql = format!(
            "CREATE SCHEMA IF NOT EXISTS {in_sql}; DROP TABLE IF EXISTS {name}; \
             CREATE TABLE {name} ({} int4 PRIMARY KEY); INSERT INTO {name} SELECT generate_series(1, 3)",
            quoted(&column)
        );
        // The server refuses reserved names.
        prop_assume!(client.borrow_mut().batch_execute(&sql).is_ok());
        let export = read(source.table(name.as_str())).expect("an export");
        prop_assert_eq!(export.lines(), ["1", "2", "3"]);
        prop_assert_eq!(export.schema.field(0).name(), &column);
        let chosen =
            source.table(name.as_str()).columns([column.as_str()]).filter(format!("{} > 2", quoted(&column)));
        prop_assert_eq!(read(chosen).expect("a part of it").lines(), ["3"]);
        client.borrow_mut().batch_execute(&format!("DROP TABLE {name}")).expect("its own table");
        Ok(())
    });
    result.expect("any name");
}

fn wait_for_lock(database: &Database) {
    let mut client = database.client();
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_until("the export waits for its lock", || client.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1);
}

/// A role that may replace a table may run a function as the role that reads it (CVE-2024-7348): the function
/// can change nothing.
#[test]
fn a_table_that_becomes_a_view_runs_nothing() {
    require!(Capability::Server);
    let database = database(
        "swapped",
        "CREATE TABLE canary (a int4); CREATE SEQUENCE counter; CREATE TABLE e AS SELECT 1 AS a; \
         CREATE FUNCTION f() RETURNS int4 LANGUAGE plpgsql AS \
           $$ BEGIN PERFORM nextval('counter'); INSERT INTO canary VALUES (1); RETURN 1; END $$",
    );
    let mut other = database.client();
    other.batch_execute("BEGIN; DROP TABLE e; CREATE VIEW e AS SELECT f() AS a").unwrap();
    let source = source(&database);
    let error = std::thread::scope(|scope| {
        let export = scope.spawn(|| refusal(source.table("e")));
        wait_for_lock(&database);
        other.batch_execute("COMMIT").unwrap();
        export.join().unwrap()
    });
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("25006")), "{error}");
    let touched = "SELECT (SELECT count(*) FROM canary) + (SELECT count(*) FROM counter WHERE is_called)";
    assert_eq!(other.query_one(touched, &[]).unwrap().get::<_, i64>(0), 0);
}
