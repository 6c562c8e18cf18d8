//! Enums: the label on the wire, a key into one dictionary per run in Arrow.
//!
//! Source: `enum_send` in PostgreSQL's `src/backend/utils/adt/enum.c`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, Int32Array, StringArray};
use pgarrow_types::EnumType;

use crate::chunk::{Chunk, take_value};
use crate::column::Column;
use crate::error::{RowError, ValueError};
use crate::nulls::Nulls;
use crate::spare::{capacity_bytes, make_room_in_all};

/// Bytes of memory of a label beside its text, which is there twice: the string, the map's entry, its key.
const LABEL_BYTES: usize = 64;

/// To `Dictionary(Int32, Utf8)`. Keys are the labels' places in sort order when the run was planned.
///
/// Every batch has the same values array. A label that was added (or renamed) since is appended to
/// it, in a new array; a sink whose format allows no other dictionary has to refuse that.
#[derive(Debug)]
pub(crate) struct EnumColumn {
    keys_by_label: HashMap<Box<[u8]>, i32>,
    labels: Vec<String>,
    dictionary: Arc<StringArray>,
    keys: Vec<i32>,
    nulls: Nulls,
    rows: usize,
}

impl EnumColumn {
    pub(crate) fn new(enum_type: &EnumType) -> Self {
        let labels = enum_type.labels.clone();
        let keys_by_label =
            labels.iter().zip(0..).map(|(label, key)| (Box::from(label.as_bytes()), key)).collect();
        let dictionary = Arc::new(StringArray::from_iter_values(&labels));
        Self { keys_by_label, labels, dictionary, keys: Vec::new(), nulls: Nulls::new(), rows: 0 }
    }

    fn add_label(&mut self, label: &[u8]) -> Result<i32, ValueError> {
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
            self.keys.reserve(self.rows);
        }
        // Neighbouring rows often have the same label.
        let mut last: (&[u8], i32) = (&[], -1);
        for (row, cursor) in cursors.iter_mut().enumerate() {
            let at_row = |cause| RowError { row, cause };
            let label = take_value(bytes, cursor).map_err(at_row)?;
            if let Some(valid) = self.nulls.scratch().get_mut(row) {
                *valid = label.is_some();
            }
            let key = match label {
                None => 0,
                Some(label) if label == last.0 && last.1 >= 0 => last.1,
                Some(label) => {
                    let key = match self.keys_by_label.get(label) {
                        Some(key) => *key,
                        None => self.add_label(label).map_err(at_row)?,
                    };
                    last = (label, key);
                    key
                }
            };
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
        make_room_in_all(&mut self.keys, rows);
    }

    fn bytes(&self) -> usize {
        size_of_val(self.keys.as_slice())
    }

    fn allocated_bytes(&self) -> usize {
        let labels: usize = self.labels.iter().map(|label| 2 * label.capacity() + LABEL_BYTES).sum();
        capacity_bytes(&self.keys) + labels + self.nulls.allocated_bytes()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.rows = self.keys.len();
        if self.dictionary.len() != self.labels.len() {
            self.dictionary = Arc::new(StringArray::from_iter_values(&self.labels));
        }
        let keys = Int32Array::new(std::mem::take(&mut self.keys).into(), self.nulls.finish());
        let dictionary = Arc::clone(&self.dictionary) as ArrayRef;
        // Every key is a label's place: `try_new` checks it again and cannot fail.
        let array = DictionaryArray::<Int32Type>::try_new(keys, dictionary)
            .map_err(|_| RowError { row: 0, cause: ValueError::OutOfRange })?;
        Ok(Arc::new(array))
    }
}
