//! Loads by embedders: readers and streams of batches, from async code, and in transactions of the caller.

use std::convert::Infallible;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator, StringArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use futures_util::stream::{self, Stream, StreamExt};
use pgarrow::load::{Connection, Load, LoadMode, LoadOptions};
use pgarrow::{Error, ErrorKind, copy_table};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{PATIENCE, assert_error, block_on, database, source, url, wait_until_no_sessions};

const TABLE: &str = "CREATE TABLE t (x int8, s text); INSERT INTO t VALUES (1, 'was')";

fn batch(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values = Int64Array::from_iter_values(values);
    let texts =
        StringArray::from_iter(values.iter().map(|value| value.filter(|x| x % 2 == 0).map(|_| "even")));
    RecordBatch::try_new(schema(), vec![Arc::new(values) as ArrayRef, Arc::new(texts)]).unwrap()
}

fn schema() -> SchemaRef {
    let fields = [Field::new("x", DataType::Int64, false), Field::new("s", DataType::Utf8, true)];
    Arc::new(Schema::new(fields.to_vec()))
}

fn load(database: &Database) -> Load {
    Load::into(&url(database), "t").unwrap()
}

fn value(database: &Database, sql: &str) -> String {
    database.client().query_one(sql, &[]).unwrap().get(0)
}

fn sum(database: &Database) -> String {
    value(database, "SELECT concat(count(*), ' ', sum(x), ' ', count(s)) FROM t")
}

fn ok(batch: RecordBatch) -> Result<RecordBatch, Infallible> {
    Ok(batch)
}

#[test]
fn a_reader_is_loaded_or_nothing_of_it() {
    require!(Capability::Server);
    let database = database("load reader", TABLE);
    let reader = |batches: Vec<Result<RecordBatch, ArrowError>>| RecordBatchIterator::new(batches, schema());
    let report = load(&database).load_reader(reader(vec![Ok(batch(2..5)), Ok(batch(0..0))])).unwrap();
    assert_eq!((report.rows, report.batches), (3, 2));
    assert_eq!(sum(&database), "4 10 3");
    let report = load(&database).load_reader(reader(Vec::new())).unwrap();
    assert_eq!((report.rows, report.batches), (0, 0));

    let broken = vec![Ok(batch(0..100_000)), Err(ArrowError::ParseError("line 7".to_owned()))];
    let truncating = LoadOptions::default().with_mode(LoadMode::Truncate);
    let error = load(&database).options(truncating).load_reader(reader(broken)).unwrap_err();
    assert_error(&error, ErrorKind::Input, None, &["public.t", "line 7", "nothing was loaded"]);
    let cause = error.source().and_then(|cause| cause.downcast_ref::<ArrowError>());
    assert!(matches!(cause, Some(ArrowError::ParseError(_))), "{cause:?}");
    assert_eq!(sum(&database), "4 10 3");
}

/// Committed parts stay, and the error says so; a complete load does not read from its reader.
#[test]
fn a_reader_that_is_loaded_in_parts_goes_on_where_it_was() {
    require!(Capability::Server);
    let database = database("load parts", TABLE);
    let in_parts = || LoadOptions::default().with_restart_key("k").with_commit_every(10);
    let broken = [Ok(batch(0..25)), Err(ArrowError::ParseError("line 7".to_owned()))];
    let broken = RecordBatchIterator::new(broken, schema());
    let error = load(&database).options(in_parts()).load_reader(broken).unwrap_err();
    assert_error(&error, ErrorKind::Input, None, &["line 7", "the first 20 rows of the data are loaded"]);
    let whole = || RecordBatchIterator::new([Ok(batch(0..25))], schema());
    let report = load(&database).options(in_parts()).load_reader(whole()).unwrap();
    assert_eq!((report.rows, report.rows_before), (5, 20));
    let mut asked = 0;
    let counting = std::iter::from_fn(|| {
        asked += 1;
        None
    });
    let report = load(&database).options(in_parts());
    let report = report.load_reader(RecordBatchIterator::new(counting, schema())).unwrap();
    assert_eq!((report.rows, report.rows_before, asked), (0, 25, 0));
    assert_eq!(sum(&database), "26 301 14");
}

#[test]
fn a_stream_is_loaded_or_nothing_of_it() {
    require!(Capability::Server);
    let database = database("load stream", TABLE);
    let batches = stream::iter((0..20).map(|n| ok(batch(n * 1000..(n + 1) * 1000))));
    // In a runtime, whose other tasks continue meanwhile.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let report = runtime.block_on(async {
        let others = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let report = load(&database).load_stream(schema(), batches).await;
        others.abort();
        report
    });
    assert_eq!(report.unwrap().rows, 20_000);
    assert!(turns.load(Ordering::Relaxed) > 10, "the runtime's thread was held up");
    assert_eq!(sum(&database), "20001 199990001 10001");
    // Without a runtime, and without batches.
    let none = stream::empty::<Result<RecordBatch, Infallible>>();
    assert_eq!(block_on(load(&database).load_stream(schema(), none)).unwrap().rows, 0);

    let told = Error::new(ErrorKind::Connection, "the sensor is silent");
    let broken = stream::iter([Ok(batch(0..10)), Ok(batch(0..100_000)), Err(told)]);
    let error = block_on(load(&database).load_stream(schema(), broken)).unwrap_err();
    assert_error(&error, ErrorKind::Input, None, &["public.t", "the sensor is silent", "nothing was loaded"]);
    let cause = error.source().and_then(|cause| cause.downcast_ref::<Error>());
    assert_eq!(cause.map(Error::kind), Some(ErrorKind::Connection));
    assert_eq!(sum(&database), "20001 199990001 10001");
}

