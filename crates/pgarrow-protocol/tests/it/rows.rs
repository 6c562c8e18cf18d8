//! SELECT and cursor against a correct server, and against an incorrect one.

use pgarrow_protocol::{CopyOutStep, Error, ErrorKind, RowStream, Session};

use crate::script::{Server, Step, logged_in, message, ready};

/// One column, in this format.
fn description(format: u8) -> Vec<u8> {
    let mut body = b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x11\xff\xff\xff\xff\xff\xff\0".to_vec();
    body.push(format);
    message(b'T', &body)
}

fn row(value: &[u8]) -> Vec<u8> {
    message(b'D', &[&[0, 1], &(value.len() as u32).to_be_bytes()[..], value].concat())
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn select_begins() -> Vec<u8> {
    [message(b'1', b""), message(b'2', b""), description(1)].concat()
}

/// Values, joined, and the number of rows.
type Read = Result<(Vec<u8>, u64), Error>;

/// Consumes whole DataRow messages, as a decoder does.
fn read(stream: &mut dyn RowStream) -> Read {
    assert_eq!(stream.column_count(), 1);
    let mut values = Vec::new();
    loop {
        while let [b'D', a, b, c, d, rest @ ..] = stream.buffered() {
            let n_bytes = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
            let Some(body) = rest.get(..n_bytes) else { break };
            values.extend_from_slice(&body[6..]);
            stream.consume(5 + n_bytes);
        }
        if let CopyOutStep::Done { rows } = stream.advance()? {
            assert_eq!(stream.advance().unwrap(), CopyOutStep::Done { rows });
            return Ok((values, rows));
        }
    }
}

/// The result of a SELECT, and of a statement after it.
fn select(steps: Vec<Step>) -> (Read, Result<(), Error>) {
    let expected = b"PBDES".map(Step::Expect);
    with_session(expected.into_iter().chain(steps).collect(), |session| {
        let read = session.select_out("select a from t").and_then(|mut rows| read(&mut rows));
        (read, session.execute("select 1"))
    })
}

/// The result of a cursor with two rows for each FETCH, and of a statement after it.
fn cursor(steps: Vec<Step>) -> (Read, Result<(), Error>) {
    let mut script = vec![Step::Expect(b'Q'), Step::Send([complete("BEGIN"), ready(b'T')].concat())];
    script.push(Step::Expect(b'Q'));
    script.extend(steps);
    with_session(script, |session| {
        session.execute("begin").unwrap();
        let read = session.cursor_out("select a from t", 2).and_then(|mut rows| read(&mut rows));
        (read, session.execute("select 1"))
    })
}

fn with_session<T>(steps: Vec<Step>, run: impl FnOnce(&mut Session) -> T) -> T {
    let server = Server::start(vec![logged_in(steps)]);
    let mut session = Session::connect(&server.config()).unwrap();
    let result = run(&mut session);
    drop(session);
    server.join();
    result
}

fn again() -> Vec<Step> {
    vec![Step::Expect(b'Q'), Step::Send([complete("SELECT 1"), ready(b'I')].concat())]
}

#[test]
fn a_select_in_any_slices() {
    let stream = [
        select_begins(),
        row(b"one"),
        message(b'N', b"SNOTICE\0Mhello\0\0"),
        row(b""),
        message(b'S', b"TimeZone\0UTC\0"),
        row(b"two"),
        complete("SELECT 3"),
        ready(b'I'),
    ]
    .concat();
    for n_bytes in [1, 2, 3, 7, usize::MAX] {
        let (result, after) =
            select([Step::Slices(n_bytes, stream.clone())].into_iter().chain(again()).collect());
        assert_eq!(result.unwrap(), (b"onetwo".to_vec(), 3));
        after.unwrap();
    }
}

#[test]
fn a_cursor_fetches_until_there_are_fewer_rows() {
    let declared = || Step::Send([complete("DECLARE CURSOR"), ready(b'T')].concat());
    let fetched = |values: &[&[u8]]| {
        let rows: Vec<u8> = values.iter().flat_map(|value| row(value)).collect();
        let tag = complete(&format!("FETCH {}", values.len()));
        Step::Slices(5, [description(1), rows, tag, ready(b'T')].concat())
    };
    let statement = |sql: &str| Step::ExpectBytes(message(b'Q', format!("{sql}\0").as_bytes()));
    let fetch = || statement("FETCH FORWARD 2 FROM pgarrow_rows");
    for (last, expected, n_rows) in [(&[&b"e"[..]][..], &b"abcde"[..], 5), (&[], b"abcd", 4)] {
        let mut steps = vec![declared(), fetch(), fetched(&[b"a", b"b"]), fetch(), fetched(&[b"c", b"d"])];
        steps.extend([fetch(), fetched(last), statement("CLOSE pgarrow_rows")]);
        steps.push(Step::Send([complete("CLOSE CURSOR"), ready(b'T')].concat()));
        let (result, after) = cursor(steps.into_iter().chain(again()).collect());
        assert_eq!(result.unwrap(), (expected.to_vec(), n_rows));
        after.unwrap();
    }
}

#[test]
fn a_cursor_needs_a_transaction() {
    with_session(again(), |session| {
        assert_eq!(session.cursor_out("select 1", 2).unwrap_err().kind(), ErrorKind::Config);
        session.execute("select 1").unwrap();
    });
}

#[test]
fn selects_that_are_no_success() {
    let begun = select_begins();
    let error = message(b'E', b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0");
    let latin1 = message(b'S', b"client_encoding\0LATIN1\0");
    let end = [complete("SELECT 1"), ready(b'I')].concat();
    let started = |parts: &[&[u8]]| [&begun[..], &row(b"x"), &parts.concat()].concat();
    for (name, stream, kind) in [
        (
            "text format",
            [message(b'1', b""), message(b'2', b""), description(0)].concat(),
            ErrorKind::Protocol,
        ),
        ("no ParseComplete", message(b'2', b""), ErrorKind::Protocol),
        ("no description", [message(b'1', b""), message(b'2', b""), row(b"x")].concat(), ErrorKind::Protocol),
        ("ready at once", ready(b'I'), ErrorKind::Protocol),
        ("refused", [error.clone(), ready(b'I')].concat(), ErrorKind::Server),
        ("error among the rows", started(&[&error, &ready(b'I')]), ErrorKind::Server),
        ("portal suspended", started(&[&message(b's', b""), &ready(b'I')]), ErrorKind::Protocol),
        ("CopyData among the rows", started(&[&message(b'd', b"x")]), ErrorKind::Protocol),
        ("described twice", started(&[&description(1)]), ErrorKind::Protocol),
        ("no tag", started(&[&ready(b'I')]), ErrorKind::Protocol),
        ("another tag", started(&[&complete("COPY 1"), &ready(b'I')]), ErrorKind::Protocol),
        ("a tag without rows", started(&[&complete("SELECT"), &ready(b'I')]), ErrorKind::Protocol),
        ("row after the tag", started(&[&complete("SELECT 1"), &row(b"y")]), ErrorKind::Protocol),
        ("transaction begun", started(&[&complete("SELECT 1"), &ready(b'T')]), ErrorKind::Protocol),
        ("transaction failed", started(&[&complete("SELECT 1"), &ready(b'E')]), ErrorKind::Protocol),
        ("encoding changed", started(&[&latin1, &end]), ErrorKind::Protocol),
        ("end of file", started(&[]), ErrorKind::Closed),
        ("end of file in a row", started(&[b"D\0\0\x01\0\0\x01"]), ErrorKind::Closed),
        ("end of file after the tag", started(&[&complete("SELECT 1")]), ErrorKind::Closed),
    ] {
        let (result, _) = select(vec![Step::Send(stream)]);
        assert_eq!(result.expect_err(name).kind(), kind, "{name}");
    }
}

#[test]
fn cursors_that_are_no_success() {
    let declared = [complete("DECLARE CURSOR"), ready(b'T')].concat();
    let error = message(b'E', b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0");
    let fetched = |tag: &str| [description(1), row(b"x"), complete(tag), ready(b'T')].concat();
    for (name, first, second, kind) in [
        ("refused", [error.clone(), ready(b'E')].concat(), Vec::new(), ErrorKind::Server),
        ("another statement", [complete("SELECT 1"), ready(b'T')].concat(), Vec::new(), ErrorKind::Protocol),
        ("two statements", [&declared[..9 + 11], &description(1)].concat(), Vec::new(), ErrorKind::Protocol),
        (
            "transaction over",
            [complete("DECLARE CURSOR"), ready(b'I')].concat(),
            Vec::new(),
            ErrorKind::Protocol,
        ),
        ("text format", declared.clone(), description(0), ErrorKind::Protocol),
        ("no description", declared.clone(), row(b"x"), ErrorKind::Protocol),
        ("more than asked for", declared.clone(), fetched("FETCH 3"), ErrorKind::Protocol),
        ("another tag", declared.clone(), fetched("SELECT 1"), ErrorKind::Protocol),
        (
            "an error",
            declared.clone(),
            [&description(1)[..], &error, &ready(b'E')].concat(),
            ErrorKind::Server,
        ),
        ("end of file", declared.clone(), description(1), ErrorKind::Closed),
        ("end of file before CLOSE is done", declared.clone(), fetched("FETCH 1"), ErrorKind::Closed),
    ] {
        let (result, _) = cursor(vec![Step::Send(first), Step::Expect(b'Q'), Step::Send(second)]);
        assert_eq!(result.expect_err(name).kind(), kind, "{name}");
    }
}

#[test]
fn a_statement_without_rows_is_told_apart() {
    let ran =
        [message(b'1', b""), message(b'2', b""), message(b'n', b""), complete("SET"), ready(b'I')].concat();
    let (result, after) = select([Step::Send(ran)].into_iter().chain(again()).collect());
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("returns no rows"), "{error}");
    after.unwrap();
}

#[test]
fn a_failed_select_leaves_a_session_that_works() {
    let error = message(b'E', b"C57014\0Mcanceled\0\0");
    let failed = [select_begins(), row(b"x"), error, ready(b'I')].concat();
    let (result, after) = select([Step::Send(failed)].into_iter().chain(again()).collect());
    assert_eq!(result.unwrap_err().sqlstate(), Some("57014"));
    after.unwrap();
}

#[test]
fn rows_left_early_make_the_session_unusable() {
    let mut steps: Vec<Step> = b"PBDES".map(Step::Expect).into();
    steps.extend([Step::Send([select_begins(), row(b"x")].concat()), Step::AwaitClose]);
    with_session(steps, |session| {
        drop(session.select_out("select a from t").unwrap());
        let error = session.execute("select 1").unwrap_err();
        assert!(error.to_string().contains("left before their end"), "{error}");
    });
}

fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|n| (n % 251) as u8).collect()
}

