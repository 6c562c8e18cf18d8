//! COPY FROM STDIN against servers that break it off, send nothing, send too much, or leave: in plaintext and
//! through TLS.

mod real;
mod stage;

use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::time::Duration;

use pgarrow_protocol::{AskedBehind, Config, CopyIn, Error, ErrorKind, Session};

use self::stage::{
    COPY, Play, STARTED, begin, both_ways, complete, data, done, error, in_the_clear, notice, read,
    read_past_data, say, welcome_client,
};
use crate::script::{Server, Step, logged_in, message, ready};

/// Sends rows until sending fails.
fn send_until_refused(copy: &mut CopyIn<'_>) -> Error {
    (0..1_000_000)
        .find_map(|_| {
            copy.buffer().extend_from_slice(&[b'x'; CopyIn::MESSAGE_BYTES]);
            copy.send().err()
        })
        .unwrap()
}

#[test]
fn byte_for_byte() {
    let server = Server::start(vec![logged_in(vec![
        Step::Expect(b'Q'),
        Step::Send(STARTED.to_vec()),
        Step::ExpectBytes([data(b"ab"), data(b"c"), data(b"de"), data(b"f"), message(b'c', b"")].concat()),
        Step::Send([complete("COPY 2"), ready(b'I')].concat()),
        Step::Expect(b'Q'),
        Step::Send(message(b'G', &[0, 0, 0])),
        Step::ExpectBytes(message(b'f', b"the sender broke the COPY off\0")),
        Step::Send([error("ERROR", "57014"), ready(b'I')].concat()),
        Step::Expect(b'Q'),
        Step::Send(message(b'G', &[0, 0, 0])),
        Step::ExpectBytes(message(b'f', b"row 7: no date\0")),
        Step::Send([error("ERROR", "57014"), ready(b'I')].concat()),
        Step::Expect(b'X'),
    ])]);
    let mut session = Session::connect(&server.config()).unwrap();
    let mut copy = session.copy_in(COPY).unwrap();
    assert_eq!((copy.columns(), copy.is_binary()), (2, true));
    copy.write(b"a").unwrap();
    copy.buffer().extend_from_slice(b"b");
    copy.send().unwrap();
    copy.write(b"").unwrap();
    copy.send().unwrap();
    copy.write(b"c").unwrap();
    let mut rows = b"*****de".to_vec();
    copy.send_rows(&mut rows).unwrap();
    assert_eq!(rows.len(), CopyIn::PLACE_BYTES);
    copy.send_rows(&mut rows).unwrap();
    copy.write(b"f").unwrap();
    assert_eq!(copy.finish().unwrap(), 2);
    let copy = session.copy_in(COPY).unwrap();
    assert_eq!((copy.columns(), copy.is_binary()), (0, false));
    drop(copy);
    // Without the zero byte, which would end the message early.
    session.copy_in(COPY).unwrap().fail("row 7\0: no date").unwrap();
    session.close();
    server.join();
}

/// One row may be larger than a message: it leaves in several, and no byte of it is moved.
#[test]
fn large_rows_are_cut() {
    fn play() -> Play {
        Box::new(|stream, _| {
            let mut payload = Vec::new();
            loop {
                match read(stream)? {
                    (b'd', body) => {
                        assert!(body.len() <= 1 << 20, "{} bytes", body.len());
                        payload.extend_from_slice(&body);
                    }
                    (tag, _) => {
                        assert_eq!(tag, b'c');
                        break;
                    }
                }
            }
            let is_whole = payload == rows();
            say(stream, &[complete(&format!("COPY {}", u8::from(is_whole))), ready(b'I')].concat())
        })
    }
    fn rows() -> Vec<u8> {
        let sizes = [1, 100, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5, 3_333_333, 0, 7 << 20];
        sizes.iter().flat_map(|n_bytes| (0..*n_bytes).map(|n| (n % 251) as u8)).collect()
    }
    both_ways(play, |session| {
        let sent_before = session.bytes_sent();
        let mut copy = session.copy_in(COPY).unwrap();
        let mut start = 0;
        let rows = rows();
        for n_bytes in [1, 100, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5, 3_333_333, 0, 7 << 20] {
            copy.buffer().extend_from_slice(&rows[start..start + n_bytes]);
            start += n_bytes;
            if copy.is_full() {
                copy.send().unwrap();
                assert!(copy.buffer().capacity() < 1 << 21, "a large buffer is not kept");
            }
        }
        assert!(copy.bytes_sent() as usize > rows.len());
        assert_eq!(copy.finish().unwrap(), 1, "1 says that the payload came as it was sent");
        assert!((session.bytes_sent() - sent_before) as usize > rows.len());
    });
}

