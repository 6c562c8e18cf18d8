//! execute, query and describe, and what comes between them.

use pgarrow_protocol::{Error, ErrorKind, Session};

use crate::script::{Server, Step, logged_in, message, ready};

fn with_session<T>(steps: Vec<Step>, run: impl FnOnce(&mut Session) -> T) -> T {
    let server = Server::start(vec![logged_in(steps)]);
    let mut session = Session::connect(&server.config()).unwrap();
    let result = run(&mut session);
    drop(session);
    server.join();
    result
}

fn row_description() -> Vec<u8> {
    message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")
}

fn query(answer: &[&[u8]]) -> Result<usize, Error> {
    let bytes = [&[message(b'1', b""), message(b'2', b"")].concat(), &answer.concat()[..]].concat();
    let steps = b"PBDES".iter().map(|tag| Step::Expect(*tag)).chain([Step::Send(bytes)]);
    with_session(steps.collect(), |session| {
        session.query("select $1", &[Some("x")]).map(|rows| {
            assert!(rows.iter().all(|row| row.len() == 1 && row.text(1).is_none()));
            rows.len()
        })
    })
}

#[test]
fn answers_to_a_query() {
    let complete = message(b'C', b"SELECT 2\0");
    let none = message(b'C', b"SET\0");
    let description = row_description();
    let row = message(b'D', b"\0\x01\0\0\0\x01x");
    let idle = ready(b'I');
    assert_eq!(query(&[&description, &row, &row, &complete, &idle]).unwrap(), 2);
    assert_eq!(query(&[&message(b'n', b""), &none, &idle]).unwrap(), 0);
    for (name, answer) in [
        ("row without description", [&row[..], &complete, &idle].concat()),
        ("a row that its tag does not count", [&description[..], &row, &complete, &idle].concat()),
        ("a tag without an end", [&description[..], &row, &row, &message(b'C', b"SELECT 2"), &idle].concat()),
        ("no statement at all", [&description[..], &row, &message(b'I', b""), &idle].concat()),
        ("row after no data", [&message(b'n', b"")[..], &row, &complete, &idle].concat()),
        ("fewer values", [&description[..], &message(b'D', b"\0\0")].concat()),
        (
            "more values",
            [&description[..], &message(b'D', b"\0\x02\xff\xff\xff\xff\xff\xff\xff\xff")].concat(),
        ),
        ("length of -2", [&description[..], &message(b'D', b"\0\x01\xff\xff\xff\xfe")].concat()),
        ("not UTF-8", [&description[..], &message(b'D', b"\0\x01\0\0\0\x01\xff")].concat()),
        ("65535 columns", message(b'T', b"\xff\xff")),
        ("ready too early", [&description[..], &idle].concat()),
        ("copy data", [&description[..], &message(b'd', b"x")].concat()),
    ] {
        assert_eq!(query(&[&answer]).expect_err(name).kind(), ErrorKind::Protocol, "{name}");
    }
}

#[test]
fn an_error_leaves_the_session_usable() {
    let error = [message(b'E', b"SERROR\0VERROR\0C42601\0Msyntax \x1b error\0\0"), ready(b'I')].concat();
    let fine = [message(b'C', b"SET\0"), ready(b'T')].concat();
    let steps = vec![
        Step::Expect(b'P'),
        Step::Expect(b'D'),
        Step::Expect(b'S'),
        Step::Send(error),
        Step::Expect(b'Q'),
        Step::Send(fine),
    ];
    with_session(steps, |session| {
        let error = session.describe("selec").unwrap_err();
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("42601")));
        assert!(error.to_string().contains("syntax \\u{1b} error"), "{error}");
        session.execute("begin").unwrap();
        assert_eq!(session.transaction_status(), pgarrow_protocol::TransactionStatus::InTransaction);
    });
}

#[test]
fn notices_are_kept_within_bounds() {
    let notice = message(b'N', b"SNOTICE\0C00000\0Mhello\0\0");
    let parameter = message(b'S', b"TimeZone\0UTC\0");
    let flood = [notice.repeat(10_000), parameter.repeat(10_000)].concat();
    let answer = [flood, message(b'C', b"DO\0"), ready(b'I')].concat();
    with_session(vec![Step::Expect(b'Q'), Step::Send(answer)], |session| {
        session.execute("do").unwrap();
        assert_eq!(session.notices_dropped(), 10_000 - 64);
        assert_eq!(session.take_notices().len(), 64);
        assert_eq!(session.parameter("TimeZone"), Some("UTC"));
    });
}

#[test]
fn a_message_nobody_asked_for_ends_the_session() {
    for (extra, kind) in [
        (message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mbye\0\0"), ErrorKind::Server),
        (message(b'D', b"\0\0"), ErrorKind::Protocol),
        (ready(b'I'), ErrorKind::Protocol),
    ] {
        let answer = [message(b'C', b"SET\0"), ready(b'I'), extra].concat();
        with_session(vec![Step::Expect(b'Q'), Step::Send(answer), Step::AwaitClose], |session| {
            session.execute("set").unwrap();
            assert_eq!(session.execute("set").unwrap_err().kind(), kind);
            assert_eq!(session.execute("set").unwrap_err().kind(), ErrorKind::Protocol);
        });
    }
}

#[test]
fn an_interrupter_wakes_a_blocked_call() {
    let error = with_session(vec![Step::Expect(b'Q'), Step::AwaitClose], |session| {
        let interrupter = session.interrupter();
        let thread = std::thread::spawn(move || interrupter.interrupt());
        let error = session.execute("select pg_sleep(1000)").unwrap_err();
        thread.join().unwrap();
        error
    });
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn a_statement_with_a_zero_byte_is_not_sent() {
    let steps = vec![Step::Expect(b'Q'), Step::Send([message(b'C', b"SET\0"), ready(b'I')].concat())];
    with_session(steps, |session| {
        assert_eq!(session.execute("select '\0'").unwrap_err().kind(), ErrorKind::Config);
        session.execute("select 1").unwrap();
    });
}
