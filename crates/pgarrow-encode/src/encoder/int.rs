//! `int2recv`, `int4recv`, `int8recv`, `oidrecv` and its kin, `xid8recv`, `pg_lsn_recv`: big-endian integers.
//!
//! Source: `int.c`, `int8.c`, `oid.c`, `xid.c`, `pg_lsn.c` in PostgreSQL's `src/backend/utils/adt/`.

use arrow_array::downcast_integer;
use arrow_array::types::{Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type};
use arrow_schema::DataType;

use super::each::fixed;
use super::{Encoder, refuse};
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, ValueError};

/// An integer type of the target.
#[derive(Clone, Copy, Debug)]
pub(super) enum Int {
    Int2,
    Int4,
    Int8,
    /// Four bytes without a sign.
    Oid,
    /// Eight bytes without a sign.
    Xid8,
    /// As [`Xid8`](Self::Xid8).
    PgLsn,
}

impl Int {
    fn name(self) -> &'static str {
        match self {
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Oid => "an oid",
            Self::Xid8 => "xid8",
            Self::PgLsn => "pg_lsn",
        }
    }

    /// The number of bits, and whether one of them is a sign.
    fn bits(self) -> (u8, bool) {
        match self {
            Self::Int2 => (16, true),
            Self::Int4 => (32, true),
            Self::Int8 => (64, true),
            Self::Oid => (32, false),
            Self::Xid8 | Self::PgLsn => (64, false),
        }
    }

    /// Whether every value of the source fits.
    fn holds(self, source: &DataType) -> bool {
        let (bits, is_signed) = self.bits();
        let (source_bits, source_is_signed) = match source {
            DataType::Int8 => (8, true),
            DataType::Int16 => (16, true),
            DataType::Int32 => (32, true),
            DataType::Int64 => (64, true),
            DataType::UInt8 => (8, false),
            DataType::UInt16 => (16, false),
            DataType::UInt32 => (32, false),
            DataType::UInt64 => (64, false),
            _ => return false,
        };
        match (source_is_signed, is_signed) {
            (false, true) => source_bits < bits,
            (true, false) => false,
            _ => source_bits <= bits,
        }
    }
}

/// Converts an integer of at most 128 bits with [`TryFrom`]; an integer of 256 bits if its value is that
/// small.
macro_rules! from_integer {
    ($arrow:ty, $source:ident, $target:ty) => {
        fixed::<$arrow, { size_of::<$target>() }>($source, |value| {
            <$target>::try_from(value).map(<$target>::to_be_bytes).map_err(|_| ValueError::OutOfRange)
        })
    };
}

macro_rules! make_from {
    ($source:ident, $target:ty) => {
        match $source {
            DataType::Decimal32(_, _) => from_integer!(Decimal32Type, $source, $target),
            DataType::Decimal64(_, _) => from_integer!(Decimal64Type, $source, $target),
            DataType::Decimal128(_, _) => from_integer!(Decimal128Type, $source, $target),
            DataType::Decimal256(_, _) => {
                fixed::<Decimal256Type, { size_of::<$target>() }>($source, |value| {
                    let value = value.to_i128().ok_or(ValueError::OutOfRange)?;
                    <$target>::try_from(value).map(<$target>::to_be_bytes).map_err(|_| ValueError::OutOfRange)
                })
            }
            _ => downcast_integer! {
                $source => (from_integer, $source, $target),
                _ => return Err(super::mismatch($source)),
            },
        }
    };
}

pub(super) fn make(source: &DataType, target: TypeTarget<'_>, int: Int) -> Result<Box<dyn Encoder>, Refusal> {
    match source {
        DataType::Decimal32(_, 0)
        | DataType::Decimal64(_, 0)
        | DataType::Decimal128(_, 0)
        | DataType::Decimal256(_, 0) => {}
        _ if source.is_integer() => {}
        _ => return Err(refuse(source, target)),
    }
    if target.conversions < Conversions::Check && !int.holds(source) {
        return Err(Refusal::needs_check(format!("{source} may not fit into {}", int.name())));
    }
    Ok(match int {
        Int::Int2 => make_from!(source, i16),
        Int::Int4 => make_from!(source, i32),
        Int::Int8 => make_from!(source, i64),
        Int::Oid => make_from!(source, u32),
        Int::Xid8 | Int::PgLsn => make_from!(source, u64),
    })
}
