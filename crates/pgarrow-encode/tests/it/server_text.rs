//! Text that is read here and not by the server: we read what the server prints.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_schema::DataType;
use pgarrow_encode::ValueError;
use pgarrow_testkit::{Capability, TestServer, require};
use pgarrow_types::PgType;

use crate::support::To;

/// Each type, and values of it: as SQL that returns rows of one column.
const CASES: [(&str, &str, &str); 7] = [
    (
        "date",
        "date_send",
        "SELECT d::date FROM generate_series(-2451545, 2145031948, 1234567) AS n, LATERAL (SELECT date '2000-01-01' + n) AS d(d) \
         UNION ALL SELECT date '2000-03-01' + n - 366 * 2100 FROM generate_series(0, 1600000, 89) AS n \
         UNION ALL VALUES (date 'infinity'), ('-infinity'), ('4714-11-24 BC'), ('0001-02-29 BC'), ('5874897-12-31')",
    ),
    (
        "time",
        "time_send",
        "SELECT time '00:00' + n * interval '1234567.891 milliseconds' FROM generate_series(0, 69) AS n \
         UNION ALL VALUES (time '24:00'), ('23:59:59.999999')",
    ),
    (
        "timetz",
        "timetz_send",
        "SELECT timetz '00:00+00' AT TIME ZONE (n * interval '877 seconds') + n * interval '1.000001 seconds' \
         FROM generate_series(-65, 65) AS n UNION ALL VALUES (timetz '24:00-15:59:59')",
    ),
    (
        "timestamp",
        "timestamp_send",
        "SELECT timestamp '2000-01-01' + n * interval '77777 days 12345.678901 seconds' FROM generate_series(-30, 1300) AS n \
         UNION ALL VALUES (timestamp 'infinity'), ('-infinity'), ('4714-11-24 00:00:00 BC'), ('294276-12-31 23:59:59.999999')",
    ),
    (
        "timestamptz",
        "timestamptz_send",
        "SELECT timestamptz '2000-01-01' + n * interval '77777 days 12345.678901 seconds' FROM generate_series(-30, 1300) AS n \
         UNION ALL VALUES (timestamptz 'infinity'), ('-infinity'), ('4714-11-24 00:00:00+00 BC')",
    ),
    (
        "float4",
        "float4send",
        "SELECT (exp(n / 10.0)::float8 * CASE n % 2 WHEN 0 THEN -1 ELSE 1 END)::float4 FROM generate_series(-1000, 880) AS n \
         UNION ALL VALUES (float4 'NaN'), ('Infinity'), ('-Infinity'), ('-0'), ('1e-45'), ('3.4028235e38')",
    ),
    (
        "float8",
        "float8send",
        "SELECT exp(n::float8 / 3.0) FROM generate_series(-2100, 2100) AS n \
         UNION ALL VALUES (float8 'NaN'), ('Infinity'), ('-Infinity'), ('-0'), ('5e-324'), ('1.79769313486e308')",
    ),
];

#[test]
fn what_the_server_prints_is_read_as_what_it_was() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("encode_printed");
    let mut client = database.client();
    for (type_name, send, values) in CASES {
        let pg_type = match type_name {
            "date" => PgType::Date,
            "time" => PgType::Time,
            "timetz" => PgType::Timetz,
            "timestamp" => PgType::Timestamp,
            "timestamptz" => PgType::Timestamptz,
            "float4" => PgType::Float4,
            _ => PgType::Float8,
        };
        let to = To::new(pg_type).check();
        // Zones with seconds and with minutes, and the least and the most printed digits.
        for (zone, float_digits) in [("UTC", 3), ("Europe/Amsterdam", 0), ("Asia/Kathmandu", 1)] {
            client
                .batch_execute(&format!("SET TimeZone = '{zone}'; SET extra_float_digits = {float_digits}"))
                .unwrap();
            let sql =
                format!("SELECT v::text, pg_catalog.{send}(v::text::{type_name}) FROM ({values}) AS v(v)");
            let rows = client.query(&sql, &[]).unwrap();
            assert!(rows.len() > 70, "{type_name}: {}", rows.len());
            let texts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let array: ArrayRef = Arc::new(StringArray::from(texts.clone()));
            for ((found, row), text) in to.values(&array).into_iter().zip(&rows).zip(texts) {
                let expected: Vec<u8> = row.get(1);
                assert_eq!(found, Ok(Some(expected)), "{text} as {type_name}, in {zone}");
            }
        }
    }
}

/// The server accepts all of these, and reads each as another value than the text's.
#[test]
fn what_the_server_would_change_silently_is_refused() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("encode_unread");
    let mut client = database.client();
    client.batch_execute("SET TimeZone = 'Asia/Tokyo'").unwrap();
    for (to, type_name, text, silently, is_rounded) in [
        (
            To::new(PgType::Timestamp).modifier(3),
            "timestamp(3)",
            "2020-01-01 00:00:00.1236",
            "2020-01-01 00:00:00.124",
            true,
        ),
        (
            To::new(PgType::Timestamp),
            "timestamp",
            "2020-01-01 00:00:00.1234567",
            "2020-01-01 00:00:00.123457",
            true,
        ),
        (To::new(PgType::Time).modifier(0), "time(0)", "00:00:01.6", "00:00:02", true),
        (To::new(PgType::Date), "date", "2020-01-01 12:34:56", "2020-01-01", true),
        (To::new(PgType::Timestamp), "timestamp", "2020-01-01 00:00:00+05", "2020-01-01 00:00:00", false),
        (To::new(PgType::Timestamptz), "timestamptz", "2020-01-01 00:00:00", "2020-01-01 00:00:00+09", false),
        (To::new(PgType::Time), "time", "2020-01-01 12:00:00", "12:00:00", false),
        (To::new(PgType::Timetz), "timetz", "12:00:00", "12:00:00+09", false),
        (To::new(PgType::Timestamp), "timestamp", "2016-12-31 23:59:60", "2017-01-01 00:00:00", false),
        (To::new(PgType::Float4), "float4", "16777217", "1.6777216e+07", true),
        (To::new(PgType::Float8), "float8", "9007199254740993", "9.007199254740992e+15", true),
    ] {
        let sql = format!("SELECT $1::text::{type_name}::text");
        let read: String = client.query_one(&sql, &[&text]).unwrap().get(0);
        assert_eq!(read, silently, "{text} as {type_name}");
        let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let checked = to.clone().check().values(&array).remove(0);
        match is_rounded {
            true => assert_eq!(checked, Err(ValueError::LostDigits), "{text} as {type_name}"),
            false => assert!(
                matches!(checked, Err(ValueError::Malformed(_))),
                "{text} as {type_name}: {checked:?}"
            ),
        }
        // Rounding is for digits only: no zone is dropped, and none is assumed.
        assert_eq!(to.clone().round().values(&array).remove(0).is_ok(), is_rounded, "{text} as {type_name}");
        assert!(to.refusal(&DataType::Utf8).is_some(), "{type_name}: not without an option");
    }
}
