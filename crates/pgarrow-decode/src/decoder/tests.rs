//! Streams cut in every way, and streams that are broken in every way.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, RecordBatch};
use pgarrow_column::{RowError, ValueError, make_column};
use pgarrow_testkit::compare::assert_batches_equal;
use pgarrow_testkit::copy::{CopyWriter, Packing, frame};
use pgarrow_types::{NumericType, PgColumn, PgType, TypeOptions, schema};
use proptest::prelude::*;

use super::*;

mod batches;
mod effects;
mod expansion;
mod large;
mod rejected;
mod rows;
mod texts;

fn column(name: &str, pg_type: PgType, nullable: bool) -> PgColumn {
    PgColumn {
        name: name.to_owned(),
        pg_type,
        type_oid: 0,
        type_modifier: -1,
        type_name: String::new(),
        nullable,
        comment: None,
        number: 1,
        options: TypeOptions::default(),
    }
}

fn plan() -> Vec<PgColumn> {
    vec![
        column("id", PgType::Int4, false),
        column("name", PgType::Text, true),
        column("price", PgType::Numeric(NumericType::Declared { precision: 15, scale: 2 }), true),
        column("flag", PgType::Bool, true),
    ]
}

fn decoder_of(columns: &[PgColumn], limits: BatchLimits) -> CopyDecoder {
    let options = TypeOptions::default();
    let schema = Arc::new(schema(columns, HashMap::new()));
    let columns = columns.iter().map(|column| make_column(&column.pg_type, &options, 0)).collect();
    CopyDecoder::new(schema, columns, limits)
}

fn limits(rows: usize) -> BatchLimits {
    BatchLimits { rows, bytes: 1 << 20, exact: false }
}

/// `n_rows` rows of [`plan`], with NULLs and text of many lengths.
fn rows(n_rows: i32) -> CopyWriter {
    let mut writer = CopyWriter::new();
    for i in 0..n_rows {
        let id = i.to_be_bytes();
        let name = "ä".repeat((i % 23) as usize);
        let price = [0, 2, 0, 0, 0x40, 0, 0, 2, 0, (i % 100) as u8, 0x13, 0x88]; // -(i % 100).50
        let flag = [(i % 2) as u8];
        writer = writer.tuple([
            Some(&id[..]),
            (i % 5 != 0).then_some(name.as_bytes()),
            (i % 7 != 0).then_some(&price[..]),
            Some(&flag[..]),
        ]);
    }
    writer
}

/// Feeds `bytes` in pieces of `piece_bytes`, as a socket would, and collects the batches.
fn decode_in_pieces(
    mut decoder: CopyDecoder,
    bytes: &[u8],
    piece_bytes: usize,
) -> Result<(Vec<RecordBatch>, CopyDecoder), DecodeError> {
    let mut batches = Vec::new();
    let mut received = Vec::new();
    for piece in bytes.chunks(piece_bytes.max(1)) {
        received.extend_from_slice(piece);
        loop {
            let progress = decoder.decode(&received)?;
            received.drain(..progress.used_bytes);
            if progress.stop != StopReason::BatchFull {
                break;
            }
            batches.extend(decoder.flush()?);
        }
    }
    batches.extend(decoder.flush()?);
    assert!(received.is_empty(), "{} bytes were not used", received.len());
    Ok((batches, decoder))
}

fn decode(bytes: &[u8]) -> Result<(Vec<RecordBatch>, CopyDecoder), DecodeError> {
    decode_in_pieces(decoder_of(&plan(), limits(1000)), bytes, usize::MAX)
}

#[test]
fn every_packing_piece_and_batch_size_gives_the_same_rows() {
    let writer = rows(300);
    let (expected, decoder) = decode(&writer.frames(Packing::PerTuple)).unwrap();
    assert!(decoder.is_complete());
    assert_eq!(decoder.rows(), 300);
    assert_eq!(expected[0].column(0).as_primitive::<Int32Type>().value(299), 299);
    for packing in Packing::ALL {
        let frames = writer.frames(packing);
        for batch_rows in [1, 2, 3, 255, 256, 257, 1000] {
            for piece_bytes in [1, 2, 7, 64, 1000, usize::MAX] {
                let decoder = decoder_of(&plan(), limits(batch_rows));
                let (batches, decoder) = decode_in_pieces(decoder, &frames, piece_bytes).unwrap();
                assert!(decoder.is_complete());
                assert_eq!(decoder.rows(), 300);
                assert!(batches.iter().all(|batch| batch.num_rows() <= batch_rows));
                assert_batches_equal(&expected, &batches);
            }
        }
    }
}

