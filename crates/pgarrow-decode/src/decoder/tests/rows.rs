//! Rows that are messages of their own, as a SELECT or a cursor sends them.

use super::*;

fn data_row(body: &[u8]) -> Vec<u8> {
    let mut message = frame(body);
    message[0] = b'D';
    message
}

/// The tuples of a stream, each in its own message.
fn data_rows(writer: &CopyWriter) -> Vec<u8> {
    let payloads = writer.clone().without_trailer().payloads(Packing::HeaderAlone);
    payloads[1..].iter().flat_map(|tuple| data_row(tuple)).collect()
}

fn rows_decoder(limits: BatchLimits) -> CopyDecoder {
    let options = TypeOptions::default();
    let columns = plan().iter().map(|column| make_column(&column.pg_type, &options, 0)).collect();
    CopyDecoder::for_rows(Arc::new(schema(&plan(), HashMap::new())), columns, limits)
}

fn decode_rows(bytes: &[u8]) -> Result<(Vec<RecordBatch>, CopyDecoder), DecodeError> {
    decode_in_pieces(rows_decoder(limits(1000)), bytes, usize::MAX)
}

#[test]
fn they_are_the_rows_of_the_copy() {
    let writer = rows(300);
    let (expected, _) = decode(&writer.frames(Packing::PerTuple)).unwrap();
    let messages = data_rows(&writer);
    for batch_rows in [1, 3, 256, 1000] {
        for piece_bytes in [1, 7, 64, 1000, usize::MAX] {
            for exact in [false, true] {
                let limits = BatchLimits { rows: batch_rows, bytes: 1 << 20, exact };
                let (batches, decoder) =
                    decode_in_pieces(rows_decoder(limits), &messages, piece_bytes).unwrap();
                assert_eq!((decoder.rows(), decoder.is_complete()), (300, true));
                assert!(batches.iter().all(|batch| batch.num_rows() <= batch_rows));
                assert_batches_equal(&expected, &batches);
            }
        }
    }
}

/// If a value needs the careful way, the messages of its chunk go there; later ones use the fast way again.
#[test]
fn the_careful_way_gives_the_same_rows() {
    let messages = data_rows(&rows(300));
    let (expected, _) = decode_rows(&messages).unwrap();
    let mut decoder = rows_decoder(limits(1000));
    decoder.n_to_stitch = usize::MAX;
    let (batches, decoder) = decode_in_pieces(decoder, &messages, 999).unwrap();
    assert_eq!(batches, expected);
    assert!(decoder.is_complete());
}

#[test]
fn no_rows_are_complete() {
    let (batches, decoder) = decode_rows(b"").unwrap();
    assert!(batches.is_empty() && decoder.is_complete());
    let mut decoder = rows_decoder(limits(10));
    let progress = decoder.decode(b"C\0\0\0\x0dSELECT 0\0").unwrap();
    assert_eq!(progress, Progress { used_bytes: 0, stop: StopReason::OtherMessage });
    assert_eq!(decoder.decode(&frame(b"")).unwrap().stop, StopReason::OtherMessage);
}

#[test]
fn a_message_is_exactly_one_row() {
    let tuples = rows(2).without_trailer().payloads(Packing::HeaderAlone);
    let good = data_row(&tuples[1]);
    let two = [&tuples[1][..], &tuples[2]].concat();
    let cause_of = |body: &[u8]| {
        for before in [0, 3, 400] {
            let messages = [good.repeat(before), data_row(body), good.clone()].concat();
            for piece_bytes in [13, usize::MAX] {
                let decoder = rows_decoder(limits(1000));
                match decode_in_pieces(decoder, &messages, piece_bytes) {
                    Err(DecodeError::Framing { row, .. }) => assert_eq!(row, before as u64 + 1),
                    other => panic!("{:?}", other.map(|(batches, _)| batches)),
                }
            }
        }
        match decode_rows(&data_row(body)) {
            Err(DecodeError::Framing { cause, .. }) => cause,
            other => panic!("{:?}", other.map(|(batches, _)| batches)),
        }
    };
    assert_eq!(cause_of(&two), FramingError::RowMessage, "glued");
    for end in [0, 1, 2, 5, 9, tuples[1].len() - 1] {
        assert_eq!(cause_of(&tuples[1][..end]), FramingError::RowMessage, "split at {end}");
    }
    assert_eq!(cause_of(&[&tuples[1][..], &[0]].concat()), FramingError::RowMessage, "a byte too many");
    let count = |found| FramingError::ValueCount { expected: 4, found };
    assert_eq!(cause_of(&[0xff, 0xff]), count(-1), "no trailer ends rows");
    assert_eq!(cause_of(&[0, 3, 0, 0, 0, 0]), count(3));
    assert_eq!(cause_of(&[&[0, 4][..], &[0xff; 8], &[0x80, 0, 0, 0, 0, 0, 0, 0]].concat()), {
        FramingError::ValueLength(i32::MIN)
    });
}

#[test]
fn the_row_of_a_bad_value_is_named() {
    let id = 1_i32.to_be_bytes();
    let tuple = |flag| [Some(&id[..]), None, None, Some(flag)];
    let writer = (0..300).fold(CopyWriter::new(), |writer, _| writer.tuple(tuple(&[1][..])));
    let messages = data_rows(&writer.tuple(tuple(&[2])));
    let error = decode_rows(&messages).map(|_| ()).unwrap_err();
    assert!(matches!(error, DecodeError::Value { column_index: 3, row: 301, .. }), "{error:?}");
}

proptest! {
    /// No bytes make the decoder panic, and the cuts do not change the result.
    #[test]
    fn any_bytes(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6), piece in 1..50_usize) {
        let mut messages = data_rows(&rows(2));
        bodies.iter().for_each(|body| messages.extend(data_row(body)));
        let whole = decode_rows(&messages).map(|(batches, decoder)| (batches, decoder.rows()));
        let cut = decode_in_pieces(rows_decoder(limits(1000)), &messages, piece)
            .map(|(batches, decoder)| (batches, decoder.rows()));
        prop_assert_eq!(whole, cut);
    }
}