#[test]
fn a_buffer_that_was_cut_is_not_sent() {
    fn play() -> Play {
        Box::new(|stream, _| {
            assert_eq!(read(stream)?.0, b'f');
            say(stream, &[error("ERROR", "57014"), ready(b'I')].concat())
        })
    }
    both_ways(play, |session| {
        let mut copy = session.copy_in(COPY).unwrap();
        copy.buffer().clear();
        assert_eq!(copy.send().unwrap_err().kind(), ErrorKind::Config);
        // The server still waits for data; the drop sends CopyFail.
        drop(copy);
        assert!(session.is_usable());
    });
}

/// Once, both sides waited for ever if the server reported an error in the middle of a message.
#[test]
fn an_early_error_stops_the_sending() {
    both_ways(
        || {
            Box::new(|stream, _| {
                read(stream)?;
                say(stream, &[error("ERROR", "22P02"), ready(b'I')].concat())?;
                // As a real server does: it reads the data that is on its way and drops it.
                assert_eq!(read_past_data(stream)?, b'Q');
                say(stream, &done())
            })
        },
        |session| {
            let mut copy = session.copy_in(COPY).unwrap();
            assert_eq!(send_until_refused(&mut copy).sqlstate(), Some("22P02"));
            assert!(copy.write(b"more").is_err() && copy.send().is_err());
            drop(copy);
            session.execute("select 1").unwrap();
        },
    );
}

/// W-17: no further message is sent. Over a Unix socket, where written bytes have arrived.
#[test]
fn an_error_that_is_there_stops_the_next_message() {
    let folder = std::env::temp_dir().join(format!("pgarrow-copy-in-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
    let (heard, is_heard) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        welcome_client(&mut stream);
        begin(&mut stream).unwrap();
        assert_eq!(read(&mut stream).unwrap(), (b'd', b"one".to_vec()));
        say(&mut stream, &[error("ERROR", "23505"), ready(b'I')].concat()).unwrap();
        heard.send(()).unwrap();
        assert_eq!(read(&mut stream).unwrap().0, b'Q', "nothing is sent to a server that has refused");
        say(&mut stream, &done()).unwrap();
    });
    let conninfo = format!("host={} user=u", folder.display());
    let mut session = Session::connect(&Config::parse_with(Some(&conninfo), &|_| None).unwrap()).unwrap();
    let mut copy = session.copy_in(COPY).unwrap();
    copy.write(b"one").unwrap();
    copy.send().unwrap();
    is_heard.recv().unwrap();
    copy.write(b"two").unwrap();
    assert_eq!(copy.send().unwrap_err().sqlstate(), Some("23505"));
    drop(copy);
    session.execute("select 1").unwrap();
    drop(session);
    thread.join().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// W-17: a server that sends and does not read, while we write and would not read.
#[test]
fn a_flood_of_talk_blocks_nobody() {
    const N_NOTICES: usize = 2_000;
    fn play() -> Play {
        Box::new(|stream, _| {
            for _ in 0..N_NOTICES {
                say(stream, &notice(20_000))?;
            }
            say(stream, &message(b'S', b"TimeZone\0Mars\0"))?;
            assert_eq!(read_past_data(stream)?, b'c');
            say(stream, &[complete("COPY 7"), ready(b'I')].concat())
        })
    }
    both_ways(play, |session| {
        let mut copy = session.copy_in(COPY).unwrap();
        let row = vec![b'x'; 50_000];
        // What is said is heard before each message, too: on a busy machine, that may be all of it, and
        // nothing had to wait. More is said than the sockets hold, so it is heard in one way or the other.
        (0..1_000).for_each(|_| copy.write(&row).unwrap());
        // Another number than was sent: the caller compares the two.
        assert_eq!(copy.finish().unwrap(), 7);
        assert_eq!(session.notices_dropped(), N_NOTICES as u64 - 64);
        assert_eq!(session.parameter("TimeZone"), Some("Mars"));
    });
}

/// Notices that come while data moves do not count as an endless flood, whatever their size: a trigger may
/// send one for every row. Without data, a gigabyte of them ends the session.
#[test]
fn talk_beside_data_has_no_limit() {
    let play: Play = Box::new(|stream, _| {
        let talk = message(b'A', &vec![b'x'; 1_000_000]).repeat(10);
        for _ in 0..120 {
            assert_eq!(read(stream)?.0, b'd');
            say(stream, &talk)?;
        }
        assert_eq!(read_past_data(stream)?, b'c');
        say(stream, &[complete("COPY 120"), ready(b'I')].concat())
    });
    in_the_clear(play, |session| {
        let mut copy = session.copy_in(COPY).unwrap();
        for _ in 0..120 {
            copy.buffer().resize(5 + (1 << 20), b'x');
            copy.send().unwrap();
        }
        assert_eq!(copy.finish().unwrap(), 120);
    });
}

/// Reads nothing until the client has left.
fn deaf() -> Play {
    Box::new(|stream, left| {
        say(stream, &notice(1))?;
        left.recv().unwrap_err();
        Ok(())
    })
}

#[test]
fn a_server_that_takes_nothing_is_not_waited_for_longer_than_it_may() {
    both_ways(deaf, |session| {
        session.set_read_timeout(Some(Duration::from_millis(300)));
        let mut copy = session.copy_in(COPY).unwrap();
        let error = send_until_refused(&mut copy);
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("not one byte was taken for 300ms"), "{error}");
        assert!(copy.waited() >= Duration::from_millis(200), "{:?}", copy.waited());
        drop(copy);
        assert!(session.execute("select 1").is_err());
    });
}

