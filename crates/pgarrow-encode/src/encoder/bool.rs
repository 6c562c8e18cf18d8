//! `boolrecv`: one byte.

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_schema::DataType;

use super::{Encoder, Values, refuse};
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match source {
        DataType::Boolean => Ok(Box::new(Bools)),
        _ => Err(refuse(source, target)),
    }
}

#[derive(Debug)]
struct Bools;

impl Encoder for Bools {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(BoolValues(array.as_boolean_opt().ok_or(ValueError::WrongArray)?)))
    }
}

#[derive(Debug)]
struct BoolValues<'a>(&'a BooleanArray);

impl Values for BoolValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        write::fixed(out, [u8::from(self.0.value(row))]);
        Ok(())
    }
}
