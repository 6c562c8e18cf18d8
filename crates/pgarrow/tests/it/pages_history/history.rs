//! One table, its random changes, and the comparisons in between.

use pgarrow::{Source, TypeOptions};
use pgarrow_testkit::postgres::Client;
use pgarrow_testkit::{Chance, Database};

use super::table::{Column, rows};
use crate::pages_equality::choices;
use crate::pages_equality::compare::{Compared, Heaps, Held, Way, by_runs};
use crate::support::{server_text, source};

/// The results of histories.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) statements: u64,
    /// Statements that the server refused: for example a value that the other type does not accept, or a
    /// locked row.
    pub(super) failed_statements: u64,
    pub(super) comparisons: u64,
    pub(super) comparisons_with_pages: u64,
    /// Comparisons in which every page had to be decoded as stored, and was.
    pub(super) complete: u64,
    pub(super) errors: u64,
    pub(super) rows: u64,
    pub(super) pages: u64,
    pub(super) copied: u64,
}

impl Sum {
    pub(super) fn add(&mut self, other: Self) {
        self.statements += other.statements;
        self.failed_statements += other.failed_statements;
        self.comparisons += other.comparisons;
        self.comparisons_with_pages += other.comparisons_with_pages;
        self.complete += other.complete;
        self.errors += other.errors;
        self.rows += other.rows;
        self.pages += other.pages;
        self.copied += other.copied;
    }
}

pub(super) struct History<'a> {
    seed: u64,
    chance: Chance,
    database: &'a Database,
    source: Source,
    client: Client,
    table: String,
    is_partitioned: bool,
    has_lz4: bool,
    columns: Vec<Column>,
    n_columns_made: u64,
    /// Sessions in transactions that have locked rows,
    lockers: Vec<Client>,
    /// or hold a snapshot.
    watchers: Vec<Client>,
    /// Whether any change was rolled back.
    has_rolled_back: bool,
    log: Vec<String>,
    sum: Sum,
}

impl<'a> History<'a> {
    pub(super) fn new(database: &'a Database, seed: u64, has_lz4: bool) -> Self {
        let mut client = database.client();
        let settings = "SET lock_timeout = '50ms'; SET client_min_messages = error; SET timezone = 'UTC'";
        client.batch_execute(settings).unwrap();
        let mut chance = Chance::new(seed);
        let is_partitioned = chance.is(15);
        Self {
            seed,
            chance,
            database,
            source: source(database),
            client,
            table: format!("h{seed}"),
            is_partitioned,
            has_lz4,
            columns: Vec::new(),
            n_columns_made: 0,
            lockers: Vec::new(),
            watchers: Vec::new(),
            has_rolled_back: false,
            log: Vec::new(),
            sum: Sum::default(),
        }
    }

    pub(super) fn sum(&self) -> Sum {
        self.sum
    }

    /// Runs the whole history. Every failed comparison is reported with the log of the history.
    pub(super) fn run(&mut self) {
        self.create();
        self.insert();
        for _ in 0..self.chance.within(6, 24) {
            match self.chance.within(0, 99) {
                0..=33 => self.change_rows(),
                34..=49 => self.vacuum(),
                50..=67 => self.alter(),
                68..=70 => self.rewrite(),
                71..=77 => self.lock_rows(),
                78..=80 => self.watch(),
                81..=91 => self.compare(),
                _ => self.hold_and_compare(),
            }
        }
        if self.chance.is(70) {
            self.release();
            self.execute("VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) {t}");
        }
        self.compare();
        self.hold_and_compare();
    }

    /// Runs a statement in which `{t}` stands for the table. Returns whether it succeeded.
    fn execute(&mut self, sql: &str) -> bool {
        let sql = sql.replace("{t}", &self.table);
        self.sum.statements += 1;
        let result = self.client.batch_execute(&sql);
        let error = result.err().map(|error| match error.as_db_error() {
            Some(error) => error.message().to_owned(),
            None => panic!("history {}: {error}\n{}\n{sql}", self.seed, self.log.join(";\n")),
        });
        self.sum.failed_statements += u64::from(error.is_some());
        self.has_rolled_back |= error.is_some() || sql.contains("ROLLBACK");
        let note = error.as_ref().map_or_else(String::new, |error| format!(" -- {error}"));
        self.log.push(sql + &note);
        error.is_none()
    }

    fn new_column(&mut self) -> Column {
        self.n_columns_made += 1;
        let name = match self.n_columns_made % 5 {
            0 => format!("Ä {}", self.n_columns_made),
            _ => format!("c{}", self.n_columns_made),
        };
        Column::new(&mut self.chance, name)
    }

