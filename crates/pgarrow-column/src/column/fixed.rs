//! Types of one fixed width that become one Arrow primitive.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{ArrayRef, PrimitiveArray};
use arrow_schema::DataType;

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::effect::{Effect, EffectLog, Effects};
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{BufferReuse, Spare, capacity_bytes, make_room};

/// A PostgreSQL type of one fixed width that maps onto one Arrow primitive type.
pub(crate) trait FixedWidth: Copy + fmt::Debug + Send + 'static {
    /// `[u8; N]`, where `N` is the width the type's send function always writes.
    type Wire: Wire;
    type Arrow: ArrowPrimitiveType;

    /// Turns one value into its Arrow form.
    fn decode(self, wire: Self::Wire) -> Result<Native<Self>, ValueError>;

    /// What becomes of a value that [`decode`](Self::decode) refused: NULL or another value, and what is told.
    fn reconsider(
        self,
        wire: Self::Wire,
        cause: ValueError,
    ) -> Result<(Option<Native<Self>>, Effect), ValueError> {
        let _ = wire;
        Err(cause)
    }
}

pub(crate) type Native<T> = <<T as FixedWidth>::Arrow as ArrowPrimitiveType>::Native;

/// A value's bytes, read together with the length before them: one bounds check for both.
pub(crate) trait Wire: Copy + Sized + for<'a> TryFrom<&'a [u8]> {
    const WIDTH: u32;
    /// The length and the bytes at `at`; `None` past the end.
    fn framed(bytes: &[u8], at: usize) -> Option<(u32, Self)>;
}

macro_rules! wire {
    ($($width:literal + 4 = $framed:literal),*) => {$(
        impl Wire for [u8; $width] {
            const WIDTH: u32 = $width;

            #[inline(always)]
            fn framed(bytes: &[u8], at: usize) -> Option<(u32, Self)> {
                let framed: &[u8; $framed] = bytes.get(at..at + $framed)?.try_into().ok()?;
                let (length, value) = framed.split_first_chunk::<4>()?;
                Some((u32::from_be_bytes(*length), value.try_into().ok()?))
            }
        }
    )*};
}
wire!(1 + 4 = 5, 2 + 4 = 6, 4 + 4 = 8, 8 + 4 = 12, 12 + 4 = 16, 16 + 4 = 20);

/// A column of fixed-width values.
pub(crate) struct FixedColumn<T: FixedWidth> {
    decoder: T,
    data_type: DataType,
    values: Vec<Native<T>>,
    nulls: Nulls,
    /// The last chunk had NULLs: start the next with the loop that expects them.
    expect_nulls: bool,
    effects: EffectLog,
    spare: Spare<Native<T>>,
}

impl<T: FixedWidth> fmt::Debug for FixedColumn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FixedColumn({:?}, {} rows)", self.decoder, self.values.len())
    }
}

impl<T: FixedWidth> FixedColumn<T> {
    pub(crate) fn new(decoder: T, data_type: DataType, rows: usize) -> Self {
        Self {
            decoder,
            data_type,
            values: Vec::new(),
            nulls: Nulls::new(),
            expect_nulls: false,
            effects: EffectLog::default(),
            spare: Spare::new(rows),
        }
    }

    /// Decodes the chunk if no value is NULL and none needs a second look. Otherwise puts
    /// everything back and returns false.
    ///
    /// Without an exit from the loop the processor overlaps its rounds; what is wrong is asked
    /// once, at the end.
    fn decode_all_valid(&mut self, bytes: &[u8], cursors: &mut [u32]) -> bool {
        let framed = 4 + T::Wire::WIDTH;
        let mut wrong = 0;
        let before = self.values.len();
        let decoder = self.decoder;
        self.values.extend(cursors.iter_mut().map(|cursor| {
            let at = *cursor as usize;
            *cursor = cursor.wrapping_add(framed);
            let Some((length, wire)) = T::Wire::framed(bytes, at) else {
                wrong |= 1;
                return Native::<T>::default();
            };
            wrong |= length ^ T::Wire::WIDTH;
            decoder.decode(wire).unwrap_or_else(|_| {
                wrong |= 1;
                Native::<T>::default()
            })
        }));
        if wrong != 0 {
            for cursor in cursors {
                *cursor = cursor.wrapping_sub(framed);
            }
            self.values.truncate(before);
            return false;
        }
        true
    }

