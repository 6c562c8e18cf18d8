//! Rows of one type: if they can be decoded, they can be encoded, and decoding them again gives the same
//! rows.
//!
//! ```text
//! input = type (1 byte, modulo the number of types) choices (4 bytes, see `types::options`) row*
//! row   = as in a COPY stream: 00 01, a length, a value
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use pgarrow_column::make_column;
use pgarrow_decode::{BatchLimits, CopyDecoder, StopReason};
use pgarrow_encode::{
    Conversions, EncodeError, HEADER, RefusalKind, RowEncoder, TRAILER, TypeTarget, ValueError, make_encoder,
};
use pgarrow_types::{
    DeclaredType, EncodingPolicy, InfinityPolicy, NanPolicy, OutOfRangePolicy, PgColumn, PgType, TypeOptions,
    schema,
};

use crate::types;

pub(crate) fn check(data: &[u8]) {
    let Some(([index, choices @ ..], rows)) = data.split_first_chunk::<5>() else { return };
    let types = types::all();
    let Some(pg_type) = types.get(usize::from(*index) % types.len()) else { return };
    // Without the choices that change values.
    let options = TypeOptions {
        infinity: InfinityPolicy::Error,
        nan: NanPolicy::Error,
        out_of_range: OutOfRangePolicy::Error,
        encoding: EncodingPolicy::Error,
        ..types::options(u32::from_be_bytes(*choices))
    };
    let columns = [column(pg_type.clone(), options)];
    let Some(batch) = decode(&columns, &[HEADER, rows, &TRAILER].concat()) else { return };

    let field = columns[0].field();
    let declared = DeclaredType::new(0, -1);
    let target = TypeTarget { pg_type, declared: &declared, conversions: Conversions::Check };
    let encoder = match make_encoder(&field, target) {
        Ok(encoder) => encoder,
        // Numerics that became floats, and types that became text that only the server reads.
        Err(refusal) => {
            let is_expected = matches!(refusal.kind, RefusalKind::NeedsRound | RefusalKind::NeedsServer);
            assert!(is_expected, "{pg_type:?}: {refusal}");
            return;
        }
    };
    let encoder = RowEncoder::new(vec![(0, encoder)]).expect("one column");
    let has_numeric = format!("{pg_type:?}").contains("Numeric");
    let stream = match encode(&encoder, &batch) {
        Ok(stream) => stream,
        // Dates, labels, SRIDs, texts, shapes, keys, and digits of numeric(3,-6) that no server sends.
        Err(error) => {
            let is_expected = match error.cause {
                ValueError::OutOfRange | ValueError::Label | ValueError::Srid | ValueError::ZeroByte => true,
                ValueError::Invalid(_) | ValueError::DuplicateKey => true,
                ValueError::LostDigits => has_numeric,
                _ => false,
            };
            assert!(is_expected, "{pg_type:?}: {error}");
            assert!(error.row < batch.num_rows() && error.column == 0);
            return;
        }
    };
    let again = decode(&columns, &stream).expect("what was encoded is decoded");
    if again != batch {
        // No server sends a numeric with zeros before its first digit, a zero with a minus, a cidr in a
        // column of inet, or a geography without an SRID. Encoding changes them, once.
        let has_other_forms = has_numeric || matches!(pg_type, PgType::Inet | PgType::Geometry(_));
        assert!(has_other_forms, "{pg_type:?}: {again:?} instead of {batch:?}");
        assert_eq!(encode(&encoder, &again).as_ref(), Ok(&stream), "{pg_type:?}");
    }
}

/// The stream of a batch.
fn encode(encoder: &RowEncoder, batch: &RecordBatch) -> Result<Vec<u8>, EncodeError> {
    let bound = encoder.bind(batch).expect("an array of the field's type");
    let mut stream = HEADER.to_vec();
    let end = bound.write_rows(0, usize::MAX, &mut stream)?;
    assert_eq!(end, batch.num_rows());
    stream.extend(TRAILER);
    Ok(stream)
}

fn column(pg_type: PgType, options: TypeOptions) -> PgColumn {
    PgColumn {
        name: "v".to_owned(),
        pg_type,
        type_oid: 0,
        type_modifier: -1,
        type_name: String::new(),
        nullable: true,
        comment: None,
        number: 1,
        options,
    }
}

/// All rows of a stream, if it is valid and has some.
fn decode(columns: &[PgColumn], stream: &[u8]) -> Option<RecordBatch> {
    let schema = Arc::new(schema(columns, HashMap::new()));
    let decoders = columns.iter().map(|column| make_column(&column.pg_type, &column.options, 0)).collect();
    let limits = BatchLimits { rows: 1 << 20, bytes: 1 << 30, ..BatchLimits::default() };
    let mut decoder = CopyDecoder::new(schema, decoders, limits);
    let length = u32::try_from(stream.len() + 4).ok()?;
    let message = [b"d", &length.to_be_bytes()[..], stream].concat();
    let progress = decoder.decode(&message).ok()?;
    let is_whole = progress.used_bytes == message.len() && progress.stop == StopReason::NeedMore;
    let batch = decoder.flush().ok()?;
    if is_whole && decoder.is_complete() { batch } else { None }
}
