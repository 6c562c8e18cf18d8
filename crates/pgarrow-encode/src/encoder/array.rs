//! `array_recv`, `int2vectorrecv`, `oidvectorrecv`: arrays, from lists and nested lists.
//!
//! ```text
//! i32 n_dimensions │ i32 has_nulls │ u32 element OID │ n × (i32 length │ i32 lower bound) │ elements
//! ```
//!
//! A list is an array of one dimension with lower bound 1; an empty list has no dimensions. Nested lists are
//! more dimensions, unless the elements themselves are made of lists.
//!
//! Source: `array_send`, `array_recv` in PostgreSQL's `src/backend/utils/adt/arrayfuncs.c`, `int2vectorsend`
//! in `int.c`, `oidvectorsend` in `oid.c`; `MAXDIM` and `MaxArraySize` in `src/include/utils/array.h`.

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use pgarrow_types::{ArrayType, PgType};

use super::list::Lists;
use super::{Bound, Encoder, Values, make_encoder, mismatch, refuse, shaped};
use crate::access::{Bytes, Strings};
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, RefusalKind, ValueError};
use crate::write;

/// `MAXDIM`.
pub(super) const DIMENSIONS_MAX: usize = 6;

/// `MaxArraySize`: `MaxAllocSize` divided by the width of a Datum.
const ELEMENTS_MAX: usize = 0x3fff_ffff / 8;

pub(super) fn make<'a>(
    source: &DataType,
    target: TypeTarget<'a>,
    array: &'a ArrayType,
) -> Result<Box<dyn Encoder>, Refusal> {
    if let DataType::Struct(fields) = source {
        return shaped::make(source, fields, target, array);
    }
    let of_element = target.part(0, &array.element);
    let mut list = source;
    for depth in 1..=DIMENSIONS_MAX {
        let Some(item) = Lists::item(list) else { return Err(refuse(source, target)) };
        let inner_is_list = Lists::item(item.data_type()).is_some();
        let made = match inner_is_list && is_of_json_texts(&array.element, item.data_type()) {
            true => Err(mismatch(item.data_type())),
            false => make_encoder(item, of_element),
        };
        match made {
            Ok(_) if array.is_vector && depth > 1 => return Err(mismatch(source)),
            Ok(elements) => return Ok(Box::new(Arrays { elements, depth, array: ElementsOf::new(array) })),
            Err(refusal) if refusal.kind == RefusalKind::Mismatch && inner_is_list => list = item.data_type(),
            Err(refusal) => return Err(refusal.inside(item.name())),
        }
    }
    let why = format!("PostgreSQL's arrays have at most {DIMENSIONS_MAX} dimensions");
    Err(Refusal::new(RefusalKind::Mismatch, why))
}

/// Lists of texts are elements of type json in more dimensions, as an export makes them, and not arrays
/// within JSON.
fn is_of_json_texts(element: &PgType, list: &DataType) -> bool {
    let mut leaf = list;
    while let Some(item) = Lists::item(leaf) {
        leaf = item.data_type();
    }
    if let DataType::Dictionary(_, values) = leaf {
        leaf = values;
    }
    matches!(element, PgType::Json | PgType::Jsonb) && (Strings::is(leaf) || Bytes::is(leaf))
}

/// The facts about elements that are the same in every array of a type.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElementsOf {
    element_oid: u32,
    pub(super) is_vector: bool,
}

impl ElementsOf {
    pub(super) fn new(array: &ArrayType) -> Self {
        Self { element_oid: array.element_oid, is_vector: array.is_vector }
    }

    /// Appends an array with its length: each dimension's length and lower bound, then the output of `write`,
    /// which returns whether any element is NULL.
    #[inline]
    pub(super) fn write(
        self,
        dimensions: impl ExactSizeIterator<Item = (i32, i32)>,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, ValueError>,
    ) -> Result<(), ValueError> {
        write::measured(out, |out| {
            let n_dimensions = i32::try_from(dimensions.len()).map_err(|_| ValueError::TooLarge)?;
            out.extend_from_slice(&n_dimensions.to_be_bytes());
            let flags_at = out.len();
            out.extend_from_slice(&0_i32.to_be_bytes());
            out.extend_from_slice(&self.element_oid.to_be_bytes());
            for (length, lower_bound) in dimensions {
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(&lower_bound.to_be_bytes());
            }
            if write(out)? {
                // The lowest byte of a big-endian number.
                match out.get_mut(flags_at.saturating_add(3)) {
                    Some(_) if self.is_vector => return Err(ValueError::NullPart),
                    Some(flag) => *flag = 1,
                    None => {}
                }
            }
            Ok(())
        })
    }
}