/// Rows around a large one, which is received in targets of many sizes.
#[test]
fn a_large_row_is_received_into_its_place() {
    let stream =
        [select_begins(), row(b"x"), row(&large()), row(b"y"), complete("SELECT 3"), ready(b'I')].concat();
    for (slice_bytes, target_bytes) in
        [(1_000, 7_919), (100_003, 1), (usize::MAX, 70_001), (usize::MAX, usize::MAX)]
    {
        let mut steps: Vec<Step> = b"PBDES".map(Step::Expect).into();
        steps.push(Step::Slices(slice_bytes, stream.clone()));
        with_session(steps, |session| {
            let mut rows = session.select_out("select a from t").unwrap();
            assert_eq!(rows.advance().unwrap(), CopyOutStep::Data);
            rows.consume(row(b"x").len());
            let expected = row(&large());
            let mut received = vec![0; expected.len()];
            received.chunks_mut(target_bytes).for_each(|target| rows.receive(target).unwrap());
            assert!(received == expected);
            let bytes_received = rows.bytes_received();
            assert!(bytes_received as usize >= expected.len(), "{bytes_received}");
            assert_eq!(read(&mut rows).unwrap(), (b"y".to_vec(), 3));
            assert_eq!(rows.bytes_received() as usize, stream.len());
        });
    }
}

