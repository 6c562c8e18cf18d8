//! What the tests share: sources, collected exports, the server's own text, and waiting for events.

use std::future::Future;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::SchemaRef;
use pgarrow::{Error, ErrorKind, ExportOptions, Extract, Message, Source};
use pgarrow_testkit::postgres::{Client, SimpleQueryMessage};
use pgarrow_testkit::{Capability, Database, TestServer};

use crate::pages_equality::assert_same;
use crate::render;

/// The longest wait for any event.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The name of the library's sessions in `pg_stat_activity`.
pub(crate) const APPLICATION: &str = "pgarrow_test";

/// A new database in which `sql` was executed.
pub(crate) fn database(hint: &str, sql: &str) -> Database {
    let database = TestServer::shared().fresh_database(hint);
    database.execute(sql);
    database
}

/// The URL with another parameter.
pub(crate) fn with_parameter(url: &str, parameter: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameter}")
}

/// The URL that the library connects to.
pub(crate) fn url(database: &Database) -> String {
    with_parameter(database.url(), &format!("application_name={APPLICATION}"))
}

pub(crate) fn source(database: &Database) -> Source {
    Source::connect_blocking(&url(database)).unwrap()
}

/// A source for another user, which needs no password on a private server.
pub(crate) fn source_as(database: &Database, user: &str) -> Source {
    Source::connect_blocking(&url_as(database, user)).unwrap()
}

/// The URL for another user.
pub(crate) fn url_as(database: &Database, user: &str) -> String {
    let url = url(database);
    let (scheme, rest) = url.split_once("://").unwrap();
    let address = rest.split_once('@').map_or(rest, |(_, address)| address);
    format!("{scheme}://{user}@{address}")
}

/// A role that is dropped with this guard. Roles belong to the whole server, so it has the database's name.
pub(crate) struct Role<'a> {
    pub(crate) name: String,
    database: &'a Database,
}

impl<'a> Role<'a> {
    pub(crate) fn new(database: &'a Database) -> Self {
        let name = format!("role_{}", database.name());
        let name = name.get(..60).unwrap_or(&name).to_owned();
        database
            .execute(&format!("CREATE ROLE \"{name}\" LOGIN; GRANT USAGE ON SCHEMA public TO \"{name}\""));
        Self { name, database }
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let sql = format!("DROP OWNED BY \"{0}\"; DROP ROLE \"{0}\"", self.name);
        let _ = self.database.client().batch_execute(&sql);
    }
}

/// An export that was read to its end.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) warnings: Vec<String>,
}

impl Export {
    pub(crate) fn n_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// All rows as PostgreSQL's text, NULL as `∅`, values with `|` between them.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |row: Vec<Option<String>>| {
            row.into_iter().map(|value| value.unwrap_or_else(|| "∅".to_owned())).collect::<Vec<_>>().join("|")
        };
        render::rows(&self.batches).into_iter().map(line).collect()
    }

    /// Compares every value with the server's text for it.
    #[track_caller]
    pub(crate) fn assert_is(&self, expected: &[Vec<Option<String>>]) {
        assert_eq!(self.n_rows(), expected.len(), "rows");
        let mut expected = expected.iter().enumerate();
        for batch in &self.batches {
            for row in 0..batch.num_rows() {
                let (number, values) = expected.next().unwrap();
                assert_eq!(values.len(), batch.num_columns(), "columns of the oracle");
                for ((field, column), value) in self.schema.fields().iter().zip(batch.columns()).zip(values) {
                    assert!(
                        render::is_same(field, column, row, value.as_deref()),
                        "row {number}, column {:?} ({:?}): the server has {value:.200?}, we have {:.200?}",
                        field.name(),
                        field.metadata().get("pg.type"),
                        render::text(field, column, row),
                    );
                }
            }
        }
    }
}

/// Reads an export to its end.
pub(crate) fn read(extract: Extract) -> Result<Export, Error> {
    let reader = extract.reader()?;
    let schema = reader.schema();
    let warnings = reader.plan().warnings().iter().map(Message::to_string).collect();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(Error::from)?;
    for batch in &batches {
        assert_eq!(batch.schema(), schema, "every batch has the schema of the export");
    }
    Ok(Export { schema, batches, warnings })
}

/// The lines of a query, read through the library.
#[track_caller]
pub(crate) fn query_lines(database: &Database, sql: &str) -> Vec<String> {
    read(source(database).query(sql)).unwrap().lines()
}

/// An export that must fail.
#[track_caller]
pub(crate) fn refusal(extract: Extract) -> Error {
    read(extract).map(|export| export.lines()).unwrap_err()
}

/// Asserts kind and SQLSTATE, and that the message has each of `words`.
#[track_caller]
pub(crate) fn assert_error(error: &Error, kind: ErrorKind, sqlstate: Option<&str>, words: &[&str]) {
    assert_eq!((error.kind(), error.sqlstate()), (kind, sqlstate), "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is missing in: {error}");
    }
}

/// Several messages, a line each.
pub(crate) fn lines(messages: &[Message]) -> String {
    Message::join(messages.iter().cloned(), "\n").to_string()
}

/// The result of a query as the server prints it, through the independent client.
pub(crate) fn server_text(client: &mut Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).unwrap_or_else(|cause| panic!("{sql}: {cause:?}"));
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
        }
        _ => None,
    });
    rows.collect()
}

/// A client with the settings of the reference text.
pub(crate) fn oracle(database: &Database) -> Client {
    let mut client = database.client();
    let settings = "SET datestyle = 'ISO, YMD'; SET intervalstyle = postgres; SET timezone = 'UTC'; \
                    SET extra_float_digits = 3; SET bytea_output = hex; SET synchronize_seqscans = off";
    client.batch_execute(settings).unwrap();
    client
}

/// Asserts that a table arrives as the server prints it, and that pages and COPY read the same. `list` is the
/// SELECT list of the oracle.
#[track_caller]
pub(crate) fn assert_table(database: &Database, table: &str, list: &str) -> Export {
    let expected = server_text(&mut oracle(database), &format!("SELECT {list} FROM {table}"));
    // The oracle's rows come in the order of the table's pages.
    let options = ExportOptions::default().with_order(true);
    let export = read(source(database).table(table).options(options)).unwrap();
    export.assert_is(&expected);
    if Capability::Superuser.probe().is_ok() && Capability::Extension("pageinspect").probe().is_ok() {
        assert_same(database, table);
    }
    export
}

/// Polls until `is_so` is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "still not: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until no session of the library is left in the database.
#[track_caller]
pub(crate) fn wait_until_no_sessions(database: &Database) {
    wait_until("the server has no session of ours", || database.n_sessions(APPLICATION) == 0);
}

/// Drives a future without any runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = this_thread_waker();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

pub(crate) fn this_thread_waker() -> Waker {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    Arc::new(Unpark(thread::current())).into()
}

/// Runs a test about the whole process in a process of its own. Returns false in the parent, after the child
/// has passed.
pub(crate) fn is_alone(test: &str) -> bool {
    const ALONE: &str = "PGARROW_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .env("PGARROW_TEST_DB_URL", TestServer::shared().url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "there is no test {test:?}: {said}");
    false
}
