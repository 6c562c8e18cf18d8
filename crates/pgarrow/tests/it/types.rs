//! Types one by one: their bounds, their Arrow types, and the values that must stop the run. (`differential`
//! has every type, in every nesting.)

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type};
use arrow_schema::DataType;
use pgarrow::{ErrorKind, ExportOptions, IntervalForm, TypeOptions, UnknownTypes};
use pgarrow_testkit::{Capability, TestServer, require};

use crate::support::{
    Export, assert_error, assert_table, database, oracle, query_lines, read, refusal, server_text, source,
};

/// Exports `(VALUES (NULL), values…)` of one type and compares with the server.
#[track_caller]
fn assert_values(pg_type: &str, values: &[&str]) -> Export {
    let rows: Vec<String> = values.iter().map(|value| format!("('{value}'::{pg_type})")).collect();
    let sql = format!(
        "CREATE TABLE e AS SELECT * FROM (VALUES (NULL::{pg_type}), {}, (NULL)) AS x(v)",
        rows.join(", ")
    );
    assert_table(&database("values", &sql), "e", "*")
}

#[test]
fn integers_oids_and_booleans_at_their_bounds() {
    require!(Capability::Server);
    let database = database(
        "ints",
        "CREATE TABLE e (s int2, i int4, l int8, o oid, x xid, c cid, b bool); \
         INSERT INTO e VALUES (-32768, -2147483648, -9223372036854775808, 0, '0', '0', false), \
           (32767, 2147483647, 9223372036854775807, 4294967295, '4294967295', '4294967295', true), \
           (0, 0, 0, 2147483648, '2147483648', '2147483648', NULL), \
           (NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    );
    let export = assert_table(&database, "e", "*");
    assert_eq!(export.schema.field(3).data_type(), &DataType::UInt32);
}

#[test]
fn names_of_objects_arrive_as_their_oids() {
    require!(Capability::Server);
    let types = [
        "regproc",
        "regprocedure",
        "regoper",
        "regoperator",
        "regclass",
        "regtype",
        "regconfig",
        "regdictionary",
        "regnamespace",
        "regrole",
        "regcollation",
    ];
    let columns: Vec<String> = types.iter().map(|name| format!("{name}_ {name}")).collect();
    let oids: Vec<String> = types.iter().map(|name| format!("{name}_::oid")).collect();
    let database = database(
        "reg",
        &format!(
            "CREATE TABLE e ({}); \
             INSERT INTO e VALUES ('now', 'abs(integer)', '|/', '+(integer,integer)', 'pg_class', 'int4', \
               'simple', 'simple', 'public', current_user::regrole, '\"C\"'); \
             INSERT INTO e (regclass_, regtype_) VALUES ('-', '4294967295')",
            columns.join(", ")
        ),
    );
    assert_table(&database, "e", &oids.join(", "));
}

#[test]
fn eight_bytes_without_a_sign() {
    require!(Capability::Server);
    assert_values("xid8", &["0", "9223372036854775808", "18446744073709551615"]);
    assert_values("pg_lsn", &["0/0", "1/0", "80000000/1", "FFFFFFFF/FFFFFFFF"]);
}

#[test]
fn floats_keep_every_bit() {
    require!(Capability::Server);
    assert_values(
        "float8",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "0",
            "4.9e-324",
            "2.2250738585072014e-308",
            "0.1",
            "1e15",
            "1.7976931348623157e308",
            "-1.7976931348623157e308",
            "1e16",
            "9007199254740993",
        ],
    );
    assert_values(
        "float4",
        &["NaN", "Infinity", "-Infinity", "-0", "1e-45", "1.1754944e-38", "3.4028235e38", "16777217", "0.1"],
    );
}

#[test]
fn numerics_without_a_declared_size_are_what_the_server_prints() {
    require!(Capability::Server);
    let database = database(
        "numeric",
        "CREATE TABLE e AS SELECT v FROM (VALUES (NULL::numeric), ('NaN'), ('Infinity'), ('-Infinity'), (0), \
           (0.00), (-0.0), (1), (-1), (0.000067), (0.00001), (1.10), (9999), (10000), (99990000), (100000000), \
           (12345.678901234567890), (1e-16383), (-1e-16383), (0.0001), (0.00010), (10000.00010), \
           (('9' || repeat('9', 75))::numeric), (('0.' || repeat('0', 37) || '1')::numeric), \
           (('1' || repeat('0', 38))::numeric), (('1' || repeat('0', 131071))::numeric), \
           (('-1' || repeat('0', 131071) || '.' || repeat('0', 16382) || '1')::numeric), \
           ((repeat('9', 131072) || '.' || repeat('9', 16383))::numeric)) AS x(v)",
    );
    let export = assert_table(&database, "e", "*");
    assert_eq!(export.schema.field(0).data_type(), &DataType::Utf8);
}

