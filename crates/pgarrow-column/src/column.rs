//! The decoder of one column, and the one place that chooses it.

mod array;
mod bit;
mod bool;
mod bpchar;
mod bytes;
mod char;
mod composite;
mod date;
mod decimal;
mod decimal_wide;
mod elements;
mod enumeration;
mod fixed;
mod float64;
mod geometric;
mod geometry;
mod inet;
mod int;
mod interval;
mod interval_text;
mod list;
mod macaddr;
mod map;
mod numeric;
mod parts;
mod policy;
mod primitive;
mod range;
mod shaped;
mod text_form;
mod tid;
mod time;
mod timestamp;
mod unscaled;
mod uuid;
mod vector;

use std::fmt;

use arrow_array::ArrayRef;
use arrow_array::types::{TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType};
use arrow_schema::DataType;
use pgarrow_types::{
    ArrayForm, ArrayType, Attribute, DecimalForm, EncodingPolicy, EnumForm, IntervalForm, PgType, RangeType,
    TimestampUnit, TypeOptions,
};

use crate::chunk::Chunk;
use crate::column::policy::Policies;
use crate::column::primitive::PrimitiveColumn;
use crate::effect::Effects;
use crate::error::{RowError, ValueError};
use crate::spare::BufferReuse;
use crate::stored::StoredChunk;
use crate::strings::Output;

/// Decodes one column's values into the batch under construction.
///
/// A column never looks at another column. A column with nested values owns their columns.
pub trait Column: fmt::Debug + Send {
    /// Decodes this column's value of every row of the chunk and moves every cursor behind it.
    ///
    /// # Errors
    ///
    /// A row of the chunk whose value cannot be decoded, usually the first of them; or, with
    /// [`ValueError::ChunkFull`], the row that used up the room. The rows and cursors of the chunk are then
    /// unspecified: [`truncate`](Self::truncate) to the rows before the chunk.
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError>;

    /// Decodes the values of these rows from their stored form. A column that knows only the form that COPY
    /// sends returns false and does nothing.
    ///
    /// # Errors
    ///
    /// As for [`decode`](Self::decode).
    fn decode_stored(&mut self, chunk: &StoredChunk<'_>) -> Result<bool, RowError> {
        let _ = chunk;
        Ok(false)
    }

    /// Forgets all rows behind the first `rows`.
    fn truncate(&mut self, rows: usize);

    /// Makes room for a batch of probably `rows` rows, judging by the present rows.
    ///
    /// A hint. Growth step by step copies, and uses fresh memory, several times.
    fn expect_rows(&mut self, rows: usize) {
        let _ = rows;
    }

    /// Bytes of Arrow data in the batch so far.
    fn bytes(&self) -> usize;

    /// Bytes allocated for the batch so far and for later rows: at least [`bytes`](Self::bytes).
    fn allocated_bytes(&self) -> usize {
        self.bytes()
    }

    /// Bytes of the values of the first `rows` rows of the batch, for types whose values can be much larger
    /// in Arrow than on the wire; 0 for all others.
    fn expanded_bytes(&self, rows: usize) -> usize {
        let _ = rows;
        0
    }

    /// Bytes of Arrow data that one more NULL takes: those of an offset, if the type has offsets.
    fn null_bytes(&self) -> usize {
        size_of::<i32>()
    }

    /// Adds what policies did to values of the batches that were handed out since the last call.
    fn take_effects(&mut self, effects: &mut Effects) {
        let _ = effects;
    }

    /// Takes back an array that this column has handed out, to build the next batch in its buffers.
    ///
    /// Buffers that are still in use elsewhere stay untouched, and so does an array of another type.
    fn recycle(&mut self, array: ArrayRef) {
        drop(array);
    }

    /// How often batches were built in buffers that came back by [`recycle`](Self::recycle). Zero for columns
    /// that do not reuse buffers.
    fn reuse(&self) -> BufferReuse {
        BufferReuse::default()
    }

    /// Room for the next `length` bytes of the next row's value. The caller receives the wire bytes straight
    /// into it.
    ///
    /// `None`: values of this type must be decoded, so the value must be whole in a chunk. The caller fills
    /// all of the room, asks for more of it as the value arrives, and then calls
    /// [`end_large`](Self::end_large); [`truncate`](Self::truncate) drops the value. This allocates no more
    /// than the room, apart from the bytes that [`expect_large`](Self::expect_large) reserved.
    ///
    /// # Errors
    ///
    /// [`ValueError::BatchTooLarge`](crate::ValueError::BatchTooLarge) if the batch has no more room for it.
    fn begin_large(&mut self, length: usize) -> Result<Option<&mut [u8]>, ValueError> {
        let _ = length;
        Ok(None)
    }

