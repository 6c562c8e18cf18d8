//! A real PostgreSQL for tests, and an independent client for it.
//!
//! One private server for each test process, started when the first test asks; it ends with the process. Or
//! the server that `PGARROW_TEST_DB_URL` names. Tests share it, so each test works in a database of its own.

use std::env;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use pgarrow_server::{Server, ServerOptions};
use postgres::{Client, NoTls};

use crate::target::target_tmp;

/// How a test starts a server beside the shared one: from a cluster that is kept in target/tmp, without an
/// `initdb`.
pub fn server_options() -> ServerOptions {
    ServerOptions::new().cluster_cache(target_tmp())
}

/// The server of this test process.
#[derive(Debug)]
pub struct TestServer {
    place: Place,
    version_num: u32,
}

#[derive(Debug)]
enum Place {
    Private(Box<Server>),
    External(String),
}

impl TestServer {
    /// The server that all tests of this process share.
    ///
    /// # Panics
    ///
    /// When there is none. A test that can be left out says so first: `require!(Capability::Server)`.
    pub fn shared() -> &'static Self {
        Self::try_shared().unwrap_or_else(|reason| panic!("no server for tests: {reason}"))
    }

    /// As [`shared`](Self::shared), with the reason when there is none.
    ///
    /// # Errors
    ///
    /// When PostgreSQL can be neither found nor fetched nor started, or the external one does not answer.
    pub fn try_shared() -> Result<&'static Self, String> {
        static SHARED: OnceLock<Result<TestServer, String>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref().map_err(Clone::clone)
    }

    fn start() -> Result<Self, String> {
        if env::var_os("PGARROW_TEST_SERVER").is_some_and(|value| value == "none") {
            return Err("PGARROW_TEST_SERVER=none".to_owned());
        }
        let place = match env::var("PGARROW_TEST_DB_URL") {
            Ok(url) if !url.is_empty() => Place::External(url),
            _ => Place::Private(Box::new(
                Server::start(server_options().setting("max_connections", "200"))
                    .map_err(|cause| cause.to_string())?,
            )),
        };
        let mut server = Self { place, version_num: 0 };
        let mut client = Client::connect(&server.url(), NoTls).map_err(|cause| cause.to_string())?;
        let row = client
            .query_one("SELECT current_setting('server_version_num')", &[])
            .map_err(|cause| cause.to_string())?;
        server.version_num =
            row.get::<_, String>(0).parse().map_err(|_| "a server without a version".to_owned())?;
        Ok(server)
    }

    /// The URL of a superuser of the server, in its default database.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Private(server) => server.url(),
            Place::External(url) => url.clone(),
        }
    }

    /// The same in another database.
    pub fn url_for(&self, database: &str) -> String {
        match &self.place {
            Place::Private(server) => server.url_for(database),
            Place::External(url) => with_database(url, database),
        }
    }

    /// As PostgreSQL's `server_version_num`: 150018 is 15.18.
    pub fn version_num(&self) -> u32 {
        self.version_num
    }

    /// Whether the server is ours.
    pub fn is_private(&self) -> bool {
        self.private().is_some()
    }

    /// The server, if it is ours. Tests share it: one that crashes servers starts its own.
    pub fn private(&self) -> Option<&Server> {
        match &self.place {
            Place::Private(server) => Some(server),
            Place::External(_) => None,
        }
    }

    /// A new connection of the independent client, without TLS.
    ///
    /// # Panics
    ///
    /// When it cannot connect.
    pub fn client(&self) -> Client {
        connect(&self.url())
    }

    /// Creates an empty database with a name of its own, which starts with `hint`.
    ///
    /// # Panics
    ///
    /// When it cannot be created.
    pub fn fresh_database(&self, hint: &str) -> Database {
        let name = unique_name(hint);
        // Copying files takes half the time if nothing must be durable; before 15, it is the only way.
        let strategy =
            if self.is_private() && self.version_num >= 150_000 { " STRATEGY file_copy" } else { "" };
        // No session ever connects to template0, so it can be copied at any time.
        let sql = format!("CREATE DATABASE \"{name}\" TEMPLATE template0{strategy}");
        self.client().batch_execute(&sql).unwrap_or_else(|cause| panic!("{sql}: {cause}"));
        Database { url: self.url_for(&name), admin_url: self.url(), is_kept: self.is_private(), name }
    }
}