#[test]
fn what_cannot_be_received_is_refused() {
    let refused = |before: &[u8], n_bytes: usize, kind| {
        let mut steps: Vec<Step> = b"PBDES".map(Step::Expect).into();
        steps.push(Step::Send([&select_begins()[..], before].concat()));
        with_session(steps, |session| {
            let mut rows = session.select_out("select a from t").unwrap();
            assert_eq!(rows.receive(&mut vec![0; n_bytes]).unwrap_err().kind(), kind);
            assert!(rows.advance().is_err() && rows.receive(&mut [0]).is_err());
            drop(rows);
            assert!(session.execute("select 1").is_err());
        });
    };
    refused(&complete("SELECT 0"), 5, ErrorKind::Protocol);
    refused(&row(b"abc"), row(b"abc").len() + 1, ErrorKind::Protocol);
    refused(b"D\0\0\0\x03", 5, ErrorKind::Protocol);
    refused(b"D\0\x10\0\0half", 1_000_000, ErrorKind::Closed);
}

#[test]
fn a_row_that_was_received_in_part_is_not_left() {
    let mut steps: Vec<Step> = b"PBDES".map(Step::Expect).into();
    steps.push(Step::Send([select_begins(), row(b"abc")].concat()));
    with_session(steps, |session| {
        let mut rows = session.select_out("select a from t").unwrap();
        rows.receive(&mut [0; 5]).unwrap();
        assert_eq!(rows.advance().unwrap_err().kind(), ErrorKind::Protocol);
    });
}

#[test]
fn an_interrupter_ends_a_large_row_that_never_comes() {
    let mut steps: Vec<Step> = b"PBDES".map(Step::Expect).into();
    steps.extend([Step::Send([&select_begins()[..], b"D\x30\0\0\0\0\x01"].concat()), Step::AwaitClose]);
    let error = with_session(steps, |session| {
        let interrupter = session.interrupter();
        let mut rows = session.select_out("select a from t").unwrap();
        let thread = std::thread::spawn(move || interrupter.interrupt());
        let error = rows.receive(&mut vec![0; 1 << 20]).unwrap_err();
        thread.join().unwrap();
        error
    });
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}
