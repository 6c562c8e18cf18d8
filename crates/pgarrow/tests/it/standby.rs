//! A hot standby: one connection reads, its snapshots are not shared, and its conflicts are reported.
//!
//! ```text
//!  primary ──pg_basebackup -R──▶ data folder of a second private server, restarted with it ──▶ standby
//! ```
//!
//! The tests share one pair of servers, each in a database of its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use pgarrow::{Error, ErrorKind, ExportOptions, Slice, Source, install_pages_sql, remove_pages_sql};
use pgarrow_server::Server;
use pgarrow_testkit::postgres::{Client, NoTls};
use pgarrow_testkit::{Capability, require, server_options};

use crate::render;
use crate::support::{
    APPLICATION, PATIENCE, assert_error, read, refusal, server_text, wait_until, with_parameter,
};

/// Some hundred pages.
const TABLE: &str = "CREATE TABLE e AS SELECT g AS id, repeat(md5(g::text), 4) AS t, \
    CASE WHEN g % 5 <> 0 THEN g::numeric(12, 2) END AS n FROM generate_series(1, 20000) AS g; ANALYZE e";

/// A primary, and a standby that replays what it does.
struct Pair {
    primary: Server,
    standby: Server,
}

impl Pair {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Pair> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let settings = server_options()
            .setting("autovacuum", "off")
            .setting("synchronous_commit", "on")
            // Replay does not wait for sessions that conflict with it.
            .setting("max_standby_streaming_delay", "0");
        let primary = Server::start(settings).unwrap();
        let mut standby = Server::start(server_options()).unwrap();
        become_standby(&mut standby, &primary);
        let pair = Self { primary, standby };
        let recovering = server_text(&mut connect(&pair.standby, "postgres"), "SELECT pg_is_in_recovery()");
        assert_eq!(recovering[0][0].as_deref(), Some("t"));
        pair
    }

    /// Makes a database with `sql` and waits until the standby has it.
    fn database(&self, name: &str, sql: &str) {
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        connect(&self.primary, "postgres").batch_execute(&create).unwrap();
        self.execute(name, sql);
        self.wait_for_replay();
    }

    /// Runs statements on the primary.
    fn execute(&self, database: &str, sql: &str) {
        connect(&self.primary, database)
            .batch_execute(sql)
            .unwrap_or_else(|cause| panic!("{sql}: {cause:?}"));
    }

    fn wait_for_replay(&self) {
        let mut client = connect(&self.primary, "postgres");
        // Makes a commit and waits for it and everything before it.
        client.batch_execute("SELECT pg_logical_emit_message(true, '', '')").unwrap();
        let position = server_text(&mut client, "SELECT pg_current_wal_flush_lsn()")[0][0].clone().unwrap();
        let mut client = connect(&self.standby, "postgres");
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'");
        wait_until("the standby has replayed it", || {
            server_text(&mut client, &sql)[0][0].as_deref() == Some("t")
        });
    }

    /// A source on the standby.
    fn source(&self, database: &str) -> Source {
        let url = with_parameter(
            &self.standby.url_for(database),
            &format!("application_name={APPLICATION}&sslmode=disable"),
        );
        Source::connect_blocking(&url).unwrap()
    }

    /// Asserts that an export on the standby equals the standby's own rows.
    #[track_caller]
    fn assert_rows(&self, database: &str, sql: &str, batches: &[arrow_array::RecordBatch]) {
        let mut rows = render::rows(batches);
        let mut expected = server_text(&mut connect(&self.standby, database), sql);
        rows.sort_unstable();
        expected.sort_unstable();
        assert_eq!(rows.len(), expected.len());
        assert!(rows == expected, "the rows of {sql}");
    }

    /// Removes rows that an export on the standby still sees.
    fn remove_rows(&self, database: &str) {
        self.execute(database, "DELETE FROM e WHERE id % 3 = 0");
        self.execute(database, "VACUUM e");
    }
}

