//! hstore to `Map`.
//!
//! ```text
//! i32 n_pairs │ n × (i32 key length │ key │ i32 value length, -1 for NULL │ value)
//! ```
//!
//! Keys are sorted by length and then by bytes, and each occurs once.
//!
//! Source: `hstore_send` and `comparePairs` in PostgreSQL's `contrib/hstore/hstore_io.c`.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, MapArray, StructArray};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::column::elements::{Elements, Inside, cursor_at, row_of, value_within};
use crate::effect::Effects;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{BufferReuse, capacity_bytes, make_room, make_room_in_all};

/// Keys and values are columns of text.
#[derive(Debug)]
pub(crate) struct MapColumn {
    entries: FieldRef,
    offsets: Vec<i32>,
    keys: Elements,
    values: Elements,
    nulls: Nulls,
}

impl MapColumn {
    pub(crate) fn new(data_type: DataType, keys: Box<dyn Column>, values: Box<dyn Column>) -> Self {
        let entries = match data_type {
            DataType::Map(entries, _) => entries,
            other => Arc::new(Field::new("entries", other, false)),
        };
        Self {
            entries,
            offsets: vec![0],
            keys: Elements::new(keys),
            values: Elements::new(values),
            nulls: Nulls::new(),
        }
    }

    fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    fn fields(&self) -> Fields {
        match self.entries.data_type() {
            DataType::Struct(fields) => fields.clone(),
            _ => Fields::empty(),
        }
    }

    fn row_of(&self, pair: usize) -> usize {
        row_of(&self.offsets, pair)
    }

    fn push_value(&mut self, inside: &mut Inside<'_>, value: Range<usize>) -> Result<(), RowError> {
        let pair = self.keys.len();
        let here = |cause| RowError { row: pair, cause };
        let malformed = |what| here(ValueError::Malformed(what));
        let bytes = inside.bytes;
        let count = bytes.get(value.clone()).and_then(<[u8]>::first_chunk::<4>);
        let count = count.map(|count| u32::from_be_bytes(*count) as usize);
        let count = count
            .filter(|count| *count <= value.len() / 8)
            .ok_or_else(|| malformed("an hstore of more pairs than there are bytes for"))?;
        let mut at = value.start + 4;
        let mut before: Option<&[u8]> = None;
        for _ in 0..count {
            let (key, value_at) = value_within(bytes, at, value.end).map_err(here)?;
            let key = key.and_then(|key| bytes.get(key));
            let key = key.ok_or_else(|| malformed("an hstore with a NULL for a key"))?;
            if before.is_some_and(|before| (before.len(), before) >= (key.len(), key)) {
                return Err(malformed("an hstore whose keys are not in their order"));
            }
            before = Some(key);
            let (_, next) = value_within(bytes, value_at, value.end).map_err(here)?;
            self.keys.push(inside, cursor_at(at))?;
            self.values.push(inside, cursor_at(value_at))?;
            at = next;
        }
        if at == value.end { Ok(()) } else { Err(malformed("an hstore with bytes behind its last pair")) }
    }
}

impl Column for MapColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let before = self.rows();
        let room = chunk.room();
        let (bytes, cursors) = chunk.parts();
        let n_rows = cursors.len();
        let mut inside = Inside { bytes, room };
        make_room(&mut self.offsets, n_rows);
        let at_row = |column: &Self, error: RowError| RowError {
            row: (column.row_of(error.row) - before).min(n_rows - 1),
            ..error
        };
        for (row, cursor) in cursors.iter_mut().enumerate() {
            let value = take_value(bytes, cursor).map_err(|cause| RowError { row, cause })?;
            if let Some(valid) = self.nulls.scratch().get_mut(row) {
                *valid = value.is_some();
            }
            if let Some(value) = value {
                let end = *cursor as usize;
                self.push_value(&mut inside, end - value.len()..end).map_err(|error| at_row(self, error))?;
            }
            let end = i32::try_from(self.keys.len());
            self.offsets.push(end.map_err(|_| RowError { row, cause: ValueError::BatchTooLarge })?);
        }
        let flushed = self.keys.flush(&mut inside).and_then(|()| self.values.flush(&mut inside));
        flushed.map_err(|error| at_row(self, error))?;
        self.nulls.commit(n_rows);
        chunk.set_room(inside.room);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        let pairs = self.offsets.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
        self.keys.truncate(pairs);
        self.values.truncate(pairs);
        self.nulls.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        let n_rows = self.rows();
        self.keys.expect(n_rows, rows);
        self.values.expect(n_rows, rows);
        make_room_in_all(&mut self.offsets, rows + 1);
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.values.bytes() + size_of_val(self.offsets.as_slice())
    }

    fn allocated_bytes(&self) -> usize {
        self.keys.allocated_bytes()
            + self.values.allocated_bytes()
            + capacity_bytes(&self.offsets)
            + self.nulls.allocated_bytes()
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.keys.take_effects(effects);
        self.values.take_effects(effects);
    }

    fn recycle(&mut self, array: ArrayRef) {
        let parts = array.as_map_opt().map(|map| (Arc::clone(map.keys()), Arc::clone(map.values())));
        if let Some((keys, values)) = parts {
            drop(array);
            self.keys.recycle(keys);
            self.values.recycle(values);
        }
    }

    fn reuse(&self) -> BufferReuse {
        let mut reuse = self.keys.reuse();
        reuse += self.values.reuse();
        reuse
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        let last_row = self.rows().max(1) - 1;
        let keys = self.keys.finish();
        let keys = keys.map_err(|error| RowError { row: self.row_of(error.row).min(last_row), ..error })?;
        let values = self.values.finish();
        let values =
            values.map_err(|error| RowError { row: self.row_of(error.row).min(last_row), ..error })?;
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let nulls = self.nulls.finish();
        let array = StructArray::try_new(self.fields(), vec![keys, values], None).and_then(|pairs| {
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            MapArray::try_new(Arc::clone(&self.entries), offsets, pairs, nulls, false)
        });
        let other = RowError { row: 0, cause: ValueError::Malformed("an hstore of another type") };
        Ok(Arc::new(array.map_err(|_| other)?))
    }
}
