//! Choices about types, for a run and for one column: what they do to a column, and which are refused.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type};
use arrow_schema::{DataType, Field};
use pgarrow::{
    ColumnOptions, ErrorKind, ExportOptions, NumericForm, OutOfRangePolicy, Report, Source, TypeOptions,
    UnknownTypes,
};
use pgarrow_testkit::{Capability, Database, TestServer, require};

use crate::support::{Export, assert_error, database, query_lines, read, refusal, source};

/// The table `e` with choices for columns, as in `--column`.
#[track_caller]
fn export(database: &Database, columns: &[(&str, &str)]) -> Export {
    read(source(database).table("e").options(options(columns))).unwrap()
}

/// Choices for columns, as in `--column`.
#[track_caller]
pub(crate) fn options(columns: &[(&str, &str)]) -> ExportOptions {
    let parsed = |text: &str| text.parse::<ColumnOptions>().unwrap();
    columns
        .iter()
        .fold(ExportOptions::default(), |options, (name, text)| options.with_column(*name, parsed(text)))
}

pub(crate) fn data_type(export: &Export, name: &str) -> DataType {
    export.schema.field_with_name(name).unwrap().data_type().clone()
}

/// The report of an export of `e`.
pub(crate) fn report(source: &Source, options: ExportOptions) -> Report {
    source.table("e").options(options).open().unwrap().for_each(|_| Ok(())).unwrap()
}

#[test]
fn types_are_resolved_down_to_their_parts() {
    require!(Capability::Server);
    let database = database(
        "resolved",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN small AS numeric(5,2); \
         CREATE TYPE part AS (a int4, gone text, m mood, s small[]); ALTER TYPE part DROP ATTRIBUTE gone; \
         CREATE DOMAIN parts AS part[]; CREATE TYPE words AS (a int4, w tsvector); \
         CREATE TABLE e (ps parts, r numrange, v int2vector, ws tsvector[], wa words[], w words, \
           n numeric(7,3)[][]); \
         INSERT INTO e VALUES (ARRAY[ROW(1, 'ok', '{1.5}')::part], '[1,2)', '1 2', ARRAY['a b'::tsvector], \
           ARRAY[ROW(1, 'a b')::words], ROW(2, 'c'), '{{1.5,2}}')",
    );
    let export = export(&database, &[("n", "numeric(7,3)[][]")]);
    let list_of = |data_type: &DataType| match data_type {
        DataType::List(item) => item.data_type().clone(),
        other => panic!("{other:?} is no list"),
    };
    let DataType::Struct(part) = list_of(&data_type(&export, "ps")) else { panic!("no struct") };
    let names: Vec<&str> = part.iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["a", "m", "s"]);
    assert_eq!(list_of(part[2].data_type()), DataType::Decimal128(5, 2));
    assert!(matches!(part[1].data_type(), DataType::Dictionary(..)));
    assert_eq!(list_of(&data_type(&export, "v")), DataType::Int16);
    for name in ["ws", "wa"] {
        assert_eq!(list_of(&data_type(&export, name)), DataType::Utf8, "{name}");
    }
    assert_eq!(data_type(&export, "w"), DataType::Utf8);
    assert_eq!(list_of(&list_of(&data_type(&export, "n"))), DataType::Decimal128(7, 3));
    assert_eq!(
        export.warnings,
        [
            "column \"ws\" (tsvector[]) is read as text, since nothing better is known of type tsvector",
            "column \"wa\" (words[]) is read as text, since nothing better is known of type tsvector",
            "column \"w\" (words) is read as text, since nothing better is known of type tsvector",
        ]
    );
    let batch = &export.batches[0];
    let texts = |name: &str| {
        let list = batch.column_by_name(name).unwrap().as_list::<i32>().value(0);
        list.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts("ws"), ["'a' 'b'"]);
    assert_eq!(texts("wa"), ["(1,\"'a' 'b'\")"]);
    let mood = batch.column_by_name("ps").unwrap().as_list::<i32>().value(0);
    let mood = mood.as_struct().column_by_name("m").unwrap();
    assert_eq!(mood.as_dictionary::<Int32Type>().key(0), Some(1));
    // A token works with any choices, whatever was chosen when it was made.
    let mut run = source(&database).table("e").options(options(&[("w", "text")])).open().unwrap();
    let [slice] = &run.slices().unwrap()[..] else { panic!("one slice") };
    let depth = options(&[("n", "numeric[][]")]);
    let again = read(source(&database).slice(slice.clone()).options(depth)).unwrap();
    assert_eq!(again.n_rows(), 1);
    drop(run);
}

