//! Values whose bytes are copied unchanged: text, json, bytea, labels; and jsonb and ltree behind a version
//! byte.
//!
//! Source: `textsend`, `varcharsend`, `bpcharsend` (padding included), `namesend`, `json_send`,
//! `byteasend`, `enum_send`, `jsonb_send` (version 1) in PostgreSQL's `src/backend/utils/adt/`; `ltree_send`
//! (version 1) in `contrib/ltree/ltree_io.c`.

use std::fmt;
use std::marker::PhantomData;

use arrow_array::ArrayRef;

use crate::chunk::{CHUNK_ROWS, Chunk, NULL, take_value};
use crate::column::Column;
use crate::effect::Effects;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::raw::Values;
use crate::spare::{BufferReuse, Spare, extrapolate};
use crate::stored::{STORED_NULL, StoredChunk};
use crate::strings::{Output, buffers_of};

/// Extra bytes behind the values, for the last copy of a constant size.
const SLACK: usize = BLOCK_BYTES;

/// The largest copy of a constant size.
const BLOCK_BYTES: usize = 64;
/// Longer values are copied by a call, which costs little beside their bytes.
const IN_BLOCKS_MAX: u32 = 512;

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
    values: Values,
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
        write!(f, "BytesColumn({:?}, {} rows)", self.form, self.values.rows())
    }
}

impl<F: BytesForm> BytesColumn<F> {
    /// If the output is text, the values must be UTF-8: checked after each chunk, reported with the batch.
    pub(crate) fn new(form: F, output: Output) -> Self {
        Self {
            form,
            output,
            effects: Effects::default(),
            values: Values::in_buffers(Vec::new(), Vec::new()),
            nulls: Nulls::new(),
            longest: 0,
            spare_offsets: Spare::new(0),
            spare_values: Spare::new(0),
            large: None,
            large_bytes: 0,
        }
    }

    fn begin_batch(&mut self) {
        self.values = Values::in_buffers(self.spare_offsets.take(), self.spare_values.take());
    }

    /// Makes room for the values of a chunk.
    #[inline(never)]
    fn make_certain(&mut self, bytes: &[u8], cursors: &[u32]) -> Result<(), RowError> {
        let room = self.values.end() + value_bytes(bytes, cursors) + SLACK;
        if room > END_MAX {
            return Err(RowError { row: 0, cause: ValueError::BatchTooLarge });
        }
        if self.values.room_bytes() < room {
            self.values.grow_to(room, END_MAX);
        }
        Ok(())
    }

    fn copy(&mut self, bytes: &[u8], cursors: &mut [u32]) -> Result<bool, RowError> {
        match self.longest {
            0..=16 => self.copy_chunk::<16>(bytes, cursors),
            17..=32 => self.copy_chunk::<32>(bytes, cursors),
            _ => self.copy_chunk::<64>(bytes, cursors),
        }
    }

    /// Notes the rows of a chunk.
    fn end_chunk(&mut self, rows: usize, any_null: bool) {
        self.nulls.append_chunk(rows, any_null);
        if self.output.is_text() {
            self.values.check_in_cache();
        }
    }

    /// One loop over the chunk, copying `N` bytes of every value. Returns whether there was a NULL.
    fn copy_chunk<const N: usize>(&mut self, bytes: &[u8], cursors: &mut [u32]) -> Result<bool, RowError> {
        let valid = self.nulls.scratch();
        let (longest, any_null, failed) = self.values.append(cursors.len(), |room| {
            let (mut end, mut longest, mut any_null) = (0_usize, 0, false);
            let mut careful = Careful::<F> { failed: None, form: PhantomData };
            let slots = room.ends.iter_mut().zip(valid);
            for (row, (cursor, (slot, valid))) in cursors.iter_mut().zip(slots).enumerate() {
                let quick = match copy_quickly::<F, N>(bytes, *cursor, room.bytes, end) {
                    None if N == BLOCK_BYTES => copy_in_blocks::<F>(bytes, *cursor, room.bytes, end),
                    quick => quick,
                };
                let length = match quick {
                    Some(length) => length,
                    None => careful.copy(bytes, cursor, room.bytes, (end, row)),
                };
                // A NULL has length -1; as a text it is empty.
                let is_null = length == NULL;
                let length = if is_null { 0 } else { length };
                let value_bytes = length - if is_null { 0 } else { F::VERSION_BYTES };
                *cursor = cursor.wrapping_add(4).wrapping_add(length);
                *valid = !is_null;
                any_null |= is_null;
                longest = longest.max(value_bytes);
                end += value_bytes as usize;
                // There was room up to here, and no room is larger than an i32.
                *slot = i32::try_from(room.before + end).unwrap_or(i32::MAX);
            }
            (longest, any_null, careful.failed)
        });
        self.longest = longest;
        failed.map_or(Ok(any_null), Err)
    }
}