/// A database for one test. If the server stays, dropping this drops the database and ends its sessions. A
/// private server ends soon, and its databases with it.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    admin_url: String,
    is_kept: bool,
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new connection of the independent client.
    ///
    /// # Panics
    ///
    /// When it cannot connect.
    pub fn client(&self) -> Client {
        connect(&self.url)
    }

    /// Runs statements that give no result.
    ///
    /// # Panics
    ///
    /// When one fails.
    pub fn execute(&self, sql: &str) {
        self.client().batch_execute(sql).unwrap_or_else(|cause| panic!("{sql}: {cause:?}"));
    }

    /// The bytes of `COPY … TO STDOUT (FORMAT binary)` of a query, through the independent client.
    ///
    /// # Panics
    ///
    /// When the query fails.
    pub fn copy_binary(&self, query: &str) -> Vec<u8> {
        let sql = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
        let mut client = self.client();
        let mut reader = client.copy_out(&sql).unwrap_or_else(|cause| panic!("{sql}: {cause:?}"));
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap_or_else(|cause| panic!("{sql}: {cause}"));
        bytes
    }

    /// How many sessions with this `application_name` the server has in this database.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub fn n_sessions(&self, application_name: &str) -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = $2";
        let row = connect(&self.admin_url)
            .query_one(sql, &[&self.name, &application_name])
            .expect("the server answers");
        usize::try_from(row.get::<_, i64>(0)).expect("a count")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        // Best effort: a test may have ended the server.
        if let Ok(mut client) = Client::connect(&self.admin_url, NoTls) {
            let _ = client.batch_execute(&format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name));
        }
    }
}

fn connect(url: &str) -> Client {
    Client::connect(url, NoTls).unwrap_or_else(|cause| panic!("cannot connect to the test server: {cause:?}"))
}

/// A name that no other test, process or earlier run has used on the server.
fn unique_name(hint: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let hint: String = hint.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(30).collect();
    let micros = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_micros());
    // PostgreSQL cuts names at 63 bytes.
    format!("{hint}_{}_{}_{micros:x}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Puts another database into `postgres://user@host:port/database?options`.
fn with_database(url: &str, database: &str) -> String {
    let (address, options) = match url.split_once('?') {
        Some((address, options)) => (address, format!("?{options}")),
        None => (url, String::new()),
    };
    let (scheme, rest) =
        address.split_once("://").expect("PGARROW_TEST_DB_URL is a URL: postgres://user@host/database");
    let authority = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{authority}/{database}{options}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capability, require};

    #[test]
    fn another_database_of_the_same_server() {
        assert_eq!(
            with_database("postgres://u:p@h:1/a?sslmode=require", "b"),
            "postgres://u:p@h:1/b?sslmode=require"
        );
        assert_eq!(with_database("postgresql://u@h", "b"), "postgresql://u@h/b");
        assert_eq!(with_database("postgres://u@h/", "b"), "postgres://u@h/b");
    }

    #[test]
    fn a_database_comes_and_goes() {
        require!(Capability::Server);
        let server = TestServer::shared();
        let mut database = server.fresh_database("comes and goes");
        database.execute("CREATE TABLE t AS SELECT 1::int4 AS a");
        let row = database.client().query_one("SELECT a, current_database() FROM t", &[]).unwrap();
        assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (1, database.name()));
        let _still_connected = database.client();
        let name = database.name().to_owned();
        database.is_kept = false;
        drop(database);
        let sql = "SELECT count(*) FROM pg_database WHERE datname = $1";
        assert_eq!(server.client().query_one(sql, &[&name]).unwrap().get::<_, i64>(0), 0);
    }

    #[test]
    fn postgres_and_our_writer_agree_on_copy_binary() {
        require!(Capability::Server);
        let database = TestServer::shared().fresh_database("copy");
        let found = database.copy_binary("SELECT * FROM (VALUES (1::int4, 'a'), (NULL, 'bc')) AS t");
        let expected = crate::CopyWriter::new()
            .tuple([Some(1_i32.to_be_bytes().as_slice()), Some(b"a")])
            .tuple([None, Some(b"bc".as_slice())])
            .stream();
        assert_eq!(found, expected);
    }
}
