//! Choices about types: what they make of values, what is printed about it, and what is refused.

use std::fs;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type, TimestampMillisecondType};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::schema::types::Type;
use pgarrow_testkit::{Capability, require};

use crate::support::{Place, command, end_of, eventually, parquet_rows, run, start, stream};

const VALUES: &str = "CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TABLE v (d date, n numeric(5,2), free numeric, c char(4), m mood, a int[], i interval, at timestamptz, \"Od:d\" int);
    INSERT INTO v VALUES
        ('2020-01-01', 1.5, 12.25, 'ab', 'ok', '{1,2}', '1 month', '2020-01-01 00:00:00+00', 1),
        ('infinity', 'NaN', 7, 'abcd', 'sad', '[0:1]={3,4}', '1 day', '-infinity', 2),
        ('-infinity', 2.5, -1, '', NULL, NULL, NULL, NULL, 3)";

impl Place {
    /// The rows as an Arrow stream, in one batch.
    fn batch(&self, args: &[&str]) -> RecordBatch {
        let ran = self.export(&[&["--to", "ipc-stream", "-o", "-", "-Q"], args].concat());
        ran.assert_success();
        stream(&ran.stdout).remove(0)
    }
}

#[test]
fn a_policy_is_counted_in_summary_and_report() {
    require!(Capability::Server);
    let place = Place::new("policies");
    place.database.execute(VALUES);
    let refused = place.export(&["-t", "v", "--columns", "d", "-o", "x.parquet"]);
    refused.assert_refused(6, &["public.v, column \"d\" (date), row 2", "--infinity null"]);
    let refused = place.export(&["-t", "v", "--columns", "n", "-o", "x.parquet"]);
    refused.assert_refused(6, &["column \"n\" (numeric(5,2)), row 2", "--nan null"]);
    assert!(place.names().is_empty());

    let choices = ["-t", "v", "--infinity", "null", "--nan", "null", "--trim"];
    let ran = place.export(&[&choices[..], &["-o", "x.parquet", "--report", "r.json"]].concat());
    ran.assert_success();
    for line in [
        "column \"d\": 2 infinities became NULL",
        "column \"at\": 1 infinity became NULL",
        "column \"n\": 1 NaN or infinity became NULL",
    ] {
        assert!(ran.stderr.lines().any(|said| said == line), "{line:?} is not in {}", ran.stderr);
    }
    assert!(ran.stderr.contains("column \"a\": 1 array that does not count from 1"), "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    let effects = |name: &str| {
        let columns = report["columns"].as_array().unwrap();
        columns.iter().find(|column| column["name"] == name).unwrap()["effects"].clone()
    };
    assert_eq!(effects("d"), serde_json::json!({ "infinity_nulled": 2 }));
    assert_eq!(effects("n"), serde_json::json!({ "nan_nulled": 1 }));
    let quiet = place.export(&[&choices[..], &["-o", "y.parquet", "-Q"]].concat());
    quiet.assert_success();
    assert!(quiet.stderr.is_empty(), "{}", quiet.stderr);
}

#[test]
fn what_types_become_by_choice() {
    require!(Capability::Server);
    let place = Place::new("choices");
    place.database.execute(VALUES);
    let policies = ["-t", "v", "--infinity", "saturate", "--nan", "null"];
    let batch = |args: &[&str]| place.batch(&[&policies[..], args].concat());
    let type_of = |batch: &RecordBatch, name: &str| batch.column_by_name(name).unwrap().data_type().clone();
    let by_default = batch(&[]);
    assert!(matches!(type_of(&by_default, "m"), DataType::Dictionary(..)));
    assert_eq!(type_of(&by_default, "free"), DataType::Utf8);
    assert_eq!(by_default.column_by_name("c").unwrap().as_string::<i32>().value(0), "ab  ");

    let chosen = batch(&[
        "--enum",
        "text",
        "--strings",
        "large",
        "--trim",
        "--arrays",
        "shaped",
        "--numeric",
        "float64",
    ]);
    assert_eq!(type_of(&chosen, "m"), DataType::LargeUtf8);
    assert_eq!(chosen.column_by_name("c").unwrap().as_string::<i64>().value(0), "ab");
    assert!(matches!(type_of(&chosen, "a"), DataType::Struct(_)));
    assert_eq!((type_of(&chosen, "n"), type_of(&chosen, "free")), (DataType::Float64, DataType::Float64));

    // Choices for one column override those of the run; a name with a colon, and the depth of an array.
    let chosen = batch(&[
        "--numeric",
        "float64",
        "--column",
        "free:decimal(20,4)",
        "--column",
        "at:infinity=null,timestamp-unit=ms",
        "--column",
        "\"Od:d\":text",
        "--column",
        "A:int4[]",
        "--column",
        "i:interval=text",
    ]);
    let free = chosen.column_by_name("free").unwrap();
    assert_eq!(free.data_type(), &DataType::Decimal128(20, 4));
    assert_eq!(free.as_primitive::<Decimal128Type>().value(0), 122_500);
    assert_eq!(type_of(&chosen, "n"), DataType::Float64);
    let at = chosen.column_by_name("at").unwrap().as_primitive::<TimestampMillisecondType>();
    assert_eq!(at.iter().collect::<Vec<_>>(), [Some(1_577_836_800_000), None, None]);
    assert_eq!(chosen.column_by_name("Od:d").unwrap().as_string::<i32>().value(2), "3");
    let list = chosen.column_by_name("a").unwrap().as_list::<i32>();
    assert_eq!(list.value(1).as_primitive::<Int32Type>().values(), &[3, 4]);
    assert_eq!(chosen.column_by_name("i").unwrap().as_string::<i32>().value(0), "1 mon");

    let scanned = batch(&["--numeric", "scan"]);
    assert_eq!(type_of(&scanned, "free"), DataType::Decimal128(4, 2));
    for (choice, says) in [
        ("nothing:text", "there is a choice for column \"nothing\""),
        ("d:nan=null", "nan means nothing for it"),
        ("d:int4[]", "is no array"),
    ] {
        place.export(&["-t", "v", "--column", choice, "--to", "none"]).assert_refused(2, &[says]);
    }
}

