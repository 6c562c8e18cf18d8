//! What can break: statements, servers, connections, callers. None of it may look like success.

use std::pin::pin;
use std::task::{Context, Poll};

use arrow_array::{RecordBatch, RecordBatchReader};
use futures_util::StreamExt;
use pgarrow::{Error, ErrorKind, ExportOptions, Extract, ReadMode, Result, Source};
use pgarrow_server::Server;
use pgarrow_testkit::{
    Capability, Database, Fault, Proxy, Script, Step, TestServer, require, server_options,
};

use crate::liar::{Liar, Place, Said, message};
use crate::support::{
    APPLICATION, assert_error, block_on, database, is_alone, read, refusal, source, this_thread_waker, url,
    wait_until, wait_until_no_sessions, with_parameter,
};

/// More rows than a test can wait for. In the SELECT list, since the server computes a function in FROM to
/// its end first.
const ENDLESS: &str = "SELECT generate_series(1, 1000000000) AS g, repeat('x', 100) AS t";

/// Reads until the error. Returns the number of rows before it, and the error.
fn read_until_error(source: &Source, sql: &str, batch_rows: usize) -> (usize, Error) {
    let mut reader =
        source.query(sql).options(ExportOptions::default().with_batch_rows(batch_rows)).reader().unwrap();
    let mut n_rows = 0;
    loop {
        match reader.next().expect("an error before the end") {
            Ok(batch) => n_rows += batch.num_rows(),
            Err(error) => {
                assert!(reader.next().is_none(), "nothing comes behind an error");
                return (n_rows, error.into());
            }
        }
    }
}

#[test]
fn a_statement_that_fails_after_some_rows() {
    require!(Capability::Server);
    let database = database("fails", "");
    let source = source(&database);
    let (n_rows, error) =
        read_until_error(&source, "SELECT 1 / (500 - g) FROM generate_series(1, 1000) AS g", 100);
    assert!(n_rows <= 499, "{n_rows}");
    assert_error(&error, ErrorKind::Server, Some("22012"), &["division by zero"]);
    wait_until_no_sessions(&database);
}

#[test]
fn a_function_that_raises_an_exception_after_some_rows() {
    require!(Capability::Server);
    let database = database(
        "raises",
        "CREATE FUNCTION f(i int4) RETURNS int4 LANGUAGE plpgsql AS $$ BEGIN \
           IF i = 50000 THEN RAISE EXCEPTION 'boom' USING ERRCODE = 'P0077'; END IF; RETURN i; END $$",
    );
    let (n_rows, error) =
        read_until_error(&source(&database), "SELECT f(g) FROM generate_series(1, 60000) AS g", 1000);
    assert!((1..50_000).contains(&n_rows), "{n_rows}");
    assert_error(&error, ErrorKind::Server, Some("P0077"), &["boom"]);
}

#[test]
fn a_type_without_a_binary_form_inside_of_a_domain_is_no_surprise() {
    require!(Capability::Server);
    // COPY fails on aclitem only at the first value, so the plan has to know the type before.
    let database = database(
        "nosend",
        "CREATE TYPE c AS (a aclitem); CREATE TABLE e (a aclitem, b aclitem[], c c); \
         INSERT INTO e SELECT i, ARRAY[i], ROW(i)::c FROM makeaclitem(10::oid, 10::oid, 'SELECT', false) AS i",
    );
    assert_eq!(read(source(&database).table("e")).unwrap().n_rows(), 1);
}

/// The server process that sends a COPY.
fn backend(database: &Database) -> i32 {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1 \
               AND query LIKE 'COPY%'";
    database.client().query_one(sql, &[&APPLICATION]).unwrap().get(0)
}

/// Begins an endless export, calls `function` on its backend, and reads until the error.
fn interfere(database: &Database, function: &str) -> Error {
    let options = ExportOptions::default().with_batch_rows(1000);
    let mut reader = source(database).query(ENDLESS).options(options).reader().unwrap();
    reader.next().unwrap().unwrap();
    let pid = backend(database);
    database.client().execute(&format!("SELECT {function}({pid})"), &[]).unwrap();
    reader.find_map(std::result::Result::err).expect("an error").into()
}