    fn create(&mut self) {
        let columns: Vec<Column> = (0..self.chance.within(0, 9)).map(|_| self.new_column()).collect();
        let list: String = columns.iter().map(|c| format!(", {} {}", c.quoted(), c.pg_type)).collect();
        self.columns = columns;
        let list = format!("(k int4{list})");
        if !self.is_partitioned {
            let fillfactor = self.chance.within(10, 100);
            let kind = if self.chance.is(10) { "UNLOGGED " } else { "" };
            assert!(
                self.execute(&format!("CREATE {kind}TABLE {{t}} {list} WITH (fillfactor = {fillfactor})"))
            );
            return;
        }
        let gone = "ALTER TABLE {t}_b DROP gone; ALTER TABLE {t} ATTACH PARTITION {t}_b DEFAULT";
        let table = format!("CREATE TABLE {{t}} {list} PARTITION BY RANGE (k)");
        assert!(self.execute(&table));
        assert!(self.execute("CREATE TABLE {t}_a PARTITION OF {t} FOR VALUES FROM (0) TO (100)"));
        assert!(self.execute("CREATE TABLE {t}_b (gone text, LIKE {t})"));
        assert!(self.execute(gone));
    }

    fn change_rows(&mut self) {
        match self.chance.within(0, 9) {
            0..=3 => self.insert(),
            4..=5 => self.in_transaction(),
            6 => {
                let sql = self.delete_sql();
                self.execute(&sql);
            }
            _ => {
                let sql = self.update_sql();
                self.execute(&sql);
            }
        }
    }

    fn insert(&mut self) {
        let sql = self.insert_sql();
        self.execute(&sql);
    }

    fn insert_sql(&mut self) -> String {
        let (mut names, mut values) = ("k".to_owned(), "g".to_owned());
        for column in &self.columns {
            if self.chance.is(90) {
                names = format!("{names}, {}", column.quoted());
                values = format!("{values}, {}", column.value(&mut self.chance));
            }
        }
        let n_rows = match self.chance.within(0, 9) {
            0 => 1,
            1..=7 => self.chance.within(2, 300),
            _ => self.chance.within(300, 1500),
        };
        let rows = rows(&mut self.chance, n_rows);
        format!("INSERT INTO {{t}} ({names}) SELECT {values} FROM {rows}")
    }

    /// A condition for some rows, always the same ones.
    fn some(&mut self) -> String {
        let (of, at) = (self.chance.within(2, 30), self.chance.next_number() % 2);
        match self.chance.within(0, 3) {
            0 => format!("k = {}", self.chance.within(1, 300)),
            1 => format!("k % {of} = {at}"),
            2 => format!("(ctid::text::point)[0]::int8 % {of} = {at}"),
            _ => format!("(ctid::text::point)[0] = {}", self.chance.within(0, 9)),
        }
    }

    fn delete_sql(&mut self) -> String {
        format!("DELETE FROM {{t}} WHERE {}", self.some())
    }

    fn update_sql(&mut self) -> String {
        let filter = self.some();
        if self.columns.is_empty() || self.chance.is(15) {
            return format!("UPDATE {{t}} SET k = k WHERE {filter}");
        }
        let columns = self.chance.some_of(&self.columns);
        let sets: Vec<String> = columns
            .iter()
            .map(|column| {
                let value = column.value(&mut self.chance);
                let rows = rows(&mut self.chance, 9);
                format!("{} = (SELECT {value} FROM {rows} WHERE g = 1 + abs(k) % 9)", column.quoted())
            })
            .collect();
        format!("UPDATE {{t}} SET {} WHERE {filter}", sets.join(", "))
    }

    /// Some changes in one transaction, with savepoints; it may be rolled back.
    fn in_transaction(&mut self) {
        self.execute("BEGIN");
        for _ in 0..self.chance.within(1, 6) {
            let sql = match self.chance.within(0, 9) {
                0..=2 => self.insert_sql(),
                3..=4 => self.update_sql(),
                5 => self.delete_sql(),
                6..=7 => "SAVEPOINT s".to_owned(),
                _ => "ROLLBACK TO s".to_owned(),
            };
            if !self.execute(&sql) {
                break;
            }
        }
        // A column of a transaction that is rolled back: its rows have more attributes than the catalog
        // knows.
        if self.chance.is(15) && self.lockers.is_empty() {
            self.execute("ALTER TABLE {t} ADD never text DEFAULT 'never'");
            let sql = self.insert_sql();
            self.execute(&sql);
            self.execute("ROLLBACK");
            return;
        }
        let end = if self.chance.is(70) { "COMMIT" } else { "ROLLBACK" };
        self.execute(end);
    }

