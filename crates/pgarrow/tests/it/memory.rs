//! Memory is a number that the user sets: counted by what exists, whatever the rows are like.

use pgarrow::{ErrorKind, ExportOptions, Hint, ProcessUsage};
use pgarrow_sink::{Output, Sink};
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{assert_error, database, is_alone, source};

const MIB: usize = 1 << 20;

/// What a test's process has beside the export: code, stacks, the driver of the tests, and what the allocator keeps.
const BESIDE: u64 = 96 << 20;

fn options(memory: usize) -> ExportOptions {
    ExportOptions::default().with_readers(2).with_memory(memory)
}

/// Exports into files of both formats, and asserts that neither the count nor the process passes the limit.
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
    // Kept as it is: compressing would take its time.
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
        // Time enough for readers that do not wait to read all of it.
        let first = reader.next().unwrap().unwrap();
        std::thread::sleep(std::time::Duration::from_secs(1));
        let ahead = reader.progress().wire_bytes();
        assert!(ahead < 64 << 20, "{} MiB were read ahead", ahead >> 20);
        let rows = first.num_rows() + reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>();
        assert_eq!(rows, 600_000);
    }
    assert!(ProcessUsage::now().peak_memory_bytes < (24 << 20) + BESIDE);
}

/// Row groups never ended early in order, so the reader whose turn it was asked for memory that it held itself.
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
