//! Values of one type: any bytes are decoded or refused, and the result is valid Arrow.
//!
//! ```text
//! input = type (1 byte, modulo the number of types) choices (4 bytes, see `types::options`) value*
//! value = 255: NULL │ 254, i32: a false length │ n < 254, n bytes
//! ```

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type};
use arrow_array::{Array, ArrayRef};
use pgarrow_column::{CHUNK_ROWS, Chunk, Column, Effects, RowError, ValueError, make_column};
use pgarrow_types::{PgType, TypeOptions};

use crate::types;

/// The most bytes of memory that a column may allocate for a byte of input. A numeric without digits can have
/// 147,455 zeros; here its length is one byte and its header eight.
const EXPANSION_MAX: usize = 20_480;

/// Bytes of memory that a column may always allocate, beside those it has from the beginning.
const ALLOCATED_MIN: usize = 64 << 10;

/// The values as they are in a chunk.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    cursors: Vec<u32>,
    ends: Vec<u32>,
    /// Some length is not that of its value, so the result behind it depends on where chunks end.
    has_lie: bool,
}

pub(crate) fn check(data: &[u8]) {
    let Some(([index, choices @ ..], values)) = data.split_first_chunk::<5>() else { return };
    let types = types::all();
    let Some(pg_type) = types.get(usize::from(*index) % types.len()) else { return };
    let options = types::options(u32::from_be_bytes(*choices));
    let wire = wire(values);

    let whole = decode(pg_type, &options, &wire, CHUNK_ROWS);
    for chunk_rows in [1, 3] {
        let in_chunks = decode(pg_type, &options, &wire, chunk_rows);
        match (&in_chunks, &whole) {
            _ if wire.has_lie => {}
            // If several values are wrong, the first error may depend on which values are in one chunk.
            (Err(_), Err(_)) if is_nested(pg_type) => {}
            _ => assert_eq!(in_chunks, whole, "{pg_type:?}, {chunk_rows} at a time"),
        }
    }
    if let Ok((array, effects)) = whole {
        assert_eq!(array.len(), wire.cursors.len());
        assert_eq!(array.data_type(), &pg_type.data_type(&options));
        array.to_data().validate_full().expect("sound arrays");
        if let Some(array) = array.as_primitive_opt::<Decimal128Type>() {
            array.validate_decimal_precision(array.precision()).expect("digits as declared");
        }
        if let Some(array) = array.as_primitive_opt::<Decimal256Type>() {
            array.validate_decimal_precision(array.precision()).expect("digits as declared");
        }
        let is_nulled = pg_type.may_become_null(&options) && effects.iter().next().is_some();
        let n_nulls = wire.cursors.iter().filter(|cursor| is_null(&wire, **cursor)).count();
        assert!(array.null_count() == n_nulls || is_nulled, "{pg_type:?}: another number of NULLs");
    }
}

/// Values inside other values are decoded later than those.
fn is_nested(pg_type: &PgType) -> bool {
    matches!(
        pg_type,
        PgType::Array(_) | PgType::Composite(_) | PgType::Range(_) | PgType::Multirange(_) | PgType::Hstore
    )
}

fn is_null(wire: &Wire, cursor: u32) -> bool {
    wire.bytes.get(cursor as usize..).and_then(<[u8]>::first_chunk::<4>) == Some(&[0xff; 4])
}

fn wire(mut values: &[u8]) -> Wire {
    let mut wire = Wire::default();
    while let Some((n_bytes, rest)) = values.split_first() {
        if wire.cursors.len() == CHUNK_ROWS {
            break;
        }
        let start = wire.bytes.len() as u32;
        let (length, value, rest) = match *n_bytes {
            255 => ([0xff; 4], &[][..], rest),
            254 => {
                let Some((length, rest)) = rest.split_first_chunk::<4>() else { break };
                wire.has_lie = true;
                (*length, &[][..], rest)
            }
            n_bytes => {
                let (value, rest) = rest.split_at(rest.len().min(usize::from(n_bytes)));
                ((value.len() as u32).to_be_bytes(), value, rest)
            }
        };
        wire.cursors.push(start);
        wire.bytes.extend(length);
        wire.bytes.extend(value);
        wire.ends.push(wire.bytes.len() as u32);
        values = rest;
    }
    wire
}

/// Decodes every chunk, takes it back, and decodes it again. The row of an error counts over all chunks.
fn decode(
    pg_type: &PgType,
    options: &TypeOptions,
    wire: &Wire,
    chunk_rows: usize,
) -> Result<(ArrayRef, Effects), RowError> {
    let mut column: Box<dyn Column> = make_column(pg_type, options, 0);
    let allocated_max = column.allocated_bytes() + ALLOCATED_MIN + EXPANSION_MAX * wire.bytes.len();
    let mut before = 0;
    for (cursors, ends) in wire.cursors.chunks(chunk_rows).zip(wire.ends.chunks(chunk_rows)) {
        for is_second in [false, true] {
            let mut cursors = cursors.to_vec();
            let decoded = column.decode(&mut Chunk::new(&wire.bytes, &mut cursors));
            let allocated_bytes = column.allocated_bytes();
            assert!(allocated_bytes <= allocated_max, "{pg_type:?}: {allocated_bytes} bytes allocated");
            // A false length may lead to the bytes of another row: the decoder refuses the chunk then.
            if decoded.is_ok() && cursors != ends {
                let row = cursors.iter().zip(ends).position(|(cursor, end)| cursor != end).unwrap_or(0);
                return Err(RowError { row: before + row, cause: ValueError::Length });
            }
            if let Err(error) = decoded {
                assert!(error.row < cursors.len(), "{error:?} in a chunk of {}", cursors.len());
                assert!(!is_second, "refused the second time: {error:?}");
                return Err(RowError { row: before + error.row, ..error });
            }
            if !is_second {
                column.truncate(before);
            }
        }
        before += cursors.len();
    }
    let mut effects = Effects::default();
    let array = column.finish()?;
    column.take_effects(&mut effects);
    Ok((array, effects))
}
