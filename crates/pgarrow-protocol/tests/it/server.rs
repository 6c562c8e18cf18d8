//! Rows from a real server, by COPY, by SELECT and by cursor: the bytes are the same.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pgarrow_protocol::{Canceller, Config, CopyOutStep, Error, RowStream, Session};
use pgarrow_testkit::{Capability, Database, TestServer, require};

const QUERY: &str = "SELECT i::int4, repeat('ä', i % 50), CASE WHEN i % 3 > 0 THEN i * 1.5 END, now() \
    FROM generate_series(1, 10000) AS i";

fn connect(database: &Database) -> Session {
    Session::connect(&Config::parse_with(Some(database.url()), &|_| None).unwrap()).unwrap()
}

/// The bodies of all data messages, one after the other, and the number of rows.
fn read(stream: &mut dyn RowStream) -> Result<(Vec<u8>, u64), Error> {
    let mut bodies = Vec::new();
    loop {
        while let [b'd' | b'D', a, b, c, d, rest @ ..] = stream.buffered() {
            let n_bytes = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
            let Some(body) = rest.get(..n_bytes) else { break };
            bodies.extend_from_slice(body);
            stream.consume(5 + n_bytes);
        }
        if let CopyOutStep::Done { rows } = stream.advance()? {
            return Ok((bodies, rows));
        }
    }
}

#[test]
fn select_and_cursor_give_what_copy_gives() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("rows");
    let mut session = connect(&database);
    session.execute("BEGIN").unwrap();
    let copy = format!("COPY ({QUERY}) TO STDOUT (FORMAT binary)");
    let (copied, n_rows) = read(&mut session.copy_out(&copy).unwrap()).unwrap();
    let tuples = &copied[19..copied.len() - 2];
    assert_eq!(n_rows, 10_000);
    let mut rows = session.select_out(QUERY).unwrap();
    assert_eq!(rows.column_count(), 4);
    let (selected, n_rows) = read(&mut rows).unwrap();
    assert!(selected == tuples);
    assert_eq!(n_rows, 10_000);
    drop(rows);
    for fetch_rows in [1, 999, 5000, 10_000, 10_001, u32::MAX / 2] {
        let query = if fetch_rows == 1 { QUERY.replace("10000", "30") } else { QUERY.to_owned() };
        let mut rows = session.cursor_out(&query, fetch_rows).unwrap();
        assert_eq!(rows.column_count(), 4);
        let (fetched, n_rows) = read(&mut rows).unwrap();
        assert!(fetched == tuples[..fetched.len()], "{fetch_rows} rows a FETCH");
        assert_eq!(n_rows, if fetch_rows == 1 { 30 } else { 10_000 });
    }
    session.execute("COMMIT").unwrap();
}

#[test]
fn statements_that_are_no_select() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("no_select");
    let mut session = connect(&database);
    assert!(session.select_out("SET TIME ZONE 'UTC'").unwrap_err().to_string().contains("returns no rows"));
    assert_eq!(
        session.select_out("SELECT 1 / 0").and_then(|mut r| read(&mut r)).unwrap_err().sqlstate(),
        Some("22012")
    );
    session.execute("BEGIN").unwrap();
    assert_eq!(session.cursor_out("DELETE FROM t", 10).unwrap_err().sqlstate(), Some("42601"));
    session.execute("ROLLBACK").unwrap();
    let (bodies, n_rows) = read(&mut session.select_out("SELECT 1 WHERE false").unwrap()).unwrap();
    assert_eq!((bodies.len(), n_rows), (0, 0));
}

/// 100 MB in one value, received into its place, in every way of reading rows.
#[test]
fn a_large_value_of_a_real_server() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("large");
    let mut session = connect(&database);
    session.execute("BEGIN").unwrap();
    let query = "SELECT decode(repeat('0123456789abcdef', 12500000), 'hex')";
    let n_bytes = 100_000_000;
    let check = |stream: &mut dyn RowStream, header_bytes: usize| {
        let mut message = vec![0; 5 + header_bytes + 6 + n_bytes];
        message.chunks_mut(5_000_011).for_each(|target| stream.receive(target).unwrap());
        let value = &message[5 + header_bytes + 6..];
        assert!(value.chunks(8).all(|bytes| bytes == b"\x01\x23\x45\x67\x89\xab\xcd\xef"));
        let (_, n_rows) = read(stream).unwrap();
        assert_eq!(n_rows, 1);
        assert!(stream.bytes_received() as usize > n_bytes);
    };
    check(&mut session.copy_out(&format!("COPY ({query}) TO STDOUT (FORMAT binary)")).unwrap(), 19);
    check(&mut session.select_out(query).unwrap(), 0);
    check(&mut session.cursor_out(query, 10).unwrap(), 0);
}

/// A finished cancel request has no later effect: it does not cancel the next statement.
#[test]
fn a_cancel_request_hits_no_later_statement() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("cancel_later");
    let mut session = connect(&database);
    let mut n_cancelled = 0;
    for round in 0..60 {
        let canceller = session.canceller();
        // Before the statement, in the middle of it, about at its end, and after it.
        let sleep = f64::from(round % 4) * 0.002;
        let cancelling = thread::spawn(move || canceller.cancel(Canceller::DEADLINE).unwrap());
        let first = session.query(&format!("SELECT pg_sleep({sleep})"), &[]);
        n_cancelled += u32::from(first.is_err_and(|error| error.sqlstate() == Some("57014")));
        cancelling.join().unwrap();
        session.query("SELECT sum(g) FROM generate_series(1, 20000) g", &[]).unwrap();
    }
    // Requests have an effect: they are repeated until one has cancelled the statement.
    let (canceller, is_over) = (session.canceller(), Arc::new(AtomicBool::new(false)));
    let of_thread = Arc::clone(&is_over);
    let cancelling = thread::spawn(move || {
        while !of_thread.load(Ordering::SeqCst) {
            canceller.cancel(Canceller::DEADLINE).unwrap();
        }
    });
    let error = session.query("SELECT pg_sleep(600)", &[]).unwrap_err();
    is_over.store(true, Ordering::SeqCst);
    assert_eq!(error.sqlstate(), Some("57014"), "besides {n_cancelled} others");
    cancelling.join().unwrap();
    session.query("SELECT 1", &[]).unwrap();
}

/// The server uses process numbers again; only the key tells a process from a later one of the same number.
#[test]
fn a_process_id_that_is_used_again_is_not_cancelled() {
    require!(Capability::PrivateServer);
    let database = TestServer::shared().fresh_database("cancel_pid");
    let port = TestServer::shared().private().unwrap().port();
    let mut session = connect(&database);
    let rows = session.query("SELECT pg_backend_pid()", &[]).unwrap();
    let pid: u32 = rows.first().unwrap().text(0).unwrap().parse().unwrap();
    for key in [0_u32, 1, u32::MAX] {
        let others = thread::spawn(move || {
            let request = [16_u32, 80_877_102, pid, key].map(u32::to_be_bytes).concat();
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(&request).unwrap();
            // When the server closes, it has handled the request.
            let _ = stream.read(&mut [0]);
        });
        session.query("SELECT pg_sleep(0.1)", &[]).unwrap();
        others.join().unwrap();
    }
}