/// The stream stays silent: a failed load that waits for it would wait for ever.
#[test]
fn a_load_that_fails_does_not_wait_for_its_stream() {
    require!(Capability::Server);
    let database = database("load silent", TABLE);
    let silent = || stream::once(async { ok(batch(0..3)) }).chain(stream::pending());
    let error = block_on(Load::into(&url(&database), "nowhere").unwrap().load_stream(schema(), silent()));
    assert_error(&error.unwrap_err(), ErrorKind::Options, None, &["nowhere"]);
    let waiting = load(&database);
    let cancel = waiting.cancel().clone();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            let copies = "SELECT count(*)::text FROM pg_stat_activity \
                          WHERE datname = current_database() AND query LIKE 'COPY%'";
            let deadline = Instant::now() + PATIENCE;
            while value(&database, copies) == "0" {
                assert!(Instant::now() < deadline);
                std::thread::sleep(Duration::from_millis(10));
            }
            cancel.cancel_for("this test");
        });
        block_on(waiting.load_stream(schema(), silent()))
    });
    assert_error(&error.unwrap_err(), ErrorKind::Cancelled, None, &["this test", "nothing was loaded"]);
    assert_eq!(sum(&database), "1 1 1");
}

/// Gives batches without end and counts them. It is dropped with the load's future.
struct Endless {
    given: Arc<AtomicUsize>,
}

impl Stream for Endless {
    type Item = Result<RecordBatch, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.given.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(ok(batch(0..10_000))))
    }
}

#[test]
fn a_load_whose_future_is_dropped_is_taken_back() {
    require!(Capability::Server);
    let database = database("load dropped", TABLE);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let truncating = || LoadOptions::default().with_mode(LoadMode::Truncate);
    runtime.block_on(async {
        let given = Arc::new(AtomicUsize::new(0));
        let original = load(&database).options(truncating());
        let loading = original.clone().load_stream(schema(), Endless { given: Arc::clone(&given) });
        let task = tokio::spawn(loading);
        while given.load(Ordering::Relaxed) < 20 {
            tokio::task::yield_now().await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        // Only the future of this load was cancelled.
        assert!(!original.cancel().is_requested());
    });
    wait_until_no_sessions(&database);
    assert_eq!(sum(&database), "1 1 1");

    // The same in a transaction, which continues after it has its session back.
    let connection = Connection::connect(&url(&database)).unwrap();
    connection.begin().unwrap();
    connection.execute("INSERT INTO t VALUES (2, NULL)").unwrap();
    let part = || Load::in_transaction(&connection, "t").unwrap().options(truncating());
    runtime.block_on(async {
        let given = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(part().load_stream(schema(), Endless { given: Arc::clone(&given) }));
        while given.load(Ordering::Relaxed) < 20 {
            tokio::task::yield_now().await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    let deadline = Instant::now() + PATIENCE;
    while let Err(busy) = connection.execute("SELECT 1") {
        assert!(busy.to_string().contains("has a load"), "{busy}");
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let few = stream::iter([ok(batch(3..5))]);
    let report = Load::in_transaction(&connection, "t").unwrap().load_stream(schema(), few);
    assert_eq!(block_on(report).unwrap().rows, 2);
    connection.commit().unwrap();
    assert_eq!(sum(&database), "4 10 2");
}

#[test]
fn a_copy_is_a_part_of_a_transaction() {
    require!(Capability::Server);
    let database = database("load copy", TABLE);
    let source = source(&database);
    let connection = Connection::connect(&url(&database)).unwrap();
    connection.begin().unwrap();
    for _ in 0..2 {
        let copied = copy_table(source.table("t"), Load::in_transaction(&connection, "t").unwrap()).unwrap();
        assert_eq!((copied.export.rows, copied.load.rows), (1, 1));
        assert_eq!(copied.load.columns.iter().map(|column| column.how).collect::<Vec<_>>(), ["undecoded"; 2]);
        let made = Load::in_transaction(&connection, "u").unwrap();
        let made = made.options(LoadOptions::default().with_mode(LoadMode::Create));
        copy_table(source.table("t"), made).unwrap();
        connection.execute("DROP TABLE u").unwrap();
    }
    // A table that the source's snapshot does not contain cannot be read.
    let error = copy_table(source.table("u"), Load::in_transaction(&connection, "t").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Options, "{error}");
    assert_eq!(sum(&database), "1 1 1");
    connection.commit().unwrap();
    assert_eq!(sum(&database), "3 3 3");
}
