//! Access to lists in any of Arrow's layouts.

use std::ops::Range;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, FieldRef};

use crate::error::ValueError;

/// The places of an array's lists in the array of their items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lists<'a> {
    places: Places<'a>,
    /// The items of all lists, and maybe more: a slice of a list array still has the items of the whole.
    pub(super) items: &'a dyn Array,
}

#[derive(Clone, Copy, Debug)]
enum Places<'a> {
    Small(&'a [i32]),
    Large(&'a [i64]),
    Views(&'a [i32], &'a [i32]),
    LargeViews(&'a [i64], &'a [i64]),
    Fixed(usize),
}

impl<'a> Lists<'a> {
    /// The items' field of this list type; `None` if it is no list.
    pub(super) fn item(data_type: &DataType) -> Option<&FieldRef> {
        match data_type {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => Some(item),
            _ => None,
        }
    }

    /// For lists, and for maps, whose items are their entries.
    pub(super) fn new(array: &'a dyn Array) -> Result<Self, ValueError> {
        let wrong = ValueError::WrongArray;
        let (places, items): (_, &dyn Array) = match array.data_type() {
            DataType::List(_) => {
                let array = array.as_list_opt::<i32>().ok_or(wrong)?;
                (Places::Small(array.value_offsets()), array.values().as_ref())
            }
            DataType::LargeList(_) => {
                let array = array.as_list_opt::<i64>().ok_or(wrong)?;
                (Places::Large(array.value_offsets()), array.values().as_ref())
            }
            DataType::ListView(_) => {
                let array = array.as_list_view_opt::<i32>().ok_or(wrong)?;
                (Places::Views(array.value_offsets(), array.value_sizes()), array.values().as_ref())
            }
            DataType::LargeListView(_) => {
                let array = array.as_list_view_opt::<i64>().ok_or(wrong)?;
                (Places::LargeViews(array.value_offsets(), array.value_sizes()), array.values().as_ref())
            }
            DataType::FixedSizeList(_, size) => {
                let array = array.as_fixed_size_list_opt().ok_or(wrong)?;
                (Places::Fixed(usize::try_from(*size).map_err(|_| wrong)?), array.values().as_ref())
            }
            DataType::Map(_, _) => {
                let array = array.as_map_opt().ok_or(wrong)?;
                (Places::Small(array.value_offsets()), array.entries())
            }
            _ => return Err(wrong),
        };
        Ok(Self { places, items })
    }

    /// The items of a row's list.
    #[inline]
    pub(super) fn range(self, row: usize) -> Result<Range<usize>, ValueError> {
        let range = match self.places {
            Places::Small(offsets) => between(offsets, row),
            Places::Large(offsets) => between(offsets, row),
            Places::Views(offsets, sizes) => view(offsets, sizes, row),
            Places::LargeViews(offsets, sizes) => view(offsets, sizes, row),
            Places::Fixed(size) => {
                row.checked_mul(size).and_then(|start| Some(start..start.checked_add(size)?))
            }
        };
        range
            .filter(|range| range.start <= range.end && range.end <= self.items.len())
            .ok_or(ValueError::WrongArray)
    }
}

#[inline]
fn between<O: Copy + TryInto<usize>>(offsets: &[O], row: usize) -> Option<Range<usize>> {
    let (start, end) = (offsets.get(row)?, offsets.get(row.checked_add(1)?)?);
    Some((*start).try_into().ok()?..(*end).try_into().ok()?)
}

#[inline]
fn view<O: Copy + TryInto<usize>>(offsets: &[O], sizes: &[O], row: usize) -> Option<Range<usize>> {
    let start: usize = (*offsets.get(row)?).try_into().ok()?;
    Some(start..start.checked_add((*sizes.get(row)?).try_into().ok()?)?)
}
