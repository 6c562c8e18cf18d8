//! Columns that go from one server to another undecoded: which ones they are, that they arrive unchanged,
//! and that no other columns do.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use pgarrow_export::{
    ColumnType, ErrorKind, ExportOptions, NanPolicy, OpaqueColumns, ReadMode, Run, Source, TypeOptions,
};
use pgarrow_load::{Conversions, LoadMethod, LoadOptions, LoadReport, TypesFrom};
use pgarrow_testkit::{Database, require};
use pgarrow_types::built_in_types;

use crate::every_type::{OF_ALL_TYPES, definition, missing, options};
use crate::support::{
    creating, database, eventually, every_type, fingerprint, load, load_batches, refusal, rows, value,
};

/// Exports a table, and loads it, with the columns undecoded that the target accepts.
fn move_table(database: &Database, from: &str, into: &str, options: LoadOptions) -> LoadReport {
    let run = open(database, from, into, &options);
    let load = load(database, into, options).with_opaque(run.plan().opaque().clone());
    let sink = load.open(run.schema().clone()).unwrap().into_sink().unwrap();
    let report = sink.report();
    run.write_to(Box::new(sink)).unwrap();
    report.take().unwrap()
}

fn open(database: &Database, from: &str, into: &str, options: &LoadOptions) -> Run {
    let columns = load(database, into, options.clone()).opaque_columns().unwrap();
    let source = Source::connect_blocking(database.url()).unwrap();
    source.table(from).options(ExportOptions::default().with_opaque(columns)).open().unwrap()
}

/// The columns that went undecoded.
fn undecoded(report: &LoadReport) -> Vec<&str> {
    let columns = report.columns.iter().filter(|column| column.how == "undecoded");
    columns.map(|column| column.name.as_str()).collect()
}

fn portable_oids() -> String {
    let portable = built_in_types().filter(|of| of.is_portable);
    let oids = portable.flat_map(|of| [of.oid.to_string(), of.array_oid.to_string()]);
    oids.collect::<Vec<_>>().join(", ")
}

#[test]
fn built_in_types_are_what_they_are_called_and_no_other() {
    let database = database("load_portable", "");
    for of in built_in_types() {
        let (oid, array_oid, name) = (of.oid, of.array_oid, of.name);
        let sql = format!(
            "SELECT typname || ' ' || typarray || ' ' || (typsend <> 0 AND typreceive <> 0) FROM pg_type WHERE oid = {oid}"
        );
        assert_eq!(value(&database, &sql), format!("{name} {array_oid} true"));
    }
}

#[test]
fn every_type_arrives_as_it_was() {
    require!(OF_ALL_TYPES);
    for method in [LoadMethod::Copy, LoadMethod::Insert] {
        let database = every_type("load_opaque");
        database.execute("CREATE SCHEMA clone");
        let tables = "SELECT relname FROM pg_class WHERE relnamespace = 'every_type'::regnamespace AND relkind = 'r' ORDER BY 1";
        let (mut differences, mut n_undecoded) = (Vec::new(), 0);
        for row in rows(&database, tables) {
            let name = row[0].as_deref().unwrap();
            let (original, clone) = (format!("every_type.\"{name}\""), format!("clone.\"{name}\""));
            // Decoded columns with values that Arrow lacks are exported as text.
            let decoded = format!("atttypid NOT IN ({})", portable_oids());
            let with = options(&database, &original, TypeOptions::default().interval, &decoded);
            let source = Source::connect_blocking(database.url()).unwrap();
            let run = source.table(&original).options(with.with_opaque(OpaqueColumns::all())).open().unwrap();
            let load = load(&database, &clone, creating().with_method(method));
            let loading = load.with_opaque(run.plan().opaque().clone()).open(run.schema().clone()).unwrap();
            let sink = loading.into_sink().unwrap();
            let report = sink.report();
            run.write_to(Box::new(sink)).unwrap();
            let report = report.take().unwrap();
            let portable = format!(
                "SELECT attname FROM pg_attribute WHERE attrelid = '{original}'::regclass AND attnum > 0 \
                 AND NOT attisdropped AND atttypid IN ({}) ORDER BY attnum",
                portable_oids()
            );
            let portable: Vec<String> =
                rows(&database, &portable).into_iter().map(|mut row| row.swap_remove(0).unwrap()).collect();
            assert_eq!(undecoded(&report), portable, "{name}");
            n_undecoded += portable.len();
            for (one, other) in [(&original, &clone), (&clone, &original)] {
                for row in missing(&database, one, other) {
                    differences.push(format!("{one} has, and {other} has not: {row:.300}"));
                }
            }
            assert_eq!(definition(&database, &original), definition(&database, &clone), "{name}");
        }
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert!(n_undecoded > 60, "{n_undecoded}");
    }
}

