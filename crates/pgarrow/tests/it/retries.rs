//! What is tried again, and how often: lost connections, and connections that are not available yet.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use pgarrow::{Cancel, Config, Error, ErrorKind, ExportOptions, Source};
use pgarrow_testkit::{Capability, Chance, Database, Fault, Proxy, TestServer, require};

use crate::support::{
    APPLICATION, PATIENCE, database, read, source, url, wait_until, wait_until_no_sessions, with_parameter,
};

const N_ROWS: i32 = 30_000;

/// Some 4 MB on 500 pages.
fn table() -> String {
    format!("CREATE TABLE e AS SELECT g AS a, repeat('x', 100) AS b FROM generate_series(1, {N_ROWS}) AS g")
}

/// The number of runs with random faults. Each is short; a few find frequent errors, hundreds find those that
/// need a rare order of events.
fn n_runs() -> usize {
    std::env::var("PGARROW_TEST_RETRY_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Connections break at random places: every row arrives once, however often they break.
#[test]
fn faults_of_connections_lose_and_double_no_row() {
    require!(Capability::PrivateServer);
    let database = database("retries", &table());
    let port = TestServer::shared().private().unwrap().port();
    let (mut n_retries, mut n_faults) = (0, 0);
    for run in 0..n_runs() {
        let faults = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&faults);
        let fault = move |index: usize| {
            // The first connection is the keeper's: without it, no retry helps.
            let mut chance = Chance::new((run * 1000 + index) as u64);
            if index == 0 || !chance.is(30) {
                return Fault::None;
            }
            counted.fetch_add(1, Ordering::Relaxed);
            let n_bytes = chance.within(0, 1_500_000);
            match chance.is(50) {
                true => Fault::CloseAfterServerBytes(n_bytes),
                false => Fault::ResetAfterServerBytes(n_bytes),
            }
        };
        let proxy = Proxy::start_with((Ipv4Addr::LOCALHOST, port).into(), fault);
        let url = with_parameter(&proxy.url_of(&url(&database)), "sslmode=disable");
        let options = ExportOptions::default()
            .with_readers(3)
            .with_slice_bytes(512 << 10)
            .with_batch_rows(1000)
            .with_retries(8);
        let mut rows: Vec<i32> = Vec::new();
        let source = Source::connect_blocking(&url).unwrap();
        let report = source.table("e").options(options).open().unwrap().for_each(|batch| {
            rows.extend(batch.column(0).as_primitive::<Int32Type>().values());
            Ok(())
        });
        let report = report.unwrap_or_else(|error| panic!("run {run}: {error}"));
        rows.sort_unstable();
        assert!(rows.iter().copied().eq(1..=N_ROWS), "run {run}: {} rows", rows.len());
        assert_eq!(report.rows, N_ROWS as u64, "run {run}");
        assert!(report.retries >= report.slices_redone, "run {run}");
        n_retries += report.retries;
        n_faults += faults.load(Ordering::Relaxed);
    }
    assert!(n_faults > 0 && n_retries > 0, "{n_faults} faults, {n_retries} retries");
    wait_until_no_sessions(&database);
}

fn end_sessions(database: &Database) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name = $1";
    database.client().query(sql, &[&APPLICATION]).unwrap();
    wait_until_no_sessions(database);
}

