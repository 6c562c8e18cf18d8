//! Integers, OIDs, floating point and money: big-endian on the wire, otherwise unchanged.
//!
//! Source: `int2send`, `int4send`, `int8send` (`int.c`, `int8.c`), `oidsend` (`oid.c`), `xid8send`
//! (`xid.c`), `pg_lsn_send` (`pg_lsn.c`), `float4send`, `float8send` (`float.c`), `cash_send`
//! (`cash.c`) in PostgreSQL's `src/backend/utils/adt/`.

use arrow_array::types::{
    Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, UInt32Type, UInt64Type,
};

use crate::column::fixed::FixedWidth;
use crate::error::ValueError;

macro_rules! as_it_is {
    ($($(#[$doc:meta])* $name:ident: $native:ty => $arrow:ty),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name;

        impl FixedWidth for $name {
            type Wire = [u8; size_of::<$native>()];
            type Arrow = $arrow;

            #[inline(always)]
            fn decode(self, wire: Self::Wire) -> Result<$native, ValueError> {
                Ok(<$native>::from_be_bytes(wire))
            }
        }
    )*};
}

as_it_is! {
    Int2: i16 => Int16Type,
    Int4: i32 => Int32Type,
    Int8: i64 => Int64Type,
    /// oid, xid, cid, reg*: 2^31 and above stay positive.
    Unsigned4: u32 => UInt32Type,
    /// xid8, pg_lsn.
    Unsigned8: u64 => UInt64Type,
    /// Every bit is kept: -0.0, infinities, NaN with its payload.
    Float4: f32 => Float32Type,
    Float8: f64 => Float64Type,
}

/// money: an i64 of the smallest unit; the scale is in the column's type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Money;

impl FixedWidth for Money {
    type Wire = [u8; 8];
    type Arrow = Decimal128Type;

    #[inline(always)]
    fn decode(self, wire: [u8; 8]) -> Result<i128, ValueError> {
        Ok(i128::from(i64::from_be_bytes(wire)))
    }
}
