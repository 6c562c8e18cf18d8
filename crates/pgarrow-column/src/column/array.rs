//! Arrays on the wire: a header, then the elements of all dimensions in row-major order.
//!
//! ```text
//! i32 n_dimensions │ i32 has_nulls │ u32 element OID │ n × (i32 length │ i32 lower bound) │ elements
//! ```
//!
//! An empty array has no dimensions; an empty `oidvector` has one of length 0.
//!
//! Source: `array_send`, `array_recv` in PostgreSQL's `src/backend/utils/adt/arrayfuncs.c`; `MAXDIM` in
//! `src/include/utils/array.h`.

use std::ops::Range;

use crate::column::elements::{Elements, Inside};
use crate::error::{RowError, ValueError};

/// `MAXDIM`.
pub(crate) const DIMENSIONS_MAX: usize = 6;

/// An array's header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    n_dimensions: usize,
    /// Length and lower bound.
    dimensions: [(i32, i32); DIMENSIONS_MAX],
    may_have_nulls: bool,
    n_elements: usize,
}

impl Shape {
    /// Reads the header of the array at `value`. Returns also where its elements begin.
    pub(crate) fn parse(
        bytes: &[u8],
        value: &Range<usize>,
        element_oid: u32,
    ) -> Result<(Self, usize), ValueError> {
        const HEADER: ValueError = ValueError::Malformed("an array without its header");
        let header = bytes.get(value.clone()).ok_or(HEADER)?;
        let (fixed, rest) = header.split_first_chunk::<12>().ok_or(HEADER)?;
        let [n0, n1, n2, n3, f0, f1, f2, f3, o0, o1, o2, o3] = *fixed;
        let n_dimensions = usize::try_from(i32::from_be_bytes([n0, n1, n2, n3])).unwrap_or(usize::MAX);
        if n_dimensions > DIMENSIONS_MAX {
            return Err(ValueError::Malformed("an array with another number of dimensions than 0 to 6"));
        }
        let may_have_nulls = match u32::from_be_bytes([f0, f1, f2, f3]) {
            0 => false,
            1 => true,
            _ => return Err(ValueError::Malformed("an array with unknown flags")),
        };
        if u32::from_be_bytes([o0, o1, o2, o3]) != element_oid {
            return Err(ValueError::Malformed("an array of another element type than the catalog says"));
        }
        let mut shape =
            Self { n_dimensions, dimensions: [(0, 0); DIMENSIONS_MAX], may_have_nulls, n_elements: 0 };
        let (pairs, _) = rest.as_chunks::<8>();
        let pairs = pairs.get(..n_dimensions).ok_or(HEADER)?;
        let mut n_elements = usize::from(n_dimensions > 0);
        for (pair, dimension) in pairs.iter().zip(&mut shape.dimensions) {
            let [l0, l1, l2, l3, b0, b1, b2, b3] = *pair;
            let (length, lower) =
                (i32::from_be_bytes([l0, l1, l2, l3]), i32::from_be_bytes([b0, b1, b2, b3]));
            let places = usize::try_from(length).ok().filter(|places| *places > 0 || n_dimensions == 1);
            let is_legal = places.is_some() && lower.checked_add(length.max(1) - 1).is_some();
            n_elements = places
                .filter(|_| is_legal)
                .and_then(|places| n_elements.checked_mul(places))
                .ok_or(ValueError::Malformed("an array with a dimension that no array of PostgreSQL has"))?;
            *dimension = (length, lower);
        }
        let start = value.start + 12 + 8 * n_dimensions;
        if n_elements > (value.end - start) / 4 {
            return Err(ValueError::Malformed("an array of more elements than there are bytes for"));
        }
        shape.n_elements = n_elements;
        Ok((shape, start))
    }

    /// The same for the usual array of one dimension. `None` for all others, valid or not.
    #[inline]
    pub(crate) fn parse_flat(bytes: &[u8], value: &Range<usize>, element_oid: u32) -> Option<(Self, usize)> {
        let (header, rest) = bytes.get(value.clone())?.split_first_chunk::<20>()?;
        let (words, _) = header.as_chunks::<4>();
        let [n_dimensions, flags, oid, length, lower] = *words else { return None };
        let (length, lower) = (i32::from_be_bytes(length), i32::from_be_bytes(lower));
        let flags = u32::from_be_bytes(flags);
        let n_elements = usize::try_from(length).ok()?;
        let is_plain = u32::from_be_bytes(n_dimensions) == 1
            && flags <= 1
            && u32::from_be_bytes(oid) == element_oid
            && lower <= i32::MAX - length
            && n_elements <= rest.len() / 4;
        let mut dimensions = [(0, 0); DIMENSIONS_MAX];
        dimensions[0] = (length, lower);
        let shape = Self { n_dimensions: 1, dimensions, may_have_nulls: flags == 1, n_elements };
        is_plain.then_some((shape, value.start + header.len()))
    }

    /// Length and lower bound of each dimension.
    pub(crate) fn dimensions(&self) -> &[(i32, i32)] {
        self.dimensions.get(..self.n_dimensions).unwrap_or_default()
    }

    /// Whether all lower bounds are 1, so that a list of its elements loses nothing.
    pub(crate) fn counts_from_one(&self) -> bool {
        self.n_elements == 0 || self.dimensions().iter().all(|(_, lower)| *lower == 1)
    }

    /// Passes on the elements, which begin at `start` and must end with the value.
    pub(crate) fn push_elements(
        &self,
        elements: &mut Elements,
        chunk: &mut Inside<'_>,
        start: usize,
        end: usize,
    ) -> Result<(), RowError> {
        // For an array without elements, this is the next element.
        let first = elements.len();
        let (behind, any_null) = elements.push_all(chunk, start, end, self.n_elements)?;
        let malformed = |what| Err(RowError { row: first, cause: ValueError::Malformed(what) });
        if any_null && !self.may_have_nulls {
            return malformed("an array with a NULL where it says that it has none");
        }
        if behind != end {
            return malformed("an array with bytes behind its last element");
        }
        Ok(())
    }
}
