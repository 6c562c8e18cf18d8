//! pgvector's types, with the bytes of its send functions.

use arrow_array::types::{Float16Type, Float32Type};

use super::*;

/// `[1,-2.5,NaN,-0]`, which pgvector itself would refuse.
const VECTOR: [u8; 20] = [
    0, 4, 0, 0, // four dimensions
    0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0, 0x7f, 0xa0, 0, 1, 0x80, 0, 0, 0,
];
const VECTOR_BITS: [u32; 4] = [0x3f80_0000, 0xc020_0000, 0x7fa0_0001, 0x8000_0000];

/// `[1,-2.5,NaN,-0]` in halves.
const HALFVEC: [u8; 12] = [0, 4, 0, 0, 0x3c, 0, 0xc1, 0, 0x7d, 1, 0x80, 0];
const HALFVEC_BITS: [u16; 4] = [0x3c00, 0xc100, 0x7d01, 0x8000];

/// `{1:1.5,3:2,5:-3}/5`
const SPARSEVEC: [u8; 36] = [
    0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0, // five dimensions, three elements
    0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 4, // the first index is 0
    0x3f, 0xc0, 0, 0, 0x40, 0, 0, 0, 0xc0, 0x40, 0, 0,
];

fn vector(dimensions: Option<u16>) -> PgType {
    PgType::Vector { dimensions }
}

fn bits_of(array: &dyn Array) -> Vec<u32> {
    array.as_primitive::<Float32Type>().values().iter().map(|v| v.to_bits()).collect()
}

#[test]
fn vectors_keep_every_bit() {
    let values = [Some(VECTOR.to_vec()), Some(VECTOR.to_vec())];
    let array = decode(&vector(Some(4)), &values).unwrap();
    assert_eq!(bits_of(&array.as_fixed_size_list().value(1)), VECTOR_BITS);
    let array = decode(&vector(None), &values).unwrap();
    assert_eq!(bits_of(&array.as_list::<i32>().value(1)), VECTOR_BITS);
}

#[test]
fn halfvecs_keep_every_bit() {
    let bits = |array: &dyn Array| -> Vec<u16> {
        array.as_primitive::<Float16Type>().values().iter().map(|v| v.to_bits()).collect()
    };
    let values = [Some(HALFVEC.to_vec()), Some(HALFVEC.to_vec())];
    let array = decode(&PgType::Halfvec { dimensions: Some(4) }, &values).unwrap();
    assert_eq!(bits(&array.as_fixed_size_list().value(1)), HALFVEC_BITS);
    let array = decode(&PgType::Halfvec { dimensions: None }, &values).unwrap();
    assert_eq!(bits(&array.as_list::<i32>().value(1)), HALFVEC_BITS);
}

#[test]
fn vectors_of_any_dimensions_share_a_list() {
    let one = [0, 1, 0, 0, 0x40, 0, 0, 0].to_vec();
    let array = decode(&vector(None), &[Some(VECTOR.to_vec()), None, Some(one)]).unwrap();
    let lengths: Vec<_> = (0..3).map(|row| array.as_list::<i32>().value_length(row)).collect();
    assert_eq!(lengths, [4, 0, 1]);
    assert_eq!(bits_of(&array.as_list::<i32>().value(2)), [0x4000_0000]);
}

#[test]
fn a_vector_of_other_dimensions_than_declared_is_refused() {
    let error = |dimensions| fails(&vector(Some(dimensions)), &VECTOR);
    assert_eq!(error(3), ValueError::Width { expected: 16, found: 20 });
    assert_eq!(error(5), ValueError::Width { expected: 24, found: 20 });
    let error = fails(&PgType::Halfvec { dimensions: Some(16_000) }, &HALFVEC);
    assert_eq!(error, ValueError::Width { expected: 32_004, found: 12 });
}

