//! Compares our values with a server's: the server decides which bytes are right, and what it would have
//! rounded silently.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_schema::Field;
use pgarrow_encode::{Conversions, HEADER, RowEncoder, TRAILER, TypeTarget, ValueError, make_encoder};
use pgarrow_testkit::{Capability, Chance, Database, TestServer, copy, require};
use pgarrow_types::{NumericType, PgType, oid};

use crate::numbers::numeric;
use crate::support::To;
use crate::times::interval_modifier;

/// The output of the server's send function for texts of a type; `None` if the type does not hold a text.
fn sent(database: &Database, type_name: &str, send: &str, texts: &[String]) -> Vec<Option<Vec<u8>>> {
    let mut client = database.client();
    let sql = format!("SELECT pg_catalog.{send}($1::text::{type_name})");
    let statement = client.prepare(&sql).unwrap();
    let value = |text: &String| client.query_one(&statement, &[text]).ok().map(|row| row.get(0));
    texts.iter().map(value).collect()
}

/// Our encoding of the values, in the same form.
fn encoded(to: &To, array: &ArrayRef) -> Vec<Result<Vec<u8>, ValueError>> {
    to.values(array).into_iter().map(|value| value.map(Option::unwrap)).collect()
}

/// A number as text, with more or fewer digits on either side of the point.
fn number(chance: &mut Chance) -> String {
    let mut digits =
        |n| (0..n).map(|_| char::from(b'0' + chance.one_of(&[&0, &0, &9, &4, &5, &1]))).collect::<String>();
    let lengths = [0, 1, 2, 3, 4, 5, 7, 8, 12, 17, 30, 45];
    let (whole, fraction) = (digits(12), digits(45));
    let (n_whole, n_fraction) = (*chance.one_of(&lengths.each_ref()), *chance.one_of(&lengths.each_ref()));
    let sign = chance.one_of(&["", "-"]);
    let exponent = chance.one_of(&["", "", "", "e3", "e-4", "E+9"]);
    let whole = if n_whole == 0 { "0" } else { &whole.repeat(4)[..n_whole] };
    match n_fraction {
        0 => format!("{sign}{whole}{exponent}"),
        _ => format!("{sign}{whole}.{}{exponent}", &fraction[..n_fraction]),
    }
}

#[test]
fn numerics_have_the_bytes_that_the_server_sends() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("encode_numeric");
    let mut chance = Chance::new(7);
    let mut texts: Vec<String> = (0..1_500).map(|_| number(&mut chance)).collect();
    texts.extend(["NaN", "0", "-0.00", "1e131071", "1e-16383", "9999.99999", "0.00005"].map(str::to_owned));
    let array: ArrayRef = Arc::new(StringArray::from(texts.clone()));
    let is_15 = TestServer::shared().version_num() >= 150_000;
    let modifiers =
        [None, Some((10, 2)), Some((38, 10)), Some((20, 0)), Some((3, -6)), Some((5, 7)), Some((60, 30))];
    for modifier in modifiers {
        let type_name = match modifier {
            Some((precision, scale)) if !is_15 && !(0..=precision).contains(&scale) => continue,
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => "numeric".to_owned(),
        };
        let to = numeric(modifier.map(|(precision, scale)| (precision as u16, scale as i16)));
        let expected = sent(&database, &type_name, "numeric_send", &texts);
        let any = sent(&database, "numeric", "numeric_send", &texts);
        let rounded = encoded(&to.clone().round(), &array);
        let checked = encoded(&to.check(), &array);
        let mut n_lost = 0;
        for (index, text) in texts.iter().enumerate() {
            let what = format!("{text} as {type_name}");
            assert_eq!(rounded[index].clone().ok(), expected[index], "{what}");
            match (&checked[index], &expected[index], &any[index]) {
                // A value that is not rounded equals the text's value: compared as text without trailing
                // zeros.
                (Ok(bytes), Some(expected), Some(any)) => {
                    assert_eq!(bytes, expected, "{what}");
                    assert_eq!(digits(bytes), digits(any), "{what}");
                }
                (Err(ValueError::LostDigits), Some(expected), Some(any)) => {
                    assert_ne!(digits(expected), digits(any), "{what}");
                    n_lost += 1;
                }
                (Err(_), None, _) => {}
                (found, expected, _) => panic!("{what}: {found:?}, and the server: {expected:?}"),
            }
        }
        assert!(modifier.is_none() || n_lost > 50, "{type_name}: {n_lost} with too many digits");
    }
}

/// A numeric without its scale.
fn digits(wire: &[u8]) -> Vec<u8> {
    [&wire[..6], &wire[8..]].concat()
}

