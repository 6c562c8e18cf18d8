//! Random tables, options and broken connections: an export gives the server's rows or an error of the
//! connection.
//!
//! Every failure names the seed of its round. `PGARROW_SOAK_SEED` sets the seed of the first round.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use arrow_array::RecordBatch;
use pgarrow::{BatchReader, Error, ErrorKind, ExportOptions, ReadMode, Run, Source};
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

use crate::render;
use crate::support::{
    PATIENCE, database, oracle, server_text, source, url, wait_until_no_sessions, with_parameter,
};

/// After this time, no new round begins.
const LENGTH: Duration = Duration::from_secs(14);

/// Columns of all widths, computed from a row's number `g`.
const COLUMNS: [&str; 16] = [
    "(g % 30000 - 15000)::int2",
    "g * 17 - 5000",
    "g::int8 * 10000000019 - 70000000000000",
    "(g / 4.0 + 0.125)::float8",
    "g % 3 = 0",
    "g::text",
    "repeat(md5(g::text), g % 9)",
    "decode(repeat(md5(g::text), g % 5), 'hex')",
    "(g * 1.37)::numeric(12, 2)",
    "(g::numeric(30, 5) * 1234567890123456789)::numeric(38, 5)",
    "date '1999-12-01' + g % 9999",
    "timestamp '1969-12-31 23:00' + g * interval '1 min 0.000001 s'",
    "timestamptz '2020-02-29 00:00+00' - g * interval '7 h'",
    "md5(g::text)::uuid",
    "('k' || g % 5)::varchar(9)",
    "jsonb_build_object('g', g, 'long', repeat('x', g % 300))",
];

/// Random numbers: splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `from` up to `to`, both included.
    fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    /// The same, with every order of magnitude equally likely.
    fn scaled(&mut self, from: u64, to: u64) -> u64 {
        let share = self.within(0, 1_000_000) as f64 / 1e6;
        ((from as f64) * (to as f64 / from as f64).powf(share)) as u64
    }

    fn is(&mut self, percent: u64) -> bool {
        self.within(1, 100) <= percent
    }

    fn one_of<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.within(0, among.len() as u64 - 1) as usize]
    }
}

/// How the test takes batches.
#[derive(Clone, Copy, Debug)]
enum Taking {
    ForEach,
    Concurrently,
    Reader,
}

/// What one round does.
#[derive(Debug)]
struct Round {
    seed: u64,
    table: String,
    /// The statements that make the table, each on its own.
    statements: Vec<String>,
    options: ExportOptions,
    is_ordered: bool,
    taking: Taking,
    /// How many connections after the keeper's may be reset.
    faulty: Option<usize>,
    is_changed_meanwhile: bool,
}

impl Round {
    fn new(seed: u64, table: String) -> Self {
        let mut chance = Chance(seed);
        let batch_rows = if chance.is(15) { chance.within(1, 5) } else { chance.scaled(6, 5000) };
        // Batches of a few rows are slow.
        let n_rows = match chance.within(0, 9) {
            0 => chance.within(0, 3),
            _ => chance.scaled(100, if batch_rows < 6 { 2000 } else { 20_000 }),
        };
        let statements = statements(&mut chance, &table, n_rows);
        let n_readers = chance.within(1, 5) as usize;
        let is_ordered = chance.is(40);
        let taking = match is_ordered {
            true => chance.one_of(&[Taking::ForEach, Taking::Reader]),
            false => chance.one_of(&[Taking::ForEach, Taking::Concurrently, Taking::Reader]),
        };
        let mode = chance.one_of(&[ReadMode::Auto, ReadMode::Copy, ReadMode::Select, ReadMode::Cursor]);
        let mut options = ExportOptions::default()
            .with_readers(n_readers)
            .with_order(is_ordered)
            .with_read_mode(mode)
            .with_batch_rows(batch_rows as usize)
            .with_memory(chance.scaled(16 << 20, 256 << 20) as usize)
            .with_retries(chance.within(0, 5) as u32);
        if chance.is(80) {
            options = options.with_slice_bytes(chance.scaled(8 << 10, 1 << 20));
        }
        // The pause before each new attempt grows: with this number, none waits for more than two seconds.
        let faulty = chance.is(45).then_some(n_readers + 2);
        let is_changed_meanwhile = chance.is(50);
        Self { seed, table, statements, options, is_ordered, taking, faulty, is_changed_meanwhile }
    }

