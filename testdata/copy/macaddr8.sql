SELECT v
FROM (VALUES
    ('08:00:2b:01:02:03:04:05'::macaddr8),
    (NULL::macaddr8)
) AS x(v)
