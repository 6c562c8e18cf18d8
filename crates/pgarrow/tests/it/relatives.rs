//! Servers that lack parts of PostgreSQL: a real server behind a relay that replaces statements.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pgarrow::{ErrorKind, ExportOptions, ReadMode, Source};
use pgarrow_testkit::{Capability, Database, TestServer, require};

use crate::support::{assert_error, database, read, with_parameter};

const TABLE: &str =
    "CREATE TABLE e AS SELECT g AS a, repeat('x', 100) AS b FROM generate_series(1, 20000) AS g";

/// The statement that the server runs in place of another one, if it is replaced.
type Replace = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A relay in front of the private test server that replaces statements.
struct Relative {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Relative {
    fn start(replace: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let port = TestServer::shared().private().unwrap().port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (is_over, replace): (_, Arc<Replace>) = (Arc::new(AtomicBool::new(false)), Arc::new(replace));
        let over = Arc::clone(&is_over);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                let (mut client_end, mut server_end) =
                    (client.try_clone().unwrap(), server.try_clone().unwrap());
                let replace = Arc::clone(&replace);
                thread::spawn(move || {
                    let _ = relay(&client, &server, &*replace);
                    let _ = server.shutdown(Shutdown::Both);
                });
                thread::spawn(move || {
                    let _ = io::copy(&mut server_end, &mut client_end);
                    let _ = client_end.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, is_over }
    }

    /// Answers every statement that contains one of these words with this error.
    fn without(words: &'static [&'static str], sqlstate: &'static str) -> Self {
        Self::start(move |sql| {
            let is_unknown = words.iter().any(|word| sql.contains(word));
            is_unknown.then(|| {
                format!("DO $$ BEGIN RAISE EXCEPTION 'not here' USING ERRCODE = '{sqlstate}'; END $$")
            })
        })
    }

