//! `enum_recv`: the label.
//!
//! Source: `enum.c` in PostgreSQL's `src/backend/utils/adt/`.

use std::cell::Cell;
use std::collections::HashSet;

use arrow_array::Array;
use arrow_schema::DataType;
use pgarrow_types::EnumType;

use super::{Encoder, Values, refuse};
use crate::access::Strings;
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

pub(super) fn make(
    source: &DataType,
    target: TypeTarget<'_>,
    enum_type: &EnumType,
) -> Result<Box<dyn Encoder>, Refusal> {
    match Strings::is(source) {
        true => Ok(Box::new(Enum { labels: enum_type.labels.iter().cloned().collect() })),
        false => Err(refuse(source, target)),
    }
}

#[derive(Debug)]
struct Enum {
    labels: HashSet<String>,
}

impl Encoder for Enum {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let known = vec![Cell::new(Known::NotYet); array.len()];
        Ok(Box::new(EnumValues { labels: &self.labels, strings: Strings::new(array)?, known }))
    }
}

/// Whether a value is a label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Known {
    NotYet,
    Label,
}

#[derive(Debug)]
struct EnumValues<'a> {
    labels: &'a HashSet<String>,
    strings: Strings<'a>,
    /// One entry for each value of the array. A value of a dictionary is written many times.
    known: Vec<Cell<Known>>,
}

impl Values for EnumValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let known = self.known.get(row).ok_or(ValueError::WrongArray)?;
        let label = self.strings.value(row);
        if known.get() == Known::NotYet {
            if !self.labels.contains(label) {
                return Err(ValueError::Label);
            }
            known.set(Known::Label);
        }
        write::bytes(out, label.as_bytes())
    }
}
