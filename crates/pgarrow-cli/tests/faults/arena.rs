//! What trials run against: a server, a table in it, and the rows of a clean export of it.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use arrow_schema::Schema;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pgarrow_testkit::compare::first_difference_in_any_order;
pub(crate) use pgarrow_testkit::eventually;
use pgarrow_testkit::postgres::{Client, NoTls};
use pgarrow_testkit::{Database, Fault, Proxy, TestServer};

use crate::trial::{Kind, Trial};

/// In every URL, and allowed nowhere else. The server asks for no password.
pub(crate) const CANARY: &str = "canary-9f3Kx";

/// How soon nothing of a run may be left on the server.
const GONE_SECONDS: u64 = 5;

/// A server with a table `t`, which is exported.
pub(crate) struct Arena {
    /// Dropped with the arena; none on a server of the test's own.
    _database: Option<Database>,
    url: String,
    monitor: Mutex<Client>,
    clean: Vec<RecordBatch>,
    session_bytes: OnceLock<u64>,
}

/// A table of some rows: numbers, texts, NULLs.
pub(crate) fn table(n_rows: usize) -> String {
    format!(
        "CREATE TABLE t AS SELECT g::int8 AS id, CASE WHEN g % 7 = 0 THEN NULL ELSE md5(g::text) END AS x, \
         g / 3.0::float8 AS f FROM generate_series(1, {n_rows}) AS g; ANALYZE t"
    )
}

impl Arena {
    /// A database of its own, made by `sql`, on the server that all tests share.
    pub(crate) fn new(hint: &str, sql: &str) -> Self {
        let database = TestServer::shared().fresh_database(hint);
        let url = database.url().to_owned();
        Self::with(Some(database), &url, sql)
    }

    /// On a server of the test's own.
    pub(crate) fn on(url: &str, sql: &str) -> Self {
        Self::with(None, url, sql)
    }

    fn with(database: Option<Database>, url: &str, sql: &str) -> Self {
        let mut monitor = Client::connect(url, NoTls).unwrap();
        monitor.batch_execute(sql).unwrap();
        if database.is_none() {
            // Commits are asynchronous on these servers, and a crash would lose them.
            monitor.batch_execute("CHECKPOINT").unwrap();
        }
        let mut arena = Self {
            _database: database,
            url: url.to_owned(),
            monitor: Mutex::new(monitor),
            clean: Vec::new(),
            session_bytes: OnceLock::new(),
        };
        let trial = Trial::new(&arena, Kind::Ipc);
        trial.export_cleanly().unwrap();
        let clean = rows(&trial.final_path()).unwrap();
        drop(trial);
        arena.clean = clean;
        arena
    }

