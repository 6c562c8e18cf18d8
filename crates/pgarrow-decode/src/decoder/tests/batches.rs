//! Where batches end, consecutive streams, and reused buffers.

use super::*;

fn exact(rows: usize, bytes: usize) -> BatchLimits {
    BatchLimits { rows, bytes, exact: true }
}

fn row_counts(batches: &[RecordBatch]) -> Vec<usize> {
    batches.iter().map(RecordBatch::num_rows).collect()
}

/// `n_rows` rows of [`plan`] with texts of up to `longest` bytes.
fn rows_up_to(n_rows: usize, longest: usize) -> CopyWriter {
    let text = "x".repeat(longest);
    let id = 1_i32.to_be_bytes();
    (0..n_rows).fold(CopyWriter::new(), |writer, row| {
        // Far apart, so that chunks are cut at many places.
        let length = (row * 7919) % (longest + 1);
        writer.tuple([Some(&id[..]), Some(&text.as_bytes()[..length]), None, None])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// An exact batch ends at the same row, whatever the packing and the cuts of the stream.
    #[test]
    fn exact_batches_do_not_depend_on_how_bytes_arrive(
        n_rows in 1..1500_usize,
        longest in prop::sample::select(vec![0_usize, 3, 100, 3000]),
        rows in prop::sample::select(vec![1_usize, 100, 256, 300, 100_000]),
        bytes in prop::sample::select(vec![0_usize, 1, 5000, 20_000, 500_000]),
        piece_bytes in prop::sample::select(vec![300_usize, 1000, 8192, 70_000, usize::MAX]),
        glued in 1..300_usize,
        split in prop::sample::select(vec![50_usize, 999, 20_000]),
    ) {
        let writer = rows_up_to(n_rows, longest);
        let limits = exact(rows, bytes);
        let whole = writer.frames(Packing::PerTuple);
        let (expected, _) = decode_in_pieces(decoder_of(&plan(), limits), &whole, usize::MAX).unwrap();
        for packing in [Packing::PerTuple, Packing::Glued(glued), Packing::Split(split), Packing::WithEmpty] {
            let frames = writer.frames(packing);
            let decoder = decoder_of(&plan(), limits);
            let (batches, _) = decode_in_pieces(decoder, &frames, piece_bytes).unwrap();
            prop_assert_eq!(&expected, &batches, "{:?}", packing);
        }
    }
}

#[test]
fn an_exact_batch_looks_at_arrow_bytes_every_256_rows() {
    let (batches, _) = decode_in_pieces(
        decoder_of(&plan(), exact(100_000, 9000)),
        &rows(1000).frames(Packing::PerTuple),
        999,
    )
    .unwrap();
    assert_eq!(row_counts(&batches), [256, 256, 256, 232]);
}

#[test]
fn an_exact_batch_ends_with_the_row_that_fills_it_on_the_wire() {
    let text = [b'x'; 980];
    let id = 1_i32.to_be_bytes();
    let tuple = [Some(&id[..]), Some(&text[..]), None, None]; // 2 + 8 + 984 + 4 + 4 = 1002 bytes
    let writer = (0..25).fold(CopyWriter::new(), |writer, _| writer.tuple(tuple));
    for (bytes, n_rows) in [(5009, 10), (5010, 10), (5011, 11), (500, 1), (502, 2), (0, 1)] {
        for packing in [Packing::PerTuple, Packing::Glued(4), Packing::Split(777)] {
            let decoder = decoder_of(&plan(), exact(1000, bytes));
            let (batches, _) = decode_in_pieces(decoder, &writer.frames(packing), 2000).unwrap();
            assert_eq!(batches[0].num_rows(), n_rows, "{bytes} {packing:?}");
        }
    }
}

#[test]
fn a_decoder_goes_on_with_the_next_stream() {
    let frames = rows(700).frames(Packing::PerTuple);
    let (expected, _) = decode_in_pieces(decoder_of(&plan(), limits(300)), &frames, 1000).unwrap();
    let mut decoder = decoder_of(&plan(), limits(300));
    // Stopped in the middle of a value, after an error, and at the end.
    for left in [&frames[..frames.len() / 2], &frame(b"no copy"), &frames[..]] {
        let _ = decoder.decode(left);
        decoder.restart();
        assert_eq!((decoder.rows(), decoder.is_complete()), (0, false));
        let (batches, after) = decode_in_pieces(decoder, &frames, 1000).unwrap();
        assert_eq!(batches, expected);
        assert_eq!((after.rows(), after.is_complete()), (700, true));
        decoder = after;
        decoder.restart();
    }
}

#[test]
fn an_error_found_when_a_batch_is_handed_out_does_not_stay() {
    let id = 1_i32.to_be_bytes();
    let broken = CopyWriter::new().tuple([Some(&id[..]), Some(b"\xff"), None, None]);
    let mut decoder = decoder_of(&plan(), limits(300));
    decoder.decode(&broken.frames(Packing::PerTuple)).unwrap();
    decoder.flush().unwrap_err();
    decoder.restart();
    let frames = rows(10).frames(Packing::PerTuple);
    let (batches, _) = decode_in_pieces(decoder, &frames, usize::MAX).unwrap();
    let (expected, _) = decode(&frames).unwrap();
    assert_eq!(batches, expected);
}

#[test]
fn batches_become_smaller_under_pressure() {
    let frames = rows(20_000).frames(Packing::PerTuple);
    let mut decoder = decoder_of(&plan(), limits(1 << 20));
    decoder.set_batch_bytes(1 << 30);
    let progress = decoder.decode(&frames[..frames.len() / 2]).unwrap();
    assert_eq!(progress.stop, StopReason::NeedMore);
    decoder.set_batch_bytes(4096);
    let rest = &frames[progress.used_bytes..];
    assert_eq!(decoder.decode(rest).unwrap(), Progress { used_bytes: 0, stop: StopReason::BatchFull });
    decoder.flush().unwrap();
    let (batches, _) = decode_in_pieces(decoder, rest, usize::MAX).unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= 512), "{:?}", row_counts(&batches));
}

