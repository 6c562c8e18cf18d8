//! The types that values are encoded for.

use arrow_schema::Field;
use pgarrow_types::{DeclaredType, PgType};

use crate::encoder::{Encoder, make_encoder};
use crate::error::Refusal;

/// A column of the target table.
#[derive(Clone, Debug)]
pub struct EncodeTarget {
    /// Its name.
    pub name: String,
    /// The form that its receive function reads; domains resolved.
    pub pg_type: PgType,
    /// The modifiers of the type and of its parts.
    pub declared: DeclaredType,
    /// The type as `format_type` prints it.
    pub type_name: String,
}

/// A type of the target: of a column, or inside one.
#[derive(Clone, Copy, Debug)]
pub struct TypeTarget<'a> {
    /// The form that its receive function reads.
    pub pg_type: &'a PgType,
    /// Its modifiers.
    pub declared: &'a DeclaredType,
    /// The allowed conversions.
    pub conversions: Conversions,
}

/// How far an Arrow type may differ from the target's.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Conversions {
    /// Only types of which every value fits the target.
    #[default]
    Widen,
    /// Also types of which some values do not fit: each value is checked, and one that does not fit is an
    /// error. The same holds for text that becomes dates, times and floats.
    Check,
    /// As `Check`, and digits that the target does not have are rounded away, as in PostgreSQL's own casts. A
    /// value out of range is still an error.
    Round,
}

impl EncodeTarget {
    /// Its type. If the field's metadata names exactly this type, values are checked whatever Arrow type they
    /// have: they had this type once.
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
    /// The reason if there is none, and what would help.
    pub fn encoder(&self, field: &Field, conversions: Conversions) -> Result<Box<dyn Encoder>, Refusal> {
        make_encoder(field, self.type_target(field, conversions))
    }
}

impl<'a> TypeTarget<'a> {
    /// A part of the type: an array's element, an attribute, a bound.
    pub fn part(self, index: usize, pg_type: &'a PgType) -> Self {
        Self { pg_type, declared: self.declared.part(index), ..self }
    }
}
