SELECT v
FROM (VALUES
    ('empty'::int8range),
    ('(,)'::int8range),
    ('[-9223372036854775808,9223372036854775807)'::int8range),
    (NULL::int8range)
) AS x(v)
