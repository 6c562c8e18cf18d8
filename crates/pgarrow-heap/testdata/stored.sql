-- Values as a heap stores them, and as their send functions send them: README.md says how stored.tsv is made of it.
--
-- A line is a value: type, OID of its elements (0: no array), stored bytes with their varlena header, sent bytes, and the
-- expression that the value is; or a label of an enum: `label`, OID, label.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset fieldsep '\t'
SET client_min_messages = warning;
SET timezone = 'UTC';
SET extra_float_digits = 1;
BEGIN;
CREATE EXTENSION IF NOT EXISTS pageinspect;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'très "bien"', '');

-- What to store. Where `compression` is given, values are compressed and stay inside of their tuple.
CREATE TEMP TABLE given (id int GENERATED ALWAYS AS IDENTITY, type text, expression text, compression text);

INSERT INTO given (type, expression)
SELECT type, format('%L', value)
FROM (VALUES
    ('boolean', ARRAY['t', 'f']),
    ('"char"', ARRAY['a', '', '~']),
    ('smallint', ARRAY['0', '1', '-1', '32767', '-32768', '258']),
    ('integer', ARRAY['0', '1', '-1', '2147483647', '-2147483648', '16909060']),
    ('bigint', ARRAY['0', '1', '-1', '9223372036854775807', '-9223372036854775808', '72623859790382856']),
    ('oid', ARRAY['0', '4294967295', '16384']),
    ('xid8', ARRAY['0', '18446744073709551615', '4294967296']),
    ('pg_lsn', ARRAY['0/0', 'FFFFFFFF/FFFFFFFF', '1/16B3748']),
    ('real', ARRAY['0', '-0', '1.5', 'NaN', 'Infinity', '-Infinity', '1e-45']),
    ('double precision', ARRAY['0', '-0', '-1.5', 'NaN', 'Infinity', '-Infinity', '5e-324', '1e308']),
    ('money', ARRAY['0', '-0.01', '92233720368547758.07']),
    ('date', ARRAY['2000-01-01', '1999-12-31', 'infinity', '-infinity', '4713-11-24 BC', '5874897-12-31']),
    ('time', ARRAY['00:00', '24:00', '23:59:59.999999', '12:34:56.789']),
    ('timetz', ARRAY['00:00+00', '24:00-15:59', '23:59:59.999999+15:59', '12:34:56.789-07:30']),
    ('timestamp', ARRAY['2000-01-01', 'infinity', '-infinity', '1969-07-20 20:17:40.123456', '294276-12-31 23:59:59.999999']),
    ('timestamptz', ARRAY['2000-01-01', 'infinity', '-infinity', '1969-07-20 20:17:40.123456-04', '4713-11-24 00:00:00 BC']),
    ('interval', ARRAY['0', '1 year 2 months 3 days 04:05:06.789', '-178000000 years', '-1 mon +2 days -00:00:00.000001']),
    ('uuid', ARRAY['00000000-0000-0000-0000-000000000000', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']),
    ('macaddr', ARRAY['08:00:2b:01:02:03', 'ff:ff:ff:ff:ff:ff']),
    ('macaddr8', ARRAY['08:00:2b:01:02:03:04:05', 'ff:ff:ff:ff:ff:ff:ff:fe']),
    ('name', ARRAY['', 'a', 'größe', repeat('n', 63)]),
    ('text', ARRAY['', 'a', 'größe 中文 🙂', E'a\\b"', repeat('x', 126), repeat('x', 127), repeat('y', 1000)]),
    ('varchar(300)', ARRAY['', 'vé', repeat('z', 300)]),
    ('char(5)', ARRAY['', 'ab', 'ünü']),
    ('bytea', ARRAY['\x', '\x00', '\x01ff80', '\x' || repeat('ab', 126), '\x' || repeat('cd', 500)]),
    ('json', ARRAY['{"a" :1}', '[]', '  "x"']),
    ('inet', ARRAY['0.0.0.0', '192.168.1.5/24', '255.255.255.255', '10.0.0.0/0', '::', '2001:db8::1', 'fe80::1/10', '::ffff:1.2.3.4']),
    ('cidr', ARRAY['0.0.0.0/0', '192.168.1.0/24', '255.255.255.255', '::/0', '2001:db8::/32', '2001:db8::1/128']),
    ('bit(1)', ARRAY['0', '1']),
    ('bit(12)', ARRAY['101010101010']),
    ('tid', ARRAY['(0,0)', '(0,1)', '(65536,291)', '(4294967295,65535)', '(19088743,2)']),
    ('point', ARRAY['(1.5,-2)', '(0,-0)', '(Infinity,NaN)']),
    ('line', ARRAY['{1,2,3}', '{-1,0,0.5}']),
    ('lseg', ARRAY['[(1,2),(3,4)]', '[(-1,-2),(0.5,0)]']),
    ('box', ARRAY['((1,2),(3,4))', '((-1,5),(7,-9))']),
    ('path', ARRAY['[(1,2),(3,4)]', '((1,2),(3,4),(5,6))', '[(0,0)]', '((0.5,-0.5))']),
    ('polygon', ARRAY['((1,2),(3,4),(5,-6))', '((0,0))', '((1,2),(3,4),(5,6),(7,8),(9,10))']),
    ('circle', ARRAY['<(1,2),3>', '<(-0.5,0),0>']),
    ('mood', ARRAY['sad', 'ok', 'très "bien"', '']),
    ('int2vector', ARRAY['', '1', '1 -2 3']),
    ('oidvector', ARRAY['', '1', '1 4294967295 3'])
) AS types (type, literals), unnest(literals) AS value;

INSERT INTO given (type, expression) SELECT 'varbit', format('B%L', left(repeat('1001101', 10), n)) FROM generate_series(0, 70) AS n;

-- Numbers: both forms, and where one ends: scales of 63 and 64, weights of 63, 64, -64 and -65.
INSERT INTO given (type, expression)
SELECT 'numeric', format('%L', value) FROM unnest(ARRAY[
    '0', '0.00', '-0.00', '0.0000000000', '1', '-1', '9999', '10000', '-10000', '12345678', '0.1', '-0.1', '0.0001', '0.00001',
    '1.10', '100000000', '100000000.00000001', '123456789012345678901234567890.123456789', 'NaN', 'Infinity', '-Infinity',
    '1e-63', '1e-64', '1e-65', '1e-252', '1e-256', '1e-257', '1e-260', '1e-1000', '-1e-16383', '1e252', '1e255', '1e256',
    '1e259', '1e260', '1e1000', '-1e100000', '1e131071', '9.999e131071'
]) AS value;
INSERT INTO given (type, expression)
SELECT 'numeric', format('%L', repeat('9', n) || '.' || repeat('12345', m))
FROM unnest(ARRAY[1, 4, 5, 255, 256, 257, 400]) AS n, unnest(ARRAY[1, 12, 13, 80]) AS m;
INSERT INTO given (type, expression)
SELECT 'numeric', format('round(%s%s::numeric / 7, %s)', CASE WHEN i % 2 = 0 THEN '-' ELSE '' END, 13 ^ (i / 2) * 10 ^ (i - 20), i % 30)
FROM generate_series(1, 40) AS i;

-- Documents.
INSERT INTO given (type, expression)
SELECT 'jsonb', format('%L', value) FROM unnest(ARRAY[
    '1', '"a"', 'null', 'true', 'false', '""', '-0.00', '1e500', '1.50e-3', '[]', '{}', '[[]]', '[{}]', '{"": {}}', '{"a": []}',
    '[1, 2.50, -3e10, 1e-20, 0.000]', '[null, true, false, "x", [], {}]', '{"a": 1, "b": [1, 2], "c": {"d": null}}',
    '{"bb": 1, "a": 2, "ccc": 3, "": 4, "größe": "中文🙂"}',
    '["\b\f\n\r\t\"\\/", "\u0001\u001f\u007f", "\u00e9\u2028", "plain", "tail\\"]', '{"k\n\"\u0002": "v"}',
    '["a", 1, "ab", 2, "abc", 3, "abcd", 4, [5], "x", {"y": 6}, true, [], 7, {}]',
    '{"a": "x", "b": 1, "c": "xy", "d": [1, "a", 2], "e": "xyz", "f": {"g": 1, "h": "z", "i": 2}}',
    '[12345678901234567890.12345678901234567890, 1e300, 1e-300, -1e63]',
    '[[[[[[[[[["deep"]]]]]]]]]]', '[1, [2, [3, [4, {"five": [6, {"seven": 8}]}]]]]'
]) AS value;
INSERT INTO given (type, expression) VALUES
    ('jsonb', '(repeat(''['', 400) || ''1'' || repeat('']'', 400))'),
    ('jsonb', '(repeat(''{"a": '', 300) || ''"x"'' || repeat(''}'', 300))'),
    ('jsonb', '(SELECT jsonb_agg(i) FROM generate_series(1, 31) AS i)'),
    ('jsonb', '(SELECT jsonb_agg(i) FROM generate_series(1, 100) AS i)'),
    ('jsonb', '(SELECT jsonb_agg(repeat(''s'', i % 7)) FROM generate_series(1, 200) AS i)'),
    ('jsonb', '(SELECT jsonb_agg(CASE i % 5 WHEN 0 THEN to_jsonb(i) WHEN 1 THEN ''"x"'' WHEN 2 THEN ''[1]'' WHEN 3 THEN ''null'' ELSE ''{"a": "b"}'' END) FROM generate_series(1, 150) AS i)'),
    ('jsonb', '(SELECT jsonb_object_agg(''key'' || i, i) FROM generate_series(1, 31) AS i)'),
    ('jsonb', '(SELECT jsonb_object_agg(''key'' || i, i) FROM generate_series(1, 33) AS i)'),
    ('jsonb', '(SELECT jsonb_object_agg(''key'' || i, repeat(''v'', i % 9)) FROM generate_series(1, 120) AS i)'),
    ('jsonb', '(SELECT jsonb_object_agg(i, jsonb_build_array(i, i / 4.0, NULL)) FROM generate_series(1, 90) AS i)'),
    ('jsonb', '(SELECT jsonb_build_object(''ascii'', string_agg(chr(i), '''')) FROM generate_series(1, 300) AS i)'),
    ('jsonb', 'jsonb_build_array(''NaN''::numeric, ''1.000''::numeric(10, 3), 1e20::float8, ''Infinity''::float8)');

-- What only whole arrays have.
INSERT INTO given (type, expression)
SELECT 'integer[]', format('%L', value) FROM unnest(ARRAY[
    '{}', '{NULL}', '{NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL}', '{1,2,3,4,5,6,7,NULL}', '{1,2,3,4,5,6,7,8,NULL}',
    '[0:2]={1,2,3}', '[-5:-4]={1,NULL}', '{{1,2},{3,4}}', '{{1,NULL},{3,4}}', '[2:3][-1:0]={{1,2},{3,NULL}}',
    '{{{{{{1},{2}}}}}}'
]) AS value;
INSERT INTO given (type, expression) VALUES
    ('integer[]', '(SELECT array_agg(i) FROM generate_series(1, 500) AS i)'),
    ('integer[]', '(SELECT array_agg(nullif(i % 3, 0)) FROM generate_series(1, 100) AS i)'),
    ('integer[]', 'array_remove(ARRAY[1, NULL, 3], NULL)'),
    ('integer[]', '(ARRAY[1, 2, 3, 4, 5])[2:4]'),
    ('integer[]', 'array_replace(ARRAY[1, NULL, 3], NULL, 2)'),
    ('text[]', '(ARRAY[''a'', NULL, ''ccc''] || ARRAY[''dddddd''])'),
    ('text[]', '(SELECT array_agg(repeat(''t'', i)) FROM generate_series(0, 20) AS i)'),
    ('text[]', 'ARRAY[repeat(''long'', 100), '''']');

-- Arrays of all that is not one: without NULL, with, and of two dimensions.
INSERT INTO given (type, expression)
SELECT type || '[]', format(shape, array_to_string(expressions, ', '), expressions[1])
FROM (
    SELECT type, (array_agg(expression ORDER BY id DESC))[:7] AS expressions
    FROM given
    WHERE type !~ '\[\]|vector' AND length(expression) < 200
    GROUP BY type
) AS types, unnest(ARRAY['ARRAY[%s]', 'ARRAY[NULL, %s, NULL]', 'ARRAY[ARRAY[%s], ARRAY[%1$s]]', '(''[5:5]={NULL}'')']) AS shape
ORDER BY type, shape;

INSERT INTO given (type, expression, compression)
SELECT type, expression, method
FROM (VALUES
    ('text', 'repeat(''abc'', 1000)'),
    ('text', 'repeat(''a'', 5000)'),
    ('text', '(repeat(''x'', 300) || ''größe'' || repeat(''yz'', 1500))'),
    ('text', '(SELECT string_agg(md5((i / 3)::text), '' '') FROM generate_series(1, 100) AS i)'),
    ('text', '(SELECT string_agg(repeat(i::text, 3), '','') FROM generate_series(1, 500) AS i)'),
    ('bytea', 'decode(repeat(''00'', 4000) || ''01'', ''hex'')'),
    ('bytea', '(SELECT string_agg(decode(to_hex(i % 7 + 16), ''hex''), '''') FROM generate_series(1, 3000) AS i)'),
    ('json', '(SELECT json_agg(json_build_object(''key'', i, ''name'', ''value'')) FROM generate_series(1, 120) AS i)'),
    ('jsonb', '(SELECT jsonb_agg(jsonb_build_object(''key'', i, ''name'', ''value'')) FROM generate_series(1, 120) AS i)'),
    ('jsonb', '(SELECT jsonb_object_agg(''key'' || i, ''value'' || i) FROM generate_series(1, 150) AS i)'),
    ('numeric', '(repeat(''1234'', 700) || ''.'' || repeat(''5678'', 700))'),
    ('varbit', 'repeat(''10'', 12001)'),
    ('integer[]', '(SELECT array_agg(i / 4) FROM generate_series(1, 700) AS i)'),
    ('integer[]', '(SELECT array_agg(nullif(i % 5, 0)) FROM generate_series(1, 900) AS i)'),
    ('text[]', '(SELECT array_agg(repeat(''word'', i % 4)) FROM generate_series(1, 300) AS i)'),
    ('bigint[]', '(SELECT array_agg(i / 10) FROM generate_series(1, 500) AS i)')
) AS large (type, expression),
(SELECT unnest(enumvals) AS method FROM pg_settings WHERE name = 'default_toast_compression') AS methods
WHERE method IN ('pglz', 'lz4');

CREATE TEMP TABLE pairs (id int, type text, element_oid oid, stored bytea, sent bytea, expression text);

DO $$
DECLARE
    value given;
    inside bytea;
    sent bytea;
    element oid;
    send text;
BEGIN
    FOR value IN SELECT * FROM given ORDER BY id LOOP
        EXECUTE 'CREATE TABLE one (v ' || value.type || ')';
        SELECT typsend::regproc::text, CASE WHEN typsend = 'array_send'::regproc OR typname ~ 'vector' THEN typelem ELSE 0 END
        INTO STRICT send, element
        FROM pg_type JOIN pg_attribute ON pg_type.oid = atttypid WHERE attrelid = 'one'::regclass AND attname = 'v';
        IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'one'::regclass AND attname = 'v' AND attstorage <> 'p') THEN
            ALTER TABLE one ALTER v SET STORAGE MAIN;
        END IF;
        IF value.compression IS NOT NULL THEN
            EXECUTE 'ALTER TABLE one ALTER v SET COMPRESSION ' || value.compression;
        END IF;
        EXECUTE format('INSERT INTO one VALUES ((%s)::%s)', value.expression, value.type);
        SELECT t_attrs[1] INTO STRICT inside FROM heap_page_item_attrs(get_raw_page('one', 0), 'one'::regclass, false);
        EXECUTE 'SELECT ' || send || '(v) FROM one' INTO STRICT sent;
        IF value.compression IS NOT NULL AND get_byte(inside, 0) & 3 <> 2 THEN
            RAISE '% is not compressed', value.expression;
        END IF;
        INSERT INTO pairs VALUES (value.id, value.type, element, inside, sent, value.expression);
        DROP TABLE one;
    END LOOP;
END
$$;

SELECT 'label', enumtypid::regtype, oid, enumlabel FROM pg_enum WHERE enumtypid = 'mood'::regtype ORDER BY oid;
SELECT type, element_oid, encode(stored, 'hex'), encode(sent, 'hex'), expression FROM pairs ORDER BY id;
ROLLBACK;
