//! A COPY stream, cut in two ways: the rows are the same, or both are refused.
//!
//! ```text
//! input = plan (1 byte) batch rows (1 byte) mode (1 byte) n (1 byte) cuts (n × u16, big-endian) bytes
//! mode    0: the bytes are messages; cuts are where the socket had no more
//!         1: the bytes are the stream behind its header; cuts are where messages end
//!         2: as 0, for rows that are messages of their own
//!         3: as 1, but the bytes are the body of one such row, with a message after it
//! + 4     the batches are exact
//! + 8 × k choices about types, see `types::options`; 0 is the default
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use pgarrow_column::{Column, make_column};
use pgarrow_decode::{BatchLimits, CopyDecoder, DecodeError, StopReason};
use pgarrow_types::{NumericType, PgColumn, PgType, TypeOptions, schema};

use crate::types;

pub(crate) const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Large and odd: even the few combinations of choices that fit differ in all choices.
const CHOICES_STEP: u32 = 0x9e37_79b9;

/// The result of a stream: the batches before its end or its error, and which of the two it was.
struct Outcome {
    batches: Vec<RecordBatch>,
    end: Result<bool, DecodeError>,
}

pub(crate) fn check(data: &[u8]) {
    let Some(([plan, batch_rows, mode, n_cuts], rest)) = data.split_first_chunk::<4>() else { return };
    let (cuts, bytes) = rest.split_at(rest.len().min(2 * usize::from(*n_cuts)));
    let columns = plan_of(*plan, types::options(u32::from(mode >> 3).wrapping_mul(CHOICES_STEP)));
    let exact = mode & 4 != 0;
    let limits =
        BatchLimits { rows: usize::from(*batch_rows), bytes: if exact { 64 } else { 1 << 30 }, exact };
    let mut cuts: Vec<usize> = cuts
        .as_chunks::<2>()
        .0
        .iter()
        .map(|cut| usize::from(u16::from_be_bytes(*cut)) % (bytes.len() + 1))
        .collect();
    cuts.sort_unstable();
    let pieces = pieces(bytes, &cuts);

    let make = if mode & 2 == 0 { CopyDecoder::new } else { CopyDecoder::for_rows };
    let (whole, cut) = match mode & 3 {
        0 | 2 => (run(make, &columns, limits, &[bytes]), run(make, &columns, limits, &pieces)),
        1 => {
            let whole = frame(b"d", &[&HEADER, bytes].concat());
            let messages = [&HEADER[..]].into_iter().chain(pieces).flat_map(|payload| frame(b"d", payload));
            let messages: Vec<u8> = messages.collect();
            let bytewise: Vec<&[u8]> = messages.chunks(7).collect();
            (run(make, &columns, limits, &[&whole]), run(make, &columns, limits, &bytewise))
        }
        _ => {
            let messages = [frame(b"D", bytes), b"C\0\0\0\x05\0".to_vec()].concat();
            let pieces: Vec<&[u8]> = messages.chunks(usize::from(*n_cuts) + 1).collect();
            (run(make, &columns, limits, &[&messages]), run(make, &columns, limits, &pieces))
        }
    };

    // An error in a message may come before or after the rows in front of it are handed out.
    let n_common = whole.batches.len().min(cut.batches.len());
    assert_eq!(whole.batches.get(..n_common), cut.batches.get(..n_common));
    match (whole.end, cut.end) {
        (Ok(whole_is_complete), Ok(cut_is_complete)) => {
            assert_eq!(whole.batches.len(), cut.batches.len());
            assert_eq!(whole_is_complete, cut_is_complete);
        }
        (Err(_), Err(_)) => {}
        (whole, cut) => panic!("whole: {whole:?}, cut: {cut:?}"),
    }
    for column in whole.batches.iter().flat_map(RecordBatch::columns) {
        column.to_data().validate_full().expect("sound arrays");
    }
}

/// 0 is a usual table; the others have two columns of every type.
pub(crate) fn plan_of(plan: u8, options: TypeOptions) -> Vec<PgColumn> {
    let column = |name: &str, pg_type, nullable| PgColumn {
        name: name.to_owned(),
        pg_type,
        type_oid: 0,
        type_modifier: -1,
        type_name: String::new(),
        nullable,
        comment: None,
        number: 1,
        options,
    };
    if plan == 0 {
        return vec![
            column("id", PgType::Int4, false),
            column("name", PgType::Text, true),
            column("price", PgType::Numeric(NumericType::Declared { precision: 15, scale: 2 }), true),
            column("flag", PgType::Bool, true),
        ];
    }
    let types = types::all();
    let pg_type = types.get(usize::from(plan) % types.len()).cloned();
    let pg_type = pg_type.unwrap_or(PgType::Text);
    vec![column("a", pg_type.clone(), true), column("b", pg_type, false)]
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let mut start = 0;
    let pieces = ends.filter_map(|end| {
        let piece = bytes.get(start..end);
        start = end;
        piece
    });
    pieces.collect()
}

fn frame(tag: &[u8], payload: &[u8]) -> Vec<u8> {
    [tag, &(payload.len() as u32 + 4).to_be_bytes(), payload].concat()
}

type Make = fn(SchemaRef, Vec<Box<dyn Column>>, BatchLimits) -> CopyDecoder;

/// Feeds pieces as a socket does: unused bytes come again with more behind them.
fn run(make: Make, columns: &[PgColumn], limits: BatchLimits, pieces: &[&[u8]]) -> Outcome {
    let schema = Arc::new(schema(columns, HashMap::new()));
    let columns = columns.iter().map(|column| make_column(&column.pg_type, &column.options, 0)).collect();
    let mut decoder = make(schema, columns, limits);
    let mut batches = Vec::new();
    let end = feed(&mut decoder, pieces, &mut batches);
    if end.is_err() {
        assert!(decoder.decode(&[]).is_err() && decoder.flush().is_err(), "an error is the end");
    } else {
        let n_rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(decoder.rows(), n_rows as u64);
    }
    Outcome { batches, end }
}

fn feed(
    decoder: &mut CopyDecoder,
    pieces: &[&[u8]],
    batches: &mut Vec<RecordBatch>,
) -> Result<bool, DecodeError> {
    let mut received = Vec::new();
    for piece in pieces {
        received.extend_from_slice(piece);
        loop {
            let progress = decoder.decode(&received)?;
            assert!(progress.used_bytes <= received.len());
            received.drain(..progress.used_bytes);
            match progress.stop {
                StopReason::BatchFull => batches.extend(decoder.flush()?),
                StopReason::NeedMore | StopReason::OtherMessage | StopReason::LargeRow { .. } => break,
            }
        }
    }
    batches.extend(decoder.flush()?);
    Ok(decoder.is_complete())
}
