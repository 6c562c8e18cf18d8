//! `bytearecv`: unchanged bytes.

use arrow_schema::DataType;

use super::each::each_bytes;
use super::{Encoder, refuse};
use crate::access::Bytes;
use crate::encode_target::TypeTarget;
use crate::error::Refusal;
use crate::write;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match Bytes::is(source) {
        true => Ok(each_bytes(|value, out| write::bytes(out, value))),
        false => Err(refuse(source, target)),
    }
}
