//! The user sets the memory limit; it holds for all kinds of rows.

use arrow_array::RecordBatch;
use pgarrow::{ErrorKind, ExportOptions, Hint, Memory, ProcessUsage};
use pgarrow_sink::{Output, Sink};
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{assert_error, database, is_alone, source, wait_until};

const MIB: usize = 1 << 20;

/// What a test's process uses besides the export: code, stacks, the test driver, and what the allocator
/// keeps.
const BESIDE: u64 = 96 << 20;

fn options(memory: usize) -> ExportOptions {
    ExportOptions::default().with_readers(2).with_memory(memory)
}

/// Exports into files of both formats, and asserts that neither the counted memory nor the process exceeds
/// the limit.
#[track_caller]
fn assert_bounded(database: &Database, table: &str, memory: usize, n_rows: u64) {
    let folder = tempfile::tempdir().unwrap();
    for format in ["parquet", "arrow"] {
        let run = source(database).table(table).options(options(memory)).open().unwrap();
        let output = Output::file(folder.path().join(format!("e.{format}")), true).unwrap();
        let schema = run.schema().clone();
        let sink: Box<dyn Sink> = match format {
            "parquet" => Box::new(ParquetSink::create(output, schema, ParquetOptions::default()).unwrap()),
            _ => Box::new(IpcSink::create(output, schema, IpcOptions::default()).unwrap()),
        };
        let report = run.write_to(sink).unwrap();
        assert_eq!(report.rows, n_rows, "{format}");
        let (peak, limit) = (report.memory.peak_bytes, report.memory.limit_bytes);
        assert!(peak <= limit, "{format}: {peak} of {limit} bytes were counted");
        let resident = ProcessUsage::now().peak_memory_bytes;
        let most = memory as u64 + BESIDE;
        assert!(resident <= most, "{format}: {} of {} MiB are resident", resident >> 20, most >> 20);
    }
}

#[test]
fn a_table_ten_times_larger_than_the_limit() {
    require!(Capability::Server);
    if !is_alone("memory::a_table_ten_times_larger_than_the_limit") {
        return;
    }
    let database = database(
        "tentimes",
        "CREATE TABLE e AS SELECT g AS id, md5(g::text) || md5((g + 1)::text) AS a, random() AS b, \
         repeat(md5(g::text), 5) AS c FROM generate_series(1, 1300000) AS g",
    );
    assert_bounded(&database, "e", 32 * MIB, 1_300_000);
}

#[test]
fn rows_of_a_hundred_megabytes() {
    require!(Capability::Server);
    if !is_alone("memory::rows_of_a_hundred_megabytes") {
        return;
    }
    // Stored without compression, which would take long.
    let database = database(
        "hundred",
        "CREATE TABLE e (id int4, b bytea); ALTER TABLE e ALTER b SET STORAGE EXTERNAL; \
         INSERT INTO e SELECT g, decode(repeat(md5(g::text), 3125000), 'hex') || \
           decode(repeat(md5((g + 1)::text), 3125000), 'hex') FROM generate_series(1, 6) AS g",
    );
    assert_bounded(&database, "e", 448 * MIB, 6);
    let run = source(&database).table("e").options(options(64 * MIB)).open().unwrap();
    let error = run.for_each(|_| Ok(())).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["public.e", "MiB of memory", "64 MiB", "option memory"]);
    let [Hint::Memory { needed: Some(needed) }] = error.hints().collect::<Vec<_>>()[..] else {
        panic!("{error}");
    };
    assert!(*needed > 100 * MIB as u64 && *needed < 448 * MIB as u64, "{error}: {needed}");
}

#[test]
fn numerics_that_expand_thirteen_thousand_times() {
    require!(Capability::Server);
    if !is_alone("memory::numerics_that_expand_thirteen_thousand_times") {
        return;
    }
    let database = database(
        "bombs",
        "CREATE TABLE e AS SELECT '1e131071'::numeric AS a, '1e131071'::numeric AS b, g FROM generate_series(1, 3000) AS g",
    );
    assert_bounded(&database, "e", 64 * MIB, 3000);
}

#[test]
fn sixteen_hundred_columns_of_nulls() {
    require!(Capability::Server);
    if !is_alone("memory::sixteen_hundred_columns_of_nulls") {
        return;
    }
    let columns: Vec<String> = (1..=1600).map(|n| format!("c{n} numeric(60, 10)")).collect();
    let sql = format!(
        "CREATE TABLE e ({}); INSERT INTO e SELECT FROM generate_series(1, 20000)",
        columns.join(", ")
    );
    let database = database("nulls", &sql);
    assert_bounded(&database, "e", 256 * MIB, 20_000);
}

