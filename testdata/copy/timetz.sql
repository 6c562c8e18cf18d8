SELECT v
FROM (VALUES
    ('00:00:00+00'::timetz),
    ('12:00:00+05:45'::timetz),
    ('24:00:00+15:59:59'::timetz),
    ('12:34:56.789-15:59:59'::timetz),
    (NULL::timetz)
) AS x(v)
