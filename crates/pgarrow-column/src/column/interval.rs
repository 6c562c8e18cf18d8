//! `interval`: microseconds, days and months, none normalised into another.
//!
//! ```text
//! i64 microseconds │ i32 days │ i32 months        16 bytes, big-endian
//! ```
//!
//! Since PostgreSQL 17 all three at their minimum or maximum mean ∓infinity.
//!
//! Source: `interval_send` in PostgreSQL's `src/backend/utils/adt/timestamp.c`;
//! `INTERVAL_NOBEGIN`, `INTERVAL_NOEND` in `src/include/datatype/timestamp.h`.

use std::sync::Arc;

use arrow_array::types::IntervalMonthDayNanoType;
use arrow_array::{ArrayRef, Int32Array, Int64Array, StructArray};
use arrow_buffer::IntervalMonthDayNano;
use arrow_schema::{DataType, Fields};

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::column::fixed::FixedWidth;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{capacity_bytes, make_room, make_room_in_all};

struct Parts {
    months: i32,
    days: i32,
    micros: i64,
}

fn parts(wire: [u8; 16]) -> Result<Parts, ValueError> {
    let all = u128::from_be_bytes(wire);
    // The casts cut the three parts out of the 128 bits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "cuts the parts out")]
    let (micros, days, months) = ((all >> 64) as u64 as i64, (all >> 32) as u32 as i32, all as u32 as i32);
    match (months, days, micros) {
        (i32::MIN, i32::MIN, i64::MIN) | (i32::MAX, i32::MAX, i64::MAX) => Err(ValueError::Infinite),
        _ => Ok(Parts { months, days, micros }),
    }
}

/// To `Interval(MonthDayNano)`: the time part has to fit nanoseconds, ±292 years.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MonthDayNano;

impl FixedWidth for MonthDayNano {
    type Wire = [u8; 16];
    type Arrow = IntervalMonthDayNanoType;

    #[inline]
    fn decode(self, wire: [u8; 16]) -> Result<IntervalMonthDayNano, ValueError> {
        let Parts { months, days, micros } = parts(wire)?;
        let nanos = micros.checked_mul(1_000).ok_or(ValueError::OutOfRange)?;
        Ok(IntervalMonthDayNano::new(months, days, nanos))
    }
}

/// To `Struct{months, days, microseconds}`, which holds every finite interval.
#[derive(Debug)]
pub(crate) struct IntervalStructColumn {
    fields: Fields,
    months: Vec<i32>,
    days: Vec<i32>,
    micros: Vec<i64>,
    nulls: Nulls,
}

impl IntervalStructColumn {
    pub(crate) fn new(data_type: DataType) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        Self { fields, months: Vec::new(), days: Vec::new(), micros: Vec::new(), nulls: Nulls::new() }
    }
}

impl Column for IntervalStructColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let (bytes, cursors) = chunk.parts();
        make_room(&mut self.months, cursors.len());
        make_room(&mut self.days, cursors.len());
        make_room(&mut self.micros, cursors.len());
        let valid = self.nulls.scratch();
        for (row, (cursor, valid)) in cursors.iter_mut().zip(valid).enumerate() {
            let at_row = |cause| RowError { row, cause };
            let value = take_value(bytes, cursor).map_err(at_row)?;
            *valid = value.is_some();
            let decoded = match value {
                None => Parts { months: 0, days: 0, micros: 0 },
                Some(value) => {
                    let width = ValueError::Width { expected: 16, found: value.len() };
                    parts(value.try_into().map_err(|_| at_row(width))?).map_err(at_row)?
                }
            };
            self.months.push(decoded.months);
            self.days.push(decoded.days);
            self.micros.push(decoded.micros);
        }
        self.nulls.commit(cursors.len());
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.months.truncate(rows);
        self.days.truncate(rows);
        self.micros.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        make_room_in_all(&mut self.months, rows);
        make_room_in_all(&mut self.days, rows);
        make_room_in_all(&mut self.micros, rows);
    }

    fn bytes(&self) -> usize {
        self.micros.len() * 16
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.months)
            + capacity_bytes(&self.days)
            + capacity_bytes(&self.micros)
            + self.nulls.allocated_bytes()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        let children: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(std::mem::take(&mut self.months))),
            Arc::new(Int32Array::from(std::mem::take(&mut self.days))),
            Arc::new(Int64Array::from(std::mem::take(&mut self.micros))),
        ];
        Ok(Arc::new(StructArray::new(self.fields.clone(), children, self.nulls.finish())))
    }
}
