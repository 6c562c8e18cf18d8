//! `interval`: microseconds, days and months, none normalised into another.
//!
//! ```text
//! i64 microseconds │ i32 days │ i32 months        16 bytes, big-endian
//! ```
//!
//! Since PostgreSQL 17, all three at their minimum or maximum mean ∓infinity. Before, these two values were
//! finite. The value itself does not tell the difference, so the type does.
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
use crate::column::policy::Policies;
use crate::effect::{Effect, EffectLog, Effects};
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{capacity_bytes, make_room, make_room_in_all};

/// The meaning of the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntervalWire {
    pub(crate) has_infinities: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) micros: i64,
}

impl Parts {
    /// The smallest or the largest interval, which PostgreSQL itself uses for the infinities.
    fn extreme(is_negative: bool) -> Self {
        match is_negative {
            true => Self { months: i32::MIN, days: i32::MIN, micros: i64::MIN },
            false => Self { months: i32::MAX, days: i32::MAX, micros: i64::MAX },
        }
    }
}

impl IntervalWire {
    #[inline]
    pub(crate) fn parts(self, wire: [u8; 16]) -> Result<Parts, ValueError> {
        let all = u128::from_be_bytes(wire);
        // The casts cut the three parts out of the 128 bits.
        #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "cuts the parts out")]
        let (micros, days, months) =
            ((all >> 64) as u64 as i64, (all >> 32) as u32 as i32, all as u32 as i32);
        match (months, days, micros) {
            (i32::MIN, i32::MIN, i64::MIN) | (i32::MAX, i32::MAX, i64::MAX) if self.has_infinities => {
                Err(ValueError::Infinite)
            }
            _ => Ok(Parts { months, days, micros }),
        }
    }
}

/// To `Interval(MonthDayNano)`: the time part must fit nanoseconds, ±292 years.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MonthDayNano {
    pub(crate) wire: IntervalWire,
    pub(crate) policies: Policies,
}

impl FixedWidth for MonthDayNano {
    type Wire = [u8; 16];
    type Arrow = IntervalMonthDayNanoType;

    #[inline]
    fn decode(self, wire: [u8; 16]) -> Result<IntervalMonthDayNano, ValueError> {
        let Parts { months, days, micros } = self.wire.parts(wire)?;
        let nanos = micros.checked_mul(1_000).ok_or(ValueError::OutOfRange)?;
        Ok(IntervalMonthDayNano::new(months, days, nanos))
    }

    fn wire([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [u8; 16]) -> [u8; 16] {
        [h, g, f, e, d, c, b, a, l, k, j, i, p, o, n, m]
    }

    fn reconsider(
        self,
        wire: [u8; 16],
        cause: ValueError,
    ) -> Result<(Option<IntervalMonthDayNano>, Effect), ValueError> {
        let is_negative = i8::from_be_bytes([wire[0]]) < 0;
        let Parts { months, days, micros } = match self.wire.parts(wire) {
            Ok(parts) => Parts { micros: if is_negative { i64::MIN } else { i64::MAX }, ..parts },
            Err(_) => Parts::extreme(is_negative),
        };
        self.policies.resolve(cause, || IntervalMonthDayNano::new(months, days, micros))
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
    wire: IntervalWire,
    policies: Policies,
    effects: EffectLog,
}

impl IntervalStructColumn {
    pub(crate) fn new(wire: IntervalWire, data_type: DataType, policies: Policies) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields,
            _ => Fields::empty(),
        };
        Self {
            fields,
            months: Vec::new(),
            days: Vec::new(),
            micros: Vec::new(),
            nulls: Nulls::new(),
            wire,
            policies,
            effects: EffectLog::default(),
        }
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
            let decoded = match value {
                None => None,
                Some(value) => {
                    let width = ValueError::Width { expected: 16, found: value.len() };
                    let wire: [u8; 16] = value.try_into().map_err(|_| at_row(width))?;
                    match self.wire.parts(wire) {
                        Ok(parts) => Some(parts),
                        Err(cause) => {
                            let nearest = || Parts::extreme(i8::from_be_bytes([wire[0]]) < 0);
                            let (parts, effect) = self.policies.resolve(cause, nearest).map_err(at_row)?;
                            self.effects.note(self.months.len(), effect);
                            parts
                        }
                    }
                }
            };
            *valid = decoded.is_some();
            let decoded = decoded.unwrap_or_default();
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
        self.effects.truncate(rows);
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
            + self.effects.allocated_bytes()
    }

    fn null_bytes(&self) -> usize {
        16
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.effects.take(effects);
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.effects.finish();
        let children: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(std::mem::take(&mut self.months))),
            Arc::new(Int32Array::from(std::mem::take(&mut self.days))),
            Arc::new(Int64Array::from(std::mem::take(&mut self.micros))),
        ];
        Ok(Arc::new(StructArray::new(self.fields.clone(), children, self.nulls.finish())))
    }
}
