//! `json_recv`: text. `jsonb_recv`: a version byte, then text. The server parses both, and reports invalid
//! JSON.
//!
//! Source: `json.c`, `jsonb.c` in PostgreSQL's `src/backend/utils/adt/`.

use arrow_schema::DataType;

use super::each::each_string;
use super::text::{self, without_zero};
use super::{Encoder, json_text, refuse};
use crate::access::{Bytes, Strings};
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::Refusal;
use crate::write;

const VERSION: u8 = 1;

/// For `json`, which keeps its text.
pub(super) fn make_json(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match Strings::is(source) || Bytes::is(source) {
        true => text::make(source, target),
        false => Err(refuse(source, target)),
    }
}

/// For `jsonb`, which keeps the value and not the text.
pub(super) fn make_jsonb(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let may_lose = target.conversions >= Conversions::Round;
    let write = move |value: &[u8], out: &mut Vec<u8>| {
        if !may_lose {
            json_text::look(value)?;
        }
        write::behind(out, VERSION, value)
    };
    if Bytes::is(source) {
        return text::make_of_bytes(source, target, write);
    }
    match Strings::is(source) {
        true => Ok(each_string(move |value, out| write(without_zero(value.as_bytes())?, out))),
        false => Err(refuse(source, target)),
    }
}
