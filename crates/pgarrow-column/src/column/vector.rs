//! pgvector's vectors: numbers behind their count.
//!
//! ```text
//! vector     i16 dimensions │ i16 0 │ dimensions × f32
//! halfvec    i16 dimensions │ i16 0 │ dimensions × f16
//! sparsevec  i32 dimensions │ i32 n │ i32 0 │ n × i32 index, from 0, ascending │ n × f32
//! ```
//!
//! Source: `vector_send`, `vector_recv` in pgvector's `src/vector.c`, `halfvec_send` in `src/halfvec.c`,
//! `sparsevec_send`, `sparsevec_recv` in `src/sparsevec.c`.

use std::fmt;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type};
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int32Array, ListArray, PrimitiveArray, StructArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};

use crate::column::Column;
use crate::column::parts::{Offsets, Parts, PartsColumn};
use crate::error::ValueError;
use crate::spare::{capacity_bytes, make_room, make_room_in_all};

const NO_DIMENSIONS: ValueError = ValueError::Malformed("a vector without dimensions");
const UNUSED: ValueError = ValueError::Malformed("a vector with something in its unused field");

/// The elements of a vector.
pub(crate) trait Element: fmt::Debug + Send + 'static {
    /// Bytes of one element, in Arrow as on the wire.
    const WIDTH: usize;
    type Arrow: ArrowPrimitiveType;

    /// Appends elements, copied bit for bit.
    fn append(wire: &[u8], values: &mut Vec<<Self::Arrow as ArrowPrimitiveType>::Native>);
}

#[derive(Debug)]
pub(crate) struct Single;

impl Element for Single {
    const WIDTH: usize = 4;
    type Arrow = Float32Type;

    fn append(wire: &[u8], values: &mut Vec<f32>) {
        values.extend(wire.as_chunks::<4>().0.iter().map(|bytes| f32::from_be_bytes(*bytes)));
    }
}

#[derive(Debug)]
pub(crate) struct Half;

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

impl Element for Half {
    const WIDTH: usize = 2;
    type Arrow = Float16Type;

    fn append(wire: &[u8], values: &mut Vec<F16>) {
        let of_bytes = |bytes: &[u8; 2]| F16::from_bits(u16::from_be_bytes(*bytes));
        values.extend(wire.as_chunks::<2>().0.iter().map(of_bytes));
    }
}

/// The column of vectors with these dimensions, or with any.
pub(crate) fn column<E: Element>(data_type: &DataType, dimensions: Option<u16>) -> Box<dyn Column> {
    match dimensions {
        Some(dimensions) => Box::new(PartsColumn::new(FixedVectors::<E>::new(data_type, dimensions))),
        None => Box::new(PartsColumn::new(Vectors::<E>::new(data_type))),
    }
}

/// The elements of a `vector` or `halfvec`.
fn elements<E: Element>(value: &[u8]) -> Result<&[u8], ValueError> {
    let ([d0, d1, u0, u1], elements) =
        value.split_first_chunk::<4>().ok_or(ValueError::Malformed("a vector without its header"))?;
    let dimensions = usize::try_from(i16::from_be_bytes([*d0, *d1])).map_err(|_| NO_DIMENSIONS)?;
    if dimensions == 0 {
        return Err(NO_DIMENSIONS);
    }
    if [*u0, *u1] != [0; 2] {
        return Err(UNUSED);
    }
    if elements.len() != dimensions * E::WIDTH {
        return Err(ValueError::Malformed("a vector of another length than its dimensions have"));
    }
    Ok(elements)
}

type Values<E> = Vec<<<E as Element>::Arrow as ArrowPrimitiveType>::Native>;

fn array_of<E: Element>(values: &mut Values<E>) -> ArrayRef {
    Arc::new(PrimitiveArray::<E::Arrow>::new(std::mem::take(values).into(), None))
}

fn item_of(data_type: &DataType) -> FieldRef {
    match data_type {
        DataType::List(item) | DataType::FixedSizeList(item, _) => Arc::clone(item),
        _ => Arc::new(Field::new("item", DataType::Null, false)),
    }
}

/// Vectors of any dimensions, to `List`.
#[derive(Debug)]
pub(crate) struct Vectors<E: Element> {
    item: FieldRef,
    offsets: Offsets,
    values: Values<E>,
}

impl<E: Element> Vectors<E> {
    pub(crate) fn new(data_type: &DataType) -> Self {
        Self { item: item_of(data_type), offsets: Offsets::new(), values: Vec::new() }
    }
}

impl<E: Element> Parts for Vectors<E> {
    fn append(&mut self, value: Option<&[u8]>) -> Result<(), ValueError> {
        if let Some(value) = value {
            let elements = elements::<E>(value)?;
            make_room(&mut self.values, elements.len() / E::WIDTH);
            E::append(elements, &mut self.values);
        }
        self.offsets.push(self.values.len())
    }

    fn truncate(&mut self, rows: usize) {
        let n_values = self.offsets.truncate(rows);
        self.values.truncate(n_values);
    }

    fn expect_rows(&mut self, rows: usize) {
        let n_values = self.offsets.expect_rows(self.values.len(), rows);
        make_room_in_all(&mut self.values, n_values);
    }

    fn bytes(&self) -> usize {
        self.offsets.bytes() + size_of_val(self.values.as_slice())
    }

    fn allocated_bytes(&self) -> usize {
        self.offsets.allocated_bytes() + capacity_bytes(&self.values)
    }

    fn null_bytes(&self) -> usize {
        size_of::<i32>()
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let values = array_of::<E>(&mut self.values);
        Arc::new(ListArray::new(Arc::clone(&self.item), self.offsets.finish(), values, nulls))
    }
}

