//! Every Arrow type into every type of PostgreSQL: whether it is allowed, and that the server reads the same
//! value.
//!
//! Receive functions accept any bytes: the eight bytes of an integer are a numeric with another value.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::types::{IntervalDayTime, IntervalMonthDayNano};
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, Field};
use pgarrow_encode::{RefusalKind, ValueError};
use pgarrow_testkit::{Capability, TestServer, require};
use pgarrow_types::{EnumType, NumericType, PgType, oid};

use crate::support::To;
use crate::times::interval_modifier;

/// Arrays, and texts that a server reads as the same values.
fn sources() -> Vec<(ArrayRef, Vec<&'static str>)> {
    let mut sources: Vec<(ArrayRef, Vec<&'static str>)> = Vec::new();
    let mut add = |array: ArrayRef, texts: &[&'static str]| {
        assert_eq!(array.len(), texts.len());
        sources.push((array, texts.to_vec()));
    };
    add(Arc::new(BooleanArray::from(vec![true, false])), &["true", "false"]);
    add(Arc::new(Int8Array::from(vec![-128, 127])), &["-128", "127"]);
    add(Arc::new(Int16Array::from(vec![i16::MIN, 0])), &["-32768", "0"]);
    add(Arc::new(Int32Array::from(vec![1 << 24, (1 << 24) + 1])), &["16777216", "16777217"]);
    add(Arc::new(Int64Array::from(vec![i64::MIN, 7, 1 << 32])), &["-9223372036854775808", "7", "4294967296"]);
    add(Arc::new(UInt8Array::from(vec![255])), &["255"]);
    add(Arc::new(UInt16Array::from(vec![u16::MAX])), &["65535"]);
    add(Arc::new(UInt32Array::from(vec![u32::MAX, 3])), &["4294967295", "3"]);
    add(Arc::new(UInt64Array::from(vec![u64::MAX, 3])), &["18446744073709551615", "3"]);
    let float16 = arrow_cast::cast(&Float32Array::from(vec![0.5, -2.0]), &DataType::Float16).unwrap();
    add(float16, &["0.5", "-2"]);
    add(Arc::new(Float32Array::from(vec![-0.0, 1.25, f32::NAN])), &["-0", "1.25", "NaN"]);
    let floats = vec![0.1, 1e300, f64::NEG_INFINITY, -3.0];
    add(Arc::new(Float64Array::from(floats)), &["0.1", "1e300", "-Infinity", "-3"]);
    let decimals = Decimal128Array::from(vec![150, -99_999, 0]).with_precision_and_scale(10, 2).unwrap();
    add(Arc::new(decimals), &["1.50", "-999.99", "0.00"]);
    let decimals = Decimal128Array::from(vec![70_000, 5]).with_precision_and_scale(20, 0).unwrap();
    add(Arc::new(decimals), &["70000", "5"]);
    let small = Decimal32Array::from(vec![-5]).with_precision_and_scale(9, 1).unwrap();
    add(Arc::new(small), &["-0.5"]);
    let large = vec![i256::from_i128(10_i128.pow(38) - 1), i256::from(-12)];
    let large = Decimal256Array::from(large).with_precision_and_scale(76, 1).unwrap();
    add(Arc::new(large), &["9999999999999999999999999999999999999.9", "-1.2"]);
    let texts = ["abc", "1.50", "0101", "sad", "10.0.0.0/8", "{\"a\":1}", "08:00:2b:01:02:03", "", "x"];
    add(Arc::new(StringArray::from(texts.to_vec())), &texts);
    add(Arc::new(LargeStringArray::from(texts.to_vec())), &texts);
    add(Arc::new(StringViewArray::from(texts.to_vec())), &texts);
    let uuids = ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "08:00:2b:01:02:03:04:05", "::1"];
    add(Arc::new(StringArray::from(uuids.to_vec())), &uuids);
    add(Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b""])), &["\\x00ff", "\\x"]);
    let fixed = FixedSizeBinaryArray::try_from_iter([*b"0123456789abcdef"].into_iter()).unwrap();
    add(Arc::new(fixed), &["\\x30313233343536373839616263646566"]);
    add(Arc::new(Date32Array::from(vec![-1, 20_000])), &["1969-12-31", "2024-10-04"]);
    add(Arc::new(Date64Array::from(vec![86_400_000])), &["1970-01-02"]);
    add(Arc::new(Time32SecondArray::from(vec![86_400, 1])), &["24:00:00", "00:00:01"]);
    add(Arc::new(Time32MillisecondArray::from(vec![1])), &["00:00:00.001"]);
    add(Arc::new(Time64MicrosecondArray::from(vec![1, 2_000_000])), &["00:00:00.000001", "00:00:02"]);
    add(Arc::new(Time64NanosecondArray::from(vec![1_000])), &["00:00:00.000001"]);
    add(Arc::new(TimestampSecondArray::from(vec![-86_400])), &["1969-12-31 00:00:00"]);
    add(Arc::new(TimestampMillisecondArray::from(vec![1])), &["1970-01-01 00:00:00.001"]);
    add(
        Arc::new(TimestampMicrosecondArray::from(vec![-1, 0])),
        &["1969-12-31 23:59:59.999999", "1970-01-01"],
    );
    add(Arc::new(TimestampNanosecondArray::from(vec![1_000])), &["1970-01-01 00:00:00.000001"]);
    let instants = TimestampMicrosecondArray::from(vec![-1]).with_timezone("America/Lima");
    add(Arc::new(instants), &["1969-12-31 23:59:59.999999+00"]);
    add(Arc::new(DurationSecondArray::from(vec![-90])), &["-90 seconds"]);
    add(Arc::new(DurationNanosecondArray::from(vec![3_000])), &["3 microseconds"]);
    add(Arc::new(IntervalYearMonthArray::from(vec![25])), &["25 months"]);
    add(Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(-1, 5)])), &["-1 days 5 milliseconds"]);
    let spans = vec![IntervalMonthDayNano::new(1, -2, 3_000), IntervalMonthDayNano::new(0, 0, 0)];
    add(Arc::new(IntervalMonthDayNanoArray::from(spans)), &["1 mon -2 days 3 microseconds", "0"]);
    let of = |fields: Vec<(&str, ArrayRef)>| -> ArrayRef {
        let field = |(name, array): (&str, ArrayRef)| {
            (Arc::new(Field::new(name, array.data_type().clone(), true)), array)
        };
        Arc::new(StructArray::from(fields.into_iter().map(field).collect::<Vec<_>>()))
    };
    let ints = |value| -> ArrayRef { Arc::new(Int32Array::from(vec![value])) };
    let time: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![1]));
    add(of(vec![("time", time), ("offset", ints(3_600))]), &["00:00:00.000001+01"]);
    let micros: ArrayRef = Arc::new(Int64Array::from(vec![-1]));
    let parts = vec![("months", ints(1)), ("days", ints(2)), ("microseconds", micros)];
    add(of(parts), &["1 mon 2 days -1 microseconds"]);
    let block: ArrayRef = Arc::new(UInt32Array::from(vec![7]));
    let offset: ArrayRef = Arc::new(UInt16Array::from(vec![3]));
    add(of(vec![("block", block), ("offset", offset)]), &["(7,3)"]);
    sources
}

