//! `time`: microseconds since midnight. `timetz`: the same, with a zone.
//!
//! Source: `time_send`, `timetz_send` in PostgreSQL's `src/backend/utils/adt/date.c`.

use std::sync::Arc;

use arrow_array::types::Time64MicrosecondType;
use arrow_array::{ArrayRef, Int32Array, StructArray, Time64MicrosecondArray};
use arrow_schema::{DataType, Fields};

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::column::fixed::FixedWidth;
use crate::effect::{Effect, EffectLog, Effects};
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{capacity_bytes, make_room, make_room_in_all};

/// 24:00:00 is a legal time of PostgreSQL. It is kept, although Arrow's own range ends just before it.
const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// 8 bytes, big-endian: microseconds since midnight, 0 to 86,400,000,000.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time;

impl FixedWidth for Time {
    type Wire = [u8; 8];
    type Arrow = Time64MicrosecondType;

    #[inline(always)]
    fn decode(self, wire: [u8; 8]) -> Result<i64, ValueError> {
        let micros = i64::from_be_bytes(wire);
        if (0..MICROS_PER_DAY).contains(&micros) { Ok(micros) } else { Err(ValueError::OutOfRange) }
    }

    fn reconsider(self, wire: [u8; 8], _: ValueError) -> Result<(Option<i64>, Effect), ValueError> {
        match i64::from_be_bytes(wire) {
            MICROS_PER_DAY => Ok((Some(MICROS_PER_DAY), Effect::EndOfDay)),
            _ => Err(ValueError::Malformed("a time that is not within a day")),
        }
    }
}

/// `Struct{time, offset}`. On the wire: 8 bytes of time, then the zone as seconds *west* of UTC.
#[derive(Debug)]
pub(crate) struct TimetzColumn {
    fields: Fields,
    micros: Vec<i64>,
    offsets: Vec<i32>,
    nulls: Nulls,
    effects: EffectLog,
}

impl TimetzColumn {
    pub(crate) fn new(data_type: DataType) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        Self {
            fields,
            micros: Vec::new(),
            offsets: Vec::new(),
            nulls: Nulls::new(),
            effects: EffectLog::default(),
        }
    }
}

fn decode_timetz(value: &[u8]) -> Result<(i64, i32), ValueError> {
    let wire: [u8; 12] =
        value.try_into().map_err(|_| ValueError::Width { expected: 12, found: value.len() })?;
    let [t0, t1, t2, t3, t4, t5, t6, t7, z0, z1, z2, z3] = wire;
    let time = [t0, t1, t2, t3, t4, t5, t6, t7];
    let micros = Time
        .decode(time)
        .or_else(|cause| Time.reconsider(time, cause).map(|(micros, _)| micros.unwrap_or_default()))?;
    let west = i32::from_be_bytes([z0, z1, z2, z3]);
    Ok((micros, west.checked_neg().ok_or(ValueError::OutOfRange)?))
}

impl Column for TimetzColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let (bytes, cursors) = chunk.parts();
        make_room(&mut self.micros, cursors.len());
        make_room(&mut self.offsets, cursors.len());
        let valid = self.nulls.scratch();
        for (row, (cursor, valid)) in cursors.iter_mut().zip(valid).enumerate() {
            let value = take_value(bytes, cursor).map_err(|cause| RowError { row, cause })?;
            *valid = value.is_some();
            let decoded = value.map(decode_timetz).transpose().map_err(|cause| RowError { row, cause })?;
            let (micros, offset) = decoded.unwrap_or_default();
            if micros == MICROS_PER_DAY {
                self.effects.note(self.micros.len(), Effect::EndOfDay);
            }
            self.micros.push(micros);
            self.offsets.push(offset);
        }
        self.nulls.commit(cursors.len());
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.micros.truncate(rows);
        self.offsets.truncate(rows);
        self.nulls.truncate(rows);
        self.effects.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        make_room_in_all(&mut self.micros, rows);
        make_room_in_all(&mut self.offsets, rows);
    }

    fn bytes(&self) -> usize {
        self.micros.len() * 12
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.micros)
            + capacity_bytes(&self.offsets)
            + self.nulls.allocated_bytes()
            + self.effects.allocated_bytes()
    }

    fn null_bytes(&self) -> usize {
        12
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.effects.take(effects);
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.effects.finish();
        let micros = Time64MicrosecondArray::from(std::mem::take(&mut self.micros));
        let offsets = Int32Array::from(std::mem::take(&mut self.offsets));
        let children: Vec<ArrayRef> = vec![Arc::new(micros), Arc::new(offsets)];
        Ok(Arc::new(StructArray::new(self.fields.clone(), children, self.nulls.finish())))
    }
}
