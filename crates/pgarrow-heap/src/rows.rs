//! Rows of pages for a batch: column by column, stored or as COPY sends them.

use pgarrow_column::{CHUNK_ROWS, Chunk, Column, RowError, STORED_NULL, StoredChunk, ValueError};
use pgarrow_decode::ChunkSource;
use pgarrow_types::{HeapLayout, StoredAttribute, StoredForm};

use crate::compressed::decompress;
use crate::locate::{COMPRESSED, MISSING, Places};
use crate::transcode::transcode;

/// Most bytes of a chunk's values as COPY sends them, unless the chunk has only one row.
const SCRATCH_BYTES: usize = 1 << 20;

/// Buffers beyond this size are freed.
const SCRATCH_KEPT_BYTES: usize = 4 * SCRATCH_BYTES;

const UNREADABLE: ValueError = ValueError::Malformed("a value that is not as PostgreSQL stores it");
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Buffers for values as COPY sends them.
#[derive(Debug)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    /// A value that was decompressed.
    raw: Vec<u8>,
    cursors: Box<[u32; CHUNK_ROWS]>,
    ends: Box<[u32; CHUNK_ROWS]>,
    /// Bytes of each row's values, for exact batches.
    wire: Box<[u32; CHUNK_ROWS]>,
}

impl Default for Scratch {
    fn default() -> Self {
        let zeros = || Box::new([0; CHUNK_ROWS]);
        Self { bytes: Vec::new(), raw: Vec::new(), cursors: zeros(), ends: zeros(), wire: zeros() }
    }
}

impl Scratch {
    /// Bytes allocated.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.bytes.capacity() + self.raw.capacity() + 3 * size_of::<[u32; CHUNK_ROWS]>()
    }

    /// Frees the memory of large values.
    pub(crate) fn shrink(&mut self) {
        self.bytes.clear();
        self.raw.clear();
        self.bytes.shrink_to(SCRATCH_KEPT_BYTES);
        self.raw.shrink_to(SCRATCH_KEPT_BYTES);
    }
}

/// Rows with located values.
#[derive(Debug)]
pub(crate) struct PageRows<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) layout: &'a HeapLayout,
    pub(crate) places: &'a [Places],
    /// The index of the first row in `places`.
    pub(crate) first: usize,
    pub(crate) scratch: &'a mut Scratch,
    /// Exact batches need the bytes on the wire, so all values are written as COPY sends them.
    pub(crate) is_exact: bool,
    pub(crate) n_rows: usize,
}

/// Writes the values of one column as COPY sends them.
struct Sent<'a> {
    bytes: &'a [u8],
    form: &'a StoredForm,
    /// Bytes of a value of fixed width.
    width: usize,
    missing: Option<&'a [u8]>,
}

impl ChunkSource for PageRows<'_> {
    fn begin(&mut self, n_rows: usize) {
        self.n_rows = n_rows;
        self.scratch.wire.fill(0);
    }

    fn decode(
        &mut self,
        column_index: usize,
        column: &mut dyn Column,
        room: usize,
    ) -> Result<usize, RowError> {
        let unknown = RowError { row: 0, cause: UNREADABLE };
        let attribute = self.layout.columns.get(column_index);
        let attribute = attribute.and_then(|index| self.layout.attributes.get(*index)).ok_or(unknown)?;
        let form = attribute.form.as_ref().ok_or(unknown)?;
        let places = self.places.get(column_index).ok_or(unknown)?;
        let rows = self.first..self.first + self.n_rows;
        let starts = places.starts.get(rows.clone()).ok_or(unknown)?;
        let lengths = places.lengths.get(rows).unwrap_or_default();
        if !self.is_exact && !places.is_special && is_stored_form(form) {
            let chunk = StoredChunk::new(self.bytes, starts, lengths, places.has_nulls);
            if column.decode_stored(&chunk)? {
                return Ok(room);
            }
        }
        self.write(attribute, form, starts, lengths)?;
        let cursors = self.scratch.cursors.get_mut(..self.n_rows).unwrap_or_default();
        let mut chunk = Chunk::new(&self.scratch.bytes, cursors).with_room(room);
        column.decode(&mut chunk)?;
        let room = chunk.room();
        // The bytes are those of the type's send function: a column that ends elsewhere cannot read it.
        match self.scratch.cursors.get(..self.n_rows) == self.scratch.ends.get(..self.n_rows) {
            true => Ok(room),
            false => Err(RowError { row: 0, cause: UNREADABLE }),
        }
    }

    fn is_at_end(&self) -> bool {
        true
    }

    fn wire_bytes(&self, n_rows: usize) -> usize {
        const COUNT_BYTES: usize = 2;
        self.scratch.wire.iter().take(n_rows).map(|bytes| COUNT_BYTES + *bytes as usize).sum()
    }
}

impl PageRows<'_> {
    /// Writes a column's values as COPY sends them, each behind its length.
    fn write(
        &mut self,
        attribute: &StoredAttribute,
        form: &StoredForm,
        starts: &[u32],
        lengths: &[u32],
    ) -> Result<(), RowError> {
        let Scratch { bytes: sent, raw, cursors, ends, wire } = &mut *self.scratch;
        let width = usize::try_from(attribute.length).unwrap_or(0);
        let value = Sent { bytes: self.bytes, form, width, missing: attribute.missing.as_deref() };
        sent.clear();
        let marks = cursors.iter_mut().zip(ends.iter_mut()).zip(wire.iter_mut());
        for (row, (start, ((cursor, end), wire))) in starts.iter().zip(marks).enumerate() {
            let before = sent.len();
            let length = lengths.get(row).copied();
            let written = value.write(*start, length, raw, sent);
            written.ok_or(RowError { row, cause: UNREADABLE })?;
            if sent.len() > SCRATCH_BYTES && starts.len() > 1 {
                return Err(RowError { row, cause: ValueError::ChunkFull });
            }
            let too_large = RowError { row, cause: ValueError::BatchTooLarge };
            *cursor = u32::try_from(before).map_err(|_| too_large)?;
            *end = u32::try_from(sent.len()).map_err(|_| too_large)?;
            *wire = wire.saturating_add(*end - *cursor);
        }
        Ok(())
    }
}

impl Sent<'_> {
    /// Writes the value at `start`, behind its length. `None` if the value cannot be read.
    fn write(&self, start: u32, length: Option<u32>, raw: &mut Vec<u8>, sent: &mut Vec<u8>) -> Option<()> {
        let at = sent.len();
        // NULL, until the length is known.
        sent.extend_from_slice(&NULL);
        match start {
            STORED_NULL => return Some(()),
            MISSING => sent.extend_from_slice(self.missing?),
            start => {
                let n_bytes = length.map_or(self.width, |length| (length & !COMPRESSED) as usize);
                let start = start as usize;
                let stored = self.bytes.get(start..start.saturating_add(n_bytes))?;
                if length.is_some_and(|length| length & COMPRESSED != 0) {
                    raw.clear();
                    decompress(stored, raw).ok()?;
                    transcode(self.form, raw, sent).ok()?;
                } else {
                    transcode(self.form, stored, sent).ok()?;
                }
            }
        }
        let length = i32::try_from(sent.len() - at - NULL.len()).ok()?;
        let place = sent.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>)?;
        *place = length.to_be_bytes();
        Some(())
    }
}

/// Forms that columns may read themselves. A column refuses if its Arrow type needs another form.
fn is_stored_form(form: &StoredForm) -> bool {
    matches!(
        form,
        StoredForm::Bytes { .. } | StoredForm::Number { .. } | StoredForm::Interval | StoredForm::Numeric
    )
}
