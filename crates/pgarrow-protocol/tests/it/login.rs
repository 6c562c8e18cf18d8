//! Startup, TLS negotiation and authentication, with servers that lie.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use pgarrow_protocol::{Canceller, Error, ErrorKind, Session, SslMode};

use crate::script::{Server, Step, message, read_message, ready, welcome};

fn login(steps: Vec<Step>) -> Result<Session, Error> {
    let mut script = vec![Step::ExpectUntagged];
    script.extend(steps);
    let server = Server::start(vec![script]);
    let result = Session::connect(&server.config());
    server.join();
    result
}

fn authentication(method: i32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&method.to_be_bytes()[..], rest].concat())
}

#[test]
fn methods_that_are_not_supported_are_named() {
    for (request, word) in [
        (authentication(2, b""), "Kerberos 5"),
        (authentication(7, b""), "GSSAPI"),
        (authentication(9, b""), "SSPI"),
        (authentication(99, b""), "method 99"),
        (authentication(10, b"SCRAM-SHA-1\0OAUTHBEARER\0\0"), "SCRAM-SHA-1, OAUTHBEARER"),
        // A server can only make this offer on another connection, with TLS.
        (authentication(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"), "without TLS"),
        (authentication(10, b"\x1b[31m\0\0"), "\\u{1b}"),
    ] {
        let error = login(vec![Step::Send(request)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn startups_that_break_the_protocol() {
    let ok = authentication(0, b"");
    for (name, bytes, kind) in [
        ("data", message(b'D', b""), ErrorKind::Protocol),
        ("ready without authentication", ready(b'I'), ErrorKind::Protocol),
        ("short authentication", message(b'R', b"\0"), ErrorKind::Protocol),
        ("SASL out of nothing", authentication(12, b"v=x"), ErrorKind::Protocol),
        ("short key", [ok.clone(), message(b'K', &[0; 7])].concat(), ErrorKind::Protocol),
        ("long key", [ok.clone(), message(b'K', &[0; 12])].concat(), ErrorKind::Protocol),
        (
            "two keys",
            [ok.clone(), message(b'K', &[0; 8]), message(b'K', &[0; 8])].concat(),
            ErrorKind::Protocol,
        ),
        ("negotiation that nobody needs", message(b'v', &[0, 3, 0, 0, 0, 0, 0, 0]), ErrorKind::Protocol),
        ("negotiation after it", [ok.clone(), message(b'v', &[0; 8])].concat(), ErrorKind::Protocol),
        ("huge negotiation", message(b'v', &[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]), ErrorKind::Protocol),
        ("negotiation twice", [message(b'v', &[0; 8]), message(b'v', &[0; 8])].concat(), ErrorKind::Protocol),
        (
            "float timestamps",
            [ok.clone(), message(b'S', b"integer_datetimes\0off\0"), ready(b'I')].concat(),
            ErrorKind::Protocol,
        ),
        (
            "LATIN1",
            [ok.clone(), message(b'S', b"client_encoding\0LATIN1\0"), ready(b'I')].concat(),
            ErrorKind::Protocol,
        ),
        ("closed", Vec::new(), ErrorKind::Closed),
        ("closed after Ok", ok, ErrorKind::Closed),
        ("refused", message(b'E', b"SFATAL\0C28000\0Mno\0\0"), ErrorKind::Server),
        ("refused without a word", message(b'E', b""), ErrorKind::Server),
    ] {
        assert_eq!(login(vec![Step::Send(bytes)]).expect_err(name).kind(), kind, "{name}");
    }
}

#[test]
fn lengths_that_cannot_be_true() {
    for tag in *b"RKSZCDTtdcHGWENA123nIsvV\0\xff" {
        for length in [0_u32, 1, 3, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            let mut bytes = vec![tag];
            bytes.extend_from_slice(&length.to_be_bytes());
            let error = login(vec![Step::Send(bytes)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains("lost sync"), "{error}");
        }
    }
}

#[test]
fn md5_known_answer() {
    // 'md5' || md5(md5('pencil' || 'u') || 'abcd'), computed with md5sum
    let server = Server::start(vec![vec![
        Step::ExpectUntagged,
        Step::Send(authentication(5, b"abcd")),
        Step::ExpectBytes(message(b'p', format!("{MD5_ANSWER}\0").as_bytes())),
        Step::Send(welcome()),
    ]]);
    Session::connect(&server.config()).unwrap();
    server.join();
}

const MD5_ANSWER: &str = "md5243e4910bc512d5c2c7b967cf41d160e";

#[test]
fn cleartext_is_answered_and_warned_about() {
    let server = Server::start(vec![vec![
        Step::ExpectUntagged,
        Step::Send(authentication(3, b"")),
        Step::ExpectBytes(message(b'p', b"pencil\0")),
        Step::Send(welcome()),
    ]]);
    let session = Session::connect(&server.config()).unwrap();
    assert!(session.warnings().iter().any(|warning| warning.contains("clear text")));
    assert!(!format!("{session:?} {}", session.config()).contains("pencil"));
    server.join();
}

/// The server's first SCRAM message, with the client's nonce continued.
fn challenge(stream: &mut TcpStream) {
    let (_, body) = read_message(stream).unwrap();
    let text = String::from_utf8_lossy(&body).into_owned();
    let nonce = text.split("r=").nth(1).unwrap();
    let first = format!("r={nonce}server,s=c2FsdA==,i=4096");
    stream.write_all(&authentication(11, first.as_bytes())).unwrap();
    read_message(stream).unwrap();
}

#[test]
fn a_server_that_cannot_prove_itself_is_not_trusted() {
    let offer = || Step::Send(authentication(10, b"SCRAM-SHA-256\0\0"));
    let signature = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (name, steps, word) in [
        (
            "Ok at once",
            vec![offer(), Step::Expect(b'p'), Step::Send(welcome())],
            "left out its SCRAM challenge",
        ),
        ("Ok before the signature", vec![offer(), Step::Run(challenge), Step::Send(welcome())], "skipped"),
        (
            "wrong signature",
            vec![
                offer(),
                Step::Run(challenge),
                Step::Send(authentication(12, signature)),
                Step::Send(welcome()),
            ],
            "could not prove",
        ),
        (
            "error",
            vec![offer(), Step::Run(challenge), Step::Send(authentication(12, b"e=other\x1b[31m"))],
            "reports an error of SCRAM: other\\u{1b}",
        ),
        (
            "foreign nonce",
            vec![offer(), Step::Expect(b'p'), Step::Send(authentication(11, b"r=x,s=c2FsdA==,i=4096"))],
            "does not continue ours",
        ),
        (
            "nonsense",
            vec![offer(), Step::Expect(b'p'), Step::Send(authentication(11, b"\xff\x1b"))],
            "malformed",
        ),
    ] {
        let error = login(steps).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Auth, "{name}");
        assert!(error.to_string().contains(word), "{name}: {error}");
        assert!(!error.to_string().contains("pencil"));
    }
}

/// The postmaster's message when it cannot start another process: an error of the protocol before 7.4,
/// without a length.
#[test]
fn an_error_without_a_length_is_a_server_that_could_not_start_a_session() {
    let text = b"Ecould not fork new process for connection: call +1 555\n\0".to_vec();
    let error = login(vec![Step::Send(text)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(!error.to_string().contains("call"), "{error}");
}

#[test]
fn answers_to_the_request_for_tls() {
    let fake_error = message(b'E', b"SFATAL\0C00000\0Mcall +1 555 \x1b[31m\0\0");
    let appended = [b"S".to_vec(), welcome()].concat();
    for (sslmode, answer, kind) in [
        (SslMode::Require, b"N".to_vec(), ErrorKind::Tls),
        // From a server that cannot start another process now, and may later.
        (SslMode::Require, fake_error.clone(), ErrorKind::Closed),
        (SslMode::Prefer, fake_error, ErrorKind::Closed),
        (SslMode::Require, b"x".to_vec(), ErrorKind::Protocol),
        (SslMode::Prefer, b"x".to_vec(), ErrorKind::Protocol),
        (SslMode::Require, appended, ErrorKind::Tls),
        (SslMode::Require, Vec::new(), ErrorKind::Closed),
    ] {
        let server = Server::start(vec![vec![
            Step::ExpectBytes(b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()),
            Step::Send(answer),
        ]]);
        let error = Session::connect(&server.config().with_sslmode(sslmode)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("call"), "{error}");
        server.join();
    }
}

#[test]
fn prefer_goes_on_in_plaintext_after_n_or_a_failed_handshake() {
    let request = || Step::ExpectBytes(b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec());
    let plain = || vec![Step::ExpectUntagged, Step::Send(welcome())];
    let mut refused = vec![request(), Step::Send(b"N".to_vec())];
    refused.extend(plain());
    let broken = vec![request(), Step::Send(b"Snot TLS at all".to_vec())];
    for scripts in [vec![refused], vec![broken, plain()]] {
        let server = Server::start(scripts);
        let session = Session::connect(&server.config().with_sslmode(SslMode::Prefer)).unwrap();
        assert!(!session.is_encrypted());
        server.join();
    }
}

#[test]
fn a_cancel_request_byte_for_byte() {
    let server = Server::start(vec![
        vec![Step::ExpectUntagged, Step::Send(welcome())],
        vec![Step::ExpectBytes(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09".to_vec())],
    ]);
    let session = Session::connect(&server.config()).unwrap();
    session.canceller().cancel(Canceller::DEADLINE).unwrap();
    server.join();
}

#[test]
fn a_cancel_request_that_nobody_takes_ends_with_its_deadline() {
    let server =
        Server::start(vec![vec![Step::ExpectUntagged, Step::Send(welcome())], vec![Step::AwaitClose]]);
    let session = Session::connect(&server.config()).unwrap();
    let error = session.canceller().cancel(Duration::from_millis(150)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    server.join();
}

#[test]
fn without_a_key_there_is_no_cancel() {
    let session = login(vec![Step::Send([authentication(0, b""), ready(b'I')].concat())]).unwrap();
    assert_eq!(session.backend_pid(), None);
    let error = session.canceller().cancel(Canceller::DEADLINE).unwrap_err();
    assert!(error.to_string().contains("not available"), "{error}");
}

#[test]
fn one_deadline_covers_the_whole_login() {
    let server = Server::start(vec![vec![Step::ExpectUntagged, Step::AwaitClose]]);
    let config = server.config().with_connect_timeout(Some(Duration::from_millis(150)));
    assert_eq!(Session::connect(&config).unwrap_err().kind(), ErrorKind::Timeout);
    server.join();
}
