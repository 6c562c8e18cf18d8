//! Arrays to `Struct{values, dimensions, lower_bounds}`, which loses nothing.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, StructArray};
use arrow_schema::{DataType, Fields};

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::column::array::Shape;
use crate::column::elements::{Elements, Inside, row_of};
use crate::column::list::list_array;
use crate::effect::Effects;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{BufferReuse, capacity_bytes, make_room, make_room_in_all};

/// Elements in row-major order, as PostgreSQL stores them, and each dimension's length and lower bound.
#[derive(Debug)]
pub(crate) struct ShapedColumn {
    element_oid: u32,
    fields: Fields,
    elements: Elements,
    /// Offsets of the elements; one more than the number of rows.
    offsets: Vec<i32>,
    /// Offsets of lengths and lower bounds.
    shape_offsets: Vec<i32>,
    lengths: Vec<i32>,
    lower_bounds: Vec<i32>,
    nulls: Nulls,
}

impl ShapedColumn {
    pub(crate) fn new(element_oid: u32, data_type: DataType, column: Box<dyn Column>) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        Self {
            element_oid,
            fields,
            elements: Elements::new(column),
            offsets: vec![0],
            shape_offsets: vec![0],
            lengths: Vec::new(),
            lower_bounds: Vec::new(),
            nulls: Nulls::new(),
        }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn row_of(&self, element: usize) -> usize {
        row_of(&self.offsets, element)
    }

    fn list(&self, index: usize, offsets: Vec<i32>, values: ArrayRef) -> Result<ArrayRef, RowError> {
        match self.fields.get(index).map(|field| field.data_type()) {
            Some(DataType::List(item)) => list_array(item, offsets, values, None),
            _ => Err(RowError { row: 0, cause: ValueError::Malformed("an array of no list type") }),
        }
    }
}

impl Column for ShapedColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let before = self.rows();
        let room = chunk.room();
        let (bytes, cursors) = chunk.parts();
        let n_rows = cursors.len();
        let mut inside = Inside { bytes, room };
        make_room(&mut self.offsets, n_rows);
        make_room(&mut self.shape_offsets, n_rows);
        let at_row = |column: &Self, error: RowError| RowError {
            row: (column.row_of(error.row) - before).min(n_rows - 1),
            ..error
        };
        for (row, cursor) in cursors.iter_mut().enumerate() {
            let here = |cause| RowError { row, cause };
            let value = take_value(bytes, cursor).map_err(here)?;
            if let Some(valid) = self.nulls.scratch().get_mut(row) {
                *valid = value.is_some();
            }
            if let Some(value) = value {
                let end = *cursor as usize;
                let (shape, start) =
                    Shape::parse(bytes, &(end - value.len()..end), self.element_oid).map_err(here)?;
                for (length, lower_bound) in shape.dimensions() {
                    self.lengths.push(*length);
                    self.lower_bounds.push(*lower_bound);
                }
                shape
                    .push_elements(&mut self.elements, &mut inside, start, end)
                    .map_err(|error| at_row(self, error))?;
            }
            let ends = [self.elements.len(), self.lengths.len()].map(i32::try_from);
            let [Ok(end), Ok(shape_end)] = ends else { return Err(here(ValueError::BatchTooLarge)) };
            self.offsets.push(end);
            self.shape_offsets.push(shape_end);
        }
        self.elements.flush(&mut inside).map_err(|error| at_row(self, error))?;
        self.nulls.commit(n_rows);
        chunk.set_room(inside.room);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        let end = |offsets: &mut Vec<i32>| {
            offsets.truncate(rows + 1);
            offsets.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0)
        };
        let n_dimensions = end(&mut self.shape_offsets);
        self.elements.truncate(end(&mut self.offsets));
        self.lengths.truncate(n_dimensions);
        self.lower_bounds.truncate(n_dimensions);
        self.nulls.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        self.elements.expect(self.rows(), rows);
        make_room_in_all(&mut self.offsets, rows + 1);
        make_room_in_all(&mut self.shape_offsets, rows + 1);
        make_room_in_all(&mut self.lengths, rows);
        make_room_in_all(&mut self.lower_bounds, rows);
    }

    fn bytes(&self) -> usize {
        self.elements.bytes() + 4 * (self.offsets.len() + self.shape_offsets.len() + 2 * self.lengths.len())
    }

    fn allocated_bytes(&self) -> usize {
        let numbers = [&self.offsets, &self.shape_offsets, &self.lengths, &self.lower_bounds];
        self.elements.allocated_bytes()
            + numbers.into_iter().map(capacity_bytes).sum::<usize>()
            + self.nulls.allocated_bytes()
    }

    fn expanded_bytes(&self, rows: usize) -> usize {
        let end = self.offsets.get(rows).and_then(|end| usize::try_from(*end).ok());
        self.elements.expanded_bytes(end.unwrap_or(0))
    }

    fn null_bytes(&self) -> usize {
        8
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.elements.take_effects(effects);
    }

    fn reuse(&self) -> BufferReuse {
        self.elements.reuse()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        let elements = self
            .elements
            .finish()
            .map_err(|error| RowError { row: self.row_of(error.row).min(self.rows().max(1) - 1), ..error })?;
        let mut take = |of: fn(&mut Self) -> &mut Vec<i32>, empty| std::mem::replace(of(self), empty);
        let offsets = take(|column| &mut column.offsets, vec![0]);
        let shape_offsets = take(|column| &mut column.shape_offsets, vec![0]);
        let lengths = Int32Array::from(take(|column| &mut column.lengths, Vec::new()));
        let lower_bounds = Int32Array::from(take(|column| &mut column.lower_bounds, Vec::new()));
        let children = vec![
            self.list(0, offsets, elements)?,
            self.list(1, shape_offsets.clone(), Arc::new(lengths))?,
            self.list(2, shape_offsets, Arc::new(lower_bounds))?,
        ];
        Ok(Arc::new(StructArray::new(self.fields.clone(), children, self.nulls.finish())))
    }
}
