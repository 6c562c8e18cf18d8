//! `macaddr` and `macaddr8`: six or eight bytes.
//!
//! Source: `macaddr_send`, `macaddr_out` (`mac.c`), `macaddr8_send`, `macaddr8_out` (`mac8.c`) in
//! PostgreSQL's `src/backend/utils/adt/`.

use crate::column::text_form::TextForm;
use crate::error::ValueError;

/// Printed as `08:00:2b:01:02:03`.
#[derive(Debug)]
pub(crate) struct Macaddr<const BYTES: usize>;

impl<const BYTES: usize> TextForm for Macaddr<BYTES> {
    fn text_bytes_at_most(&self, _wire: &[u8]) -> usize {
        3 * BYTES
    }

    fn print(&self, wire: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError> {
        if wire.len() != BYTES {
            return Err(ValueError::Width { expected: BYTES, found: wire.len() });
        }
        for (index, byte) in wire.iter().enumerate() {
            if index > 0 {
                text.push(b':');
            }
            let hex = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            text.extend([hex(byte >> 4), hex(byte & 15)]);
        }
        Ok(())
    }
}