/// Replaces the server's data folder with a copy of the primary, and restarts the server with it.
fn become_standby(server: &mut Server, primary: &Server) {
    let data = server.data_dir().to_owned();
    let folder = data.parent().unwrap().to_owned();
    let owner = fs::metadata(&data).unwrap();
    let copy = folder.join("copy");
    let mut command = Command::new(primary.installation().program("pg_basebackup"));
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    let port = primary.port().to_string();
    let output = command
        .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-D", "copy"])
        .args(["-R", "-X", "stream", "-c", "fast", "--no-sync"])
        .current_dir(&folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .uid(owner.uid())
        .gid(owner.gid())
        .output()
        .unwrap();
    assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
    // The running server does not check its folder's name; this file still leads to its process.
    fs::copy(data.join("postmaster.pid"), copy.join("postmaster.pid")).unwrap();
    let file = copy.join("postmaster.pid");
    std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    fs::rename(&data, folder.join("before")).unwrap();
    fs::rename(&copy, &data).unwrap();
    server.crash_and_restart().unwrap_or_else(|cause| panic!("{cause}\n{}", server.log()));
}

fn connect(server: &Server, database: &str) -> Client {
    Client::connect(&server.url_for(database), NoTls).unwrap()
}

fn pages(n_readers: usize) -> ExportOptions {
    ExportOptions::default().with_readers(n_readers).with_slice_bytes(8192)
}

#[test]
fn one_connection_reads_and_says_why() {
    require!(Capability::PrivateServer, Capability::ServerProgram("pg_basebackup"));
    let pair = Pair::shared();
    pair.database("one", TABLE);
    let run = pair.source("one").table("e").options(pages(4)).open().unwrap();
    assert_eq!(run.readers(), 1);
    let batches = std::sync::Mutex::new(Vec::new());
    let report = run
        .for_each_concurrently(|batch| {
            batches.lock().unwrap().push(batch);
            Ok(())
        })
        .unwrap();
    assert_eq!((report.rows, report.readers.len()), (20_000, 1));
    let warning = report.warnings.iter().find(|warning| warning.contains("standby"));
    assert!(warning.is_some_and(|warning| warning.contains("one connection reads")), "{:?}", report.warnings);
    pair.assert_rows("one", "SELECT * FROM e", &batches.into_inner().unwrap());
    // With one reader asked for, there is no warning.
    let export = read(pair.source("one").table("e").options(pages(1))).unwrap();
    assert_eq!((export.n_rows(), export.warnings.len()), (20_000, 0), "{:?}", export.warnings);
}

#[test]
fn its_snapshot_is_not_handed_on() {
    require!(Capability::PrivateServer, Capability::ServerProgram("pg_basebackup"));
    let pair = Pair::shared();
    pair.database("tokens", TABLE);
    for n_readers in [1, 4] {
        let mut run = pair.source("tokens").table("e").options(pages(n_readers)).open().unwrap();
        let error = run.slices().unwrap_err();
        assert_error(&error, ErrorKind::Options, None, &["standby", "plan on the primary"]);
        // After the refusal, the run can still read.
        assert_eq!(run.for_each(|_| Ok(())).unwrap().rows, 20_000);
    }
    // A slice that was planned on the primary cannot be read on the standby, although all its rows are there.
    let url = pair.primary.url_for("tokens");
    let primary = Source::connect_blocking(&with_parameter(&url, "sslmode=disable")).unwrap();
    let mut run = primary.table("e").options(pages(2)).open().unwrap();
    let slice: Slice = run.slices().unwrap().swap_remove(0);
    let error = refusal(pair.source("tokens").slice(slice.clone()));
    assert_eq!(error.kind(), ErrorKind::Server, "{error}");
    assert!(error.to_string().contains("another server"), "{error}");
    assert!(read(primary.slice(slice)).unwrap().n_rows() > 0, "where it was planned, it can be read");
}

#[test]
fn several_readers_only_if_moments_may_differ() {
    require!(Capability::PrivateServer, Capability::ServerProgram("pg_basebackup"));
    let pair = Pair::shared();
    pair.database("several", TABLE);
    let options = pages(4).with_inconsistent(true);
    let run = pair.source("several").table("e").options(options.clone()).open().unwrap();
    assert_eq!(run.readers(), 4);
    let batches = std::sync::Mutex::new(Vec::new());
    let report = run
        .for_each_concurrently(|batch| {
            batches.lock().unwrap().push(batch);
            Ok(())
        })
        .unwrap();
    assert_eq!(report.readers.len(), 4);
    assert!(
        report.warnings.iter().any(|warning| warning.contains("different moments")),
        "{:?}",
        report.warnings
    );
    pair.assert_rows("several", "SELECT * FROM e", &batches.into_inner().unwrap());
    // Its slices have no snapshot and do not need the run that planned them.
    let mut run = pair.source("several").table("e").options(options).open().unwrap();
    let slices = run.slices().unwrap();
    drop(run);
    assert!(slices.len() > 100 && slices.iter().all(|slice| slice.snapshot.is_none()), "{}", slices.len());
    let there = pair.source("several");
    let batches: Vec<_> =
        slices.into_iter().flat_map(|slice| read(there.slice(slice)).unwrap().batches).collect();
    pair.assert_rows("several", "SELECT * FROM e", &batches);
}

/// Asserts the error about rows that were removed under an export.
#[track_caller]
fn assert_conflict(error: &Error) {
    let words = ["conflict with recovery", "max_standby_streaming_delay", "hot_standby_feedback"];
    assert_error(error, ErrorKind::Server, Some("40001"), &words);
}

#[test]
fn rows_that_are_removed_under_a_slow_export() {
    require!(Capability::PrivateServer, Capability::ServerProgram("pg_basebackup"));
    let pair = Pair::shared();
    pair.database("slow", TABLE);
    // Too many rows to read to the end: however long replay takes until the conflict, the export still runs.
    let sql = "SELECT e.id, e.t, g FROM e, generate_series(1, 1000000) AS g";
    let options = ExportOptions::default().with_batch_rows(500);
    let mut reader = pair.source("slow").query(sql).options(options).reader().unwrap();
    reader.next().unwrap().unwrap();
    pair.remove_rows("slow");
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "replay has not met the export");
        if let Err(error) = reader.next().expect("an error before the end") {
            break error;
        }
    };
    assert_conflict(&error.into());
}

