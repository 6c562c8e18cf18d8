//! COPY against a correct server, and against an incorrect one.

use pgarrow_protocol::{AskedBehind, CopyOut, CopyOutStep, Error, ErrorKind, Session, TransactionStatus};

use crate::script::{Server, Step, logged_in, message, ready};

fn start() -> Vec<u8> {
    message(b'H', &[1, 0, 1, 0, 1])
}

fn data(payload: &[u8]) -> Vec<u8> {
    message(b'd', payload)
}

fn end(rows: &str) -> Vec<u8> {
    [message(b'c', b""), message(b'C', format!("COPY {rows}\0").as_bytes()), ready(b'I')].concat()
}

/// Consumes the whole CopyData messages, as a decoder does.
fn drain(copy: &mut CopyOut<'_>, payload: &mut Vec<u8>) {
    loop {
        let [b'd', a, b, c, d, rest @ ..] = copy.buffered() else { return };
        let n_bytes = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        let Some(body) = rest.get(..n_bytes) else { return };
        payload.extend_from_slice(body);
        copy.consume(5 + n_bytes);
    }
}

/// Payload and rows.
type Copied = Result<(Vec<u8>, u64), Error>;

/// The result of the COPY, and of a statement after it.
fn run(steps: Vec<Step>) -> (Copied, Result<(), Error>) {
    let mut script = vec![Step::Expect(b'Q')];
    script.extend(steps);
    let server = Server::start(vec![logged_in(script)]);
    let mut session = Session::connect(&server.config()).unwrap();
    let result = copy(&mut session);
    let after = session.execute("select 1");
    drop(session);
    server.join();
    (result, after)
}

fn copy(session: &mut Session) -> Copied {
    let mut copy = session.copy_out("copy t to stdout (format binary)")?;
    assert_eq!(copy.column_count(), 1);
    let mut payload = Vec::new();
    loop {
        drain(&mut copy, &mut payload);
        if let CopyOutStep::Done { rows } = copy.advance()? {
            assert_eq!(copy.advance().unwrap(), CopyOutStep::Done { rows });
            return Ok((payload, rows));
        }
    }
}

#[test]
fn a_copy_in_any_slices() {
    let stream = [
        start(),
        data(b"one"),
        message(b'N', b"SNOTICE\0Mhello\0\0"),
        data(b""),
        message(b'S', b"TimeZone\0UTC\0"),
        data(b"two"),
        message(b'A', b"\0\0\0\x01channel\0payload\0"),
        end("2"),
    ]
    .concat();
    for n_bytes in [1, 2, 3, 7, usize::MAX] {
        let again = [message(b'C', b"SELECT 1\0"), ready(b'I')].concat();
        let (result, after) =
            run(vec![Step::Slices(n_bytes, stream.clone()), Step::Expect(b'Q'), Step::Send(again)]);
        assert_eq!(result.unwrap(), (b"onetwo".to_vec(), 2));
        after.unwrap();
    }
}

/// A COPY in a transaction with a question behind it.
fn copy_and_ask(answers: &[u8], n_bytes: usize, then: impl FnOnce(&mut Session, Copied)) {
    copy_and(b"QPBDES", answers, n_bytes, then);
}

/// The same if the client sends these messages.
fn copy_and(sent: &[u8], answers: &[u8], n_bytes: usize, then: impl FnOnce(&mut Session, Copied)) {
    let and_commit = sent.len() > b"QPBDES".len();
    let mut steps: Vec<Step> = sent.iter().map(|tag| Step::Expect(*tag)).collect();
    steps.push(Step::Slices(n_bytes, answers.to_vec()));
    let done = [message(b'C', b"SELECT 1\0"), ready(b'I')].concat();
    steps.extend([Step::Expect(b'Q'), Step::Send(done)]);
    let server = Server::start(vec![logged_in(steps)]);
    let mut session = Session::connect(&server.config()).unwrap();
    let copied = read(&mut session, and_commit);
    then(&mut session, copied);
    // The session goes on, whoever has taken the answer.
    session.execute("select 1").unwrap();
    drop(session);
    server.join();
}

