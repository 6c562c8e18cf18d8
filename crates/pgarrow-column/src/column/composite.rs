//! Composite types to structs.
//!
//! ```text
//! i32 n_attributes │ n × (u32 type OID │ i32 length │ value)
//! ```
//!
//! Dropped attributes are left out. A NULL composite differs from one whose attributes are all NULL.
//!
//! Source: `record_send` in PostgreSQL's `src/backend/utils/adt/rowtypes.c`.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, StructArray};
use arrow_schema::{DataType, Fields};

use crate::chunk::{ABSENT, CHUNK_ROWS, Chunk, NULL, NULL_BYTES_SMALL, ROOM_MIN};
use crate::column::Column;
use crate::column::elements::{cursor_at, value_within};
use crate::effect::Effects;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::BufferReuse;

/// To `Struct`. Each attribute has a column, which decodes its value in all rows of the chunk, like a column
/// of the table. If a composite is NULL, so is every attribute: their cursors stand at the composite's own
/// length, which says NULL.
#[derive(Debug)]
pub(crate) struct CompositeColumn {
    fields: Fields,
    /// The type OID before the attribute's value, and its column.
    attributes: Vec<(u32, Box<dyn Column>)>,
    nulls: Nulls,
    rows: usize,
    /// Where a row's next attribute begins, or [`ABSENT`] if it has none.
    next: [u32; CHUNK_ROWS],
    /// Where the row's value ends.
    ends: [u32; CHUNK_ROWS],
    /// Cursors for the attribute's column.
    cursors: [u32; CHUNK_ROWS],
    /// The place of a NULL for a row without attributes.
    null_at: [u32; CHUNK_ROWS],
}

impl CompositeColumn {
    pub(crate) fn new(data_type: DataType, attributes: Vec<(u32, Box<dyn Column>)>) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        Self {
            fields,
            attributes,
            nulls: Nulls::new(),
            rows: 0,
            next: [ABSENT; CHUNK_ROWS],
            ends: [ABSENT; CHUNK_ROWS],
            cursors: [ABSENT; CHUNK_ROWS],
            null_at: [ABSENT; CHUNK_ROWS],
        }
    }

    /// Finds the composites of the chunk's rows, and moves the cursors behind them. Returns how many are
    /// NULL.
    fn find(&mut self, bytes: &[u8], cursors: &mut [u32]) -> Result<usize, RowError> {
        let n_attributes = self.attributes.len();
        let mut n_nulls = 0;
        let places = self.next.iter_mut().zip(&mut self.ends).zip(&mut self.null_at);
        let rows = cursors.iter_mut().zip(places).zip(self.nulls.scratch()).enumerate();
        for (row, ((cursor, ((next, end), null_at)), valid)) in rows {
            let here = |cause| RowError { row, cause };
            (*next, *end, *null_at, *valid) = (ABSENT, ABSENT, *cursor, false);
            n_nulls += 1;
            if *cursor == ABSENT {
                continue;
            }
            let (value, behind) = value_within(bytes, *cursor as usize, bytes.len()).map_err(here)?;
            *cursor = cursor_at(behind);
            let Some(value) = value else { continue };
            let count = bytes.get(value.clone()).and_then(<[u8]>::first_chunk::<4>);
            let count = count.map(|count| u32::from_be_bytes(*count) as usize);
            if count != Some(n_attributes) {
                let what = "a composite of another number of attributes than the catalog says";
                return Err(here(ValueError::Malformed(what)));
            }
            (*next, *end, *valid) = (cursor_at(value.start + 4), cursor_at(value.end), true);
            n_nulls -= 1;
        }
        Ok(n_nulls)
    }
}

/// Checks an attribute's OID and that its value ends within the composite. Returns where its length is, and
/// where the value ends.
#[inline]
fn attribute(bytes: &[u8], at: usize, end: usize, type_oid: u32) -> Result<(u32, u32), ValueError> {
    let oid = bytes.get(at..end).and_then(<[u8]>::first_chunk::<4>).ok_or(ValueError::Length)?;
    if u32::from_be_bytes(*oid) != type_oid {
        let what = "a composite with an attribute of another type than the catalog says";
        return Err(ValueError::Malformed(what));
    }
    let (_, next) = value_within(bytes, at + 4, end)?;
    Ok((cursor_at(at + 4), cursor_at(next)))
}