    fn source(&self, database: &Database) -> Source {
        let (front, rest) = database.url().split_once('@').unwrap();
        let path = &rest[rest.find('/').unwrap()..];
        let url = with_parameter(&format!("{front}@{}{path}", self.address), "sslmode=disable");
        Source::connect_blocking(&url).unwrap()
    }
}

impl Drop for Relative {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(mut client: &TcpStream, mut server: &TcpStream, replace: &Replace) -> io::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
    client.read_exact(&mut startup)?;
    server.write_all(&[length.as_slice(), &startup].concat())?;
    loop {
        let mut head = [0; 5];
        client.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        client.read_exact(&mut body)?;
        // Query: a text. Parse: a name, a text, types.
        let start = match head[0] {
            b'Q' => Some(0),
            b'P' => body.iter().position(|byte| *byte == 0).map(|at| at + 1),
            _ => None,
        };
        if let Some(start) = start {
            let end = start + body[start..].iter().position(|byte| *byte == 0).unwrap();
            let sql = String::from_utf8_lossy(&body[start..end]).into_owned();
            if let Some(other) = replace(&sql) {
                body = [&body[..start], other.as_bytes(), &body[end..]].concat();
            }
        }
        server.write_all(&crate::liar::message(head[0], &body))?;
    }
}

/// Slices of some pages each.
fn readers(n_readers: usize) -> ExportOptions {
    ExportOptions::default().with_readers(n_readers).with_slice_bytes(128 << 10)
}

#[test]
fn without_lock_table_a_second_session_holds_what_is_read() {
    require!(Capability::PrivateServer);
    let database = database("lockless", TABLE);
    for (words, sqlstate) in
        [(&["LOCK TABLE"][..], "0A000"), (&["LOCK TABLE"], "42601"), (&["LOCK TABLE", "SAVEPOINT"], "0A000")]
    {
        let relative = Relative::without(words, sqlstate);
        for n_readers in [1, 3] {
            let source = relative.source(&database);
            let options = readers(n_readers).with_read_mode(ReadMode::Copy);
            let run = source.table("e").options(options).open().unwrap();
            let warnings = run.plan().warnings().to_vec();
            assert!(warnings.iter().any(|warning| warning.contains("knows no LOCK TABLE")), "{warnings:?}");
            let truncate = "SET lock_timeout = '50ms'; TRUNCATE e";
            let error = database.client().batch_execute(truncate).unwrap_err();
            assert_eq!(error.code().map(|code| code.code()), Some("55P03"), "{error}");
            assert_eq!(run.for_each(|_| Ok(())).unwrap().rows, 20_000);
        }
    }
}

#[test]
fn without_copy_rows_come_by_select() {
    require!(Capability::PrivateServer);
    let database = database("copyless", TABLE);
    let relative = Relative::without(&["COPY"], "0A000");
    for n_readers in [1, 3] {
        let run = relative.source(&database).table("e").options(readers(n_readers)).open().unwrap();
        let report = run.for_each(|_| Ok(())).unwrap();
        assert_eq!((report.rows, report.read_mode), (20_000, ReadMode::Select));
    }
}

#[test]
fn without_shared_snapshots_one_reads_unless_several_were_asked_for() {
    require!(Capability::PrivateServer);
    let database = database("unshared", TABLE);
    for sqlstate in ["0A000", "42883", "42501"] {
        let relative = Relative::without(&["pg_export_snapshot"], sqlstate);
        let options = ExportOptions::default().with_slice_bytes(128 << 10);
        let run = relative.source(&database).table("e").options(options).open().unwrap();
        let has_cores = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let warned = run.plan().warnings().iter().any(|warning| warning.contains("one connection reads"));
        assert_eq!(warned, has_cores, "{:?}", run.plan().warnings());
        assert_eq!(run.readers(), 1);
        assert_eq!(run.for_each(|_| Ok(())).unwrap().rows, 20_000);
        let run = relative.source(&database).table("e").options(readers(3)).open().unwrap();
        let error = run.for_each(|_| Ok(())).unwrap_err();
        assert_error(
            &error,
            ErrorKind::Server,
            Some(sqlstate),
            &["no snapshot for several readers", "readers=1", "option inconsistent"],
        );
        let options = readers(3).with_inconsistent(true);
        let run = relative.source(&database).table("e").options(options).open().unwrap();
        assert_eq!(run.for_each(|_| Ok(())).unwrap().rows, 20_000);
    }
}

/// Opening tries it together with other statements. An error that was no refusal used to end the export.
#[test]
fn a_snapshot_that_cannot_be_exported_leaves_one_connection() {
    require!(Capability::PrivateServer);
    let database = database("unexported", TABLE);
    for sqlstate in ["58P01", "53100", "XX000"] {
        let relative = Relative::without(&["pg_export_snapshot"], sqlstate);
        let options = ExportOptions::default().with_slice_bytes(128 << 10);
        let run = relative.source(&database).table("e").options(options).open().unwrap();
        assert_eq!(run.readers(), 1);
        assert_eq!(run.for_each(|_| Ok(())).unwrap().rows, 20_000, "{sqlstate}");
    }
}

/// The last question of an export stands before its COMMIT. It used to be asked again behind a ROLLBACK,
/// where no lock was left to find anything by.
#[test]
fn a_last_question_that_is_refused_is_an_error() {
    require!(Capability::PrivateServer);
    let database = database("unproven", TABLE);
    let relative = Relative::start(|sql| {
        let is_last = sql.contains("pg_locks") && sql.ends_with("COMMIT");
        is_last.then(|| "DO $$ BEGIN RAISE EXCEPTION 'not here' USING ERRCODE = '42501'; END $$".to_owned())
    });
    for n_readers in [1, 3] {
        let options = readers(n_readers).with_read_mode(ReadMode::Copy);
        let run = relative.source(&database).table("e").options(options).open().unwrap();
        let error = run.for_each(|_| Ok(())).unwrap_err();
        assert_error(&error, ErrorKind::Server, Some("42501"), &["not here"]);
    }
}

#[test]
fn without_what_an_export_stands_on_nothing_is_read() {
    require!(Capability::PrivateServer);
    let database = database("baseless", TABLE);
    for (words, sqlstate, says) in [
        (&["REPEATABLE READ"][..], "0A000", "no transaction could be begun"),
        (&["BEGIN"], "42601", "no transaction could be begun"),
        (&["pg_current_snapshot", "txid_current_snapshot"], "42883", "does not say which snapshot"),
        (&["pg_postmaster_start_time"], "0A000", "does not say which snapshot"),
    ] {
        let relative = Relative::without(words, sqlstate);
        let error = relative.source(&database).table("e").options(readers(1)).open().unwrap_err();
        assert_error(&error, ErrorKind::Server, Some(sqlstate), &[says]);
    }
}

#[test]
fn a_transaction_of_another_kind_than_was_asked_for() {
    require!(Capability::PrivateServer);
    let database = database("weaker", TABLE);
    let weaker = Relative::start(|sql| {
        sql.contains("REPEATABLE READ").then(|| sql.replace("REPEATABLE READ", "READ COMMITTED"))
    });
    let error = weaker.source(&database).table("e").options(readers(1)).open().unwrap_err();
    assert_error(&error, ErrorKind::Server, None, &["of another kind than REPEATABLE READ"]);
    // A stronger isolation level is fine.
    let stronger = Relative::start(|sql| {
        sql.contains("REPEATABLE READ").then(|| sql.replace("REPEATABLE READ", "SERIALIZABLE"))
    });
    assert_eq!(read(stronger.source(&database).table("e").options(readers(1))).unwrap().n_rows(), 20_000);
    let none = Relative::start(|sql| sql.starts_with("BEGIN").then(|| "SELECT 1".to_owned()));
    let error = none.source(&database).table("e").open().unwrap_err();
    assert_error(&error, ErrorKind::Server, None, &["told to begin a transaction, and is in none"]);
}

#[test]
fn a_query_that_cannot_be_explained_is_read_only_if_nothing_was_waited_for() {
    require!(Capability::PrivateServer);
    let database = database("unexplained", TABLE);
    let sql = "SELECT a FROM e";
    for sqlstate in ["55P03", "57014", "40P01", "53200", "XX000"] {
        let relative = Relative::without(&["EXPLAIN"], sqlstate);
        let error = relative.source(&database).query(sql).open().unwrap_err();
        assert_error(&error, ErrorKind::Server, Some(sqlstate), &["not here"]);
    }
    for sqlstate in ["0A000", "42601"] {
        let relative = Relative::without(&["EXPLAIN"], sqlstate);
        assert_eq!(read(relative.source(&database).query(sql)).unwrap().n_rows(), 20_000, "{sqlstate}");
    }
    // Answers that are no plan.
    for answer in ["SELECT 'Seq Scan'", "SELECT 1 WHERE false"] {
        let relative = Relative::start(move |sql| sql.contains("EXPLAIN").then(|| answer.to_owned()));
        assert_eq!(read(relative.source(&database).query(sql)).unwrap().n_rows(), 20_000, "{answer}");
    }
}

#[test]
fn a_sequence_in_a_query_leaves_the_tables_locked() {
    require!(Capability::Server);
    let database = database("sequence", &format!("{TABLE}; CREATE SEQUENCE s"));
    let run = crate::support::source(&database).query("SELECT e.a FROM e, s").open().unwrap();
    let error = database.client().batch_execute("SET lock_timeout = '50ms'; TRUNCATE e").unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("55P03"), "{error}");
    assert_eq!(run.for_each(|_| Ok(())).unwrap().rows, 20_000);
}
