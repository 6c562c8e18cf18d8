//! How a column's values arrive on the wire, and the Arrow type they become.

mod nested;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};

pub use self::nested::{ArrayType, Attribute, CompositeType, DEPTH_MAX, RangeType};
use crate::choices::{
    EncodingPolicy, EnumForm, GeometryForm, InfinityPolicy, IntervalForm, NanPolicy, OutOfRangePolicy,
    StringForm, TimestampUnit, TypeOptions,
};
use crate::numeric::{DecimalForm, NumericType};
use crate::oid;

/// A PostgreSQL type as pgarrow reads it: domains resolved to their base, type modifiers parsed.
///
/// Each variant names the `typsend` function whose output it stands for. Its facts are in its row,
/// [`descriptor`](Self::descriptor). A match names every type that it decides about, so that no new
/// type is forgotten.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
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
    /// `textsend`, `varcharsend`, `namesend`, `unknownsend`, `citextsend`, and `xml_send` inside other types
    /// (for a UTF-8 client it sends the text of `xml_out`).
    Text,
    /// `bpcharsend`: padded with blanks.
    Bpchar,
    /// `charsend`: the one-byte `"char"`.
    Char,
    /// `byteasend`.
    Bytea,
    /// `uuid_send`.
    Uuid,
    /// `json_send`: the text as it is stored.
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
    Interval {
        /// Since PostgreSQL 17, all three parts at their minimum or maximum are the infinities. Before, these
        /// values are the smallest and the largest interval, and finite.
        has_infinities: bool,
    },
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
    /// `tidsend`.
    Tid,
    /// `point_send`.
    Point,
    /// `line_send`.
    Line,
    /// `lseg_send`.
    Lseg,
    /// `box_send`: the upper right corner first.
    Box,
    /// `path_send`.
    Path,
    /// `poly_send`.
    Polygon,
    /// `circle_send`.
    Circle,
    /// `hstore_send`.
    Hstore,
    /// `ltree_send`, `lquery_send`, `ltxtq_send`: a version byte, then text.
    Ltree,
    /// pgvector's `vector_send`.
    Vector {
        /// As the column declares it.
        dimensions: Option<u16>,
    },
    /// pgvector's `halfvec_send`.
    Halfvec {
        /// As the column declares it.
        dimensions: Option<u16>,
    },
    /// pgvector's `sparsevec_send`.
    Sparsevec,
    /// PostGIS's `geometry_send`, `geography_send`: EWKB.
    Geometry(Arc<GeometryType>),
    /// `array_send`, `int2vectorsend`, `oidvectorsend`.
    Array(Arc<ArrayType>),
    /// `record_send` of a named type.
    Composite(Arc<CompositeType>),
    /// `range_send`.
    Range(Arc<RangeType>),
    /// `multirange_send`.
    Multirange(Arc<RangeType>),
    /// The server's text form: the SELECT list asks for the output of the type's output function.
    ServerText {
        /// Whether there should be a warning. False for xml, whose text form *is* its value.
        warn: bool,
    },
}

/// The types inside a type.
#[derive(Clone, Copy, Debug)]
pub enum Structure<'a> {
    /// None: it is read as one value. So are the keys and values of hstore, which are always text.
    Plain,
    /// The elements of an array.
    Array(&'a ArrayType),
    /// The attributes of a composite type.
    Composite(&'a CompositeType),
    /// The bounds of a range.
    Range(&'a RangeType),
    /// The bounds of each of its ranges.
    Multirange(&'a RangeType),
}

/// Properties of built-in types that differ between servers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServerTypes {
    /// Digits behind the point of its `lc_monetary`.
    pub money_fraction_digits: u8,
    /// The server is PostgreSQL 17 or newer.
    pub has_infinite_intervals: bool,
}

/// An enum type's labels in their sort order, read when the run is planned.
#[derive(Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct EnumType {
    /// `pg_enum.enumlabel` by `enumsortorder`.
    pub labels: Vec<String>,
}

/// Facts from the catalog about a column of geometries.
#[derive(Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct GeometryType {
    /// The SRID that the column declares; 0 if it declares none.
    pub srid: i32,
    /// Authority and code of that SRID in `spatial_ref_sys`, as in `EPSG:4326`.
    pub crs: Option<String>,
    /// Edges are great circles: `geography`.
    pub is_geography: bool,
}

