//! Pages that VACUUM has not marked: a superuser's export judges their rows by its snapshot, and finds those
//! of COPY.
//!
//! Each test has a server of its own, without autovacuum: what runs on the server, and which hints are set,
//! is what the test did. `PGARROW_TEST_SEED` and `PGARROW_TEST_HISTORIES` are those of `pages_history`.

mod writers;

use pgarrow::Source;
use pgarrow_server::Server;
use pgarrow_testkit::postgres::{Client, NoTls};
use pgarrow_testkit::{Capability, Chance, require, server_options};

use crate::pages_equality::compare::{Compared, Held, Way, by_runs};
use crate::pages_history::number;
use writers::Writers;

/// The number of histories without `PGARROW_TEST_HISTORIES`.
const HISTORIES: u64 = 12;

macro_rules! require_unmarked {
    () => {
        require!(
            Capability::PrivateServer,
            Capability::Extension("pageinspect"),
            Capability::VersionAtLeast(140_000)
        );
    };
}

/// A server on which nothing happens by itself.
fn server() -> Server {
    let options = server_options()
        .setting("autovacuum", "off")
        // A hint says "committed" only once that is on disk.
        .setting("synchronous_commit", "on")
        .setting("max_prepared_transactions", "20")
        .setting("max_connections", "60");
    let server = Server::start(options).unwrap();
    client(&server).batch_execute("CREATE EXTENSION pageinspect").unwrap();
    server
}

fn client(server: &Server) -> Client {
    Client::connect(&server.url(), NoTls).unwrap()
}

