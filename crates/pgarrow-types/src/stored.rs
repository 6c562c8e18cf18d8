//! The form of values in the pages of a heap, as far as it is stable and known.
//!
//! Source: `attlen`, `attalign` in `pg_attribute`; `heap_deform_tuple` in
//! `src/backend/access/common/heaptuple.c`; `src/include/varatt.h`; each type's own header.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The labels of an enum by `pg_enum.oid`: a heap has the OIDs.
pub type EnumLabels = Arc<BTreeMap<u32, String>>;

/// The attributes of a heap, and those that the run reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeapLayout {
    /// All of `pg_attribute` with `attnum > 0`, in that order, dropped ones included.
    pub attributes: Vec<StoredAttribute>,
    /// For each column of the result, its place in `attributes`, from 0.
    pub columns: Vec<usize>,
}

/// An attribute of a heap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredAttribute {
    /// `attlen`: bytes; -1 for values with a length of their own (varlena). -2 (C strings) is never stored.
    pub length: i16,
    /// `attalign` in bytes: 1, 2, 4 or 8.
    pub align: u8,
    /// The form of its values. `None` for an attribute that is not read, or was dropped.
    pub form: Option<StoredForm>,
    /// The value in tuples that are older than the attribute (`attmissingval`), as COPY sends it, without its
    /// length; `None` is NULL.
    pub missing: Option<Vec<u8>>,
}

/// The form of a stored value; for varlena, of the bytes behind the header. Integers are little-endian.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoredForm {
    /// The same bytes that COPY sends: text, varchar, bpchar, json, bytea; with fixed width bool, "char",
    /// uuid, macaddr.
    Bytes {
        /// `typlen`.
        length: i16,
        /// `typalign` in bytes.
        align: u8,
    },
    /// One integer or floating-point number of 2, 4 or 8 bytes, or a type that is stored as one: date, time,
    /// timestamp, money …
    Number {
        /// Its bytes, which are also its alignment.
        width: u8,
    },
    /// `NameData`: 64 bytes, up to the first NUL.
    Name,
    /// `TimeTzADT`: i64 microseconds, i32 seconds west of UTC.
    Timetz,
    /// `Interval`: i64 microseconds, i32 days, i32 months.
    Interval,
    /// `NumericData`, in its short or long form, or one of the special values.
    Numeric,
    /// `JsonbContainer`. COPY sends its text behind a version byte.
    Jsonb,
    /// `inet_struct`: family, bits, address.
    Inet {
        /// `cidr`: COPY sends that, too.
        is_cidr: bool,
    },
    /// `VarBit`: i32 bits, then bytes.
    Bits,
    /// The OID of a label.
    Enum(EnumLabels),
    /// `ItemPointerData`: block in two halves of 16 bits, the higher first; offset.
    Tid,
    /// Some doubles: point (2), line and circle (3), lseg and box (4).
    Doubles {
        /// How many.
        count: u8,
    },
    /// `PATH`: i32 points, i32 closed, 4 unused bytes, points.
    Path,
    /// `POLYGON`: i32 points, a box, points.
    Polygon,
    /// `ArrayType`: i32 dimensions, i32 offset of the values (0: no NULL bitmap), OID of elements, lengths,
    /// lower bounds, bitmap, values.
    Array {
        /// How elements are kept.
        element: Box<StoredForm>,
        /// `typelem`, which is in the value.
        element_oid: u32,
    },
}

impl StoredForm {
    /// `typlen` and `typalign` in bytes; the catalog must have the same.
    pub fn length_and_align(&self) -> (i16, u8) {
        match self {
            Self::Bytes { length, align } => (*length, *align),
            Self::Number { width } => (i16::from(*width), *width),
            Self::Name => (64, 1),
            Self::Timetz => (12, 8),
            Self::Interval => (16, 8),
            Self::Numeric | Self::Jsonb | Self::Inet { .. } | Self::Bits => (-1, 4),
            Self::Enum(_) => (4, 4),
            Self::Tid => (6, 2),
            Self::Doubles { count } => (8 * i16::from(*count), 8),
            Self::Path | Self::Polygon => (-1, 8),
            Self::Array { element, .. } => (-1, element.length_and_align().1.max(4)),
        }
    }
}