#[test]
fn declared_numerics_are_decimals_as_wide_as_they_must_be() {
    require!(Capability::Server, Capability::VersionAtLeast(150_000));
    let database = database(
        "typmod",
        "CREATE TABLE e (a numeric(10,2), b numeric(38,0), c numeric(38,38), d numeric(39,10), e numeric(76,0), \
           f numeric(77,10), g numeric(1000,500), h numeric(3,-6), i numeric(3,7), j numeric(1,0), \
           k numeric(76,76), l numeric(38,-38), m numeric(2,38)); \
         INSERT INTO e VALUES (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
           (99999999.99, repeat('9',38)::numeric, ('0.'||repeat('9',38))::numeric, 1.5, repeat('9',76)::numeric, \
             0.0000000001, 1, 999000000, 0.0000999, 9, ('0.'||repeat('9',76))::numeric, 1e38, 99e-38), \
           (-0.01, 0, 0, -0.0000000001, -1, -1, -1e-500, -1000000, -0.0000001, -9, -1e-76, -99e38, -1e-38), \
           (-99999999.99, -repeat('9',38)::numeric, ('-0.'||repeat('9',38))::numeric, \
             (repeat('9',29)||'.'||repeat('9',10))::numeric, -repeat('9',76)::numeric, NULL, NULL, 0, 0, 0, 0, 0, 0)",
    );
    let export = assert_table(&database, "e", "*");
    let types: Vec<_> = export.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    use DataType::{Decimal128, Decimal256, Utf8};
    let expected = [
        Decimal128(10, 2),
        Decimal128(38, 0),
        Decimal128(38, 38),
        Decimal256(39, 10),
        Decimal256(76, 0),
        Utf8,
        Utf8,
        Decimal128(9, 0),
        Decimal128(7, 7),
        Decimal128(1, 0),
        Decimal256(76, 76),
        Decimal256(76, 0),
        Decimal128(38, 38),
    ];
    assert_eq!(types, expected);
}

#[test]
fn numeric_of_every_weight_and_scale() {
    require!(Capability::Server);
    // Digits at the places where PostgreSQL's groups of four begin and end.
    let database = database(
        "weights",
        "CREATE TABLE e AS SELECT (s || repeat('7', w) || '.' || repeat('0', z) || repeat('3', f))::numeric AS v, \
           (s || repeat('7', w) || '.' || repeat('0', z) || repeat('3', f))::numeric(38,18) AS d, \
           (s || repeat('7', w) || '.' || repeat('0', z) || repeat('3', f))::numeric(76,30) AS x \
         FROM generate_series(1, 20) w, generate_series(0, 9) z, generate_series(0, 9) f, \
           (VALUES (''), ('-')) AS signs(s)",
    );
    assert_table(&database, "e", "*");
}

#[test]
fn money_in_the_servers_locale() {
    require!(Capability::Server);
    let database = database(
        "money",
        "CREATE TABLE e AS SELECT v FROM (VALUES (NULL::money), ('-92233720368547758.08'), ('0'), ('-0.01'), \
           ('92233720368547758.07')) AS x(v)",
    );
    let export = assert_table(&database, "e", "v::numeric");
    assert_eq!(export.schema.field(0).data_type(), &DataType::Decimal128(19, 2));
}

#[test]
fn money_in_a_locale_without_fractions() {
    require!(Capability::Server, Capability::Locale("ja_JP.UTF-8"));
    let database = database("yen", "CREATE TABLE e AS SELECT '12345'::money AS v");
    let options = ExportOptions::default().with_setting("lc_monetary", "ja_JP.UTF-8");
    let export = read(source(&database).table("e").options(options)).unwrap();
    assert_eq!(export.schema.field(0).data_type(), &DataType::Decimal128(19, 0));
    // Money counts the smallest unit: hundredths in the table's locale are whole yen here.
    assert_eq!(export.lines(), ["1234500"]);
}

