//! Finds the values of some tuples: one attribute after the other, over all tuples.
//!
//! As `heap_deform_tuple` in PostgreSQL's `src/backend/access/common/heaptuple.c`: the values of a tuple
//! follow each other, each aligned; NULLs take no room, and a short varlena is not aligned. While no tuple
//! has a NULL and all attributes so far are of fixed width, every value is at the same place in each tuple.

use pgarrow_column::{CHUNK_ROWS, STORED_NULL};
use pgarrow_types::{HeapLayout, StoredAttribute};

use crate::page::{PAGE_BYTES, Refusal, TUPLES_MAX, Tuple, alike, is_unmarked, line_pointers, tuples};
use crate::visibility::{self, Snapshot};

/// The start of a value that is not in its tuple, since the tuple is older than the attribute.
pub(crate) const MISSING: u32 = STORED_NULL - 1;

/// Set in the length of a compressed value: its bytes are `va_tcinfo` and the compressed value.
pub(crate) const COMPRESSED: u32 = 1 << 31;

/// `VARTAG_ONDISK`, and the bytes behind it: the only pointer to a value out of line that a page can hold.
const TAG_ON_DISK: u8 = 18;
const POINTER_BYTES: u32 = 18;

const OVERRUN: Refusal = Refusal::Unverified("a value that ends behind its tuple");
const HEADER: Refusal = Refusal::Unverified("a value whose length is none");

/// A page among received bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageAt {
    /// Where its bytes start.
    pub start: usize,
    /// The number of its bytes: all, or only the header if the page is not all-visible.
    pub length: usize,
    /// Its number in the heap's main fork.
    pub block: u32,
}

/// The tuples of some pages, up to a chunk, or those of one page.
#[derive(Debug)]
pub(crate) struct Tuples {
    n_tuples: usize,
    /// Where the data of each tuple starts in the bytes, and where it ends. These vectors are longer than the
    /// number of tuples.
    bases: Vec<u32>,
    ends: Vec<u32>,
    /// Where its NULL bitmap is; 0 if there is none.
    bitmaps: Vec<u32>,
    others: Vec<Other>,
    /// Where each tuple's next value is searched.
    cursors: Vec<u32>,
    has_bitmaps: bool,
    attributes_min: u16,
    /// Bytes of data of the shortest tuple.
    data_min: u32,
}

/// Rarely used facts of a tuple.
#[derive(Clone, Copy, Debug, Default)]
struct Other {
    attributes: u16,
    /// Its line pointer.
    number: u16,
}

/// The places of one column's values.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Positions in the bytes; [`STORED_NULL`] or [`MISSING`].
    pub(crate) starts: Vec<u32>,
    /// Bytes, with [`COMPRESSED`] or not; empty for attributes of fixed width.
    pub(crate) lengths: Vec<u32>,
    pub(crate) has_nulls: bool,
    /// Some are missing or compressed.
    pub(crate) is_special: bool,
}

impl Default for Tuples {
    fn default() -> Self {
        // Pages are added while they make at most a chunk; a single page may have more.
        let n_max = CHUNK_ROWS.max(TUPLES_MAX);
        Self {
            n_tuples: 0,
            bases: vec![0; n_max],
            ends: vec![0; n_max],
            bitmaps: vec![0; n_max],
            others: vec![Other::default(); n_max],
            cursors: vec![0; n_max],
            has_bitmaps: false,
            attributes_min: u16::MAX,
            data_min: u32::MAX,
        }
    }
}

impl Tuples {
    pub(crate) fn len(&self) -> usize {
        self.n_tuples
    }

    pub(crate) fn clear(&mut self) {
        (self.n_tuples, self.has_bitmaps) = (0, false);
        (self.attributes_min, self.data_min) = (u16::MAX, u32::MAX);
    }

    /// The line pointer of a tuple.
    pub(crate) fn number(&self, index: usize) -> Option<u16> {
        self.others.get(..self.n_tuples)?.get(index).map(|other| other.number)
    }

    /// Bytes allocated.
    pub(crate) fn allocated_bytes(&self) -> usize {
        let places = [&self.bases, &self.ends, &self.bitmaps, &self.cursors];
        4 * places.iter().map(|places| places.capacity()).sum::<usize>()
            + self.others.capacity() * size_of::<Other>()
    }

