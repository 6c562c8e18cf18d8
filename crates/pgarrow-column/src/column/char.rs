//! `"char"`: one byte, of any value.
//!
//! Source: `charsend` and (since PostgreSQL 16) `charout` in `src/backend/utils/adt/char.c`.

use crate::column::text_form::TextForm;
use crate::error::ValueError;

/// Byte 0 is the empty string. Bytes from 0x80 on are a backslash and three octal digits, as PostgreSQL 16
/// prints them: alone they are no UTF-8.
#[derive(Debug)]
pub(crate) struct Char;

impl TextForm for Char {
    fn text_bytes_at_most(&self, _wire: &[u8]) -> usize {
        4
    }

    fn print(&self, wire: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError> {
        match *wire {
            [0] => {}
            [byte] if byte.is_ascii() => text.push(byte),
            [byte] => {
                text.extend([b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
            }
            _ => return Err(ValueError::Width { expected: 1, found: wire.len() }),
        }
        Ok(())
    }
}
