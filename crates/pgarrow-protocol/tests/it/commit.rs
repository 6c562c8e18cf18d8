//! COMMIT: what is known of it afterwards, however the connection fails.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use pgarrow_protocol::{Config, Error, ErrorKind, Interrupter, Session, SslMode, TransactionStatus};
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

use crate::script::{Server, Step, logged_in, message, read_message, ready};
use crate::tls::{RootFile, TlsServer, authority, log_in};

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn began() -> Vec<Step> {
    vec![Step::Expect(b'Q'), Step::Send([complete("BEGIN"), ready(b'T')].concat())]
}

/// The result of COMMIT when these steps follow it, and of a statement after that.
fn commit(steps: Vec<Step>) -> (Result<(), Error>, Result<(), Error>) {
    let mut script = began();
    script.push(Step::ExpectBytes(b"Q\0\0\0\x0bCOMMIT\0".to_vec()));
    script.extend(steps);
    with_session(script, |session| {
        session.execute("begin").unwrap();
        (session.commit(), session.execute("select 1"))
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

fn error(severity: &str, sqlstate: &str) -> Vec<u8> {
    message(b'E', format!("S{severity}\0V{severity}\0C{sqlstate}\0Mwhy\0\0").as_bytes())
}

fn again() -> Vec<Step> {
    vec![Step::Expect(b'Q'), Step::Send([complete("SELECT 1"), ready(b'I')].concat())]
}

#[test]
fn answers_to_commit() {
    let refused = |sqlstate: &str| [error("ERROR", sqlstate), ready(b'I')].concat();
    for (name, answer, expected) in [
        ("committed", [complete("COMMIT"), ready(b'I')].concat(), None),
        ("rolled back", [complete("ROLLBACK"), ready(b'I')].concat(), Some(ErrorKind::RolledBack)),
        ("a deferred constraint", refused("23503"), Some(ErrorKind::Server)),
        ("a serialization failure", refused("40001"), Some(ErrorKind::Server)),
    ] {
        let (result, after) = commit([Step::Send(answer)].into_iter().chain(again()).collect());
        assert_eq!(result.err().map(|error| error.kind()), expected, "{name}");
        after.expect(name);
    }
}

#[test]
fn committed_is_committed_whatever_comes_then() {
    for after_it in [Vec::new(), ready(b'T'), complete("COMMIT"), error("FATAL", "57P01")] {
        let (result, after) = commit(vec![Step::Send([complete("COMMIT"), after_it].concat())]);
        result.unwrap();
        after.unwrap_err();
    }
}

#[test]
fn a_lost_answer_leaves_the_outcome_open() {
    for (name, answer) in [
        ("cut", Vec::new()),
        ("cut in the tag", b"C\0\0\0\x0bCOMM".to_vec()),
        ("shut down", error("FATAL", "57P01")),
        ("a pooler that lost its server", [error("ERROR", "08P01"), ready(b'I')].concat()),
        ("not known to the server", [error("ERROR", "40003"), ready(b'I')].concat()),
        ("another statement", [complete("SELECT 1"), ready(b'I')].concat()),
        ("ready at once", ready(b'I')),
        ("no statement", [message(b'I', b""), ready(b'I')].concat()),
        ("a tag without an end", message(b'C', b"COMMIT")),
        ("a row", message(b'D', b"\0\0")),
    ] {
        let (result, after) = commit(vec![Step::Send(answer)]);
        let error = result.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{name}: {error}");
        assert_eq!(error.sqlstate(), None, "{name}: whoever looks at codes would try again");
        assert!(error.to_string().contains("may be committed or not"), "{name}: {error}");
        assert_eq!(after.expect_err(name).kind(), ErrorKind::Protocol, "{name}");
    }
}

#[test]
fn a_silent_server_leaves_the_outcome_open() {
    let mut script = began();
    script.extend([Step::Expect(b'Q'), Step::AwaitClose]);
    // The second connection is for the cancel request.
    let server = Server::start(vec![logged_in(script), vec![Step::AwaitClose]]);
    let mut session = Session::connect(&server.config()).unwrap();
    session.execute("begin").unwrap();
    session.set_read_timeout(Some(Duration::from_millis(200)));
    let error = session.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
    assert!(error.to_string().contains("read timeout"), "{error}");
    drop(session);
    server.join();
}

/// Over TLS, too, where the sent bytes and the bytes that the socket took differ.
#[test]
fn an_interrupt_while_commit_is_under_way_leaves_the_outcome_open() {
    let interrupter = Interrupter::default();
    let handle = interrupter.clone();
    let ours = authority();
    let root = RootFile::new("commit", &ours.pem());
    let server = TlsServer::new(&ours, "localhost").start(vec![Box::new(move |stream| {
        log_in(stream)?;
        read_message(stream)?;
        // Before the answer: with it, the client goes on to COMMIT.
        assert!(!handle.is_committing());
        stream.write_all(&[complete("BEGIN"), ready(b'T')].concat())?;
        stream.flush()?;
        assert_eq!(read_message(stream)?, (b'Q', b"COMMIT\0".to_vec()));
        // A program that ends the process now has to report this.
        assert!(handle.is_committing());
        handle.interrupt();
        stream.read_to_end(&mut Vec::new()).map(drop)
    })]);
    let config = server.config("verify-full", &root, "");
    let mut session = Session::connect_interruptible(&config, &interrupter).unwrap();
    session.execute("begin").unwrap();
    let error = session.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
    assert!(error.to_string().contains("interrupted"), "{error}");
    assert!(interrupter.is_committing());
    drop(session);
    server.join();
}

#[test]
fn what_was_never_sent_is_not_committed() {
    // No transaction.
    with_session(again(), |session| {
        assert_eq!(session.commit().unwrap_err().kind(), ErrorKind::Config);
        session.execute("select 1").unwrap();
    });
    // Interrupted before.
    with_session(began(), |session| {
        session.execute("begin").unwrap();
        session.interrupter().interrupt();
        assert_eq!(session.commit().unwrap_err().kind(), ErrorKind::Interrupted);
    });
    // The server ended it before. The client sees this in bytes that it has received, and in bytes that it
    // has not.
    let fatal = error("FATAL", "25P03");
    let at_once = [complete("BEGIN"), ready(b'T'), fatal.clone()].concat();
    let mut later = began();
    later.push(Step::Send(fatal));
    for script in [vec![Step::Expect(b'Q'), Step::Send(at_once)], later] {
        let server = Server::start(vec![logged_in(script), logged_in(Vec::new())]);
        let mut session = Session::connect(&server.config()).unwrap();
        session.execute("begin").unwrap();
        // The server accepts this connection after it has played the whole first script.
        drop(Session::connect(&server.config()).unwrap());
        let error = session.commit().unwrap_err();
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("25P03")));
        drop(session);
        server.join();
    }
}

/// F-68: the server has committed, and the answer never comes.
#[test]
fn a_real_commit_whose_answer_is_lost() {
    require!(Capability::Server);
    let server = TestServer::shared();
    let database = server.fresh_database("lost_commit");
    database.execute("CREATE TABLE t (a int)");
    let begin = "BEGIN; INSERT INTO t VALUES (1)";
    let answered = {
        let mut session = connect(database.url());
        session.execute(begin).unwrap();
        session.bytes_received()
    };
    // The same over another connection, which ends after one byte of the answer to COMMIT.
    let proxy = Proxy::start(server_port(&database), Fault::CloseAfterServerBytes(answered + 1));
    let mut session = connect(&proxy.url_of(database.url()));
    session.execute(begin).unwrap();
    let error = session.commit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommitUnknown, "{error}");
    // In this case it was committed.
    let mut other = connect(database.url());
    assert_eq!(other.query("SELECT count(*) FROM t", &[]).unwrap()[0].text(0), Some("1"));
}

