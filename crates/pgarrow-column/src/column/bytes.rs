//! Values whose bytes are copied unchanged: text, json, bytea, labels; and jsonb and ltree behind a version
//! byte.
//!
//! Source: `textsend`, `varcharsend`, `bpcharsend` (padding included), `namesend`, `json_send`,
//! `byteasend`, `enum_send`, `jsonb_send` (version 1) in PostgreSQL's `src/backend/utils/adt/`; `ltree_send`
//! (version 1) in `contrib/ltree/ltree_io.c`.

use std::fmt;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{BinaryType, Utf8Type};

use crate::chunk::{Chunk, NULL, take_value};
use crate::column::Column;
use crate::effect::Effects;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{BufferReuse, Spare, capacity_bytes, extrapolate, make_room};
use crate::stored::{STORED_NULL, StoredChunk};
use crate::strings::Output;

/// Extra bytes behind the values, for the last copy of a constant size.
const SLACK: usize = 64;

/// The end of the last value is at most here: offsets have 32 bits.
const END_MAX: usize = 0x7fff_ffff;

const UNKNOWN_VERSION: ValueError = ValueError::Malformed("a value of another version than 1");

/// The bytes before the value proper.
pub(crate) trait BytesForm: fmt::Debug + Send + 'static {
    /// Bytes before the value proper, each of which must be 1.
    const VERSION_BYTES: u32;
}

/// Nothing.
#[derive(Debug)]
pub(crate) struct Plain;

impl BytesForm for Plain {
    const VERSION_BYTES: u32 = 0;
}

/// A version byte, as in jsonb and ltree.
#[derive(Debug)]
pub(crate) struct Versioned;

impl BytesForm for Versioned {
    const VERSION_BYTES: u32 = 1;
}

/// A column of variable-width values that are copied unchanged.
///
/// Most values are short. A copy of a constant size is a few instructions, while one of the value's own size
/// is a call. So 16, 32 or 64 bytes are copied whatever the value's length, and the next value overwrites the
/// excess. The size follows the longest value of the chunk before.
pub(crate) struct BytesColumn<F: BytesForm> {
    form: F,
    output: Output,
    effects: Effects,
    /// One more than the number of rows; starts at 0.
    offsets: Vec<i32>,
    /// Longer than the values: room for a chunk, zeroed once. The values end at the last offset.
    values: Vec<u8>,
    nulls: Nulls,
    /// The longest value of the last chunk; chooses the size of a copy.
    longest: u32,
    spare_offsets: Spare<i32>,
    spare_values: Spare<u8>,
    /// Bytes of the large value that is being received.
    large: Option<usize>,
    /// Bytes of the batch's large values, which say nothing about the next batch.
    large_bytes: usize,
}

impl<F: BytesForm> fmt::Debug for BytesColumn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BytesColumn({:?}, {} rows)", self.form, self.offsets.len().saturating_sub(1))
    }
}

impl<F: BytesForm> BytesColumn<F> {
    /// If the output is text, the values must be UTF-8; this is checked once per batch.
    pub(crate) fn new(form: F, output: Output) -> Self {
        Self {
            form,
            output,
            effects: Effects::default(),
            offsets: vec![0],
            values: Vec::new(),
            nulls: Nulls::new(),
            longest: 0,
            spare_offsets: Spare::new(0),
            spare_values: Spare::new(0),
            large: None,
            large_bytes: 0,
        }
    }

