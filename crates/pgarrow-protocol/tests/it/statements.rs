//! execute, query and describe, and what comes between them.

use pgarrow_protocol::{Answer, Description, Error, ErrorKind, Question, Session};

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

/// Values go back to the server as they came; what it prints of them need not be UTF-8.
#[test]
fn values_that_the_server_prints() {
    let rows = [message(b'D', b"\0\x01\0\0\0\x02\xffx"), message(b'D', b"\0\x01\xff\xff\xff\xff")].concat();
    let complete = message(b'C', b"SELECT 2\0");
    let answer = [message(b'1', b""), message(b'2', b""), row_description(), rows, complete, ready(b'T')];
    let steps = b"PBDES".iter().map(|tag| Step::Expect(*tag)).chain([Step::Send(answer.concat())]);
    with_session(steps.collect(), |session| {
        let rows = session.query_values("VALUES ($1), ($2)", &[17, 17], &[Some(b"\xff"), None]).unwrap();
        let texts: Vec<_> = rows.iter().map(|row| row.text(0)).collect();
        assert_eq!(texts, [Some("\u{fffd}x"), None]);
        let many = vec![None; 65_536];
        assert_eq!(session.query_values("", &[], &many).unwrap_err().kind(), ErrorKind::Config);
    });
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

#[test]
fn a_script_in_one_message() {
    let (begun, rolled_back) = (message(b'C', b"BEGIN\0"), message(b'C', b"ROLLBACK\0"));
    let row = message(b'D', b"\0\x01\0\0\0\x01x");
    let answered = [row_description(), row.clone(), message(b'C', b"SELECT 1\0")].concat();
    let script = |answer: Vec<u8>| {
        let steps = vec![Step::Expect(b'Q'), Step::Send(answer)];
        with_session(steps, |session| session.query_script("BEGIN; SELECT 'x'; ROLLBACK"))
    };
    let whole = [&begun[..], &answered, &rolled_back, &ready(b'I')].concat();
    let answers = script(whole).unwrap();
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(answers[1][0].text(0), Some("x"));
    for (name, answer) in [
        ("nothing", ready(b'I')),
        ("row without description", [&row[..], &ready(b'I')].concat()),
        (
            "a row that its tag does not count",
            [&row_description()[..], &message(b'C', b"SELECT 1\0")].concat(),
        ),
        ("rows without an end", [&row_description()[..], &row, &ready(b'I')].concat()),
        ("more answers than anybody asked for", begun.repeat(1001)),
    ] {
        assert_eq!(script(answer).expect_err(name).kind(), ErrorKind::Protocol, "{name}");
    }
}

/// It shows that the server knows COPY, in the same message as other questions.
#[test]
fn a_script_with_a_copy_of_no_rows() {
    let (out, done) = (message(b'H', b"\0\0\x01\0\0"), message(b'c', b""));
    let (begun, copied) = (message(b'C', b"BEGIN\0"), message(b'C', b"COPY 0\0"));
    let script = |answer: Vec<u8>| {
        let steps = vec![Step::Expect(b'Q'), Step::Send(answer)];
        with_session(steps, |session| session.query_script("BEGIN; COPY (SELECT 1 WHERE false) TO STDOUT"))
    };
    let whole = [&begun[..], &out, &done, &copied, &ready(b'T')].concat();
    assert_eq!(script(whole).unwrap(), [[], []] as [[pgarrow_protocol::Row; 0]; 2]);
    let data = message(b'd', b"1\n");
    for (name, answer) in [
        ("a row", [&begun[..], &out, &data, &done, &copied, &ready(b'T')].concat()),
        ("no end of its data", [&begun[..], &out, &copied, &ready(b'T')].concat()),
        ("no end of its own", [&begun[..], &out, &done, &ready(b'T')].concat()),
        ("its data twice", [&begun[..], &out, &done, &done, &copied, &ready(b'T')].concat()),
    ] {
        assert_eq!(script(answer).expect_err(name).kind(), ErrorKind::Protocol, "{name}");
    }
    // An error in the place of its data is the server's.
    let refused = message(b'E', b"SERROR\0C42501\0Mno\0\0");
    let error = script([&begun[..], &out, &refused, &ready(b'E')].concat()).unwrap_err();
    assert_eq!(error.sqlstate(), Some("42501"));
}

#[test]
fn a_description_behind_other_statements() {
    let described = [message(b'1', b""), message(b't', b"\0\0"), row_description()].concat();
    let error = |text: &str| message(b'E', format!("SERROR\0C{text}\0Mno\0\0").as_bytes());
    let steps = |answers: [&[u8]; 2]| {
        let expected = b"QPDS".iter().map(|tag| Step::Expect(*tag));
        expected.chain([Step::Send(answers.concat())]).collect::<Vec<_>>()
    };
    let begun = [message(b'C', b"BEGIN\0"), ready(b'T')].concat();
    let run = |session: &mut Session| session.execute_and_describe("BEGIN", "select 'x'");
    let description = with_session(steps([&begun, &[described, ready(b'T')].concat()]), run).unwrap();
    assert_eq!(description.columns.map(|columns| columns.len()), Some(1));
    // The session receives both answers, whichever of them is an error.
    let failed = [error("42501"), ready(b'I')].concat();
    let second = [error("42601"), ready(b'E')].concat();
    for (first, code) in [(&failed, "42501"), (&begun, "42601")] {
        let mut steps = steps([first, &second]);
        steps.extend([Step::Expect(b'Q'), Step::Send([message(b'C', b"ROLLBACK\0"), ready(b'I')].concat())]);
        with_session(steps, |session| {
            let error = session.execute_and_describe("BEGIN", "selec").unwrap_err();
            assert_eq!(error.sqlstate(), Some(code));
            session.execute("ROLLBACK").unwrap();
        });
    }
}

#[test]
fn questions_behind_a_script() {
    let done = |tag: &str| message(b'C', format!("{tag}\0").as_bytes());
    let error = |text: &str| message(b'E', format!("SERROR\0C{text}\0Mno\0\0").as_bytes());
    let executed =
        |tag: &str| [message(b'1', b""), message(b'2', b""), message(b'n', b""), done(tag)].concat();
    let parsed = [message(b'1', b""), message(b'2', b"")].concat();
    let row = message(b'D', b"\0\x01\0\0\0\x01x");
    let rows = [&parsed[..], &row_description(), &row, &done("SELECT 1")].concat();
    let described = [message(b'1', b""), message(b't', b"\0\0"), row_description()].concat();
    let begun = [done("BEGIN"), ready(b'T')].concat();
    let (guard, release) = (executed("SAVEPOINT"), executed("RELEASE"));
    let all = [&guard[..], &described, &rows, &release, &ready(b'T')].concat();
    // Behind an error, the server skips everything up to Sync.
    let no_transaction = [error("25P01"), ready(b'I')].concat();
    let refused = [&guard[..], &error("42601"), &ready(b'E')].concat();
    let refused_later = [&guard[..], &described, &parsed, &error("22012"), &ready(b'E')].concat();
    let not_begun = [error("42501"), ready(b'I')].concat();
    let too_few = [&guard[..], &described, &ready(b'T')].concat();
    let data = [&guard[..], &message(b'd', b"x")].concat();
    let run = |answers: [&[u8]; 2]| {
        let mut steps: Vec<Step> = b"QPBDEPDPBDEPBDES".iter().map(|tag| Step::Expect(*tag)).collect();
        steps.push(Step::Send(answers.concat()));
        with_session(steps, |session| {
            let asked = [Question::Description("select 'x'"), Question::Rows("select 'x'")];
            session.query_script_and("BEGIN", &asked, true)
        })
    };
    let state = |refused: &Option<Error>| refused.as_ref().and_then(|e| e.sqlstate().map(str::to_owned));
    for (answer, n_replies, refused, is_guarded) in [
        (&all, 2, None, true),
        (&no_transaction, 0, Some("25P01"), false),
        (&refused, 0, Some("42601"), true),
        (&refused_later, 1, Some("22012"), true),
    ] {
        let replies = run([&begun, answer]).unwrap();
        assert_eq!((replies.script.len(), replies.replies.len()), (1, n_replies));
        assert_eq!((state(&replies.refused).as_deref(), replies.is_guarded), (refused, is_guarded));
    }
    // The script's error goes first, and the session can be used.
    assert_eq!(run([&not_begun, &no_transaction]).unwrap_err().sqlstate(), Some("42501"));
    for answer in [&too_few, &data] {
        assert_eq!(run([&begun, answer]).unwrap_err().kind(), ErrorKind::Protocol);
    }
}

/// Answers of one round trip are kept together. Each used to have the bound for itself.
#[test]
fn all_answers_of_a_script_have_one_bound() {
    let column = b"a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    let n_columns = 1600_u16;
    let counted = |values: Vec<u8>| [&n_columns.to_be_bytes()[..], &values].concat();
    let description = message(b'T', &counted(column.repeat(n_columns.into())));
    // NULLs are four bytes each, and take the room of a value here.
    let row = message(b'D', &counted(vec![0xff; 4 * usize::from(n_columns)]));
    let answer = [description, row.repeat(3000), message(b'C', b"SELECT 3000\0")].concat();
    for (n_answers, fits) in [(1, true), (2, false)] {
        let steps = vec![Step::Expect(b'Q'), Step::Send([answer.repeat(n_answers), ready(b'I')].concat())];
        let answers = with_session(steps, |session| session.query_script("select"));
        match answers {
            Ok(answers) => assert!(fits && answers.len() == n_answers),
            Err(error) => {
                assert!(!fits && error.to_string().contains("larger than 256 MiB"), "{error}");
            }
        }
    }
}

#[test]
fn a_refusal_that_is_there_is_not_asked_for() {
    let report = [message(b'E', b"SERROR\0C42601\0Mno\0\0"), ready(b'I')].concat();
    let steps = [Step::Expect(b'Q'), Step::Send(report)];
    with_session(steps.into(), |session| {
        let error = session.execute("selec").unwrap_err();
        session.keep_answers(vec![Answer::refused("selec", error)]);
        assert_eq!(session.query("selec", &[]).unwrap_err().sqlstate(), Some("42601"));
        let description = Description { parameters: Vec::new(), columns: None };
        session.keep_description("select", description.clone());
        assert_eq!(session.take_description("other"), None);
        assert_eq!(session.describe("select").unwrap(), description);
        assert_eq!(session.take_description("select"), None);
        session.keep_description("select", description);
        session.forget_answers();
        assert_eq!(session.take_description("select"), None);
    });
}

#[test]
fn answers_that_are_there_are_not_asked_for() {
    let rows = with_session(
        vec![
            Step::Expect(b'Q'),
            Step::Send(
                [
                    row_description(),
                    message(b'D', b"\0\x01\0\0\0\x01x"),
                    message(b'C', b"SELECT 1\0"),
                    ready(b'I'),
                ]
                .concat(),
            ),
        ],
        |session| {
            let rows = session.query_script("select 'x'").unwrap().remove(0);
            let answer = Answer::new("select $1", &[Some("x")], rows);
            session.with_answers(vec![answer], |session| session.query("select $1", &[Some("x")]).unwrap())
        },
    );
    assert_eq!(rows[0].text(0), Some("x"));
    let row =
        [row_description(), message(b'D', b"\0\x01\0\0\0\x01y"), message(b'C', b"SELECT 1\0"), ready(b'I')];
    let bytes = [message(b'1', b""), message(b'2', b""), row.concat()].concat();
    // An answer for another parameter; the same answer a second time; an answer that was left over.
    for (known, n_asked) in [(Some("other"), 1), (Some("x"), 2)] {
        let asked = || b"PBDES".iter().map(|tag| Step::Expect(*tag)).chain([Step::Send(bytes.clone())]);
        with_session((0..n_asked).flat_map(|_| asked()).collect(), |session| {
            let answer = Answer::new("select $1", &[known], Vec::new());
            let n_taken = session.with_answers(vec![answer.clone(), answer], |session| {
                let first = session.query("select $1", &[Some("x")]).unwrap().len();
                let other = session.query("select $1", &[Some("z")]);
                if n_asked == 2 { first + other.unwrap().len() } else { first }
            });
            assert_eq!(n_taken, 1);
            if n_asked == 2 {
                assert_eq!(session.query("select $1", &[Some("x")]).unwrap().len(), 1);
            }
        });
    }
}
