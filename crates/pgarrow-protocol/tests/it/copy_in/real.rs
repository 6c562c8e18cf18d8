//! COPY FROM STDIN into a real server.

use pgarrow_protocol::{Config, Error, Session, SslMode};
use pgarrow_testkit::{Capability, TestServer, require};

fn connect(url: &str) -> Session {
    let config = Config::parse_with(Some(url), &|_| None).unwrap().with_sslmode(SslMode::Disable);
    Session::connect(&config).unwrap()
}

/// A row of a binary COPY with one value.
fn row(value: &[u8]) -> Vec<u8> {
    let length = i32::try_from(value.len()).unwrap().to_be_bytes();
    [&[0, 1], length.as_slice(), value].concat()
}

const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const BINARY: &str = "COPY t FROM STDIN (FORMAT binary)";

/// Rows of integers, and the end.
fn load(session: &mut Session, values: impl Iterator<Item = i64>) -> Result<u64, Error> {
    let mut copy = session.copy_in(BINARY)?;
    assert_eq!((copy.columns(), copy.is_binary()), (1, true));
    copy.write(HEADER)?;
    for value in values {
        copy.buffer().extend_from_slice(&row(&value.to_be_bytes()));
        if copy.is_full() {
            copy.send()?;
        }
    }
    copy.write(&(-1_i16).to_be_bytes())?;
    copy.finish()
}

#[test]
fn rows_for_a_real_server() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("copy_in");
    let mut session = connect(database.url());
    session.execute("CREATE TABLE t (a int8 UNIQUE)").unwrap();
    assert_eq!(load(&mut session, 0..100_000).unwrap(), 100_000);
    let sum = "SELECT count(*), sum(a) FROM t";
    let rows = |session: &mut Session| {
        let rows = session.query(sum, &[]).unwrap();
        [0, 1].map(|index| rows[0].text(index).unwrap().to_owned())
    };
    assert_eq!(rows(&mut session), ["100000", "4999950000"]);
    // The last row exists already: W-18, G-9.
    let again = (100_000..200_000).chain([7]);
    assert_eq!(load(&mut session, again).unwrap_err().sqlstate(), Some("23505"));
    assert_eq!(rows(&mut session), ["100000", "4999950000"]);
    // Broken off.
    let mut copy = session.copy_in(BINARY).unwrap();
    copy.write(HEADER).unwrap();
    copy.write(&row(&(-1_i64).to_be_bytes())).unwrap();
    copy.fail("row 1 is not to be loaded").unwrap();
    assert_eq!(rows(&mut session), ["100000", "4999950000"]);
    // Refused before it begins.
    assert_eq!(session.copy_in("COPY nowhere FROM STDIN").unwrap_err().sqlstate(), Some("42P01"));
    assert_eq!(load(&mut session, 100_000..100_001).unwrap(), 1);
}

/// The server would read all of it and throw it away.
#[test]
fn a_real_refusal_of_the_first_row_stops_the_sending() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("copy_in_early");
    let mut session = connect(database.url());
    session.execute("CREATE TABLE t (a int8 CHECK (a > 0))").unwrap();
    let mut copy = session.copy_in(BINARY).unwrap();
    copy.write(HEADER).unwrap();
    let rows = row(&0_i64.to_be_bytes()).repeat(10_000);
    let error = (0..100_000).find_map(|_| copy.write(&rows).err()).unwrap();
    assert_eq!(error.sqlstate(), Some("23514"));
    drop(copy);
    assert_eq!(load(&mut session, 1..10).unwrap(), 9);
}

/// A trigger that sends long notices for every row, while rows come: 40 MB in each direction.
#[test]
fn notices_of_a_real_server_block_nobody() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("copy_in_notices");
    let mut session = connect(database.url());
    session
        .execute(
            "CREATE TABLE t (a text); CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE NOTICE '%', repeat('x', 2000); RETURN NEW; END $$; \
             CREATE TRIGGER tell BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tell()",
        )
        .unwrap();
    let mut copy = session.copy_in(BINARY).unwrap();
    copy.write(HEADER).unwrap();
    let rows = row(&[b'y'; 2000]).repeat(100);
    (0..200).for_each(|_| copy.write(&rows).unwrap());
    copy.write(&(-1_i16).to_be_bytes()).unwrap();
    assert_eq!(copy.finish().unwrap(), 20_000);
    assert_eq!(session.notices_dropped(), 20_000 - 64);
}

#[test]
fn a_large_value_for_a_real_server() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("copy_in_large");
    let mut session = connect(database.url());
    session.execute("CREATE TABLE t (a bytea); ALTER TABLE t ALTER a SET STORAGE EXTERNAL").unwrap();
    let value: Vec<u8> = (0..100_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut copy = session.copy_in(BINARY).unwrap();
    copy.write(HEADER).unwrap();
    let buffer = copy.buffer();
    buffer.extend_from_slice(&[0, 1]);
    buffer.extend_from_slice(&100_000_000_u32.to_be_bytes());
    buffer.extend_from_slice(&value);
    copy.write(&(-1_i16).to_be_bytes()).unwrap();
    assert_eq!(copy.finish().unwrap(), 1);
    let sql = "SELECT length(a), get_byte(a, 99999999) FROM t";
    let rows = session.query(sql, &[]).unwrap();
    let last = (99_999_999_u32 % 251).to_string();
    assert_eq!([0, 1].map(|index| rows[0].text(index)), [Some("100000000"), Some(last.as_str())]);
}
