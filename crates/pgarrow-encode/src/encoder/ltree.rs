//! `ltree_recv`, `lquery_recv`, `ltxtq_recv`: a version byte, then text, which the server parses.
//!
//! Source: `contrib/ltree/ltree_io.c` and `ltxtquery_io.c` in PostgreSQL.

use arrow_schema::DataType;

use super::each::each_string;
use super::text::without_zero;
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::TypeTarget;
use crate::error::Refusal;
use crate::write;

const VERSION: u8 = 1;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match Strings::is(source) {
        true => Ok(each_string(|value, out| write::behind(out, VERSION, without_zero(value.as_bytes())?))),
        false => Err(refuse(source, target)),
    }
}