#[test]
fn xml_inside_of_arrays_is_text() {
    require!(Capability::Server, Capability::Xml);
    let database =
        database("xmls", "CREATE TABLE e AS SELECT ARRAY['<?xml version=\"1.0\"?><a>é</a>'::xml, NULL] AS x");
    let export = export(&database, &[]);
    let list = export.batches[0].column(0).as_list::<i32>().value(0);
    assert_eq!((list.as_string::<i32>().value(0), list.is_null(1)), ("<a>é</a>", true));
    assert!(export.warnings.is_empty(), "{:?}", export.warnings);
    // The column's text, whatever was chosen for arrays.
    assert_eq!(self::export(&database, &[("x", "text")]).lines(), ["{<a>é</a>,NULL}"]);
}

#[test]
fn text_can_be_chosen_for_every_type() {
    require!(Capability::Server);
    let database = database(
        "as_text",
        "CREATE TYPE pair AS (a int4, b date); \
         CREATE TABLE e AS SELECT 1::int4 AS i, 1.50::numeric(5,2) AS n, '{1,2}'::int4[] AS a, \
           ROW(1, 'infinity')::pair AS p, '[1,3)'::int4range AS r, 'infinity'::date AS d, 'x'::char(3) AS c, \
           '10.0.0.1'::inet AS net, true AS b, ROW(NULL, NULL)::pair AS nothing, NULL::pair AS absent",
    );
    let names = ["i", "n", "a", "p", "r", "d", "c", "net", "b", "nothing", "absent"];
    let columns: Vec<(&str, &str)> = names.iter().map(|name| (*name, "text")).collect();
    let export = export(&database, &columns);
    assert_eq!(export.lines(), ["1|1.50|{1,2}|(1,infinity)|[1,3)|infinity|x  |10.0.0.1|t|(,)|∅"]);
    assert!(export.warnings.is_empty(), "{:?}", export.warnings);
    assert_eq!(export.schema.field(0).metadata()["pg.type"], "integer");
    // A query can be split on a column that is read as text.
    let split = options(&[("i", "text")]).with_split_on("i").with_readers(2);
    let query = read(source(&database).query("SELECT generate_series(1, 100) AS i").options(split)).unwrap();
    assert_eq!((query.n_rows(), data_type(&query, "i")), (100, DataType::Utf8));
}

#[test]
fn decimals_that_are_given_and_found() {
    require!(Capability::Server);
    let database = database(
        "decimals",
        "CREATE TABLE e (a numeric, b numeric, c numeric, d numeric, many numeric[], declared numeric(4,1)); \
         INSERT INTO e VALUES (123.4567, -0.001, NULL, 10::numeric ^ 80, '{1.5}', 2.5), \
           (-99999, 'NaN', NULL, 1, NULL, NULL), (0, 0.0001, NULL, 1, NULL, NULL)",
    );
    let run = TypeOptions { numeric: NumericForm::Scan, ..TypeOptions::default() };
    let columns = [("b", "nan=null"), ("many", "decimal(10,3)"), ("declared", "decimal(12,2)")];
    let with_scan = options(&columns).with_types(run);
    let export = read(source(&database).table("e").options(with_scan.clone())).unwrap();
    assert_eq!(data_type(&export, "a"), DataType::Decimal128(9, 4));
    assert_eq!(data_type(&export, "b"), DataType::Decimal128(4, 4));
    assert_eq!(data_type(&export, "c"), DataType::Decimal128(38, 10));
    assert_eq!(data_type(&export, "d"), DataType::Utf8);
    assert_eq!(data_type(&export, "declared"), DataType::Decimal128(12, 2));
    let item = Field::new("item", DataType::Decimal128(10, 3), true);
    assert_eq!(data_type(&export, "many"), DataType::List(item.into()));
    let [warning] = &export.warnings[..] else { panic!("{:?}", export.warnings) };
    assert!(warning.contains("\"d\"") && warning.contains("too many digits"), "{warning}");
    let a = export.batches[0].column(0).as_primitive::<Decimal128Type>();
    assert_eq!((a.value(0), a.value(1)), (1_234_567, -999_990_000));
    // The scan considers only the rows of the filter or the query.
    let source = source(&database);
    let some = source.table("e").filter("a > 0").columns(["a"]);
    let some = some.options(options(&[("a", "scan")]));
    assert_eq!(data_type(&read(some).unwrap(), "a"), DataType::Decimal128(7, 4));
    let query = source.query("SELECT a, a AS \"A b\" FROM e WHERE a <= 0 -- x");
    let query = read(query.options(options(&[("A b", "scan")]))).unwrap();
    assert_eq!(data_type(&query, "A b"), DataType::Decimal128(5, 0));
    assert_eq!(data_type(&query, "a"), DataType::Utf8);
    // Each slice would find other digits.
    let mut run = source.table("e").open().unwrap();
    let slice = run.slices().unwrap().remove(0);
    let error = refusal(source.slice(slice).options(options(&[("a", "scan")])));
    assert_error(&error, ErrorKind::Options, None, &["column \"a\"", "column a:decimal(P,S)"]);
}

