//! What values are made for.

use arrow_schema::Field;
use pgarrow_types::{DeclaredType, PgType};

use crate::encoder::{Encoder, make_encoder};
use crate::error::Refusal;

/// A column of the table that is loaded.
#[derive(Clone, Debug)]
pub struct EncodeTarget {
    /// Its name.
    pub name: String,
    /// How its receive function takes values; domains resolved.
    pub pg_type: PgType,
    /// The modifiers of the type and of its parts.
    pub declared: DeclaredType,
    /// The type as `format_type` prints it.
    pub type_name: String,
}

/// A type of the target, of a column or inside of one.
#[derive(Clone, Copy, Debug)]
pub struct TypeTarget<'a> {
    /// How its receive function takes values.
    pub pg_type: &'a PgType,
    /// Its modifiers.
    pub declared: &'a DeclaredType,
    /// Which conversions may be made.
    pub conversions: Conversions,
}

/// How far an Arrow type may be from the target's.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Conversions {
    /// Only where every value of the Arrow type is one of the target's.
    #[default]
    Widen,
    /// Also where some are not: each value is looked at, and one that is not is an error. So is text for dates, times and
    /// floats.
    Check,
    /// And digits that the target does not have are rounded away, as PostgreSQL's own casts do it. What is out of
    /// range is still an error.
    Round,
}

impl EncodeTarget {
    /// Its type. Of a field that says of itself to be of just this type, values are looked at, whatever Arrow type they
    /// have: they were it once.
    pub fn type_target(&self, field: &Field, conversions: Conversions) -> TypeTarget<'_> {
        let is_same = field.metadata().get("pg.type").is_some_and(|name| *name == self.type_name);
        let conversions = if is_same { conversions.max(Conversions::Check) } else { conversions };
        TypeTarget { pg_type: &self.pg_type, declared: &self.declared, conversions }
    }
}

impl EncodeTarget {
    /// The encoder that makes values of the column from arrays of the field's type.
    ///
    /// # Errors
    ///
    /// Why there is none, and what would help.
    pub fn encoder(&self, field: &Field, conversions: Conversions) -> Result<Box<dyn Encoder>, Refusal> {
        make_encoder(field, self.type_target(field, conversions))
    }
}

impl<'a> TypeTarget<'a> {
    /// A part of it: an array's element, an attribute, a bound.
    pub fn part(self, index: usize, pg_type: &'a PgType) -> Self {
        Self { pg_type, declared: self.declared.part(index), ..self }
    }
}
