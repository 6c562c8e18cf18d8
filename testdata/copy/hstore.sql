CREATE EXTENSION hstore;

SELECT v
FROM (VALUES
    (''::hstore),
    ('"a"=>"1", "b"=>NULL'::hstore),
    ('""=>""'::hstore),
    ('"=>"=>"\"\\"'::hstore),
    ('"é"=>"😀"'::hstore),
    (NULL::hstore)
) AS x(v)