#[test]
fn texts_have_the_bytes_that_the_server_sends() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("encode_texts");
    let cases: [(&str, &str, PgType, u32, &[&str]); 7] = [
        ("bit(9)", "bit_send", PgType::Bit, 0, &["000000000", "101010101"]),
        ("varbit", "varbit_send", PgType::Bit, 0, &["", "1", "0110100001"]),
        (
            "inet",
            "inet_send",
            PgType::Inet,
            oid::INET,
            &[
                "0.0.0.0/0",
                "10.1.2.3",
                "10.1.2.3/8",
                "::",
                "::1",
                "1::",
                "2001:db8::1/64",
                "::ffff:1.2.3.4",
                "::1.2.3.4/3",
            ],
        ),
        (
            "cidr",
            "cidr_send",
            PgType::Inet,
            oid::CIDR,
            &["10.0.0.0/8", "10.1.2.3/32", "2001:db8::/32", "::1/128"],
        ),
        ("macaddr", "macaddr_send", PgType::Macaddr, 0, &["08:00:2b:01:02:ff"]),
        ("macaddr8", "macaddr8_send", PgType::Macaddr8, 0, &["08:00:2b:01:02:03:04:ff"]),
        (
            "uuid",
            "uuid_send",
            PgType::Uuid,
            0,
            &[
                "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
                "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
                "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            ],
        ),
    ];
    for (type_name, send, pg_type, base_oid, texts) in cases {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let expected: Vec<_> =
            sent(&database, type_name, send, &texts).into_iter().map(Option::unwrap).collect();
        let mut to = To::new(pg_type).check();
        to.declared.base_oid = base_oid;
        let array: ArrayRef = Arc::new(StringArray::from(texts));
        let found: Vec<_> = encoded(&to, &array).into_iter().map(Result::unwrap).collect();
        assert_eq!(found, expected, "{type_name}");
    }
}

/// Microseconds around every half of every digit.
fn micros(chance: &mut Chance, around: i64) -> Vec<i64> {
    let steps = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
    let near = |step: i64| [0, 1, step / 2 - 1, step / 2, step / 2 + 1, step - 1];
    let mut all: Vec<i64> = steps.into_iter().flat_map(near).flat_map(|n| [around + n, around - n]).collect();
    all.extend((0..50).map(|_| around + chance.within(0, 2_000_000) as i64 - 1_000_000));
    all
}

#[test]
fn digits_of_a_second_are_rounded_as_the_server_rounds_them() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("encode_seconds");
    let mut chance = Chance::new(11);
    // 2000-01-01, 1970-01-01, 1969-12-31, and noon.
    let epoch = 946_684_800_000_000;
    let instants = [epoch, 0, -1_000_000_000].map(|around| micros(&mut chance, around)).concat();
    let noon: Vec<i64> = micros(&mut chance, 43_200_000_000);
    let spans = [0, 123_456_789, -5_000_000].map(|around| micros(&mut chance, around)).concat();
    for digits in 0..=6 {
        let texts: Vec<String> = instants
            .iter()
            .map(|micros| {
                let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
                format!("1970-01-01 00:00:00.{rest:06}|{seconds}")
            })
            .collect();
        // The server adds the whole seconds: the texts of old dates would be too long to write here.
        let add = |name: &str, zone: &str| {
            let sql = format!(
                "SELECT pg_catalog.{name}_send(((pg_catalog.split_part(t, '|', 1)::timestamp + \
                 pg_catalog.split_part(t, '|', 2)::int8 * interval '1 second'){zone})::{name}({digits})) \
                 FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS x(t, n) ORDER BY n"
            );
            let rows = database.client().query(&sql, &[&texts]).unwrap();
            rows.into_iter().map(|row| row.get::<_, Vec<u8>>(0)).collect::<Vec<_>>()
        };
        for (pg_type, name, zone, arrow_zone) in [
            (PgType::Timestamp, "timestamp", "", None),
            (PgType::Timestamptz, "timestamptz", " AT TIME ZONE 'UTC'", Some("UTC")),
        ] {
            let array = TimestampMicrosecondArray::from(instants.clone()).with_timezone_opt(arrow_zone);
            check_rounding(
                &To::new(pg_type).modifier(digits),
                &(Arc::new(array) as ArrayRef),
                &add(name, zone),
            );
        }
        let array: ArrayRef = Arc::new(Time64MicrosecondArray::from(noon.clone()));
        let sql = format!(
            "SELECT pg_catalog.time_send((time '00:00' + u * interval '1 microsecond')::time({digits})) \
             FROM pg_catalog.unnest($1::int8[]) WITH ORDINALITY AS x(u, n) ORDER BY n"
        );
        let rows = database.client().query(&sql, &[&noon]).unwrap();
        let expected: Vec<Vec<u8>> = rows.into_iter().map(|row| row.get(0)).collect();
        check_rounding(&To::new(PgType::Time).modifier(digits), &array, &expected);

        let array: ArrayRef = Arc::new(arrow_array::DurationMicrosecondArray::from(spans.clone()));
        for (fields, mask) in
            [("", 0x7fff), ("second", 1 << 12), ("day to second", 1 << 3 | 1 << 10 | 1 << 11 | 1 << 12)]
        {
            let sql = format!(
                "SELECT pg_catalog.interval_send((u * interval '1 microsecond')::interval {fields}({digits})) \
                 FROM pg_catalog.unnest($1::int8[]) WITH ORDINALITY AS x(u, n) ORDER BY n"
            );
            let rows = database.client().query(&sql, &[&spans]).unwrap();
            let expected: Vec<Vec<u8>> = rows.into_iter().map(|row| row.get(0)).collect();
            let modifier = interval_modifier(mask, digits);
            let type_name = format!("interval {fields}({digits})");
            database.execute(&format!("CREATE TABLE m{digits}{mask} (v {type_name})"));
            let sql = format!(
                "SELECT atttypmod FROM pg_catalog.pg_attribute \
                 WHERE attrelid = 'm{digits}{mask}'::regclass AND attname = 'v'"
            );
            let row = database.client().query_one(&sql, &[]).unwrap();
            assert_eq!(row.get::<_, i32>(0), modifier, "{type_name}");
            check_rounding(
                &To::new(PgType::Interval { has_infinities: true }).modifier(modifier),
                &array,
                &expected,
            );
        }
    }
}

