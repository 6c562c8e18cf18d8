//! Ranges to `Struct{lower, upper, lower_inclusive, upper_inclusive, empty}`.
//!
//! ```text
//! u8 flags │ lower bound, if it has one: i32 length, value │ upper bound, if it has one: i32 length, value
//! ```
//!
//! A missing bound is NULL. An infinite bound (of a range of dates, for example) is a value like any other.
//! If a policy makes it NULL, the two look alike in Arrow, and only the count shows that there was one.
//!
//! Source: `range_send` in PostgreSQL's `src/backend/utils/adt/rangetypes.c`; the `RANGE_*` flags in
//! `src/include/utils/rangetypes.h`.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{ArrayRef, BooleanArray, StructArray};
use arrow_schema::{DataType, Fields};

use crate::bits::Bits;
use crate::chunk::{ABSENT, CHUNK_ROWS, Chunk, NULL_BYTES_SMALL, ROOM_MIN, take_value};
use crate::column::Column;
use crate::column::elements::{cursor_at, value_within};
use crate::effect::Effects;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::BufferReuse;

const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const NO_LOWER: u8 = 0x08;
const NO_UPPER: u8 = 0x10;
const KNOWN: u8 = EMPTY | LOWER_INCLUSIVE | UPPER_INCLUSIVE | NO_LOWER | NO_UPPER;

/// Decodes bounds with columns of the subtype.
#[derive(Debug)]
pub(crate) struct RangeColumn {
    fields: Fields,
    /// Lower and upper.
    bounds: [Box<dyn Column>; 2],
    /// Lower inclusive, upper inclusive, empty.
    flags: [Bits; 3],
    nulls: Nulls,
    cursors: [[u32; CHUNK_ROWS]; 2],
    scratch: [[bool; CHUNK_ROWS]; 3],
}

impl RangeColumn {
    pub(crate) fn new(data_type: DataType, lower: Box<dyn Column>, upper: Box<dyn Column>) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        Self {
            fields,
            bounds: [lower, upper],
            flags: Default::default(),
            nulls: Nulls::new(),
            cursors: [[ABSENT; CHUNK_ROWS]; 2],
            scratch: [[false; CHUNK_ROWS]; 3],
        }
    }
}

/// A range's flags, and where its bounds are.
fn parse(bytes: &[u8], start: usize, end: usize) -> Result<(u8, [u32; 2]), ValueError> {
    let malformed = |what| Err(ValueError::Malformed(what));
    let Some(flags) = bytes.get(start..end).and_then(<[u8]>::first).copied() else {
        return malformed("a range without its flags");
    };
    // An empty range has no bounds; a missing bound is not inclusive.
    let is_legal = flags & !KNOWN == 0
        && (flags & EMPTY == 0 || flags == EMPTY)
        && (flags & NO_LOWER == 0 || flags & LOWER_INCLUSIVE == 0)
        && (flags & NO_UPPER == 0 || flags & UPPER_INCLUSIVE == 0);
    if !is_legal {
        return malformed("a range with flags that contradict each other");
    }
    let mut cursors = [ABSENT; 2];
    let mut at = start + 1;
    for (cursor, missing) in cursors.iter_mut().zip([NO_LOWER, NO_UPPER]) {
        if flags & (EMPTY | missing) == 0 {
            let (bound, next) = value_within(bytes, at, end)?;
            if bound.is_none() {
                return malformed("a range with a NULL for a bound");
            }
            *cursor = cursor_at(at);
            at = next;
        }
    }
    if at != end {
        return malformed("a range with bytes behind its bounds");
    }
    Ok((flags, cursors))
}

