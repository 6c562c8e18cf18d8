//! `tidrecv`: the place of a row in its table.
//!
//! ```text
//! u32 block │ u16 offset        6 bytes, big-endian
//! ```
//!
//! Source: `tid.c` in PostgreSQL's `src/backend/utils/adt/`.

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt32Type};
use arrow_array::{Array, UInt16Array, UInt32Array};
use arrow_schema::{DataType, Fields};

use super::{Encoder, Values, refuse};
use crate::access::{part, required};
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match source {
        DataType::Struct(fields) if is_tid(fields) => Ok(Box::new(Tids)),
        _ => Err(refuse(source, target)),
    }
}

/// `Struct{block, offset}`.
fn is_tid(fields: &Fields) -> bool {
    let is = |name, data_type| fields.find(name).is_some_and(|(_, field)| *field.data_type() == data_type);
    fields.len() == 2 && is("block", DataType::UInt32) && is("offset", DataType::UInt16)
}

#[derive(Debug)]
struct Tids;

impl Encoder for Tids {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let array = array.as_struct_opt().ok_or(ValueError::WrongArray)?;
        Ok(Box::new(TidValues {
            blocks: part::<UInt32Type>(array, "block")?,
            offsets: part::<UInt16Type>(array, "offset")?,
        }))
    }
}

#[derive(Debug)]
struct TidValues<'a> {
    blocks: &'a UInt32Array,
    offsets: &'a UInt16Array,
}

impl Values for TidValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let [b0, b1, b2, b3] = required(self.blocks, row)?.to_be_bytes();
        let [o0, o1] = required(self.offsets, row)?.to_be_bytes();
        write::fixed(out, [b0, b1, b2, b3, o0, o1]);
        Ok(())
    }
}