#[test]
fn text_byte_for_byte() {
    require!(Capability::Server);
    let database = database(
        "text",
        r"CREATE TABLE e AS SELECT v, v::varchar AS w FROM (VALUES (NULL::text), (''), (' '), ('NULL'), ('\N'),
           (E'a\tb\nc\rd\\e'), (E'\u0001\u007f'), ('é'), (U&'e\0301'), ('😀'), (U&'\+10FFFF'), (U&'\FEFF'),
           (U&'\202E\0041'), (E'\u001b[31mred'), ('PGCOPY'), (repeat('x', 65536)), (repeat('é', 1000000))) AS x(v)",
    );
    assert_table(&database, "e", "*");
}

#[test]
fn char_with_a_length_keeps_its_padding() {
    require!(Capability::Server);
    let database = database(
        "bpchar",
        "CREATE TABLE e (a char(5), b varchar(3), c char(1), d bpchar, n name); \
         INSERT INTO e VALUES ('ab ', 'abc', '', 'ab  ', repeat('n', 63)::name), ('     ', '', ' ', '', ''), \
           ('éé', 'é', 'é', 'é ', 'é'), (NULL, NULL, NULL, NULL, NULL)",
    );
    let export = assert_table(&database, "e", "*");
    assert_eq!(export.batches[0].column(0).as_string::<i32>().value(0), "ab   ");
}

#[test]
fn one_byte_chars_that_are_ascii() {
    require!(Capability::Server);
    let sql = "CREATE TABLE e AS SELECT chr(g)::\"char\" AS v FROM generate_series(1, 127) AS g; \
               INSERT INTO e VALUES (NULL), (''::\"char\")";
    assert_table(&database("char", sql), "e", "*");
}

#[test]
fn one_byte_chars_beyond_ascii_are_printed_as_postgres_16_does() {
    require!(Capability::Server);
    // Before 16, only a cast from an integer makes such a byte.
    let database = database(
        "highchar",
        "CREATE TABLE e AS SELECT g AS byte, (CASE WHEN g < 128 THEN g ELSE g - 256 END)::\"char\" AS v \
         FROM generate_series(128, 255) AS g",
    );
    let export = read(source(&database).table("e")).unwrap();
    let expected: Vec<String> = (128..256).map(|byte| format!("{byte}|\\{byte:o}")).collect();
    assert_eq!(export.lines(), expected);
}

#[test]
fn bytes_of_every_value() {
    require!(Capability::Server);
    let database = database(
        "bytea",
        r"CREATE TABLE e AS SELECT v FROM (VALUES (NULL::bytea), ('\x'), ('\x00'), ('\xff'),
           ('\x5047434f50590aff0d0a00'), (decode(repeat('00ff', 100000), 'hex')),
           ((SELECT string_agg(set_byte('\x00', 0, g), '') FROM generate_series(0, 255) AS g))) AS x(v)",
    );
    assert_table(&database, "e", "*");
}

#[test]
fn bit_strings_keep_their_leading_zeros() {
    require!(Capability::Server);
    let database = database(
        "bit",
        "CREATE TABLE e (a bit(1), b bit(9), c varbit, d varbit(64)); \
         INSERT INTO e VALUES (B'1', B'101010101', B'', B'1'), \
           (B'0', B'000000000', repeat('10', 5000)::varbit, repeat('1', 64)::varbit), \
           (NULL, B'000000001', B'00000000', B'000000001'), (NULL, NULL, NULL, NULL)",
    );
    assert_table(&database, "e", "*");
}

#[test]
fn uuids() {
    require!(Capability::Server);
    let export = assert_values(
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ],
    );
    assert_eq!(export.schema.field(0).data_type(), &DataType::FixedSizeBinary(16));
}

#[test]
fn json_is_the_servers_text() {
    require!(Capability::Server);
    let database = database(
        "json",
        r#"CREATE TABLE e (j json, b jsonb);
           INSERT INTO e VALUES ('null', 'null'), ('{"a" : 1,"a":2}', '{"a":2}'), ('"\u0000 is fine in json"', '1e400'),
             ('[]', '{}'), (' {"é": "😀"} ', '{"b": 1, "a": [1, null]}'), (NULL, NULL),
             (('"' || repeat('x', 1000000) || '"')::json, ('"' || repeat('x', 1000000) || '"')::jsonb)"#,
    );
    assert_table(&database, "e", "*");
}

