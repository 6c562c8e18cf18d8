//! Large rows, received into their columns: the same rows as in the ordinary way.

use super::*;
use crate::large::{LARGE_FRAME_BYTES, LargeError, LargeSource};

/// The bytes of a socket, until it is closed. Records the largest request.
struct Bytes<'a> {
    rest: &'a [u8],
    longest: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Closed;

impl LargeSource for Bytes<'_> {
    type Error = Closed;

    fn receive(&mut self, target: &mut [u8]) -> Result<(), Closed> {
        self.longest = self.longest.max(target.len());
        let (bytes, rest) = self.rest.split_at_checked(target.len()).ok_or(Closed)?;
        target.copy_from_slice(bytes);
        self.rest = rest;
        Ok(())
    }
}

/// Reads as a reader does: never more than 100,000 bytes in the receive buffer. Also returns how many rows
/// were received into their columns.
fn read(decoder: &mut CopyDecoder, mut rest: &[u8]) -> Result<(Vec<RecordBatch>, usize), LargeError<Closed>> {
    let mut batches = Vec::new();
    let mut n_large = 0;
    let mut window = 100_000;
    loop {
        let progress = decoder.decode(&rest[..window.min(rest.len())]).map_err(LargeError::Decode)?;
        rest = &rest[progress.used_bytes..];
        match progress.stop {
            StopReason::BatchFull => batches.extend(decoder.flush().map_err(LargeError::Decode)?),
            StopReason::LargeRow { bytes } => {
                assert!(bytes > LARGE_FRAME_BYTES);
                let mut source = Bytes { rest, longest: 0 };
                decoder.decode_large(&mut source)?;
                (rest, n_large, window) = (source.rest, n_large + 1, 100_000);
            }
            StopReason::NeedMore if progress.used_bytes == 0 && window >= rest.len() => break,
            // As the receive buffer grows to hold a large message.
            StopReason::NeedMore if progress.used_bytes == 0 => window *= 2,
            StopReason::NeedMore => window = 100_000,
            StopReason::OtherMessage => break,
        }
    }
    batches.extend(decoder.flush().map_err(LargeError::Decode)?);
    Ok((batches, n_large))
}

fn mixed_plan() -> Vec<PgColumn> {
    vec![
        column("id", PgType::Int4, true),
        column("text", PgType::Text, true),
        column("bytes", PgType::Bytea, true),
        column("json", PgType::Jsonb, true),
        column("bits", PgType::Bit, true),
        column("short", PgType::Text, true),
    ]
}

/// A row whose text, bytea, jsonb and bit strings have these lengths; 0 is NULL.
fn mixed_row(writer: CopyWriter, lengths: [usize; 4]) -> CopyWriter {
    let [text_bytes, bytea_bytes, jsonb_bytes, bit_bytes] = lengths;
    let id = (text_bytes as i32).to_be_bytes();
    let text: String = "aäb".chars().cycle().take(text_bytes).collect();
    let bytea: Vec<u8> = (0..bytea_bytes).map(|n| (n % 253) as u8).collect();
    let jsonb = [&[1][..], &vec![b' '; jsonb_bytes]].concat();
    let bits = [&(8 * bit_bytes as i32).to_be_bytes()[..], &vec![0xa5; bit_bytes]].concat();
    writer.tuple([
        Some(&id[..]),
        (text_bytes > 0).then_some(text.as_bytes()),
        (bytea_bytes > 0).then_some(&bytea[..]),
        (jsonb_bytes > 0).then_some(&jsonb[..]),
        (bit_bytes > 0).then_some(&bits[..]),
        Some(b"end"),
    ])
}

fn mixed() -> CopyWriter {
    const L: usize = 300_000;
    const M: usize = 66_000;
    let lengths = [
        [L, 0, 0, 0],
        [1, 2, 3, 4],
        [0, 0, 0, 0],
        [0, L, 0, 0],
        [0, 0, L, 0],
        [0, 0, 0, L],
        [5, 5, 5, 5],
        [L, L, L, L],
        [M, M, M, M],
        [M, 10, M, 10],
        [L, 0, 9, 40_000],
        [3_000_000, 0, 0, 7],
        [0, 2_500_000, 1_500_000, 0],
        [9, 9, 9, 9],
    ];
    lengths.into_iter().fold(CopyWriter::new(), mixed_row)
}

