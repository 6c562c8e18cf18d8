//! pgvector's `vector_recv`, `halfvec_recv`, `sparsevec_recv`: numbers behind their count.
//!
//! ```text
//! vector     i16 dimensions │ i16 0 │ dimensions × f32
//! halfvec    i16 dimensions │ i16 0 │ dimensions × f16
//! sparsevec  i32 dimensions │ i32 n │ i32 0 │ n × i32 index, from 0, ascending │ n × f32
//! ```
//!
//! The extension itself refuses NaN and infinities, and too many dimensions.
//!
//! Source: pgvector's `src/vector.c`, `src/halfvec.c`, `src/sparsevec.c`.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int32Type};
use arrow_array::{Array, Float16Array, Float32Array, Float64Array, Int32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Fields};

use super::list::Lists;
use super::{Encoder, Values, refuse};
use crate::access::{part, primitive, required};
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, RefusalKind, ValueError};
use crate::write;

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// The type of a target's elements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Element {
    Half,
    Single,
}

/// For `vector` and `halfvec`.
pub(super) fn make(
    source: &DataType,
    target: TypeTarget<'_>,
    element: Element,
    dimensions: Option<u16>,
) -> Result<Box<dyn Encoder>, Refusal> {
    let item = Lists::item(source).filter(|item| Floats::is(item.data_type()));
    let item = item.ok_or_else(|| refuse(source, target))?;
    if let (DataType::FixedSizeList(_, size), Some(dimensions)) = (source, dimensions)
        && *size != i32::from(dimensions)
    {
        let why = format!("lists of {size} are no vectors of {dimensions} dimensions");
        return Err(Refusal::new(RefusalKind::Mismatch, why));
    }
    let width = if element == Element::Half { 2 } else { 4 };
    if item.data_type().primitive_width() > Some(width) && target.conversions < Conversions::Check {
        return Err(Refusal::needs_check(format!("{} has more digits than its elements", item.data_type())));
    }
    let rounds = target.conversions >= Conversions::Round;
    Ok(Box::new(Vectors { element, dimensions, rounds }))
}

/// Floats in any of Arrow's widths.
#[derive(Clone, Copy, Debug)]
enum Floats<'a> {
    Half(&'a Float16Array),
    Single(&'a Float32Array),
    Double(&'a Float64Array),
}

impl<'a> Floats<'a> {
    fn is(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64)
    }

    fn new(array: &'a dyn Array) -> Result<Self, ValueError> {
        Ok(match array.data_type() {
            DataType::Float16 => Self::Half(primitive::<Float16Type>(array)?),
            DataType::Float32 => Self::Single(primitive::<Float32Type>(array)?),
            _ => Self::Double(primitive::<Float64Type>(array)?),
        })
    }

    /// Appends elements if they have the target's width and none is NULL. Returns whether it did.
    fn write_as_they_are(
        self,
        element: Element,
        range: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<bool, ValueError> {
        const WRONG: ValueError = ValueError::WrongArray;
        match (element, self) {
            (Element::Single, Self::Single(array)) if array.null_count() == 0 => {
                let numbers = array.values().get(range).ok_or(WRONG)?;
                write_numbers(numbers, |number| number.to_bits().to_be_bytes(), out);
            }
            (Element::Half, Self::Half(array)) if array.null_count() == 0 => {
                let numbers = array.values().get(range).ok_or(WRONG)?;
                write_numbers(numbers, |number| number.to_bits().to_be_bytes(), out);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// One element. If the widths are equal, it has the same bits as in the array.
    fn single(self, index: usize, rounds: bool) -> Result<f32, ValueError> {
        match self {
            Self::Half(array) => Ok(required(array, index)?.to_f32()),
            Self::Single(array) => required(array, index),
            Self::Double(array) => {
                let value = required(array, index)?;
                #[expect(clippy::cast_possible_truncation, reason = "what it loses is looked at")]
                let narrow = value as f32;
                narrowed(value, f64::from(narrow), rounds).map(|()| narrow)
            }
        }
    }

    fn half(self, index: usize, rounds: bool) -> Result<F16, ValueError> {
        let (value, narrow) = match self {
            Self::Half(array) => return required(array, index),
            Self::Single(array) => {
                let value = required(array, index)?;
                (f64::from(value), F16::from_f32(value))
            }
            Self::Double(array) => {
                let value = required(array, index)?;
                (value, F16::from_f64(value))
            }
        };
        narrowed(value, narrow.to_f64(), rounds).map(|()| narrow)
    }
}

/// Bytes of numbers of one width, all at once.
fn write_numbers<T: Copy, const N: usize>(numbers: &[T], bytes: impl Fn(T) -> [u8; N], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start.saturating_add(numbers.len().saturating_mul(N)), 0);
    let (places, _) = out.get_mut(start..).unwrap_or_default().as_chunks_mut::<N>();
    for (place, number) in places.iter_mut().zip(numbers) {
        *place = bytes(*number);
    }
}

/// Checks a number after its conversion to fewer bits.
fn narrowed(value: f64, narrow: f64, rounds: bool) -> Result<(), ValueError> {
    if narrow.is_infinite() && value.is_finite() {
        return Err(ValueError::OutOfRange);
    }
    match rounds || value.is_nan() || narrow == value {
        true => Ok(()),
        false => Err(ValueError::LostDigits),
    }
}

#[derive(Debug)]
struct Vectors {
    element: Element,
    dimensions: Option<u16>,
    rounds: bool,
}

impl Encoder for Vectors {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let lists = Lists::new(array)?;
        Ok(Box::new(VectorValues { lists, floats: Floats::new(lists.items)?, of: self }))
    }
}

#[derive(Debug)]
struct VectorValues<'a> {
    lists: Lists<'a>,
    floats: Floats<'a>,
    of: &'a Vectors,
}

impl Values for VectorValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let range = self.lists.range(row)?;
        if self.of.dimensions.is_some_and(|dimensions| usize::from(dimensions) != range.len()) {
            return Err(ValueError::Invalid("a vector of other dimensions"));
        }
        let count = i16::try_from(range.len()).ok().filter(|count| *count > 0);
        let count = count.ok_or(ValueError::Invalid("a vector of no dimensions or of too many"))?;
        write::measured(out, |out| {
            out.extend_from_slice(&count.to_be_bytes());
            out.extend_from_slice(&[0; 2]);
            if self.floats.write_as_they_are(self.of.element, range.clone(), out)? {
                return Ok(());
            }
            for index in range {
                match self.of.element {
                    Element::Half => {
                        let bits = self.floats.half(index, self.of.rounds)?.to_bits();
                        out.extend_from_slice(&bits.to_be_bytes());
                    }
                    Element::Single => {
                        let bits = self.floats.single(index, self.of.rounds)?.to_bits();
                        out.extend_from_slice(&bits.to_be_bytes());
                    }
                }
            }
            Ok(())
        })
    }
}