/// With rounding, our value is the server's. With checks, it is the server's if nothing had to be rounded,
/// and an error otherwise.
#[track_caller]
fn check_rounding(to: &To, array: &ArrayRef, expected: &[Vec<u8>]) {
    let rounded: Vec<_> = encoded(&to.clone().round(), array).into_iter().map(Result::unwrap).collect();
    assert_eq!(rounded, expected, "{to:?}");
    let exact = To { declared: crate::support::declared(&to.pg_type, 0, -1), ..to.clone() };
    let exact: Vec<_> = encoded(&exact, array).into_iter().map(Result::unwrap).collect();
    for ((found, exact), expected) in encoded(&to.clone().check(), array).into_iter().zip(exact).zip(expected)
    {
        match exact == *expected {
            true => assert_eq!(found.as_ref(), Ok(expected), "{to:?}"),
            false => assert_eq!(found, Err(ValueError::LostDigits), "{to:?}"),
        }
    }
}

/// Loads a stream and returns the table's values as text.
fn loaded(database: &Database, type_name: &str, stream: &[u8]) -> Vec<String> {
    let mut client = database.client();
    client.batch_execute(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (v {type_name})")).unwrap();
    let mut writer = client.copy_in("COPY t FROM STDIN (FORMAT binary)").unwrap();
    std::io::Write::write_all(&mut writer, stream).unwrap();
    writer.finish().unwrap();
    client.query("SELECT v::text FROM t", &[]).unwrap().into_iter().map(|row| row.get(0)).collect()
}

/// A load without checks would change these values, and no error or notice would report it.
#[test]
fn what_the_server_would_round_silently_is_refused() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("encode_silent");
    // Half a millisecond, rounded away from 2000.
    let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_500]));
    let time: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![1_500_000]));
    let decimal: ArrayRef =
        Arc::new(Decimal128Array::from(vec![1_235]).with_precision_and_scale(10, 3).unwrap());
    let spans: ArrayRef = Arc::new(arrow_array::DurationMicrosecondArray::from(vec![86_399_000_000]));
    let declared = NumericType::Declared { precision: 10, scale: 2 };
    let day = interval_modifier(1 << 3, 0xffff);
    for (type_name, to, array, silently) in [
        ("timestamp(3)", To::new(PgType::Timestamp).modifier(3), &micros, "1970-01-01 00:00:00.001"),
        ("time(0)", To::new(PgType::Time).modifier(0), &time, "00:00:02"),
        ("numeric(10,2)", To::new(PgType::Numeric(declared)), &decimal, "1.24"),
        (
            "interval day",
            To::new(PgType::Interval { has_infinities: true }).modifier(day),
            &spans,
            "00:00:00",
        ),
    ] {
        assert_eq!(encoded(&to.clone().check(), array), [Err(ValueError::LostDigits)], "{type_name}");
        // The same value for a type without a modifier, as a load without checks sends it.
        let plain = match &to.pg_type {
            PgType::Numeric(_) => PgType::Numeric(NumericType::Unconstrained),
            pg_type => pg_type.clone(),
        };
        let unaware = encoded(&To::new(plain), array).remove(0).unwrap();
        let stream = [&HEADER[..], &copy::tuple([Some(&unaware[..])]), &TRAILER].concat();
        assert_eq!(loaded(&database, type_name, &stream), [silently], "{type_name}");
        // With rounding allowed, we send the same value.
        let field = Field::new("v", array.data_type().clone(), true);
        let target = TypeTarget { conversions: Conversions::Round, ..to.target() };
        let rows = RowEncoder::new(vec![(0, make_encoder(&field, target).unwrap())]).unwrap();
        let schema = Arc::new(arrow_schema::Schema::new(vec![field]));
        let batch = arrow_array::RecordBatch::try_new(schema, vec![Arc::clone(array)]).unwrap();
        let mut stream = HEADER.to_vec();
        rows.bind(&batch).unwrap().write_rows(0, usize::MAX, &mut stream).unwrap();
        stream.extend(TRAILER);
        assert_eq!(loaded(&database, type_name, &stream), [silently], "{type_name}");
    }
}
