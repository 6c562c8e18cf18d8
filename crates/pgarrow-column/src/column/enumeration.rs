//! Enums: the label on the wire, a key into one dictionary per run in Arrow.
//!
//! Source: `enum_send` in PostgreSQL's `src/backend/utils/adt/enum.c`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, StringArray};
use pgarrow_types::EnumType;

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{BufferReuse, Spare, capacity_bytes, make_room};

/// Memory of a label beside its text, which exists twice: the string, the map's entry, its key.
const LABEL_BYTES: usize = 64;

/// Most bytes of a label: many times the limit of PostgreSQL (`NAMEDATALEN`), which can be changed when
/// PostgreSQL is built.
const LABEL_LENGTH_MAX: usize = 1 << 10;

/// Most labels that may be added during an export. Each is kept until its end.
const LABELS_ADDED_MAX: usize = 10_000;

/// Labels that are found without a hash of their bytes: several times the labels of most enums.
const SHORT_LABELS: usize = 64;

/// A label of at most 15 bytes as one number, with its length; different labels have different numbers.
///
/// `framed` is the length and 16 bytes: the label, and the bytes behind it.
#[inline(always)]
fn short_label(framed: &[u8; 20]) -> Option<(u128, u32)> {
    let (length, label) = framed.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    if length > 15 {
        return None;
    }
    let label = u128::from_le_bytes(label.try_into().ok()?);
    let mask = (1_u128 << (8 * length)) - 1;
    Some(((label & mask) | u128::from(length) << 120, length))
}

/// The place for a short label.
#[inline(always)]
fn place(label: u128) -> usize {
    // The two halves, mixed by the golden ratio; the upper bits are mixed best.
    #[expect(clippy::cast_possible_truncation, reason = "takes the halves")]
    let mixed = ((label as u64) ^ (label >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as usize % SHORT_LABELS
}

/// To `Dictionary(Int32, Utf8)`. Keys are the labels' places in the sort order of the planned run.
///
/// Every batch has the same values array. A label that was added (or renamed) later is appended to it, in a
/// new array. A sink whose format allows only one dictionary has to refuse that.
#[derive(Debug)]
pub(crate) struct EnumColumn {
    keys_by_label: HashMap<Box<[u8]>, i32>,
    labels: Vec<String>,
    labels_max: usize,
    dictionary: Arc<StringArray>,
    keys: Vec<i32>,
    nulls: Nulls,
    spare: Spare<i32>,
    /// Short labels that occurred, and their keys. Only the empty label has the number 0; its key is looked
    /// up.
    short_labels: [(u128, i32); SHORT_LABELS],
}

impl EnumColumn {
    pub(crate) fn new(enum_type: &EnumType) -> Self {
        let labels = enum_type.labels.clone();
        let keys_by_label =
            labels.iter().zip(0..).map(|(label, key)| (Box::from(label.as_bytes()), key)).collect();
        let dictionary = Arc::new(StringArray::from_iter_values(&labels));
        Self {
            keys_by_label,
            labels_max: labels.len() + LABELS_ADDED_MAX,
            labels,
            dictionary,
            keys: Vec::new(),
            nulls: Nulls::new(),
            spare: Spare::new(0),
            short_labels: [(0, -1); SHORT_LABELS],
        }
    }

    fn key_of(&mut self, label: &[u8]) -> Result<i32, ValueError> {
        match self.keys_by_label.get(label) {
            Some(key) => Ok(*key),
            None => self.add_label(label),
        }
    }

    fn add_label(&mut self, label: &[u8]) -> Result<i32, ValueError> {
        if label.len() > LABEL_LENGTH_MAX || self.labels.len() >= self.labels_max {
            return Err(ValueError::Malformed("labels that no enum of PostgreSQL has"));
        }
        let text = std::str::from_utf8(label).map_err(|_| ValueError::Utf8)?;
        let key = i32::try_from(self.labels.len()).map_err(|_| ValueError::OutOfRange)?;
        self.labels.push(text.to_owned());
        self.keys_by_label.insert(Box::from(label), key);
        Ok(key)
    }
}

impl Column for EnumColumn {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let (bytes, cursors) = chunk.parts();
        if self.keys.capacity() == 0 {
            self.keys = self.spare.take();
            self.keys.clear();
        }
        make_room(&mut self.keys, cursors.len());
        for (row, cursor) in cursors.iter_mut().enumerate() {
            let at = *cursor as usize;
            let framed = bytes.get(at..at + 20).and_then(|framed| framed.try_into().ok());
            let short = framed.and_then(short_label);
            if let Some((label, length)) = short {
                let known = self.short_labels.get(place(label)).filter(|(known, _)| *known == label);
                if let Some((_, key @ 0..)) = known {
                    *cursor += 4 + length;
                    self.keys.push(*key);
                    if let Some(valid) = self.nulls.scratch().get_mut(row) {
                        *valid = true;
                    }
                    continue;
                }
            }
            let label = take_value(bytes, cursor).map_err(|cause| RowError { row, cause })?;
            if let Some(valid) = self.nulls.scratch().get_mut(row) {
                *valid = label.is_some();
            }
            let key = match label {
                None => 0,
                Some(label) => self.key_of(label).map_err(|cause| RowError { row, cause })?,
            };
            if let (Some((short, _)), Some(_)) = (short, label)
                && let Some(slot) = self.short_labels.get_mut(place(short))
            {
                *slot = (short, key);
            }
            self.keys.push(key);
        }
        self.nulls.commit(cursors.len());
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.keys.truncate(rows);
        self.nulls.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        self.spare.foresee(&mut self.keys, rows);
    }

    fn bytes(&self) -> usize {
        size_of_val(self.keys.as_slice())
    }

    fn allocated_bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|label| 2 * label.capacity() + LABEL_BYTES).sum();
        capacity_bytes(&self.keys) + labels + self.nulls.allocated_bytes() + self.spare.allocated_bytes()
    }

    fn recycle(&mut self, array: ArrayRef) {
        let keys = array.as_dictionary_opt::<Int32Type>().map(|array| array.keys().values().inner().clone());
        if let Some(keys) = keys {
            drop(array);
            self.spare.give(keys);
        }
    }

    fn reuse(&self) -> BufferReuse {
        self.spare.reuse()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.spare.learn(self.keys.len());
        if self.dictionary.len() != self.labels.len() {
            self.dictionary = Arc::new(StringArray::from_iter_values(&self.labels));
        }
        let keys = Int32Array::new(std::mem::take(&mut self.keys).into(), self.nulls.finish());
        let dictionary = Arc::clone(&self.dictionary) as ArrayRef;
        // Every key is a label's place. `try_new` checks it again and cannot fail.
        let array = DictionaryArray::<Int32Type>::try_new(keys, dictionary)
            .map_err(|_| RowError { row: 0, cause: ValueError::OutOfRange })?;
        Ok(Arc::new(array))
    }
}