/// For `sparsevec`, from `Struct{dimensions, indices, values}`.
pub(super) fn make_sparse(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let is_sparse = |fields: &Fields| {
        let part = |name| fields.find(name).map(|(_, field)| field.data_type());
        let item = |name| part(name).and_then(Lists::item).map(|item| item.data_type());
        fields.len() == 3
            && part(DIMENSIONS) == Some(&DataType::Int32)
            && item(INDICES) == Some(&DataType::Int32)
            && item(VALUES) == Some(&DataType::Float32)
    };
    match source {
        DataType::Struct(fields) if is_sparse(fields) => {
            // The modifier is the number of dimensions: `sparsevec_typmod_in`.
            let declared = Some(target.declared.type_modifier).filter(|dimensions| *dimensions > 0);
            Ok(Box::new(SparseVectors { declared }))
        }
        _ => Err(refuse(source, target)),
    }
}

const DIMENSIONS: &str = "dimensions";
const INDICES: &str = "indices";
const VALUES: &str = "values";

#[derive(Debug)]
struct SparseVectors {
    declared: Option<i32>,
}

impl Encoder for SparseVectors {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let array = array.as_struct_opt().ok_or(ValueError::WrongArray)?;
        let lists = |name| {
            let array: &dyn Array = array.column_by_name(name).ok_or(ValueError::WrongArray)?.as_ref();
            Ok((Lists::new(array)?, array.nulls().cloned()))
        };
        let (indices, values) = (lists(INDICES)?, lists(VALUES)?);
        Ok(Box::new(SparseValues {
            declared: self.declared,
            dimensions: part::<Int32Type>(array, DIMENSIONS)?,
            index_array: primitive::<Int32Type>(indices.0.items)?,
            value_array: primitive::<Float32Type>(values.0.items)?,
            indices,
            values,
        }))
    }
}

/// Lists that must not be NULL.
type Part<'a> = (Lists<'a>, Option<NullBuffer>);

#[derive(Debug)]
struct SparseValues<'a> {
    declared: Option<i32>,
    dimensions: &'a Int32Array,
    indices: Part<'a>,
    index_array: &'a Int32Array,
    values: Part<'a>,
    value_array: &'a Float32Array,
}

impl Values for SparseValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let range = |(lists, nulls): &Part<'_>| match nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            true => Err(ValueError::NullPart),
            false => lists.range(row),
        };
        let (indices, values) = (range(&self.indices)?, range(&self.values)?);
        let dimensions = required(self.dimensions, row)?;
        if dimensions < 1 || self.declared.is_some_and(|declared| declared != dimensions) {
            return Err(ValueError::Invalid("a vector of other dimensions"));
        }
        if indices.len() != values.len() {
            return Err(ValueError::Invalid("a vector of more or fewer indices than values"));
        }
        let count = i32::try_from(values.len()).map_err(|_| ValueError::TooLarge)?;
        write::measured(out, |out| {
            [dimensions, count, 0].iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
            let mut index_min = 0;
            for at in indices {
                let index = required(self.index_array, at)?;
                if !(index_min..dimensions).contains(&index) {
                    return Err(ValueError::Invalid(
                        "a vector whose indices do not ascend inside its dimensions",
                    ));
                }
                out.extend_from_slice(&index.to_be_bytes());
                index_min = index.saturating_add(1);
            }
            for at in values {
                out.extend_from_slice(&required(self.value_array, at)?.to_bits().to_be_bytes());
            }
            Ok(())
        })
    }
}
