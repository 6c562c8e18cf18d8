//! One row per type: the facts of a PostgreSQL type that hold for every choice.
//!
//! ```text
//!  PgType ──descriptor()──▶ its row: built-in types, whether bytes are portable, stored form, choices
//!         ├─ structure()             the types inside it
//!         ├─ data_type(), extension(), may_become_null(), notes()     functions of the type and the choices
//!         └─ make_column, make_encoder                                how its values are read and written
//! ```
//!
//! All of these match [`PgType`] without a wildcard: if a new type is forgotten, the code does not compile.
//! The Parquet form of an Arrow type is not here: it is the same for all types with that Arrow type.
//! `describe.rs` of `pgarrow-sink-parquet`, which knows no PostgreSQL, has it.

use crate::choices::{IntervalForm, NumericForm, TimestampUnit, TypeOptions};
use crate::numeric::DecimalForm;
use crate::oid;
use crate::pg_type::{PgType, Structure};
use crate::stored::{EnumLabels, StoredForm};

/// The facts of a type: its row.
#[derive(Debug)]
pub struct TypeDescriptor {
    /// The built-in types whose values are sent in this form. Types of extensions and users are not among
    /// them.
    pub built_in: &'static [BuiltIn],
    /// The form of its values in the pages of a heap.
    pub stored: Stored,
    /// The choices that decide about values that could stop an export or change.
    pub choices: &'static [Choice],
}

/// A built-in type. Its OIDs are the same on every server.
///
/// Source: `src/include/catalog/pg_type.dat`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BuiltIn {
    /// `pg_type.typname`.
    pub name: &'static str,
    /// `pg_type.oid`.
    pub oid: u32,
    /// `pg_type.typarray`; 0 if there are no arrays of it.
    pub array_oid: u32,
    /// On every server, its receive function reads the bytes of its send function in the same way. The same
    /// holds for its array.
    ///
    /// False for `money` (its digits are the locale's), `xml` (the declaration of an encoding counts), `reg…`
    /// (they name objects), `interval` (infinite values are numbers to servers before 17), `int2vector` and
    /// `oidvector` (their receive functions refuse empty values, which they send), `unknown` (no column has
    /// it).
    ///
    /// Source: the types' receive functions in `src/backend/utils/adt`.
    pub is_portable: bool,
}

/// The form of a type's values in the pages of a heap, as far as the type decides it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stored {
    /// The form is not known, or such values are not decoded.
    Unknown,
    /// Always in this form.
    As(StoredForm),
    /// As text, or as a name.
    TextOrName,
    /// With the family, which `cidr` sends differently.
    Inet,
    /// As the OID of an enum's label.
    Label,
    /// As an array of the stored form of its elements.
    Elements,
}

/// A choice of [`TypeOptions`] that decides what happens to values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choice {
    /// [`TypeOptions::infinity`].
    Infinity,
    /// [`TypeOptions::nan`].
    Nan,
    /// [`TypeOptions::out_of_range`].
    OutOfRange,
    /// [`TypeOptions::lost_digits`].
    LostDigits,
    /// [`TypeOptions::numeric`].
    Numeric,
    /// [`TypeOptions::interval`].
    Interval,
    /// [`TypeOptions::arrays`].
    Arrays,
    /// [`TypeOptions::enums`].
    Enums,
    /// [`TypeOptions::trim`].
    Trim,
    /// [`TypeOptions::timestamp_unit`].
    TimestampUnit,
    /// [`TypeOptions::geometry`].
    Geometry,
    /// [`TypeOptions::encoding`].
    Encoding,
}

/// The rows: a match without a wildcard, and the same as a list.
macro_rules! one_row_per_type {
    ($($pattern:pat => $row:expr,)*) => {
        impl PgType {
            /// The facts of the type that hold for every choice.
            pub fn descriptor(&self) -> &'static TypeDescriptor {
                match self {
                    $($pattern => {
                        static ROW: TypeDescriptor = $row;
                        &ROW
                    })*
                }
            }
        }

        static ROWS: &[TypeDescriptor] = &[$($row,)*];
    };
}

