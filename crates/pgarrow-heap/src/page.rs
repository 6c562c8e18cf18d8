//! A page of a heap: its header, its line pointers, and the tuples they lead to.
//!
//! ```text
//! header          24 bytes   LSN, checksum, flags, lower, upper, special, size │ version, pd_prune_xid
//! line pointers    4 bytes each, up to `lower`: offset (15 bits), state (2), length (15)
//! hole             up to `upper`
//! tuples           each aligned to 8: header of 23 bytes, NULL bitmap, data from `t_hoff` on
//! ```
//!
//! Checksums are not checked: they are stale in a page that changed since it was last written. Instead,
//! everything must be at a possible place, and the tuples must say that they belong to this page.
//!
//! Source: `PageHeaderData` in PostgreSQL's `src/include/storage/bufpage.h`, `ItemIdData` in `itemid.h`,
//! `heapgetpage` in `src/backend/access/heap/heapam.c`, `HeapTupleHeaderData` in
//! `src/include/access/htup_details.h`.

use std::fmt;

/// Bytes of a page. Servers with another page size are not read by pages.
pub const PAGE_BYTES: usize = 8192;

/// Bytes of a page's header. A run asks for no more of a page that is not all-visible.
pub const PAGE_HEADER_BYTES: usize = 24;

/// `PD_ALL_VISIBLE`.
const ALL_VISIBLE: u16 = 0x0004;
/// `PD_VALID_FLAG_BITS`.
const KNOWN_FLAGS: u16 = 0x0007;
/// A page of 8,192 bytes in layout 4, little-endian.
const SIZE_AND_VERSION: u16 = 0x2004;

pub(crate) const LINE_POINTER_BYTES: usize = 4;
const LP_UNUSED: u32 = 0;
pub(crate) const LP_NORMAL: u32 = 1;
const LP_REDIRECT: u32 = 2;

/// `SizeofHeapTupleHeader`.
pub(crate) const TUPLE_HEADER_BYTES: u32 = 23;
/// The same, aligned: no tuple is shorter.
pub(crate) const TUPLE_BYTES_MIN: usize = 24;

pub(crate) const HAS_NULL: u16 = 0x0001;
pub(crate) const HAS_OID_OLD: u16 = 0x0008;
pub(crate) const XMAX_LOCK_ONLY: u16 = 0x0080;
pub(crate) const XMIN_COMMITTED: u16 = 0x0100;
pub(crate) const XMAX_INVALID: u16 = 0x0800;
/// `HEAP_MOVED_OFF` and `HEAP_MOVED_IN`: VACUUM FULL before PostgreSQL 9.0.
pub(crate) const MOVED: u16 = 0xc000;
/// `HEAP_NATTS_MASK` of `t_infomask2`.
pub(crate) const ATTRIBUTES: u16 = 0x07ff;

/// `MaxHeapTuplesPerPage`: a tuple takes 24 bytes at least, and a line pointer.
pub(crate) const TUPLES_MAX: usize =
    (PAGE_BYTES - PAGE_HEADER_BYTES) / (TUPLE_BYTES_MIN + LINE_POINTER_BYTES);

/// Why a page must be read in another way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not all-visible, and there is no snapshot to judge its rows by.
    NotAllVisible,
    /// It is not all-visible, and only the server knows whether the snapshot has one of its rows.
    Undecided,
    /// A wanted value is stored out of line.
    OutOfLine,
    /// Something on the page does not fit this table. Holds what.
    Unverified(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllVisible => f.write_str("the page is not all-visible"),
            Self::Undecided => f.write_str("only the server knows whether the snapshot has a row"),
            Self::OutOfLine => f.write_str("a value is stored out of line"),
            Self::Unverified(what) => f.write_str(what),
        }
    }
}