    fn vacuum(&mut self) {
        let vacuum = self.chance.one_of(&[
            "VACUUM {t}",
            "VACUUM (FREEZE) {t}",
            "VACUUM (FREEZE) {t}",
            "VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) {t}",
            "VACUUM (INDEX_CLEANUP off, TRUNCATE false) {t}",
            "ANALYZE {t}",
        ]);
        self.execute(vacuum);
    }

    fn alter(&mut self) {
        self.release();
        match self.chance.within(0, 99) {
            0..=44 => {
                let column = self.new_column();
                let default = self.default_of(&column);
                let default = default.map_or_else(String::new, |default| format!(" DEFAULT {default}"));
                let (name, pg_type) = (column.quoted(), &column.pg_type);
                if self.execute(&format!("ALTER TABLE {{t}} ADD {name} {pg_type}{default}")) {
                    self.columns.push(column);
                }
            }
            45..=59 if !self.columns.is_empty() => {
                let place = self.chance.index(self.columns.len());
                let name = self.columns[place].quoted();
                if self.execute(&format!("ALTER TABLE {{t}} DROP {name}")) {
                    self.columns.remove(place);
                }
            }
            60..=74 if !self.columns.is_empty() => {
                let place = self.chance.index(self.columns.len());
                let (altered, sql) = self.columns[place].altered(&mut self.chance, "{t}");
                if self.execute(&sql) {
                    self.columns[place] = altered;
                }
            }
            75..=82 if !self.columns.is_empty() => {
                let column = self.columns[self.chance.index(self.columns.len())].clone();
                let name = column.quoted();
                match self.default_of(&column) {
                    Some(default) => {
                        self.execute(&format!("ALTER TABLE {{t}} ALTER {name} SET DEFAULT {default}"))
                    }
                    None => self.execute(&format!("ALTER TABLE {{t}} ALTER {name} DROP DEFAULT")),
                };
            }
            83..=97 if !self.columns.is_empty() => self.alter_storage(),
            _ => {
                let n = self.n_columns_made + 1000 * self.seed;
                self.execute(&format!("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'mood {n}' BEFORE 'B'"));
            }
        }
    }

    /// A constant, a volatile expression, or no default.
    fn default_of(&mut self, column: &Column) -> Option<String> {
        let is_volatile = self.chance.is(20);
        let sql = column.constant(&mut self.chance);
        if self.chance.is(30) {
            return None;
        }
        let constant = server_text(&mut self.client, &sql)[0][0].clone()?;
        Some(column.default(&constant, is_volatile))
    }

    fn alter_storage(&mut self) {
        let name = self.columns[self.chance.index(self.columns.len())].quoted();
        let leaf = if self.is_partitioned { "{t}_a" } else { "{t}" };
        let sql = match self.chance.within(0, 9) {
            0..=3 => {
                let storage = self.chance.one_of(&["PLAIN", "EXTERNAL", "EXTENDED", "MAIN"]);
                format!("ALTER TABLE {leaf} ALTER {name} SET STORAGE {storage}")
            }
            4..=6 => {
                let compression = self.chance.one_of(if self.has_lz4 { &["lz4", "pglz"] } else { &["pglz"] });
                format!("ALTER TABLE {leaf} ALTER {name} SET COMPRESSION {compression}")
            }
            7 => format!("ALTER TABLE {leaf} SET (toast_tuple_target = {})", self.chance.within(128, 8160)),
            _ => format!("ALTER TABLE {leaf} SET (fillfactor = {})", self.chance.within(10, 100)),
        };
        self.execute(&sql);
    }

    /// A change that gives the table new files.
    fn rewrite(&mut self) {
        self.release();
        match self.chance.within(0, 9) {
            0..=1 => drop(self.execute("TRUNCATE {t}")),
            2..=4 => drop(self.execute("VACUUM (FULL, FREEZE) {t}")),
            5..=8 if !self.is_partitioned => {
                self.execute("CREATE INDEX {t}_i ON {t} (k)");
                self.execute("CLUSTER {t} USING {t}_i");
                self.execute("DROP INDEX {t}_i");
            }
            _ if self.is_partitioned => drop(self.execute("TRUNCATE {t}_a")),
            _ => {
                let to = self.chance.one_of(&["LOGGED", "UNLOGGED"]);
                self.execute(&format!("ALTER TABLE {{t}} SET {to}"));
            }
        }
    }

