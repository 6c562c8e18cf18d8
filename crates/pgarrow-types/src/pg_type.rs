//! How a column's values arrive on the wire, and the Arrow type they become.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};

use crate::numeric::NumericType;
use crate::oid;

/// A PostgreSQL type as pgarrow reads it: domains resolved to their base, type modifiers parsed.
///
/// Each variant names the `typsend` function whose output it stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PgType {
    /// `boolsend`.
    Bool,
    /// `int2send`.
    Int2,
    /// `int4send`.
    Int4,
    /// `int8send`.
    Int8,
    /// `oidsend` and its kin: oid, xid, cid and the reg* types, 32 bits without a sign.
    Oid,
    /// `xid8send`: 64 bits without a sign.
    Xid8,
    /// `pg_lsn_send`: 64 bits without a sign.
    PgLsn,
    /// `float4send`.
    Float4,
    /// `float8send`.
    Float8,
    /// `numeric_send`.
    Numeric(NumericType),
    /// `cash_send`: an integer count of the smallest unit of the server's `lc_monetary`.
    Money {
        /// Digits after the point in that locale.
        fraction_digits: u8,
    },
    /// `textsend`, `varcharsend`, `bpcharsend`, `namesend`, `unknownsend`, `citextsend`.
    Text,
    /// `charsend`: the one-byte `"char"`.
    Char,
    /// `byteasend`.
    Bytea,
    /// `uuid_send`.
    Uuid,
    /// `json_send`: the text as it was stored.
    Json,
    /// `jsonb_send`: a version byte, then text.
    Jsonb,
    /// `date_send`.
    Date,
    /// `time_send`.
    Time,
    /// `timetz_send`.
    Timetz,
    /// `timestamp_send`.
    Timestamp,
    /// `timestamptz_send`.
    Timestamptz,
    /// `interval_send`.
    Interval,
    /// `bit_send`, `varbit_send`.
    Bit,
    /// `inet_send`, `cidr_send`.
    Inet,
    /// `macaddr_send`.
    Macaddr,
    /// `macaddr8_send`.
    Macaddr8,
    /// `enum_send`: the label.
    Enum(Arc<EnumType>),
    /// The server's text form: the SELECT list casts the column to `text`.
    ServerText {
        /// Whether a warning should say so. Not for xml, whose text form *is* its value.
        warn: bool,
    },
}

/// An enum type's labels, in the order in which they sort, read when the run was planned.
#[derive(Debug, Eq, PartialEq)]
pub struct EnumType {
    /// `pg_enum.enumlabel` by `enumsortorder`.
    pub labels: Vec<String>,
}

/// Choices of a run about how types are mapped. The default suits Arrow in memory and Arrow IPC.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct TypeOptions {
    /// What an interval becomes.
    pub interval: IntervalForm,
}

/// What `interval` becomes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum IntervalForm {
    /// `Interval(MonthDayNano)`. A time part beyond ±292 years is out of range.
    #[default]
    MonthDayNano,
    /// `Struct{months: Int32, days: Int32, microseconds: Int64}`: PostgreSQL's own three parts.
    /// For Parquet, whose interval has milliseconds.
    Struct,
}

impl PgType {
    /// The built-in scalar type of this OID that is decoded from its binary form; `None` for any
    /// other, which the catalog has to be asked about. Money needs to know the server's locale.
    pub fn from_builtin_oid(type_oid: u32, type_modifier: i32, money_fraction_digits: u8) -> Option<Self> {
        Some(match type_oid {
            oid::BOOL => Self::Bool,
            oid::INT2 => Self::Int2,
            oid::INT4 => Self::Int4,
            oid::INT8 => Self::Int8,
            oid::OID
            | oid::XID
            | oid::CID
            | oid::REGPROC
            | oid::REGPROCEDURE
            | oid::REGOPER
            | oid::REGOPERATOR
            | oid::REGCLASS
            | oid::REGTYPE
            | oid::REGCONFIG
            | oid::REGDICTIONARY
            | oid::REGNAMESPACE
            | oid::REGROLE
            | oid::REGCOLLATION => Self::Oid,
            oid::XID8 => Self::Xid8,
            oid::PG_LSN => Self::PgLsn,
            oid::FLOAT4 => Self::Float4,
            oid::FLOAT8 => Self::Float8,
            oid::NUMERIC => Self::Numeric(NumericType::from_type_modifier(type_modifier)),
            oid::MONEY => Self::Money { fraction_digits: money_fraction_digits },
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN => Self::Text,
            oid::CHAR => Self::Char,
            oid::BYTEA => Self::Bytea,
            oid::UUID => Self::Uuid,
            oid::JSON => Self::Json,
            oid::JSONB => Self::Jsonb,
            oid::DATE => Self::Date,
            oid::TIME => Self::Time,
            oid::TIMETZ => Self::Timetz,
            oid::TIMESTAMP => Self::Timestamp,
            oid::TIMESTAMPTZ => Self::Timestamptz,
            oid::INTERVAL => Self::Interval,
            oid::BIT | oid::VARBIT => Self::Bit,
            oid::INET | oid::CIDR => Self::Inet,
            oid::MACADDR => Self::Macaddr,
            oid::MACADDR8 => Self::Macaddr8,
            // xml_send may write another encoding declaration than the stored text has.
            oid::XML => Self::ServerText { warn: false },
            _ => return None,
        })
    }

    /// Whether the SELECT list has to cast the column to `text`.
    pub fn is_cast_to_text(&self) -> bool {
        matches!(self, Self::ServerText { .. })
    }

    /// The Arrow type of the column.
    pub fn data_type(&self, options: &TypeOptions) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Oid => DataType::UInt32,
            Self::Xid8 | Self::PgLsn => DataType::UInt64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Numeric(numeric) => numeric.decimal_form().data_type(),
            Self::Money { fraction_digits } => DataType::Decimal128(19, *fraction_digits as i8),
            Self::Text
            | Self::Char
            | Self::Json
            | Self::Jsonb
            | Self::Bit
            | Self::Inet
            | Self::Macaddr
            | Self::Macaddr8
            | Self::ServerText { .. } => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Uuid => DataType::FixedSizeBinary(16),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timetz => DataType::Struct(timetz_fields()),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Interval => match options.interval {
                IntervalForm::MonthDayNano => DataType::Interval(IntervalUnit::MonthDayNano),
                IntervalForm::Struct => DataType::Struct(interval_fields()),
            },
            Self::Enum(_) => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        }
    }

    /// The canonical Arrow extension of the column: its name and its serialised parameters.
    pub fn extension(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Uuid => Some(("arrow.uuid", "")),
            Self::Json | Self::Jsonb => Some(("arrow.json", "")),
            _ => None,
        }
    }
}

/// Microseconds since midnight, and seconds east of UTC.
fn timetz_fields() -> Fields {
    Fields::from(vec![
        Field::new("time", DataType::Time64(TimeUnit::Microsecond), false),
        Field::new("offset", DataType::Int32, false),
    ])
}

/// PostgreSQL's three parts, none of which is normalised into another.
fn interval_fields() -> Fields {
    Fields::from(vec![
        Field::new("months", DataType::Int32, false),
        Field::new("days", DataType::Int32, false),
        Field::new("microseconds", DataType::Int64, false),
    ])
}
