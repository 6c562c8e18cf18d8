//! A server reads values of types that consist of others: it prints the expected text.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::types::{Float32Type, Float64Type, Int16Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Float64Array, Int32Array, ListArray,
    MapArray, RecordBatch, StringArray, StructArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields, Schema};
use pgarrow_encode::{HEADER, RowEncoder, TRAILER, make_encoder};
use pgarrow_testkit::{Capability, Database, TestServer, require};
use pgarrow_types::{ArrayType, Attribute, CompositeType, GeometryType, PgType, RangeType, oid};

use crate::support::To;

/// The server's text of an array's values in a column of this type; or its error.
fn printed(
    database: &Database,
    type_name: &str,
    to: &To,
    array: &ArrayRef,
) -> Result<Vec<Option<String>>, String> {
    let field = Field::new("v", array.data_type().clone(), true);
    let encoder = make_encoder(&field, to.target()).expect("an encoder");
    let rows = RowEncoder::new(vec![(0, encoder)]).expect("one column");
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![Arc::clone(array)]).expect("a batch");
    let mut stream = HEADER.to_vec();
    rows.bind(&batch).expect("an array of that type").write_rows(0, usize::MAX, &mut stream).expect("values");
    stream.extend(TRAILER);
    let mut client = database.client();
    let create = format!("DROP TABLE IF EXISTS t; CREATE TABLE t (v {type_name}, n serial)");
    client.batch_execute(&create).expect("a table");
    let mut copy = client.copy_in("COPY t (v) FROM STDIN (FORMAT binary)").expect("a COPY");
    let finished = copy.write_all(&stream).map_err(|error| error.to_string());
    finished.and_then(|()| copy.finish().map_err(|error| format!("{error:?}")))?;
    let rows = client.query("SELECT v::text FROM t ORDER BY n", &[]).expect("rows");
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn check(database: &Database, type_name: &str, to: &To, array: ArrayRef, expected: &[&str]) {
    let printed = printed(database, type_name, to, &array).expect("values that the server takes");
    let expected: Vec<_> = expected.iter().map(|text| Some((*text).to_owned())).collect();
    assert_eq!(printed, expected, "{type_name}");
}

fn structs(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let fields: Fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    Arc::new(StructArray::new(fields, columns.into_iter().map(|(_, array)| array).collect(), None))
}

fn list_array(items: ArrayRef, lengths: &[usize]) -> ArrayRef {
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths.iter().copied()), items, None))
}

fn lists<T: ArrowPrimitiveType>(rows: Vec<Vec<Option<T::Native>>>) -> ArrayRef {
    Arc::new(ListArray::from_iter_primitive::<T, _, _>(rows.into_iter().map(Some)))
}