#[test]
fn values_that_arrow_does_not_have_need_no_choice() {
    let columns =
        "a timestamptz, b date, c numeric, d daterange, e time[], f tsvector, g text, h numeric(8, 3)";
    let database =
        database("load_opaque_values", &format!("CREATE TABLE t ({columns}); CREATE TABLE u ({columns})"));
    database.execute(
        "INSERT INTO t VALUES ('infinity', '-infinity', 'NaN', '[infinity,)', '[0:1]={24:00,00:00:00.000001}', \
         '''a'':1A b:2', '', -0.001), ('4714-11-24 BC', '4714-11-24 BC', '1e1000', 'empty', NULL, '', NULL, NULL)",
    );
    // Vacuumed, so that its pages could be read: pages have another form.
    database.execute("VACUUM FREEZE t");
    let report = move_table(&database, "t", "u", LoadOptions::default());
    assert_eq!(undecoded(&report), ["a", "b", "c", "d", "e", "f", "g", "h"]);
    assert_eq!(fingerprint(&database, "t"), fingerprint(&database, "u"));
}

#[test]
fn another_type_or_modifier_is_decoded_and_looked_at() {
    let database = database(
        "load_opaque_others",
        "CREATE DOMAIN name_of AS text CHECK (value <> 'x'); CREATE TYPE mood AS ENUM ('a', 'b'); \
         CREATE TABLE t (a numeric(10, 4), b numeric(10, 4), c int, d text, e mood, f interval, g varchar(9)); \
         CREATE TABLE u (a numeric(10, 2), b numeric, c bigint, d name_of, e mood, f interval, g varchar(5)); \
         INSERT INTO t VALUES (1.23, 1.2345, 7, 'y', 'b', '1 mon', 'abcde')",
    );
    let check = LoadOptions::default().with_conversions(Conversions::Check);
    let report = move_table(&database, "t", "u", check.clone());
    assert_eq!(undecoded(&report), ["b"]);
    assert_eq!(
        rows(&database, "SELECT * FROM u"),
        rows(&database, "SELECT 1.23, 1.2345, 7, 'y', 'b', '1 mon', 'abcde'")
    );
    // numeric_recv would silently round it.
    database.execute("UPDATE t SET a = 1.2345");
    let run = open(&database, "t", "u", &check);
    let load = load(&database, "u", check).with_opaque(run.plan().opaque().clone());
    let sink = load.open(run.schema().clone()).unwrap().into_sink().unwrap();
    assert_eq!(run.write_to(Box::new(sink)).unwrap_err().kind(), ErrorKind::Value);
}

