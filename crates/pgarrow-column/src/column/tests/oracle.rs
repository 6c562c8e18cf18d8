//! Compares our columns with `postgres-protocol`, which shares no code with them, on the same bytes.
//!
//! Our columns are stricter. Bytes that they accept, the other must accept too, with the same result.

use arrow_array::StructArray;
use fallible_iterator::FallibleIterator as _;
use pgarrow_types::ArrayForm;
use postgres_protocol::types as oracle;
use postgres_protocol::types::{Range, RangeBound};
use proptest::prelude::*;

use super::nested::{array, array_of, range, range_of};
use super::*;

const TEXT: u32 = 25;

/// Valid bytes, and almost valid bytes.
fn perhaps_broken(right: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = prop_oneof![
        4 => Just((0, None, 0)),
        3 => (any::<usize>(), (0..8_u8).prop_map(Some), Just(0)),
        1 => (any::<usize>(), Just(None), 1..9_usize),
    ];
    (right, change).prop_map(|(mut wire, (at, bit, n_removed))| {
        let at = at % wire.len().max(1);
        if let (Some(bit), Some(byte)) = (bit, wire.get_mut(at)) {
            *byte ^= 1 << bit;
        }
        wire.drain(at..(at + n_removed).min(wire.len()));
        wire
    })
}

/// The row that our column makes of the value, if it accepts it.
fn ours(pg_type: &PgType, options: &TypeOptions, wire: &[u8]) -> Option<ArrayRef> {
    decode_with(pg_type, options, &[Some(wire.to_vec())]).ok()
}

fn bytes(array: &dyn Array) -> Vec<Option<Vec<u8>>> {
    array.as_binary::<i32>().iter().map(|value| value.map(<[u8]>::to_vec)).collect()
}

fn ints_of(array: &dyn Array) -> Vec<i32> {
    array.as_primitive::<Int32Type>().values().to_vec()
}

fn bits(array: &StructArray) -> Vec<(u64, u64)> {
    let [x, y] = [0, 1].map(|part| array.column(part).as_primitive::<Float64Type>().values().to_vec());
    x.iter().zip(y).map(|(x, y)| (x.to_bits(), y.to_bits())).collect()
}

fn element() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..6))
}

/// Dimensions, and their number of elements.
fn arrays() -> impl Strategy<Value = Vec<u8>> {
    let dimension = (1..4_i32, prop_oneof![Just(1), any::<i32>()]);
    prop::collection::vec(dimension, 0..4).prop_flat_map(|dimensions| {
        let n_elements: i32 = dimensions.iter().map(|(length, _)| length).product();
        let n_elements = if dimensions.is_empty() { 0 } else { n_elements as usize };
        prop::collection::vec(element(), n_elements).prop_map(move |elements| {
            let elements: Vec<Option<&[u8]>> = elements.iter().map(Option::as_deref).collect();
            array(TEXT, &dimensions, &elements)
        })
    })
}

fn ranges() -> impl Strategy<Value = Vec<u8>> {
    let bound = || prop::collection::vec(any::<u8>(), 0..6);
    (0..32_u8, bound(), bound()).prop_map(|(flags, lower, upper)| {
        let of_bounds = [(0x08, &lower), (0x10, &upper)];
        let bounds = of_bounds.iter().filter(|(missing, _)| flags & (missing | 1) == 0);
        range(flags, &bounds.map(|(_, bound)| bound.as_slice()).collect::<Vec<_>>())
    })
}

/// Keys in hstore's order.
fn hstores() -> impl Strategy<Value = Vec<u8>> {
    let text = || prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("é"), Just("\0")], 0..4);
    prop::collection::btree_map(text(), prop::option::of(text()), 0..5).prop_map(|pairs| {
        let mut pairs: Vec<_> =
            pairs.into_iter().map(|(key, value)| (key.concat(), value.map(|value| value.concat()))).collect();
        pairs.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        let mut wire = (pairs.len() as i32).to_be_bytes().to_vec();
        for (key, value) in &pairs {
            wire.extend(nested::framed(Some(key.as_bytes())));
            wire.extend(nested::framed(value.as_ref().map(String::as_bytes)));
        }
        wire
    })
}

fn doubles_of(n: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u64>(), n)
        .prop_map(|bits| bits.iter().flat_map(|b| b.to_be_bytes()).collect())
}

