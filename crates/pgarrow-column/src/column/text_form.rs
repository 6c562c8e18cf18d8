//! Types that become PostgreSQL's text, printed here from their binary form.

use std::fmt;

use arrow_array::ArrayRef;

use crate::chunk::{Chunk, NULL, ROOM_MIN, take_value};
use crate::column::Column;
use crate::effect::{Effect, EffectLog, Effects};
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::raw::Values;
use crate::spare::{BufferReuse, Spare, capacity_bytes, extrapolate, make_room};
use crate::strings::{Output, buffers_of};

/// The smallest step by which text grows, so that it does not grow for each short value.
const TEXT_STEP_BYTES: usize = 1 << 10;

/// Makes room for a text of so many bytes.
#[inline(always)]
pub(crate) fn make_text_room(text: &mut Vec<u8>, additional: usize) {
    if text.capacity() - text.len() < additional {
        make_room(text, additional.max(TEXT_STEP_BYTES));
    }
}

/// A type and its text form in PostgreSQL.
pub(crate) trait TextForm: fmt::Debug + Send + 'static {
    /// Whether values may be much longer than on the wire.
    const EXPANDS: bool = true;

    /// The most bytes of the text, or a little more.
    fn text_bytes_at_most(&self, wire: &[u8]) -> usize;

    /// Appends the text of the value with these bytes.
    fn print(&self, wire: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError>;

    /// Appends the text of the value at the start of `framed`: its length, its bytes, and what is behind
    /// them. Returns the bytes of length and value. `None` leaves the value to [`print`](Self::print), and
    /// the text as it was.
    #[inline(always)]
    fn print_quickly(framed: &[u8], text: &mut Vec<u8>) -> Option<u32> {
        let _ = (framed, text);
        None
    }

    /// The effect to count for the text of this value.
    fn effect(&self, wire: &[u8]) -> Option<Effect> {
        let _ = wire;
        None
    }
}

/// A column of printed values.
#[derive(Debug)]
pub(crate) struct TextFormColumn<T: TextForm> {
    form: T,
    output: Output,
    offsets: Vec<i32>,
    text: Vec<u8>,
    nulls: Nulls,
    effects: EffectLog,
    /// Effects of arrays that were handed out.
    finished: Effects,
    spare_offsets: Spare<i32>,
    spare_text: Spare<u8>,
}

impl<T: TextForm> TextFormColumn<T> {
    /// `output` may also be bytes.
    pub(crate) fn new(form: T, output: Output) -> Self {
        Self {
            form,
            output,
            offsets: vec![0],
            text: Vec::new(),
            nulls: Nulls::new(),
            effects: EffectLog::default(),
            finished: Effects::default(),
            spare_offsets: Spare::new(0),
            spare_text: Spare::new(0),
        }
    }

    /// Takes buffers that came back. The text may have none: no value of the batch needs any so far.
    fn begin_batch(&mut self) {
        self.offsets = self.spare_offsets.take();
        self.offsets.clear();
        self.offsets.push(0);
        self.text = self.spare_text.take();
        self.text.clear();
    }
}

impl<T: TextForm> Column for TextFormColumn<T> {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let room = if T::EXPANDS { chunk.room().max(ROOM_MIN) } else { usize::MAX };
        let (bytes, cursors) = chunk.parts();
        // This is the state after `finish`.
        if self.offsets.capacity() == 1 {
            self.begin_batch();
        }
        let (start, n_rows) = (self.text.len(), cursors.len());
        make_room(&mut self.offsets, n_rows);
        let valid = self.nulls.scratch();
        for (row, (cursor, valid)) in cursors.iter_mut().zip(valid).enumerate() {
            let at_row = |cause| RowError { row, cause };
            let framed = bytes.get(*cursor as usize..).unwrap_or_default();
            if framed.first_chunk() == Some(&NULL.to_be_bytes()) {
                *cursor += 4;
                *valid = false;
            } else if let Some(used) = T::print_quickly(framed, &mut self.text) {
                *cursor += used;
                *valid = true;
            } else {
                let value = take_value(bytes, cursor).map_err(at_row)?;
                *valid = value.is_some();
                if let Some(value) = value {
                    // No doubling: one numeric may have 131,072 digits.
                    make_text_room(&mut self.text, self.form.text_bytes_at_most(value));
                    self.form.print(value, &mut self.text).map_err(at_row)?;
                    if let Some(effect) = self.form.effect(value) {
                        self.effects.note(self.offsets.len() - 1, effect);
                    }
                }
            }
            let end = i32::try_from(self.text.len()).map_err(|_| at_row(ValueError::BatchTooLarge))?;
            self.offsets.push(end);
            if self.text.len() - start > room {
                return Err(at_row(ValueError::ChunkFull));
            }
        }
        self.nulls.commit(n_rows);
        if T::EXPANDS {
            chunk.use_room(self.text.len() - start);
        }
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        let end = self.offsets.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
        self.text.truncate(end);
        self.nulls.truncate(rows);
        self.effects.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        let n_rows = self.offsets.len() - 1;
        let text_bytes = extrapolate(self.text.len(), n_rows, rows);
        self.spare_text.foresee(&mut self.text, text_bytes);
        self.spare_offsets.foresee(&mut self.offsets, rows + 1);
    }

    fn bytes(&self) -> usize {
        self.text.len() + size_of_val(self.offsets.as_slice())
    }

    fn expanded_bytes(&self, rows: usize) -> usize {
        match T::EXPANDS {
            true => self.offsets.get(rows).and_then(|end| usize::try_from(*end).ok()).unwrap_or(0),
            false => 0,
        }
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.text)
            + capacity_bytes(&self.offsets)
            + self.nulls.allocated_bytes()
            + self.effects.allocated_bytes()
            + self.spare_offsets.allocated_bytes()
            + self.spare_text.allocated_bytes()
    }

    fn recycle(&mut self, array: ArrayRef) {
        if let Some((offsets, text)) = buffers_of(&array) {
            drop(array);
            self.spare_offsets.give(offsets);
            self.spare_text.give(text);
        }
    }

    fn reuse(&self) -> BufferReuse {
        self.spare_text.reuse()
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.effects.take(effects);
        *effects += std::mem::take(&mut self.finished);
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.spare_offsets.learn(self.offsets.len());
        self.spare_text.learn(self.text.len());
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let text = std::mem::take(&mut self.text);
        self.effects.finish();
        self.output.array(Values::of(offsets, text), self.nulls.finish(), &mut self.finished)
    }
}