/// A tuple of a page. Offsets count from the start of the page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tuple {
    /// Its line pointer's number, from 1.
    pub(crate) number: u16,
    /// The number of its attributes. Later attributes of the table are missing.
    pub(crate) attributes: u16,
    /// Where its data starts; a multiple of 8.
    pub(crate) start: u32,
    /// Where it ends.
    pub(crate) end: u32,
    /// Where its NULL bitmap is; 0 if it has none.
    pub(crate) bitmap: u32,
}

/// The number of line pointers that a page claims. Not checked yet.
pub(crate) fn line_pointers(page: &[u8]) -> usize {
    let lower = page.get(12..14).and_then(|lower| lower.try_into().ok()).map_or(0, u16::from_le_bytes);
    usize::from(lower).saturating_sub(PAGE_HEADER_BYTES) / LINE_POINTER_BYTES
}

/// Whether VACUUM has not marked the page, so that its rows have to be judged one by one. A page that was
/// never used has none.
pub(crate) fn is_unmarked(page: &[u8]) -> bool {
    let header = page.first_chunk::<PAGE_HEADER_BYTES>();
    header.is_some_and(|header| {
        let [.., flags, _, _, _, u0, u1, _, _, _, _, _, _, _, _] = *header;
        u16::from(flags) & ALL_VISIBLE == 0 && [u0, u1] != [0, 0]
    })
}

/// Finds the tuples of a page, in the order of their line pointers: those that a sequential scan returns.
///
/// `block` is the page's number, `attributes_max` the table's number of attributes.
///
/// # Errors
///
/// The page is not all-visible, or not as expected. The tuples found so far are then invalid.
pub(crate) fn tuples(
    page: &[u8],
    block: u32,
    attributes_max: usize,
    mut found: impl FnMut(Tuple),
) -> Result<(), Refusal> {
    let header = page.first_chunk::<PAGE_HEADER_BYTES>();
    let header = header.ok_or(Refusal::Unverified("a page without a header"))?;
    let [.., flags, _, _, _, _, _, _, _, _, _, _, _, _, _] = *header;
    if page.len() == PAGE_BYTES && page.iter().all(|byte| *byte == 0) {
        // A page that was added and never used. No row can have been on it when the snapshot was taken. Zeros
        // in a header alone do not prove that: the query may have sent only the header.
        return Ok(());
    }
    if u16::from(flags) & ALL_VISIBLE == 0 {
        return Err(Refusal::NotAllVisible);
    }
    let (lower, upper) = bounds(page)?;
    let pointers = page.get(PAGE_HEADER_BYTES..lower).unwrap_or_default();
    let (mut n_tuples, mut n_own) = (0, 0);
    for (pointer, number) in pointers.as_chunks::<LINE_POINTER_BYTES>().0.iter().zip(1_u16..) {
        let pointer = u32::from_le_bytes(*pointer);
        match pointer >> 15 & 3 {
            LP_NORMAL => {}
            // A redirection leads to a tuple of a HOT chain, which has its own line pointer.
            LP_UNUSED | LP_REDIRECT => continue,
            _ => return Err(Refusal::Unverified("a dead line pointer on a page that is all-visible")),
        }
        let (offset, length) = (pointer & 0x7fff, pointer >> 17);
        if (offset as usize) < upper || offset & 7 != 0 {
            return Err(Refusal::Unverified("a line pointer that leads to no tuple"));
        }
        let (tuple, is_own) = tuple(page, offset, length, number, block)?;
        if usize::from(tuple.attributes) > attributes_max {
            return Err(Refusal::Unverified("a tuple with more attributes than the table has"));
        }
        (n_tuples, n_own) = (n_tuples + 1, n_own + usize::from(is_own));
        if n_tuples > TUPLES_MAX {
            return Err(Refusal::Unverified("a page with more tuples than fit"));
        }
        found(tuple);
    }
    // Tuples that a rolled back transaction updated point elsewhere. If all tuples do, COPY reads them.
    match n_own == 0 && n_tuples > 0 {
        true => Err(Refusal::Unverified("a page whose tuples are of another page")),
        false => Ok(()),
    }
}