    /// The URL with a password, and an `application_name` that no other run has. All have the same length.
    pub(crate) fn url_and_name(&self) -> (String, String) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fault-{:08}-{:06}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (scheme, rest) = self.url.split_once("://").unwrap();
        let (user, address) = rest.split_once('@').unwrap();
        let user = user.split(':').next().unwrap();
        (format!("{scheme}://{user}:{CANARY}@{address}?application_name={name}&sslmode=disable"), name)
    }

    /// The port of the server.
    pub(crate) fn port(&self) -> u16 {
        let (_, address) = self.url.rsplit_once('@').unwrap();
        let (_, port) = address.split('/').next().unwrap().rsplit_once(':').unwrap();
        port.parse().unwrap()
    }

    /// Bytes that the server sends in a session of one reader.
    pub(crate) fn session_bytes(&self) -> u64 {
        *self.session_bytes.get_or_init(|| {
            let proxy = Proxy::start(self.port(), Fault::None);
            let trial = Trial::new(self, Kind::Ipc).through(proxy.address());
            let ended = trial.run(&mut trial.command(&["-t", "t", "--readers", "1"]), 60);
            assert!(ended.status.success(), "{ended:?}");
            proxy.from_server_bytes()
        })
    }

    /// Another connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.url, NoTls).unwrap()
    }

    /// Asks the server over the connection that watches.
    pub(crate) fn ask(&self, sql: &str) -> i64 {
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        if monitor.is_closed() {
            *monitor = self.client();
        }
        match monitor.query_one(sql, &[]) {
            Ok(row) => row.get(0),
            // The server has been restarted since.
            Err(_) => {
                *monitor = self.client();
                monitor.query_one(sql, &[]).unwrap().get(0)
            }
        }
    }

    /// The number of the run's sessions for which a condition on `pg_stat_activity` holds.
    pub(crate) fn sessions(&self, application_name: &str, condition: &str) -> i64 {
        self.ask(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{application_name}' AND ({condition})"
        ))
    }

    /// The processes of the run's sessions for which a condition holds.
    pub(crate) fn pids(&self, application_name: &str, condition: &str) -> Vec<i32> {
        let sql = format!(
            "SELECT pid FROM pg_stat_activity WHERE application_name = '{application_name}' AND ({condition})"
        );
        self.client().query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// G-5: no session, and so no lock, and no prepared transaction.
    pub(crate) fn is_left(&self, application_name: &str) -> Result<(), String> {
        let sql = format!(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name = '{application_name}') \
             + (SELECT count(*) FROM pg_prepared_xacts)"
        );
        let deadline = Instant::now() + Duration::from_secs(GONE_SECONDS);
        loop {
            match self.ask(&sql) {
                0 => return Ok(()),
                n if Instant::now() > deadline => {
                    return Err(format!("G-5: {n} sessions are left on the server"));
                }
                _ => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// How many rows a clean export has.
    pub(crate) fn n_rows(&self) -> u64 {
        self.clean.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// Whether a file or folder has the rows of a clean export.
    pub(crate) fn check(&self, path: &Path) -> Result<(), String> {
        let found = rows(path)?;
        match first_difference_in_any_order(&self.clean, &found) {
            None => Ok(()),
            Some(difference) => Err(difference),
        }
    }
}

/// Stops a run in the middle of its reading: every fiftieth row waits for a lock that the gate has.
pub(crate) struct Gate<'a> {
    arena: &'a Arena,
    holder: Client,
    /// The run's `application_name`, from which the lock is made.
    name: String,
}

impl<'a> Gate<'a> {
    /// Creates the function that the filter calls. IMMUTABLE, so that several readers may read: otherwise one
    /// reader reads all. It waits as long as it takes: readers themselves give up a lock after 10 s, which a
    /// machine with much to do needs to get to where the gate is opened.
    pub(crate) const SQL: &'static str = "CREATE FUNCTION gate(i int8) RETURNS bool LANGUAGE plpgsql IMMUTABLE \
         SET lock_timeout = 0 AS $$ BEGIN \
         IF i % 50 = 49 THEN PERFORM pg_advisory_xact_lock_shared(hashtext(current_setting('application_name'))); END IF; \
         RETURN true; END $$";
    /// The filter of the table `t`: all rows pass when the gate opens.
    pub(crate) const FILTER: &'static str = "gate(id)";

    pub(crate) fn close(arena: &'a Arena, name: &str) -> Self {
        let mut holder = arena.client();
        holder.batch_execute(&format!("SELECT pg_advisory_lock(hashtext('{name}'))")).unwrap();
        Self { arena, holder, name: name.to_owned() }
    }

    /// Waits until this many sessions of the run wait at the gate.
    #[track_caller]
    pub(crate) fn wait(&self, n_sessions: i64) {
        eventually("it is in the middle", || {
            self.arena.sessions(&self.name, "wait_event = 'advisory'") >= n_sessions
        });
    }

    /// Lets all rows pass.
    pub(crate) fn open(mut self) {
        // If the server is gone, so is the lock.
        let _ = self.holder.batch_execute("SELECT pg_advisory_unlock_all()");
    }
}

/// All rows of a file, or of a folder's files.
pub(crate) fn read(path: &Path) -> Result<Vec<RecordBatch>, String> {
    let failed = |cause: &dyn std::fmt::Display| format!("{} cannot be read: {cause}", path.display());
    if path.is_dir() {
        let mut batches = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|cause| failed(&cause))? {
            let entry = entry.map_err(|cause| failed(&cause))?;
            // The folder's manifest.
            if !entry.file_name().as_encoded_bytes().starts_with(b"_") {
                batches.extend(read(&entry.path())?);
            }
        }
        return Ok(batches);
    }
    let file = File::open(path).map_err(|cause| failed(&cause))?;
    let is_parquet = path.extension().is_some_and(|extension| extension == "parquet");
    if is_parquet {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
        let reader = reader.map_err(|cause| failed(&cause))?;
        return reader.collect::<Result<_, _>>().map_err(|cause| failed(&cause));
    }
    let reader = FileReader::try_new(file, None).map_err(|cause| failed(&cause))?;
    reader.collect::<Result<_, _>>().map_err(|cause| failed(&cause))
}

/// The rows, without the metadata that formats add.
fn rows(path: &Path) -> Result<Vec<RecordBatch>, String> {
    let plain = |batch: RecordBatch| {
        let schema = batch.schema();
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_metadata(HashMap::new()))
            .collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec()).unwrap()
    };
    Ok(read(path)?.into_iter().map(plain).collect())
}
