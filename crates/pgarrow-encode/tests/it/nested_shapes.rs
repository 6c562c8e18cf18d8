//! Geometric types, vectors of pgvector, geometries of PostGIS, and bytes that go undecoded.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeListArray, Float64Array,
    Int32Array, LargeBinaryArray, ListArray, RecordBatch, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields, Schema};
use pgarrow_encode::{Conversions, Refusal, RefusalKind, RowEncoder, ValueError, make_encoder};
use pgarrow_types::{GeometryType, PgType};

use crate::support::To;

fn structs(columns: Vec<(&str, ArrayRef)>, nulls: Option<NullBuffer>) -> StructArray {
    let fields: Fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    StructArray::new(fields, columns.into_iter().map(|(_, array)| array).collect(), nulls)
}

fn doubles(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn wire(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

#[test]
fn points_and_what_is_made_of_two() {
    let nan = f64::from_bits(0x7ff8_0000_0000_0123);
    let xs = doubles(&[Some(1.5), Some(nan), None, Some(-0.0)]);
    let ys = doubles(&[Some(2.0), Some(f64::INFINITY), Some(1.0), None]);
    // The order of the fields does not matter.
    let array: ArrayRef = Arc::new(structs(vec![("y", Arc::clone(&ys)), ("x", Arc::clone(&xs))], None));
    let expected = [
        Ok(Some(wire(&[1.5, 2.0]))),
        Ok(Some([0x7ff8_0000_0000_0123_u64.to_be_bytes(), f64::INFINITY.to_be_bytes()].concat())),
        Err(ValueError::NullPart),
        Err(ValueError::NullPart),
    ];
    let point = To::new(PgType::Point);
    assert_eq!(point.values(&array), expected);
    assert_eq!(point.values(&array.slice(1, 3)), expected[1..]);
    let nulls = Some(NullBuffer::from(vec![true, false, false, false]));
    let corner: ArrayRef = Arc::new(structs(vec![("x", xs), ("y", ys)], nulls));
    assert_eq!(point.values(&corner)[2], Ok(None));
    // A corner that is NULL, whatever values are behind it.
    let boxes: ArrayRef =
        Arc::new(structs(vec![("low", Arc::clone(&corner)), ("high", Arc::clone(&corner))], None));
    let found = To::new(PgType::Box).values(&boxes);
    assert_eq!(found[0], Ok(Some(wire(&[1.5, 2.0, 1.5, 2.0]))));
    assert_eq!(found[1], Err(ValueError::NullPart));
    assert_eq!(To::new(PgType::Lseg).refusal(boxes.data_type()).unwrap().kind, RefusalKind::Mismatch);
    let circle: ArrayRef = Arc::new(structs(
        vec![("center", Arc::clone(&corner)), ("radius", doubles(&[Some(3.0), None, None, None]))],
        None,
    ));
    assert_eq!(To::new(PgType::Circle).values(&circle)[0], Ok(Some(wire(&[1.5, 2.0, 3.0]))));
    assert_eq!(
        To::new(PgType::Line).refusal(point_type()),
        mismatch_of(&To::new(PgType::Line), point_type())
    );
    let three = structs(vec![("x", doubles(&[])), ("y", doubles(&[])), ("z", doubles(&[]))], None);
    assert_eq!(point.refusal(three.data_type()).unwrap().kind, RefusalKind::Mismatch);
}

/// `box_recv` swaps corners that are out of order: (0, 4), (3, 1) once became (3, 4), (0, 1).
#[test]
fn corners_of_boxes_keep_their_places() {
    let nan = f64::NAN;
    let columns = [
        ("high", [[0.0, 3.0, 3.0, nan, 1.0, 1.0], [4.0, 0.0, 4.0, 1.0, nan, 1.0]]),
        ("low", [[3.0, 0.0, 0.0, 1.0, nan, 1.0], [1.0, 4.0, 1.0, nan, 1.0, 1.0]]),
    ];
    let corners = columns.map(|(name, [xs, ys])| {
        let column = |values: [f64; 6]| doubles(&values.map(Some));
        (name, Arc::new(structs(vec![("x", column(xs)), ("y", column(ys))], None)) as ArrayRef)
    });
    let array: ArrayRef = Arc::new(structs(corners.to_vec(), None));
    let found = To::new(PgType::Box).values(&array);
    let is_kept: Vec<bool> = found.iter().map(Result::is_ok).collect();
    assert_eq!(is_kept, [false, false, true, false, false, true]);
    assert_eq!(found[2], Ok(Some(wire(&[3.0, 4.0, 0.0, 1.0]))));
    assert!(matches!(found[0], Err(ValueError::Invalid(_))));
}

fn point_type() -> &'static DataType {
    static POINT: std::sync::LazyLock<DataType> = std::sync::LazyLock::new(|| {
        DataType::Struct(["x", "y"].map(|name| Field::new(name, DataType::Float64, true)).to_vec().into())
    });
    &POINT
}

fn mismatch_of(to: &To, data_type: &DataType) -> Option<Refusal> {
    to.refusal(data_type).filter(|refusal| refusal.kind == RefusalKind::Mismatch)
}

#[test]
fn polygons_and_paths() {
    let points = structs(
        vec![
            ("x", doubles(&[Some(1.0), Some(2.0), Some(3.0), None])),
            ("y", doubles(&[Some(-1.0), Some(-2.0), Some(-3.0), Some(0.0)])),
        ],
        Some(NullBuffer::from(vec![true, true, false, true])),
    );
    let item = Arc::new(Field::new("item", points.data_type().clone(), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 3, 4]));
    let lists = ListArray::new(item, offsets, Arc::new(points), None);
    let array: ArrayRef = Arc::new(lists.clone());
    let two = [vec![0, 0, 0, 2], wire(&[1.0, -1.0, 2.0, -2.0])].concat();
    let none = ValueError::Invalid("a polygon or path without points");
    let expected = [Ok(Some(two.clone())), Err(none), Err(ValueError::NullPart), Err(ValueError::NullPart)];
    assert_eq!(To::new(PgType::Polygon).values(&array), expected);
    let closed: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(false), None]));
    let paths: ArrayRef = Arc::new(structs(vec![("points", array), ("closed", closed)], None));
    let found = To::new(PgType::Path).values(&paths);
    assert_eq!(found[0], Ok(Some([vec![1], two].concat())));
    assert_eq!(found[1..], expected[1..]);
    assert_eq!(To::new(PgType::Path).values(&paths.slice(1, 2)), expected[1..3]);
    let no_list = structs(vec![("points", doubles(&[])), ("closed", doubles(&[]))], None);
    assert!(mismatch_of(&To::new(PgType::Path), no_list.data_type()).is_some());
}

