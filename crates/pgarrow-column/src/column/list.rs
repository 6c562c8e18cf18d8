//! Arrays and multiranges to lists, and lists of lists.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, ListArray};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, FieldRef};

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::column::array::Shape;
use crate::column::elements::{Elements, Inside, cursor_at, value_within};
use crate::effect::{Effect, EffectLog, Effects};
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{BufferReuse, Spare, capacity_bytes, make_room, make_room_in_all};

/// The source of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ListForm {
    Array {
        element_oid: u32,
        /// Dropped lower bounds are counted. Not for `int2vector`, which always counts from 0.
        counts_lower_bounds: bool,
    },
    /// ```text
    /// i32 n_ranges │ ranges, each behind its length; none is NULL
    /// ```
    ///
    /// Source: `multirange_send` in PostgreSQL's `src/backend/utils/adt/multirangetypes.c`.
    Multirange,
}

/// To `List<T>`, or to nested lists, one for each dimension.
#[derive(Debug)]
pub(crate) struct ListColumn {
    form: ListForm,
    /// The item of each level, from the outermost.
    items: Vec<FieldRef>,
    /// One more than the number of rows; starts at 0.
    offsets: Vec<i32>,
    /// The same for each level below.
    inner: Vec<Vec<i32>>,
    elements: Elements,
    nulls: Nulls,
    effects: EffectLog,
    spare_offsets: Spare<i32>,
}

