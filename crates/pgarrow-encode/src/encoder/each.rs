//! Encoders that apply one function to each value of an array.

use std::fmt;
use std::marker::PhantomData;

use arrow_array::{Array, ArrowPrimitiveType};
use arrow_schema::DataType;

use super::{Encoder, Values};
use crate::access::{Bytes, Strings, primitive};
use crate::error::ValueError;
use crate::write;

/// For a primitive array: appends a value with its length.
pub(super) fn each<A: ArrowPrimitiveType>(
    source: &DataType,
    write: impl Fn(A::Native, &mut Vec<u8>) -> Result<(), ValueError> + Send + Sync + 'static,
) -> Box<dyn Encoder> {
    Box::new(Primitives::<A, _> { source: source.clone(), write, array: PhantomData })
}

/// For a primitive array: the bytes of a value whose type has one width.
pub(super) fn fixed<A: ArrowPrimitiveType, const N: usize>(
    source: &DataType,
    convert: impl Fn(A::Native) -> Result<[u8; N], ValueError> + Send + Sync + 'static,
) -> Box<dyn Encoder> {
    each::<A>(source, move |value, out| {
        write::fixed(out, convert(value)?);
        Ok(())
    })
}

/// For strings in any layout.
pub(super) fn each_string(
    write: impl Fn(&str, &mut Vec<u8>) -> Result<(), ValueError> + Send + Sync + 'static,
) -> Box<dyn Encoder> {
    Box::new(StringsBy(write))
}

/// For bytes in any layout.
pub(super) fn each_bytes(
    write: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), ValueError> + Send + Sync + 'static,
) -> Box<dyn Encoder> {
    Box::new(BytesBy(write))
}

struct Primitives<A, F> {
    /// Includes unit, scale and zone: the numbers of another array have another meaning.
    source: DataType,
    write: F,
    array: PhantomData<fn(A)>,
}

impl<A, F> Encoder for Primitives<A, F>
where
    A: ArrowPrimitiveType,
    F: Fn(A::Native, &mut Vec<u8>) -> Result<(), ValueError> + Send + Sync + 'static,
{
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        if *array.data_type() != self.source {
            return Err(ValueError::WrongArray);
        }
        let values: &[A::Native] = primitive::<A>(array)?.values();
        Ok(Box::new(PrimitiveValues { values, write: &self.write }))
    }
}

impl<A, F> fmt::Debug for Primitives<A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Primitives").field("source", &self.source).finish_non_exhaustive()
    }
}

struct PrimitiveValues<'a, T, F> {
    values: &'a [T],
    write: &'a F,
}

impl<T, F> Values for PrimitiveValues<'_, T, F>
where
    T: Copy,
    F: Fn(T, &mut Vec<u8>) -> Result<(), ValueError>,
{
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        (self.write)(*self.values.get(row).ok_or(ValueError::WrongArray)?, out)
    }
}

impl<T, F> fmt::Debug for PrimitiveValues<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrimitiveValues").field("rows", &self.values.len()).finish_non_exhaustive()
    }
}

struct StringsBy<F>(F);

impl<F> Encoder for StringsBy<F>
where
    F: Fn(&str, &mut Vec<u8>) -> Result<(), ValueError> + Send + Sync,
{
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(StringValues { strings: Strings::new(array)?, write: &self.0 }))
    }
}

impl<F> fmt::Debug for StringsBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StringsBy").finish_non_exhaustive()
    }
}

struct StringValues<'a, F> {
    strings: Strings<'a>,
    write: &'a F,
}

impl<F: Fn(&str, &mut Vec<u8>) -> Result<(), ValueError>> Values for StringValues<'_, F> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        (self.write)(self.strings.value(row), out)
    }
}

impl<F> fmt::Debug for StringValues<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StringValues").finish_non_exhaustive()
    }
}

struct BytesBy<F>(F);

impl<F> Encoder for BytesBy<F>
where
    F: Fn(&[u8], &mut Vec<u8>) -> Result<(), ValueError> + Send + Sync,
{
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(BytesValues { bytes: Bytes::new(array)?, write: &self.0 }))
    }
}

impl<F> fmt::Debug for BytesBy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BytesBy").finish_non_exhaustive()
    }
}

struct BytesValues<'a, F> {
    bytes: Bytes<'a>,
    write: &'a F,
}

impl<F: Fn(&[u8], &mut Vec<u8>) -> Result<(), ValueError>> Values for BytesValues<'_, F> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        (self.write)(self.bytes.value(row), out)
    }
}

impl<F> fmt::Debug for BytesValues<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BytesValues").finish_non_exhaustive()
    }
}
