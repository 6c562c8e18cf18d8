//! Where the values of some tuples are: one attribute after the other, over all tuples.
//!
//! As `heap_deform_tuple` in PostgreSQL's `src/backend/access/common/heaptuple.c`: the values of a tuple stand one behind
//! the other, each aligned, NULLs take no room, and a short varlena is not aligned at all. As long as no tuple has a NULL
//! and all attributes so far are of fixed width, every value is at the same place in each tuple.

use pgarrow_column::STORED_NULL;
use pgarrow_types::{HeapLayout, StoredAttribute};

use crate::page::{Refusal, tuples};

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

/// The tuples of some pages.
#[derive(Debug, Default)]
pub(crate) struct Tuples {
    /// Where each one's data starts in the bytes, and where it ends.
    bases: Vec<u32>,
    ends: Vec<u32>,
    /// Where its NULL bitmap is; 0: there is none.
    bitmaps: Vec<u32>,
    attributes: Vec<u16>,
    /// Line pointers.
    numbers: Vec<u16>,
    has_bitmaps: bool,
    attributes_min: u16,
    /// Of the shortest tuple, bytes of data.
    data_min: u32,
    /// Offsets from the base at which the next value is looked for.
    offsets: Vec<u32>,
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

impl Tuples {
    pub(crate) fn len(&self) -> usize {
        self.bases.len()
    }

    pub(crate) fn clear(&mut self) {
        self.truncate(0);
        self.has_bitmaps = false;
        (self.attributes_min, self.data_min) = (u16::MAX, u32::MAX);
    }

    /// Forgets the last ones. What was seen of them is still assumed of the others, which costs time at most.
    pub(crate) fn truncate(&mut self, n_tuples: usize) {
        self.bases.truncate(n_tuples);
        self.ends.truncate(n_tuples);
        self.bitmaps.truncate(n_tuples);
        self.attributes.truncate(n_tuples);
        self.numbers.truncate(n_tuples);
    }

    /// The line pointer of a tuple.
    pub(crate) fn number(&self, index: usize) -> Option<u16> {
        self.numbers.get(index).copied()
    }

    /// Bytes allocated.
    pub(crate) fn allocated_bytes(&self) -> usize {
        4 * (self.bases.capacity() + self.ends.capacity() + self.bitmaps.capacity() + self.offsets.capacity())
            + 2 * (self.attributes.capacity() + self.numbers.capacity())
    }

    /// Adds those of a page.
    pub(crate) fn add(&mut self, bytes: &[u8], at: PageAt, layout: &HeapLayout) -> Result<(), Refusal> {
        const TOO_FAR: Refusal = Refusal::Unverified("a page behind the bytes");
        let page = bytes.get(at.start..at.start.saturating_add(at.length)).ok_or(TOO_FAR)?;
        let start = u32::try_from(at.start).map_err(|_| TOO_FAR)?;
        // Below the marks, whatever is added.
        if start > u32::MAX / 2 {
            return Err(TOO_FAR);
        }
        let before = self.len();
        let found = tuples(page, at.block, layout.attributes.len(), |tuple| {
            self.bases.push(start + u32::from(tuple.start));
            self.ends.push(start + u32::from(tuple.end));
            self.bitmaps.push(if tuple.bitmap > 0 { start + u32::from(tuple.bitmap) } else { 0 });
            self.attributes.push(tuple.attributes);
            self.numbers.push(tuple.number);
            self.has_bitmaps |= tuple.bitmap > 0;
            self.attributes_min = self.attributes_min.min(tuple.attributes);
            self.data_min = self.data_min.min(u32::from(tuple.end - tuple.start));
        });
        if found.is_err() {
            self.truncate(before);
        }
        found
    }

    /// Finds the values of the wanted attributes. `places` has one entry for each column of the layout.
    pub(crate) fn locate(
        &mut self,
        bytes: &[u8],
        wanted: &Wanted,
        places: &mut [Places],
    ) -> Result<(), Refusal> {
        let n_tuples = self.len();
        // The place of the next value in all tuples, as long as it is the same.
        let mut same = (!self.has_bitmaps).then_some(0_u32);
        for (index, attribute) in wanted.attributes.iter().enumerate() {
            let mut ignored = Places::default();
            let found = attribute.column.and_then(|column| places.get_mut(column));
            let is_wanted = found.is_some();
            let places = found.unwrap_or(&mut ignored);
            places.clear();
            let is_everywhere = usize::from(self.attributes_min) > index;
            match (same, attribute.fixed()) {
                (Some(offset), Some(length)) if is_everywhere => {
                    let start = attribute.aligned(offset);
                    let next = start + length;
                    if next > self.data_min {
                        return Err(OVERRUN);
                    }
                    same = Some(next);
                    if is_wanted {
                        places.starts.extend(self.bases.iter().map(|base| base + start));
                    }
                    continue;
                }
                (Some(offset), _) => {
                    self.offsets.clear();
                    self.offsets.resize(n_tuples, offset);
                    same = None;
                }
                (None, _) if index == 0 => {
                    self.offsets.clear();
                    self.offsets.resize(n_tuples, 0);
                }
                (None, _) => {}
            }
            match (attribute.fixed(), is_everywhere && !self.has_bitmaps) {
                (Some(length), true) => self.fixed(attribute, length, is_wanted, places)?,
                (None, true) => self.varlena(bytes, attribute, is_wanted, places)?,
                (_, false) => self.careful(bytes, index, attribute, is_wanted, places)?,
            }
        }
        Ok(())
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
        let tuples = self.offsets.iter_mut().zip(self.bases.iter().zip(&self.ends));
        let starts = tuples.map(|(offset, (base, end))| {
            let start = attribute.aligned(*offset);
            *offset = start + length;
            is_over |= base + *offset > *end;
            base + start
        });
        match is_wanted {
            true => places.starts.extend(starts),
            false => starts.for_each(drop),
        }
        if is_over { Err(OVERRUN) } else { Ok(()) }
    }

