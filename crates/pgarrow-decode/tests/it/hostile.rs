//! Every type with too many bytes, and streams cut at every offset with empty messages in between.

use std::collections::HashMap;
use std::sync::Arc;

use pgarrow_column::{Chunk, Column, make_column};
use pgarrow_decode::{BatchLimits, CopyDecoder};
use pgarrow_types::{PgType, TypeOptions, schema};

use crate::{copy_stream, seeds, types};

/// Decodes one value.
fn decode(pg_type: &PgType, options: &TypeOptions, value: &[u8]) -> bool {
    let bytes = [&(value.len() as u32).to_be_bytes(), value].concat();
    let mut column: Box<dyn Column> = make_column(pg_type, options, 0);
    let mut cursors = [0];
    let decoded = column.decode(&mut Chunk::new(&bytes, &mut cursors)).is_ok();
    decoded && cursors == [bytes.len() as u32] && column.finish().is_ok()
}

/// Types whose values can be any number of bytes.
fn is_any_bytes(pg_type: &PgType) -> bool {
    matches!(
        pg_type,
        PgType::Text
            | PgType::Bpchar
            | PgType::Bytea
            | PgType::Json
            | PgType::Jsonb
            | PgType::Ltree
            | PgType::Enum(_)
            | PgType::ServerText { .. }
    )
}

/// A decoder that leaves bytes of a value unread does not know what it has read.
#[test]
fn a_byte_behind_any_value_is_refused() {
    let types = types::all();
    let mut n_tried = 0;
    let mut seeds: Vec<_> = std::fs::read_dir(seeds("value")).expect("seeds").flatten().collect();
    seeds.sort_by_key(std::fs::DirEntry::path);
    for seed in seeds {
        let data = std::fs::read(seed.path()).expect("a seed");
        let Some(([index, choices @ ..], mut rest)) = data.split_first_chunk::<5>() else { continue };
        let Some(pg_type) = types.get(usize::from(*index) % types.len()) else { continue };
        let options = types::options(u32::from_be_bytes(*choices));
        while let Some((n_bytes @ 0..=253, values)) = rest.split_first() {
            let Some((value, behind)) = values.split_at_checked(usize::from(*n_bytes)) else { break };
            rest = behind;
            if is_any_bytes(pg_type) || !decode(pg_type, &options, value) {
                continue;
            }
            n_tried += 1;
            for trailing in [&[0][..], &[0xff], &[0; 4], &[0xff; 4], &[0; 16]] {
                let longer = [value, trailing].concat();
                assert!(
                    !decode(pg_type, &options, &longer),
                    "{:?}: {pg_type:?} takes {trailing:?} behind {value:?}",
                    seed.file_name()
                );
            }
            // And one byte too few.
            if let Some((_, shorter)) = value.split_last() {
                assert!(
                    !decode(pg_type, &options, shorter),
                    "{:?}: {pg_type:?} takes {shorter:?} for {value:?}",
                    seed.file_name()
                );
            }
        }
    }
    assert!(n_tried > 100, "only {n_tried} values were tried");
}

/// The body of the fuzz target compares the whole stream with the cut one. Here it gets every cut, with one,
/// two and three messages in the same place; all but one of them are empty.
#[test]
fn every_offset_with_empty_messages_in_between() {
    // Mode 1, a batch of three rows: the table of the fuzz target's plan 0, three rows and the trailer.
    let row = |id: u8, name: &[u8]| {
        let name = [&(name.len() as u32).to_be_bytes()[..], name].concat();
        let price = b"\0\0\0\x0c\0\x02\0\0\x40\0\0\x02\0\x07\x13\x88";
        [&b"\0\x04\0\0\0\x04\0\0\0"[..], &[id], &name, price, b"\0\0\0\x01\x01"].concat()
    };
    let stream = [row(1, b"one"), row(2, "zwölf".as_bytes()), row(3, b""), b"\xff\xff".to_vec()].concat();
    for n_cuts in 1..=3_u8 {
        for offset in 0..=stream.len() {
            let cut = (offset as u16).to_be_bytes();
            let input = [&[0, 3, 1, n_cuts], &cut.repeat(usize::from(n_cuts))[..], &stream].concat();
            copy_stream::check(&input);
        }
    }
    // Every byte in a message of its own.
    let all: Vec<u8> = (0..stream.len() as u16).flat_map(u16::to_be_bytes).collect();
    let input = [&[0, 3, 1, stream.len() as u8], &all[..], &stream].concat();
    copy_stream::check(&input);
    // Streams that are always refused would test nothing.
    let columns = copy_stream::plan_of(0, TypeOptions::default());
    let made = columns.iter().map(|column| make_column(&column.pg_type, &column.options, 0)).collect();
    let limits = BatchLimits { rows: 10, bytes: 1 << 20, exact: false };
    let mut decoder = CopyDecoder::new(Arc::new(schema(&columns, HashMap::new())), made, limits);
    let payload = [&copy_stream::HEADER[..], &stream].concat();
    decoder.decode(&[b"d", &(payload.len() as u32 + 4).to_be_bytes()[..], &payload].concat()).expect("sound");
    assert!(decoder.is_complete() && decoder.rows() == 3);
}
