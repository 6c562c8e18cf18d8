//! Texts from a server, before and after the login: we show them without steering a terminal, and cut them.

use pgarrow_protocol::{Error, ErrorKind, Session};

use super::{against, states};
use crate::script::{Server, Step, logged_in, message, ready};

/// Control characters of every kind, and characters that reverse the order of a line.
const STEERING: &str =
    "\u{1b}[2J\u{1b}]0;title\u{7}\r\n\t\u{8}\u{9b}31m\u{202e}\u{2066}\u{2028}\u{feff}\u{7f}";

fn assert_plain(text: &str) {
    let steering = |c: char| c.is_control() || STEERING.contains(c) && !c.is_ascii();
    assert!(!text.contains(steering), "{text:?}");
    assert!(text.len() < 64 << 10, "{} bytes", text.len());
}

fn report(text: &str) -> Vec<u8> {
    [
        b"S",
        text.as_bytes(),
        b"\0V",
        text.as_bytes(),
        b"\0C",
        text.as_bytes(),
        b"\0M",
        text.as_bytes(),
        b"\0H",
        text.as_bytes(),
        b"\0\0",
    ]
    .concat()
}

#[test]
fn no_report_steers_the_terminal_in_any_state() {
    for state in states() {
        for text in [STEERING.to_owned(), STEERING.repeat(120)] {
            let endings = vec![vec![Step::Send(message(b'E', &report(&text)))]];
            let error = against(&state, endings).remove(0).expect_err(state.name);
            assert_eq!(error.kind(), ErrorKind::Server, "{}", state.name);
            assert_plain(&error.to_string());
        }
    }
}

/// All other texts that a server may send before the login.
#[test]
fn nothing_that_is_said_before_the_login_steers_the_terminal() {
    let text = STEERING.repeat(300);
    let text = text.get(..28_000).unwrap_or(&text);
    let ok = message(b'R', &[0; 4]);
    let with = |tag: u8, body: Vec<u8>| [ok.clone(), message(tag, &body), ready(b'I')].concat();
    let parameter = |name: &str| with(b'S', [name.as_bytes(), b"\0", text.as_bytes(), b"\0"].concat());
    let mut answers = vec![
        message(b'R', &[&[0, 0, 0, 10][..], text.as_bytes(), b"\0\0"].concat()),
        parameter("client_encoding"),
        parameter("integer_datetimes"),
        parameter("server_version"),
        with(b'S', [text.as_bytes(), b"\0\0"].concat()),
        text.as_bytes().to_vec(),
        with(b'N', report(STEERING)),
    ];
    for tag in 0..=u8::MAX {
        answers.push(message(tag, text.as_bytes()));
    }
    let scripts = answers.into_iter().map(|answer| vec![Step::ExpectUntagged, Step::Send(answer)]);
    let scripts: Vec<_> = scripts.collect();
    let n_scripts = scripts.len();
    let server = Server::start(scripts);
    for _ in 0..n_scripts {
        match Session::connect(&server.config()) {
            Err(error) => {
                assert_plain(&error.to_string());
                assert_plain(&format!("{error:?}").replace("\\u{", "u{").replace('\n', " "));
            }
            Ok(session) => session.warnings().iter().for_each(|warning| assert_plain(warning)),
        }
    }
    server.join();
}

/// Reports without a form: the errors in their form do not matter.
#[test]
fn reports_of_any_form_are_reports() {
    let bodies: [&[u8]; 9] = [
        b"",
        b"\0",
        b"M",
        b"Mtext",
        b"C\0M\0\0",
        b"Mone\0Mtwo\0C22012\0C42601\0\0",
        b"M\xff\xfe\xc3\x28\0\0",
        b"\xff\xff\xff",
        b"Mtext\0\0Mbehind\0\0",
    ];
    for state in states() {
        let endings = bodies.iter().map(|body| vec![Step::Send(message(b'E', body))]).collect();
        for result in against(&state, endings) {
            assert_eq!(result.expect_err(state.name).kind(), ErrorKind::Server, "{}", state.name);
        }
        let endings = bodies.iter().map(|body| vec![Step::Send(message(b'N', body))]).collect();
        for result in against(&state, endings) {
            assert_eq!(result.expect_err(state.name).kind(), ErrorKind::Closed, "{}", state.name);
        }
    }
}

/// A server that ends a session after its error has given the reason; later calls on the session report it,
/// too.
#[test]
fn the_reason_is_kept_for_what_comes_later() {
    let server = Server::start(vec![logged_in(vec![
        Step::Expect(b'Q'),
        Step::Send(message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mbye\0\0")),
    ])]);
    let mut session = Session::connect(&server.config()).unwrap();
    let first: Error = session.execute("select 1").unwrap_err();
    assert_eq!(first.sqlstate(), Some("57P01"));
    let second = session.execute("select 1").unwrap_err();
    assert!(second.to_string().contains("the server ended it"), "{second}");
    drop(session);
    server.join();
}