    /// An attribute of variable width that every tuple has.
    fn varlena(
        &mut self,
        bytes: &[u8],
        attribute: &WantedAttribute,
        is_wanted: bool,
        places: &mut Places,
    ) -> Result<(), Refusal> {
        if is_wanted {
            places.starts.reserve(self.bases.len());
            places.lengths.reserve(self.bases.len());
        }
        for (offset, (base, end)) in self.offsets.iter_mut().zip(self.bases.iter().zip(&self.ends)) {
            let header = bytes.get((base + *offset) as usize).copied().unwrap_or(0);
            // Almost all: a short header, which is not aligned.
            let (start, length) = if header & 1 == 1 && header != 1 {
                let length = u32::from(header >> 1);
                let start = base + *offset + 1;
                *offset += length;
                (start, length - 1)
            } else {
                long(bytes, *base, *end, offset, attribute, is_wanted)?
            };
            if base + *offset > *end {
                return Err(OVERRUN);
            }
            if is_wanted {
                places.is_special |= length & COMPRESSED != 0;
                places.starts.push(start);
                places.lengths.push(length);
            }
        }
        Ok(())
    }

    /// An attribute that is NULL in some tuples, or missing.
    fn careful(
        &mut self,
        bytes: &[u8],
        index: usize,
        attribute: &WantedAttribute,
        is_wanted: bool,
        places: &mut Places,
    ) -> Result<(), Refusal> {
        let fixed = attribute.fixed();
        for tuple in 0..self.bases.len() {
            let (Some(base), Some(end), Some(bitmap), Some(attributes), Some(offset)) = (
                self.bases.get(tuple).copied(),
                self.ends.get(tuple).copied(),
                self.bitmaps.get(tuple).copied(),
                self.attributes.get(tuple).copied(),
                self.offsets.get_mut(tuple),
            ) else {
                return Err(OVERRUN);
            };
            let (start, length) = if usize::from(attributes) <= index {
                places.is_special |= attribute.has_missing;
                places.has_nulls |= !attribute.has_missing;
                (if attribute.has_missing { MISSING } else { STORED_NULL }, 0)
            } else if bitmap > 0 && is_null(bytes, bitmap, index) {
                places.has_nulls = true;
                (STORED_NULL, 0)
            } else {
                let (start, length) = match fixed {
                    Some(length) => {
                        let start = attribute.aligned(*offset);
                        *offset = start + length;
                        (base + start, length)
                    }
                    None => one_varlena(bytes, base, end, offset, attribute, is_wanted)?,
                };
                if base + *offset > end {
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
    offset: &mut u32,
    attribute: &WantedAttribute,
    is_wanted: bool,
) -> Result<(u32, u32), Refusal> {
    let header = bytes.get((base + *offset) as usize).copied().unwrap_or(0);
    if header & 1 == 1 && header != 1 {
        let start = base + *offset + 1;
        *offset += u32::from(header >> 1);
        return Ok((start, u32::from(header >> 1) - 1));
    }
    long(bytes, base, end, offset, attribute, is_wanted)
}

/// A varlena whose header is not the short one: where its bytes are, and how many.
///
/// Source: `att_align_pointer` in `src/include/access/tupmacs.h`, `src/include/varatt.h`.
#[cold]
fn long(
    bytes: &[u8],
    base: u32,
    end: u32,
    offset: &mut u32,
    attribute: &WantedAttribute,
    is_wanted: bool,
) -> Result<(u32, u32), Refusal> {
    let first = bytes.get((base + *offset) as usize).copied().ok_or(OVERRUN)?;
    if first == 1 {
        let tag = bytes.get((base + *offset) as usize + 1).copied();
        if tag != Some(TAG_ON_DISK) {
            return Err(HEADER);
        }
        if is_wanted {
            return Err(Refusal::OutOfLine);
        }
        *offset += POINTER_BYTES;
        return Ok((base, 0));
    }
    // Padding is zero, and so may be the first byte of a header, which then is where it has to be.
    let at = attribute.aligned(*offset);
    if first != 0 && at != *offset {
        return Err(HEADER);
    }
    let header = bytes.get((base + at) as usize..).and_then(<[u8]>::first_chunk::<4>).ok_or(OVERRUN)?;
    let header = u32::from_le_bytes(*header);
    let (total, flags) = (header >> 2, header & 3);
    if total < 4 || total > end.saturating_sub(base) {
        return Err(HEADER);
    }
    *offset = at + total;
    match flags {
        0 => Ok((base + at + 4, total - 4)),
        2 => Ok((base + at + 4, (total - 4) | COMPRESSED)),
        _ => Err(HEADER),
    }
}

/// A layout as far as it has to be walked: to the last attribute that is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) attributes: Vec<WantedAttribute>,
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
        Self { attributes: layout.attributes.iter().take(n_walked).enumerate().map(wanted).collect() }
    }
}
