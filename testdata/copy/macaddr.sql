SELECT v
FROM (VALUES
    ('00:00:00:00:00:00'::macaddr),
    ('08:00:2b:01:02:03'::macaddr),
    (NULL::macaddr)
) AS x(v)
