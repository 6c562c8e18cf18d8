SELECT v
FROM (VALUES
    ('999000000'::numeric(3,-6)),
    ('-1000000'::numeric(3,-6)),
    (NULL::numeric(3,-6))
) AS x(v)
