//! Types that consist of other types.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields};

use super::PgType;
use crate::choices::{ArrayForm, TypeOptions};

/// The greatest depth of types inside types: composites in arrays in ranges, and so on.
pub const DEPTH_MAX: usize = 64;

/// `array_send`: an array type and its elements.
#[derive(Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct ArrayType {
    /// How elements arrive and what they become.
    pub element: PgType,
    /// `pg_type.typelem`, which is in every value; for elements of a domain, the domain's OID.
    pub element_oid: u32,
    /// `attndims` or `typndims`: the declared dimensions, which PostgreSQL does not enforce, or the user's
    /// number. 0 if neither is known.
    pub dimensions: u8,
    /// `int2vector` and `oidvector`: one dimension, counted from 0. Always a list.
    pub is_vector: bool,
}

/// `record_send`: a composite type's attributes, or a table's columns without dropped ones.
#[derive(Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct CompositeType {
    /// In their order.
    pub attributes: Vec<Attribute>,
}

/// An attribute of a composite type.
#[derive(Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// How its values arrive and what they become.
    pub pg_type: PgType,
    /// `atttypid`, which precedes every value; for a domain, the domain's OID.
    pub type_oid: u32,
    /// The type as `format_type` prints it.
    pub type_name: String,
}

/// `range_send`, `multirange_send`: a range type and its bounds.
#[derive(Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct RangeType {
    /// How bounds arrive and what they become.
    pub subtype: PgType,
}

impl ArrayType {
    /// The number of nested lists in the nested form; at least 1.
    pub fn depth(&self) -> u8 {
        if self.is_vector { 1 } else { self.dimensions.max(1) }
    }

    /// The form of its values.
    pub fn form(&self, options: &TypeOptions) -> ArrayForm {
        if self.is_vector { ArrayForm::List } else { options.arrays }
    }

    /// The Arrow type.
    pub fn data_type(&self, options: &TypeOptions) -> DataType {
        let item = Arc::new(self.element.item_field("item", true, options));
        match self.form(options) {
            ArrayForm::List => DataType::List(item),
            ArrayForm::Nested => {
                let of_lists = |list, _| DataType::List(Arc::new(Field::new("item", list, true)));
                (1..self.depth()).fold(DataType::List(item), of_lists)
            }
            ArrayForm::Shaped => DataType::Struct(shaped_fields(item)),
        }
    }
}

/// The values of all dimensions, in row-major order, and their shape.
fn shaped_fields(item: FieldRef) -> Fields {
    let numbers = || DataType::List(Arc::new(Field::new("item", DataType::Int32, false)));
    Fields::from(vec![
        Field::new("values", DataType::List(item), false),
        Field::new("dimensions", numbers(), false),
        Field::new("lower_bounds", numbers(), false),
    ])
}

impl CompositeType {
    /// The fields of the Arrow struct: all nullable, since a composite type has no constraints.
    pub fn fields(&self, options: &TypeOptions) -> Fields {
        let field = |attribute: &Attribute| {
            let mut field = attribute.pg_type.item_field(&attribute.name, true, options);
            let type_name = ("pg.type".to_owned(), attribute.type_name.clone());
            let metadata = field.metadata().clone().into_iter().chain([type_name]).collect();
            field.set_metadata(metadata);
            field
        };
        self.attributes.iter().map(field).collect()
    }
}

impl RangeType {
    /// The fields of the Arrow struct. A missing bound is NULL.
    pub fn fields(&self, options: &TypeOptions) -> Fields {
        Fields::from(vec![
            self.subtype.item_field("lower", true, options),
            self.subtype.item_field("upper", true, options),
            Field::new("lower_inclusive", DataType::Boolean, false),
            Field::new("upper_inclusive", DataType::Boolean, false),
            Field::new("empty", DataType::Boolean, false),
        ])
    }
}

/// `Map<string, string nullable>`.
pub(crate) fn hstore_type(options: &TypeOptions) -> DataType {
    let entries = Fields::from(vec![
        Field::new("keys", PgType::Text.data_type(options), false),
        Field::new("values", PgType::Text.data_type(options), true),
    ]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

fn floats(names: &[&str]) -> Fields {
    names.iter().map(|name| Field::new(*name, DataType::Float64, false)).collect()
}

/// `Struct{x, y}`.
pub(crate) fn point_type() -> DataType {
    DataType::Struct(floats(&["x", "y"]))
}

/// `Ax + By + C = 0`.
pub(crate) fn line_type() -> DataType {
    DataType::Struct(floats(&["a", "b", "c"]))
}

/// Two points.
pub(crate) fn points_type(names: [&str; 2]) -> DataType {
    DataType::Struct(names.iter().map(|name| Field::new(*name, point_type(), false)).collect())
}

pub(crate) fn circle_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("center", point_type(), false),
        Field::new("radius", DataType::Float64, false),
    ]))
}

pub(crate) fn polygon_type() -> DataType {
    DataType::List(Arc::new(Field::new("item", point_type(), false)))
}

pub(crate) fn path_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("closed", DataType::Boolean, false),
        Field::new("points", polygon_type(), false),
    ]))
}

pub(crate) fn tid_type() -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("block", DataType::UInt32, false),
        Field::new("offset", DataType::UInt16, false),
    ]))
}

/// A vector of pgvector, of a fixed size if the column declares one.
pub(crate) fn vector_type(element: DataType, dimensions: Option<u16>) -> DataType {
    let item = Arc::new(Field::new("item", element, false));
    match dimensions {
        Some(dimensions) => DataType::FixedSizeList(item, dimensions.into()),
        None => DataType::List(item),
    }
}

pub(crate) fn sparsevec_type() -> DataType {
    let list = |element| DataType::List(Arc::new(Field::new("item", element, false)));
    DataType::Struct(Fields::from(vec![
        Field::new("dimensions", DataType::Int32, false),
        Field::new("indices", list(DataType::Int32), false),
        Field::new("values", list(DataType::Float32), false),
    ]))
}
