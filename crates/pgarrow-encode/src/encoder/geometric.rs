//! `point_recv` and its kin: doubles without lengths, from structs of floats and lists of points.
//!
//! ```text
//! point    x │ y
//! line     a │ b │ c
//! lseg     start x │ start y │ end x │ end y
//! box      high x │ high y │ low x │ low y
//! circle   center x │ center y │ radius
//! polygon  i32 n │ n × (x │ y)
//! path     u8 is closed │ i32 n │ n × (x │ y)
//! ```
//!
//! The doubles are copied bit for bit. The server refuses invalid lines. It silently reorders a box's
//! corners, so a box whose first corner is not the upper right one is refused here.
//!
//! Source: the `*_recv` functions in PostgreSQL's `src/backend/utils/adt/geo_ops.c`.

use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, BooleanArray, Float64Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Fields};

use super::list::Lists;
use super::{Encoder, Values, refuse};
use crate::access::{primitive, required};
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

/// The path of a double in a struct, by field names.
type Leaf = &'static [&'static str];

pub(super) const POINT: &[Leaf] = &[&["x"], &["y"]];
pub(super) const LINE: &[Leaf] = &[&["a"], &["b"], &["c"]];
pub(super) const LSEG: &[Leaf] = &[&["start", "x"], &["start", "y"], &["end", "x"], &["end", "y"]];
const BOX: &[Leaf] = &[&["high", "x"], &["high", "y"], &["low", "x"], &["low", "y"]];
pub(super) const CIRCLE: &[Leaf] = &[&["center", "x"], &["center", "y"], &["radius"]];

/// For a type that consists of these doubles.
pub(super) fn make(
    source: &DataType,
    target: TypeTarget<'_>,
    leaves: &'static [Leaf],
) -> Result<Box<dyn Encoder>, Refusal> {
    match has_leaves(source, leaves) {
        true => Ok(Box::new(Doubles { leaves, look: |_| Ok(()) })),
        false => Err(refuse(source, target)),
    }
}

/// For a box, whose corners must be in order.
pub(super) fn make_box(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match has_leaves(source, BOX) {
        true => Ok(Box::new(Doubles { leaves: BOX, look: corners_are_in_order })),
        false => Err(refuse(source, target)),
    }
}

/// Whether `box_recv` leaves high x, high y, low x and low y in place. NaN is greater than any other float.
fn corners_are_in_order(wire: &[u8]) -> Result<(), ValueError> {
    let (doubles, _) = wire.as_chunks::<8>();
    let [high_x, high_y, low_x, low_y] = doubles else { return Err(ValueError::WrongArray) };
    let is_below = |low: &[u8; 8], high: &[u8; 8]| {
        let (low, high) = (f64::from_be_bytes(*low), f64::from_be_bytes(*high));
        low <= high || high.is_nan()
    };
    match is_below(low_x, high_x) && is_below(low_y, high_y) {
        true => Ok(()),
        false => Err(ValueError::Invalid("a box whose first corner is not the upper right one")),
    }
}

/// For a list of points.
pub(super) fn make_polygon(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match is_points(source) {
        true => Ok(Box::new(Polygons)),
        false => Err(refuse(source, target)),
    }
}

/// For `Struct{closed, points}`.
pub(super) fn make_path(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let is_path = |fields: &Fields| {
        let part = |name| fields.find(name).map(|(_, field)| field.data_type());
        fields.len() == 2 && part(CLOSED) == Some(&DataType::Boolean) && part(POINTS).is_some_and(is_points)
    };
    match source {
        DataType::Struct(fields) if is_path(fields) => Ok(Box::new(Paths)),
        _ => Err(refuse(source, target)),
    }
}

const CLOSED: &str = "closed";
const POINTS: &str = "points";

fn is_points(data_type: &DataType) -> bool {
    Lists::item(data_type).is_some_and(|item| has_leaves(item.data_type(), POINT))
}

/// Whether it is a struct of exactly these doubles.
fn has_leaves(data_type: &DataType, leaves: &[Leaf]) -> bool {
    fn n_doubles(data_type: &DataType) -> Option<usize> {
        match data_type {
            DataType::Float64 => Some(1),
            // No geometric type has more fields at one level.
            DataType::Struct(fields) if fields.len() <= 4 => {
                fields.iter().map(|field| n_doubles(field.data_type())).sum()
            }
            _ => None,
        }
    }
    let find = |path: Leaf| {
        path.iter().try_fold(data_type, |data_type, name| match data_type {
            DataType::Struct(fields) => fields.find(name).map(|(_, field)| field.data_type()),
            _ => None,
        })
    };
    n_doubles(data_type) == Some(leaves.len())
        && leaves.iter().all(|path| find(path) == Some(&DataType::Float64))
}

