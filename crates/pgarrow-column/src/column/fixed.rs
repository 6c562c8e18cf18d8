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

    /// The value that becomes the default of the Arrow type, which stands for NULL.
    const OF_DEFAULT: Self::Wire = <Self::Wire as Wire>::ZERO;

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
    const ZERO: Self;
    /// The same if `keep` has all bits, and `other` if it has none.
    fn or(self, other: Self, keep: i32) -> Self;
    /// The length and the bytes at `at`; `None` past the end.
    fn framed(bytes: &[u8], at: usize) -> Option<(u32, Self)>;
    /// The bytes at `at`, as they are stored; `None` past the end.
    fn stored(bytes: &[u8], at: usize) -> Option<Self>;
    /// The bytes in reversed order.
    fn reversed(self) -> Self;
}

macro_rules! wire {
    ($($width:literal + 4 = $framed:literal, $integer:ty;)*) => {$(
        impl Wire for [u8; $width] {
            const WIDTH: u32 = $width;
            const ZERO: Self = [0; $width];

            #[inline(always)]
            fn or(self, other: Self, keep: i32) -> Self {
                let keep = i128::from(keep).to_le_bytes();
                let keep = keep.first_chunk::<$width>().map_or(0, |keep| <$integer>::from_le_bytes(*keep));
                let (kept, other) = (<$integer>::from_le_bytes(self), <$integer>::from_le_bytes(other));
                (kept & keep | other & !keep).to_le_bytes()
            }

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
wire!(1 + 4 = 5, u8; 2 + 4 = 6, u16; 4 + 4 = 8, u32; 8 + 4 = 12, u64; 16 + 4 = 20, u128;);

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

    /// Decodes a chunk in which values may be NULL.
    fn decode_nullable(
        &self,
        bytes: &[u8],
        cursors: &mut [u32],
        rows: &mut Rows<Native<T>>,
    ) -> Result<bool, RowError> {
        let decoder = self.decoder;
        let Rows { values, nulls, effects } = rows;
        let before = values.len();
        values.resize(before + cursors.len(), Native::<T>::default());
        let mut left = Nullable {
            bytes,
            cursors,
            valid: nulls.scratch(),
            slots: values.get_mut(before..).unwrap_or_default(),
            row: 0,
            any_null: false,
        };
        while let Some((cursor, row)) = left.until_careful(T::OF_DEFAULT, |wire| decoder.decode(wire).ok()) {
            // The end of the bytes, another width, or a refused value.
            let (value, effect) =
                decode_carefully(decoder, bytes, cursor).map_err(|cause| RowError { row, cause })?;
            if let Some(effect) = effect {
                effects.note(before + row, effect);
            }
            left.put(value);
        }
        Ok(left.any_null)
    }
}

/// The rows of a chunk of values of one width that are not decoded yet. Any may be NULL.
pub(crate) struct Nullable<'a, N> {
    pub(crate) bytes: &'a [u8],
    pub(crate) cursors: &'a mut [u32],
    pub(crate) valid: &'a mut [bool],
    /// Where the values go.
    pub(crate) slots: &'a mut [N],
    /// The first of these rows.
    pub(crate) row: usize,
    /// Whether a row before it is NULL.
    pub(crate) any_null: bool,
}

impl<N: Copy + Default> Nullable<'_, N> {
    /// Decodes rows until one needs a second look: at the end of the bytes, of another width, or not decoded
    /// by `decode`. `decode` makes the default of `of_default`, which stands for NULL. Returns
    /// the row's cursor and number; `None` behind the last.
    #[inline(always)]
    pub(crate) fn until_careful<W: Wire>(
        &mut self,
        of_default: W,
        decode: impl Fn(W) -> Option<N>,
    ) -> Option<(&mut u32, usize)> {
        let Self { bytes, cursors, valid, slots, row, any_null } = self;
        let cursors_left = cursors.get_mut(*row..).unwrap_or_default().iter_mut();
        let valid_left = valid.get_mut(*row..).unwrap_or_default().iter_mut();
        let slots_left = slots.get_mut(*row..).unwrap_or_default().iter_mut();
        let mut n_left = cursors_left.len();
        let mut nulls = 0;
        for ((cursor, valid), slot) in cursors_left.zip(valid_left).zip(slots_left) {
            let Some((length, wire)) = W::framed(bytes, *cursor as usize) else { break };
            // All bits for a NULL. The compiler must not know, or it makes a branch of what depends on it.
            let null = std::hint::black_box(length.cast_signed() >> 31);
            let width = W::WIDTH & !null.cast_unsigned();
            // For a NULL, `wire` is what is behind it.
            let decoded = decode(wire.or(of_default, !null));
            let (0, Some(value)) = (length ^ (width | null.cast_unsigned()), decoded) else { break };
            *slot = value;
            *valid = null == 0;
            nulls |= null;
            *cursor += 4 + width;
            n_left -= 1;
        }
        *any_null |= nulls != 0;
        *row = cursors.len() - n_left;
        let row = *row;
        self.cursors.get_mut(row).map(|cursor| (cursor, row))
    }

    /// Sets the value of the row that needed a second look.
    pub(crate) fn put(&mut self, value: Option<N>) {
        if let (Some(valid), Some(slot)) = (self.valid.get_mut(self.row), self.slots.get_mut(self.row)) {
            *valid = value.is_some();
            *slot = value.unwrap_or_default();
        }
        self.any_null |= value.is_none();
        self.row += 1;
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
