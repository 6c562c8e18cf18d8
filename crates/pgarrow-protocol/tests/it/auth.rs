//! The server's request for a proof of identity: `require_auth` and `channel_binding` against servers that
//! ask for less.

use std::io::{Read as _, Write as _};

use pgarrow_protocol::{ErrorKind, Session};

use crate::script::{Server, Step, message, welcome};
use crate::tls::{RootFile, TlsServer, authority, log_in};

fn request(method: i32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&method.to_be_bytes()[..], rest].concat())
}

/// Every request of a server, and the word of `require_auth` for it.
fn requests() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("none", welcome()),
        ("password", request(3, b"")),
        ("md5", request(5, b"abcd")),
        ("scram-sha-256", request(10, b"SCRAM-SHA-256\0\0")),
        ("gss", request(7, b"")),
        ("sspi", request(9, b"")),
        ("oauth", request(10, b"OAUTHBEARER\0\0")),
    ]
}

/// nothing is sent to a server whose request is not allowed.
#[test]
fn require_auth_refuses_before_anything_is_sent() {
    for (method, bytes) in requests() {
        for required in
            ["none", "password", "md5", "scram-sha-256", "gss", "sspi", "!none", "!password", "!md5"]
        {
            let is_allowed = match required.strip_prefix('!') {
                Some(refused) => refused != method,
                None => required == method,
            };
            if is_allowed {
                continue;
            }
            // The server would read here any message of ours after the startup message.
            let server = Server::start(vec![vec![
                Step::ExpectUntagged,
                Step::Send(bytes.clone()),
                Step::Run(|stream| {
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest);
                    assert!(rest.is_empty(), "{rest:?}");
                }),
            ]]);
            let config = server.config_with(&format!("sslmode=disable require_auth={required}"));
            let error = Session::connect(&config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Auth, "{required} {method}: {error}");
            assert!(error.to_string().contains(&format!("require_auth allows only {required}")), "{error}");
            drop(error);
            server.join();
        }
    }
}

#[test]
fn require_auth_lets_pass_what_it_names() {
    for (required, steps) in [
        ("none", vec![]),
        ("password,none", vec![Step::Send(request(3, b"")), Step::ExpectBytes(message(b'p', b"pencil\0"))]),
        ("!md5", vec![Step::Send(request(3, b"")), Step::Expect(b'p')]),
        ("md5", vec![Step::Send(request(5, b"abcd")), Step::Expect(b'p')]),
    ] {
        let mut script = vec![Step::ExpectUntagged];
        script.extend(steps);
        script.push(Step::Send(welcome()));
        let server = Server::start(vec![script]);
        let config = server.config_with(&format!("sslmode=disable require_auth={required}"));
        Session::connect(&config).unwrap_or_else(|error| panic!("{required}: {error}"));
        server.join();
    }
}

/// with `require`, only SCRAM-SHA-256-PLUS is accepted; no other request is answered.
#[test]
fn channel_binding_cannot_be_left_out() {
    let ours = authority();
    let root = RootFile::new("binding", &ours.pem());
    let mut requests = requests();
    requests.push(("SCRAM-SHA-1", request(10, b"SCRAM-SHA-1\0\0")));
    for (method, bytes) in requests {
        let server = TlsServer::new(&ours, "localhost").start(vec![Box::new(move |stream| {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4])?;
            stream.write_all(&bytes)?;
            stream.flush()?;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.is_empty(), "{rest:?}");
            Ok(())
        })]);
        let error =
            Session::connect(&server.config("verify-full", &root, "channel_binding=require")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{method}: {error}");
        assert!(error.to_string().contains("channel_binding=require"), "{method}: {error}");
        server.join();
    }
}

#[test]
fn channel_binding_needs_tls() {
    let server = Server::start(vec![vec![
        Step::ExpectUntagged,
        Step::Send(request(10, b"SCRAM-SHA-256\0\0")),
        Step::AwaitClose,
    ]]);
    let error = Session::connect(&server.config_with("sslmode=disable channel_binding=require")).unwrap_err();
    assert!(error.to_string().contains("the connection has no TLS"), "{error}");
    server.join();
}

/// the first message, by the server's offer and the wanted channel binding.
#[test]
fn the_strongest_mechanism_is_chosen_and_a_missing_offer_is_told() {
    const BOTH: &[u8] = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    const PLAIN: &[u8] = b"SCRAM-SHA-256\0\0";
    let ours = authority();
    let root = RootFile::new("mechanism", &ours.pem());
    for (wanted, offer, mechanism, header) in [
        ("prefer", BOTH, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r="),
        ("require", BOTH, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r="),
        ("prefer", PLAIN, "SCRAM-SHA-256", "y,,n=,r="),
        ("disable", BOTH, "SCRAM-SHA-256", "n,,n=,r="),
    ] {
        let server = TlsServer::new(&ours, "localhost").start(vec![Box::new(move |stream| {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4])?;
            stream.write_all(&request(10, offer))?;
            stream.flush()?;
            let mut head = [0; 5];
            stream.read_exact(&mut head)?;
            let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
            stream.read_exact(&mut body)?;
            let text = String::from_utf8_lossy(&body);
            let start = format!("{mechanism}\0");
            assert!(text.starts_with(&start) && text[start.len() + 4..].starts_with(header), "{text:?}");
            // The server accepts us without a proof of its own; we refuse that.
            stream.write_all(&welcome())?;
            stream.flush()
        })]);
        let parameters = format!("password=pencil channel_binding={wanted}");
        let error = Session::connect(&server.config("verify-full", &root, &parameters)).unwrap_err();
        assert!(error.to_string().contains("left out its SCRAM challenge"), "{wanted}: {error}");
        server.join();
    }
}

#[test]
fn a_certificate_that_was_to_be_asked_for() {
    let ours = authority();
    let root = RootFile::new("asked", &ours.pem());
    let server = TlsServer::new(&ours, "localhost").start(vec![Box::new(log_in)]);
    let error = Session::connect(&server.config("verify-full", &root, "sslcertmode=require")).unwrap_err();
    assert!(error.to_string().contains("did not ask for a client certificate"), "{error}");
    server.join();
}
