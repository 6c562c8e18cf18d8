//! Random values of types that consist of others: encoding and decoding gives the same values.

use std::sync::Arc;

use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, ListArray, MapArray, RecordBatch, StringArray,
    StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};
use pgarrow_encode::ValueError;
use pgarrow_testkit::assert_batches_equal;
use pgarrow_types::{
    ArrayForm, ArrayType, Attribute, CompositeType, PgType, RangeType, TypeOptions, oid, schema,
};
use proptest::prelude::*;

use crate::support::{To, column, decode, encode, targets};

/// Encodes and decodes an array, and its second half: both stay the same.
fn check(pg_type: PgType, options: TypeOptions, array: ArrayRef) {
    let columns = [column(pg_type, options)];
    let schema = Arc::new(schema(&columns, Default::default()));
    let field = schema.field(0).clone();
    let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
    for start in [0, batch.num_rows() / 2] {
        let batch = batch.slice(start, batch.num_rows() - start);
        let stream = encode(&[&field], &targets(&columns), std::slice::from_ref(&batch)).unwrap();
        let batches = [batch].into_iter().filter(|batch| batch.num_rows() > 0).collect::<Vec<_>>();
        assert_batches_equal(&batches, &decode(&columns, &stream));
    }
}

fn rows<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<Option<T>>> {
    prop::collection::vec(prop::option::weighted(0.8, value), 0..16)
}

fn lists() -> impl Strategy<Value = Vec<Option<Vec<Option<i32>>>>> {
    rows(prop::collection::vec(prop::option::weighted(0.8, any::<i32>()), 0..6))
}

fn int_array(dimensions: u8) -> PgType {
    PgType::Array(Arc::new(ArrayType {
        element: PgType::Int4,
        element_oid: oid::INT4,
        dimensions,
        is_vector: false,
    }))
}

fn list_array(items: ArrayRef, lengths: &[usize], nulls: Option<NullBuffer>, nullable: bool) -> ArrayRef {
    let item = Arc::new(Field::new("item", items.data_type().clone(), nullable));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Arc::new(ListArray::new(item, offsets, items, nulls))
}

/// Cuboids: NULL, or lengths of three dimensions.
fn cuboids() -> impl Strategy<Value = Vec<Option<[usize; 3]>>> {
    rows((1..4_usize, 1..4_usize, 1..4_usize).prop_map(|(a, b, c)| [a, b, c]))
}

fn counting(n: usize) -> ArrayRef {
    Arc::new((0..n as i32).map(|i| (i % 5 != 0).then_some(i)).collect::<Int32Array>())
}

fn nulls<T>(rows: &[Option<T>]) -> Option<NullBuffer> {
    Some(rows.iter().map(Option::is_some).collect())
}

type Range = (Option<i32>, Option<i32>, bool, bool, bool);