one_row_per_type! {
    PgType::Bool => row(&[portable("bool", oid::BOOL, 1000)], bytes(1, 1), &[]),
    PgType::Int2 => row(&[portable("int2", oid::INT2, 1005)], number(2), &[]),
    PgType::Int4 => row(&[portable("int4", oid::INT4, 1007)], number(4), &[]),
    PgType::Int8 => row(&[portable("int8", oid::INT8, 1016)], number(8), &[]),
    PgType::Oid => row(
        &[
            portable("oid", oid::OID, 1028),
            portable("xid", oid::XID, 1011),
            portable("cid", oid::CID, 1012),
            bound("regproc", oid::REGPROC, 1008),
            bound("regprocedure", oid::REGPROCEDURE, 2207),
            bound("regoper", oid::REGOPER, 2208),
            bound("regoperator", oid::REGOPERATOR, 2209),
            bound("regclass", oid::REGCLASS, 2210),
            bound("regtype", oid::REGTYPE, 2211),
            bound("regconfig", oid::REGCONFIG, 3735),
            bound("regdictionary", oid::REGDICTIONARY, 3770),
            bound("regnamespace", oid::REGNAMESPACE, 4090),
            bound("regrole", oid::REGROLE, 4097),
            bound("regcollation", oid::REGCOLLATION, 4192),
        ],
        number(4),
        &[],
    ),
    PgType::Xid8 => row(&[portable("xid8", oid::XID8, 271)], number(8), &[]),
    PgType::PgLsn => row(&[portable("pg_lsn", oid::PG_LSN, 3221)], number(8), &[]),
    PgType::Float4 => row(&[portable("float4", oid::FLOAT4, 1021)], number(4), &[]),
    PgType::Float8 => row(&[portable("float8", oid::FLOAT8, 1022)], number(8), &[]),
    PgType::Numeric(_) => row(
        &[portable("numeric", oid::NUMERIC, 1231)],
        Stored::As(StoredForm::Numeric),
        &[Choice::Nan, Choice::OutOfRange, Choice::LostDigits, Choice::Numeric],
    ),
    PgType::Money { .. } => row(&[bound("money", oid::MONEY, 791)], number(8), &[]),
    PgType::Text => row(
        &[
            portable("text", oid::TEXT, 1009),
            portable("varchar", oid::VARCHAR, 1015),
            portable("name", oid::NAME, 1003),
            bound("unknown", oid::UNKNOWN, 0),
        ],
        Stored::TextOrName,
        &[Choice::Encoding],
    ),
    PgType::Bpchar => row(
        &[portable("bpchar", oid::BPCHAR, 1014)],
        bytes(-1, 4),
        &[Choice::Encoding, Choice::Trim],
    ),
    PgType::Char => row(&[portable("char", oid::CHAR, 1002)], bytes(1, 1), &[]),
    PgType::Bytea => row(&[portable("bytea", oid::BYTEA, 1001)], bytes(-1, 4), &[]),
    PgType::Uuid => row(&[portable("uuid", oid::UUID, 2951)], bytes(16, 1), &[]),
    PgType::Json => row(&[portable("json", oid::JSON, 199)], bytes(-1, 4), &[Choice::Encoding]),
    PgType::Jsonb => row(
        &[portable("jsonb", oid::JSONB, 3807)],
        Stored::As(StoredForm::Jsonb),
        &[Choice::Encoding],
    ),
    PgType::Date => row(&[portable("date", oid::DATE, 1182)], number(4), &[Choice::Infinity]),
    PgType::Time => row(&[portable("time", oid::TIME, 1183)], number(8), &[]),
    PgType::Timetz => row(&[portable("timetz", oid::TIMETZ, 1270)], Stored::As(StoredForm::Timetz), &[]),
    PgType::Timestamp => row(&[portable("timestamp", oid::TIMESTAMP, 1115)], number(8), OF_TIMESTAMPS),
    PgType::Timestamptz => row(&[portable("timestamptz", oid::TIMESTAMPTZ, 1185)], number(8), OF_TIMESTAMPS),
    PgType::Interval { .. } => row(
        &[bound("interval", oid::INTERVAL, 1187)],
        Stored::As(StoredForm::Interval),
        &[Choice::Infinity, Choice::OutOfRange, Choice::Interval],
    ),
    PgType::Bit => row(
        &[portable("bit", oid::BIT, 1561), portable("varbit", oid::VARBIT, 1563)],
        Stored::As(StoredForm::Bits),
        &[],
    ),
    PgType::Inet => row(
        &[portable("inet", oid::INET, 1041), portable("cidr", oid::CIDR, 651)],
        Stored::Inet,
        &[],
    ),
    PgType::Macaddr => row(&[portable("macaddr", oid::MACADDR, 1040)], bytes(6, 4), &[]),
    PgType::Macaddr8 => row(&[portable("macaddr8", oid::MACADDR8, 775)], bytes(8, 4), &[]),
    PgType::Enum(_) => row(&[], Stored::Label, &[Choice::Enums]),
    PgType::Tid => row(&[portable("tid", oid::TID, 1010)], Stored::As(StoredForm::Tid), &[]),
    PgType::Point => row(&[portable("point", oid::POINT, 1017)], doubles(2), &[]),
    PgType::Line => row(&[portable("line", oid::LINE, 629)], doubles(3), &[]),
    PgType::Lseg => row(&[portable("lseg", oid::LSEG, 1018)], doubles(4), &[]),
    PgType::Box => row(&[portable("box", oid::BOX, 1020)], doubles(4), &[]),
    PgType::Path => row(&[portable("path", oid::PATH, 1019)], Stored::As(StoredForm::Path), &[]),
    PgType::Polygon => row(&[portable("polygon", oid::POLYGON, 1027)], Stored::As(StoredForm::Polygon), &[]),
    PgType::Circle => row(&[portable("circle", oid::CIRCLE, 719)], doubles(3), &[]),
    PgType::Hstore => row(&[], Stored::Unknown, &[Choice::Encoding]),
    PgType::Ltree => row(&[], Stored::Unknown, &[]),
    PgType::Vector { .. } => row(&[], Stored::Unknown, &[]),
    PgType::Halfvec { .. } => row(&[], Stored::Unknown, &[]),
    PgType::Sparsevec => row(&[], Stored::Unknown, &[]),
    PgType::Geometry(_) => row(&[], Stored::Unknown, &[Choice::Geometry]),
    // The arrays of other types are in the rows of their elements.
    PgType::Array(_) => row(
        &[bound("int2vector", oid::INT2VECTOR, 1006), bound("oidvector", oid::OIDVECTOR, 1013)],
        Stored::Elements,
        &[Choice::Arrays],
    ),
    PgType::Composite(_) => row(&[], Stored::Unknown, &[]),
    PgType::Range(_) => row(
        &[
            portable("int4range", 3904, 3905),
            portable("numrange", 3906, 3907),
            portable("tsrange", 3908, 3909),
            portable("tstzrange", 3910, 3911),
            portable("daterange", 3912, 3913),
            portable("int8range", 3926, 3927),
        ],
        Stored::Unknown,
        &[],
    ),
    PgType::Multirange(_) => row(
        &[
            portable("int4multirange", 4451, 6150),
            portable("nummultirange", 4532, 6151),
            portable("tsmultirange", 4533, 6152),
            portable("tstzmultirange", 4534, 6153),
            portable("datemultirange", 4535, 6155),
            portable("int8multirange", 4536, 6157),
        ],
        Stored::Unknown,
        &[],
    ),
    // Types with more known facts than a text form.
    PgType::ServerText { .. } => row(
        &[
            bound("xml", oid::XML, 143),
            portable("tsvector", 3614, 3643),
            portable("jsonpath", 4072, 4073),
            portable("pg_snapshot", 5038, 5039),
        ],
        Stored::Unknown,
        &[Choice::Encoding],
    ),
}

