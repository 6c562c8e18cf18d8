//! Text that is not UTF-8, at every boundary between values, chunks and batches.

use super::*;

fn texts(n_rows: usize, bad: &[(usize, &[u8])]) -> CopyWriter {
    let mut writer = CopyWriter::new();
    for row in 0..n_rows {
        let bad = bad.iter().find(|(bad_row, _)| *bad_row == row).map(|(_, text)| text.to_vec());
        let text = bad.unwrap_or_else(|| "naïve 🦀".repeat(row % 4).into_bytes());
        writer = writer.tuple([Some(&(row as i32).to_be_bytes()[..]), Some(b"fine"), Some(&text[..])]);
    }
    writer
}

fn text_columns() -> Vec<PgColumn> {
    vec![
        column("id", PgType::Int4, false),
        column("good", PgType::Text, true),
        column("bad", PgType::Text, true),
    ]
}

#[test]
fn the_error_names_row_and_column_wherever_the_text_is() {
    let crab = "🦀".as_bytes();
    let mut cases: Vec<Vec<(usize, &[u8])>> = Vec::new();
    for row in [0, 1, 2, 254, 255, 256, 257, 511, 598] {
        cases.push(vec![(row, b"\xff")]);
        cases.push(vec![(row, &crab[..3])]);
        // The halves of a character in two rows, and so in two chunks or batches.
        for cut in 1..4 {
            cases.push(vec![(row, &crab[..cut]), (row + 1, &crab[cut..])]);
        }
    }
    for bad in cases {
        let writer = texts(600, &bad);
        for packing in [Packing::PerTuple, Packing::HeaderAlone] {
            let frames = writer.frames(packing);
            for batch_rows in [1, 2, 3, 255, 256, 257, 1000] {
                let decoder = decoder_of(&text_columns(), limits(batch_rows));
                let error = decode_in_pieces(decoder, &frames, 4096).unwrap_err();
                let expected = DecodeError::Value {
                    column_index: 2,
                    column: "bad".to_owned(),
                    row: bad[0].0 as u64 + 1,
                    cause: ValueError::Utf8,
                };
                assert_eq!(error, expected, "{bad:?}, {batch_rows} rows in a batch");
            }
        }
    }
}

#[test]
fn batches_before_the_bad_text_go_out() {
    let frames = texts(600, &[(500, b"\xc3")]).frames(Packing::PerTuple);
    let mut decoder = decoder_of(&text_columns(), limits(256));
    let (mut used, mut n_rows) = (0, 0);
    let error = loop {
        let progress = match decoder.decode(&frames[used..]) {
            Ok(progress) => progress,
            Err(error) => break error,
        };
        used += progress.used_bytes;
        match decoder.flush() {
            Ok(batch) => n_rows += batch.map_or(0, |batch| batch.num_rows()),
            Err(error) => break error,
        }
    };
    assert_eq!(n_rows, 256);
    assert!(matches!(error, DecodeError::Value { row: 501, column_index: 2, .. }), "{error}");
}
