//! Tables that are complete before the run is: noted once each, and only if their rows are the snapshot's.

use std::io;
use std::sync::{Arc, Mutex};

use pgarrow::ipc::{IpcOptions, IpcSink};
use pgarrow::sink::{Output, Outputs, Sink, SinkError};
use pgarrow::{ErrorKind, ExportOptions, Plan, Run};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{database, source};

/// Small tables, and two of one name in two schemas, each of many slices.
const TABLES: &str = "CREATE SCHEMA live; CREATE SCHEMA stage; CREATE TABLE a AS SELECT 1 AS id; \
    CREATE TABLE b AS SELECT 1 AS id; CREATE TYPE mood AS ENUM ('good', 'bad'); \
    CREATE TABLE live.t AS SELECT g AS id, repeat('x', 900) AS pad, 'good'::mood AS m FROM generate_series(1, 12000) AS g; \
    CREATE TABLE stage.t AS TABLE live.t; ANALYZE";

const NAMES: [&str; 4] = ["a", "b", "live.t", "stage.t"];

fn open(database: &Database, readers: usize) -> Run {
    let options = ExportOptions::default().with_readers(readers).with_slice_bytes(1 << 18).with_retries(0);
    source(database).tables(NAMES).options(options).open().unwrap()
}

fn nowhere(plan: &Plan) -> Result<Box<dyn Sink>, SinkError> {
    let outputs = Outputs::single(Output::writer(io::sink()));
    Ok(Box::new(IpcSink::create(outputs, Arc::clone(plan.schema()), IpcOptions::default())?))
}

/// What was noted, if another session runs `sql` at the first note; and the error of the run.
fn noted(
    database: &Database,
    readers: usize,
    sql: Option<&'static str>,
) -> (Vec<String>, Option<pgarrow::Error>) {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let (noted, url) = (Arc::clone(&noted), database.url().to_owned());
        move |plan: &Plan, files: &[pgarrow::FileReport]| {
            assert_eq!(files.len(), 1);
            assert!(files[0].rows == if plan.subject().ends_with(".t") { 12_000 } else { 1 }, "{files:?}");
            let mut noted = noted.lock().unwrap();
            if let (true, Some(sql)) = (noted.is_empty(), sql) {
                pgarrow::Source::connect_blocking(&url).unwrap().execute(sql).unwrap();
            }
            noted.push(plan.subject().to_owned());
        }
    };
    let ended = open(database, readers).on_complete(note).write_each(nowhere);
    let noted = noted.lock().unwrap().clone();
    (noted, ended.err())
}

#[test]
fn each_complete_table_is_noted_once() {
    require!(Capability::Server);
    let database = database("noted", TABLES);
    let (alone, error) = noted(&database, 1, None);
    assert!(error.is_none());
    // The last one ends together with the run.
    assert_eq!(alone, ["public.a", "public.b", "live.t"]);
    let (mut together, error) = noted(&database, 3, None);
    assert!(error.is_none());
    let n_noted = together.len();
    together.sort();
    together.dedup();
    assert_eq!(together.len(), n_noted);
}

/// Each of these fails the run at its end. By then, a table whose rows were of two relations, or of two
/// labels, or whose lock was gone, would have been noted.
#[test]
fn a_table_is_not_noted_if_its_rows_may_be_others() {
    require!(Capability::Server);
    const SWAP: &str = "BEGIN; ALTER SCHEMA live RENAME TO old; ALTER SCHEMA stage RENAME TO live; ALTER SCHEMA old RENAME TO stage; \
         COMMIT";
    for (hint, sql, says) in [
        ("noted swap", SWAP, "a schema was renamed|something else was opened"),
        ("noted label", "ALTER TYPE mood RENAME VALUE 'good' TO 'fine'", "labels of"),
        (
            "noted kill",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
            "terminating connection|connection|lost",
        ),
    ] {
        let database = database(hint, TABLES);
        let (noted, error) = noted(&database, 1, Some(sql));
        let error = error.unwrap_or_else(|| panic!("{hint}: {noted:?}"));
        assert_eq!(noted, ["public.a"], "{hint}");
        assert!(says.split('|').any(|says| error.to_string().contains(says)), "{hint}: {error}");
        assert!(matches!(error.kind(), ErrorKind::Server | ErrorKind::Connection), "{hint}: {error:?}");
    }
}