    /// Another session locks rows and keeps them locked; with too many such sessions, they end first.
    fn lock_rows(&mut self) {
        if self.lockers.len() > 2 {
            self.release();
        }
        let strength = self.chance.one_of(&["UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"]);
        let some = self.some();
        let sql = format!("BEGIN; SELECT FROM {} WHERE {some} FOR {strength} SKIP LOCKED", self.table);
        let mut locker = self.database.client();
        locker.batch_execute(&sql).unwrap_or_else(|error| panic!("history {}: {sql}: {error}", self.seed));
        self.log.push(format!("-- another session: {sql}"));
        self.lockers.push(locker);
    }

    /// Ends the sessions that have locked rows.
    fn release(&mut self) {
        for mut locker in self.lockers.drain(..) {
            let end = self.chance.one_of(&["COMMIT", "ROLLBACK"]);
            locker.batch_execute(end).unwrap();
            self.log.push(format!("-- another session: {end}"));
        }
    }

    /// Another session holds a snapshot, so that VACUUM keeps what it sees; if there are such sessions, they
    /// end instead.
    fn watch(&mut self) {
        if !self.watchers.is_empty() {
            self.watchers.clear();
            self.log.push("-- all snapshots of others end".to_owned());
            return;
        }
        let mut watcher = self.database.client();
        watcher.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
        self.log.push("-- another session: BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1".to_owned());
        self.watchers.push(watcher);
    }

    fn way(&mut self) -> Way {
        let names = self.columns.iter().map(|column| column.name.clone()).chain(["k".to_owned()]);
        let all = choices();
        let types: &[TypeOptions] = if self.chance.is(50) { &all[1..] } else { &all };
        Way::by_chance(&mut self.chance, &names.collect::<Vec<_>>(), types)
    }

    fn compare(&mut self) {
        let way = self.way();
        let heaps = Heaps::of(self.database, &self.table);
        let found = by_runs(&self.source, &self.table, &way);
        self.log.push(format!("-- by runs: {way:?}"));
        let compared = self.told(found);
        if heaps.must_all_be_read() && heaps.blocks > 0 && compared.error.is_none() {
            // A page all of whose rows were updated by a transaction that rolled back looks like another
            // page.
            let looks_moved = self.has_rolled_back && compared.reasons.contains_key("unverified");
            let is_complete = (compared.pages, compared.copied) == (heaps.blocks, 0);
            let is_complete = is_complete || (looks_moved && !compared.reasons.contains_key("out_of_line"));
            self.told(is_complete.then_some(()).ok_or(format!("{heaps:?}, but {compared:?}")));
            self.sum.complete += 1;
        }
        self.count(&compared);
    }

    /// Takes a snapshot, changes rows, and reads the snapshot's rows.
    fn hold_and_compare(&mut self) {
        let mut way = self.way();
        // Each slice costs four sessions.
        way.slice_bytes = way.slice_bytes.map(|bytes| 12 * bytes);
        self.log.push(format!("-- a snapshot is held: {way:?}"));
        let held = Held::new(&self.source, &self.table, &way);
        let mut held = self.told(held);
        if self.chance.is(30) {
            held = held.into_whole();
        }
        for _ in 0..self.chance.within(1, 2) {
            for _ in 0..self.chance.within(0, 3) {
                match self.chance.within(0, 9) {
                    0..=5 => self.change_rows_only(),
                    6..=8 => self.vacuum(),
                    _ => self.lock_rows(),
                }
            }
            let is_copy_first = self.chance.is(30);
            self.log.push(format!("-- what it has is compared, by COPY first: {is_copy_first}"));
            let found = held.compare(&self.source, is_copy_first);
            let compared = self.told(found);
            self.count(&compared);
        }
    }

    /// Only changes that do not wait for readers.
    fn change_rows_only(&mut self) {
        let sql = match self.chance.within(0, 2) {
            0 => self.insert_sql(),
            1 => self.update_sql(),
            _ => self.delete_sql(),
        };
        self.execute(&sql);
    }

    fn count(&mut self, compared: &Compared) {
        self.sum.comparisons += 1;
        self.sum.comparisons_with_pages += u64::from(compared.pages > 0);
        self.sum.errors += u64::from(compared.error.is_some());
        self.sum.rows += compared.rows as u64;
        self.sum.pages += compared.pages;
        self.sum.copied += compared.copied;
    }

    /// The value of `result`; a failure is reported with the log of the history.
    fn told<T>(&self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|text| {
            panic!(
                "{text}\nrepeat it with PGARROW_TEST_SEED={} PGARROW_TEST_HISTORIES=1\n{}",
                self.seed,
                self.log.join(";\n")
            )
        })
    }
}