/// Where the line pointers of a page end, and where its tuples begin.
///
/// # Errors
///
/// The header is not that of a whole page of a heap.
pub(crate) fn bounds(page: &[u8]) -> Result<(usize, usize), Refusal> {
    const UNKNOWN: Refusal = Refusal::Unverified("a page whose header is not one of a heap");
    let [.., f0, f1, l0, l1, u0, u1, s0, s1, v0, v1, _, _, _, _] =
        *page.first_chunk::<PAGE_HEADER_BYTES>().ok_or(UNKNOWN)?;
    let [flags, lower, upper, special, version] =
        [[f0, f1], [l0, l1], [u0, u1], [s0, s1], [v0, v1]].map(u16::from_le_bytes);
    let (lower, upper) = (usize::from(lower), usize::from(upper));
    let is_sound = page.len() == PAGE_BYTES
        && version == SIZE_AND_VERSION
        && usize::from(special) == PAGE_BYTES
        && flags & !KNOWN_FLAGS == 0
        && (PAGE_HEADER_BYTES..=upper).contains(&lower)
        && upper <= PAGE_BYTES
        && lower.is_multiple_of(LINE_POINTER_BYTES);
    if is_sound { Ok((lower, upper)) } else { Err(UNKNOWN) }
}

/// What tuples have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Alike {
    pub(crate) tuples: usize,
    /// The number of their attributes.
    pub(crate) attributes: u16,
    /// Bytes of data of the shortest.
    pub(crate) data_min: u32,
    /// Some have a NULL bitmap.
    pub(crate) has_bitmaps: bool,
}

const PAGE_END: u32 = 8192;

/// Bits of `t_infomask2` and `t_infomask` that are the same in all tuples that are alike.
const SAME: u32 =
    ((HAS_OID_OLD | XMAX_LOCK_ONLY | XMIN_COMMITTED | XMAX_INVALID | MOVED) as u32) << 16 | ATTRIBUTES as u32;

