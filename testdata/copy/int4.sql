SELECT v
FROM (VALUES
    ('-2147483648'::int4),
    ('-1'::int4),
    ('0'::int4),
    ('2147483647'::int4),
    (NULL::int4)
) AS x(v)
