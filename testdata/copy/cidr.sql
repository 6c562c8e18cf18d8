SELECT v
FROM (VALUES
    ('0.0.0.0/0'::cidr),
    ('10.0.0.0/8'::cidr),
    ('2001:db8::/32'::cidr),
    (NULL::cidr)
) AS x(v)
