//! Statements that are stopped from another thread, and connections that break.

use std::thread;
use std::time::{Duration, Instant};

use adbc_core::error::Status;
use adbc_core::options::OptionConnection;
use adbc_core::{Connection as _, Optionable as _, Statement as _};
use pgarrow_testkit::{Capability, Database, eventually, require};

use crate::support::{connection, number, rows, run, state, statement};

/// Waits until the server runs a statement with this text: for another thread than the one that runs it.
fn when_it_runs(server: &Database, text: &'static str) -> impl FnOnce() + Send + use<> {
    let mut client = server.client();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
               AND pid <> pg_backend_pid() AND query LIKE '%' || $1::text || '%'";
    move || {
        eventually("the statement runs", || client.query_one(sql, &[&text]).unwrap().get::<_, i64>(0) > 0);
    }
}

#[test]
fn a_statement_is_cancelled_from_another_thread() {
    require!(Capability::Server);
    let (server, mut connection) = connection("cancel");
    let mut sleeping = statement(&mut connection, "SELECT pg_sleep(60)");
    assert_eq!(sleeping.get_cancel_handle().try_cancel().unwrap_err().status, Status::InvalidState);
    for by_connection in [false, true] {
        let handle =
            if by_connection { connection.get_cancel_handle() } else { sleeping.get_cancel_handle() };
        let wait = when_it_runs(&server, "pg_sleep(60)");
        let canceller = thread::spawn(move || {
            wait();
            handle.try_cancel()
        });
        let started = Instant::now();
        let error = sleeping.execute().err().unwrap();
        assert_eq!((error.status, state(&error).as_str()), (Status::Cancelled, "57014"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
        canceller.join().unwrap().unwrap();
        assert_eq!(number(&mut connection, "SELECT 1"), 1);
    }
    let error =
        statement(&mut connection, "SET statement_timeout = 50; SELECT pg_sleep(60)").execute_update();
    assert_eq!(state(&error.unwrap_err()), "57014");
}

#[test]
fn a_result_is_cancelled_while_it_is_read() {
    require!(Capability::Server);
    let (server, mut connection) = connection("cancel_result");
    let mut endless = statement(&mut connection, "SELECT generate_series(1, 2000000000::int8)");
    let handle = endless.get_cancel_handle();
    let reader = endless.execute().unwrap();
    let wait = when_it_runs(&server, "generate_series");
    let canceller = thread::spawn(move || {
        wait();
        handle.try_cancel()
    });
    let error = reader.into_iter().find_map(Result::err).unwrap();
    assert!(error.to_string().contains("ancelled"), "{error}");
    canceller.join().unwrap().unwrap();
    assert_eq!(number(&mut connection, "SELECT 1"), 1);
    // One that nobody reads at the moment: the connection lives on, too.
    let mut reader = endless.execute().unwrap();
    endless.get_cancel_handle().try_cancel().unwrap();
    assert!(reader.next().unwrap().is_ok(), "the first batch was there before");
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
    drop(reader);
    assert_eq!(number(&mut connection, "SELECT 1"), 1);
}

#[test]
fn a_cancel_in_a_transaction_fails_the_transaction_alone() {
    require!(Capability::Server);
    let (server, mut connection) = connection("cancel_transaction");
    connection.set_option(OptionConnection::AutoCommit, "false".into()).unwrap();
    run(&mut connection, "CREATE TABLE t (a int)").unwrap();
    let mut sleeping = statement(&mut connection, "SELECT pg_sleep(60)");
    let handle = sleeping.get_cancel_handle();
    let wait = when_it_runs(&server, "pg_sleep(60)");
    let canceller = thread::spawn(move || {
        wait();
        handle.try_cancel()
    });
    assert_eq!(sleeping.execute_update().unwrap_err().status, Status::Cancelled);
    canceller.join().unwrap().unwrap();
    assert_eq!(state(&run(&mut connection, "SELECT 1").unwrap_err()), "25P02");
    connection.rollback().unwrap();
    assert_eq!(number(&mut connection, "SELECT 1"), 1);
}

#[test]
fn a_connection_that_is_killed_in_the_middle_is_an_error() {
    require!(Capability::Server);
    let (server, mut connection) = connection("killed");
    let pid = number(&mut connection, "pg_backend_pid()");
    let mut reader =
        statement(&mut connection, "SELECT generate_series(1, 2000000000::int8)").execute().unwrap();
    reader.next().unwrap().unwrap();
    server.execute(&format!("SELECT pg_terminate_backend({pid})"));
    let error = reader.find_map(Result::err).unwrap().to_string();
    assert!(error.contains("57P01"), "{error}");
    drop(reader);
    // And so is each later call.
    let error = rows(&mut connection, "SELECT 1").unwrap_err();
    assert!(matches!(error.status, Status::IO | Status::Internal), "{error}");
    run(&mut connection, "SELECT 1").unwrap_err();
    connection.get_option_string(OptionConnection::CurrentSchema).unwrap_err();
}
