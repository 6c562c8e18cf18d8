//! The advice about a value that stops an export works.

use std::error::Error;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_schema::DataType;
use pgarrow::{ErrorKind, ExportOptions, Hint, InfinityPolicy, NumericForm, Place, TypeOptions, option};
use pgarrow_column::ValueError;
use pgarrow_testkit::{Capability, require};

use crate::choices::{data_type, options};
use crate::support::{assert_error, database, read, refusal, source};

/// All choices of a run for numerics.
fn numerics(form: &str) -> ExportOptions {
    let numeric: NumericForm = form.parse().unwrap();
    ExportOptions::default().with_types(TypeOptions { numeric, ..TypeOptions::default() })
}

/// Formerly, the advice was a larger decimal, which was then refused.
#[test]
fn a_decimal_for_numerics_inside_of_other_types() {
    require!(Capability::Server);
    let database = database(
        "insides",
        "CREATE TYPE priced AS (price numeric, fee numeric(5,2), at int4); CREATE DOMAIN span AS numrange; \
         CREATE TABLE e (c priced, r numrange, d span, cs priced[], ms nummultirange); \
         INSERT INTO e VALUES (ROW(123456.789, 1.5, 1), '[123456.789,)', '(,123456.789]', \
           ARRAY[ROW(123456.789, 2.5, 2)::priced], '{[123456.789,200000]}')",
    );
    let source = source(&database);
    for name in ["c", "r", "d", "cs", "ms"] {
        let table = || source.table("e").columns([name]).options(numerics("decimal(5,1)"));
        let way = format!("column {name}:decimal(P,S)");
        assert_error(&refusal(table()), ErrorKind::Value, None, &[&way]);
        let export = read(table().options(options(&[(name, "decimal(20,3)")]))).unwrap();
        assert_eq!(export.n_rows(), 1, "{name}");
        let decimals = data_type(&export, name).to_string();
        assert!(decimals.contains("Decimal128(20, 3)"), "{name}: {decimals}");
        // A numeric that declares its own decimal keeps it.
        assert_eq!(decimals.contains("Decimal128(5, 2)"), name.starts_with('c'), "{name}: {decimals}");
        if name == "c" {
            let prices = export.batches[0].column(0).as_struct().column(0).clone();
            assert_eq!(prices.as_primitive::<Decimal128Type>().value(0), 123_456_789);
        }
    }
}

/// Formerly, the advice was a larger decimal, but no decimal has so many digits.
#[test]
fn what_no_double_is_near_to_inside_of_a_composite() {
    require!(Capability::Server);
    let database = database(
        "doubles",
        "CREATE TYPE priced AS (price numeric); CREATE TABLE e AS SELECT ROW('1e400')::priced AS c",
    );
    let error = refusal(source(&database).table("e").options(numerics("float64")));
    assert_error(&error, ErrorKind::Value, None, &["column c:numeric=text", "out_of_range=null|saturate"]);
    assert!(!error.to_string().contains("decimal("), "{error}");
    for choice in ["numeric=text", "out-of-range=null", "out-of-range=saturate", "text"] {
        let followed = ExportOptions::default().with_column("c", choice.parse().unwrap());
        let followed =
            followed.with_types(TypeOptions { numeric: NumericForm::Float64, ..TypeOptions::default() });
        assert_eq!(read(source(&database).table("e").options(followed)).unwrap().n_rows(), 1, "{choice}");
    }
}

/// Formerly, the advice named the element type `TYPE`, since the column's own type name does not contain it.
#[test]
fn the_depth_of_arrays_that_stand_under_a_domain() {
    require!(Capability::Server);
    let database = database(
        "domains",
        "CREATE SCHEMA \"A b\"; CREATE DOMAIN \"A b\".amount AS numeric(5,2); CREATE DOMAIN grid AS \"A b\".amount[]; \
         CREATE DOMAIN grids AS grid; CREATE TABLE e AS SELECT '{{1,2},{3,4}}'::grids AS v",
    );
    let error = refusal(source(&database).table("e"));
    assert_error(&error, ErrorKind::Value, None, &["column v:\"A b\".amount[][])"]);
    let export = read(source(&database).table("e").options(options(&[("v", "\"A b\".amount[][]")]))).unwrap();
    assert!(matches!(data_type(&export, "v"), DataType::List(_)));
    assert_eq!(export.batches[0].column(0).as_list::<i32>().value(0).len(), 2);
}

/// Errors carry advice, place and cause as data: formerly, programs had to search the text.
#[test]
fn errors_say_as_data_what_their_texts_say() {
    require!(Capability::Server);
    let database = database(
        "as_data",
        "CREATE TABLE e (id int4, \"V v\" date); INSERT INTO e VALUES (1, '2000-01-01'), (2, 'infinity')",
    );
    let source = source(&database);
    let error = refusal(source.table("e"));
    let hints: Vec<Hint> = error.hints().cloned().collect();
    assert_eq!(hints, [option::INFINITY.to("null|saturate"), Hint::column("V v", "text")], "{error}");
    let place = Place::default().with_table("public", "e").with_column("V v").with_row(2);
    assert_eq!((error.place(), error.sqlstate()), (&place, None));
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&ValueError::Infinite));
    // The advice works.
    let types = TypeOptions { infinity: InfinityPolicy::Saturate, ..TypeOptions::default() };
    let saturated = source.table("e").options(ExportOptions::default().with_types(types));
    assert_eq!(read(saturated).unwrap().n_rows(), 2);
    // A query's rows have no table; the server's own error is the source of the source.
    let error = refusal(source.query("SELECT 1 / (id - 2) AS q FROM e"));
    assert_eq!((error.sqlstate(), error.place()), (Some("22012"), &Place::default()));
    let wire = error.source().unwrap();
    assert!(wire.is::<pgarrow_protocol::Error>(), "{error}");
    let server = wire.source().unwrap().downcast_ref::<pgarrow_protocol::ServerError>();
    assert_eq!(server.map(|server| server.message.as_str()), Some("division by zero"));
}