impl<F: BytesForm> BytesColumn<F> {
    /// As `copy_chunk`, for stored values, whose lengths are known: none is longer than `N`, unless
    /// `MAY_BE_LONG`.
    fn copy_stored<const N: usize, const MAY_BE_LONG: bool>(
        &mut self,
        chunk: &StoredChunk<'_>,
    ) -> Result<(), RowError> {
        let places = chunk.starts.iter().zip(chunk.lengths).enumerate();
        let failed = self.values.append(chunk.rows(), |room| {
            let (mut end, mut failed) = (0_usize, None);
            for ((row, (start, length)), slot) in places.zip(room.ends) {
                // The start of a NULL is outside of the bytes. Its length is 0.
                let (at, n_bytes) = (*start as usize, *length as usize);
                let source = chunk.bytes.get(at..at.wrapping_add(N));
                let target = room.bytes.get_mut(end..end.wrapping_add(N));
                let source = source.and_then(<[u8]>::first_chunk::<N>);
                let target = target.and_then(<[u8]>::first_chunk_mut::<N>);
                match (source, target) {
                    (Some(source), Some(target)) if !MAY_BE_LONG || n_bytes <= N => *target = *source,
                    _ if *start == STORED_NULL => {}
                    _ => {
                        let cause = copy_stored_carefully(chunk.bytes, at, n_bytes, room.bytes, end).err();
                        failed = failed.or(cause.map(|cause| RowError { row, cause }));
                    }
                }
                end += n_bytes;
                // `decode_stored` has checked that there is room up to the end of the chunk, which fits an
                // i32.
                *slot = i32::try_from(room.before + end).unwrap_or(i32::MAX);
            }
            failed
        });
        failed.map_or(Ok(()), Err)
    }
}

/// Copies a value that is long, or near the end of the bytes.
#[inline(never)]
fn copy_stored_carefully(
    bytes: &[u8],
    start: usize,
    length: usize,
    values: &mut [u8],
    end: usize,
) -> Result<(), ValueError> {
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
    let at = cursor as usize;
    // One comparison for the length and the value.
    let framed = bytes.get(at..at.wrapping_add(4 + N + F::VERSION_BYTES as usize))?;
    let (length, value) = framed.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    let value = match F::VERSION_BYTES {
        0 => value,
        _ => value.split_first().filter(|(version, _)| **version == 1 || length == NULL)?.1,
    };
    let source = value.first_chunk::<N>()?;
    let target = values.get_mut(end..end.wrapping_add(N))?.first_chunk_mut::<N>()?;
    // -1 becomes 0, the smallest length.
    let is_short = length.wrapping_add(1) as usize <= N + 1 + F::VERSION_BYTES as usize;
    if !is_short || (F::VERSION_BYTES > 0 && length == 0) {
        return None;
    }
    *target = *source;
    Some(length)
}

