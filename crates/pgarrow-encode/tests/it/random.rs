//! Random values of a PostgreSQL type's Arrow type: encoding and decoding gives the same values.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::Arc;

use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Decimal256Array, FixedSizeBinaryArray,
    PrimitiveArray, RecordBatch, StringArray,
};
use arrow_buffer::{IntervalMonthDayNano, i256};
use pgarrow_testkit::assert_batches_equal;
use pgarrow_types::{NumericType, PgType, TypeOptions, schema};
use proptest::prelude::*;

use crate::support::{column, decode, encode, targets};

/// Encodes an array of the type without any conversion and decodes it: it stays the same.
fn check(pg_type: PgType, array: ArrayRef) {
    let columns = [column(pg_type.clone(), TypeOptions::default())];
    let schema = Arc::new(schema(&columns, Default::default()));
    let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
    // Without metadata, nothing says that the values had this type once. Only the nanoseconds of an interval
    // need a check.
    let mut field = batch.schema().field(0).clone();
    if !matches!(pg_type, PgType::Interval { .. }) {
        field.set_metadata(HashMap::new());
    }
    let targets = targets(&columns);
    for start in [0, batch.num_rows() / 3] {
        let batch = batch.slice(start, batch.num_rows() - start);
        let stream = encode(&[&field], &targets, std::slice::from_ref(&batch)).unwrap();
        let decoded = decode(&columns, &stream);
        // Without rows there is no batch.
        let expected: Vec<_> = [batch].into_iter().filter(|batch| batch.num_rows() > 0).collect();
        assert_batches_equal(&expected, &decoded);
    }
}

fn rows<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<Option<T>>> {
    prop::collection::vec(prop::option::weighted(0.8, value), 0..20)
}

fn primitives<A: ArrowPrimitiveType>(values: Vec<Option<A::Native>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<PrimitiveArray<A>>())
}

/// Small ones, large ones, and those in between, by the number of their bits.
fn integers() -> impl Strategy<Value = i128> {
    (any::<i128>(), 0..127_u32).prop_map(|(value, shift)| value >> shift)
}

fn ipv4(([a, b, c, d], bits): ([u8; 4], u8)) -> String {
    match bits % 33 {
        32 => format!("{a}.{b}.{c}.{d}"),
        bits => format!("{a}.{b}.{c}.{d}/{bits}"),
    }
}