#[test]
fn a_backend_that_is_terminated() {
    require!(Capability::Server);
    let database = database("terminated", "");
    let error = interfere(&database, "pg_terminate_backend");
    // A backend that is blocked in sending ends without an error message.
    match error.kind() {
        ErrorKind::Server => assert_eq!(error.sqlstate(), Some("57P01"), "{error}"),
        kind => assert_eq!(kind, ErrorKind::Connection, "{error}"),
    }
}

#[test]
fn a_statement_that_somebody_else_cancels() {
    require!(Capability::Server);
    let database = database("cancelled", "");
    let error = interfere(&database, "pg_cancel_backend");
    assert_error(&error, ErrorKind::Server, Some("57014"), &["cancel"]);
    wait_until_no_sessions(&database);
}

#[test]
fn a_server_that_is_killed_in_the_middle() {
    require!(Capability::PrivateServer);
    let mut server = Server::start(server_options()).unwrap();
    let source = Source::connect_blocking(&server.url()).unwrap();
    let options = ExportOptions::default().with_batch_rows(1000);
    let mut reader = source.query(ENDLESS).options(options).reader().unwrap();
    reader.next().unwrap().unwrap();
    server.kill().unwrap();
    let error = Error::from(reader.find_map(std::result::Result::err).expect("an error"));
    assert!(matches!(error.kind(), ErrorKind::Connection | ErrorKind::Server), "{error}");
    let error = refusal(source.query("SELECT 1"));
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
}

#[test]
fn a_server_that_restarts_between_two_exports() {
    require!(Capability::PrivateServer);
    let mut server = Server::start(server_options()).unwrap();
    let source = Source::connect_blocking(&server.url()).unwrap();
    let started = |source: &Source| {
        source.query("SELECT 1").open().unwrap().for_each(|_| Ok(())).unwrap().server.started
    };
    let before = started(&source);
    server.crash_and_restart().unwrap();
    assert_ne!(started(&source), before);
}

#[test]
fn a_timeout_that_the_caller_asked_for() {
    require!(Capability::Server);
    let database = database("timeout", "");
    let options = ExportOptions::default().with_setting("statement_timeout", "50ms");
    let error = refusal(source(&database).query("SELECT pg_sleep(60)").options(options));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("57014")), "{error}");
}

const SMALL: &str =
    "SELECT g, CASE WHEN g = 2 THEN NULL ELSE repeat('y', g) END FROM generate_series(1, 3) AS g";

#[test]
fn a_connection_that_ends_anywhere_before_the_copy() {
    require!(Capability::PrivateServer);
    let database = database("early", "");
    let port = TestServer::shared().private().unwrap().port();
    let clean = Proxy::start(port, Fault::None);
    let url = with_parameter(&clean.url_of(database.url()), "sslmode=disable");
    read(Source::connect_blocking(&url).unwrap().query(SMALL)).unwrap();
    // All but the COPY itself, which is shorter than this.
    let end = clean.from_server_bytes() - 250;
    for n_bytes in (0..end).step_by(83) {
        for fault in [Fault::CloseAfterServerBytes(n_bytes), Fault::ResetAfterServerBytes(n_bytes)] {
            let proxy = Proxy::start(port, fault);
            let url = with_parameter(&proxy.url_of(database.url()), "sslmode=disable");
            let result = Source::connect_blocking(&url).and_then(|source| read(source.query(SMALL)));
            let error = result.map(|export| export.lines()).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Connection | ErrorKind::Protocol),
                "{fault:?}: {error}"
            );
        }
    }
}

/// Cuts the stream from CopyOutResponse on after `n_bytes` bytes.
fn cut_after(n_bytes: usize, end: fn(Vec<u8>) -> Said) -> impl Fn(Place, u8, &[u8]) -> Said {
    move |place, tag, body| match place.is_in_copy {
        false => Said::Truth,
        true => {
            let whole = message(tag, body);
            match n_bytes - place.n_bytes {
                left if left > whole.len() => Said::Bytes(whole),
                left => end(whole[..left].to_vec()),
            }
        }
    }
}

