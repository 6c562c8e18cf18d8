//! Arrays as they are stored.
//!
//! ```text
//! (4 bytes varlena header) │ i32 dimensions │ i32 offset of values, 0 without a bitmap │ u32 OID of elements
//! dimensions × i32 length │ dimensions × i32 lower bound │ bitmap: a bit per element, 0 is NULL │ values
//! ```
//!
//! Offsets and alignment count from the varlena header, as if it had 4 bytes.
//!
//! Source: `src/include/utils/array.h`; `array_send` in `src/backend/utils/adt/arrayfuncs.c`.

use pgarrow_types::StoredForm;

use crate::compressed::Corrupt;
use crate::transcode::{append, check_bytes};

/// `MAXDIM`.
const DIMENSIONS_MAX: usize = 6;
/// The varlena header, which positions include.
const HEADER_BYTES: usize = 4;
/// `MAXALIGN`: where values begin.
const VALUES_ALIGN: usize = 8;

const SHORT: Corrupt = Corrupt("an array that is shorter than it says");

/// `array_send`: i32 dimensions, i32 whether there is a bitmap, u32 OID of elements; for each dimension i32
/// length, i32 lower bound; for each element i32 length, or -1, and its value.
pub(super) fn send(
    element: &StoredForm,
    element_oid: u32,
    stored: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Corrupt> {
    let start = out.len();
    let array = Array::parse(stored)?;
    if array.element_oid != element_oid {
        return Err(Corrupt("an array of elements of another type"));
    }
    for n in [array.n_dimensions, i32::from(array.bitmap.is_some())] {
        out.extend_from_slice(&n.to_be_bytes());
    }
    out.extend_from_slice(&element_oid.to_be_bytes());
    for (length, lower) in array.lengths.iter().zip(array.lower_bounds) {
        out.extend(length.iter().rev());
        out.extend(lower.iter().rev());
    }
    let (width, align) = element.length_and_align();
    let mut values = Values { bytes: stored, position: array.values, align: usize::from(align.max(1)) };
    for index in 0..array.n_elements {
        if array.is_null(index)? {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            continue;
        }
        let value = match usize::try_from(width) {
            Ok(width) => values.fixed(width)?,
            Err(_) => values.varlena()?,
        };
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        append(element, value, out)?;
        let length = i32::try_from(out.len() - at - 4).map_err(|_| SHORT)?;
        if let Some(room) = out.get_mut(at..at + 4) {
            room.copy_from_slice(&length.to_be_bytes());
        }
        check_bytes(start, out)?;
    }
    values.check_end()
}

/// The part in front of the values.
struct Array<'a> {
    n_dimensions: i32,
    element_oid: u32,
    lengths: &'a [[u8; 4]],
    lower_bounds: &'a [[u8; 4]],
    n_elements: usize,
    bitmap: Option<&'a [u8]>,
    /// Where values begin, counted from the varlena header.
    values: usize,
}

impl<'a> Array<'a> {
    fn parse(stored: &'a [u8]) -> Result<Self, Corrupt> {
        let (header, rest) = stored.split_first_chunk::<12>().ok_or(SHORT)?;
        let [n0, n1, n2, n3, o0, o1, o2, o3, e0, e1, e2, e3] = *header;
        let n_dimensions = i32::from_le_bytes([n0, n1, n2, n3]);
        let values = u32::from_le_bytes([o0, o1, o2, o3]);
        let element_oid = u32::from_le_bytes([e0, e1, e2, e3]);
        let n = match usize::try_from(n_dimensions) {
            Ok(n) if n <= DIMENSIONS_MAX => n,
            _ => return Err(Corrupt("an array of too many dimensions")),
        };
        let (lengths, rest) = rest.split_at_checked(4 * n).ok_or(SHORT)?;
        let (lower_bounds, rest) = rest.split_at_checked(4 * n).ok_or(SHORT)?;
        let lengths = lengths.as_chunks().0;
        let n_elements = n_elements(lengths)?;

        let (bitmap, header_bytes) = if values == 0 {
            (None, 0)
        } else {
            let bytes = n_elements.div_ceil(8);
            (Some(rest.get(..bytes).ok_or(SHORT)?), bytes)
        };
        let begin = (HEADER_BYTES + 12 + 8 * n + header_bytes).next_multiple_of(VALUES_ALIGN);
        if values != 0 && usize::try_from(values) != Ok(begin) {
            return Err(Corrupt("an array whose values are not behind its bitmap"));
        }
        let lower_bounds = lower_bounds.as_chunks().0;
        Ok(Self { n_dimensions, element_oid, lengths, lower_bounds, n_elements, bitmap, values: begin })
    }