/// The doubles of a struct, each with the nulls of the structs around it.
struct Columns<'a>(Vec<(Vec<NullBuffer>, &'a Float64Array)>);

impl<'a> Columns<'a> {
    fn new(array: &'a dyn Array, leaves: &[Leaf]) -> Result<Self, ValueError> {
        let column = |path: &Leaf| {
            let (mut nulls, mut array) = (Vec::new(), array);
            for (depth, name) in path.iter().enumerate() {
                // The caller already knows that the outermost value is not NULL.
                nulls.extend(array.nulls().filter(|_| depth > 0).cloned());
                let of = array.as_struct_opt().ok_or(ValueError::WrongArray)?;
                array = of.column_by_name(name).ok_or(ValueError::WrongArray)?.as_ref();
            }
            Ok((nulls, primitive::<Float64Type>(array)?))
        };
        leaves.iter().map(column).collect::<Result<_, _>>().map(Self)
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        for (nulls, column) in &self.0 {
            if nulls.iter().any(|nulls| nulls.is_null(row)) {
                return Err(ValueError::NullPart);
            }
            out.extend_from_slice(&required(column, row)?.to_bits().to_be_bytes());
        }
        Ok(())
    }
}

impl fmt::Debug for Columns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Columns").field(&self.0.len()).finish()
    }
}

/// Checks that the server leaves the written doubles unchanged.
type Look = fn(&[u8]) -> Result<(), ValueError>;

#[derive(Debug)]
struct Doubles {
    leaves: &'static [Leaf],
    look: Look,
}

impl Encoder for Doubles {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(DoubleValues { columns: Columns::new(array, self.leaves)?, look: self.look }))
    }
}

#[derive(Debug)]
struct DoubleValues<'a> {
    columns: Columns<'a>,
    look: Look,
}

impl Values for DoubleValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let start = out.len().saturating_add(4);
        write::measured(out, |out| self.columns.write(row, out))?;
        (self.look)(out.get(start..).unwrap_or_default())
    }
}

/// Points in lists.
#[derive(Debug)]
struct Points<'a> {
    lists: Lists<'a>,
    points: Columns<'a>,
}

impl<'a> Points<'a> {
    fn new(array: &'a dyn Array) -> Result<Self, ValueError> {
        let lists = Lists::new(array)?;
        Ok(Self { points: Columns::new(lists.items, POINT)?, lists })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let range = self.lists.range(row)?;
        if range.is_empty() {
            return Err(ValueError::Invalid("a polygon or path without points"));
        }
        let count = i32::try_from(range.len()).map_err(|_| ValueError::TooLarge)?;
        out.extend_from_slice(&count.to_be_bytes());
        for point in range {
            if self.lists.items.is_null(point) {
                return Err(ValueError::NullPart);
            }
            self.points.write(point, out)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Polygons;

impl Encoder for Polygons {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(PolygonValues(Points::new(array)?)))
    }
}

#[derive(Debug)]
struct PolygonValues<'a>(Points<'a>);

impl Values for PolygonValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        write::measured(out, |out| self.0.write(row, out))
    }
}

#[derive(Debug)]
struct Paths;

impl Encoder for Paths {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let array = array.as_struct_opt().ok_or(ValueError::WrongArray)?;
        let part = |name| array.column_by_name(name).map(AsRef::as_ref).ok_or(ValueError::WrongArray);
        let closed = part(CLOSED)?.as_boolean_opt().ok_or(ValueError::WrongArray)?;
        let lists: &dyn Array = part(POINTS)?;
        Ok(Box::new(PathValues { closed, nulls: lists.nulls().cloned(), points: Points::new(lists)? }))
    }
}

#[derive(Debug)]
struct PathValues<'a> {
    closed: &'a BooleanArray,
    /// The nulls of the lists of points.
    nulls: Option<NullBuffer>,
    points: Points<'a>,
}

impl Values for PathValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        if self.closed.is_null(row) || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Err(ValueError::NullPart);
        }
        write::measured(out, |out| {
            out.push(u8::from(self.closed.value(row)));
            self.points.write(row, out)
        })
    }
}
