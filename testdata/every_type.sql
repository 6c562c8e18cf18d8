-- A schema with a column of every type of PostgreSQL 15 and its contrib extensions, and their extreme values.
--
--   psql -f testdata/every_type.sql && pgarrow export --schema every_type --infinity null --nan null \
--       --out-of-range null --arrays shaped -o every_type/
--
-- Where these choices change what a column holds, its comment has the SQL of what is left of it. The view `counts` says how
-- many values each of them changed. Extensions that a server does not have are left out.

DROP SCHEMA IF EXISTS every_type CASCADE;
CREATE SCHEMA every_type;
SET search_path = every_type, public;
SET timezone = 'UTC';

-- Numbers -------------------------------------------------------------------------------------------------------------

CREATE TABLE numbers (
    bool bool, int2 int2, int4 int4, int8 int8, oid oid, xid xid, cid cid, xid8 xid8, pg_lsn pg_lsn, tid tid,
    float4 float4, float8 float8, money money);
INSERT INTO numbers VALUES
    (false, -32768, -2147483648, -9223372036854775808, 0, '0', '0', '0', '0/0', '(0,0)', '-3.4028235e38',
        '-1.7976931348623157e308', '-92233720368547758.08'),
    (true, 32767, 2147483647, 9223372036854775807, 4294967295, '4294967295', '4294967295', '18446744073709551615',
        'FFFFFFFF/FFFFFFFF', '(4294967295,65535)', '3.4028235e38', '1.7976931348623157e308', '92233720368547758.07'),
    (NULL, 0, 0, 0, 2147483648, '2147483648', '2147483648', '9223372036854775808', '80000000/1', '(1,2)', 'NaN', 'NaN', '0'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '-0', '-0', '-0.01'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'Infinity', '-Infinity', NULL),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '1e-45', '4.9e-324', NULL),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE numerics (
    plain numeric, of_10_2 numeric(10,2), of_38 numeric(38,0), of_38_38 numeric(38,38), of_39_10 numeric(39,10),
    of_76 numeric(76,0), of_77_10 numeric(77,10), of_3_minus_6 numeric(3,-6), of_3_7 numeric(3,7));
INSERT INTO numerics VALUES
    ('NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN'),
    ('Infinity', 99999999.99, repeat('9', 38)::numeric, ('0.' || repeat('9', 38))::numeric, 1.5, repeat('9', 76)::numeric,
        0.0000000001, 999000000, 0.0000999),
    ('-Infinity', -0.01, 0, 0, -0.0000000001, -1, -1, -1000000, -0.0000001),
    (('1' || repeat('0', 131071))::numeric, -99999999.99, -repeat('9', 38)::numeric, -1e-38,
        (repeat('9', 29) || '.' || repeat('9', 10))::numeric, -repeat('9', 76)::numeric, NULL, 0, 0),
    (1e-16383, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL),
    (0.000067, 0.10, NULL, NULL, NULL, 1, NULL, NULL, NULL),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
COMMENT ON COLUMN numerics.of_10_2 IS 'nullif(of_10_2, ''NaN'')';
COMMENT ON COLUMN numerics.of_38 IS 'nullif(of_38, ''NaN'')';
COMMENT ON COLUMN numerics.of_38_38 IS 'nullif(of_38_38, ''NaN'')';
COMMENT ON COLUMN numerics.of_39_10 IS 'nullif(of_39_10, ''NaN'')';
COMMENT ON COLUMN numerics.of_76 IS 'nullif(of_76, ''NaN'')';
COMMENT ON COLUMN numerics.of_3_minus_6 IS 'nullif(of_3_minus_6, ''NaN'')';
COMMENT ON COLUMN numerics.of_3_7 IS 'nullif(of_3_7, ''NaN'')';

CREATE TABLE objects (
    regproc regproc, regprocedure regprocedure, regoper regoper, regoperator regoperator, regclass regclass,
    regtype regtype, regconfig regconfig, regdictionary regdictionary, regnamespace regnamespace, regrole regrole,
    regcollation regcollation);
