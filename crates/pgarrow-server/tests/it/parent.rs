//! Parents that end without running a destructor.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::{eventually, is_running, n_processes_of};

/// A process that has started a server: this test binary, in a test that only does something when asked to.
struct Parent {
    child: Child,
    folder: PathBuf,
    postmaster: u32,
}

impl Parent {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "parent::holds_a_server_when_asked_to", "--nocapture"])
            .env("PGARROW_TEST_HOLD", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(|line| line.unwrap())
            .find_map(|line| Some(line.split_once("holding ")?.1.to_owned()))
            .expect("the parent says what it holds");
        let (pid, folder) = line.split_once(' ').unwrap();
        Self { child, folder: PathBuf::from(folder), postmaster: pid.parse().unwrap() }
    }

    fn assert_nothing_is_left(&mut self) {
        self.child.wait().unwrap();
        eventually("PostgreSQL has ended", || !is_running(self.postmaster));
        eventually("the folder is removed", || !self.folder.exists());
        eventually("no process of it is left", || n_processes_of(&self.folder) == 0);
    }
}

/// Not a test of its own: the body of [`Parent`].
#[test]
fn holds_a_server_when_asked_to() {
    if std::env::var_os("PGARROW_TEST_HOLD").is_none() {
        return;
    }
    let server = pgarrow_server::Server::start(pgarrow_server::ServerOptions::new()).unwrap();
    println!("holding {} {}", server.postmaster_pid().unwrap(), server.socket_dir().display());
    // Ends when the other side goes away, by a way that runs no destructor.
    let _ = std::io::stdin().lines().next();
    std::process::exit(3);
}

#[test]
fn a_parent_that_is_killed_leaves_nothing() {
    let mut parent = Parent::start();
    assert!(is_running(parent.postmaster));
    assert!(parent.folder.exists());
    parent.child.kill().unwrap(); // SIGKILL
    parent.assert_nothing_is_left();
}

#[test]
fn a_parent_that_exits_without_destructors_leaves_nothing() {
    let mut parent = Parent::start();
    drop(parent.child.stdin.take());
    parent.assert_nothing_is_left();
}

#[test]
fn a_server_with_a_busy_client_still_ends_with_its_parent() {
    let mut parent = Parent::start();
    let port: u16 = std::fs::read_to_string(parent.folder.join("data/postmaster.pid"))
        .unwrap()
        .lines()
        .nth(3)
        .and_then(|line| line.parse().ok())
        .unwrap();
    let _client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    parent.child.kill().unwrap();
    parent.assert_nothing_is_left();
}
