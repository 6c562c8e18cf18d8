SELECT v
FROM (VALUES
    ('0'::cid),
    ('2147483648'::cid),
    ('4294967295'::cid),
    (NULL::cid)
) AS x(v)
