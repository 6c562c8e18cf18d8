SELECT v
FROM (VALUES
    ('pg_catalog'::regnamespace),
    ('-'::regnamespace),
    (NULL::regnamespace)
) AS x(v)