    /// Reserves room for `length` more bytes of the current large value, so that the value is not copied when
    /// it grows. Nothing is written to this memory yet.
    fn expect_large(&mut self, length: usize) {
        let _ = length;
    }

    /// Makes a row of the value that [`begin_large`](Self::begin_large) made room for.
    ///
    /// # Errors
    ///
    /// The error in the value.
    fn end_large(&mut self) -> Result<(), ValueError> {
        Err(ValueError::Malformed("no large value was begun"))
    }

    /// Hands out the batch's array and starts the next.
    ///
    /// # Errors
    ///
    /// The first row of the batch that fails a check made once per batch: UTF-8.
    fn finish(&mut self) -> Result<ArrayRef, RowError>;
}

/// The column for a type, with room for `rows` rows at first.
///
/// Its arrays have the type of [`PgType::data_type`].
#[deny(clippy::wildcard_enum_match_arm)]
pub fn make_column(pg_type: &PgType, options: &TypeOptions, rows: usize) -> Box<dyn Column> {
    let data_type = pg_type.data_type(options);
    let policies = Policies::from(options);
    let (text, stored_text) = (Output::text(options), Output::stored_text(options));
    match pg_type {
        PgType::Bool => Box::new(bool::BoolColumn::new(rows)),
        PgType::Int2 => fixed_column(int::Int2, data_type, rows),
        PgType::Int4 => fixed_column(int::Int4, data_type, rows),
        PgType::Int8 => fixed_column(int::Int8, data_type, rows),
        PgType::Oid => fixed_column(int::Unsigned4, data_type, rows),
        PgType::Xid8 | PgType::PgLsn => fixed_column(int::Unsigned8, data_type, rows),
        PgType::Float4 => fixed_column(int::Float4, data_type, rows),
        PgType::Float8 => fixed_column(int::Float8, data_type, rows),
        PgType::Money { .. } => fixed_column(int::Money, data_type, rows),
        PgType::Date => fixed_column(date::Date(policies), data_type, rows),
        PgType::Time => fixed_column(time::Time, data_type, rows),
        PgType::Timestamp | PgType::Timestamptz => match options.timestamp_unit {
            TimestampUnit::Microsecond => timestamps::<TimestampMicrosecondType>(policies, data_type, rows),
            TimestampUnit::Millisecond => timestamps::<TimestampMillisecondType>(policies, data_type, rows),
            TimestampUnit::Nanosecond => timestamps::<TimestampNanosecondType>(policies, data_type, rows),
        },
        PgType::Interval { has_infinities } => {
            let wire = interval::IntervalWire { has_infinities: *has_infinities };
            match options.interval {
                IntervalForm::Struct => {
                    Box::new(interval::IntervalStructColumn::new(wire, data_type, policies))
                }
                IntervalForm::MonthDayNano => {
                    fixed_column(interval::MonthDayNano { wire, policies }, data_type, rows)
                }
                IntervalForm::Text => {
                    Box::new(text_form::TextFormColumn::new(interval_text::IntervalText(wire), text))
                }
            }
        }
        PgType::Timetz => Box::new(time::TimetzColumn::new(data_type)),
        PgType::Uuid => Box::new(uuid::UuidColumn::new(rows)),
        PgType::Numeric(numeric) => match numeric.form(options.numeric) {
            DecimalForm::Decimal128 { precision, scale } => Box::new(PrimitiveColumn::new(
                decimal::Decimal128::new(precision, scale, policies),
                data_type,
                rows,
            )),
            DecimalForm::Decimal256 { precision, scale } => Box::new(PrimitiveColumn::new(
                decimal::Decimal256::new(precision, scale, policies),
                data_type,
                0,
            )),
            DecimalForm::Float64 => {
                Box::new(PrimitiveColumn::new(float64::Float64::new(policies), data_type, rows))
            }
            DecimalForm::Text => Box::new(text_form::TextFormColumn::new(numeric::NumericText, text)),
        },
        PgType::Bpchar if options.trim => {
            Box::new(text_form::TextFormColumn::new(bpchar::Trimmed, stored_text))
        }
        PgType::Text | PgType::Bpchar | PgType::Json | PgType::ServerText { .. } => {
            Box::new(bytes::BytesColumn::new(bytes::Plain, stored_text))
        }
        PgType::Jsonb => Box::new(bytes::BytesColumn::new(bytes::Versioned, stored_text)),
        PgType::Ltree => Box::new(bytes::BytesColumn::new(bytes::Versioned, text)),
        PgType::Bytea => Box::new(bytes::BytesColumn::new(bytes::Plain, Output::bytes(options))),
        PgType::Char => Box::new(text_form::TextFormColumn::new(char::Char, text)),
        PgType::Bit => Box::new(text_form::TextFormColumn::new(bit::Bit, text)),
        PgType::Inet => Box::new(text_form::TextFormColumn::new(inet::Inet, text)),
        PgType::Macaddr => Box::new(text_form::TextFormColumn::new(macaddr::Macaddr::<6>, text)),
        PgType::Macaddr8 => Box::new(text_form::TextFormColumn::new(macaddr::Macaddr::<8>, text)),
        PgType::Enum(labels) => match options.enums {
            EnumForm::Dictionary => Box::new(enumeration::EnumColumn::new(labels)),
            EnumForm::Text => Box::new(bytes::BytesColumn::new(bytes::Plain, text)),
        },
        PgType::Array(array) => array_column(array, data_type, options),
        PgType::Composite(composite) => {
            let attributes = composite.attributes.iter();
            let attribute =
                |attribute: &Attribute| (attribute.type_oid, make_column(&attribute.pg_type, options, rows));
            Box::new(composite::CompositeColumn::new(data_type, attributes.map(attribute).collect()))
        }
        PgType::Range(range) => range_column(range, options, rows),
        PgType::Multirange(range) => {
            let ranges = range_column(range, options, 0);
            Box::new(list::ListColumn::new(list::ListForm::Multirange, &data_type, 1, ranges))
        }
        PgType::Hstore => {
            // Two keys with replaced bytes could become one.
            let encoding = match options.encoding {
                EncodingPolicy::Replace | EncodingPolicy::Latin1 => EncodingPolicy::Error,
                kept @ (EncodingPolicy::Error | EncodingPolicy::Binary) => kept,
            };
            let keys = make_column(&PgType::Text, &TypeOptions { encoding, ..*options }, 0);
            Box::new(map::MapColumn::new(data_type, keys, make_column(&PgType::Text, options, 0)))
        }
        PgType::Tid => Box::new(parts::PartsColumn::new(tid::Tid::new(data_type))),
        PgType::Point => Box::new(parts::PartsColumn::new(geometric::Doubles::<2>::new(data_type))),
        PgType::Line | PgType::Circle => {
            Box::new(parts::PartsColumn::new(geometric::Doubles::<3>::new(data_type)))
        }
        PgType::Lseg | PgType::Box => {
            Box::new(parts::PartsColumn::new(geometric::Doubles::<4>::new(data_type)))
        }
        PgType::Path => Box::new(parts::PartsColumn::new(geometric::Path::new(&data_type))),
        PgType::Polygon => Box::new(parts::PartsColumn::new(geometric::Polygon::new(&data_type))),
        PgType::Vector { dimensions } => vector::column::<vector::Single>(&data_type, *dimensions),
        PgType::Halfvec { dimensions } => vector::column::<vector::Half>(&data_type, *dimensions),
        PgType::Sparsevec => Box::new(parts::PartsColumn::new(vector::Sparse::new(data_type))),
        PgType::Geometry(geometry) => {
            let geometry = geometry::Geometry::new(geometry, options.geometry);
            Box::new(text_form::TextFormColumn::new(geometry, Output::bytes(options)))
        }
    }
}