#[test]
fn dates_from_the_first_to_the_last() {
    require!(Capability::Server);
    assert_values(
        "date",
        &[
            "4714-11-24 BC",
            "0001-12-31 BC",
            "0001-01-01 BC",
            "0005-02-29 BC",
            "0001-01-01",
            "1582-10-04",
            "1582-10-15",
            "1899-12-31",
            "1969-12-31",
            "1970-01-01",
            "1999-12-31",
            "2000-01-01",
            "2000-02-29",
            "2100-02-28",
            "9999-12-31",
            "10000-01-01",
            "5874897-12-31",
        ],
    );
}

#[test]
fn every_day_of_eight_centuries() {
    require!(Capability::Server);
    let sql = "CREATE TABLE e AS SELECT '0400-01-01 BC'::date + g AS v FROM generate_series(0, 300000) AS g";
    assert_table(&database("days", sql), "e", "*");
}

const TIMESTAMPS: [&str; 14] = [
    "4714-11-24 00:00:00 BC",
    "0001-01-01 00:00:00 BC",
    "0001-01-01",
    "1677-09-21 00:12:43.145224",
    "1677-09-21 00:12:43.145225",
    "1969-12-31 23:59:59.999999",
    "1970-01-01",
    "1999-12-31 23:59:59.999999",
    "2000-01-01 00:00:00.000001",
    "2000-01-01 00:00:00.5",
    "2262-04-11 23:47:16.854775",
    "2262-04-11 23:47:16.854776",
    "9999-12-31 23:59:59.999999",
    "294247-01-10 04:00:54.775807",
];

#[test]
fn timestamps_up_to_the_last_that_arrow_can_hold() {
    require!(Capability::Server);
    assert_values("timestamp", &TIMESTAMPS);
}

#[test]
fn timestamps_with_time_zone_up_to_the_last_that_arrow_can_hold() {
    require!(Capability::Server);
    let values = TIMESTAMPS.map(|value| match value.strip_suffix(" BC") {
        Some(value) => format!("{value}+00 BC"),
        None => format!("{value}{}+00", if value.len() == 10 { " 00:00" } else { "" }),
    });
    let export = assert_values("timestamptz", &values.each_ref().map(String::as_str));
    let zone = Some("UTC".into());
    assert_eq!(
        export.schema.field(0).data_type(),
        &DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, zone)
    );
}

#[test]
fn timestamps_that_were_rounded_to_their_precision() {
    require!(Capability::Server);
    let database = database(
        "rounded",
        "CREATE TABLE e AS SELECT v::timestamp(0) AS p0, v::timestamp(3) AS p3, \
           (v AT TIME ZONE 'UTC')::timestamptz(0) AS z0, v::time(2) AS t2 \
         FROM (VALUES ('1999-12-31 23:59:59.9999995'::timestamp), ('2000-01-01 00:00:00.5'), \
           ('2000-01-01 00:00:01.5'), ('2000-01-01 23:59:59.996')) AS x(v)",
    );
    assert_table(&database, "e", "*");
}

#[test]
fn times_up_to_the_end_of_the_day() {
    require!(Capability::Server);
    assert_values(
        "time",
        &["00:00:00", "00:00:00.000001", "23:59:59.999999", "23:59:60", "24:00:00", "12:34:56.789"],
    );
}

#[test]
fn times_with_the_offsets_they_were_written_in() {
    require!(Capability::Server);
    assert_values(
        "timetz",
        &[
            "00:00:00+00",
            "24:00:00+15:59:59",
            "12:34:56.789-15:59:59",
            "12:00:00+05:45",
            "12:00:00-00:00:01",
            "23:59:59.999999-11",
        ],
    );
}

const INTERVALS: [&str; 15] = [
    "0",
    "1 mon -1 day 00:00:00.000001",
    "-1 mon +1 day -00:00:00.000001",
    "178000000 years",
    "-178000000 years",
    "2147483647 days",
    "-2147483648 days",
    "2562047:47:16.854775",
    "-2562047:47:16.854775",
    "30 days 24:00:00",
    "1 mon",
    "30 days",
    "-1 year -1 mon",
    "11 mons -00:00:01",
    "1 year -11 mons",
];

#[test]
fn intervals_keep_their_three_parts() {
    require!(Capability::Server);
    assert_values("interval", &INTERVALS);
}