#[test]
fn rows_without_columns() {
    require!(Capability::Server);
    let database =
        database("zero", "CREATE TABLE e (); INSERT INTO e SELECT FROM generate_series(1, 500000)");
    let run = source(&database).table("e").options(options(16 * MIB)).open().unwrap();
    let report = run.for_each(|_| Ok(())).unwrap();
    assert_eq!(report.rows, 500_000);
    assert!(report.memory.peak_bytes <= 16 << 20);
}

#[test]
fn a_consumer_that_is_slow_stops_the_reading() {
    require!(Capability::Server);
    if !is_alone("memory::a_consumer_that_is_slow_stops_the_reading") {
        return;
    }
    let database = database(
        "slow",
        "CREATE TABLE e AS SELECT g AS id, repeat(md5(g::text), 8) AS a FROM generate_series(1, 600000) AS g",
    );
    for ordered in [false, true] {
        let options = options(24 * MIB).with_order(ordered);
        let mut reader = source(&database).table("e").options(options).reader().unwrap();
        // Readers that do not wait could read all of it in this time.
        let first = reader.next().unwrap().unwrap();
        std::thread::sleep(std::time::Duration::from_secs(1));
        let ahead = reader.progress().wire_bytes();
        assert!(ahead < 64 << 20, "{} MiB were read ahead", ahead >> 20);
        let rows = first.num_rows() + reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>();
        assert_eq!(rows, 600_000);
    }
    assert!(ProcessUsage::now().peak_memory_bytes < (24 << 20) + BESIDE);
}

/// Formerly, row groups never ended early in order, so the reader whose turn it was asked for memory that it
/// held itself.
#[test]
fn an_order_is_kept_within_little_memory() {
    require!(Capability::Server);
    let database = database(
        "ordered",
        "CREATE TABLE e AS SELECT g AS id, sha512(int4send(g)) AS a FROM generate_series(1, 600000) AS g",
    );
    let folder = tempfile::tempdir().unwrap();
    for readers in [1, 2] {
        let options = options(16 * MIB).with_readers(readers).with_order(true).with_slice_bytes(1 << 30);
        let run = source(&database).table("e").options(options).open().unwrap();
        let output = Output::file(folder.path().join("e.parquet"), true).unwrap();
        let sink = ParquetSink::create(output, run.schema().clone(), ParquetOptions::default()).unwrap();
        let report = run.write_to(Box::new(sink)).unwrap();
        assert_eq!(report.rows, 600_000);
        assert!(report.warnings.iter().any(|warning| warning.contains("memory was short")), "{report:?}");
    }
}

const WIDE: &str =
    "CREATE TABLE e AS SELECT g AS id, repeat(md5(g::text), 8) AS a FROM generate_series(1, 300000) AS g";

/// A caller that reads several runs in turn would wait for ever if one run waited for another.
#[test]
fn runs_that_share_memory_never_use_more_together() {
    require!(Capability::Server);
    let database = database("shared", WIDE);
    let memory = Memory::new(64 * MIB);
    let source = source(&database).with_memory(&memory);
    let other = source.clone();
    let options = || ExportOptions::default().with_readers(2);
    let mut readers = [
        source.table("e").options(options()).reader().unwrap(),
        other.table("e").options(options().with_order(true)).reader().unwrap(),
        other.query("TABLE e").reader().unwrap(),
    ];
    let mut rows = vec![0; readers.len()];
    let mut is_first_round = true;
    loop {
        let batches: Vec<_> = readers.iter_mut().map(Iterator::next).collect();
        if is_first_round {
            assert!(batches.iter().all(Option::is_some));
            // The three runs have 32, 16 and 16 MiB.
            assert_eq!(memory.free(), 0);
        }
        is_first_round = false;
        if batches.iter().all(Option::is_none) {
            break;
        }
        let of_batch =
            |batch: Option<Result<RecordBatch, _>>| batch.map_or(0, |batch| batch.unwrap().num_rows());
        rows.iter_mut().zip(batches).for_each(|(sum, batch)| *sum += of_batch(batch));
    }
    assert_eq!(rows, [300_000; 3]);
    let memories: Vec<_> = readers.iter().map(|reader| reader.report().unwrap().memory.clone()).collect();
    let limits: Vec<u64> = memories.iter().map(|memory| memory.limit_bytes >> 20).collect();
    let sum = memories.iter().map(|memory| memory.peak_bytes).sum::<u64>();
    assert_eq!(limits.iter().sum::<u64>(), 64, "{limits:?}");
    assert!(limits.contains(&32), "{limits:?}");
    assert!(sum <= memory.limit() as u64, "{memories:?}");
    let peak = memory.peak();
    assert!(peak > 0 && peak <= memory.limit(), "{peak}");
    wait_until("the runs have given back what they had", || memory.free() == memory.limit());
    assert_eq!(memory.used(), 0);
}

