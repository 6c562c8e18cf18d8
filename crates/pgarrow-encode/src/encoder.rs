//! The encoder of one type's values, and the one place that chooses it.

mod array;
mod bit;
mod bool;
mod bytes;
mod char;
mod composite;
mod crs;
mod date;
mod date_text;
mod dictionary;
mod each;
mod enumeration;
mod float;
mod geometric;
mod geometry;
mod inet;
mod int;
mod interval;
mod json;
mod json_text;
mod json_value;
mod list;
mod ltree;
mod macaddr;
mod map;
mod money;
mod numeric;
mod range;
mod scaled;
mod seconds;
mod shaped;
mod text;
mod tid;
mod time;
mod timestamp;
mod uuid;
mod vector;

use std::fmt;
use std::ops::Range;

use arrow_array::Array;
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use pgarrow_types::PgType;

use self::int::Int;
use self::vector::Element;
use crate::access::Strings;
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, RefusalKind, ValueError};
use crate::write::NULL;

/// Makes values of one target type from arrays of one Arrow type.
pub trait Encoder: fmt::Debug + Send + Sync {
    /// Prepares the values of an array for writing.
    ///
    /// # Errors
    ///
    /// [`ValueError::WrongArray`] if the array is not of the type that the encoder was made for.
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError>;
}

/// The values of one array, in the form that the receive function of the target's type reads.
pub trait Values: fmt::Debug {
    /// Appends the value of a row that is not NULL: its length as four bytes, then the value.
    ///
    /// # Errors
    ///
    /// The error in the value. The appended bytes are then invalid.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError>;
}

/// The values of one array, with NULLs.
#[derive(Debug)]
pub struct Bound<'a> {
    nulls: Option<NullBuffer>,
    values: Box<dyn Values + 'a>,
}

impl<'a> Bound<'a> {
    /// Binds the encoder to an array.
    ///
    /// # Errors
    ///
    /// As for [`Encoder::bind`].
    pub fn new(encoder: &'a dyn Encoder, array: &'a dyn Array) -> Result<Self, ValueError> {
        // In dictionaries, also values that are NULL behind their key.
        Ok(Self {
            nulls: array.logical_nulls().filter(|nulls| nulls.null_count() > 0),
            values: encoder.bind(array)?,
        })
    }

    /// Whether the row's value is NULL.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the row's value: its length, which is -1 for NULL, and its bytes.
    ///
    /// # Errors
    ///
    /// As for [`Values::write`].
    #[inline]
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        match self.is_null(row) {
            true => out.extend_from_slice(&NULL),
            false => self.values.write(row, out)?,
        }
        Ok(())
    }

    /// Appends the values of these rows, each with its length. Returns whether any is NULL.
    #[inline]
    pub(crate) fn write_all(&self, rows: Range<usize>, out: &mut Vec<u8>) -> Result<bool, ValueError> {
        let Some(nulls) = &self.nulls else {
            for row in rows {
                self.values.write(row, out)?;
            }
            return Ok(false);
        };
        let mut any_null = false;
        for row in rows {
            any_null |= nulls.is_null(row);
            self.write(row, out)?;
        }
        Ok(any_null)
    }
}

/// The encoder that makes values of `target` from arrays of the field's type.
///
/// # Errors
///
/// The reason if there is none, and what would help.
pub fn make_encoder(field: &Field, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    match field.data_type() {
        DataType::Dictionary(_, values) => dictionary::make(values, field, target),
        DataType::RunEndEncoded(_, values) => dictionary::make_run_ends(values.data_type(), field, target),
        DataType::Null => Ok(Box::new(AlwaysNull)),
        source => make_encoder_of_type(field, source, target),
    }
}

