SELECT v
FROM (VALUES
    ('{}'::int8[]),
    ('{-9223372036854775808,NULL,9223372036854775807}'::int8[]),
    (NULL::int8[])
) AS x(v)
