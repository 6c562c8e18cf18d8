//! What policies did to values: counted for rows that were handed out, whatever their cuts.

use pgarrow_column::{Effect, Effects};

use super::*;

/// 24:00:00, which is counted and unchanged.
const END_OF_DAY: i64 = 86_400_000_000;

fn times() -> Vec<PgColumn> {
    vec![column("id", PgType::Int4, false), column("at", PgType::Time, true)]
}

/// Every third time is the end of the day, every fifth NULL.
fn rows_of_times(n_rows: i32) -> CopyWriter {
    (0..n_rows).fold(CopyWriter::new(), |writer, i| {
        let id = i.to_be_bytes();
        let at = if i % 3 == 0 { END_OF_DAY } else { i64::from(i) }.to_be_bytes();
        writer.tuple([Some(&id[..]), (i % 5 != 0).then_some(&at[..])])
    })
}

/// The count of column `at`; the other column has none.
fn ends_of_day(decoder: &mut CopyDecoder) -> u64 {
    let [of_id, of_time] = decoder.take_effects()[..] else { panic!("two columns") };
    assert_eq!(of_id, Effects::default());
    of_time.count(Effect::EndOfDay)
}

#[test]
fn effects_do_not_depend_on_how_rows_arrive() {
    let expected = (0..1000).filter(|i| i % 3 == 0 && i % 5 != 0).count() as u64;
    for packing in Packing::ALL {
        let frames = rows_of_times(1000).frames(packing);
        for (batch_rows, exact) in [(1, false), (300, false), (300, true), (100_000, true)] {
            for piece_bytes in [7, 1000, usize::MAX] {
                let limits = BatchLimits { rows: batch_rows, bytes: 4000, exact };
                let (_, mut decoder) =
                    decode_in_pieces(decoder_of(&times(), limits), &frames, piece_bytes).unwrap();
                assert_eq!(ends_of_day(&mut decoder), expected, "{packing:?}, {piece_bytes}");
                assert_eq!(ends_of_day(&mut decoder), 0, "they are told once");
            }
        }
    }
}

#[test]
fn rows_that_were_never_handed_out_count_for_nothing() {
    let frames = rows_of_times(30).frames(Packing::PerTuple);
    let mut decoder = decoder_of(&times(), limits(10));
    assert_eq!(decoder.decode(&frames).unwrap().stop, StopReason::BatchFull);
    assert_eq!(ends_of_day(&mut decoder), 0);
    decoder.restart();
    let (_, mut decoder) = decode_in_pieces(decoder, &frames, usize::MAX).unwrap();
    assert_eq!(ends_of_day(&mut decoder), 8);
}
