SELECT v
FROM (VALUES
    ('int4'::regtype),
    ('-'::regtype),
    (NULL::regtype)
) AS x(v)