fn buffer_addresses(batch: &RecordBatch) -> Vec<*const u8> {
    batch.columns().iter().flat_map(|array| array.to_data().buffers().to_vec()).map(|b| b.as_ptr()).collect()
}

#[test]
fn batches_are_built_in_buffers_that_came_back() {
    let frames = rows(1000).frames(Packing::PerTuple);
    let mut decoder = decoder_of(&plan(), limits(10_000));
    let run = |decoder: &mut CopyDecoder| {
        decoder.restart();
        decoder.decode(&frames).unwrap();
        decoder.flush().unwrap().unwrap()
    };
    let first = run(&mut decoder);
    let expected = first.clone();
    // The batch is still held elsewhere: its buffers stay untouched.
    decoder.recycle(first);
    let second = run(&mut decoder);
    assert_eq!(decoder.reuse(), BufferReuse { allocated: 8, reused: 0 });
    assert_eq!((&expected, &expected), (&second, &run(&mut decoder)));
    let addresses = buffer_addresses(&second);
    decoder.recycle(second);
    let allocated = decoder.allocated_bytes();
    let again = run(&mut decoder);
    assert_eq!(again, expected);
    assert_eq!(buffer_addresses(&again), addresses);
    assert_eq!(decoder.reuse(), BufferReuse { allocated: 12, reused: 4 });
    assert!(decoder.allocated_bytes() < allocated, "what was handed out is not held");
    // A batch of other columns gives no buffers, and does no harm.
    let plan = [column("id", PgType::Int8, false), column("name", PgType::Bytea, true)];
    let other = (0..9).fold(CopyWriter::new(), |w, _| w.tuple([Some(&[0_u8; 8][..]), Some(b"a")]));
    let mut other_decoder = decoder_of(&plan, limits(100));
    other_decoder.decode(&other.frames(Packing::PerTuple)).unwrap();
    decoder.recycle(other_decoder.flush().unwrap().unwrap());
    assert_eq!(run(&mut decoder), expected);
}

/// Each chunk of a small batch had its values copied into larger buffers.
#[test]
fn a_small_batch_gets_its_room_at_once() {
    let plan = [column("id", PgType::Int8, false), column("name", PgType::Text, false)];
    let allocated = |n: usize, limits: BatchLimits| {
        let tuple = |writer: CopyWriter, _| writer.tuple([Some(&[0_u8; 8][..]), Some(b"some name")]);
        let frames = (0..n).fold(CopyWriter::new(), tuple).frames(Packing::PerTuple);
        let mut decoder = decoder_of(&plan, limits);
        decoder.decode(&frames).unwrap();
        decoder.allocated_bytes()
    };
    let usual = BatchLimits::default();
    assert_eq!(allocated(300, usual), allocated(1000, usual));
    // With little room in the batch, it is not more than that.
    let little = allocated(300, BatchLimits { bytes: 8 << 10, ..usual });
    assert!(little < 64 << 10, "{little}");
}

#[test]
fn what_is_held_is_counted() {
    let mut decoder = decoder_of(&plan(), limits(1 << 20));
    let at_first = decoder.allocated_bytes();
    let (batches, decoder_after) =
        decode_in_pieces(decoder_of(&plan(), limits(1 << 20)), &rows(5000).frames(Packing::PerTuple), 9999)
            .unwrap();
    assert_eq!(decoder_after.allocated_bytes(), at_first + decoder_after.stitch.allocated_bytes());
    let arrow_bytes: usize =
        batches[0].columns().iter().flat_map(|a| a.to_data().buffers().to_vec()).map(|b| b.len()).sum();
    decoder.decode(&rows(5000).frames(Packing::PerTuple)).unwrap();
    let allocated = decoder.allocated_bytes();
    // Room for a full batch is made at once.
    assert!((arrow_bytes..(1 << 20) * 9 / 8 + (64 << 10)).contains(&allocated), "{allocated}");
    // With few rows, an eighth and one chunk are wasted at most.
    let mut decoder = decoder_of(&plan(), limits(1 << 20));
    decoder.decode(&rows(1000).frames(Packing::PerTuple)).unwrap();
    let allocated = decoder.allocated_bytes();
    assert!((arrow_bytes / 5..arrow_bytes * 3 / 10 + (64 << 10)).contains(&allocated), "{allocated}");
    // The bytes of a message that is not decoded count, too.
    let mut decoder = decoder_of(&plan(), limits(1 << 20));
    let half = rows(1).stream()[..21].to_vec();
    decoder.decode(&frame(&half)).unwrap();
    assert!(decoder.allocated_bytes() >= at_first + 2);
}