    /// Adds the tuples of a page. Returns false and adds nothing if the page might bring them beyond a chunk.
    pub(crate) fn add(
        &mut self,
        bytes: &[u8],
        at: PageAt,
        layout: &HeapLayout,
        snapshot: Option<&Snapshot>,
    ) -> Result<bool, Refusal> {
        const TOO_FAR: Refusal = Refusal::Unverified("a page behind the bytes");
        let page = bytes.get(at.start..at.start.saturating_add(at.length)).ok_or(TOO_FAR)?;
        let start = u32::try_from(at.start).map_err(|_| TOO_FAR)?;
        // Every position in the page is then below the marks.
        if start > u32::MAX / 2 {
            return Err(TOO_FAR);
        }
        if self.n_tuples > 0 && self.n_tuples + line_pointers(page) > CHUNK_ROWS {
            return Ok(false);
        }
        let Self { bases, ends, bitmaps, others, .. } = self;
        let mut n_tuples = self.n_tuples;
        let slots = (
            bases.get_mut(n_tuples..).unwrap_or_default(),
            ends.get_mut(n_tuples..).unwrap_or_default(),
            bitmaps.get_mut(n_tuples..).unwrap_or_default(),
        );
        if let Some(alike) = alike(page, (at.block, start), layout.attributes.len(), slots) {
            let all = others.iter_mut().skip(n_tuples).take(alike.tuples).zip(1..);
            all.for_each(|(other, number)| *other = Other { attributes: alike.attributes, number });
            self.n_tuples += alike.tuples;
            self.has_bitmaps |= alike.has_bitmaps;
            self.attributes_min = self.attributes_min.min(alike.attributes);
            self.data_min = self.data_min.min(alike.data_min);
            return Ok(true);
        }
        let (mut any_bitmap, mut attributes_min, mut data_min) = (0, u16::MAX, u32::MAX);
        let found = |tuple: Tuple| {
            let slots = (bases.get_mut(n_tuples), ends.get_mut(n_tuples));
            let (Some(base), Some(end)) = slots else { return };
            let slots = (bitmaps.get_mut(n_tuples), others.get_mut(n_tuples));
            let (Some(bitmap), Some(other)) = slots else { return };
            (*base, *end) = (start + tuple.start, start + tuple.end);
            // A bitmap is never at the start of a page.
            *bitmap = if tuple.bitmap > 0 { start + tuple.bitmap } else { 0 };
            *other = Other { attributes: tuple.attributes, number: tuple.number };
            n_tuples += 1;
            any_bitmap |= tuple.bitmap;
            attributes_min = attributes_min.min(tuple.attributes);
            data_min = data_min.min(tuple.end - tuple.start);
        };
        let n_attributes = layout.attributes.len();
        // Of a page that is not all-visible, the query may have sent only the header.
        match snapshot.filter(|_| page.len() == PAGE_BYTES && is_unmarked(page)) {
            Some(snapshot) => visibility::tuples(page, at.block, n_attributes, snapshot, found)?,
            None => tuples(page, at.block, n_attributes, found)?,
        }
        self.n_tuples = n_tuples;
        self.has_bitmaps |= any_bitmap > 0;
        self.attributes_min = self.attributes_min.min(attributes_min);
        self.data_min = self.data_min.min(data_min);
        Ok(true)
    }

