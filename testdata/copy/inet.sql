SELECT v
FROM (VALUES
    ('0.0.0.0/0'::inet),
    ('10.1.2.3'::inet),
    ('10.1.2.3/8'::inet),
    ('::1'::inet),
    ('2001:db8::1/64'::inet),
    ('::ffff:1.2.3.4'::inet),
    (NULL::inet)
) AS x(v)
