//! `bit` and `varbit`: a count of bits, then the bits from the left.
//!
//! Source: `bit_send`, `varbit_send`, `varbit_out` in PostgreSQL's `src/backend/utils/adt/varbit.c`.

use crate::column::text_form::TextForm;
use crate::error::ValueError;

/// Printed as `0` and `1`, leading zeros kept.
#[derive(Debug)]
pub(crate) struct Bit;

impl TextForm for Bit {
    fn text_bytes_at_most(&self, wire: &[u8]) -> usize {
        wire.len().saturating_mul(8)
    }

    fn print(&self, wire: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError> {
        let (bits, bytes) =
            wire.split_first_chunk::<4>().ok_or(ValueError::Malformed("a bit string without its length"))?;
        let bits = usize::try_from(i32::from_be_bytes(*bits))
            .map_err(|_| ValueError::Malformed("a bit string of a negative length"))?;
        if bytes.len() != bits.div_ceil(8) {
            return Err(ValueError::Malformed("a bit string whose length and bytes differ"));
        }
        let digits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| b'0' + (byte >> shift & 1)));
        text.extend(digits.take(bits));
        Ok(())
    }
}
