//! Heap pages against COPY under one snapshot, while others write, vacuum, load and attach.
//!
//! `PGARROW_TEST_ROUNDS` is the number of snapshots to read; default 12.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pgarrow_testkit::postgres::Client;
use pgarrow_testkit::{Capability, Chance, Database, require};

use crate::pages_equality::compare::{Compared, Held, Way};
use crate::support::{database, source};

/// The default number of snapshots.
const ROUNDS: u64 = 12;

/// Rows of `alone`, and of each partition that `parent` has from the start.
const ROWS: u64 = 12_000;

const TABLES: &str = "
    CREATE TABLE alone (k int4, t text, n numeric, d date, b bytea);
    CREATE TABLE parent (k int4, t text, n numeric, d date, b bytea) PARTITION BY RANGE (k);
    CREATE TABLE low PARTITION OF parent FOR VALUES FROM (0) TO (12001);
    CREATE TABLE high (b bytea, d date, gone int4, n numeric, t text, k int4);
    ALTER TABLE high DROP gone; ALTER TABLE parent ATTACH PARTITION high FOR VALUES FROM (12001) TO (24001);
    INSERT INTO alone SELECT g, 'row ' || g, g * 1.01, date '2000-01-01' + g, decode(md5(g::text), 'hex') FROM generate_series(1, 12000) AS g;
    INSERT INTO parent SELECT g, 'row ' || g, g * 1.01, date '2000-01-01' + g, decode(md5(g::text), 'hex') FROM generate_series(1, 24000) AS g;";

/// Set when the rounds are over, however they end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs statements until the rounds are over and counts the successes.
fn repeat(client: &mut Client, is_over: &AtomicBool, done: &AtomicU64, mut sql: impl FnMut() -> String) {
    while !is_over.load(Ordering::SeqCst) {
        let sql = sql();
        match client.batch_execute(&sql) {
            Ok(()) => drop(done.fetch_add(1, Ordering::SeqCst)),
            // A lock timeout or a deadlock.
            Err(error) => {
                let code =
                    error.code().map_or_else(|| panic!("{sql}: {error}"), |code| code.code().to_owned());
                assert!(["55P03", "40P01"].contains(&code.as_str()), "{sql}: {error:?}");
            }
        }
    }
}

/// Changes of neighbouring rows, so that other pages stay as they are; some are rolled back.
fn change(chance: &mut Chance) -> String {
    let table = chance.one_of(&["alone", "parent"]);
    let from = chance.within(1, 2 * ROWS);
    let to = from + chance.within(0, 60);
    let change = match chance.within(0, 5) {
        0 => format!("DELETE FROM {table} WHERE k BETWEEN {from} AND {to}"),
        1 => format!("UPDATE {table} SET k = k WHERE k BETWEEN {from} AND {to}"),
        2 => format!("UPDATE {table} SET t = t || '!', n = NULL WHERE k BETWEEN {from} AND {to}"),
        3 => format!("UPDATE {table} SET t = repeat(md5(k::text), 40) WHERE k = {from}"),
        _ => format!(
            "INSERT INTO {table} SELECT g, 'new', g, NULL, '' FROM generate_series({from}, least({to}, 24000)) AS g"
        ),
    };
    let end = if chance.is(80) { "COMMIT" } else { "ROLLBACK" };
    match chance.within(0, 4) {
        // Parts of a transaction, which have numbers of their own; some are rolled back.
        0 => format!(
            "BEGIN; SAVEPOINT s; {change}; RELEASE s; SAVEPOINT s; UPDATE {table} SET k = k WHERE k = {to}; ROLLBACK TO s; {end}"
        ),
        1 => {
            let strength = chance.one_of(&["UPDATE", "SHARE", "KEY SHARE"]);
            format!(
                "BEGIN; SELECT FROM {table} WHERE k BETWEEN {from} AND {to} FOR {strength}; SAVEPOINT s; {change}; {end}"
            )
        }
        _ => format!("BEGIN; {change}; {end}"),
    }
}

fn vacuum(chance: &mut Chance) -> String {
    let options = chance.one_of(&["", "(FREEZE)", "(FREEZE, DISABLE_PAGE_SKIPPING)", "(INDEX_CLEANUP off)"]);
    let table = chance.one_of(&["alone", "low", "high"]);
    format!("VACUUM {options} {table}")
}