/// Name, send function, and the encoder's target.
fn targets() -> Vec<(&'static str, &'static str, To)> {
    let numeric = |precision, scale| PgType::Numeric(NumericType::Declared { precision, scale });
    let mood = EnumType { labels: ["sad", "x"].map(str::to_owned).to_vec() };
    let mut cidr = To::new(PgType::Inet);
    cidr.declared.base_oid = oid::CIDR;
    vec![
        ("bool", "boolsend", To::new(PgType::Bool)),
        ("int2", "int2send", To::new(PgType::Int2)),
        ("int4", "int4send", To::new(PgType::Int4)),
        ("int8", "int8send", To::new(PgType::Int8)),
        ("oid", "oidsend", To::new(PgType::Oid)),
        ("xid8", "xid8send", To::new(PgType::Xid8)),
        ("pg_lsn", "pg_lsn_send", To::new(PgType::PgLsn)),
        ("float4", "float4send", To::new(PgType::Float4)),
        ("float8", "float8send", To::new(PgType::Float8)),
        ("numeric", "numeric_send", To::new(PgType::Numeric(NumericType::Unconstrained))),
        ("numeric(5,2)", "numeric_send", To::new(numeric(5, 2))),
        ("money", "cash_send", To::new(PgType::Money { fraction_digits: 2 })),
        ("text", "textsend", To::new(PgType::Text)),
        ("\"char\"", "charsend", To::new(PgType::Char)),
        ("bytea", "byteasend", To::new(PgType::Bytea)),
        ("uuid", "uuid_send", To::new(PgType::Uuid)),
        ("json", "json_send", To::new(PgType::Json)),
        ("date", "date_send", To::new(PgType::Date)),
        ("time", "time_send", To::new(PgType::Time)),
        ("time(0)", "time_send", To::new(PgType::Time).modifier(0)),
        ("timetz", "timetz_send", To::new(PgType::Timetz)),
        ("timestamp", "timestamp_send", To::new(PgType::Timestamp)),
        ("timestamp(3)", "timestamp_send", To::new(PgType::Timestamp).modifier(3)),
        ("timestamptz", "timestamptz_send", To::new(PgType::Timestamptz)),
        ("interval", "interval_send", To::new(PgType::Interval { has_infinities: true })),
        (
            "interval(3)",
            "interval_send",
            To::new(PgType::Interval { has_infinities: true }).modifier(interval_modifier(0x7fff, 3)),
        ),
        ("varbit", "varbit_send", To::new(PgType::Bit)),
        ("inet", "inet_send", To::new(PgType::Inet)),
        ("cidr", "cidr_send", cidr),
        ("macaddr", "macaddr_send", To::new(PgType::Macaddr)),
        ("macaddr8", "macaddr8_send", To::new(PgType::Macaddr8)),
        ("mood", "enum_send", To::new(PgType::Enum(Arc::new(mood)))),
        ("tid", "tidsend", To::new(PgType::Tid)),
    ]
}