#[test]
fn as_many_decimals_as_a_table_can_have() {
    require!(Capability::Server);
    let list = |of: &dyn Fn(usize) -> String| (1..=1600).map(of).collect::<Vec<_>>().join(", ");
    let columns = list(&|number| format!("c{number} numeric"));
    let values = list(&|number| format!("{number}"));
    let database = database("wide", &format!("CREATE TABLE e ({columns}); INSERT INTO e VALUES ({values})"));
    let run = TypeOptions { numeric: NumericForm::Scan, ..TypeOptions::default() };
    let export =
        read(source(&database).table("e").options(ExportOptions::default().with_types(run))).unwrap();
    for (index, precision) in [(0, 1), (9, 2), (799, 3), (800, 3), (1599, 4)] {
        assert_eq!(export.schema.field(index).data_type(), &DataType::Decimal128(precision, 0), "{index}");
    }
    assert_eq!(export.lines(), [(1..=1600).map(|number| number.to_string()).collect::<Vec<_>>().join("|")]);
}

#[test]
fn choices_that_mean_nothing_are_refused() {
    require!(Capability::Server);
    let database = database(
        "meaning",
        "CREATE TYPE stamped AS (at timestamptz, by text); \
         CREATE TYPE mood AS ENUM ('a'); CREATE TYPE priced AS (a numeric(5,2)); \
         CREATE TABLE e (t text, i int4[], n numeric(5,2), v int2vector, s stamped[], d date, w tsvector, m mood, \
           p priced, r numrange)",
    );
    for (name, choice, why) in [
        ("t", "infinity=null", "infinity means nothing"),
        ("t", "nan=null", "nan means nothing"),
        ("t", "decimal(5,2)", "neither numeric nor has any in it"),
        ("i", "decimal(5,2)", "neither numeric nor has any in it"),
        ("i", "int8[][]", "is an array of integer, not of int8"),
        ("i", "nothing[][]", "is an array of integer, not of nothing"),
        ("t", "int4[][]", "is no array"),
        ("v", "arrays=shaped", "arrays means nothing"),
        ("v", "int2[][]", "one dimension always"),
        ("d", "text,infinity=null", "read as text"),
        ("d", "out-of-range=null", "out-of-range means nothing"),
        ("d", "timestamp-unit=ns", "timestamp-unit means nothing"),
        ("i", "encoding-policy=replace", "encoding-policy means nothing"),
        ("i", "trim=true", "trim means nothing"),
        ("i", "enum=text", "enum means nothing"),
        ("i", "interval=struct", "interval means nothing"),
        ("i", "geometry=ewkb", "geometry means nothing"),
        ("i", "scan", "numeric means nothing"),
        ("w", "unknown-types=error", "cannot be decoded"),
        // Formerly, these were accepted and had no effect.
        ("n", "scan", "declares how many digits it has"),
        ("r", "scan", "is not numeric itself"),
        ("i", "unknown-types=error", "unknown-types means nothing"),
        ("w", "text,unknown-types=error", "unknown-types means nothing"),
        ("m", "encoding-policy=replace", "encoding-policy means nothing"),
        ("p", "decimal(7,3)", "no numeric in it whose decimal is not declared"),
        ("T", "text", "no such column of public.e"),
    ] {
        let error = refusal(source(&database).table("e").options(options(&[(name, choice)])));
        assert_error(&error, ErrorKind::Options, None, &[why, &format!("column {name:?}")]);
    }
    // For types inside other types, they have a meaning.
    let fine = [
        ("s", "infinity=null,timestamp-unit=ms,encoding-policy=replace"),
        ("i", " integer[][]"),
        ("n", "float64"),
    ];
    let export = export(&database, &fine);
    assert_eq!(data_type(&export, "n"), DataType::Float64);
    // A choice for a run may have no meaning for some columns; and a run can refuse unknown types.
    let run = TypeOptions { unknown_types: UnknownTypes::Error, ..TypeOptions::default() };
    let all = ExportOptions::default().with_types(run);
    let error = refusal(source(&database).table("e").options(all.clone()));
    assert_error(&error, ErrorKind::Options, None, &["\"w\"", "tsvector", "column w:text"]);
    let as_text = all.with_column("w", "text".parse::<ColumnOptions>().unwrap());
    assert_eq!(data_type(&read(source(&database).table("e").options(as_text)).unwrap(), "w"), DataType::Utf8);
}

