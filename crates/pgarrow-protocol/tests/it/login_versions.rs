//! Protocol 3.2: requested, agreed on, refused, and its longer keys.

use pgarrow_protocol::{Canceller, Error, ErrorKind, Session};

use crate::script::{Server, Step, message, ready, welcome};

/// The server's NegotiateProtocolVersion.
fn negotiate(version: u32, options: &[&str]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend_from_slice(&u32::try_from(options.len()).unwrap().to_be_bytes());
    for option in options {
        body.extend_from_slice(option.as_bytes());
        body.push(0);
    }
    message(b'v', &body)
}

fn login(parameters: &str, answer: Vec<u8>) -> Result<Session, Error> {
    let server = Server::start(vec![vec![Step::ExpectUntagged, Step::Slices(1, answer)]]);
    let result = Session::connect(&server.config_with(&format!("sslmode=disable {parameters}")));
    server.join();
    result
}

const V3_0: u32 = 3 << 16;

#[test]
fn an_older_server_may_ask_for_3_0() {
    // The full number, as servers send it, and the minor version, as the documentation said.
    for version in [V3_0, 0] {
        let answer = [negotiate(version, &[]), welcome()].concat();
        let session = login("max_protocol_version=3.2", answer).unwrap();
        assert_eq!((session.backend_pid(), session.server_version_num()), (Some(7), 150_018));
    }
}

#[test]
fn a_server_older_than_wanted_is_refused_with_both_versions() {
    let answer = [negotiate(V3_0, &[]), welcome()].concat();
    let error = login("max_protocol_version=3.2 min_protocol_version=3.2", answer).unwrap_err();
    assert!(error.to_string().contains("speaks protocol 3.0 and min_protocol_version is 3.2"), "{error}");
}

///
#[test]
fn negotiations_that_make_no_sense() {
    let twice = [negotiate(V3_0, &[]), negotiate(V3_0, &[])].concat();
    let late = [message(b'R', &[0; 4]), negotiate(V3_0, &[])].concat();
    for (name, parameters, bytes) in [
        ("3.0 to 3.0", "", negotiate(V3_0, &[])),
        ("newer than asked", "", negotiate(V3_0 + 2, &[])),
        ("3.2 to 3.2", "max_protocol_version=3.2", negotiate(V3_0 + 2, &[])),
        ("3.1 never was", "max_protocol_version=3.2", negotiate(V3_0 + 1, &[])),
        ("3.3", "max_protocol_version=3.2", negotiate(V3_0 + 3, &[])),
        ("4.0", "max_protocol_version=3.2", negotiate(4 << 16, &[])),
        ("2.0", "max_protocol_version=3.2", negotiate(2 << 16, &[])),
        ("options", "max_protocol_version=3.2", negotiate(V3_0, &["_pq_.x"])),
        ("other options", "max_protocol_version=3.2", negotiate(V3_0, &["user"])),
        ("twice", "max_protocol_version=3.2", twice),
        ("after authentication", "max_protocol_version=3.2", late),
    ] {
        let error = login(parameters, [bytes, welcome()].concat()).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Protocol, "{name}: {error}");
    }
}

/// W-21.
#[test]
fn a_server_that_never_heard_of_3_2() {
    let complaint = |state: &str| message(b'E', format!("SFATAL\0C{state}\0Mno\0\0").as_bytes());
    for (answer, kind) in [
        (Vec::new(), ErrorKind::Closed),
        (complaint("0A000"), ErrorKind::Server),
        (complaint("08P01"), ErrorKind::Server),
    ] {
        let error = login("max_protocol_version=3.2", answer.clone()).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains("max_protocol_version"), "{error}");
        let error = login("", answer).unwrap_err();
        assert!(!error.to_string().contains("max_protocol_version"), "{error}");
    }
    let error = login("max_protocol_version=3.2", complaint("28000")).unwrap_err();
    assert_eq!((error.sqlstate(), error.to_string().contains("max_protocol")), (Some("28000"), false));
}

///
#[test]
fn keys_of_3_2_may_be_long() {
    let answer = |n_bytes: usize| {
        let key = [vec![0, 0, 0, 7], vec![5; n_bytes]].concat();
        [message(b'R', &[0; 4]), message(b'K', &key), ready(b'I')].concat()
    };
    for (n_bytes, is_fine_in_3_0, is_fine_in_3_2) in [
        (0, false, false),
        (3, false, false),
        (4, true, true),
        (32, false, true),
        (256, false, true),
        (257, false, false),
    ] {
        assert_eq!(login("", answer(n_bytes)).is_ok(), is_fine_in_3_0, "{n_bytes}");
        assert_eq!(login("max_protocol_version=3.2", answer(n_bytes)).is_ok(), is_fine_in_3_2, "{n_bytes}");
        // The agreed version counts, not the requested one.
        let agreed = [negotiate(V3_0, &[]), answer(n_bytes)].concat();
        assert_eq!(login("max_protocol_version=3.2", agreed).is_ok(), is_fine_in_3_0, "{n_bytes}");
    }
}

#[test]
fn a_long_key_is_shown_to_cancel() {
    let key = [vec![0, 0, 0, 7], vec![5; 32]].concat();
    let request = [&[0, 0, 0, 44, 4, 0xd2, 0x16, 0x2e][..], &key].concat();
    let server = Server::start(vec![
        vec![
            Step::ExpectUntagged,
            Step::Send([message(b'R', &[0; 4]), message(b'K', &key), ready(b'I')].concat()),
        ],
        vec![Step::ExpectBytes(request)],
    ]);
    let config = server.config_with("sslmode=disable max_protocol_version=3.2");
    let session = Session::connect(&config).unwrap();
    assert!(!format!("{session:?}").contains("5, 5"), "the secret is not shown");
    session.canceller().cancel(Canceller::DEADLINE).unwrap();
    server.join();
}
