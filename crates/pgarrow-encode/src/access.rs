//! Access to Arrow arrays of several layouts in one way.

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrowPrimitiveType, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, OffsetSizeTrait, PrimitiveArray, StringArray, StringViewArray, StructArray,
};
use arrow_schema::DataType;

use crate::error::ValueError;

/// Strings in any of Arrow's layouts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Strings<'a> {
    Utf8(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Strings<'a> {
    pub(crate) fn is(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    }

    pub(crate) fn new(array: &'a dyn Array) -> Result<Self, ValueError> {
        Ok(match array.data_type() {
            DataType::Utf8 => Self::Utf8(array.as_string_opt().ok_or(ValueError::WrongArray)?),
            DataType::LargeUtf8 => Self::Large(array.as_string_opt().ok_or(ValueError::WrongArray)?),
            DataType::Utf8View => Self::View(array.as_string_view_opt().ok_or(ValueError::WrongArray)?),
            _ => return Err(ValueError::WrongArray),
        })
    }

    /// Whether one of its strings may contain a zero byte. Checks all bytes at once, without the boundaries
    /// of the strings.
    pub(crate) fn may_have_zero(self) -> bool {
        match self {
            Self::Utf8(array) => has_zero(array.value_data(), array.value_offsets()),
            Self::Large(array) => has_zero(array.value_data(), array.value_offsets()),
            // The strings of a view can be anywhere.
            Self::View(_) => true,
        }
    }

    #[inline]
    pub(crate) fn value(self, row: usize) -> &'a str {
        match self {
            Self::Utf8(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
        }
    }
}

/// Bytes in any of Arrow's layouts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bytes<'a> {
    Binary(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
    Fixed(&'a FixedSizeBinaryArray),
}

impl<'a> Bytes<'a> {
    pub(crate) fn is(data_type: &DataType) -> bool {
        matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        )
    }

    pub(crate) fn new(array: &'a dyn Array) -> Result<Self, ValueError> {
        Ok(match array.data_type() {
            DataType::Binary => Self::Binary(array.as_binary_opt().ok_or(ValueError::WrongArray)?),
            DataType::LargeBinary => Self::Large(array.as_binary_opt().ok_or(ValueError::WrongArray)?),
            DataType::BinaryView => Self::View(array.as_binary_view_opt().ok_or(ValueError::WrongArray)?),
            DataType::FixedSizeBinary(_) => {
                Self::Fixed(array.as_fixed_size_binary_opt().ok_or(ValueError::WrongArray)?)
            }
            _ => return Err(ValueError::WrongArray),
        })
    }

    #[inline]
    pub(crate) fn value(self, row: usize) -> &'a [u8] {
        match self {
            Self::Binary(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
            Self::Fixed(array) => array.value(row),
        }
    }
}

/// An array of this primitive type.
pub(crate) fn primitive<T: ArrowPrimitiveType>(array: &dyn Array) -> Result<&PrimitiveArray<T>, ValueError> {
    array.as_primitive_opt().ok_or(ValueError::WrongArray)
}

fn has_zero<O: OffsetSizeTrait>(bytes: &[u8], offsets: &[O]) -> bool {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return false };
    // Only the slice's own bytes.
    bytes.get(first.as_usize()..last.as_usize()).is_none_or(|bytes| bytes.contains(&0))
}

/// The struct's column with this name.
pub(crate) fn part<'a, A: ArrowPrimitiveType>(
    array: &'a StructArray,
    name: &str,
) -> Result<&'a PrimitiveArray<A>, ValueError> {
    primitive(array.column_by_name(name).ok_or(ValueError::WrongArray)?.as_ref())
}

/// A value of a part, which must not be NULL.
#[inline]
pub(crate) fn required<A: ArrowPrimitiveType>(
    part: &PrimitiveArray<A>,
    row: usize,
) -> Result<A::Native, ValueError> {
    match part.is_null(row) {
        true => Err(ValueError::NullPart),
        false => part.values().get(row).copied().ok_or(ValueError::WrongArray),
    }
}