    /// Where the values end.
    fn end(&self) -> usize {
        self.offsets.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0)
    }

    fn begin_batch(&mut self) {
        self.offsets = self.spare_offsets.take();
        self.offsets.clear();
        self.offsets.push(0);
        // Its content is as good as zeros: it is overwritten before it is read.
        self.values = self.spare_values.take();
    }

    /// Makes `values` at least this long.
    #[cold]
    fn grow(&mut self, length: usize) {
        let additional = length.saturating_sub(self.values.len());
        make_room(&mut self.values, additional);
        // Zeroes all that is allocated, up to twice the need: once, not again for every chunk.
        let length = self.values.capacity().min(length.saturating_mul(2)).min(END_MAX).max(length);
        self.values.resize(length, 0);
    }

    /// One loop over the chunk, copying `N` bytes of every value. Returns whether there was a NULL.
    fn copy_chunk<const N: usize>(&mut self, bytes: &[u8], cursors: &mut [u32]) -> Result<bool, RowError> {
        let mut end = self.end();
        let mut any_null = false;
        let mut longest = 0;
        let valid = self.nulls.scratch();
        let values = self.values.as_mut_slice();
        let mut failed = None;
        let rows = cursors.iter_mut().zip(valid).enumerate().map(|(row, (cursor, valid))| {
            if let Some(length) = copy_quickly::<F, N>(bytes, *cursor, values, end) {
                // A NULL has length -1; as a text it is empty.
                let is_null = length == NULL;
                let length = if is_null { 0 } else { length };
                let value_bytes = length.wrapping_sub(F::VERSION_BYTES * u32::from(!is_null));
                *cursor = cursor.wrapping_add(4).wrapping_add(length);
                *valid = !is_null;
                any_null |= is_null;
                longest = longest.max(value_bytes);
                end += value_bytes as usize;
            } else if failed.is_none() {
                match copy_carefully::<F>(bytes, cursor, values, end) {
                    Ok(copied) => {
                        *valid = copied.is_some();
                        any_null |= copied.is_none();
                        let length = copied.unwrap_or(0);
                        end += length;
                        longest = longest.max(u32::try_from(length).unwrap_or(u32::MAX));
                    }
                    Err(cause) => failed = Some(RowError { row, cause }),
                }
            }
            // `decode` has checked that there is room up to the end of the chunk, and `grow` that this fits
            // an i32.
            i32::try_from(end).unwrap_or(i32::MAX)
        });
        self.offsets.extend(rows);
        self.longest = longest;
        failed.map_or(Ok(any_null), Err)
    }
}

impl<F: BytesForm> BytesColumn<F> {
    /// As `copy_chunk`, for stored values, whose lengths are known.
    fn copy_stored<const N: usize>(&mut self, chunk: &StoredChunk<'_>) -> Result<(), RowError> {
        let mut end = self.end();
        let mut longest = 0;
        let values = self.values.as_mut_slice();
        let mut failed = None;
        let places = chunk.starts.iter().zip(chunk.lengths).zip(self.nulls.scratch()).enumerate();
        self.offsets.extend(places.map(|(row, ((start, length), valid))| {
            *valid = *start != STORED_NULL;
            let length = if *valid { *length } else { 0 };
            let source = chunk.bytes.get(*start as usize..).and_then(<[u8]>::first_chunk::<N>);
            let target = values.get_mut(end..).and_then(<[u8]>::first_chunk_mut::<N>);
            match (source, target) {
                (Some(source), Some(target)) if length as usize <= N => *target = *source,
                _ if !*valid => {}
                _ => {
                    let cause = copy_stored_carefully(chunk.bytes, *start, length, values, end).err();
                    failed = failed.or(cause.map(|cause| RowError { row, cause }));
                }
            }
            end += length as usize;
            longest = longest.max(length);
            // `decode_stored` has checked that there is room up to the end of the chunk, which fits an i32.
            i32::try_from(end).unwrap_or(i32::MAX)
        }));
        self.longest = longest;
        failed.map_or(Ok(()), Err)
    }
}

#[cold]
fn copy_stored_carefully(
    bytes: &[u8],
    start: u32,
    length: u32,
    values: &mut [u8],
    end: usize,
) -> Result<(), ValueError> {
    let (start, length) = (start as usize, length as usize);
    let value = bytes.get(start..start.saturating_add(length)).ok_or(ValueError::Length)?;
    let target = values.get_mut(end..end.saturating_add(length)).ok_or(ValueError::BatchTooLarge)?;
    target.copy_from_slice(value);
    Ok(())
}

