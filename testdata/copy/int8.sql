SELECT v
FROM (VALUES
    ('-9223372036854775808'::int8),
    ('-1'::int8),
    ('0'::int8),
    ('9223372036854775807'::int8),
    (NULL::int8)
) AS x(v)