fn list<T: ArrowPrimitiveType>(rows: Vec<Option<Vec<Option<T::Native>>>>) -> ArrayRef {
    Arc::new(ListArray::from_iter_primitive::<T, _, _>(rows))
}

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

#[test]
fn vectors_have_the_dimensions_of_their_column() {
    let array = list::<Float32Type>(vec![
        Some(vec![Some(1.0), Some(-0.0)]),
        None,
        Some(vec![Some(1.0)]),
        Some(vec![]),
        Some(vec![Some(1.0), None]),
        Some(vec![Some(0.0); 40_000]),
    ]);
    let of_any = To::new(PgType::Vector { dimensions: None }).values(&array);
    assert_eq!(of_any[0], Ok(Some(vec![0, 2, 0, 0, 0x3f, 0x80, 0, 0, 0x80, 0, 0, 0])));
    assert_eq!(of_any[1], Ok(None));
    assert_eq!(of_any[2], Ok(Some(vec![0, 1, 0, 0, 0x3f, 0x80, 0, 0])));
    assert!(matches!(of_any[3], Err(ValueError::Invalid(_))));
    assert_eq!(of_any[4], Err(ValueError::NullPart));
    assert!(matches!(of_any[5], Err(ValueError::Invalid(_))));
    let of_two = To::new(PgType::Vector { dimensions: Some(2) });
    assert_eq!(of_two.values(&array)[0], of_any[0]);
    assert!(matches!(of_two.values(&array)[2], Err(ValueError::Invalid(_))));
    // Lists of a fixed size are checked when the load is planned. The values behind a NULL do not matter.
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let fixed = |size| DataType::FixedSizeList(Arc::clone(&item), size);
    assert_eq!(of_two.refusal(&fixed(3)).unwrap().kind, RefusalKind::Mismatch);
    let items = Arc::new(arrow_array::Float32Array::from(vec![None, None, Some(1.0), Some(-0.0)]));
    let nulls = Some(NullBuffer::from(vec![false, true]));
    let array: ArrayRef = Arc::new(FixedSizeListArray::new(item, 2, items, nulls));
    assert_eq!(of_two.values(&array), [Ok(None), of_any[0].clone()]);
    assert_eq!(of_two.values(&array.slice(1, 1)), of_any[..1]);
}

