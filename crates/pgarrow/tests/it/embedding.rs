//! What embedders rely on: shared sources, kept sessions, limits, counts, reports of streams.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use arrow_array::RecordBatch;
use futures_util::StreamExt;
use pgarrow::{
    ErrorKind, ExportOptions, HeldSnapshot, InfinityPolicy, Plan, PoolOptions, ReadMode, Run, Slice, Source,
    TypeOptions,
};
use pgarrow_sink::{Output, Sink, SinkError};
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{assert_error, block_on, database, read, refusal, source, url, wait_until_no_sessions};

const NUMBERS: &str = "CREATE TABLE n AS SELECT g AS id, g::text AS t FROM generate_series(1, 1000) AS g";

/// The server process that an export uses.
fn backend(source: &Source, options: ExportOptions) -> String {
    read(source.query("SELECT pg_backend_pid()").options(options)).unwrap().lines().remove(0)
}

fn pooled(database: &Database, idle_max: usize) -> Source {
    source(database).with_pool(PoolOptions::default().with_idle_max(idle_max))
}

#[test]
fn a_pool_keeps_sessions_and_nothing_that_was_set() {
    require!(Capability::Server);
    let database = database("pool", "");
    let source = pooled(&database, 1);
    let options = ExportOptions::default().with_setting("TimeZone", "Asia/Tokyo");
    let first = backend(&source, options.with_read_timeout(Duration::from_secs(20)));
    assert_eq!(backend(&source, ExportOptions::default()), first);
    let zone = read(source.query("SELECT current_setting('TimeZone')")).unwrap().lines();
    assert_ne!(zone, ["Asia/Tokyo"]);
    // A session that has ended is not used again.
    database.execute(&format!("SELECT pg_terminate_backend({first})"));
    wait_until_no_sessions(&database);
    assert_ne!(backend(&source, ExportOptions::default()), first);
    drop(source);
    wait_until_no_sessions(&database);
}

#[test]
fn without_a_pool_every_export_has_sessions_of_its_own() {
    require!(Capability::Server);
    let database = database("nopool", "");
    let source = source(&database);
    let first = backend(&source, ExportOptions::default());
    wait_until_no_sessions(&database);
    assert_ne!(backend(&source, ExportOptions::default()), first);
}

#[test]
fn sessions_that_were_idle_for_too_long_are_closed() {
    require!(Capability::Server);
    let database = database("pool age", "");
    let options = PoolOptions::default().with_idle_max(2).with_idle_time(Duration::ZERO);
    let source = source(&database).with_pool(options);
    let first = backend(&source, ExportOptions::default());
    assert_ne!(backend(&source, ExportOptions::default()), first);
}

#[test]
fn readers_take_sessions_from_the_pool_and_give_them_back() {
    require!(Capability::Server);
    let database =
        database("pool readers", "CREATE TABLE n AS SELECT g AS id FROM generate_series(1, 200000) g");
    let source = pooled(&database, 3);
    let options = ExportOptions::default().with_readers(2).with_slice_bytes(1 << 20);
    let sessions = || {
        let sql = "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name = 'pgarrow_test'";
        database.client().query_one(sql, &[]).unwrap().get::<_, Option<String>>(0).unwrap_or_default()
    };
    let mut seen = Vec::new();
    for _ in 0..3 {
        let run = source.table("n").options(options.clone()).open().unwrap();
        assert_eq!(run.for_each(|_| Ok(())).unwrap().rows, 200_000);
        seen.push(sessions());
    }
    // Without a pool there would be nine. A reader that connects too late to read anything may end instead.
    let all: BTreeSet<&str> = seen.iter().flat_map(|now| now.split(',')).collect();
    assert!((2..=5).contains(&all.len()), "{seen:?}");
}

#[test]
fn clones_of_a_source_are_for_any_thread() {
    require!(Capability::Server);
    let database = database("clones", NUMBERS);
    let source = source(&database);
    let rows = |source: Source| move || read(source.table("n")).unwrap().n_rows();
    let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(rows(source.clone()))).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 1000);
    }
    // Cancelling one cancels what its clones do.
    source.clone().cancel().cancel();
    assert_eq!(refusal(source.table("n")).kind(), ErrorKind::Cancelled);
}

