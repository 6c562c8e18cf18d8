//! Texts: UTF-8 at every boundary, and room that is foreseen by the last chunk.

use proptest::prelude::*;

use super::*;
use crate::stored::{STORED_NULL, StoredChunk};

/// Sequences that are not UTF-8, and where they can be cut into parts that are not UTF-8 by themselves.
const BAD: [&[u8]; 9] = [
    b"\xc3",
    b"\xa9",
    b"\xe2\x82",
    b"\xf0\x9f\xa6",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xff",
    b"ok\xfe",
];

#[test]
fn a_bad_sequence_is_found_in_every_row_and_chunk() {
    for bad in BAD {
        for n_before in [0, 1, 15, 16, 17, 31, 63, 64, 65, 300] {
            for bad_row in 0..7 {
                let text = |row: usize| match row == bad_row {
                    true => Some([&vec![b'x'; n_before], bad].concat()),
                    false if row.is_multiple_of(3) => None,
                    false => Some("grün ".repeat(row).into_bytes()),
                };
                let values: Vec<Wire> = (0..7).map(text).collect();
                for chunk_rows in [1, 2, 3, 7] {
                    let error =
                        decode_in_chunks(&PgType::Text, &TypeOptions::default(), &values, chunk_rows, 0);
                    let expected = RowError { row: bad_row, cause: ValueError::Utf8 };
                    assert_eq!(error.unwrap_err(), expected, "{bad:?} {n_before} {chunk_rows}");
                }
            }
        }
    }
}

/// The halves of a character in neighbouring rows, which may be in one chunk or in two.
#[test]
fn a_character_cut_at_every_place_is_found() {
    for character in ["é", "€", "🦀"] {
        for cut in 1..character.len() {
            let (first, second) = character.as_bytes().split_at(cut);
            for row in 0..5 {
                let mut values = vec![Some(b"a".to_vec()); 6];
                values[row] = Some(first.to_vec());
                values[row + 1] = Some(second.to_vec());
                for chunk_rows in [1, 2, 3, 6] {
                    let error =
                        decode_in_chunks(&PgType::Text, &TypeOptions::default(), &values, chunk_rows, 0);
                    assert_eq!(error.unwrap_err(), RowError { row, cause: ValueError::Utf8 });
                }
            }
        }
    }
}

/// A row that was refused and taken back, as one that is decoded again, says nothing about the batch.
#[test]
fn what_was_taken_back_is_not_remembered() {
    let mut column = make_column(&PgType::Text, &TypeOptions::default(), 0);
    let framed = |text: &[u8]| [&(text.len() as i32).to_be_bytes()[..], text].concat();
    column.decode(&mut Chunk::new(&framed(b"first"), &mut [0])).unwrap();
    column.decode(&mut Chunk::new(&framed(b"\xff"), &mut [0])).unwrap();
    column.truncate(1);
    column.decode(&mut Chunk::new(&framed("zweitér".as_bytes()), &mut [0])).unwrap();
    let array = column.finish().unwrap();
    assert_eq!(array.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["first", "zweitér"]);
    column.decode(&mut Chunk::new(&framed(b"\xff"), &mut [0])).unwrap();
    assert_eq!(column.finish().unwrap_err(), RowError { row: 0, cause: ValueError::Utf8 });
    column.decode(&mut Chunk::new(&framed(b"next"), &mut [0])).unwrap();
    assert_eq!(column.finish().unwrap().as_string::<i32>().value(0), "next");
}

#[test]
fn a_stored_text_outside_of_the_bytes_is_refused() {
    let bytes = [b'x'; 100];
    for (start, length) in
        [(100, 1), (99, 2), (0, 101), (101, 0), (STORED_NULL - 1, 5), (36, 65), (40, 1_000)]
    {
        let mut column = make_column(&PgType::Text, &TypeOptions::default(), 0);
        let (starts, lengths) = ([0, start, 0], [3, length, 3]);
        let chunk = StoredChunk::new(&bytes, &starts, &lengths, false);
        let error = column.decode_stored(&chunk).unwrap_err();
        assert_eq!(error, RowError { row: 1, cause: ValueError::Length }, "{start} {length}");
        column.truncate(0);
        column.decode_stored(&StoredChunk::new(&bytes, &[97], &[3], false)).unwrap();
        assert_eq!(column.finish().unwrap().as_string::<i32>().value(0), "xxx");
    }
}

fn lengths() -> impl Strategy<Value = Vec<Option<usize>>> {
    let length = prop_oneof![
        6 => (0..4_usize).prop_map(Some),
        2 => (0..70_usize).prop_map(Some),
        1 => (0..600_usize).prop_map(Some),
        1 => Just(None),
    ];
    prop::collection::vec(length, 0..40)
}

