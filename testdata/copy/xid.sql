SELECT v
FROM (VALUES
    ('0'::xid),
    ('2147483648'::xid),
    ('4294967295'::xid),
    (NULL::xid)
) AS x(v)