#[test]
fn a_limit_is_a_number_of_rows() {
    require!(Capability::Server);
    let sql = format!(
        "{NUMBERS}; CREATE VIEW v AS TABLE n; CREATE TABLE p (id int, t text) PARTITION BY HASH (id); \
         CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO p TABLE n"
    );
    let database = database("limit", &sql);
    let source = source(&database);
    for name in ["n", "v", "p"] {
        for (limit, rows) in [(0, 0), (1, 1), (10, 10), (999, 999), (1000, 1000), (u64::MAX >> 1, 1000)] {
            for readers in [1, 4] {
                let options = ExportOptions::default().with_readers(readers).with_slice_bytes(8192);
                let export = read(source.table(name).limit(limit).options(options)).unwrap();
                assert_eq!(export.n_rows(), rows, "{name}, {limit}, {readers}");
            }
        }
    }
    let some = source.table("n").filter("id > 990 -- the last ones").columns(["t"]).limit(3);
    assert_eq!(read(some).unwrap().n_rows(), 3);
    // Columns of the same name, a parameter, and a comment at the end.
    let query = "SELECT id, id AS id FROM n WHERE id > $1 ORDER BY id DESC -- downwards";
    let largest = read(source.query(query).bind(Some(5)).limit(2)).unwrap();
    assert_eq!(largest.lines(), ["1000|1000", "999|999"]);
}

#[test]
fn a_limit_and_what_needs_several_statements() {
    require!(Capability::Server);
    let database = database("limits", NUMBERS);
    let source = source(&database);
    let split = ExportOptions::default().with_split_on("id");
    assert_error(
        &refusal(source.table("n").limit(1).options(split.clone())),
        ErrorKind::Options,
        None,
        &["limit"],
    );
    assert_error(
        &refusal(source.query("TABLE n").limit(1).options(split)),
        ErrorKind::Options,
        None,
        &["limit"],
    );
    let pages = ExportOptions::default().with_read_mode(ReadMode::Pages);
    assert_error(&refusal(source.table("n").limit(1).options(pages)), ErrorKind::Options, None, &["limit"]);
    // Formerly, it was ignored.
    let mut whole = source.table("n").open().unwrap();
    let slice = whole.slices().unwrap().remove(0);
    assert_error(&refusal(source.slice(slice).limit(1)), ErrorKind::Options, None, &["limit"]);
    let mut run = source.table("n").limit(1).open().unwrap();
    assert_error(&run.slices().unwrap_err(), ErrorKind::Options, None, &["limit"]);
}

/// `COUNT(*)`, by reading.
#[test]
fn no_columns_are_rows_without_values() {
    require!(Capability::Server);
    let sql = format!(
        "{NUMBERS}; CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); \
         CREATE TABLE rest PARTITION OF p DEFAULT; INSERT INTO p SELECT id % 3 FROM n"
    );
    let database = database("count", &sql);
    let source = source(&database);
    let none: [&str; 0] = [];
    for name in ["n", "p"] {
        for readers in [1, 3] {
            for batch_rows in [1, 2, 3, 999, 1000, 65_536] {
                let options = ExportOptions::default()
                    .with_readers(readers)
                    .with_slice_bytes(8192)
                    .with_batch_rows(batch_rows);
                let export = read(source.table(name).columns(none).options(options)).unwrap();
                assert_eq!((export.schema.fields().len(), export.n_rows()), (0, 1000), "{name}");
                assert!(export.batches.iter().all(|batch| batch.num_rows() <= batch_rows));
            }
        }
    }
    assert_eq!(read(source.table("n").columns(none).filter("id <= 7")).unwrap().n_rows(), 7);
    assert_eq!(read(source.table("n").columns(none).limit(5)).unwrap().n_rows(), 5);
}

/// Formerly, the stream discarded its report: embedders got no warnings and no counts of changed values.
#[test]
fn a_stream_has_a_report_when_its_end_was_seen() {
    require!(Capability::Server);
    let database = database("stream report", "");
    let types = TypeOptions { infinity: InfinityPolicy::Null, ..TypeOptions::default() };
    let options = ExportOptions::default().with_types(types).with_batch_rows(2);
    let sql = "SELECT date 'infinity' AS d, '$.a'::jsonpath AS j FROM generate_series(1, 5)";
    let source = source(&database);
    let mut stream = block_on(source.query(sql).options(options.clone()).stream()).unwrap();
    let mut rows = 0;
    while let Some(batch) = block_on(stream.next()) {
        assert!(stream.report().is_none(), "the end was not seen");
        rows += batch.unwrap().num_rows();
    }
    let report = stream.report().expect("a report");
    assert_eq!((rows, report.rows), (5, 5));
    assert!(report.warnings.iter().any(|warning| warning.contains("jsonpath")), "{:?}", report.warnings);
    let counted = serde_json::to_string(report).unwrap();
    assert!(counted.contains("\"infinite\":5") || counted.contains(":5"), "{counted}");

    let mut reader = source.query(sql).options(options).reader().unwrap();
    assert_eq!(
        reader.by_ref().map(Result::unwrap).map(|batch: RecordBatch| batch.num_rows()).sum::<usize>(),
        5
    );
    assert_eq!(reader.report().map(|report| report.rows), Some(5));
}