impl Column for RangeColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let mut room = chunk.room();
        let (bytes, cursors) = chunk.parts();
        let n_rows = cursors.len();
        let [lower, upper] = &mut self.cursors;
        let [lower_inclusive, upper_inclusive, empty] = &mut self.scratch;
        let places = lower.iter_mut().zip(upper).zip(lower_inclusive).zip(upper_inclusive).zip(empty);
        let rows = cursors.iter_mut().zip(self.nulls.scratch()).zip(places).enumerate();
        for (row, ((cursor, valid), ((((lower, upper), lower_inclusive), upper_inclusive), empty))) in rows {
            let here = |cause| RowError { row, cause };
            let value = take_value(bytes, cursor).map_err(here)?;
            *valid = value.is_some();
            let (flags, bounds) = match value {
                None => (0, [ABSENT; 2]),
                Some(value) => {
                    let end = *cursor as usize;
                    parse(bytes, end - value.len(), end).map_err(here)?
                }
            };
            [*lower, *upper] = bounds;
            *lower_inclusive = flags & LOWER_INCLUSIVE != 0;
            *upper_inclusive = flags & UPPER_INCLUSIVE != 0;
            *empty = flags & EMPTY != 0;
        }
        for (column, cursors) in self.bounds.iter_mut().zip(&mut self.cursors) {
            let null_bytes = column.null_bytes();
            if null_bytes > NULL_BYTES_SMALL {
                let n_absent = cursors.iter().take(n_rows).filter(|cursor| **cursor == ABSENT).count();
                if n_absent * null_bytes > room.max(ROOM_MIN) {
                    let row = (room / null_bytes).min(n_rows - 1);
                    return Err(RowError { row, cause: ValueError::ChunkFull });
                }
                room = room.saturating_sub(n_absent * null_bytes);
            }
            let mut bounds = Chunk::new(bytes, cursors.get_mut(..n_rows).unwrap_or_default()).with_room(room);
            column.decode(&mut bounds)?;
            room = bounds.room();
        }
        for (bits, scratch) in self.flags.iter_mut().zip(&self.scratch) {
            bits.append_slice(scratch.get(..n_rows).unwrap_or_default());
        }
        self.nulls.commit(n_rows);
        chunk.set_room(room);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.bounds.iter_mut().for_each(|column| column.truncate(rows));
        self.flags.iter_mut().for_each(|bits| bits.truncate(rows));
        self.nulls.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        self.bounds.iter_mut().for_each(|column| column.expect_rows(rows));
    }

    fn bytes(&self) -> usize {
        let flags = self.flags.iter().map(|bits| bits.len().div_ceil(8)).sum::<usize>();
        self.bounds.iter().map(|column| column.bytes()).sum::<usize>() + flags
    }

    fn allocated_bytes(&self) -> usize {
        self.bounds.iter().map(|column| column.allocated_bytes()).sum::<usize>()
            + self.flags.iter().map(Bits::capacity_bytes).sum::<usize>()
            + self.nulls.allocated_bytes()
            + size_of_val(&self.cursors)
            + size_of_val(&self.scratch)
    }

    fn expanded_bytes(&self, rows: usize) -> usize {
        self.bounds.iter().map(|column| column.expanded_bytes(rows)).sum()
    }

    fn null_bytes(&self) -> usize {
        self.bounds.iter().map(|column| column.null_bytes()).sum()
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.bounds.iter_mut().for_each(|column| column.take_effects(effects));
    }

    fn recycle(&mut self, array: ArrayRef) {
        let Some(children) = array.as_struct_opt().map(|array| array.columns().to_vec()) else { return };
        drop(array);
        for (column, child) in self.bounds.iter_mut().zip(children) {
            column.recycle(child);
        }
    }

    fn reuse(&self) -> BufferReuse {
        let mut reuse = BufferReuse::default();
        self.bounds.iter().for_each(|column| reuse += column.reuse());
        reuse
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        let mut children = Vec::with_capacity(5);
        for column in &mut self.bounds {
            children.push(column.finish()?);
        }
        for bits in &mut self.flags {
            children.push(Arc::new(BooleanArray::new(bits.finish(), None)) as ArrayRef);
        }
        let array = StructArray::try_new(self.fields.clone(), children, self.nulls.finish());
        let other = RowError { row: 0, cause: ValueError::Malformed("a range of other bounds") };
        Ok(Arc::new(array.map_err(|_| other)?))
    }
}