/// `=` always, `?` if each value is checked, `~` if rounding is allowed, `S` if the server reads it, `.`
/// never.
fn mark(to: &To, source: &DataType) -> char {
    match to.refusal(source).map(|refusal| refusal.kind) {
        None => '=',
        Some(RefusalKind::Mismatch) => '.',
        Some(RefusalKind::NeedsServer) => 'S',
        Some(RefusalKind::NeedsRound) => '~',
        Some(RefusalKind::NeedsCheck) => match to.clone().check().refusal(source).map(|refusal| refusal.kind)
        {
            None => '?',
            Some(RefusalKind::NeedsServer) => 'S',
            Some(kind) => panic!("{source} to {to:?}: {kind:?} after it was allowed"),
        },
        Some(kind) => panic!("{kind:?}"),
    }
}

#[test]
fn which_types_may_become_which() {
    let mut found = String::new();
    for (array, _) in sources() {
        let marks: String = targets().iter().map(|(_, _, to)| mark(to, array.data_type())).collect();
        let name = array.data_type().to_string();
        let name =
            name.split_once('(').filter(|(kind, _)| *kind == "Struct").map_or(&*name, |(kind, _)| kind);
        writeln!(found, "{marks} {name}").unwrap();
    }
    assert_eq!(found, EXPECTED.trim_start(), "\n{found}");
}

/// A column for each of [`targets`], a row for each of [`sources`].
const EXPECTED: &str = r#"
=...........?.................... Boolean
.===???====.?.................... Int8
.===???===?.?.................... Int16
.?==????==?.?.................... Int32
.??=?????=?.?.................... Int64
.==========.?.................... UInt8
.?========?.?.................... UInt16
.??====?==?.?.................... UInt32
.????==??=?.?.................... UInt64
.......==~~...................... Float16
.......==~~...................... Float32
.......?=~~...................... Float64
.......??=?=?.................... Decimal128(10, 2)
.????????=???.................... Decimal128(20, 0)
.......??=?=?.................... Decimal32(9, 1)
.......??=???.................... Decimal256(76, 1)
SSSSSSS??=?S==S?=???????SS======S Utf8
SSSSSSS??=?S==S?=???????SS======S LargeUtf8
SSSSSSS??=?S==S?=???????SS======S Utf8View
SSSSSSS??=?S==S?=???????SS======S Utf8
............?.=.?................ Binary
............?.==?................ FixedSizeBinary(16)
.................=...==.......... Date32
.................=...==.......... Date64
..................==............. Time32(s)
..................=?............. Time32(ms)
..................=?............. Time64(µs)
..................??............. Time64(ns)
.................?...==.......... Timestamp(s)
.................?...==.......... Timestamp(ms)
.................?...=?.......... Timestamp(µs)
.................?...??.......... Timestamp(ns)
.......................=......... Timestamp(µs, "America/Lima")
........................==....... Duration(s)
........................??....... Duration(ns)
........................==....... Interval(YearMonth)
........................==....... Interval(DayTime)
........................??....... Interval(MonthDayNano)
................=...=............ Struct
................=.......=?....... Struct
................=...............= Struct
"#;

#[test]
fn the_server_reads_the_values_that_are_meant() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("encode_matrix");
    database.execute("CREATE TYPE mood AS ENUM ('sad', 'x')");
    let mut client = database.client();
    let mut n_same = 0;
    for (type_name, send, to) in targets() {
        let to = to.check();
        let statement = client.prepare(&format!("SELECT pg_catalog.{send}($1::text::{type_name})")).unwrap();
        for (array, texts) in sources() {
            let source = array.data_type();
            // Bytes that are loaded as text, of any encoding, have no text to compare with.
            let is_bytes = matches!(source, DataType::Binary | DataType::FixedSizeBinary(_));
            if to.refusal(source).is_some() || (is_bytes && matches!(to.pg_type, PgType::Text | PgType::Json))
            {
                continue;
            }
            for (text, found) in texts.into_iter().zip(to.values(&array)) {
                let text = match to.pg_type {
                    PgType::Uuid => text.trim_start_matches("\\x").to_owned(),
                    PgType::PgLsn => text.parse::<u64>().map_or_else(
                        |_| text.to_owned(),
                        |place| format!("{:X}/{:X}", place >> 32, place & 0xffff_ffff),
                    ),
                    _ => text.to_owned(),
                };
                let expected: Option<Vec<u8>> =
                    client.query_one(&statement, &[&text]).ok().map(|row| row.get(0));
                let what = format!("{source} {text:?} as {type_name}");
                match (found, expected) {
                    (Ok(found), Some(expected)) => {
                        assert_eq!(found, Some(expected), "{what}");
                        n_same += 1;
                    }
                    // Only the server parses JSON.
                    (Ok(_), None) if to.pg_type == PgType::Json => {}
                    (Ok(found), None) => panic!("{what}: {found:02x?}, which the server refuses"),
                    (Err(ValueError::WrongArray), _) => panic!("{what}: no array of its own type"),
                    (Err(_), _) => {}
                }
            }
        }
    }
    assert!(n_same > 300, "{n_same}");
}