/// The quick way of [`tuples`] for the usual page: it is all-visible, every line pointer leads to a tuple,
/// and all tuples have the same number of attributes and are visible for the same reason. Writes the place of
/// each tuple's data, its end and that of its bitmap (0 if it has none), counting from `start`.
///
/// `None` if the page is another one, or something is wrong with it; the slots may have been written to.
/// Without an exit from the loop the processor overlaps its rounds.
pub(crate) fn alike(
    page: &[u8],
    (block, start): (u32, u32),
    attributes_max: usize,
    slots: (&mut [u32], &mut [u32], &mut [u32]),
) -> Option<Alike> {
    let page = page.first_chunk::<PAGE_BYTES>().filter(|_| page.len() == PAGE_BYTES)?;
    let [.., f0, f1, l0, l1, u0, u1, s0, s1, v0, v1, _, _, _, _] =
        *page.first_chunk::<PAGE_HEADER_BYTES>()?;
    let [flags, lower, upper, special, version] =
        [[f0, f1], [l0, l1], [u0, u1], [s0, s1], [v0, v1]].map(u16::from_le_bytes);
    let is_usual = flags & ALL_VISIBLE != 0
        && flags & !KNOWN_FLAGS == 0
        && version == SIZE_AND_VERSION
        && usize::from(special) == PAGE_BYTES
        && lower <= upper
        && usize::from(lower).is_multiple_of(LINE_POINTER_BYTES);
    if !is_usual {
        return None;
    }
    let pointers = page.get(PAGE_HEADER_BYTES..usize::from(lower))?.as_chunks::<LINE_POINTER_BYTES>().0;
    let (bases, ends, bitmaps) = slots;
    let (bases, ends) = (bases.get_mut(..pointers.len())?, ends.get_mut(..pointers.len())?);
    let bitmaps = bitmaps.get_mut(..pointers.len())?;
    let header = |pointer: &[u8; LINE_POINTER_BYTES]| {
        let pointer = u32::from_le_bytes(*pointer);
        let at = (pointer & 0x7fff) as usize;
        let header = page.get(at..at + TUPLE_BYTES_MIN).and_then(<[u8]>::first_chunk::<TUPLE_BYTES_MIN>)?;
        let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, i0, i1, i2, i3, data_offset, _] = header;
        Some((pointer, u32::from_le_bytes([*i0, *i1, *i2, *i3]), u32::from(*data_offset)))
    };
    let (first_pointer, first_infomasks, _) = header(pointers.first()?)?;
    let (first, is_own) = tuple(page, first_pointer & 0x7fff, first_pointer >> 17, 1, block)
        .ok()
        .filter(|(_, is_own)| *is_own)?;
    if usize::from(first.attributes) > attributes_max || pointers.len() > TUPLES_MAX {
        return None;
    }
    let alike = |data_min, has_bitmaps| Alike {
        tuples: pointers.len(),
        attributes: first.attributes,
        data_min,
        has_bitmaps,
    };
    let data_offset = first.start - (first_pointer & 0x7fff);
    if first.bitmap == 0 && are_headers_same(page, pointers) {
        bitmaps.fill(0);
        let data_min = bounds_of_data(pointers, (start, upper.into(), data_offset), bases, ends)?;
        return Some(alike(data_min, false));
    }
    let bitmap_bytes = u32::from(first.attributes).div_ceil(8);
    // Bits that must be zero; differences, none of which may be negative.
    let (mut wrong, mut negative, mut data_min, mut nulls) = (u32::from(!is_own), 0, PAGE_END, 0);
    let slots = bases.iter_mut().zip(ends).zip(bitmaps);
    for (pointer, ((base, end), bitmap)) in pointers.iter().zip(slots) {
        let (pointer, infomasks, data_offset) = header(pointer)?;
        let (offset, length) = (pointer & 0x7fff, pointer >> 17);
        let has_null = infomasks >> 16 & u32::from(HAS_NULL);
        let data_bytes = length.wrapping_sub(data_offset);
        wrong |= ((pointer >> 15 & 3) ^ LP_NORMAL) | ((infomasks ^ first_infomasks) & SAME);
        wrong |= (offset | data_offset) & 7;
        negative |= data_offset.wrapping_sub(TUPLE_HEADER_BYTES + bitmap_bytes * has_null)
            | offset.wrapping_sub(u32::from(upper))
            | PAGE_END.wrapping_sub(offset + length)
            | data_bytes;
        data_min = data_min.min(data_bytes);
        nulls |= has_null;
        *base = start + offset + data_offset;
        *end = start + offset + length;
        *bitmap = (start + offset + TUPLE_HEADER_BYTES) * has_null;
    }
    (wrong == 0 && negative.cast_signed() >= 0).then(|| alike(data_min, nulls > 0))
}

/// Whether the headers of all tuples are the same: in [`SAME`], in whether they have NULLs, and in where
/// their data starts.
fn are_headers_same(page: &[u8; PAGE_BYTES], pointers: &[[u8; LINE_POINTER_BYTES]]) -> bool {
    /// Of number, `t_infomask2`, `t_infomask`, `t_hoff` and a byte behind it.
    const ALL: u64 = 0xff << 48 | (SAME as u64 | (HAS_NULL as u64) << 16) << 16;
    let fields = |pointer: &[u8; LINE_POINTER_BYTES]| {
        let at = (u32::from_le_bytes(*pointer) & 0x7fff) as usize;
        page.get(at + 16..at + TUPLE_BYTES_MIN).and_then(<[u8]>::first_chunk).map(|f| u64::from_le_bytes(*f))
    };
    let Some(first) = pointers.first().and_then(fields) else { return false };
    let mut differences = 0;
    for pointer in pointers {
        let Some(fields) = fields(pointer) else { return false };
        differences |= fields ^ first;
    }
    differences & ALL == 0
}