/// Some words are zero, but not the first: the standard library prints IPv4 inside IPv6 differently.
fn ipv6((mut words, zeros, bits): ([u16; 8], u8, u8)) -> String {
    for (index, word) in words.iter_mut().enumerate() {
        *word = if index > 0 && zeros >> index & 1 == 1 { 0 } else { *word | 0x1000 };
    }
    let address = Ipv6Addr::from(words);
    if bits == 128 { address.to_string() } else { format!("{address}/{bits}") }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// A `"char"` as PostgreSQL 16 prints it.
fn char_text(byte: u8) -> String {
    match byte {
        0 => String::new(),
        1..0x80 => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

proptest! {
    #[test]
    fn of_one_width(
        bools in rows(any::<bool>()),
        shorts in rows(any::<i16>()),
        ints in rows(any::<i32>()),
        longs in rows(any::<i64>()),
        oids in rows(any::<u32>()),
        places in rows(any::<u64>()),
        singles in rows(any::<u32>().prop_map(f32::from_bits)),
        doubles in rows(any::<u64>().prop_map(f64::from_bits)),
        uuids in rows(any::<[u8; 16]>()),
    ) {
        check(PgType::Bool, Arc::new(BooleanArray::from(bools)));
        check(PgType::Int2, primitives::<Int16Type>(shorts));
        check(PgType::Int4, primitives::<Int32Type>(ints));
        check(PgType::Int8, primitives::<Int64Type>(longs));
        check(PgType::Oid, primitives::<UInt32Type>(oids));
        check(PgType::Xid8, primitives::<UInt64Type>(places.clone()));
        check(PgType::PgLsn, primitives::<UInt64Type>(places));
        check(PgType::Float4, primitives::<Float32Type>(singles));
        check(PgType::Float8, primitives::<Float64Type>(doubles));
        let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids.into_iter(), 16).unwrap();
        check(PgType::Uuid, Arc::new(uuids));
    }

    #[test]
    fn times(
        days in rows(-2_440_588..=2_145_042_905_i32),
        micros in rows(0..=86_400_000_000_i64),
        timestamps in rows(-210_866_803_200_000_000..=i64::MAX),
        intervals in rows((any::<i32>(), any::<i32>(), -i64::MAX / 1_000..=i64::MAX / 1_000)),
    ) {
        check(PgType::Date, primitives::<Date32Type>(days));
        check(PgType::Time, primitives::<Time64MicrosecondType>(micros));
        check(PgType::Timestamp, primitives::<TimestampMicrosecondType>(timestamps.clone()));
        let instants: PrimitiveArray<TimestampMicrosecondType> = timestamps.into_iter().collect();
        check(PgType::Timestamptz, Arc::new(instants.with_timezone("UTC")));
        let interval = |(months, days, micros)| IntervalMonthDayNano::new(months, days, 1_000 * micros);
        let intervals = intervals.into_iter().map(|value| value.map(interval)).collect();
        check(PgType::Interval { has_infinities: true }, primitives::<IntervalMonthDayNanoType>(intervals));
    }

    #[test]
    fn decimals(values in rows(integers()), precision in 1..=38_u8, scale in 0..=38_i8, factor in integers()) {
        let scale = scale.min(precision as i8);
        let limit = 10_i128.pow(precision.into());
        let numeric = |precision: u8, scale: i8| {
            PgType::Numeric(NumericType::Declared { precision: precision.into(), scale: scale.into() })
        };
        let small = values.iter().map(|value| value.map(|value| value % limit));
        let small: PrimitiveArray<Decimal128Type> = small.collect();
        let small = small.with_precision_and_scale(precision, scale).unwrap();
        check(numeric(precision, scale), Arc::new(small));
        // Up to 76 digits: products of two numbers with 38.
        let limit = 10_i128.pow(38);
        let factor = i256::from_i128(factor % limit);
        let product = |value: i128| i256::from_i128(value % limit).wrapping_mul(factor);
        let large = values.iter().map(|value| value.map(product));
        let large: Decimal256Array = large.collect();
        let large = large.with_precision_and_scale(76, 2 * scale).unwrap();
        check(numeric(76, 2 * scale), Arc::new(large));
    }

    #[test]
    fn texts(
        texts in rows("[^\0]{0,20}"),
        bytes in rows(prop::collection::vec(any::<u8>(), 0..20)),
        numerics in rows("-?(0|[1-9][0-9]{0,60})(\\.[0-9]{1,60})?"),
        bits in rows("[01]{0,40}"),
        octets in rows(any::<([u8; 4], u8)>()),
        words in rows((any::<[u16; 8]>(), any::<u8>(), 0..=128_u8)),
        addresses in rows(any::<[u8; 8]>()),
        chars in rows(any::<u8>()),
    ) {
        check(PgType::Text, Arc::new(StringArray::from(texts.clone())));
        // Minus zero is refused: it occurred once in some thousands of runs.
        let json = |text: &Option<String>| text.as_ref().map(|text| text.replace("-0", "-1"));
        check(PgType::Jsonb, Arc::new(texts.iter().map(json).collect::<StringArray>()));
        check(PgType::Ltree, Arc::new(StringArray::from(texts)));
        let bytes: Vec<Option<&[u8]>> = bytes.iter().map(Option::as_deref).collect();
        check(PgType::Bytea, Arc::new(BinaryArray::from(bytes)));
        // PostgreSQL prints no minus before a zero.
        let is_zero = |text: &str| !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
        let numeric = |text: String| if is_zero(&text) { text.replace('-', "") } else { text };
        let numerics: Vec<_> = numerics.into_iter().map(|text| text.map(numeric)).collect();
        check(PgType::Numeric(NumericType::Unconstrained), Arc::new(StringArray::from(numerics)));
        check(PgType::Bit, Arc::new(StringArray::from(bits)));
        let octets: Vec<_> = octets.into_iter().map(|value| value.map(ipv4)).collect();
        check(PgType::Inet, Arc::new(StringArray::from(octets)));
        let words: Vec<_> = words.into_iter().map(|value| value.map(ipv6)).collect();
        check(PgType::Inet, Arc::new(StringArray::from(words)));
        let six: Vec<_> = addresses.iter().map(|value| value.as_ref().map(|value| hex(&value[..6]))).collect();
        check(PgType::Macaddr, Arc::new(StringArray::from(six)));
        let eight: Vec<_> = addresses.iter().map(|value| value.as_ref().map(|value| hex(value))).collect();
        check(PgType::Macaddr8, Arc::new(StringArray::from(eight)));
        let chars: Vec<_> = chars.into_iter().map(|value| value.map(char_text)).collect();
        check(PgType::Char, Arc::new(StringArray::from(chars)));
    }
}
