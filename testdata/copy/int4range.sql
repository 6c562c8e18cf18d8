SELECT v
FROM (VALUES
    ('empty'::int4range),
    ('(,)'::int4range),
    ('[1,)'::int4range),
    ('(,5]'::int4range),
    ('[1,1]'::int4range),
    ('[-2147483648,2147483647)'::int4range),
    (NULL::int4range)
) AS x(v)
