SELECT v
FROM (VALUES
    ('-32768'::int2),
    ('-1'::int2),
    ('0'::int2),
    ('32767'::int2),
    (NULL::int2)
) AS x(v)
