//! All types, and all choices about them.

use std::sync::Arc;

use pgarrow_types::{
    ArrayForm, ArrayType, Attribute, CompositeType, Decimal, EncodingPolicy, EnumForm, EnumType,
    GeometryForm, GeometryType, InfinityPolicy, IntervalForm, LostDigitsPolicy, NanPolicy, NumericForm,
    NumericType, OutOfRangePolicy, PgType, RangeType, StringForm, TimestampUnit, TypeOptions, oid,
};

/// The OID of types that are not built in.
const OTHER_OID: u32 = 16_384;

/// Their order is part of the seeds: add at the end.
pub(crate) fn all() -> Vec<PgType> {
    let numeric = |precision, scale| PgType::Numeric(NumericType::Declared { precision, scale });
    let unconstrained = || PgType::Numeric(NumericType::Unconstrained);
    let mood = || {
        let labels = ["sad", "ok", "happy"].map(str::to_owned).to_vec();
        PgType::Enum(Arc::new(EnumType { labels }))
    };
    let geometry =
        |srid, is_geography| PgType::Geometry(Arc::new(GeometryType { srid, crs: None, is_geography }));
    let person =
        || composite([(PgType::Int4, oid::INT4), (PgType::Text, oid::TEXT), (unconstrained(), oid::NUMERIC)]);
    // A text in nested composites, as deep as they may be.
    let deep = (1..pgarrow_types::DEPTH_MAX)
        .fold(composite([(PgType::Text, oid::TEXT)]), |inner, _| composite([(inner, OTHER_OID)]));
    vec![
        PgType::Bool,
        PgType::Int2,
        PgType::Int4,
        PgType::Int8,
        PgType::Oid,
        PgType::Xid8,
        PgType::PgLsn,
        PgType::Float4,
        PgType::Float8,
        numeric(15, 2),
        numeric(38, 0),
        numeric(38, 38),
        numeric(3, -6),
        numeric(3, 7),
        numeric(50, 10),
        numeric(76, 76),
        unconstrained(),
        PgType::Money { fraction_digits: 2 },
        PgType::Text,
        PgType::Char,
        PgType::Bytea,
        PgType::Uuid,
        PgType::Json,
        PgType::Jsonb,
        PgType::Date,
        PgType::Time,
        PgType::Timetz,
        PgType::Timestamp,
        PgType::Timestamptz,
        PgType::Interval { has_infinities: true },
        PgType::Bit,
        PgType::Inet,
        PgType::Macaddr,
        PgType::Macaddr8,
        mood(),
        PgType::ServerText { warn: true },
        // 36
        PgType::Bpchar,
        PgType::Ltree,
        PgType::Hstore,
        PgType::Tid,
        PgType::Point,
        PgType::Line,
        PgType::Lseg,
        PgType::Box,
        PgType::Path,
        PgType::Polygon,
        PgType::Circle,
        PgType::Vector { dimensions: Some(3) },
        PgType::Vector { dimensions: None },
        PgType::Vector { dimensions: Some(500) },
        PgType::Halfvec { dimensions: Some(3) },
        PgType::Halfvec { dimensions: None },
        PgType::Sparsevec,
        geometry(0, false),
        geometry(4326, false),
        geometry(0, true),
        // 56
        array(PgType::Int4, oid::INT4, 1),
        array(PgType::Text, oid::TEXT, 2),
        array(unconstrained(), oid::NUMERIC, 0),
        array(PgType::Timestamp, oid::TIMESTAMP, 1),
        array(mood(), OTHER_OID, 1),
        array(PgType::Hstore, OTHER_OID, 1),
        array(PgType::Vector { dimensions: Some(500) }, OTHER_OID, 1),
        array(person(), OTHER_OID, 3),
        array(range(PgType::Date), OTHER_OID, 1),
        vector(PgType::Int2, oid::INT2),
        vector(PgType::Oid, oid::OID),
        // 67
        person(),
        composite([]),
        composite([(PgType::Vector { dimensions: Some(500) }, OTHER_OID), (PgType::Bool, oid::BOOL)]),
        composite([(array(PgType::Bit, oid::BIT, 2), OTHER_OID), (person(), OTHER_OID)]),
        deep,
        range(PgType::Int4),
        range(unconstrained()),
        range(PgType::Timestamptz),
        range(person()),
        PgType::Multirange(Arc::new(RangeType { subtype: PgType::Int8 })),
        // 77: an array of composites of arrays of ranges of a domain over a composite
        array(composite([(array(range(person()), OTHER_OID, 1), OTHER_OID)]), OTHER_OID, 1),
        array(PgType::Multirange(Arc::new(RangeType { subtype: PgType::Date })), OTHER_OID, 1),
    ]
}

fn array(element: PgType, element_oid: u32, dimensions: u8) -> PgType {
    PgType::Array(Arc::new(ArrayType { element, element_oid, dimensions, is_vector: false }))
}

/// `int2vector` and its kin.
fn vector(element: PgType, element_oid: u32) -> PgType {
    PgType::Array(Arc::new(ArrayType { element, element_oid, dimensions: 1, is_vector: true }))
}

fn composite<const N: usize>(attributes: [(PgType, u32); N]) -> PgType {
    let attribute = |(name, (pg_type, type_oid)): (char, (PgType, u32))| Attribute {
        name: name.to_string(),
        pg_type,
        type_oid,
        type_name: String::new(),
    };
    PgType::Composite(Arc::new(CompositeType {
        attributes: ('a'..).zip(attributes).map(attribute).collect(),
    }))
}

fn range(subtype: PgType) -> PgType {
    PgType::Range(Arc::new(RangeType { subtype }))
}

/// Every combination of choices that decide how values are decoded has numbers; 0 is the default.
pub(crate) fn options(mut number: u32) -> TypeOptions {
    let decimal =
        |precision, scale| Decimal::new(precision, scale).map_or(NumericForm::Exact, NumericForm::Decimal);
    let numerics =
        [NumericForm::Exact, NumericForm::Float64, decimal(20, 4), decimal(50, 10), NumericForm::Text];
    let number = &mut number;
    TypeOptions {
        interval: pick(number, IntervalForm::ALL),
        arrays: pick(number, ArrayForm::ALL),
        numeric: pick(number, &numerics),
        infinity: pick(number, InfinityPolicy::ALL),
        nan: pick(number, NanPolicy::ALL),
        out_of_range: pick(number, OutOfRangePolicy::ALL),
        enums: pick(number, EnumForm::ALL),
        trim: pick(number, &[false, true]),
        strings: pick(number, StringForm::ALL),
        timestamp_unit: pick(number, TimestampUnit::ALL),
        encoding: pick(number, EncodingPolicy::ALL),
        geometry: pick(number, GeometryForm::ALL),
        lost_digits: pick(number, LostDigitsPolicy::ALL),
        ..TypeOptions::default()
    }
}

fn pick<T: Copy + Default>(number: &mut u32, choices: &[T]) -> T {
    let n_choices = choices.len().max(1) as u32;
    let choice = choices.get((*number % n_choices) as usize).copied().unwrap_or_default();
    *number /= n_choices;
    choice
}