/// A whole stream split at every offset, into two receives.
#[test]
fn every_split_of_a_small_stream() {
    let writer = rows(9);
    let (expected, _) = decode(&writer.frames(Packing::PerTuple)).unwrap();
    for packing in Packing::ALL {
        let frames = writer.frames(packing);
        for split in 0..=frames.len() {
            let mut decoder = decoder_of(&plan(), limits(4));
            let mut batches = Vec::new();
            let mut from = 0;
            for end in [split, frames.len()] {
                loop {
                    let progress = decoder.decode(&frames[from..end]).unwrap();
                    from += progress.used_bytes;
                    if progress.stop != StopReason::BatchFull {
                        break;
                    }
                    batches.extend(decoder.flush().unwrap());
                }
            }
            batches.extend(decoder.flush().unwrap());
            assert!(decoder.is_complete());
            assert_batches_equal(&expected, &batches);
        }
    }
}

#[test]
fn an_empty_result_is_a_header_and_a_trailer() {
    for packing in Packing::ALL {
        let (batches, decoder) = decode(&CopyWriter::new().frames(packing)).unwrap();
        assert!(batches.is_empty());
        assert!(decoder.is_complete());
        assert_eq!(decoder.rows(), 0);
    }
}

#[test]
fn rows_without_columns_are_counted() {
    let writer = (0..600).fold(CopyWriter::new(), |writer, _| writer.tuple([]));
    for packing in [Packing::PerTuple, Packing::Whole, Packing::Split(1)] {
        let decoder = decoder_of(&[], limits(500));
        let (batches, _) = decode_in_pieces(decoder, &writer.frames(packing), usize::MAX).unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [500, 100]);
    }
}

#[test]
fn messages_that_are_not_ours_are_left_alone() {
    let frames = rows(3).frames(Packing::PerTuple);
    let mut decoder = decoder_of(&plan(), limits(1000));
    let notice = b"N\0\0\0\x08abcd";
    let progress = decoder.decode(&[&frames[..], notice].concat()).unwrap();
    assert_eq!(progress, Progress { used_bytes: frames.len(), stop: StopReason::OtherMessage });
    let progress = decoder.decode(notice).unwrap();
    assert_eq!(progress, Progress { used_bytes: 0, stop: StopReason::OtherMessage });
}

#[test]
fn a_batch_ends_at_its_bytes() {
    let limits = BatchLimits { rows: 100_000, bytes: 4096, exact: false };
    let writer = rows(5000);
    let (batches, _) =
        decode_in_pieces(decoder_of(&plan(), limits), &writer.frames(Packing::PerTuple), usize::MAX).unwrap();
    // At most one chunk more than the limit.
    assert!(batches.len() >= 5000 / 512, "{} batches", batches.len());
    let glued = writer.frames(Packing::Whole);
    let (batches, _) = decode_in_pieces(decoder_of(&plan(), limits), &glued, usize::MAX).unwrap();
    assert!(batches.len() >= 5000 / 512, "{} batches", batches.len());
}

/// A row far larger than any limit is a batch, and other columns do not reserve its bytes.
#[test]
fn a_row_larger_than_a_batch() {
    let large = "x".repeat(3 << 20);
    let id = 1_i32.to_be_bytes();
    let writer = CopyWriter::new().tuple([Some(&id[..]), Some(large.as_bytes()), None, None]);
    for packing in [Packing::PerTuple, Packing::Split(1000)] {
        let decoder = decoder_of(&plan(), BatchLimits { rows: 10, bytes: 1, exact: false });
        let (batches, _) = decode_in_pieces(decoder, &writer.frames(packing), 100_000).unwrap();
        assert_eq!(batches[0].column(1).as_string::<i32>().value(0), large);
    }
}

#[track_caller]
fn framing_error(bytes: &[u8]) -> FramingError {
    match decode(bytes) {
        Err(DecodeError::Framing { cause, .. }) => cause,
        other => panic!("{:?}", other.map(|(batches, _)| batches)),
    }
}

#[test]
fn headers_that_are_none() {
    let stream = rows(1).stream();
    for at in 0..11 {
        let mut broken = stream.clone();
        broken[at] ^= 0x20;
        assert_eq!(framing_error(&frame(&broken)), FramingError::Signature);
        assert_eq!(framing_error(&frame(&broken[..=at])), FramingError::Signature);
    }
    assert_eq!(framing_error(&frame(b"1\tname\n")), FramingError::Signature);
    for bit in 0..32 {
        let frames = rows(1).flags(1 << bit).frames(Packing::PerTuple);
        if bit < 16 {
            decode(&frames).unwrap();
        } else {
            assert_eq!(framing_error(&frames), FramingError::CriticalFlags(1 << bit));
        }
    }
}