#[test]
fn intervals_as_structs_hold_every_finite_one() {
    // PostgreSQL 14 does not accept the longest of them.
    require!(Capability::VersionAtLeast(150_000));
    let values: Vec<String> = INTERVALS.iter().map(|value| format!("('{value}'::interval)")).collect();
    let database = database(
        "intervals",
        &format!(
            "CREATE TABLE e AS SELECT * FROM (VALUES {}, (NULL), ('2562047788:00:54.775807'), \
             ('-2562047788:00:54.775807')) AS x(v)",
            values.join(", ")
        ),
    );
    let expected = server_text(&mut oracle(&database), "SELECT v FROM e");
    let options = ExportOptions::default().with_interval(IntervalForm::Struct);
    let export = read(source(&database).table("e").options(options)).unwrap();
    export.assert_is(&expected);
}

#[test]
fn network_addresses_as_the_server_prints_them() {
    require!(Capability::Server);
    assert_values(
        "inet",
        &[
            "0.0.0.0/0",
            "10.1.2.3",
            "10.1.2.3/8",
            "255.255.255.255/31",
            "::/0",
            "::1",
            "::1/64",
            "2001:db8::1/64",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "1:0:0:2:0:0:0:3",
            "1:0:0:2:3:0:0:4",
            "fe80::",
            "0:1::",
            "::ffff:0:0",
            "1:2:3:4:5:6:7:0",
            "0:0:0:0:0:ffff:102:304/96",
            "::ffff:ffff",
            "1:0:2:0:3:0:4:0",
        ],
    );
    assert_values("cidr", &["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "2001:db8::/32", "::1/128"]);
    assert_values("macaddr", &["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "08:00:2b:01:02:03"]);
    assert_values("macaddr8", &["00:00:00:00:00:00:00:00", "08:00:2b:01:02:03:04:05"]);
}

#[test]
fn a_literal_of_unknown_type_is_text() {
    require!(Capability::Server);
    let database = database("unknown", "");
    assert_eq!(query_lines(&database, "SELECT 'a', NULL, 'é' AS x"), ["a|∅|é"]);
}

#[test]
fn every_int2() {
    require!(Capability::Server);
    let sql = "CREATE TABLE e AS SELECT g::int2 AS v FROM generate_series(-32768, 32767) AS g";
    assert_eq!(assert_table(&database("int2", sql), "e", "*").n_rows(), 65536);
}

#[test]
fn floats_of_any_bits_arrive_with_these_bits() {
    require!(Capability::Server);
    let database = database("bits", "CREATE TABLE e (a float4, b float8)");
    // A generator of full period; its numbers include NaNs of all kinds.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state
    };
    let doubles: Vec<f64> = (0..200_000).map(|_| f64::from_bits(next() ^ (next() >> 32))).collect();
    let floats: Vec<f32> = (0..200_000).map(|_| f32::from_bits((next() >> 32) as u32)).collect();
    let sql = "INSERT INTO e SELECT * FROM unnest($1::float4[], $2::float8[])";
    database.client().execute(sql, &[&floats, &doubles]).unwrap();
    let export =
        read(source(&database).table("e").options(ExportOptions::default().with_order(true))).unwrap();
    let found = |column: usize| {
        let batches = export.batches.iter();
        batches.map(move |batch| batch.column(column).clone()).collect::<Vec<_>>()
    };
    let found_floats =
        found(0).into_iter().flat_map(|array| array.as_primitive::<Float32Type>().values().to_vec());
    assert!(found_floats.map(f32::to_bits).eq(floats.into_iter().map(f32::to_bits)));
    let found_doubles =
        found(1).into_iter().flat_map(|array| array.as_primitive::<Float64Type>().values().to_vec());
    assert!(found_doubles.map(f64::to_bits).eq(doubles.into_iter().map(f64::to_bits)));
}

#[test]
fn times_over_the_whole_day() {
    require!(Capability::Server);
    let sql = "CREATE TABLE e AS SELECT '00:00'::time + g * interval '1.727999 s' AS v, \
               ('00:00'::time + g * interval '1.727999 s')::timetz AT TIME ZONE ((g % 900) * interval '1 minute') AS z \
               FROM generate_series(0, 49999) AS g";
    assert_table(&database("day", sql), "e", "*");
}

#[test]
fn random_enums_share_one_dictionary_over_all_batches() {
    require!(Capability::Server);
    let database = database(
        "enum",
        "CREATE TYPE en AS ENUM ('a', 'B', 'é', '', 'with,comma', 'q\"uote'); \
         CREATE TABLE e AS SELECT (enum_range(NULL::en))[1 + g % 8] AS v FROM generate_series(1, 5000) AS g",
    );
    let expected = server_text(&mut oracle(&database), "SELECT v FROM e");
    let options = ExportOptions::default().with_batch_rows(700);
    let export = read(source(&database).table("e").options(options)).unwrap();
    export.assert_is(&expected);
    assert!(export.batches.len() > 5);
    let first = export.batches[0].column(0).as_dictionary::<Int32Type>().values();
    let labels: Vec<&str> = first.as_string::<i32>().iter().flatten().collect();
    assert_eq!(labels, ["a", "B", "é", "", "with,comma", "q\"uote"], "in the order of the type");
    for batch in &export.batches {
        let dictionary = batch.column(0).as_dictionary::<Int32Type>();
        assert!(dictionary.values().to_data().ptr_eq(&first.to_data()), "one dictionary, not copies of it");
        assert!(dictionary.keys().null_count() > 0);
    }
}

#[test]
fn enum_labels_in_the_order_that_alter_type_made() {
    require!(Capability::Server);
    let database = database("altered", "CREATE TYPE en AS ENUM ('a', 'B')");
    database.execute("ALTER TYPE en ADD VALUE 'later' BEFORE 'a'");
    database.execute("ALTER TYPE en RENAME VALUE 'B' TO 'b2'; CREATE TABLE e AS SELECT 'b2'::en AS v");
    let export = assert_table(&database, "e", "*");
    let dictionary = export.batches[0].column(0).as_dictionary::<Int32Type>().clone();
    assert_eq!(
        dictionary.values().as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
        ["later", "a", "b2"]
    );
}

#[test]
fn domains_are_read_as_what_they_stand_on() {
    require!(Capability::Server);
    let database = database(
        "domain",
        "CREATE DOMAIN positive AS int4 CHECK (value > 0); CREATE DOMAIN tiny AS positive NOT NULL; \
         CREATE DOMAIN price AS numeric(10,2); CREATE DOMAIN word AS varchar(5) COLLATE \"C\"; \
         CREATE TYPE en AS ENUM ('x'); CREATE DOMAIN letter AS en; CREATE DOMAIN ints AS int4[]; \
         CREATE TABLE e (a positive, b tiny, c price, d word, f letter, g ints); \
         INSERT INTO e VALUES (1, 2, 1.5, 'é', 'x', '{1,2}'), (NULL, 3, NULL, NULL, NULL, NULL)",
    );
    let export = assert_table(&database, "e", "*");
    let found: Vec<_> = export.schema.fields().iter().map(|field| field.data_type().clone()).collect();
    assert_eq!(found[..4], [DataType::Int32, DataType::Int32, DataType::Decimal128(10, 2), DataType::Utf8]);
    assert!(matches!(found[4], DataType::Dictionary(_, _)));
    assert_eq!(export.schema.field(1).metadata()["pg.type"], "tiny");
    assert!(export.schema.field(1).is_nullable(), "a domain's NOT NULL proves nothing");
    assert!(matches!(found[5], DataType::List(_)));
    assert!(export.warnings.is_empty(), "{:?}", export.warnings);
}

#[test]
fn citext_is_text_without_a_warning() {
    require!(Capability::Server, Capability::Extension("citext"));
    let sql = "CREATE EXTENSION citext; CREATE TABLE e (v citext); INSERT INTO e VALUES ('Aé'), (''), (NULL)";
    let export = assert_table(&database("citext", sql), "e", "*");
    assert!(export.warnings.is_empty(), "{:?}", export.warnings);
}

#[test]
fn types_of_extensions_are_read_by_their_own_format() {
    require!(Capability::Server, Capability::Extension("hstore"), Capability::Extension("ltree"));
    let database = database(
        "extensions",
        "CREATE SCHEMA elsewhere; CREATE EXTENSION hstore SCHEMA elsewhere; CREATE EXTENSION ltree SCHEMA elsewhere; \
         CREATE TABLE e (h elsewhere.hstore, l elsewhere.ltree); \
         INSERT INTO e VALUES ('a=>1, b=>NULL', 'Top.Science'), ('', ''), (NULL, NULL)",
    );
    let export = assert_table(&database, "e", "*");
    assert!(matches!(export.schema.field(0).data_type(), DataType::Map(_, _)));
    assert_eq!(export.schema.field(1).data_type(), &DataType::Utf8);
    assert!(export.warnings.is_empty(), "{:?}", export.warnings);
}

/// Columns whose types are not decoded, with three rows.
const TEXT_FORMS: &str = r#"
    CREATE TYPE hidden AS (a int4, b aclitem); CREATE DOMAIN acl AS aclitem; CREATE TYPE deeper AS (x hidden[], y int4);
    CREATE TABLE e (v tsvector, q tsquery, p jsonpath, s pg_snapshot, a aclitem, aa aclitem[], d acl, h hidden,
        hh deeper[], qq tsquery[]);
    INSERT INTO e VALUES ('a:1A,2B fat', 'a & !b | c:*', '$.a', '10:20:10,14',
        makeaclitem(10::oid, 10::oid, 'SELECT', false), array[makeaclitem(10::oid, 10::oid, 'SELECT', false), NULL],
        makeaclitem(10::oid, 10::oid, 'UPDATE', true), row(1, makeaclitem(10::oid, 10::oid, 'SELECT', false)),
        array[row(array[row(NULL, makeaclitem(10::oid, 10::oid, 'SELECT', false))::hidden], 5)::deeper],
        array['a & b'::tsquery, NULL]),
      ('', '', NULL, '1:1:', NULL, '{}', NULL, row(NULL, NULL), '{}', '{}'),
      (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"#;

#[test]
fn any_other_type_is_its_text_with_one_warning_for_each_column() {
    require!(Capability::Server);
    let database = database("others", TEXT_FORMS);
    let export = assert_table(&database, "e", "*");
    let n_columns = export.schema.fields().len();
    for field in export.schema.fields() {
        let is_text = match field.data_type() {
            DataType::Utf8 => true,
            DataType::List(item) => item.data_type() == &DataType::Utf8,
            _ => false,
        };
        assert!(is_text, "{field}");
    }
    assert_eq!(export.warnings.len(), n_columns, "{:#?}", export.warnings);
    let types = TypeOptions { unknown_types: UnknownTypes::Error, ..TypeOptions::default() };
    let options = || ExportOptions::default().with_types(types);
    for column in ["v", "q", "p", "s", "a", "aa", "d", "h", "hh", "qq"] {
        let error = refusal(source(&database).table("e").columns([column]).options(options()));
        assert_error(&error, ErrorKind::Options, None, &[&format!("\"{column}\"")]);
    }
}

#[test]
fn other_types_in_a_query_whose_columns_share_a_name() {
    require!(Capability::Server);
    let database = database("duplicates", TEXT_FORMS);
    let sql = "SELECT aa AS x, 1 AS x, h AS \"x\", row(1, 'a', NULL::text, 1.10), v AS x, '{1}'::int4[] AS x FROM e \
               ORDER BY ctid";
    let expected = server_text(&mut oracle(&database), sql);
    let export = read(source(&database).query(sql)).unwrap();
    export.assert_is(&expected);
    let names: Vec<_> = export.schema.fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["x", "x", "x", "row", "x", "x"]);
    assert_eq!(export.warnings.len(), 4, "{:#?}", export.warnings);
}

#[test]
fn the_text_of_other_types_does_not_depend_on_the_roles_settings() {
    require!(Capability::Server);
    let database = database(
        "styles",
        "CREATE TYPE styled AS (a aclitem, f float8, t timestamptz, b bytea, i interval); CREATE TABLE e AS \
         SELECT row(NULL, 0.1, '2000-02-01 00:00+00', '\\x00ff', '1 mon 2 days 03:00')::styled AS v",
    );
    let expected = server_text(&mut oracle(&database), "SELECT * FROM e");
    let name = database.name();
    for setting in [
        "datestyle = 'SQL, DMY'",
        "extra_float_digits = -15",
        "bytea_output = escape",
        "intervalstyle = iso_8601",
        "timezone = 'UTC'",
    ] {
        database.execute(&format!("ALTER DATABASE \"{name}\" SET {setting}"));
    }
    let export = read(source(&database).table("e")).unwrap();
    assert_eq!(export.warnings.len(), 1);
    export.assert_is(&expected);
}

/// A value that must stop the run: the second row of `public.e`, column `v x`, between good ones.
#[track_caller]
fn assert_stops(pg_type: &str, good: &str, bad: &str) {
    let database = database(
        "stops",
        &format!(
            "CREATE TABLE e (id int4, \"v x\" {pg_type}); \
             INSERT INTO e VALUES (1, '{good}'), (2, '{bad}'), (3, '{good}')"
        ),
    );
    let error = refusal(source(&database).table("e"));
    let name = TestServer::shared()
        .client()
        .query_one(&format!("SELECT format_type('{pg_type}'::regtype, NULL)"), &[])
        .map_or_else(|_| pg_type.to_owned(), |row| row.get::<_, String>(0));
    assert_error(
        &error,
        ErrorKind::Value,
        None,
        &["public.e", "\"v x\"", name.split('(').next().unwrap(), "row 2", "column \"v x\":text"],
    );
    // The error does not contain the value; but these values are also the names of the problem.
    assert!(["NaN", "infinity", "-infinity"].contains(&bad) || !error.to_string().contains(bad), "{error}");
    let as_text = ExportOptions::default().with_column("v x", "text".parse().unwrap());
    let lines = read(source(&database).table("e").options(as_text)).unwrap().lines();
    let expected = server_text(&mut oracle(&database), "SELECT id || '|' || \"v x\"::text FROM e");
    assert_eq!(
        lines,
        expected.into_iter().map(|row| row[0].clone().unwrap()).collect::<Vec<_>>(),
        "the advice helps"
    );
}

macro_rules! stops {
    ($($test:ident: $pg_type:literal, $good:literal, $bad:literal;)*) => {$(
        #[test]
        fn $test() {
            require!(Capability::Server);
            assert_stops($pg_type, $good, $bad);
        }
    )*};
}

stops! {
    an_infinite_date: "date", "2000-01-01", "infinity";
    a_date_before_all_others: "date", "2000-01-01", "-infinity";
    an_infinite_timestamp: "timestamp", "2000-01-01", "infinity";
    a_timestamp_before_all_others: "timestamp", "2000-01-01", "-infinity";
    an_infinite_timestamp_with_time_zone: "timestamptz", "2000-01-01", "infinity";
    a_timestamp_one_microsecond_beyond_arrow: "timestamp", "2000-01-01", "294247-01-10 04:00:54.775808";
    the_last_timestamp_of_postgres: "timestamp", "2000-01-01", "294276-12-31 23:59:59.999999";
    a_timestamp_with_time_zone_beyond_arrow: "timestamptz", "2000-01-01", "294247-01-10 04:00:54.775808+00";
    an_interval_beyond_nanoseconds: "interval", "1 day", "2562047:47:16.854776";
    an_interval_below_nanoseconds: "interval", "1 day", "-2562047:47:16.854776";
    nan_in_a_decimal: "numeric(10,2)", "1.5", "NaN";
    nan_in_a_wide_decimal: "numeric(76,2)", "1.5", "NaN";
}

#[test]
fn an_infinite_interval() {
    require!(Capability::Server, Capability::VersionAtLeast(170_000));
    assert_stops("interval", "1 day", "infinity");
    assert_stops("interval", "1 day", "-infinity");
}

#[test]
fn an_infinite_numeric_is_refused_by_the_server_where_it_would_be_a_decimal() {
    require!(Capability::Server);
    let database = database("infinite", "");
    let error = refusal(source(&database).query("SELECT 'Infinity'::numeric(10,2) AS v"));
    assert_eq!(error.kind(), ErrorKind::Server, "{error}");
    assert_eq!(query_lines(&database, "SELECT 'Infinity'::numeric AS v"), ["Infinity"]);
}

#[test]
fn bytes_that_are_no_utf_8_stop_the_run() {
    require!(Capability::Server);
    // With an SQL_ASCII database, the server converts nothing and only checks when it sends.
    let server = TestServer::shared();
    let database = server.fresh_database("ascii");
    let name = format!("{}_ascii", database.name());
    let sql = format!(
        "CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    );
    server.client().batch_execute(&sql).unwrap();
    let result = std::panic::catch_unwind(|| {
        let url = server.url_for(&name);
        let mut client =
            pgarrow_testkit::postgres::Client::connect(&url, pgarrow_testkit::postgres::NoTls).unwrap();
        client.batch_execute("CREATE TABLE e AS SELECT convert_from('\\xe9', 'SQL_ASCII') AS v").unwrap();
        let source = pgarrow::Source::connect_blocking(&url).unwrap();
        let error = refusal(source.table("e"));
        assert_error(&error, ErrorKind::Server, Some("22021"), &["not valid in UTF-8", "bytea"]);
    });
    server.client().batch_execute(&format!("DROP DATABASE \"{name}\" WITH (FORCE)")).unwrap();
    result.unwrap();
}
