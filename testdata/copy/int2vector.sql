SELECT v
FROM (VALUES
    (''::int2vector),
    ('0'::int2vector),
    ('1 2 3'::int2vector),
    ('-32768 32767'::int2vector),
    (NULL::int2vector)
) AS x(v)