/// If the keeper and its snapshot are lost, the server refuses readers, but the reported failure is that of
/// the keeper. The keeper is lost when a reader's connection arrives and before it reaches the server: the
/// first reader's, or that of a retry.
#[test]
fn a_reader_that_is_refused_since_the_keeper_is_lost_says_so() {
    require!(Capability::PrivateServer);
    let database = database("keeper lost", &table());
    let port = TestServer::shared().private().unwrap().port();
    for (n_before, is_reset) in [(1, true), (1, false), (3, true), (3, false)] {
        let (comes, came) = mpsc::channel();
        let (goes_on, may_go_on) = mpsc::channel::<()>();
        let proxy = Proxy::start_with((Ipv4Addr::LOCALHOST, port).into(), move |number| {
            if number == n_before {
                comes.send(()).unwrap();
                // Until the other end is dropped.
                let _ = may_go_on.recv();
            }
            match (1..n_before).contains(&number) {
                // In the middle of a slice.
                true => Fault::CloseAfterServerBytes(50_000),
                false => Fault::None,
            }
        });
        let url = with_parameter(&proxy.url_of(&url(&database)), "sslmode=disable");
        let options = ExportOptions::default().with_readers(2).with_slice_bytes(512 << 10).with_retries(8);
        let source = Source::connect_blocking(&url).unwrap();
        let run = source.table("e").options(options).open().unwrap();
        let error = thread::scope(|scope| {
            let running = scope.spawn(|| run.for_each(|_| Ok(())).unwrap_err());
            came.recv_timeout(PATIENCE).unwrap();
            match is_reset {
                true => proxy.reset_all(),
                false => end_sessions(&database),
            }
            wait_until_no_sessions(&database);
            drop(goes_on);
            running.join().unwrap()
        });
        for words in ["the connection that holds the snapshot was lost", "run the export again"] {
            assert!(error.to_string().contains(words), "{n_before}, {is_reset}: {error}");
        }
        match error.sqlstate() {
            // The server's message to the keeper, if it still arrived.
            Some("57P01") if !is_reset => {}
            _ => assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Connection, None), "{error}"),
        }
    }
    wait_until_no_sessions(&database);
}

#[test]
fn a_kept_session_that_was_ended_meanwhile_is_replaced() {
    require!(Capability::Server);
    let database = database("idle", "CREATE TABLE e AS SELECT 1 AS a");
    let kept = source(&database);
    end_sessions(&database);
    assert_eq!(read(kept.table("e")).unwrap().lines(), ["1"]);
    // The same if the source is not new any more, and for async code.
    let kept = source(&database);
    end_sessions(&database);
    let stream = crate::support::block_on(kept.table("e").stream()).unwrap();
    drop(stream);
}

#[test]
fn a_kept_session_whose_connection_is_gone_without_a_word_is_replaced() {
    require!(Capability::PrivateServer);
    let database = database("idle gone", "CREATE TABLE e AS SELECT 1 AS a");
    let port = TestServer::shared().private().unwrap().port();
    let clean = Proxy::start(port, Fault::None);
    let of = |proxy: &Proxy| with_parameter(&proxy.url_of(&url(&database)), "sslmode=disable");
    drop(Source::connect_blocking(&of(&clean)).unwrap());
    // The proxy counts bytes after passing them on.
    wait_until_no_sessions(&database);
    let login_bytes = clean.from_server_bytes();
    // The first connection freezes after its login; the second one works.
    let frozen = Proxy::start_with((Ipv4Addr::LOCALHOST, port).into(), move |index| match index {
        0 => Fault::FreezeAfterServerBytes(login_bytes),
        _ => Fault::None,
    });
    let kept = Source::connect_blocking(&with_parameter(&of(&frozen), "connect_timeout=30")).unwrap();
    // Older than a session that is used without a check.
    let since = Instant::now();
    wait_until("it is old", || since.elapsed() > Duration::from_millis(1100));
    assert_eq!(read(kept.table("e")).unwrap().lines(), ["1"]);
    assert!(frozen.n_connections() >= 2);
}

#[test]
fn a_kept_session_that_idled_for_too_long_is_replaced() {
    require!(Capability::VersionAtLeast(140_000));
    let database = database("idle timeout", "CREATE TABLE e AS SELECT 1 AS a");
    database.execute(&format!("ALTER DATABASE \"{}\" SET idle_session_timeout = '100ms'", database.name()));
    let kept = source(&database);
    wait_until_no_sessions(&database);
    assert_eq!(read(kept.table("e")).unwrap().lines(), ["1"]);
}