/// The length of a dimension with this number of elements.
pub(super) fn length_of(n_elements: usize) -> Result<i32, ValueError> {
    match n_elements <= ELEMENTS_MAX {
        true => i32::try_from(n_elements).map_err(|_| ValueError::TooLarge),
        false => Err(ValueError::TooLarge),
    }
}

#[derive(Debug)]
struct Arrays {
    elements: Box<dyn Encoder>,
    /// The number of nested lists, at least 1.
    depth: usize,
    array: ElementsOf,
}

impl Encoder for Arrays {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let outer = Lists::new(array)?;
        let mut items = outer.items;
        let mut inner = Vec::new();
        for _ in 1..self.depth {
            let lists = Lists::new(items)?;
            inner.push((lists, items.logical_nulls().filter(|nulls| nulls.null_count() > 0)));
            items = lists.items;
        }
        let elements = Bound::new(self.elements.as_ref(), items)?;
        Ok(Box::new(ArrayValues { outer, inner, elements, array: self.array }))
    }
}

#[derive(Debug)]
struct ArrayValues<'a> {
    outer: Lists<'a>,
    /// One entry for each level below the outermost.
    inner: Vec<(Lists<'a>, Option<NullBuffer>)>,
    elements: Bound<'a>,
    array: ElementsOf,
}

impl Values for ArrayValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let range = self.outer.range(row)?;
        if range.is_empty() && !self.array.is_vector {
            return self.array.write([].into_iter(), out, |_| Ok(false));
        }
        if self.inner.is_empty() {
            let lower_bound = i32::from(!self.array.is_vector);
            let dimension = (length_of(range.len())?, lower_bound);
            return self.array.write([dimension].into_iter(), out, |out| self.elements.write_all(range, out));
        }
        let (lengths, n_dimensions) = self.shape(row)?;
        let dimensions = lengths.iter().take(n_dimensions).map(|length| (*length, 1));
        self.array.write(dimensions, out, |out| {
            let mut any_null = false;
            self.write_lists(&self.inner, range, &lengths, out, &mut any_null)?;
            Ok(any_null)
        })
    }
}

impl ArrayValues<'_> {
    /// The lengths of the first list of each level, and the number of levels. The outermost list must not be
    /// empty.
    fn shape(&self, row: usize) -> Result<([i32; DIMENSIONS_MAX], usize), ValueError> {
        let mut lengths = [0; DIMENSIONS_MAX];
        let (mut first, mut n_elements, mut n_dimensions) = (row, 1_usize, 0);
        let levels = [&self.outer].into_iter().chain(self.inner.iter().map(|(lists, _)| lists));
        for ((level, lists), length) in levels.enumerate().zip(&mut lengths) {
            if level > 0 && self.is_null_list(level, first) {
                return Err(ValueError::NullPart);
            }
            let range = lists.range(first)?;
            if range.is_empty() {
                return Err(ValueError::Invalid("an empty list in a list"));
            }
            n_elements = n_elements.checked_mul(range.len()).ok_or(ValueError::TooLarge)?;
            *length = length_of(n_elements).and_then(|_| length_of(range.len()))?;
            first = range.start;
            n_dimensions += 1;
        }
        Ok((lengths, n_dimensions))
    }

    fn is_null_list(&self, level: usize, index: usize) -> bool {
        let nulls = level
            .checked_sub(1)
            .and_then(|level| self.inner.get(level))
            .and_then(|(_, nulls)| nulls.as_ref());
        nulls.is_some_and(|nulls| nulls.is_null(index))
    }

    /// Writes the elements of these lists' items, which must all have the same lengths.
    fn write_lists(
        &self,
        levels: &[(Lists<'_>, Option<NullBuffer>)],
        range: std::ops::Range<usize>,
        lengths: &[i32],
        out: &mut Vec<u8>,
        any_null: &mut bool,
    ) -> Result<(), ValueError> {
        let Some(((lists, nulls), levels_below)) = levels.split_first() else {
            *any_null |= self.elements.write_all(range, out)?;
            return Ok(());
        };
        let lengths = lengths.get(1..).unwrap_or_default();
        let expected = lengths.first().copied().unwrap_or(0);
        for index in range {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(index)) {
                return Err(ValueError::NullPart);
            }
            let items = lists.range(index)?;
            if i32::try_from(items.len()) != Ok(expected) {
                return Err(ValueError::Ragged);
            }
            self.write_lists(levels_below, items, lengths, out, any_null)?;
        }
        Ok(())
    }
}