    /// Finds the values of the wanted attributes. `places` has one entry for each column of the layout.
    pub(crate) fn locate(
        &mut self,
        bytes: &[u8],
        wanted: &Wanted,
        places: &mut [Places],
    ) -> Result<(), Refusal> {
        if wanted.is_unknown {
            return Err(Refusal::Unverified("an attribute that is kept in an unknown way"));
        }
        let mut tuples = Located {
            bytes,
            bases: self.bases.get(..self.n_tuples).unwrap_or_default(),
            ends: self.ends.get(..self.n_tuples).unwrap_or_default(),
            bitmaps: self.bitmaps.get(..self.n_tuples).unwrap_or_default(),
            others: self.others.get(..self.n_tuples).unwrap_or_default(),
            cursors: self.cursors.get_mut(..self.n_tuples).unwrap_or_default(),
        };
        // The offset of the next value while it is the same in all tuples.
        let mut same = (!self.has_bitmaps).then_some(0_u32);
        if self.has_bitmaps {
            tuples.set_cursors(0);
        }
        let mut ignored = Places::default();
        for (index, attribute) in wanted.attributes.iter().enumerate() {
            let is_everywhere = usize::from(self.attributes_min) > index;
            let found = attribute.column.and_then(|column| places.get_mut(column));
            let is_wanted = found.is_some();
            let places = found.unwrap_or(&mut ignored);
            places.clear();
            if let Some(offset) = same {
                if let (Some(length), true) = (attribute.fixed(), is_everywhere) {
                    let start = attribute.aligned(offset);
                    let next = start + length;
                    if next > self.data_min {
                        return Err(OVERRUN);
                    }
                    same = Some(next);
                    if is_wanted {
                        places.starts.extend(tuples.bases.iter().map(|base| base + start));
                    }
                    continue;
                }
                tuples.set_cursors(offset);
                same = None;
            }
            match (attribute.fixed(), is_everywhere && !self.has_bitmaps) {
                (Some(length), true) => tuples.fixed(attribute, length, is_wanted, places)?,
                (None, true) => tuples.varlena(attribute, places)?,
                (Some(length), false) if is_everywhere => {
                    tuples.nullable(index, attribute, length, places)?
                }
                (None, false) if is_everywhere => tuples.nullable_varlena(index, attribute, places)?,
                (_, false) => tuples.careful(index, attribute, is_wanted, places)?,
            }
        }
        Ok(())
    }
}

/// The tuples, while their values are located.
struct Located<'a> {
    bytes: &'a [u8],
    bases: &'a [u32],
    ends: &'a [u32],
    bitmaps: &'a [u32],
    others: &'a [Other],
    cursors: &'a mut [u32],
}