/// Before, numerics became text without a warning, and decimals could not be rounded.
#[test]
fn numerics_that_become_text_are_said_and_digits_can_be_rounded() {
    require!(Capability::Server);
    let place = Place::new("numerics");
    place.database.execute(
        "CREATE TABLE t AS SELECT 1.005 AS a, 2::numeric AS b, 3::numeric(5,2) AS c; CREATE TABLE u AS TABLE t",
    );
    let warning = "columns \"a\", \"b\" become text: numeric without a precision that a decimal has; choose --numeric scan \
                   or decimal(P,S), or --column NAME:decimal(P,S), for numbers, or --numeric text";
    let ran = place.export(&["-t", "t", "-o", "x.parquet", "--report", "r.json"]);
    ran.assert_success();
    assert_eq!(ran.stderr.matches("become text").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("warning: {warning}")), "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    assert_eq!(report["warnings"], serde_json::json!([warning]));
    let ran = place.export(&["-t", "t", "-t", "u", "-o", "both/"]);
    ran.assert_success();
    for table in ["public.t", "public.u"] {
        assert!(ran.stderr.contains(&format!("warning: {table}: {warning}")), "{}", ran.stderr);
    }
    for (n, choice) in ["text", "scan", "float64", "decimal(10,3)"].into_iter().enumerate() {
        let ran = place.export(&["-t", "t", "--numeric", choice, "-o", &format!("{n}.arrow")]);
        ran.assert_success();
        assert!(!ran.stderr.contains("become text"), "{choice}: {}", ran.stderr);
    }

    let decimal = ["-t", "t", "--columns", "a", "--numeric", "decimal(10,2)", "-o", "y.parquet"];
    place.export(&decimal).assert_refused(6, &["row 1", "--lost-digits round"]);
    let ran = place.export(&[&decimal[..], &["--lost-digits", "round"]].concat());
    ran.assert_success();
    let line = "column \"a\": 1 value lost digits, rounded to those that are kept";
    assert!(ran.stderr.lines().any(|said| said == line), "{}", ran.stderr);
    let of_column = ["-t", "t", "--column", "a:decimal(10,2),lost-digits=round", "--numeric", "text"];
    let batch = place.batch(&of_column);
    assert_eq!(batch.column_by_name("a").unwrap().as_primitive::<Decimal128Type>().values(), &[101]);
    let wrong = place.export(&["-t", "t", "--column", "c:lost-digits=off", "--to", "none"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("error, round"), "{}", wrong.stderr);
    let inspected = |args: &[&str]| {
        let args =
            [&["inspect", place.database.url(), "-t", "t", "--numeric", "decimal(10,2)"], args].concat();
        String::from_utf8(run(command(place.folder.path()).args(args)).stdout).unwrap()
    };
    let text = inspected(&[]);
    let stops =
        "values with more digits behind the point stop the export (--lost-digits round or --numeric text)";
    assert!(text.contains(stops), "{text}");
    let text = inspected(&["--lost-digits", "round"]);
    assert!(text.contains("values with more digits behind the point are rounded (--lost-digits)"), "{text}");
}

#[test]
fn intervals_in_parquet() {
    require!(Capability::Server);
    let place = Place::new("intervals");
    let query = ["-q", "select interval '1 month' as i"];
    let export =
        |args: &[&str]| place.export(&[&query[..], &["-o", "x.parquet", "--overwrite"], args].concat());
    let arrow_type = || {
        let file = fs::File::open(place.path("x.parquet")).unwrap();
        ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema().field(0).data_type().clone()
    };
    export(&[]).assert_success();
    assert!(matches!(arrow_type(), DataType::Struct(_)));
    export(&["--interval", "text"]).assert_success();
    assert_eq!(arrow_type(), DataType::Utf8);
    let refused = export(&["--interval", "month-day-nano"]);
    refused.assert_refused(2, &["column \"i\" cannot be written to parquet", "--interval struct"]);
    export(&["--column", "i:interval=month-day-nano"]).assert_refused(2, &["cannot be written to parquet"]);
}

#[test]
fn a_table_without_its_children() {
    require!(Capability::Server);
    let place = Place::new("only");
    place.database.execute(
        "CREATE TABLE p (a int); CREATE TABLE c (b int) INHERITS (p); INSERT INTO p VALUES (1);
         INSERT INTO c VALUES (2, 3), (4, 5)",
    );
    for (args, rows) in [(&["-t", "p"][..], 3), (&["-t", "p", "--only"], 1)] {
        let ran = place.export(&[args, &["-o", "x.parquet", "--overwrite"]].concat());
        ran.assert_success();
        assert_eq!(parquet_rows(&place.path("x.parquet")), rows, "{args:?}");
    }
    // Of a schema, every row once.
    place.export(&["--schema", "public", "--only", "-o", "all/"]).assert_success();
    let rows = |name: &str| parquet_rows(&place.path(&format!("all/public.{name}.parquet")));
    assert_eq!((rows("p"), rows("c")), (1, 2));
}

#[test]
fn field_ids_are_the_numbers_of_columns() {
    require!(Capability::Server);
    let place = Place::new("field_ids");
    place.database.execute(
        "CREATE TABLE f (gone int, a int[], b int4range, c text); ALTER TABLE f DROP COLUMN gone;
         INSERT INTO f VALUES ('{1}', '[1,2)', 'x')",
    );
    place.export(&["-t", "f", "--field-ids", "-o", "x.parquet"]).assert_success();
    place.export(&["-t", "f", "-o", "without.parquet"]).assert_success();
    let ids = |name: &str| {
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(fs::File::open(place.path(name)).unwrap()).unwrap();
        let mut found = Vec::new();
        let root = builder.parquet_schema().root_schema().get_fields().to_vec();
        root.iter().for_each(|field| field_ids(field, &mut found));
        found
    };
    let found = ids("x.parquet");
    for expected in
        [("a", 2), ("element", 200_001), ("b", 3), ("lower", 300_001), ("empty", 300_005), ("c", 4)]
    {
        assert!(found.contains(&(expected.0.to_owned(), expected.1)), "{expected:?} is not in {found:?}");
    }
    assert_eq!(ids("without.parquet"), []);
}

fn field_ids(field: &Type, found: &mut Vec<(String, i32)>) {
    let info = field.get_basic_info();
    if info.has_id() {
        found.push((info.name().to_owned(), info.id()));
    }
    if field.is_group() {
        field.get_fields().iter().for_each(|inner| field_ids(inner, found));
    }
}

#[test]
fn geometries_make_geoparquet() {
    require!(Capability::Server, Capability::Extension("postgis"));
    let place = Place::new("geometries");
    place.database.execute(
        "CREATE EXTENSION postgis; CREATE TABLE g (at geometry(Point, 4326), web geometry(Point, 3857));
         INSERT INTO g VALUES ('SRID=4326;POINT(9 48)', 'SRID=3857;POINT(1 2)')",
    );
    let ran = place.export(&["-t", "g", "-o", "x.parquet"]);
    ran.assert_success();
    assert!(ran.stderr.contains("warning: GeoParquet takes"), "{}", ran.stderr);
    let file = fs::File::open(place.path("x.parquet")).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let footer = builder.metadata().file_metadata().key_value_metadata().unwrap();
    let geo = footer.iter().find(|pair| pair.key == "geo").and_then(|pair| pair.value.as_deref()).unwrap();
    let geo: serde_json::Value = serde_json::from_str(geo).unwrap();
    assert_eq!(geo["columns"]["at"], serde_json::json!({ "encoding": "WKB", "geometry_types": [] }));
    assert_eq!(geo["columns"]["web"]["crs"], serde_json::Value::Null);
    // Other programs cannot read EWKB as WKB: no metadata claims it.
    place.export(&["-t", "g", "--geometry", "ewkb", "-o", "y.parquet"]).assert_success();
    let bytes = fs::read(place.path("y.parquet")).unwrap();
    assert!(!bytes.windows(16).any(|window| window == b"\"primary_column\""));
}

#[test]
fn readers_of_slices_choose_their_types() {
    require!(Capability::Server);
    let place = Place::new("slice_types");
    place.database.execute(VALUES);
    let mut hold = command(place.folder.path());
    hold.args(["hold", place.database.url(), "-t", "v", "--tokens", "tokens"]);
    let holder = start(&mut hold);
    eventually("the tokens are there", || place.path("tokens").exists());
    let token = fs::read_to_string(place.path("tokens")).unwrap();
    let export = |args: &[&str]| {
        let mut export = command(place.folder.path());
        run(export.args(["export", place.database.url(), "--slice", &token, "--to", "none"]).args(args))
    };
    export(&["--nan", "null", "--infinity", "null"]).assert_success();
    export(&["--column", "n:text", "--column", "d:text", "--column", "at:text", "--arrays", "shaped"])
        .assert_success();
    export(&["--infinity", "null"]).assert_refused(6, &["column \"n\""]);
    crate::signals::send(&holder, nix::sys::signal::Signal::SIGTERM);
    assert_eq!(end_of(holder, 20).code, Some(0));
}
