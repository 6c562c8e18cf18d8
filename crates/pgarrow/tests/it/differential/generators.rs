//! Values of every type, random and at their bounds, as SQL.

/// How values of a type are made.
pub(crate) struct Generator {
    /// The type, as in a cast.
    pub(crate) pg_type: &'static str,
    /// The extension that has it; empty for types of every server.
    pub(crate) extension: &'static str,
    /// An expression over `g` (1, 2, …), `n` (any int8), `h` (32 hexadecimal digits), `d` (96 digits) and `t`
    /// (hostile text), whose text the type's input function accepts.
    pub(crate) random: &'static str,
    /// Texts of values at the bounds of what Arrow can hold.
    pub(crate) extremes: &'static [&'static str],
}

const fn of(pg_type: &'static str, random: &'static str, extremes: &'static [&'static str]) -> Generator {
    Generator { pg_type, extension: "", random, extremes }
}

/// An OID that some object may have.
const SOME_OID: &str = "abs(n) % 14000";

/// A random number with a varying exponent.
macro_rules! float {
    ($number:literal) => {
        concat!("((", $number, " % 1000003) * 10::float8 ^ (g % 70 - 40))")
    };
}

macro_rules! point {
    ($x:literal, $y:literal) => {
        concat!("'(' || ", float!($x), " || ',' || ", float!($y), " || ')'")
    };
}

/// `g % 9 + 1` points, with commas between.
macro_rules! points {
    () => {
        "(SELECT string_agg('(' || (n % (i * 1000)) / 8.0::float8 || ',' || i || ')', ',') \
          FROM generate_series(1, g % 9 + 1) AS i)"
    };
}

const TIMESTAMP: &str = "'2000-01-01'::timestamp + ((n % 4000000)::text || ' days')::interval * \
    (CASE WHEN n < 0 THEN 0.5 ELSE 1 END) + (n & 4294967295) * interval '1 microsecond'";

/// Ranges of composites in arrays, domains over arrays of domains over ranges, and more of that kind, in one
/// composite.
const DEEP: &str = "row(ARRAY[pair_span(row(g, h, 1, NULL)::pair, row(g + 1, t, 2.5, 'a')::pair), NULL, 'empty'], \
    list_span_multirange(list_span(ARRAY[g], ARRAY[g, NULL])), ARRAY[span(g, g + 1), NULL]::some_spans, \
    ARRAY[row(row(g, t, n, NULL)::pair, ARRAY[row(g, t, 0.10, 'a')::pair, NULL], '[1,5)', 'a')::pairs, NULL], \
    span(g, g + 1))::deep";

pub(super) const TEXTS: &[&str] = &[
    "",
    " ",
    "NULL",
    "null",
    "nULl",
    "{}",
    "()",
    "\"",
    "\\",
    "\\N",
    "a,b",
    "a;b",
    "a:b",
    "a\tb\nc\rd",
    "\u{b}\u{c}",
    "é",
    "e\u{301}",
    "😀",
    "\u{10ffff}",
    "\u{feff}",
    "\u{202e}A",
    "\u{1b}[31m",
    "\u{1}\u{7f}",
    "PGCOPY",
    "=>",
    "''",
];

/// The last moments before and after the bounds of nanoseconds and of Arrow.
const TIMESTAMPS: &[&str] = &[
    "4714-11-24 00:00:00 BC",
    "0001-01-01 00:00:00 BC",
    "0001-01-01 00:00:00",
    "1677-09-21 00:12:43.145224",
    "1969-12-31 23:59:59.999999",
    "2000-01-01 00:00:00.000001",
    "2262-04-11 23:47:16.854776",
    "294247-01-10 04:00:54.775807",
];