fn paths() -> impl Strategy<Value = Vec<u8>> {
    (0..2_u8, 0..5_i32).prop_flat_map(|(is_closed, n_points)| {
        doubles_of(2 * n_points as usize)
            .prop_map(move |points| [&[is_closed][..], &n_points.to_be_bytes(), &points].concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arrays_have_the_same_elements_and_shape(wire in perhaps_broken(arrays())) {
        let options = TypeOptions { arrays: ArrayForm::Shaped, ..TypeOptions::default() };
        let Some(found) = ours(&array_of(PgType::Bytea, TEXT, 1), &options, &wire) else { return Ok(()) };
        let expected = oracle::array_from_sql(&wire).unwrap();
        let values: Vec<_> = expected.values().map(|value| Ok(value.map(<[u8]>::to_vec))).collect().unwrap();
        let dimensions: Vec<_> = expected.dimensions().collect().unwrap();
        let parts = found.as_struct();
        prop_assert_eq!(bytes(parts.column(0).as_list::<i32>().values()), values);
        let numbers = |part: usize| ints_of(parts.column(part).as_list::<i32>().values());
        prop_assert_eq!(numbers(1), dimensions.iter().map(|d| d.len).collect::<Vec<_>>());
        prop_assert_eq!(numbers(2), dimensions.iter().map(|d| d.lower_bound).collect::<Vec<_>>());
    }

    #[test]
    fn ranges_have_the_same_bounds(wire in perhaps_broken(ranges())) {
        let Some(found) = ours(&range_of(PgType::Bytea), &TypeOptions::default(), &wire) else { return Ok(()) };
        let parts = found.as_struct();
        let flag = |part: usize| parts.column(part).as_boolean().value(0);
        let bound = |bound| match bound {
            RangeBound::Inclusive(value) => (Option::map(value, <[u8]>::to_vec), true),
            RangeBound::Exclusive(value) => (value.map(<[u8]>::to_vec), false),
            RangeBound::Unbounded => (None, false),
        };
        let (lower, upper, is_empty) = match oracle::range_from_sql(&wire).unwrap() {
            Range::Empty => ((None, false), (None, false), true),
            Range::Nonempty(lower, upper) => (bound(lower), bound(upper), false),
        };
        prop_assert_eq!((bytes(parts.column(0)).remove(0), flag(2)), lower);
        prop_assert_eq!((bytes(parts.column(1)).remove(0), flag(3)), upper);
        prop_assert_eq!(flag(4), is_empty);
    }

    #[test]
    fn hstores_have_the_same_pairs(wire in perhaps_broken(hstores())) {
        let Some(found) = ours(&PgType::Hstore, &TypeOptions::default(), &wire) else { return Ok(()) };
        let pairs = found.as_map().value(0);
        let texts = |part: usize| {
            let texts = pairs.column(part).as_string::<i32>();
            texts.iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        let expected: Vec<_> = oracle::hstore_from_sql(&wire).unwrap().collect().unwrap();
        prop_assert_eq!(texts(0), expected.iter().map(|(key, _)| Some((*key).to_owned())).collect::<Vec<_>>());
        prop_assert_eq!(texts(1), expected.iter().map(|(_, value)| value.map(str::to_owned)).collect::<Vec<_>>());
    }

    #[test]
    fn points_and_boxes_have_the_same_coordinates(wire in perhaps_broken(doubles_of(2..5))) {
        if let Some(found) = ours(&PgType::Point, &TypeOptions::default(), &wire) {
            let point = oracle::point_from_sql(&wire).unwrap();
            prop_assert_eq!(bits(found.as_struct()), [(point.x().to_bits(), point.y().to_bits())]);
        }
        if let Some(found) = ours(&PgType::Box, &TypeOptions::default(), &wire) {
            let corners = oracle::box_from_sql(&wire).unwrap();
            for (part, corner) in [corners.upper_right(), corners.lower_left()].into_iter().enumerate() {
                let found = bits(found.as_struct().column(part).as_struct());
                prop_assert_eq!(found, [(corner.x().to_bits(), corner.y().to_bits())]);
            }
        }
    }

    #[test]
    fn paths_have_the_same_points(wire in perhaps_broken(paths())) {
        let Some(found) = ours(&PgType::Path, &TypeOptions::default(), &wire) else { return Ok(()) };
        let expected = oracle::path_from_sql(&wire).unwrap();
        prop_assert_eq!(found.as_struct().column(0).as_boolean().value(0), expected.closed());
        let points = expected.points().map(|point| Ok((point.x().to_bits(), point.y().to_bits())));
        let found = found.as_struct().column(1).as_list::<i32>().values().clone();
        prop_assert_eq!(bits(found.as_struct()), points.collect::<Vec<_>>().unwrap());
    }

    #[test]
    fn versioned_texts_are_the_same(wire in prop_oneof![
        "\u{1}[a-zé.]{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(prop_oneof![Just(1_u8), any::<u8>()], 0..4),
    ]) {
        let found = ours(&PgType::Ltree, &TypeOptions::default(), &wire);
        let found = found.map(|found| found.as_string::<i32>().value(0).to_owned());
        for parse in [oracle::ltree_from_sql, oracle::lquery_from_sql, oracle::ltxtquery_from_sql] {
            prop_assert_eq!(found.as_deref(), parse(&wire).ok());
        }
    }
}

/// All valid values are accepted. Otherwise the tests above would test nothing.
#[test]
fn what_is_right_is_taken() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let shaped = TypeOptions { arrays: ArrayForm::Shaped, ..TypeOptions::default() };
    let is_taken =
        |pg_type: &PgType, options: &TypeOptions, wire: &[u8]| ours(pg_type, options, wire).is_some();
    for _ in 0..200 {
        let mut value = |strategy: BoxedStrategy<Vec<u8>>| {
            use proptest::strategy::ValueTree as _;
            strategy.new_tree(&mut runner).unwrap().current()
        };
        let (an_array, a_range) = (value(arrays().boxed()), value(ranges().boxed()));
        let (an_hstore, a_path) = (value(hstores().boxed()), value(paths().boxed()));
        // PostgreSQL has no lower bound so large that the upper bound overflows.
        let is_overflowing = oracle::array_from_sql(&an_array)
            .unwrap()
            .dimensions()
            .any(|d| Ok(d.lower_bound.checked_add(d.len - 1).is_none()))
            .unwrap();
        assert_eq!(is_taken(&array_of(PgType::Bytea, TEXT, 1), &shaped, &an_array), !is_overflowing);
        let flags = a_range[0];
        let is_legal = matches!(flags, 0 | 1 | 2 | 4 | 6 | 8 | 0x0c | 0x10 | 0x12 | 0x18);
        assert_eq!(
            is_taken(&range_of(PgType::Bytea), &TypeOptions::default(), &a_range),
            is_legal,
            "{flags}"
        );
        assert!(is_taken(&PgType::Hstore, &TypeOptions::default(), &an_hstore));
        assert_eq!(is_taken(&PgType::Path, &TypeOptions::default(), &a_path), a_path.len() > 5);
    }
}