#[test]
fn every_mix_of_large_and_small_values() {
    let writer = mixed();
    let n_rows = writer.n_tuples();
    for bytes in [1, 2 << 20] {
        for exact in [false, true] {
            let limits = BatchLimits { rows: 1000, bytes, exact };
            let frames = writer.frames(Packing::PerTuple);
            let (whole, _) =
                decode_in_pieces(decoder_of(&mixed_plan(), limits), &frames, usize::MAX).unwrap();
            for packing in [Packing::PerTuple, Packing::HeaderAlone, Packing::WithEmpty] {
                let frames = writer.frames(packing);
                let mut decoder = decoder_of(&mixed_plan(), limits);
                let (batches, n_large) = read(&mut decoder, &frames).unwrap();
                assert_eq!(n_large, 9);
                assert_eq!((decoder.rows(), decoder.is_complete()), (n_rows as u64, true));
                if exact {
                    assert_eq!(batches, whole);
                } else {
                    assert_batches_equal(&whole, &batches);
                }
                for array in batches.iter().flat_map(RecordBatch::columns) {
                    array.to_data().validate_full().unwrap();
                }
            }
        }
    }
}

#[test]
fn rows_of_a_select() {
    let writer = mixed();
    let (expected, _) = decode_in_pieces(
        decoder_of(&mixed_plan(), limits(1000)),
        &writer.frames(Packing::PerTuple),
        usize::MAX,
    )
    .unwrap();
    let tuples = writer.without_trailer().payloads(Packing::HeaderAlone);
    let messages: Vec<u8> = tuples[1..]
        .iter()
        .flat_map(|tuple| {
            let mut message = frame(tuple);
            message[0] = b'D';
            message
        })
        .collect();
    let template = decoder_of(&mixed_plan(), limits(1000));
    let options = TypeOptions::default();
    let columns = || mixed_plan().iter().map(|column| make_column(&column.pg_type, &options, 0)).collect();
    let mut decoder = CopyDecoder::for_rows(template.schema().clone(), columns(), limits(1000));
    let (batches, n_large) = read(&mut decoder, &messages).unwrap();
    assert_eq!((n_large, decoder.is_complete()), (9, true));
    assert_batches_equal(&expected, &batches);
    // With DataRow messages, bytes behind the row make the message invalid.
    let mut long = frame(&[&tuples[1][..], &[0]].concat());
    long[0] = b'D';
    let mut decoder = CopyDecoder::for_rows(template.schema().clone(), columns(), limits(1000));
    let error = read(&mut decoder, &long).unwrap_err();
    assert_eq!(error, framing(1, FramingError::RowMessage));
}

fn framing(row: u64, cause: FramingError) -> LargeError<Closed> {
    LargeError::Decode(DecodeError::Framing { row, cause })
}

/// Large messages that hold several rows or parts of rows: legal in a COPY, unusual, and no row is lost.
#[test]
fn large_messages_that_are_not_rows() {
    let writer = (0..40).fold(CopyWriter::new(), |writer, n| mixed_row(writer, [20_000 + n, 7, 70_000, 3]));
    let frames = writer.frames(Packing::PerTuple);
    let (expected, _) =
        decode_in_pieces(decoder_of(&mixed_plan(), limits(1000)), &frames, usize::MAX).unwrap();
    for packing in [Packing::Whole, Packing::Glued(4), Packing::Glued(7)] {
        let mut decoder = decoder_of(&mixed_plan(), limits(1000));
        let (batches, n_large) = read(&mut decoder, &writer.frames(packing)).unwrap();
        assert_eq!((decoder.rows(), decoder.is_complete(), n_large), (40, true, 1), "{packing:?}");
        assert_batches_equal(&expected, &batches);
    }
}