/// The encoder for arrays that contain their values directly.
#[deny(clippy::wildcard_enum_match_arm)]
fn make_encoder_of_type(
    field: &Field,
    source: &DataType,
    target: TypeTarget<'_>,
) -> Result<Box<dyn Encoder>, Refusal> {
    match target.pg_type {
        PgType::Bool => bool::make(source, target),
        PgType::Int2 => int::make(source, target, Int::Int2),
        PgType::Int4 => int::make(source, target, Int::Int4),
        PgType::Int8 => int::make(source, target, Int::Int8),
        PgType::Oid => int::make(source, target, Int::Oid),
        PgType::Xid8 => int::make(source, target, Int::Xid8),
        PgType::PgLsn => int::make(source, target, Int::PgLsn),
        PgType::Float4 => float::make_float4(source, target),
        PgType::Float8 => float::make_float8(source, target),
        PgType::Numeric(numeric) => numeric::make(source, target, *numeric),
        PgType::Money { fraction_digits } => money::make(source, target, *fraction_digits),
        PgType::Text | PgType::Bpchar => text::make(source, target),
        PgType::Char => char::make(source, target),
        PgType::Bytea => bytes::make(source, target),
        PgType::Uuid => uuid::make(source, target),
        PgType::Json if json_value::is_nested(source) => json_value::make(source, target, false),
        PgType::Jsonb if json_value::is_nested(source) => json_value::make(source, target, true),
        PgType::Json => json::make_json(source, target),
        PgType::Jsonb => json::make_jsonb(source, target),
        PgType::Date => date::make(source, target),
        PgType::Time => time::make(source, target),
        PgType::Timetz => time::make_timetz(source, target),
        PgType::Timestamp => timestamp::make(source, target, false),
        PgType::Timestamptz => timestamp::make(source, target, true),
        PgType::Interval { has_infinities } => interval::make(source, target, *has_infinities),
        PgType::Bit => bit::make(source, target),
        PgType::Inet => inet::make(source, target),
        PgType::Macaddr => macaddr::make::<6>(source, target),
        PgType::Macaddr8 => macaddr::make::<8>(source, target),
        PgType::Enum(enum_type) => enumeration::make(source, target, enum_type),
        PgType::Tid => tid::make(source, target),
        PgType::Ltree => ltree::make(source, target),
        PgType::Point => geometric::make(source, target, geometric::POINT),
        PgType::Line => geometric::make(source, target, geometric::LINE),
        PgType::Lseg => geometric::make(source, target, geometric::LSEG),
        PgType::Box => geometric::make_box(source, target),
        PgType::Circle => geometric::make(source, target, geometric::CIRCLE),
        PgType::Polygon => geometric::make_polygon(source, target),
        PgType::Path => geometric::make_path(source, target),
        PgType::Hstore => map::make(source, target),
        PgType::Vector { dimensions } => vector::make(source, target, Element::Single, *dimensions),
        PgType::Halfvec { dimensions } => vector::make(source, target, Element::Half, *dimensions),
        PgType::Sparsevec => vector::make_sparse(source, target),
        PgType::Geometry(geometry) => geometry::make(field, target, geometry),
        PgType::Array(array) => array::make(source, target, array),
        PgType::Composite(composite) => composite::make(source, target, composite),
        PgType::Range(range) => range::make(source, target, range),
        PgType::Multirange(range) => range::make_multirange(source, target, range),
        PgType::ServerText { .. } => Err(refuse(source, target)),
    }
}

/// The target has no encoder for this Arrow type. If it is text, the server may still be able to read it.
pub(crate) fn refuse(source: &DataType, target: TypeTarget<'_>) -> Refusal {
    match (Strings::is(source), target.pg_type) {
        (false, _) => mismatch(source),
        (true, PgType::ServerText { .. }) => {
            Refusal::new(RefusalKind::NeedsServer, "only the server reads text of that type")
        }
        (true, _) if target.conversions >= Conversions::Check => {
            Refusal::new(RefusalKind::NeedsServer, format!("only the server reads {source} as that type"))
        }
        (true, _) => Refusal::needs_check(format!("{source} may not be a value of that type")),
    }
}

/// Two unrelated types.
pub(crate) fn mismatch(source: &DataType) -> Refusal {
    Refusal::new(RefusalKind::Mismatch, format!("{source} has no meaning in a column of that type"))
}

/// Arrays without any value.
#[derive(Debug)]
struct AlwaysNull;

impl Encoder for AlwaysNull {
    fn bind<'a>(&'a self, _array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(Self))
    }
}

impl Values for AlwaysNull {
    fn write(&self, _row: usize, _out: &mut Vec<u8>) -> Result<(), ValueError> {
        Err(ValueError::WrongArray)
    }
}
