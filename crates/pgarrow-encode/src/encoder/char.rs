//! `charrecv`: the one-byte `"char"`.
//!
//! Source: `charrecv` and (since PostgreSQL 16) `charin` in `src/backend/utils/adt/char.c`.

use arrow_schema::DataType;

use super::each::each_string;
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match Strings::is(source) {
        true => Ok(each_string(|value, out| {
            write::fixed(out, [byte(value.as_bytes())?]);
            Ok(())
        })),
        false => Err(refuse(source, target)),
    }
}

/// The empty string is byte 0; bytes from 0x80 on are written as a backslash and three octal digits.
fn byte(text: &[u8]) -> Result<u8, ValueError> {
    match *text {
        [] => Ok(0),
        [0] => Err(ValueError::ZeroByte),
        [byte] => Ok(byte),
        [b'\\', high @ b'2'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7'] => {
            Ok((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'))
        }
        _ => Err(ValueError::Malformed("more than one byte")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_as_it_is_printed() {
        for expected in 0..=u8::MAX {
            let text = match expected {
                0 => String::new(),
                1..0x80 => char::from(expected).to_string(),
                _ => format!("\\{expected:03o}"),
            };
            assert_eq!(byte(text.as_bytes()), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_one_byte_is_refused() {
        assert_eq!(byte(b"\0"), Err(ValueError::ZeroByte));
        for text in ["ab", "é", "\\177", "\\400", "\\38", "\\389", "\\3777"] {
            assert!(matches!(byte(text.as_bytes()), Err(ValueError::Malformed(_))), "{text:?}");
        }
        assert_eq!(byte(b"\\"), Ok(b'\\'));
    }
}
