//! How long an export waits for bytes and for locks; timeouts that roles set for the library's sessions;
//! rights that are revoked meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use pgarrow::{Error, ErrorKind, ExportOptions, Source};
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

use crate::support::{
    Role, assert_error, database, read, source, source_as, url, wait_until, wait_until_no_sessions,
    with_parameter,
};

const TABLE: &str =
    "CREATE TABLE e AS SELECT g AS a, repeat('x', 100) AS b FROM generate_series(1, 20000) AS g";

/// Slices of some pages each.
fn readers(n_readers: usize) -> ExportOptions {
    ExportOptions::default().with_readers(n_readers).with_slice_bytes(128 << 10)
}

fn n_rows(source: &Source, options: ExportOptions) -> Result<u64, Error> {
    Ok(source.table("e").options(options).open()?.for_each(|_| Ok(()))?.rows)
}

#[test]
fn a_server_that_falls_silent_is_left_after_the_read_timeout() {
    require!(Capability::PrivateServer);
    let database = database("silent", "");
    let port = TestServer::shared().private().unwrap().port();
    let sql = "SELECT generate_series(1, 1000000000) AS g, repeat('x', 100) AS t";
    for n_readers in [1, 2] {
        let proxy = Proxy::start(port, Fault::FreezeAfterServerBytes(300_000));
        let url = with_parameter(&proxy.url_of(&url(&database)), "sslmode=disable");
        let options = readers(n_readers).with_read_timeout(Duration::from_millis(500));
        let started = Instant::now();
        let run = Source::connect_blocking(&url).unwrap().query(sql).options(options).open().unwrap();
        let error = run.for_each(|_| Ok(())).unwrap_err();
        assert_error(&error, ErrorKind::Connection, None, &["not one byte came", "read timeout"]);
        // The wait was long enough: no retry.
        assert!(!error.is_transient(), "{error}");
        // Including one attempt to cancel.
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        // A backend that is blocked in sending ignores cancel requests; it ends with its connection.
        drop(proxy);
        wait_until_no_sessions(&database);
    }
    // A backend that computes obeys them, although it does not notice that its client is gone.
    let options = readers(1).with_read_timeout(Duration::from_secs(3));
    let source = source(&database);
    let run = source.query("SELECT pg_sleep(3600)::text AS t").options(options).open().unwrap();
    let error = run.for_each(|_| Ok(())).unwrap_err();
    assert_error(&error, ErrorKind::Connection, None, &["not one byte came", "read timeout"]);
    drop(source);
    wait_until_no_sessions(&database);
}

#[test]
fn the_read_timeout_does_not_count_what_is_not_the_servers_silence() {
    require!(Capability::Server);
    let database = database("not silent", TABLE);
    // Long enough for a busy machine to answer.
    let timeout = Duration::from_secs(4);
    let source = source(&database);
    // Waiting for a lock: on a table; to explain a query; to describe one.
    let mut other = database.client();
    other.batch_execute("BEGIN; LOCK TABLE e IN ACCESS EXCLUSIVE MODE").unwrap();
    let options = || readers(1).with_read_timeout(timeout);
    thread::scope(|scope| {
        let query = |sql: &str| source.query(sql).options(options());
        let reading = [
            scope.spawn(|| n_rows(&source, options())),
            scope.spawn(move || Ok(query("SELECT * FROM e").open()?.for_each(|_| Ok(()))?.rows)),
            scope.spawn(move || {
                let query = query("SELECT * FROM e WHERE a > $1").bind(Some("0"));
                Ok(query.open()?.for_each(|_| Ok(()))?.rows)
            }),
        ];
        let since = Instant::now();
        wait_until("they wait for longer than the timeout", || since.elapsed() > timeout * 2);
        assert!(reading.iter().all(|reading| !reading.is_finished()));
        other.batch_execute("COMMIT").unwrap();
        for reading in reading {
            assert_eq!(reading.join().unwrap().unwrap(), 20_000);
        }
    });
    // Waiting for the client: a slow consumer, and sessions that idle meanwhile.
    let mut reader = source
        .table("e")
        .options(readers(2).with_read_timeout(timeout).with_batch_rows(4000))
        .reader()
        .unwrap();
    let mut n_rows = reader.next().unwrap().unwrap().num_rows();
    let since = Instant::now();
    wait_until("the consumer has had its time", || since.elapsed() > timeout * 2);
    n_rows += reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>();
    assert_eq!(n_rows, 20_000);
}

