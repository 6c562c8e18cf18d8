//! What remains in an embedding program after faults: its own threads and file descriptors, and no session on
//! the server.

use std::fs;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use pgarrow::{ErrorKind, ExportOptions, Source};
use pgarrow_testkit::{Capability, Database, Fault, Proxy, require};

use crate::support::{
    block_on, database, is_alone, read, source, this_thread_waker, url, wait_until, wait_until_no_sessions,
    with_parameter,
};

/// Enough for 70 batches of 100 rows, and for several slices.
const TABLE: &str =
    "CREATE TABLE t AS SELECT g AS a, md5(g::text) AS b FROM generate_series(1, 7000) AS g; ANALYZE t";
const ROWS: usize = 7000;

fn options(n_readers: usize) -> ExportOptions {
    ExportOptions::default().with_batch_rows(100).with_readers(n_readers).with_slice_bytes(64 << 10)
}

/// The server address in a URL, which the test's process has from its parent.
fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").unwrap();
    let authority = rest.split(['/', '?']).next().unwrap();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.to_socket_addrs().unwrap().next().unwrap()
}

/// Threads and open file descriptors of this process.
fn counts() -> (usize, usize) {
    let count = |folder| fs::read_dir(folder).map_or(0, Iterator::count);
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// G-10 and G-5: the same number of threads and descriptors as before, and nothing on the server.
#[track_caller]
fn assert_nothing_is_left(before: (usize, usize), database: &Database) {
    wait_until("threads and file descriptors are as many as before", || counts() == before);
    wait_until_no_sessions(database);
}

#[test]
fn two_hundred_places_to_drop_an_export_at() {
    require!(Capability::Server);
    if !is_alone("embedded_faults::two_hundred_places_to_drop_an_export_at") {
        return;
    }
    let database = database("drops", TABLE);
    let url = url(&database);
    let before = counts();
    let mut n_places = 0;
    for n_batches in 0..50 {
        for n_readers in [1, 3] {
            let source = Source::connect_blocking(&url).unwrap();
            let mut stream = block_on(source.table("t").options(options(n_readers)).stream()).unwrap();
            for _ in 0..n_batches {
                block_on(stream.next()).unwrap().unwrap();
            }
            drop(stream);
            let mut reader = source.table("t").options(options(n_readers)).reader().unwrap();
            for _ in 0..n_batches {
                reader.next().unwrap().unwrap();
            }
            drop((reader, source));
            n_places += 2;
            assert_nothing_is_left(before, &database);
        }
    }
    assert_eq!(n_places, 200);
    assert_eq!(read(source(&database).table("t")).unwrap().n_rows(), ROWS, "the next one is as good as ever");
}

/// Polls a future until something has happened, and drops it. Returns whether it was ready before.
fn poll_and_drop<F: Future>(future: F, mut has_happened: impl FnMut() -> bool) -> bool {
    let mut future = pin!(future);
    let waker = this_thread_waker();
    let mut is_ready = false;
    wait_until("it has come as far as it can", || {
        is_ready =
            is_ready || matches!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(_));
        is_ready || has_happened()
    });
    is_ready
}

#[test]
fn futures_that_are_dropped_while_the_network_is_frozen() {
    require!(Capability::Server);
    if !is_alone("embedded_faults::futures_that_are_dropped_while_the_network_is_frozen") {
        return;
    }
    let database = database("frozen", TABLE);
    let of_server = with_parameter(&url(&database), "sslmode=disable");
    let server = address(&of_server);
    let before = counts();
    let mut n_dropped = 0;
    for n_bytes in (0..2000).step_by(97) {
        let proxy = Proxy::start_with(server, move |_| Fault::FreezeAfterServerBytes(n_bytes));
        let url = proxy.url_of(&of_server);
        let is_ready = poll_and_drop(
            async {
                let source = Source::connect(&url).await?;
                source.table("t").options(options(1)).stream().await.map(drop)
            },
            || proxy.from_server_bytes() >= n_bytes && proxy.n_connections() > 0,
        );
        n_dropped += usize::from(!is_ready);
        drop(proxy);
        assert_nothing_is_left(before, &database);
    }
    assert!(n_dropped > 10, "{n_dropped}");
}

#[test]
fn connections_that_break_anywhere_leave_nothing_in_the_process() {
    require!(Capability::Server);
    if !is_alone("embedded_faults::connections_that_break_anywhere_leave_nothing_in_the_process") {
        return;
    }
    let database = database("broken", TABLE);
    let of_server = with_parameter(&url(&database), "sslmode=disable");
    let server = address(&of_server);
    let before = counts();
    for n_readers in [1, 3] {
        for n_bytes in (0..12_000).step_by(431) {
            for fault in [Fault::CloseAfterServerBytes(n_bytes), Fault::ResetAfterServerBytes(n_bytes)] {
                let proxy = Proxy::start_with(server, move |_| fault);
                let options = options(n_readers).with_retries(1);
                let result = Source::connect_blocking(&proxy.url_of(&of_server))
                    .and_then(|source| read(source.table("t").options(options)))
                    .map(|export| export.n_rows());
                drop(proxy);
                match result {
                    // A reader with short slices may have finished.
                    Ok(n_rows) => assert_eq!(n_rows, ROWS, "{fault:?}"),
                    Err(error) => {
                        let kind = error.kind();
                        assert!(
                            matches!(kind, ErrorKind::Connection | ErrorKind::Protocol),
                            "{fault:?}: {error}"
                        );
                    }
                }
                assert_nothing_is_left(before, &database);
            }
        }
    }
}