fn strings(values: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn doubles(values: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

fn array_of(element: PgType, element_oid: u32, is_vector: bool) -> To {
    To::new(PgType::Array(Arc::new(ArrayType { element, element_oid, dimensions: 0, is_vector })))
}

#[test]
fn arrays_and_composites() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("nested");
    let ints = array_of(PgType::Int4, oid::INT4, false);
    let flat = lists::<Int32Type>(vec![vec![Some(1), None], vec![]]);
    check(&database, "int[]", &ints, flat, &["{1,NULL}", "{}"]);
    let mut nested = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
    for list in [[Some(1), Some(2)], [None, Some(4)]] {
        nested.values().append_value(list);
    }
    nested.append(true);
    check(&database, "int[]", &ints, Arc::new(nested.finish()), &["{{1,2},{NULL,4}}"]);
    let shaped = structs(vec![
        ("values", lists::<Int32Type>(vec![vec![Some(1), Some(2), Some(3), Some(4)], vec![Some(5)], vec![]])),
        ("dimensions", lists::<Int32Type>(vec![vec![Some(2), Some(2)], vec![Some(1)], vec![]])),
        ("lower_bounds", lists::<Int32Type>(vec![vec![Some(-2), Some(3)], vec![Some(i32::MAX - 1)], vec![]])),
    ]);
    let expected = ["[-2:-1][3:4]={{1,2},{3,4}}", "[2147483646:2147483646]={5}", "{}"];
    check(&database, "int[]", &ints, shaped, &expected);
    let vector = array_of(PgType::Int2, oid::INT2, true);
    check(&database, "int2vector", &vector, lists::<Int16Type>(vec![vec![Some(3), Some(4)]]), &["3 4"]);
    database.execute("CREATE DOMAIN word AS text CHECK (value <> 'no'); CREATE TYPE pair AS (a int, b word)");
    let word: u32 = database.client().query_one("SELECT 'word'::regtype::oid", &[]).unwrap().get(0);
    let attribute = |name: &str, pg_type, type_oid| Attribute {
        name: name.to_owned(),
        pg_type,
        type_oid,
        type_name: String::new(),
    };
    let attributes = vec![attribute("a", PgType::Int4, oid::INT4), attribute("b", PgType::Text, word)];
    let pair = To::new(PgType::Composite(Arc::new(CompositeType { attributes })));
    let of = |words: Vec<Option<&str>>| {
        structs(vec![("b", strings(words)), ("a", Arc::new(Int32Array::from(vec![Some(1), None])))])
    };
    check(&database, "pair", &pair, of(vec![Some("x y"), None]), &["(1,\"x y\")", "(,)"]);
    let error = printed(&database, "pair", &pair, &of(vec![Some("no"), None])).unwrap_err();
    assert!(error.contains("word_check"), "{error}");
}

#[test]
fn ranges_and_multiranges() {
    require!(Capability::VersionAtLeast(140_000));
    let database = TestServer::shared().fresh_database("nested");
    let subtype = || Arc::new(RangeType { subtype: PgType::Int4 });
    let bounds = |values: Vec<Option<i32>>| -> ArrayRef { Arc::new(Int32Array::from(values)) };
    let flags = |values: Vec<bool>| -> ArrayRef { Arc::new(BooleanArray::from(values)) };
    let ranges = structs(vec![
        ("lower", bounds(vec![Some(1), None, Some(5), None, None])),
        ("upper", bounds(vec![Some(3), Some(4), None, None, None])),
        ("lower_inclusive", flags(vec![true, false, false, true, false])),
        ("upper_inclusive", flags(vec![true, false, false, false, false])),
        ("empty", flags(vec![false, false, false, false, true])),
    ]);
    let expected = ["[1,4)", "(,4)", "[6,)", "(,)", "empty"];
    check(&database, "int4range", &To::new(PgType::Range(subtype())), Arc::clone(&ranges), &expected);
    let multiranges = list_array(ranges.slice(0, 3), &[0, 1, 2]);
    let to = To::new(PgType::Multirange(subtype()));
    check(&database, "int4multirange", &to, multiranges, &["{}", "{[1,4)}", "{(,4),[6,)}"]);
}

#[test]
fn maps_json_and_geometric_types() {
    require!(Capability::Extension("hstore"));
    let database = TestServer::shared().fresh_database("nested");
    database.execute("CREATE EXTENSION hstore");
    let DataType::Map(entries, _) = PgType::Hstore.data_type(&Default::default()) else { unreachable!() };
    let DataType::Struct(fields) = entries.data_type().clone() else { unreachable!() };
    let columns = vec![strings(vec![Some("bb"), Some("a")]), strings(vec![None, Some("1")])];
    let pairs = StructArray::new(fields, columns, None);
    let map: ArrayRef =
        Arc::new(MapArray::new(entries, OffsetBuffer::from_lengths([2, 0]), pairs, None, false));
    check(
        &database,
        "hstore",
        &To::new(PgType::Hstore),
        Arc::clone(&map),
        &["\"a\"=>\"1\", \"bb\"=>NULL", ""],
    );
    let object = structs(vec![
        ("big", Arc::new(arrow_array::Int64Array::from(vec![i64::MAX, 0]))),
        ("float", doubles(vec![1e300, 5e-324])),
        ("text", strings(vec![Some("\"\u{7}\\é"), None])),
        ("map", map),
    ]);
    let expected = [
        r#"{"big":9223372036854775807,"float":1e300,"text":"\"\u0007\\é","map":{"bb":null,"a":"1"}}"#,
        r#"{"big":0,"float":5e-324,"text":null,"map":{}}"#,
    ];
    check(&database, "json", &To::new(PgType::Json), Arc::clone(&object), &expected);
    let values = printed(&database, "jsonb", &To::new(PgType::Jsonb), &object).unwrap();
    assert!(values[0].as_ref().unwrap().contains(r#""big": 9223372036854775807"#), "{values:?}");
    let point = |x: f64, y: f64| structs(vec![("x", doubles(vec![x])), ("y", doubles(vec![y]))]);
    let corners = structs(vec![("high", point(3.0, 4.0)), ("low", point(1.0, 2.0))]);
    check(&database, "box", &To::new(PgType::Box), corners, &["(3,4),(1,2)"]);
    let circle = structs(vec![("center", point(1.0, 2.0)), ("radius", doubles(vec![0.5]))]);
    check(&database, "circle", &To::new(PgType::Circle), circle, &["<(1,2),0.5>"]);
    let line = structs(vec![("a", doubles(vec![1.0])), ("b", doubles(vec![2.0])), ("c", doubles(vec![3.0]))]);
    check(&database, "line", &To::new(PgType::Line), line, &["{1,2,3}"]);
    let points = structs(vec![("x", doubles(vec![1.0, 2.0])), ("y", doubles(vec![3.0, 4.0]))]);
    let points = list_array(points, &[2]);
    check(&database, "polygon", &To::new(PgType::Polygon), Arc::clone(&points), &["((1,3),(2,4))"]);
    let path = structs(vec![("closed", Arc::new(BooleanArray::from(vec![false]))), ("points", points)]);
    check(&database, "path", &To::new(PgType::Path), path, &["[(1,3),(2,4)]"]);
}

#[test]
fn geometries_of_every_kind() {
    require!(Capability::Extension("postgis"));
    let database = TestServer::shared().fresh_database("nested");
    database.execute("CREATE EXTENSION postgis");
    for (srid, ewkb, iso) in crate::nested_shapes::geometries() {
        let geometry = GeometryType { srid, crs: None, is_geography: false };
        let to = To::new(PgType::Geometry(Arc::new(geometry))).check();
        let hex: String = ewkb.iter().map(|byte| format!("{byte:02X}")).collect();
        for wkb in [&ewkb, &iso] {
            let array: ArrayRef = Arc::new(BinaryArray::from(vec![wkb.as_slice()]));
            check(&database, "geometry", &to, array, &[&hex]);
        }
    }
    let globe = GeometryType { srid: 4326, crs: None, is_geography: true };
    let to = To::new(PgType::Geometry(Arc::new(globe))).check();
    let point = [&[0, 0, 0, 0, 1][..], &1.0_f64.to_be_bytes(), &2.0_f64.to_be_bytes()].concat();
    let array: ArrayRef = Arc::new(BinaryArray::from(vec![point.as_slice()]));
    let expected = "0101000020E6100000000000000000F03F0000000000000040";
    check(&database, "geography(Point,4326)", &to, array, &[expected]);
}

#[test]
fn vectors() {
    require!(Capability::Extension("vector"));
    let database = TestServer::shared().fresh_database("nested");
    database.execute("CREATE EXTENSION vector");
    let two = || lists::<Float64Type>(vec![vec![Some(1.5), Some(-2.0)]]);
    let vector = To::new(PgType::Vector { dimensions: Some(2) }).check();
    check(&database, "vector(2)", &vector, two(), &["[1.5,-2]"]);
    let halfvec = To::new(PgType::Halfvec { dimensions: None }).check();
    check(&database, "halfvec", &halfvec, two(), &["[1.5,-2]"]);
    let sparse = structs(vec![
        ("dimensions", Arc::new(Int32Array::from(vec![5]))),
        ("indices", lists::<Int32Type>(vec![vec![Some(0), Some(4)]])),
        ("values", lists::<Float32Type>(vec![vec![Some(1.0), Some(2.5)]])),
    ]);
    check(&database, "sparsevec", &To::new(PgType::Sparsevec), sparse, &["{1:1,5:2.5}/5"]);
}

/// A limit of the server: it sends an empty `int2vector` as an array with a dimension without elements, reads
/// that as one without dimensions, and refuses it.
#[test]
fn an_empty_vector_of_the_catalog_is_refused_and_not_changed() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("nested");
    let vector = array_of(PgType::Int2, oid::INT2, true);
    match printed(&database, "int2vector", &vector, &lists::<Int16Type>(vec![vec![]])) {
        Ok(values) => assert_eq!(values, [Some(String::new())]),
        Err(error) => assert!(error.contains("invalid int2vector data"), "{error}"),
    }
}