#[test]
fn a_large_row_comes_after_a_batch_that_it_would_overfill() {
    let frames =
        mixed_row(mixed_row(CopyWriter::new(), [10, 0, 0, 0]), [300_000, 0, 0, 0]).frames(Packing::PerTuple);
    let row_counts = |bytes| {
        let mut decoder = decoder_of(&mixed_plan(), BatchLimits { rows: 1000, bytes, exact: false });
        let (batches, _) = read(&mut decoder, &frames).unwrap();
        batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>()
    };
    assert_eq!(row_counts(300_000), [1, 1]);
    assert_eq!(row_counts(500_000), [2]);
}

/// The stream ends inside a large row, anywhere: the batch is as before it.
#[test]
fn a_message_cut_anywhere() {
    let small = mixed_row(CopyWriter::new(), [10, 10, 10, 10]).without_trailer();
    let before = small.frames(Packing::PerTuple);
    let row = mixed_row(small, [100_000, 90_000, 80_000, 9]).payloads(Packing::HeaderAlone).pop().unwrap();
    let message = frame(&row);
    let expected = decode_in_pieces(decoder_of(&mixed_plan(), limits(10)), &before, usize::MAX).unwrap().0;
    for end in (5..60).chain((60..message.len()).step_by(30_011)).chain(message.len() - 20..message.len()) {
        let mut decoder = decoder_of(&mixed_plan(), limits(10));
        let received = [&before[..], &message[..end]].concat();
        let used_bytes = before.len();
        let progress = decoder.decode(&received[..before.len() + 5]).unwrap();
        assert_eq!(progress, Progress { used_bytes, stop: StopReason::LargeRow { bytes: message.len() } });
        let mut source = Bytes { rest: &received[used_bytes..], longest: 0 };
        assert_eq!(decoder.decode_large(&mut source), Err(LargeError::Source(Closed)), "{end}");
        assert_eq!(decoder.rows(), 1);
        assert_eq!(decoder.flush().unwrap().unwrap(), expected[0]);
        decoder.restart();
        let again = decode_in_pieces(decoder, &before, usize::MAX).unwrap().0;
        assert_eq!(again, expected);
    }
}

/// Lengths of 1 GiB without their bytes, in a column that receives values directly and in one that decodes
/// them.
#[test]
fn a_claimed_length_allocates_little() {
    for column_index in [1, 2, 3, 4] {
        let mut tuple = vec![0, 6];
        tuple.extend([0xff; 4].repeat(column_index));
        tuple.extend(0x3fff_0000_i32.to_be_bytes());
        // With less than a thirty-second of the value here, the rest is not reserved.
        for arrived in [0, 10, 3 << 20] {
            let message = [&b"d\x3f\xff\xff\xff"[..], &tuple, &vec![1; arrived]].concat();
            let mut decoder = decoder_of(&mixed_plan(), limits(10));
            decoder.decode(&CopyWriter::new().without_trailer().frames(Packing::Whole)).unwrap();
            let before = decoder.allocated_bytes();
            let stop = decoder.decode(&message[..5]).unwrap().stop;
            assert_eq!(stop, StopReason::LargeRow { bytes: 1 << 30 });
            let mut source = Bytes { rest: &message, longest: 0 };
            assert_eq!(decoder.decode_large(&mut source), Err(LargeError::Source(Closed)));
            assert!(source.longest <= (1 << 20).max(arrived / 2 + (1 << 20)), "{} asked for", source.longest);
            let allocated = decoder.allocated_bytes() - before;
            assert!(allocated <= arrived + arrived / 2 + (1 << 20) + 4096, "{allocated} for {arrived}");
        }
    }
}