/// Copies whole blocks of a value and returns its length. `None` if it is NULL or has more than
/// [`IN_BLOCKS_MAX`] bytes, near the end of the bytes, and if its version is unknown.
#[inline(always)]
fn copy_in_blocks<F: BytesForm>(bytes: &[u8], cursor: u32, values: &mut [u8], end: usize) -> Option<u32> {
    let (length, value) = bytes.get(cursor as usize..)?.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    if length > IN_BLOCKS_MAX {
        return None;
    }
    let value = match F::VERSION_BYTES {
        0 => value,
        _ => value.split_first().filter(|(version, _)| **version == 1)?.1,
    };
    let copied_bytes = (length.checked_sub(F::VERSION_BYTES)? as usize).next_multiple_of(BLOCK_BYTES);
    let source = value.get(..copied_bytes)?.as_chunks::<BLOCK_BYTES>().0;
    let target = values.get_mut(end..end.wrapping_add(copied_bytes))?.as_chunks_mut::<BLOCK_BYTES>().0;
    for (target, source) in target.iter_mut().zip(source) {
        *target = *source;
    }
    Some(length)
}

/// Copies values that are long, NULL, or near the end of the bytes. It is one struct, so that the quick loop
/// keeps only a reference in a register.
struct Careful<F> {
    failed: Option<RowError>,
    form: PhantomData<F>,
}

impl<F: BytesForm> Careful<F> {
    /// Copies a value and returns its length on the wire; [`NULL`] for NULL, and from the first error on. The
    /// caller moves the cursor by that length.
    #[cold]
    #[inline(never)]
    fn copy(&mut self, bytes: &[u8], cursor: &mut u32, values: &mut [u8], (end, row): (usize, usize)) -> u32 {
        let mut behind = *cursor;
        let copied = match self.failed {
            Some(_) => Ok(NULL),
            None => copy_carefully::<F>(bytes, &mut behind, values, end),
        };
        let length = copied.unwrap_or_else(|cause| {
            self.failed = Some(RowError { row, cause });
            NULL
        });
        // The cursor of an absent value does not move.
        *cursor = behind.wrapping_sub(4).wrapping_sub(if length == NULL { 0 } else { length });
        length
    }
}

