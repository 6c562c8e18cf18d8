//! Types: a SELECT through the driver gives what an export gives.

use adbc_core::error::Status;
use adbc_core::options::OptionConnection;
use adbc_core::{Optionable as _, Statement as _};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Field};
use arrow_select::concat::concat_batches;
use pgarrow_export::{ExportOptions, Source};
use pgarrow_testkit::{Capability, assert_batches_equal, require};
use pgarrow_types::{ArrayForm, InfinityPolicy, NanPolicy, OutOfRangePolicy, TypeOptions};

use crate::support::{connection, rows, run, set, statement};

const CHOICES: [(&str, &str); 4] = [
    ("pgarrow.infinity", "null"),
    ("pgarrow.nan", "null"),
    ("pgarrow.out_of_range", "null"),
    ("pgarrow.arrays", "shaped"),
];

/// An array of a type that is not decoded: an export casts it to an array of texts, and a driver does not
/// rewrite statements, so that it comes as one text.
fn is_array_of_texts(expected: &Field, found: &Field) -> bool {
    !matches!(expected.data_type(), DataType::Utf8) && *found.data_type() == DataType::Utf8
}

#[test]
fn every_type_is_what_an_export_makes_of_it() {
    require!(Capability::Server);
    let (server, mut connection) = connection("every_type");
    let sql = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/every_type.sql"));
    server.execute(&sql.unwrap());
    let source = Source::connect_blocking(server.url()).unwrap();
    let types = TypeOptions {
        infinity: InfinityPolicy::Null,
        nan: NanPolicy::Null,
        out_of_range: OutOfRangePolicy::Null,
        arrays: ArrayForm::Shaped,
        ..TypeOptions::default()
    };
    let names = server.client().query(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'every_type' ORDER BY 1",
        &[],
    );
    let (mut n_tables, mut texts) = (0, Vec::new());
    for name in names.unwrap().iter().map(|row| row.get::<_, String>(0)) {
        let options = ExportOptions::default().with_types(types).with_readers(1);
        let reader = source.query(format!("SELECT * FROM {name}")).options(options).reader().unwrap();
        let schema = arrow_array::RecordBatchReader::schema(&reader);
        let expected = concat_batches(&schema, &reader.map(Result::unwrap).collect::<Vec<_>>()).unwrap();
        let mut of_driver = statement(&mut connection, &format!("SELECT * FROM {name}"));
        CHOICES.iter().for_each(|(key, value)| set(&mut of_driver, key, value));
        let found = crate::support::collect(of_driver.execute().unwrap()).unwrap();
        assert_eq!(found.num_columns(), expected.num_columns(), "{name}");
        let mut same = Vec::new();
        for (index, (field, found)) in
            expected.schema().fields().iter().zip(found.schema().fields()).enumerate()
        {
            if is_array_of_texts(field, found) {
                let table = name.trim_start_matches("every_type.");
                texts.push(format!("{table}.{}", field.name()));
                continue;
            }
            assert_eq!(field, found, "{name}");
            same.push(index);
        }
        let (expected, found): (RecordBatch, RecordBatch) =
            (expected.project(&same).unwrap(), found.project(&same).unwrap());
        assert_batches_equal(&[expected], &[found]);
        n_tables += 1;
    }
    assert!(n_tables > 10, "{n_tables}");
    // The list of what differs.
    let differing = ["arrays.tsvector", "ext_cube.cs", "ext_isn.isbns", "ext_seg.ss", "others.aclitems"];
    texts.iter().for_each(|name| assert!(differing.contains(&name.as_str()), "{name}"));
    assert!(texts.contains(&"others.aclitems".to_owned()));
}

#[test]
fn unknown_types_are_the_servers_text() {
    require!(Capability::Server, Capability::Xml);
    let (_server, mut connection) = connection("unknown_types");
    let sql = "SELECT 'a b'::tsvector AS a, '=r/x'::text::\"char\" AS b, row(1, 'x') AS c, \
               '<a>é</a>'::xml AS d, '{a,b}'::tsvector[] AS e, '$.a'::jsonpath AS f, 1 AS g";
    let batch = rows(&mut connection, sql).unwrap();
    let text = |index: usize| batch.column(index).as_string::<i32>().value(0).to_owned();
    assert_eq!(text(0), "'a' 'b'");
    assert_eq!(text(2), "(1,x)");
    assert_eq!(text(3), "<a>é</a>");
    assert_eq!(text(4), "{'a','b'}");
    assert_eq!(text(5), "$.\"a\"");
    let mut refused = statement(&mut connection, "SELECT 'a'::tsvector");
    set(&mut refused, "pgarrow.unknown_types", "error");
    assert_eq!(refused.execute().err().unwrap().status, Status::InvalidArguments);
}

