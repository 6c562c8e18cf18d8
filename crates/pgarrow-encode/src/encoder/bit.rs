//! `bit_recv`, `varbit_recv`: a count of bits, then the bits from the left.
//!
//! The server itself checks the number of bits for `bit(n)`.
//!
//! Source: `varbit.c` in PostgreSQL's `src/backend/utils/adt/`.

use arrow_schema::DataType;

use super::each::each_string;
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match Strings::is(source) {
        true => Ok(each_string(|value, out| write::measured(out, |out| write_bits(value.as_bytes(), out)))),
        false => Err(refuse(source, target)),
    }
}

fn write_bits(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let n_bits = i32::try_from(text.len()).map_err(|_| ValueError::TooLarge)?;
    out.extend_from_slice(&n_bits.to_be_bytes());
    for eight in text.chunks(8) {
        let mut byte = 0;
        for (index, bit) in eight.iter().enumerate() {
            match bit {
                b'0' => {}
                b'1' => byte |= 0x80 >> index,
                _ => return Err(ValueError::Malformed("bits are 0 and 1")),
            }
        }
        out.push(byte);
    }
    Ok(())
}
