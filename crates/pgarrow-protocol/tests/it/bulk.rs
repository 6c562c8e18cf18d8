//! One statement many times: against scripts, against a real server, and through a pooler.

use pgarrow_protocol::{Bulk, Config, Error, ErrorKind, Session, SslMode, TransactionStatus};
use pgarrow_testkit::{Capability, PgBouncer, TestServer, require};

use crate::script::{Server, Step, logged_in, message, ready};

const INT4: u32 = 23;
const INT8: u32 = 20;
const TEXT: u32 = 25;
const NUMERIC: u32 = 1700;

fn connect(url: &str) -> Session {
    let config = Config::parse_with(Some(url), &|_| None).unwrap().with_sslmode(SslMode::Disable);
    Session::connect(&config).unwrap()
}

fn put(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        Some(bytes) => {
            out.extend_from_slice(&i32::try_from(bytes.len()).unwrap().to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

fn execute_int4(bulk: &mut Bulk<'_>, value: i32) -> Result<(), Error> {
    put(bulk.buffer(), Some(&value.to_be_bytes()));
    bulk.execute()
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn executed() -> Vec<u8> {
    [message(b'2', b""), complete("INSERT 0 1")].concat()
}

fn again() -> Vec<Step> {
    vec![Step::Expect(b'Q'), Step::Send([complete("SELECT 1"), ready(b'I')].concat())]
}

fn with_session<T>(steps: Vec<Step>, run: impl FnOnce(&mut Session) -> T) -> T {
    let server = Server::start(vec![logged_in(steps)]);
    let mut session = Session::connect(&server.config()).unwrap();
    let result = run(&mut session);
    drop(session);
    server.join();
    result
}

fn two_executions(session: &mut Session) -> Result<u64, Error> {
    let mut bulk = session.bulk("i", &[INT4])?;
    execute_int4(&mut bulk, 1)?;
    execute_int4(&mut bulk, 2)?;
    bulk.finish()
}

#[test]
fn byte_for_byte() {
    let bind = |value: u8| {
        let body = [&b"\0\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0"[..], &[value], b"\0\0"].concat();
        [message(b'B', &body), message(b'E', b"\0\0\0\0\0")].concat()
    };
    let parse = message(b'P', b"\0i\0\0\x01\0\0\0\x17");
    let sync = message(b'S', b"");
    let expected = [parse, bind(1), bind(2), sync].concat();
    let answer = [message(b'1', b""), executed(), executed(), ready(b'I')].concat();
    for n_bytes in [1, 2, 3, 7, usize::MAX] {
        let mut steps = vec![Step::ExpectBytes(expected.clone()), Step::Slices(n_bytes, answer.clone())];
        steps.extend(again());
        with_session(steps, |session| {
            assert_eq!(two_executions(session).unwrap(), 2);
            session.execute("select 1").unwrap();
        });
    }
}

#[test]
fn answers_that_lie() {
    let parsed = message(b'1', b"");
    let bound = message(b'2', b"");
    let done = complete("INSERT 0 1");
    let both = [executed(), executed()].concat();
    for (name, answer) in [
        ("ready at once", ready(b'I')),
        ("bound before it was parsed", bound.clone()),
        ("parsed twice", [parsed.clone(), parsed.clone()].concat()),
        ("parsed, with a body", message(b'1', b"x")),
        ("bound twice", [&parsed[..], &bound, &bound].concat()),
        ("bound, with a body", [&parsed[..], &message(b'2', b"x")].concat()),
        ("executed and not bound", [&parsed[..], &done].concat()),
        ("executed three times", [&parsed[..], &both, &executed()].concat()),
        ("ready too early", [&parsed[..], &executed(), &ready(b'I')].concat()),
        ("ready when one is bound", [&parsed[..], &executed(), &bound, &ready(b'I')].concat()),
        ("a tag without an end", [&parsed[..], &bound, &message(b'C', b"INSERT 0 1")].concat()),
        ("a tag without a number", [&parsed[..], &bound, &complete("INSERT 0 ")].concat()),
        ("a row", [&parsed[..], &bound, &message(b'D', b"\0\0")].concat()),
        ("the head of a row", [&parsed[..], &bound, b"D\x3f\xff\xff\xff"].concat()),
        ("suspended", [&parsed[..], &bound, &message(b's', b"")].concat()),
        ("a COPY", [&parsed[..], &bound, &message(b'G', &[0, 0, 0])].concat()),
        ("a transaction begun", [&parsed[..], &both, &ready(b'T')].concat()),
        ("a transaction failed", [&parsed[..], &both, &ready(b'E')].concat()),
        ("a length that cannot be", [&parsed[..], b"2\0\0\0\0"].concat()),
    ] {
        with_session(vec![Step::Expect(b'P'), Step::Send(answer)], |session| {
            let error = two_executions(session).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Protocol, "{name}: {error}");
            assert_eq!(session.execute("select 1").expect_err(name).kind(), ErrorKind::Protocol, "{name}");
        });
    }
    for answer in [Vec::new(), parsed.clone(), [&parsed[..], &both].concat(), b"1\0\0".to_vec()] {
        let error = with_session(vec![Step::Expect(b'P'), Step::Send(answer)], two_executions).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
}

#[test]
fn which_execution_was_refused() {
    let error = message(b'E', b"SERROR\0VERROR\0C23505\0Mduplicate\0\0");
    let fatal = message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mbye\0\0");
    let parsed = message(b'1', b"");
    let bound = message(b'2', b"");
    for (name, before, index) in [
        ("the statement", Vec::new(), None),
        ("the first, at its parameters", parsed.clone(), Some(0)),
        ("the first", [&parsed[..], &bound].concat(), Some(0)),
        ("the second, at its parameters", [&parsed[..], &executed()].concat(), Some(1)),
        ("the second", [&parsed[..], &executed(), &bound].concat(), Some(1)),
        ("all of them", [&parsed[..], &executed(), &executed()].concat(), None),
    ] {
        let tags = b"PBEBES".map(Step::Expect).into_iter();
        let steps = tags.chain([Step::Send([&before[..], &error, &ready(b'I')].concat())]).chain(again());
        with_session(steps.collect(), |session| {
            let error = two_executions(session).expect_err(name);
            assert_eq!((error.sqlstate(), error.failed_execution()), (Some("23505"), index), "{name}");
            session.execute("select 1").expect(name);
        });
        with_session(vec![Step::Expect(b'P'), Step::Send([before, fatal.clone()].concat())], |session| {
            let error = two_executions(session).expect_err(name);
            assert_eq!((error.sqlstate(), error.failed_execution()), (Some("57P01"), index), "{name}");
            session.execute("select 1").expect_err(name);
        });
    }
}

/// As a real server does: it reads on, and skips everything up to Sync.
#[test]
fn a_refusal_stops_the_sending() {
    fn refuse(stream: &mut std::net::TcpStream) {
        use std::io::Write as _;
        for tag in *b"PBE" {
            assert_eq!(crate::script::read_message(stream).unwrap().0, tag);
        }
        let error = message(b'E', b"SERROR\0VERROR\0C22003\0Mbad\0\0");
        stream.write_all(&[message(b'1', b""), message(b'2', b""), error].concat()).unwrap();
        while crate::script::read_message(stream).unwrap().0 != b'S' {}
        stream.write_all(&ready(b'I')).unwrap();
    }
    with_session([Step::Run(refuse)].into_iter().chain(again()).collect(), |session| {
        let mut bulk = session.bulk("insert", &[TEXT]).unwrap();
        let value = vec![b'x'; 100_000];
        let error = (0..1_000_000)
            .find_map(|_| {
                put(bulk.buffer(), Some(&value));
                bulk.execute().err()
            })
            .unwrap();
        assert_eq!((error.sqlstate(), error.failed_execution()), (Some("22003"), Some(0)));
        assert_eq!(bulk.execute().unwrap_err().kind(), ErrorKind::Config, "it has failed before");
        drop(bulk);
        session.execute("select 1").unwrap();
    });
}

#[test]
fn what_is_not_sent() {
    with_session(again(), |session| {
        assert_eq!(session.bulk("i", &vec![INT4; 65_536]).unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(session.bulk("i\0", &[]).unwrap_err().kind(), ErrorKind::Config);
        let mut bulk = session.bulk("i", &[INT4, INT4]).unwrap();
        for values in [
            &b""[..],
            b"\0\0\0",
            b"\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\0\0\0\x01",
            b"\xff\xff\xff\xff\xff\xff\xff\xfe",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\0",
            b"\xff\xff\xff\xff\0\0\0\x02a",
        ] {
            bulk.buffer().extend_from_slice(values);
            if !values.is_empty() {
                assert_eq!(
                    bulk.sync().unwrap_err().kind(),
                    ErrorKind::Config,
                    "{values:?} were not executed"
                );
            }
            let error = bulk.execute().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{values:?}: {error}");
        }
        // A length that does not fit: 32 bits, a sign and a limit.
        put(bulk.buffer(), Some(&vec![0; (1 << 29) - 20]));
        put(bulk.buffer(), Some(&vec![0; 1 << 29]));
        let error = bulk.execute().unwrap_err();
        assert!(error.to_string().contains("1 GiB"), "{error}");
        assert_eq!(bulk.finish().unwrap(), 0);
        session.execute("select 1").unwrap();
    });
}

#[test]
fn types_and_nulls_of_a_real_server() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("bulk");
    let mut session = connect(database.url());
    session.execute("CREATE TABLE t (a int8, b text, c numeric)").unwrap();
    let one_and_a_half = b"\0\x02\0\0\0\0\0\x01\0\x01\x13\x88";
    for begin in ["", "BEGIN"] {
        session.execute("TRUNCATE t").unwrap();
        session.execute(begin).unwrap();
        let mut bulk = session.bulk("INSERT INTO t VALUES ($1, $2, $3)", &[INT8, TEXT, NUMERIC]).unwrap();
        for i in 0..10_000_i64 {
            let out = bulk.buffer();
            put(out, Some(&i.to_be_bytes()));
            put(out, (i % 3 > 0).then(|| "ä".repeat(i as usize % 50)).as_deref().map(str::as_bytes));
            put(out, (i % 7 > 0).then_some(one_and_a_half));
            bulk.execute().unwrap();
            if i % 2_500 == 2_499 {
                assert_eq!(bulk.sync().unwrap(), 2_500);
                assert_eq!(bulk.sync().unwrap(), 0, "there is nothing to be waited for");
            }
        }
        assert!(bulk.bytes_sent() > 500_000, "{}", bulk.bytes_sent());
        assert_eq!(bulk.finish().unwrap(), 10_000);
        if !begin.is_empty() {
            session.commit().unwrap();
        }
        let sql = "SELECT count(*), count(*) FILTER (WHERE b IS NOT DISTINCT FROM CASE WHEN a % 3 > 0 THEN \
            repeat('ä', (a % 50)::int) END AND c IS NOT DISTINCT FROM CASE WHEN a % 7 > 0 THEN 1.5 END), \
            count(DISTINCT a) FROM t";
        let rows = session.query(sql, &[]).unwrap();
        assert_eq!([0, 1, 2].map(|index| rows[0].text(index)), [Some("10000"); 3]);
    }
}

#[test]
fn as_many_parameters_as_there_can_be() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("bulk_wide");
    let mut session = connect(database.url());
    session.execute("CREATE TABLE t (a int4)").unwrap();
    let rows: Vec<String> = (1..=65_535).map(|number| format!("(${number})")).collect();
    let sql = format!("INSERT INTO t VALUES {}", rows.join(","));
    let mut bulk = session.bulk(&sql, &vec![INT4; 65_535]).unwrap();
    for _ in 0..3 {
        for i in 0..65_535_i32 {
            put(bulk.buffer(), Some(&i.to_be_bytes()));
        }
        bulk.execute().unwrap();
    }
    assert_eq!(bulk.finish().unwrap(), 3 * 65_535);
    let counted = session.query("SELECT count(*), count(DISTINCT a), max(a) FROM t", &[]).unwrap();
    assert_eq!([0, 1, 2].map(|index| counted[0].text(index)), [Some("196605"), Some("65535"), Some("65534")]);
}

#[test]
fn an_error_in_the_middle_of_a_real_pipeline() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("bulk_error");
    let mut session = connect(database.url());
    session.execute("CREATE TABLE t (a int4 PRIMARY KEY)").unwrap();
    session.execute("CREATE TABLE later (a int4 PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)").unwrap();
    let run = |session: &mut Session, sql: &str, values: &mut dyn Iterator<Item = i32>| {
        let mut bulk = session.bulk(sql, &[INT4]).unwrap();
        for value in values {
            execute_int4(&mut bulk, value)?;
        }
        bulk.finish()
    };
    let insert = "INSERT INTO t VALUES ($1)";
    for (n_rows, failing) in [(10, 0), (10, 5), (10, 9), (30_000, 12_345)] {
        let values = || (0..n_rows).map(|i| if i == failing && i > 0 { 0 } else { i });
        let sql = if failing == 0 { "INSERT INTO t VALUES (1 / $1)" } else { insert };
        let state = if failing == 0 { "22012" } else { "23505" };
        // Without a transaction nothing stays.
        let error = run(&mut session, sql, &mut values()).unwrap_err();
        assert_eq!((error.sqlstate(), error.failed_execution()), (Some(state), Some(failing as u64)));
        assert_eq!(session.query("SELECT count(*) FROM t", &[]).unwrap()[0].text(0), Some("0"));
        // In a transaction, it has failed, up to the savepoint.
        session.execute("BEGIN; SAVEPOINT s").unwrap();
        let error = run(&mut session, sql, &mut values()).unwrap_err();
        assert_eq!((error.sqlstate(), error.failed_execution()), (Some(state), Some(failing as u64)));
        assert_eq!(session.transaction_status(), TransactionStatus::Failed);
        session.execute("ROLLBACK TO s").unwrap();
        assert_eq!(run(&mut session, insert, &mut (0..10)).unwrap(), 10);
        session.execute("ROLLBACK").unwrap();
    }
    // The statement itself.
    let error = run(&mut session, "INSERT INTO nowhere VALUES ($1)", &mut (0..10)).unwrap_err();
    assert_eq!((error.sqlstate(), error.failed_execution()), (Some("42P01"), None));
    // A constraint that is checked at the end.
    let error = run(&mut session, "INSERT INTO later VALUES ($1)", &mut [1, 1].into_iter()).unwrap_err();
    assert_eq!((error.sqlstate(), error.failed_execution()), (Some("23505"), None));
    // Bytes that are no value of the type.
    let mut bulk = session.bulk(insert, &[INT4]).unwrap();
    execute_int4(&mut bulk, 1).unwrap();
    put(bulk.buffer(), Some(b"abcde"));
    bulk.execute().unwrap();
    let error = bulk.finish().unwrap_err();
    assert_eq!((error.sqlstate(), error.failed_execution()), (Some("22P03"), Some(1)));
    assert_eq!(session.query("SELECT count(*) FROM t", &[]).unwrap()[0].text(0), Some("0"));
}

/// The server waits until its answers are read, and reads nothing meanwhile.
#[test]
fn a_flood_of_notices_blocks_nobody() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("bulk_notices");
    let mut session = connect(database.url());
    session
        .execute(
            "CREATE TABLE t (a text); CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE NOTICE '%', repeat('x', 10000); RETURN NEW; END $$; \
             CREATE TRIGGER tell BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tell()",
        )
        .unwrap();
    let mut bulk = session.bulk("INSERT INTO t VALUES ($1)", &[TEXT]).unwrap();
    // 20 MB there and 100 MB back, both more than sockets hold.
    for _ in 0..10_000 {
        put(bulk.buffer(), Some(&[b'x'; 2000]));
        bulk.execute().unwrap();
    }
    assert_eq!(bulk.finish().unwrap(), 10_000);
    assert_eq!(session.notices_dropped(), 10_000 - 64);
}

#[test]
fn what_is_left_is_not_committed() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("bulk_left");
    let mut session = connect(database.url());
    session.execute("CREATE TABLE t (a int4)").unwrap();
    // Without a transaction, too: a value that could not be written used to cost the connection.
    for begin in ["", "BEGIN"] {
        let mut session = connect(database.url());
        session.execute(begin).unwrap();
        let mut bulk = session.bulk("INSERT INTO t VALUES ($1)", &[INT4]).unwrap();
        // More than is kept back.
        for i in 0..10_000 {
            execute_int4(&mut bulk, i).unwrap();
        }
        drop(bulk);
        session.execute("ROLLBACK").unwrap();
        assert_eq!(session.query("SELECT count(*) FROM t", &[]).unwrap()[0].text(0), Some("0"), "{begin:?}");
    }
    // Parameters that were not sent are not in the table, and harm nothing.
    drop(
        session
            .bulk("INSERT INTO t VALUES ($1)", &[INT4])
            .map(|mut bulk| execute_int4(&mut bulk, 1))
            .unwrap(),
    );
    // Waits for the sessions above, which hold a lock while they have something to roll back.
    session.execute("BEGIN; LOCK TABLE t").unwrap();
    assert_eq!(session.query("SELECT count(*) FROM t", &[]).unwrap()[0].text(0), Some("0"));
}

#[test]
fn through_a_pooler() {
    require!(Capability::PrivateServer, Capability::PgBouncer);
    let server = TestServer::shared();
    let database = server.fresh_database("bulk_pooler");
    let pooler =
        PgBouncer::start(server.private().unwrap().port(), "pool_mode = transaction\ndefault_pool_size = 3");
    let mut sessions = [connect(&pooler.url_of(database.url())), connect(&pooler.url_of(database.url()))];
    sessions[0].execute("CREATE TABLE t (a int4)").unwrap();
    for begin in ["", "BEGIN"] {
        for session in &mut sessions {
            session.execute(begin).unwrap();
            let mut bulk = session.bulk("INSERT INTO t VALUES ($1)", &[INT4]).unwrap();
            for i in 0..5_000 {
                execute_int4(&mut bulk, i).unwrap();
                if i % 1_000 == 999 {
                    assert_eq!(bulk.sync().unwrap(), 1_000);
                }
            }
            assert_eq!(bulk.finish().unwrap(), 5_000);
            if !begin.is_empty() {
                session.commit().unwrap();
            }
        }
    }
    let counted = sessions[0].query("SELECT count(*) FROM t", &[]).unwrap();
    assert_eq!(counted[0].text(0), Some("20000"));
}