fn copy_carefully<F: BytesForm>(
    bytes: &[u8],
    cursor: &mut u32,
    values: &mut [u8],
    end: usize,
) -> Result<u32, ValueError> {
    let Some(value) = take_value(bytes, cursor)? else {
        return Ok(NULL);
    };
    let length = u32::try_from(value.len()).map_err(|_| ValueError::Length)?;
    let value = if F::VERSION_BYTES == 0 {
        value
    } else {
        match value.split_first() {
            Some((1, value)) => value,
            _ => return Err(UNKNOWN_VERSION),
        }
    };
    let target = values.get_mut(end..end.saturating_add(value.len())).ok_or(ValueError::BatchTooLarge)?;
    target.copy_from_slice(value);
    Ok(length)
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
        if self.values.has_no_buffer() {
            self.begin_batch();
        }
        let end = self.values.end();
        // A chunk has no more value bytes than bytes. While there is room for all of them, nothing can fail.
        // Most bytes belong to other columns, though. So if there is room for values like those of the last
        // chunk, it is tried. Only if that fails, the bytes of this column are counted.
        let is_certain = self.values.room_bytes() >= end + bytes.len() + SLACK;
        let likely_bytes = cursors.len() * (self.longest as usize + 1);
        if !is_certain && self.values.room_bytes() < end + likely_bytes + SLACK {
            self.make_certain(bytes, cursors)?;
        } else if !is_certain {
            let mut tried = [0; CHUNK_ROWS];
            let rows = self.values.rows();
            if let Some(tried) = tried.get_mut(..cursors.len()) {
                tried.copy_from_slice(cursors);
                match self.copy(bytes, tried) {
                    Err(RowError { cause: ValueError::BatchTooLarge, .. }) => {}
                    copied => {
                        cursors.copy_from_slice(tried);
                        self.end_chunk(cursors.len(), copied?);
                        return Ok(());
                    }
                }
            }
            self.values.truncate(rows);
            self.make_certain(bytes, cursors)?;
        }
        let any_null = self.copy(bytes, cursors)?;
        self.end_chunk(cursors.len(), any_null);
        Ok(())
    }

    fn decode_stored(&mut self, chunk: &StoredChunk<'_>) -> Result<bool, RowError> {
        if F::VERSION_BYTES > 0 || chunk.lengths.len() != chunk.rows() {
            return Ok(false);
        }
        if self.values.has_no_buffer() {
            self.begin_batch();
        }
        // The lengths of NULLs are included: they are 0.
        let value_bytes: usize = chunk.lengths.iter().map(|length| *length as usize).sum();
        let longest = chunk.lengths.iter().fold(0, |longest: u32, length| longest.max(*length));
        let room = self.values.end() + value_bytes + SLACK;
        if room > END_MAX {
            return Err(RowError { row: 0, cause: ValueError::BatchTooLarge });
        }
        if self.values.room_bytes() < room {
            self.values.grow_to(room, END_MAX);
        }
        match longest {
            0..=16 => self.copy_stored::<16, false>(chunk),
            17..=32 => self.copy_stored::<32, false>(chunk),
            33..=64 => self.copy_stored::<64, false>(chunk),
            _ => self.copy_stored::<64, true>(chunk),
        }?;
        if chunk.has_nulls {
            let valid = self.nulls.scratch().iter_mut().zip(chunk.starts);
            valid.for_each(|(valid, start)| *valid = *start != STORED_NULL);
        }
        self.end_chunk(chunk.rows(), chunk.has_nulls);
        Ok(true)
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
        self.large = None;
    }

    fn expect_rows(&mut self, rows: usize) {
        let small_bytes = self.values.end().saturating_sub(self.large_bytes);
        let value_bytes = extrapolate(small_bytes, self.values.rows(), rows).min(END_MAX - SLACK) + SLACK;
        self.values.foresee((&mut self.spare_offsets, rows + 1), (&mut self.spare_values, value_bytes));
    }

    fn bytes(&self) -> usize {
        self.values.arrow_bytes()
    }

    fn allocated_bytes(&self) -> usize {
        self.values.allocated_bytes()
            + self.nulls.allocated_bytes()
            + self.spare_offsets.allocated_bytes()
            + self.spare_values.allocated_bytes()
    }

    fn recycle(&mut self, array: ArrayRef) {
        if let Some((offsets, values)) = buffers_of(&array) {
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
        if self.values.has_no_buffer() {
            self.begin_batch();
        }
        let start = self.large.unwrap_or(0);
        let end = start.saturating_add(length);
        let end_of_all = self.values.end().saturating_add(end);
        if end_of_all > END_MAX - SLACK {
            return Err(ValueError::BatchTooLarge);
        }
        self.values.grow_exactly_to(end_of_all);
        self.large = Some(end);
        Ok(self.values.free().get_mut(start..end))
    }

    fn expect_large(&mut self, length: usize) {
        let end = (self.values.end() + self.large.unwrap_or(0)).saturating_add(length);
        // A value that does not fit the batch is refused when its bytes arrive.
        if end <= END_MAX - SLACK {
            self.values.reserve_exactly(end);
        }
    }

    fn end_large(&mut self) -> Result<(), ValueError> {
        let received = self.large.take().ok_or(ValueError::Malformed("no large value was begun"))?;
        let version_bytes = F::VERSION_BYTES as usize;
        let mut value_bytes = received;
        if version_bytes > 0 {
            let free = self.values.free();
            if free.first() != Some(&1) || received == 0 {
                return Err(UNKNOWN_VERSION);
            }
            free.copy_within(version_bytes..received, 0);
            value_bytes -= version_bytes;
        }
        let end = i32::try_from(self.values.end() + value_bytes).map_err(|_| ValueError::BatchTooLarge)?;
        self.values.append(1, |room| room.ends.fill(end));
        self.end_chunk(1, false);
        self.large_bytes += value_bytes;
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.spare_offsets.learn(self.values.rows() + 1);
        let small_bytes = self.values.end().saturating_sub(std::mem::take(&mut self.large_bytes));
        self.spare_values.learn(small_bytes + SLACK);
        self.large = None;
        let values = std::mem::replace(&mut self.values, Values::in_buffers(Vec::new(), Vec::new()));
        self.output.array(values, self.nulls.finish(), &mut self.effects)
    }
}