/// Statements one by one: sent together, they would be one transaction.
fn run(client: &mut Client, statements: &str) {
    for statement in statements.split("; ") {
        client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

fn source(server: &Server) -> Source {
    Source::connect_blocking(&server.url()).unwrap()
}

/// What other sessions do to the table `e`, which has 2,000 rows, and whether its pages can then be judged.
const SCENES: [(&str, &[&str], bool); 12] = [
    ("a load that nobody has read", &["CREATE TABLE e AS TABLE rows"], false),
    ("a load that was read", &["CREATE TABLE e AS TABLE rows; SELECT count(*) FROM e"], true),
    ("rows of a transaction that runs", &["BEGIN; INSERT INTO e TABLE rows"], true),
    (
        "rows that were rolled back, deleted and updated in place",
        &[
            "BEGIN; INSERT INTO e TABLE rows; ROLLBACK",
            "DELETE FROM e WHERE id % 3 = 0; UPDATE e SET v = 'new' WHERE id % 3 = 1; SELECT count(*) FROM e",
        ],
        true,
    ),
    ("rows that a transaction that runs has deleted", &["BEGIN; DELETE FROM e WHERE id % 3 = 0"], true),
    (
        "rows that a prepared transaction has deleted",
        &["BEGIN; UPDATE e SET v = 'p' WHERE id % 3 = 0; PREPARE TRANSACTION 'p'"],
        true,
    ),
    (
        "rows that a subtransaction of one that runs has deleted",
        &[
            "BEGIN; INSERT INTO other VALUES (1); SAVEPOINT s; DELETE FROM e WHERE id % 3 = 0",
            "INSERT INTO other VALUES (2)",
        ],
        false,
    ),
    (
        "rows that such a subtransaction has taken back",
        &[
            "BEGIN; INSERT INTO other VALUES (1); SAVEPOINT s; INSERT INTO e TABLE rows; ROLLBACK TO s",
            "INSERT INTO other VALUES (2); SELECT count(*) FROM e",
        ],
        false,
    ),
    (
        "rows that were committed while another transaction ran",
        &["BEGIN; INSERT INTO other VALUES (1)", "DELETE FROM e WHERE id % 3 = 0; SELECT count(*) FROM e"],
        false,
    ),
    (
        "locked rows",
        &[
            "BEGIN; SELECT FROM e FOR UPDATE",
            "BEGIN; INSERT INTO other VALUES (1); SELECT FROM other FOR SHARE",
        ],
        true,
    ),
    ("rows locked by two", &["BEGIN; SELECT FROM e FOR SHARE", "BEGIN; SELECT FROM e FOR KEY SHARE"], true),
    (
        "rows locked by one and updated by another",
        &["BEGIN; SELECT FROM e FOR KEY SHARE", "UPDATE e SET v = 'new'; SELECT count(*) FROM e"],
        false,
    ),
];

/// Pages of `e` that were never used: PostgreSQL 16 and later add several at once.
fn n_unused(client: &mut Client) -> u64 {
    let sql = "SELECT count(*) FROM generate_series(0, pg_relation_size('e') / 8192 - 1) AS b, \
                 page_header(get_raw_page('e', 'main', b::int4)) AS h WHERE h.upper = 0";
    let n: i64 = client.query_one(sql, &[]).unwrap().get(0);
    n.try_into().unwrap()
}

#[test]
fn scenes_that_can_be_judged_and_others() {
    require_unmarked!();
    let server = server();
    let mut setup = client(&server);
    let rows = "CREATE TABLE other (i int4); CREATE TABLE rows AS \
                SELECT g AS id, 'row ' || g AS v FROM generate_series(1, 2000) AS g";
    run(&mut setup, rows);
    for (what, sessions, is_judged) in SCENES {
        run(&mut setup, "DROP TABLE IF EXISTS e");
        if !what.starts_with("a load") {
            run(&mut setup, "CREATE TABLE e AS TABLE rows; SELECT count(*) FROM e");
        }
        let mut open = Vec::new();
        for sql in sessions {
            let mut session = client(&server);
            run(&mut session, sql);
            open.push(session);
        }
        let compared = by_runs(&source(&server), "e", &Way::plain());
        let compared = compared.unwrap_or_else(|text| panic!("{what}: {text}"));
        let undecided = compared.reasons.get("undecided").copied().unwrap_or(0);
        match is_judged {
            true => {
                let used = compared.pages - n_unused(&mut setup);
                assert_eq!((compared.judged, compared.copied), (used, 0), "{what}: {compared:?}");
            }
            false => assert!(undecided > 0, "{what}: {compared:?}"),
        }
        assert!(compared.pages + compared.copied > 5, "{what}: {compared:?}");
        drop(open);
        if what.contains("prepared") {
            run(&mut setup, "ROLLBACK PREPARED 'p'");
        }
    }
}

/// Hints are lost with the pages that were not written: then nobody can tell, until a scan has looked at the
/// server's log.
#[test]
fn after_a_crash_hints_are_asked_for_again() {
    require_unmarked!();
    let mut server = server();
    let mut setup = client(&server);
    let load = "CREATE TABLE e AS SELECT g AS id FROM generate_series(1, 5000) AS g; CHECKPOINT; \
                SELECT count(*) FROM e";
    run(&mut setup, load);
    let judged = by_runs(&source(&server), "e", &Way::plain()).unwrap();
    assert_eq!((judged.judged, judged.copied), (judged.pages - n_unused(&mut setup), 0), "{judged:?}");
    let mut running = client(&server);
    run(&mut running, "BEGIN; DELETE FROM e WHERE id < 1000");
    run(&mut setup, "INSERT INTO e VALUES (0)");
    server.crash_and_restart().unwrap();
    let source = source(&server);
    // The first comparison ends with a COPY, which sets the hints.
    let before = by_runs(&source, "e", &Way::plain()).unwrap();
    assert!(before.copied > 0 && before.reasons.contains_key("undecided"), "{before:?}");
    let after = by_runs(&source, "e", &Way::plain()).unwrap();
    let used = after.pages - n_unused(&mut client(&server));
    assert_eq!((after.judged, after.copied, after.rows), (used, 0, 5001), "{after:?}");
}

#[test]
fn pages_and_copy_agree_at_any_moment_between_transactions() {
    require_unmarked!();
    let mut server = server();
    let (first, n_histories) = (number("PGARROW_TEST_SEED", 1), number("PGARROW_TEST_HISTORIES", HISTORIES));
    let mut sum = Compared::default();
    let (mut n_held, mut n_prepared) = (0, 0);
    for seed in first..first + n_histories {
        let mut chance = Chance::new(seed);
        let mut writers = Writers::new(&server, seed);
        for _ in 0..chance.within(4, 8) {
            for _ in 0..chance.within(5, 25) {
                writers.step();
            }
            if chance.is(15) {
                writers.crash(&mut server);
            }
            let source = source(&server);
            let way = Way {
                slice_bytes: chance.is(40).then(|| 8192 * chance.within(4, 20)),
                ..Way::by_chance(&mut chance, &["id", "k", "v"].map(str::to_owned), &[Default::default()])
            };
            let told = |result: Result<Compared, String>, writers: &Writers| match result {
                Ok(compared) => compared,
                Err(text) => panic!("history {seed}, {way:?}: {text}\n{}", writers.log()),
            };
            let held = Held::new(&source, "e", &way).unwrap_or_else(|text| panic!("history {seed}: {text}"));
            let mut rows = None;
            for is_copy_first in [chance.is(20), chance.is(50)] {
                let compared = told(held.compare(&source, is_copy_first), &writers);
                assert_eq!(*rows.get_or_insert(compared.rows), compared.rows, "history {seed}: it is held");
                sum.add(compared);
                n_held += 1;
                for _ in 0..chance.within(3, 12) {
                    writers.step();
                }
            }
        }
        n_prepared += writers.n_prepared();
        writers.end();
    }
    eprintln!("{n_histories} histories from {first}, {n_held} comparisons, {n_prepared} prepared: {sum:?}");
    assert_eq!(sum.error, None);
    // The test is meaningful only if both were met.
    assert!(sum.judged > 0 && sum.reasons.contains_key("undecided"), "{sum:?}");
    assert!(n_histories < 5 || n_prepared > 0);
}