/// Copies `N` bytes of a value that has no more (or is NULL) and returns its length. `None` if it has more,
/// if there are fewer than `N` bytes, or if its version is unknown.
#[inline(always)]
fn copy_quickly<F: BytesForm, const N: usize>(
    bytes: &[u8],
    cursor: u32,
    values: &mut [u8],
    end: usize,
) -> Option<u32> {
    let (length, value) = bytes.get(cursor as usize..)?.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    let value = match F::VERSION_BYTES {
        0 => value,
        _ => value.split_first().filter(|(version, _)| **version == 1 || length == NULL)?.1,
    };
    let source = value.first_chunk::<N>()?;
    let target = values.get_mut(end..)?.first_chunk_mut::<N>()?;
    // -1 becomes 0, the smallest length.
    let is_short = length.wrapping_add(1) as usize <= N + 1 + F::VERSION_BYTES as usize;
    if !is_short || (F::VERSION_BYTES > 0 && length == 0) {
        return None;
    }
    *target = *source;
    Some(length)
}

/// Copies a value that is long, NULL, or near the end of the bytes. Returns its length; `None` for NULL.
#[cold]
fn copy_carefully<F: BytesForm>(
    bytes: &[u8],
    cursor: &mut u32,
    values: &mut [u8],
    end: usize,
) -> Result<Option<usize>, ValueError> {
    let Some(value) = take_value(bytes, cursor)? else {
        return Ok(None);
    };
    let value = if F::VERSION_BYTES == 0 {
        value
    } else {
        match value.split_first() {
            Some((1, value)) => value,
            _ => return Err(UNKNOWN_VERSION),
        }
    };
    let target = values.get_mut(end..end + value.len()).ok_or(ValueError::BatchTooLarge)?;
    target.copy_from_slice(value);
    Ok(Some(value.len()))
}

/// Bytes of the chunk's values of this column.
fn value_bytes(bytes: &[u8], cursors: &[u32]) -> usize {
    let value_bytes = |cursor: &u32| {
        let mut cursor = *cursor;
        take_value(bytes, &mut cursor).ok().flatten().map_or(0, <[u8]>::len)
    };
    cursors.iter().map(value_bytes).sum()
}