#[test]
fn a_stream_that_was_stopped_has_no_report_and_stops_no_other() {
    require!(Capability::Server);
    let database = database("stream cancel", NUMBERS);
    let source = source(&database);
    // In FROM, the server would compute all rows before it sends the first one.
    let endless = "SELECT generate_series(1, 1000000000)";
    let mut reader = source.query(endless).reader().unwrap();
    let other = source.table("n").reader().unwrap();
    let cancel = reader.cancel().clone();
    reader.next().unwrap().unwrap();
    cancel.cancel();
    assert!(reader.by_ref().any(|batch| batch.is_err()));
    assert!(reader.report().is_none());
    assert_eq!(other.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 1000);
}

/// Formerly, it panicked: "Cannot block the current thread from within a runtime".
#[test]
fn what_waits_may_be_called_inside_a_runtime() {
    require!(Capability::Server);
    let database = database("blocking", NUMBERS);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rows = runtime.block_on(async {
        let source = Source::connect_blocking(&url(&database)).unwrap();
        let read: usize = source.table("n").reader().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        let run = source.table("n").open_async().await.unwrap();
        assert_eq!(run.schema().fields().len(), 2);
        let streamed = run.into_stream().unwrap();
        let streamed: usize =
            streamed.map(|batch| batch.unwrap().num_rows()).collect::<Vec<_>>().await.iter().sum();
        let called = source.table("n").open().unwrap().for_each(|_| Ok(())).unwrap().rows;
        (read, streamed, called)
    });
    assert_eq!(rows, (1000, 1000, 1000));
}

const TWO: &str = "CREATE TABLE a AS SELECT g AS id FROM generate_series(1, 30) AS g; \
    CREATE TABLE b AS SELECT g AS id, g::text AS t FROM generate_series(1, 500) AS g";

fn sink_for(plan: &Plan) -> Result<Box<dyn Sink>, SinkError> {
    let output = Output::writer(std::io::sink());
    Ok(Box::new(IpcSink::create(output, plan.schema().clone(), IpcOptions::default())?))
}

/// The rows of each plan.
fn rows_by_plan(run: Run) -> Vec<usize> {
    let rows = Mutex::new(vec![0; run.plans().len()]);
    let report = run.for_each_with_plan(|plan_index, batch| {
        rows.lock().unwrap()[plan_index] += batch.num_rows();
        Ok(())
    });
    let rows = rows.into_inner().unwrap();
    assert_eq!(report.unwrap().rows, rows.iter().sum::<usize>() as u64);
    rows
}

#[test]
fn a_run_of_many_tables_reads_them_with_their_plans() {
    require!(Capability::Server);
    let database = database("run of many", TWO);
    let source = source(&database);
    let open = || source.tables(["a", "b"]).open().unwrap();
    let subjects: Vec<String> = open().plans().iter().map(|plan| plan.subject().to_owned()).collect();
    assert_eq!(subjects, ["public.a", "public.b"]);
    assert_eq!((open().plan().subject(), open().schema().fields().len()), ("public.a", 1));
    assert_eq!(rows_by_plan(open()), [30, 500]);
    assert_eq!(rows_by_plan(block_on(source.tables(["b", "a"]).open_async()).unwrap()), [500, 30]);
    let report = open().write_each(sink_for).unwrap();
    assert_eq!((report.rows, report.tables.len(), report.files.len()), (530, 2, 2));
    // Its slices cover all tables and can be read as long as it is held.
    let mut run = open();
    assert_eq!(run.holders().backend_pids().len(), 1);
    let rows: Vec<usize> =
        run.slices().unwrap().into_iter().map(|slice| read(source.slice(slice)).unwrap().n_rows()).collect();
    assert_eq!(rows, [30, 500]);
    run.hold(|| false).unwrap();
}