fn fixed_column<T: fixed::FixedWidth>(decoder: T, data_type: DataType, rows: usize) -> Box<dyn Column> {
    Box::new(PrimitiveColumn::new(fixed::Fixed::new(decoder), data_type, rows))
}

fn timestamps<U: timestamp::Unit>(policies: Policies, data_type: DataType, rows: usize) -> Box<dyn Column> {
    fixed_column(timestamp::Timestamp::<U>::new(policies), data_type, rows)
}

fn array_column(array: &ArrayType, data_type: DataType, options: &TypeOptions) -> Box<dyn Column> {
    let elements = make_column(&array.element, options, 0);
    let element_oid = array.element_oid;
    let form = list::ListForm::Array { element_oid, counts_lower_bounds: !array.is_vector };
    match array.form(options) {
        ArrayForm::List => Box::new(list::ListColumn::new(form, &data_type, 1, elements)),
        ArrayForm::Nested => Box::new(list::ListColumn::new(form, &data_type, array.depth(), elements)),
        ArrayForm::Shaped => Box::new(shaped::ShapedColumn::new(element_oid, data_type, elements)),
    }
}

fn range_column(range: &RangeType, options: &TypeOptions, rows: usize) -> Box<dyn Column> {
    let bound = || make_column(&range.subtype, options, rows);
    Box::new(range::RangeColumn::new(DataType::Struct(range.fields(options)), bound(), bound()))
}

#[cfg(test)]
mod tests;