#[test]
fn vectors_of_other_floats() {
    let vector = || To::new(PgType::Vector { dimensions: None });
    let halfvec = || To::new(PgType::Halfvec { dimensions: None });
    let wide = list::<Float64Type>(vec![
        Some(vec![Some(0.5)]),
        Some(vec![Some(0.1)]),
        Some(vec![Some(1e300)]),
        Some(vec![Some(1e-300)]),
    ]);
    for to in [vector(), halfvec()] {
        assert_eq!(to.refusal(wide.data_type()).unwrap().kind, RefusalKind::NeedsCheck);
    }
    let tenth = |bits: &[u8]| Ok(Some([&[0, 1, 0, 0], bits].concat()));
    let half = tenth(&0.5_f32.to_be_bytes());
    let lost = || Err(ValueError::LostDigits);
    let outside = || Err(ValueError::OutOfRange);
    assert_eq!(vector().check().values(&wide), [half.clone(), lost(), outside(), lost()]);
    let rounded = [half.clone(), tenth(&0.1_f32.to_be_bytes()), outside(), tenth(&[0; 4])];
    assert_eq!(vector().round().values(&wide), rounded);
    // As IEEE 754 rounds: 0.1 is 0x2e66, 65504 the largest.
    let rounded = [tenth(&[0x38, 0]), tenth(&[0x2e, 0x66]), outside(), tenth(&[0, 0])];
    assert_eq!(halfvec().round().values(&wide), rounded);
    assert_eq!(halfvec().check().values(&wide)[..3], [tenth(&[0x38, 0]), lost(), outside()]);
    let single = list::<Float32Type>(vec![Some(vec![Some(65_504.0)]), Some(vec![Some(65_536.0)])]);
    assert_eq!(halfvec().round().values(&single), [tenth(&[0x7b, 0xff]), outside()]);
    let narrow = list::<Float16Type>(vec![Some(vec![Some(F16::from_f32(0.5))])]);
    assert_eq!(vector().values(&narrow), [half]);
    assert_eq!(halfvec().values(&narrow), [tenth(&[0x38, 0])]);
    let ints = list::<arrow_array::types::Int32Type>(vec![]);
    assert_eq!(vector().check().refusal(ints.data_type()).unwrap().kind, RefusalKind::Mismatch);
}

#[test]
fn sparse_vectors() {
    let ints = list::<arrow_array::types::Int32Type>(vec![
        Some(vec![Some(0), Some(4)]),
        Some(vec![]),
        Some(vec![Some(5)]),
        Some(vec![Some(1), Some(1)]),
        Some(vec![Some(-1)]),
        Some(vec![Some(1)]),
        Some(vec![None]),
        None,
        Some(vec![]),
    ]);
    let row = |n: usize| Some(vec![Some(1.0_f32); n]);
    let floats =
        list::<Float32Type>(vec![row(2), row(0), row(1), row(2), row(1), row(2), row(1), row(0), None]);
    let dimensions: ArrayRef = Arc::new(Int32Array::from(vec![5; 9]));
    let array: ArrayRef = Arc::new(structs(
        vec![("dimensions", Arc::clone(&dimensions)), ("indices", ints), ("values", floats)],
        None,
    ));
    let found = To::new(PgType::Sparsevec).values(&array);
    let one = 1.0_f32.to_be_bytes();
    let header = [5_i32, 2, 0, 0, 4].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    assert_eq!(found[0], Ok(Some([header, one.to_vec(), one.to_vec()].concat())));
    assert_eq!(found[1], Ok(Some(vec![0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0])));
    for wrong in &found[2..6] {
        assert!(matches!(wrong, Err(ValueError::Invalid(_))), "{wrong:?}");
    }
    assert_eq!(found[6..], [const { Err(ValueError::NullPart) }; 3]);
    // The column declares the number of dimensions.
    assert_eq!(To::new(PgType::Sparsevec).modifier(5).values(&array)[0], found[0]);
    assert!(matches!(To::new(PgType::Sparsevec).modifier(6).values(&array)[0], Err(ValueError::Invalid(_))));
}

