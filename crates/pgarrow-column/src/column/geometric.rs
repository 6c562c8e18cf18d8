//! Geometric types: doubles, copied bit for bit.
//!
//! ```text
//! point    x │ y
//! line     a │ b │ c
//! lseg     start x │ start y │ end x │ end y
//! box      high x │ high y │ low x │ low y
//! circle   center x │ center y │ radius
//! polygon  i32 n │ n × (x │ y)
//! path     i8 is closed │ i32 n │ n × (x │ y)
//! ```
//!
//! Source: `point_send`, `line_send`, `lseg_send`, `box_send`, `circle_send`, `poly_send` and `path_send` in
//! PostgreSQL's `src/backend/utils/adt/geo_ops.c`. `poly_recv` and `path_recv` require at least one point.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, ListArray, StructArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, FieldRef, Fields};

use crate::column::parts::{Offsets, Parts};
use crate::error::ValueError;
use crate::spare::{capacity_bytes, make_room, make_room_in_all};

/// A type of `N` doubles, which become the leaves of structs in structs.
#[derive(Debug)]
pub(crate) struct Doubles<const N: usize> {
    data_type: DataType,
    parts: [Vec<f64>; N],
}

impl<const N: usize> Doubles<N> {
    /// `data_type` has `N` leaves.
    pub(crate) fn new(data_type: DataType) -> Self {
        Self { data_type, parts: std::array::from_fn(|_| Vec::new()) }
    }
}

impl<const N: usize> Parts for Doubles<N> {
    fn append(&mut self, value: Option<&[u8]>) -> Result<(), ValueError> {
        let doubles = match value {
            None => [0.0; N],
            Some(value) => {
                let (eights, rest) = value.as_chunks::<8>();
                let eights = <&[[u8; 8]; N]>::try_from(eights).ok().filter(|_| rest.is_empty());
                eights
                    .ok_or(ValueError::Width { expected: 8 * N, found: value.len() })?
                    .map(f64::from_be_bytes)
            }
        };
        for (part, double) in self.parts.iter_mut().zip(doubles) {
            make_room(part, 1);
            part.push(double);
        }
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.parts.iter_mut().for_each(|part| part.truncate(rows));
    }

    fn expect_rows(&mut self, rows: usize) {
        self.parts.iter_mut().for_each(|part| make_room_in_all(part, rows));
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| size_of_val(part.as_slice())).sum()
    }

    fn allocated_bytes(&self) -> usize {
        self.parts.iter().map(capacity_bytes).sum()
    }

    fn null_bytes(&self) -> usize {
        8 * N
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let mut leaves = self.parts.iter_mut().map(std::mem::take);
        assemble(&self.data_type, &mut leaves, nulls)
    }
}

/// The array of a struct of structs of doubles, made of its leaves.
fn assemble(
    data_type: &DataType,
    leaves: &mut dyn Iterator<Item = Vec<f64>>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    match data_type {
        DataType::Struct(fields) => {
            let children = fields.iter().map(|field| assemble(field.data_type(), leaves, None)).collect();
            Arc::new(StructArray::new(fields.clone(), children, nulls))
        }
        _ => Arc::new(Float64Array::new(leaves.next().unwrap_or_default().into(), nulls)),
    }
}

/// Lists of points.
#[derive(Debug)]
struct Points {
    item: FieldRef,
    offsets: Offsets,
    xs: Vec<f64>,
    ys: Vec<f64>,
}

impl Points {
    /// `data_type` is a list of structs of two doubles.
    fn new(data_type: &DataType) -> Self {
        let item = match data_type {
            DataType::List(item) => Arc::clone(item),
            _ => Arc::new(arrow_schema::Field::new("item", DataType::Struct(Fields::empty()), false)),
        };
        Self { item, offsets: Offsets::new(), xs: Vec::new(), ys: Vec::new() }
    }