INSERT INTO objects VALUES
    ('now', 'abs(integer)', '|/', '+(integer,integer)', 'pg_class', 'int4', 'simple', 'simple', 'pg_catalog', 'pg_monitor', '"C"'),
    ('-', '-', '0', '0', '-', '-', '-', '-', '-', '-', '-'),
    ('4294967295', '4294967295', '4294967295', '4294967295', '4294967295', '4294967295', '4294967295', '4294967295',
        '4294967295', '4294967295', '4294967295'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

-- Text and bytes ------------------------------------------------------------------------------------------------------

CREATE TABLE texts (
    text text, varchar varchar, varchar_9 varchar(9), bpchar bpchar, char_5 char(5), name name, "char" "char",
    refcursor refcursor, bytea bytea, bit bit, bit_9 bit(9), varbit varbit, uuid uuid, json json, jsonb jsonb,
    jsonpath jsonpath, xml xml);
INSERT INTO texts VALUES
    ('', '', '', '', '', '', '', '', '\x', '0', B'000000000', '', '00000000-0000-0000-0000-000000000000', 'null', 'null', '$', NULL),
    (E'a\tb\nc\rd\\e\u0001\u007f', '\N', 'NULL', 'ab  ', 'ab ', repeat('n', 63), 'x', 'cur', '\x00ff', '1', B'101010101',
        '000000001', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '{"a" : 1,"a":2}', '{"a": [1e400, null]}', 'strict $[*]', NULL),
    (U&'\+10FFFF\FEFF\202Ee\0301', 'é', '😀', 'é ', 'éé', 'é', '"', '"', '\x5047434f50590aff0d0a00', NULL, NULL,
        repeat('10', 5000)::varbit, NULL, '"\u0000"', '"\\\""', NULL, NULL),
    (repeat('é', 100000), repeat('x', 65536), NULL, NULL, NULL, NULL, NULL, NULL, decode(repeat('00ff', 100000), 'hex'), NULL, NULL,
        NULL, NULL, ('"' || repeat('x', 100000) || '"')::json, ('"' || repeat('x', 100000) || '"')::jsonb, NULL, NULL),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
-- A server that was built without libxml has the type and no values.
DO $$ BEGIN
    UPDATE texts SET xml = CASE text WHEN '' THEN '<a/>'::xml 
        WHEN 'é' THEN '<?xml version="1.0" encoding="ISO-8859-1" standalone="no"?><b c="&lt;">é</b>'::xml
        ELSE '<?xml version="1.0" encoding="ISO-8859-1"?><b c="&lt;">é</b>'::xml END;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;

CREATE TABLE networks (inet inet, cidr cidr, macaddr macaddr, macaddr8 macaddr8);
INSERT INTO networks VALUES
    ('0.0.0.0/0', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00'),
    ('255.255.255.255', '255.255.255.255', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff'),
    ('2001:db8::1/64', '2001:db8::/32', NULL, '08:00:2b:01:02:03:04:05'), ('::1', '::/0', NULL, NULL), (NULL, NULL, NULL, NULL);

-- Dates and times -----------------------------------------------------------------------------------------------------

CREATE TABLE times (
    date date, time time, timetz timetz, timestamp timestamp, timestamptz timestamptz, interval interval, timestamp_0 timestamp(0));
INSERT INTO times VALUES
    ('4714-11-24 BC', '00:00:00', '00:00:00+15:59:59', '4714-11-24 00:00:00 BC', '4714-11-24 00:00:00+00 BC', '-178000000 years', '1999-12-31 23:59:59.5'),
    ('5874897-12-31', '24:00:00', '24:00:00-15:59:59', '294247-01-10 04:00:54.775807', '294247-01-10 04:00:54.775807+00', '2562047:47:16.854775', NULL),
    ('infinity', '23:59:59.999999', '12:00:00+05:45', 'infinity', 'infinity', '1 mon -1 day 00:00:00.000001', 'infinity'),
    ('-infinity', '00:00:00.000001', '12:00:00-00:00:01', '-infinity', '-infinity', '2147483647 days', '-infinity'),
    ('1970-01-01', NULL, NULL, '294247-01-10 04:00:54.775808', '294247-01-10 04:00:54.775808+00', '-30 days 24:00:00', NULL),
    ('1969-12-31', NULL, NULL, '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '0', NULL),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL);
COMMENT ON COLUMN times.date IS 'CASE WHEN isfinite(date) THEN date END';
COMMENT ON COLUMN times.timestamp IS 'CASE WHEN isfinite(timestamp) AND timestamp <= ''294247-01-10 04:00:54.775807'' THEN timestamp END';
COMMENT ON COLUMN times.timestamptz IS 'CASE WHEN isfinite(timestamptz) AND timestamptz <= ''294247-01-10 04:00:54.775807+00'' THEN timestamptz END';
COMMENT ON COLUMN times.timestamp_0 IS 'CASE WHEN isfinite(timestamp_0) THEN timestamp_0 END';

-- Geometry, search, and what is read as text --------------------------------------------------------------------------

CREATE TABLE geometries (point point, line line, lseg lseg, box box, path path, polygon polygon, circle circle);
INSERT INTO geometries VALUES
    ('(0,-0)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,1),(1,0))', '<(0,0),1>'),
    ('(Infinity,NaN)', '{0,-1,1e300}', '[(-Infinity,1),(2,NaN)]', '(Infinity,1),(-Infinity,-0)', '((0,0))', '((0,0))', '<(0,0),Infinity>'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE others (
    tsvector tsvector, tsquery tsquery, pg_snapshot pg_snapshot, txid_snapshot txid_snapshot, aclitem aclitem,
    aclitems aclitem[], int2vector int2vector, oidvector oidvector, pg_node_tree pg_node_tree, pg_ndistinct pg_ndistinct,
    pg_dependencies pg_dependencies, pg_mcv_list pg_mcv_list, pg_brin_bloom_summary pg_brin_bloom_summary,
    pg_brin_minmax_multi_summary pg_brin_minmax_multi_summary, gtsvector gtsvector);
INSERT INTO others VALUES
    ('a:1A,2B fat', 'a & !b | c:*', '10:20:10,14', '10:20:10,14', makeaclitem(10, 10, 'SELECT', false),
        ARRAY[makeaclitem(10, 10, 'SELECT', true), NULL], '-32768 32767', '0 4294967295'),
    ('', '', '1:1:', '1:1:', NULL, '{}', '', ''),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

-- Arrays --------------------------------------------------------------------------------------------------------------

CREATE TABLE arrays (
    bool bool[], int2 int2[], int4 int4[], int8 int8[], float4 float4[], float8 float8[], "numeric" numeric[],
    numeric_10_2 numeric(10,2)[], money money[], text text[], bpchar char(3)[], name name[], bytea bytea[], uuid uuid[],
    json json[], jsonb jsonb[], date date[], time time[], timetz timetz[], timestamp timestamp[], timestamptz timestamptz[],
    interval interval[], varbit varbit[], inet inet[], macaddr macaddr[], oid oid[], xid8 xid8[], pg_lsn pg_lsn[], tid tid[],
    point point[], box box[], path path[], polygon polygon[], circle circle[], int4range int4range[], tsrange tsrange[],
    int4multirange int4multirange[], tsvector tsvector[], int2vector int2vector[]);
INSERT INTO arrays VALUES
    ('{t,f,NULL}', '[0:1]={-32768,32767}', '[-2:-1][3:4]={{1,2},{3,NULL}}', '{9223372036854775807}', '{NaN,-0,NULL}', '{Infinity,0.1}',
        '{NaN,Infinity,-Infinity,NULL,0.00}', '{NaN,99999999.99,NULL}', '{-0.01,NULL}', ARRAY['NULL', NULL, '', '{}', '"', E'\\'],
        '{ab,NULL}', '{a,NULL}', '{"\\x","\\x00ff",NULL}', '{ffffffff-ffff-ffff-ffff-ffffffffffff,NULL}', '{"{\"a\" : 1}",NULL}',
        '{"null",NULL}', '{infinity,-infinity,NULL,2000-01-01}', '{24:00:00}', '{12:00:00+05:45}',
        '{infinity,"294276-12-31 23:59:59.999999","2000-01-01 00:00:00"}', '{-infinity,"2000-01-01 00:00:00+00"}', '{"1 mon",NULL}',
        '{"",1}', '{::1/64,NULL}', '{ff:ff:ff:ff:ff:ff}', '{4294967295}', '{18446744073709551615}', '{FFFFFFFF/FFFFFFFF}', '{"(1,2)"}',
        '{"(1,2)",NULL}', '{(1,1),(0,0);NULL}', '{"[(0,0)]","((0,0))"}', '{"((0,0))",NULL}', '{"<(0,0),1>"}', '{"[1,5)",empty,NULL}',
        '{"[-infinity,infinity]",NULL}', '{"{[1,2),[5,)}",NULL}', '{"''a'':1",NULL}', '{"1 2",NULL}'),
    ('{}', '{}', '{{{{{{1}}}}}}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
        '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}');
INSERT INTO arrays DEFAULT VALUES;
INSERT INTO arrays (int4, text) VALUES (array_fill(7, ARRAY[10000]), array_fill(''::text, ARRAY[3, 4, 5]));
COMMENT ON COLUMN arrays.numeric_10_2 IS 'array_replace(numeric_10_2, ''NaN'', NULL)';
COMMENT ON COLUMN arrays.date IS 'array_replace(array_replace(date, ''infinity'', NULL), ''-infinity'', NULL)';
COMMENT ON COLUMN arrays.timestamp IS 'array_replace(array_replace(timestamp, ''infinity'', NULL), ''294276-12-31 23:59:59.999999'', NULL)';
COMMENT ON COLUMN arrays.timestamptz IS 'array_replace(timestamptz, ''-infinity'', NULL)';
COMMENT ON COLUMN arrays.tsrange IS 'regexp_replace(tsrange::text, ''-?infinity'', '''', ''g'')';

-- Types that users make ----------------------------------------------------------------------------------------------

CREATE TYPE mood AS ENUM ('a', 'B', 'é', '', 'with,comma', 'q"uote');
CREATE DOMAIN positive AS int4 CHECK (value > 0);
CREATE DOMAIN never_null AS positive NOT NULL;
CREATE DOMAIN price AS numeric(10,2);
CREATE DOMAIN label AS text COLLATE "C";
CREATE DOMAIN int_list AS int4[];
CREATE TYPE pair AS (a int4, gone text, c numeric(10,2), d date, m mood);
ALTER TYPE pair DROP ATTRIBUTE gone;
CREATE TYPE nested AS (x pair, y pair[], z int4range, l label, i int_list);
CREATE DOMAIN pair_domain AS pair;
CREATE TYPE float_range AS RANGE (subtype = float8);
CREATE TYPE text_range AS RANGE (subtype = text);

CREATE TABLE made (
    mood mood, moods mood[], positive positive, positives positive[], price price, label label, int_list int_list,
    int_lists int_list[], pair pair, pairs pair[], nested nested, nesteds nested[], pair_domain pair_domain, whole numbers,
    float_range float_range, text_range text_range, text_ranges text_range[], never never_null DEFAULT 1);
INSERT INTO made VALUES
    ('é', '{a,"",NULL,"with,comma","q\"uote"}', 1, '{1,NULL}', 99999999.99, 'é', '{1,2}', '{"{1}","{}",NULL}',
        row(1, 1.50, '2000-01-01', 'a'), ARRAY[row(1, NULL, NULL, '')::pair, NULL],
        row(row(1, 0.10, '-infinity', NULL), ARRAY[row(NULL, 'NaN', NULL, NULL)::pair, NULL], '[1,5)', 'a "b" \c', '{1}'),
        ARRAY[row(NULL, '{}', 'empty', '', NULL)::nested, NULL], row(2, NULL, 'infinity', NULL),
        (SELECT n FROM numbers AS n LIMIT 1), '[NaN,NaN]', '["","a,b")', '{"[a,\"b c\")",NULL}', 1),
    ('', '{}', 2147483647, '{}', 'NaN', '', '{}', '{}', row(NULL, 'NaN', 'infinity', NULL), '{}', row(NULL, NULL, NULL, NULL, NULL), '{}',
        row(NULL, NULL, NULL, NULL), NULL, 'empty', 'empty', '{}', 2),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3);
COMMENT ON COLUMN made.price IS 'nullif(price, ''NaN'')';
COMMENT ON COLUMN made.pair IS 'regexp_replace(pair::text, ''-?infinity|NaN'', '''', ''g'')';
COMMENT ON COLUMN made.pair_domain IS 'regexp_replace(pair_domain::text, ''-?infinity|NaN'', '''', ''g'')';
COMMENT ON COLUMN made.nested IS 'regexp_replace(nested::text, ''-?infinity|NaN'', '''', ''g'')';

CREATE TABLE ranges (
    int4range int4range, int8range int8range, numrange numrange, tsrange tsrange, tstzrange tstzrange, daterange daterange,
    int4multirange int4multirange, int8multirange int8multirange, nummultirange nummultirange, tsmultirange tsmultirange,
    tstzmultirange tstzmultirange, datemultirange datemultirange);
INSERT INTO ranges VALUES
    ('empty', 'empty', 'empty', 'empty', 'empty', 'empty', '{}', '{}', '{}', '{}', '{}', '{}'),
    ('(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '{(,)}', '{(,)}', '{(,)}', '{(,)}', '{(,)}', '{(,)}'),
    ('(,5]', '[-9223372036854775808,9223372036854775807)', '[1.50,NaN]', '["2000-01-01 00:00:00",infinity]',
        '[-infinity,"2000-01-01 00:00:00+00")', '["4714-11-24 BC",5874897-12-31)', '{[1,2),[5,)}', '{(,0),[5,)}',
        '{[1.50,2],(3,NaN]}', '{["2000-01-01 00:00:00",infinity]}', '{["2000-01-01 00:00:00+00",)}', '{[2000-01-01,2000-01-02)}'),
    (NULL, NULL, '(-Infinity,Infinity)', '[-infinity,infinity]', NULL, '[-infinity,infinity]', NULL, NULL, NULL, NULL, NULL, NULL);
COMMENT ON COLUMN ranges.tsrange IS 'regexp_replace(tsrange::text, ''-?infinity'', '''', ''g'')';
COMMENT ON COLUMN ranges.tstzrange IS 'regexp_replace(tstzrange::text, ''-?infinity'', '''', ''g'')';
COMMENT ON COLUMN ranges.daterange IS 'regexp_replace(daterange::text, ''-?infinity'', '''', ''g'')';
COMMENT ON COLUMN ranges.tsmultirange IS 'regexp_replace(tsmultirange::text, ''-?infinity'', '''', ''g'')';

CREATE TABLE information (
    cardinal_number information_schema.cardinal_number, character_data information_schema.character_data,
    sql_identifier information_schema.sql_identifier, time_stamp information_schema.time_stamp,
    yes_or_no information_schema.yes_or_no);
INSERT INTO information VALUES (2147483647, 'é', 'e', '2000-01-01 00:00:00.01+00', 'YES'), (NULL, NULL, NULL, NULL, NULL);

-- Extensions ----------------------------------------------------------------------------------------------------------

-- A table with a column for each type, filled with values as text: only if the server has the extension.
CREATE FUNCTION of_extension(extension text, columns text, VARIADIC rows text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    "values" text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = extension) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I SCHEMA public CASCADE', extension);
    EXECUTE format('CREATE TABLE every_type.%I (%s)', 'ext_' || extension, columns);
    FOREACH "values" IN ARRAY rows LOOP
        EXECUTE format('INSERT INTO every_type.%I VALUES (%s)', 'ext_' || extension, "values");
    END LOOP;
END $$;

SELECT of_extension('hstore', 'h hstore, hs hstore[]',
    $$'a=>1, b=>NULL, ""=>"", "=>"=>"\"\\"', ARRAY['a=>1'::hstore, NULL, '']$$, $$'', '{}'$$, 'NULL, NULL');
SELECT of_extension('ltree', 'l ltree, q lquery, t ltxtquery, ls ltree[], g ltree_gist',
    $$'Top.Science.x_1', 'Top.*{1,2}.a|b@', 'a & !b | c*', '{Top.A,NULL,""}'$$, $$'', '*', NULL, '{}'$$, 'NULL');
SELECT of_extension('citext', 'c citext, cs citext[]', $$'Aé', '{NULL,"NULL",""}'$$, $$'', '{}'$$, 'NULL, NULL');
SELECT of_extension('cube', 'c cube, cs cube[]', $$'(0,1e300),(1,2)', '{"(1)",NULL}'$$, $$'(1)', '{}'$$, 'NULL, NULL');
SELECT of_extension('earthdistance', 'e earth', 'll_to_earth(90, 180)', 'NULL');
SELECT of_extension('isn',
    'ean13 ean13, isbn13 isbn13, isbn isbn, ismn13 ismn13, ismn ismn, issn13 issn13, issn issn, upc upc, isbns isbn[]',
    $$'212345678901?', '978030640615?', '978030640615?', '979012345678?', '979012345678?', '977143648100?', '977143648100?',
        '012345678901?', ARRAY['978030640615?'::isbn, NULL]$$, 'NULL');
SELECT of_extension('seg', 's seg, ss seg[]', $$'<1.50 .. ~2.0', '{"1 .. 2",NULL}'$$, 'NULL, NULL');
SELECT of_extension('intarray', 'q query_int, g intbig_gkey', $$'1 & (2 | !3)'$$, 'NULL');
SELECT of_extension('lo', 'l lo, ls lo[]', $$4294967295, '{1,NULL}'$$, 'NULL, NULL');
SELECT of_extension('pg_trgm', 'g gtrgm', 'NULL');
SELECT of_extension('btree_gist',
    'a gbtreekey4, b gbtreekey8, c gbtreekey16, d gbtreekey32, e gbtreekey_var', 'NULL');
SELECT of_extension('tablefunc', 'a tablefunc_crosstab_2, b tablefunc_crosstab_3, c tablefunc_crosstab_4',
    $$row('a', NULL, ''), row('a', 'b', 'c', 'd'), row('a', 'b', 'c', 'd', 'e "f"')$$, 'NULL, NULL, NULL');
SELECT of_extension('dblink', 'r dblink_pkey_results', $$row(1, 'a,b')$$, 'NULL');
SELECT of_extension('postgis',
    'g geometry, p geometry(Point,4326), e geography, gs geometry[], d geometry_dump, v valid_detail, b2 box2d, b3 box3d, s spheroid',
    $$'GEOMETRYCOLLECTION ZM (POINT ZM (1 2 3 4))', 'SRID=4326;POINT(1 2)', 'POINT(1 2)',
        ARRAY['POINT EMPTY'::geometry, NULL], row('{1}', 'POINT(1 2)'), row(true, 'a b', 'POINT(1 2)'), 'BOX(1 2,3 4)',
        'BOX3D(1 2 3,4 5 6)', 'SPHEROID["a",6378137,298.25]'$$, 'NULL');
SELECT of_extension('vector', 'v vector(3), a vector, h halfvec(2), s sparsevec',
    $$'[1,-0,3.4e38]', '[1]', '[65504,6e-8]', '{1:1.5,5:-2}/5'$$, 'NULL');
DROP FUNCTION of_extension;

-- PostGIS prints EWKB where WKB is read.
DO $$ BEGIN
    IF to_regclass('ext_postgis') IS NOT NULL THEN
        COMMENT ON COLUMN ext_postgis.g IS 'upper(encode(ST_AsBinary(g), ''hex''))';
        COMMENT ON COLUMN ext_postgis.p IS 'upper(encode(ST_AsBinary(p), ''hex''))';
        COMMENT ON COLUMN ext_postgis.e IS 'upper(encode(ST_AsBinary(e), ''hex''))';
        COMMENT ON COLUMN ext_postgis.gs IS 'CASE WHEN gs IS NOT NULL THEN ''{'' || upper(encode(ST_AsBinary(gs[1]), ''hex'')) || '':NULL}'' END';
    END IF;
END $$;

-- What the choices change ---------------------------------------------------------------------------------------------

-- Only `--infinity null --nan null --out-of-range null --arrays shaped`; effects that change no value stand here, too.
CREATE VIEW counts AS
SELECT 'numerics.' || c AS "column", 'nan_nulled' AS effect, n FROM (
    SELECT count(*) FILTER (WHERE of_10_2 = 'NaN') AS of_10_2, count(*) FILTER (WHERE of_38 = 'NaN') AS of_38,
        count(*) FILTER (WHERE of_38_38 = 'NaN') AS of_38_38, count(*) FILTER (WHERE of_39_10 = 'NaN') AS of_39_10,
        count(*) FILTER (WHERE of_76 = 'NaN') AS of_76, count(*) FILTER (WHERE of_3_minus_6 = 'NaN') AS of_3_minus_6,
        count(*) FILTER (WHERE of_3_7 = 'NaN') AS of_3_7 FROM numerics) AS x,
    LATERAL (VALUES ('of_10_2', of_10_2), ('of_38', of_38), ('of_38_38', of_38_38), ('of_39_10', of_39_10), ('of_76', of_76),
        ('of_3_minus_6', of_3_minus_6), ('of_3_7', of_3_7)) AS y(c, n)
UNION ALL SELECT 'times.date', 'infinity_nulled', count(*) FROM times WHERE NOT isfinite(date)
UNION ALL SELECT 'times.timestamp', 'infinity_nulled', count(*) FROM times WHERE NOT isfinite(timestamp)
UNION ALL SELECT 'times.timestamptz', 'infinity_nulled', count(*) FROM times WHERE NOT isfinite(timestamptz)
UNION ALL SELECT 'times.timestamp_0', 'infinity_nulled', count(*) FROM times WHERE NOT isfinite(timestamp_0)
UNION ALL SELECT 'times.timestamp', 'out_of_range_nulled', count(*) FROM times
    WHERE timestamp > '294247-01-10 04:00:54.775807' AND isfinite(timestamp)
UNION ALL SELECT 'times.timestamptz', 'out_of_range_nulled', count(*) FROM times
    WHERE timestamptz > '294247-01-10 04:00:54.775807+00' AND isfinite(timestamptz)
UNION ALL SELECT 'times.time', 'end_of_day', count(*) FROM times WHERE time = '24:00:00'
UNION ALL SELECT 'times.timetz', 'end_of_day', count(*) FROM times WHERE timetz::text LIKE '24%'
UNION ALL SELECT 'arrays.time', 'end_of_day', count(*) FROM arrays, unnest(time) AS v WHERE v = '24:00:00'
UNION ALL SELECT 'arrays.numeric_10_2', 'nan_nulled', count(*) FROM arrays, unnest(numeric_10_2) AS v WHERE v = 'NaN'
UNION ALL SELECT 'arrays.date', 'infinity_nulled', count(*) FROM arrays, unnest(date) AS v WHERE NOT isfinite(v)
UNION ALL SELECT 'arrays.timestamp', 'infinity_nulled', count(*) FROM arrays, unnest(timestamp) AS v WHERE NOT isfinite(v)
UNION ALL SELECT 'arrays.timestamp', 'out_of_range_nulled', count(*) FROM arrays, unnest(timestamp) AS v
    WHERE isfinite(v) AND v > '294247-01-10 04:00:54.775807'
UNION ALL SELECT 'arrays.timestamptz', 'infinity_nulled', count(*) FROM arrays, unnest(timestamptz) AS v WHERE NOT isfinite(v)
UNION ALL SELECT 'arrays.tsrange', 'infinity_nulled', sum(n) FROM arrays, unnest(tsrange) AS v,
    LATERAL (SELECT (NOT isfinite(lower(v)))::int + (NOT isfinite(upper(v)))::int AS n) AS x WHERE v IS NOT NULL
UNION ALL SELECT 'made.price', 'nan_nulled', count(*) FROM made WHERE price = 'NaN'
UNION ALL SELECT 'made.pair', 'nan_nulled', count(*) FROM made WHERE (pair).c = 'NaN'
UNION ALL SELECT 'made.pair', 'infinity_nulled', count(*) FROM made WHERE NOT isfinite((pair).d)
UNION ALL SELECT 'made.pair_domain', 'infinity_nulled', count(*) FROM made WHERE NOT isfinite((pair_domain).d)
UNION ALL SELECT 'made.nested', 'infinity_nulled', count(*) FROM made WHERE NOT isfinite(((nested).x).d)
UNION ALL SELECT 'made.nested', 'nan_nulled', count(*) FROM made, unnest((nested).y) AS v WHERE v.c = 'NaN'
UNION ALL SELECT 'ranges.' || c, 'infinity_nulled', n FROM (
    SELECT sum((NOT isfinite(lower(tsrange)))::int) + sum((NOT isfinite(upper(tsrange)))::int) AS ts,
        sum((NOT isfinite(lower(tstzrange)))::int) AS tstz,
        sum((NOT isfinite(lower(daterange)))::int) + sum((NOT isfinite(upper(daterange)))::int) AS d,
        sum((NOT isfinite(upper(tsmultirange)))::int) AS tsm FROM ranges) AS x,
    LATERAL (VALUES ('tsrange', ts), ('tstzrange', tstz), ('daterange', d), ('tsmultirange', tsm)) AS y(c, n);