/// Writes where the data of each tuple starts, `data_offset` behind the tuple, and where it ends. Returns the
/// number of bytes of the shortest. Looks at line pointers only, several at once.
fn bounds_of_data(
    pointers: &[[u8; LINE_POINTER_BYTES]],
    (start, upper, data_offset): (u32, u32, u32),
    bases: &mut [u32],
    ends: &mut [u32],
) -> Option<u32> {
    let (mut wrong, mut negative, mut data_min) = (0, 0, PAGE_END.cast_signed());
    for (pointer, (base, end)) in pointers.iter().zip(bases.iter_mut().zip(ends)) {
        let pointer = u32::from_le_bytes(*pointer);
        let (offset, length) = (pointer & 0x7fff, pointer >> 17);
        let data_bytes = length.wrapping_sub(data_offset);
        wrong |= ((pointer >> 15 & 3) ^ LP_NORMAL) | offset & 7;
        negative |= offset.wrapping_sub(upper) | PAGE_END.wrapping_sub(offset + length) | data_bytes;
        data_min = data_min.min(data_bytes.cast_signed());
        *base = start + offset + data_offset;
        *end = start + offset + length;
    }
    (wrong == 0 && negative.cast_signed() >= 0).then_some(data_min.cast_unsigned())
}

/// The tuple at `offset`, and whether its own position matches its line pointer and page.
#[inline(always)]
fn tuple(page: &[u8], offset: u32, length: u32, number: u16, block: u32) -> Result<(Tuple, bool), Refusal> {
    const UNSOUND: Refusal = Refusal::Unverified("a tuple that does not fit its line pointer");
    let end = offset + length;
    let header = page.get(offset as usize..end as usize).and_then(<[u8]>::first_chunk::<TUPLE_BYTES_MIN>);
    // `t_xmin`, `t_xmax` │ `t_cid`, block (two halves) │ number, `t_infomask2`, `t_infomask`, `t_hoff`, u8.
    let [_, _, _, _, _, _, _, _, _, _, _, _, own_block @ .., c0, c1, c2, c3, c4, c5, c6, c7] =
        header.ok_or(UNSOUND)?;
    let own_block = u32::from_le_bytes(*own_block).rotate_left(16);
    let fields = u64::from_le_bytes([*c0, *c1, *c2, *c3, *c4, *c5, *c6, *c7]);
    #[expect(clippy::cast_possible_truncation, reason = "cuts the parts out")]
    let [own_number, attributes, flags] = [fields as u16, (fields >> 16) as u16, (fields >> 32) as u16];
    let data_offset = (fields >> 48 & 0xff) as u32;
    let attributes = attributes & ATTRIBUTES;
    // On an all-visible page, the transaction that inserted a tuple has committed, and none has deleted it:
    // the transaction in `t_xmax` at most holds a lock.
    let is_visible = flags & XMIN_COMMITTED != 0 && flags & (XMAX_INVALID | XMAX_LOCK_ONLY) != 0;
    if !is_visible || flags & (HAS_OID_OLD | MOVED) != 0 {
        return Err(Refusal::Unverified("a tuple that is not visible to all on a page that is"));
    }
    let has_null = flags & HAS_NULL != 0;
    let bitmap_bytes = if has_null { u32::from(attributes).div_ceil(8) } else { 0 };
    if data_offset < TUPLE_HEADER_BYTES + bitmap_bytes || data_offset > length || data_offset & 7 != 0 {
        return Err(UNSOUND);
    }
    let tuple = Tuple {
        number,
        attributes,
        start: offset + data_offset,
        end,
        bitmap: if has_null { offset + TUPLE_HEADER_BYTES } else { 0 },
    };
    Ok((tuple, own_block == block && own_number == number))
}

#[cfg(test)]
mod tests;
