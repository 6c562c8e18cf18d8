SELECT v
FROM (VALUES
    ('00:00:00'::time),
    ('12:34:56.789'::time),
    ('23:59:59.999999'::time),
    ('24:00:00'::time),
    (NULL::time)
) AS x(v)
