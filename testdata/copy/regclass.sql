SELECT v
FROM (VALUES
    ('pg_class'::regclass),
    ('-'::regclass),
    (NULL::regclass)
) AS x(v)
