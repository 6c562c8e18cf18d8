//! Types of one fixed width that become one Arrow primitive.

use std::fmt;

use arrow_array::types::ArrowPrimitiveType;

use crate::chunk::take_value;
use crate::column::primitive::{Decode, Rows};
use crate::effect::Effect;
use crate::error::{RowError, ValueError};
use crate::stored::{STORED_NULL, StoredChunk};

/// A PostgreSQL type of one fixed width that becomes one Arrow primitive type.
pub(crate) trait FixedWidth: Copy + fmt::Debug + Send + 'static {
    /// `[u8; N]`, where `N` is the width that the type's send function always writes.
    type Wire: Wire;
    type Arrow: ArrowPrimitiveType;

    /// Turns one value into its Arrow form.
    fn decode(self, wire: Self::Wire) -> Result<Native<Self>, ValueError>;

    /// The wire form of a stored value. The stored bytes are one little-endian number, unless the value has
    /// parts.
    #[inline(always)]
    fn wire(stored: Self::Wire) -> Self::Wire {
        stored.reversed()
    }

    /// The result for a value that [`decode`](Self::decode) refused: NULL or another value, and the effect to
    /// count.
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
    /// The bytes at `at`, as they are stored; `None` past the end.
    fn stored(bytes: &[u8], at: usize) -> Option<Self>;
    /// The bytes in reversed order.
    fn reversed(self) -> Self;
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

            #[inline(always)]
            fn stored(bytes: &[u8], at: usize) -> Option<Self> {
                bytes.get(at..at.wrapping_add($width))?.try_into().ok()
            }

            #[inline(always)]
            fn reversed(mut self) -> Self {
                self.reverse();
                self
            }
        }
    )*};
}
wire!(1 + 4 = 5, 2 + 4 = 6, 4 + 4 = 8, 8 + 4 = 12, 12 + 4 = 16, 16 + 4 = 20);

/// Decodes values of one width, one after the other.
#[derive(Debug)]
pub(crate) struct Fixed<T> {
    decoder: T,
    /// The last chunk had NULLs: start the next with the loop that expects them.
    expect_nulls: bool,
}

impl<T: FixedWidth> Fixed<T> {
    pub(crate) fn new(decoder: T) -> Self {
        Self { decoder, expect_nulls: false }
    }

    /// Decodes the chunk if no value is NULL and none needs a second look. Otherwise undoes everything and
    /// returns false.
    ///
    /// Without an exit from the loop the processor overlaps its rounds. Errors are checked once, at the end.
    fn decode_all_valid(&self, bytes: &[u8], cursors: &mut [u32], values: &mut Vec<Native<T>>) -> bool {
        let framed = 4 + T::Wire::WIDTH;
        let mut wrong = 0;
        let before = values.len();
        let decoder = self.decoder;
        values.extend(cursors.iter_mut().map(|cursor| {
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
            values.truncate(before);
            return false;
        }
        true
    }

    /// The same for stored values.
    fn decode_all_stored(&self, chunk: &StoredChunk<'_>, values: &mut Vec<Native<T>>) -> bool {
        let mut wrong = false;
        let before = values.len();
        let (decoder, bytes) = (self.decoder, chunk.bytes);
        values.extend(chunk.starts.iter().map(|start| {
            let stored = T::Wire::stored(bytes, *start as usize);
            stored.and_then(|stored| decoder.decode(T::wire(stored)).ok()).unwrap_or_else(|| {
                wrong = true;
                Native::<T>::default()
            })
        }));
        if wrong {
            values.truncate(before);
        }
        !wrong
    }

    /// The same if some are NULL, or need a second look.
    fn decode_stored_nullable(
        &self,
        chunk: &StoredChunk<'_>,
        rows: &mut Rows<Native<T>>,
    ) -> Result<bool, RowError> {
        let mut any_null = false;
        let Rows { values, nulls, effects } = rows;
        for (row, (start, valid)) in chunk.starts.iter().zip(nulls.scratch()).enumerate() {
            let value = match T::Wire::stored(chunk.bytes, *start as usize).map(T::wire) {
                _ if *start == STORED_NULL => None,
                None => return Err(RowError { row, cause: ValueError::Length }),
                Some(wire) => match self.decoder.decode(wire) {
                    Ok(value) => Some(value),
                    Err(cause) => {
                        let reconsidered = self.decoder.reconsider(wire, cause);
                        let (value, effect) = reconsidered.map_err(|cause| RowError { row, cause })?;
                        effects.note(values.len(), effect);
                        value
                    }
                },
            };
            *valid = value.is_some();
            any_null |= value.is_none();
            values.push(value.unwrap_or_default());
        }
        Ok(any_null)
    }

    /// Decodes a chunk in which values may be NULL, without a branch for each NULL.
    fn decode_nullable(
        &self,
        bytes: &[u8],
        cursors: &mut [u32],
        rows: &mut Rows<Native<T>>,
    ) -> Result<bool, RowError> {
        let mut any_null = false;
        let decoder = self.decoder;
        let Rows { values, nulls, effects } = rows;
        let valid = nulls.scratch();
        for (row, (cursor, valid)) in cursors.iter_mut().zip(valid).enumerate() {
            let at = *cursor as usize;
            if let Some((length, wire)) = T::Wire::framed(bytes, at) {
                let is_valid = length == T::Wire::WIDTH;
                if is_valid || length == crate::chunk::NULL {
                    // For a NULL, these are the bytes behind it. Decoding them in vain is cheaper than a
                    // mispredicted branch.
                    let decoded = decoder.decode(wire);
                    if decoded.is_ok() || !is_valid {
                        let value = if is_valid { decoded.unwrap_or_default() } else { Default::default() };
                        values.push(value);
                        *valid = is_valid;
                        any_null |= !is_valid;
                        *cursor += 4 + u32::from(is_valid) * T::Wire::WIDTH;
                        continue;
                    }
                }
            }
            // The end of the bytes, another width, or a refused value.
            let (value, effect) =
                decode_carefully(decoder, bytes, cursor).map_err(|cause| RowError { row, cause })?;
            if let Some(effect) = effect {
                effects.note(values.len(), effect);
            }
            *valid = value.is_some();
            any_null |= value.is_none();
            values.push(value.unwrap_or_default());
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

impl<T: FixedWidth> Decode for Fixed<T> {
    type Arrow = T::Arrow;

    fn decode(
        &mut self,
        bytes: &[u8],
        cursors: &mut [u32],
        rows: &mut Rows<Native<T>>,
    ) -> Result<(), RowError> {
        if !self.expect_nulls && self.decode_all_valid(bytes, cursors, &mut rows.values) {
            rows.nulls.append_valid(cursors.len());
            return Ok(());
        }
        self.expect_nulls = self.decode_nullable(bytes, cursors, rows)?;
        rows.nulls.append_chunk(cursors.len(), self.expect_nulls);
        Ok(())
    }

    fn decode_stored(
        &mut self,
        chunk: &StoredChunk<'_>,
        rows: &mut Rows<Native<T>>,
    ) -> Result<bool, RowError> {
        if !chunk.has_nulls && self.decode_all_stored(chunk, &mut rows.values) {
            rows.nulls.append_valid(chunk.rows());
            return Ok(true);
        }
        let any_null = self.decode_stored_nullable(chunk, rows)?;
        rows.nulls.append_chunk(chunk.rows(), any_null);
        Ok(true)
    }
}