#[test]
fn sending_can_be_interrupted() {
    both_ways(deaf, |session| {
        let interrupter = session.interrupter();
        let mut copy = session.copy_in(COPY).unwrap();
        let thread = std::thread::spawn(move || interrupter.interrupt());
        // More than any socket holds.
        copy.buffer().resize(200 << 20, b'x');
        let error = copy.send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
        thread.join().unwrap();
        drop(copy);
        assert!(session.execute("select 1").is_err());
    });
}

#[test]
fn a_server_that_leaves_is_heard() {
    for (says, kind, state) in [
        (Vec::new(), ErrorKind::Closed, None),
        (error("FATAL", "57P01"), ErrorKind::Server, Some("57P01")),
        (message(b'N', b"SWARNING\0VWARNING\0C57P02\0Mcrash\0\0"), ErrorKind::Closed, Some("57P02")),
    ] {
        let play = || -> Play {
            let says = says.clone();
            Box::new(move |stream, _| {
                read(stream)?;
                say(stream, &says)
            })
        };
        both_ways(play, |session| {
            let mut copy = session.copy_in(COPY).unwrap();
            let error = send_until_refused(&mut copy);
            assert_eq!((error.kind(), error.sqlstate()), (kind, state), "{error}");
            drop(copy);
            assert_eq!(session.execute("select 1").unwrap_err().kind(), ErrorKind::Protocol);
        });
    }
}

/// Messages that no server sends while it takes data: the first of them ends the session.
#[test]
fn what_may_not_come_while_data_goes() {
    for says in [
        complete("COPY 1"),
        ready(b'I'),
        message(b'c', b""),
        STARTED.to_vec(),
        data(b"x"),
        b"D\x3f\xff\xff\xff".to_vec(),
        message(b'1', b""),
        vec![0; 5],
    ] {
        let play: Play = Box::new({
            let says = says.clone();
            move |stream, _| {
                say(stream, &says)?;
                while read(stream).is_ok() {}
                Ok(())
            }
        });
        in_the_clear(play, |session| {
            let mut copy = session.copy_in(COPY).unwrap();
            assert_eq!(send_until_refused(&mut copy).kind(), ErrorKind::Protocol, "{says:?}");
            drop(copy);
            assert_eq!(session.execute("select 1").unwrap_err().kind(), ErrorKind::Protocol, "{says:?}");
        });
    }
}

#[test]
fn endings_that_are_no_success() {
    let one = complete("COPY 1");
    for (name, ending, kind) in [
        ("refused", [error("ERROR", "23505"), ready(b'I')].concat(), ErrorKind::Server),
        ("ready at once", ready(b'I'), ErrorKind::Protocol),
        ("another statement", [complete("SELECT 1"), ready(b'I')].concat(), ErrorKind::Protocol),
        ("no number", [complete("COPY"), ready(b'I')].concat(), ErrorKind::Protocol),
        ("another statement after it", [one.clone(), complete("SELECT 1")].concat(), ErrorKind::Protocol),
        ("a transaction begun", [one.clone(), ready(b'T')].concat(), ErrorKind::Protocol),
        ("a transaction failed", [one.clone(), ready(b'E')].concat(), ErrorKind::Protocol),
        ("refused after it", [one.clone(), error("ERROR", "23505"), ready(b'I')].concat(), ErrorKind::Server),
        ("the end", Vec::new(), ErrorKind::Closed),
        ("the end after it", one.clone(), ErrorKind::Closed),
    ] {
        let play: Play = Box::new(move |stream, _| {
            assert_eq!(read_past_data(stream)?, b'c');
            say(stream, &ending)
        });
        in_the_clear(play, |session| {
            let mut copy = session.copy_in(COPY).unwrap();
            copy.write(b"row").unwrap();
            assert_eq!(copy.finish().expect_err(name).kind(), kind, "{name}");
        });
    }
}

