//! `array_recv` from `Struct{values, dimensions, lower_bounds}`, which has an array's whole shape.

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, Int32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Fields};
use pgarrow_types::ArrayType;

use super::array::{DIMENSIONS_MAX, ElementsOf, length_of};
use super::list::Lists;
use super::{Bound, Encoder, Values, make_encoder, refuse};
use crate::access::primitive;
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};

const VALUES: &str = "values";
const DIMENSIONS: &str = "dimensions";
const LOWER_BOUNDS: &str = "lower_bounds";

pub(super) fn make<'a>(
    source: &DataType,
    fields: &Fields,
    target: TypeTarget<'a>,
    array: &'a ArrayType,
) -> Result<Box<dyn Encoder>, Refusal> {
    let item = |name| fields.find(name).and_then(|(_, field)| Lists::item(field.data_type()));
    let is_int = |name| item(name).is_some_and(|item| *item.data_type() == DataType::Int32);
    match item(VALUES) {
        Some(values) if fields.len() == 3 && is_int(DIMENSIONS) && is_int(LOWER_BOUNDS) => {
            let elements = make_encoder(values, target.part(0, &array.element));
            let elements = elements.map_err(|refusal| refusal.inside(VALUES))?;
            Ok(Box::new(ShapedArrays { elements, array: ElementsOf::new(array) }))
        }
        _ => Err(refuse(source, target)),
    }
}

#[derive(Debug)]
struct ShapedArrays {
    elements: Box<dyn Encoder>,
    array: ElementsOf,
}

impl Encoder for ShapedArrays {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let array = array.as_struct_opt().ok_or(ValueError::WrongArray)?;
        let part = |name| array.column_by_name(name).ok_or(ValueError::WrongArray);
        let values = Part::new(part(VALUES)?.as_ref())?;
        let elements = Bound::new(self.elements.as_ref(), values.lists.items)?;
        Ok(Box::new(ShapedValues {
            values,
            elements,
            dimensions: Numbers::new(part(DIMENSIONS)?.as_ref())?,
            lower_bounds: Numbers::new(part(LOWER_BOUNDS)?.as_ref())?,
            array: self.array,
        }))
    }
}

/// Lists that must not be NULL.
#[derive(Debug)]
struct Part<'a> {
    lists: Lists<'a>,
    nulls: Option<NullBuffer>,
}

impl<'a> Part<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, ValueError> {
        Ok(Self { lists: Lists::new(array)?, nulls: array.logical_nulls() })
    }

    fn range(&self, row: usize) -> Result<std::ops::Range<usize>, ValueError> {
        match self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            true => Err(ValueError::NullPart),
            false => self.lists.range(row),
        }
    }
}

#[derive(Debug)]
struct Numbers<'a> {
    part: Part<'a>,
    numbers: &'a Int32Array,
}

impl<'a> Numbers<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, ValueError> {
        let part = Part::new(array)?;
        Ok(Self { numbers: primitive::<Int32Type>(part.lists.items)?, part })
    }

    fn of_row(&self, row: usize) -> Result<&'a [i32], ValueError> {
        let range = self.part.range(row)?;
        let nulls = self.numbers.nulls();
        if nulls.is_some_and(|nulls| range.clone().any(|index| nulls.is_null(index))) {
            return Err(ValueError::NullPart);
        }
        self.numbers.values().get(range).ok_or(ValueError::WrongArray)
    }
}

#[derive(Debug)]
struct ShapedValues<'a> {
    values: Part<'a>,
    elements: Bound<'a>,
    dimensions: Numbers<'a>,
    lower_bounds: Numbers<'a>,
    array: ElementsOf,
}

impl Values for ShapedValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let range = self.values.range(row)?;
        let (lengths, lower_bounds) = (self.dimensions.of_row(row)?, self.lower_bounds.of_row(row)?);
        if lengths.len() != lower_bounds.len() {
            return Err(ValueError::Invalid("an array of more or fewer lengths than lower bounds"));
        }
        if self.array.is_vector
            && (lengths.len() > 1 || lower_bounds.iter().any(|lower_bound| *lower_bound != 0))
        {
            return Err(ValueError::Invalid("an array of more dimensions than one, or not counted from 0"));
        }
        if lengths.len() > DIMENSIONS_MAX {
            return Err(ValueError::Invalid("an array of more than 6 dimensions"));
        }
        let mut n_elements = usize::from(!lengths.is_empty());
        for (length, lower_bound) in lengths.iter().zip(lower_bounds) {
            // ArrayCheckBounds.
            let length_is_legal = *length > 0 && lower_bound.checked_add(*length).is_some();
            if !length_is_legal {
                return Err(ValueError::Invalid("an array with such a length or lower bound"));
            }
            let length = usize::try_from(*length).map_err(|_| ValueError::TooLarge)?;
            n_elements = n_elements.checked_mul(length).ok_or(ValueError::TooLarge)?;
            length_of(n_elements)?;
        }
        if n_elements != range.len() {
            return Err(ValueError::Invalid("an array of another number of elements than its lengths make"));
        }
        let dimensions = lengths.iter().copied().zip(lower_bounds.iter().copied());
        self.array.write(dimensions, out, |out| self.elements.write_all(range, out))
    }
}
