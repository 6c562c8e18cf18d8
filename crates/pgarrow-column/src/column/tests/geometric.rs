//! Geometric types and tid.

use arrow_array::StructArray;
use arrow_array::types::UInt16Type;

use super::*;

/// Doubles with bits that could get lost.
fn doubles() -> [f64; 8] {
    let signalling = f64::from_bits(0x7ff0_0000_0000_0001);
    [1.5, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, signalling, f64::MIN_POSITIVE, 5e-324]
}

fn wire_of(doubles: &[f64]) -> Vec<u8> {
    doubles.iter().flat_map(|double| double.to_be_bytes()).collect()
}

/// The bits of all doubles of an array, structs by column.
fn bits_of(array: &dyn Array) -> Vec<Vec<u64>> {
    match array.data_type() {
        DataType::Struct(_) => array.as_struct().columns().iter().flat_map(|part| bits_of(part)).collect(),
        _ => vec![array.as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect()],
    }
}

#[test]
fn types_of_doubles_keep_every_bit_in_their_order() {
    let types =
        [(PgType::Point, 2), (PgType::Line, 3), (PgType::Lseg, 4), (PgType::Box, 4), (PgType::Circle, 3)];
    for (pg_type, n) in types {
        let rows: Vec<Vec<f64>> =
            (0..8).map(|row| (0..n).map(|i| doubles()[(row + i) % 8]).collect()).collect();
        let values: Vec<Wire> = rows.iter().map(|row| Some(wire_of(row))).collect();
        let array = decode(&pg_type, &values).unwrap();
        let expected: Vec<Vec<u64>> =
            (0..n).map(|i| rows.iter().map(|row| row[i].to_bits()).collect()).collect();
        assert_eq!(bits_of(&array), expected, "{pg_type:?}");
        let good = values[0].as_deref().unwrap();
        for end in 0..good.len() {
            let error = ValueError::Width { expected: 8 * n, found: end };
            assert_eq!(fails(&pg_type, &good[..end]), error);
        }
        let error = ValueError::Width { expected: 8 * n, found: 8 * n + 1 };
        assert_eq!(fails(&pg_type, &[good, &[0]].concat()), error);
    }
}

#[test]
fn parts_have_names() {
    let names = |array: &StructArray| array.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    let array = decode(&PgType::Box, &[Some(wire_of(&[3.0, 4.0, 1.0, 2.0]))]).unwrap();
    assert_eq!(names(array.as_struct()), ["high", "low"]);
    let high = array.as_struct().column_by_name("high").unwrap();
    assert_eq!(names(high.as_struct()), ["x", "y"]);
    assert_eq!(bits_of(high), [[3.0_f64.to_bits()], [4.0_f64.to_bits()]]);
    let array = decode(&PgType::Circle, &[Some(wire_of(&[1.0, 2.0, 5.0]))]).unwrap();
    assert_eq!(names(array.as_struct()), ["center", "radius"]);
    assert_eq!(bits_of(array.as_struct().column(1)), [[5.0_f64.to_bits()]]);
}

fn polygon(n_points: i32, points: &[f64]) -> Vec<u8> {
    [&n_points.to_be_bytes()[..], &wire_of(points)].concat()
}

#[test]
fn polygons_are_lists_of_points() {
    let square = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, -0.0];
    let values = [Some(polygon(4, &square)), None, Some(polygon(1, &[f64::NAN, 7.0]))];
    let array = decode(&PgType::Polygon, &values).unwrap();
    let list = array.as_list::<i32>();
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits_of(&list.value(0)), [bits(&[0.0, 0.0, 1.0, 1.0]), bits(&[0.0, 1.0, 1.0, -0.0])]);
    assert!(list.is_null(1) && list.value(1).is_empty());
    assert_eq!(bits_of(&list.value(2)), [bits(&[f64::NAN]), bits(&[7.0])]);
}

#[test]
fn paths_say_whether_they_are_closed() {
    let path = |is_closed: u8, points: &[f64]| {
        Some([&[is_closed][..], &polygon(points.len() as i32 / 2, points)].concat())
    };
    let values = [path(1, &[1.0, 2.0, 3.0, 4.0]), None, path(0, &[5.0, 6.0])];
    let array = decode(&PgType::Path, &values).unwrap();
    let closed: Vec<_> = array.as_struct().column(0).as_boolean().iter().flatten().collect();
    assert_eq!(closed, [true, false, false]);
    let points = array.as_struct().column(1).as_list::<i32>();
    assert_eq!(points.value(0).len(), 2);
    assert_eq!(bits_of(&points.value(2)), [[5.0_f64.to_bits()], [6.0_f64.to_bits()]]);
    for is_closed in 2..=255 {
        let value = path(is_closed, &[5.0, 6.0]).unwrap();
        assert!(matches!(fails(&PgType::Path, &value), ValueError::Malformed(_)));
    }
}

#[test]
fn numbers_of_points_that_lie() {
    for (pg_type, before) in [(PgType::Polygon, &[][..]), (PgType::Path, &[1])] {
        let good = [before, &polygon(3, &[0.0; 6])].concat();
        decode(&pg_type, &[Some(good.clone())]).unwrap();
        for end in 0..good.len() {
            assert!(matches!(fails(&pg_type, &good[..end]), ValueError::Malformed(_)), "{pg_type:?} {end}");
        }
        assert!(matches!(fails(&pg_type, &[&good[..], &[0]].concat()), ValueError::Malformed(_)));
        for n_points in [0, 2, 4, -1, i32::MIN, i32::MAX, i32::MAX / 16, 0x1000_0003] {
            let lie = [before, &polygon(n_points, &[0.0; 6])].concat();
            assert!(matches!(fails(&pg_type, &lie), ValueError::Malformed(_)), "{pg_type:?} {n_points}");
        }
        let none = [before, &polygon(0, &[])].concat();
        assert!(matches!(fails(&pg_type, &none), ValueError::Malformed(_)));
    }
}

#[test]
fn tids_of_the_last_block_are_positive() {
    let values = [[0xff; 6], [0, 0, 0, 1, 0, 2]].map(|wire| Some(wire.to_vec()));
    let array = decode(&PgType::Tid, &values).unwrap();
    assert_eq!(array.as_struct().column(0).as_primitive::<UInt32Type>().values(), &[u32::MAX, 1]);
    assert_eq!(array.as_struct().column(1).as_primitive::<UInt16Type>().values(), &[u16::MAX, 2]);
    for found in [0, 1, 2, 3, 4, 5, 7, 12] {
        assert_eq!(fails(&PgType::Tid, &vec![0; found]), ValueError::Width { expected: 6, found });
    }
}
