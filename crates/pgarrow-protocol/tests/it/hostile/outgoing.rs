//! Our own messages: no length wraps around, and no zero byte ends a string early.

use std::net::TcpListener;

use pgarrow_protocol::{Config, ErrorKind, Session};

use crate::script::{Server, Step, logged_in, message, ready};

/// In several drivers, a length that wrapped around turned one message into several (CVE-2024-27304).
#[test]
fn messages_larger_than_their_length_can_say_are_not_sent() {
    let done = [message(b'C', b"SET\0"), ready(b'I')].concat();
    let server = Server::start(vec![logged_in(vec![Step::Expect(b'Q'), Step::Send(done)])]);
    let mut session = Session::connect(&server.config()).unwrap();
    let huge = "x".repeat(1 << 30);
    for result in [session.execute(&huge), session.query("select $1", &[Some(&huge)]).map(drop)] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("not sent"), "{error}");
    }
    // The server expects one statement and no message before it.
    session.execute("select 1").unwrap();
    drop(session);
    server.join();
}

#[test]
fn more_parameters_than_a_statement_may_have_are_not_sent() {
    let done = [message(b'C', b"SET\0"), ready(b'I')].concat();
    let server = Server::start(vec![logged_in(vec![Step::Expect(b'Q'), Step::Send(done)])]);
    let mut session = Session::connect(&server.config()).unwrap();
    let error = session.query("select 1", &vec![None; 65_536]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    session.execute("select 1").unwrap();
    drop(session);
    server.join();
}

/// The text behind a zero byte would be another parameter, for example another role.
#[test]
fn a_zero_byte_in_a_parameter_of_the_startup_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let smuggled = "a\0user\0postgres";
    let refused = |conninfo: &str, environment: &dyn Fn(&str) -> Option<String>| {
        let result =
            Config::parse_with(Some(conninfo), environment).and_then(|config| Session::connect(&config));
        let error = result.expect_err(conninfo);
        assert_eq!(error.kind(), ErrorKind::Config, "{conninfo:?}: {error}");
        assert!(!error.to_string().contains('\0'), "{error:?}");
    };
    let plain = format!("host=127.0.0.1 port={port} user=u dbname=d sslmode=disable");
    for key in ["user", "dbname", "application_name", "options", "password"] {
        refused(&format!("{plain} {key}='{smuggled}'"), &|_| None);
        let uri = format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable&{key}=a%00user%00postgres");
        refused(&uri, &|_| None);
    }
    let bare = format!("host=127.0.0.1 port={port} sslmode=disable");
    for variable in ["PGUSER", "PGDATABASE", "PGAPPNAME", "PGOPTIONS", "PGTZ", "PGPASSWORD"] {
        let environment = |name: &str| match name {
            _ if name == variable => Some(smuggled.to_owned()),
            "PGUSER" => Some("u".to_owned()),
            _ => None,
        };
        refused(&bare, &environment);
    }
    assert!(listener.accept().is_err(), "somebody was called");
}