/// Every type of a server without extensions whose values can be made, except arrays and the row types of
/// catalogs.
pub(crate) const GENERATORS: &[Generator] = &[
    of("bool", "n % 2 = 0", &["t", "f"]),
    of("\"char\"", "chr(1 + g % 127)", &["", " ", "\"", "\\", ",", "{"]),
    of("int2", "n % 32768", &["-32768", "32767"]),
    of("int4", "n % 2147483648", &["-2147483648", "2147483647"]),
    of("int8", "n", &["-9223372036854775808", "9223372036854775807"]),
    of("oid", "n & 4294967295", &["0", "2147483648", "4294967295"]),
    of("xid", "n & 4294967295", &["0", "2147483648", "4294967295"]),
    of("cid", "n & 4294967295", &["0", "2147483648", "4294967295"]),
    of("xid8", "n::numeric + 9223372036854775808", &["0", "9223372036854775808", "18446744073709551615"]),
    of("pg_lsn", "substr(h, 1, 8) || '/' || substr(h, 9, 8)", &["0/0", "80000000/1", "FFFFFFFF/FFFFFFFF"]),
    of("tid", "'(' || (n & 4294967295) || ',' || (n & 65535) || ')'", &["(0,0)", "(4294967295,65535)"]),
    of("regproc", SOME_OID, &["-", "now", "4294967295"]),
    of("regprocedure", SOME_OID, &["-", "abs(integer)", "4294967295"]),
    of("regoper", SOME_OID, &["0", "|/", "4294967295"]),
    of("regoperator", SOME_OID, &["0", "+(integer,integer)", "4294967295"]),
    of("regclass", SOME_OID, &["-", "pg_class", "4294967295"]),
    of("regtype", SOME_OID, &["-", "integer", "timestamp with time zone", "4294967295"]),
    of("regconfig", SOME_OID, &["-", "simple", "4294967295"]),
    of("regdictionary", SOME_OID, &["-", "simple", "4294967295"]),
    of("regnamespace", SOME_OID, &["-", "pg_catalog", "4294967295"]),
    of("regrole", SOME_OID, &["-", "pg_monitor", "4294967295"]),
    of("regcollation", SOME_OID, &["-", "\"C\"", "4294967295"]),
    of(
        "float4",
        float!("n"),
        &["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38", "16777217", "1e6", "0.0001"],
    ),
    of(
        "float8",
        "(CASE WHEN g % 2 = 0 THEN n ELSE n % 1000 END) * 10::float8 ^ (g % 560 - 290)",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "4.9e-324",
            "2.2250738585072014e-308",
            "1.7976931348623157e308",
            "0.1",
            "1e15",
            "1e14",
            "0.0001",
            "0.00001",
            "9007199254740993",
        ],
    ),
    of(
        "numeric",
        "CASE WHEN g % 2 = 0 THEN '-' ELSE '' END || left(d, 1 + g % 60) || '.' || right(d, g % 36)",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "0.00",
            "-0.0",
            "0.000067",
            "1.10",
            "9999",
            "10000",
            "99990000",
            "100000000",
            "1e-16383",
            "1e131071",
        ],
    ),
    of(
        "numeric(15,2)",
        "(n % 1000000000000000) / 100.0",
        &["9999999999999.99", "-9999999999999.99", "0", "-0.01", "0.1", "10000", "10000.01"],
    ),
    of(
        "numeric(38,10)",
        "CASE WHEN g % 2 = 0 THEN '-' ELSE '' END || left(d, g % 28 + 1) || '.' || right(d, 10)",
        &["9999999999999999999999999999.9999999999", "-0.0000000001"],
    ),
    of(
        "numeric(76,20)",
        "CASE WHEN g % 2 = 0 THEN '-' ELSE '' END || left(d, g % 56 + 1) || '.' || right(d, 20)",
        &[
            "0.00000000000000000001",
            "-99999999999999999999999999999999999999999999999999999999.99999999999999999999",
        ],
    ),
    of(
        "money",
        "(n / 100.0)::numeric::money",
        &["-92233720368547758.08", "92233720368547758.07", "0", "-0.01", "999.99", "1000"],
    ),
    of("text", "t", TEXTS),
    of("varchar(100)", "t", TEXTS),
    of("bpchar", "t", TEXTS),
    of("char(40)", "t", TEXTS),
    of("name", "left(t, 12)", TEXTS),
    of("refcursor", "t", TEXTS),
    of(
        "bytea",
        "decode(substr(h || h, 1, 2 * (g % 33)), 'hex')",
        &["\\x", "\\x00", "\\xff", "\\x5047434f50590aff0d0a00"],
    ),
    of("uuid", "h", &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    of(
        "json",
        "json_build_object(h, n, t, t)",
        &["null", "{\"a\" : 1,\"a\":2}", "\"\\u0000\"", " [] ", "\"\\\\\""],
    ),
    of(
        "jsonb",
        "jsonb_build_object(h, n, t, jsonb_build_array(g, NULL, t))",
        &["null", "1e400", "{}", "\"\\\\\\\"\""],
    ),
    of("jsonpath", "'$.\"' || h || '\" ? (@.a > ' || n || ')'", &["$", "strict $[*]", "$.\"a b\".c[1 to 3]"]),
    of("xml", "'<a b=\"' || h || '\">' || n || '</a>'", &["", "<a/>", "text, \"only\"", "<é>&amp;</é>"]),
    of(
        "date",
        "'2000-01-01'::date + (abs(n) % 8000000)::int4 - 2400000",
        &[
            "4714-11-24 BC",
            "0001-12-31 BC",
            "0001-01-01",
            "1582-10-15",
            "1969-12-31",
            "1970-01-01",
            "2000-02-29",
            "10000-01-01",
            "5874897-12-31",
        ],
    ),
    of(
        "time",
        "'00:00'::time + (abs(n) % 86400000000) * interval '1 microsecond'",
        &["00:00:00", "00:00:00.000001", "23:59:59.999999", "24:00:00"],
    ),
    of(
        "timetz",
        "('00:00'::time + (abs(n) % 86400000000) * interval '1 microsecond')::text || \
         CASE WHEN g % 2 = 0 THEN '-' ELSE '+' END || ((n & 65535) % 57599) * interval '1 second'",
        &["00:00:00+00", "24:00:00+15:59:59", "12:34:56.789-15:59:59", "12:00:00+05:45", "12:00:00-00:00:01"],
    ),
    of("timestamp", TIMESTAMP, TIMESTAMPS),
    of("timestamptz", TIMESTAMP, TIMESTAMPS),
    of(
        "interval",
        "make_interval(months => (n % 2000000)::int4, days => (g - 200) * 7) + (n % 4000000000000000) * interval '1 microsecond'",
        &[
            "0",
            "1 mon -1 day 00:00:00.000001",
            "-1 mon +1 day -00:00:00.000001",
            "178000000 years",
            "-178000000 years",
            "2147483647 days",
            "-2147483648 days",
            "2562047:47:16.854775",
            "-2562047:47:16.854775",
        ],
    ),
    of("bit(13)", "('x' || h)::bit(13)", &["0000000000000", "1111111111111"]),
    of(
        "varbit",
        "substring(('x' || h)::varbit from 1 for g % 129)",
        &["", "0", "1", "00000000", "000000001"],
    ),
    of(
        "inet",
        "CASE WHEN g % 2 = 0 THEN set_masklen('0.0.0.0'::inet + (n & 4294967295), g % 33) ELSE \
         set_masklen(rtrim(regexp_replace(translate(h, CASE g % 3 WHEN 0 THEN '12345678' WHEN 1 THEN '89abcdef' ELSE '' \
         END, CASE g % 3 WHEN 2 THEN '' ELSE '00000000' END), '(....)', '\\1:', 'g'), ':')::inet, g % 129) END",
        &["0.0.0.0/0", "10.1.2.3", "::1", "2001:db8::1/64", "::ffff:1.2.3.4", "::/0"],
    ),
    of(
        "cidr",
        "network(set_masklen('0.0.0.0'::inet + (n & 4294967295), g % 33))",
        &["0.0.0.0/0", "10.0.0.0/8", "::/0", "2001:db8::/32"],
    ),
    of("macaddr", "substr(h, 1, 12)", &["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"]),
    of("macaddr8", "substr(h, 1, 16)", &["00:00:00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff:ff:ff"]),
    of("point", point!("n", "g"), &["(0,0)", "(-0,0)", "(Infinity,NaN)", "(1e-300,-1.7976931348623157e308)"]),
    of("line", "'{1,' || n % 1000 || ',' || g / 8.0::float8 || '}'", &["{1,-1,0}", "{0,-1,1e300}"]),
    of(
        "lseg",
        "'[(1,2),(' || n % 1000 || ',' || g / 8.0::float8 || ')]'",
        &["[(0,0),(0,0)]", "[(-Infinity,1),(2,NaN)]"],
    ),
    of(
        "box",
        "'(1,2),(' || n % 1000 || ',' || g / 8.0::float8 || ')'",
        &["(0,0),(0,0)", "(Infinity,1),(-Infinity,-0)"],
    ),
    of(
        "path",
        concat!(
            "CASE g % 2 WHEN 0 THEN '[' ELSE '(' END || ",
            points!(),
            " || CASE g % 2 WHEN 0 THEN ']' ELSE ')' END"
        ),
        &["[(0,0)]", "((0,0))", "[(NaN,Infinity),(1,2)]"],
    ),
    of(
        "polygon",
        concat!("'(' || ", points!(), " || ')'"),
        &["((0,0))", "((0,0),(1,1),(1,0))", "((NaN,Infinity))"],
    ),
    of("circle", "'<(1,' || n % 1000 || '),' || g / 8.0::float8 || '>'", &["<(0,0),0>", "<(1,2),Infinity>"]),
    of("int2vector", "g || ' ' || n % 32768", &["", "0", "-32768 32767"]),
    of("oidvector", "g || ' ' || (n & 4294967295)", &["", "0", "4294967295 0"]),
    of(
        "aclitem",
        "makeaclitem(0::oid, 10::oid, (ARRAY['SELECT', 'INSERT', 'UPDATE'])[1 + g % 3], n % 2 = 0)",
        &[],
    ),
    of("tsvector", "to_tsvector('simple', h || ' ' || t)", &["", "a:1A,2B fat", "'it''s':3 '\\\\'"]),
    of("tsquery", "phraseto_tsquery('simple', h || ' ' || t)", &["", "a & !b | c:*", "a <-> 'b c'"]),
    of("pg_snapshot", "g || ':' || g + 9 || ':' || g + 3", &["1:1:", "10:20:10,14"]),
    of("txid_snapshot", "g || ':' || g + 9 || ':' || g + 3", &["1:1:", "10:20:10,14"]),
    of(
        "int4range",
        "int4range((n % 1000)::int4, (n % 1000 + g)::int4, '[]')",
        &["empty", "(,)", "(,5]", "[-2147483648,2147483647)"],
    ),
    of(
        "int8range",
        "int8range(n / 2 - g, n / 2, '(]')",
        &["empty", "(,)", "(,5]", "[-9223372036854775808,)"],
    ),
    of(
        "numrange",
        "numrange(n / 100.0, n / 100.0 + g, (ARRAY['[)', '()', '[]', '(]'])[1 + g % 4])",
        &["empty", "(,)", "[1.50,)", "[1,NaN]", "(-Infinity,Infinity)"],
    ),
    of(
        "tsrange",
        "tsrange('2000-01-01', '2000-01-01'::timestamp + g * interval '1.000001 s', (ARRAY['[)', '()', '[]', '(]'])[1 + g % 4])",
        &["empty", "(,)", "[2000-01-01,)"],
    ),
    of(
        "tstzrange",
        "tstzrange('2000-01-01', '2000-01-01'::timestamptz + g * interval '1.000001 s', (ARRAY['[)', '()', '[]', '(]'])[1 + g % 4])",
        &["empty", "(,)", "(,2000-01-01]", "[4714-11-24 00:00:00+00 BC,2000-01-01)"],
    ),
    of(
        "daterange",
        "daterange('2000-01-01', '2000-01-01'::date + g)",
        &["empty", "(,)", "[4714-11-24 BC,5874897-12-31)"],
    ),
    of(
        "int4multirange",
        "int4multirange(int4range(g, g + 3), int4range(g + 5, NULL))",
        &["{}", "{(,)}", "{[1,2),(5,)}"],
    ),
    of("int8multirange", "int8multirange(int8range(g, g + 3), int8range(g + 5, NULL))", &["{}", "{(,)}"]),
    of(
        "nummultirange",
        "nummultirange(numrange(g, g + 1.5, '(]'), numrange(g + 5, NULL))",
        &["{}", "{(,)}", "{[1.50,2],(3,NaN]}"],
    ),
    of(
        "tsmultirange",
        "tsmultirange(tsrange('2000-01-01', '2000-01-01'::timestamp + g * interval '1 s'))",
        &["{}", "{(,)}"],
    ),
    of(
        "tstzmultirange",
        "tstzmultirange(tstzrange('2000-01-01', '2000-01-01'::timestamptz + g * interval '1 s'))",
        &["{}", "{(,)}"],
    ),
    of("datemultirange", "datemultirange(daterange('2000-01-01', '2000-01-01'::date + g))", &["{}", "{(,)}"]),
    of("information_schema.cardinal_number", "g", &["0", "2147483647"]),
    of("information_schema.character_data", "t", TEXTS),
    of("information_schema.sql_identifier", "left(t, 12)", TEXTS),
    of("information_schema.time_stamp", "'2000-01-01'::timestamptz + g * interval '1.01 s'", &[]),
    of("information_schema.yes_or_no", "CASE WHEN g % 2 = 0 THEN 'YES' ELSE 'NO' END", &["YES"]),
    // Made by TYPES.
    of("mood", "(enum_range(NULL::mood))[1 + g % 6]", &["", "é", "with,comma", "q\"uote"]),
    of("positive", "g", &["1", "2147483647"]),
    of("price", "(n % 1000000) / 100.0", &["99999999.99", "-0.01"]),
    of("word", "left(t, 5)", &["", "\""]),
    of("letter", "(enum_range(NULL::mood))[1 + g % 6]", &["", "q\"uote"]),
    of("numbers", "ARRAY[g, NULL, n % 1000]", &["{}", "{NULL}"]),
    of("pair", "row(g, t, n / 100.0, NULL)::pair", &["(,,,)", "(1,\"\",NaN,a)", "(1,\",\",1.10,é)"]),
    of(
        "pairs",
        "row(row(g, t, n, NULL)::pair, ARRAY[row(g, t, 0.10, 'a')::pair, NULL], '[1,5)', 'a')::pairs",
        &["(,,,)", "(\"(,,,)\",{},empty,\"\")"],
    ),
    of("span", "span(g, g + 0.5, '[]')", &["empty", "[NaN,NaN]", "(,)", "[-0,1e300]"]),
    of("span_multirange", "span_multirange(span(g, g + 0.5, '[]'), span(g + 1, NULL))", &["{}"]),
    of("stretch", "stretch(least(t, h), greatest(t, h), '[]')", &["empty", "(,)", "[\"\",\"a,b\")"]),
    of("stretch_multirange", "stretch_multirange(stretch(least(t, h), greatest(t, h), '[]'))", &["{}"]),
    of(
        "pair_span",
        "pair_span(row(g, h, 1, NULL)::pair, row(g + 1, t, 2.5, 'a')::pair, '[]')",
        &["empty", "(,)"],
    ),
    of(
        "pair_span_multirange",
        "pair_span_multirange(pair_span(row(g, h, 1, NULL)::pair, row(g + 1, t, 2.5, 'a')::pair))",
        &["{}"],
    ),
    of(
        "mood_span",
        "mood_span('a', (enum_range(NULL::mood))[1 + g % 6], '[]')",
        &["empty", "[\"q\"\"uote\",]", "[é,\"\"]"],
    ),
    of(
        "mood_span_multirange",
        "mood_span_multirange(mood_span('a', (enum_range(NULL::mood))[1 + g % 6], '[]'))",
        &["{}"],
    ),
    of("list_span", "list_span(ARRAY[g, NULL], ARRAY[g, NULL, 5])", &["empty", "[\"{}\",\"{NULL}\")"]),
    of("list_span_multirange", "list_span_multirange(list_span(ARRAY[g], ARRAY[g, NULL]))", &["{}"]),
    of("some_span", "span(g, g + 1)", &["(,)"]),
    of("some_spans", "ARRAY[span(g, g + 1), NULL, '(,)']::some_span[]", &["{}"]),
    of("deep", DEEP, &["(,,,,)", "({},{},{},{},)"]),
    of("deeper", DEEP, &["(,,,,)"]),
];