    fn is_null(&self, index: usize) -> Result<bool, Corrupt> {
        let Some(bitmap) = self.bitmap else {
            return Ok(false);
        };
        bitmap.get(index / 8).map(|byte| byte >> (index % 8) & 1 == 0).ok_or(SHORT)
    }
}

/// `ArrayGetNItems`: none without dimensions.
fn n_elements(lengths: &[[u8; 4]]) -> Result<usize, Corrupt> {
    if lengths.is_empty() {
        return Ok(0);
    }
    let product = lengths.iter().try_fold(1_usize, |product, length| {
        product.checked_mul(usize::try_from(i32::from_le_bytes(*length)).ok()?)
    });
    product.ok_or(Corrupt("an array of too many elements, or of fewer than none"))
}

/// The remaining values.
struct Values<'a> {
    /// The array without its varlena header.
    bytes: &'a [u8],
    /// Counted from that header.
    position: usize,
    align: usize,
}

impl<'a> Values<'a> {
    fn aligned(&mut self) -> Result<&'a [u8], Corrupt> {
        self.position = align_up(self.position, self.align);
        self.position.checked_sub(HEADER_BYTES).and_then(|at| self.bytes.get(at..)).ok_or(SHORT)
    }

    fn fixed(&mut self, width: usize) -> Result<&'a [u8], Corrupt> {
        let value = self.aligned()?.get(..width).ok_or(SHORT)?;
        self.position += width;
        Ok(value)
    }

    fn varlena(&mut self) -> Result<&'a [u8], Corrupt> {
        let (value, bytes) = varlena(self.aligned()?)?;
        self.position += bytes;
        Ok(value)
    }

    /// Only the padding of the last value may be left.
    fn check_end(self) -> Result<(), Corrupt> {
        let end = self.bytes.len() + HEADER_BYTES;
        if self.position == end || align_up(self.position, self.align) == end {
            Ok(())
        } else {
            Err(Corrupt("an array that is longer than it says"))
        }
    }
}

/// `TYPEALIGN`: alignments are powers of two.
fn align_up(position: usize, align: usize) -> usize {
    (position + (align - 1)) & !(align - 1)
}

/// The content of an uncompressed varlena at the start of `bytes`, and its size with its header.
///
/// Source: `VARSIZE_ANY` in `src/include/varatt.h`. Values inside others have headers of 4 bytes; headers of
/// 1 byte are legal.
pub(super) fn varlena(bytes: &[u8]) -> Result<(&[u8], usize), Corrupt> {
    const BEYOND: Corrupt = Corrupt("a value that is longer than what it is part of");
    const EXTERNAL: u8 = 1;
    let (header_bytes, size) = match bytes {
        [first, ..] if first & 1 == 1 && *first != EXTERNAL => (1, usize::from(first >> 1)),
        [b0, b1, b2, b3, ..] if b0 & 3 == 0 => {
            let size = u32::from_le_bytes([*b0, *b1, *b2, *b3]) >> 2;
            (4, usize::try_from(size).map_err(|_| BEYOND)?)
        }
        _ => return Err(Corrupt("a value that is compressed or elsewhere inside of another")),
    };
    Ok((bytes.get(header_bytes..size).ok_or(BEYOND)?, size))
}
