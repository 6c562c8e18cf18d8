//! Exports by several readers into a table: whatever the target does, the error gives the reason, and nothing
//! is left.

use std::process::Child;

use pgarrow_testkit::{Capability, Database, TestServer, require};

use crate::load_faults::{BEFORE, assert_ended};
use crate::loads::fingerprint;
use crate::support::{Place, Ran, end_of, eventually, start};

/// 60,000 rows of 1.9 kB, far more than all buffers on the way can hold, in more slices than there are
/// readers.
const LARGE: &str = "CREATE UNLOGGED TABLE large AS \
     SELECT g::int8 AS id, repeat('x', 1900) AS note FROM generate_series(1, 60000) g; ANALYZE large";

/// A source with a table `large`, and a target with a table `t` of the same columns, changed by `sql`.
fn place(hint: &str, sql: &str) -> (Place, Database) {
    let source = Place::new(&format!("{hint}_source"));
    source.database.execute(LARGE);
    let target = TestServer::shared().fresh_database(hint);
    target.execute("CREATE TABLE t (id int8, note text)");
    target.execute(sql);
    target.execute(BEFORE);
    (source, target)
}

/// `pgarrow export` of `large` into `t` by four readers.
fn start_export(source: &Place, target: &Database, args: &[&str]) -> Child {
    let into = ["-t", "large", "--to", "postgres", "--target", target.url(), "--into", "t", "--readers", "4"];
    start(&mut source.export_command(&[&into, args].concat()))
}

/// Asserts that no rows and no sessions are left, and that the error is the target's, whichever reader fails
/// first.
#[track_caller]
fn assert_failed(
    ran: &Ran,
    says: &[&str],
    before: &(i64, Option<String>),
    source: &Place,
    target: &Database,
) {
    assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
    for part in [says, &["public.t", "nothing was loaded"]].concat() {
        assert!(ran.stderr.contains(part), "{part:?} is not in {}", ran.stderr);
    }
    for wrong in ["has failed before", "lost its connection", "(row ", "of the data"] {
        assert!(!ran.stderr.contains(wrong), "{wrong:?} is in {}", ran.stderr);
    }
    assert_ended(&source.database);
    assert_ended(target);
    assert_eq!(fingerprint(target, "t"), *before);
}

/// Before, it often ended with "the load has failed before" and exit code 7: only one reader got the reason,
/// and the others failed as quickly.
#[test]
fn a_constraint_in_the_middle_of_rows_of_several_readers() {
    require!(Capability::Server);
    let raising = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                   $$ BEGIN RAISE 'in the way' USING ERRCODE = '40001'; END $$; \
                   CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 30000) EXECUTE FUNCTION f()";
    for (sql, says) in [
        ("ALTER TABLE t ADD CHECK (id <> 30000)", &["23514", "breaks a constraint"]),
        ("CREATE UNIQUE INDEX ON t ((abs(id - 30000)))", &["23505", "--on-conflict skip"]),
        (raising, &["40001", "start the load again"]),
    ] {
        let (source, target) = place("readers_constraint", sql);
        let before = fingerprint(&target, "t");
        for args in [&[][..], &["--mode", "truncate"], &["--ordered"], &["--method", "insert"]] {
            let ran = end_of(start_export(&source, &target, args), 60);
            assert_eq!(ran.code, Some(4), "{ran:?}");
            assert_failed(&ran, says, &before, &source, &target);
        }
    }
}

/// Before, a lost backend of the target counted as a lost source: readers dropped sound sessions, connected
/// again and read their slices again, and then got "the load has failed before" (exit code 7).
#[test]
fn a_target_that_is_ended_under_several_readers() {
    require!(Capability::Server, Capability::Superuser);
    let waiting = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                   $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$; \
                   CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 1000) EXECUTE FUNCTION f()";
    let (source, target) = place("readers_ended", waiting);
    let before = fingerprint(&target, "t");
    for (function, says, args) in [
        ("pg_terminate_backend", "57P01", &[][..]),
        ("pg_terminate_backend", "57P01", &["--ordered"]),
        ("pg_terminate_backend", "57P01", &["--method", "insert"]),
        ("pg_cancel_backend", "57014", &[]),
    ] {
        let mut holder = target.client();
        holder.batch_execute("SELECT pg_advisory_lock(1)").unwrap();
        let child = start_export(&source, &target, args);
        let blocked = "datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory'";
        eventually("the load waits in the middle", || n_backends(&target, blocked) == 1);
        let sql = format!("SELECT {function}(pid) FROM pg_stat_activity WHERE {blocked}");
        assert!(target.client().query_one(&sql, &[]).unwrap().get::<_, bool>(0));
        let ran = end_of(child, 60);
        assert_failed(&ran, &[says], &before, &source, &target);
        drop(holder);
    }
    // Without a fault, the same load succeeds.
    let ran = end_of(start_export(&source, &target, &[]), 60);
    ran.assert_success();
    assert_eq!(fingerprint(&target, "t").0, 61_000);
}