impl PgType {
    /// The built-in scalar type of this OID that is decoded from its binary form; `None` for any other, which
    /// needs a query to the catalog.
    pub fn from_builtin_oid(type_oid: u32, type_modifier: i32, server: ServerTypes) -> Option<Self> {
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
            oid::MONEY => Self::Money { fraction_digits: server.money_fraction_digits },
            oid::TEXT | oid::VARCHAR | oid::NAME | oid::UNKNOWN => Self::Text,
            oid::BPCHAR => Self::Bpchar,
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
            oid::INTERVAL => Self::Interval { has_infinities: server.has_infinite_intervals },
            oid::BIT | oid::VARBIT => Self::Bit,
            oid::INET | oid::CIDR => Self::Inet,
            oid::MACADDR => Self::Macaddr,
            oid::MACADDR8 => Self::Macaddr8,
            oid::TID => Self::Tid,
            oid::POINT => Self::Point,
            oid::LINE => Self::Line,
            oid::LSEG => Self::Lseg,
            oid::BOX => Self::Box,
            oid::PATH => Self::Path,
            oid::POLYGON => Self::Polygon,
            oid::CIRCLE => Self::Circle,
            // As xml_out prints it: without the declaration of an encoding, which no longer applies.
            oid::XML => Self::ServerText { warn: false },
            _ => return None,
        })
    }

    /// The cast in the SELECT list that makes the column arrive as this type.
    pub fn server_cast(&self) -> Option<&'static str> {
        let is_server_text = |pg_type: &Self| matches!(pg_type, Self::ServerText { .. });
        match self.structure() {
            Structure::Plain => is_server_text(self).then_some("pg_catalog.text"),
            Structure::Array(array) => is_server_text(&array.element).then_some("pg_catalog.text[]"),
            Structure::Composite(_) | Structure::Range(_) | Structure::Multirange(_) => None,
        }
    }

    /// The types inside it.
    pub fn structure(&self) -> Structure<'_> {
        match self {
            Self::Array(array) => Structure::Array(array),
            Self::Composite(composite) => Structure::Composite(composite),
            Self::Range(range) => Structure::Range(range),
            Self::Multirange(range) => Structure::Multirange(range),
            Self::Bool
            | Self::Int2
            | Self::Int4
            | Self::Int8
            | Self::Oid
            | Self::Xid8
            | Self::PgLsn
            | Self::Float4
            | Self::Float8
            | Self::Numeric(_)
            | Self::Money { .. }
            | Self::Text
            | Self::Bpchar
            | Self::Char
            | Self::Bytea
            | Self::Uuid
            | Self::Json
            | Self::Jsonb
            | Self::Date
            | Self::Time
            | Self::Timetz
            | Self::Timestamp
            | Self::Timestamptz
            | Self::Interval { .. }
            | Self::Bit
            | Self::Inet
            | Self::Macaddr
            | Self::Macaddr8
            | Self::Enum(_)
            | Self::Tid
            | Self::Point
            | Self::Line
            | Self::Lseg
            | Self::Box
            | Self::Path
            | Self::Polygon
            | Self::Circle
            | Self::Hstore
            | Self::Ltree
            | Self::Vector { .. }
            | Self::Halfvec { .. }
            | Self::Sparsevec
            | Self::Geometry(_)
            | Self::ServerText { .. } => Structure::Plain,
        }
    }

    /// Its numeric type, if it is a numeric.
    pub fn numeric(&self) -> Option<NumericType> {
        if let Self::Numeric(numeric) = self { Some(*numeric) } else { None }
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
            Self::Numeric(numeric) => match numeric.form(options.numeric) {
                DecimalForm::Decimal128 { precision, scale } => DataType::Decimal128(precision, scale),
                DecimalForm::Decimal256 { precision, scale } => DataType::Decimal256(precision, scale),
                DecimalForm::Float64 => DataType::Float64,
                DecimalForm::Text => string_type(options),
            },
            Self::Money { fraction_digits } => DataType::Decimal128(19, *fraction_digits as i8),
            Self::Text | Self::Bpchar | Self::Json | Self::Jsonb | Self::ServerText { .. } => {
                match options.encoding {
                    EncodingPolicy::Binary => bytes_type(options),
                    EncodingPolicy::Error | EncodingPolicy::Replace | EncodingPolicy::Latin1 => {
                        string_type(options)
                    }
                }
            }
            Self::Char | Self::Bit | Self::Inet | Self::Macaddr | Self::Macaddr8 | Self::Ltree => {
                string_type(options)
            }
            Self::Bytea | Self::Geometry(_) => bytes_type(options),
            Self::Uuid => DataType::FixedSizeBinary(16),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timetz => DataType::Struct(timetz_fields()),
            Self::Timestamp => DataType::Timestamp(time_unit(options), None),
            Self::Timestamptz => DataType::Timestamp(time_unit(options), Some("UTC".into())),
            Self::Interval { .. } => match options.interval {
                IntervalForm::MonthDayNano => DataType::Interval(IntervalUnit::MonthDayNano),
                IntervalForm::Struct => DataType::Struct(interval_fields()),
                IntervalForm::Text => string_type(options),
            },
            Self::Enum(_) => match options.enums {
                EnumForm::Dictionary => {
                    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
                }
                EnumForm::Text => string_type(options),
            },
            Self::Tid => nested::tid_type(),
            Self::Point => nested::point_type(),
            Self::Line => nested::line_type(),
            Self::Lseg => nested::points_type(["start", "end"]),
            Self::Box => nested::points_type(["high", "low"]),
            Self::Path => nested::path_type(),
            Self::Polygon => nested::polygon_type(),
            Self::Circle => nested::circle_type(),
            Self::Hstore => nested::hstore_type(options),
            Self::Vector { dimensions } => nested::vector_type(DataType::Float32, *dimensions),
            Self::Halfvec { dimensions } => nested::vector_type(DataType::Float16, *dimensions),
            Self::Sparsevec => nested::sparsevec_type(),
            Self::Array(array) => array.data_type(options),
            Self::Composite(composite) => DataType::Struct(composite.fields(options)),
            Self::Range(range) => DataType::Struct(range.fields(options)),
            Self::Multirange(range) => {
                let item = Field::new("item", DataType::Struct(range.fields(options)), false);
                DataType::List(Arc::new(item))
            }
        }
    }

    /// The Arrow extension of the column: its name and its serialised parameters.
    ///
    /// Source: Arrow's canonical extension types; `geoarrow.wkb` at <https://geoarrow.org/extension-types>.
    pub fn extension(&self, options: &TypeOptions) -> Option<(&'static str, String)> {
        match self {
            Self::Uuid => Some(("arrow.uuid", String::new())),
            Self::Json | Self::Jsonb if options.encoding != EncodingPolicy::Binary => {
                Some(("arrow.json", String::new()))
            }
            Self::Geometry(geometry) if options.geometry == GeometryForm::Wkb => {
                Some(("geoarrow.wkb", geometry.extension_metadata()))
            }
            Self::Bool
            | Self::Int2
            | Self::Int4
            | Self::Int8
            | Self::Oid
            | Self::Xid8
            | Self::PgLsn
            | Self::Float4
            | Self::Float8
            | Self::Numeric(_)
            | Self::Money { .. }
            | Self::Text
            | Self::Bpchar
            | Self::Char
            | Self::Bytea
            | Self::Json
            | Self::Jsonb
            | Self::Date
            | Self::Time
            | Self::Timetz
            | Self::Timestamp
            | Self::Timestamptz
            | Self::Interval { .. }
            | Self::Bit
            | Self::Inet
            | Self::Macaddr
            | Self::Macaddr8
            | Self::Enum(_)
            | Self::Tid
            | Self::Point
            | Self::Line
            | Self::Lseg
            | Self::Box
            | Self::Path
            | Self::Polygon
            | Self::Circle
            | Self::Hstore
            | Self::Ltree
            | Self::Vector { .. }
            | Self::Halfvec { .. }
            | Self::Sparsevec
            | Self::Geometry(_)
            | Self::Array(_)
            | Self::Composite(_)
            | Self::Range(_)
            | Self::Multirange(_)
            | Self::ServerText { .. } => None,
        }
    }

    /// Whether a policy may write NULL where PostgreSQL has a value.
    pub fn may_become_null(&self, options: &TypeOptions) -> bool {
        let of_infinity = options.infinity == InfinityPolicy::Null;
        let of_range = options.out_of_range == OutOfRangePolicy::Null;
        match self {
            Self::Date => of_infinity,
            Self::Timestamp | Self::Timestamptz => of_infinity || of_range,
            Self::Interval { has_infinities } => match options.interval {
                IntervalForm::MonthDayNano => (of_infinity && *has_infinities) || of_range,
                IntervalForm::Struct => of_infinity && *has_infinities,
                IntervalForm::Text => false,
            },
            Self::Numeric(numeric) => match numeric.form(options.numeric) {
                DecimalForm::Decimal128 { .. } | DecimalForm::Decimal256 { .. } => {
                    of_range || options.nan == NanPolicy::Null
                }
                DecimalForm::Float64 => of_range,
                DecimalForm::Text => false,
            },
            Self::Bool
            | Self::Int2
            | Self::Int4
            | Self::Int8
            | Self::Oid
            | Self::Xid8
            | Self::PgLsn
            | Self::Float4
            | Self::Float8
            | Self::Money { .. }
            | Self::Text
            | Self::Bpchar
            | Self::Char
            | Self::Bytea
            | Self::Uuid
            | Self::Json
            | Self::Jsonb
            | Self::Time
            | Self::Timetz
            | Self::Bit
            | Self::Inet
            | Self::Macaddr
            | Self::Macaddr8
            | Self::Enum(_)
            | Self::Tid
            | Self::Point
            | Self::Line
            | Self::Lseg
            | Self::Box
            | Self::Path
            | Self::Polygon
            | Self::Circle
            | Self::Hstore
            | Self::Ltree
            | Self::Vector { .. }
            | Self::Halfvec { .. }
            | Self::Sparsevec
            | Self::Geometry(_)
            | Self::Array(_)
            | Self::Composite(_)
            | Self::Range(_)
            | Self::Multirange(_)
            | Self::ServerText { .. } => false,
        }
    }

    /// A field of this type with its extension, for a column or inside of another type.
    pub(crate) fn item_field(&self, name: &str, nullable: bool, options: &TypeOptions) -> Field {
        let field = Field::new(name, self.data_type(options), nullable);
        match self.extension(options) {
            None => field,
            Some((name, parameters)) => field.with_metadata(
                [("ARROW:extension:name", name.to_owned()), ("ARROW:extension:metadata", parameters)]
                    .map(|(key, value)| (key.to_owned(), value))
                    .into(),
            ),
        }
    }
}

