//! Every type with its extreme values (`testdata/every_type.sql`): exported, loaded into a table that the
//! load creates, and compared with the original by the server, in both directions; through Parquet, through
//! Arrow IPC, and directly from server to server.

use std::fs::File;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pgarrow_export::{
    ArrayForm, ColumnForm, ColumnOptions, ExportOptions, IntervalForm, Run, Source, TypeOptions,
};
use pgarrow_load::{LoadMethod, LoadReport};
use pgarrow_sink::Output;
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{creating, every_type, load, rows};

/// A way to move a table: a planned export into the table of this name.
type Transport = fn(Run, &Database, &str, &Path) -> LoadReport;

fn by_server(run: Run, database: &Database, table: &str, _: &Path) -> LoadReport {
    let loading = load(database, table, creating()).open(run.schema().clone()).unwrap();
    let sink = loading.into_sink().unwrap();
    let report = sink.report();
    run.write_to(Box::new(sink)).unwrap();
    report.take().unwrap()
}

fn by_inserts(run: Run, database: &Database, table: &str, _: &Path) -> LoadReport {
    let options = creating().with_method(LoadMethod::Insert);
    let sink = load(database, table, options).open(run.schema().clone()).unwrap().into_sink().unwrap();
    let report = sink.report();
    run.write_to(Box::new(sink)).unwrap();
    report.take().unwrap()
}

fn by_ipc(run: Run, database: &Database, table: &str, file: &Path) -> LoadReport {
    let schema = run.schema().clone();
    let sink = IpcSink::create(Output::file(file, false).unwrap(), schema, IpcOptions::default()).unwrap();
    run.write_to(Box::new(sink)).unwrap();
    let reader = FileReader::try_new(File::open(file).unwrap(), None).unwrap();
    let schema = reader.schema();
    load_all(database, table, schema, reader.map(Result::unwrap))
}

fn by_parquet(run: Run, database: &Database, table: &str, file: &Path) -> LoadReport {
    let schema = run.schema().clone();
    let sink =
        ParquetSink::create(Output::file(file, false).unwrap(), schema, ParquetOptions::default()).unwrap();
    run.write_to(Box::new(sink)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
    let schema = reader.schema().clone();
    load_all(database, table, schema, reader.build().unwrap().map(Result::unwrap))
}

fn load_all(
    database: &Database,
    table: &str,
    schema: SchemaRef,
    batches: impl Iterator<Item = RecordBatch>,
) -> LoadReport {
    let mut loading = load(database, table, creating()).open(schema).unwrap();
    for batch in batches {
        loading.write(&batch).unwrap();
    }
    loading.finish().unwrap()
}

/// The comments of columns say whether they have values that no Arrow type has, such as `infinity`. Of
/// these, the columns that match `which` are exported as text.
pub(crate) fn options(
    database: &Database,
    table: &str,
    interval: IntervalForm,
    which: &str,
) -> ExportOptions {
    let types = TypeOptions { arrays: ArrayForm::Shaped, interval, ..TypeOptions::default() };
    let options = ExportOptions::default().with_types(types);
    let sql = format!(
        "SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped \
         AND col_description(attrelid, attnum) IS NOT NULL AND {which}"
    );
    let text = ColumnOptions { form: Some(ColumnForm::Text), ..ColumnOptions::default() };
    let names = rows(database, &sql).into_iter().map(|mut row| row.swap_remove(0).unwrap());
    names.fold(options, |options, name| options.with_column(name, text.clone()))
}

/// Rows of one table that the other lacks, as the server prints them.
pub(crate) fn missing(database: &Database, one: &str, other: &str) -> Vec<String> {
    let sql = format!("SELECT t::text FROM {one} AS t EXCEPT ALL SELECT t::text FROM {other} AS t");
    rows(database, &sql).into_iter().map(|mut row| row.swap_remove(0).unwrap()).collect()
}

/// Names, types, NOT NULL and comments of the columns.
pub(crate) fn definition(database: &Database, table: &str) -> Vec<Vec<Option<String>>> {
    let sql = format!(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum) \
         FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    );
    rows(database, &sql)
}

fn round_trip(hint: &str, transport: Transport, interval: IntervalForm) {
    let database = every_type(hint);
    database.execute("CREATE SCHEMA clone");
    let folder = tempfile::tempdir().unwrap();
    let sql = "SELECT relname FROM pg_class WHERE relnamespace = 'every_type'::regnamespace AND relkind = 'r' ORDER BY 1";
    let mut differences = Vec::new();
    let tables = rows(&database, sql);
    assert!(tables.len() > 20, "{tables:?}");
    for row in tables {
        let name = row[0].as_deref().unwrap();
        let (original, clone) = (format!("every_type.\"{name}\""), format!("clone.\"{name}\""));
        let source = Source::connect_blocking(database.url()).unwrap();
        let run =
            source.table(&original).options(options(&database, &original, interval, "true")).open().unwrap();
        if run.schema().fields().is_empty() && hint == "load_parquet" {
            continue;
        }
        let report = transport(run, &database, &clone, &folder.path().join(name));
        let n_rows =
            rows(&database, &format!("SELECT count(*) FROM {original}")).swap_remove(0).swap_remove(0);
        assert_eq!(Some(report.rows.to_string()), n_rows, "{name}");
        for (one, other) in [(&original, &clone), (&clone, &original)] {
            for row in missing(&database, one, other) {
                differences.push(format!("{one} has, and {other} has not: {row:.300}"));
            }
        }
        assert_eq!(definition(&database, &original), definition(&database, &clone), "{name}");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Decimals with a negative scale exist since PostgreSQL 15.
pub(crate) const OF_ALL_TYPES: Capability = Capability::VersionAtLeast(150_000);

#[test]
fn from_server_to_server() {
    require!(OF_ALL_TYPES);
    round_trip("load_server", by_server, IntervalForm::MonthDayNano);
}

#[test]
fn from_server_to_server_by_insert() {
    require!(OF_ALL_TYPES);
    round_trip("load_inserts", by_inserts, IntervalForm::MonthDayNano);
}

#[test]
fn by_arrow_ipc() {
    require!(OF_ALL_TYPES);
    round_trip("load_ipc", by_ipc, IntervalForm::MonthDayNano);
}

#[test]
fn by_parquet_files() {
    require!(OF_ALL_TYPES);
    round_trip("load_parquet", by_parquet, IntervalForm::Struct);
}
