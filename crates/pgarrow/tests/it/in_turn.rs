//! Tables whose sinks are made one after another.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pgarrow::ipc::{IpcOptions, IpcSink};
use pgarrow::sink::{Chunk, Output, Outputs, Part, Sink, SinkError, SinkErrorKind, Stop, Written};
use pgarrow::{Error, ErrorKind, ExportOptions, Plan, Run};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{database, source};

/// Small tables between large ones of many slices.
const TABLES: &str = "CREATE TABLE a AS SELECT g AS id, repeat('x', 900) AS pad FROM generate_series(1, 9000) AS g; \
    CREATE TABLE b AS SELECT 1 AS id; CREATE TABLE c AS TABLE a; CREATE TABLE d (id int); CREATE TABLE e AS TABLE a; ANALYZE";

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn open(database: &Database, readers: usize) -> Run {
    let options = ExportOptions::default().with_readers(readers).with_slice_bytes(1 << 18);
    source(database).tables(NAMES).options(options).open().unwrap().in_turn()
}

/// A sink that must be the only one.
struct Alone {
    sink: Box<dyn Sink>,
    n_alive: Arc<AtomicUsize>,
    /// Fails the commit.
    error: Option<Error>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.n_alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What stands in for it during the commit.
struct Nowhere;

impl Sink for Nowhere {
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
        unreachable!("it is not written to")
    }

    fn append(&self, _lane: usize, _chunk: Chunk, _stop: &Stop) -> Result<(), SinkError> {
        unreachable!("it is not written to")
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        unreachable!("it is not written to")
    }
}

impl Sink for Alone {
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
        self.sink.open_part()
    }

    fn append(&self, lane: usize, chunk: Chunk, stop: &Stop) -> Result<(), SinkError> {
        self.sink.append(lane, chunk, stop)
    }

    fn commit(mut self: Box<Self>) -> Result<Written, SinkError> {
        match self.error.take() {
            Some(error) => Err(SinkError::of(SinkErrorKind::Io, error)),
            None => std::mem::replace(&mut self.sink, Box::new(Nowhere)).commit(),
        }
    }
}

/// The tables in the order in which their sinks were made. Those of `bad` fail: at the beginning, and at the
/// commit.
fn run(run: Run, bad: [&str; 2]) -> (Vec<String>, pgarrow::Result<pgarrow::Report>) {
    let (n_alive, made) = (Arc::new(AtomicUsize::new(0)), Mutex::new(Vec::new()));
    let make = |plan: &Plan| -> Result<Box<dyn Sink>, SinkError> {
        let table = plan.subject().trim_start_matches("public.").to_owned();
        made.lock().unwrap().push(table.clone());
        let refused = || Error::new(ErrorKind::Options, "it does not fit");
        if table == bad[0] {
            return Err(SinkError::of(SinkErrorKind::Io, refused()));
        }
        assert_eq!(n_alive.fetch_add(1, Ordering::SeqCst), 0, "{table} is not alone");
        let outputs = Outputs::single(Output::writer(io::sink()));
        let sink = Box::new(IpcSink::create(outputs, Arc::clone(plan.schema()), IpcOptions::default())?);
        let error = (table == bad[1]).then(refused);
        Ok(Box::new(Alone { sink, n_alive: Arc::clone(&n_alive), error }))
    };
    let ran = run.write_each(make);
    assert_eq!(n_alive.load(Ordering::SeqCst), 0);
    (made.into_inner().unwrap(), ran)
}

#[test]
fn one_sink_at_a_time_in_the_order_of_the_tables() {
    require!(Capability::Server);
    let database = database("in_turn", TABLES);
    for readers in [1, 4] {
        let (made, ran) = run(open(&database, readers), ["", ""]);
        assert_eq!((made.as_slice(), ran.unwrap().rows), (&NAMES.map(str::to_owned)[..], 27_001));
    }
}

#[test]
fn a_sink_that_fails_is_that_of_its_own_table() {
    require!(Capability::Server);
    let database = database("in_turn_failed", TABLES);
    for readers in [1, 4] {
        for bad in [["b", "c"], ["a", "d"], ["e", "a"], ["d", "e"]] {
            let (mut made, ran) = run(open(&database, readers).keep_going(), bad);
            // A reader that has begun another slice of the table by then tries once more.
            made.dedup();
            let report = ran.unwrap();
            let failed: Vec<&str> = report.failed.iter().map(|failed| failed.table.as_str()).collect();
            let mut expected = bad.map(|table| format!("public.{table}"));
            expected.sort();
            assert_eq!((made.len(), failed), (5, expected.iter().map(String::as_str).collect()), "{readers}");
            let rows = |name: &str| match name {
                "b" => 1,
                "d" => 0,
                _ => 9000,
            };
            let left: u64 = NAMES.iter().filter(|name| !bad.contains(name)).map(|name| rows(name)).sum();
            assert_eq!(report.rows, left, "{bad:?} {readers}");
            let (_, ran) = run(open(&database, readers), bad);
            assert!(ran.unwrap_err().to_string().contains("it does not fit"));
        }
    }
}