/// Geometries as PostGIS 3.3 sent them, and the results of its `ST_AsBinary`: WKT, EWKB, ISO WKB.
const GEOMETRIES: &str = include_str!("../../../pgarrow-column/src/column/tests/geometries.txt");

fn unhex(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// SRID, EWKB, ISO WKB.
pub(crate) fn geometries() -> Vec<(i32, Vec<u8>, Vec<u8>)> {
    let geometry = |line: &str| {
        let [wkt, ewkb, iso] = line.split('|').collect::<Vec<_>>().try_into().unwrap();
        let srid = wkt.strip_prefix("SRID=").map_or(0, |rest| rest[..4].parse().unwrap());
        (srid, unhex(ewkb), unhex(iso))
    };
    GEOMETRIES.lines().map(geometry).collect()
}

fn geometry(srid: i32, is_geography: bool) -> To {
    let crs = (srid != 0).then(|| format!("EPSG:{srid}"));
    To::new(PgType::Geometry(Arc::new(GeometryType { srid, crs, is_geography })))
}

fn binary(value: &[u8]) -> ArrayRef {
    Arc::new(BinaryArray::from(vec![value]))
}

fn written(to: &To, value: &[u8]) -> Result<Vec<u8>, ValueError> {
    let mut values = to.clone().check().values(&binary(value));
    values.remove(0).map(|value| value.expect("a value"))
}

#[test]
fn every_kind_of_geometry_in_both_dialects() {
    let geometries = geometries();
    assert_eq!(geometries.len(), 26);
    for (srid, ewkb, iso) in geometries {
        // PostGIS sends no SRID if it is unknown.
        assert_eq!(written(&geometry(srid, false), &iso).unwrap(), ewkb);
        assert_eq!(written(&geometry(srid, false), &ewkb).unwrap(), ewkb);
        assert_eq!(written(&geometry(0, false), &ewkb).unwrap(), ewkb);
        if srid != 0 {
            assert_eq!(written(&geometry(srid + 1, false), &ewkb), Err(ValueError::Srid));
        }
        let arrays: [ArrayRef; 3] = [
            Arc::new(LargeBinaryArray::from(vec![iso.as_slice()])),
            Arc::new(BinaryViewArray::from(vec![iso.as_slice()])),
            binary(&iso),
        ];
        for array in arrays {
            assert_eq!(geometry(srid, false).check().values(&array), [Ok(Some(ewkb.clone()))]);
        }
    }
}

/// PostGIS moves points that are not on the globe, and reports it only in a NOTICE.
#[test]
fn points_of_a_geography_are_on_the_globe() {
    let point = |order: u8, x: f64, y: f64| {
        let double = |value: f64| if order == 0 { value.to_be_bytes() } else { value.to_le_bytes() };
        let geometry_type = if order == 0 { 1_u32.to_be_bytes() } else { 1_u32.to_le_bytes() };
        [&[order][..], &geometry_type, &double(x), &double(y)].concat()
    };
    let (geography, flat) = (geometry(4326, true), geometry(4326, false));
    for order in [0, 1] {
        for (x, y) in [(180.0, -90.0), (-180.0, 90.0), (f64::NAN, f64::NAN), (0.0, 0.0)] {
            assert!(written(&geography, &point(order, x, y)).is_ok(), "{x} {y}");
        }
        for (x, y) in [(190.0, 95.0), (180.000_000_000_01, 0.0), (0.0, -90.1), (f64::INFINITY, 0.0)] {
            let wkb = point(order, x, y);
            assert!(matches!(written(&geography, &wkb), Err(ValueError::Invalid(_))), "{x} {y}");
            assert!(written(&flat, &wkb).is_ok(), "{x} {y}");
            // In a collection of the other byte order, behind a point that is on the globe.
            let count = if order == 0 { 2_u32.to_le_bytes() } else { 2_u32.to_be_bytes() };
            let collection = if order == 0 { 7_u32.to_le_bytes() } else { 7_u32.to_be_bytes() };
            let all = [&[1 - order][..], &collection, &count, &point(order, 1.0, 2.0), &wkb].concat();
            assert!(matches!(written(&geography, &all), Err(ValueError::Invalid(_))), "{x} {y}");
            assert!(written(&flat, &all).is_ok(), "{x} {y}");
        }
    }
    // In lines, with a third coordinate that is no latitude.
    let line = |x: f64| {
        let double = |value: f64| value.to_le_bytes();
        [&[1][..], &1_002_u32.to_le_bytes(), &2_u32.to_le_bytes()]
            .into_iter()
            .map(<[u8]>::to_vec)
            .chain([0.0, 1.0, 5_000.0, x, 1.0, 5_000.0].map(|value| double(value).to_vec()))
            .flatten()
            .collect::<Vec<u8>>()
    };
    assert!(written(&geography, &line(179.0)).is_ok());
    assert!(matches!(written(&geography, &line(181.0)), Err(ValueError::Invalid(_))));
}

#[test]
fn malformed_wkb() {
    for (srid, ewkb, iso) in geometries() {
        let to = geometry(srid, false);
        for good in [ewkb, iso] {
            let invalid = |wkb: &[u8]| {
                let found = written(&to, wkb);
                assert!(
                    matches!(found, Err(ValueError::Invalid(_) | ValueError::Srid)),
                    "{wkb:?}: {found:?}"
                );
            };
            (0..good.len()).for_each(|end| invalid(&good[..end]));
            invalid(&[&good[..], &[0]].concat());
            invalid(&[&[2], &good[1..]].concat());
            // Little-endian, as PostGIS sends it: unknown types, and 4000 above known ones.
            for unknown in [[0, 0], [13, 0], [14, 0], [18, 0], [0xa1, 0x0f]] {
                invalid(&[&good[..1], &unknown, &good[3..]].concat());
            }
        }
    }
    // Counts without their bytes, for each kind that has a count.
    for with_count in [2, 3, 4, 7, 8, 9, 12, 15, 16, 17] {
        for count in [1, 2, 0x1000_0000, u32::MAX] {
            let lie = [&[0, 0, 0, 0, with_count], &count.to_be_bytes()[..], &[0; 3]].concat();
            assert!(matches!(written(&geometry(0, false), &lie), Err(ValueError::Invalid(_))));
        }
    }
    let collections = |depth: usize| {
        [[0, 0, 0, 0, 7, 0, 0, 0, 1].repeat(depth - 1), vec![0, 0, 0, 0, 7, 0, 0, 0, 0]].concat()
    };
    assert_eq!(written(&geometry(0, false), &collections(64)).unwrap(), collections(64));
    for depth in [65, 1_000_000] {
        assert!(matches!(written(&geometry(0, false), &collections(depth)), Err(ValueError::Invalid(_))));
    }
    // An inner SRID that differs from the outer one.
    let point = |srid: u32| [&[0, 0x20, 0, 0, 1][..], &srid.to_be_bytes(), &[0; 16]].concat();
    let outer = [&[0, 0x20, 0, 0, 7, 0, 0, 0x10, 0xe6, 0, 0, 0, 1][..]].concat();
    assert_eq!(
        written(&geometry(4326, false), &[outer.clone(), point(4327)].concat()),
        Err(ValueError::Srid)
    );
    let bare = [&[0, 0, 0, 0, 1][..], &[0; 16]].concat();
    let same = written(&geometry(4326, false), &[outer.clone(), point(4326)].concat());
    assert_eq!(same.unwrap(), [outer, bare].concat());
}

/// The coordinate system of the field, and that of the column.
#[test]
fn reference_systems_that_agree_and_that_do_not() {
    let srid_of = |extension: Option<&str>, to: &To, conversions: Conversions| {
        let mut metadata = HashMap::new();
        if let Some(parameters) = extension {
            metadata.insert("ARROW:extension:name".to_owned(), "geoarrow.wkb".to_owned());
            metadata.insert("ARROW:extension:metadata".to_owned(), parameters.to_owned());
        }
        let field = Field::new("g", DataType::Binary, true).with_metadata(metadata);
        let target = pgarrow_encode::TypeTarget { conversions, ..to.target() };
        let encoder = make_encoder(&field, target).map_err(|refusal| refusal.kind)?;
        let rows = RowEncoder::new(vec![(0, encoder)]).unwrap();
        let point = [&[0, 0, 0, 0, 1][..], &[0; 16]].concat();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![binary(&point)]).unwrap();
        let mut out = Vec::new();
        rows.bind(&batch).unwrap().write_value(0, 0, &mut out).unwrap();
        Ok(match out[5] & 0x20 {
            0 => 0,
            _ => i32::from_be_bytes(out[9..13].try_into().unwrap()),
        })
    };
    let (unknown, of_4326, of_3857) = (geometry(0, false), geometry(4326, false), geometry(3857, false));
    let globe = geometry(0, true);
    let (widen, check) = (Conversions::Widen, Conversions::Check);
    let (mismatch, needs_check) = (Err(RefusalKind::Mismatch), Err(RefusalKind::NeedsCheck));
    let projjson = r#"{"crs":{"type":"GeographicCRS","id":{"authority":"EPSG","code":4326}}}"#;
    let quoted = r#"{"crs":"{\"id\":{\"authority\":\"EPSG\",\"code\":\"4326\"}}"}"#;
    for (extension, to, conversions, expected) in [
        (None, &of_4326, widen, needs_check),
        (None, &of_4326, check, Ok(4326)),
        (Some("{}"), &of_4326, widen, Ok(4326)),
        (Some(""), &unknown, widen, Ok(0)),
        (Some(r#"{"crs":"EPSG:4326"}"#), &of_4326, widen, Ok(4326)),
        (Some(r#"{"crs":"epsg:4326"}"#), &unknown, widen, Ok(4326)),
        (Some(r#"{"crs":"EPSG:4326"}"#), &of_3857, check, mismatch),
        (Some(r#"{"crs":"OGC:CRS84"}"#), &of_4326, widen, Ok(4326)),
        (Some(r#"{"crs":"OGC:CRS84"}"#), &of_3857, check, mismatch),
        (Some(projjson), &of_4326, widen, Ok(4326)),
        (Some(projjson), &of_3857, widen, mismatch),
        (Some(quoted), &unknown, widen, Ok(4326)),
        (Some(r#"{"crs":"ESRI:102100"}"#), &of_3857, widen, needs_check),
        (Some(r#"{"crs":"ESRI:102100"}"#), &of_3857, check, Ok(3857)),
        (Some(r#"{"crs":"PROJCS[...]"}"#), &unknown, widen, needs_check),
        (Some(r#"{"crs":"PROJCS[...]"}"#), &unknown, check, Ok(0)),
        (Some(r#"{"edges":"spherical"}"#), &globe, widen, Ok(4326)),
        (Some(r#"{"edges":"spherical"}"#), &of_4326, widen, needs_check),
        (Some(r#"{"edges":"spherical"}"#), &of_4326, check, Ok(4326)),
        (Some("{}"), &globe, widen, needs_check),
        (Some(r#"{"edges":"spherical","crs":"EPSG:4269"}"#), &globe, check, mismatch),
    ] {
        assert_eq!(srid_of(extension, to, conversions), expected, "{extension:?} to {to:?}, {conversions:?}");
    }
    // A number of PostGIS's own, with its name in PostGIS.
    let own = GeometryType { srid: 900_913, crs: Some("ESRI:102100".to_owned()), is_geography: false };
    let own = To::new(PgType::Geometry(Arc::new(own)));
    assert_eq!(srid_of(Some(r#"{"crs":"ESRI:102100"}"#), &own, widen), Ok(900_913));
}