/// Vectors with the declared dimensions of their column, to `FixedSizeList`.
#[derive(Debug)]
pub(crate) struct FixedVectors<E: Element> {
    item: FieldRef,
    dimensions: u16,
    values: Values<E>,
}

impl<E: Element> FixedVectors<E> {
    pub(crate) fn new(data_type: &DataType, dimensions: u16) -> Self {
        Self { item: item_of(data_type), dimensions, values: Vec::new() }
    }
}

impl<E: Element> Parts for FixedVectors<E> {
    fn append(&mut self, value: Option<&[u8]>) -> Result<(), ValueError> {
        let dimensions = usize::from(self.dimensions);
        make_room(&mut self.values, dimensions);
        match value {
            None => self.values.resize(self.values.len() + dimensions, Default::default()),
            Some(value) => {
                let elements = elements::<E>(value)?;
                if elements.len() != dimensions * E::WIDTH {
                    let expected = 4 + dimensions * E::WIDTH;
                    return Err(ValueError::Width { expected, found: value.len() });
                }
                E::append(elements, &mut self.values);
            }
        }
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows.saturating_mul(self.dimensions.into()));
    }

    fn expect_rows(&mut self, rows: usize) {
        make_room_in_all(&mut self.values, rows.saturating_mul(self.dimensions.into()));
    }

    fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.values)
    }

    fn null_bytes(&self) -> usize {
        usize::from(self.dimensions) * E::WIDTH
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let values = array_of::<E>(&mut self.values);
        let (item, size) = (Arc::clone(&self.item), self.dimensions.into());
        Arc::new(FixedSizeListArray::new(item, size, values, nulls))
    }
}

/// To `Struct{dimensions, indices, values}`; indices count from 0.
#[derive(Debug)]
pub(crate) struct Sparse {
    fields: Fields,
    dimensions: Vec<i32>,
    /// Offsets of indices and of values.
    offsets: Offsets,
    indices: Vec<i32>,
    values: Vec<f32>,
}

impl Sparse {
    pub(crate) fn new(data_type: DataType) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        Self {
            fields,
            dimensions: Vec::new(),
            offsets: Offsets::new(),
            indices: Vec::new(),
            values: Vec::new(),
        }
    }

    fn append_value(&mut self, value: &[u8]) -> Result<i32, ValueError> {
        let (header, elements) =
            value.split_first_chunk::<12>().ok_or(ValueError::Malformed("a vector without its header"))?;
        let [dimensions, n_elements, unused] = *header.as_chunks::<4>().0 else { return Err(NO_DIMENSIONS) };
        let dimensions = i32::from_be_bytes(dimensions);
        if dimensions < 1 {
            return Err(NO_DIMENSIONS);
        }
        if unused != [0; 4] {
            return Err(UNUSED);
        }
        let n_elements = usize::try_from(i32::from_be_bytes(n_elements)).ok();
        let split = n_elements.and_then(|n| elements.split_at_checked(n.checked_mul(4)?));
        let (indices, values) = split
            .filter(|(indices, values)| indices.len() == values.len())
            .ok_or(ValueError::Malformed("a vector of another length than its elements have"))?;
        make_room(&mut self.indices, indices.len() / 4);
        let mut index_min = 0;
        for index in indices.as_chunks::<4>().0 {
            let index = i32::from_be_bytes(*index);
            if !(index_min..dimensions).contains(&index) {
                return Err(ValueError::Malformed(
                    "a vector whose indices do not ascend inside its dimensions",
                ));
            }
            self.indices.push(index);
            index_min = index + 1;
        }
        make_room(&mut self.values, values.len() / 4);
        Single::append(values, &mut self.values);
        Ok(dimensions)
    }
}

impl Parts for Sparse {
    fn append(&mut self, value: Option<&[u8]>) -> Result<(), ValueError> {
        let dimensions = value.map_or(Ok(0), |value| self.append_value(value))?;
        make_room(&mut self.dimensions, 1);
        self.dimensions.push(dimensions);
        self.offsets.push(self.values.len())
    }

    fn truncate(&mut self, rows: usize) {
        self.dimensions.truncate(rows);
        let n_elements = self.offsets.truncate(rows);
        self.indices.truncate(n_elements);
        self.values.truncate(n_elements);
    }

    fn expect_rows(&mut self, rows: usize) {
        make_room_in_all(&mut self.dimensions, rows);
        let n_elements = self.offsets.expect_rows(self.values.len(), rows);
        make_room_in_all(&mut self.indices, n_elements);
        make_room_in_all(&mut self.values, n_elements);
    }

    fn bytes(&self) -> usize {
        size_of_val(self.dimensions.as_slice()) + 2 * self.offsets.bytes() + self.values.len() * 8
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.dimensions)
            + self.offsets.allocated_bytes()
            + capacity_bytes(&self.indices)
            + capacity_bytes(&self.values)
    }

    fn null_bytes(&self) -> usize {
        3 * size_of::<i32>()
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let offsets = self.offsets.finish();
        let indices = Int32Array::from(std::mem::take(&mut self.indices));
        let values = Float32Array::from(std::mem::take(&mut self.values));
        let list = |index: usize, offsets: OffsetBuffer<i32>, values: ArrayRef| -> ArrayRef {
            let item = item_of(self.fields.get(index).map_or(&DataType::Null, |field| field.data_type()));
            Arc::new(ListArray::new(item, offsets, values, None))
        };
        let children: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(std::mem::take(&mut self.dimensions))),
            list(1, offsets.clone(), Arc::new(indices)),
            list(2, offsets, Arc::new(values)),
        ];
        Arc::new(StructArray::new(self.fields.clone(), children, nulls))
    }
}
