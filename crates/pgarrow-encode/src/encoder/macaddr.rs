//! `macaddr_recv`, `macaddr8_recv`: six or eight bytes.
//!
//! Source: `mac.c`, `mac8.c` in PostgreSQL's `src/backend/utils/adt/`.

use arrow_schema::DataType;

use super::each::each_string;
use super::uuid::digit;
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

/// For addresses of six or eight bytes.
pub(super) fn make<const BYTES: usize>(
    source: &DataType,
    target: TypeTarget<'_>,
) -> Result<Box<dyn Encoder>, Refusal> {
    match Strings::is(source) {
        true => Ok(each_string(|value, out| {
            let what = "a hardware address has bytes of two hexadecimal digits, with colons between them";
            write::fixed(out, parse::<BYTES>(value.as_bytes()).ok_or(ValueError::Malformed(what))?);
            Ok(())
        })),
        false => Err(refuse(source, target)),
    }
}

/// Reads PostgreSQL's form, `08:00:2b:01:02:03`, with digits of either case.
fn parse<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    let mut address = [0; BYTES];
    let mut rest = text;
    for (index, byte) in address.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b":")?;
        }
        let ([high, low], behind) = rest.split_first_chunk::<2>()?;
        *byte = digit(*high)? << 4 | digit(*low)?;
        rest = behind;
    }
    rest.is_empty().then_some(address)
}