impl GeometryType {
    /// As JSON.
    fn extension_metadata(&self) -> String {
        let crs = self.crs.as_ref().map(|crs| {
            // The authority's name comes from outside: only characters that need no escape are kept.
            let crs: String =
                crs.chars().filter(|c| c.is_ascii_alphanumeric() || ":._-".contains(*c)).collect();
            format!(r#""crs":"{crs}","crs_type":"authority_code""#)
        });
        let edges = self.is_geography.then(|| r#""edges":"spherical""#.to_owned());
        format!("{{{}}}", crs.into_iter().chain(edges).collect::<Vec<_>>().join(","))
    }
}

fn string_type(options: &TypeOptions) -> DataType {
    match options.strings {
        StringForm::Utf8 => DataType::Utf8,
        StringForm::Large => DataType::LargeUtf8,
        StringForm::View => DataType::Utf8View,
    }
}

fn bytes_type(options: &TypeOptions) -> DataType {
    match options.strings {
        StringForm::Utf8 => DataType::Binary,
        StringForm::Large => DataType::LargeBinary,
        StringForm::View => DataType::BinaryView,
    }
}

fn time_unit(options: &TypeOptions) -> TimeUnit {
    match options.timestamp_unit {
        TimestampUnit::Microsecond => TimeUnit::Microsecond,
        TimestampUnit::Millisecond => TimeUnit::Millisecond,
        TimestampUnit::Nanosecond => TimeUnit::Nanosecond,
    }
}

/// Microseconds since midnight, and seconds east of UTC.
fn timetz_fields() -> Fields {
    Fields::from(vec![
        Field::new("time", DataType::Time64(TimeUnit::Microsecond), false),
        Field::new("offset", DataType::Int32, false),
    ])
}

/// PostgreSQL's three parts; none is normalised into another.
fn interval_fields() -> Fields {
    Fields::from(vec![
        Field::new("months", DataType::Int32, false),
        Field::new("days", DataType::Int32, false),
        Field::new("microseconds", DataType::Int64, false),
    ])
}