fn text_of_length(row: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + ((row + at) % 26) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Most bytes of a chunk belong to other columns, and values become longer than those of the chunk
    /// before: the room that was foreseen does not suffice. Buffers come back.
    #[test]
    fn room_that_does_not_suffice_is_made(
        batches in prop::collection::vec(prop::collection::vec(lengths(), 0..5), 1..4),
        others in prop_oneof![Just(0), Just(50), Just(5_000)],
        is_versioned: bool,
    ) {
        let pg_type = if is_versioned { PgType::Jsonb } else { PgType::Text };
        let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
        for chunks in batches {
            let mut expected = Vec::new();
            for lengths in chunks {
                let (mut bytes, mut cursors, mut ends) = (Vec::new(), Vec::new(), Vec::new());
                for length in lengths {
                    bytes.extend(vec![0xf0; others / 2]);
                    cursors.push(bytes.len() as u32);
                    let text = length.map(|length| text_of_length(expected.len(), length));
                    let version: &[u8] = if is_versioned { &[1] } else { &[] };
                    let wire = text.as_ref().map(|text| [version, text].concat());
                    bytes.extend(wire.as_ref().map_or(-1, |wire| wire.len() as i32).to_be_bytes());
                    bytes.extend(wire.unwrap_or_default());
                    ends.push(bytes.len() as u32);
                    bytes.extend(vec![0xf1; others / 2]);
                    expected.push(text);
                }
                column.decode(&mut Chunk::new(&bytes, &mut cursors)).unwrap();
                prop_assert_eq!(&cursors, &ends);
            }
            let array = column.finish().unwrap();
            array.to_data().validate_full().unwrap();
            let found = array.as_string::<i32>().iter();
            let found: Vec<_> = found.map(|text| text.map(|text| text.as_bytes().to_vec())).collect();
            prop_assert_eq!(found, expected);
            column.recycle(array);
        }
    }

    /// Stored values against the same values as COPY sends them, also at the end of the bytes.
    #[test]
    fn stored_texts_are_those_of_copy(
        chunks in prop::collection::vec(lengths(), 0..5),
        behind in 0..80_usize,
    ) {
        let (mut stored, mut sent) = (Vec::new(), Vec::new());
        let mut column = make_column(&PgType::Text, &TypeOptions::default(), 0);
        for chunk in chunks {
            stored.clear();
            let (mut starts, mut lengths) = (Vec::new(), Vec::new());
            for length in &chunk {
                starts.push(length.map_or(STORED_NULL, |_| stored.len() as u32));
                lengths.push(length.unwrap_or(0) as u32);
                let text = length.map(|length| text_of_length(sent.len(), length));
                stored.extend(text.clone().unwrap_or_default());
                sent.push(text);
            }
            stored.extend(vec![0xff; behind]);
            let has_nulls = chunk.contains(&None);
            let chunk = StoredChunk::new(&stored, &starts, &lengths, has_nulls);
            prop_assert!(column.decode_stored(&chunk).unwrap());
        }
        let array = column.finish().unwrap();
        let found = array.as_string::<i32>().iter();
        let found: Vec<_> = found.map(|text| text.map(|text| text.as_bytes().to_vec())).collect();
        prop_assert_eq!(found, sent);
    }
}

/// Around each number of blocks, with as many bytes behind the value as the last block needs, or fewer. A
/// length that says one byte more than there is stays an error.
#[test]
fn texts_copied_in_blocks_end_where_they_end() {
    let near_a_block = |length: &usize| (length + 1) % 64 <= 2;
    for length in (0..=705).filter(near_a_block) {
        for behind in [0, 1, 2, 62, 63, 64, 65, 67, 68, 69] {
            let mut column = make_column(&PgType::Text, &TypeOptions::default(), 0);
            let texts = [text_of_length(0, 100), text_of_length(1, length), text_of_length(2, 65)];
            for text in &texts {
                let mut bytes = (text.len() as i32).to_be_bytes().to_vec();
                bytes.extend(text);
                let end = bytes.len() as u32;
                bytes.extend(vec![0xff; behind]);
                let mut cursors = [0];
                column.decode(&mut Chunk::new(&bytes, &mut cursors)).unwrap();
                assert_eq!(cursors, [end], "{length} {behind}");
            }
            let mut cut = (length as i32 + 1).to_be_bytes().to_vec();
            cut.extend(&texts[1]);
            let error = column.decode(&mut Chunk::new(&cut, &mut [0])).unwrap_err();
            assert_eq!((error.row, error.cause), (0, ValueError::Length), "{length}");
            column.truncate(3);
            let array = column.finish().unwrap();
            array.to_data().validate_full().unwrap();
            let found: Vec<_> = array.as_string::<i32>().iter().flatten().map(str::as_bytes).collect();
            assert_eq!(found, texts, "{length} {behind}");
        }
    }
}
