//! Start, stop, crash, restart, and what is left afterwards.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pgarrow_server::{Installation, Server, ServerError, ServerOptions, find_or_fetch};

use crate::{eventually, is_running, n_processes_of};

/// The tag of the first message that answers a startup request.
fn first_answer(server: &Server) -> Option<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).ok()?;
    let body = b"\0\x03\0\0user\0postgres\0\0";
    let length = u32::try_from(body.len() + 4).unwrap();
    stream.write_all(&[&length.to_be_bytes(), &body[..]].concat()).ok()?;
    let mut tag = [0];
    stream.read_exact(&mut tag).ok()?;
    Some(tag[0])
}

#[test]
fn a_stopped_server_leaves_no_folder_and_no_process() {
    let server = Server::start(ServerOptions::new()).unwrap();
    let folder = server.socket_dir().to_owned();
    let pid = server.postmaster_pid().unwrap();
    assert_eq!(first_answer(&server), Some(b'R'));
    assert!(server.url().contains(&server.port().to_string()));
    assert!(server.version_num() >= 100_000);
    assert!(server.log().contains("ready to accept connections"), "{}", server.log());
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(is_running(pid));
    assert!(n_processes_of(&folder) > 0);

    server.stop().unwrap();
    assert!(!folder.exists());
    assert!(!is_running(pid));
    eventually("the supervisor's helpers are gone", || n_processes_of(&folder) == 0);
}

#[test]
fn a_dropped_server_leaves_nothing_even_with_a_client_connected() {
    let server = Server::start(ServerOptions::new()).unwrap();
    let folder = server.socket_dir().to_owned();
    let pid = server.postmaster_pid().unwrap();
    let _client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    drop(server);
    assert!(!folder.exists());
    assert!(!is_running(pid));
}

#[test]
fn two_servers_at_once() {
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| Server::start(ServerOptions::new()).unwrap());
        let two = Server::start(ServerOptions::new()).unwrap();
        (one.join().unwrap(), two)
    });
    assert_ne!(one.port(), two.port());
    one.stop().unwrap();
    assert_eq!(first_answer(&two), Some(b'R'));
}

#[test]
fn a_crash_ends_it_for_good() {
    let mut server = Server::start(ServerOptions::new()).unwrap();
    let folder = server.socket_dir().to_owned();
    server.kill().unwrap();
    assert!(!folder.exists());
    assert_eq!(first_answer(&server), None);
    assert_eq!(server.postmaster_pid(), None);
    assert!(server.kill().is_err());
}

#[test]
fn a_crash_and_a_restart_keep_the_port_and_the_data() {
    let mut server = Server::start(ServerOptions::new()).unwrap();
    let (port, pid) = (server.port(), server.postmaster_pid());
    let mark = server.data_dir().join("mark");
    fs::write(&mark, "").unwrap();
    server.crash_and_restart().unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.postmaster_pid(), pid);
    assert!(mark.exists());
    assert_eq!(first_answer(&server), Some(b'R'));
    // Only once: no start follows the next crash.
    server.kill().unwrap();
    assert!(!mark.exists());
}

#[test]
fn a_server_that_ends_by_itself_is_cleaned_up() {
    let server = Server::start(ServerOptions::new()).unwrap();
    server.signal("KILL").unwrap();
    eventually("the folder is removed", || !server.socket_dir().exists());
}

#[test]
fn a_setting_that_is_wrong_shows_up_in_the_error() {
    let folder = match Server::start(ServerOptions::new().setting("shared_buffers", "nonsense")) {
        Err(ServerError::Start { log, .. }) => log,
        other => panic!("{other:?}"),
    };
    assert!(folder.contains("shared_buffers"), "{folder}");
}

#[test]
fn settings_rules_and_files_are_in_place() {
    let options = ServerOptions::new()
        .password("p w'\"/%")
        .shared_buffers("16MB")
        .setting("application_name", "it's")
        .hba("host all nobody_there 127.0.0.1/32 reject")
        .file("extra.key", "secret");
    let server = Server::start(options).unwrap();
    let read = |name: &str| fs::read_to_string(server.data_dir().join(name)).unwrap();
    assert!(read("pg_hba.conf").starts_with("host all nobody_there 127.0.0.1/32 reject\n"));
    assert!(read("pg_hba.conf").contains("scram-sha-256"));
    assert!(!read("pg_hba.conf").lines().any(|line| !line.starts_with('#') && line.contains("trust")));
    assert_eq!(read("extra.key"), "secret");
    let mode = fs::metadata(server.data_dir().join("extra.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!server.socket_dir().join("password").exists());
    assert!(server.url().starts_with("postgres://postgres:p%20w%27%22%2F%25@127.0.0.1:"), "{}", server.url());
}

#[test]
fn a_folder_without_postgresql_is_refused() {
    match Installation::at("/nonexistent/bin") {
        Err(ServerError::Installation { reason, .. }) => assert!(reason.contains("postgres"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let installation = find_or_fetch().unwrap();
    assert!(Installation::at(&installation.bin).is_ok());
}

/// Each `initdb` gives its cluster an identifier, which is first in `pg_control`.
#[test]
fn servers_of_a_cache_share_one_initdb() {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clusters-{}", std::process::id()));
    fs::create_dir(&cache).unwrap();
    let identifier = |server: &Server| {
        let control = fs::read(server.data_dir().join("global/pg_control")).unwrap();
        control[..8].to_vec()
    };
    let options = || ServerOptions::new().cluster_cache(&cache);
    let first = Server::start(options()).unwrap();
    let second = Server::start(options().setting("max_connections", "7")).unwrap();
    assert_eq!(identifier(&first), identifier(&second));
    assert_ne!(first.data_dir(), second.data_dir());
    // Settings of one server are not kept for the next.
    let conf = fs::read_to_string(first.data_dir().join("postgresql.conf")).unwrap();
    assert!(!conf.contains("'7'"));

    let with_password = Server::start(options().password("secret")).unwrap();
    assert_ne!(identifier(&with_password), identifier(&first), "a password is part of a cluster");
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    fs::remove_dir_all(&cache).unwrap();
}