#[test]
fn a_choice_about_values_needs_them_decoded() {
    let database = database(
        "load_opaque_choice",
        "CREATE EXTENSION pageinspect; CREATE EXTENSION pg_visibility; \
         CREATE TABLE t (a numeric(10, 2)); INSERT INTO t VALUES ('NaN'), (1); CREATE TABLE u (LIKE t)",
    );
    let columns = load(&database, "u", LoadOptions::default()).opaque_columns().unwrap();
    let source = Source::connect_blocking(database.url()).unwrap();
    let with = |options: ExportOptions| {
        let run = source.table("t").options(options.with_opaque(columns.clone())).open().unwrap();
        run.plan().opaque().is_empty()
    };
    assert!(!with(ExportOptions::default()));
    assert!(with(
        ExportOptions::default().with_types(TypeOptions { nan: NanPolicy::Null, ..TypeOptions::default() })
    ));
    assert!(with(ExportOptions::default().with_read_mode(ReadMode::Pages)));
    // The receiver must be able to read rejected rows, and a table of Arrow's types needs values.
    for options in [LoadOptions::default().with_reject(true), creating().with_types_from(TypesFrom::Arrow)] {
        assert!(load(&database, "u", options).opaque_columns().unwrap().is_empty());
    }
    assert_eq!(load(&database, "v", creating()).opaque_columns().unwrap(), OpaqueColumns::all());
    let missing = load(&database, "v", LoadOptions::default()).opaque_columns().unwrap_err();
    assert!(missing.to_string().contains("v"), "{missing}");
}

#[test]
fn a_column_that_changes_meanwhile_is_refused() {
    let database = database("load_opaque_race", "CREATE TABLE t (a bigint); CREATE TABLE u (LIKE t)");
    let run = open(&database, "t", "u", &LoadOptions::default());
    // Eight bytes of an integer are also a valid float.
    database.execute("ALTER TABLE u ALTER a TYPE double precision");
    let load = load(&database, "u", LoadOptions::default()).with_opaque(run.plan().opaque().clone());
    let error = refusal(load.open(run.schema().clone()));
    assert!(error.to_string().contains("became another type"), "{error}");
}

#[test]
fn no_file_makes_its_bytes_be_taken_unlooked_at() {
    let database = database("load_opaque_file", "CREATE TABLE t (a bigint)");
    let metadata = [("pg.type", "bigint"), ("pg.binary", "bigint"), ("pg.oid", "20")];
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let field = Field::new("a", DataType::Binary, true).with_metadata(metadata);
    let array: ArrayRef = Arc::new(BinaryArray::from(vec![b"\0\0\0\0\0\0\0\x07".as_slice()]));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![array]).unwrap();
    let error = refusal(load_batches(&database, "t", LoadOptions::default(), &[batch]));
    assert_eq!(error.kind(), ErrorKind::Options, "{error}");
    // Even if a caller says so, a type that is not portable is refused.
    let composite = ColumnType { oid: 16_384, modifier: -1 };
    assert!(!composite.goes_into(composite));
}

/// Regression: a caller that asked for these columns connected twice.
#[test]
fn the_connection_that_looked_at_the_table_loads_it_unless_it_is_lost() {
    let database = database("load_opaque_session", "CREATE TABLE t (a bigint)");
    let sessions = "SELECT COALESCE(string_agg(pid::text, ' '), '') FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
    let batch = batch.unwrap();
    for (writers, is_lost) in [(1, false), (1, true), (2, false)] {
        let load = load(&database, "t", LoadOptions::default().with_writers(writers));
        load.opaque_columns().unwrap();
        let looked = value(&database, sessions);
        assert_ne!(looked, "");
        // Meanwhile the connection holds no locks.
        database.execute("SET lock_timeout = '20s'; ALTER TABLE t ADD b int; ALTER TABLE t DROP b");
        if is_lost {
            assert_eq!(
                value(&database, &format!("SELECT pg_terminate_backend({looked}, 20000)::text")),
                "true"
            );
        }
        let mut loading = load.open(batch.schema()).unwrap();
        let goes_on = value(&database, sessions).split(' ').any(|pid| pid == looked);
        assert_eq!(goes_on, !is_lost, "{writers} writers");
        loading.write(&batch).unwrap();
        assert_eq!(loading.finish().unwrap().rows, 2);
        eventually("its sessions are gone", || value(&database, sessions).is_empty());
    }
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "6");
}