#[test]
fn fields_have_ids_that_stay() {
    require!(Capability::Server);
    let database = database(
        "ids",
        "CREATE TYPE p AS (a int4, b text[]); CREATE TABLE e (gone int4, i int4, ps p[], r int4range); \
         ALTER TABLE e DROP COLUMN gone; INSERT INTO e VALUES (1, ARRAY[ROW(1, '{x,y}')::p, NULL], '[1,2)')",
    );
    let with_ids = ExportOptions::default().with_field_ids(true);
    let export = read(source(&database).table("e").options(with_ids)).unwrap();
    let id = |field: &Field| field.metadata()["PARQUET:field_id"].parse::<u32>().unwrap();
    let ids: Vec<u32> = export.schema.fields().iter().map(|field| id(field)).collect();
    assert_eq!(ids, [2, 3, 4]);
    let DataType::List(item) = export.schema.field(1).data_type() else { panic!("no list") };
    let DataType::Struct(fields) = item.data_type() else { panic!("no struct") };
    let DataType::List(inner) = fields[1].data_type() else { panic!("no list") };
    assert_eq!([id(item), id(&fields[0]), id(&fields[1]), id(inner)], [300_001, 300_002, 300_003, 300_004]);
    assert_eq!(fields[0].metadata()["pg.type"], "integer");
    assert_eq!(export.batches[0].column(1).data_type(), export.schema.field(1).data_type());
    let without = read(source(&database).table("e")).unwrap();
    assert!(!without.schema.field(0).metadata().contains_key("PARQUET:field_id"));
    assert_eq!(export.batches[0].column(1).len(), without.batches[0].column(1).len());
}

#[test]
fn errors_of_values_name_the_way_out() {
    require!(Capability::Server);
    for (value, ways) in [
        ("'infinity'::date", vec!["infinity=null|saturate", "column v:text"]),
        ("'NaN'::numeric(5,2)", vec!["nan=null", "column v:text"]),
        ("'294276-12-31'::timestamp", vec!["out_of_range=null|saturate"]),
        ("'{{1,2},{3,4}}'::int4[]", vec!["arrays=shaped", "column v:integer[][]"]),
    ] {
        let database = database("ways", &format!("CREATE TABLE e AS SELECT {value} AS v"));
        let error = refusal(source(&database).table("e"));
        assert_error(&error, ErrorKind::Value, None, &ways);
        // And that choice works.
        assert_eq!(export(&database, &[("v", "text")]).n_rows(), 1);
    }
    let database = database("ways", "CREATE TABLE e AS SELECT '294276-12-31'::timestamp AS v");
    let run = TypeOptions { out_of_range: OutOfRangePolicy::Null, ..TypeOptions::default() };
    let options = ExportOptions::default().with_types(run);
    assert_eq!(read(source(&database).table("e").options(options)).unwrap().lines(), ["∅"]);
}

