//! What the catalog says about types: extensions, depth, breadth.

use std::fmt::Write;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_schema::DataType;
use pgarrow::{ColumnOptions, ErrorKind, ExportOptions};
use pgarrow_testkit::{Capability, require};

use crate::support::{Role, assert_error, database, read, refusal, source, source_as};

/// The table `e` with its column `v` as text.
fn as_text() -> ExportOptions {
    ExportOptions::default().with_column("v", "text".parse::<ColumnOptions>().unwrap())
}

#[test]
fn types_of_contrib_are_read_as_what_they_are() {
    require!(Capability::Server, Capability::Extension("hstore"), Capability::Extension("ltree"));
    let database = database(
        "contrib",
        "CREATE SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION ltree SCHEMA ext; \
         CREATE DOMAIN pairs AS ext.hstore; CREATE TYPE item AS (h ext.hstore, path ext.ltree); \
         CREATE TABLE e AS SELECT 'a=>1,b=>NULL'::ext.hstore AS h, '\"k\"=>\"v\"'::ext.hstore::pairs AS d, \
           'a.b'::ext.ltree AS l, 'a.*{1}'::ext.lquery AS q, 'a & b'::ext.ltxtquery AS t, \
           ARRAY[ROW('x=>y', 'x.y')::item] AS items",
    );
    let export = read(source(&database).table("e")).unwrap();
    assert!(export.warnings.is_empty(), "{:?}", export.warnings);
    let batch = &export.batches[0];
    for name in ["h", "d"] {
        assert!(matches!(batch.column_by_name(name).unwrap().data_type(), DataType::Map(..)), "{name}");
    }
    let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!([text("l"), text("q"), text("t")], ["a.b", "a.*{1}", "a & b"]);
    let items = batch.column_by_name("items").unwrap().as_list::<i32>().value(0);
    assert_eq!(items.as_struct().column(1).as_string::<i32>().value(0), "x.y");
    assert_eq!(items.as_struct().column(0).as_map().value_length(0), 1);
}

#[test]
fn vectors_have_the_size_that_is_declared() {
    require!(Capability::Server, Capability::Extension("vector"));
    let database = database(
        "vectors",
        "CREATE EXTENSION vector; CREATE TABLE e AS SELECT '[1,2,3]'::vector(3) AS v, '[1,2]'::vector AS any, \
           '[1,2]'::halfvec(2) AS h, '{1:1.5,3:2}/5'::sparsevec(5) AS s, ARRAY['[1]'::vector(1)] AS vs",
    );
    let export = read(source(&database).table("e")).unwrap();
    assert!(export.warnings.is_empty(), "{:?}", export.warnings);
    let sizes = |data_type: &DataType| match data_type {
        DataType::FixedSizeList(item, size) => (item.data_type().clone(), Some(*size)),
        DataType::List(item) => (item.data_type().clone(), None),
        other => panic!("{other:?}"),
    };
    let of = |index: usize| sizes(export.schema.field(index).data_type());
    assert_eq!([of(0), of(1)], [(DataType::Float32, Some(3)), (DataType::Float32, None)]);
    assert_eq!(of(2), (DataType::Float16, Some(2)));
    assert!(matches!(export.schema.field(3).data_type(), DataType::Struct(_)));
    let vector = export.batches[0].column(0).as_fixed_size_list().value(0);
    assert_eq!(vector.as_primitive::<Float32Type>().values(), &[1.0, 2.0, 3.0]);
}

#[test]
fn geometries_bring_their_reference_system() {
    require!(Capability::Server, Capability::Extension("postgis"));
    let database = database(
        "geometries",
        "CREATE SCHEMA gis; CREATE EXTENSION postgis SCHEMA gis; SET search_path = gis, public; \
         CREATE TABLE public.e (g gis.geometry(Point, 4326), n gis.geometry, y gis.geography, \
           a gis.geometry(Point, 3857)[]); \
         INSERT INTO public.e VALUES (ST_SetSRID(ST_MakePoint(1, 2), 4326), ST_MakePoint(1, 2), \
           'POINT(1 2)', ARRAY[ST_SetSRID(ST_MakePoint(1, 2), 3857)])",
    );
    let crs = |source: &pgarrow::Source| {
        let export = read(source.table("e")).unwrap();
        assert!(export.warnings.is_empty(), "{:?}", export.warnings);
        let DataType::List(item) = export.schema.field(3).data_type() else { panic!("no list") };
        let fields = [export.schema.field(0), export.schema.field(1), export.schema.field(2), &**item];
        fields.map(|field| {
            assert_eq!(field.extension_type_name(), Some("geoarrow.wkb"));
            field.extension_type_metadata().unwrap_or_default().to_owned()
        })
    };
    let found = crs(&source(&database));
    assert!(found[0].contains("\"EPSG:4326\""), "{found:?}");
    assert!(!found[1].contains("EPSG"), "{found:?}");
    assert!(found[2].contains("\"EPSG:4326\"") && found[2].contains("spherical"), "{found:?}");
    assert!(found[3].contains("\"EPSG:3857\""), "{found:?}");
    // A role that may not read the systems gets no CRS, but can still export.
    let role = Role::new(&database);
    database.execute(&format!(
        "REVOKE ALL ON gis.spatial_ref_sys FROM PUBLIC; GRANT USAGE ON SCHEMA gis TO \"{0}\"; \
         GRANT SELECT ON e TO \"{0}\"",
        role.name
    ));
    let found = crs(&source_as(&database, &role.name));
    assert!(found.iter().all(|metadata| !metadata.contains("EPSG")), "{found:?}");
}