/// In front of a real server: refuses the first connections with an error, and passes the others on.
struct Busy {
    address: SocketAddr,
    n_connections: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Busy {
    fn start(n_refused: usize, sqlstate: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let port = TestServer::shared().private().unwrap().port();
        let (n_connections, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, over) = (Arc::clone(&n_connections), Arc::clone(&is_over));
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                match counted.fetch_add(1, Ordering::AcqRel) < n_refused {
                    true => refuse(&client, sqlstate).unwrap(),
                    false => pass_on(client, TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()),
                }
            }
        });
        Self { address, n_connections, is_over }
    }

    fn connect(&self, database: &Database, timeout: Option<Duration>) -> Result<Source, Error> {
        let (front, rest) = database.url().split_once('@').unwrap();
        let path = rest.find('/').unwrap();
        let url = format!("{front}@{}{}?sslmode=disable", self.address, &rest[path..]);
        let config = Config::parse(Some(&url))?.with_connect_timeout(timeout);
        Source::connect_blocking_with(config, Cancel::new())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

fn refuse(mut client: &TcpStream, sqlstate: &str) -> io::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    client.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4])?;
    let body = format!("SFATAL\0VFATAL\0C{sqlstate}\0Mnot yet\0\0");
    client.write_all(&crate::liar::message(b'E', body.as_bytes()))
}

fn pass_on(client: TcpStream, server: TcpStream) {
    let (client_end, server_end) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    for (mut from, mut to) in [(client, server_end), (server, client_end)] {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}

#[test]
fn a_server_that_starts_up_is_asked_again_while_there_is_time() {
    require!(Capability::PrivateServer);
    let database = database("starting", "CREATE TABLE e AS SELECT 1 AS a");
    for sqlstate in ["57P03", "53300"] {
        let busy = Busy::start(2, sqlstate);
        let source = busy.connect(&database, Some(Duration::from_secs(60))).unwrap();
        assert_eq!(busy.n_connections.load(Ordering::Acquire), 3, "{sqlstate}");
        // The time that the first attempts used does not reduce later timeouts.
        assert_eq!(source.config().connect_timeout(), Some(Duration::from_secs(60)));
        assert_eq!(read(source.table("e")).unwrap().lines(), ["1"]);
        // Without a connect timeout: the error comes at once, as in psql.
        let busy = Busy::start(2, sqlstate);
        let error = busy.connect(&database, None).unwrap_err();
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some(sqlstate)), "{error}");
        assert_eq!(busy.n_connections.load(Ordering::Acquire), 1, "{sqlstate}");
    }
}

#[test]
fn the_connect_timeout_wins_over_trying_again() {
    require!(Capability::PrivateServer);
    let database = database("never", "");
    let busy = Busy::start(usize::MAX, "57P03");
    let started = Instant::now();
    let error = busy.connect(&database, Some(Duration::from_secs(1))).unwrap_err();
    assert_eq!(error.sqlstate(), Some("57P03"), "{error}");
    assert!(error.to_string().contains("the connect timeout has passed"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
    let n_connections = busy.n_connections.load(Ordering::Acquire);
    assert!((2..=6).contains(&n_connections), "{n_connections}");
}

#[test]
fn what_a_server_refuses_is_not_tried_again() {
    require!(Capability::PrivateServer);
    let database = database("refused", "");
    for sqlstate in ["28P01", "28000", "3D000", "42501", "0A000", "57014", "53200", "XX000"] {
        let busy = Busy::start(usize::MAX, sqlstate);
        let error = busy.connect(&database, Some(Duration::from_secs(60))).unwrap_err();
        assert_eq!(error.sqlstate(), Some(sqlstate), "{error}");
        assert_eq!(busy.n_connections.load(Ordering::Acquire), 1, "{sqlstate}");
    }
}

#[test]
fn a_cancel_ends_the_wait_for_a_server_that_starts_up() {
    require!(Capability::PrivateServer);
    let database = database("starting cancel", "");
    let busy = Busy::start(usize::MAX, "57P03");
    let (front, rest) = database.url().split_once('@').unwrap();
    let url = format!("{front}@{}{}?sslmode=disable", busy.address, &rest[rest.find('/').unwrap()..]);
    let config = Config::parse(Some(&url)).unwrap().with_connect_timeout(Some(Duration::from_secs(600)));
    let cancel = Cancel::new();
    let error = thread::scope(|scope| {
        let connecting = scope.spawn(|| Source::connect_blocking_with(config, cancel.clone()).unwrap_err());
        wait_until("it has been refused", || busy.n_connections.load(Ordering::Acquire) > 0);
        cancel.cancel();
        connecting.join().unwrap()
    });
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
}