fn read(session: &mut Session, and_commit: bool) -> Copied {
    let question = AskedBehind { sql: "select $1", parameters: &[Some("x")], and_commit };
    let mut copy = session.copy_out_and("copy t to stdout (format binary)", Some(question))?;
    let (mut payload, mut n_before) = (Vec::new(), 0);
    loop {
        drain(&mut copy, &mut payload);
        assert!(copy.bytes_received() >= n_before);
        n_before = copy.bytes_received();
        if let CopyOutStep::Done { rows } = copy.advance()? {
            // Those of the answer are not counted.
            let stream = [start(), data(b"one"), data(b"two"), end("2")].concat();
            assert_eq!(copy.bytes_received(), stream.len() as u64);
            return Ok((payload, rows));
        }
    }
}

/// One row of `select $1`.
fn row_of_x() -> Vec<u8> {
    let description = message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    let row = message(b'D', b"\0\x01\0\0\0\x01x");
    let tag = message(b'C', b"SELECT 1\0");
    [message(b'1', b""), message(b'2', b""), description, row, tag].concat()
}

#[test]
fn a_question_and_commit_behind_a_copy() {
    let stream = [start(), data(b"one"), data(b"two"), end("2")].concat();
    let committed = [message(b'1', b""), message(b'2', b""), message(b'n', b""), message(b'C', b"COMMIT\0")];
    let all = [&stream[..], &row_of_x(), &committed.concat(), &ready(b'I')].concat();
    let sent = b"QPBDEPBDES";
    for n_bytes in [1, 2, 3, 7, 50, usize::MAX] {
        copy_and(sent, &all, n_bytes, |session, copied| {
            assert_eq!(copied.unwrap(), (b"onetwo".to_vec(), 2));
            assert!(session.has_answer_behind());
            let rows = session.query("select $1", &[Some("x")]).unwrap();
            assert_eq!(rows[0].text(0), Some("x"));
            assert!(!session.has_answer_behind());
            // This is not sent: it is done.
            session.execute("COMMIT").unwrap();
        });
        // Nobody asks, so nobody knows of the COMMIT: the next statement is sent.
        copy_and(sent, &all, n_bytes, |session, copied| {
            assert_eq!(copied.unwrap().1, 2);
            assert!(session.has_answer_behind());
        });
    }
    // The question is refused, and so nothing is committed; then the COMMIT is; then already the COPY.
    let error = |code: &str| message(b'E', format!("SERROR\0C{code}\0Mno\0\0").as_bytes());
    let refused = |code: &str| [error(code), ready(b'E')].concat();
    let of_commit = [&stream[..], &row_of_x(), &refused("40001")].concat();
    for (all, rows, code) in [
        ([&stream[..], &refused("42501")].concat(), Some(2), "42501"),
        (of_commit, Some(2), "40001"),
        ([start(), refused("22012"), refused("25P02")].concat(), None, "25P02"),
    ] {
        for asks in [false, true] {
            copy_and(sent, &all, 7, |session, copied| {
                assert_eq!(copied.ok().map(|(_, rows)| rows), rows);
                if asks {
                    let error = session.query("select $1", &[Some("x")]).unwrap_err();
                    assert_eq!(error.sqlstate(), Some(code));
                    assert_eq!(session.transaction_status(), TransactionStatus::Failed);
                }
            });
        }
    }
}