#[test]
fn locks_are_waited_for_as_long_as_was_said_and_whoever_has_them_is_named() {
    require!(Capability::Server);
    let database = database(
        "locked",
        "CREATE TABLE e (a int4); CREATE VIEW v AS SELECT * FROM e; CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; \
         CREATE TABLE p (a int4) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p DEFAULT",
    );
    let options = ExportOptions::default().with_lock_timeout(Duration::from_millis(200));
    for (locked, exported) in [("e", "e"), ("e", "v"), ("p1", "p")] {
        let mut other = database.client();
        other.batch_execute(&format!("BEGIN; LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE")).unwrap();
        let pid: i32 = other.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        let started = Instant::now();
        let error = source(&database).table(exported).options(options.clone()).open().unwrap_err();
        let blocker = format!("process {pid} has locked {locked} exclusively");
        assert_error(
            &error,
            ErrorKind::Server,
            Some("55P03"),
            &[&blocker, "option lock_timeout", "pg_terminate_backend"],
        );
        assert!(started.elapsed() < Duration::from_secs(20));
        let error = source(&database).tables([exported]).options(options.clone()).open().unwrap_err();
        assert_error(&error, ErrorKind::Server, Some("55P03"), &[&blocker]);
    }
    // A relation that a second session holds, and names that are looked up for a query.
    let mut other = database.client();
    other.batch_execute("BEGIN; LOCK TABLE e IN ACCESS EXCLUSIVE MODE; REFRESH MATERIALIZED VIEW m").unwrap();
    let error = source(&database).table("m").options(options.clone()).open().unwrap_err();
    assert_error(&error, ErrorKind::Server, Some("55P03"), &["option lock_timeout"]);
    drop(other);
    // A query is explained and described before its tables are locked: a TRUNCATE may commit in between.
    let mut other = database.client();
    other.batch_execute("INSERT INTO e VALUES (1); BEGIN; TRUNCATE e").unwrap();
    let pid: i32 = other.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let blocker = format!("process {pid} has locked e exclusively");
    let words = [&blocker, "could not be locked in time", "allow more time (option lock_timeout)"];
    let error = source(&database).query("SELECT * FROM e").options(options.clone()).open().unwrap_err();
    assert_error(&error, ErrorKind::Server, Some("55P03"), &words);
    let source = source(&database);
    let query = source.query("SELECT * FROM e WHERE a = $1").bind(Some("1")).options(options);
    assert_error(&query.open().unwrap_err(), ErrorKind::Server, Some("55P03"), &words);
    drop(source);
    drop(other);
    wait_until_no_sessions(&database);
}

/// A role whose timeouts would end anything that takes longer than a moment.
fn impatient(database: &Database) -> Role<'_> {
    let role = Role::new(database);
    database.execute(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{0}\"; ALTER ROLE \"{0}\" SET statement_timeout = '300ms'; \
         ALTER ROLE \"{0}\" SET lock_timeout = '300ms'; \
         ALTER ROLE \"{0}\" SET idle_in_transaction_session_timeout = '300ms'",
        role.name
    ));
    if Capability::VersionAtLeast(140_000).probe().is_ok() {
        database.execute(&format!("ALTER ROLE \"{}\" SET idle_session_timeout = '300ms'", role.name));
    }
    if Capability::VersionAtLeast(170_000).probe().is_ok() {
        database.execute(&format!("ALTER ROLE \"{}\" SET transaction_timeout = '300ms'", role.name));
    }
    role
}

#[test]
fn timeouts_of_the_role_do_not_end_an_export() {
    require!(Capability::PrivateServer);
    let database = database("impatient", TABLE);
    let role = impatient(&database);
    for n_readers in [1, 3] {
        let source = source_as(&database, &role.name);
        let run = source.table("e").options(readers(n_readers).with_batch_rows(500)).open().unwrap();
        let mut is_first = true;
        let report = run.for_each(|_| {
            // Statements, transactions and holding sessions wait longer than the role's timeouts.
            if std::mem::take(&mut is_first) {
                let since = Instant::now();
                wait_until("time has passed", || since.elapsed() > Duration::from_secs(1));
            }
            Ok(())
        });
        assert_eq!(report.unwrap().rows, 20_000);
    }
    // An export that waits for its lock, and one that waits during the look-ups before.
    let mut other = database.client();
    other.batch_execute("BEGIN; LOCK TABLE e IN ACCESS EXCLUSIVE MODE").unwrap();
    thread::scope(|scope| {
        let source = || source_as(&database, &role.name);
        let reading = [
            scope.spawn(move || n_rows(&source(), readers(1))),
            scope.spawn(move || Ok(source().query("SELECT * FROM e").open()?.for_each(|_| Ok(()))?.rows)),
        ];
        let since = Instant::now();
        wait_until("time has passed", || since.elapsed() > Duration::from_secs(1));
        other.batch_execute("COMMIT").unwrap();
        for reading in reading {
            assert_eq!(reading.join().unwrap().unwrap(), 20_000);
        }
    });
}

#[test]
fn a_role_that_loses_its_right_in_the_middle() {
    require!(Capability::PrivateServer);
    let database = database("revoked", TABLE);
    for n_readers in [1, 3] {
        let role = Role::new(&database);
        database.execute(&format!("GRANT SELECT ON e TO \"{}\"", role.name));
        let source = source_as(&database, &role.name);
        let run = source.table("e").options(readers(n_readers)).open().unwrap();
        database.execute(&format!("REVOKE SELECT ON e FROM \"{}\"", role.name));
        let error = run.for_each(|_| Ok(())).unwrap_err();
        assert_error(&error, ErrorKind::Server, Some("42501"), &["permission denied"]);
        drop(source);
        wait_until_no_sessions(&database);
    }
}

#[test]
fn a_role_that_may_not_log_in_any_more() {
    require!(Capability::PrivateServer);
    let database = database("nologin", TABLE);
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON e TO \"{}\"", role.name));
    let source = source_as(&database, &role.name);
    let run = source.table("e").options(readers(3)).open().unwrap();
    database.execute(&format!("ALTER ROLE \"{}\" NOLOGIN", role.name));
    let error = run.for_each(|_| Ok(())).unwrap_err();
    assert_error(&error, ErrorKind::Server, Some("28000"), &["not permitted to log in"]);
    drop(source);
    wait_until_no_sessions(&database);
    assert!(read(self::source(&database).table("e")).is_ok());
}
