//! Every type there is, with the option that changes how it is decoded.

use std::sync::Arc;

use pgarrow_types::{EnumType, IntervalForm, NumericType, PgType, TypeOptions};

/// Their order is part of the seeds: add at the end.
pub(crate) fn all() -> Vec<(PgType, TypeOptions)> {
    let numeric = |precision, scale| PgType::Numeric(NumericType::Declared { precision, scale });
    let labels = ["sad", "ok", "happy"].map(str::to_owned).to_vec();
    let types = [
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
        PgType::Numeric(NumericType::Unconstrained),
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
        PgType::Interval,
        PgType::Bit,
        PgType::Inet,
        PgType::Macaddr,
        PgType::Macaddr8,
        PgType::Enum(Arc::new(EnumType { labels })),
        PgType::ServerText { warn: true },
    ];
    let mut all: Vec<_> = types.into_iter().map(|pg_type| (pg_type, TypeOptions::default())).collect();
    all.push((PgType::Interval, TypeOptions { interval: IntervalForm::Struct, ..TypeOptions::default() }));
    all
}