impl ListColumn {
    /// `data_type` is a list, or `depth` nested lists; `column` is that of the innermost items.
    pub(crate) fn new(form: ListForm, data_type: &DataType, depth: u8, column: Box<dyn Column>) -> Self {
        let mut items = Vec::new();
        let mut data_type = data_type;
        while let (true, DataType::List(item)) = (items.len() < usize::from(depth), data_type) {
            items.push(Arc::clone(item));
            data_type = item.data_type();
        }
        Self {
            form,
            inner: items.iter().skip(1).map(|_| vec![0]).collect(),
            items,
            offsets: vec![0],
            elements: Elements::new(column),
            nulls: Nulls::new(),
            effects: EffectLog::default(),
            spare_offsets: Spare::new(0),
        }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn push_value(&mut self, chunk: &mut Inside<'_>, value: Range<usize>) -> Result<(), RowError> {
        match self.form {
            ListForm::Array { element_oid, counts_lower_bounds } => {
                let row = self.elements.len();
                let here = |cause| RowError { row, cause };
                let flat = match self.inner.is_empty() {
                    true => Shape::parse_flat(chunk.bytes, &value, element_oid),
                    false => None,
                };
                let (shape, start) = match flat {
                    Some(flat) => flat,
                    None => {
                        let (shape, start) = Shape::parse(chunk.bytes, &value, element_oid).map_err(here)?;
                        self.push_shape(&shape).map_err(here)?;
                        (shape, start)
                    }
                };
                if counts_lower_bounds && !shape.counts_from_one() {
                    self.effects.note(self.rows(), Effect::LowerBoundDropped);
                }
                shape.push_elements(&mut self.elements, chunk, start, value.end)
            }
            ListForm::Multirange => self.push_ranges(chunk, value),
        }
    }

    /// Appends the lists of the levels below the outermost.
    fn push_shape(&mut self, shape: &Shape) -> Result<(), ValueError> {
        let dimensions = shape.dimensions();
        if dimensions.is_empty() {
            return Ok(());
        }
        if dimensions.len() != self.items.len() {
            // At most six.
            let [expected, found] =
                [self.items.len(), dimensions.len()].map(|n| u8::try_from(n).unwrap_or(u8::MAX));
            return Err(ValueError::Dimensions { expected, found });
        }
        // Fewer than the elements, whose number is limited by the bytes.
        let mut n_lists = 1;
        let lengths = dimensions.iter().map(|(length, _)| *length);
        for (offsets, (n_below, length)) in self.inner.iter_mut().zip(lengths.clone().zip(lengths.skip(1))) {
            n_lists *= usize::try_from(n_below).unwrap_or(0);
            make_room(offsets, n_lists);
            let mut end = offsets.last().copied().unwrap_or(0);
            for _ in 0..n_lists {
                end = end.checked_add(length).ok_or(ValueError::BatchTooLarge)?;
                offsets.push(end);
            }
        }
        Ok(())
    }

    fn push_ranges(&mut self, chunk: &mut Inside<'_>, value: Range<usize>) -> Result<(), RowError> {
        let malformed =
            |elements: &Elements, what| RowError { row: elements.len(), cause: ValueError::Malformed(what) };
        let count = chunk.bytes.get(value.clone()).and_then(<[u8]>::first_chunk::<4>);
        let count = count.map(|count| u32::from_be_bytes(*count) as usize);
        let count = count.filter(|count| *count <= value.len() / 4).ok_or_else(|| {
            malformed(&self.elements, "a multirange of more ranges than there are bytes for")
        })?;
        let mut at = value.start + 4;
        for _ in 0..count {
            let (range, next) = value_within(chunk.bytes, at, value.end)
                .map_err(|cause| RowError { row: self.elements.len(), cause })?;
            if range.is_none() {
                return Err(malformed(&self.elements, "a multirange with a NULL"));
            }
            self.elements.push(chunk, cursor_at(at))?;
            at = next;
        }
        match at == value.end {
            true => Ok(()),
            false => Err(malformed(&self.elements, "a multirange with bytes behind its last range")),
        }
    }

    /// Where the outermost list ends, in the unit of its offsets.
    fn end(&self) -> usize {
        match self.inner.first() {
            Some(lists) => lists.len() - 1,
            None => self.elements.len(),
        }
    }

    /// The number of elements in the first `rows` rows.
    fn elements_of(&self, rows: usize) -> usize {
        let mut n = rows;
        for offsets in [&self.offsets].into_iter().chain(&self.inner) {
            n = offsets.get(n).and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
        }
        n
    }

    /// The row of the batch with this element. Elements of the row under construction come last.
    fn row_of(&self, element: usize) -> usize {
        // A linear search is enough: this runs only for an error, with few lists.
        (0..self.rows()).find(|row| self.elements_of(row + 1) > element).unwrap_or(self.rows())
    }
}

impl Column for ListColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let before = self.rows();
        let room = chunk.room();
        let (bytes, cursors) = chunk.parts();
        let mut inside = Inside { bytes, room };
        // This is the state after `finish`.
        if self.offsets.len() == 1 && self.offsets.capacity() == 1 {
            self.offsets = self.spare_offsets.take();
            self.offsets.clear();
            self.offsets.push(0);
        }
        make_room(&mut self.offsets, cursors.len());
        let n_rows = cursors.len();
        let at_row = |column: &Self, error: RowError| RowError {
            row: (column.row_of(error.row) - before).min(n_rows - 1),
            ..error
        };
        let mut any_null = false;
        for (row, cursor) in cursors.iter_mut().enumerate() {
            let value = take_value(bytes, cursor).map_err(|cause| RowError { row, cause })?;
            if let Some(valid) = self.nulls.scratch().get_mut(row) {
                *valid = value.is_some();
                any_null |= value.is_none();
            }
            if let Some(value) = value {
                let end = *cursor as usize;
                self.push_value(&mut inside, end - value.len()..end).map_err(|error| at_row(self, error))?;
            }
            let end = i32::try_from(self.end());
            self.offsets.push(end.map_err(|_| RowError { row, cause: ValueError::BatchTooLarge })?);
        }
        self.elements.flush(&mut inside).map_err(|error| at_row(self, error))?;
        self.nulls.append_chunk(n_rows, any_null);
        chunk.set_room(inside.room);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        let mut n = rows;
        for offsets in [&mut self.offsets].into_iter().chain(&mut self.inner) {
            offsets.truncate(n + 1);
            n = offsets.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
        }
        self.elements.truncate(n);
        self.nulls.truncate(rows);
        self.effects.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        let n_rows = self.rows();
        self.elements.expect(n_rows, rows);
        self.spare_offsets.foresee(&mut self.offsets, rows + 1);
        for offsets in &mut self.inner {
            let expected = crate::spare::extrapolate(offsets.len(), n_rows, rows);
            make_room_in_all(offsets, expected);
        }
    }

    fn bytes(&self) -> usize {
        let lists = self.inner.iter().map(|offsets| size_of_val(offsets.as_slice())).sum::<usize>();
        self.elements.bytes() + size_of_val(self.offsets.as_slice()) + lists
    }

    fn allocated_bytes(&self) -> usize {
        let lists = self.inner.iter().map(capacity_bytes).sum::<usize>();
        self.elements.allocated_bytes()
            + capacity_bytes(&self.offsets)
            + lists
            + self.nulls.allocated_bytes()
            + self.effects.allocated_bytes()
            + self.spare_offsets.allocated_bytes()
    }

    fn expanded_bytes(&self, rows: usize) -> usize {
        self.elements.expanded_bytes(self.elements_of(rows))
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.effects.take(effects);
        self.elements.take_effects(effects);
    }

    fn recycle(&mut self, array: ArrayRef) {
        // The levels between are few and small.
        if self.items.len() > 1 {
            return;
        }
        let parts = array
            .as_list_opt::<i32>()
            .map(|list| (list.offsets().inner().inner().clone(), Arc::clone(list.values())));
        if let Some((offsets, values)) = parts {
            drop(array);
            self.spare_offsets.give(offsets);
            self.elements.recycle(values);
        }
    }

    fn reuse(&self) -> BufferReuse {
        self.elements.reuse()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        let elements = self
            .elements
            .finish()
            .map_err(|error| RowError { row: self.row_of(error.row).min(self.rows().max(1) - 1), ..error })?;
        self.effects.finish();
        self.spare_offsets.learn(self.offsets.len());
        let mut values = elements;
        for (offsets, item) in self.inner.iter_mut().zip(self.items.iter().skip(1)).rev() {
            values = list_array(item, std::mem::replace(offsets, vec![0]), values, None)?;
        }
        let nulls = self.nulls.finish();
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        match self.items.first() {
            Some(item) => list_array(item, offsets, values, nulls),
            None => Err(RowError { row: 0, cause: ValueError::Malformed("an array of no list type") }),
        }
    }
}

/// A list array. Its parts match, so this cannot fail.
pub(crate) fn list_array(
    item: &FieldRef,
    offsets: Vec<i32>,
    values: ArrayRef,
    nulls: Option<arrow_buffer::NullBuffer>,
) -> Result<ArrayRef, RowError> {
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let array = ListArray::try_new(Arc::clone(item), offsets, values, nulls);
    let array =
        array.map_err(|_| RowError { row: 0, cause: ValueError::Malformed("a list of other items") })?;
    debug_assert!(array.is_empty() || array.offsets().len() == array.len() + 1);
    Ok(Arc::new(array))
}