#[test]
fn a_run_that_finds_too_little_memory_says_so_until_another_is_dropped() {
    require!(Capability::Server);
    let database = database("shared short", WIDE);
    let memory = Memory::new(40 * MIB);
    let source = source(&database).with_memory(&memory);
    let mut first = source.table("e").options(options(30 * MIB)).reader().unwrap();
    first.next().unwrap().unwrap();
    assert_eq!(memory.free(), 10 * MIB);
    let error = source.table("e").open().unwrap().for_each(|_| Ok(())).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["other runs have 30 of the 40 MiB", "needs 16 MiB"]);
    assert_eq!(error.hints().collect::<Vec<_>>(), [&Hint::memory(16 * MIB)]);
    let in_stream = source.table("e").reader().unwrap().next().unwrap().unwrap_err();
    assert!(in_stream.to_string().contains("other runs have 30 of the 40 MiB"), "{in_stream}");
    assert_eq!(memory.free(), 10 * MIB);
    drop(first);
    wait_until("the stream has given back what it had", || memory.free() == memory.limit());
    let report = source.table("e").open().unwrap().for_each(|_| Ok(())).unwrap();
    assert_eq!((report.rows, report.memory.limit_bytes), (300_000, 20 << 20));
    // More than the whole memory: waiting for other runs would not help.
    let columns: Vec<String> = (1..=600).map(|n| format!("1 AS c{n}")).collect();
    let run = source.query(format!("SELECT {}", columns.join(", "))).open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Output::file(folder.path().join("e.parquet"), true).unwrap();
    let sink = ParquetSink::create(output, run.schema().clone(), ParquetOptions::default()).unwrap();
    let error = run.write_to(Box::new(sink)).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["600 columns need", "the limit is 40 MiB"]);
    assert_eq!(memory.free(), memory.limit());
}

#[test]
fn a_large_row_takes_what_is_free_of_shared_memory() {
    require!(Capability::Server);
    let database = database(
        "shared large",
        "CREATE TABLE e (b bytea); ALTER TABLE e ALTER b SET STORAGE EXTERNAL; \
         INSERT INTO e SELECT decode(repeat('ab', 30000000), 'hex')",
    );
    let memory = Memory::new(256 * MIB);
    let source = source(&database).with_memory(&memory);
    let read =
        |options: ExportOptions| source.table("e").options(options).open().unwrap().for_each(|_| Ok(()));
    let report = read(ExportOptions::default()).unwrap();
    assert!(report.memory.limit_bytes >= 64 << 20, "{report:?}");
    // The run gets no more than its own limit.
    let error = read(options(32 * MIB)).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["and the limit is 32 MiB"]);
    let hold = |bytes| {
        let endless = source.query("SELECT generate_series(1, 1000000000)").options(options(bytes));
        let mut reader = endless.reader().unwrap();
        reader.next().unwrap().unwrap();
        reader
    };
    // Two other runs leave 48 MiB: the run begins with half of that and gets all of it for the row.
    let mut held = vec![hold(192 * MIB), hold(16 * MIB)];
    let report = read(ExportOptions::default()).unwrap();
    let of_run = 24 << 20..48 << 20;
    assert!(
        of_run.contains(&report.memory.limit_bytes) && report.memory.limit_bytes > 24 << 20,
        "{report:?}"
    );
    assert_eq!(memory.free(), 48 * MIB);
    held.push(hold(16 * MIB));
    let error = read(ExportOptions::default()).unwrap_err();
    let words = "of the memory that runs share this one has 16 MiB";
    assert_error(&error, ErrorKind::Options, None, &[words]);
    drop(held);
    wait_until("the streams have given back what they had", || memory.free() == memory.limit());
    assert_eq!(read(ExportOptions::default()).unwrap().rows, 1);
}
