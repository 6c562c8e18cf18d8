//! `range_recv`, `multirange_recv`: ranges of `Struct{lower, upper, lower_inclusive, upper_inclusive,
//! empty}`, and lists of them.
//!
//! ```text
//! range       u8 flags │ lower bound, if any: i32 length, value │ upper bound, if any: i32 length, value
//! multirange  i32 n_ranges │ ranges, each behind its length; none is NULL
//! ```
//!
//! A bound that is NULL is missing. An infinite bound (of a range of dates, for example) is a value like any
//! other.
//!
//! Source: `range_send`, `range_recv` in PostgreSQL's `src/backend/utils/adt/rangetypes.c`, `multirange_recv`
//! in `multirangetypes.c`; the `RANGE_*` flags in `src/include/utils/rangetypes.h`.

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_schema::{DataType, Fields};
use pgarrow_types::RangeType;

use super::list::Lists;
use super::{Bound, Encoder, Values, make_encoder, refuse};
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const NO_LOWER: u8 = 0x08;
const NO_UPPER: u8 = 0x10;

const BOUNDS: [&str; 2] = ["lower", "upper"];
const FLAGS: [&str; 3] = ["lower_inclusive", "upper_inclusive", "empty"];

pub(super) fn make<'a>(
    source: &DataType,
    target: TypeTarget<'a>,
    range: &'a RangeType,
) -> Result<Box<dyn Encoder>, Refusal> {
    match source {
        DataType::Struct(fields) if is_range(fields) => {
            let bound = |name: &str| {
                let (_, field) = fields.find(name).ok_or_else(|| refuse(source, target))?;
                make_encoder(field, target.part(0, &range.subtype)).map_err(|refusal| refusal.inside(name))
            };
            let [lower, upper] = BOUNDS;
            Ok(Box::new(Ranges { bounds: [bound(lower)?, bound(upper)?] }))
        }
        _ => Err(refuse(source, target)),
    }
}

pub(super) fn make_multirange<'a>(
    source: &DataType,
    target: TypeTarget<'a>,
    range: &'a RangeType,
) -> Result<Box<dyn Encoder>, Refusal> {
    let item = Lists::item(source).ok_or_else(|| refuse(source, target))?;
    match make(item.data_type(), target, range) {
        Ok(ranges) => Ok(Box::new(Multiranges(ranges))),
        Err(refusal) => Err(refusal.inside(item.name())),
    }
}

fn is_range(fields: &Fields) -> bool {
    let is_flag = |name| fields.find(name).is_some_and(|(_, field)| *field.data_type() == DataType::Boolean);
    fields.len() == 5
        && BOUNDS.iter().all(|name| fields.find(name).is_some())
        && FLAGS.into_iter().all(is_flag)
}

#[derive(Debug)]
struct Ranges {
    /// Lower and upper.
    bounds: [Box<dyn Encoder>; 2],
}

impl Encoder for Ranges {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let array = array.as_struct_opt().ok_or(ValueError::WrongArray)?;
        let part = |name| array.column_by_name(name).map(AsRef::as_ref).ok_or(ValueError::WrongArray);
        let flag = |name| part(name)?.as_boolean_opt().ok_or(ValueError::WrongArray);
        let [lower, upper] = &self.bounds;
        let [lower_inclusive, upper_inclusive, empty] = FLAGS;
        Ok(Box::new(RangeValues {
            lower: Bound::new(lower.as_ref(), part(BOUNDS[0])?)?,
            upper: Bound::new(upper.as_ref(), part(BOUNDS[1])?)?,
            lower_inclusive: flag(lower_inclusive)?,
            upper_inclusive: flag(upper_inclusive)?,
            empty: flag(empty)?,
        }))
    }
}

#[derive(Debug)]
struct RangeValues<'a> {
    lower: Bound<'a>,
    upper: Bound<'a>,
    lower_inclusive: &'a BooleanArray,
    upper_inclusive: &'a BooleanArray,
    empty: &'a BooleanArray,
}

impl Values for RangeValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let flag = |array: &BooleanArray| match array.is_null(row) {
            true => Err(ValueError::NullPart),
            false => Ok(array.value(row)),
        };
        let (no_lower, no_upper) = (self.lower.is_null(row), self.upper.is_null(row));
        let [lower_inclusive, upper_inclusive] = [flag(self.lower_inclusive)?, flag(self.upper_inclusive)?];
        if flag(self.empty)? {
            if !no_lower || !no_upper {
                return Err(ValueError::Invalid("an empty range with a bound"));
            }
            return write::bytes(out, &[EMPTY]);
        }
        // A missing bound cannot be inclusive: `range_serialize` clears the flag, whatever the user typed.
        let flags = [
            (LOWER_INCLUSIVE, lower_inclusive && !no_lower),
            (UPPER_INCLUSIVE, upper_inclusive && !no_upper),
            (NO_LOWER, no_lower),
            (NO_UPPER, no_upper),
        ];
        let flags = flags.iter().filter(|(_, is_set)| *is_set).fold(0, |flags, (flag, _)| flags | flag);
        write::measured(out, |out| {
            out.push(flags);
            if !no_lower {
                self.lower.write(row, out)?;
            }
            if !no_upper {
                self.upper.write(row, out)?;
            }
            Ok(())
        })
    }
}

#[derive(Debug)]
struct Multiranges(Box<dyn Encoder>);

impl Encoder for Multiranges {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let lists = Lists::new(array)?;
        let ranges = Bound::new(self.0.as_ref(), lists.items)?;
        Ok(Box::new(MultirangeValues { lists, ranges }))
    }
}

#[derive(Debug)]
struct MultirangeValues<'a> {
    lists: Lists<'a>,
    ranges: Bound<'a>,
}

impl Values for MultirangeValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let range = self.lists.range(row)?;
        write::measured(out, |out| {
            let count = i32::try_from(range.len()).map_err(|_| ValueError::TooLarge)?;
            out.extend_from_slice(&count.to_be_bytes());
            match self.ranges.write_all(range, out)? {
                true => Err(ValueError::NullPart),
                false => Ok(()),
            }
        })
    }
}