const OF_TIMESTAMPS: &[Choice] =
    &[Choice::Infinity, Choice::OutOfRange, Choice::LostDigits, Choice::TimestampUnit];

const fn row(built_in: &'static [BuiltIn], stored: Stored, choices: &'static [Choice]) -> TypeDescriptor {
    TypeDescriptor { built_in, stored, choices }
}

const fn portable(name: &'static str, oid: u32, array_oid: u32) -> BuiltIn {
    BuiltIn { name, oid, array_oid, is_portable: true }
}

/// A type whose bytes have a meaning on their own server only.
const fn bound(name: &'static str, oid: u32, array_oid: u32) -> BuiltIn {
    BuiltIn { name, oid, array_oid, is_portable: false }
}

const fn bytes(length: i16, align: u8) -> Stored {
    Stored::As(StoredForm::Bytes { length, align })
}

const fn number(width: u8) -> Stored {
    Stored::As(StoredForm::Number { width })
}

const fn doubles(count: u8) -> Stored {
    Stored::As(StoredForm::Doubles { count })
}

/// All known built-in types, each once.
pub fn built_in_types() -> impl Iterator<Item = &'static BuiltIn> {
    ROWS.iter().flat_map(|row| row.built_in)
}

impl PgType {
    /// Whether a choice may decide about values of the type, depending on the other choices. Types inside it
    /// do not count.
    pub fn is_decided_by(&self, choice: Choice) -> bool {
        self.descriptor().choices.contains(&choice)
    }