#[test]
fn only_a_tables_own_rows() {
    require!(Capability::Server);
    let database = database(
        "only",
        "CREATE TABLE e (a int4 NOT NULL, n numeric); CREATE TABLE kid () INHERITS (e); \
          \
         INSERT INTO e SELECT g, 1.5 FROM generate_series(1, 3000) AS g; \
         INSERT INTO kid SELECT -g, 1000000 FROM generate_series(1, 500) AS g; \
         CREATE TABLE pt (a int4) PARTITION BY LIST (a); CREATE TABLE pt1 PARTITION OF pt FOR VALUES IN (1); \
         INSERT INTO pt VALUES (1)",
    );
    // From PostgreSQL 18 on, a child cannot drop it.
    if TestServer::shared().version_num() < 180_000 {
        database.execute("ALTER TABLE kid ALTER a DROP NOT NULL");
    }
    let source = source(&database);
    let scanned = options(&[("n", "scan")]);
    let whole = read(source.table("e").options(scanned.clone())).unwrap();
    assert_eq!((whole.n_rows(), data_type(&whole, "n")), (3500, DataType::Decimal128(8, 1)));
    for options in [scanned.clone(), scanned.with_readers(3).with_slice_bytes(16 << 10)] {
        let own = read(source.table("e").only(true).options(options)).unwrap();
        assert_eq!((own.n_rows(), data_type(&own, "n")), (3000, DataType::Decimal128(2, 1)));
        assert!(!own.schema.field(0).is_nullable());
    }
    let split = ExportOptions::default().with_split_on("a").with_readers(2);
    assert_eq!(read(source.table("e").only(true).options(split)).unwrap().n_rows(), 3000);
    // Its tokens read the rows that were planned.
    let cut = ExportOptions::default().with_readers(2).with_slice_bytes(16 << 10);
    let mut run = source.table("e").only(true).options(cut).open().unwrap();
    let slices = run.slices().unwrap();
    assert!(slices.len() > 1);
    let rows: usize = slices.iter().map(|slice| read(source.slice(slice.clone())).unwrap().n_rows()).sum();
    assert_eq!(rows, 3000);
    // A table without rows of its own, and relations that are no tables.
    assert_error(
        &refusal(source.table("pt").only(true)),
        ErrorKind::Options,
        None,
        &["public.pt", "partition"],
    );
    assert_error(&refusal(source.query("SELECT 1").only(true)), ErrorKind::Options, None, &["ONLY"]);
    let of_slice = refusal(source.slice(slices[0].clone()).only(true));
    assert_error(&of_slice, ErrorKind::Options, None, &["slice"]);
    // All tables of a schema, every row once, partitioned ones as a whole.
    let count = |only: bool| {
        let report = source
            .tables([""; 0])
            .schema("public")
            .only(only)
            .open()
            .unwrap()
            .for_each_with_plan(|_, _| Ok(()));
        report.unwrap().rows
    };
    assert_eq!((count(false), count(true)), (4001, 3501));
}

#[test]
fn pseudo_types_of_queries_are_text() {
    require!(Capability::Server);
    let database = database("pseudo", "");
    let sql = "SELECT ROW(1, 'a b') AS r, ARRAY[ROW(1, NULL)] AS rs, pg_sleep(0) AS v, 'x'::cstring AS c, \
               (SELECT histogram_bounds FROM pg_stats LIMIT 0) AS h";
    let export = read(source(&database).query(sql)).unwrap();
    assert_eq!(export.batches[0].column(0).as_string::<i32>().value(0), "(1,\"a b\")");
    assert_eq!(export.batches[0].column(1).as_list::<i32>().value(0).as_string::<i32>().value(0), "(1,)");
    assert_eq!(export.batches[0].column(3).as_string::<i32>().value(0), "x");
    assert!(export.batches[0].column(4).is_null(0));
    assert_eq!(query_lines(&database, "SELECT pg_sleep(0)"), [""]);
}

/// Formerly, the depth for a column also applied to arrays inside its elements, so no depth was right.
#[test]
fn the_depth_of_a_column_is_not_that_of_the_arrays_inside_of_it() {
    require!(Capability::Server);
    let database = database(
        "depths",
        "CREATE TYPE c2 AS (x int4[], y int4); CREATE DOMAIN da AS int4[]; CREATE TABLE e (ca c2[], dda da[]); \
         INSERT INTO e VALUES (ARRAY[[ROW('{1}', 1)::c2], [ROW('{2,3}', 2)::c2]], '{{\"{1}\"},{\"{2}\"}}'::da[])",
    );
    let export = export(&database, &[("ca", "c2[][]"), ("dda", "da[][]")]);
    let inner = |name| {
        let column = export.batches[0].column_by_name(name).unwrap();
        column.as_list::<i32>().values().as_list::<i32>().values().clone()
    };
    let xs = inner("ca").as_struct().column(0).clone();
    assert_eq!(xs.as_list::<i32>().values().as_primitive::<Int32Type>().values(), &[1, 2, 3]);
    assert_eq!(inner("dda").as_list::<i32>().values().as_primitive::<Int32Type>().values(), &[1, 2]);
}

/// Formerly, the same warning came twice, without the tables' names.
#[test]
fn warnings_of_many_tables_name_the_table() {
    require!(Capability::Server);
    let database = database("warned", "CREATE TABLE e (w tsvector); CREATE TABLE f (w tsvector)");
    let run = source(&database).tables(["e", "f"]).open().unwrap();
    let report = run.for_each_with_plan(|_, _| Ok(())).unwrap();
    assert_eq!(
        report.warnings,
        [
            "public.e: column \"w\" (tsvector) is read as text",
            "public.f: column \"w\" (tsvector) is read as text",
        ]
    );
}