/// Exports through a relay that changes messages.
fn read_through(liar: &Liar, database: &Database, sql: &str) -> Result<Vec<String>> {
    extract_through(liar, database, |source| source.query(sql))
}

/// The same for anything.
fn extract_through(
    liar: &Liar,
    database: &Database,
    what: impl FnOnce(&Source) -> Extract,
) -> Result<Vec<String>> {
    let source = Source::connect_blocking(&liar.url_of(database.url()))?;
    // COPY is not tried out first: the changes are meant for the one COPY of the export.
    let options = ExportOptions::default().with_batch_rows(1).with_read_mode(ReadMode::Copy);
    Ok(read(what(&source).options(options))?.lines())
}

/// Behind its COPY are the proof and COMMIT.
fn table_through(liar: &Liar, database: &Database) -> Result<Vec<String>> {
    extract_through(liar, database, |source| source.table("small"))
}

#[test]
fn a_connection_that_ends_after_any_byte_of_a_copy() {
    require!(Capability::PrivateServer);
    let database = database("cut", "");
    let mut n_bytes = 0;
    loop {
        let liar = Liar::start(cut_after(n_bytes, Said::BytesThenClose));
        match read_through(&liar, &database, SMALL) {
            Ok(lines) => {
                assert_eq!(lines, ["1|y", "2|∅", "3|yyy"]);
                break;
            }
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Connection | ErrorKind::Protocol), "{n_bytes}: {error}");
            }
        }
        n_bytes += 1;
    }
    // CopyOutResponse 11, header 19, rows 2 + 8 + 8 + (4, 1), (0), (4, 3) …, and in the end COPY 3, Z,
    // COMMIT, Z.
    let least = 11 + 5 + 19 + 3 * (5 + 2 + 8 + 4) + 1 + 3 + 7 + 5 + 12 + 6 + 12 + 6;
    assert!(n_bytes >= least, "success after {n_bytes} of at least {least} bytes");
}

#[test]
fn a_connection_that_ends_after_any_byte_of_a_table() {
    require!(Capability::PrivateServer);
    let database = database("cut table", &format!("CREATE TABLE small AS {SMALL}"));
    let is_whole = |n_bytes| {
        let liar = Liar::start(cut_after(n_bytes, Said::BytesThenClose));
        match table_through(&liar, &database) {
            Ok(lines) => {
                assert_eq!(lines, ["1|y", "2|∅", "3|yyy"]);
                true
            }
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Connection | ErrorKind::Protocol), "{n_bytes}: {error}");
                false
            }
        }
    };
    let n_bytes = (0..).find(|n_bytes| is_whole(*n_bytes)).unwrap();
    // As above, and what comes of the proof, whose rows are none: 1, 2, T, SELECT 0, 1, 2, n, COMMIT, Z.
    let least = 11 + 5 + 19 + 3 * (5 + 2 + 8 + 4) + 1 + 3 + 7 + 5 + 12 + 6;
    let of_proof = 5 + 5 + 7 + 2 * 18 + 14 + 5 + 5 + 5 + 12 + 6;
    assert!(n_bytes >= least + of_proof, "success after {n_bytes} bytes");
}

#[test]
fn a_connection_that_is_reset_after_any_byte_of_a_copy() {
    require!(Capability::PrivateServer);
    let database = database("reset", "");
    // Less than the whole stream, as the test above shows.
    for n_bytes in (0..100).step_by(3) {
        let liar = Liar::start(cut_after(n_bytes, Said::BytesThenReset));
        let error = read_through(&liar, &database, SMALL).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Connection | ErrorKind::Protocol), "{n_bytes}: {error}");
    }
}

#[test]
fn bytes_that_come_one_by_one() {
    require!(Capability::PrivateServer);
    let database = database("sliced", "");
    let port = TestServer::shared().private().unwrap().port();
    let sql = "SELECT g, g::text, g / 3.0::float8, repeat('z', g % 9)::bytea, NULL::date FROM generate_series(1, 30) AS g";
    let expected = read(source(&database).query(sql)).unwrap();
    let proxy = Proxy::start(port, Fault::Slice(1));
    let source =
        Source::connect_blocking(&with_parameter(&proxy.url_of(database.url()), "sslmode=disable")).unwrap();
    let found = read(source.query(sql)).unwrap();
    pgarrow_testkit::assert_batches_equal(&expected.batches, &found.batches);
}