    /// Decodes a chunk in which values may be NULL, without branching on which are.
    fn decode_nullable(&mut self, bytes: &[u8], cursors: &mut [u32]) -> Result<bool, RowError> {
        let mut any_null = false;
        let decoder = self.decoder;
        let valid = self.nulls.scratch();
        for (row, (cursor, valid)) in cursors.iter_mut().zip(valid).enumerate() {
            let at = *cursor as usize;
            if let Some((length, wire)) = T::Wire::framed(bytes, at) {
                let is_valid = length == T::Wire::WIDTH;
                if is_valid || length == crate::chunk::NULL {
                    // Of a NULL these are the bytes behind it, decoded for nothing: cheaper than a
                    // branch that is mispredicted.
                    let decoded = decoder.decode(wire);
                    if decoded.is_ok() || !is_valid {
                        let value = if is_valid { decoded.unwrap_or_default() } else { Default::default() };
                        self.values.push(value);
                        *valid = is_valid;
                        any_null |= !is_valid;
                        *cursor += 4 + u32::from(is_valid) * T::Wire::WIDTH;
                        continue;
                    }
                }
            }
            // The end of the bytes, another width, or a value that is refused.
            let (value, effect) =
                decode_carefully(decoder, bytes, cursor).map_err(|cause| RowError { row, cause })?;
            if let Some(effect) = effect {
                self.effects.note(self.values.len(), effect);
            }
            *valid = value.is_some();
            any_null |= value.is_none();
            self.values.push(value.unwrap_or_default());
        }
        Ok(any_null)
    }
}

#[cold]
fn decode_carefully<T: FixedWidth>(
    decoder: T,
    bytes: &[u8],
    cursor: &mut u32,
) -> Result<(Option<Native<T>>, Option<Effect>), ValueError> {
    let Some(value) = take_value(bytes, cursor)? else {
        return Ok((None, None));
    };
    let wire = T::Wire::try_from(value)
        .map_err(|_| ValueError::Width { expected: T::Wire::WIDTH as usize, found: value.len() })?;
    match decoder.decode(wire) {
        Ok(value) => Ok((Some(value), None)),
        Err(cause) => {
            let (value, effect) = decoder.reconsider(wire, cause)?;
            Ok((value, Some(effect)))
        }
    }
}

impl<T: FixedWidth> Column for FixedColumn<T> {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let (bytes, cursors) = chunk.parts();
        if self.values.capacity() == 0 {
            self.values = self.spare.take();
            self.values.clear();
        }
        make_room(&mut self.values, cursors.len());
        if !self.expect_nulls && self.decode_all_valid(bytes, cursors) {
            self.nulls.append_valid(cursors.len());
            return Ok(());
        }
        self.expect_nulls = self.decode_nullable(bytes, cursors)?;
        self.nulls.append_chunk(cursors.len(), self.expect_nulls);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
        self.effects.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        self.spare.foresee(&mut self.values, rows);
    }

    fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.values)
            + self.nulls.allocated_bytes()
            + self.effects.allocated_bytes()
            + self.spare.allocated_bytes()
    }

    fn null_bytes(&self) -> usize {
        size_of::<Native<T>>()
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.effects.take(effects);
    }

    fn recycle(&mut self, array: ArrayRef) {
        let buffer = array.as_primitive_opt::<T::Arrow>().map(|array| array.values().inner().clone());
        if let Some(buffer) = buffer {
            drop(array);
            self.spare.give(buffer);
        }
    }

    fn reuse(&self) -> BufferReuse {
        self.spare.reuse()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.spare.learn(self.values.len());
        self.effects.finish();
        let values = std::mem::take(&mut self.values);
        let array = PrimitiveArray::<T::Arrow>::new(values.into(), self.nulls.finish());
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}
