//! Sessions that change one table in overlapping transactions, one statement of one session at a time.

use pgarrow_server::Server;
use pgarrow_testkit::Chance;
use pgarrow_testkit::postgres::Client;

use super::client;

/// Sessions that write.
const SESSIONS: usize = 4;

/// Statements for rows around `{k}`. Those of other sessions may be in the way: then the statement fails, and
/// its transaction with it.
const STATEMENTS: [&str; 13] = [
    "INSERT INTO e SELECT g, g % 50, 'new' FROM generate_series(nextval('ids'), nextval('ids') + {n}) AS g ON CONFLICT DO NOTHING",
    "INSERT INTO e SELECT {k}, 1, 'again' ON CONFLICT (id) DO UPDATE SET v = 'met'",
    "DELETE FROM e WHERE id BETWEEN {k} AND {k} + {n}",
    "UPDATE e SET v = v || '!' WHERE id BETWEEN {k} AND {k} + {n}",
    "UPDATE e SET v = 'hot' WHERE id % 97 = {k} % 97",
    "UPDATE e SET id = -id WHERE id BETWEEN {k} AND {k} + 3",
    "UPDATE e SET v = repeat('x', 150) WHERE k = {k} % 50",
    "SELECT FROM e WHERE id BETWEEN {k} AND {k} + {n} FOR UPDATE SKIP LOCKED",
    "SELECT FROM e WHERE id BETWEEN {k} AND {k} + {n} FOR NO KEY UPDATE SKIP LOCKED",
    "SELECT FROM e WHERE id BETWEEN {k} AND {k} + {n} FOR SHARE SKIP LOCKED",
    "SELECT FROM e WHERE id BETWEEN {k} AND {k} + {n} FOR KEY SHARE SKIP LOCKED",
    "SELECT count(*) FROM e",
    "SELECT count(*) FROM e WHERE id > 300",
];

pub(super) struct Writers {
    chance: Chance,
    sessions: Vec<Session>,
    /// Names of transactions that were prepared and have not ended.
    prepared: Vec<String>,
    n_prepared: u64,
    log: Vec<String>,
}

struct Session {
    client: Client,
    is_open: bool,
    /// Savepoints that can be gone back to.
    n_savepoints: u64,
}

impl Session {
    fn new(server: &Server) -> Self {
        let mut client = client(server);
        client.batch_execute("SET lock_timeout = '20ms'; SET deadlock_timeout = '10ms'").unwrap();
        Self { client, is_open: false, n_savepoints: 0 }
    }
}

impl Writers {
    pub(super) fn new(server: &Server, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let fillfactor = chance.within(40, 100);
        let sql = format!(
            "DROP TABLE IF EXISTS e; DROP SEQUENCE IF EXISTS ids; CREATE SEQUENCE ids START 10000; \
             CREATE TABLE e (id int4 PRIMARY KEY, k int4, v text) WITH (fillfactor = {fillfactor}); \
             INSERT INTO e SELECT g, g % 50, 'row ' || g FROM generate_series(1, 3000) AS g"
        );
        client(server).batch_execute(&sql).unwrap();
        let sessions = (0..SESSIONS).map(|_| Session::new(server)).collect();
        Self { chance, sessions, prepared: Vec::new(), n_prepared: 0, log: vec![sql] }
    }

    pub(super) fn n_prepared(&self) -> u64 {
        self.n_prepared
    }

    pub(super) fn log(&self) -> String {
        self.log.join(";\n")
    }

    /// One statement of one session.
    pub(super) fn step(&mut self) {
        let index = self.chance.index(SESSIONS);
        let Session { is_open, n_savepoints, .. } = self.sessions[index];
        let sql = match self.chance.within(0, 99) {
            0..=9 if is_open => "COMMIT".to_owned(),
            10..=15 if is_open => "ROLLBACK".to_owned(),
            16..=18 if is_open && self.prepared.len() < 10 => self.prepare(),
            19..=32 if is_open => format!("SAVEPOINT s{}", n_savepoints + 1),
            33..=40 if is_open && n_savepoints > 0 => format!("ROLLBACK TO s{n_savepoints}"),
            41..=46 if is_open && n_savepoints > 0 => format!("RELEASE s{n_savepoints}"),
            0..=45 if !is_open => "BEGIN".to_owned(),
            47..=50 if !self.prepared.is_empty() && !is_open => {
                let name = self.prepared.swap_remove(self.chance.index(self.prepared.len()));
                format!("{} PREPARED '{name}'", self.chance.one_of(&["COMMIT", "ROLLBACK"]))
            }
            51..=52 if !is_open => {
                self.chance.one_of(&["VACUUM e", "VACUUM (FREEZE) e", "VACUUM e"]).to_owned()
            }
            _ => {
                let (k, n) = (self.chance.within(1, 3200), self.chance.within(0, 120));
                let statement = self.chance.one_of(&STATEMENTS);
                statement.replace("{k}", &k.to_string()).replace("{n}", &n.to_string())
            }
        };
        self.execute(index, &sql);
    }

    fn prepare(&mut self) -> String {
        self.n_prepared += 1;
        format!("PREPARE TRANSACTION 'p{}'", self.n_prepared)
    }

    fn execute(&mut self, index: usize, sql: &str) {
        let session = &mut self.sessions[index];
        let result = session.client.batch_execute(sql);
        let note = result.as_ref().err().map(|error| match error.as_db_error() {
            Some(error) => format!(" -- {}", error.message()),
            None => panic!("{sql}: {error}\n{}", self.log.join(";\n")),
        });
        self.log.push(format!("/* {index} */ {sql}{}", note.unwrap_or_default()));
        if result.is_err() {
            // A failed statement is undone by going back, or with its transaction.
            let undo = match (session.is_open, session.n_savepoints) {
                (false, _) => return,
                (true, 0) => "ROLLBACK".to_owned(),
                (true, savepoint) => format!("ROLLBACK TO s{savepoint}"),
            };
            session.client.batch_execute(&undo).unwrap();
            session.is_open = session.n_savepoints > 0;
            self.log.push(format!("/* {index} */ {undo}"));
            return;
        }
        match sql.split(' ').next().unwrap_or_default() {
            "BEGIN" => session.is_open = true,
            "SAVEPOINT" => session.n_savepoints += 1,
            "RELEASE" => session.n_savepoints -= 1,
            "COMMIT" | "PREPARE" => (session.is_open, session.n_savepoints) = (false, 0),
            "ROLLBACK" if sql == "ROLLBACK" => (session.is_open, session.n_savepoints) = (false, 0),
            _ => {}
        }
        if let Some(name) = sql.strip_prefix("PREPARE TRANSACTION ") {
            self.prepared.push(name.trim_matches('\'').to_owned());
        }
    }

    /// Ends all sessions as a power failure would. Prepared transactions stay.
    pub(super) fn crash(&mut self, server: &mut Server) {
        if self.chance.is(50) {
            client(server).batch_execute("CHECKPOINT").unwrap();
        }
        server.crash_and_restart().unwrap();
        self.log.push("-- a crash".to_owned());
        self.sessions = (0..SESSIONS).map(|_| Session::new(server)).collect();
    }

    /// Ends everything that is open.
    pub(super) fn end(mut self) {
        for index in 0..SESSIONS {
            if self.sessions[index].is_open {
                self.execute(index, "ROLLBACK");
            }
        }
        for name in std::mem::take(&mut self.prepared) {
            self.execute(0, &format!("ROLLBACK PREPARED '{name}'"));
        }
    }
}