proptest! {
    #[test]
    fn arrays(rows in lists()) {
        let array: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(rows));
        check(int_array(1), TypeOptions::default(), array);
    }

    #[test]
    fn arrays_of_three_dimensions(cuboids in cuboids()) {
        let [mut outer, mut middle, mut inner] = [const { Vec::new() }; 3];
        for [a, b, c] in cuboids.iter().map(|cuboid| cuboid.unwrap_or_default()) {
            outer.push(a);
            middle.extend(std::iter::repeat_n(b, a));
            inner.extend(std::iter::repeat_n(c, a * b));
        }
        let array = list_array(counting(inner.iter().sum()), &inner, None, true);
        let array = list_array(array, &middle, None, true);
        let array = list_array(array, &outer, nulls(&cuboids), true);
        let options = TypeOptions { arrays: ArrayForm::Nested, ..TypeOptions::default() };
        check(int_array(3), options, array);
    }

    #[test]
    fn arrays_of_any_shape(cuboids in cuboids(), lower in any::<i16>()) {
        let cuboids: Vec<_> = cuboids.iter().map(|cuboid| cuboid.map(|[a, b, c]| match c {
            1 => vec![a],
            2 => vec![a, b],
            _ => vec![],
        })).collect();
        let dimensions: Vec<_> = cuboids.iter().map(|row| row.clone().unwrap_or_default()).collect();
        let n_values: Vec<usize> =
            dimensions.iter().map(|row| if row.is_empty() { 0 } else { row.iter().product() }).collect();
        let depths: Vec<usize> = dimensions.iter().map(Vec::len).collect();
        let numbers: Int32Array = dimensions.iter().flatten().map(|length| *length as i32).collect();
        let bounds = Int32Array::from(vec![i32::from(lower); numbers.len()]);
        let columns = vec![
            list_array(counting(n_values.iter().sum()), &n_values, None, true),
            list_array(Arc::new(numbers), &depths, None, false),
            list_array(Arc::new(bounds), &depths, None, false),
        ];
        let options = TypeOptions { arrays: ArrayForm::Shaped, ..TypeOptions::default() };
        let DataType::Struct(fields) = int_array(1).data_type(&options) else { unreachable!() };
        check(int_array(1), options, Arc::new(StructArray::new(fields, columns, nulls(&cuboids))));
    }

    #[test]
    fn composites_with_arrays_and_ranges(
        rows in rows((lists(), any::<Option<i32>>(), any::<Option<i32>>(), ".{0,3}")),
        flags in prop::collection::vec(any::<(bool, bool, bool)>(), 16),
    ) {
        let range = PgType::Range(Arc::new(RangeType { subtype: PgType::Int4 }));
        let texts = PgType::Text;
        let attribute = |name: &str, pg_type, type_oid| {
            Attribute { name: name.to_owned(), pg_type, type_oid, type_name: name.to_owned() }
        };
        let attributes = vec![
            attribute("list", int_array(1), 1007),
            attribute("range", range, 3904),
            attribute("text", texts, oid::TEXT),
        ];
        let composite = PgType::Composite(Arc::new(CompositeType { attributes }));
        let options = TypeOptions::default();
        let DataType::Struct(fields) = composite.data_type(&options) else { unreachable!() };
        let DataType::Struct(range_fields) = fields[1].data_type().clone() else { unreachable!() };
        let all: Vec<_> = rows.iter().map(|row| row.clone().unwrap_or_default()).collect();
        // All parts of a NULL are NULL, as a decoder makes them.
        let firsts = all.iter().map(|row| row.0.first().cloned().flatten());
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(firsts));
        let ranges = rows.iter().zip(&flags).map(|(row, (lower, upper, empty))| {
            let (from, to) = row.as_ref().filter(|_| !empty).map_or((None, None), |row| (row.1, row.2));
            let is_there = row.is_some();
            (from, to, is_there && from.is_some() && *lower, is_there && to.is_some() && *upper, is_there && *empty)
        });
        let ranges: Vec<_> = ranges.collect();
        let bools = |part: &dyn Fn(&Range) -> bool| -> ArrayRef {
            Arc::new(BooleanArray::from(ranges.iter().map(part).collect::<Vec<_>>()))
        };
        let range_columns: Vec<ArrayRef> = vec![
            Arc::new(ranges.iter().map(|range| range.0).collect::<Int32Array>()),
            Arc::new(ranges.iter().map(|range| range.1).collect::<Int32Array>()),
            bools(&|range| range.2),
            bools(&|range| range.3),
            bools(&|range| range.4),
        ];
        let range: ArrayRef = Arc::new(StructArray::new(range_fields, range_columns, nulls(&rows)));
        let text: ArrayRef =
            Arc::new(rows.iter().map(|row| row.as_ref().map(|row| row.3.replace('\0', ""))).collect::<StringArray>());
        check(composite, options, Arc::new(StructArray::new(fields, vec![list, range, text], nulls(&rows))));
    }

    #[test]
    fn hstores(rows in rows(prop::collection::btree_map("[a-zé]{0,4}", prop::option::of("[^\0]{0,3}"), 0..5))) {
        let options = TypeOptions::default();
        let DataType::Map(entries, _) = PgType::Hstore.data_type(&options) else { unreachable!() };
        let DataType::Struct(fields) = entries.data_type().clone() else { unreachable!() };
        // In the server's order: by length, then by bytes.
        let sorted = rows.iter().map(|row| {
            let mut pairs: Vec<_> = row.iter().flatten().collect();
            pairs.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
            pairs
        });
        let sorted: Vec<_> = sorted.collect();
        let keys: StringArray = sorted.iter().flatten().map(|(key, _)| Some(key.as_str())).collect();
        let values: StringArray = sorted.iter().flatten().map(|(_, value)| value.as_deref()).collect();
        let pairs = StructArray::new(fields, vec![Arc::new(keys), Arc::new(values)], None);
        let offsets = OffsetBuffer::from_lengths(sorted.iter().map(Vec::len));
        let array: ArrayRef = Arc::new(MapArray::new(entries, offsets, pairs, nulls(&rows), false));
        check(PgType::Hstore, options, array);
    }

    #[test]
    fn points_and_vectors(rows in rows(any::<(u64, u64)>()), vectors in rows(prop::collection::vec(any::<f32>(), 1..5))) {
        let DataType::Struct(fields) = PgType::Point.data_type(&TypeOptions::default()) else { unreachable!() };
        let column = |part: &dyn Fn(&(u64, u64)) -> u64| -> ArrayRef {
            let doubles = rows.iter().map(|row| row.as_ref().map_or(0.0, |row| f64::from_bits(part(row))));
            Arc::new(Float64Array::from(doubles.collect::<Vec<_>>()))
        };
        let points = StructArray::new(fields, vec![column(&|row| row.0), column(&|row| row.1)], nulls(&rows));
        check(PgType::Point, TypeOptions::default(), Arc::new(points));
        let lists = vectors.iter().map(|row| row.as_ref().map(|row| row.iter().copied().map(Some)));
        let lists = ListArray::from_iter_primitive::<Float32Type, _, _>(lists);
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let (_, offsets, values, nulls) = lists.into_parts();
        let array: ArrayRef = Arc::new(ListArray::new(item, offsets, values, nulls));
        check(PgType::Vector { dimensions: None }, TypeOptions::default(), array);
    }

    /// Any bytes are WKB or an error. The written bytes are read as the same geometry.
    #[test]
    fn bytes_that_may_be_wkb(index in 0..26_usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (srid, ewkb, iso) = crate::nested_shapes::geometries().swap_remove(index);
        let geometry = pgarrow_types::GeometryType { srid, crs: None, is_geography: false };
        let to = To::new(PgType::Geometry(Arc::new(geometry))).check();
        for mut wkb in [ewkb, iso] {
            let at = at.index(wkb.len());
            wkb[at] = byte;
            let values = |wkb: &[u8]| {
                let array: ArrayRef = Arc::new(arrow_array::BinaryArray::from(vec![wkb]));
                to.values(&array).remove(0)
            };
            match values(&wkb) {
                Ok(Some(written)) => prop_assert_eq!(values(&written), Ok(Some(written.clone()))),
                Ok(None) => prop_assert!(false, "a value became NULL"),
                Err(error) => prop_assert!(matches!(error, ValueError::Invalid(_) | ValueError::Srid)),
            }
        }
    }
}
