//! `uuid_recv`: sixteen bytes.
//!
//! Source: `uuid_recv` and `string_to_uuid` in PostgreSQL's `src/backend/utils/adt/uuid.c`.

use arrow_schema::DataType;

use super::each::{each_bytes, each_string};
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, ValueError};
use crate::write;

const MALFORMED: ValueError = ValueError::Malformed("a uuid has 32 hexadecimal digits");

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match source {
        DataType::FixedSizeBinary(16) => Ok(each_bytes(|value, out| write::bytes(out, value))),
        _ if Strings::is(source) => match target.conversions {
            Conversions::Widen => Err(Refusal::needs_check(format!("{source} may not be a uuid"))),
            Conversions::Check | Conversions::Round => Ok(each_string(|value, out| {
                write::fixed(out, parse(value.as_bytes()).ok_or(MALFORMED)?);
                Ok(())
            })),
        },
        _ => Err(refuse(source, target)),
    }
}

/// Reads what `string_to_uuid` accepts: with or without braces, and with a hyphen or none after each four
/// digits.
fn parse(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        [b'{', ..] => return None,
        text => text,
    };
    let mut uuid = [0; 16];
    for (index, byte) in uuid.iter_mut().enumerate() {
        let ([high, low], behind) = rest.split_first_chunk::<2>()?;
        *byte = digit(*high)? << 4 | digit(*low)?;
        rest = behind;
        if let (true, true, [b'-', behind @ ..]) = (index % 2 == 1, index < 15, rest) {
            rest = behind;
        }
    }
    rest.is_empty().then_some(uuid)
}

/// The value of a hexadecimal digit.
pub(super) fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: [u8; 16] =
        [0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11];

    /// The spellings in PostgreSQL's documentation, and invalid ones.
    #[test]
    fn spellings() {
        for text in [
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(UUID), "{text}");
        }
        for text in [
            "",
            "{}",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
            "-a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0-eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