    /// Makes the table, exports it, and compares. Returns whether it was exported, and how many slices were
    /// read again.
    fn run(&self, database: &Database) -> (bool, u64) {
        let told = format!("repeat it with PGARROW_SOAK_SEED={}: {self:?}", self.seed);
        for sql in &self.statements {
            database.execute(sql);
        }
        let mut client = oracle(database);
        client.batch_execute("SET max_parallel_workers_per_gather = 0").unwrap();
        let mut expected = server_text(&mut client, &format!("SELECT * FROM {}", self.table));

        let n_faults = Arc::new(AtomicUsize::new(0));
        let proxy = self.faulty.map(|n_faulty| self.proxy(n_faulty, &n_faults));
        let source = match &proxy {
            Some(proxy) => {
                let url = with_parameter(&proxy.url_of(&url(database)), "sslmode=disable");
                Source::connect_blocking(&url).unwrap()
            }
            None => source(database),
        };
        let extract = source.table(&self.table).options(self.options.clone());
        let begun = match self.taking {
            Taking::Reader => extract.reader().map(Begun::Reader),
            Taking::ForEach => extract.open().map(Begun::ForEach),
            Taking::Concurrently => extract.open().map(Begun::Concurrently),
        };
        // The keeper's connection never breaks.
        let begun = begun.unwrap_or_else(|error| panic!("{error}; {told}"));
        if self.is_changed_meanwhile {
            database.execute(&format!("DELETE FROM {0}; INSERT INTO {0} DEFAULT VALUES", self.table));
        }
        let (sender, receiver) = mpsc::channel();
        // Not joined: the test reports a hang and does not wait for it.
        thread::spawn(move || {
            let _ = sender.send(begun.take());
        });
        let taken = receiver.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}; {told}"));
        match taken {
            Ok((batches, redone)) => {
                let mut rows = render::rows(&batches);
                if !self.is_ordered {
                    rows.sort_unstable();
                    expected.sort_unstable();
                }
                assert_eq!(rows.len(), expected.len(), "rows; {told}");
                for (row, expected) in rows.iter().zip(&expected) {
                    assert_eq!(row, expected, "{told}");
                }
                (true, redone)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Connection, "{error}; {told}");
                assert!(n_faults.load(Ordering::SeqCst) > 0, "no connection was broken: {error}; {told}");
                (false, 0)
            }
        }
    }

    /// A network that resets some of the first connections after the keeper's.
    fn proxy(&self, n_faulty: usize, n_faults: &Arc<AtomicUsize>) -> Proxy {
        let port = TestServer::shared().private().unwrap().port();
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (seed, n_faults) = (self.seed, Arc::clone(n_faults));
        Proxy::start_with(server, move |connection| {
            let mut chance = Chance(seed ^ (connection as u64).wrapping_mul(0x5851_f42d_4c95_7f2d));
            if (1..=n_faulty).contains(&connection) && chance.is(60) {
                n_faults.fetch_add(1, Ordering::SeqCst);
                return Fault::ResetAfterServerBytes(chance.scaled(100, 300_000));
            }
            Fault::None
        })
    }
}