#[test]
fn header_extensions_are_skipped_up_to_a_limit() {
    let (expected, _) = decode(&rows(5).frames(Packing::PerTuple)).unwrap();
    for bytes in [1, 4, 1000, 1 << 20] {
        for packing in [Packing::PerTuple, Packing::Split(64)] {
            let (batches, _) = decode(&rows(5).extension(vec![0xee; bytes]).frames(packing)).unwrap();
            assert_batches_equal(&expected, &batches);
        }
    }
    let mut stream = rows(1).stream();
    stream[15..19].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(framing_error(&frame(&stream)), FramingError::Extension(u32::MAX));
}

#[test]
fn tuples_of_another_count() {
    for found in [0_i16, 3, 5, -2, i16::MIN, i16::MAX] {
        let frames = rows(2).raw_tuple(found.to_be_bytes()).frames(Packing::PerTuple);
        let error = decode(&frames).map(|_| ()).unwrap_err();
        let cause = FramingError::ValueCount { expected: 4, found };
        assert_eq!(error, DecodeError::Framing { row: 3, cause });
    }
}

#[test]
fn values_of_an_impossible_length() {
    let tuple = |length: i32| [&[0, 4][..], &length.to_be_bytes(), &[0; 20]].concat();
    for length in [-2, i32::MIN] {
        let frames = rows(2).raw_tuple(tuple(length)).frames(Packing::PerTuple);
        assert_eq!(framing_error(&frames), FramingError::ValueLength(length));
    }
    // A length beyond the end of the stream: the tuple is never whole, so it is no row and no trailer.
    let frames = rows(2).raw_tuple(tuple(i32::MAX)).frames(Packing::PerTuple);
    let (_, decoder) = decode(&frames).unwrap();
    assert_eq!((decoder.rows(), decoder.is_complete()), (2, false));
}

#[test]
fn a_stream_that_is_cut_off_is_not_complete() {
    let stream = rows(3).stream();
    for end in 0..stream.len() {
        let (_, decoder) = decode(&frame(&stream[..end])).unwrap();
        assert!(!decoder.is_complete(), "cut at {end}");
    }
    let (_, decoder) = decode(&rows(3).without_trailer().frames(Packing::PerTuple)).unwrap();
    assert_eq!((decoder.rows(), decoder.is_complete()), (3, false));
}

#[test]
fn nothing_may_follow_the_trailer() {
    let mut stream = rows(1).stream();
    stream.push(0);
    assert_eq!(framing_error(&frame(&stream)), FramingError::AfterTrailer);
    let frames = [rows(1).frames(Packing::PerTuple), frame(&[0])].concat();
    assert_eq!(framing_error(&frames), FramingError::AfterTrailer);
    let frames = [rows(1).frames(Packing::PerTuple), frame(&[])].concat();
    decode(&frames).unwrap();
}

#[test]
fn messages_of_an_impossible_length() {
    for length in 0..4_u32 {
        let frames =
            [&rows(1).without_trailer().frames(Packing::PerTuple)[..], b"d", &length.to_be_bytes()].concat();
        assert_eq!(framing_error(&frames), FramingError::MessageLength(length));
    }
}

/// An error names the row and column of a bad value, wherever chunks and batches end.
#[test]
fn the_row_of_a_bad_value_is_named() {
    for bad_row in [0, 1, 255, 256, 299] {
        let mut writer = CopyWriter::new();
        for i in 0..300_i32 {
            let flag = [if i == bad_row { 2 } else { 1 }];
            writer = writer.tuple([Some(&i.to_be_bytes()[..]), None, None, Some(&flag[..])]);
        }
        for packing in [Packing::PerTuple, Packing::Glued(2), Packing::Whole] {
            for batch_rows in [1, 3, 1000] {
                let decoder = decoder_of(&plan(), limits(batch_rows));
                let error = decode_in_pieces(decoder, &writer.frames(packing), 500).map(|_| ()).unwrap_err();
                let expected = DecodeError::Value {
                    column_index: 3,
                    column: "flag".to_owned(),
                    row: bad_row as u64 + 1,
                    cause: ValueError::Malformed("a bool that is neither 0 nor 1"),
                };
                assert_eq!(error, expected);
            }
        }
    }
}

#[test]
fn a_null_in_a_column_that_has_none() {
    let id = 1_i32.to_be_bytes();
    let writer = CopyWriter::new().tuple([Some(&id[..]), None, None, None]).tuple([None, None, None, None]);
    let error = decode(&writer.frames(Packing::PerTuple)).map(|_| ()).unwrap_err();
    let expected = DecodeError::UnexpectedNull { column_index: 0, column: "id".to_owned(), row: 2 };
    assert_eq!(error, expected);
}