    /// Whether a choice has an effect on values of the type, given the other choices. Types inside it do not
    /// count.
    pub fn heeds(&self, choice: Choice, options: &TypeOptions) -> bool {
        self.is_decided_by(choice) && !self.is_settled(choice, options)
    }

    /// Whether the type, or the form chosen for it, leaves the choice nothing to decide.
    fn is_settled(&self, choice: Choice, options: &TypeOptions) -> bool {
        if let Self::Array(array) = self {
            return array.is_vector;
        }
        if let Self::Numeric(numeric) = self {
            let form = numeric.form(options.numeric);
            let is_decimal = matches!(form, DecimalForm::Decimal128 { .. } | DecimalForm::Decimal256 { .. })
                || options.numeric == NumericForm::Scan;
            return match choice {
                Choice::Nan | Choice::LostDigits => !is_decimal,
                Choice::OutOfRange => !is_decimal && form != DecimalForm::Float64,
                Choice::Infinity
                | Choice::Numeric
                | Choice::Interval
                | Choice::Arrays
                | Choice::Enums
                | Choice::Trim
                | Choice::TimestampUnit
                | Choice::Geometry
                | Choice::Encoding => false,
            };
        }
        match (choice, self.is_decided_by(Choice::Interval)) {
            (Choice::Infinity, true) => options.interval == IntervalForm::Text,
            (Choice::OutOfRange, true) => options.interval != IntervalForm::MonthDayNano,
            // The remaining types are timestamps.
            (Choice::LostDigits, false) => options.timestamp_unit != TimestampUnit::Millisecond,
            _ => false,
        }
    }

    /// Whether it is text as the server stores it, in any encoding: the subject of
    /// [`EncodingPolicy`](crate::EncodingPolicy).
    pub fn is_stored_text(&self) -> bool {
        self.is_decided_by(Choice::Encoding)
    }
}

impl StoredForm {
    /// The stored form of a type's values; `None` if it is not known or not decoded.
    ///
    /// `base_oid` is the type's OID, or that of a domain's base type; for an array, that of the base type of
    /// its elements. `labels` returns the labels of an enum by the type's OID.
    pub fn of(pg_type: &PgType, base_oid: u32, labels: &dyn Fn(u32) -> Option<EnumLabels>) -> Option<Self> {
        match &pg_type.descriptor().stored {
            Stored::Unknown => None,
            Stored::As(form) => Some(form.clone()),
            Stored::TextOrName if base_oid == oid::NAME => Some(Self::Name),
            Stored::TextOrName => Some(Self::Bytes { length: -1, align: 4 }),
            Stored::Inet => Some(Self::Inet { is_cidr: base_oid == oid::CIDR }),
            Stored::Label => Some(Self::Enum(labels(base_oid)?)),
            Stored::Elements => {
                let Structure::Array(array) = pg_type.structure() else { return None };
                let element = Self::of(&array.element, base_oid, labels)?;
                let is_array = matches!(element, Self::Array { .. });
                (!is_array)
                    .then(|| Self::Array { element: Box::new(element), element_oid: array.element_oid })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pg_type::ServerTypes;

    #[test]
    fn a_built_in_type_stands_in_the_row_that_it_is_read_by() {
        for BuiltIn { name, oid, .. } in built_in_types() {
            if let Some(pg_type) = PgType::from_builtin_oid(*oid, -1, ServerTypes::default()) {
                assert!(pg_type.descriptor().built_in.iter().any(|built_in| built_in.oid == *oid), "{name}");
            }
        }
        // Every type that is known without a query to the catalog has a row, and so have all its OIDs.
        for oid in 0..10_000 {
            if let Some(pg_type) = PgType::from_builtin_oid(oid, -1, ServerTypes::default()) {
                assert!(built_in_types().any(|built_in| built_in.oid == oid), "{pg_type:?} {oid}");
            }
        }
    }

    #[test]
    fn no_type_stands_in_two_rows() {
        let oids: Vec<u32> =
            built_in_types().flat_map(|of| [of.oid, of.array_oid]).filter(|oid| *oid != 0).collect();
        assert_eq!(oids.iter().collect::<BTreeSet<_>>().len(), oids.len());
        assert_eq!(built_in_types().filter(|of| of.is_portable).count(), 55);
    }
}