#[test]
fn malformed_vectors() {
    let of_vector = [vector(None), vector(Some(4))].map(|pg_type| (pg_type, &VECTOR[..]));
    let of_halfvec = [None, Some(4)].map(|dimensions| (PgType::Halfvec { dimensions }, &HALFVEC[..]));
    for (pg_type, good) in of_vector.into_iter().chain(of_halfvec) {
        let malformed = |wire: &[u8]| {
            assert!(matches!(fails(&pg_type, wire), ValueError::Malformed(_)), "{pg_type:?} {wire:?}");
        };
        (0..good.len()).for_each(|end| malformed(&good[..end]));
        malformed(&[good, &[0]].concat());
        malformed(&[0; 4]); // no dimensions
        for (at, byte) in [(0, 0x80), (0, 0xff), (0, 1), (1, 3), (1, 5), (2, 1), (3, 1)] {
            let mut lie = good.to_vec();
            lie[at] = byte;
            malformed(&lie);
        }
    }
}

#[test]
fn a_sparse_vector_has_its_dimensions_indices_and_values() {
    let none = [0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let array = decode(&PgType::Sparsevec, &[Some(SPARSEVEC.to_vec()), None, Some(none)]).unwrap();
    let parts = array.as_struct();
    assert_eq!(parts.column(0).as_primitive::<Int32Type>().values(), &[5, 0, 7]);
    let indices = parts.column(1).as_list::<i32>();
    assert_eq!(indices.value(0).as_primitive::<Int32Type>().values(), &[0, 2, 4]);
    let values = parts.column(2).as_list::<i32>();
    assert_eq!(values.value(0).as_primitive::<Float32Type>().values(), &[1.5, 2.0, -3.0]);
    assert!(indices.value(2).is_empty() && values.value(2).is_empty());
}

#[test]
fn malformed_sparse_vectors() {
    let malformed = |wire: &[u8]| {
        assert!(matches!(fails(&PgType::Sparsevec, wire), ValueError::Malformed(_)), "{wire:?}");
    };
    (0..SPARSEVEC.len()).for_each(|end| malformed(&SPARSEVEC[..end]));
    malformed(&[&SPARSEVEC[..], &[0]].concat());
    malformed(&[&SPARSEVEC[..], &[0; 8]].concat());
    for (at, byte, what) in [
        (3, 0, "no dimensions"),
        (0, 0x80, "negative dimensions"),
        (3, 4, "an index behind them"),
        (7, 2, "too few elements"),
        (7, 4, "too many elements"),
        (4, 0xff, "negative elements"),
        (4, 0x7f, "very many elements"),
        (11, 1, "something unused"),
        (12, 0x80, "a negative index"),
        (19, 0, "an index twice"),
        (15, 3, "indices that descend"),
    ] {
        let mut lie = SPARSEVEC;
        lie[at] = byte;
        assert!(matches!(fails(&PgType::Sparsevec, &lie), ValueError::Malformed(_)), "{what}");
    }
}

/// A NULL has four bytes on the wire and needs the room of a whole vector: a chunk of them would have 16 MB.
#[test]
fn nulls_of_wide_vectors_end_the_chunk() {
    let pg_type = vector(Some(16_000));
    let bytes = (-1_i32).to_be_bytes();
    let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
    assert_eq!(column.null_bytes(), 64_000);
    let error = column.decode(&mut Chunk::new(&bytes, &mut [0; 256]).with_room(200_000)).unwrap_err();
    assert_eq!(error, RowError { row: 3, cause: ValueError::ChunkFull });
    column.truncate(0);
    let mut cursors = [0; 3];
    let mut chunk = Chunk::new(&bytes, &mut cursors).with_room(200_000);
    column.decode(&mut chunk).unwrap();
    assert_eq!(chunk.room(), 8_000);
    assert_eq!((column.expanded_bytes(2), column.bytes()), (128_000, 192_000));
    // The caller must give a chunk of one row all the room there is.
    let error = column.decode(&mut Chunk::new(&bytes, &mut [0]).with_room(0)).unwrap_err();
    assert_eq!(error, RowError { row: 0, cause: ValueError::ChunkFull });
    column.truncate(3);
    column.decode(&mut Chunk::new(&bytes, &mut [0])).unwrap();
    let array = column.finish().unwrap();
    assert_eq!((array.len(), array.null_count()), (4, 4));
    array.to_data().validate_full().unwrap();
}
