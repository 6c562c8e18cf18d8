SELECT v
FROM (VALUES
    ('{}'::int8multirange),
    ('{[-9223372036854775808,0),[5,)}'::int8multirange),
    (NULL::int8multirange)
) AS x(v)
