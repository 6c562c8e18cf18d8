//! Waiting for something that happens in another process or thread.

use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

/// How long a test waits for what must happen. Many tests share few cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so that must become so.
///
/// # Panics
///
/// When it is not so within a minute.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a server that was made to crash takes sessions again. `witness` is a session from before the
/// crash: until it has ended, the server has not noticed, and would end a session that begins now.
///
/// # Panics
///
/// When the server is not back within two minutes.
#[track_caller]
pub fn until_restarted(mut witness: Client, url: &str) {
    eventually("the server has ended all sessions", || witness.simple_query("SELECT 1").is_err());
    eventually("the server is back", || {
        Client::connect(url, NoTls).is_ok_and(|mut client| client.simple_query("SELECT 1").is_ok())
    });
}