/// Statements that make a table of `n_rows` rows, or fewer if they delete some.
fn statements(chance: &mut Chance, table: &str, n_rows: u64) -> Vec<String> {
    let n_columns = chance.within(1, 6);
    let mut list = String::new();
    for column in 0..n_columns {
        let expression = chance.one_of(&COLUMNS);
        let value = match chance.within(0, 3) {
            0 => format!("CASE WHEN (g * {}) % 11 > 2 THEN {expression} END", chance.within(1, 10)),
            _ => expression.to_owned(),
        };
        let comma = if column > 0 { ", " } else { "" };
        write!(list, "{comma}{value} AS c{column}").unwrap();
    }
    let rows = format!("SELECT {list} FROM generate_series(1, {n_rows}) AS g");
    let mut statements = Vec::new();
    if chance.is(30) {
        let n_leaves = chance.within(1, 5);
        statements.push(format!("CREATE TABLE like_{table} AS {rows} LIMIT 0"));
        statements.push(format!("CREATE TABLE {table} (LIKE like_{table}) PARTITION BY HASH (c0)"));
        for leaf in 0..n_leaves {
            statements.push(format!(
                "CREATE TABLE {table}_{leaf} PARTITION OF {table} FOR VALUES WITH (MODULUS {n_leaves}, REMAINDER {leaf})"
            ));
        }
        statements.push(format!("INSERT INTO {table} {rows}"));
    } else {
        statements.push(format!("CREATE TABLE {table} AS {rows}"));
    }
    for (percent, change) in [(40, "DELETE FROM"), (40, "UPDATE")] {
        if chance.is(percent) {
            let (set, share) = (if change == "UPDATE" { "SET c0 = c0" } else { "" }, chance.within(1, 90));
            let of_chance = chance.within(0, 1000) as f64 / 1000.0;
            statements.push(format!(
                "SELECT setseed({of_chance}); {change} {table} {set} WHERE random() * 100 < {share}"
            ));
        }
    }
    for (percent, statement) in [(30, "VACUUM"), (30, "ANALYZE")] {
        if chance.is(percent) {
            statements.push(format!("{statement} {table}"));
        }
    }
    statements
}

/// An export whose snapshot is taken.
enum Begun {
    ForEach(Run),
    Concurrently(Run),
    Reader(BatchReader),
}

impl Begun {
    /// All batches, and how many slices were read again, if the report says so.
    fn take(self) -> Result<(Vec<RecordBatch>, u64), Error> {
        let batches = Mutex::new(Vec::new());
        let keep = |batch| {
            batches.lock().unwrap().push(batch);
            Ok(())
        };
        let redone = match self {
            Self::ForEach(run) => run.for_each(keep)?.slices_redone,
            Self::Concurrently(run) => run.for_each_concurrently(keep)?.slices_redone,
            Self::Reader(reader) => {
                return Ok((reader.collect::<Result<Vec<_>, _>>()?, 0));
            }
        };
        Ok((batches.into_inner().unwrap(), redone))
    }
}

#[test]
fn tables_options_and_broken_connections_by_chance() {
    require!(Capability::PrivateServer);
    let seed = match std::env::var("PGARROW_SOAK_SEED") {
        Ok(seed) => seed.parse().expect("PGARROW_SOAK_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64,
    };
    let database = database("soak", "");
    let started = Instant::now();
    let mut seeds = Chance(seed);
    let (mut n_rounds, mut n_failed, mut n_redone, mut of_round) = (0, 0, 0, seed);
    while started.elapsed() < LENGTH {
        let round = Round::new(of_round, format!("t{n_rounds}"));
        let (is_exported, redone) = round.run(&database);
        wait_until_no_sessions(&database);
        database.execute(&format!("DROP TABLE t{n_rounds}"));
        n_rounds += 1;
        n_failed += usize::from(!is_exported);
        n_redone += redone;
        of_round = seeds.next();
    }
    eprintln!("seed {seed}: {n_rounds} rounds, {n_failed} without connection, {n_redone} slices read again");
    // Less than half of the rounds have faults.
    assert!(n_failed < n_rounds, "none of {n_rounds} rounds came to its end; PGARROW_SOAK_SEED={seed}");
}