const ROW: &str = "SELECT g FROM generate_series(1, 3) AS g";

/// The library's error if the relay changes the COPY of `ROW`.
fn lied_to(lie: impl Fn(Place, u8, &[u8]) -> Said + Send + Sync + 'static) -> Error {
    let database = database("lies", "");
    let liar = Liar::start(
        move |place, tag, body| if place.is_in_copy { lie(place, tag, body) } else { Said::Truth },
    );
    read_through(&liar, &database, ROW).unwrap_err()
}

fn is_trailer(tag: u8, body: &[u8]) -> bool {
    tag == b'd' && body == [0xff, 0xff]
}

#[test]
fn a_tag_that_counts_other_rows_than_there_were() {
    require!(Capability::PrivateServer);
    for tag_text in [&b"COPY 4\0"[..], b"COPY 2\0", b"COPY 0\0"] {
        let error = lied_to(move |place, tag, _| match tag {
            b'C' if !place.is_after_copy => Said::Bytes(message(b'C', tag_text)),
            _ => Said::Truth,
        });
        assert_error(&error, ErrorKind::Protocol, None, &["3 rows were decoded", "not complete"]);
    }
}

#[test]
fn a_tag_that_is_none_of_copy() {
    require!(Capability::PrivateServer);
    for tag_text in [&b"SELECT 3\0"[..], b"COPY\0", b"COPY three\0", b"COPY 3x\0", b"\0"] {
        let error = lied_to(move |place, tag, _| match tag {
            b'C' if !place.is_after_copy => Said::Bytes(message(b'C', tag_text)),
            _ => Said::Truth,
        });
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}

#[test]
fn a_copy_without_its_trailer() {
    require!(Capability::PrivateServer);
    let error = lied_to(|_, tag, body| match is_trailer(tag, body) {
        true => Said::Bytes(Vec::new()),
        false => Said::Truth,
    });
    assert_error(&error, ErrorKind::Protocol, None, &["trailer"]);
}

#[test]
fn a_copy_with_data_behind_its_trailer() {
    require!(Capability::PrivateServer);
    let row = message(b'd', &[0, 1, 0, 0, 0, 4, 0, 0, 0, 9]);
    let error = lied_to(move |_, tag, body| match is_trailer(tag, body) {
        true => Said::Bytes([message(tag, body), row.clone()].concat()),
        false => Said::Truth,
    });
    assert_error(&error, ErrorKind::Protocol, None, &["trailer"]);
}

#[test]
fn a_copy_of_another_number_of_columns_than_was_described() {
    require!(Capability::PrivateServer);
    let error = lied_to(|_, tag, _| match tag {
        b'H' => Said::Bytes(message(b'H', &[1, 0, 2, 0, 1, 0, 1])),
        _ => Said::Truth,
    });
    assert_error(&error, ErrorKind::Protocol, None, &["columns"]);
}

#[test]
fn a_copy_in_text_format() {
    require!(Capability::PrivateServer);
    let error = lied_to(|_, tag, _| match tag {
        b'H' => Said::Bytes(message(b'H', &[0, 0, 1, 0, 0])),
        _ => Said::Truth,
    });
    assert!(error.to_string().contains("not binary"), "{error}");
}

#[test]
fn an_error_in_the_place_of_the_tag() {
    require!(Capability::PrivateServer);
    let error = lied_to(|place, tag, _| match tag {
        b'C' if !place.is_after_copy => {
            Said::Bytes(message(b'E', b"SERROR\0VERROR\0C53100\0Mno space left\0\0"))
        }
        _ => Said::Truth,
    });
    assert_error(&error, ErrorKind::Server, Some("53100"), &["no space left"]);
}

#[test]
fn a_tag_is_missing() {
    require!(Capability::PrivateServer);
    let error = lied_to(|place, tag, _| match tag {
        b'C' if !place.is_after_copy => Said::Bytes(Vec::new()),
        _ => Said::Truth,
    });
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[test]
fn copy_done_is_missing() {
    require!(Capability::PrivateServer);
    let error = lied_to(|_, tag, _| match tag {
        b'c' => Said::Bytes(Vec::new()),
        _ => Said::Truth,
    });
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[test]
fn a_transaction_that_has_failed_behind_a_tag_of_success() {
    require!(Capability::PrivateServer);
    let error = lied_to(|_, tag, _| match tag {
        b'Z' => Said::Bytes(message(b'Z', b"E")),
        _ => Said::Truth,
    });
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
}

#[test]
fn a_commit_that_fails() {
    require!(Capability::PrivateServer);
    let error = lied_to(|place, tag, _| match tag {
        b'C' if place.is_after_copy => Said::Bytes(message(b'E', b"SERROR\0VERROR\0C40001\0Mconflict\0\0")),
        _ => Said::Truth,
    });
    assert_error(&error, ErrorKind::Server, Some("40001"), &["conflict"]);
    // Behind the COPY and the proof of a table.
    let database = database("no commit", &format!("CREATE TABLE small AS {SMALL}"));
    let refused = || message(b'E', b"SERROR\0VERROR\0C40001\0Mconflict\0\0");
    let liar = Liar::start(move |place, tag, body| match (tag, body) {
        (b'C', b"COMMIT\0") if place.is_after_copy => Said::Bytes(refused()),
        _ => Said::Truth,
    });
    let error = table_through(&liar, &database).unwrap_err();
    assert_error(&error, ErrorKind::Server, Some("40001"), &["conflict"]);
    let liar = Liar::start(move |place, tag, body| match (tag, body) {
        (b'C', b"COMMIT\0") if place.is_after_copy => Said::Bytes(message(b'C', b"ROLLBACK\0")),
        _ => Said::Truth,
    });
    let error = table_through(&liar, &database).unwrap_err();
    assert_error(&error, ErrorKind::Protocol, None, &["rolled back in place of its COMMIT"]);
}

#[test]
fn the_words_of_a_crash_are_told() {
    require!(Capability::PrivateServer);
    // After a crash of another backend, the client gets a notice, no error, and then the end of the
    // connection.
    let error = lied_to(|_, tag, body| match is_trailer(tag, body) {
        true => Said::BytesThenClose(message(
            b'N',
            b"SWARNING\0VWARNING\0C57P02\0Mterminating because of crash\0\0",
        )),
        false => Said::Truth,
    });
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(error.to_string().contains("crashed"), "{error}");
}

#[test]
fn notices_and_parameters_in_the_middle_mean_nothing() {
    require!(Capability::PrivateServer);
    let database = database("notices", "");
    let noise =
        [message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0"), message(b'S', b"application_name\0other\0")]
            .concat();
    let liar = Liar::start(move |place, tag, body| match place.is_in_copy {
        true => Said::Bytes([noise.clone(), message(tag, body), noise.clone()].concat()),
        false => Said::Truth,
    });
    assert_eq!(read_through(&liar, &database, ROW).unwrap(), ["1", "2", "3"]);
}

#[test]
fn an_encoding_that_changes_in_the_middle() {
    require!(Capability::Server);
    // The first text is not valid UTF-8 when sent in LATIN1. The second one is, so only the end of the COPY
    // shows the change.
    for text in ["é", "Ã©"] {
        let database = database(
            "encoding",
            &format!(
                "CREATE FUNCTION f(i int4) RETURNS text LANGUAGE plpgsql AS $$ BEGIN \
                   IF i = 2 THEN PERFORM set_config('client_encoding', 'LATIN1', false); END IF; RETURN '{text}'; END $$"
            ),
        );
        let error = refusal(source(&database).query("SELECT f(g) FROM generate_series(1, 3) AS g"));
        assert!(matches!(error.kind(), ErrorKind::Value | ErrorKind::Protocol), "{error}");
    }
}

#[test]
fn dropping_a_stream_cancels_its_copy_and_leaves_nothing() {
    require!(Capability::Server);
    if !is_alone("faults::dropping_a_stream_cancels_its_copy_and_leaves_nothing") {
        return;
    }
    let database =
        database("dropped", "CREATE MATERIALIZED VIEW m AS SELECT generate_series(1, 1000000) AS a");
    let source = source(&database);
    for batch_rows in [1, 65_536] {
        for n_batches in 0..3 {
            let options = ExportOptions::default().with_batch_rows(batch_rows);
            let mut stream = block_on(source.query(ENDLESS).options(options.clone()).stream()).unwrap();
            let mut reader = source.table("m").options(options).reader().unwrap();
            for _ in 0..n_batches {
                block_on(stream.next()).unwrap().unwrap();
                reader.next().unwrap().unwrap();
            }
            drop((stream, reader));
            wait_until_no_sessions(&database);
            wait_until("no thread is left", || threads().is_empty());
        }
    }
}

#[test]
fn dropping_a_stream_whose_server_computes_cancels_that() {
    require!(Capability::Server);
    let database = database("computing", "");
    let stream = block_on(source(&database).query("SELECT pg_sleep(600)").stream()).unwrap();
    wait_until("the server sleeps", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        database.client().query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
    });
    drop(stream);
    wait_until_no_sessions(&database);
}

/// The library's threads in this process.
fn threads() -> Vec<String> {
    let names = std::fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(|task| {
        let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        name.starts_with("pgarrow").then_some(name)
    });
    // The test's own thread is named after the test.
    names.collect()
}

#[test]
fn dropping_one_stream_leaves_its_neighbours_alone() {
    require!(Capability::Server);
    // Formerly, a stream shared the cancel of its source: every other export was cancelled, too.
    let database = database("neighbours", "");
    let source = source(&database);
    let other = source.query("SELECT g FROM generate_series(1, 100000) AS g").reader().unwrap();
    let mut stream = source.query(ENDLESS).reader().unwrap();
    stream.next().unwrap().unwrap();
    drop(stream);
    let n_rows: usize = other.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(n_rows, 100_000);
    assert_eq!(read(source.query("SELECT 1")).unwrap().lines(), ["1"]);
}

#[test]
fn cancelling_a_source_stops_all_its_exports() {
    require!(Capability::Server);
    let database = database("all", "");
    let source = source(&database);
    let mut readers: Vec<_> = (0..2).map(|_| source.query(ENDLESS).reader().unwrap()).collect();
    for reader in &mut readers {
        reader.next().unwrap().unwrap();
    }
    source.cancel().cancel();
    for reader in &mut readers {
        let error = Error::from(reader.find_map(std::result::Result::err).expect("an error"));
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    }
    wait_until_no_sessions(&database);
    assert_eq!(refusal(source.query("SELECT 1")).kind(), ErrorKind::Cancelled);
}

#[test]
fn a_run_that_is_cancelled_while_it_reads() {
    require!(Capability::Server);
    let database = database("run", "");
    let run = source(&database).query(ENDLESS).open().unwrap();
    let cancel = run.cancel().clone();
    let error = run
        .for_each(|_| {
            cancel.cancel();
            Ok(())
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    wait_until_no_sessions(&database);
}

#[test]
fn a_callback_that_fails_ends_the_run_with_its_own_error() {
    require!(Capability::Server);
    let database = database("callback", "");
    let run = source(&database).query(ENDLESS).open().unwrap();
    let error = run.for_each(|_: RecordBatch| Err(Error::new(ErrorKind::Sink, "no more room"))).unwrap_err();
    assert_error(&error, ErrorKind::Sink, None, &["no more room"]);
    wait_until_no_sessions(&database);
}

/// Polls a future until its work has begun, and drops it.
fn poll_and_drop<F: Future>(future: F, has_begun: impl FnMut() -> bool) {
    let mut future = pin!(future);
    let waker = this_thread_waker();
    assert!(matches!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending));
    wait_until("the work has begun", has_begun);
}

#[test]
fn dropping_the_future_of_connect_leaves_nothing() {
    if !is_alone("faults::dropping_the_future_of_connect_leaves_nothing") {
        return;
    }
    // A server that never answers: formerly, a thread waited for it for ever.
    let server = Script::new().then(Step::ExpectStartup).then(Step::ExpectEnd).start();
    poll_and_drop(Source::connect(&server.url()), || !threads().is_empty());
    wait_until("no thread is left", || threads().is_empty());
    server.finish_however();
}

#[test]
fn dropping_the_future_of_stream_leaves_nothing() {
    require!(Capability::Server);
    let database = database("future", "CREATE TABLE e (a int4)");
    let mut other = database.client();
    other.batch_execute("BEGIN; LOCK TABLE e IN ACCESS EXCLUSIVE MODE").unwrap();
    let source = source(&database);
    poll_and_drop(source.table("e").stream(), || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        database.client().query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
    });
    wait_until_no_sessions(&database);
    other.batch_execute("COMMIT").unwrap();
    assert_eq!(read(source.table("e")).unwrap().n_rows(), 0, "the source is as good as before");
}

#[test]
fn a_slow_consumer_stops_the_server() {
    require!(Capability::Server);
    let database = database("slow", "");
    let sql = "SELECT generate_series(1, 1000000), repeat('x', 1000)";
    let options = ExportOptions::default().with_batch_bytes(1 << 20);
    let mut reader = source(&database).query(sql).options(options).reader().unwrap();
    reader.next().unwrap().unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'ClientWrite'";
    let mut client = database.client();
    let (mut last, mut n_same) = (0, 0);
    wait_until("the server cannot send any more", || {
        let is_waiting = client.query_one(waits, &[]).unwrap().get::<_, i64>(0) == 1;
        let now = reader.progress().wire_bytes();
        n_same = if is_waiting && now == last { n_same + 1 } else { 0 };
        last = now;
        n_same == 30
    });
    assert!(last < 64 << 20, "{last} bytes of a gigabyte were read for nobody");
    drop(reader);
    wait_until_no_sessions(&database);
}

#[test]
fn two_exports_of_one_source_at_the_same_time() {
    require!(Capability::Server);
    let database = database("two", "");
    let source = source(&database);
    let sql = |offset: u32| format!("SELECT g + {offset} FROM generate_series(1, 50000) AS g");
    let options = || ExportOptions::default().with_batch_rows(1000);
    let one = source.query(sql(0)).options(options()).reader().unwrap();
    let other = source.query(sql(7)).options(options()).reader().unwrap();
    assert_eq!(one.schema().fields().len(), 1);
    let mut sums = [0_i64; 2];
    for (one, other) in one.zip(other) {
        for (sum, batch) in sums.iter_mut().zip([one.unwrap(), other.unwrap()]) {
            let values =
                arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int32Type>(batch.column(0))
                    .clone();
            *sum += values.values().iter().map(|value| i64::from(*value)).sum::<i64>();
        }
    }
    assert_eq!(sums, [1_250_025_000, 1_250_375_000]);
}

#[test]
fn many_short_exports_leave_no_session() {
    require!(Capability::Server);
    let database = database("many", "CREATE TABLE e AS SELECT 1 AS a");
    let source = source(&database);
    for _ in 0..50 {
        assert_eq!(read(source.table("e")).unwrap().n_rows(), 1);
    }
    wait_until_no_sessions(&database);
}

#[test]
fn nobody_is_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = Source::connect_blocking(&format!("postgres://u@127.0.0.1:{port}/d")).unwrap_err();
    assert_error(&error, ErrorKind::Connection, None, &[&port.to_string(), "refused"]);
    let error = block_on(Source::connect(&url_without_meaning())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Options, "{error}");
}

fn url_without_meaning() -> String {
    "postgres://u@127.0.0.1/d?no_such_parameter=1".to_owned()
}

#[test]
fn a_database_that_does_not_exist() {
    require!(Capability::Server);
    let database = database("nodb", "");
    let url = url(&database).replace(database.name(), "no_such_database");
    let error = Source::connect_blocking(&url).unwrap_err();
    assert_error(&error, ErrorKind::Server, Some("3D000"), &["no_such_database"]);
}
