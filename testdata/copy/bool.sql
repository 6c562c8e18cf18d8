SELECT v
FROM (VALUES
    ('true'::bool),
    ('false'::bool),
    (NULL::bool)
) AS x(v)