/// Types that a column may have, but whose values SQL cannot make: keys of indexes and statistics. Rows of
/// the catalogs contain some of their values.
pub(crate) const NULL_ONLY: &[&str] = &[
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "gtsvector",
    "ghstore",
    "ltree_gist",
    "intbig_gkey",
    "gtrgm",
    "gbtreekey2",
    "gbtreekey4",
    "gbtreekey8",
    "gbtreekey16",
    "gbtreekey32",
    "gbtreekey_var",
    "box2df",
    "gidx",
];

/// User-defined types of every kind.
pub(crate) const TYPES: &str = r#"
    CREATE TYPE mood AS ENUM ('a', 'B', 'é', '', 'with,comma', 'q"uote');
    CREATE DOMAIN positive AS int4 CHECK (value > 0);
    CREATE DOMAIN price AS numeric(10,2);
    CREATE DOMAIN word AS varchar(5) COLLATE "C";
    CREATE DOMAIN letter AS mood;
    CREATE DOMAIN numbers AS int4[];
    CREATE TYPE pair AS (a int4, b text, gone int4, c numeric, d mood);
    ALTER TYPE pair DROP ATTRIBUTE gone;
    CREATE TYPE pairs AS (x pair, y pair[], z int4range, "W w" letter);
    CREATE TYPE span AS RANGE (subtype = float8);
    CREATE TYPE stretch AS RANGE (subtype = text);
    CREATE TYPE pair_span AS RANGE (subtype = pair);
    CREATE TYPE mood_span AS RANGE (subtype = mood);
    CREATE TYPE list_span AS RANGE (subtype = int4[]);
    CREATE DOMAIN some_span AS span CHECK (NOT isempty(value));
    CREATE DOMAIN some_spans AS some_span[];
    CREATE TYPE deep AS (a pair_span[], b list_span_multirange, c some_spans, d pairs[], e some_span);
    CREATE DOMAIN deeper AS deep;
"#;
