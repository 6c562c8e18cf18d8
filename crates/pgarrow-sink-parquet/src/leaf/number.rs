//! [`Number`]: what Parquet writes as integers and floats of four and eight bytes.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, TimeUnit};
use parquet::data_type::AsBytes;

use crate::leaf::bound::Bound;

/// A number as Parquet has it, in an array's memory or made of its values.
pub(crate) trait Number: AsBytes + Copy + Default + Send + 'static {
    const BYTES: usize;
    const IS_INTEGER: bool;

    /// Its bits, of an integer with its sign.
    fn bits(self) -> u64;

    /// The difference of two integers, which wraps around.
    fn difference(self, before: Self) -> i64;

    /// Smallest and largest of some values that are not NaN.
    fn range(values: &[Self], is_unsigned: bool) -> Option<(Self, Self)>;

    /// Appends them as they are.
    fn put(values: &[Self], out: &mut Vec<u8>);

    /// A smallest value for statistics. Of the zeros it is the negative one, as the format wants it.
    fn lower(self) -> Bound;

    /// A largest value for statistics: of the zeros the positive one.
    fn upper(self) -> Bound;

    /// The values of an array's rows, in `scratch` if the array has them in another form. `None` for an array
    /// that has no such numbers. What is null has some value, too.
    fn of<'a>(
        array: &'a dyn Array,
        start: usize,
        rows: usize,
        scratch: &'a mut Vec<Self>,
    ) -> Option<&'a [Self]>;
}

macro_rules! plain {
    () => {
        fn put(values: &[Self], out: &mut Vec<u8>) {
            let start = out.len();
            out.resize(start + size_of_val(values), 0);
            let places = out[start..].as_chunks_mut::<{ size_of::<Self>() }>().0;
            for (place, value) in places.iter_mut().zip(values) {
                *place = value.to_le_bytes();
            }
        }
    };
}

macro_rules! integer {
    (
        $type:ty, $unsigned:ty, $bound:path,
        $array:ident, $start:ident, $rows:ident, $scratch:ident => $of:expr
    ) => {
        impl Number for $type {
            const BYTES: usize = size_of::<$type>();
            const IS_INTEGER: bool = true;

            fn bits(self) -> u64 {
                i64::from(self) as u64
            }

            fn difference(self, before: Self) -> i64 {
                i64::from(self.wrapping_sub(before))
            }

            fn range(values: &[Self], is_unsigned: bool) -> Option<(Self, Self)> {
                let first = *values.first()?;
                Some(match is_unsigned {
                    false => values.iter().fold((first, first), |(min, max), v| (min.min(*v), max.max(*v))),
                    true => {
                        let first = first as $unsigned;
                        let all = values.iter().map(|value| *value as $unsigned);
                        let (min, max) = all.fold((first, first), |(min, max), v| (min.min(v), max.max(v)));
                        (min as $type, max as $type)
                    }
                })
            }

            plain!();

            fn lower(self) -> Bound {
                $bound(self)
            }

            fn upper(self) -> Bound {
                $bound(self)
            }

            fn of<'a>(
                $array: &'a dyn Array,
                $start: usize,
                $rows: usize,
                $scratch: &'a mut Vec<Self>,
            ) -> Option<&'a [Self]> {
                $of
            }
        }
    };
}

macro_rules! float {
    ($type:ty, $arrow:ty, $bound:path) => {
        impl Number for $type {
            const BYTES: usize = size_of::<$type>();
            const IS_INTEGER: bool = false;

            fn bits(self) -> u64 {
                u64::from(self.to_bits())
            }

            fn difference(self, before: Self) -> i64 {
                self.bits().wrapping_sub(before.bits()) as i64
            }

            fn range(values: &[Self], _: bool) -> Option<(Self, Self)> {
                let first = *values.iter().find(|value| !value.is_nan())?;
                // Comparisons with NaN are false.
                Some(values.iter().fold((first, first), |(min, max), value| {
                    (if *value < min { *value } else { min }, if *value > max { *value } else { max })
                }))
            }

            plain!();

            fn lower(self) -> Bound {
                $bound(if self == 0.0 { -0.0 } else { self })
            }

            fn upper(self) -> Bound {
                $bound(if self == 0.0 { 0.0 } else { self })
            }

            fn of<'a>(
                array: &'a dyn Array,
                start: usize,
                rows: usize,
                _: &'a mut Vec<Self>,
            ) -> Option<&'a [Self]> {
                native::<$arrow>(array, start, rows)
            }
        }
    };
}

integer!(i32, u32, Bound::Int32, array, start, rows, scratch => match array.data_type() {
    DataType::Int32 => native::<Int32Type>(array, start, rows),
    DataType::Date32 => native::<Date32Type>(array, start, rows),
    DataType::Time32(TimeUnit::Millisecond) => native::<Time32MillisecondType>(array, start, rows),
    DataType::Int8 => converted(native::<Int8Type>(array, start, rows)?, scratch, i32::from),
    DataType::Int16 => converted(native::<Int16Type>(array, start, rows)?, scratch, i32::from),
    DataType::UInt8 => converted(native::<UInt8Type>(array, start, rows)?, scratch, i32::from),
    DataType::UInt16 => converted(native::<UInt16Type>(array, start, rows)?, scratch, i32::from),
    // The same bits.
    DataType::UInt32 => converted(native::<UInt32Type>(array, start, rows)?, scratch, |value| value as i32),
    // With nine digits or fewer, it fits.
    DataType::Decimal128(..) => {
        converted(native::<Decimal128Type>(array, start, rows)?, scratch, |value| value as i32)
    }
    _ => None,
});

integer!(i64, u64, Bound::Int64, array, start, rows, scratch => match array.data_type() {
    DataType::Int64 => native::<Int64Type>(array, start, rows),
    DataType::Time64(TimeUnit::Microsecond) => native::<Time64MicrosecondType>(array, start, rows),
    DataType::Time64(TimeUnit::Nanosecond) => native::<Time64NanosecondType>(array, start, rows),
    DataType::Timestamp(TimeUnit::Millisecond, _) => native::<TimestampMillisecondType>(array, start, rows),
    DataType::Timestamp(TimeUnit::Microsecond, _) => native::<TimestampMicrosecondType>(array, start, rows),
    DataType::Timestamp(TimeUnit::Nanosecond, _) => native::<TimestampNanosecondType>(array, start, rows),
    // The same bits.
    DataType::UInt64 => converted(native::<UInt64Type>(array, start, rows)?, scratch, |value| value as i64),
    // With eighteen digits or fewer, it fits.
    DataType::Decimal128(..) => {
        converted(native::<Decimal128Type>(array, start, rows)?, scratch, |value| value as i64)
    }
    _ => None,
});

float!(f32, Float32Type, Bound::Float);
float!(f64, Float64Type, Bound::Double);

/// The values in an array's own memory.
pub(crate) fn native<A: ArrowPrimitiveType>(
    array: &dyn Array,
    start: usize,
    rows: usize,
) -> Option<&[A::Native]> {
    array.as_primitive_opt::<A>()?.values().get(start..start + rows)
}

fn converted<'a, A: Copy, T>(
    values: &[A],
    scratch: &'a mut Vec<T>,
    convert: impl Fn(A) -> T,
) -> Option<&'a [T]> {
    scratch.clear();
    scratch.extend(values.iter().map(|value| convert(*value)));
    Some(scratch)
}