/// What comes after the COPY was one round trip more.
#[test]
fn a_question_behind_the_end() {
    let description = message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    let row = message(b'D', b"\0\x01\0\0\0\x01x");
    let begun = [message(b'1', b""), message(b'2', b""), description].concat();
    let answered = [begun.clone(), row, complete("SELECT 1"), ready(b'I')].concat();
    let copied = [complete("COPY 1"), ready(b'I')].concat();
    let refused = |code: &str| [error("ERROR", code), ready(b'I')].concat();
    let (of_copy, of_question) = (refused("23505"), refused("25P02"));
    for (answer, copy_error, question_error) in [
        ([copied.clone(), answered].concat(), None, None),
        ([copied.clone(), of_question.clone()].concat(), None, Some("25P02")),
        // It breaks off in its rows.
        ([copied, begun, of_question.clone()].concat(), None, Some("25P02")),
        // The server refuses the question, too, and that is no error of the next statement.
        ([of_copy, of_question].concat(), Some("23505"), Some("25P02")),
    ] {
        for asks in [false, true] {
            let mut steps = vec![Step::Expect(b'Q'), Step::Send(STARTED.to_vec())];
            steps.push(Step::ExpectBytes([data(b"row"), message(b'c', b"")].concat()));
            steps.extend(b"PBDES".iter().map(|tag| Step::Expect(*tag)));
            steps.extend([Step::Send(answer.clone()), Step::Expect(b'Q'), Step::Send(done())]);
            let server = Server::start(vec![logged_in(steps)]);
            let mut session = Session::connect(&server.config()).unwrap();
            let mut copy = session.copy_in(COPY).unwrap();
            copy.write(b"row").unwrap();
            let question = AskedBehind { sql: "select $1", parameters: &[Some("x")], and_commit: false };
            let rows = copy.finish_and(Some(question));
            assert_eq!(rows.as_ref().err().and_then(Error::sqlstate), copy_error);
            assert_eq!(rows.ok(), copy_error.is_none().then_some(1));
            if asks {
                let rows = session.query("select $1", &[Some("x")]);
                assert_eq!(rows.as_ref().err().and_then(Error::sqlstate), question_error);
                assert_eq!(rows.ok().map(|rows| rows.len()), question_error.is_none().then_some(1));
            }
            session.execute("select 1").unwrap();
            drop(session);
            server.join();
        }
    }
}

/// A server whose COPY is broken off, and which then goes on.
fn broken_off() -> Play {
    Box::new(|stream, _| {
        assert_eq!(read_past_data(stream)?, b'f');
        say(stream, &[error("ERROR", "57014"), ready(b'I')].concat())?;
        assert_eq!(read(stream)?.0, b'Q');
        say(stream, &done())
    })
}

/// The rows were sent, and the COPY was left open.
#[test]
fn a_question_that_cannot_be_sent_breaks_the_copy_off() {
    both_ways(broken_off, |session| {
        let mut copy = session.copy_in(COPY).unwrap();
        copy.write(b"row").unwrap();
        let question = AskedBehind { sql: "select '\0'", parameters: &[], and_commit: false };
        assert_eq!(copy.finish_and(Some(question)).unwrap_err().kind(), ErrorKind::Config);
        session.execute("select 1").unwrap();
    });
}

/// W-19: whatever ends the sender, the server gets no CopyDone.
#[test]
fn a_panic_is_no_end_of_the_data() {
    both_ways(broken_off, |session| {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut copy = session.copy_in(COPY).unwrap();
            copy.write(&[b'x'; 100_000]).unwrap();
            panic!("on purpose");
        }));
        assert!(caught.is_err());
        session.execute("select 1").unwrap();
    });
}

#[test]
fn a_copy_that_cannot_be_broken_off_is_said_to_be_so() {
    for answer in [Vec::new(), complete("COPY 0"), error("FATAL", "57P01")] {
        let play: Play = Box::new(move |stream, _| {
            assert_eq!(read_past_data(stream)?, b'f');
            say(stream, &answer)
        });
        in_the_clear(play, |session| {
            session.copy_in(COPY).unwrap().fail("why").unwrap_err();
            assert_eq!(session.execute("select 1").unwrap_err().kind(), ErrorKind::Protocol);
        });
    }
}