#[test]
fn after_an_error_there_is_nothing_more() {
    let mut decoder = decoder_of(&plan(), limits(10));
    let error = decoder.decode(&frame(b"no copy")).unwrap_err();
    assert_eq!(decoder.decode(&rows(1).frames(Packing::PerTuple)).unwrap_err(), error);
    assert_eq!(decoder.flush().map(|_| ()).unwrap_err(), error);
}

/// If the framed way cannot decode a stream, it tries a few chunks, not one for every message.
#[test]
fn the_framed_way_is_given_up_when_messages_are_not_tuples() {
    let frames = rows(20_000).frames(Packing::Glued(2));
    let mut decoder = decoder_of(&plan(), limits(1 << 20));
    decoder.decode(&frames).unwrap();
    assert_eq!(decoder.rows(), 20_000);
    assert_eq!(decoder.n_misses, MISSES_MAX + 1);
}

proptest! {
    /// No bytes make the decoder panic, and the cuts do not change the result.
    #[test]
    fn any_bytes(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6), piece in 1..50_usize) {
        let mut frames = rows(2).without_trailer().frames(Packing::PerTuple);
        payloads.iter().for_each(|payload| frames.extend(frame(payload)));
        let whole = decode(&frames).map(|(batches, decoder)| (batches, decoder.rows()));
        let cut = decode_in_pieces(decoder_of(&plan(), limits(1000)), &frames, piece)
            .map(|(batches, decoder)| (batches, decoder.rows()));
        prop_assert_eq!(whole, cut);
    }

    /// One changed byte of a stream gives an error or other values, never a panic, and never another number
    /// of rows with a complete stream.
    #[test]
    fn one_wrong_byte(at in 0..2000_usize, value in any::<u8>(), piece in 1..200_usize) {
        let mut frames = rows(30).frames(Packing::PerTuple);
        let at = at % frames.len();
        frames[at] = value;
        let mut decoder = decoder_of(&plan(), limits(7));
        let mut received = Vec::new();
        let mut n_rows = 0;
        'all: for bytes in frames.chunks(piece) {
            received.extend_from_slice(bytes);
            loop {
                let Ok(progress) = decoder.decode(&received) else { break 'all };
                received.drain(..progress.used_bytes);
                if progress.stop != StopReason::BatchFull {
                    break;
                }
                let Ok(batch) = decoder.flush() else { break 'all };
                n_rows += batch.map_or(0, |batch| batch.num_rows());
            }
        }
        if let Ok(Some(batch)) = decoder.flush() {
            n_rows += batch.num_rows();
            for column in batch.columns() {
                column.to_data().validate_full().unwrap();
            }
        }
        prop_assert!(n_rows <= 30);
    }
}

/// A column that records the number of rows of each chunk.
#[derive(Debug)]
struct ChunkSizes(Arc<std::sync::Mutex<Vec<usize>>>);

impl Column for ChunkSizes {
    fn decode(&mut self, chunk: &mut pgarrow_column::Chunk<'_>) -> Result<(), RowError> {
        self.0.lock().unwrap().push(chunk.rows());
        Ok(())
    }
    fn truncate(&mut self, _rows: usize) {}
    fn bytes(&self) -> usize {
        0
    }
    fn finish(&mut self) -> Result<arrow_array::ArrayRef, RowError> {
        Ok(arrow_array::new_empty_array(&arrow_schema::DataType::Int32))
    }
}

/// Between the framed chunks, columns once got a chunk without rows. Columns learn from each chunk what to
/// expect of the next (the length of its texts, whether there are NULLs). So they forgot it and took their
/// slowest loop.
#[test]
fn no_column_is_given_a_chunk_without_rows() {
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let columns: Vec<Box<dyn Column>> = vec![Box::new(ChunkSizes(Arc::clone(&sizes)))];
    let plan = [column("id", PgType::Int4, false)];
    let schema = Arc::new(schema(&plan, HashMap::new()));
    let mut decoder = CopyDecoder::new(schema, columns, limits(100_000));
    let writer = (0..2000).fold(CopyWriter::new(), |writer, _| writer.tuple([Some(&[0, 0, 0, 1][..])]));
    // The column moves no cursor, so every chunk is refused; only the recorded numbers of rows count.
    let _ = decoder.decode(&writer.frames(Packing::PerTuple));
    let sizes = sizes.lock().unwrap();
    assert!(!sizes.is_empty());
    assert!(sizes.iter().all(|rows| *rows > 0), "{sizes:?}");
}