/// It ends when it is released or dropped, and says when it was lost.
#[test]
fn a_held_snapshot_is_an_object() {
    require!(Capability::Server);
    let database = database("held", TWO);
    let source = source(&database);
    let held = || source.table("b").open().unwrap().into_held();
    let n_rows = |slice: Slice| read(source.slice(slice)).map(|export| export.n_rows());
    let mut first = held();
    let slices = first.slices().unwrap();
    database.execute("INSERT INTO b SELECT * FROM b");
    first.check().unwrap();
    // The moment of the plan, however much later.
    assert_eq!(slices.iter().map(|slice| n_rows(slice.clone()).unwrap()).sum::<usize>(), 500);
    first.release().unwrap();
    let error = n_rows(slices[0].clone()).unwrap_err();
    assert!(error.to_string().contains("its holder is gone"), "{error}");

    let mut dropped = held();
    let slices = dropped.slices().unwrap();
    drop(dropped);
    wait_until_no_sessions(&database);
    assert!(n_rows(slices[0].clone()).is_err());

    let mut lost = held();
    database.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pgarrow%'");
    let error = lost.check().unwrap_err();
    assert!(error.to_string().contains("the held snapshot was lost"), "{error}");
    let cancelled = held();
    source.cancel().cancel();
    let mut cancelled = cancelled;
    assert_eq!(cancelled.check().unwrap_err().kind(), ErrorKind::Cancelled);
}

/// COMMIT was done, and what was read afterwards was of another moment, unseen.
#[test]
fn no_statement_ends_a_held_snapshot() {
    require!(Capability::Server);
    let database = database("held_commit", TWO);
    let source = source(&database);
    let mut run = source.table("b").open().unwrap();
    assert_eq!(run.query_text("commit").unwrap_err().kind(), ErrorKind::Options);
    let mut held = run.into_held();
    let snapshot = |held: &mut HeldSnapshot| held.query_text("SELECT pg_current_snapshot()").unwrap();
    let slices = held.slices().unwrap();
    let before = snapshot(&mut held);
    database.execute("INSERT INTO b SELECT * FROM b");
    for sql in ["COMMIT", "rollback and chain", "/* */ end;", "SELECT 1; COMMIT", "PREPARE TRANSACTION 'a'"] {
        let error = held.query_text(sql).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Options, "{sql}: {error}");
        assert_eq!(snapshot(&mut held), before, "{sql}");
    }
    // Savepoints are the caller's.
    held.query_text("SAVEPOINT s").unwrap();
    held.query_text("ROLLBACK TO s").unwrap();
    assert_eq!(held.query_text("SELECT count(*) FROM b").unwrap(), [[Some("500".to_owned())]]);
    let n_rows: usize = slices.into_iter().map(|slice| read(source.slice(slice)).unwrap().n_rows()).sum();
    assert_eq!(n_rows, 500);
    held.release().unwrap();
}

/// Calls for a single schema say what to call instead.
#[test]
fn a_run_of_many_tables_is_no_run_of_one() {
    require!(Capability::Server);
    let database = database("run of one", TWO);
    let source = source(&database);
    let open = || source.tables(["a", "b"]).open().unwrap();
    let sink = sink_for(open().plan()).unwrap();
    let errors = [
        (open().write_to(sink).unwrap_err(), "write_each"),
        (open().for_each(|_| Ok(())).unwrap_err(), "for_each_with_plan"),
        (open().for_each_concurrently(|_| Ok(())).unwrap_err(), "for_each_with_plan"),
        (open().into_stream().unwrap_err(), "for_each_with_plan"),
        (open().into_reader().unwrap_err(), "write_each"),
    ];
    for (error, instead) in errors {
        assert_error(&error, ErrorKind::Options, None, &["2 tables", instead]);
    }
    wait_until_no_sessions(&database);
    // A run of one table is the same, whether it was opened as one table or as many.
    for open in [|source: &Source| source.table("b").open(), |source: &Source| source.tables(["b"]).open()] {
        let open = || open(&source).unwrap();
        assert_eq!((open().plans().len(), rows_by_plan(open())), (1, vec![500]));
        let sink = sink_for(open().plan()).unwrap();
        assert_eq!(open().write_to(sink).unwrap().rows, 500);
        assert_eq!(open().write_each(sink_for).unwrap().rows, 500);
        assert_eq!(open().for_each(|_| Ok(())).unwrap().rows, 500);
        assert_eq!(open().into_reader().unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 500);
    }
}