#[test]
fn rows_that_are_removed_before_the_first_is_read() {
    require!(Capability::PrivateServer, Capability::ServerProgram("pg_basebackup"));
    let pair = Pair::shared();
    pair.database("early", TABLE);
    let run = pair.source("early").table("e").open().unwrap();
    pair.remove_rows("early");
    // Replay can continue only after the export's session was ended.
    pair.wait_for_replay();
    assert_conflict(&run.for_each(|_| Ok(())).unwrap_err());
    // The next one sees what the primary has.
    let export = read(pair.source("early").table("e")).unwrap();
    pair.assert_rows("early", "SELECT * FROM e", &export.batches);
    assert_eq!(export.n_rows(), 20_000 - 20_000 / 3);
}

#[test]
fn a_standby_that_becomes_a_primary_in_the_middle() {
    require!(Capability::PrivateServer, Capability::ServerProgram("pg_basebackup"));
    // A pair of its own: the other tests need their standby.
    let pair = Pair::start();
    pair.database("promoted", TABLE);
    let options = ExportOptions::default().with_batch_rows(100);
    let mut reader = pair.source("promoted").table("e").options(options).reader().unwrap();
    let mut batches = vec![reader.next().unwrap().unwrap()];
    let mut client = connect(&pair.standby, "promoted");
    assert_eq!(server_text(&mut client, "SELECT pg_promote()")[0][0].as_deref(), Some("t"));
    client.batch_execute("INSERT INTO e VALUES (0, 'after', 0)").unwrap();
    batches.extend(reader.map(Result::unwrap));
    pair.assert_rows("promoted", "SELECT * FROM e WHERE id > 0", &batches);
    // From now on, its snapshots can be shared.
    let mut run = pair.source("promoted").table("e").options(pages(3)).open().unwrap();
    assert!(run.slices().unwrap().iter().all(|slice| slice.snapshot.is_some()));
    assert_eq!((run.readers(), run.for_each(|_| Ok(())).unwrap().rows), (3, 20_001));
}

#[test]
fn an_unlogged_table_has_no_rows_there() {
    require!(Capability::PrivateServer, Capability::ServerProgram("pg_basebackup"));
    let pair = Pair::shared();
    pair.database("unlogged", "CREATE UNLOGGED TABLE e AS SELECT 1 AS a");
    let error = refusal(pair.source("unlogged").table("e"));
    assert_error(&error, ErrorKind::Server, Some("0A000"), &["unlogged"]);
}

/// Formerly, the error spoke of the read-only transaction of an export.
#[test]
fn what_hands_out_pages_is_installed_on_the_primary() {
    require!(
        Capability::PrivateServer,
        Capability::ServerProgram("pg_basebackup"),
        Capability::VersionAtLeast(140_000)
    );
    let pair = Pair::shared();
    pair.database("installs", "SELECT 1");
    for sql in [install_pages_sql::<&str>(&[]).unwrap().as_str(), remove_pages_sql()] {
        let error = pair.source("installs").execute(sql).unwrap_err();
        assert_error(
            &error,
            ErrorKind::Server,
            Some("55000"),
            &["this server is a standby", "on its primary"],
        );
        assert!(!error.to_string().contains("read-only"), "{error}");
    }
}
