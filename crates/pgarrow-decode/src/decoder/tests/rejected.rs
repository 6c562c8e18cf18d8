//! Rows that are left out.

use super::*;

const INFINITE: [u8; 4] = i32::MAX.to_be_bytes();

fn columns() -> Vec<PgColumn> {
    vec![
        column("id", PgType::Int4, false),
        column("name", PgType::Text, true),
        column("day", PgType::Date, true),
        column("then", PgType::Date, true),
    ]
}

/// Rows whose days are infinite where `is_bad` says so: in the last column, in the one before, or in both.
fn rows_with(n_rows: i32, is_bad: impl Fn(i32) -> bool) -> CopyWriter {
    let mut writer = CopyWriter::new();
    for i in 0..n_rows {
        let name = "ä".repeat((i % 23) as usize);
        let (id, day) = (i.to_be_bytes(), (i % 1000).to_be_bytes());
        let of = |parts: &[i32]| if is_bad(i) && parts.contains(&(i % 3)) { INFINITE } else { day };
        let (first, second) = (of(&[0, 1]), of(&[1, 2]));
        writer = writer.tuple([
            Some(&id[..]),
            (i % 5 != 0).then_some(name.as_bytes()),
            Some(&first[..]),
            Some(&second[..]),
        ]);
    }
    writer
}

/// All batches, and the rejected rows.
fn sift(bytes: &[u8], limits: BatchLimits, piece_bytes: usize) -> (Vec<RecordBatch>, Vec<RejectedRow>) {
    let decoder = decoder_of(&columns(), limits).rejecting();
    let (batches, mut decoder) = decode_in_pieces(decoder, bytes, piece_bytes).unwrap();
    assert!(decoder.is_complete());
    let rejected = decoder.take_rejected();
    assert_eq!(decoder.rows_rejected(), rejected.len() as u64);
    assert!(!decoder.has_rejected());
    (batches, rejected)
}

#[test]
fn every_cut_of_the_stream_leaves_out_the_same_rows() {
    type IsBad = fn(i32) -> bool;
    let cases: [(&str, IsBad); 6] = [
        ("none", |_| false),
        ("the first and the last", |i| i == 0 || i == 699),
        ("around the ends of chunks", |i| [255, 256, 257, 511, 512].contains(&i)),
        ("every third", |i| i % 3 == 0),
        ("a run", |i| (100..500).contains(&i)),
        ("all", |_| true),
    ];
    for (name, is_bad) in cases {
        let writer = rows_with(700, is_bad);
        let good: Vec<i32> = (0..700).filter(|i| !is_bad(*i)).collect();
        for packing in Packing::ALL {
            let frames = writer.frames(packing);
            for batch_rows in [1, 2, 3, 256, 1000] {
                for (piece_bytes, exact) in
                    [(7, false), (1000, true), (usize::MAX, false), (usize::MAX, true)]
                {
                    let limits = BatchLimits { exact, ..limits(batch_rows) };
                    let (batches, rejected) = sift(&frames, limits, piece_bytes);
                    let ids: Vec<i32> = batches
                        .iter()
                        .flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values().to_vec())
                        .collect();
                    assert_eq!(ids, good, "{name}, {packing:?}, {batch_rows}, {piece_bytes}");
                    let n_full = batches.iter().filter(|batch| batch.num_rows() == batch_rows).count();
                    assert_eq!(n_full, good.len() / batch_rows, "{name}, {packing:?}, {batch_rows}");
                    for (rejected, i) in rejected.iter().zip((0..700).filter(|i| is_bad(*i))) {
                        assert_eq!((rejected.row, rejected.cause), (i as u64 + 1, ValueError::Infinite));
                        assert_eq!(rejected.column_index, if i % 3 == 2 { 3 } else { 2 });
                        let values: Vec<_> = rejected.values().collect();
                        assert_eq!(values.len(), 4);
                        assert_eq!(values[0], Some(&i.to_be_bytes()[..]));
                        assert_eq!(values[1].is_none(), i % 5 == 0);
                    }
                    assert_eq!(rejected.len() + good.len(), 700);
                }
            }
        }
    }
}

/// Bytes that are broken are no bad rows.
#[test]
fn what_is_broken_still_stops() {
    let day = [0, 0, 0, 1];
    let broken = CopyWriter::new().tuple([Some(&[0, 0, 0, 1][..]), None, Some(&INFINITE[..]), None]).tuple([
        Some(&[0, 0, 0, 2][..]),
        None,
        Some(&day[..]),
        Some(&[1, 2][..]),
    ]);
    let mut decoder = decoder_of(&columns(), limits(1000)).rejecting();
    let error = decoder.decode(&broken.frames(Packing::PerTuple)).unwrap_err();
    let DecodeError::Value { column_index: 3, row: 2, cause: ValueError::Width { .. }, .. } = error else {
        panic!("{error}")
    };
    // Text is checked when the batch is complete: the row is named by its number in the stream.
    let bad_text = CopyWriter::new()
        .tuple([Some(&[0, 0, 0, 1][..]), None, Some(&INFINITE[..]), None])
        .tuple([Some(&[0, 0, 0, 2][..]), Some(b"fine"), Some(&day[..]), None])
        .tuple([Some(&[0, 0, 0, 3][..]), None, Some(&INFINITE[..]), None])
        .tuple([Some(&[0, 0, 0, 4][..]), Some(b"\xff"), Some(&day[..]), None])
        .tuple([Some(&[0, 0, 0, 5][..]), None, Some(&INFINITE[..]), None]);
    decoder.restart();
    assert_eq!((decoder.rows_rejected(), decoder.has_rejected()), (0, false));
    decoder.decode(&bad_text.frames(Packing::PerTuple)).unwrap();
    assert_eq!(decoder.take_rejected().len(), 3);
    let error = decoder.flush().unwrap_err();
    let DecodeError::Value { column_index: 1, row: 4, cause: ValueError::Utf8, .. } = error else {
        panic!("{error}")
    };
}
