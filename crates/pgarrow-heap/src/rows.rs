//! Rows of pages, as a batch takes them: column by column, stored or as they would be sent.

use pgarrow_column::{CHUNK_ROWS, Chunk, Column, RowError, STORED_NULL, StoredChunk, ValueError};
use pgarrow_decode::ChunkSource;
use pgarrow_types::{HeapLayout, StoredAttribute, StoredForm};

use crate::compressed::decompress;
use crate::locate::{COMPRESSED, MISSING, Places};
use crate::transcode::transcode;

/// A chunk's values as they would be sent come to so many bytes at most, unless it has one row only.
const SCRATCH_BYTES: usize = 1 << 20;

/// Beyond this, what was written once is not kept allocated.
const SCRATCH_KEPT_BYTES: usize = 4 * SCRATCH_BYTES;

const UNREADABLE: ValueError = ValueError::Malformed("a value that is not as PostgreSQL stores it");
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// What values are written to as they would be sent.
#[derive(Debug)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    /// A value that was decompressed.
    raw: Vec<u8>,
    cursors: Box<[u32; CHUNK_ROWS]>,
    ends: Box<[u32; CHUNK_ROWS]>,
    /// Bytes of each row's values, where they are counted.
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

    /// Gives back what large values took.
    pub(crate) fn shrink(&mut self) {
        self.bytes.clear();
        self.raw.clear();
        self.bytes.shrink_to(SCRATCH_KEPT_BYTES);
        self.raw.shrink_to(SCRATCH_KEPT_BYTES);
    }
}

/// Rows whose values were found.
#[derive(Debug)]
pub(crate) struct PageRows<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) layout: &'a HeapLayout,
    pub(crate) places: &'a [Places],
    /// The first row among those of `places`.
    pub(crate) first: usize,
    pub(crate) scratch: &'a mut Scratch,
    /// Bytes on the wire are asked for, so all values are written as they would be sent.
    pub(crate) is_exact: bool,
    pub(crate) n_rows: usize,
}

/// How a value of one column is had as it would be sent.
struct Sent<'a> {
    bytes: &'a [u8],
    form: &'a StoredForm,
    /// Bytes of values of fixed width.
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
        // What was written is what the type's send function writes: a column that ends elsewhere cannot read it.
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
    /// Writes a column's values as they would be sent, each behind its length.
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
    /// Writes the value at `start`, behind its length. `None` if there is none that can be read.
    fn write(&self, start: u32, length: Option<u32>, raw: &mut Vec<u8>, sent: &mut Vec<u8>) -> Option<()> {
        let at = sent.len();
        // NULL, until there is a length.
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

/// Forms that columns may know themselves. Where the type of a column has one of these forms and another one in Arrow,
/// the column says so.
fn is_stored_form(form: &StoredForm) -> bool {
    matches!(
        form,
        StoredForm::Bytes { .. } | StoredForm::Number { .. } | StoredForm::Interval | StoredForm::Numeric
    )
}