fn server_port(database: &Database) -> u16 {
    Config::parse_with(Some(database.url()), &|_| None).unwrap().port()
}

#[test]
fn commits_of_a_real_server() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("commit");
    let mut session = connect(database.url());
    session.execute("CREATE TABLE t (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)").unwrap();
    session.execute("BEGIN; INSERT INTO t VALUES (1)").unwrap();
    session.commit().unwrap();
    assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    // A constraint that is checked at COMMIT.
    session.execute("BEGIN; INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(session.commit().unwrap_err().sqlstate(), Some("23505"));
    // A transaction that has failed.
    session.execute("BEGIN").unwrap();
    session.execute("SELECT 1 / 0").unwrap_err();
    assert_eq!(session.commit().unwrap_err().kind(), ErrorKind::RolledBack);
    assert_eq!(session.commit().unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(session.query("SELECT count(*) FROM t", &[]).unwrap()[0].text(0), Some("1"));
}

#[test]
fn statements_that_count_rows() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("counted");
    let mut session = connect(database.url());
    for (sql, parameters, rows) in [
        ("CREATE TABLE t (a int, b text)", &[][..], 0),
        ("INSERT INTO t SELECT i, $1 FROM generate_series(1, 10) AS i", &[Some("x")][..], 10),
        ("UPDATE t SET b = $1 WHERE a > 7", &[None], 3),
        ("UPDATE t SET b = 'y' WHERE false", &[], 0),
        ("DELETE FROM t WHERE a = $1", &[Some("1")], 1),
        ("DELETE FROM t WHERE a < 4 RETURNING a, b", &[], 2),
        ("SELECT a FROM t", &[], 7),
        ("CREATE TABLE u AS SELECT * FROM t", &[], 7),
        ("", &[], 0),
        ("TRUNCATE t", &[], 0),
    ] {
        assert_eq!(session.execute_counted(sql, parameters).expect(sql), rows, "{sql}");
    }
    let error = session.execute_counted("INSERT INTO t VALUES ('x')", &[]).unwrap_err();
    assert_eq!(error.sqlstate(), Some("22P02"));
    let error = session.execute_counted("INSERT INTO t VALUES (1 / $1::int)", &[Some("0")]).unwrap_err();
    assert_eq!(error.sqlstate(), Some("22012"));
    assert_eq!(session.execute_counted("INSERT INTO t VALUES (1)", &[]).unwrap(), 1);
}

#[test]
fn tags_that_do_not_count_what_they_should() {
    let begun = [message(b'1', b""), message(b'2', b""), message(b'n', b"")].concat();
    for answer in [complete("INSERT 1"), complete("UPDATE"), message(b'D', b"\0\0"), ready(b'I')] {
        let expected = b"PBDES".map(Step::Expect).into_iter();
        let steps = expected.chain([Step::Send([&begun[..], &answer, &ready(b'I')].concat())]);
        with_session(steps.collect(), |session| {
            let error = session.execute_counted("insert into t values (1)", &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        });
    }
}

fn connect(url: &str) -> Session {
    let config = Config::parse_with(Some(url), &|_| None).unwrap().with_sslmode(SslMode::Disable);
    Session::connect(&config).unwrap()
}