impl Located<'_> {
    fn set_cursors(&mut self, offset: u32) {
        self.cursors.iter_mut().zip(self.bases).for_each(|(cursor, base)| *cursor = base + offset);
    }

    /// An attribute of fixed width that every tuple has.
    fn fixed(
        &mut self,
        attribute: &WantedAttribute,
        length: u32,
        is_wanted: bool,
        places: &mut Places,
    ) -> Result<(), Refusal> {
        let mut is_over = false;
        let tuples = self.cursors.iter_mut().zip(self.bases.iter().zip(self.ends));
        let starts = tuples.map(|(cursor, (base, end))| {
            let start = base + attribute.aligned(*cursor - base);
            *cursor = start + length;
            is_over |= *cursor > *end;
            start
        });
        match is_wanted {
            true => places.starts.extend(starts),
            false => starts.for_each(drop),
        }
        if is_over { Err(OVERRUN) } else { Ok(()) }
    }

    /// An attribute of variable width that every tuple has.
    fn varlena(&mut self, attribute: &WantedAttribute, places: &mut Places) -> Result<(), Refusal> {
        // The zeros are overwritten, but this costs less than a check for room at each value.
        places.starts.resize(self.bases.len(), 0);
        places.lengths.resize(self.bases.len(), 0);
        let (mut is_over, mut flags) = (false, 0);
        let tuples = self.cursors.iter_mut().zip(self.bases.iter().zip(self.ends));
        let found = places.starts.iter_mut().zip(places.lengths.iter_mut());
        for ((cursor, (base, end)), (start, length)) in tuples.zip(found) {
            let header = self.bytes.get(*cursor as usize).copied().unwrap_or(0);
            // The usual case: a short header, which is not aligned.
            if header & 1 == 1 && header != 1 {
                *start = *cursor + 1;
                *length = u32::from(header >> 1) - 1;
                *cursor += u32::from(header >> 1);
            } else {
                (*start, *length) = long(self.bytes, *base, *end, cursor, attribute)?;
                flags |= *length;
            }
            is_over |= *cursor > *end;
        }
        places.is_special |= flags & COMPRESSED != 0;
        if is_over { Err(OVERRUN) } else { Ok(()) }
    }

    /// An attribute of fixed width that every tuple has and that may be NULL. Chooses without branches: what
    /// is NULL can hardly be predicted.
    fn nullable(
        &mut self,
        index: usize,
        attribute: &WantedAttribute,
        length: u32,
        places: &mut Places,
    ) -> Result<(), Refusal> {
        places.starts.resize(self.bases.len(), 0);
        let (mut is_over, mut any_null) = (false, false);
        let tuples = self.cursors.iter_mut().zip(self.bases.iter().zip(self.ends));
        for (((cursor, (base, end)), bitmap), start) in tuples.zip(self.bitmaps).zip(&mut places.starts) {
            let is_null = is_null(self.bytes, *bitmap, index);
            let at = base + attribute.aligned(*cursor - base);
            *start = if is_null { STORED_NULL } else { at };
            *cursor = if is_null { *cursor } else { at + length };
            is_over |= *cursor > *end;
            any_null |= is_null;
        }
        places.has_nulls = any_null;
        if is_over { Err(OVERRUN) } else { Ok(()) }
    }

    /// The same for variable width.
    fn nullable_varlena(
        &mut self,
        index: usize,
        attribute: &WantedAttribute,
        places: &mut Places,
    ) -> Result<(), Refusal> {
        places.starts.resize(self.bases.len(), 0);
        places.lengths.resize(self.bases.len(), 0);
        let (mut is_over, mut any_null, mut flags) = (false, false, 0);
        let tuples = self.cursors.iter_mut().zip(self.bases.iter().zip(self.ends)).zip(self.bitmaps);
        let found = places.starts.iter_mut().zip(places.lengths.iter_mut());
        for (((cursor, (base, end)), bitmap), (start, length)) in tuples.zip(found) {
            let is_null = is_null(self.bytes, *bitmap, index);
            let header = self.bytes.get(*cursor as usize).copied().unwrap_or(0);
            // A NULL takes no room: what is there belongs to the next value.
            if is_null || (header & 1 == 1 && header != 1) {
                let total = if is_null { 0 } else { u32::from(header >> 1) };
                *start = if is_null { STORED_NULL } else { *cursor + 1 };
                *length = total.saturating_sub(1);
                *cursor += total;
            } else {
                (*start, *length) = long(self.bytes, *base, *end, cursor, attribute)?;
                flags |= *length;
            }
            is_over |= *cursor > *end;
            any_null |= is_null;
        }
        (places.has_nulls, places.is_special) = (any_null, flags & COMPRESSED != 0);
        if is_over { Err(OVERRUN) } else { Ok(()) }
    }

    /// An attribute that is missing in some tuples, and may be NULL in others.
    fn careful(
        &mut self,
        index: usize,
        attribute: &WantedAttribute,
        is_wanted: bool,
        places: &mut Places,
    ) -> Result<(), Refusal> {
        let fixed = attribute.fixed();
        let tuples = self.cursors.iter_mut().zip(self.bases.iter().zip(self.ends));
        for ((cursor, (base, end)), (other, bitmap)) in tuples.zip(self.others.iter().zip(self.bitmaps)) {
            let (start, length) = if usize::from(other.attributes) <= index {
                places.is_special |= attribute.has_missing;
                places.has_nulls |= !attribute.has_missing;
                (if attribute.has_missing { MISSING } else { STORED_NULL }, 0)
            } else if is_null(self.bytes, *bitmap, index) {
                places.has_nulls = true;
                (STORED_NULL, 0)
            } else {
                let (start, length) = match fixed {
                    Some(length) => {
                        let start = base + attribute.aligned(*cursor - base);
                        *cursor = start + length;
                        (start, length)
                    }
                    None => one_varlena(self.bytes, *base, *end, cursor, attribute)?,
                };
                if *cursor > *end {
                    return Err(OVERRUN);
                }
                places.is_special |= length & COMPRESSED != 0;
                (start, length)
            };
            if is_wanted {
                places.starts.push(start);
                if fixed.is_none() {
                    places.lengths.push(length);
                }
            }
        }
        Ok(())
    }
}

impl Places {
    fn clear(&mut self) {
        self.starts.clear();
        self.lengths.clear();
        (self.has_nulls, self.is_special) = (false, false);
    }

    /// Bytes allocated.
    pub(crate) fn allocated_bytes(&self) -> usize {
        4 * (self.starts.capacity() + self.lengths.capacity())
    }
}