    fn append(&mut self, points: &[u8]) -> Result<(), ValueError> {
        let (n_points, points) =
            points.split_first_chunk::<4>().ok_or(ValueError::Malformed("points without their number"))?;
        let (points, rest) = points.as_chunks::<16>();
        let n_points = usize::try_from(i32::from_be_bytes(*n_points)).ok().filter(|n| *n > 0);
        if n_points.ok_or(ValueError::Malformed("a polygon or path without points"))? != points.len()
            || !rest.is_empty()
        {
            return Err(ValueError::Malformed("another number of points than it says"));
        }
        make_room(&mut self.xs, points.len());
        make_room(&mut self.ys, points.len());
        for point in points {
            let [x, y] = *point.as_chunks::<8>().0 else { continue };
            self.xs.push(f64::from_be_bytes(x));
            self.ys.push(f64::from_be_bytes(y));
        }
        self.offsets.push(self.xs.len())
    }

    fn append_null(&mut self) -> Result<(), ValueError> {
        self.offsets.push(self.xs.len())
    }

    fn truncate(&mut self, rows: usize) {
        let n_points = self.offsets.truncate(rows);
        self.xs.truncate(n_points);
        self.ys.truncate(n_points);
    }

    fn expect_rows(&mut self, rows: usize) {
        let n_points = self.offsets.expect_rows(self.xs.len(), rows);
        make_room_in_all(&mut self.xs, n_points);
        make_room_in_all(&mut self.ys, n_points);
    }

    fn bytes(&self) -> usize {
        self.offsets.bytes() + self.xs.len() * 16
    }

    fn allocated_bytes(&self) -> usize {
        self.offsets.allocated_bytes() + capacity_bytes(&self.xs) + capacity_bytes(&self.ys)
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let mut leaves = [&mut self.xs, &mut self.ys].into_iter().map(std::mem::take);
        let points = assemble(self.item.data_type(), &mut leaves, None);
        Arc::new(ListArray::new(Arc::clone(&self.item), self.offsets.finish(), points, nulls))
    }
}

/// To `List<Struct{x, y}>`.
#[derive(Debug)]
pub(crate) struct Polygon(Points);

impl Polygon {
    pub(crate) fn new(data_type: &DataType) -> Self {
        Self(Points::new(data_type))
    }
}

impl Parts for Polygon {
    fn append(&mut self, value: Option<&[u8]>) -> Result<(), ValueError> {
        match value {
            None => self.0.append_null(),
            Some(value) => self.0.append(value),
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.0.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        self.0.expect_rows(rows);
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn allocated_bytes(&self) -> usize {
        self.0.allocated_bytes()
    }

    fn null_bytes(&self) -> usize {
        size_of::<i32>()
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        self.0.finish(nulls)
    }
}

/// To `Struct{closed, points}`.
#[derive(Debug)]
pub(crate) struct Path {
    fields: Fields,
    is_closed: Vec<bool>,
    points: Points,
}

impl Path {
    pub(crate) fn new(data_type: &DataType) -> Self {
        let fields = match data_type {
            DataType::Struct(fields) => fields.clone(),
            _ => Fields::empty(),
        };
        let points = Points::new(fields.last().map_or(&DataType::Null, |points| points.data_type()));
        Self { fields, is_closed: Vec::new(), points }
    }
}

impl Parts for Path {
    fn append(&mut self, value: Option<&[u8]>) -> Result<(), ValueError> {
        let is_closed = match value.map(<[u8]>::split_first) {
            None => {
                self.points.append_null()?;
                false
            }
            Some(Some((is_closed @ (0 | 1), points))) => {
                self.points.append(points)?;
                *is_closed == 1
            }
            Some(_) => return Err(ValueError::Malformed("a path that is neither open nor closed")),
        };
        make_room(&mut self.is_closed, 1);
        self.is_closed.push(is_closed);
        Ok(())
    }

    fn truncate(&mut self, rows: usize) {
        self.is_closed.truncate(rows);
        self.points.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        make_room_in_all(&mut self.is_closed, rows);
        self.points.expect_rows(rows);
    }

    fn bytes(&self) -> usize {
        self.is_closed.len().div_ceil(8) + self.points.bytes()
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.is_closed) + self.points.allocated_bytes()
    }

    fn null_bytes(&self) -> usize {
        1 + size_of::<i32>()
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let is_closed = BooleanBuffer::from(std::mem::take(&mut self.is_closed));
        let children = vec![Arc::new(BooleanArray::new(is_closed, None)), self.points.finish(None)];
        Arc::new(StructArray::new(self.fields.clone(), children, nulls))
    }
}