impl Column for CompositeColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let mut room = chunk.room();
        let (bytes, cursors) = chunk.parts();
        let n_rows = cursors.len();
        let n_nulls = self.find(bytes, cursors)?;
        let null_bytes = self.null_bytes();
        if null_bytes > NULL_BYTES_SMALL {
            if n_nulls * null_bytes > room.max(ROOM_MIN) {
                // Counts all rows before as NULL, too: one row too few is better than one too many.
                let row = (room / null_bytes).min(n_rows - 1);
                return Err(RowError { row, cause: ValueError::ChunkFull });
            }
            room = room.saturating_sub(n_nulls * null_bytes);
        }
        for (type_oid, column) in &mut self.attributes {
            let places = self.next.iter_mut().zip(&self.ends).zip(&self.null_at);
            for (row, (cursor, ((next, end), null_at))) in
                self.cursors.iter_mut().take(n_rows).zip(places).enumerate()
            {
                *cursor = *null_at;
                if *next != ABSENT {
                    let found = attribute(bytes, *next as usize, *end as usize, *type_oid);
                    (*cursor, *next) = found.map_err(|cause| RowError { row, cause })?;
                }
            }
            let cursors = self.cursors.get_mut(..n_rows).unwrap_or_default();
            let mut attributes = Chunk::new(bytes, cursors).with_room(room);
            column.decode(&mut attributes)?;
            room = attributes.room();
        }
        if let Some(row) = self.next.iter().zip(&self.ends).take(n_rows).position(|(next, end)| next != end) {
            let cause = ValueError::Malformed("a composite with bytes behind its last attribute");
            return Err(RowError { row, cause });
        }
        self.nulls.append_chunk(n_rows, n_nulls > 0);
        self.rows += n_rows;
        chunk.set_room(room);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.attributes.iter_mut().for_each(|(_, column)| column.truncate(rows));
        self.nulls.truncate(rows);
        self.rows = rows;
    }

    fn expect_rows(&mut self, rows: usize) {
        self.attributes.iter_mut().for_each(|(_, column)| column.expect_rows(rows));
    }

    fn bytes(&self) -> usize {
        self.attributes.iter().map(|(_, column)| column.bytes()).sum::<usize>() + self.rows.div_ceil(8)
    }

    fn allocated_bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(_, column)| column.allocated_bytes()).sum::<usize>();
        attributes + self.nulls.allocated_bytes() + 4 * size_of_val(&self.next)
    }

    fn expanded_bytes(&self, rows: usize) -> usize {
        self.attributes.iter().map(|(_, column)| column.expanded_bytes(rows)).sum()
    }

    fn null_bytes(&self) -> usize {
        self.attributes.iter().map(|(_, column)| column.null_bytes()).sum()
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.attributes.iter_mut().for_each(|(_, column)| column.take_effects(effects));
    }

    fn recycle(&mut self, array: ArrayRef) {
        let Some(children) = array.as_struct_opt().map(|array| array.columns().to_vec()) else { return };
        drop(array);
        for ((_, column), child) in self.attributes.iter_mut().zip(children) {
            column.recycle(child);
        }
    }

    fn reuse(&self) -> BufferReuse {
        let mut reuse = BufferReuse::default();
        self.attributes.iter().for_each(|(_, column)| reuse += column.reuse());
        reuse
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        let rows = std::mem::take(&mut self.rows);
        let children = self.attributes.iter_mut().map(|(_, column)| column.finish());
        let children = children.collect::<Result<Vec<_>, _>>()?;
        let array =
            StructArray::try_new_with_length(self.fields.clone(), children, self.nulls.finish(), rows);
        let other = RowError { row: 0, cause: ValueError::Malformed("a composite of other attributes") };
        Ok(Arc::new(array.map_err(|_| other)?))
    }
}

/// A NULL's length is all ones, like the cursor of a missing value: both read as NULL.
const _: () = assert!(NULL == ABSENT);