#[test]
fn large_rows_that_are_broken() {
    let good = mixed_row(CopyWriter::new(), [10, 0, 0, 0]).without_trailer().frames(Packing::PerTuple);
    let large = mixed_row(CopyWriter::new(), [100_000, 100_000, 100_000, 9]);
    let row = large.payloads(Packing::HeaderAlone)[1].clone();
    let error_of = |row: &[u8]| {
        let mut decoder = decoder_of(&mixed_plan(), limits(10));
        let frames = [&good[..], &frame(row)].concat();
        let error = read(&mut decoder, &frames).unwrap_err();
        let LargeError::Decode(decode_error) = error.clone() else { panic!("{error:?}") };
        assert_eq!(decoder.rows(), 1);
        // After an error the decoder is finished.
        assert_eq!(decoder.decode(&good), Err(decode_error.clone()));
        assert_eq!(decoder.decode_large(&mut Bytes { rest: &[], longest: 0 }), Err(error.clone()));
        error
    };
    let patched = |at: usize, bytes: &[u8]| {
        let mut row = row.clone();
        row[at..at + bytes.len()].copy_from_slice(bytes);
        row
    };
    let text_at = 2 + 8;
    let bytea_at = text_at + 4 + i32::from_be_bytes(row[text_at..text_at + 4].try_into().unwrap()) as usize;
    let json_at = bytea_at + 4 + 100_000;
    let value = |column_index: usize, column: &str, cause| {
        let column = column.to_owned();
        LargeError::Decode(DecodeError::Value { column_index, column, row: 2, cause })
    };
    // Sums that are not the message's: too many bytes in one value, or an end before the last value.
    for length in [0x7fff_ffff_i32, row.len() as i32, 400_000] {
        assert_eq!(error_of(&patched(text_at, &length.to_be_bytes())), framing(2, FramingError::RowMessage));
    }
    assert_eq!(error_of(&row[..row.len() - 1]), framing(2, FramingError::RowMessage));
    assert_eq!(error_of(&row[..row.len() - 7]), framing(2, FramingError::RowMessage));
    assert_eq!(error_of(&patched(bytea_at, &[0xff; 3])), framing(2, FramingError::ValueLength(-0x60)));
    assert_eq!(
        error_of(&patched(0, &[0, 7])),
        framing(2, FramingError::ValueCount { expected: 6, found: 7 })
    );
    assert_eq!(error_of(&patched(0, &[0xff, 0xff])), framing(2, FramingError::AfterTrailer));
    // Refused values.
    let version = ValueError::Malformed("a value of another version than 1");
    assert_eq!(error_of(&patched(json_at + 4, &[2])), value(3, "json", version));
    let width = ValueError::Width { expected: 4, found: 100_000 };
    let wide =
        CopyWriter::new().tuple([Some(&[0; 100_000][..]), Some(&[b'x'; 200_000]), None, None, None, None]);
    assert_eq!(error_of(&wide.payloads(Packing::HeaderAlone)[1]), value(0, "id", width));
}

/// UTF-8 is checked once per batch, also for large values.
#[test]
fn a_large_text_that_is_not_utf8() {
    let mut text = vec![b'x'; 300_000];
    text[299_999] = 0xc3;
    let tuple = [None, Some(&text[..]), None, None, None, None];
    let frames = mixed_row(CopyWriter::new(), [10, 0, 0, 0]).tuple(tuple).frames(Packing::PerTuple);
    let mut decoder = decoder_of(&mixed_plan(), limits(1000));
    let error = read(&mut decoder, &frames).unwrap_err();
    let expected =
        DecodeError::Value { column_index: 1, column: "text".to_owned(), row: 2, cause: ValueError::Utf8 };
    assert_eq!(error, LargeError::Decode(expected));
}

#[test]
fn nothing_is_received_unless_a_large_row_was_announced() {
    let mut decoder = decoder_of(&mixed_plan(), limits(10));
    let mut source = Bytes { rest: b"d\0\0", longest: 0 };
    decoder.decode_large(&mut source).unwrap();
    decoder.decode(&mixed().frames(Packing::PerTuple)[..100]).unwrap();
    decoder.decode(b"").unwrap();
    decoder.decode_large(&mut source).unwrap();
    assert_eq!(source.rest.len(), 3);
}