/// What is no COMMIT is not taken for one.
#[test]
fn a_commit_behind_a_copy_that_is_none() {
    let stream = [start(), data(b"one"), data(b"two"), end("2")].concat();
    let ended = |tag: &[u8], status: u8| {
        let begun = [message(b'1', b""), message(b'2', b""), message(b'n', b"")].concat();
        [&stream[..], &row_of_x(), &begun, &message(b'C', tag), &ready(status)].concat()
    };
    for all in [ended(b"ROLLBACK\0", b'I'), ended(b"COMMIT\0", b'T')] {
        let mut steps: Vec<Step> = b"QPBDEPBDES".iter().map(|tag| Step::Expect(*tag)).collect();
        steps.push(Step::Send(all));
        let server = Server::start(vec![logged_in(steps)]);
        let mut session = Session::connect(&server.config()).unwrap();
        assert_eq!(read(&mut session, true).unwrap().1, 2);
        let error = session.query("select $1", &[Some("x")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert_eq!(session.execute("COMMIT").unwrap_err().kind(), ErrorKind::Protocol);
        drop(session);
        server.join();
    }
}

#[test]
fn a_question_behind_a_copy() {
    let stream = [start(), data(b"one"), data(b"two"), end("2")].concat();
    let answer = [row_of_x(), ready(b'I')].concat();
    let all = [&stream[..], &answer].concat();
    for n_bytes in [1, 2, 3, 7, 50, usize::MAX] {
        copy_and_ask(&all, n_bytes, |session, copied| {
            assert_eq!(copied.unwrap(), (b"onetwo".to_vec(), 2));
            let rows = session.query("select $1", &[Some("x")]).unwrap();
            assert_eq!(rows[0].text(0), Some("x"));
        });
        // Nobody asks.
        copy_and_ask(&all, n_bytes, |_, copied| assert_eq!(copied.unwrap().1, 2));
    }
    // After an error, the server refuses the question, too; also a COPY that does not even begin.
    let error = |code: &str| message(b'E', format!("SERROR\0C{code}\0Mno\0\0").as_bytes());
    let refused = [error("25P02"), ready(b'E')].concat();
    for begun in [[start(), data(b"one"), error("22012")].concat(), error("22012")] {
        let all = [&begun[..], &ready(b'E'), &refused].concat();
        for n_bytes in [1, 7, usize::MAX] {
            for asks in [false, true] {
                copy_and_ask(&all, n_bytes, |session, copied| {
                    assert_eq!(copied.unwrap_err().sqlstate(), Some("22012"));
                    if asks {
                        let error = session.query("select $1", &[Some("x")]).unwrap_err();
                        assert_eq!(error.sqlstate(), Some("25P02"));
                    }
                });
            }
        }
    }
}

#[test]
fn a_large_message_that_arrives_in_pieces() {
    let payload: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let stream = [start(), data(b"x"), data(&payload), data(b"y"), end("3")].concat();
    let (result, _) = run(vec![Step::Slices(10_007, stream)]);
    let (received, rows) = result.unwrap();
    assert_eq!((received.len(), rows), (5_000_002, 3));
    assert_eq!(received[1..5_000_001], payload);
}

#[test]
fn endings_that_are_no_success() {
    let complete = message(b'C', b"COPY 1\0");
    let done = message(b'c', b"");
    let error = message(b'E', b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0");
    let latin1 = message(b'S', b"client_encoding\0LATIN1\0");
    for (name, stream, kind) in [
        ("missing CopyDone", [complete.clone(), ready(b'I')].concat(), ErrorKind::Protocol),
        ("missing CommandComplete", [done.clone(), ready(b'I')].concat(), ErrorKind::Protocol),
        ("ready at once", ready(b'I'), ErrorKind::Protocol),
        ("error after CopyDone", [done.clone(), error.clone(), ready(b'I')].concat(), ErrorKind::Server),
        ("error while streaming", [error, ready(b'I')].concat(), ErrorKind::Server),
        ("data after CopyDone", [done.clone(), data(b"x"), complete.clone()].concat(), ErrorKind::Protocol),
        ("CopyDone twice", [done.clone(), done.clone()].concat(), ErrorKind::Protocol),
        (
            "CommandComplete twice",
            [done.clone(), complete.clone(), complete.clone()].concat(),
            ErrorKind::Protocol,
        ),
        ("a second COPY", [done.clone(), complete.clone(), start()].concat(), ErrorKind::Protocol),
        ("transaction failed", [done.clone(), complete.clone(), ready(b'E')].concat(), ErrorKind::Protocol),
        ("transaction begun", [done.clone(), complete.clone(), ready(b'T')].concat(), ErrorKind::Protocol),
        (
            "encoding changed",
            [done.clone(), complete.clone(), latin1, ready(b'I')].concat(),
            ErrorKind::Protocol,
        ),
        ("end of file", Vec::new(), ErrorKind::Closed),
        ("end of file in a message", vec![b'd', 0, 0, 1, 0, 7], ErrorKind::Closed),
        ("end of file after CopyDone", done.clone(), ErrorKind::Closed),
        ("end of file after CommandComplete", [done.clone(), complete].concat(), ErrorKind::Closed),
    ] {
        let (result, _) = run(vec![Step::Send([start(), data(b"row"), stream].concat())]);
        assert_eq!(result.expect_err(name).kind(), kind, "{name}");
    }
    for tag in ["COPY", "COPY ", "COPY x", "COPY -1", "COPY 18446744073709551616", "SELECT 5", ""] {
        let complete = message(b'C', format!("{tag}\0").as_bytes());
        let (result, _) = run(vec![Step::Send([start(), done.clone(), complete, ready(b'I')].concat())]);
        assert_eq!(result.expect_err(tag).kind(), ErrorKind::Protocol, "{tag}");
    }
    for body in [&b""[..], b"COPY 1"] {
        let complete = message(b'C', body);
        let (result, _) = run(vec![Step::Send([start(), done.clone(), complete, ready(b'I')].concat())]);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Protocol);
    }
}

#[test]
fn beginnings_that_are_no_binary_copy() {
    for (name, bytes, kind) in [
        ("text", message(b'H', &[0, 0, 1, 0, 0]), ErrorKind::Config),
        ("mixed", message(b'H', &[1, 0, 2, 0, 1, 0, 0]), ErrorKind::Config),
        ("count of -1", message(b'H', &[1, 0xff, 0xff]), ErrorKind::Protocol),
        ("too short", message(b'H', &[1]), ErrorKind::Protocol),
        ("COPY FROM", message(b'G', &[1, 0, 0]), ErrorKind::Config),
        ("a query", message(b'T', &[0, 0]), ErrorKind::Config),
        ("no COPY", [message(b'C', b"SET\0"), ready(b'I')].concat(), ErrorKind::Config),
        ("data first", data(b"x"), ErrorKind::Protocol),
        ("CopyBoth", message(b'W', &[1, 0, 0]), ErrorKind::Protocol),
        ("refused", [message(b'E', b"C42P01\0Mno table\0\0"), ready(b'I')].concat(), ErrorKind::Server),
    ] {
        let (result, _) = run(vec![Step::Send(bytes)]);
        assert_eq!(result.expect_err(name).kind(), kind, "{name}");
    }
}

#[test]
fn a_failed_copy_leaves_a_session_that_works() {
    let failed = [start(), data(b"x"), message(b'E', b"C57014\0Mcanceled\0\0"), ready(b'I')].concat();
    let answer = [message(b'C', b"SELECT 1\0"), ready(b'I')].concat();
    let (result, after) = run(vec![Step::Send(failed), Step::Expect(b'Q'), Step::Send(answer)]);
    assert_eq!(result.unwrap_err().sqlstate(), Some("57014"));
    after.unwrap();
}

#[test]
fn what_the_server_says_before_it_closes_is_reported() {
    let fatal = message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mterminating\0\0");
    let (result, after) = run(vec![Step::Send([start(), data(b"x"), fatal].concat())]);
    assert_eq!(result.unwrap_err().sqlstate(), Some("57P01"));
    assert_eq!(after.unwrap_err().kind(), ErrorKind::Protocol);

    let crash = message(b'N', b"SWARNING\0VWARNING\0C57P02\0Mcrash of another process\0\0");
    let (result, _) = run(vec![Step::Send([start(), data(b"x"), crash].concat())]);
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Closed, Some("57P02")));
    assert!(error.to_string().contains("crashed"), "{error}");
}

#[test]
fn a_copy_left_early_makes_the_session_unusable() {
    let server = Server::start(vec![logged_in(vec![
        Step::Expect(b'Q'),
        Step::Send([start(), data(b"x")].concat()),
        Step::AwaitClose,
    ])]);
    let mut session = Session::connect(&server.config()).unwrap();
    drop(session.copy_out("copy t to stdout (format binary)").unwrap());
    let error = session.execute("select 1").unwrap_err();
    assert!(error.to_string().contains("left before its end"), "{error}");
    drop(session);
    server.join();
}
