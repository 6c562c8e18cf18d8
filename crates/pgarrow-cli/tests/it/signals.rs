//! Signals: the first asks for an orderly end, the second ends the process.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Child;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgarrow_testkit::{Capability, Fault, Proxy, TestServer, require};
use tempfile::TempDir;

use crate::support::{ENDLESS, Place, assert_cancelled, command, end_of, eventually, names, start};

pub(crate) fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn a_signal_in_the_middle_leaves_nothing_here_or_there() {
    require!(Capability::Server);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let place = Place::new("interrupted");
        let child = place.start_copy(&["-q", ENDLESS, "-o", "x.parquet", "--report", "r.json"]);
        assert_eq!(place.names().len(), 2, "two temporary files: {:?}", place.names());
        send(&child, signal);
        let ran = end_of(child, 30);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert_cancelled(&ran, signal.as_str());
        assert_eq!(place.names(), ["r.json"]);
        let report: serde_json::Value =
            serde_json::from_slice(&std::fs::read(place.path("r.json")).unwrap()).unwrap();
        assert_eq!((&report["exit_code"], &report["error"]["kind"]), (&code.into(), &"cancelled".into()));
        let says = format!("cancelled by {} from process {} (", signal.as_str(), std::process::id());
        assert!(report["error"]["text"].as_str().unwrap().starts_with(&says), "{report}");
        eventually("the server has stopped", || place.database.n_sessions("pgarrow") == 0);
    }
}

#[test]
fn a_signal_while_a_lock_is_waited_for() {
    require!(Capability::Server);
    let place = Place::new("locked");
    place.database.execute("CREATE TABLE t (a int)");
    let mut client = place.database.client();
    let mut transaction = client.transaction().unwrap();
    transaction.batch_execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE").unwrap();
    let child = start(&mut place.export_command(&["-t", "t", "-o", "x.parquet"]));
    eventually("it waits", || place.counts("wait_event_type = 'Lock'") == 1);
    send(&child, Signal::SIGINT);
    let ran = end_of(child, 30);
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(place.names().is_empty(), "{:?}", place.names());
    transaction.rollback().unwrap();
}

#[test]
fn a_signal_while_a_server_takes_its_time_to_let_us_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = TempDir::new().unwrap();
    let url = format!("postgres://u@127.0.0.1:{port}/d");
    let child = start(command(folder.path()).args(["export", &url, "-t", "t", "-o", "x.parquet"]));
    let _connection = listener.accept().unwrap();
    assert_eq!(names(folder.path()).len(), 1);
    send(&child, Signal::SIGINT);
    assert_eq!(end_of(child, 30).code, Some(130));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_signal_while_the_network_is_dead_and_a_second_one() {
    require!(Capability::PrivateServer);
    let server_port = TestServer::shared().private().unwrap().port();
    for (is_sent_twice, output) in [(false, "x.parquet"), (true, "x.parquet"), (true, "out/")] {
        let place = Place::new("frozen");
        let proxy = Proxy::start(server_port, Fault::FreezeAfterServerBytes(1_000_000));
        let url = proxy.url_of(place.database.url());
        let args = ["export", &url, "-q", ENDLESS, "-o", output, "--report", "r.json"];
        let mut child = start(command(place.folder.path()).args(args));
        eventually("it is frozen", || proxy.from_server_bytes() >= 1_000_000);
        send(&child, Signal::SIGINT);
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        assert_eq!(line, "pgarrow: cancelling…\n");
        let started = Instant::now();
        if is_sent_twice {
            send(&child, Signal::SIGINT);
        }
        let ran = end_of(child, 30);
        assert_eq!(ran.code, Some(130), "{ran:?}");
        // After the first signal alone, it waits for five seconds.
        assert!(!is_sent_twice || started.elapsed().as_secs() < 4, "{:?}", started.elapsed());
        // A run that exits at once writes a report, too.
        assert_eq!(place.names(), ["r.json"]);
        let report = std::fs::read_to_string(place.path("r.json")).unwrap();
        assert!(report.contains("cancelled by SIGINT from process "), "{report}");
    }
}
