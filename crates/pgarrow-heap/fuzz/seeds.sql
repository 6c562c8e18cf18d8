-- Makes the seeds of the target `pages`: pages as a server stores them, behind the three bytes that say how they are read.
--
--   Against a fresh cluster of PostgreSQL 15 (the OIDs of labels stand in the target), from this folder:
--   psql -X -q -f seeds.sql
\set ON_ERROR_STOP on
SET timezone = 'UTC';
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE EXTENSION pageinspect;
CREATE TABLE fixed (a bool, b int2, c int4, d int8, e float4, f float8, g date, h time, i timestamp, j timestamptz, k uuid, l "char",
    m money, n oid, o mood);
INSERT INTO fixed SELECT i % 2 = 0, i, i, i, i, i / 3.0, date '2000-01-01' + i, time '12:00' + i * interval '1 s', timestamp '2000-01-01' + i * interval '1 h',
    '2000-01-01', md5(i::text)::uuid, 'x', i, i, (enum_range(NULL::mood))[1 + i % 3] FROM generate_series(1, 20) AS i;
INSERT INTO fixed (c, k) SELECT i, NULL FROM generate_series(1, 20) AS i;
CREATE TABLE texts (a text, b bpchar, c bytea, d json, e jsonb, f numeric, g numeric(15,2), h name);
ALTER TABLE texts ALTER a SET STORAGE MAIN, ALTER c SET STORAGE MAIN;
INSERT INTO texts SELECT repeat('é', i * 7), 'b ' || i, decode(md5(i::text), 'hex'), '{"a" : 1}', '{"a": [1, null, "x", true, {"b": -1.50}]}',
    i * 1234567.000089, i * 1.01, 'name ' || i FROM generate_series(1, 12) AS i;
INSERT INTO texts VALUES (NULL, '', '', NULL, '"x"', 'NaN', -0.01, NULL), (repeat('long ', 900), NULL, NULL, '1', '[]', '-Infinity', 0, ''),
    ('', NULL, NULL, NULL, '{}', 1e200, 1.00, NULL), ('x', NULL, NULL, NULL, NULL, 1e-200, 99999999999.99, 'x');
CREATE TABLE others (a timetz, b interval, c inet, d cidr, e varbit, f macaddr, g macaddr8, h tid, i point, j line, k lseg, l box, m path,
    n polygon, o circle);
INSERT INTO others SELECT '12:00+02', i * interval '1 mon 2 days 3 s', '10.0.0.1/8', '::/0', repeat('101', i)::varbit, '08:00:2b:01:02:03',
    '08:00:2b:01:02:03:04:05', ('(' || i || ',1)')::tid, point(i, -i), '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1),(2,0)]',
    '((0,0),(1,1),(1,0))', '<(0,0),1>' FROM generate_series(1, 10) AS i;
INSERT INTO others (c, m) VALUES ('2001:db8::1/64', '((0,0),(1,1))'), (NULL, NULL);
CREATE TABLE arrays (a int4[], b text[], c numeric[], d timestamp[], e bool[]);
INSERT INTO arrays SELECT ARRAY[i, NULL, -i], ARRAY['a', repeat('é', i), NULL], ARRAY[i * 1.10, 'NaN', 1e30], ARRAY[timestamp '2000-01-01'],
    ARRAY[true, NULL, false] FROM generate_series(1, 12) AS i;
INSERT INTO arrays VALUES ('{}', '{}', '{}', '{}', '{}'), ('[-1:0]={1,2}', '{a,NULL}', NULL, NULL, '{t}');
-- A page as it is after updates in place, too.
CREATE TABLE updated (LIKE fixed) WITH (fillfactor = 30);
INSERT INTO updated SELECT * FROM fixed;
UPDATE updated SET c = c + 1 WHERE c % 2 = 0;
DELETE FROM updated WHERE c % 5 = 0;
VACUUM (FREEZE) fixed;
VACUUM (FREEZE) texts;
VACUUM (FREEZE) others;
VACUUM (FREEZE) arrays;
VACUUM (FREEZE) updated;
SELECT enumlabel, oid FROM pg_enum ORDER BY oid;

CREATE TEMP TABLE seed (name text, bytes bytea);
INSERT INTO seed SELECT name, decode(start, 'hex') || string_agg(get_raw_page(relation, 'main', block), '' ORDER BY block)
FROM (VALUES ('fixed', 'fixed', '000300'), ('texts', 'texts', '01ff00'), ('others', 'others', '020200'), ('arrays', 'arrays', '030700'),
        ('older_than_two_columns', 'texts', '040100'), ('updated', 'updated', '000100')) AS x(name, relation, start),
    LATERAL generate_series(0, least(pg_relation_size(relation) / 8192, 2) - 1) AS block GROUP BY name, start;
-- One as COPY sends it: messages of one tuple; whole, and cut in the middle of a tuple.
CREATE FUNCTION pg_temp.message(payload bytea) RETURNS bytea LANGUAGE sql AS $$
    SELECT '\x64'::bytea || int4send(4 + length(payload)) || payload
$$;
INSERT INTO seed
SELECT name, decode(start, 'hex') || CASE name
    WHEN 'stream' THEN pg_temp.message('\x5047434f50590aff0d0a000000000000000000') || pg_temp.message(tuple) || pg_temp.message(tuple) || pg_temp.message(short) || pg_temp.message('\xffff')
    ELSE pg_temp.message('\x5047434f50590aff0d0a000000000000000000' || substr(tuple, 1, 5)) || pg_temp.message(substr(tuple, 6) || short || substr(short, 1, 9))
        || pg_temp.message(substr(short, 10)) || pg_temp.message('\xffff') END
FROM (VALUES ('stream', '000061'), ('stream_cut_inside_tuples', '000007')) AS x(name, start),
    LATERAL (SELECT '\x000100002000'::bytea || get_raw_page('fixed', 'main', 0) AS tuple,
        '\x000100000018'::bytea || substr(get_raw_page('fixed', 'main', 0), 1, 24) AS short) AS y;

-- A file for each: psql writes what these statements say.
\pset format unaligned
\pset tuples_only on
SELECT 'SELECT encode(bytes, ''hex'') FROM seed WHERE name = ' || quote_literal(name) || E' \\g |xxd -r -p >seeds/pages/' || name
FROM seed \g seeds.tmp
\i seeds.tmp
\! rm seeds.tmp
-- The seed `unmarked` is `updated` without PD_ALL_VISIBLE, and with other hints and transactions in three of four tuples.
