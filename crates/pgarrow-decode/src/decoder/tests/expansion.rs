//! Legal values that are tiny on the wire and large in Arrow.

use super::*;

/// 1e131071: ten bytes, 131,072 digits.
const BOMB: [u8; 10] = [0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0x03, 0xe8];
const BOMB_BYTES: usize = 131_072;
const LIMIT: usize = 8 << 20;

fn columns_of(n_columns: usize, pg_type: &PgType) -> Vec<PgColumn> {
    (0..n_columns).map(|index| column(&format!("c{index}"), pg_type.clone(), true)).collect()
}

fn numerics(n_columns: usize) -> Vec<PgColumn> {
    columns_of(n_columns, &PgType::Numeric(NumericType::Unconstrained))
}

/// Decodes `frames` as they come from a socket and keeps no batch. Returns the rows, and the largest
/// allocation.
fn allocated_at_most(plan: &[PgColumn], limits: BatchLimits, frames: &[u8]) -> (usize, usize) {
    let mut decoder = decoder_of(plan, limits);
    let (mut at, mut n_rows, mut most) = (0, 0, 0);
    loop {
        let end = frames.len().min(at + (256 << 10));
        let progress = decoder.decode(&frames[at..end]).unwrap();
        at += progress.used_bytes;
        most = most.max(decoder.allocated_bytes());
        let is_over = at == frames.len() && progress.stop != StopReason::BatchFull;
        if progress.stop == StopReason::BatchFull || is_over {
            n_rows += decoder.flush().unwrap().map_or(0, |batch| batch.num_rows());
        }
        if is_over {
            assert!(decoder.is_complete());
            return (n_rows, most);
        }
    }
}

#[test]
fn numerics_of_131_072_digits() {
    for (n_columns, n_rows) in [(1, 300), (20, 20)] {
        let tuple = vec![Some(&BOMB[..]); n_columns];
        let writer = (0..n_rows).fold(CopyWriter::new(), |writer, _| writer.tuple(tuple.clone()));
        for packing in [Packing::PerTuple, Packing::Whole] {
            let (found, most) =
                allocated_at_most(&numerics(n_columns), BatchLimits::default(), &writer.frames(packing));
            assert_eq!(found, n_rows);
            assert!(most < LIMIT + (4 << 20), "{most} in {n_columns} columns, {packing:?}");
        }
    }
}

#[test]
fn many_columns_of_nulls() {
    let decimal256 = PgType::Numeric(NumericType::Declared { precision: 50, scale: 10 });
    let tuple = CopyWriter::new().tuple(vec![None; 1600]);
    let types = [
        decimal256,
        PgType::Text,
        PgType::Interval { has_infinities: true },
        PgType::Bool,
        PgType::Uuid,
        PgType::Inet,
    ];
    for pg_type in types {
        let writer = tuple.payloads(Packing::HeaderAlone)[1].clone();
        let writer = (0..500).fold(CopyWriter::new(), |all, _| all.raw_tuple(writer.clone()));
        let frames = writer.frames(Packing::PerTuple);
        let (n_rows, most) = allocated_at_most(&columns_of(1600, &pg_type), BatchLimits::default(), &frames);
        assert_eq!(n_rows, 500);
        assert!(most < LIMIT + (4 << 20), "{most} for {pg_type:?}");
    }
}

/// NULLs have four bytes on the wire and 64,000 in Arrow. A chunk ends before it has too many of them, even
/// after a single row.
#[test]
fn nulls_of_wide_vectors() {
    let vector = PgType::Vector { dimensions: Some(16_000) };
    let writer = (0..500).fold(CopyWriter::new(), |writer, _| writer.tuple([None, None]));
    for limit in [LIMIT, 1] {
        let limits = BatchLimits { bytes: limit, ..BatchLimits::default() };
        let plan = columns_of(2, &vector);
        let (n_rows, most) = allocated_at_most(&plan, limits, &writer.frames(Packing::PerTuple));
        assert_eq!(n_rows, 500);
        assert!(most < limit + (4 << 20), "{most}");
    }
}

/// Large numerics among small ones, so that chunks shrink and grow again.
fn uneven(n_columns: usize, n_rows: usize) -> CopyWriter {
    let small = [0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
    (0..n_rows).fold(CopyWriter::new(), |writer, row| {
        let is_large = |column| (row * 31 + column * 17) % 97 == 0 || (300..305).contains(&row);
        let values = (0..n_columns).map(|column| Some(if is_large(column) { &BOMB[..] } else { &small[..] }));
        writer.tuple(values)
    })
}

#[test]
fn the_values_are_all_there_however_chunks_are_cut() {
    for n_columns in [1, 3] {
        let writer = uneven(n_columns, 700);
        let unlimited = BatchLimits { rows: 1000, bytes: 1 << 30, exact: false };
        let plan = numerics(n_columns);
        let frames = writer.frames(Packing::PerTuple);
        let (expected, _) = decode_in_pieces(decoder_of(&plan, unlimited), &frames, usize::MAX).unwrap();
        assert_eq!(expected.len(), 1);
        for bytes in [1, 500_000, 2 << 20] {
            let mut exact_batches: Option<Vec<RecordBatch>> = None;
            for packing in [Packing::PerTuple, Packing::Glued(7), Packing::Split(5000)] {
                for exact in [false, true] {
                    let limits = BatchLimits { bytes, exact, ..unlimited };
                    let frames = writer.frames(packing);
                    let (batches, decoder) =
                        decode_in_pieces(decoder_of(&plan, limits), &frames, 3000).unwrap();
                    assert!(decoder.is_complete());
                    assert_batches_equal(&expected, &batches);
                    for batch in &batches {
                        let values = batch.columns().iter().map(|a| a.as_string::<i32>().values().len());
                        let values: usize = values.sum();
                        assert!(
                            values < bytes + n_columns * (BOMB_BYTES + (16 << 10)),
                            "{values} of {bytes}"
                        );
                    }
                    if exact {
                        let before = exact_batches.get_or_insert_with(|| batches.clone());
                        assert!(*before == batches, "{packing:?}, {bytes} bytes");
                    }
                }
            }
        }
    }
}

/// An error names the row of a refused value also behind a value that ended a chunk.
#[test]
fn an_error_behind_a_cut() {
    let infinite_digits = [0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let mut writer = (0..100).fold(CopyWriter::new(), |writer, _| writer.tuple([Some(&BOMB[..])]));
    writer = writer.tuple([Some(&infinite_digits[..])]);
    for packing in [Packing::PerTuple, Packing::Whole] {
        let limits = BatchLimits { rows: 1000, bytes: 1 << 20, exact: false };
        let decoder = decoder_of(&numerics(1), limits);
        let error = decode_in_pieces(decoder, &writer.frames(packing), usize::MAX).map(|_| ()).unwrap_err();
        assert!(matches!(error, DecodeError::Value { row: 101, .. }), "{error:?}");
    }
}