/// Arrays of undecoded types are cast to arrays of text. Formerly, that called the function of a user's cast
/// for the element type, on the user's search path: its result arrived instead of the type's text.
#[test]
fn arrays_whose_elements_have_a_cast_of_their_own_are_printed() {
    require!(Capability::Server);
    let database = database(
        "casts",
        "CREATE TYPE words AS (a int4, w tsvector); CREATE TYPE plain AS (a int4, w tsvector); \
         CREATE FUNCTION other(words) RETURNS text LANGUAGE sql AS $$SELECT 'another'$$; \
         CREATE CAST (words AS text) WITH FUNCTION other(words); CREATE DOMAIN of_words AS words; \
         CREATE TABLE e AS SELECT ARRAY[ROW(1, 'b a')::words, NULL] AS own, ARRAY[ROW(1, 'b a')::words]::of_words[] AS under, \
           ARRAY[ROW(1, 'b a')::plain, NULL] AS plain, ROW(1, 'b a')::words AS one",
    );
    let source = source(&database);
    let export = read(source.table("e")).unwrap();
    let batch = &export.batches[0];
    let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!(text("own"), r#"{"(1,\"'a' 'b'\")",NULL}"#);
    assert_eq!(
        (text("under"), text("one")),
        (r#"{"(1,\"'a' 'b'\")"}"#.to_owned(), "(1,\"'a' 'b'\")".to_owned())
    );
    let plain = batch.column_by_name("plain").unwrap().as_list::<i32>().value(0);
    assert_eq!((plain.as_string::<i32>().value(0), plain.is_null(1)), ("(1,\"'a' 'b'\")", true));
    let depth = ExportOptions::default().with_column("own", "words[][]".parse::<ColumnOptions>().unwrap());
    let error = refusal(source.table("e").options(depth));
    assert_error(
        &error,
        ErrorKind::Options,
        None,
        &["column \"own\"", "read as text as a whole, so it cannot have 2"],
    );
}

#[test]
fn types_deeper_than_any_reader_and_wider_than_any_memory() {
    require!(Capability::Server);
    // Composites in composites: each `deep` contains one, each `wide` contains two. The server, too, visits
    // every part.
    let mut sql = String::from("CREATE TYPE deep0 AS (a int4); CREATE TYPE wide0 AS (a int4); ");
    for level in 1..=64 {
        let _ = write!(sql, "CREATE TYPE deep{level} AS (a deep{}); ", level - 1);
    }
    for level in 1..=16 {
        let _ = write!(sql, "CREATE TYPE wide{level} AS (a wide{0}, b wide{0}); ", level - 1);
    }
    sql.push_str("CREATE TABLE legal (v deep63); INSERT INTO legal VALUES (NULL); ");
    for (table, kind) in [("deep", "deep64"), ("wide", "wide16")] {
        let _ = write!(sql, "CREATE TABLE {table} (v {kind}); INSERT INTO {table} VALUES (NULL); ");
    }
    let database = database("depth", &sql);
    let source = source(&database);
    for (table, why) in [("deep", "more than 64 deep"), ("wide", "more than 65536 parts")] {
        let error = refusal(source.table(table));
        assert_error(&error, ErrorKind::Options, None, &[why, "column \"v\"", "column v:text"]);
        let export = read(source.table(table).options(as_text())).unwrap();
        assert_eq!((export.n_rows(), export.schema.field(0).data_type()), (1, &DataType::Utf8));
        // Arrow's own text of the types of a plan is not made of it either.
        assert_eq!(source.table(table).options(as_text()).open().unwrap().plan().warnings(), [""; 0]);
    }
    let export = read(source.table("legal")).unwrap();
    assert!(export.batches[0].column(0).is_null(0));
}
