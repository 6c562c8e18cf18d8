//! Choices about types, for a run and for one column: what they make of a column, and which of them are refused.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type};
use arrow_schema::{DataType, Field};
use pgarrow::{
    ColumnOptions, EncodingPolicy, ErrorKind, ExportOptions, InfinityPolicy, NumericForm, OutOfRangePolicy,
    Report, Source, TypeOptions, UnknownTypes,
};
use pgarrow_testkit::{Capability, Database, TestServer, require};

use crate::support::{Export, assert_error, database, query_lines, read, refusal, server_text, source};

/// The table `e` with choices for columns, as in `--column`.
#[track_caller]
fn export(database: &Database, columns: &[(&str, &str)]) -> Export {
    read(source(database).table("e").options(options(columns))).unwrap()
}

#[track_caller]
fn options(columns: &[(&str, &str)]) -> ExportOptions {
    let parsed = |text: &str| text.parse::<ColumnOptions>().unwrap();
    columns
        .iter()
        .fold(ExportOptions::default(), |options, (name, text)| options.with_column(*name, parsed(text)))
}

fn data_type(export: &Export, name: &str) -> DataType {
    export.schema.field_with_name(name).unwrap().data_type().clone()
}

/// The report of an export of `e`.
fn report(source: &Source, options: ExportOptions) -> Report {
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
         CREATE TABLE e (ps parts, r numrange, v int2vector, ws tsvector[], wa words[], w words, x xml[], \
           n numeric(7,3)[][]); \
         INSERT INTO e VALUES (ARRAY[ROW(1, 'ok', '{1.5}')::part], '[1,2)', '1 2', ARRAY['a b'::tsvector], \
           ARRAY[ROW(1, 'a b')::words], ROW(2, 'c'), ARRAY['<a/>'::xml], '{{1.5,2}}')",
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
    for name in ["ws", "wa", "x"] {
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
    assert_eq!(texts("x"), ["<a/>"]);
    let mood = batch.column_by_name("ps").unwrap().as_list::<i32>().value(0);
    let mood = mood.as_struct().column_by_name("m").unwrap();
    assert_eq!(mood.as_dictionary::<Int32Type>().key(0), Some(1));
    // A token knows the parts of types, whatever was chosen when it was made.
    let mut run = source(&database).table("e").options(options(&[("w", "text")])).open().unwrap();
    let [slice] = &run.slices().unwrap()[..] else { panic!("one slice") };
    let depth = options(&[("n", "numeric[][]")]);
    let again = read(source(&database).slice(slice.clone()).options(depth)).unwrap();
    assert_eq!(again.n_rows(), 1);
    drop(run);
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
    // The rows of the filter decide, and those of a query.
    let source = source(&database);
    let some = source.table("e").filter("a > 0").columns(["a"]);
    let some = some.options(options(&[("a", "scan")]));
    assert_eq!(data_type(&read(some).unwrap(), "a"), DataType::Decimal128(7, 4));
    let query = source.query("SELECT a, a AS \"A b\" FROM e WHERE a <= 0 -- x");
    let query = read(query.options(options(&[("A b", "scan")]))).unwrap();
    assert_eq!(data_type(&query, "A b"), DataType::Decimal128(5, 0));
    assert_eq!(data_type(&query, "a"), DataType::Utf8);
    // Every slice would find something else.
    let mut run = source.table("e").open().unwrap();
    let slice = run.slices().unwrap().remove(0);
    let error = refusal(source.slice(slice).options(options(&[("a", "scan")])));
    assert_error(&error, ErrorKind::Options, None, &["column \"a\"", "--column a:decimal(P,S)"]);
}

#[test]
fn choices_that_mean_nothing_are_refused() {
    require!(Capability::Server);
    let database = database(
        "meaning",
        "CREATE TYPE stamped AS (at timestamptz, by text); \
         CREATE TABLE e (t text, i int4[], n numeric(5,2), v int2vector, s stamped[], d date, w tsvector)",
    );
    for (name, choice, why) in [
        ("t", "infinity=null", "infinity means nothing"),
        ("t", "nan=null", "nan means nothing"),
        ("t", "decimal(5,2)", "neither numeric nor an array of it"),
        ("i", "decimal(5,2)", "neither numeric nor an array of it"),
        ("i", "int8[][]", "is an array of integer, not of int8"),
        ("i", "nothing[][]", "is an array of integer, not of nothing"),
        ("t", "int4[][]", "is no array"),
        ("v", "arrays=shaped", "arrays means nothing"),
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
        ("T", "text", "no such column of public.e"),
    ] {
        let error = refusal(source(&database).table("e").options(options(&[(name, choice)])));
        assert_error(&error, ErrorKind::Options, None, &[why, &format!("column {name:?}")]);
    }
    // Inside of others they mean something.
    let fine = [
        ("s", "infinity=null,timestamp-unit=ms,encoding-policy=replace"),
        ("i", " integer[][]"),
        ("n", "float64"),
    ];
    let export = export(&database, &fine);
    assert_eq!(data_type(&export, "n"), DataType::Float64);
    // A run may hold columns that a choice means nothing for, and refuse what it does not know.
    let run = TypeOptions { unknown_types: UnknownTypes::Error, ..TypeOptions::default() };
    let all = ExportOptions::default().with_types(run);
    let error = refusal(source(&database).table("e").options(all.clone()));
    assert_error(&error, ErrorKind::Options, None, &["\"w\"", "tsvector", "--column w:text"]);
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
fn what_policies_did_is_counted_as_the_server_counts_it() {
    require!(Capability::Server);
    let database = database(
        "counted",
        "CREATE TABLE e AS SELECT g AS id, \
           CASE g % 7 WHEN 0 THEN 'infinity'::date WHEN 1 THEN '-infinity' WHEN 2 THEN NULL ELSE 'today' END AS d, \
           ARRAY['infinity'::timestamp, now()::timestamp] AS ts, \
           CASE WHEN g % 5 = 0 THEN 'NaN' ELSE '1.5' END::numeric(5,2) AS n, \
           CASE WHEN g % 3 = 0 THEN time '24:00' ELSE time '12:00' END AS t, \
           CASE WHEN g % 4 = 0 THEN '[0:1]={1,2}' ELSE '{1}' END::int4[] AS a \
         FROM generate_series(1, 3000) AS g; \
         CREATE TABLE f AS SELECT 'infinity'::date AS d; CREATE TABLE none AS SELECT 1 AS one",
    );
    let run = TypeOptions { infinity: InfinityPolicy::Null, ..TypeOptions::default() };
    let columns = [("n", "nan=null"), ("ts", "infinity=saturate")];
    let all = options(&columns).with_types(run);
    let expected = server_text(
        &mut database.client(),
        "SELECT count(*) FILTER (WHERE NOT isfinite(d)), count(*) FILTER (WHERE n = 'NaN'), \
           count(*) FILTER (WHERE t = '24:00'), count(*) FILTER (WHERE array_lower(a, 1) <> 1), count(*) FROM e",
    );
    let number = |index: usize| expected[0][index].clone().unwrap().parse::<u64>().unwrap();
    // With one reader and with several, whose slices are summed up.
    for options in [all.clone().with_readers(1), all.clone().with_readers(3).with_slice_bytes(16 << 10)] {
        let report = report(&source(&database), options);
        let effects = |name: &str| {
            let column = report.columns.iter().find(|column| column.name == name).unwrap();
            column.effects.iter().map(|(key, count)| (key.as_str(), *count)).collect::<Vec<_>>()
        };
        assert_eq!(effects("id"), []);
        assert_eq!(effects("d"), [("infinity_nulled", number(0))]);
        assert_eq!(effects("ts"), [("infinity_saturated", number(4))]);
        assert_eq!(effects("n"), [("nan_nulled", number(1))]);
        assert_eq!(effects("t"), [("end_of_day", number(2))]);
        assert_eq!(effects("a"), [("lower_bound_dropped", number(3))]);
        let text = report.effects_text();
        assert_eq!(text[0], format!("column \"d\": {} infinities became NULL", number(0)));
        assert_eq!(text.len(), 5, "{text:?}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["columns"][1]["effects"]["infinity_nulled"], number(0));
        assert!(json["columns"][0].get("effects").is_none());
        let nullable: Vec<bool> = report.columns.iter().map(|column| column.nullable).collect();
        assert_eq!(nullable, [true; 6]);
    }
    // Of many tables, those with something to say.
    let options = ExportOptions::default().with_types(run);
    let source = source(&database);
    let report = source
        .tables(["f", "none"])
        .options(options)
        .open()
        .unwrap()
        .for_each_concurrently(|_, _| Ok(()))
        .unwrap();
    assert_eq!(report.effects_text(), ["public.f, column \"d\": 1 infinity became NULL"]);
    assert!(report.tables[1].columns.is_empty());
    // A choice for one column is for every table that has it; no table has the other.
    let of = |name: &str| {
        let options = ExportOptions::default().with_column(name, "infinity=null".parse().unwrap());
        source.tables(["f", "none"]).options(options).open().map(drop)
    };
    of("d").unwrap();
    assert_error(&of("x").unwrap_err(), ErrorKind::Options, None, &["column \"x\""]);
}

#[test]
fn errors_of_values_name_the_way_out() {
    require!(Capability::Server);
    for (value, ways) in [
        ("'infinity'::date", vec!["--infinity null|saturate", "--column v:text"]),
        ("'NaN'::numeric(5,2)", vec!["--nan null", "--column v:text"]),
        ("'294276-12-31'::timestamp", vec!["--out-of-range null|saturate"]),
        ("'{{1,2},{3,4}}'::int4[]", vec!["--arrays shaped", "--column v:integer[][]"]),
    ] {
        let database = database("ways", &format!("CREATE TABLE e AS SELECT {value} AS v"));
        let error = refusal(source(&database).table("e"));
        assert_error(&error, ErrorKind::Value, None, &ways);
        // And that is one.
        assert_eq!(export(&database, &[("v", "text")]).n_rows(), 1);
    }
    let database = database("ways", "CREATE TABLE e AS SELECT '294276-12-31'::timestamp AS v");
    let run = TypeOptions { out_of_range: OutOfRangePolicy::Null, ..TypeOptions::default() };
    let options = ExportOptions::default().with_types(run);
    assert_eq!(read(source(&database).table("e").options(options)).unwrap().lines(), ["∅"]);
}

/// A database of encoding SQL_ASCII, which goes with this guard.
struct Ascii {
    name: String,
    maintenance: Database,
}

impl Ascii {
    fn new(sql: &str) -> Self {
        let maintenance = TestServer::shared().fresh_database("ascii");
        let name = format!("{}_raw", maintenance.name());
        maintenance.execute(&format!(
            "CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        ));
        let ascii = Self { name, maintenance };
        ascii.source().execute(sql).unwrap();
        ascii
    }

    fn source(&self) -> Source {
        Source::connect_blocking(&TestServer::shared().url_for(&self.name)).unwrap()
    }
}

impl Drop for Ascii {
    fn drop(&mut self) {
        self.maintenance.execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

#[test]
fn text_of_no_encoding() {
    require!(Capability::Server);
    // The bytes of "café" in Latin-1, and a clean column.
    let ascii = Ascii::new(
        "CREATE TABLE e (id int4, v text, clean text); \
         INSERT INTO e VALUES (1, 'ok', 'a'), (2, convert_from('\\x636166e9', 'SQL_ASCII'), 'b')",
    );
    let source = ascii.source();
    // The server itself refuses to send it as UTF-8.
    let error = refusal(source.table("e"));
    assert_error(&error, ErrorKind::Server, Some("22021"), &["row 2", "--encoding-policy"]);
    assert_eq!(read(source.table("e").columns(["clean"])).unwrap().lines(), ["a", "b"]);
    let replaced = read(source.table("e").options(options(&[("v", "encoding-policy=replace")]))).unwrap();
    assert_eq!(replaced.lines(), ["1|ok|a", "2|caf\u{fffd}|b"]);
    let run = TypeOptions { encoding: EncodingPolicy::Binary, ..TypeOptions::default() };
    let binary = read(source.table("e").options(ExportOptions::default().with_types(run))).unwrap();
    assert_eq!(data_type(&binary, "v"), DataType::Binary);
    assert_eq!(binary.batches[0].column(1).as_binary::<i32>().value(1), b"caf\xe9");
    let report =
        report(&source, options(&[("v", "encoding-policy=replace")]).with_readers(2).with_slice_bytes(1));
    assert_eq!(report.columns[1].effects["text_replaced"], 1);
    // Who has not chosen for a column is told by us, since the server does not look any more.
    let error = refusal(source.table("e").options(options(&[("clean", "encoding-policy=replace")])));
    assert_error(&error, ErrorKind::Value, None, &["column \"v\"", "row 2", "--encoding-policy"]);
    // A name in the catalog that is no text.
    source.execute("DO $$ BEGIN EXECUTE 'COMMENT ON COLUMN e.v IS ' || quote_literal(convert_from('\\xe9', 'SQL_ASCII')); END $$").unwrap();
    let error = refusal(source.table("e"));
    assert_error(&error, ErrorKind::Server, Some("22021"), &["comment", "catalog is not UTF-8"]);
}

#[test]
fn only_a_tables_own_rows() {
    require!(Capability::Server);
    let database = database(
        "only",
        "CREATE TABLE e (a int4 NOT NULL, n numeric); CREATE TABLE kid () INHERITS (e); \
         ALTER TABLE kid ALTER a DROP NOT NULL; \
         INSERT INTO e SELECT g, 1.5 FROM generate_series(1, 3000) AS g; \
         INSERT INTO kid SELECT -g, 1000000 FROM generate_series(1, 500) AS g; \
         CREATE TABLE pt (a int4) PARTITION BY LIST (a); CREATE TABLE pt1 PARTITION OF pt FOR VALUES IN (1); \
         INSERT INTO pt VALUES (1)",
    );
    let source = source(&database);
    let scanned = options(&[("n", "scan")]);
    let whole = read(source.table("e").options(scanned.clone())).unwrap();
    assert_eq!((whole.n_rows(), data_type(&whole, "n")), (3500, DataType::Decimal128(8, 1)));
    for options in [scanned.clone(), scanned.with_readers(3).with_slice_bytes(16 << 10)] {
        let own = read(source.table("e").only(true).options(options)).unwrap();
        assert_eq!((own.n_rows(), data_type(&own, "n")), (3000, DataType::Decimal128(2, 1)));
        // From PostgreSQL 18 on, a child cannot drop it.
        assert!(!own.schema.field(0).is_nullable());
    }
    let split = ExportOptions::default().with_split_on("a").with_readers(2);
    assert_eq!(read(source.table("e").only(true).options(split)).unwrap().n_rows(), 3000);
    // Its tokens are read as they were planned.
    let cut = ExportOptions::default().with_readers(2).with_slice_bytes(16 << 10);
    let mut run = source.table("e").only(true).options(cut).open().unwrap();
    let slices = run.slices().unwrap();
    assert!(slices.len() > 1);
    let rows: usize = slices.iter().map(|slice| read(source.slice(slice.clone())).unwrap().n_rows()).sum();
    assert_eq!(rows, 3000);
    // What has no rows of its own, and what is no table.
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
            .for_each_concurrently(|_, _| Ok(()));
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