#[test]
fn choices_are_honoured() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("choices");
    run(&mut connection, "CREATE TYPE mood AS ENUM ('sad', 'ok')").unwrap();
    let sql = "SELECT 1.5::numeric AS n, 'ok'::mood AS e, '2026-01-01'::timestamp AS t, 'a  '::char(3) AS c, 1 AS i";
    let mut chosen = statement(&mut connection, sql);
    for (key, value) in [
        ("pgarrow.numeric", "decimal(10,2)"),
        ("pgarrow.enum", "text"),
        ("pgarrow.timestamp_unit", "ns"),
        ("pgarrow.trim", "true"),
        ("pgarrow.strings", "view"),
        ("pgarrow.column.i", "text"),
    ] {
        set(&mut chosen, key, value);
    }
    let schema = chosen.execute_schema().unwrap();
    let types: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(types, ["Decimal128(10, 2)", "Utf8View", "Timestamp(ns)", "Utf8View", "Utf8View"]);
    let batch = crate::support::collect(chosen.execute().unwrap()).unwrap();
    assert_eq!(batch.schema().as_ref(), &schema);
    assert_eq!(batch.column(3).as_string_view().value(0), "a");

    // A column that the result does not have: an error in a statement, and nothing in a connection.
    let mut wrong = statement(&mut connection, "SELECT 1 AS a");
    set(&mut wrong, "pgarrow.column.b", "text");
    assert_eq!(wrong.execute().err().unwrap().status, Status::InvalidArguments);
    let key = OptionConnection::Other("pgarrow.column.b".to_owned());
    connection.set_option(key, "text".into()).unwrap();
    assert_eq!(*rows(&mut connection, "SELECT 1 AS a").unwrap().column(0).data_type(), DataType::Int32);
    assert_eq!(*rows(&mut connection, "SELECT 1 AS b").unwrap().column(0).data_type(), DataType::Utf8);
    let mut scan = statement(&mut connection, "SELECT 1.5::numeric");
    set(&mut scan, "pgarrow.numeric", "scan");
    assert_eq!(scan.execute().err().unwrap().status, Status::InvalidArguments);
}

#[test]
fn types_that_change_are_looked_up_again() {
    require!(Capability::Server);
    let (server, mut connection) = connection("changing");
    run(&mut connection, "CREATE TYPE pair AS (a int)").unwrap();
    let sql = "SELECT p FROM (SELECT NULL::pair AS p) AS x";
    let fields = |batch: &RecordBatch| batch.column(0).as_struct().num_columns();
    let mut kept = statement(&mut connection, sql);
    assert_eq!(fields(&crate::support::collect(kept.execute().unwrap()).unwrap()), 1);
    run(&mut connection, "ALTER TYPE pair ADD ATTRIBUTE b int").unwrap();
    assert_eq!(fields(&crate::support::collect(kept.execute().unwrap()).unwrap()), 2);
    assert_eq!(fields(&rows(&mut connection, sql).unwrap()), 2);
    // Another session has changed it: the first try fails, and the next one knows.
    let value = "SELECT (1, 2, 3)::pair AS p";
    server.execute("ALTER TYPE pair ADD ATTRIBUTE c int");
    rows(&mut connection, value).unwrap_err();
    assert_eq!(fields(&rows(&mut connection, value).unwrap()), 3);
    // A prepared statement whose result has other columns by now.
    run(&mut connection, "CREATE TABLE t AS SELECT 1 AS a").unwrap();
    let mut prepared = statement(&mut connection, "SELECT * FROM t");
    prepared.prepare().unwrap();
    assert_eq!(crate::support::collect(prepared.execute().unwrap()).unwrap().num_columns(), 1);
    run(&mut connection, "ALTER TABLE t ADD COLUMN b int").unwrap();
    assert_eq!(crate::support::collect(prepared.execute().unwrap()).unwrap().num_columns(), 2);
}

#[test]
fn memory_is_a_limit_for_a_row() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("memory");
    let mut large = statement(&mut connection, "SELECT repeat('x', 40000000) AS a");
    set(&mut large, "pgarrow.memory", "16M");
    let error = large.execute().err().unwrap();
    assert!(error.message.contains("pgarrow.memory"), "{error}");
    set(&mut large, "pgarrow.memory", "64M");
    assert_eq!(crate::support::collect(large.execute().unwrap()).unwrap().num_rows(), 1);
}