impl<F: BytesForm> Column for BytesColumn<F> {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let (bytes, cursors) = chunk.parts();
        let end = self.end();
        if self.values.capacity() == 0 {
            self.begin_batch();
        }
        make_room(&mut self.offsets, cursors.len());
        // A chunk has no more value bytes than bytes. While there is room for all of them, nothing is
        // counted. Otherwise the bytes of this column are counted: most may belong to other columns.
        if self.values.len() < end + bytes.len() + SLACK {
            let room = end + value_bytes(bytes, cursors) + SLACK;
            if room > END_MAX {
                return Err(RowError { row: 0, cause: ValueError::BatchTooLarge });
            }
            if self.values.len() < room {
                self.grow(room);
            }
        }
        let any_null = match self.longest {
            0..=16 => self.copy_chunk::<16>(bytes, cursors),
            17..=32 => self.copy_chunk::<32>(bytes, cursors),
            _ => self.copy_chunk::<64>(bytes, cursors),
        }?;
        self.nulls.append_chunk(cursors.len(), any_null);
        Ok(())
    }

    fn decode_stored(&mut self, chunk: &StoredChunk<'_>) -> Result<bool, RowError> {
        if F::VERSION_BYTES > 0 || chunk.lengths.len() != chunk.rows() {
            return Ok(false);
        }
        if self.values.capacity() == 0 {
            self.begin_batch();
        }
        make_room(&mut self.offsets, chunk.rows());
        // The lengths of NULLs are included: they are 0.
        let value_bytes: usize = chunk.lengths.iter().map(|length| *length as usize).sum();
        let room = self.end() + value_bytes + SLACK;
        if room > END_MAX {
            return Err(RowError { row: 0, cause: ValueError::BatchTooLarge });
        }
        if self.values.len() < room {
            self.grow(room);
        }
        match self.longest {
            0..=16 => self.copy_stored::<16>(chunk),
            17..=32 => self.copy_stored::<32>(chunk),
            _ => self.copy_stored::<64>(chunk),
        }?;
        self.nulls.append_chunk(chunk.rows(), chunk.has_nulls);
        Ok(true)
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.nulls.truncate(rows);
        self.large = None;
    }

    fn expect_rows(&mut self, rows: usize) {
        let n_rows = self.offsets.len() - 1;
        let value_bytes = extrapolate(self.end().saturating_sub(self.large_bytes), n_rows, rows);
        self.spare_values.foresee(&mut self.values, value_bytes.min(END_MAX - SLACK) + SLACK);
        self.spare_offsets.foresee(&mut self.offsets, rows + 1);
    }

    fn bytes(&self) -> usize {
        self.end() + size_of_val(self.offsets.as_slice())
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.values)
            + capacity_bytes(&self.offsets)
            + self.nulls.allocated_bytes()
            + self.spare_offsets.allocated_bytes()
            + self.spare_values.allocated_bytes()
    }

    fn recycle(&mut self, array: ArrayRef) {
        let text = array.as_bytes_opt::<Utf8Type>().map(|array| (array.offsets(), array.values()));
        let bytes = || array.as_bytes_opt::<BinaryType>().map(|array| (array.offsets(), array.values()));
        let buffers = text.or_else(bytes);
        let buffers = buffers.map(|(offsets, values)| (offsets.inner().inner().clone(), values.clone()));
        if let Some((offsets, values)) = buffers {
            drop(array);
            self.spare_offsets.give(offsets);
            self.spare_values.give(values);
        }
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        *effects += std::mem::take(&mut self.effects);
    }

    fn reuse(&self) -> BufferReuse {
        self.spare_values.reuse()
    }

    fn begin_large(&mut self, length: usize) -> Result<Option<&mut [u8]>, ValueError> {
        if self.values.capacity() == 0 {
            self.begin_batch();
        }
        let start = self.end() + self.large.unwrap_or(0);
        let end = start.saturating_add(length);
        if end > END_MAX - SLACK {
            return Err(ValueError::BatchTooLarge);
        }
        if self.values.len() < end {
            self.values.reserve_exact(end - self.values.len());
            self.values.resize(end, 0);
        }
        self.large = Some(end - self.end());
        Ok(self.values.get_mut(start..end))
    }

    fn expect_large(&mut self, length: usize) {
        let end = (self.end() + self.large.unwrap_or(0)).saturating_add(length);
        // A value that does not fit the batch is refused when its bytes arrive.
        if end <= END_MAX - SLACK {
            self.values.reserve_exact(end.saturating_sub(self.values.len()));
        }
    }

    fn end_large(&mut self) -> Result<(), ValueError> {
        let start = self.end();
        let received = self.large.take().ok_or(ValueError::Malformed("no large value was begun"))?;
        let version_bytes = F::VERSION_BYTES as usize;
        let mut end = start + received;
        if version_bytes > 0 {
            if self.values.get(start) != Some(&1) || received == 0 {
                return Err(UNKNOWN_VERSION);
            }
            self.values.copy_within(start + version_bytes..end, start);
            end -= version_bytes;
        }
        make_room(&mut self.offsets, 1);
        self.offsets.push(i32::try_from(end).map_err(|_| ValueError::BatchTooLarge)?);
        self.nulls.append_valid(1);
        self.large_bytes += end - start;
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.spare_offsets.learn(self.offsets.len());
        self.spare_values.learn(self.end().saturating_sub(std::mem::take(&mut self.large_bytes)) + SLACK);
        self.large = None;
        let mut values = std::mem::take(&mut self.values);
        values.truncate(self.end());
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        self.output.array(offsets, values, self.nulls.finish(), &mut self.effects)
    }
}