/// Loads a table with frozen rows and makes it a partition.
fn load(database: &Database, number: u64) {
    let mut client = database.client();
    let mut transaction = client.transaction().unwrap();
    transaction.batch_execute(&format!("CREATE TABLE fresh_{number} (LIKE parent)")).unwrap();
    let from = 100_000 + 1000 * number;
    let mut copy = transaction.copy_in(&format!("COPY fresh_{number} FROM STDIN (FREEZE)")).unwrap();
    for k in from..from + 1000 {
        writeln!(copy, "{k}\tloaded {k}\t{k}.5\t2020-02-29\t\\\\x00ff").unwrap();
    }
    copy.finish().unwrap();
    transaction.commit().unwrap();
    let to = from + 1000;
    client
        .batch_execute(&format!(
            "ALTER TABLE parent ATTACH PARTITION fresh_{number} FOR VALUES FROM ({from}) TO ({to})"
        ))
        .unwrap();
}

fn rounds() -> u64 {
    std::env::var("PGARROW_TEST_ROUNDS")
        .map_or(ROUNDS, |rounds| rounds.parse().expect("PGARROW_TEST_ROUNDS: a number"))
}

#[test]
fn snapshots_are_what_they_were_while_others_write_vacuum_load_and_attach() {
    require!(Capability::Superuser, Capability::Extension("pageinspect"));
    let database = database("concurrency", TABLES);
    database.execute("CREATE EXTENSION pageinspect");
    database.execute("VACUUM (FREEZE) alone, low, high");
    let (is_over, n_changes, n_vacuums) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let sum = std::thread::scope(|scope| {
        let over = Over(&is_over);
        for seed in 0..2 {
            let (database, is_over, n_changes) = (&database, &is_over, &n_changes);
            scope.spawn(move || {
                let (mut client, mut chance) = (database.client(), Chance::new(seed));
                client.batch_execute("SET lock_timeout = '2s'").unwrap();
                repeat(&mut client, is_over, n_changes, || change(&mut chance));
            });
        }
        scope.spawn(|| {
            let (mut client, mut chance) = (database.client(), Chance::new(9));
            repeat(&mut client, &is_over, &n_vacuums, || vacuum(&mut chance));
        });
        let sum = read_snapshots(&database);
        drop(over);
        sum
    });
    let (n_changes, n_vacuums) = (n_changes.into_inner(), n_vacuums.into_inner());
    eprintln!("{} rounds, {n_changes} changes, {n_vacuums} vacuums: {sum:?}", rounds());
    assert!(n_changes > 0 && n_vacuums > 0, "others were at work");
    assert!(sum.pages > sum.judged && sum.copied > 0, "both kinds of pages were met: {sum:?}");
    assert!(sum.judged > 0, "rows were judged: {sum:?}");
}

/// Runs all rounds and returns their sum.
fn read_snapshots(database: &Database) -> Compared {
    let source = source(database);
    let mut chance = Chance::new(5);
    let mut sum = Compared::default();
    let columns = ["k", "t", "n", "d", "b"].map(str::to_owned);
    for round in 0..rounds() {
        let table = chance.one_of(&["alone", "parent"]);
        let way = Way {
            readers: 3,
            // A token costs two sessions.
            slice_bytes: Some(256 << 10),
            batch_rows: 1000,
            ..Way::by_chance(&mut chance, &columns, &[Default::default()])
        };
        let held =
            Held::new(&source, table, &way).unwrap_or_else(|text| panic!("round {round}, {way:?}: {text}"));
        let mut n_rows = None;
        for is_copy_first in [false, true] {
            let found = held.compare(&source, is_copy_first);
            let found = found.unwrap_or_else(|text| panic!("round {round}, {table}, {way:?}: {text}"));
            assert_eq!(found.error, None, "round {round}");
            assert_eq!(*n_rows.get_or_insert(found.rows), found.rows, "round {round}: the snapshot is held");
            sum.add(found);
            if !is_copy_first {
                load(database, round);
            }
        }
        drop(held);
        // DETACH waits for sessions that use the parent, and new sessions wait for it: so not while a
        // snapshot is held.
        if round % 2 == 1 {
            database.execute(&format!("ALTER TABLE parent DETACH PARTITION fresh_{}", round - 1));
            database.execute(&format!("DROP TABLE fresh_{}", round - 1));
        }
    }
    sum
}