/// Before, readers that waited for the target did not notice that another reader had failed: they held source
/// and snapshot as long as the target waited for another transaction.
#[test]
fn a_source_that_is_lost_while_the_target_waits() {
    require!(Capability::Server, Capability::Superuser);
    let (source, target) = place("readers_waiting", "CREATE UNIQUE INDEX ON t (id)");
    let before = fingerprint(&target, "t");
    // Slices larger than sockets have room for, mostly; with `--ordered`, they are.
    let large = ["--slice-bytes", "12M"];
    for args in [&large[..], &["--ordered"], &[&large[..], &["--method", "insert"]].concat()] {
        // Less than the table's size.
        let args = &[args, &["--memory", "32M"]].concat();
        let mut holder = target.client();
        holder.batch_execute("BEGIN; INSERT INTO t VALUES (1, 'first')").unwrap();
        let child = start_export(&source, &target, args);
        let blocked = "datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the load waits for the key", || n_backends(&target, blocked) == 1);
        // A reader's server cannot send, since the reader does not receive. Or it has sent all of a slice, as
        // far as into the sockets' buffers, which may grow to more than a slice, and is asked for no other.
        let waiting = "wait_event = 'ClientWrite' OR state = 'idle in transaction' AND query LIKE 'COPY%'";
        eventually("readers wait for the load", || source.counts(waiting) >= 1);
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE datname = current_database() AND application_name = 'pgarrow'";
        assert!(source.database.client().query_one(ended, &[]).unwrap().get::<_, i64>(0) >= 2);
        let ran = end_of(child, 30);
        assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
        assert!(!ran.stderr.contains("has failed before"), "{}", ran.stderr);
        assert_ended(&source.database);
        assert_ended(&target);
        holder.batch_execute("ROLLBACK").unwrap();
        assert_eq!(fingerprint(&target, "t"), before);
    }
}

fn n_backends(database: &Database, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE {condition}");
    database.client().query_one(&sql, &[]).unwrap().get(0)
}

/// Before, the buffer that a large row had grown stayed and counted, so the next row found no room; and with
/// `--ordered`, a buffer that waited for its turn doubled its memory whenever it was full.
#[test]
fn large_rows_and_rows_that_wait_for_their_turn_within_the_memory() {
    require!(Capability::Server);
    let source = Place::new("readers_memory_source");
    source.database.execute(LARGE);
    source.database.execute(
        "CREATE UNLOGGED TABLE blobs (id int, blob bytea); ALTER TABLE blobs ALTER blob SET STORAGE EXTERNAL; \
         INSERT INTO blobs SELECT g, decode(repeat(md5(g::text), 540000), 'hex') FROM generate_series(1, 8) g; \
         ANALYZE blobs",
    );
    let target = TestServer::shared().fresh_database("readers_memory");
    for (table, readers, args) in [
        ("blobs", "1", &["--memory", "38M"][..]),
        ("blobs", "4", &["--memory", "64M"]),
        ("large", "4", &["--memory", "32M", "--ordered"]),
    ] {
        let into = ["-t", table, "--to", "postgres", "--target", target.url(), "--into", table];
        let mode = ["--mode", "create", "--readers", readers];
        target.execute(&format!("DROP TABLE IF EXISTS {table}"));
        let child = start(&mut source.export_command(&[&into[..], &mode, args].concat()));
        let ran = end_of(child, 120);
        ran.assert_success();
        assert_eq!(fingerprint(&target, table), fingerprint(&source.database, table), "{args:?}");
    }
    let sql = "SELECT count(*) FROM (SELECT id < lag(id) OVER (ORDER BY ctid) AS is_wrong FROM large) AS l WHERE is_wrong";
    assert_eq!(target.client().query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
}

/// Before, it ended with exit code 0: the COPY began in a thread, and the load did not wait for it.
#[test]
fn a_dry_run_tells_what_the_target_has_against_the_load() {
    require!(Capability::Server);
    let raising = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                   $$ BEGIN RAISE 'never that' USING ERRCODE = 'PA001'; END $$; \
                   CREATE TRIGGER f BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION f()";
    let source = Place::new("dry_source");
    source.database.execute("CREATE TABLE large AS SELECT 1::int8 AS id, 'x' AS note");
    source.export(&["-t", "large", "-o", "rows.parquet"]).assert_success();
    let target = TestServer::shared().fresh_database("dry");
    target.execute("CREATE TABLE t (id int8, note text)");
    let load = ["load", "rows.parquet", "--target", target.url(), "--into", "t", "--dry-run"];
    let load = || crate::support::run(crate::support::command(source.folder.path()).args(load));
    load().assert_success();
    end_of(start_export(&source, &target, &["--dry-run"]), 30).assert_success();
    target.execute(raising);
    let says = ["PA001", "never that", "nothing was loaded"];
    load().assert_refused(4, &says);
    // One row needs one reader, which gives a warning of its own.
    let ran = end_of(start_export(&source, &target, &["--dry-run"]), 30);
    assert!(ran.code == Some(4) && says.iter().all(|part| ran.stderr.contains(part)), "{ran:?}");
    assert_ended(&target);
}
