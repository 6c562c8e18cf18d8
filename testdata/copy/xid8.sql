SELECT v
FROM (VALUES
    ('0'::xid8),
    ('9223372036854775808'::xid8),
    ('18446744073709551615'::xid8),
    (NULL::xid8)
) AS x(v)
