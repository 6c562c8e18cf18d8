//! Where the values of some tuples are: one attribute after the other, over all tuples.
//!
//! As `heap_deform_tuple` in PostgreSQL's `src/backend/access/common/heaptuple.c`: the values of a tuple stand one behind
//! the other, each aligned, NULLs take no room, and a short varlena is not aligned at all. As long as no tuple has a NULL
//! and all attributes so far are of fixed width, every value is at the same place in each tuple.

use pgarrow_column::{CHUNK_ROWS, STORED_NULL};
use pgarrow_types::{HeapLayout, StoredAttribute};

use crate::page::{Refusal, TUPLES_MAX, line_pointers, tuples};

/// The start of a value that its tuple does not have, since it is older than the attribute.
pub(crate) const MISSING: u32 = STORED_NULL - 1;

/// Set in the length of a value that is compressed: what is there is `va_tcinfo` and what it was compressed to.
pub(crate) const COMPRESSED: u32 = 1 << 31;

/// `VARTAG_ONDISK`, and what stands behind it: the only thing stored out of line that is ever in a page.
const TAG_ON_DISK: u8 = 18;
const POINTER_BYTES: u32 = 18;

const OVERRUN: Refusal = Refusal::Unverified("a value that ends behind its tuple");
const HEADER: Refusal = Refusal::Unverified("a value whose length is none");

/// A page among received bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageAt {
    /// Where its bytes start,
    pub start: usize,
    /// and how many there are: all, or the header of a page that is not all-visible.
    pub length: usize,
    /// Its number in the heap's main fork.
    pub block: u32,
}

/// The tuples of some pages, as many as make a chunk, or those of one page.
#[derive(Debug)]
pub(crate) struct Tuples {
    n_tuples: usize,
    /// Where each one's data starts in the bytes, and where it ends. Longer than there are tuples, as are all of these.
    bases: Vec<u32>,
    ends: Vec<u32>,
    others: Vec<Other>,
    /// Where each one's next value is looked for.
    cursors: Vec<u32>,
    has_bitmaps: bool,
    attributes_min: u16,
    /// Of the shortest tuple, bytes of data.
    data_min: u32,
}

/// What is seldom asked of a tuple.
#[derive(Clone, Copy, Debug, Default)]
struct Other {
    /// Where its NULL bitmap is; 0: there is none.
    bitmap: u32,
    attributes: u16,
    /// Its line pointer.
    number: u16,
}

/// Where one column's values are.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// In the bytes; [`STORED_NULL`] or [`MISSING`].
    pub(crate) starts: Vec<u32>,
    /// Bytes, [`COMPRESSED`] or not; none for attributes of fixed width.
    pub(crate) lengths: Vec<u32>,
    pub(crate) has_nulls: bool,
    /// Some are missing or compressed.
    pub(crate) is_special: bool,
}

