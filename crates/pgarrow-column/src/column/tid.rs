//! `tid`: the place of a row in its table.
//!
//! ```text
//! u32 block │ u16 offset        6 bytes, big-endian
//! ```
//!
//! Source: `tidsend` in PostgreSQL's `src/backend/utils/adt/tid.c`.

use std::sync::Arc;

use arrow_array::{ArrayRef, StructArray, UInt16Array, UInt32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Fields};

use crate::column::parts::Parts;
use crate::error::ValueError;
use crate::spare::{capacity_bytes, make_room, make_room_in_all};

/// To `Struct{block, offset}`.
#[derive(Debug)]
pub(crate) struct Tid {
    fields: Fields,
    blocks: Vec<u32>,
    offsets: Vec<u16>,
}

impl Tid {
    pub(crate) fn new(data_type: DataType) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        Self { fields, blocks: Vec::new(), offsets: Vec::new() }
    }
}

impl Parts for Tid {
    fn append(&mut self, value: Option<&[u8]>) -> Result<(), ValueError> {
        let [b0, b1, b2, b3, o0, o1] = match value {
            None => [0; 6],
            Some(value) => {
                value.try_into().map_err(|_| ValueError::Width { expected: 6, found: value.len() })?
            }
        };
        make_room(&mut self.blocks, 1);
        make_room(&mut self.offsets, 1);
        self.blocks.push(u32::from_be_bytes([b0, b1, b2, b3]));
        self.offsets.push(u16::from_be_bytes([o0, o1]));
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.blocks.truncate(rows);
        self.offsets.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        make_room_in_all(&mut self.blocks, rows);
        make_room_in_all(&mut self.offsets, rows);
    }

    fn bytes(&self) -> usize {
        self.blocks.len() * 6
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.blocks) + capacity_bytes(&self.offsets)
    }

    fn null_bytes(&self) -> usize {
        6
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let children: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(std::mem::take(&mut self.blocks))),
            Arc::new(UInt16Array::from(std::mem::take(&mut self.offsets))),
        ];
        Arc::new(StructArray::new(self.fields.clone(), children, nulls))
    }
}