/// Whether there is a NULL bitmap, and its bit is not set.
#[inline(always)]
fn is_null(bytes: &[u8], bitmap: u32, index: usize) -> bool {
    let byte = bytes.get(bitmap as usize + index / 8).copied().unwrap_or(0);
    (bitmap > 0) & (byte >> (index % 8) & 1 == 0)
}

fn one_varlena(
    bytes: &[u8],
    base: u32,
    end: u32,
    cursor: &mut u32,
    attribute: &WantedAttribute,
) -> Result<(u32, u32), Refusal> {
    let header = bytes.get(*cursor as usize).copied().unwrap_or(0);
    if header & 1 == 1 && header != 1 {
        let start = *cursor + 1;
        *cursor += u32::from(header >> 1);
        return Ok((start, u32::from(header >> 1) - 1));
    }
    long(bytes, base, end, cursor, attribute)
}

/// A varlena without the short header: where its bytes are, and their number.
///
/// Source: `att_align_pointer` in `src/include/access/tupmacs.h`, `src/include/varatt.h`.
#[inline(never)]
fn long(
    bytes: &[u8],
    base: u32,
    end: u32,
    cursor: &mut u32,
    attribute: &WantedAttribute,
) -> Result<(u32, u32), Refusal> {
    let first = bytes.get(*cursor as usize).copied().ok_or(OVERRUN)?;
    if first == 1 {
        let tag = bytes.get(*cursor as usize + 1).copied();
        if tag != Some(TAG_ON_DISK) {
            return Err(HEADER);
        }
        if attribute.column.is_some() {
            return Err(Refusal::OutOfLine);
        }
        *cursor += POINTER_BYTES;
        return Ok((base, 0));
    }
    // Padding is zero. The first byte of a header may also be zero; then the header is at its aligned place.
    let at = base + attribute.aligned(*cursor - base);
    if first != 0 && at != *cursor {
        return Err(HEADER);
    }
    let header = bytes.get(at as usize..).and_then(<[u8]>::first_chunk::<4>).ok_or(OVERRUN)?;
    let header = u32::from_le_bytes(*header);
    let (total, flags) = (header >> 2, header & 3);
    if total < 4 || total > end.saturating_sub(at) {
        return Err(HEADER);
    }
    *cursor = at + total;
    match flags {
        0 => Ok((at + 4, total - 4)),
        2 => Ok((at + 4, (total - 4) | COMPRESSED)),
        _ => Err(HEADER),
    }
}

/// The part of a layout that must be walked: up to the last wanted attribute.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) attributes: Vec<WantedAttribute>,
    /// The stored form of an attribute is unknown: a C string, which a dropped column may have held.
    is_unknown: bool,
}

#[derive(Debug)]
pub(crate) struct WantedAttribute {
    length: i16,
    /// The alignment minus one.
    mask: u32,
    /// The column of the result; `None`: the attribute is skipped.
    column: Option<usize>,
    /// Tuples that are older than it still have a value for it.
    has_missing: bool,
}

impl WantedAttribute {
    /// The number of bytes, if it is fixed.
    #[inline(always)]
    fn fixed(&self) -> Option<u32> {
        u32::try_from(self.length).ok()
    }

    #[inline(always)]
    fn aligned(&self, offset: u32) -> u32 {
        (offset + self.mask) & !self.mask
    }
}

impl Wanted {
    pub(crate) fn of(layout: &HeapLayout) -> Self {
        let n_walked = layout.columns.iter().map(|index| index + 1).max().unwrap_or(0);
        let column_of = |index| layout.columns.iter().position(|of_column| *of_column == index);
        let wanted = |(index, attribute): (usize, &StoredAttribute)| WantedAttribute {
            length: attribute.length,
            mask: u32::from(attribute.align.next_power_of_two().min(8)) - 1,
            column: column_of(index),
            has_missing: attribute.missing.is_some(),
        };
        let walked = || layout.attributes.iter().take(n_walked);
        Self {
            attributes: walked().enumerate().map(wanted).collect(),
            is_unknown: walked().any(|attribute| attribute.length < -1 || attribute.length == 0),
        }
    }
}

#[cfg(test)]
mod tests;