impl Default for Tuples {
    fn default() -> Self {
        // Pages are added as long as they make a chunk, and one page may have more.
        let n_max = CHUNK_ROWS.max(TUPLES_MAX);
        Self {
            n_tuples: 0,
            bases: vec![0; n_max],
            ends: vec![0; n_max],
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
        4 * (self.bases.capacity() + self.ends.capacity() + self.cursors.capacity())
            + self.others.capacity() * size_of::<Other>()
    }

    /// Adds those of a page. False, and nothing done, if with the others they might be more than make a chunk.
    pub(crate) fn add(&mut self, bytes: &[u8], at: PageAt, layout: &HeapLayout) -> Result<bool, Refusal> {
        const TOO_FAR: Refusal = Refusal::Unverified("a page behind the bytes");
        let page = bytes.get(at.start..at.start.saturating_add(at.length)).ok_or(TOO_FAR)?;
        let start = u32::try_from(at.start).map_err(|_| TOO_FAR)?;
        // Below the marks, whatever is added.
        if start > u32::MAX / 2 {
            return Err(TOO_FAR);
        }
        if self.n_tuples > 0 && self.n_tuples + line_pointers(page) > CHUNK_ROWS {
            return Ok(false);
        }
        let mut n_tuples = self.n_tuples;
        let (mut any_bitmap, mut attributes_min, mut data_min) = (0, u16::MAX, u32::MAX);
        tuples(page, at.block, layout.attributes.len(), |tuple| {
            let slots =
                (self.bases.get_mut(n_tuples), self.ends.get_mut(n_tuples), self.others.get_mut(n_tuples));
            let (Some(base), Some(end), Some(other)) = slots else { return };
            (*base, *end) = (start + tuple.start, start + tuple.end);
            // No bitmap is at the start of a page.
            let bitmap = if tuple.bitmap > 0 { start + tuple.bitmap } else { 0 };
            *other = Other { bitmap, attributes: tuple.attributes, number: tuple.number };
            n_tuples += 1;
            any_bitmap |= tuple.bitmap;
            attributes_min = attributes_min.min(tuple.attributes);
            data_min = data_min.min(tuple.end - tuple.start);
        })?;
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
            others: self.others.get(..self.n_tuples).unwrap_or_default(),
            cursors: self.cursors.get_mut(..self.n_tuples).unwrap_or_default(),
        };
        // The offset of the next value in all tuples, as long as it is the same.
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
        // Zeroed for nothing, which costs less than to look for room at each value.
        places.starts.resize(self.bases.len(), 0);
        places.lengths.resize(self.bases.len(), 0);
        let (mut is_over, mut flags) = (false, 0);
        let tuples = self.cursors.iter_mut().zip(self.bases.iter().zip(self.ends));
        let found = places.starts.iter_mut().zip(places.lengths.iter_mut());
        for ((cursor, (base, end)), (start, length)) in tuples.zip(found) {
            let header = self.bytes.get(*cursor as usize).copied().unwrap_or(0);
            // Almost all: a short header, which is not aligned.
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

    /// An attribute that is NULL in some tuples, or missing.
    fn careful(
        &mut self,
        index: usize,
        attribute: &WantedAttribute,
        is_wanted: bool,
        places: &mut Places,
    ) -> Result<(), Refusal> {
        let fixed = attribute.fixed();
        let tuples = self.cursors.iter_mut().zip(self.bases.iter().zip(self.ends)).zip(self.others);
        for ((cursor, (base, end)), other) in tuples {
            let (start, length) = if usize::from(other.attributes) <= index {
                places.is_special |= attribute.has_missing;
                places.has_nulls |= !attribute.has_missing;
                (if attribute.has_missing { MISSING } else { STORED_NULL }, 0)
            } else if other.bitmap > 0 && is_null(self.bytes, other.bitmap, index) {
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

/// A bit of the NULL bitmap that is not set.
fn is_null(bytes: &[u8], bitmap: u32, index: usize) -> bool {
    let byte = bytes.get(bitmap as usize + index / 8).copied().unwrap_or(0);
    byte >> (index % 8) & 1 == 0
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

/// A varlena whose header is not the short one: where its bytes are, and how many.
///
/// Source: `att_align_pointer` in `src/include/access/tupmacs.h`, `src/include/varatt.h`.
#[cold]
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
    // Padding is zero, and so may be the first byte of a header, which then is where it has to be.
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

/// A layout as far as it has to be walked: to the last attribute that is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) attributes: Vec<WantedAttribute>,
    /// An attribute is kept in a way that is not known: C strings, which columns that were dropped may have had once.
    is_unknown: bool,
}

#[derive(Debug)]
pub(crate) struct WantedAttribute {
    length: i16,
    /// The alignment less one.
    mask: u32,
    /// Of the result; `None`: it is walked over.
    column: Option<usize>,
    /// Tuples that are older than it have a value all the same.
    has_missing: bool,
}

impl WantedAttribute {
    /// Bytes, if they are always as many.
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
