SELECT v
FROM (VALUES
    ('0'::oid),
    ('2147483648'::oid),
    ('4294967295'::oid),
    (NULL::oid)
) AS x(v)
